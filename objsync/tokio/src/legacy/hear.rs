//! What an engine hears by its Redis: its own entries of before, and what others have changed.

use std::time::Instant;

use forebay_core::table::{EngineSlot, Refused};
use forebay_objsync::wire::{self, Frame};
use forebay_objsync::{Entry, How, Shards, Shared, apply};

use super::limits::{DIRTY_MAX, LIFE_MS};
use super::mirror::{Mirror, Other, unix_ms};
use super::names::{Kind, Note, Session, read_value};
use crate::Host;

/// An entry whose stamp is so far ahead of the wall clock is not taken: it would hold against every later one.
const AHEAD_MAX_MS: u64 = 3_600_000;

/// Keys that stand in Redis and belong to nothing any more, of one start: the rest goes at the next one.
const GARBAGE_MAX: usize = 65_536;

impl<H: Host> Mirror<H> {
    /// Entries of a time before: nobody has them open, and they are so much older.
    pub(super) fn load_page(&mut self, page: &[(Vec<u8>, Vec<u8>, i64)]) {
        let since = unix_ms().saturating_sub(self.seen_ms);
        for (name, value, left) in page {
            let known = self.names.entry_of(name).and(read_value(value, *left));
            // What had no end was open: its time begins when the engine was here last.
            let away = |away: u32| if *left < 0 { since } else { u64::from(away) };
            let taken = since <= LIFE_MS
                && known
                    .is_some_and(|(lain, frame)| self.take_frame(self.settings.me, away(lain), frame, true));
            if !taken && self.garbage.len() < GARBAGE_MAX {
                self.garbage.push(name.clone());
            }
        }
    }

    /// Hears a note; `false`: some were lost, and the connection begins anew.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> bool {
        let Some(note) = Note::of(bytes) else {
            self.status.refused += 1;
            return true;
        };
        //= LEGACY-GAP-01
        let expected =
            self.link.filter(|(link, _)| *link == note.link).map(|(_, number)| number.wrapping_add(1));
        if expected.is_some_and(|expected| expected != note.number) {
            self.status.lost += 1;
            self.lose("notes of others were lost; all is read anew");
            return false;
        }
        self.link = Some((note.link, note.number));
        if note.from != self.settings.me && note.kind != Kind::Complete && !self.meet(&note) {
            return false;
        }
        match note.kind {
            Kind::Alive => {}
            Kind::Complete if Session::of(note.body) == Some(self.session) => self.joined(true),
            Kind::Complete => {}
            Kind::Entries => {
                let mut rest = note.body;
                while let Some((away, frames)) = rest.split_first_chunk::<4>() {
                    let Ok(Some((_, length))) = wire::split(frames) else {
                        self.status.refused += 1;
                        break;
                    };
                    let away = u64::from(u32::from_le_bytes(*away));
                    self.take_frame(note.from, away, &frames[..length], false);
                    rest = &frames[length..];
                }
            }
        }
        true
    }

    /// Another engine lives; `false`: it was given up before, and all is to be told anew.
    //= LEGACY-ALIVE-01
    fn meet(&mut self, note: &Note<'_>) -> bool {
        let slot = note.from.get();
        let now = Instant::now();
        match self.others.get_mut(&slot) {
            Some(other) if other.silent => {
                self.others.remove(&slot);
                self.status.lost += 1;
                self.lose("an engine that was given up is back; all is read anew");
                return false;
            }
            Some(other) if other.boot == note.session.boot => other.heard = now,
            Some(_) => {
                self.forget(slot);
                self.others.insert(slot, Other { boot: note.session.boot, heard: now, silent: false });
            }
            None => {
                self.others.insert(slot, Other { boot: note.session.boot, heard: now, silent: false });
            }
        }
        true
    }

    /// What an engine had open counts as closed.
    pub(super) fn forget(&mut self, slot: u8) {
        let Some(slot) = EngineSlot::new(slot) else { return };
        let now = self.host.now();
        let shards = self.host.tables();
        let geometry = shards.geometry();
        let mut closed = Vec::new();
        for partition in 0..geometry.partitions() {
            shards.with(partition, |partition, catalog| {
                let views: Vec<_> = partition
                    .entries(catalog, 0..u32::MAX, now)
                    .filter(|view| view.record.open & 1 << slot.get() != 0)
                    .collect();
                for view in views {
                    let key = catalog.key(view.table, view.key);
                    partition.open_elsewhere(catalog, &key, slot, Some(now), now);
                    closed.push((view.table, view.key));
                }
            });
        }
        for (table, key) in closed {
            self.mark(table, key, false);
        }
    }

    /// Merges the entries of a frame. `own`: they are this engine's own of before, and whatever it knows already holds.
    /// `false`: nothing of it is of use.
    fn take_frame(&mut self, from: EngineSlot, away_ms: u64, frame: &[u8], own: bool) -> bool {
        let Ok(Some((body, _))) = wire::split(frame) else { return false };
        let Ok(Frame::Changes(_, packs)) = Frame::decode(body) else { return false };
        let mut any = false;
        for pack in &packs {
            let table = self.host.tables().tables().iter().find(|table| table.name == pack.table).copied();
            for entry in pack.entries().flatten() {
                let Some(table) = &table else {
                    self.status.unknown += 1;
                    continue;
                };
                let entry = Entry { age_ms: entry.age_ms.saturating_add(away_ms), ..entry };
                any |= self.take_entry(from, table, &entry, own);
            }
        }
        any
    }

    //= LEGACY-MERGE-01
    fn take_entry(&mut self, from: EngineSlot, table: &Shared, theirs: &Entry, own: bool) -> bool {
        let (stamp, birth) = (theirs.version.stamp >> 16, u64::from(theirs.version.birth) * 60_000);
        if stamp.max(birth) > unix_ms().saturating_add(AHEAD_MAX_MS) {
            self.status.refused += 1;
            return false;
        }
        let (me, now) = (self.settings.me, self.host.now());
        let shards = self.host.tables();
        let key = shards.catalog().key(table.id, theirs.key);
        let partition = shards.geometry().route(&key);
        let applied = shards.with(partition, |partition, catalog| {
            if own && partition.entry(catalog, &key, now).is_some() {
                return None;
            }
            Some(apply(partition, catalog, table, from, me, theirs, How::Merge, |_, _| false, now))
        });
        match applied {
            Some(Ok(applied)) => {
                if applied.changed && !own {
                    self.status.applied += 1;
                }
                // All that was loaded is written anew in any case.
                if (applied.changed || applied.answer) && !own {
                    self.mark(table.id, theirs.key, applied.answer);
                }
                // It is kept nowhere here, so the answer is not found in the table.
                if let Some(closed) = applied.closed.filter(|_| !own && self.closed.len() < DIRTY_MAX) {
                    self.closed.push((table.name, closed));
                }
            }
            Some(Err(Refused::Full)) => self.status.refused += 1,
            Some(Err(_)) => {
                self.status.unknown += 1;
                return false;
            }
            None => {}
        }
        true
    }
}
