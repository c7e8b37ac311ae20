//! What an engine is told, what it wants done, and what it knows.

use alloc::vec::Vec;

use forebay_core::table::{EngineSlot, GroupMillis, Hasher, KeyBytes, TableId};
use forebay_core::units::Now;

use crate::limits::{DIRTY_MAX, OWED_BYTES, SLICE, WINDOW_BYTES};
use crate::wire::Bad;

/// How much may wait for one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Keys that wait to be told, at least 1; [`crate::limits::DIRTY_MAX`].
    pub dirty: usize,
    /// Bytes that are not acknowledged, at least 1; [`crate::limits::WINDOW_BYTES`].
    pub window: usize,
    /// Bytes that note what is to be sent to it because it asked, at least 1; [`crate::limits::OWED_BYTES`].
    pub owed: usize,
    /// What of a comparison is read at once; [`crate::limits::SLICE`].
    pub slice: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { dirty: DIRTY_MAX, window: WINDOW_BYTES, owed: OWED_BYTES, slice: SLICE }
    }
}

/// What an engine is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its place in the group.
    pub me: EngineSlot,
    /// Its incarnation: a number that no earlier start of this slot had.
    pub boot: u64,
    /// Whose tables they are; a peer of another group is refused.
    pub group: u64,
    /// Sums are keyed with what the group alone knows.
    pub sums: Hasher,
    /// All members, one bit a slot.
    pub members: u64,
    /// Engines that only read, one bit a slot, this one perhaps; none of them is one of the members. They need places of
    /// their own, and have nothing open.
    pub readers: u64,
    /// The wall clock when the engine starts: the group's time if nobody knows a better one.
    pub wall: GroupMillis,
    /// Below this the group's time cannot be (a snapshot's, and a minute).
    pub floor: GroupMillis,
    /// How much may wait for a peer.
    pub bounds: Bounds,
}

/// What has happened.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// The members of the group are others now, one bit a slot; [`Event::Cleared`] tells of each that is none any more.
    Members(u64),
    /// Who only reads are others now, one bit a slot.
    Readers(u64),
    /// A connection with a member stands; an earlier one is gone.
    Up(EngineSlot),
    /// It is lost.
    Down(EngineSlot),
    /// A frame of it: type and body, as [`crate::wire::split`] gives them.
    Frame(EngineSlot, &'a [u8]),
    /// This engine has written, removed, first opened or last closed an entry. Who gives a number is told when a peer has
    /// it.
    Changed(TableId, KeyBytes, Option<u64>),
    /// Compare with every peer now; [`Output::Verified`] tells of each.
    Verify,
    /// There are tables here that there were not: compare with every peer as at the start, entries that were written a moment
    /// ago included, which others told before they could be taken. [`PeerFigures::synced`] tells when that is done.
    Renewed,
    /// This engine stops: whoever speaks protocol 2 is told that nothing is open here any more.
    Leave,
    /// [`Engine::wake`](super::Engine::wake) has come.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes.
    Send(EngineSlot, Vec<u8>),
    /// End the connection; there is none any more.
    Close(EngineSlot, Why),
    /// A peer has applied the change that was given this number.
    Acknowledged {
        /// The number.
        ticket: u64,
        /// The peer.
        by: EngineSlot,
    },
    /// A comparison that [`Input::Verify`] asked for is through: [`Engine::verdict`](super::Engine::verdict) has what it found.
    Verified(EngineSlot),
    /// Worth telling people.
    Event(Event),
}

/// Why a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is not who it should be, or no member.
    Stranger,
    /// It belongs to another group, or has another secret.
    Group,
    /// No protocol is spoken by both.
    Protocol,
    /// It did not introduce itself, skipped a number, or acknowledged what was not sent.
    Nonsense,
    /// A frame could not be read.
    Bad(Bad),
    /// Nothing was heard of it for too long.
    Silent,
    /// Its clock is too far ahead of the group's time; see [`Event::Ahead`].
    Clock,
    /// It asks for more and more, and takes nothing of it.
    Owed,
}

/// What people should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The tables are complete, or were waited for long enough: the engine may serve.
    Joined {
        /// All members were heard of and compared with.
        complete: bool,
    },
    /// A member's clock moved the group's time by this many milliseconds.
    Stepped(EngineSlot, u64),
    /// As many members as are not are far behind this engine, or more: its time, or that of what it had taken before it
    /// knew the group's, went back by this many milliseconds, to theirs.
    WentBack(u64),
    /// A member's clock is ahead of the group's time by this many milliseconds, more than is followed on the word of fewer
    /// than half of those that are heard: the connection was ended.
    Ahead(EngineSlot, u64),
    /// What entries of this engine add up to is not what was written into them: its memory failed. They are loaded anew from
    /// peers, and not offered to any until then.
    Distrusted {
        /// What the group calls the table.
        table: u64,
        /// The first of its 4,096 buckets that is concerned.
        bucket: u16,
    },
    /// Changes for a peer were more than there is room for: the tables are compared with it anew.
    Overflowed(EngineSlot),
    /// Who had this slot is no member any more: here nothing counts as open on it, and it is not heard. When all members
    /// say so the slot may be given to another engine; see [`crate::slots::Slots`].
    Cleared(EngineSlot),
}

/// What only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Entries that were sent as changes, and as what a peer lacked.
    pub told: u64,
    /// See `told`.
    pub repaired: u64,
    /// Entries that came and changed something here.
    pub applied: u64,
    /// Entries of tables or servers that are not in this configuration.
    pub unknown: u64,
    /// Entries for which the table had no room.
    pub refused: u64,
    /// Frames that had been applied before.
    pub repeated: u64,
    /// Frames of a type that is not known.
    pub skipped: u64,
    /// Entries with a stamp too far ahead of the group's time.
    pub ahead: u64,
    /// Connections that were ended because a peer asked for more and more and took nothing.
    pub owed: u64,
}

/// What is known of one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerFigures {
    /// A connection stands and both have introduced themselves.
    pub connected: bool,
    /// It only reads.
    pub reads: bool,
    /// The number of the protocol that is spoken with it; 0 while it is not connected.
    pub protocol: u16,
    /// The tables were compared since, and all that was missing was told.
    pub synced: bool,
    /// Keys that wait to be told.
    pub waiting: usize,
    /// Bytes that are not acknowledged.
    pub in_flight: usize,
    /// Bytes that note what it asked for and was not sent yet.
    pub owed: usize,
    /// Bytes of its questions that wait for time to be spent on them.
    pub asked: usize,
    /// Changes that are not acknowledged, those that wait included.
    pub behind: usize,
    /// Since when the oldest of them waits.
    pub behind_since: Option<Now>,
    /// Cells, of 65,536 of each table, that differed in the last comparison.
    pub differing: u32,
    /// When that range, of 64, was last found equal that was so longest ago; `None` if one never was in this connection.
    pub proven: Option<Now>,
    /// Comparisons that are through. This and what follows only grows, over all connections.
    pub rounds: u64,
    /// Bytes of frames that came.
    pub bytes_in: u64,
    /// Bytes of frames that were sent.
    pub bytes_out: u64,
    /// Entries that were told to it as changes.
    pub told: u64,
    /// Entries of it that changed something here.
    pub applied: u64,
    /// Entries that were sent to it because a comparison showed that it lacked them.
    pub repaired: u64,
}

/// What the last comparison with a peer found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// When it began.
    pub began: Now,
    /// The tables in which something differed or was lost; the others are equal.
    pub tables: Vec<TableVerdict>,
}

impl Verdict {
    /// Cells that differed, of all tables.
    pub fn differing(&self) -> u32 {
        self.tables.iter().fold(0, |sum, table| sum.saturating_add(table.differing))
    }
}

/// What a comparison found in one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableVerdict {
    /// What the group calls it.
    pub table: u64,
    /// Cells, of 65,536, with settled entries that differed.
    pub differing: u32,
    /// Buckets, of 4,096, in which they are: the first [`crate::limits::BUCKETS_TOLD`].
    pub buckets: Vec<u16>,
    /// Cells of which this engine lost entries for want of room: they are compared in part.
    pub partial_here: u32,
    /// The same of the peer.
    pub partial_there: u32,
}
