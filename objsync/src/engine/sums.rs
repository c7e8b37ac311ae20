//! What a comparison computes: sums over the entries of a part of the hash space, and short hashes of each of them.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::{Range, RangeInclusive};

use forebay_core::table::{
    Catalog, EngineSlot, EntryView, GroupMillis, Hasher, KeyBytes, Partition, TableId,
};
use forebay_core::units::{Micros, Now};

use super::values::compared;
use crate::limits::{AGE_MS, BUCKETS_A_LOCK, CELLS_PER_GROUP, NEAR_END_MS, RECENT_MAX, SETTLE_MS};
use crate::shards::{Shards, Shared};
use crate::wire::Sum;

/// Of a hash, by which its range is known.
pub(super) const RANGE_BITS: u32 = 6;
pub(super) const CELL_BITS: u32 = 16;
/// Cells of one range.
pub(super) const CELLS: usize = 1 << (CELL_BITS - RANGE_BITS);

/// How often a partition is read again because entries moved inside it meanwhile.
const AGAIN_MAX: u32 = 2;

/// The hashes of cells `first` to `last` of all 65,536.
pub(super) fn part_of(first: usize, last: usize) -> RangeInclusive<u64> {
    let shift = 64 - CELL_BITS;
    (first as u64) << shift..=((last as u64) << shift | ((1 << shift) - 1))
}

/// The number, among all, of the first cell of a range.
pub(super) fn first_cell(range: u8) -> usize {
    usize::from(range) * CELLS
}

pub(super) fn range_part(range: u8) -> RangeInclusive<u64> {
    part_of(first_cell(range), first_cell(range) + CELLS - 1)
}

/// A set of hashes, with one look at memory for each: every change of every engine passes here.
#[derive(Debug, Default)]
struct Hashes {
    /// A power of two of places, at most half of them taken; 0: free.
    places: Vec<u64>,
    len: usize,
}

impl Hashes {
    /// Where a hash is, or would be.
    fn place(&self, hash: u64) -> usize {
        let mask = self.places.len() - 1;
        let mut at = hash as usize & mask;
        while self.places[at] != 0 && self.places[at] != hash {
            at = (at + 1) & mask;
        }
        at
    }

    fn insert(&mut self, hash: u64) {
        if 2 * (self.len + 1) > self.places.len() {
            let places = vec![0; (2 * self.places.len()).max(64)];
            let before = core::mem::replace(&mut self.places, places);
            for hash in before.into_iter().filter(|hash| *hash != 0) {
                let at = self.place(hash);
                self.places[at] = hash;
            }
        }
        // The hash 0 is one in 2^64, and takes the place of another one.
        let at = self.place(hash.max(1));
        self.len += usize::from(self.places[at] == 0);
        self.places[at] = hash.max(1);
    }

    fn has(&self, hash: u64) -> bool {
        !self.places.is_empty() && self.places[self.place(hash.max(1))] != 0
    }
}

/// Keys that changed a moment ago: what is compared of them may be on its way.
#[derive(Debug, Default)]
pub(super) struct Recent {
    now: Hashes,
    before: Hashes,
    turned: Now,
    /// More changed than there is room for: everything may have.
    full: [bool; 2],
}

impl Recent {
    /// Forgets what changed long enough ago.
    pub(super) fn turn(&mut self, now: Now) {
        let passed = now.since(self.turned);
        if passed < Micros::from_millis(SETTLE_MS) {
            return;
        }
        self.turned = now;
        // As much room as was needed this time.
        let now = Hashes { places: vec![0; self.now.places.len()], len: 0 };
        let now = if 8 * self.now.len < self.now.places.len() { Hashes::default() } else { now };
        self.before = core::mem::replace(&mut self.now, now);
        self.full = [false, self.full[0]];
        if passed >= Micros::from_millis(2 * SETTLE_MS) {
            self.before = Hashes::default();
            self.full = [false; 2];
        }
    }

    /// The key with this hash has changed.
    pub(super) fn touch(&mut self, hash: u64) {
        if self.now.len < RECENT_MAX {
            self.now.insert(hash);
        } else {
            self.full[0] = true;
        }
    }

    //= SYNC-SETTLED-01
    pub(super) fn has(&self, hash: u64) -> bool {
        self.full != [false; 2] || self.now.has(hash) || self.before.has(hash)
    }
}

/// An entry, as a comparison sees it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// The place of its table among those that are compared, its cell in the range, and the short hash of its key.
    order: u64,
    /// The short hash of all that is compared; see [`crate::wire::Short`].
    pub value_short: u32,
    pub key: KeyBytes,
    /// It did not change lately, and does not end soon.
    pub settled: bool,
    pub tombstone: bool,
    /// Who of the two has connections.
    pub open: u64,
}

impl Row {
    pub(super) fn place(&self) -> u16 {
        (self.order >> 48) as u16
    }

    pub(super) fn cell(&self) -> u16 {
        (self.order >> 32) as u16
    }

    pub(super) fn key_short(&self) -> u32 {
        self.order as u32
    }
}

/// Secret odd numbers, which weigh what is compared of an entry.
#[derive(Debug)]
pub(super) struct Keys([u128; 6], Hasher);

impl Keys {
    pub(super) fn of(secret: &Hasher) -> Self {
        Self([0, 1, 2, 3, 4, 5].map(|n| secret.hash128(&[n, 0x0073_756d]) | 1), secret.clone())
    }

    /// The keyed hash of a value.
    pub(super) fn of_bytes(&self, bytes: &[u8]) -> u128 {
        self.1.hash128_bytes(bytes)
    }

    /// As the hash of a key, of one share of a count.
    pub(super) fn of_share(&self, hash: u64, began: u64, origin: EngineSlot) -> u64 {
        self.1.hash64(&[hash, began, u64::from(origin.get())])
    }

    /// What an entry adds to a sum: its key's own keyed hash times what else is compared, weighed. Clients choose keys, but
    /// know neither of the factors; and where two entries exchange what they hold, the products differ.
    pub(super) fn term(&self, hash: u64, words: [u64; 5]) -> u128 {
        let Self([own, weights @ ..], _) = self;
        let weighed = words.into_iter().zip(weights);
        let sum = weighed
            .fold(1u128, |sum, (word, weight)| sum.wrapping_add(u128::from(word).wrapping_mul(*weight)));
        own.wrapping_mul(u128::from(hash | 1)).wrapping_mul(sum)
    }
}

/// Cells of a range, by the places of their tables.
pub(super) struct CellSet(Vec<[u64; CELLS / 64]>);

impl CellSet {
    /// None, of so many tables.
    pub(super) fn of(tables: usize) -> Self {
        Self(vec![[0; CELLS / 64]; tables])
    }

    pub(super) fn insert(&mut self, place: u16, cell: u16) {
        let word = self.0.get_mut(usize::from(place)).and_then(|cells| cells.get_mut(usize::from(cell / 64)));
        if let Some(word) = word {
            *word |= 1 << (cell % 64);
        }
    }

    fn has(&self, place: u16, cell: u16) -> bool {
        let word = self.0.get(usize::from(place)).and_then(|cells| cells.get(usize::from(cell / 64)));
        word.is_some_and(|word| word >> (cell % 64) & 1 == 1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().flatten().all(|word| *word == 0)
    }

    /// The cells of one table, in order.
    pub(super) fn of_table(&self, place: u16) -> impl Iterator<Item = u16> {
        (0..CELLS as u16).filter(move |cell| self.has(place, *cell))
    }
}

/// How one comparison sees entries.
pub(super) struct Summing<'a> {
    pub keys: &'a Keys,
    /// The open bits of the two engines: what others have open each learns from those themselves.
    pub mask: u64,
    /// The group's time, if idle times are compared too.
    pub idle_at: Option<u64>,
    /// The number of the comparison: short hashes are others in each.
    pub round: u32,
    pub recent: &'a Recent,
    /// Removals do not age here, because somebody may not know of them.
    pub held: bool,
    /// The group's time, by which values have ended or not.
    pub values_at: GroupMillis,
}

impl Summing<'_> {
    /// What an entry adds to its cell; `None` if its server is not known.
    //= SYNC-SUM-01
    fn term(&self, catalog: &Catalog, hash: u64, view: &EntryView) -> Option<u128> {
        let record = &view.record;
        let server = if record.tombstone { 0 } else { catalog.name_of(record.server)? };
        let version = &record.version;
        let idle = match (self.idle_at, view.left_ms) {
            (Some(now), Some(_)) if !record.tombstone => now.saturating_sub(record.age_ms) / AGE_MS,
            _ => 0,
        };
        let marks = u64::from(version.origin.get())
            | u64::from(record.tombstone) << 8
            | if record.tombstone { 0 } else { u64::from(record.class.get()) << 16 };
        let words = [
            u64::from(version.birth) << 32 | u64::from(version.switches),
            version.stamp,
            server,
            marks | idle << 24,
            record.open & self.mask,
        ];
        Some(self.keys.term(hash, words))
    }

    /// Adds the entries of a part of a range to its cells; gives how many there are.
    pub(super) fn add<S: Shards>(
        &self,
        cells: &mut Cells,
        shards: &mut S,
        part: RangeInclusive<u64>,
        tables: &[Shared],
        now: Now,
    ) -> usize {
        let places = Places::of(tables);
        let mut entries = 0;
        let make = |catalog: &Catalog, hash: u64, view: &EntryView| {
            let place = places.of_table(view.table)?;
            if is_near(view) {
                return None;
            }
            let term = self.term(catalog, hash, view)?;
            Some((place, cell_of(hash), [term as u64, (term >> 64) as u64]))
        };
        walk_parts(shards, part, now, make, |terms| {
            entries += terms.len();
            for (place, cell, [low, high]) in terms.drain(..) {
                cells.add(place, cell, u128::from(high) << 64 | u128::from(low));
            }
        });
        entries
    }

    /// Adds the values of a range.
    pub(super) fn add_values<S: Shards>(
        &self,
        cells: &mut Cells,
        shards: &mut S,
        range: u8,
        tables: &[Shared],
    ) {
        let places = Places::of(tables);
        if tables.iter().any(|table| table.rule.is_value()) {
            for value in compared(self.keys, shards, range_part(range), &places, self.values_at) {
                cells.add(value.place, cell_of(value.hash), value.term);
            }
        }
    }

    /// The entries of some cells of a range, in the order of place of table, cell and short hash.
    pub(super) fn rows<S: Shards>(
        &self,
        shards: &mut S,
        range: u8,
        tables: &[Shared],
        cells: &CellSet,
        now: Now,
    ) -> Vec<Row> {
        let places = Places::of(tables);
        let mut rows: Vec<Row> = Vec::new();
        let salt = (u64::from(self.round) << 1 | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        walk(shards, range_part(range), now, &mut rows, |catalog, hash, view| {
            let place = places.of_table(view.table)?;
            let cell = cell_of(hash);
            if !cells.has(place, cell) {
                return None;
            }
            let term = self.term(catalog, hash, view)?;
            // A life that ended leaves a removal on each engine at a moment of its own; one with connections did not end, and
            // one that does not age would never be judged.
            let left = view.record.tombstone && view.record.open == 0 && !self.held;
            let young = left && view.record.age_ms < NEAR_END_MS;
            let (order, value_short) = shorts(place, hash, term, salt);
            Some(Row {
                order,
                value_short,
                key: view.key,
                settled: !is_near(view) && !young && !self.recent.has(hash),
                tombstone: view.record.tombstone,
                open: view.record.open & self.mask,
            })
        });
        if tables.iter().any(|table| table.rule.is_value()) {
            let values = compared(self.keys, shards, range_part(range), &places, self.values_at);
            rows.extend(values.into_iter().filter(|v| cells.has(v.place, cell_of(v.hash))).map(|v| {
                let (order, value_short) = shorts(v.place, v.hash, v.term, salt);
                let settled = !self.recent.has(v.hash);
                Row { order, value_short, key: v.key, settled, tombstone: false, open: 0 }
            }));
        }
        let mut rows = in_order(rows, tables.len());
        // A key that moved while it was read may have been seen twice.
        rows.dedup_by_key(|row| (row.order, row.key));
        rows
    }
}

/// Where a row stands, and the short hash of what is compared.
fn shorts(place: u16, hash: u64, term: u128, salt: u64) -> (u64, u32) {
    let value = ((term >> 64) as u64).wrapping_mul(salt);
    let short = hash.wrapping_mul(salt) >> 32;
    (u64::from(place) << 48 | u64::from(cell_of(hash)) << 32 | short, (value >> 32) as u32)
}

/// Each engine ends an entry at a moment of its own.
fn is_near(view: &EntryView) -> bool {
    view.left_ms.is_some_and(|left| left < NEAR_END_MS.min((left + view.record.age_ms) / 4))
}

fn cell_of(hash: u64) -> u16 {
    ((hash >> (64 - CELL_BITS)) as usize % CELLS) as u16
}

/// The places of tables among those that are compared, by their numbers.
pub(super) struct Places(Vec<u16>);

impl Places {
    fn of(tables: &[Shared]) -> Self {
        let most = tables.iter().map(|t| usize::from(t.id.get())).max().map_or(0, |id| id + 1);
        let mut places = vec![u16::MAX; most];
        for (place, table) in (0..).zip(tables) {
            if let Some(slot) = places.get_mut(usize::from(table.id.get())) {
                *slot = place;
            }
        }
        Self(places)
    }

    pub(super) fn of_table(&self, id: TableId) -> Option<u16> {
        self.0.get(usize::from(id.get())).copied().filter(|place| *place != u16::MAX)
    }
}

/// Rows in the order of place of table, cell and short hash: there are few in each cell, so each row goes to its cell first.
fn in_order(rows: Vec<Row>, tables: usize) -> Vec<Row> {
    if rows.len() < tables * CELLS / 4 {
        let mut rows = rows;
        rows.sort_unstable_by_key(|row| row.order);
        return rows;
    }
    let cell = |row: &Row| usize::from(row.place()) * CELLS + usize::from(row.cell());
    let mut ends = vec![0u32; tables * CELLS + 1];
    for row in &rows {
        if let Some(n) = ends.get_mut(cell(row) + 1) {
            *n += 1;
        }
    }
    let mut sum = 0;
    for n in &mut ends {
        sum += *n;
        *n = sum;
    }
    let mut sorted = rows.clone();
    for row in rows {
        if let Some(next) = ends.get_mut(cell(&row))
            && let Some(to) = sorted.get_mut(*next as usize)
        {
            *to = row;
            *next += 1;
        }
    }
    for few in sorted.chunk_by_mut(|a, b| a.order >> 32 == b.order >> 32) {
        few.sort_unstable_by_key(|row| row.order);
    }
    sorted
}

/// Sums of cells, by the places of their tables; of tables with entries.
#[derive(Debug)]
pub(super) struct Cells(Vec<Option<Box<[u128; CELLS]>>>);

impl Cells {
    /// Nothing yet, of so many tables.
    pub(super) fn of_tables(tables: usize) -> Self {
        Self(vec![None; tables])
    }

    fn add(&mut self, place: u16, cell: u16, term: u128) {
        let Some(cells) = self.0.get_mut(usize::from(place)) else { return };
        let cells = cells.get_or_insert_with(|| Box::new([0; CELLS]));
        if let Some(sum) = cells.get_mut(usize::from(cell)) {
            *sum = sum.wrapping_add(term);
        }
    }

    /// The cells of one table.
    pub(super) fn of(&self, place: u16) -> impl Iterator<Item = (u16, u128)> {
        let cells = self.0.get(usize::from(place)).and_then(Option::as_ref);
        let cells = cells.into_iter().flat_map(|cells| (0..).zip(cells.iter().copied()));
        cells.filter(|(_, sum)| *sum != 0)
    }

    /// The groups of one table.
    pub(super) fn groups_of(&self, place: u16) -> BTreeMap<u16, u128> {
        let mut groups: BTreeMap<u16, u128> = BTreeMap::new();
        for (cell, sum) in self.of(place) {
            let group = groups.entry(cell / CELLS_PER_GROUP).or_default();
            *group = group.wrapping_add(sum);
        }
        groups
    }
}

pub(super) fn on_wire(sums: impl IntoIterator<Item = (u16, u128)>) -> Vec<(u16, Sum)> {
    sums.into_iter().map(|(n, sum)| (n, sum.to_le_bytes())).collect()
}

pub(super) fn off_wire(sums: &[(u16, Sum)]) -> BTreeMap<u16, u128> {
    sums.iter().map(|(n, sum)| (*n, u128::from_le_bytes(*sum))).collect()
}

/// The places at which two lists of sums differ.
pub(super) fn differing(a: &BTreeMap<u16, u128>, b: &BTreeMap<u16, u128>) -> BTreeSet<u16> {
    let sum = |sums: &BTreeMap<u16, u128>, n: &u16| sums.get(n).copied().unwrap_or(0);
    a.keys().chain(b.keys()).filter(|n| sum(a, n) != sum(b, n)).copied().collect()
}

/// Reads the entries of a part of the hash space, a few buckets under one lock.
pub(super) fn walk<S: Shards, T>(
    shards: &mut S,
    part: RangeInclusive<u64>,
    now: Now,
    found: &mut Vec<T>,
    make: impl FnMut(&Catalog, u64, &EntryView) -> Option<T>,
) {
    walk_parts(shards, part, now, make, |some| {
        if found.is_empty() {
            core::mem::swap(found, some);
        } else {
            found.append(some);
        }
    });
}

/// The same, and gives those of each partition to `each`, which takes them all.
fn walk_parts<S: Shards, T>(
    shards: &mut S,
    part: RangeInclusive<u64>,
    now: Now,
    mut make: impl FnMut(&Catalog, u64, &EntryView) -> Option<T>,
    mut each: impl FnMut(&mut Vec<T>),
) {
    let whole = part.clone();
    let read = |partition: &Partition, catalog: &Catalog, buckets: Range<u32>, found: &mut Vec<T>| {
        for view in partition.entries(catalog, buckets, now) {
            let hash = catalog.key(view.table, view.key).hash();
            if whole.contains(&hash) {
                found.extend(make(catalog, hash, &view));
            }
        }
    };
    read_parts(shards, &part, read, &mut each);
}

/// Reads the partitions of a part of the hash space, a few buckets under one lock, and gives what was found in each to `each`,
/// which takes it all.
pub(super) fn read_parts<S: Shards, T>(
    shards: &mut S,
    part: &RangeInclusive<u64>,
    mut read: impl FnMut(&Partition, &Catalog, Range<u32>, &mut Vec<T>),
    mut each: impl FnMut(&mut Vec<T>),
) {
    let geometry = shards.geometry();
    let mut found = Vec::new();
    for partition in geometry.route_hash(*part.start())..=geometry.route_hash(*part.end()) {
        for _ in 0..=AGAIN_MAX {
            found.clear();
            let mut moves = None;
            let mut moved = false;
            let mut bucket = 0;
            while bucket < geometry.buckets() {
                let next = bucket.saturating_add(BUCKETS_A_LOCK);
                shards.with(partition, |partition, catalog| {
                    let so_far = partition.stats().moves;
                    moved |= moves.is_some_and(|moves| moves != so_far);
                    moves = Some(so_far);
                    read(partition, catalog, bucket..next, &mut found);
                });
                bucket = next;
            }
            if !moved {
                break;
            }
        }
        each(&mut found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test SYNC-SETTLED-01
    #[test]
    fn what_changed_is_known_for_two_spans_and_what_did_not_is_not() {
        let mut recent = Recent::default();
        let at = |ms: u64| Now(ms * 1_000);
        // Hashes that fall on one another's places, and the one that marks a free place.
        let hashes = || (0..5_000_u64).map(|n| (n << 48) | (n % 7));
        recent.turn(at(10_000));
        hashes().for_each(|hash| recent.touch(hash));
        hashes().for_each(|hash| recent.touch(hash));
        assert_eq!(recent.now.len, 5_000, "each once");
        let known =
            |recent: &Recent| (hashes().filter(|hash| recent.has(*hash)).count(), recent.has((9 << 48) | 9));
        assert_eq!(known(&recent), (5_000, false));
        recent.turn(at(10_000 + SETTLE_MS));
        recent.touch((9 << 48) | 9);
        assert_eq!(known(&recent), (5_000, true));
        recent.turn(at(10_000 + 2 * SETTLE_MS));
        assert_eq!(known(&recent), (0, true));
        recent.turn(at(10_000 + 9 * SETTLE_MS));
        assert_eq!(known(&recent), (0, false));
    }
}
