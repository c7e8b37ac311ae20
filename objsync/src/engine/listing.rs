//! Short hashes of the entries in cells that differ, on their way into frames, and what two lists of them say.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use forebay_core::table::{Catalog, Geometry, Partition, TableId};

use super::sums::{Row, first_cell};
use crate::limits::BATCH_BYTES;
use crate::shards::Shards;
use crate::wire::{Listing, Short};

/// The lists of one table.
#[derive(Debug, Default)]
struct Owned {
    table: u64,
    cells: Vec<(u16, u32)>,
    partial: Vec<u16>,
    shorts: Vec<u8>,
}

/// Lists on their way into frames.
#[derive(Debug, Default)]
pub(super) struct Lister {
    frames: Vec<Vec<Owned>>,
    bytes: usize,
}

impl Lister {
    /// Lists the entries of a cell, in another frame if one is full.
    pub(super) fn push(&mut self, table: u64, cell: u16, rows: &[Row], partial: bool) {
        if self.bytes >= BATCH_BYTES {
            self.frames.push(Vec::new());
            self.bytes = 0;
        }
        let shorts: Vec<Short> = rows.iter().map(Row::on_wire).collect();
        let list = self.add(table, cell, &shorts);
        if partial {
            list.partial.push(cell);
        }
    }

    /// Lists entries of a cell of an answer, which is no larger than what it answers.
    pub(super) fn push_answer(&mut self, table: u64, cell: u16, shorts: &[Short]) {
        if !shorts.is_empty() {
            self.add(table, cell, shorts);
        }
    }

    fn add(&mut self, table: u64, cell: u16, shorts: &[Short]) -> &mut Owned {
        if self.frames.is_empty() {
            self.frames.push(Vec::new());
        }
        let last = self.frames.len() - 1;
        let frame = &mut self.frames[last];
        if frame.last().is_none_or(|list| list.table != table) {
            frame.push(Owned { table, ..Owned::default() });
        }
        let list = frame.len() - 1;
        let list = &mut frame[list];
        list.cells.push((cell, shorts.len() as u32));
        list.shorts.extend(shorts.as_flattened());
        self.bytes += 4 + shorts.as_flattened().len();
        list
    }

    /// The lists, frame by frame.
    pub(super) fn frames(&self) -> impl Iterator<Item = Vec<Listing<'_>>> {
        self.frames.iter().map(|frame| frame.iter().map(Owned::listing).collect())
    }
}

impl Owned {
    fn listing(&self) -> Listing<'_> {
        let Self { table, cells, partial, shorts } = self;
        Listing { table: *table, cells: cells.clone(), partial: partial.clone(), shorts }
    }
}

/// What two lists of one cell say.
#[derive(Debug, Default)]
pub(super) struct Compared<'a> {
    /// What the other side has and this one lacks, or has otherwise.
    pub wanted: Vec<Short>,
    /// What this side has and the other lacks.
    pub lacked: Vec<&'a Row>,
    /// Something of `lacked` is settled: that is a difference.
    pub judged: bool,
}

/// Compares what this side has in a cell, in the order of short hashes, with what the other lists.
///
/// `all`: also what is not settled. A side that lost entries of the cell for want of room is not given them again.
//= SYNC-PARTIAL-01
pub(super) fn compare<'a>(
    ours: &'a [Row],
    theirs: &[Short],
    all: bool,
    partial: (bool, bool),
) -> Compared<'a> {
    let mut theirs: Vec<(u32, u32)> = theirs.iter().map(|short| off_wire(*short)).collect();
    theirs.sort_unstable();
    let (here, there) = partial;
    let mut found = Compared::default();
    let mut wants = |short: (u32, u32), known: bool| {
        if known || !here {
            found.wanted.push(on_wire(short));
        }
    };
    let mut rest = &theirs[..];
    for row in ours {
        while let Some((short, later)) = rest.split_first().filter(|(short, _)| short.0 < row.key_short()) {
            wants(*short, false);
            rest = later;
        }
        match rest.split_first().filter(|(short, _)| short.0 == row.key_short()) {
            Some((short, later)) => {
                if short.1 != row.value_short && (all || row.settled) {
                    wants(*short, true);
                }
                rest = later;
            }
            None if !all && !row.settled => {}
            None => {
                if !there || row.must() {
                    found.lacked.push(row);
                    found.judged |= !there;
                }
            }
        }
    }
    for short in rest {
        wants(*short, false);
    }
    found
}

fn off_wire(short: Short) -> (u32, u32) {
    let whole = u64::from_le_bytes(short);
    (whole as u32, (whole >> 32) as u32)
}

fn on_wire(short: (u32, u32)) -> Short {
    (u64::from(short.0) | u64::from(short.1) << 32).to_le_bytes()
}

impl Row {
    fn on_wire(&self) -> Short {
        on_wire((self.key_short(), self.value_short))
    }

    /// Whether one of the shorts is this entry's.
    pub(super) fn is_one_of(&self, shorts: &[Short]) -> bool {
        shorts.contains(&self.on_wire())
    }

    /// Who lost others for want of room is told of it nevertheless.
    fn must(&self) -> bool {
        self.tombstone || self.open != 0
    }
}

/// The rows of a cell.
pub(super) fn of_cell(rows: &[Row], place: u16, cell: u16) -> &[Row] {
    let start = rows.partition_point(|row| (row.place(), row.cell()) < (place, cell));
    let end = rows.partition_point(|row| (row.place(), row.cell()) <= (place, cell));
    rows.get(start..end).unwrap_or_default()
}

/// Of a hundred places so many must be taken for a partition to count as full.
const FULL_PERCENT: u64 = 95;

/// Whether entries of a cell, of all 65,536, were lost for want of room, and there is none still.
//= SYNC-PARTIAL-01
pub(super) fn lost_some(
    partition: &Partition,
    catalog: &Catalog,
    geometry: &Geometry,
    table: TableId,
    cell: usize,
) -> bool {
    let part = cell as u32 >> (16 - geometry.digest_bits());
    let of_partition = part & (geometry.cells() - 1);
    is_full(partition, geometry) && partition.digest(catalog, table, of_partition).is_some_and(|d| d.partial)
}

fn is_full(partition: &Partition, geometry: &Geometry) -> bool {
    let stats = partition.stats();
    let full = u64::from(geometry.partition_limit()) * FULL_PERCENT / 100;
    stats.evicted > 0 && u64::from(stats.entries) >= full
}

/// See [`lost_some`], of a cell of a range.
pub(super) fn is_partial<S: Shards>(shards: &mut S, table: TableId, range: u8, cell: u16) -> bool {
    let geometry = shards.geometry();
    let cell = first_cell(range) + usize::from(cell);
    let partition = geometry.route_hash((cell as u64) << 48);
    shards.with(partition, |partition, catalog| lost_some(partition, catalog, &geometry, table, cell))
}

/// How many cells of each table lost entries for want of room.
pub(super) fn partials<S: Shards>(shards: &mut S) -> BTreeMap<u64, u32> {
    let geometry = shards.geometry();
    let tables = shards.tables().to_vec();
    let each = 1 << (16 - geometry.digest_bits());
    let mut partials = BTreeMap::new();
    for partition in 0..geometry.partitions() {
        shards.with(partition, |partition, catalog| {
            if !is_full(partition, &geometry) {
                return;
            }
            for table in &tables {
                let lost = |cell: &u32| partition.digest(catalog, table.id, *cell).is_some_and(|d| d.partial);
                let n = (0..geometry.cells()).filter(lost).count() as u32 * each;
                if n > 0 {
                    *partials.entry(table.name).or_default() += n;
                }
            }
        });
    }
    partials
}
