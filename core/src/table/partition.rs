//! One partition: the operations of a worker.

use super::catalog::{Catalog, Key, Row, ServerSlot};
use super::clock::{Lifetime, Tick, millis};
use super::digest::{Digests, term_at};
use super::limits::{OLDEST_KEPT, OPEN_INLINE_MAX, OVERFLOW_RESERVED, STAMP_AHEAD_MAX_MS};
use super::memory::Found;
use super::outcome::{
    Closed, Counters, Evicted, Hold, Opened, Outcome, Refused, Stats, Write, WriteKind, Written,
};
use super::store::{At, Fields, Flag, Store};
use super::version::{GroupMillis, Version};
use crate::units::Now;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A slice of the table, with everything that its operations change.
///
/// A look-up reads the first 56 bytes. Behind the lock word of a mutex they fill one cache line, if the host
/// aligns its array of `Mutex<Partition>` to 64 bytes: wrap it in a type with `#[repr(align(64))]`.
#[repr(C)]
pub struct Partition {
    pub(super) store: Store,
    /// Start of the turn of the clock hand before the present one.
    pub(super) turn_before: Tick,
    /// Entries that may be evicted: no open connection anywhere, not begun over a tombstone.
    pub(super) evictable: u32,
    /// Start of the hand's present turn.
    pub(super) turn: Tick,
    pub(super) len: u32,
    pub(super) limit: u32,
    /// The bucket at which the clock hand goes on.
    pub(super) hand: u32,
    pub(super) digests: Digests,
    last_stamp: u64,
    pub(super) counters: Counters,
    /// The catalog that was adopted last.
    pub(super) era: u32,
    /// When a number of a removed table was given again last: to a catalog from before it may mean that one.
    pub(super) reused: u32,
    /// The era of the row that has each number.
    pub(super) owners: Arc<Vec<u32>>,
    /// Slot number and idle since, the oldest last: found together, evicted one by one.
    pub(super) oldest: Vec<(u32, Tick)>,
    /// Connections beyond those that an entry counts itself.
    overflow: Vec<(u128, u32)>,
    /// What may not end now.
    pub(super) hold: Hold,
}

const _: () = assert!(core::mem::offset_of!(Partition, turn) <= 56);

impl Partition {
    /// An empty partition of `limit` entries at most.
    pub(super) fn new(store: Store, limit: u32, catalog: &Catalog, now: Now) -> Self {
        let tick = Tick::at(now);
        let mut partition = Self {
            store,
            digests: Digests::new(),
            len: 0,
            limit,
            evictable: 0,
            hand: 0,
            turn: tick,
            turn_before: tick,
            era: 0,
            reused: 0,
            owners: Arc::default(),
            last_stamp: 0,
            oldest: Vec::with_capacity(OLDEST_KEPT),
            overflow: Vec::with_capacity(OVERFLOW_RESERVED),
            counters: Counters::default(),
            hold: Hold::default(),
        };
        partition.adopt(catalog, now);
        partition
    }

    /// Returns the server a client is bound to, if its entry is alive at `now`.
    ///
    /// Does not extend the entry's life: [`Partition::open`] and [`Partition::touch`] do. Reads one cache
    /// line, the entry's second bucket if it had to go there, and the end of life only if it may be near.
    ///
    /// Always inlined: a key that passed through memory would cost two nanoseconds of waiting for it.
    //= TBL-GET-01
    #[inline(always)]
    pub fn get(&self, catalog: &Catalog, key: &Key, now: Now) -> Option<ServerSlot> {
        let row = catalog.row(key.table)?;
        let tick = Tick::at(now);
        let Found { at, value, keys } = catalog.find(key)?;
        if Flag::Tombstone.stands(keys, at) {
            return None;
        }
        // Not flagged when the hand last came by, and since then too little time passed to end.
        let surely_alive =
            !Flag::MayBeOver.stands(keys, at) && tick.age_of(self.turn_before) < row.half_shortest;
        (surely_alive || !self.over(row, at, tick)).then_some(ServerSlot(value))
    }

    /// Writes the server of a client.
    ///
    /// A key without a living entry gets one, with a countdown that starts now; the caller then
    /// [opens](Partition::open) it for the connection at hand. In a full partition the oldest idle entry
    /// goes, and is returned.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed then.
    pub fn put(
        &mut self,
        catalog: &Catalog,
        key: &Key,
        write: Write,
        now: Now,
        group: GroupMillis,
    ) -> Result<Written, Refused> {
        let row = self.row(catalog, key)?;
        catalog.name_of(write.server).ok_or(Refused::UnknownServer)?;
        let tick = Tick::at(now);
        if let Some(at) = self.find(catalog, key) {
            let outcome = self.rewrite(catalog, row, key, at, write, tick, group)?;
            return Ok(Written { outcome, evicted: None });
        }
        let stamp = self.stamp(group);
        let birth = if write.kind == WriteKind::Last { 0 } else { group.minute() };
        let version = Version { birth, switches: 0, stamp, origin: catalog.me };
        let fields = Fields::new(key.table, write.class, version, tick);
        let evicted = self.insert(catalog, row, key, write.server.0, fields, tick)?;
        self.counters.created += 1;
        Ok(Written { outcome: Outcome::Created, evicted })
    }

    #[expect(clippy::too_many_arguments, reason = "the second half of put, all of it already looked up")]
    fn rewrite(
        &mut self,
        catalog: &Catalog,
        row: &Row,
        key: &Key,
        at: At,
        write: Write,
        tick: Tick,
        group: GroupMillis,
    ) -> Result<Outcome, Refused> {
        let tombstone = self.store.is(at, Flag::Tombstone);
        let dead = tombstone || self.over(row, at, tick);
        let held = ServerSlot(self.store.value(at));
        match write.kind {
            WriteKind::First if !dead => return Ok(Outcome::Held(held)),
            WriteKind::Move if !dead && held == write.server => return Ok(Outcome::Same),
            _ => {}
        }
        let stamp = self.stamp(group);
        let me = catalog.me;
        self.change(catalog, row, key, at, |p| {
            let old = p.store.version(at);
            let version = match write.kind {
                WriteKind::Last => Version { birth: 0, switches: 0, stamp, origin: me },
                _ if dead => old.reborn(group.minute(), stamp, me),
                _ => old.switched(stamp, me),
            };
            p.store.set_version(at, version);
            let mut life = p.store.life(at);
            life.set_class(write.class);
            p.store.set_life(at, life);
            p.store.set_value(at, write.server.0);
            p.store.set(at, Flag::Tombstone, false);
            // Unshared tables keep tombstones only for the count of connections.
            if tombstone && row.cells.is_some() && write.kind != WriteKind::Last {
                p.set_lasting(at, true);
            }
        })?;
        self.used(row, at, tick);
        if dead {
            self.counters.created += 1;
            return Ok(Outcome::Created);
        }
        Ok(Outcome::Replaced(held))
    }

    /// Removes the entry of a client; a shared table remembers the removal. Returns the server it had.
    ///
    /// Connections that are still open keep being counted, so that a later entry of the key is not ended
    /// under them.
    ///
    /// # Errors
    /// [`Refused::UnknownTable`], [`Refused::OldCatalog`].
    //= TBL-REMOVE-01
    pub fn remove(
        &mut self,
        catalog: &Catalog,
        key: &Key,
        now: Now,
        group: GroupMillis,
    ) -> Result<Option<ServerSlot>, Refused> {
        let row = self.row(catalog, key)?;
        let Some(at) = self.find(catalog, key) else { return Ok(None) };
        if self.store.is(at, Flag::Tombstone) {
            return Ok(None);
        }
        let tick = Tick::at(now);
        let alive = !self.over(row, at, tick);
        let held = ServerSlot(self.store.value(at));
        if row.cells.is_none() && self.store.life(at).open == 0 {
            self.erase(catalog, row, key.hash, at);
            return Ok(alive.then_some(held));
        }
        let stamp = self.stamp(group);
        let me = catalog.me;
        self.change(catalog, row, key, at, |p| {
            let version = p.store.version(at).deleted(stamp, me);
            p.store.set_version(at, version);
            p.store.set(at, Flag::Tombstone, true);
            p.set_lasting(at, false);
        })?;
        self.used(row, at, tick);
        Ok(alive.then_some(held))
    }

    /// Counts a new connection of a client: its entry does not end before the last one closed.
    ///
    /// `None` if the key has no living entry; then nothing is counted, and nothing must be closed.
    //= TBL-OPEN-01
    #[inline]
    pub fn open(&mut self, catalog: &Catalog, key: &Key, now: Now) -> Option<Opened> {
        let row = catalog.row(key.table)?;
        self.fetch(catalog, row, key);
        let at = self.find_alive(catalog, row, key, Tick::at(now))?;
        let was_evictable = self.is_evictable(at);
        let mine = catalog.me.bit();
        let mut life = self.store.life(at);
        let before = life.open;
        life.open |= mine;
        match life.count() {
            OPEN_INLINE_MAX => self.overflow_one(key.stored),
            n => life.set_count(n + 1),
        }
        self.store.set_life(at, life);
        self.store.set(at, Flag::MayBeOver, false);
        self.evictable -= u32::from(was_evictable);
        let first = before & mine == 0;
        if first {
            self.digests.reopen(catalog, row, key.hash, before, before | mine);
        }
        Some(Opened { server: ServerSlot(self.store.value(at)), first })
    }

    /// Counts the end of a connection that [`Partition::open`] counted. After the last one the countdown
    /// starts.
    ///
    /// `None` if no connection of the key is counted: its table was removed meanwhile.
    //= TBL-OPEN-02
    #[inline]
    pub fn close(&mut self, catalog: &Catalog, key: &Key, now: Now) -> Option<Closed> {
        let row = catalog.row(key.table)?;
        self.fetch(catalog, row, key);
        let at = self.find(catalog, key)?;
        let mut life = self.store.life(at);
        let count = life.count();
        if count == 0 {
            return None;
        }
        if count == OPEN_INLINE_MAX && self.overflow_taken(key.stored) {
            return Some(Closed { last_here: false, last: false });
        }
        life.set_count(count - 1);
        if count == 1 {
            // Another engine's connection that closed before may be heard of later: the younger age holds.
            life.idle = Tick::at(now);
        }
        self.store.set_life(at, life);
        if count > 1 {
            return Some(Closed { last_here: false, last: false });
        }
        let open = life.open & !catalog.me.bit();
        self.set_open(catalog, row, key, at, open, Tick::at(now));
        Some(Closed { last_here: true, last: open == 0 })
    }

    /// Renews the life of an entry (an app cookie was used); returns its server.
    ///
    /// `None` if the key has no living entry.
    //= TBL-TOUCH-01
    #[inline]
    pub fn touch(&mut self, catalog: &Catalog, key: &Key, now: Now) -> Option<ServerSlot> {
        let row = catalog.row(key.table)?;
        let tick = Tick::at(now);
        catalog.fetch(key);
        let at = self.find_alive(catalog, row, key, tick)?;
        self.used(row, at, tick);
        Some(ServerSlot(self.store.value(at)))
    }

    /// The figures of this partition.
    pub fn stats(&self) -> Stats {
        let Counters { created, expired, evicted, evicted_nearby, refused, moves, widest_search } =
            self.counters;
        let (entries, held) = (self.len, self.len - self.evictable);
        Stats { entries, held, created, expired, evicted, evicted_nearby, refused, moves, widest_search }
    }

    /// Bytes that the partition has reserved, without what the allocator adds.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.store.bytes()
            + self.digests.bytes()
            + self.oldest.capacity() * size_of::<(u32, Tick)>()
            + self.overflow.capacity() * size_of::<(u128, u32)>()
    }

    // What the operations share.

    /// The table's row, if this partition has adopted the table.
    #[inline(always)]
    pub(super) fn row<'c>(&self, catalog: &'c Catalog, key: &Key) -> Result<&'c Row, Refused> {
        let row = catalog.row(key.table).ok_or(Refused::UnknownTable)?;
        //= TBL-CATALOG-02
        let owner = || self.owners.get(usize::from(key.table.get()));
        if catalog.era < self.reused && owner() != Some(&row.era) {
            return Err(Refused::OldCatalog);
        }
        if self.digests.knows(catalog, row, key.hash) { Ok(row) } else { Err(Refused::UnknownTable) }
    }

    /// A stamp later than every one this partition gave; unless the group's time went back far since then.
    //= TBL-VERSION-05
    fn stamp(&mut self, group: GroupMillis) -> u64 {
        let latest = GroupMillis(group.0.saturating_add(STAMP_AHEAD_MAX_MS)).stamp();
        if self.last_stamp > latest {
            self.last_stamp = 0;
        }
        self.last_stamp = group.stamp().max(self.last_stamp.saturating_add(1));
        self.last_stamp
    }

    /// Asks for all memory that a change of an entry needs, at once.
    #[inline(always)]
    fn fetch(&self, catalog: &Catalog, row: &Row, key: &Key) {
        catalog.fetch(key);
        self.digests.fetch(catalog, row, key.hash);
    }

    #[inline(always)]
    pub(super) fn find(&self, catalog: &Catalog, key: &Key) -> Option<At> {
        debug_assert!(catalog.is_for_store(&self.store), "a catalog of another table");
        catalog.find(key).map(|found| found.at)
    }

    #[inline(always)]
    fn find_alive(&self, catalog: &Catalog, row: &Row, key: &Key, tick: Tick) -> Option<At> {
        let at = self.find(catalog, key)?;
        (!self.store.is(at, Flag::Tombstone) && !self.over(row, at, tick)).then_some(at)
    }

    /// How long the entry lives without connections, in ticks.
    #[inline(always)]
    pub(super) fn life(&self, row: &Row, at: At) -> u32 {
        if self.store.is(at, Flag::Tombstone) {
            return Lifetime::TOMBSTONE.ticks();
        }
        row.lives[usize::from(self.store.life(at).class().get())]
    }

    /// Whether an entry is past its end of life. More than, not as much as: both moments were rounded down.
    //= TBL-EXPIRY-01
    #[inline(always)]
    pub(super) fn over(&self, row: &Row, at: At, tick: Tick) -> bool {
        let life = self.store.life(at);
        life.open == 0 && tick.age_of(life.idle) > self.life(row, at) && !self.held(row, at)
    }

    /// Whether the host said that entries of this kind may not end now.
    #[inline(always)]
    pub(super) fn held(&self, row: &Row, at: At) -> bool {
        let held = if self.store.is(at, Flag::Tombstone) { self.hold.tombstones } else { self.hold.entries };
        held && row.cells.is_some()
    }

    /// Sets the flag that makes a look-up check the end of life; from half of the life on.
    #[inline(always)]
    pub(super) fn mark(&mut self, life: u32, at: At, tick: Tick) {
        let lived = self.store.life(at);
        let may = lived.open == 0 && tick.age_of(lived.idle) >= life / 2;
        self.store.set(at, Flag::MayBeOver, may);
    }

    /// The key is in use at `tick`: the countdown starts over.
    #[inline(always)]
    pub(super) fn used(&mut self, row: &Row, at: At, tick: Tick) {
        self.set_idle(row, at, tick, tick);
    }

    #[inline(always)]
    pub(super) fn set_idle(&mut self, row: &Row, at: At, idle: Tick, tick: Tick) {
        let mut life = self.store.life(at);
        life.idle = idle;
        self.store.set_life(at, life);
        self.mark(self.life(row, at), at, tick);
        self.idle_since(idle, tick);
    }

    /// An entry is idle since `idle`: if that is older than what the list of the oldest holds, the list is
    /// no longer the list of the oldest.
    #[inline(always)]
    pub(super) fn idle_since(&mut self, idle: Tick, tick: Tick) {
        if let Some((_, youngest)) = self.oldest.first()
            && tick.age_of(idle) > tick.age_of(*youngest)
        {
            self.oldest.clear();
        }
    }

    #[inline(always)]
    pub(super) fn is_evictable(&self, at: At) -> bool {
        self.store.life(at).open == 0 && !self.store.is(at, Flag::Lasting)
    }

    pub(super) fn set_lasting(&mut self, at: At, to: bool) {
        let before = self.is_evictable(at);
        self.store.set(at, Flag::Lasting, to);
        self.recount(before, at);
    }

    pub(super) fn recount(&mut self, was_evictable: bool, at: At) {
        self.evictable = self.evictable - u32::from(was_evictable) + u32::from(self.is_evictable(at));
    }

    /// Changes the open set; when nobody is left the countdown starts when the entry was used last, or the removed
    /// entry goes at last.
    pub(super) fn set_open(
        &mut self,
        catalog: &Catalog,
        row: &Row,
        key: &Key,
        at: At,
        open: u64,
        tick: Tick,
    ) {
        let was_evictable = self.is_evictable(at);
        let mut life = self.store.life(at);
        let before = core::mem::replace(&mut life.open, open);
        self.store.set_life(at, life);
        self.recount(was_evictable, at);
        self.digests.reopen(catalog, row, key.hash, before, open);
        if open == 0 && before != 0 {
            self.set_idle(row, at, life.idle, tick);
            if row.cells.is_none() && self.store.is(at, Flag::Tombstone) {
                self.erase(catalog, row, key.hash, at);
            }
        }
    }

    /// Changes what a digest takes in, and the digest.
    pub(super) fn change(
        &mut self,
        catalog: &Catalog,
        row: &Row,
        key: &Key,
        at: At,
        edit: impl FnOnce(&mut Self),
    ) -> Result<(), Refused> {
        if row.cells.is_none() {
            edit(self);
            return Ok(());
        }
        let before = term_at(catalog, &self.store, key.hash, at).ok_or(Refused::OldCatalog)?;
        edit(self);
        self.digests.subtract(catalog, row, key.hash, before);
        // The edit wrote a server of this catalog, or left the one whose name was just found.
        let after = term_at(catalog, &self.store, key.hash, at).unwrap_or(0);
        self.digests.add(catalog, row, key.hash, after);
        Ok(())
    }

    /// Empties a slot. The caller made sure that the digest term can be computed.
    pub(super) fn erase(&mut self, catalog: &Catalog, row: &Row, hash: u64, at: At) {
        if row.cells.is_some() {
            let term = term_at(catalog, &self.store, hash, at);
            debug_assert!(term.is_some(), "the catalog is as new as the entry");
            self.digests.subtract(catalog, row, hash, term.unwrap_or(0));
        }
        self.drop_slot(at);
    }

    /// Empties a slot whose table has no digest, or no longer exists.
    pub(super) fn drop_slot(&mut self, at: At) {
        if self.store.life(at).count() == OPEN_INLINE_MAX {
            let stored = self.store.key(at);
            self.overflow.retain(|(k, _)| *k != stored);
        }
        self.evictable -= u32::from(self.is_evictable(at));
        self.store.clear(at);
        self.len -= 1;
    }

    pub(super) fn evicted(
        &mut self,
        catalog: &Catalog,
        row: &Row,
        hash: u64,
        at: At,
        tick: Tick,
    ) -> Option<Evicted> {
        let life = self.store.life(at);
        let (table, age_ms) = (life.table(), millis(tick.age_of(life.idle)));
        let stored = self.store.key(at);
        let server = (!self.store.is(at, Flag::Tombstone)).then(|| ServerSlot(self.store.value(at)));
        self.digests.mark_partial(catalog, row, hash);
        self.erase(catalog, row, hash, at);
        self.counters.evicted += 1;
        Some(Evicted { table, key: catalog.bytes(table, stored)?, server, age_ms })
    }

    /// Local connections of an entry.
    pub(super) fn connections(&self, at: At) -> u32 {
        match self.store.life(at).count() {
            OPEN_INLINE_MAX => {
                let stored = self.store.key(at);
                let more = self.overflow.iter().find(|(k, _)| *k == stored).map_or(0, |(_, n)| *n);
                OPEN_INLINE_MAX.saturating_add(more)
            }
            n => n,
        }
    }

    #[cold]
    fn overflow_one(&mut self, stored: u128) {
        match self.overflow.iter_mut().find(|(k, _)| *k == stored) {
            Some((_, n)) => *n = n.saturating_add(1),
            None => self.overflow.push((stored, 1)),
        }
    }

    /// Takes one connection out of the list; `false` if the key has none there.
    #[cold]
    fn overflow_taken(&mut self, stored: u128) -> bool {
        let Some(i) = self.overflow.iter().position(|(k, _)| *k == stored) else { return false };
        self.overflow[i].1 -= 1;
        if self.overflow[i].1 == 0 {
            self.overflow.swap_remove(i);
        }
        true
    }
}
