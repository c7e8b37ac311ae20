//! Comparisons: where two engines' tables differ, and how they become equal again.
//!
//! The engine with the lower slot leads. It sends the sums of a range of the hash space; the other answers with the sums
//! of the cells of those groups that differ; then the first lists short hashes of what it has in the cells that differ,
//! and the other sends what is not listed and asks for what it lacks. Cost is in proportion to what differs.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use forebay_core::table::EngineSlot;
use forebay_core::units::{Micros, Now};

use super::Engine;
use super::listing::{self, Lister};
use super::live::shared;
use super::peer::{Peer, Reply, Round, Session, Theirs, UnderWay};
use super::slices::Begun;
use super::sums::{CELLS, CellSet, Row, Summing, differing, first_cell, off_wire, on_wire};
use crate::limits::{ANSWER_MAX, BUCKETS_TOLD, CELLS_PER_GROUP, RANGES, RANGES_AHEAD};
use crate::shards::{Shards, Shared};
use crate::wire::{Cells, Found, Frame, Listing, Step, Sums};

impl Round {
    fn ahead(&self) -> usize {
        if self.quick { usize::from(RANGES_AHEAD) } else { 1 }
    }

    /// When the next range is to be sent, if there is one and nothing else is waited for.
    pub(super) fn due(&self) -> Option<Now> {
        (self.next < RANGES && self.under_way.len() < self.ahead()).then_some(self.due)
    }

    /// A cell differs.
    fn found(&mut self, table: u64, range: u8, cell: u16) {
        if let Some(under_way) = self.under_way.get_mut(&range) {
            under_way.judged = true;
        }
        let found = self.found.entry(table).or_default();
        found.differing = found.differing.saturating_add(1);
        let bucket = ((first_cell(range) + usize::from(cell)) / usize::from(CELLS_PER_GROUP)) as u16;
        if found.buckets.len() < BUCKETS_TOLD && found.buckets.last() != Some(&bucket) {
            found.buckets.push(bucket);
        }
    }
}

impl Engine {
    pub(super) fn session(&mut self, slot: EngineSlot) -> Option<&mut Session> {
        self.peers.get_mut(&slot.get()).and_then(Peer::greeted)
    }

    pub(super) fn session_of(&mut self, with: EngineSlot) -> Option<(&mut Session, &mut Vec<super::Output>)> {
        let session = self.peers.get_mut(&with.get()).and_then(Peer::greeted)?;
        Some((session, &mut self.out))
    }

    pub(super) fn summing(&self, with: EngineSlot, step: &Step, now: Now) -> Summing<'_> {
        Summing {
            keys: &self.keys,
            mask: 1 << self.settings.me.get() | 1 << with.get(),
            idle_at: self.time_with(with, now).filter(|_| step.fresh),
            round: step.round,
            recent: &self.recent,
            held: self.hold.tombstones,
            values_at: self.value_time(with, now),
        }
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

    /// Compares with a peer now; `asked`: [`super::Output::Verified`] is to tell when that is done.
    //= SYNC-VERIFY-01
    pub(super) fn look(&mut self, with: EngineSlot, asked: bool, now: Now) {
        let leads = self.settings.me < with;
        let clock = self.told_clock(now);
        let Some(session) = self.peers.get_mut(&with.get()).and_then(Peer::greeted) else { return };
        if leads {
            // After a first comparison another one follows of itself.
            if !session.round.as_ref().is_some_and(|round| round.fresh) {
                session.begin(false, true, now);
            }
            let number = session.round.as_ref().map_or(0, |r| r.number.wrapping_add(u32::from(r.fresh)));
            session.asked = session.asked.or(asked.then_some(number));
        } else {
            let number = session.theirs.as_ref().map_or(0, |theirs| theirs.number).wrapping_add(1);
            session.asked = session.asked.or(asked.then_some(number));
            session.send(with, clock, now, &mut self.out, Frame::Look);
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
            let (rests, compare_ms) = (self.rests(now), self.compare_ms);
            let Some(session) = self.session(with).filter(|s| s.has_room() && !s.tells_written()) else {
                return;
            };
            let owes = session.owes_much();
            let Some(round) = &mut session.round else { return };
            if round.next == RANGES && round.under_way.is_empty() {
                if !round.ended && session.replies.is_empty() {
                    self.end_round(with, shards, now);
                }
                return;
            }
            if rests || owes || round.due().is_none_or(|due| due > now) {
                return;
            }
            let range = first.wrapping_add(round.next) % RANGES;
            let step = Step { round: round.number, fresh: round.fresh, range };
            let round_begins = round.next == 0;
            let (begun, quick) = (round.begun.take(), round.quick);
            self.bulk = true;
            if begun.is_none() {
                self.flush_now(with, shards, now);
            }
            let tables = self.tables_with(with, shards);
            let mut begun = begun.unwrap_or_else(|| Begun::new(tables.clone(), now));
            if !begun.is_of(&tables) {
                // Other tables than a moment ago: answers to what was sent of them are none of the next comparison.
                let Some(session) = self.session(with) else { return };
                session.begin(step.fresh, quick, now);
                continue;
            }
            // Of a range without tables nothing is said, but of the first one.
            let is_through =
                tables.is_empty() && !round_begins || self.send_sums(with, step, &mut begun, shards, now);
            let Some(session) = self.session(with) else { return };
            let Some(round) = &mut session.round else { return };
            if !is_through {
                round.begun = Some(begun);
                return;
            }
            round.next += 1;
            let pause = Micros(compare_ms * 1_000 / u64::from(RANGES));
            round.due = if round.quick { now } else { now.after(pause) };
            let Begun { began, frames, own: sums, .. } = begun;
            round.under_way.insert(range, UnderWay { frames, began, judged: false, sums, rows: Vec::new() });
            session.range_done(range);
        }
    }

    fn end_round<S: Shards>(&mut self, with: EngineSlot, shards: &mut S, now: Now) {
        let partial = listing::partials(shards);
        let clock = self.told_clock(now);
        let Some((session, out)) = self.session_of(with) else { return };
        let Some(round) = &mut session.round else { return };
        round.ended = true;
        for (table, n) in partial {
            round.found.entry(table).or_default().partial = n;
        }
        let number = round.number;
        let found =
            round.found.iter().map(|(table, found)| Found { table: *table, ..found.clone() }).collect();
        session.send(with, clock, now, out, |head| Frame::RoundEnd(head, number, found));
    }

    /// What is compared must not wait to be told.
    pub(super) fn flush_now<S: Shards>(&mut self, with: EngineSlot, shards: &mut S, now: Now) {
        if let Some(session) = self.session(with)
            && !session.dirty.is_empty()
        {
            session.flush_at = Some(now);
            self.flush(with, shards, now);
        }
    }

    /// A peer's sums of a range: which of its cells differ? `false`: that is not known yet; it is asked again.
    pub(super) fn compare<S: Shards>(
        &mut self,
        from: EngineSlot,
        step: Step,
        sums: &[Sums],
        shards: &mut S,
        now: Now,
    ) -> bool {
        if from > self.settings.me {
            return true;
        }
        self.flush_now(from, shards, now);
        let Some(session) = self.session(from) else { return true };
        if session.theirs.as_ref().is_none_or(|theirs| theirs.number != step.round) {
            let found = Vec::new();
            session.theirs =
                Some(Theirs { number: step.round, fresh: step.fresh, began: now, ending: false, found });
            if step.fresh {
                (session.synced, session.overflowed) = (false, false);
            }
        }
        let tables: Vec<Shared> = sums.iter().filter_map(|s| shared(shards, s.table)).collect();
        let Some((ours, began)) = self.sums_of(from, &step, &tables, shards, now) else { return false };
        // What has changed since it was read is on its way before the answer is.
        self.flush_now(from, shards, now);
        let mut answer = Vec::new();
        for (place, table) in (0..).zip(&tables) {
            let Some(theirs) = sums.iter().find(|sums| sums.table == table.name) else { continue };
            let groups = differing(&ours.groups_of(place), &off_wire(&theirs.groups));
            if groups.is_empty() {
                continue;
            }
            let inside = ours.of(place).filter(|(cell, _)| groups.contains(&(cell / CELLS_PER_GROUP)));
            answer.push(Cells {
                table: theirs.table,
                groups: groups.iter().fold(0, |bits, group| bits | 1 << group),
                cells: on_wire(inside),
            });
        }
        let clock = self.told_clock(now);
        let Some((session, out)) = self.session_of(from) else { return true };
        if answer.is_empty() {
            session.prove(step.range, began);
        }
        session.send(from, clock, now, out, |head| Frame::Cells(head, step, answer));
        true
    }

    /// The sums of a peer's cells: this engine says what it has in those that differ.
    pub(super) fn state<S: Shards>(
        &mut self,
        from: EngineSlot,
        step: Step,
        cells: &[Cells],
        shards: &mut S,
        now: Now,
    ) {
        let Some(round) = self.session(from).and_then(|s| s.round.as_mut()) else { return };
        let known = round.number == step.round && round.under_way.contains_key(&step.range);
        if !known {
            return;
        }
        if !cells.is_empty() {
            self.flush_now(from, shards, now);
            self.say_what_differs(from, step, cells, shards, now);
        }
        self.answered(from, step.range);
    }

    fn answered(&mut self, from: EngineSlot, range: u8) {
        let Some(session) = self.session(from) else { return };
        if let Some(under_way) = session.round.as_mut().and_then(|r| r.under_way.get_mut(&range)) {
            under_way.frames = under_way.frames.saturating_sub(1);
        }
        session.range_done(range);
    }

    fn say_what_differs<S: Shards>(
        &mut self,
        from: EngineSlot,
        step: Step,
        cells: &[Cells],
        shards: &mut S,
        now: Now,
    ) {
        let tables: Vec<Shared> = cells.iter().filter_map(|c| shared(shards, c.table)).collect();
        let mut listed = CellSet::of(tables.len());
        let mut replies = Vec::new();
        let says_nothing = self.says_nothing(from);
        for (place, table) in (0..).zip(&tables) {
            let Some(theirs) = cells.iter().find(|cells| cells.table == table.name) else { continue };
            let Some(round) = self.session(from).and_then(|s| s.round.as_mut()) else { return };
            let Some(under_way) = round.under_way.get(&step.range) else { return };
            let inside = |n: &u16| theirs.groups >> (n / CELLS_PER_GROUP) & 1 == 1;
            let sums = off_wire(&theirs.cells);
            let own = under_way.sums.iter().find(|(name, _)| *name == table.name);
            let own: BTreeMap<u16, u128> =
                own.into_iter().flat_map(|(_, own)| own).copied().filter(|(n, _)| inside(n)).collect();
            let differ = differing(&own, &sums).into_iter().filter(|n| usize::from(*n) < CELLS && inside(n));
            // In a first comparison what the other has nothing of is told without asking.
            if step.fresh && sums.is_empty() && !says_nothing {
                let differ: Vec<u16> = differ.collect();
                differ.iter().for_each(|cell| round.found(table.name, step.range, *cell));
                replies.extend(Reply::parts(table.id, step.range, &differ));
            } else {
                differ.for_each(|cell| listed.insert(place, cell));
            }
        }
        let mut lister = Lister::default();
        let mut rows = Vec::new();
        if !listed.is_empty() {
            self.suspect(shards, step.range, &tables, &listed, now);
            rows = self.summing(from, &step, now).rows(shards, step.range, &tables, &listed, now);
        }
        for (place, table) in (0..).zip(&tables) {
            for cell in listed.of_table(place) {
                let partial = listing::is_partial(shards, table.id, step.range, cell);
                // What is wrong here is nothing to offer: the peer sends all that it has.
                let distrusted = self.distrusts_cell(shards, table.id, step.range, cell);
                let rows = if distrusted { &[] } else { listing::of_cell(&rows, place, cell) };
                lister.push(table.name, cell, rows, partial);
            }
        }
        let rows = rows.into_iter().filter_map(|row| Some((tables.get(usize::from(row.place()))?.name, row)));
        let rows: Vec<(u64, Row)> = rows.collect();
        let clock = self.told_clock(now);
        let Some((session, out)) = self.session_of(from) else { return };
        session.replies.extend(replies);
        let mut frames = 0;
        for lists in lister.frames() {
            session.send(from, clock, now, out, |head| Frame::Lists(head, step, lists));
            frames += 1;
        }
        if let Some(range) = session.round.as_mut().and_then(|r| r.under_way.get_mut(&step.range)) {
            range.frames += frames;
            range.rows.extend(rows);
        }
    }

    /// What a peer has in cells that differ: this engine sends what is not listed, and asks for what it lacks.
    pub(super) fn listed<S: Shards>(
        &mut self,
        from: EngineSlot,
        step: Step,
        lists: &[Listing<'_>],
        shards: &mut S,
        now: Now,
    ) {
        if from > self.settings.me {
            return;
        }
        self.flush_now(from, shards, now);
        let tables: Vec<Shared> = lists.iter().filter_map(|list| shared(shards, list.table)).collect();
        let mut listed = CellSet::of(tables.len());
        for list in lists {
            if let Some(place) = tables.iter().position(|table| table.name == list.table) {
                list.cells.iter().for_each(|(cell, _)| listed.insert(place as u16, *cell));
            }
        }
        self.suspect(shards, step.range, &tables, &listed, now);
        let rows = self.summing(from, &step, now).rows(shards, step.range, &tables, &listed, now);
        let since = self.open_until(from, now);
        let says_nothing = self.says_nothing(from);
        let mut lister = Lister::default();
        let mut judged: Vec<(u64, Vec<u16>)> = Vec::new();
        let mut replies = Vec::new();
        for list in lists {
            let Some(place) = tables.iter().position(|table| table.name == list.table) else { continue };
            let Some(table) = tables.get(place) else { continue };
            let mut keys = Vec::new();
            let mut cells = Vec::new();
            for (cell, theirs) in list.by_cell() {
                let distrusted = self.distrusts_cell(shards, table.id, step.range, cell);
                let ours = if distrusted { &[] } else { listing::of_cell(&rows, place as u16, cell) };
                let here = listing::is_partial(shards, table.id, step.range, cell);
                let partial = (here, list.partial.contains(&cell));
                let found = listing::compare(ours, theirs, step.fresh, partial);
                lister.push_answer(list.table, cell, &found.wanted);
                if found.judged {
                    cells.push(cell);
                }
                // The peer has said all that it has in this cell: it has nothing of these open.
                //= SYNC-STATEMENT-01
                for row in found.lacked.iter().filter(|row| row.open & 1 << from.get() != 0) {
                    let key = shards.catalog().key(table.id, row.key);
                    shards.with(shards.geometry().route(&key), |partition, catalog| {
                        partition.open_elsewhere(catalog, &key, from, Some(since), now)
                    });
                }
                keys.extend(found.lacked.iter().map(|row| row.key));
            }
            // Where the peer has nothing at all, entries are read in passing and not looked up one by one.
            if step.fresh && list.shorts.is_empty() && list.partial.is_empty() {
                replies.extend(Reply::parts(table.id, step.range, &cells));
            } else {
                replies.extend(keys.chunks(ANSWER_MAX).map(|keys| Reply::Keys(table.id, keys.to_vec())));
            }
            if !cells.is_empty() {
                judged.push((list.table, cells));
            }
        }
        let clock = self.told_clock(now);
        let Some((session, out)) = self.session_of(from) else { return };
        // Who only reads tells nobody anything.
        //= SYNC-READER-01
        if !says_nothing {
            session.replies.extend(replies);
        }
        let wanted = lister.frames().next().unwrap_or_default();
        session.send(from, clock, now, out, |head| Frame::Want(head, step, wanted, judged));
    }

    /// What a peer lacks, or has otherwise, of what was listed.
    pub(super) fn wanted<S: Shards>(
        &mut self,
        from: EngineSlot,
        step: Step,
        lists: &[Listing<'_>],
        judged: &[(u64, Vec<u16>)],
        shards: &S,
    ) {
        let says_nothing = self.says_nothing(from);
        let Some(session) = self.session(from) else { return };
        let Some(round) = session.round.as_mut().filter(|round| round.number == step.round) else { return };
        let Some(under_way) = round.under_way.get(&step.range) else { return };
        // Of what it names only what there is counts.
        let judged = judged.iter().filter(|(table, _)| shared(shards, *table).is_some());
        let cells = judged.flat_map(|(table, cells)| cells.iter().map(|cell| (*table, *cell)));
        let mut differ: BTreeSet<(u64, u16)> = cells.filter(|(_, cell)| usize::from(*cell) < CELLS).collect();
        for list in lists {
            let Some(table) = shared(shards, list.table) else { continue };
            let mut keys = Vec::new();
            for (cell, shorts) in list.by_cell() {
                // Their order is that of tables in the frames that were answered, and of cells in a table.
                let start = under_way.rows.iter().position(|(table, _)| *table == list.table).unwrap_or(0);
                let rows = under_way.rows.get(start..).unwrap_or_default();
                let start = rows.partition_point(|(t, row)| *t == list.table && row.cell() < cell);
                let rows = rows.get(start..).unwrap_or_default();
                let rows = rows.iter().take_while(|(t, row)| *t == list.table && row.cell() == cell);
                for (_, row) in rows.filter(|(_, row)| row.is_one_of(shorts)) {
                    if step.fresh || row.settled {
                        keys.push(row.key);
                        differ.insert((list.table, cell));
                    }
                }
            }
            if !says_nothing {
                let keys = keys.chunks(ANSWER_MAX).map(|keys| Reply::Keys(table.id, keys.to_vec()));
                session.replies.extend(keys);
            }
        }
        let Some(round) = &mut session.round else { return };
        for (table, cell) in differ {
            round.found(table, step.range, cell);
        }
        self.answered(from, step.range);
    }
}
