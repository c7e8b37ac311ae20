//! Every bound of health checking, with its reason.

/// Bytes of an answer, header and body together, in which texts are searched.
/// What users of comparable products expect; it bounds the memory of one probe.
pub const WINDOW_BYTES: usize = 2048;

/// Bytes of an answer that a failure quotes. Enough for a status line and a cookie, short enough for one log line.
pub const EXCERPT_BYTES: usize = 96;

/// Shortest and longest send interval, in seconds.
pub const SEND_INTERVAL_S: (u32, u32) = (1, 3600);

/// Shortest and longest receive time-out, in seconds; it also stays below the send interval.
pub const RECEIVE_TIMEOUT_S: (u32, u32) = (1, 2400);

/// Fewest and most checks in a row that flip a server.
pub const CHECKS: (u8, u8) = (1, 50);

/// Most maintenance codes of one monitor.
pub const MAINTENANCE_CODES_MAX: usize = 4;

/// Longest text to search for. It must fit the window with room for a status line before it.
pub const MATCH_BYTES_MAX: usize = 512;

/// Longest request text. One segment on any link, so that a probe is one write.
pub const REQUEST_BYTES_MAX: usize = 1024;

/// Most monitors of one server: what users of comparable products may configure for a pool.
pub const MONITORS_MAX: usize = 50;

/// Interim (1xx) answers before the real one. More is a server that never answers.
pub const INTERIM_MAX: u8 = 8;

/// Bytes that a command may print: what does not end is not read for ever.
pub const COMMAND_OUTPUT_BYTES_MAX: usize = 64 << 10;

/// Events waiting for the driver. One per input is drained at once by a correct driver; the oldest goes first.
pub const EVENTS_MAX: usize = 16;

/// Time for a driver to hand in the result of an expired probe, in microseconds (1 s); a driver that never does
/// must not leave a server unprobed for good.
pub const RESULT_GRACE_US: u64 = 1_000_000;

/// Part of the send interval by which one probe may come early or late, in percent.
pub const JITTER_PERCENT: u64 = 5;

/// Times up to which a server may go down without being held: a restart or two is not flapping.
pub const FLAPS_FREE: u8 = 3;

/// Up-time after which one flap is forgotten, in microseconds (60 s).
pub const FLAP_FORGET_US: u64 = 60_000_000;

/// The first hold-down, in microseconds (10 s); each further flap doubles it.
pub const HOLD_FIRST_US: u64 = 10_000_000;

/// The longest hold-down, in microseconds (5 min): a repaired server is never kept out longer.
pub const HOLD_MAX_US: u64 = 300_000_000;

/// Span over which the passive monitor judges, in microseconds (10 s).
pub const PASSIVE_WINDOW_US: u64 = 10_000_000;

/// First and longest time that a server without an active monitor is left alone after the passive monitor
/// marked it down, in microseconds (2 s, 60 s): nothing else can tell that it is back.
pub const PASSIVE_BACKOFF_US: (u64, u64) = (2_000_000, 60_000_000);
/// Microseconds from a failed probe of a new server, about which nothing is known yet, to the next: soon enough that an
/// engine knows its servers within seconds, rare enough that a dead one is not hammered.
pub const QUICK_RETRY_US: u64 = 1_000_000;
