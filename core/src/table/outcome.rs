//! What operations take and answer.

use super::catalog::{Class, ServerSlot, TableId};
use super::key::KeyBytes;

/// What only grows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    pub(super) created: u64,
    pub(super) expired: u64,
    pub(super) evicted: u64,
    pub(super) evicted_nearby: u64,
    pub(super) refused: u64,
    pub(super) moves: u64,
    pub(super) widest_search: u32,
}

/// What happened in a partition since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Entries and tombstones now.
    pub entries: u32,
    /// Those of them that have open connections or may not be evicted for another reason.
    pub held: u32,
    /// New entries.
    pub created: u64,
    /// Entries that reached their end of life and were cleared away.
    pub expired: u64,
    /// Entries that had to go because the partition was full.
    pub evicted: u64,
    /// Evictions of another than the oldest entry: no free slot was in reach of the new key.
    pub evicted_nearby: u64,
    /// New entries refused because every entry in reach had open connections.
    pub refused: u64,
    /// Entries moved to their other bucket to make room.
    pub moves: u64,
    /// Buckets that the longest search for a free slot looked at: [`super::limits::MOVES_SEEN_MAX`] at most.
    pub widest_search: u32,
}

impl Stats {
    /// Adds the figures of another partition.
    pub fn add(&mut self, other: &Self) {
        self.entries = self.entries.saturating_add(other.entries);
        self.held = self.held.saturating_add(other.held);
        self.created += other.created;
        self.expired += other.expired;
        self.evicted += other.evicted;
        self.evicted_nearby += other.evicted_nearby;
        self.refused += other.refused;
        self.moves += other.moves;
        self.widest_search = self.widest_search.max(other.widest_search);
    }
}

/// What may happen to an entry that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteKind {
    /// The first choice for a client holds: a living entry stays as it is.
    First,
    /// A deliberate move to another server (its own is down): counts a switch.
    Move,
    /// The last write holds (key-value tables).
    Last,
}

/// A write of [`Partition::put`](super::Partition::put).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// The server to remember.
    pub server: ServerSlot,
    /// Which of the table's time-outs the entry has.
    pub class: Class,
    /// What may happen to an entry that exists.
    pub kind: WriteKind,
}

impl Write {
    /// The first choice for a client, with the table's first time-out.
    pub fn first(server: ServerSlot) -> Self {
        Self { server, class: Class::default(), kind: WriteKind::First }
    }

    /// A deliberate move to another server.
    pub fn moved(server: ServerSlot) -> Self {
        Self { kind: WriteKind::Move, ..Self::first(server) }
    }
}

/// What [`Partition::put`](super::Partition::put) did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// What became of the key.
    pub outcome: Outcome,
    /// The entry that had to go: an event worth telling.
    pub evicted: Option<Evicted>,
}

/// What became of the key of a [`Write`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A new life of the key began.
    Created,
    /// A living entry stands; this is its server.
    Held(ServerSlot),
    /// The entry was bound to this server before.
    Replaced(ServerSlot),
    /// The entry says so already.
    Same,
}

/// An entry that went because its partition was full: the oldest idle one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evicted {
    /// Its table.
    pub table: TableId,
    /// Its key.
    pub key: KeyBytes,
    /// Its server; `None` if it was a tombstone.
    pub server: Option<ServerSlot>,
    /// How long it had been idle, in milliseconds.
    pub age_ms: u64,
}

/// Why nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The partition is full and every entry that could go has open connections: serve the client without
    /// remembering it, or refuse the connection.
    Full,
    /// The table is not defined, or no longer: a request that outlived a change of configuration.
    UnknownTable,
    /// The server has no slot in this catalog.
    UnknownServer,
    /// The entry was written with a later catalog: take that one and try again.
    OldCatalog,
}

impl core::fmt::Display for Refused {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Full => "the persistence table is full of entries with open connections",
            Self::UnknownTable => "the persistence table of this service is not defined any more",
            Self::UnknownServer => "the server is not in the catalog of the persistence table",
            Self::OldCatalog => "the entry was written after a newer change of the configuration",
        })
    }
}

impl core::error::Error for Refused {}

/// What may not end now, of the tables that engines share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// Entries: another engine may have connections of them and has not said so yet.
    pub entries: bool,
    /// Tombstones: an engine that is away may still hold what was removed.
    pub tombstones: bool,
}

/// What [`Partition::open`](super::Partition::open) found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The server the client is bound to.
    pub server: ServerSlot,
    /// The first open connection of the key on this engine: the other engines must be told.
    pub first: bool,
}

/// What [`Partition::close`](super::Partition::close) found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// That was the last open connection of the key on this engine.
    pub last_here: bool,
    /// That was the last on all engines: the countdown started.
    pub last: bool,
}
