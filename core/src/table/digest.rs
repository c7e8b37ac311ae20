//! Sums by which engines find where their tables differ.
//!
//! A digest cell is the wrapping sum, over the entries of one table in one of up to 65,536 parts of the
//! hash space, of `P + Q * open set`: P is a 128-bit keyed hash of key, version, server and "deleted", Q the key's
//! own keyed hash times a secret. The secret keeps clients, who choose keys, from making sums cancel; the
//! product keeps the change of one open bit, the most frequent one, at one
//! multiplication.

use super::catalog::{Catalog, Row, ServerSlot};
use super::store::{Flag, Store};
use super::{Partition, store::At};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// One digest: how many entries, and their sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Digest {
    /// Entries and tombstones.
    pub count: u32,
    /// Wrapping sum of their keyed hashes.
    pub sum: u128,
    /// An entry was evicted for want of room: the rest can only be compared as a part.
    pub partial: bool,
}

const PARTIAL: u32 = 1 << 31;

/// 24 bytes: the sum in halves, because a `u128` would be padded to 32.
#[derive(Clone, Copy, Default)]
struct Cell {
    sum: [u64; 2],
    count: u32,
    era: u32,
}

impl Cell {
    #[inline(always)]
    fn add(&mut self, term: u128) {
        let sum = (u128::from(self.sum[1]) << 64 | u128::from(self.sum[0])).wrapping_add(term);
        self.sum = [sum as u64, (sum >> 64) as u64];
    }

    fn digest(&self) -> Digest {
        Digest {
            count: self.count & !PARTIAL,
            sum: u128::from(self.sum[1]) << 64 | u128::from(self.sum[0]),
            partial: self.count & PARTIAL != 0,
        }
    }
}

/// The digest cells of one partition.
pub(super) struct Digests {
    cells: Box<[Cell]>,
}

impl Digests {
    pub(super) fn new() -> Self {
        Self { cells: Box::default() }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.cells)
    }

    /// Takes over a catalog: cells of tables that stay keep what they hold, others start at nothing.
    pub(super) fn adopt(&mut self, catalog: &Catalog) {
        let mut cells = vec![Cell::default(); catalog.cells as usize].into_boxed_slice();
        for row in catalog.rows() {
            let Some(first) = row.cells.map(|c| c as usize) else { continue };
            for (i, to) in cells[first..first + catalog.cells_per_row() as usize].iter_mut().enumerate() {
                let kept = self.cells.get(first + i).filter(|c| c.era == row.era);
                *to = kept.copied().unwrap_or(Cell { era: row.era, ..Cell::default() });
            }
        }
        self.cells = cells;
    }

    /// Whether this partition has adopted the table: always, if it is not shared.
    #[inline(always)]
    pub(super) fn knows(&self, catalog: &Catalog, row: &Row, hash: u64) -> bool {
        match row.cells {
            None => true,
            Some(first) => {
                self.cells.get((first + catalog.cell_of(hash)) as usize).is_some_and(|c| c.era == row.era)
            }
        }
    }

    /// Asks for the cell of a hash, as [`super::memory::Block::fetch`] does.
    #[inline(always)]
    pub(super) fn fetch(&self, catalog: &Catalog, row: &Row, hash: u64) {
        if let Some(first) = row.cells
            && let Some(cell) = self.cells.get((first + catalog.cell_of(hash)) as usize)
        {
            core::hint::black_box(cell.era);
        }
    }

    #[inline(always)]
    fn cell(&mut self, catalog: &Catalog, row: &Row, hash: u64) -> Option<&mut Cell> {
        let first = row.cells?;
        self.cells.get_mut((first + catalog.cell_of(hash)) as usize).filter(|c| c.era == row.era)
    }

    #[inline(always)]
    pub(super) fn add(&mut self, catalog: &Catalog, row: &Row, hash: u64, term: u128) {
        if let Some(c) = self.cell(catalog, row, hash) {
            c.add(term);
            c.count += 1;
        }
    }

    #[inline(always)]
    pub(super) fn subtract(&mut self, catalog: &Catalog, row: &Row, hash: u64, term: u128) {
        if let Some(c) = self.cell(catalog, row, hash) {
            debug_assert!(c.count & !PARTIAL > 0);
            c.add(term.wrapping_neg());
            c.count -= 1;
        }
    }

    /// The open set of a key changed.
    #[inline(always)]
    pub(super) fn reopen(&mut self, catalog: &Catalog, row: &Row, hash: u64, from: u64, to: u64) {
        if let Some(c) = self.cell(catalog, row, hash) {
            let change = u128::from(to).wrapping_sub(u128::from(from));
            c.add(open_weight(catalog, hash).wrapping_mul(change));
        }
    }

    pub(super) fn mark_partial(&mut self, catalog: &Catalog, row: &Row, hash: u64) {
        if let Some(c) = self.cell(catalog, row, hash) {
            c.count |= PARTIAL;
        }
    }

    fn replace(&mut self, catalog: &Catalog, row: &Row, cell: u32, by: &Digest) {
        let Some(first) = row.cells.filter(|_| cell < catalog.cells_per_row()) else { return };
        if let Some(c) = self.cells.get_mut((first + cell) as usize).filter(|c| c.era == row.era) {
            c.sum = [by.sum as u64, (by.sum >> 64) as u64];
            c.count = c.count & PARTIAL | by.count;
        }
    }

    pub(super) fn read(&self, catalog: &Catalog, row: &Row, cell: u32) -> Option<Digest> {
        let first = row.cells.filter(|_| cell < catalog.cells_per_row())?;
        self.cells.get((first + cell) as usize).filter(|c| c.era == row.era).map(Cell::digest)
    }
}

/// What one bit of a key's open set weighs. The 64-bit keyed hash of the key is at hand; the product with a
/// secret odd number spreads it.
#[inline(always)]
fn open_weight(catalog: &Catalog, hash: u64) -> u128 {
    u128::from(hash | 1).wrapping_mul(catalog.open_factor)
}

/// What the entry in a slot adds to its cell; `None` if the catalog does not know its server.
#[inline]
pub(super) fn term_at(catalog: &Catalog, store: &Store, hash: u64, at: At) -> Option<u128> {
    let stored = store.key(at);
    let tombstone = store.is(at, Flag::Tombstone);
    let name = if tombstone { 0 } else { catalog.name_of(ServerSlot(store.value(at)))? };
    let [life, stamp] = store.words(at);
    let words = [stored as u64, (stored >> 64) as u64, life, stamp, name, u64::from(tombstone)];
    let open = open_weight(catalog, hash).wrapping_mul(u128::from(store.life(at).open));
    Some(catalog.entries.hash128(&words).wrapping_add(open))
}

impl Partition {
    /// The running digest of one cell of a table; [`super::Geometry::part_of`] says what the cell stands for.
    /// `None` if the table is not shared or has no such cell.
    //= TBL-DIGEST-01
    pub fn digest(&self, catalog: &Catalog, table: super::TableId, cell: u32) -> Option<Digest> {
        self.digests.read(catalog, catalog.row(table)?, cell)
    }

    /// Computes all digests of a table anew from its entries, and returns the first cell that differs from
    /// the running one: then memory or code is at fault and the bucket must not be trusted.
    //= TBL-DIGEST-02
    pub fn verify(&self, catalog: &Catalog, table: super::TableId) -> Result<(), DigestMismatch> {
        self.mismatches(catalog, table).into_iter().next().map_or(Ok(()), Err)
    }

    /// The same, of all cells. Reads the whole partition: 0.3 ms if it is a large one; allocates.
    //= TBL-DIGEST-02
    pub fn mismatches(&self, catalog: &Catalog, table: super::TableId) -> Vec<DigestMismatch> {
        let Some(row) = catalog.row(table).filter(|r| r.cells.is_some()) else { return Vec::new() };
        let n = catalog.cells_per_row();
        let mut fresh = vec![Digest::default(); n as usize];
        for number in 0..self.store.buckets() * super::limits::KEYS_PER_BUCKET as u32 {
            let at = At::of_number(number);
            if !self.store.is(at, Flag::Used) || self.store.life(at).table() != table {
                continue;
            }
            let hash = catalog.hash(self.store.key(at));
            let cell = &mut fresh[catalog.cell_of(hash) as usize];
            cell.count += 1;
            cell.sum = cell.sum.wrapping_add(term_at(catalog, &self.store, hash, at).unwrap_or(0));
        }
        let mut found = Vec::new();
        for (cell, fresh) in (0..n).zip(fresh) {
            let running = self.digests.read(catalog, row, cell).unwrap_or_default();
            if (running.count, running.sum) != (fresh.count, fresh.sum) {
                found.push(DigestMismatch { cell, running, recomputed: fresh });
            }
        }
        found
    }

    /// From now on the running digests of a table are what its entries add up to: what was wrong has been loaded anew.
    //= TBL-DIGEST-03
    pub fn trust(&mut self, catalog: &Catalog, table: super::TableId) {
        let Some(row) = catalog.row(table) else { return };
        for found in self.mismatches(catalog, table) {
            self.digests.replace(catalog, row, found.cell, &found.recomputed);
        }
    }

    /// Changes an entry as failing memory would: nothing is told of it, and its digest stays. For tests of what finds it.
    /// Returns whether there is such an entry.
    pub fn damage(&mut self, catalog: &Catalog, key: &super::Key, server: ServerSlot, open: u64) -> bool {
        let Some(at) = self.find(catalog, key) else { return false };
        let was_evictable = self.is_evictable(at);
        self.store.set_value(at, server.0);
        let mut life = self.store.life(at);
        life.open = open;
        self.store.set_life(at, life);
        self.recount(was_evictable, at);
        true
    }
}

/// A running digest is not the sum of the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestMismatch {
    /// The cell of the partition.
    pub cell: u32,
    /// What the partition has kept.
    pub running: Digest,
    /// What its entries add up to.
    pub recomputed: Digest,
}
