//! Measures single operations of the core: nanoseconds of thread CPU time, against what the machine's memory
//! costs in the same run.
//!
//! `micro` prints figures; nothing here passes or fails by time. What does not depend on time (bytes, number
//! of allocations) is asserted by `tests/`.

pub mod decision;
pub mod figure;
pub mod h2;
pub mod host;
pub mod logs;
pub mod memory;
pub mod metrics;
pub mod random;
pub mod repeated;
pub mod table;
