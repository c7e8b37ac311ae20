//! The memory of a partition: buckets of one cache line, and beside them what a look-up does not need.

use super::catalog::{Class, TableId};
use super::clock::Tick;
use super::limits::{BIRTH_MAX, KEYS_PER_BUCKET, OPEN_INLINE_MAX};
use super::version::{EngineSlot, Version};
use alloc::boxed::Box;
use alloc::vec;

const SLOTS: usize = KEYS_PER_BUCKET;

/// Three keys with their values, and one word of flags: 64 bytes, one line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Bucket {
    keys: [u128; SLOTS],
    values: [u32; SLOTS],
    /// Three bits of each [`Flag`], then the count of keys that would be here but are in their second bucket.
    meta: u32,
}

/// What a look-up does not need. Two of them fill a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct Cold {
    stamp: u64,
    /// Which engines have connections of this key.
    pub(super) open: u64,
    /// 26 bits of birth minute, 6 bits of origin.
    born: u32,
    switches: u32,
    /// When the last connection closed, or the key was last used.
    pub(super) idle: Tick,
    /// 16 bits of table, 4 of class, 12 of local connections.
    meta: u32,
}

const _: () = assert!(size_of::<Bucket>() == 64 && size_of::<Cold>() == 32);
const _: () = assert!(OPEN_INLINE_MAX == (1 << 12) - 1 && BIRTH_MAX == (1 << 26) - 1);

/// A fact about one slot of a bucket; the number is the position of its three bits.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(super) enum Flag {
    /// There is an entry.
    Used = 0,
    /// It is in the second of its two buckets.
    Second = 3,
    /// It may be past its end of life: the cold record knows.
    MayBeOver = 6,
    /// It is deleted, but the deletion must be remembered.
    Tombstone = 9,
    /// It began over a tombstone: it is not evicted, and when it ends it leaves a tombstone.
    Lasting = 12,
}

const USED: u32 = 0b111;
const SPILL_ONE: u32 = 1 << 24;
/// A count that has reached its end stays there: nobody knows how many more there were.
const SPILL_MAX: u32 = 0xff << 24;

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

/// The slots of one partition. Reserved and written once at start, so that no page is touched first on the
/// data path; never grows.
pub(super) struct Store {
    hot: Box<[Bucket]>,
    cold: Box<[Cold]>,
}

/// The two buckets of a hash; they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choices(pub(super) u32, pub(super) u32);

impl Store {
    pub(super) fn new(buckets: u32) -> Self {
        let empty = Bucket { keys: [0; SLOTS], values: [0; SLOTS], meta: 0 };
        let none = Cold { stamp: 0, open: 0, born: 0, switches: 0, idle: Tick(0), meta: 0 };
        let buckets = buckets as usize;
        Self {
            hot: vec![empty; buckets].into_boxed_slice(),
            cold: vec![none; buckets * SLOTS].into_boxed_slice(),
        }
    }

    pub(super) fn buckets(&self) -> u32 {
        self.hot.len() as u32
    }

    /// Bytes reserved.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.hot) + size_of_val(&*self.cold)
    }

    /// Where a key may be. The top bits of a hash are spent on the partition, so the low ones are used.
    #[inline(always)]
    pub(super) fn choices(&self, hash: u64) -> Choices {
        let n = u64::from(self.buckets());
        let first = ((hash & 0xffff_ffff) * n) >> 32;
        let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let second = (mixed * n) >> 32;
        let second = if second != first { second } else { (first + 1) % n };
        Choices(first as u32, second as u32)
    }

    /// Returns where a key is: one cache line, or two if a key of its bucket had to go elsewhere.
    #[inline(always)]
    pub(super) fn find(&self, stored: u128, hash: u64) -> Option<At> {
        let Choices(first, second) = self.choices(hash);
        let b = &self.hot[first as usize];
        let place = Self::place_of(b, stored);
        if place < SLOTS as u32 {
            return Some(At { bucket: first, place });
        }
        if b.meta < SPILL_ONE {
            return None;
        }
        let place = Self::place_of(&self.hot[second as usize], stored);
        (place < SLOTS as u32).then_some(At { bucket: second, place })
    }

    /// The place of a key in a bucket; 3 or more if it is not there. Without a branch per key.
    #[inline(always)]
    fn place_of(b: &Bucket, stored: u128) -> u32 {
        let same = u32::from(b.keys[0] == stored)
            | u32::from(b.keys[1] == stored) << 1
            | u32::from(b.keys[2] == stored) << 2;
        (same & b.meta & USED).trailing_zeros()
    }

    /// The lowest free place of a bucket.
    #[inline]
    pub(super) fn free(&self, bucket: u32) -> Option<At> {
        let place = (!self.hot[bucket as usize].meta & USED).trailing_zeros();
        (place < SLOTS as u32).then_some(At { bucket, place })
    }

    #[inline(always)]
    pub(super) fn is(&self, at: At, flag: Flag) -> bool {
        self.hot[at.bucket as usize].meta >> (flag as u32 + at.place) & 1 == 1
    }

    #[inline(always)]
    pub(super) fn set(&mut self, at: At, flag: Flag, to: bool) {
        let bit = flag as u32 + at.place;
        let meta = &mut self.hot[at.bucket as usize].meta;
        *meta = *meta & !(1 << bit) | u32::from(to) << bit;
    }

    /// Whether any slot of the bucket is used.
    #[inline(always)]
    pub(super) fn any(&self, bucket: u32) -> bool {
        self.hot[bucket as usize].meta & USED != 0
    }

    #[inline(always)]
    pub(super) fn key(&self, at: At) -> u128 {
        self.hot[at.bucket as usize].keys[at.place as usize]
    }

    #[inline(always)]
    pub(super) fn value(&self, at: At) -> u32 {
        self.hot[at.bucket as usize].values[at.place as usize]
    }

    #[inline(always)]
    pub(super) fn set_value(&mut self, at: At, value: u32) {
        self.hot[at.bucket as usize].values[at.place as usize] = value;
    }

    #[inline(always)]
    pub(super) fn cold(&self, at: At) -> &Cold {
        &self.cold[at.number() as usize]
    }

    #[inline(always)]
    pub(super) fn cold_mut(&mut self, at: At) -> &mut Cold {
        &mut self.cold[at.number() as usize]
    }

    /// Fills a free slot; `home` is the first bucket of the key.
    pub(super) fn fill(&mut self, at: At, home: u32, stored: u128, value: u32, cold: Cold) {
        debug_assert!(!self.is(at, Flag::Used));
        let b = &mut self.hot[at.bucket as usize];
        b.keys[at.place as usize] = stored;
        b.values[at.place as usize] = value;
        *self.cold_mut(at) = cold;
        for flag in [Flag::MayBeOver, Flag::Tombstone, Flag::Lasting] {
            self.set(at, flag, false);
        }
        self.set(at, Flag::Used, true);
        self.set(at, Flag::Second, at.bucket != home);
        if at.bucket != home {
            self.spill(home, true);
        }
    }

    /// Empties a slot.
    pub(super) fn clear(&mut self, at: At, home: u32) {
        debug_assert!(self.is(at, Flag::Used));
        self.set(at, Flag::Used, false);
        if at.bucket != home {
            self.spill(home, false);
        }
    }

    /// Moves an entry to the other of its buckets, where `to` is free.
    pub(super) fn shift(&mut self, from: At, to: At, home: u32) {
        let (stored, value, cold) = (self.key(from), self.value(from), *self.cold(from));
        let flags = [Flag::MayBeOver, Flag::Tombstone, Flag::Lasting].map(|f| (f, self.is(from, f)));
        self.clear(from, home);
        self.fill(to, home, stored, value, cold);
        for (flag, on) in flags {
            self.set(to, flag, on);
        }
    }

    fn spill(&mut self, bucket: u32, more: bool) {
        let meta = &mut self.hot[bucket as usize].meta;
        match (more, *meta & SPILL_MAX) {
            (_, SPILL_MAX) => {}
            (true, _) => *meta += SPILL_ONE,
            (false, 0) => debug_assert!(false, "a key left its second bucket that was never counted"),
            (false, _) => *meta -= SPILL_ONE,
        }
    }

    /// Keys of this bucket that are in their second one; `None` if they are too many to count.
    #[cfg(test)]
    pub(super) fn spilled(&self, bucket: u32) -> Option<u32> {
        let n = self.hot[bucket as usize].meta >> 24;
        (n < 255).then_some(n)
    }
}

impl Cold {
    pub(super) fn new(table: TableId, class: Class, version: Version, idle: Tick) -> Self {
        let meta = u32::from(table.get()) | u32::from(class.get()) << 16;
        let mut cold = Self { stamp: 0, open: 0, born: 0, switches: 0, idle, meta };
        cold.set_version(version);
        cold
    }

    pub(super) fn version(&self) -> Version {
        Version {
            birth: self.born >> 6,
            switches: self.switches,
            stamp: self.stamp,
            origin: EngineSlot::of_low_bits(self.born),
        }
    }

    pub(super) fn set_version(&mut self, v: Version) {
        self.born = v.birth.min(BIRTH_MAX) << 6 | u32::from(v.origin.get());
        self.switches = v.switches;
        self.stamp = v.stamp;
    }

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

    /// The three words that a digest takes in.
    #[inline(always)]
    pub(super) const fn words(&self) -> (u64, u64) {
        ((self.born as u64) << 32 | self.switches as u64, self.stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_a_cold_record_keeps_its_bits() {
        let v = Version {
            birth: BIRTH_MAX,
            switches: u32::MAX,
            stamp: u64::MAX,
            origin: EngineSlot::new(63).unwrap(),
        };
        let mut c = Cold::new(TableId::of(u16::MAX), Class::new(15).unwrap(), v, Tick(u32::MAX));
        c.set_count(OPEN_INLINE_MAX);
        assert_eq!(
            (c.version(), c.table().get(), c.class().get(), c.count()),
            (v, u16::MAX, 15, OPEN_INLINE_MAX)
        );
        c.set_version(Version::default());
        c.set_class(Class::default());
        assert_eq!(
            (c.version(), c.table().get(), c.class().get(), c.count()),
            (Version::default(), u16::MAX, 0, OPEN_INLINE_MAX)
        );
        c.set_version(Version { birth: u32::MAX, ..v });
        assert_eq!(c.version(), v);
    }

    #[test]
    fn the_two_choices_differ_and_cover_all_buckets() {
        let s = Store::new(8);
        let mut seen = [0; 8];
        for i in 0..4_000u64 {
            let Choices(a, b) = s.choices(i.wrapping_mul(0xdead_beef_cafe_f00d).rotate_left(17));
            assert_ne!(a, b);
            seen[a as usize] += 1;
            seen[b as usize] += 1;
        }
        assert!(seen.iter().all(|n| (700..1_300).contains(n)), "{seen:?}");
    }

    #[test]
    fn a_saturated_spill_count_stays() {
        let mut s = Store::new(8);
        for _ in 0..300 {
            s.spill(3, true);
        }
        s.spill(3, false);
        assert_eq!(s.spilled(3), None);
        s.spill(4, true);
        assert_eq!(s.spilled(4), Some(1));
        s.spill(4, false);
        assert_eq!(s.spilled(4), Some(0));
    }
}
