//! A control group that bounds memory, of either version of the kernel's interface.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Between two tries to remove a group.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A group of processes that may have only so much memory together; it goes with this.
pub struct MemoryGroup {
    folder: PathBuf,
    is_v2: bool,
}

impl MemoryGroup {
    /// Makes one, `None` (and [`crate::skip`] told why) where this machine lets nobody make any.
    ///
    /// # Panics
    /// If it was made and takes no limit.
    pub fn new(bytes: u64) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("forebay-e2e-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let v1 = Path::new("/sys/fs/cgroup/memory");
        let (root, is_v2, file) = if v1.join("memory.limit_in_bytes").exists() {
            (v1, false, "memory.limit_in_bytes")
        } else {
            let v2 = Path::new("/sys/fs/cgroup");
            // Where the root's own processes are in the way, it says so below, when the file is not there.
            let _ = fs::write(v2.join("cgroup.subtree_control"), "+memory");
            (v2, true, "memory.max")
        };
        let folder = root.join(name);
        if let Err(error) = fs::create_dir(&folder) {
            crate::skip(&format!("no control group for memory can be made: {error}"));
            return None;
        }
        let group = Self { folder, is_v2 };
        if !group.folder.join(file).exists() {
            crate::skip("control groups do not bound memory here");
            return None;
        }
        fs::write(group.folder.join(file), bytes.to_string()).expect("the limit is taken");
        Some(group)
    }

    /// Words that start a program in it.
    pub fn under(&self) -> Vec<String> {
        let script = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.folder.display());
        ["sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
    }

    /// How often the kernel has killed a process of it for want of memory.
    ///
    /// # Panics
    /// If the kernel does not say.
    pub fn kills(&self) -> u64 {
        let file = if self.is_v2 { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(self.folder.join(file)).expect("the group's counts");
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.trim().parse().ok()).expect("a count of kills")
    }

    /// The most memory that it has had, in bytes.
    ///
    /// # Panics
    /// If the kernel does not say.
    pub fn peak(&self) -> u64 {
        let file = if self.is_v2 { "memory.peak" } else { "memory.max_usage_in_bytes" };
        let text = fs::read_to_string(self.folder.join(file)).expect("the group's peak");
        text.trim().parse().expect("a number")
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // The kernel lets go of the last process some time after it was waited for.
        for _ in 0..100 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}
