//! Every bound of the process, each with its reason.

/// Pending connections of a listening socket: a burst of one worker's accept rate for some tens of milliseconds.
pub const LISTEN_BACKLOG: i32 = 4_096;
/// Messages waiting for one worker: more than one for each server of a pool that changes at once is a storm,
/// and the generation counters tell the worker all the same.
pub const MAILBOX_MESSAGES_MAX: usize = 64;
/// Bytes of one access log line. A longer request's texts are cut.
pub const LOG_LINE_BYTES_MAX: usize = 8_192;
/// Bytes of one text (path, host, user agent) in an access log line, so that one line always fits.
pub const LOG_TEXT_BYTES_MAX: usize = 1_024;
/// Probes under way at the same time. Each takes a file descriptor; later ones wait for a place, which counts
/// as part of their time, so this is well above what a pool of the largest size needs at once.
pub const PROBES_AT_ONCE_MAX: usize = 4_096;
/// Milliseconds between two looks of the passive monitors at the workers' counters.
pub const PASSIVE_LOOK_MS: u64 = 100;
