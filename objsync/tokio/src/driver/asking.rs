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
use crate::limits::{GIVEN_WITHIN, READER_WITHIN};
use crate::{Catalogue, Host, Table};

/// Entries that are awaited.
pub(super) struct Asking {
    tables: BTreeSet<u64>,
    /// Whom they were asked of, and whether that one has given them.
    of: BTreeMap<EngineSlot, bool>,
    since: Instant,
    /// Who waits for all of it hears of it then.
    joined: Option<Event>,
}

impl Asking {
    /// Nothing more is waited for.
    fn is_over(&self) -> bool {
        let waited = self.since.elapsed();
        let given = !self.of.is_empty() && self.of.values().all(|given| *given);
        given || self.of.is_empty() && waited >= READER_WITHIN || waited >= GIVEN_WITHIN
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

    /// Tells those that only read of other tables and servers.
    //= SYNC-MIRROR-02
    pub(super) fn tell_readers(&mut self) {
        let told = self.tells_readers();
        if told == self.catalogue {
            return;
        }
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
        let awaited = self.asking.as_ref().map(|asking| asking.tables.clone()).unwrap_or_default();
        if self.has.is_some() {
            self.has = Some(self.all_tables().into_iter().filter(|name| !awaited.contains(name)).collect());
        }
        self.tell_what_is_kept();
    }

    fn ask(&mut self, tables: BTreeSet<u64>, joined: Option<Event>) {
        let before = self.asking.take();
        let (mut tables, mut joined) = (tables, joined);
        if let Some(before) = before {
            tables.extend(before.tables);
            joined = joined.or(before.joined);
        }
        self.asking = Some(Asking { tables, of: BTreeMap::new(), since: Instant::now(), joined });
        self.view.set_asks(true);
        self.ask_readers();
    }

    /// Asks those that are there and have not been asked.
    pub(super) fn ask_readers(&mut self) {
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
            }
        }
    }

    /// Nobody waits for what was given, is not given, or takes too long.
    //= SYNC-MIRROR-03
    pub(super) fn end_asking(&mut self) {
        let Some(asking) = &mut self.asking else { return };
        let is_up = |slot: &EngineSlot| self.peers.get(&slot.get()).is_some_and(|peer| peer.is_up);
        asking.of.retain(|slot, given| *given || is_up(slot));
        if !asking.is_over() {
            return;
        }
        let joined = self.asking.take().and_then(|asking| asking.joined);
        self.view.set_asks(false);
        self.has_all();
        if let Some(event) = joined {
            self.host.event(event);
        }
    }

    /// What members and those that only read say to one another.
    pub(super) fn hear_of_gifts(&mut self, from: EngineSlot, said: Said<'_>) {
        match said {
            Said::Catalogue(catalogue) if self.settings.reads => {
                self.host.told(from, catalogue);
                self.handle(Input::Renewed);
            }
            Said::Ask(tables) if self.settings.reads => self.is_asked(from, tables),
            // Who only reads is not asked by it, and says nothing of that kind.
            Said::Catalogue(_) | Said::Ask(_) => {}
            Said::Entries(frame) => {
                let was_asked = self.peers.get(&from.get()).is_some_and(|peer| peer.asked);
                if self.asking.as_ref().is_some_and(|asking| asking.of.contains_key(&from)) {
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
