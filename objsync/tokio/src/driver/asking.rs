//! An engine's side: who only reads is told by which tables and servers entries are kept, and asked for the entries of tables
//! that no member has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use forebay_core::table::EngineSlot;
use forebay_objsync::limits::AHEAD_MAX_MS;
use forebay_objsync::wire::{self, Frame};
use forebay_objsync::{Event, How, Input, Shards, apply};

use super::Driver;
use crate::given::{self, Said, TABLES_MAX};
use crate::limits::{
    CATALOGUES_MAX, GIVE_SILENCE, GIVEN_WITHIN, HELD_WITHIN, KEPT_WITHIN, LIVES_WITHIN, READER_WITHIN,
    TELL_READERS_EVERY,
};
use crate::peer::Peer;
use crate::{Catalogue, Host, Table};

/// Entries that are asked for.
pub(super) struct Asking {
    tables: BTreeSet<u64>,
    /// Those that count as not being here until the answer has come, or is not to be waited for.
    held: BTreeSet<u64>,
    /// Whom they were asked of, and whether that one has given them.
    of: BTreeMap<EngineSlot, bool>,
    since: Instant,
    /// When the last of them were asked for or came.
    moved: Instant,
    /// Who waits for all of it hears of it then.
    joined: Option<Event>,
}

impl Asking {
    /// All of it is there.
    fn is_given(&self) -> bool {
        !self.of.is_empty() && self.of.values().all(|given| *given)
    }

    /// Whether `held` is to be waited for still. `lives`: one that was asked has just been heard of.
    //= SYNC-MIRROR-03
    fn is_worth_waiting(&self, lives: bool) -> bool {
        if self.is_given() {
            return false;
        }
        // Who starts has called nobody yet, nor been called.
        if self.joined.is_some() && self.of.is_empty() {
            return self.since.elapsed() < READER_WITHIN;
        }
        lives && self.moved.elapsed() < GIVE_SILENCE && self.since.elapsed() < HELD_WITHIN
    }
}

impl<H: Host> Driver<H> {
    /// What this engine says that it keeps: of its tables those whose entries it has.
    //= SYNC-MIRROR-03
    pub(super) fn keeps(&self) -> Vec<Table> {
        let mut kept = self.host.kept();
        if let Some(has) = &self.has {
            kept.retain(|table| has.contains(&table.name));
        }
        kept
    }

    /// What those that only read are to be told; nothing, where there are none.
    pub(super) fn tells_readers(&self) -> Catalogue {
        let any = !self.settings.reads && self.settings.members.iter().any(|member| member.reads);
        if any { self.host.catalogue() } else { Catalogue::default() }
    }

    /// Those that only read are to hear of other tables and servers, if there are others.
    pub(super) fn tell_readers(&mut self) {
        self.readers_due = true;
        self.tell_readers_in_time();
    }

    /// Tells those that only read of other tables and servers, now and then: it is a megabyte where there are many.
    //= SYNC-MIRROR-02
    pub(super) fn tell_readers_in_time(&mut self) {
        if !self.readers_due || self.readers_told.is_some_and(|at| at.elapsed() < TELL_READERS_EVERY) {
            return;
        }
        self.readers_due = false;
        let told = self.tells_readers();
        if told == self.catalogue {
            return;
        }
        self.readers_told = Some(Instant::now());
        self.catalogue = told;
        let frame = given::catalogue(&self.catalogue);
        for slot in self.readers() {
            if let Some(link) = self.peers.get(&slot.get()).and_then(|peer| peer.link.as_ref()) {
                link.send(frame.clone());
                self.engine.offer_again(slot);
            }
        }
    }

    fn readers(&self) -> Vec<EngineSlot> {
        self.settings.members.iter().filter(|member| member.reads).map(|member| member.slot).collect()
    }

    /// Of these tables those that no member has that is there.
    fn lacking(&self, tables: BTreeSet<u64>) -> BTreeSet<u64> {
        let members = self.settings.mask();
        let up = self.peers.iter().filter(|(slot, peer)| peer.is_up && members >> **slot & 1 == 1);
        let theirs: BTreeSet<u64> =
            up.filter_map(|(_, peer)| peer.kept.as_ref()).flatten().map(|table| table.name).collect();
        tables.into_iter().filter(|name| !theirs.contains(name)).collect()
    }

    fn all_tables(&self) -> BTreeSet<u64> {
        self.host.kept().iter().map(|table| table.name).collect()
    }

    /// The engine has joined. Where members serve it has not asked those that only read, and it may have come to further tables
    /// since it did: what none of the members has is asked for now. Who is alone has waited for one that only reads already.
    //= SYNC-MIRROR-03
    pub(super) fn has_joined(&mut self, event: Event) {
        let is_up = |slot: u8| self.peers.get(&slot).is_some_and(|peer| peer.is_up);
        let any_up = |slots: u64| (0..64).any(|slot| slots >> slot & 1 == 1 && is_up(slot));
        let asks =
            any_up(self.settings.mask()) && self.settings.readers() != 0 || any_up(self.settings.readers());
        let lacking = self.lacking(self.all_tables());
        if self.has.is_none() || lacking.is_empty() || !asks {
            self.has_all();
            self.host.event(event);
        } else {
            self.ask(lacking, Some(event));
        }
    }

    /// There are tables here that there were not: those that no member has are asked for.
    //= SYNC-MIRROR-03
    pub(super) fn bring(&mut self) {
        // Before it has joined it does not know the group's time, and asks when it has.
        let Some(has) = self.has.as_ref().filter(|_| self.engine.joined()) else { return };
        let new = self.all_tables().into_iter().filter(|name| !has.contains(name)).collect();
        let lacking = self.lacking(new);
        if lacking.is_empty() || self.readers().is_empty() {
            self.has_all();
        } else {
            self.ask(lacking, None);
        }
    }

    /// All tables are as complete as they can be: members may count on them.
    fn has_all(&mut self) {
        if self.has.is_some() {
            let held = self.asking.as_ref().map(|asking| asking.held.clone()).unwrap_or_default();
            self.has = Some(self.all_tables().into_iter().filter(|name| !held.contains(name)).collect());
        }
        self.tell_what_is_kept();
    }

    fn ask(&mut self, tables: BTreeSet<u64>, joined: Option<Event>) {
        let (mut all, mut held, mut joined) = (tables.clone(), tables, joined);
        if let Some(before) = self.asking.take() {
            all.extend(before.tables);
            held.extend(before.held);
            joined = joined.or(before.joined);
        }
        let now = Instant::now();
        self.asking = Some(Asking { tables: all, held, of: BTreeMap::new(), since: now, moved: now, joined });
        self.view.set_asks(true);
        self.end_asking();
    }

    /// A member that is there has not said yet which tables it has, and does in a moment.
    fn may_have_them(&self) -> bool {
        let members = self.settings.mask();
        let is_new = |peer: &Peer| peer.up_since.is_some_and(|since| since.elapsed() < KEPT_WITHIN);
        let mut up = self.peers.iter().filter(|(slot, peer)| peer.is_up && members >> **slot & 1 == 1);
        up.any(|(_, peer)| peer.kept.is_none() && is_new(peer))
    }

    /// A member that has come keeps these: what others have is not to be had from one that may have missed why it went.
    pub(super) fn has_come_with(&mut self, tables: &[Table]) {
        if let Some(asking) = &mut self.asking {
            for table in tables {
                asking.tables.remove(&table.name);
                asking.held.remove(&table.name);
            }
        }
    }

    /// Asks those that are there and have not been asked.
    pub(super) fn ask_readers(&mut self) {
        if self.asking.is_none() || self.may_have_them() {
            return;
        }
        let readers = self.readers();
        let Some(asking) = &mut self.asking else { return };
        let tables: Vec<u64> = asking.tables.iter().copied().collect();
        for slot in readers {
            let Some(peer) = self.peers.get_mut(&slot.get()).filter(|peer| peer.is_up) else { continue };
            if let Some(link) = &peer.link
                && !asking.of.contains_key(&slot)
            {
                link.send(given::ask(&tables));
                peer.asked = true;
                asking.of.insert(slot, false);
                asking.moved = Instant::now();
            }
        }
    }

    /// Nobody waits for what was given, is not given, or takes too long. What comes later is taken for a while.
    //= SYNC-MIRROR-03
    pub(super) fn end_asking(&mut self) {
        self.ask_readers();
        let Some(asking) = &mut self.asking else { return };
        let is_up = |slot: &EngineSlot| self.peers.get(&slot.get()).is_some_and(|peer| peer.is_up);
        asking.of.retain(|slot, given| *given || is_up(slot));
        let is_heard = |peer: &Peer| peer.heard.is_some_and(|at| at.elapsed() < LIVES_WITHIN);
        let readers = self.settings.readers();
        let lives =
            self.peers.iter().any(|(slot, peer)| readers >> *slot & 1 == 1 && peer.is_up && is_heard(peer));
        let is_empty = asking.tables.is_empty();
        if !is_empty && !asking.held.is_empty() && asking.is_worth_waiting(lives) {
            return;
        }
        let was_held = std::mem::take(&mut asking.held);
        let joined = asking.joined.take();
        let is_over = is_empty || asking.is_given() || asking.since.elapsed() >= GIVEN_WITHIN;
        if !is_over && !was_held.is_empty() {
            tracing::info!(
                event = "OBJSYNC_NOT_GIVEN",
                tables = was_held.len(),
                "what the Controller may have of new tables is not waited for; it is taken when it comes"
            );
        }
        if is_over {
            self.asking = None;
        }
        if !was_held.is_empty() || self.view.asks() {
            self.view.set_asks(false);
            self.has_all();
        }
        if let Some(event) = joined {
            self.host.event(event);
        }
    }

    /// What members and those that only read say to one another.
    pub(super) fn hear_of_gifts(&mut self, from: EngineSlot, said: Said<'_>) {
        match said {
            Said::Catalogue(catalogue) if self.settings.reads => {
                if self
                    .peers
                    .get_mut(&from.get())
                    .is_some_and(|peer| !peer.catalogues.has_room(CATALOGUES_MAX))
                {
                    return self.lose(from, "it tells of its tables without pause");
                }
                self.host.told(from, catalogue);
                self.handle(Input::Renewed);
            }
            Said::Ask(tables) if self.settings.reads => self.is_asked(from, tables),
            // Who only reads is not asked by it, and says nothing of that kind.
            Said::Catalogue(_) | Said::Ask(_) => {}
            Said::Entries(frame) => {
                let was_asked = self.peers.get(&from.get()).is_some_and(|peer| peer.asked);
                if let Some(asking) = self.asking.as_mut().filter(|asking| asking.of.contains_key(&from)) {
                    asking.moved = Instant::now();
                    self.take_gift(from, frame);
                } else if !was_asked {
                    self.lose(from, "it gives entries that nobody has asked it for");
                }
            }
            Said::Done(tables) => {
                // It may be of an earlier question, which asked for fewer.
                if let Some(asking) = &mut self.asking
                    && asking.tables.iter().take(TABLES_MAX).all(|table| tables.contains(table))
                    && let Some(given) = asking.of.get_mut(&from)
                {
                    *given = true;
                }
            }
        }
    }

    /// Merges entries of tables that were asked for.
    //= SYNC-MIRROR-03
    fn take_gift(&mut self, from: EngineSlot, frame: &[u8]) {
        let Ok(Some((body, _))) = wire::split(frame) else { return };
        let Ok(Frame::Changes(_, packs)) = Frame::decode(body) else { return };
        let Some(asking) = &self.asking else { return };
        let (me, now) = (self.settings.me, self.host.now());
        let latest = self.engine.group_time(now).0.saturating_add(AHEAD_MAX_MS);
        let shards = self.host.tables();
        let mut changed = Vec::new();
        for pack in packs.iter().filter(|pack| asking.tables.contains(&pack.table)) {
            let Some(table) = shards.tables().iter().find(|table| table.name == pack.table).copied() else {
                continue;
            };
            for theirs in pack.entries().flatten() {
                let made = (theirs.version.stamp >> 16).max(u64::from(theirs.version.birth) * 60_000);
                if made > latest {
                    continue;
                }
                let key = shards.catalog().key(table.id, theirs.key);
                let partition = shards.geometry().route(&key);
                let applied = shards.with(partition, |partition, catalog| {
                    apply(partition, catalog, &table, from, me, &theirs, How::Merge, |_, _| false, now)
                });
                if applied.is_ok_and(|applied| applied.changed) {
                    changed.push((table.id, theirs.key));
                }
            }
        }
        for (table, key) in changed {
            self.handle(Input::Changed(table, key, None));
        }
    }
}
