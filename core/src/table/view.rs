//! Entries as `show` prints them and as engines send them to one another.

use super::Partition;
use super::catalog::{Catalog, Class, Key, ServerSlot, TableId};
use super::clock::{Tick, millis, ticks_of_millis};
use super::key::KeyBytes;
use super::limits::KEYS_PER_BUCKET;
use super::outcome::{Evicted, Refused};
use super::store::{At, Fields, Flag};
use super::version::{EngineSlot, Version};
use crate::units::Now;
use core::ops::Range;

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryView {
    /// Its table.
    pub table: TableId,
    /// Its key.
    pub key: KeyBytes,
    /// What other engines are told.
    pub record: Record,
    /// Open connections of the key on this engine.
    pub connections: u32,
    /// Milliseconds since the last use that this engine knows of, also while connections are open on others; 0 while one is
    /// open here.
    pub idle_ms: u64,
    /// Milliseconds until it ends; `None` while connections are open anywhere, or if it never ends.
    pub left_ms: Option<u64>,
}

/// An entry as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Record {
    /// The server; engines send its name ([`Catalog::name_of`]).
    pub server: ServerSlot,
    /// Which of the table's time-outs it has.
    pub class: Class,
    /// Its version.
    pub version: Version,
    /// It is deleted.
    pub tombstone: bool,
    /// It began over a tombstone: it is not evicted, and when it ends it leaves a tombstone.
    pub lasting: bool,
    /// The engines that have open connections of the key.
    pub open: u64,
    /// Milliseconds since the last use; 0 while connections are open. A duration, because engines do not
    /// share a clock that could say when.
    pub age_ms: u64,
}

impl Partition {
    /// The living entries and the tombstones of a range of buckets (`0..u32::MAX`: all).
    ///
    /// For `show`: a range at a time, the lock released in between. A key that moves to its other bucket
    /// meanwhile may be seen twice or not at all.
    pub fn entries<'a>(
        &'a self,
        catalog: &'a Catalog,
        buckets: Range<u32>,
        now: Now,
    ) -> impl Iterator<Item = EntryView> + 'a {
        let tick = Tick::at(now);
        self.taken(buckets).filter_map(move |at| self.view(catalog, at, tick))
    }

    /// The slots of some buckets, but for those of buckets with nothing in them: each costs one look.
    fn taken(&self, buckets: Range<u32>) -> impl Iterator<Item = At> {
        let end = buckets.end.min(self.store.buckets());
        let slots = KEYS_PER_BUCKET as u32;
        (buckets.start.min(end)..end)
            .filter(|bucket| self.store.any(*bucket))
            .flat_map(move |bucket| (0..slots).map(move |place| At { bucket, place }))
    }

    /// The same of what an engine wrote from a stamp on: whatever else there is costs a look at its version.
    pub fn written<'a>(
        &'a self,
        catalog: &'a Catalog,
        buckets: Range<u32>,
        by: EngineSlot,
        from: u64,
        now: Now,
    ) -> impl Iterator<Item = EntryView> + 'a {
        let tick = Tick::at(now);
        let is_wanted = move |at: &At| {
            self.store.is(*at, Flag::Used) && {
                let version = self.store.version(*at);
                version.origin == by && version.stamp >= from
            }
        };
        self.taken(buckets).filter(is_wanted).filter_map(move |at| self.view(catalog, at, tick))
    }

    /// The entry or tombstone of one key.
    pub fn entry(&self, catalog: &Catalog, key: &Key, now: Now) -> Option<EntryView> {
        self.view(catalog, self.find(catalog, key)?, Tick::at(now))
    }

    fn view(&self, catalog: &Catalog, at: At, tick: Tick) -> Option<EntryView> {
        if !self.store.is(at, Flag::Used) {
            return None;
        }
        let lived = self.store.life(at);
        let row = catalog.row(lived.table())?;
        let mut age = if lived.open == 0 { tick.age_of(lived.idle) } else { 0 };
        let mut life = self.life(row, at);
        let lasting = self.store.is(at, Flag::Lasting);
        let (mut version, mut tombstone) = (self.store.version(at), self.store.is(at, Flag::Tombstone));
        if self.over(row, at, tick) {
            if !lasting {
                return None;
            }
            // The hand has not come by yet, but it is the tombstone already that it leaves.
            (version, tombstone, age) = (version.below(), true, age.saturating_sub(life));
            life = super::Lifetime::TOMBSTONE.ticks();
        }
        let idle = if lived.open & catalog.me.bit() == 0 { tick.age_of(lived.idle) } else { 0 };
        Some(EntryView {
            table: lived.table(),
            key: catalog.bytes(lived.table(), self.store.key(at))?,
            record: Record {
                server: ServerSlot(self.store.value(at)),
                class: lived.class(),
                version,
                tombstone,
                lasting: lasting && !tombstone,
                open: lived.open,
                age_ms: millis(age),
            },
            connections: self.connections(at),
            idle_ms: if lived.open == 0 { millis(age) } else { millis(idle) },
            left_ms: (lived.open == 0 && life != u32::MAX).then(|| millis(life.saturating_sub(age))),
        })
    }

    /// Writes an entry as another engine, or a snapshot, describes it: the caller decided that its version
    /// holds. Of the open set this engine's own bit stays as it is here; of two ages the younger holds, a removal's and a
    /// life's apart.
    ///
    /// An entry that is past its end of life on arrival and open nowhere is dropped (`Ok(None)`), or the tombstone that it
    /// would leave is written.
    ///
    /// # Errors
    /// As [`Partition::put`].
    //= TBL-RECORD-01
    pub fn restore(
        &mut self,
        catalog: &Catalog,
        key: &Key,
        record: &Record,
        now: Now,
    ) -> Result<Option<Evicted>, Refused> {
        let row = self.row(catalog, key)?;
        catalog.name_of(record.server).ok_or(Refused::UnknownServer)?;
        let tick = Tick::at(now);
        let mine = catalog.me.bit();
        let lasting = record.lasting && !record.tombstone && row.cells.is_some();
        let theirs = tick.before(ticks_of_millis(record.age_ms));
        let Some(at) = self.find(catalog, key) else {
            let life = if record.tombstone {
                super::Lifetime::TOMBSTONE.ticks()
            } else {
                row.lives[usize::from(record.class.get())]
            };
            let mut fields = Fields::new(key.table, record.class, record.version, theirs);
            fields.life.open = record.open & !mine;
            let ended = fields.life.open == 0 && tick.age_of(theirs) > life;
            if ended && !lasting {
                return Ok(None);
            }
            if ended {
                fields = Fields::new(key.table, record.class, record.version.below(), tick);
            }
            let evicted = self.insert(catalog, row, key, record.server.0, fields, tick)?;
            if record.tombstone || ended {
                self.as_tombstone(catalog, row, key, tick)?;
            }
            if lasting
                && !ended
                && let Some(at) = self.find(catalog, key)
            {
                self.set_lasting(at, true);
            }
            return Ok(evicted);
        };
        let was_evictable = self.is_evictable(at);
        let was_tombstone = self.store.is(at, Flag::Tombstone);
        self.change(catalog, row, key, at, |p| {
            p.store.set_value(at, record.server.0);
            p.store.set(at, Flag::Tombstone, record.tombstone);
            p.store.set(at, Flag::Lasting, lasting);
            p.store.set_version(at, record.version);
            let mut life = p.store.life(at);
            life.set_class(record.class);
            life.open = life.open & mine | record.open & !mine;
            p.store.set_life(at, life);
        })?;
        self.recount(was_evictable, at);
        let ours = self.store.life(at).idle;
        // The time since a removal is no idle time of a life, and the other way round.
        let of_one_kind = was_tombstone == record.tombstone;
        let idle = if of_one_kind && tick.age_of(ours) < tick.age_of(theirs) { ours } else { theirs };
        self.set_idle(row, at, idle, tick);
        Ok(None)
    }

    fn as_tombstone(
        &mut self,
        catalog: &Catalog,
        row: &super::catalog::Row,
        key: &Key,
        tick: Tick,
    ) -> Result<(), Refused> {
        let Some(at) = self.find(catalog, key) else { return Ok(()) };
        self.change(catalog, row, key, at, |p| p.store.set(at, Flag::Tombstone, true))?;
        self.mark(self.life(row, at), at, tick);
        Ok(())
    }
}
