//! What an engine counts, each at its place. A place keeps its meaning for ever: what is new is added at the end.

/// Upper bounds of the buckets of durations, in microseconds; one more bucket takes what is longer.
pub const BOUNDS_US: [u64; 18] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// Buckets of durations.
pub const BUCKETS: usize = BOUNDS_US.len() + 1;

/// The place in `tops` of what is open at a time: connections of clients, or with servers.
pub const TOP_OPEN: usize = 0;

/// Places in the sums of a service. Its durations are those of requests, or of connections that are passed on.
pub mod service {
    /// Connections of clients that began.
    pub const CONNECTIONS: usize = 0;
    /// Those that ended.
    pub const ENDED: usize = 1;
    /// Requests.
    pub const REQUESTS: usize = 2;
    /// Answers of class 1xx; the other four classes follow.
    pub const RESPONSES: usize = 3;
    /// Bytes from clients.
    pub const RX_BYTES: usize = 8;
    /// Bytes to clients.
    pub const TX_BYTES: usize = 9;
    /// Microseconds of all durations.
    pub const DURATION_US: usize = 10;
    /// Connections that were upgraded.
    pub const UPGRADES: usize = 11;
    /// Handshakes of TLS 1.2 in full; resumed ones, and the two of TLS 1.3 follow.
    pub const HANDSHAKES: usize = 12;
    /// Handshakes that failed.
    pub const HANDSHAKES_FAILED: usize = 16;
    /// Datagrams from clients.
    pub const RX_DATAGRAMS: usize = 17;
    /// Datagrams to clients.
    pub const TX_DATAGRAMS: usize = 18;
    /// Datagrams that went nowhere.
    pub const DROPPED_DATAGRAMS: usize = 19;
    /// Connections that ended in an error: of the client, of a server, of a handshake, or for want of a server.
    pub const ERRORED: usize = 20;
    /// Open connections, each times the milliseconds that it was open.
    pub const OPEN_MS: usize = 21;
    /// Microseconds of all samples of clients' round-trip times.
    pub const RTT_US: usize = 22;
    /// How many samples there were.
    pub const RTTS: usize = 23;
    /// How many there are.
    pub const COUNT: usize = 24;
}

/// Places in the sums of a server. A pool has there what its servers have together. Its durations are those from a request's
/// last byte to its answer's first.
pub mod server {
    /// Connections that began.
    pub const CONNECTIONS: usize = 0;
    /// Those that ended.
    pub const ENDED: usize = 1;
    /// Connections that could not be opened.
    pub const CONNECT_FAILED: usize = 2;
    /// Requests.
    pub const REQUESTS: usize = 3;
    /// Those that went over a connection that there was.
    pub const REUSED: usize = 4;
    /// Answers of class 1xx; the other four classes follow.
    pub const RESPONSES: usize = 5;
    /// Connections lost in the middle of a request.
    pub const ABORTED: usize = 10;
    /// Requests that were cut because the grace was over.
    pub const CUT: usize = 11;
    /// Bytes from servers.
    pub const RX_BYTES: usize = 12;
    /// Bytes to servers.
    pub const TX_BYTES: usize = 13;
    /// Microseconds of all durations.
    pub const DURATION_US: usize = 14;
    /// Open connections, each times the milliseconds that it was open.
    pub const OPEN_MS: usize = 15;
    /// Microseconds of all samples of round-trip times; between stands what pools have.
    pub const RTT_US: usize = 23;
    /// How many samples there were.
    pub const RTTS: usize = 24;
    /// How many there are, those of pools among them.
    pub const COUNT: usize = 25;
}

/// Places in the sums of a pool, behind those of its servers.
pub mod pool {
    /// Requests that came to it.
    pub const REQUESTS: usize = 16;
    /// Those for which there was no server.
    pub const NO_SERVER: usize = 17;
    /// Those that waited for one.
    pub const QUEUED: usize = 18;
    /// Those that were refused because too many waited.
    pub const QUEUE_FULL: usize = 19;
    /// Further servers that were tried.
    pub const RETRIES: usize = 20;
    /// Requests whose key led to a server.
    pub const PERSISTENCE_HITS: usize = 21;
    /// Those without a key, or with one that is not known.
    pub const PERSISTENCE_MISSES: usize = 22;
    /// How many there are.
    pub const COUNT: usize = 23;
}

/// Places in the sums of a Controller.
pub mod controller {
    /// Processor time that it took, in milliseconds.
    pub const CPU_MS: usize = 0;
    /// Processor time that there was: cores times milliseconds.
    pub const CORE_MS: usize = 1;
    /// Resident memory in KiB, times the milliseconds that it was so much.
    pub const MEMORY_MS: usize = 2;
    /// Memory that there is in KiB, times milliseconds.
    pub const MEMORY_MAX_MS: usize = 3;
    /// What is used of the disk of its folder in KiB, times milliseconds.
    pub const DISK_MS: usize = 4;
    /// What that disk has in KiB, times milliseconds.
    pub const DISK_MAX_MS: usize = 5;
    /// How many there are.
    pub const COUNT: usize = 6;
}

/// Places in the sums of an engine.
pub mod engine {
    /// Processor time that it took, in milliseconds.
    pub const CPU_MS: usize = 0;
    /// Processor time that there was: cores times milliseconds.
    pub const CORE_MS: usize = 1;
    /// Connections of clients that began.
    pub const CONNECTIONS: usize = 2;
    /// Those that ended.
    pub const ENDED: usize = 3;
    /// Those that were refused at the limit.
    pub const REFUSED: usize = 4;
    /// Bytes from clients.
    pub const RX_BYTES: usize = 5;
    /// Bytes to clients.
    pub const TX_BYTES: usize = 6;
    /// Open connections, each times the milliseconds that it was open.
    pub const OPEN_MS: usize = 7;
    /// Resident memory in KiB, times the milliseconds that it was so much.
    pub const MEMORY_MS: usize = 8;
    /// Memory that there is in KiB, times milliseconds.
    pub const MEMORY_MAX_MS: usize = 9;
    /// Entries of persistence tables, times milliseconds.
    pub const ENTRIES_MS: usize = 10;
    /// Entries that there is room for, times milliseconds.
    pub const ENTRIES_MAX_MS: usize = 11;
    /// Connections that the engine takes, times milliseconds.
    pub const OPEN_MAX_MS: usize = 12;
    /// How many there are.
    pub const COUNT: usize = 13;
}
