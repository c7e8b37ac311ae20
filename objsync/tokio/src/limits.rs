//! Every bound of the driver, with its reason.

use std::time::Duration;

/// How long connecting and the handshake may take: a member in the same site needs milliseconds.
pub const HANDSHAKE: Duration = Duration::from_secs(3);

/// How long is waited for a connection; what is left of [`HANDSHAKE`] is for the handshake.
pub const CONNECT: Duration = Duration::from_secs(2);

/// Pause between two first words of one call: where one is lost the system says it again after a second only, then after two,
/// while a link may be whole again from one moment to the next. A member in the same site answers within a few milliseconds.
pub const CALL_AGAIN: Duration = Duration::from_millis(100);

/// First words of one call that wait for an answer: a member that is half a second away is heard.
pub const CALLS_AT_ONCE: usize = 5;

/// How long is waited for a socket that another process is giving up: it has been told to.
pub const GIVEN_UP: Duration = Duration::from_secs(1);

/// Handshakes under way that others began; what comes beyond is dropped. A group has at most 64 members.
pub const HANDSHAKES_MAX: usize = 64;

/// The same of those who come from where no member is: a mirror, and who is none.
pub const STRANGERS_MAX: usize = 4;

/// Connections that one address may begin in a second: each costs two signatures.
pub const TRIES_PER_SECOND: u32 = 10;

/// Wait before a member is called again: the first time, and at most. Half of it is random, so that members that start
/// together do not call together.
pub const REDIAL_MS: u64 = 200;
/// See [`REDIAL_MS`].
pub const REDIAL_MAX_MS: u64 = 300;

/// The same where nothing has left this machine, because it has no link or not the address: that costs a system call, and is
/// over from one moment to the next.
pub const REDIAL_HERE_MS: u64 = 40;

/// The same of a member that ends connections at once: each costs both sides two signatures, and what is the matter is
/// mended by people.
pub const REFUSED_MAX_MS: u64 = 5_000;

/// A connection that stood for so long was no refusal.
pub const STOOD: Duration = Duration::from_secs(5);

/// Who should call and has not for so long is missed in the log: one that is there calls every second.
pub const CALLS_WITHIN: Duration = Duration::from_secs(10);

/// Reasons for which a member is not reached that are told in the log, until it is: each one once.
pub const REASONS_MAX: usize = 8;

/// Bytes that are read at once.
pub const READ_BYTES: usize = 64 * 1024;

/// Pieces of what members sent that wait for the engine, of all members together; then nobody is read from.
pub const PIECES_MAX: usize = 32;

/// Bytes that wait to be sent, to all members together: what members that do not read cost at most. Beyond, the connection
/// with the one for which most waits is ended, and the tables are compared with it when it is back.
pub const QUEUED_BYTES_MAX: usize = 32 << 20;

/// Where less waits for each member there cannot be too much for all of them: there are 63 at most.
pub const QUEUED_UNSUSPICIOUS: usize = QUEUED_BYTES_MAX / 64;

/// Bytes on their way to all members together: half of what may wait, so that members that are only slow are not ended. The
/// rest is for what comparisons state of a range and for answers, which nobody holds back.
pub const WINDOWS_BYTES: usize = QUEUED_BYTES_MAX / 2;

/// How often what is known of members is made known.
pub const VIEW: Duration = Duration::from_millis(100);

/// How often the log names strangers, with their number.
pub const TOLD: Duration = Duration::from_secs(10);

/// Wait before changes of workers are looked for again, after some were found so often in a millisecond: they travel
/// together.
pub const GATHER: Duration = Duration::from_millis(1);

/// Steps without anything to say that follow one another at once, at most; then the timer is waited for. A partition of which a
/// peer lacks nothing is such a step, and so is a slice of a comparison: ten million entries have some hundred of them a range.
pub const IN_VAIN_MAX: u32 = 1_024;

/// How long the last words of an engine that stops may take to leave: a member that stands still keeps nobody.
pub const LEAVE: Duration = Duration::from_millis(100);

/// How often in a millisecond workers wake the driver for what they have changed: each time costs them a system call.
pub const LOOKS_AT_ONCE: u32 = 2;

/// How long is waited for one that only reads to be there, where no member has a table: as long as an engine that joins waits.
pub const READER_WITHIN: Duration = Duration::from_millis(forebay_objsync::limits::GIVE_MS);

/// How long new tables count as not being here while what one that only reads has of them keeps coming: what half a million entries
/// take, several times. All else that a configuration brings waits as long.
pub const HELD_WITHIN: Duration = Duration::from_secs(2);

/// The same while nothing comes of it: a hundred times what an answer takes.
pub const GIVE_SILENCE: Duration = Duration::from_millis(250);

/// One that has said nothing for so long does not answer soon: who lives speaks every second.
pub const LIVES_WITHIN: Duration = Duration::from_millis(forebay_objsync::limits::KEEP_MS + 500);

/// How long a member that has come is waited for to say which tables it has: it does with its first words.
pub const KEPT_WITHIN: Duration = Duration::from_millis(500);

/// How long what was asked for is taken: another Controller leads within seconds, and calls.
pub const GIVEN_WITHIN: Duration = Duration::from_secs(60);

/// How often those that only read are told of tables and servers.
pub const TELL_READERS_EVERY: Duration = Duration::from_secs(1);

/// In which time the next two are counted.
pub const COUNTED_IN: Duration = Duration::from_secs(10);

/// How often a member tells one that only reads of its tables in that time, at most: once a second, and with each connection.
pub const CATALOGUES_MAX: u32 = 40;

/// How often all that is held is read for one member in that time: it asks when it has new tables. What it asks beyond that waits.
pub const GIVES_MAX: u32 = 10;

/// Bytes that wait for a member beyond which the next partition is not read for it.
pub const GIVE_AHEAD: usize = 4 << 20;

/// How long a comparison with every member may take that somebody waits for.
pub const VERIFY: Duration = Duration::from_secs(30);
