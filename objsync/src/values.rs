//! What is kept of a key that is no server: bytes, of which the last write holds, and counts, which add up.
//!
//! A host that shares such tables owns one [`Values`], under a lock of its own, and sweeps it every few seconds. All of it ends by the group's time, which the
//! engine that writes says: every engine forgets the same at the same moment, and nothing that has ended comes back.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::ops::RangeInclusive;

use forebay_core::table::{EngineSlot, GroupMillis, Key, KeyBytes, TableId};
use serde::{Deserialize, Serialize};

use crate::limits::{SHARES_MAX, VALUE_BYTES_MAX, VALUE_LIFE_MAX_MS};

/// What was written under a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Group time of the write: milliseconds and a count within the millisecond. The later write holds.
    pub stamp: u64,
    /// The engine that wrote; of two writes at once the higher slot holds.
    pub origin: EngineSlot,
    /// It ends then.
    pub ends: GroupMillis,
    /// The bytes; `None`: they were removed. That is remembered for as long as anything lives that was written before.
    pub value: Option<Vec<u8>>,
}

/// What one engine has counted, since it began to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The engine.
    pub origin: EngineSlot,
    /// When it began, as a stamp: an engine that has started anew, or whose share has ended, begins another one.
    pub began: u64,
    /// How much; it only grows.
    pub n: u64,
    /// It ends then.
    pub ends: GroupMillis,
}

/// What is held of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// Bytes.
    Bytes(Written),
    /// Counts, in the order of `origin` and `began`.
    Counts(Vec<Share>),
}

/// There is no room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// What became of a statement that came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Became {
    /// It changed something here.
    pub changed: bool,
    /// Who said it knows less than this engine.
    pub answer: bool,
}

/// Bytes that an item takes besides its value, and a share.
const ITEM_BYTES: usize = 128;
const SHARE_BYTES: usize = 40;

/// The hash of the key, the table, the key. No item has no table; what has none comes before all others of its hash.
type At = (u64, Option<TableId>, KeyBytes);

/// All of them, of all tables.
#[derive(Debug, Default)]
pub struct Values {
    items: BTreeMap<At, Item>,
    /// What this incarnation began to count, and when.
    mine: BTreeMap<At, u64>,
    /// How long what is written into a table lives.
    lives: BTreeMap<TableId, u64>,
    bytes: usize,
    most: usize,
    last_stamp: u64,
}

fn at(key: &Key, bytes: KeyBytes) -> At {
    (key.hash(), Some(key.table()), bytes)
}

impl Written {
    /// Which of two writes holds, by stamp, then slot. It ends when the last of the two does: the other one lives on where this
    /// one was not heard of.
    //= SYNC-VALUE-01
    fn or_later(&self, other: &Self) -> Self {
        let order = |written: &Self| (written.stamp, written.origin);
        let later = match order(self).cmp(&order(other)).then_with(|| self.value.cmp(&other.value)) {
            Ordering::Less => other,
            _ => self,
        };
        Self { ends: self.ends.max(other.ends), ..later.clone() }
    }
}

impl Item {
    fn bytes(&self) -> usize {
        ITEM_BYTES
            + match self {
                Self::Bytes(written) => written.value.as_ref().map_or(0, Vec::len),
                Self::Counts(shares) => shares.len() * SHARE_BYTES,
            }
    }

    /// What of it has not ended; `None` if nothing.
    pub fn alive(&self, group: GroupMillis) -> Option<Self> {
        match self {
            Self::Bytes(written) => (written.ends > group).then(|| self.clone()),
            Self::Counts(shares) => {
                let shares: Vec<Share> = shares.iter().filter(|share| share.ends > group).copied().collect();
                (!shares.is_empty()).then_some(Self::Counts(shares))
            }
        }
    }

    /// The latest that it tells of: milliseconds of group time.
    pub(crate) fn made(&self) -> u64 {
        match self {
            Self::Bytes(written) => written.stamp >> 16,
            Self::Counts(shares) => shares.iter().map(|share| share.began >> 16).max().unwrap_or(0),
        }
    }

    /// Whether it can be: of a frame that came.
    pub(crate) fn is_sound(&self) -> bool {
        let lives = |made: u64, ends: GroupMillis| ends.0 <= (made >> 16).saturating_add(VALUE_LIFE_MAX_MS);
        match self {
            Self::Bytes(Written { stamp, origin, ends, value }) => {
                value.as_ref().is_none_or(|value| value.len() <= VALUE_BYTES_MAX)
                    && EngineSlot::new(origin.get()).is_some()
                    && lives(*stamp, *ends)
            }
            Self::Counts(shares) => {
                shares.len() <= SHARES_MAX
                    && shares
                        .iter()
                        .all(|s| EngineSlot::new(s.origin.get()).is_some() && lives(s.began, s.ends))
                    && shares.windows(2).all(|two| order_of(&two[0]) < order_of(&two[1]))
            }
        }
    }
}

fn order_of(share: &Share) -> (u8, u64) {
    (share.origin.get(), share.began)
}

/// Both together: of each share the larger count. Neither order nor repetition matters, and nothing is lost.
//= SYNC-COUNT-01
fn together(ours: &[Share], theirs: &[Share]) -> Vec<Share> {
    let mut all: BTreeMap<(u8, u64), Share> = ours.iter().map(|share| (order_of(share), *share)).collect();
    for share in theirs {
        let held = all.entry(order_of(share)).or_insert(*share);
        held.n = held.n.max(share.n);
        held.ends = held.ends.max(share.ends);
    }
    all.into_values().collect()
}

impl Values {
    /// None yet, and room for so many bytes.
    pub fn new(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// What is written into this table lives for so many milliseconds, a day at most; what a count takes in is as old at most.
    pub fn define(&mut self, table: TableId, life_ms: u64) {
        self.lives.insert(table, life_ms.clamp(1, VALUE_LIFE_MAX_MS));
    }

    /// The bytes under a key.
    pub fn get(&self, key: &Key, bytes: KeyBytes, group: GroupMillis) -> Option<&[u8]> {
        match self.items.get(&at(key, bytes))? {
            Item::Bytes(written) if written.ends > group => written.value.as_deref(),
            _ => None,
        }
    }

    /// Writes the bytes under a key, or removes them; the host then tells the engine ([`crate::Input::Changed`]).
    ///
    /// # Errors
    /// [`Full`], also if they are more than [`VALUE_BYTES_MAX`], or the table was not defined; nothing has changed then.
    //= SYNC-VALUE-01
    pub fn write(
        &mut self,
        me: EngineSlot,
        key: &Key,
        bytes: KeyBytes,
        value: Option<&[u8]>,
        group: GroupMillis,
    ) -> Result<(), Full> {
        let mut ends = self.ends(key.table(), group)?;
        if value.is_some_and(|value| value.len() > VALUE_BYTES_MAX) {
            return Err(Full);
        }
        // Later than what it takes the place of, whoever's clock was ahead.
        // And it is remembered for as long: who has not heard of it must not give the other back when it has ended.
        let mut stamp = self.stamp(group);
        if let Some(Item::Bytes(before)) = self.items.get(&at(key, bytes)) {
            (stamp, ends) = (stamp.max(before.stamp.saturating_add(1)), ends.max(before.ends));
        }
        let value = value.map(<[u8]>::to_vec);
        self.put(at(key, bytes), Item::Bytes(Written { stamp, origin: me, ends, value }))
    }

    /// What all engines have counted under a key.
    //= SYNC-COUNT-01
    pub fn sum(&self, key: &Key, bytes: KeyBytes, group: GroupMillis) -> u64 {
        let Some(Item::Counts(shares)) = self.items.get(&at(key, bytes)) else { return 0 };
        shares.iter().filter(|share| share.ends > group).fold(0, |sum, share| sum.saturating_add(share.n))
    }

    /// Counts so many more under a key; returns what all engines have counted. The host then tells the engine.
    ///
    /// # Errors
    /// As [`Values::write`].
    //= SYNC-COUNT-01
    pub fn add(
        &mut self,
        me: EngineSlot,
        key: &Key,
        bytes: KeyBytes,
        n: u64,
        group: GroupMillis,
    ) -> Result<u64, Full> {
        let ends = self.ends(key.table(), group)?;
        let place = at(key, bytes);
        let began = self.mine.get(&place).copied();
        let held = match self.items.get(&place).and_then(|item| item.alive(group)) {
            Some(Item::Counts(shares)) => shares,
            _ => Vec::new(),
        };
        let mine = held.iter().find(|share| share.origin == me && Some(share.began) == began);
        // What an earlier incarnation has counted stays what it was, and so does what has ended.
        //= SYNC-COUNT-02
        let share = match mine {
            Some(share) => Share { n: share.n.saturating_add(n), ..*share },
            None => Share { origin: me, began: self.stamp(group), n, ends },
        };
        if mine.is_none() && held.len() >= SHARES_MAX {
            return Err(Full);
        }
        self.put(place, Item::Counts(together(&held, &[share])))?;
        self.mine.insert(place, share.began);
        Ok(self.sum(key, bytes, group))
    }

    /// Forgets what has ended.
    pub fn sweep(&mut self, group: GroupMillis) {
        let Self { items, mine, bytes, .. } = self;
        items.retain(|place, item| {
            *bytes -= item.bytes();
            let lives = match item {
                Item::Bytes(written) => written.ends > group,
                Item::Counts(shares) => {
                    shares.retain(|share| share.ends > group);
                    !shares.is_empty()
                }
            };
            if lives {
                *bytes += item.bytes();
            } else {
                mine.remove(place);
            }
            lives
        });
    }

    /// Bytes that are taken, as far as they are bounded.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is held of a key and has not ended.
    pub fn item(&self, key: &Key, bytes: KeyBytes, group: GroupMillis) -> Option<Item> {
        self.items.get(&at(key, bytes))?.alive(group)
    }

    /// All of a part of the hash space, also what has ended and was not swept: hash, table, key, and what is held.
    pub fn all(&self, part: RangeInclusive<u64>) -> impl Iterator<Item = (u64, TableId, KeyBytes, &Item)> {
        let end = *part.end();
        let inside = self.items.range((*part.start(), None, KeyBytes([0; 16]))..);
        let inside = inside.take_while(move |((hash, ..), _)| *hash <= end);
        inside.filter_map(|((hash, table, key), item)| Some((*hash, (*table)?, *key, item)))
    }

    /// Takes in what a peer states of a key.
    ///
    /// # Errors
    /// There is no room for it, or the table has items of another kind.
    //= SYNC-VALUE-01
    //= SYNC-COUNT-01
    pub fn take(
        &mut self,
        key: &Key,
        bytes: KeyBytes,
        theirs: &Item,
        group: GroupMillis,
    ) -> Result<Became, Full> {
        let place = at(key, bytes);
        let ours = self.items.get(&place).and_then(|item| item.alive(group));
        let Some(theirs) = theirs.alive(group) else {
            // It has ended; what there is else the peer is to have.
            return Ok(Became { changed: false, answer: ours.is_some() });
        };
        let merged = match (&ours, &theirs) {
            (None, theirs) => (*theirs).clone(),
            (Some(Item::Bytes(ours)), Item::Bytes(theirs)) => Item::Bytes(ours.or_later(theirs)),
            (Some(Item::Counts(ours)), Item::Counts(theirs)) => Item::Counts(together(ours, theirs)),
            _ => return Err(Full),
        };
        if matches!(&merged, Item::Counts(shares) if shares.len() > SHARES_MAX) {
            return Err(Full);
        }
        let became = Became { changed: Some(&merged) != ours.as_ref(), answer: merged != theirs };
        if became.changed {
            self.put(place, merged)?;
        }
        Ok(became)
    }

    /// As [`Values::take`], for an engine that only reads: what the peer has holds.
    ///
    /// # Errors
    /// There is no room for it.
    //= SYNC-READER-02
    pub fn follow(
        &mut self,
        key: &Key,
        bytes: KeyBytes,
        theirs: &Item,
        group: GroupMillis,
    ) -> Result<Became, Full> {
        let place = at(key, bytes);
        let ours = self.items.get(&place).and_then(|item| item.alive(group));
        let changed = ours.as_ref() != Some(theirs);
        if let Some(theirs) = theirs.alive(group).filter(|_| changed) {
            self.put(place, theirs)?;
        }
        Ok(Became { changed, answer: false })
    }

    /// The group's time went back: what was written later than `beyond` was written at `to`.
    pub fn date_back(&mut self, beyond: GroupMillis, to: GroupMillis) {
        let later = |stamp: u64| stamp >> 16 > beyond.0;
        let Self { items, mine, lives, .. } = self;
        for ((hash, table, key), item) in items.iter_mut() {
            let life = table.and_then(|table| lives.get(&table)).copied().unwrap_or(1);
            let ends = GroupMillis(to.0.saturating_add(life));
            match item {
                Item::Bytes(written) if later(written.stamp) => {
                    (written.stamp, written.ends) = (to.0 << 16, written.ends.min(ends));
                }
                Item::Bytes(_) => {}
                Item::Counts(shares) => {
                    // Counts of a time that was none are nobody's; this engine begins anew.
                    shares.retain(|share| !later(share.began));
                    let place = (*hash, *table, *key);
                    if mine.get(&place).is_some_and(|began| later(*began)) {
                        mine.remove(&place);
                    }
                }
            }
        }
        items.retain(|_, item| !matches!(item, Item::Counts(shares) if shares.is_empty()));
        self.bytes = self.items.values().map(Item::bytes).sum();
        self.last_stamp = self.last_stamp.min(to.0 << 16);
    }

    fn ends(&self, table: TableId, group: GroupMillis) -> Result<GroupMillis, Full> {
        let life = self.lives.get(&table).ok_or(Full)?;
        Ok(GroupMillis(group.0.saturating_add(*life)))
    }

    /// A stamp later than every one before.
    fn stamp(&mut self, group: GroupMillis) -> u64 {
        self.last_stamp = (group.0 << 16).max(self.last_stamp.saturating_add(1));
        self.last_stamp
    }

    fn put(&mut self, place: At, item: Item) -> Result<(), Full> {
        let before = self.items.get(&place).map_or(0, Item::bytes);
        let bytes = self.bytes - before + item.bytes();
        // What does not grow is always taken.
        if bytes > self.most && item.bytes() > before {
            return Err(Full);
        }
        self.bytes = bytes;
        self.items.insert(place, item);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_core::table::{Catalog, Geometry, Lifetime, TableMemory, TableSettings};
    use forebay_core::units::Seconds;

    const KEY: KeyBytes = KeyBytes([1; 16]);

    fn slot(n: u8) -> EngineSlot {
        EngineSlot::new(n).unwrap()
    }

    fn group(ms: u64) -> GroupMillis {
        GroupMillis(1_800_000_000_000 + ms)
    }

    /// Stores of so many engines, and the key of one table that lives for a minute.
    fn stores(count: usize, most: usize) -> (Vec<Values>, Key) {
        let memory = TableMemory::reserve(&Geometry::for_entries(10).unwrap());
        let mut catalog = Catalog::new(&memory, [7; 16], slot(0));
        let settings =
            TableSettings { name: 33, lives: Vec::from([Lifetime::For(Seconds(60))]), synced: true };
        let table = catalog.define(&settings).unwrap();
        let stores = (0..count).map(|_| {
            let mut values = Values::new(most);
            values.define(table, 60_000);
            values
        });
        (stores.collect(), catalog.key(table, KEY))
    }

    /// `to` hears all that `from` knows.
    fn tell(all: &mut [Values], from: usize, to: usize, key: &Key, at: GroupMillis) -> Became {
        let item = all[from].item(key, KEY, at).unwrap();
        all[to].take(key, KEY, &item, at).unwrap()
    }

    //= test SYNC-COUNT-01
    #[test]
    fn counts_add_up_in_whatever_order_and_however_often_they_are_heard() {
        let orders = [[(0, 1), (1, 2), (2, 0)], [(2, 1), (0, 1), (1, 0)], [(1, 0), (2, 0), (0, 2)]];
        for order in orders {
            let (mut all, key) = stores(3, 10_000);
            for n in 0..3u8 {
                for _ in 0..=n {
                    all[usize::from(n)].add(slot(n), &key, KEY, 10, group(5)).unwrap();
                }
            }
            for _ in 0..3 {
                for (from, to) in order {
                    tell(&mut all, from, to, &key, group(6));
                }
            }
            for (from, to) in [(0, 1), (1, 0), (1, 2), (2, 1), (0, 2), (2, 0)] {
                tell(&mut all, from, to, &key, group(7));
            }
            assert!(all.iter().all(|values| values.sum(&key, KEY, group(8)) == 60));
            let silent = tell(&mut all, 0, 1, &key, group(8));
            assert_eq!(silent, Became::default(), "what is known changes nothing and is not answered");
            // What it said earlier is heard once more, after what it said since.
            let earlier = all[0].item(&key, KEY, group(8)).unwrap();
            all[0].add(slot(0), &key, KEY, 4, group(8)).unwrap();
            tell(&mut all, 0, 1, &key, group(8));
            let became = all[1].take(&key, KEY, &earlier, group(9)).unwrap();
            assert_eq!((became.changed, all[1].sum(&key, KEY, group(9))), (false, 64));
        }
    }

    //= test SYNC-COUNT-02
    #[test]
    fn who_starts_anew_counts_besides_what_it_had_counted_before() {
        let (mut all, key) = stores(2, 10_000);
        all[0].add(slot(0), &key, KEY, 5, group(0)).unwrap();
        tell(&mut all, 0, 1, &key, group(1));
        // It starts with nothing, and counts before it has heard of what it had.
        all[0] = stores(1, 10_000).0.pop().unwrap();
        all[0].lives = all[1].lives.clone();
        assert_eq!(all[0].add(slot(0), &key, KEY, 3, group(2)), Ok(3));
        tell(&mut all, 0, 1, &key, group(3));
        tell(&mut all, 1, 0, &key, group(3));
        assert_eq!(all[0].add(slot(0), &key, KEY, 1, group(4)), Ok(9));
        assert_eq!(all[1].sum(&key, KEY, group(4)), 8, "which it has not heard of");
        // Or after it has heard of a part of it.
        let (mut three, key) = stores(3, 10_000);
        three[0].add(slot(0), &key, KEY, 5, group(0)).unwrap();
        tell(&mut three, 0, 1, &key, group(1));
        three[0].add(slot(0), &key, KEY, 2, group(1)).unwrap();
        tell(&mut three, 0, 2, &key, group(1));
        three[0] = stores(1, 10_000).0.pop().unwrap();
        tell(&mut three, 1, 0, &key, group(2));
        assert_eq!(three[0].add(slot(0), &key, KEY, 1, group(3)), Ok(6));
        tell(&mut three, 2, 0, &key, group(4));
        assert_eq!(three[0].sum(&key, KEY, group(4)), 8);
        // Each share ends by itself, a minute after it began.
        assert_eq!(all[0].sum(&key, KEY, group(60_001)), 4);
        assert_eq!(all[0].add(slot(0), &key, KEY, 2, group(60_003)), Ok(2));
    }

    //= test SYNC-VALUE-01
    #[test]
    fn of_bytes_the_last_write_holds_and_a_removal_is_one() {
        let (mut all, key) = stores(2, 10_000);
        all[0].write(slot(0), &key, KEY, Some(b"one"), group(9)).unwrap();
        tell(&mut all, 0, 1, &key, group(10));
        // Its clock is behind, and it writes over what it has heard of.
        all[1].write(slot(1), &key, KEY, Some(b"two"), group(5)).unwrap();
        let became = tell(&mut all, 0, 1, &key, group(10));
        assert_eq!(became, Became { changed: false, answer: true });
        assert_eq!(tell(&mut all, 1, 0, &key, group(10)), Became { changed: true, answer: false });
        assert_eq!(all[0].get(&key, KEY, group(11)), Some(&b"two"[..]));
        all[0].write(slot(0), &key, KEY, None, group(12)).unwrap();
        assert_eq!(all[0].get(&key, KEY, group(13)), None);
        tell(&mut all, 1, 0, &key, group(13));
        assert_eq!(all[0].get(&key, KEY, group(13)), None, "what was removed does not come back");
        all[0].sweep(group(60_013));
        assert_eq!((all[0].bytes(), all[0].items.len()), (0, 0));
    }

    //= test SYNC-VALUE-01
    #[test]
    fn values_are_bounded_and_a_refusal_changes_nothing() {
        let (mut all, key) = stores(1, 300);
        let values = &mut all[0];
        assert_eq!(values.write(slot(0), &key, KEY, Some(&[1; VALUE_BYTES_MAX + 1]), group(0)), Err(Full));
        values.write(slot(0), &key, KEY, Some(&[1; 100]), group(0)).unwrap();
        assert_eq!(values.write(slot(0), &key, KEY, Some(&[1; 200]), group(1)), Err(Full));
        assert_eq!((values.get(&key, KEY, group(1)).map(<[u8]>::len), values.bytes()), (Some(100), 228));
        values.write(slot(0), &key, KEY, None, group(2)).unwrap();
        assert_eq!(values.bytes(), 128, "a removal always has room");
    }

    #[test]
    fn what_was_written_by_a_time_that_was_none_was_written_when_it_went_back() {
        let (mut all, key) = stores(2, 10_000);
        all[0].write(slot(0), &key, KEY, Some(b"one"), group(9_000_000)).unwrap();
        all[0].date_back(group(10), group(10));
        let Some(Item::Bytes(written)) = all[0].item(&key, KEY, group(11)) else { panic!() };
        assert_eq!((written.stamp >> 16, written.ends), (group(10).0, group(60_010)));
        all[1].add(slot(1), &key, KEY, 4, group(9_000_000)).unwrap();
        all[1].date_back(group(10), group(10));
        assert_eq!(all[1].sum(&key, KEY, group(11)), 0);
        assert_eq!(all[1].add(slot(1), &key, KEY, 4, group(12)), Ok(4));
    }
}
