//! Waiting for conditions, with a deadline.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A machine that does something else as well makes each step some seconds longer, and nobody waits for what comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `is_true` says so.
///
/// # Panics
/// If it does not within `limit`: the message is `what`.
pub fn eventually(what: &str, limit: Duration, mut is_true: impl FnMut() -> bool) {
    eventually_some(what, limit, || is_true().then_some(()));
}

/// Waits until `look` finds something, and returns it; never for less than [`PATIENCE`]. A test that promises a time has a clock
/// of its own.
///
/// # Panics
/// If it does not within `limit`: the message is `what`.
pub fn eventually_some<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let (began, limit) = (Instant::now(), limit.max(PATIENCE));
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Threads wait at it until it is opened; then it stays open. Clones are the same gate.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Waits until somebody opens it.
    pub fn pass(&self) {
        let (is_open, opened) = &*self.0;
        let is_open = is_open.lock().unwrap_or_else(PoisonError::into_inner);
        drop(opened.wait_while(is_open, |is_open| !*is_open));
    }

    /// Lets everybody pass from now on.
    pub fn open(&self) {
        let (is_open, opened) = &*self.0;
        *is_open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        opened.notify_all();
    }
}

/// Seconds, to read like a sentence.
pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Milliseconds.
pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}
