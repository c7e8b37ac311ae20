//! The clock of the data plane: microseconds of `CLOCK_MONOTONIC`.
//!
//! The epoch is the machine's start, so the stamps of all threads, and of an old and a new process
//! during an upgrade, can be compared; a jump of the wall clock moves nothing.

pub use forebay_core::units::Now;

/// A deadline that never comes.
pub const NEVER: Now = Now(u64::MAX);

/// Reads the clock.
pub fn now() -> Now {
    super::sys::monotonic_us()
}

/// Microseconds of processor time that the calling thread has used.
pub fn thread_cpu_us() -> u64 {
    super::sys::thread_cpu_us()
}

/// The moment `ms` milliseconds after `from`; 0 ms stands for "no limit" and gives [`NEVER`].
pub fn after_ms(from: Now, ms: u64) -> Now {
    if ms == 0 { NEVER } else { Now(from.0.saturating_add(ms.saturating_mul(1000))) }
}
