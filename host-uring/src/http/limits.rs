//! Every bound of the data plane, with the reason for the number.

/// A small buffer: heads of browsers are below 4 KiB, and a slow client must not cost more than 20 KiB in all.
pub const HEAD_BUFFER_BYTES: usize = 8 * 1024;
/// A large buffer: one read of 64 KiB costs a third less per byte than four of 16 KiB. The page on top is for the head that
/// comes with it: without it the last few hundred bytes of an answer of 64 KiB cost a read and a write of their own.
pub const BODY_BUFFER_BYTES: usize = 68 * 1024;
/// The buffer of a tunnel's stream that fills large ones: one for each worker, as it is used between a read and the write
/// after it only. A read and a write of 256 KiB cost a quarter less per byte than those of 64 KiB, and still find each
/// other's bytes in a processor's second cache.
pub const BULK_BUFFER_BYTES: usize = 256 * 1024;
/// The pipe of a worker, through which bulk goes without being copied: what the kernel allows everybody
/// (`fs.pipe-max-size`), and as much as a receiver on a fast link has room for.
pub const PIPE_BYTES: usize = 1024 * 1024;
/// The least pipe that is better than copying: one of 64 KiB costs more than a buffer of [`BULK_BUFFER_BYTES`].
pub const PIPE_BYTES_MIN: usize = 256 * 1024;
/// Less than this is copied: two system calls more cost as much as they save.
pub const MOVE_BYTES_MIN: usize = 16 * 1024;
/// Unused large buffers kept per worker: 32 are 2 MiB, more than are ever in use at once while clients and servers keep
/// up, and no more than a processor's cache holds.
pub const BODY_BUFFERS_KEPT_MAX: usize = 32;
/// What requests under way need (their future of 5 KiB, a head's buffer of 8 KiB, parsed heads and texts) and nobody uses
/// at the moment: so many of each are kept in any case, 2 MiB a worker, so that a burst after a quiet second finds them.
pub const SPARE_KEPT: usize = 128;
/// Of each kind that was not needed for a second so many are freed at once: some 0.2 ms.
pub const SPARE_RELEASED_MAX: usize = 1_024;
/// Text kept per working set between requests.
pub const TEXT_KEPT_BYTES: usize = 4 * 1024;
/// Pieces of one write: a head and a dozen chunks; the kernel's own bound is 1,024.
pub const GATHER_SLICES: usize = 16;
/// Content up to this size is copied beside its chunk's head, which costs less than a slice of its own.
pub const GATHER_COPY_MAX: usize = 1536;
/// A client that reads slowly has at least this much of a response in flight.
pub const SLOW_READ_BYTES: usize = 4 * 1024;
/// What is read at least for a receiver that takes some again: its answer may be one byte of room.
pub const SLOW_READ_BYTES_MIN: usize = 1024;
/// What is known of a socket's room is asked anew when less than this is left of it: asking costs a system call, and
/// reads below this size would cost more of them.
pub const ROOM_ASKED_BELOW_BYTES: usize = 16 * 1024;
/// Steps in which a large head's buffer grows, or a quarter of it if that is more: a slow head costs what came of it and
/// little more, a fast one of 48 KiB takes eight reads.
pub const HEAD_GROWTH_BYTES: usize = 4 * 1024;
/// Bytes read from a client after an answer that closes, so that the close does not destroy the answer.
pub const LINGER_BYTES_MAX: usize = 256 * 1024;
/// How long to read them, microseconds, once the client has acknowledged the whole answer.
pub const LINGER_US: u64 = 1_000_000;
/// How long a client may take for what is queued of an answer that closes, microseconds, however slowly it goes on: a
/// send queue of 4 MiB in that time is 35 kB/s.
pub const LINGER_QUEUED_US_MAX: u64 = 120_000_000;
/// Acknowledgements wake nobody: they are looked for this often, microseconds.
pub const LINGER_LOOK_US: u64 = 100_000;
/// How long a kept connection without a request stays open when the engine stops, microseconds: a request that is on its
/// way, or comes now, still gets its answer, and learns from it that the connection closes.
pub const DRAIN_IDLE_US: u64 = 1_000_000;
/// A response that waits beside a request body looks at its own deadline this often, microseconds.
pub const DUPLEX_LOOK_US: u64 = 500_000;
/// After so long without a word of either side of a tunnel it is looked whether there is one behind urgent data,
/// microseconds: rare enough to cost nothing, soon enough for whoever waits.
pub const URGENT_LOOK_US: u64 = 10_000;
/// While a server is silent, a client's connection is looked at this often, microseconds: nothing is read from it then,
/// so that a reset shows nowhere else. An answer that comes sooner pays for no look; one that
/// does not, for a few system calls each time.
pub const CLIENT_LOOK_US: u64 = 1_000_000;
/// Requests that wait for a server look again this often, microseconds: a place may come free on another worker.
pub const QUEUE_LOOK_US: u64 = 32_000;
/// Places of a queue that are kept for those who come next, on each worker: as many as may wait by default.
pub const QUEUE_SPARES_MAX: usize = 128;
/// Connections accepted between two looks at the other tasks, so that a flood of new ones starves nobody.
pub const ACCEPTS_PER_TURN: usize = 32;
/// Bytes of the longest datagram that UDP carries, over either version of IP.
pub const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Datagrams of one socket that are passed on before the other tasks get a turn: two system calls each, some 100 us.
pub const DATAGRAMS_PER_TURN: usize = 32;
/// Flows of datagrams have one of so many parts of a worker's places for connections, so that a flood of them leaves room
/// for everybody else.
pub const FLOWS_SHARE: usize = 2;
/// Refusals of servers that a worker remembers: each new flow looks through them.
pub const REFUSALS_KEPT_MAX: usize = 64;
/// How long, microseconds: resolvers ask again after 5 s.
pub const REFUSAL_US: u64 = 10_000_000;
/// Pause after an accept failed for want of descriptors or memory, microseconds.
pub const ACCEPT_PAUSE_US: u64 = 50_000;
/// Idle server connections are looked through this often, microseconds.
pub const UPSTREAM_SWEEP_US: u64 = 1_000_000;
/// The worker says that it lives this often, microseconds: a tenth of the shortest time to be called stuck.
pub const TICK_US: u64 = 100_000;
/// Requests on a connection between two samples of its round-trip time: a sample is a system call.
pub const RTT_EVERY: u32 = 1024;
/// Edits of one message by rules that need no memory of their own.
pub const EDITS_INLINE: usize = 16;
/// Bytes that a task passes on before the other tasks get a turn: an endless stream between two fast peers must
/// not make the others wait; two reads of a large buffer, or one of [`BULK_BUFFER_BYTES`], cost some 50 us.
pub const BURST_BYTES_MAX: u64 = 2 * BODY_BUFFER_BYTES as u64;
/// Bytes that a worker holds for clients and servers that take nothing at the moment. Beyond it only small pieces are read
/// for anybody, so that thousands of stalled bodies cost a few KiB each, not a large buffer each.
pub const HELD_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Pipelined requests of one client that are served before the other tasks get a turn: some 50 us of our own answers.
pub const REQUESTS_PER_TURN: u32 = 16;

/// Milliseconds that an answer waits for another engine to have a new entry, at most: many times what a member in the same
/// site takes.
pub const ACK_WAIT_MS: u64 = 20;

/// Answers of one worker that wait for another engine at once: those of 20 ms at 800,000 new entries a second.
pub const RECEIPTS_MAX: usize = 16_384;
