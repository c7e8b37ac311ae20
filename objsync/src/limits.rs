//! Every bound of object sync, with its reason.

/// The newest protocol that is spoken here. 2 has [`crate::wire::Frame::Leave`] besides what 1 has; by 3 values are told that
/// are no servers, and engines that only read are spoken with.
pub const PROTOCOL: u16 = 3;

/// The first protocol by which values are told that are no servers.
pub const PROTOCOL_VALUES: u16 = 3;

/// Bytes of one value: a session of TLS with the certificates of both sides has room in it.
pub const VALUE_BYTES_MAX: usize = 4_096;

/// Milliseconds for which a value lives at most after it was written: a day. That long a removal is remembered.
pub const VALUE_LIFE_MAX_MS: u64 = 86_400_000;

/// Shares of one count: each of 64 engines and one earlier incarnation of each. What there is no room for is refused.
pub const SHARES_MAX: usize = 128;

/// Values that are sent in one step: a quarter of what may be on its way.
pub const VALUES_A_STEP: usize = 64;

/// The first protocol by which engines that only read are spoken with: an earlier one takes them for members.
pub const PROTOCOL_READERS: u16 = 3;

/// The oldest protocol that is spoken here.
pub const PROTOCOL_MIN: u16 = 1;

/// Bytes of a frame behind its length: what a peer can make this engine hold at once.
pub const FRAME_MAX: usize = 1 << 20;

/// Bytes of entries after which a frame ends: large enough for the cost of a frame not to count, small enough for live
/// changes to find room between bulk.
pub const BATCH_BYTES: usize = 64 * 1024;

/// Milliseconds that a change waits for others to travel with, where many batches have left in this millisecond.
pub const BATCH_MS: u64 = 1;

/// Batches that leave at once in each millisecond: a change that comes alone does not wait, and a stream of them costs no
/// more frames than this.
pub const BATCHES_AT_ONCE: u32 = 4;

/// Milliseconds after the last word to a peer in which changes that come are acknowledged together: each acknowledgement costs
/// both sides a wake-up and a segment.
pub const ACK_MS: u64 = 2;

/// Keys that wait to be told to one peer. 65,536 are a second at 50,000 changes; beyond, the table is compared anew.
pub const DIRTY_MAX: usize = 65_536;

/// Bytes on their way to a peer that it has not acknowledged; changes wait beyond that.
pub const WINDOW_BYTES: usize = 1 << 20;

/// The hash space is compared in this many ranges, one after another, so that neither memory nor time of one step grows
/// with more than a 64th of the table.
pub const RANGES: u8 = 64;

/// Parts of a range whose sums travel first.
pub const GROUPS: u16 = 64;

/// Parts of such a part, whose sums travel where those differ.
pub const CELLS_PER_GROUP: u16 = 16;

/// Ranges under way at once while a peer that has just come is compared with.
pub const RANGES_AHEAD: u8 = 4;

/// Milliseconds for which comparing waits for what a peer that is back has written meanwhile, counted anew with every frame
/// of it. A peer of an earlier release tells nothing: so much later is compared.
pub const RESUME_MS: u64 = 300;

/// Milliseconds by which what is told to a peer that is back begins before it was lost: what was written then may not have
/// been heard of yet.
pub const RESUME_BEFORE_MS: u64 = 250;

/// Milliseconds from one comparison with a peer to the next.
pub const ROUND_MS: u64 = 10_000;

/// Milliseconds for which an entry that has just changed is not judged, at least; twice as long at most: the change may be
/// on its way.
pub const SETTLE_MS: u64 = 2_000;

/// Entries that may have changed in that time, 65,536 a second; where there are more, nothing is judged until it is over.
pub const RECENT_MAX: usize = 131_072;

/// Tables whose sums travel in one frame: what is answered has 1,024 sums of 18 bytes of each, and is one frame too.
pub const TABLES_A_FRAME: usize = 48;

const _: () = assert!(TABLES_A_FRAME * (GROUPS * CELLS_PER_GROUP) as usize * 18 < FRAME_MAX * 9 / 10);

/// Cells of a range that differ from a peer up to which this engine asks whether its own memory is the reason, which reads
/// their partitions once more; where more differ, something else is.
pub const SUSPECTS_MAX: usize = 64;

/// Parts of the tables whose entries are not trusted: memory with more errors than that is not worth loading anew.
pub const DISTRUSTED_MAX: usize = 1_024;

/// Milliseconds after which a part is trusted again although no peer was found to have the same: three comparisons.
pub const DISTRUST_MS: u64 = 3 * ROUND_MS;

/// Buckets of a table in which a comparison found a difference that are told by number.
pub const BUCKETS_TOLD: usize = 16;

/// Bytes of frames of comparisons that wait for a budget of time, for each peer; what comes beyond is answered at once.
pub const WAITING_BYTES: usize = 4 << 20;

/// Bytes that note what a peer asked for and has no room to take yet: the keys of a million entries. A peer that is sound
/// does not get there, because its further questions wait from [`OWED_WAIT_BYTES`] on.
pub const OWED_BYTES: usize = 16 << 20;

/// Bytes of such notes from which further questions of comparisons wait until some of it was taken.
pub const OWED_WAIT_BYTES: usize = 2 << 20;

/// What is read of a comparison before changes are looked for again: buckets, an entry counts for eight of them; never less than
/// a partition. About 100 microseconds.
pub const SLICE: usize = 8_192;

/// Buckets of a partition (three entries each) that are read under one lock: about 100 microseconds.
pub const BUCKETS_A_LOCK: u32 = 512;

/// Microseconds of its share that comparing may use at once.
pub const BURST_US: u64 = 1_000_000;

/// Milliseconds before its end from which an entry is not compared: it ends on each engine by its own clock.
pub const NEAR_END_MS: u64 = 12_000;

/// Coarseness in which idle times are compared with a peer that has just come.
pub const AGE_MS: u64 = 12_000;

/// Milliseconds by which an idle time must be younger to be worth telling.
pub const AGE_WORTH_MS: u64 = 1_000;

/// Keys whose entries are sent in one step; the rest waits for room in the peer's window.
pub const ANSWER_MAX: usize = 2_048;

/// Milliseconds of silence after which something is sent to keep the connection.
pub const KEEP_MS: u64 = 1_000;

/// Milliseconds of silence after which a connection is given up.
pub const SILENCE_MS: u64 = 5_000;

/// Milliseconds after the loss of a connection until what the peer had open counts as closed.
pub const DEAD_MS: u64 = 5_000;

/// Milliseconds for which entries are held while a peer that has come is compared with: a slow peer must not keep
/// entries for ever.
pub const HOLD_MS: u64 = 30_000;

/// Milliseconds after which an engine that starts serves although it did not hear of every member.
pub const JOIN_MS: u64 = 10_000;

/// Milliseconds after which an engine that starts and hears nobody who serves asks those that only read: who serves and is
/// there has been heard by then.
pub const GIVE_MS: u64 = 2_000;

/// Milliseconds after which it serves although the tables of those it heard of are not complete.
pub const JOIN_LATEST_MS: u64 = 30_000;

/// A step of group time by more than this is an event.
pub const STEP_TOLD_MS: u64 = 60_000;

/// Milliseconds by which a member's clock may be ahead of the group's time to be followed on its own word, and by which a
/// stamp may be. Wall clocks that are wrong by ten minutes either way stay far below it.
pub const AHEAD_MAX_MS: u64 = 3_600_000;

/// Milliseconds from one step back to the next, each of which reads the whole table: a member cannot ask for more.
pub const BACK_PAUSE_MS: u64 = 10_000;

/// Milliseconds for which a member's word about the time counts.
pub const CLOCK_HEARD_MS: u64 = 60_000;

/// Changes whose acknowledgement is awaited, at most; beyond, the oldest is not told any more.
pub const TICKETS_MAX: usize = 65_536;

/// Entries that a peer cannot take, because its configuration lacks their servers, and that are not sent again: 3 MiB.
/// What comes beyond is sent in every comparison.
pub const FOREIGN_MAX: usize = 65_536;

/// A clock beyond this, in the year 2097, is none: the minute of an entry's birth has 26 bits, and group time never goes back.
pub const CLOCK_MAX: u64 = forebay_core::table::limits::BIRTH_MAX as u64 * 60_000;

/// The latest clock that is taken, ten years before that: an engine that has taken it runs on for long before what it
/// tells is none.
pub const CLOCK_TAKEN_MAX: u64 = CLOCK_MAX - 10 * 365 * 86_400_000;

/// Milliseconds by which small steps may lead the group's time beyond the own wall clock: nobody's clock is wrong by a day
/// and right by an hour, and the steps of one member end there.
pub const WALL_AHEAD_MAX_MS: u64 = 86_400_000;

/// A member that was away for so long, in milliseconds, may hold entries anew though it never got in sync.
pub const HOLD_AGAIN_MS: u64 = 10 * HOLD_MS;
