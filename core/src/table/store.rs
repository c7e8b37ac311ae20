//! The memory of a partition: buckets of one cache line, and beside them, in lines of their own, what a look-up does not need.

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
    /// Three bits of each [`Flag`].
    meta: u32,
}

impl Bucket {
    /// The places of a key: one bit, or none. Without a branch per key.
    #[inline(always)]
    fn places_of(&self, stored: u128) -> u32 {
        let same = u32::from(self.keys[0] == stored)
            | u32::from(self.keys[1] == stored) << 1
            | u32::from(self.keys[2] == stored) << 2;
        same & self.meta & USED
    }

    /// The value in the one place of `places`. All three are read, and masked by arithmetic: an address made of
    /// the place would be known only after all comparisons, and a guess at the place would often be wrong.
    #[inline(always)]
    fn value_of(&self, places: u32) -> u32 {
        let mask = |place: u32| 0u32.wrapping_sub(places >> place & 1);
        self.values[0] & mask(0) | self.values[1] & mask(1) | self.values[2] & mask(2)
    }
}

/// What changes with every connection.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Life {
    /// Which engines have connections of this key.
    pub(super) open: u64,
    /// When the last connection closed, or the key was last used.
    pub(super) idle: Tick,
    /// 16 bits of table, 4 of class, 12 of local connections.
    meta: u32,
}

/// What changes with a write only: the version.
#[derive(Clone, Copy)]
#[repr(C)]
struct Past {
    stamp: u64,
    /// 26 bits of birth minute, 6 bits of origin.
    born: u32,
    switches: u32,
}

/// The lives of a bucket fill three quarters of a line, so that the line that a new connection needs is known
/// before the key is found; the first of the bucket's versions fills the rest.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Lives {
    lives: [Life; SLOTS],
    past: Past,
}

/// The other versions of a bucket.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct Pasts([Past; SLOTS - 1]);

/// An entry without its key and value.
#[derive(Clone, Copy)]
pub(super) struct Fields {
    pub(super) life: Life,
    past: Past,
}

const _: () = assert!(size_of::<Bucket>() == 64 && size_of::<Lives>() == 64 && size_of::<Pasts>() == 32);
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

const USED: u32 = 0b111;
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

/// The slots of one partition. Reserved and written once at start, so that no page is touched first on the
/// data path; never grows.
pub(super) struct Store {
    hot: Box<[Bucket]>,
    lives: Box<[Lives]>,
    pasts: Box<[Pasts]>,
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
    pub(super) fn new(buckets: u32) -> Self {
        let empty = Bucket { keys: [0; SLOTS], values: [0; SLOTS], meta: 0 };
        let past = Past { stamp: 0, born: 0, switches: 0 };
        let life = Life { open: 0, idle: Tick(0), meta: 0 };
        let n = buckets as usize;
        Self {
            hot: vec![empty; n].into_boxed_slice(),
            lives: vec![Lives { lives: [life; SLOTS], past }; n].into_boxed_slice(),
            pasts: vec![Pasts([past; SLOTS - 1]); n].into_boxed_slice(),
        }
    }

    pub(super) fn buckets(&self) -> u32 {
        self.hot.len() as u32
    }

    /// Bytes reserved.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.hot) + size_of_val(&*self.lives) + size_of_val(&*self.pasts)
    }

    /// Returns where a key is.
    #[inline(always)]
    pub(super) fn find(&self, stored: u128, choices: Choices) -> Option<At> {
        self.find_with_value(stored, choices).map(|(at, _)| at)
    }

    /// Returns where a key is, and its value.
    ///
    /// Both buckets are read, without a branch between: two misses that overlap cost one, and a guess at
    /// which of them it is would be wrong for every seventh key.
    #[inline(always)]
    pub(super) fn find_with_value(&self, stored: u128, choices: Choices) -> Option<(At, u32)> {
        let Choices(first, second) = choices;
        let other = &self.hot[second as usize];
        core::hint::black_box(other.meta);
        let bucket = &self.hot[first as usize];
        let here = bucket.places_of(stored);
        if here != 0 {
            return Some((At { bucket: first, place: here.trailing_zeros() }, bucket.value_of(here)));
        }
        let there = other.places_of(stored);
        let at = At { bucket: second, place: there.trailing_zeros() };
        (there != 0).then(|| (at, other.value_of(there)))
    }

    /// Asks for the lives of a hash's first bucket before it is known whether the key is there: this miss
    /// then overlaps the one of [`Store::find`]. The result is not used, so nothing waits for it.
    #[inline(always)]
    pub(super) fn fetch(&self, choices: Choices) {
        let Choices(first, second) = choices;
        core::hint::black_box(self.lives[first as usize].lives[0].meta);
        core::hint::black_box(self.lives[second as usize].lives[0].meta);
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

    /// Sets or clears a flag. Most of the time it is as it should be; then the line stays clean and need
    /// not be written back to memory.
    #[inline(always)]
    pub(super) fn set(&mut self, at: At, flag: Flag, to: bool) {
        if self.is(at, flag) != to {
            self.hot[at.bucket as usize].meta ^= 1 << (flag as u32 + at.place);
        }
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
    pub(super) fn life(&self, at: At) -> &Life {
        &self.lives[at.bucket as usize].lives[at.place as usize]
    }

    #[inline(always)]
    pub(super) fn life_mut(&mut self, at: At) -> &mut Life {
        &mut self.lives[at.bucket as usize].lives[at.place as usize]
    }

    #[inline(always)]
    fn past(&self, at: At) -> &Past {
        match at.place {
            0 => &self.lives[at.bucket as usize].past,
            n => &self.pasts[at.bucket as usize].0[n as usize - 1],
        }
    }

    #[inline(always)]
    fn past_mut(&mut self, at: At) -> &mut Past {
        match at.place {
            0 => &mut self.lives[at.bucket as usize].past,
            n => &mut self.pasts[at.bucket as usize].0[n as usize - 1],
        }
    }

    pub(super) fn version(&self, at: At) -> Version {
        self.past(at).version()
    }

    pub(super) fn set_version(&mut self, at: At, version: Version) {
        *self.past_mut(at) = Past::of(version);
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
        let b = &mut self.hot[at.bucket as usize];
        b.keys[at.place as usize] = stored;
        b.values[at.place as usize] = value;
        *self.life_mut(at) = fields.life;
        *self.past_mut(at) = fields.past;
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
        let fields = Fields { life: *self.life(from), past: *self.past(from) };
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
    use super::*;

    #[test]
    fn every_field_of_a_slot_keeps_its_bits() {
        let origin = EngineSlot::new(63).unwrap();
        let v = Version { birth: BIRTH_MAX, switches: u32::MAX, stamp: u64::MAX, origin };
        let (table, class) = (TableId::of(u16::MAX), Class::new(15).unwrap());
        let mut s = Store::new(8);
        for place in 0..3 {
            let at = At { bucket: 5, place };
            s.fill(at, 9, 8, Fields::new(table, class, v, Tick(7)));
            s.life_mut(at).set_count(OPEN_INLINE_MAX);
            let l = *s.life(at);
            assert_eq!((s.version(at), l.table(), l.class(), l.count()), (v, table, class, OPEN_INLINE_MAX));
            s.set_version(at, Version::default());
            s.life_mut(at).set_class(Class::default());
            let l = *s.life(at);
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
