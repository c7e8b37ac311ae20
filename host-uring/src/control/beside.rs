//! Whether a process that takes over has room beside the one that serves.

use crate::limits::cgroup::Room;
use crate::limits::{HANDOVER_PROCESS_BYTES, HANDOVER_WORKER_BYTES};

/// What the two need in their control group from now on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beside {
    /// Workers of the process that takes over.
    pub workers: u64,
    /// Bytes of its persistence tables, of which nothing is used yet.
    pub table_bytes: u64,
    /// Bytes that the tables of the other one may yet take.
    pub theirs_bytes: u64,
}

/// Whether the group has room for both.
///
/// # Errors
/// What is missing, and what to do.
//= UPG-MEMORY-01
pub(super) fn fits(need: Beside, room: Option<Room>) -> Result<(), String> {
    let Some(room) = room else { return Ok(()) };
    let own = HANDOVER_PROCESS_BYTES + need.workers * HANDOVER_WORKER_BYTES;
    let wanted = own + need.table_bytes + need.theirs_bytes;
    if wanted <= room.left {
        return Ok(());
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let remedy = match room.left.checked_sub(own + need.theirs_bytes) {
        Some(tables) if tables >> 20 > 0 => {
            format!(", or engine.persistence_mem_max_bytes to at most {}", tables >> 20 << 20)
        }
        _ => String::new(),
    };
    Err(format!(
        "the control group has {} MiB left of {} MiB, and {} MiB are needed beside the process that serves: {} for \
         persistence tables, {} that its own may yet take, {own_mib} for the process; let processes before it end, or set \
         engine.memory_gib to at most half of the group's limit{remedy}",
        room.left >> 20,
        mib(room.limit),
        mib(wanted),
        mib(need.table_bytes),
        mib(need.theirs_bytes),
        own_mib = mib(own),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test UPG-MEMORY-01
    #[test]
    fn both_fit_or_the_figures_are_told() {
        const MIB: u64 = 1 << 20;
        let need = Beside { workers: 2, table_bytes: 100 * MIB, theirs_bytes: 10 * MIB };
        let room = |left: u64| Some(Room { limit: 256 * MIB, left });
        assert_eq!(fits(need, None), Ok(()));
        assert_eq!(fits(need, room(146 * MIB)), Ok(()));
        let told = fits(need, room(146 * MIB - 1)).expect_err("a byte is missing");
        assert!(told.contains("145 MiB left of 256 MiB") && told.contains("146 MiB are needed"), "{told}");
        assert!(told.contains(&format!("persistence_mem_max_bytes to at most {}", 99 * MIB)), "{told}");
        let told = fits(need, room(0)).expect_err("nothing is left");
        assert!(!told.contains("persistence_mem_max_bytes"), "no table is small enough: {told}");
    }
}
