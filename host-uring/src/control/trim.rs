//! Gives memory that a crowd needed back to the system.
//!
//! Workers free what nobody needs any more, but the allocator keeps it: between what is freed lie the small records of
//! connections that stay.

use std::sync::Arc;
use std::time::Duration;

use super::State;
use crate::limits::{TRIM_BYTES_MIN, TRIM_LOOK_MS};

/// Looks now and then at what the workers have freed.
//= SE-IDLE-02
pub async fn watch(state: Arc<State>) {
    let mut due = Due::default();
    let mut look = tokio::time::interval(Duration::from_millis(TRIM_LOOK_MS));
    loop {
        look.tick().await;
        let freed = state.workers.iter().map(|worker| worker.freed_bytes.get()).fold(0, u64::wrapping_add);
        if due.is_it(freed) {
            // It takes a millisecond for some MiB, and this thread also watches over the workers.
            let _ = tokio::task::spawn_blocking(give_back).await;
        }
    }
}

/// When memory is given back: enough was freed, and nothing more since the last look.
#[derive(Debug, Default)]
struct Due {
    seen: u64,
    given: u64,
}

impl Due {
    fn is_it(&mut self, freed: u64) -> bool {
        let is_calm = freed == std::mem::replace(&mut self.seen, freed);
        let is_due = is_calm && freed.wrapping_sub(self.given) >= TRIM_BYTES_MIN;
        if is_due {
            self.given = freed;
        }
        is_due
    }
}

#[cfg(target_env = "gnu")]
fn give_back() {
    // SAFETY: it takes no pointer, and may be called from any thread at any time.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators give back by themselves, or not at all.
#[cfg(not(target_env = "gnu"))]
fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    //= test SE-IDLE-02
    #[test]
    fn memory_is_given_back_once_when_much_was_freed_and_nothing_more_is() {
        let mut due = Due::default();
        assert!(!due.is_it(0));
        assert!(!due.is_it(TRIM_BYTES_MIN - 1));
        assert!(!due.is_it(TRIM_BYTES_MIN - 1), "too little");
        assert!(!due.is_it(3 * TRIM_BYTES_MIN), "more may come");
        assert!(due.is_it(3 * TRIM_BYTES_MIN));
        assert!(!due.is_it(3 * TRIM_BYTES_MIN), "once");
    }
}
