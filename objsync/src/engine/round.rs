//! Comparisons: where two engines' tables differ, and how they become equal again.
//!
//! The engine with the lower slot leads. It sends the sums of a range of the hash space; the other answers with the sums
//! of the cells of those groups that differ; then the first states all that it has in the cells that differ, and the other
//! merges that and answers with what the first lacks. Cost is in proportion to what differs.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use forebay_core::table::{Catalog, EngineSlot, Hasher, KeyBytes, TableId};
use forebay_core::units::{Micros, Now};

use super::live::{in_frames, shared, statement};
use super::peer::{Peer, Round, Session, Theirs};
use super::{Engine, Why};
use crate::limits::{
    AGE_MS, ANSWER_MAX, BATCH_BYTES, CELLS_PER_GROUP, NEAR_END_MS, RANGES, RANGES_AHEAD, ROUND_MS,
};
use crate::merge::Entry;
use crate::shards::{Hashed, Shards, gather};
use crate::wire::{Cells, Frame, Pack, Packer, Step, Sum, Sums};

const RANGE_BITS: u32 = 6;
const CELL_BITS: u32 = 16;
const CELLS: usize = 1 << (CELL_BITS - RANGE_BITS);

impl Round {
    pub(super) fn ahead(&self) -> u8 {
        if self.quick { RANGES_AHEAD } else { 1 }
    }
}

/// The hashes of cells `first` to `last` of all 65,536.
fn part_of(first: usize, last: usize) -> RangeInclusive<u64> {
    let shift = 64 - CELL_BITS;
    (first as u64) << shift..=((last as u64) << shift | ((1 << shift) - 1))
}

fn first_cell(range: u8) -> usize {
    usize::from(range) * CELLS
}

fn range_part(range: u8) -> RangeInclusive<u64> {
    part_of(first_cell(range), first_cell(range) + CELLS - 1)
}

/// How one comparison sums entries up.
struct Summing<'a> {
    keyed: &'a Hasher,
    /// The open bits of the two engines: what others have open each learns from those themselves.
    mask: u64,
    /// The group's time, if idle times are compared too.
    idle_at: Option<u64>,
}

impl Summing<'_> {
    /// What an entry adds to its cell; `None` if it is about to end, which each engine sees at a moment of its own.
    //= SYNC-SUM-01
    fn term(&self, catalog: &Catalog, entry: &Hashed) -> Option<u128> {
        let view = &entry.view;
        let record = &view.record;
        let near = |left: u64| left < NEAR_END_MS.min((left + record.age_ms) / 4);
        if view.left_ms.is_some_and(near) {
            return None;
        }
        let KeyBytes(key) = view.key;
        let key = u128::from_le_bytes(key);
        let server = if record.tombstone { 0 } else { catalog.name_of(record.server)? };
        let version = &record.version;
        let idle = match (self.idle_at, view.left_ms) {
            (Some(now), Some(_)) if !record.tombstone => now.saturating_sub(record.age_ms) / AGE_MS,
            _ => 0,
        };
        let marks = u64::from(version.origin.get())
            | u64::from(record.tombstone) << 8
            | if record.tombstone { 0 } else { u64::from(record.class.get()) << 16 };
        Some(self.keyed.hash128(&[
            key as u64,
            (key >> 64) as u64,
            u64::from(version.birth) << 32 | u64::from(version.switches),
            version.stamp,
            server,
            marks,
            record.open & self.mask,
            idle,
        ]))
    }

    /// The sums of the cells of a range, by table. Every shared table is there.
    fn cells<S: Shards>(&self, shards: &S, entries: &[Hashed]) -> BTreeMap<TableId, BTreeMap<u16, u128>> {
        let mut tables: BTreeMap<TableId, BTreeMap<u16, u128>> =
            shards.tables().iter().map(|table| (table.id, BTreeMap::new())).collect();
        for entry in entries {
            let Some(term) = self.term(shards.catalog(), entry) else { continue };
            let cell = (entry.hash >> (64 - CELL_BITS)) as usize % CELLS;
            if let Some(cells) = tables.get_mut(&entry.view.table) {
                let sum = cells.entry(cell as u16).or_default();
                *sum = sum.wrapping_add(term);
            }
        }
        tables
    }
}

fn groups_of(cells: &BTreeMap<u16, u128>) -> BTreeMap<u16, u128> {
    let mut groups: BTreeMap<u16, u128> = BTreeMap::new();
    for (cell, sum) in cells {
        let group = groups.entry(cell / CELLS_PER_GROUP).or_default();
        *group = group.wrapping_add(*sum);
    }
    groups
}

fn on_wire(sums: &BTreeMap<u16, u128>) -> Vec<(u16, Sum)> {
    sums.iter().map(|(n, sum)| (*n, sum.to_le_bytes())).collect()
}

fn off_wire(sums: &[(u16, Sum)]) -> BTreeMap<u16, u128> {
    sums.iter().map(|(n, sum)| (*n, u128::from_le_bytes(*sum))).collect()
}

/// The places at which two lists of sums differ.
fn differing(a: &BTreeMap<u16, u128>, b: &BTreeMap<u16, u128>) -> BTreeSet<u16> {
    let sum = |sums: &BTreeMap<u16, u128>, n: &u16| sums.get(n).copied().unwrap_or(0);
    a.keys().chain(b.keys()).filter(|n| sum(a, n) != sum(b, n)).copied().collect()
}

impl Engine {
    fn session(&mut self, slot: EngineSlot) -> Option<&mut Session> {
        self.peers.get_mut(&slot.get()).and_then(Peer::greeted)
    }

    fn summing(&self, with: EngineSlot, fresh: bool, now: Now) -> Summing<'_> {
        let mask = 1 << self.settings.me.get() | 1 << with.get();
        let idle_at = fresh.then(|| self.clock.read(now).0);
        Summing { keyed: &self.settings.sums, mask, idle_at }
    }

    fn all_of<S: Shards>(&self, range: u8, shards: &mut S, now: Now) -> Vec<Hashed> {
        let tables: Vec<TableId> = shards.tables().iter().map(|table| table.id).collect();
        gather(shards, range_part(range), now, |table| tables.contains(&table))
    }

    /// The peer has just come, or changes between the two were lost.
    //= SYNC-ROUND-01
    pub(super) fn again(&mut self, with: EngineSlot, now: Now) {
        let leads = self.settings.me < with;
        let clock = self.told_clock(now);
        let Some(session) = self.peers.get_mut(&with.get()).and_then(Peer::greeted) else { return };
        session.synced = false;
        session.overflowed = false;
        if leads {
            session.begin(true, true, now);
        } else if session.heard > 0 {
            session.send(with, clock, now, &mut self.out, Frame::Again);
        }
    }

    /// Leads the comparison with a peer one step on.
    pub(super) fn lead<S: Shards>(&mut self, with: EngineSlot, shards: &mut S, now: Now) {
        // Peers that a newcomer compares with begin at different places, so that each gives it a part.
        let first = with.get().wrapping_mul(37).wrapping_add(self.settings.me.get().wrapping_mul(11));
        let Some(session) = self.session(with) else { return };
        // What was lost is behind: all that came since waits, or has been told.
        if session.overflowed && session.has_room() {
            self.again(with, now);
        }
        loop {
            let Some(session) = self.session(with).filter(|s| s.has_room()) else { return };
            let Some(round) = &mut session.round else { return };
            let (number, fresh, quick) = (round.number, round.fresh, round.quick);
            if round.sent == RANGES {
                if round.answered == RANGES && !round.ended {
                    round.ended = true;
                    let differing = round.differing;
                    let clock = self.told_clock(now);
                    let Some(session) = self.peers.get_mut(&with.get()).and_then(Peer::greeted) else {
                        return;
                    };
                    session.send(with, clock, now, &mut self.out, |h| Frame::RoundEnd(h, number, differing));
                }
                return;
            }
            if round.sent - round.answered >= round.ahead() || round.due > now {
                return;
            }
            let range = first.wrapping_add(round.sent) % RANGES;
            round.sent += 1;
            round.due =
                if quick { now } else { now.after(Micros::from_millis(ROUND_MS / u64::from(RANGES))) };
            self.flush_now(with, shards, now);
            let entries = self.all_of(range, shards, now);
            let cells = self.summing(with, fresh, now).cells(shards, &entries);
            let sums = shards
                .tables()
                .iter()
                .map(|t| Sums {
                    table: t.name,
                    groups: cells.get(&t.id).map(groups_of).map_or_else(Vec::new, |g| on_wire(&g)),
                })
                .collect();
            let clock = self.told_clock(now);
            let Some(session) = self.session_of(with) else { return };
            let step = Step { round: number, fresh, range };
            session.0.send(with, clock, now, session.1, |head| Frame::Sums(head, step, sums));
        }
    }

    fn session_of(&mut self, with: EngineSlot) -> Option<(&mut Session, &mut Vec<super::Output>)> {
        let session = self.peers.get_mut(&with.get()).and_then(Peer::greeted)?;
        Some((session, &mut self.out))
    }

    /// What is compared must not wait to be told.
    fn flush_now<S: Shards>(&mut self, with: EngineSlot, shards: &mut S, now: Now) {
        if let Some(session) = self.session(with)
            && !session.dirty.is_empty()
        {
            session.flush_at = Some(now);
            self.flush(with, shards, now);
        }
    }

    /// A peer's sums of a range: which of its cells differ?
    pub(super) fn compare<S: Shards>(
        &mut self,
        from: EngineSlot,
        step: Step,
        sums: &[Sums],
        shards: &mut S,
        now: Now,
    ) {
        if from > self.settings.me {
            return;
        }
        self.flush_now(from, shards, now);
        let Some(session) = self.session(from) else { return };
        if session.theirs.is_none_or(|theirs| theirs.number != step.round) {
            session.theirs =
                Some(Theirs { number: step.round, fresh: step.fresh, began: now, ending: false });
            if step.fresh {
                (session.synced, session.overflowed) = (false, false);
            }
        }
        let entries = self.all_of(step.range, shards, now);
        let ours = self.summing(from, step.fresh, now).cells(shards, &entries);
        let mut answer = Vec::new();
        for theirs in sums {
            let Some(table) = shared(shards, theirs.table) else { continue };
            let Some(cells) = ours.get(&table.id) else { continue };
            let groups = differing(&groups_of(cells), &off_wire(&theirs.groups));
            if groups.is_empty() {
                continue;
            }
            let inside = |cell: &u16| groups.contains(&(cell / CELLS_PER_GROUP));
            let unsettled = |cell: &u16| {
                !step.fresh && !self.is_settled(first_cell(step.range) + usize::from(*cell), now)
            };
            answer.push(Cells {
                table: theirs.table,
                groups: groups.iter().fold(0, |bits, group| bits | 1 << group),
                cells: on_wire(&cells.iter().filter(|(n, _)| inside(n)).map(|(n, s)| (*n, *s)).collect()),
                unsettled: (0..CELLS as u16).filter(inside).filter(unsettled).collect(),
            });
        }
        let clock = self.told_clock(now);
        if let Some((session, out)) = self.session_of(from) {
            session.send(from, clock, now, out, |head| Frame::Cells(head, step, answer));
        }
    }

    /// The sums of a peer's cells: this engine states all that it has in those that differ.
    pub(super) fn state<S: Shards>(
        &mut self,
        from: EngineSlot,
        step: Step,
        cells: &[Cells],
        shards: &mut S,
        now: Now,
    ) {
        let Some(round) = self.session(from).and_then(|s| s.round.as_mut()) else { return };
        if round.number != step.round || round.answered == round.sent {
            return;
        }
        round.answered += 1;
        if cells.is_empty() {
            return;
        }
        self.flush_now(from, shards, now);
        let entries = self.all_of(step.range, shards, now);
        let ours = self.summing(from, step.fresh, now).cells(shards, &entries);
        let clock = self.told_clock(now);
        for theirs in cells {
            let Some(table) = shared(shards, theirs.table) else { continue };
            let inside = |n: &u16| theirs.groups >> (n / CELLS_PER_GROUP) & 1 == 1;
            let sums = off_wire(&theirs.cells);
            let own = ours.get(&table.id).into_iter().flatten().filter(|(n, _)| inside(n));
            let own = own.map(|(n, sum)| (*n, *sum)).collect();
            let differ: Vec<usize> = differing(&own, &sums)
                .into_iter()
                .filter(|n| usize::from(*n) < CELLS)
                //= SYNC-SETTLED-01
                .filter(|n| step.fresh || !theirs.unsettled.contains(n))
                .map(|n| first_cell(step.range) + usize::from(n))
                .filter(|cell| step.fresh || self.is_settled(*cell, now))
                .collect();
            let mine: Vec<&Hashed> = entries.iter().filter(|e| e.view.table == table.id).collect();
            let mut stated = 0;
            let Some((session, out)) = self.session_of(from) else { return };
            if let Some(round) = &mut session.round {
                round.differing = round.differing.saturating_add(differ.len() as u32);
            }
            for run in differ.chunk_by(|a, b| a + 1 == *b) {
                let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
                let part = part_of(*first, *last);
                let inside = mine.iter().filter(|e| part.contains(&e.hash)).map(|e| **e).collect();
                for (part, packer) in statements(shards.catalog(), theirs.table, part, inside) {
                    stated += packer.len() as u64;
                    session.send(from, clock, now, out, |head| {
                        Frame::Statement(head, theirs.table, part, packer.pack())
                    });
                }
            }
            self.figures.stated += stated;
        }
    }

    /// All that a peer has in a part of the hash space: this engine takes it, and answers with what the peer lacks.
    //= SYNC-STATEMENT-01
    pub(super) fn stated<S: Shards>(
        &mut self,
        from: EngineSlot,
        table: u64,
        part: RangeInclusive<u64>,
        pack: &Pack<'_>,
        shards: &mut S,
        now: Now,
    ) -> Result<(), Why> {
        let Some(table) = shared(shards, table) else {
            self.figures.unknown += pack.len() as u64;
            return Ok(());
        };
        let mut listed = BTreeSet::new();
        let mut answers = BTreeSet::new();
        for theirs in pack.entries() {
            let theirs = theirs.ok_or(Why::Nonsense)?;
            listed.insert(theirs.key);
            if self.take(from, &table, &theirs, shards, now).is_some_and(|applied| applied.answer) {
                answers.insert(theirs.key);
            }
        }
        let sender = 1 << from.get();
        let held = gather(shards, part.clone(), now, |id| id == table.id);
        let missing: Vec<&Hashed> = held.iter().filter(|e| !listed.contains(&e.view.key)).collect();
        for entry in missing.iter().filter(|e| e.view.record.open & sender != 0) {
            let key = shards.catalog().key(table.id, entry.view.key);
            let partition = shards.geometry().route(&key);
            shards.with(partition, |partition, catalog| {
                partition.open_elsewhere(catalog, &key, from, false, now);
            });
        }
        if missing.len() > ANSWER_MAX {
            if let Some(session) = self.session(from) {
                session.replies.push_back((table.id, part));
            }
        } else {
            answers.extend(missing.iter().map(|e| e.view.key));
        }
        let geometry = shards.geometry();
        let mut entries = Vec::new();
        for key in answers {
            let key = shards.catalog().key(table.id, key);
            entries.extend(shards.with(geometry.route(&key), |partition, catalog| {
                statement(catalog, &partition.entry(catalog, &key, now)?)
            }));
        }
        self.repair(from, table.name, entries, now);
        Ok(())
    }

    fn repair(&mut self, to: EngineSlot, table: u64, entries: Vec<Entry>, now: Now) {
        let clock = self.told_clock(now);
        self.figures.repaired += entries.len() as u64;
        let Some((session, out)) = self.session_of(to) else { return };
        in_frames(table, entries, |packer| {
            session.send(to, clock, now, out, |head| Frame::Repair(head, Vec::from([packer.pack()])));
        });
    }

    /// Sends what a peer lacks much of, as far as there is room, and the last word when all is sent.
    pub(super) fn reply<S: Shards>(&mut self, to: EngineSlot, shards: &mut S, now: Now) {
        loop {
            let Some(session) = self.session(to).filter(|s| s.has_room()) else { return };
            let Some((id, part)) = session.replies.pop_front() else { break };
            // One partition at a time: that is what a step may cost.
            let geometry = shards.geometry();
            let shift = geometry.partitions().trailing_zeros();
            let end = match shift {
                0 => u64::MAX,
                bits => *part.start() | (u64::MAX >> bits),
            };
            if end < *part.end() {
                session.replies.push_front((id, end + 1..=*part.end()));
            }
            let here = *part.start()..=end.min(*part.end());
            let Some(table) = shards.tables().iter().find(|t| t.id == id).copied() else { continue };
            let held = gather(shards, here, now, |table| table == id);
            let entries = held.iter().filter_map(|e| statement(shards.catalog(), &e.view)).collect();
            self.repair(to, table.name, entries, now);
        }
        let clock = self.told_clock(now);
        let Some((session, out)) = self.session_of(to) else { return };
        if let Some(theirs) = session.theirs.filter(|theirs| theirs.ending) {
            session.theirs = Some(Theirs { ending: false, ..theirs });
            session.synced |= theirs.fresh && !session.overflowed;
            session.send(to, clock, now, out, |head| Frame::RoundDone(head, theirs.number));
        }
    }

    /// The peer that leads has heard all.
    pub(super) fn round_end(&mut self, from: EngineSlot, round: u32, differing: u32) {
        let Some(session) = self.session(from) else { return };
        let Some(theirs) = session.theirs.as_mut().filter(|theirs| theirs.number == round) else { return };
        theirs.ending = true;
        let began = theirs.began;
        session.differing = differing;
        if differing == 0 {
            session.proven = Some(began);
        }
    }

    /// The peer that was led has sent all.
    pub(super) fn round_done(&mut self, from: EngineSlot, number: u32, now: Now) {
        let Some(session) = self.session(from) else { return };
        let Some(round) = session.round.as_ref().filter(|r| r.number == number && r.ended) else { return };
        session.differing = round.differing;
        if round.differing == 0 {
            session.proven = Some(round.began);
        }
        let fresh = round.fresh;
        session.synced |= fresh && !session.overflowed;
        // After the first comparison at once another one, which proves it.
        session.begin(false, fresh, now);
    }
}

impl Session {
    fn begin(&mut self, fresh: bool, quick: bool, now: Now) {
        let number = self.round.as_ref().map_or(0, |round| round.number) + 1;
        let (sent, answered, differing, ended) = (0, 0, 0, false);
        let round = Round { number, fresh, quick, sent, answered, differing, ended, due: now, began: now };
        self.round = Some(round);
    }
}

/// All entries of a part of the hash space, in statements of a bounded size that cover it without a gap.
fn statements(
    catalog: &Catalog,
    table: u64,
    part: RangeInclusive<u64>,
    entries: Vec<Hashed>,
) -> Vec<(RangeInclusive<u64>, Packer)> {
    let mut all = Vec::new();
    let mut from = *part.start();
    let mut packer = Packer::new(table);
    let mut last = from;
    for entry in entries {
        if packer.bytes() >= BATCH_BYTES && entry.hash != last {
            let full = core::mem::replace(&mut packer, Packer::new(table));
            all.push((from..=entry.hash - 1, full));
            from = entry.hash;
        }
        last = entry.hash;
        if let Some(entry) = statement(catalog, &entry.view) {
            packer.push(entry);
        }
    }
    all.push((from..=*part.end(), packer));
    all
}
