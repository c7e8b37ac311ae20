//! What the kernel knows of this process.

use std::fs;

/// What the kernel knows of this process; 0 where it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Bytes of memory that are resident.
    pub resident_bytes: u64,
    /// File descriptors that are open.
    pub open_files: u64,
    /// File descriptors that may be open.
    pub files_max: u64,
    /// CPU time used, in milliseconds.
    pub cpu_ms: u64,
    /// Threads.
    pub threads: u64,
}

impl Process {
    /// Reads it from `/proc`.
    pub fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name in brackets may hold spaces; the numbers follow the last bracket.
        let fields: Vec<u64> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
            .unwrap_or_default();
        let field = |number: usize| fields.get(number - 3).copied().unwrap_or(0);
        // SAFETY: sysconf takes an integer and touches no memory of ours.
        let (ticks, page) = unsafe { (libc::sysconf(libc::_SC_CLK_TCK), libc::sysconf(libc::_SC_PAGESIZE)) };
        let (ticks, page) =
            (u64::try_from(ticks).unwrap_or(100).max(1), u64::try_from(page).unwrap_or(4_096));
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the pointer is to a valid rlimit that outlives the call.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
        Self {
            resident_bytes: field(24) * page,
            // The directory's own descriptor is one of those listed.
            open_files: fs::read_dir("/proc/self/fd").map_or(0, |list| list.count() as u64).saturating_sub(1),
            files_max: limit.rlim_cur,
            cpu_ms: (field(14) + field(15)) * 1_000 / ticks,
            threads: field(20),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_what_this_process_uses() {
        let process = Process::read();
        assert!(process.resident_bytes > 1 << 20, "{process:?}");
        assert!((3..=process.files_max).contains(&process.open_files), "{process:?}");
        assert!(process.threads >= 1, "{process:?}");
    }
}
