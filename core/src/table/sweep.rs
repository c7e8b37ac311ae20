//! The clock hand: frees what has ended, and flags what soon will.

use super::catalog::{Catalog, Row};
use super::clock::Tick;
use super::digest::term_at;
use super::limits::{AGE_TICKS_MAX, KEYS_PER_BUCKET};
use super::partition::Partition;
use super::store::{At, Flag};
use super::version::EngineSlot;
use crate::units::Now;

/// What a slice of a turn did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Entries and tombstones cleared away.
    pub expired: u32,
    /// The hand reached the end of the partition: go on with the next one.
    pub turn_done: bool,
}

impl Partition {
    /// From now on entries or tombstones of shared tables do not end, or end again. A tombstone does not age while it is
    /// held: its hour begins when the hand last came by.
    //= TBL-HOLD-01
    pub fn hold(&mut self, hold: super::Hold) {
        self.hold = hold;
    }

    /// Lets the clock hand pass over up to `buckets` buckets of three slots.
    ///
    /// A whole partition is at most 5,461 buckets: 0.3 ms if every entry ends. Every partition should get a whole turn
    /// each ten seconds; memory comes free that much later if it does not, but no look-up is ever wrong.
    /// With a catalog older than the one this partition adopted, nothing happens.
    //= TBL-EXPIRY-02
    pub fn sweep(&mut self, catalog: &Catalog, now: Now, buckets: u32) -> Swept {
        if catalog.era < self.era {
            return Swept { expired: 0, turn_done: true };
        }
        let tick = Tick::at(now);
        if self.hand == 0 {
            (self.turn_before, self.turn) = (self.turn, tick);
        }
        let end = self.hand.saturating_add(buckets).min(self.store.buckets());
        let before = self.counters.expired;
        // Nothing is in an empty partition, and its pages stay untouched.
        let from = if self.len == 0 { end } else { self.hand };
        for bucket in from..end {
            if self.store.any(bucket) {
                for place in 0..KEYS_PER_BUCKET as u32 {
                    self.pass(catalog, At { bucket, place }, tick);
                }
            }
        }
        let turn_done = end == self.store.buckets();
        self.hand = if turn_done { 0 } else { end };
        Swept { expired: (self.counters.expired - before) as u32, turn_done }
    }

    #[inline(always)]
    fn pass(&mut self, catalog: &Catalog, at: At, tick: Tick) {
        if !self.store.is(at, Flag::Used) {
            return;
        }
        let mut lived = self.store.life(at);
        let Some(row) = catalog.row(lived.table()) else {
            // A worker wrote it while its table was being removed.
            self.drop_slot(at);
            return;
        };
        if lived.open != 0 {
            return;
        }
        if self.hold.tombstones && self.store.is(at, Flag::Tombstone) {
            lived.idle = tick;
            self.store.set_life(at, lived);
            return;
        }
        let (age, life) = (tick.age_of(lived.idle), self.life(row, at));
        if age > life && !self.held(row, at) {
            self.end(catalog, row, at, tick);
        } else if age >= life / 2 {
            self.store.set(at, Flag::MayBeOver, true);
            if age > AGE_TICKS_MAX {
                lived.idle = tick.before(AGE_TICKS_MAX);
                self.store.set_life(at, lived);
            }
        }
    }

    /// The life of an entry, or the memory of its removal, is over.
    fn end(&mut self, catalog: &Catalog, row: &Row, at: At, tick: Tick) {
        let stored = self.store.key(at);
        let hash = catalog.hash(stored);
        self.counters.expired += 1;
        if self.store.is(at, Flag::Lasting) {
            self.leave_tombstone(catalog, row, hash, at, tick);
        } else {
            self.erase(catalog, row, hash, at);
        }
    }

    /// A life that began over a tombstone leaves one that is just older than itself: an engine that was away
    /// may still hold what was removed.
    //= TBL-VERSION-04
    fn leave_tombstone(&mut self, catalog: &Catalog, row: &Row, hash: u64, at: At, tick: Tick) {
        let before = term_at(catalog, &self.store, hash, at).unwrap_or(0);
        self.digests.subtract(catalog, row, hash, before);
        let version = self.store.version(at).below();
        self.store.set_version(at, version);
        self.store.set(at, Flag::Tombstone, true);
        let was_evictable = self.is_evictable(at);
        self.store.set(at, Flag::Lasting, false);
        self.recount(was_evictable, at);
        self.used(row, at, tick);
        let after = term_at(catalog, &self.store, hash, at).unwrap_or(0);
        self.digests.add(catalog, row, hash, after);
    }

    /// Takes over a new catalog: digests of new tables, entries of removed ones go, and what the change of a
    /// time-out means for each entry. The only operation that allocates; for the control thread.
    //= TBL-CATALOG-01
    pub fn adopt(&mut self, catalog: &Catalog, now: Now) {
        self.digests.adopt(catalog);
        let tick = Tick::at(now);
        // An empty partition has nothing to go through, and its pages stay untouched.
        let slots = if self.len == 0 { 0 } else { self.store.buckets() * KEYS_PER_BUCKET as u32 };
        for number in 0..slots {
            let at = At::of_number(number);
            if !self.store.is(at, Flag::Used) {
                continue;
            }
            match catalog.row(self.store.life(at).table()) {
                // A table that came since has no entries: these are of the one that had its number before.
                //= TBL-CATALOG-02
                Some(row) if row.era <= self.era => self.mark(self.life(row, at), at, tick),
                Some(_) | None => self.drop_slot(at),
            }
        }
        (self.era, self.reused) = (catalog.era, catalog.reused);
        self.owners = catalog.owners.clone();
        (self.hand, self.turn, self.turn_before) = (0, tick, tick);
    }

    /// Another engine opened its first connection of a key (`closed` is `None`), or has none open since `closed`:
    /// it closed its last one, or died. Returns whether the key is known here.
    //= TBL-OPEN-03
    pub fn open_elsewhere(
        &mut self,
        catalog: &Catalog,
        key: &super::Key,
        engine: EngineSlot,
        closed: Option<Now>,
        now: Now,
    ) -> bool {
        let Ok(row) = self.row(catalog, key) else { return false };
        let Some(at) = self.find(catalog, key) else { return false };
        if engine == catalog.me {
            return true; // Nobody else knows what is open here.
        }
        let mut life = self.store.life(at);
        let tick = Tick::at(now);
        let after = match closed {
            None => life.open | engine.bit(),
            Some(since) => {
                // It may be heard of late, and after a later use: the younger age holds.
                //= TBL-OPEN-02
                if life.open & engine.bit() != 0 && tick.age_of(life.idle) > tick.age_of(Tick::at(since)) {
                    life.idle = Tick::at(since);
                    self.store.set_life(at, life);
                }
                life.open & !engine.bit()
            }
        };
        self.set_open(catalog, row, key, at, after, tick);
        if after != 0 {
            self.store.set(at, Flag::MayBeOver, false);
        }
        true
    }
}
