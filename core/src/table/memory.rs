//! One block of memory for the entries of all partitions, zero and untouched until it is used.
//!
//! It is one block, so that the address of a bucket follows from the key's hash alone: what a look-up waits for is not
//! behind the header of a partition, and may be asked for before the partition's lock is taken.
//!
//! It consists of atomic words, because more than one thread reads it; they are read and written as plain
//! ones are (relaxed). What orders them is the lock of the partition: who holds it is the only one that writes the
//! partition's words. Two things happen without the lock, and neither changes nor uses a value:
//! [`Block::fetch`] and [`Pages::touch`].

use super::catalog::{Catalog, Key};
use super::geometry::Geometry;
use super::partition::Partition;
use super::store::{At, Choices, Store};
use crate::units::Now;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Words of a cache line.
pub(super) const LINE: usize = 8;

/// Words of half a cache line.
pub(super) const HALF: usize = LINE / 2;

/// Bytes of the smallest page of memory.
const PAGE_BYTES: usize = 4_096;

const WORD_BYTES: usize = size_of::<u64>();

/// A line of keys: three keys of two words, three values of half a word, and half a word of flags.
pub(super) type Keys = [AtomicU64; LINE];

/// The entries' memory of one table.
pub(super) struct Block {
    words: Box<[AtomicU64]>,
    /// Words before the first whole cache line: an allocator gives zero pages only to what asks for no
    /// alignment beyond its own.
    skip: usize,
    /// Of all partitions.
    buckets: usize,
}

impl core::fmt::Debug for Block {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Block({} buckets)", self.buckets)
    }
}

/// The memory of a table, before its partitions are made.
///
/// Address space is taken at once, and no page of it written: where zero pages come from the operating system, they
/// become resident when they are first used, or by [`Pages::touch`].
pub struct TableMemory {
    geometry: Geometry,
    pub(super) block: Arc<Block>,
}

impl TableMemory {
    /// Reserves what all partitions need for their entries.
    //= TBL-MEMORY-03
    pub fn reserve(geometry: &Geometry) -> Self {
        let buckets = geometry.buckets() as usize * geometry.partitions() as usize;
        let count = buckets * (LINE + LINE + HALF) + LINE;
        // Not written: zero pages come from the operating system as they are.
        let words: Box<[AtomicU64]> = bytemuck::zeroed_slice_box(count);
        // Where it cannot be said, entries only cost an access more.
        let skip = match words.as_ptr().align_offset(LINE * WORD_BYTES) {
            words @ 0..LINE => words,
            _ => 0,
        };
        Self { geometry: *geometry, block: Arc::new(Block { words, skip, buckets }) }
    }

    /// How the memory is cut.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The pages, for a thread that makes them resident.
    pub fn pages(&self) -> Pages {
        Pages(self.block.clone())
    }

    /// Deals the memory out: all partitions, in the order of their numbers, empty. `catalog` must have been made for
    /// this memory.
    pub fn into_partitions(self, catalog: &Catalog, now: Now) -> impl Iterator<Item = Partition> {
        let Self { geometry, block } = self;
        debug_assert!(catalog.is_for(&block), "a catalog of another table");
        (0..geometry.partitions()).map(move |number| {
            let first = number as usize * geometry.buckets() as usize;
            let store = Store::new(block.clone(), first, geometry.buckets());
            Partition::new(store, geometry.partition_limit(), catalog, now)
        })
    }
}

/// The pages of a table's memory.
pub struct Pages(Arc<Block>);

impl Pages {
    /// Bytes of them.
    pub fn bytes(&self) -> u64 {
        (self.0.words.len() * WORD_BYTES) as u64
    }

    /// Makes `bytes` resident, from the byte `from` on; returns where to go on, or `None` at the end.
    ///
    /// Needs no lock: an atomic operation writes each page once and leaves every bit as it is. While it runs, and
    /// before, an operation on the table may be the first to use a page, at most three for each bucket that it
    /// looks at, and wait for the operating system to find that page.
    pub fn touch(&self, from: u64, bytes: u64) -> Option<u64> {
        let place = |byte: u64| usize::try_from(byte / WORD_BYTES as u64).unwrap_or(usize::MAX);
        let words = &self.0.words;
        let end = place(from.saturating_add(bytes)).min(words.len());
        for word in words.get(place(from)..end)?.iter().step_by(PAGE_BYTES / WORD_BYTES) {
            // Hidden from the compiler, which may replace an operation that changes nothing by none.
            word.fetch_or(black_box(0), Relaxed);
        }
        (end < words.len()).then(|| from.saturating_add(bytes))
    }
}

/// Where a look-up found a key.
pub(super) struct Found<'b> {
    /// Bucket of its partition, and place.
    pub(super) at: At,
    pub(super) value: u32,
    pub(super) keys: &'b Keys,
}

impl Block {
    pub(super) const fn bytes(buckets: u32) -> usize {
        buckets as usize * (LINE + LINE + HALF) * WORD_BYTES
    }

    #[inline(always)]
    fn lines(&self) -> &[Keys] {
        self.words[self.skip..].as_chunks().0
    }

    /// The keys of a bucket, by its number among all.
    #[inline(always)]
    pub(super) fn keys(&self, bucket: usize) -> &Keys {
        &self.lines()[bucket]
    }

    /// The lives of a bucket, and the first of its versions.
    #[inline(always)]
    pub(super) fn lives(&self, bucket: usize) -> &[AtomicU64; LINE] {
        &self.lines()[self.buckets + bucket]
    }

    /// The other versions of a bucket.
    #[inline(always)]
    pub(super) fn pasts(&self, bucket: usize) -> &[AtomicU64; HALF] {
        let (halves, _) = self.words[self.skip..].as_chunks();
        &halves[self.buckets * (2 * LINE / HALF) + bucket]
    }

    /// Where a key is.
    ///
    /// Both buckets are read, without a branch between: two misses that overlap cost one, and a guess at
    /// which of them it is would be wrong for every seventh key.
    #[inline(always)]
    pub(super) fn find(&self, first: usize, choices: Choices, stored: u128) -> Option<Found<'_>> {
        let Choices(near, far) = choices;
        let lines = self.lines();
        let other = &lines[first + far as usize];
        black_box(other[7].load(Relaxed));
        let keys = &lines[first + near as usize];
        let (places, value) = look(keys, stored);
        if places != 0 {
            return Some(Found { at: At { bucket: near, place: places.trailing_zeros() }, value, keys });
        }
        let (places, value) = look(other, stored);
        let at = At { bucket: far, place: places.trailing_zeros() };
        (places != 0).then_some(Found { at, value, keys: other })
    }

    /// Asks for the lives of a hash's buckets before it is known whether the key is there: this miss
    /// then overlaps the one of [`Block::find`]. The result is not used, so nothing waits for it.
    #[inline(always)]
    pub(super) fn fetch(&self, first: usize, choices: Choices) {
        let Choices(near, far) = choices;
        black_box(self.lives(first + near as usize)[0].load(Relaxed));
        black_box(self.lives(first + far as usize)[0].load(Relaxed));
    }
}

/// The places of a key in a bucket, one bit or none, and the value there: without a branch per key. All three values
/// are read, and masked by arithmetic: an address made of the place would be known only after all comparisons, and a
/// guess at the place would often be wrong.
#[inline(always)]
fn look(keys: &Keys, stored: u128) -> (u32, u32) {
    let (low, high) = (stored as u64, (stored >> 64) as u64);
    let (values, last) = (keys[6].load(Relaxed), keys[7].load(Relaxed));
    let flags = (last >> 32) as u32;
    // All ones for the place of the key, else zero.
    let hit = |place: usize| {
        let differs = keys[2 * place].load(Relaxed) ^ low | keys[2 * place + 1].load(Relaxed) ^ high;
        let same = ((differs | differs.wrapping_neg()) >> 63).wrapping_sub(1) as u32;
        same & 0u32.wrapping_sub(flags >> place & 1)
    };
    let hits = [hit(0), hit(1), hit(2)];
    let places = hits[0] & 1 | hits[1] & 2 | hits[2] & 4;
    let value = values as u32 & hits[0] | (values >> 32) as u32 & hits[1] | last as u32 & hits[2];
    (places, value)
}

impl Catalog {
    /// Where a key is, in its partition. The partition itself is not read for it.
    #[inline(always)]
    pub(super) fn find(&self, key: &Key) -> Option<Found<'_>> {
        self.block().find(self.first_bucket(key.hash), self.choices(key.hash), key.stored)
    }

    /// Asks for what changes with every connection of a key.
    #[inline(always)]
    pub(super) fn fetch(&self, key: &Key) {
        self.block().fetch(self.first_bucket(key.hash), self.choices(key.hash));
    }

    /// Asks for the memory that a look-up of the key reads, so that it is on its way while the lock of the key's partition
    /// is being taken. Nothing waits for it.
    #[inline(always)]
    pub fn ask(&self, key: &Key) {
        let Choices(near, far) = self.choices(key.hash);
        let first = self.first_bucket(key.hash);
        black_box(self.block().keys(first + near as usize)[7].load(Relaxed));
        black_box(self.block().keys(first + far as usize)[7].load(Relaxed));
    }
}
