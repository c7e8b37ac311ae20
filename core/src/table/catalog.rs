//! What all partitions must agree on: the secret, the tables with their time-outs, the names of servers.
//!
//! A catalog is built by the control thread, given to every partition ([`super::Partition::adopt`]) and only
//! then published to the workers. It never changes afterwards: a new configuration clones it, edits the
//! clone and publishes that. Ids of servers are never given twice, and ids of tables only when a thousand are
//! free: the one that is free for longest. What a worker still does with yesterday's catalog is right or refused, never misfiled.

use super::clock::Lifetime;
use super::geometry::Geometry;
use super::hash::Hasher;
use super::key::KeyBytes;
use super::limits::{CLASSES_MAX, TABLES_FREE_KEPT, TABLES_MAX};
use super::memory::{Block, TableMemory};
use super::store::{Choices, Store};
use super::version::EngineSlot;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Number of a table inside this engine; its name is what engines share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TableId(u16);

impl TableId {
    /// The number, as metrics and `show` print it.
    pub const fn get(self) -> u16 {
        self.0
    }

    pub(super) const fn of(raw: u16) -> Self {
        Self(raw)
    }
}

/// Number of a server inside this engine: what an entry holds instead of the server's 64-bit id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ServerSlot(pub u32);

/// A time-out class of a table, 0 to 15.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Class(u8);

impl Class {
    /// `None` from 16 on.
    pub const fn new(class: u8) -> Option<Self> {
        if (class as usize) < CLASSES_MAX { Some(Self(class)) } else { None }
    }

    /// The number, 0 to 15.
    pub const fn get(self) -> u8 {
        self.0
    }

    pub(super) const fn of_low_bits(bits: u32) -> Self {
        Self((bits & (CLASSES_MAX as u32 - 1)) as u8)
    }
}

/// A key inside a table, with its hash: made once per look-up by [`Catalog::key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub(super) stored: u128,
    pub(super) hash: u64,
    pub(super) table: TableId,
}

impl Key {
    /// The keyed hash: its top bits are partition and digest bucket, alike on all engines of the group.
    #[inline(always)]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// The table that the key belongs to.
    pub const fn table(&self) -> TableId {
        self.table
    }
}

/// The settings of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSettings {
    /// What the table is called in the whole group, for instance a hash of service, pool and kind.
    pub name: u64,
    /// The time-outs, by class; at least one, at most 16. An entry of a class that is not listed here has
    /// the first.
    pub lives: Vec<Lifetime>,
    /// Whether other engines hold it too: then deletes leave tombstones, and digests are kept.
    pub synced: bool,
}

/// Why a table cannot be defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatalogProblem {
    /// There are 65,535 tables.
    TooManyTables,
    /// No time-out, or more than 16, were given.
    Classes(usize),
}

impl core::fmt::Display for CatalogProblem {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::TooManyTables => {
                write!(f, "{TABLES_MAX} persistence tables are all that there may be: remove some")
            }
            Self::Classes(n) => write!(f, "{n} time-out classes for one table: give 1 to {CLASSES_MAX}"),
        }
    }
}

impl core::error::Error for CatalogProblem {}

#[derive(Clone, Debug)]
pub(super) struct Row {
    salt: u128,
    name: u64,
    /// In ticks, by class.
    pub(super) lives: [u32; CLASSES_MAX],
    /// Half of the shortest: an entry seen younger than this cannot end before as much time again.
    pub(super) half_shortest: u32,
    /// First digest cell in every partition, if engines share the table.
    pub(super) cells: Option<u32>,
    /// Distinguishes the owner of re-used digest cells.
    pub(super) era: u32,
}

/// The secret, the tables and the servers of one engine.
#[derive(Clone, Debug)]
pub struct Catalog {
    hasher: Hasher,
    salts: Hasher,
    texts: Hasher,
    pub(super) entries: Hasher,
    pub(super) open_factor: u128,
    pub(super) me: EngineSlot,
    rows: Vec<Option<Row>>,
    by_name: BTreeMap<u64, TableId>,
    servers: Vec<u64>,
    by_server: BTreeMap<u64, ServerSlot>,
    block: Arc<Block>,
    geometry: Geometry,
    cells_per_row: u32,
    cell_shift: u32,
    cell_mask: u64,
    pub(super) cells: u32,
    free_cells: Vec<u32>,
    /// Numbers of tables that are no more, the one that is free for longest first.
    free_rows: VecDeque<TableId>,
    pub(super) era: u32,
    /// When a number was given again last; 0: never.
    pub(super) reused: u32,
    /// The era of the row that has each number, 0 where none has it.
    pub(super) owners: Arc<Vec<u32>>,
}

impl Catalog {
    /// An empty catalog for the partitions of `memory`.
    ///
    /// `secret` is shared by all engines of the group and known to no client; `me` is this engine's slot
    /// (0 if it is alone).
    pub fn new(memory: &TableMemory, secret: [u8; 16], me: EngineSlot) -> Self {
        let hasher = Hasher::new(secret);
        let geometry = *memory.geometry();
        let cells_per_row = geometry.cells();
        Self {
            salts: hasher.derive(1),
            texts: hasher.derive(2),
            entries: hasher.derive(3),
            open_factor: hasher.derive(4).hash128(&[0]) | 1,
            hasher,
            block: memory.block.clone(),
            geometry,
            me,
            rows: Vec::new(),
            by_name: BTreeMap::new(),
            servers: Vec::new(),
            by_server: BTreeMap::new(),
            cells_per_row,
            cell_shift: 64 - u32::from(geometry.digest_bits()),
            cell_mask: u64::from(cells_per_row) - 1,
            cells: 0,
            free_cells: Vec::new(),
            free_rows: VecDeque::new(),
            era: 1,
            reused: 0,
            owners: Arc::default(),
        }
    }

    /// Defines a table, or changes the settings of the one with that name; its entries stay.
    ///
    /// A table that stops or starts being shared is a new one: its entries go.
    ///
    /// # Errors
    /// Too many tables at once, or a wrong number of classes.
    pub fn define(&mut self, settings: &TableSettings) -> Result<TableId, CatalogProblem> {
        let Some(first) = settings.lives.first().filter(|_| settings.lives.len() <= CLASSES_MAX) else {
            return Err(CatalogProblem::Classes(settings.lives.len()));
        };
        let mut lives = [first.ticks(); CLASSES_MAX];
        for (to, from) in lives.iter_mut().zip(&settings.lives) {
            *to = from.ticks();
        }
        let half_shortest = lives.iter().fold(u32::MAX, |a, b| a.min(*b)) / 2;
        if let Some(id) = self.by_name.get(&settings.name).copied() {
            if let Some(Some(row)) = self.rows.get_mut(usize::from(id.0))
                && row.cells.is_some() == settings.synced
            {
                self.era = self.era.saturating_add(1);
                (row.lives, row.half_shortest) = (lives, half_shortest);
                return Ok(id);
            }
            self.remove(id);
        }
        //= TBL-CATALOG-02
        self.era = self.era.saturating_add(1);
        let id = match u16::try_from(self.rows.len()) {
            Ok(id) if usize::from(id) < TABLES_MAX && self.free_rows.len() < TABLES_FREE_KEPT => {
                self.rows.push(None);
                TableId(id)
            }
            _ => {
                let free = self.free_rows.pop_front().ok_or(CatalogProblem::TooManyTables)?;
                self.reused = self.era;
                free
            }
        };
        let cells = settings.synced.then(|| {
            self.free_cells.pop().unwrap_or_else(|| {
                self.cells += self.cells_per_row;
                self.cells - self.cells_per_row
            })
        });
        let salt = self.salts.hash128(&[settings.name]);
        let row = Row { salt, name: settings.name, lives, half_shortest, cells, era: self.era };
        if let Some(free) = self.rows.get_mut(usize::from(id.0)) {
            *free = Some(row);
        }
        self.own(id, self.era);
        self.by_name.insert(settings.name, id);
        Ok(id)
    }

    /// Removes a table; partitions drop its entries when they adopt the catalog.
    pub fn remove(&mut self, table: TableId) {
        if let Some(row) = self.rows.get_mut(usize::from(table.0)).and_then(Option::take) {
            self.era = self.era.saturating_add(1);
            self.by_name.remove(&row.name);
            self.free_cells.extend(row.cells);
            self.free_rows.push_back(table);
            self.own(table, 0);
        }
    }

    fn own(&mut self, table: TableId, era: u32) {
        let owners = Arc::make_mut(&mut self.owners);
        owners.resize(self.rows.len(), 0);
        if let Some(owner) = owners.get_mut(usize::from(table.0)) {
            *owner = era;
        }
    }

    /// Returns the slot of a server, giving it the next one if it has none. A server keeps its slot.
    ///
    /// `name` is the id that the whole group uses for the server (`ServerId`).
    pub fn server(&mut self, name: u64) -> ServerSlot {
        if let Some(slot) = self.by_server.get(&name) {
            return *slot;
        }
        // 2^32 servers in the life of one process cannot be configured: each took a configuration line.
        let slot = ServerSlot(u32::try_from(self.servers.len()).unwrap_or(u32::MAX));
        self.servers.push(name);
        self.by_server.insert(name, slot);
        self.era = self.era.saturating_add(1);
        slot
    }

    /// The slot of a server, if it has one.
    pub fn slot_of(&self, name: u64) -> Option<ServerSlot> {
        self.by_server.get(&name).copied()
    }

    /// The group's id of the server in a slot.
    #[inline]
    pub fn name_of(&self, slot: ServerSlot) -> Option<u64> {
        self.servers.get(slot.0 as usize).copied()
    }

    /// The id of a table by its name.
    pub fn table(&self, name: u64) -> Option<TableId> {
        self.by_name.get(&name).copied()
    }

    /// The number of defined tables that engines share.
    pub fn synced_tables(&self) -> u32 {
        self.rows.iter().flatten().filter(|r| r.cells.is_some()).count() as u32
    }

    /// Makes the key of 16 bytes in a table; of an undefined table, one that no operation finds.
    ///
    /// The key is kept with a secret number of its table added, so that equal bytes in two tables differ
    /// although the table's id stands in another cache line. The chance that any two of 2^40 chosen keys
    /// of two tables meet is 2^-48.
    //= TBL-KEY-03
    #[inline]
    pub fn key(&self, table: TableId, bytes: KeyBytes) -> Key {
        let salt = self.row(table).map_or(0, |r| r.salt);
        let stored = u128::from_be_bytes(bytes.0).wrapping_add(salt);
        Key { stored, hash: self.hash(stored), table }
    }

    /// Makes the key of a text (cookie, header value) in a table.
    pub fn text_key(&self, table: TableId, text: &[u8]) -> Key {
        self.key(table, self.text_bytes(text))
    }

    /// The 16 bytes of a text, before its table is known.
    pub fn text_bytes(&self, text: &[u8]) -> KeyBytes {
        KeyBytes::of_text(&self.texts, text)
    }

    #[inline(always)]
    pub(super) fn hash(&self, stored: u128) -> u64 {
        self.hasher.hash64(&[stored as u64, (stored >> 64) as u64])
    }

    #[inline(always)]
    pub(super) fn row(&self, table: TableId) -> Option<&Row> {
        self.rows.get(usize::from(table.0))?.as_ref()
    }

    /// The buckets of the partition in which a key may be. All partitions have equally many.
    #[inline(always)]
    pub(super) fn choices(&self, hash: u64) -> Choices {
        Choices::of(hash, self.geometry.buckets())
    }

    /// The number of the first bucket of a hash's partition, among the buckets of all.
    #[inline(always)]
    pub(super) fn first_bucket(&self, hash: u64) -> usize {
        self.geometry.route_hash(hash) as usize * self.geometry.buckets() as usize
    }

    /// The entries of all partitions.
    #[inline(always)]
    pub(super) fn block(&self) -> &Block {
        &self.block
    }

    pub(super) fn is_for(&self, block: &Arc<Block>) -> bool {
        Arc::ptr_eq(&self.block, block)
    }

    pub(super) fn is_for_store(&self, store: &Store) -> bool {
        store.is_of(&self.block)
    }

    /// The digest cell of a hash among those of one table.
    #[inline(always)]
    pub(super) fn cell_of(&self, hash: u64) -> u32 {
        ((hash >> self.cell_shift) & self.cell_mask) as u32
    }

    pub(super) const fn cells_per_row(&self) -> u32 {
        self.cells_per_row
    }

    /// The bytes of a stored key.
    pub(super) fn bytes(&self, table: TableId, stored: u128) -> Option<KeyBytes> {
        Some(KeyBytes(stored.wrapping_sub(self.row(table)?.salt).to_be_bytes()))
    }

    /// All defined tables.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().flatten()
    }
}
