//! What engines say to one another: a little-endian `u32` of length, a byte of type, a postcard body.
//!
//! What stands here is frozen for the protocol number that it began with; `objsync/tests/golden.rs` has its bytes.

mod entry;

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use forebay_core::table::{EngineSlot, GroupMillis, KeyBytes};
use serde::{Deserialize, Serialize};

use crate::limits::{FRAME_MAX, GROUPS, RANGES, TABLES_A_FRAME};
use crate::values::Item;
pub use entry::{Pack, Packer};

/// The first words on a connection, from both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The newest protocol that the sender speaks, and the oldest.
    pub protocol: u16,
    /// See `protocol`; the lower of the two newest is spoken.
    pub protocol_min: u16,
    /// Bits for what the sender is: [`Hello::READS`]. Others are not looked at.
    pub features: u64,
    /// The sender's slot.
    pub slot: EngineSlot,
    /// The sender's incarnation: another number after each start.
    pub boot: u64,
    /// Whose tables they are.
    pub group: u64,
    /// The sender's group time; 0 if it does not know it.
    pub clock: GroupMillis,
}

impl Hello {
    /// The sender only reads: it tells nothing and is waited for by nobody. From protocol 3 on.
    pub const READS: u64 = 1;
}

/// The beginning of every other frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The sender's group time.
    pub clock: GroupMillis,
    /// The number of the frame in this connection, from 1; 0 for one that only acknowledges.
    pub number: u64,
    /// All frames up to this number have been applied.
    pub ack: u64,
}

/// The sum over a part of a table.
pub type Sum = [u8; 16];

/// Sums of one table, of the groups of a range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// The table.
    pub table: u64,
    /// Of each group with entries: its place in the range, and its sum.
    pub groups: Vec<(u16, Sum)>,
}

/// Sums of one table, of the cells of those groups that differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cells {
    /// The table.
    pub table: u64,
    /// The groups that differ, one bit each.
    pub groups: u64,
    /// Of each cell with entries in those groups: its place in the range, and its sum.
    pub cells: Vec<(u16, Sum)>,
}

/// Entries of one table in a few cells, by short hashes of their keys and of what is compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing<'a> {
    /// The table.
    pub table: u64,
    /// Cells by their places in the range, and how many entries each has.
    pub cells: Vec<(u16, u32)>,
    /// Which of those cells lost entries for want of room.
    pub partial: Vec<u16>,
    /// [`Short`] for each entry, in the order of the cells.
    pub shorts: &'a [u8],
}

/// 32 bits of a key's hash and 32 of the hash of all that is compared, little-endian, other ones in every comparison: two
/// entries that differ are taken for equal in one of 2^32 comparisons.
pub type Short = [u8; 8];

/// What a comparison found in one table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The table.
    pub table: u64,
    /// Cells, of 65,536, in which settled entries differed.
    pub differing: u32,
    /// Cells that lost entries for want of room on the side that says this.
    pub partial: u32,
    /// Buckets, of 4,096, in which cells differ: the first few.
    pub buckets: Vec<u16>,
}

/// What is held of keys of one table of values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The table.
    pub table: u64,
    /// By key.
    pub items: Vec<(KeyBytes, Item)>,
}

/// Where a comparison stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The number of the comparison in this connection.
    pub round: u32,
    /// The peer has just come, or changes were lost: everything that differs is told, also what changed a moment ago.
    pub fresh: bool,
    /// The range, 0 to 63.
    pub range: u8,
}

/// What can be said after [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Both sides begin with it.
    Hello(Hello),
    /// Nothing but the acknowledgement.
    Ack(Head),
    /// What the sender changed.
    Changes(Head, Vec<Pack<'a>>),
    /// The sender's sums of a range.
    Sums(Head, Step, Vec<Sums>),
    /// The answer to it.
    Cells(Head, Step, Vec<Cells>),
    /// What the receiver lacks.
    Repair(Head, Vec<Pack<'a>>),
    /// A comparison is through; what differed, and what the sender lost for want of room.
    RoundEnd(Head, u32, Vec<Found>),
    /// And all that was missing has been sent; what the sender lost for want of room.
    RoundDone(Head, u32, Vec<Found>),
    /// Changes were lost: compare anew.
    Again(Head),
    /// The sender's entries in cells that differ.
    Lists(Head, Step, Vec<Listing<'a>>),
    /// Those of them that the receiver of the list lacks, or has otherwise; and by table the cells in which it has others.
    Want(Head, Step, Vec<Listing<'a>>, Vec<(u64, Vec<u16>)>),
    /// Compare now.
    Look(Head),
    /// The sender stops: it has nothing open any more. From protocol 2 on; it has no number, for it is the last word.
    Leave(Head),
    /// Entries that were not taken, by table and key, before what told of them is acknowledged; `true`: their table or server is
    /// not known. It has no number, and who does not know it skips it.
    Untaken(Head, u64, bool, Vec<KeyBytes>),
    /// Values that are no servers, from protocol 3 on; `true`: the sender has changed them, else the receiver lacks them.
    Values(Head, bool, Vec<Held>),
    /// The sender joins and hears nobody who serves: one that only reads may give it what it has. It has no number, and who does
    /// not know it skips it.
    Give(Head),
}

/// What a frame is, as the byte of type says.
//= SYNC-WIRE-03
mod kind {
    pub const HELLO: u8 = 1;
    pub const ACK: u8 = 2;
    pub const CHANGES: u8 = 3;
    pub const SUMS: u8 = 4;
    pub const CELLS: u8 = 5;
    pub const REPAIR: u8 = 7;
    pub const ROUND_END: u8 = 8;
    pub const ROUND_DONE: u8 = 9;
    pub const AGAIN: u8 = 10;
    pub const LISTS: u8 = 11;
    pub const WANT: u8 = 12;
    pub const LOOK: u8 = 13;
    pub const LEAVE: u8 = 14;
    pub const UNTAKEN: u8 = 15;
    pub const VALUES: u8 = 16;
    pub const GIVE: u8 = 17;
}

/// Why a frame is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// It is longer than [`FRAME_MAX`], or empty.
    Length(usize),
    /// Its body is not what its type says.
    Body(u8),
    /// The type is not known to the spoken protocol: it may be skipped.
    Unknown(u8),
}

impl core::fmt::Display for Bad {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Length(n) => write!(f, "a frame of {n} bytes: 1 to {FRAME_MAX} are allowed"),
            Self::Body(kind) => write!(f, "the body of a frame of type {kind} cannot be read"),
            Self::Unknown(kind) => write!(f, "type {kind} is not known"),
        }
    }
}

impl core::error::Error for Bad {}

/// The first frame in `bytes` (type and body), and how many bytes it takes with its length; `None` if it is not whole.
///
/// # Errors
/// [`Bad::Length`].
//= SYNC-WIRE-01
pub fn split(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Bad> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*length) as usize;
    if !(1..=FRAME_MAX).contains(&length) {
        return Err(Bad::Length(length));
    }
    Ok(rest.get(..length).map(|frame| (frame, 4 + length)))
}

impl Listing<'_> {
    /// Whether there is a short for each entry that was counted.
    fn is_sound(&self) -> bool {
        let entries = self.cells.iter().try_fold(0usize, |sum, (_, n)| sum.checked_add(*n as usize));
        entries.and_then(|n| n.checked_mul(size_of::<Short>())) == Some(self.shorts.len())
    }

    /// The cells, each with its shorts.
    pub fn by_cell(&self) -> impl Iterator<Item = (u16, &[Short])> {
        let (mut rest, _) = self.shorts.as_chunks();
        self.cells.iter().map(move |(cell, n)| {
            let (now, later) = rest.split_at_checked(*n as usize).unwrap_or((rest, &[]));
            rest = later;
            (*cell, now)
        })
    }
}

impl<'a> Frame<'a> {
    /// Reads type and body.
    ///
    /// # Errors
    /// [`Bad`]; never panics, and holds no more than a few times the frame's own length.
    //= SYNC-WIRE-01
    pub fn decode(frame: &'a [u8]) -> Result<Self, Bad> {
        let Some((kind, body)) = frame.split_first().filter(|_| frame.len() <= FRAME_MAX) else {
            return Err(Bad::Length(frame.len()));
        };
        let read = match *kind {
            kind::HELLO => from(body).map(Self::Hello),
            kind::ACK => from(body).map(Self::Ack),
            kind::CHANGES => from(body).map(|(head, packs)| Self::Changes(head, packs)),
            kind::SUMS => from(body).map(|(head, step, sums)| Self::Sums(head, step, sums)),
            kind::CELLS => from(body).map(|(head, step, cells)| Self::Cells(head, step, cells)),
            kind::REPAIR => from(body).map(|(head, packs)| Self::Repair(head, packs)),
            kind::ROUND_END => from(body).map(|(head, round, found)| Self::RoundEnd(head, round, found)),
            kind::ROUND_DONE => from(body).map(|(head, round, found)| Self::RoundDone(head, round, found)),
            kind::AGAIN => from(body).map(Self::Again),
            kind::LISTS => from(body).map(|(head, step, lists)| Self::Lists(head, step, lists)),
            kind::WANT => {
                from(body).map(|(head, step, lists, differing)| Self::Want(head, step, lists, differing))
            }
            kind::LOOK => from(body).map(Self::Look),
            kind::LEAVE => from(body).map(Self::Leave),
            kind::UNTAKEN => {
                from(body).map(|(head, table, unknown, keys)| Self::Untaken(head, table, unknown, keys))
            }
            kind::VALUES => from(body).map(|(head, live, held)| Self::Values(head, live, held)),
            kind::GIVE => from(body).map(Self::Give),
            unknown => return Err(Bad::Unknown(unknown)),
        };
        read.filter(Self::is_sound).ok_or(Bad::Body(*kind))
    }

    /// What the types alone do not say.
    fn is_sound(&self) -> bool {
        match self {
            Self::Sums(_, step, sums) => {
                step.range < RANGES
                    && are_few(sums.iter().map(|sums| sums.table))
                    && sums.iter().flat_map(|s| &s.groups).all(|(n, _)| *n < GROUPS)
            }
            Self::Cells(_, step, cells) => {
                step.range < RANGES && are_few(cells.iter().map(|cells| cells.table))
            }
            Self::Lists(_, step, lists) | Self::Want(_, step, lists, _) => {
                step.range < RANGES && lists.iter().all(Listing::is_sound)
            }
            Self::Values(_, _, held) => {
                held.iter().flat_map(|held| &held.items).all(|(_, item)| item.is_sound())
            }
            _ => true,
        }
    }

    /// The bytes, with the length in front.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello(hello) => whole(kind::HELLO, hello),
            Self::Ack(head) => whole(kind::ACK, head),
            Self::Changes(head, packs) => whole(kind::CHANGES, &(head, packs)),
            Self::Sums(head, step, sums) => whole(kind::SUMS, &(head, step, sums)),
            Self::Cells(head, step, cells) => whole(kind::CELLS, &(head, step, cells)),
            Self::Repair(head, packs) => whole(kind::REPAIR, &(head, packs)),
            Self::RoundEnd(head, round, found) => whole(kind::ROUND_END, &(head, round, found)),
            Self::RoundDone(head, round, found) => whole(kind::ROUND_DONE, &(head, round, found)),
            Self::Again(head) => whole(kind::AGAIN, head),
            Self::Lists(head, step, lists) => whole(kind::LISTS, &(head, step, lists)),
            Self::Want(head, step, lists, differing) => whole(kind::WANT, &(head, step, lists, differing)),
            Self::Look(head) => whole(kind::LOOK, head),
            Self::Leave(head) => whole(kind::LEAVE, head),
            Self::Values(head, live, held) => whole(kind::VALUES, &(head, live, held)),
            Self::Give(head) => whole(kind::GIVE, head),
            Self::Untaken(head, table, unknown, keys) => whole(kind::UNTAKEN, &(head, table, unknown, keys)),
        }
    }

    /// The first protocol that has such a frame.
    pub fn since(&self) -> u16 {
        match self {
            Self::Values(..) | Self::Give(_) => 3,
            Self::Leave(_) => 2,
            _ => 1,
        }
    }

    /// The beginning of the frame; [`Hello`] has none.
    pub fn head(&self) -> Option<&Head> {
        match self {
            Self::Hello(_) => None,
            Self::Ack(head)
            | Self::Changes(head, _)
            | Self::Sums(head, ..)
            | Self::Cells(head, ..)
            | Self::Repair(head, _)
            | Self::RoundEnd(head, ..)
            | Self::RoundDone(head, ..)
            | Self::Again(head)
            | Self::Lists(head, ..)
            | Self::Want(head, ..)
            | Self::Look(head)
            | Self::Leave(head)
            | Self::Give(head)
            | Self::Values(head, ..)
            | Self::Untaken(head, ..) => Some(head),
        }
    }
}

/// Whether what asks for an answer about each table names few of them, each once.
//= SYNC-WIRE-06
fn are_few(mut tables: impl ExactSizeIterator<Item = u64>) -> bool {
    let mut seen = BTreeSet::new();
    tables.len() <= TABLES_A_FRAME && tables.all(|table| seen.insert(table))
}

/// A body, with nothing behind it.
fn from<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(body).ok()?;
    rest.is_empty().then_some(value)
}

fn whole(kind: u8, body: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::from([0, 0, 0, 0, kind]);
    // Writing to memory fails for no type that stands here.
    bytes = postcard::to_extend(body, bytes).unwrap_or_default();
    let length = bytes.len().saturating_sub(4) as u32;
    if let Some(place) = bytes.first_chunk_mut::<4>() {
        *place = length.to_le_bytes();
    }
    bytes
}
