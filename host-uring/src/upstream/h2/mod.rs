//! HTTP/2 to servers: one connection, many requests.
//!
//! A [`Trunk`](trunk::Trunk) owns a connection: its socket, the engine of `forebay_http::h2` and one buffer of frames that all
//! its streams write into. Each request is lent a [`Part`](part::Part) of one, which reads and writes as a connection of
//! HTTP/1.1 would, so that the exchange has one code for both: [`Link`] is either. [`Trunks`]
//! are all that a worker has.

mod lane;
mod link;
mod part;
mod trunk;
mod trunks;

pub use link::Link;
pub use part::Lost;
pub use trunks::{Trunks, part};

/// Requests on one connection at once, whatever more its server allows: beyond it another connection is opened. As many as
/// RFC 9113 6.5.2 wants from every server; what a connection's end takes with it is bounded as well.
pub(crate) const STREAMS_MAX: usize = 100;

/// What a server may send on one stream before its client has taken it, in bytes: what a client that stands still makes us
/// hold. Nearly all answers fit into it; 1,000 streams that stand still hold 32 MiB.
const STREAM_WINDOW: u32 = 32 * 1024;

/// What is added to it once its client has taken half of it, while few streams have that: 64 MB/s from a server 1 ms away.
const STREAM_WINDOW_MORE: u32 = 32 * 1024;

/// How many streams of a worker have that at once: 8 MiB, should all their clients stand still then.
const WIDE_MAX: usize = 256;

/// The same for a whole connection: enough for all its streams, so that clients that stand still never stop the others.
//= H2BACK-FLOW-01
const CONNECTION_WINDOW: u32 = (STREAM_WINDOW + STREAM_WINDOW_MORE) * STREAMS_MAX as u32;

/// Frames that wait for the socket, in bytes: streams write no content beyond it. As much as one large write.
const OUT_BYTES_MAX: usize = 64 * 1024;

/// Content that is worth a frame of its own while more of it waits, in bytes: a hundred times the frame's head. Of a server whose
/// first window is less than twice that half of the window is.
const WORTHWHILE_BYTES: usize = 1024;

/// How long, microseconds, content waits for a window to open so far before what fits is sent: a server may open it no
/// further before it has that.
const SILLY_US: u64 = 100_000;

/// Frames of all kinds that wait for the socket, in bytes: beyond it the connection is lent to no further request, and its
/// server is not heard, whose frames might want answers.
const STUCK_BYTES: usize = 256 * 1024;

/// How long, microseconds, a server with requests under way may be silent before it is asked for a sign of life. Each
/// further time of the same silence is [`PING_TIMES`] as long, up to [`PING_AFTER_US_MAX`]: servers of gRPC close connections
/// that ask more often than every five minutes while they have nothing to say, from the third time on.
const PING_AFTER_US: u64 = 20_000_000;
const PING_TIMES: u64 = 4;
const PING_AFTER_US_MAX: u64 = 320_000_000;

/// How long it may take to answer, microseconds.
const PONG_US: u64 = 10_000_000;

/// How long the end of a stream may stay out once all its content is here, microseconds. Until then the stream is not reset:
/// servers count resets.
const END_US: u64 = 1_000_000;
