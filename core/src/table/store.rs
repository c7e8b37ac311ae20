//! The slots of a partition: buckets of one cache line, and beside them, in lines of their own, what a look-up does not need.

use super::catalog::{Class, TableId};
use super::clock::Tick;
use super::limits::{BIRTH_MAX, BUCKET_BYTES, KEYS_PER_BUCKET, OPEN_INLINE_MAX};
use super::memory::{Block, HALF, Keys, LINE};
use super::version::{EngineSlot, Version};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

const SLOTS: usize = KEYS_PER_BUCKET;
const HIGH: u64 = 0xffff_ffff_0000_0000;

/// What changes with every connection: two words.
#[derive(Clone, Copy)]
pub(super) struct Life {
    /// Which engines have connections of this key.
    pub(super) open: u64,
    /// When the last connection closed, or the key was last used.
    pub(super) idle: Tick,
    /// 16 bits of table, 4 of class, 12 of local connections.
    meta: u32,
}

/// What changes with a write only: the version, in two words.
#[derive(Clone, Copy)]
struct Past {
    stamp: u64,
    /// 26 bits of birth minute, 6 bits of origin.
    born: u32,
    switches: u32,
}

/// An entry without its key and value.
#[derive(Clone, Copy)]
pub(super) struct Fields {
    pub(super) life: Life,
    past: Past,
}

// The lives of a bucket fill three quarters of a line, so that the line that a new connection needs is known before the
// key is found; the first of the bucket's versions fills the rest, and the others have half a line elsewhere.
const _: () =
    assert!(SLOTS * 2 + 2 == LINE && (SLOTS - 1) * 2 == HALF && BUCKET_BYTES == Block::bytes(1) as u64);
const _: () = assert!(OPEN_INLINE_MAX == (1 << 12) - 1 && BIRTH_MAX == (1 << 26) - 1);

/// A fact about one slot of a bucket; the number is the position of its three bits.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(super) enum Flag {
    /// There is an entry.
    Used = 0,
    /// It may be past its end of life: the cold record knows.
    MayBeOver = 3,
    /// It is deleted, but the deletion must be remembered.
    Tombstone = 6,
    /// It began over a tombstone: it is not evicted, and when it ends it leaves a tombstone.
    Lasting = 9,
}

impl Flag {
    /// Whether it stands in the line of the slot's keys.
    #[inline(always)]
    pub(super) fn stands(self, keys: &Keys, at: At) -> bool {
        flags_of(keys) >> (self as u32 + at.place) & 1 == 1
    }
}

#[inline(always)]
fn flags_of(keys: &Keys) -> u32 {
    (keys[7].load(Relaxed) >> 32) as u32
}

/// The words of the `n`-th pair of a line.
#[inline(always)]
fn pair(line: &[AtomicU64], n: u32) -> [u64; 2] {
    let n = 2 * n as usize;
    [line[n].load(Relaxed), line[n + 1].load(Relaxed)]
}

#[inline(always)]
fn set_pair(line: &[AtomicU64], n: u32, [a, b]: [u64; 2]) {
    let n = 2 * n as usize;
    line[n].store(a, Relaxed);
    line[n + 1].store(b, Relaxed);
}

const USED: u32 = (1 << SLOTS) - 1;
const MASK_30: u64 = (1 << 30) - 1;

/// A slot: bucket, and place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) bucket: u32,
    pub(super) place: u32,
}

impl At {
    /// The number of the slot in its partition.
    pub(super) const fn number(self) -> u32 {
        self.bucket * SLOTS as u32 + self.place
    }

    pub(super) const fn of_number(n: u32) -> Self {
        Self { bucket: n / SLOTS as u32, place: n % SLOTS as u32 }
    }
}

/// The slots of one partition; never grows.
pub(super) struct Store {
    block: Arc<Block>,
    /// The number of the first bucket among those of all partitions.
    first: usize,
    buckets: u32,
}

/// The two buckets of a hash; they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choices(pub(super) u32, pub(super) u32);

impl Choices {
    /// Each from 30 bits of the hash. The highest of those bits count most; they are neither those of the
    /// other bucket nor those of the partition and the digest (from 44 up).
    #[inline(always)]
    pub(super) fn of(hash: u64, buckets: u32) -> Self {
        let n = u64::from(buckets);
        let low = ((hash & MASK_30) * n) >> 30;
        let other = ((hash >> 14 & MASK_30) * (n - 1)) >> 30;
        Self(low as u32, (other + u64::from(other >= low)) as u32)
    }
}

impl Store {
    pub(super) fn new(block: Arc<Block>, first: usize, buckets: u32) -> Self {
        Self { block, first, buckets }
    }

    pub(super) fn buckets(&self) -> u32 {
        self.buckets
    }

    /// Whether the memory is that of this block.
    pub(super) fn is_of(&self, block: &Arc<Block>) -> bool {
        Arc::ptr_eq(&self.block, block)
    }

    /// Bytes of the slots.
    pub(super) fn bytes(&self) -> usize {
        Block::bytes(self.buckets)
    }

    #[inline(always)]
    fn keys(&self, bucket: u32) -> &Keys {
        debug_assert!(bucket < self.buckets);
        self.block.keys(self.first + bucket as usize)
    }

    #[inline(always)]
    fn flags(&self, bucket: u32) -> u32 {
        flags_of(self.keys(bucket))
    }

    /// The lowest free place of a bucket.
    #[inline]
    pub(super) fn free(&self, bucket: u32) -> Option<At> {
        let place = (!self.flags(bucket) & USED).trailing_zeros();
        (place < SLOTS as u32).then_some(At { bucket, place })
    }

    #[inline(always)]
    pub(super) fn is(&self, at: At, flag: Flag) -> bool {
        flag.stands(self.keys(at.bucket), at)
    }

    /// Sets or clears a flag. Most of the time it is as it should be; then the line stays clean and need
    /// not be written back to memory.
    #[inline(always)]
    pub(super) fn set(&mut self, at: At, flag: Flag, to: bool) {
        let word = &self.keys(at.bucket)[7];
        let (was, bit) = (word.load(Relaxed), 1 << (32 + flag as u32 + at.place));
        if (was & bit != 0) != to {
            word.store(was ^ bit, Relaxed);
        }
    }

    /// Whether any slot of the bucket is used.
    #[inline(always)]
    pub(super) fn any(&self, bucket: u32) -> bool {
        self.flags(bucket) & USED != 0
    }

    #[inline(always)]
    pub(super) fn key(&self, at: At) -> u128 {
        let [low, high] = pair(self.keys(at.bucket), at.place);
        u128::from(high) << 64 | u128::from(low)
    }

    #[inline(always)]
    pub(super) fn value(&self, at: At) -> u32 {
        let keys = self.keys(at.bucket);
        match at.place {
            0 => keys[6].load(Relaxed) as u32,
            1 => (keys[6].load(Relaxed) >> 32) as u32,
            _ => keys[7].load(Relaxed) as u32,
        }
    }

    #[inline(always)]
    pub(super) fn set_value(&mut self, at: At, value: u32) {
        let keys = self.keys(at.bucket);
        let word = if at.place < 2 { &keys[6] } else { &keys[7] };
        let (was, value) = (word.load(Relaxed), u64::from(value));
        let now = if at.place == 1 { was & !HIGH | value << 32 } else { was & HIGH | value };
        word.store(now, Relaxed);
    }

    #[inline(always)]
    pub(super) fn life(&self, at: At) -> Life {
        let [open, rest] = pair(self.lives(at.bucket), at.place);
        Life { open, idle: Tick(rest as u32), meta: (rest >> 32) as u32 }
    }

    #[inline(always)]
    pub(super) fn set_life(&mut self, at: At, life: Life) {
        let rest = u64::from(life.idle.0) | u64::from(life.meta) << 32;
        set_pair(self.lives(at.bucket), at.place, [life.open, rest]);
    }

    #[inline(always)]
    fn lives(&self, bucket: u32) -> &[AtomicU64; LINE] {
        debug_assert!(bucket < self.buckets);
        self.block.lives(self.first + bucket as usize)
    }

    #[inline(always)]
    fn past(&self, at: At) -> Past {
        let [stamp, rest] = match at.place {
            0 => pair(self.lives(at.bucket), SLOTS as u32),
            n => pair(self.pasts(at.bucket), n - 1),
        };
        Past { stamp, born: rest as u32, switches: (rest >> 32) as u32 }
    }

    #[inline(always)]
    fn set_past(&mut self, at: At, past: Past) {
        let words = [past.stamp, u64::from(past.born) | u64::from(past.switches) << 32];
        match at.place {
            0 => set_pair(self.lives(at.bucket), SLOTS as u32, words),
            n => set_pair(self.pasts(at.bucket), n - 1, words),
        }
    }

    #[inline(always)]
    fn pasts(&self, bucket: u32) -> &[AtomicU64; HALF] {
        debug_assert!(bucket < self.buckets);
        self.block.pasts(self.first + bucket as usize)
    }

    pub(super) fn version(&self, at: At) -> Version {
        self.past(at).version()
    }

    pub(super) fn set_version(&mut self, at: At, version: Version) {
        self.set_past(at, Past::of(version));
    }

    /// The two words of the version that a digest takes in.
    #[inline(always)]
    pub(super) fn words(&self, at: At) -> [u64; 2] {
        let past = self.past(at);
        [u64::from(past.born) << 32 | u64::from(past.switches), past.stamp]
    }

    /// Fills a free slot.
    pub(super) fn fill(&mut self, at: At, stored: u128, value: u32, fields: Fields) {
        debug_assert!(!self.is(at, Flag::Used));
        set_pair(self.keys(at.bucket), at.place, [stored as u64, (stored >> 64) as u64]);
        self.set_value(at, value);
        self.set_life(at, fields.life);
        self.set_past(at, fields.past);
        for flag in [Flag::MayBeOver, Flag::Tombstone, Flag::Lasting] {
            self.set(at, flag, false);
        }
        self.set(at, Flag::Used, true);
    }

    /// Empties a slot.
    pub(super) fn clear(&mut self, at: At) {
        debug_assert!(self.is(at, Flag::Used));
        self.set(at, Flag::Used, false);
    }

    /// Moves an entry to the other of its buckets, where `to` is free.
    pub(super) fn shift(&mut self, from: At, to: At) {
        let flags = [Flag::MayBeOver, Flag::Tombstone, Flag::Lasting].map(|f| (f, self.is(from, f)));
        let fields = Fields { life: self.life(from), past: self.past(from) };
        self.fill(to, self.key(from), self.value(from), fields);
        for (flag, on) in flags {
            self.set(to, flag, on);
        }
        self.clear(from);
    }
}

impl Fields {
    pub(super) fn new(table: TableId, class: Class, version: Version, idle: Tick) -> Self {
        let meta = u32::from(table.get()) | u32::from(class.get()) << 16;
        Self { life: Life { open: 0, idle, meta }, past: Past::of(version) }
    }
}

impl Past {
    fn of(v: Version) -> Self {
        let born = v.birth.min(BIRTH_MAX) << 6 | u32::from(v.origin.get());
        Self { stamp: v.stamp, born, switches: v.switches }
    }

    fn version(&self) -> Version {
        let origin = EngineSlot::of_low_bits(self.born);
        Version { birth: self.born >> 6, switches: self.switches, stamp: self.stamp, origin }
    }
}

impl Life {
    #[inline(always)]
    pub(super) const fn table(&self) -> TableId {
        TableId::of(self.meta as u16)
    }

    #[inline(always)]
    pub(super) const fn class(&self) -> Class {
        Class::of_low_bits(self.meta >> 16)
    }

    pub(super) fn set_class(&mut self, class: Class) {
        self.meta = self.meta & !(0xf << 16) | u32::from(class.get()) << 16;
    }

    /// Local connections counted here; 4,095 means "and more in the list".
    #[inline(always)]
    pub(super) const fn count(&self) -> u32 {
        self.meta >> 20
    }

    #[inline(always)]
    pub(super) fn set_count(&mut self, n: u32) {
        debug_assert!(n <= OPEN_INLINE_MAX);
        self.meta = self.meta & 0x000f_ffff | n << 20;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Geometry, TableMemory};
    use super::*;

    #[test]
    fn every_field_of_a_slot_keeps_its_bits() {
        let origin = EngineSlot::new(63).unwrap();
        let v = Version { birth: BIRTH_MAX, switches: u32::MAX, stamp: u64::MAX, origin };
        let (table, class) = (TableId::of(u16::MAX), Class::new(15).unwrap());
        let memory = TableMemory::reserve(&Geometry::for_entries(1).unwrap());
        let mut s = Store::new(memory.block, 0, 8);
        for place in 0..3 {
            let at = At { bucket: 5, place };
            s.fill(at, 9, 8, Fields::new(table, class, v, Tick(7)));
            let mut l = s.life(at);
            l.set_count(OPEN_INLINE_MAX);
            s.set_life(at, l);
            let l = s.life(at);
            assert_eq!((s.key(at), s.value(at)), (9, 8));
            assert_eq!((s.version(at), l.table(), l.class(), l.count()), (v, table, class, OPEN_INLINE_MAX));
            s.set_version(at, Version::default());
            let mut l = s.life(at);
            l.set_class(Class::default());
            s.set_life(at, l);
            let l = s.life(at);
            assert_eq!((s.version(at), l.table(), l.class()), (Version::default(), table, Class::default()));
            assert_eq!((l.count(), l.open, l.idle), (OPEN_INLINE_MAX, 0, Tick(7)));
            s.set_version(at, Version { birth: u32::MAX, ..v });
            assert_eq!(s.version(at), v);
        }
    }

    #[test]
    fn the_two_choices_differ_and_cover_all_buckets() {
        let mut seen = [0; 8];
        for i in 0..4_000u64 {
            let Choices(a, b) = Choices::of(i.wrapping_mul(0xdead_beef_cafe_f00d).rotate_left(17), 8);
            assert_ne!(a, b);
            seen[a as usize] += 1;
            seen[b as usize] += 1;
        }
        assert!(seen.iter().all(|n| (700..1_300).contains(n)), "{seen:?}");
    }
}
