//! Every bound of the channel, with its reason.

use std::time::Duration;

/// Bytes of a configuration's piece: far below the 4 MiB that a receiver of gRPC takes by default, so that other messages get
/// their turn between two pieces.
pub const PART_BYTES: usize = 512 << 10;

/// Bytes of a configuration's sections, keys included: an engine reads documents of 16 MiB, and what certificates and rules
/// take beside stays far below twice that.
pub const CONFIGURATION_BYTES_MAX: usize = 32 << 20;

/// Bytes of one message, either way: a piece, or a report of [`REPORTED_MAX`] entries, with room to spare.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Services and servers that one report names: some hundred bytes each.
pub const REPORTED_MAX: usize = 2_000;

/// Bytes of an engine's answer to a question: what is longer is answered by a refusal that says so.
pub const ANSWER_BYTES_MAX: usize = 2 << 20;

/// Bytes of a token's text: a secret and an authority's certificate.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;

/// Connecting and the handshake take no longer.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

/// The first message of a stream, and the answer to a call, come within this.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A Controller asks an engine whether it lives when nothing came for so long, and gives it as long to answer: the question waits
/// behind pieces of a configuration, of which a slow line carries one in seconds.
pub const ALIVE: Duration = Duration::from_secs(10);

/// An engine asks its Controller whether it lives when nothing came for so long, and then waits so long for an answer: within 5 s
/// it misses a machine that was lost without a word. While pieces of a configuration come nothing is asked.
pub const MISSED: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(2_500));

/// Problems that are told of one configuration, and bytes of each: people read them.
pub const PROBLEMS_MAX: usize = 100;
/// See [`PROBLEMS_MAX`].
pub const PROBLEM_BYTES_MAX: usize = 1_000;

/// Services of which an engine tells that it could not take them as they are: with [`UNTAKEN_WHYS_MAX`] a report stays far below
/// [`MESSAGE_BYTES_MAX`].
pub const UNTAKEN_MAX: usize = 1_000;
/// Reasons of each: people read them.
pub const UNTAKEN_WHYS_MAX: usize = 4;
/// Bytes of a reason.
pub const UNTAKEN_BYTES_MAX: usize = 500;

/// Bytes of the records of one message before they are compressed: a hundred records, or one of the longest with room to spare.
pub const LOG_BATCH_BYTES: usize = 64 << 10;

/// Messages of records that are on their way before one of them is answered: 100 ms apart they carry 40 batches a second.
pub const LOGS_AHEAD_MAX: usize = 4;

/// A stretch of time for which an engine tells what it has counted, in milliseconds.
pub const STRETCH_MS: u64 = 5_000;

/// Tallies of one sample: some two hundred bytes each, four hundred at worst.
pub const TALLIES_MAX: usize = 2_000;

/// Samples that an engine has sent and of which it has not heard: the Controller writes them together.
pub const SAMPLES_OPEN: usize = 16;
