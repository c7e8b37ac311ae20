//! Changes: this engine's to its peers, and theirs to its tables.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use forebay_core::table::{
    Catalog, EngineSlot, EntryView, KeyBytes, Partition, Record, Refused, ServerSlot, TableId,
};
use forebay_core::units::Now;

use super::listing::lost_some;
use super::peer::{Dirty, Peer, Reply};
use super::values::Holder;
use super::{Engine, Event, Output, Why};
use crate::limits::{AGE_WORTH_MS, BATCH_BYTES, PROTOCOL_VALUES};
use crate::merge::{Entry, follow, merge, reload};
use crate::shards::{Shards, Shared};
use crate::wire::{Frame, Pack, Packer};

/// What became of an entry that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The hash of its key.
    pub hash: u64,
    /// It changed something here.
    pub changed: bool,
    /// Who said it knows less than this engine.
    pub answer: bool,
    /// What was not kept here, as the sender is to have it: it takes it for open on this engine.
    pub closed: Option<Entry>,
}

/// How what a peer states and what is held become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// What holds of the two, by the rule of the table.
    Merge,
    /// The same, but what is held may be wrong.
    Reload,
    /// The peer's holds: this engine only reads, and a comparison found that it has something else.
    Follow,
}

/// An entry as it is told; `None`: its server is gone.
pub fn statement(catalog: &Catalog, view: &EntryView) -> Option<Entry> {
    let Record { server, class, version, tombstone, lasting, open, .. } = view.record;
    let age_ms = view.idle_ms;
    let server = if tombstone { 0 } else { catalog.name_of(server)? };
    Some(Entry { key: view.key, server, class, version, tombstone, lasting, open, age_ms })
}

/// Applies what a peer states of a key, under one lock. `lacks_room`: what was lost for want of room is not taken again.
///
/// # Errors
/// There is no room for it, or its table or server is not known.
#[expect(clippy::too_many_arguments, reason = "both engines, both entries, and where")]
pub fn apply(
    partition: &mut Partition,
    catalog: &Catalog,
    table: &Shared,
    from: EngineSlot,
    me: EngineSlot,
    theirs: &Entry,
    how: How,
    lacks_room: impl FnOnce(&Partition, u64) -> bool,
    now: Now,
) -> Result<Applied, Refused> {
    let key = catalog.key(table.id, theirs.key);
    let hash = key.hash();
    let mine = 1 << me.get();
    let held = partition.entry(catalog, &key, now);
    let ours = held.as_ref().and_then(|view| statement(catalog, view));
    let (entry, changed, answer) = match &ours {
        Some(ours) => {
            let merge = match how {
                How::Merge => merge,
                How::Reload => reload,
                How::Follow => follow,
            };
            let merged = merge(table.rule, me, from, ours, theirs);
            (merged.entry, merged.changed, merged.answer)
        }
        None => {
            let open = theirs.open & 1 << from.get();
            if open == 0 && !theirs.tombstone && lacks_room(partition, hash) {
                let closed = (theirs.open & mine != 0).then_some(Entry { open, ..*theirs });
                return Ok(Applied { hash, changed: false, answer: false, closed });
            }
            (Entry { open, ..*theirs }, true, theirs.open & mine != 0)
        }
    };
    let mut answer = answer;
    if changed {
        // A removed entry names no server; any will do.
        let server = match held {
            Some(view) if entry.tombstone => view.record.server,
            None if entry.tombstone => ServerSlot(0),
            _ => catalog.slot_of(entry.server).ok_or(Refused::UnknownServer)?,
        };
        let Entry { class, version, tombstone, lasting, open, age_ms, .. } = entry;
        let record = Record { server, class, version, tombstone, lasting, open, age_ms };
        let kept = partition.restore(catalog, &key, &record, now);
        // It ended here, or there is no room: nobody else could say that it is closed.
        //= SYNC-ANSWER-01
        if held.is_none() && theirs.open & mine != 0 && partition.entry(catalog, &key, now).is_none() {
            return Ok(Applied { hash, changed: false, answer: false, closed: Some(entry) });
        }
        kept?;
        // It is open no longer, by what the peer says of itself: only now is known when it was used here last.
        //= SYNC-ANSWER-01
        if open == 0 && !tombstone && ours.is_some_and(|ours| ours.open != 0) {
            let kept = partition.entry(catalog, &key, now).map(|view| view.record);
            let is_younger = |r: Record| !r.tombstone && r.age_ms + AGE_WORTH_MS < theirs.age_ms;
            answer |= kept.is_some_and(is_younger);
        }
    }
    Ok(Applied { hash, changed, answer, closed: None })
}

impl Engine {
    /// This engine has changed an entry: every peer is to be told.
    pub(super) fn changed<S: Shards>(
        &mut self,
        shards: &mut S,
        table: TableId,
        key: KeyBytes,
        ticket: Option<u64>,
        now: Now,
    ) {
        //= SYNC-READER-01
        if self.only_reads() || !shards.tables().iter().any(|shared| shared.id == table) {
            return;
        }
        let whole = shards.catalog().key(table, key);
        self.date_back_one(shards, &whole, now);
        self.recent.touch(whole.hash());
        *self.versions.entry(table).or_default() += 1;
        for peer in self.peers.values_mut() {
            let Some(session) = &mut peer.session else { continue };
            let before = session.overflowed;
            // Nobody waits for one that only reads.
            //= SYNC-READER-02
            let reads = self.settings.readers >> peer.slot.get() & 1 == 1;
            session.mark((table, key), ticket.filter(|_| !reads), now);
            if session.overflowed && !before {
                self.out.push(Output::Event(Event::Overflowed(peer.slot)));
            }
        }
    }

    /// Tells a peer what waits to be told, as it is now: what it hears last is what holds.
    //= SYNC-TELL-01
    pub(super) fn flush<S: Shards>(&mut self, to: EngineSlot, shards: &mut S, now: Now) {
        let (clock, group) = (self.told_clock(now), self.value_time(to, now));
        let Some(session) = self.peers.get_mut(&to.get()).and_then(Peer::greeted) else { return };
        if session.flush_at.is_none_or(|at| at > now) {
            return;
        }
        let geometry = shards.geometry();
        while !session.dirty.is_empty() && session.has_room() {
            let mut packers: BTreeMap<TableId, Packer> = BTreeMap::new();
            let mut bytes = 0;
            // A frame has entries, or one table of values.
            let mut values: Option<(TableId, Holder)> = None;
            while bytes < BATCH_BYTES
                && let Some(dirty) = session.dirty.pop_first()
            {
                let (table, key) = dirty;
                let Some(shared) = shards.tables().iter().find(|shared| shared.id == table).copied() else {
                    continue;
                };
                let name = shared.name;
                if shared.rule.is_value() {
                    //= SYNC-VALUE-02
                    if session.protocol < PROTOCOL_VALUES {
                        session.tickets.remove(&dirty);
                        continue;
                    }
                    if !packers.is_empty() || values.as_ref().is_some_and(|(id, _)| *id != table) {
                        session.dirty.insert(dirty);
                        break;
                    }
                    session.await_ticket(&dirty);
                    for (key, item) in Self::items_of(shards, table, &[key], group) {
                        let (_, holder) = values.get_or_insert_with(|| (table, Holder::new(name)));
                        holder.push(key, item);
                        bytes = holder.bytes;
                        self.figures.told += 1;
                    }
                    continue;
                }
                if values.is_some() {
                    session.dirty.insert(dirty);
                    break;
                }
                let key = shards.catalog().key(table, key);
                let entry = shards.with(geometry.route(&key), |partition, catalog| {
                    statement(catalog, &partition.entry(catalog, &key, now)?)
                });
                session.await_ticket(&dirty);
                // It ended or was evicted before it was told.
                let Some(entry) = entry else { continue };
                let packer = packers.entry(table).or_insert_with(|| Packer::new(name));
                let before = packer.bytes();
                packer.push(entry);
                bytes += packer.bytes() - before;
                self.figures.told += 1;
            }
            session.count_batch(now);
            let mut told = packers.values().map(Packer::len).sum();
            let mut tables: Vec<TableId> = packers.keys().copied().collect();
            if let Some((table, holder)) = values {
                told = holder.len();
                tables = Vec::from([table]);
                let held = Vec::from([holder.held()]);
                session.send(to, clock, now, &mut self.out, |head| Frame::Values(head, true, held));
            } else {
                let packs = packers.values().map(Packer::pack).collect();
                session.send(to, clock, now, &mut self.out, |head| Frame::Changes(head, packs));
            }
            let waits = |table: TableId| {
                let first = (table, KeyBytes([0; 16]));
                session.dirty.range(first..).next().is_some_and(|(waiting, _)| *waiting == table)
            };
            let through = tables.into_iter().filter(|table| !waits(*table));
            let through: Vec<_> =
                through.map(|table| (table, self.versions.get(&table).copied().unwrap_or(0))).collect();
            session.told(told, through.into_iter());
        }
        if session.dirty.is_empty() {
            session.flush_at = None;
        }
    }

    /// Entries of a peer. `live`: it has changed them just now; else this engine lacked them.
    pub(super) fn arrive<S: Shards>(
        &mut self,
        from: EngineSlot,
        packs: &[Pack<'_>],
        live: bool,
        shards: &mut S,
        now: Now,
    ) -> Result<(), Why> {
        let only_reads = self.only_reads();
        for pack in packs {
            let Some(table) = shared(shards, pack.table).filter(|table| !table.rule.is_value()) else {
                self.figures.unknown += pack.len() as u64;
                let keys = pack.entries().flatten().map(|entry| entry.key).collect();
                self.tell_untaken(from, pack.table, true, keys, now);
                continue;
            };
            let (mut answers, mut closed) = (Vec::new(), Vec::new());
            let (mut untaken, mut unknown) = (Vec::new(), Vec::new());
            for theirs in pack.entries() {
                let theirs = theirs.ok_or(Why::Nonsense)?;
                let applied = match self.take(from, &table, &theirs, live, shards, now) {
                    Ok(applied) => applied,
                    Err(is_unknown) => {
                        (if is_unknown { &mut unknown } else { &mut untaken }).push(theirs.key);
                        continue;
                    }
                };
                if applied.closed.is_some() {
                    untaken.push(theirs.key);
                }
                if live {
                    self.recent.touch(applied.hash);
                }
                closed.extend(applied.closed);
                match applied.answer {
                    true if live && !only_reads => self.tell(from, (table.id, theirs.key), now),
                    true => answers.push(theirs.key),
                    false => {}
                }
            }
            if live {
                self.tell_untaken(from, pack.table, false, untaken, now);
            }
            self.tell_untaken(from, pack.table, true, unknown, now);
            if self.says_nothing(from) {
                continue;
            }
            // A comparison is not through before what it brought up is answered.
            let Some(session) = self.session(from) else { continue };
            if !answers.is_empty() {
                session.replies.push(Reply::Keys(table.id, answers));
            }
            if !closed.is_empty() {
                session.replies.push(Reply::Entries(table.id, closed));
            }
        }
        Ok(())
    }

    /// Applies one entry and counts what became of it.
    ///
    /// # Errors
    /// It was not taken; whether because its server is not known.
    pub(super) fn take<S: Shards>(
        &mut self,
        from: EngineSlot,
        table: &Shared,
        theirs: &Entry,
        live: bool,
        shards: &mut S,
        now: Now,
    ) -> Result<Applied, bool> {
        if self.is_ahead(theirs, now) {
            self.figures.ahead += 1;
            return Err(false);
        }
        let me = self.settings.me;
        let key = shards.catalog().key(table.id, theirs.key);
        let partition = shards.geometry().route(&key);
        let geometry = shards.geometry();
        let how = if !live && self.follows(from) {
            How::Follow
        } else if !live && self.distrusts(shards, table.id, key.hash()) {
            How::Reload
        } else {
            How::Merge
        };
        let applied = shards.with(partition, |partition, catalog| {
            let lacks_room = |partition: &Partition, hash: u64| {
                !live && lost_some(partition, catalog, &geometry, table.id, (hash >> 48) as usize)
            };
            apply(partition, catalog, table, from, me, theirs, how, lacks_room, now)
        });
        match applied {
            Ok(applied) => {
                self.figures.applied += u64::from(applied.changed);
                if let Some(session) = self.session(from) {
                    session.sum.applied += u64::from(applied.changed);
                }
                Ok(applied)
            }
            Err(Refused::Full) => {
                self.figures.refused += 1;
                Err(false)
            }
            Err(_) => {
                self.figures.unknown += 1;
                Err(true)
            }
        }
    }

    /// One peer lacks something of a key.
    //= SYNC-ANSWER-01
    pub(super) fn tell(&mut self, to: EngineSlot, key: Dirty, now: Now) {
        if let Some(session) = self.peers.get_mut(&to.get()).and_then(|p| p.session.as_mut()) {
            session.mark(key, None, now);
        }
    }
}

/// The shared table of this name.
pub(super) fn shared<S: Shards>(shards: &S, name: u64) -> Option<Shared> {
    shards.tables().iter().find(|table| table.name == name).copied()
}

/// What is packed, in frames of a bounded size.
pub(super) fn in_frames(table: u64, entries: Vec<Entry>, mut each: impl FnMut(&Packer)) {
    let mut packer = Packer::new(table);
    for entry in entries {
        packer.push(entry);
        if packer.bytes() >= BATCH_BYTES {
            each(&packer);
            packer = Packer::new(table);
        }
    }
    if !packer.is_empty() {
        each(&packer);
    }
}
