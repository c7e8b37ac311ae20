//! What is answered in a comparison, how it ends, and what it has found.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use forebay_core::table::{EngineSlot, Geometry, KeyBytes, TableId};
use forebay_core::units::Now;

use super::listing::partials;
use super::live::{in_frames, statement};
use super::peer::{Peer, Reply, Round, Session};
use super::sums::walk;
use super::{Engine, Output, TableVerdict, Verdict};
use crate::limits::{BUCKETS_TOLD, RANGES};
use crate::merge::Entry;
use crate::shards::{Shards, Shared};
use crate::wire::{Found, Frame};

/// The last hash of the partition that this one belongs to: one partition is what a step may cost.
pub(super) fn end_of_partition(geometry: &Geometry, hash: u64) -> u64 {
    match geometry.partitions().trailing_zeros() {
        0 => u64::MAX,
        bits => hash | (u64::MAX >> bits),
    }
}

impl Engine {
    pub(super) fn repair(&mut self, to: EngineSlot, table: &Shared, mut entries: Vec<Entry>, now: Now) {
        let clock = self.told_clock(now);
        // Who only reads and gives what it has knows of uses by others alone: what it takes for open is in use until it is not.
        //= SYNC-GIVE-01
        if self.only_reads() {
            entries.iter_mut().filter(|entry| entry.open != 0).for_each(|entry| entry.age_ms = 0);
        }
        if let Some(session) = self.session(to) {
            entries.retain(|entry| !session.is_foreign(table.id, entry));
        }
        self.figures.repaired += entries.len() as u64;
        let Some((session, out)) = self.session_of(to) else { return };
        session.sum.repaired += entries.len() as u64;
        in_frames(table.name, entries, |packer| {
            session.send(to, clock, now, out, |head| Frame::Repair(head, Vec::from([packer.pack()])));
        });
    }

    /// The entries of keys, as they are now.
    fn entries_of<S: Shards>(
        shards: &mut S,
        table: TableId,
        keys: impl IntoIterator<Item = KeyBytes>,
        now: Now,
    ) -> Vec<Entry> {
        let geometry = shards.geometry();
        let mut entries = Vec::new();
        for key in keys {
            let key = shards.catalog().key(table, key);
            entries.extend(shards.with(geometry.route(&key), |partition, catalog| {
                statement(catalog, &partition.entry(catalog, &key, now)?)
            }));
        }
        entries
    }

    /// Sends what a peer lacks much of, as far as there is room, and the last word when all is sent.
    pub(super) fn reply<S: Shards>(&mut self, to: EngineSlot, shards: &mut S, now: Now) {
        loop {
            let rests = self.rests(now);
            let Some(session) = self.session(to).filter(|s| s.has_room()) else { return };
            if rests && !session.replies.is_empty() {
                return;
            }
            let Some(reply) = session.replies.pop() else { break };
            let (id, entries) = match reply {
                Reply::Written(stamp, part) => {
                    self.tell_written(to, stamp, part, shards, now);
                    continue;
                }
                Reply::Keys(id, keys) if is_value(shards, id) => {
                    self.bulk = true;
                    if let Some(table) = shards.tables().iter().find(|t| t.id == id).copied() {
                        self.repair_values(to, &table, keys, shards, now);
                    }
                    continue;
                }
                Reply::Part(id, part) if is_value(shards, id) => {
                    let keys = self.keys_in(shards, id, part, self.value_time(to, now));
                    if let Some(session) = self.session(to).filter(|_| !keys.is_empty()) {
                        session.replies.push_rest(Reply::Keys(id, keys));
                    }
                    continue;
                }
                Reply::Keys(id, keys) => (id, Self::entries_of(shards, id, keys, now)),
                Reply::Entries(id, entries) => (id, entries),
                Reply::Part(id, part) => {
                    let end = end_of_partition(&shards.geometry(), *part.start());
                    if end < *part.end() {
                        session.replies.push_rest(Reply::Part(id, end + 1..=*part.end()));
                    }
                    let mut entries = Vec::new();
                    walk(
                        shards,
                        *part.start()..=end.min(*part.end()),
                        now,
                        &mut entries,
                        |catalog, _, view| {
                            if view.table == id { statement(catalog, view) } else { None }
                        },
                    );
                    (id, entries)
                }
            };
            self.bulk = true;
            let Some(table) = shards.tables().iter().find(|t| t.id == id).copied() else { continue };
            self.repair(to, &table, entries, now);
        }
        if self.session(to).is_none_or(|s| !s.theirs.as_ref().is_some_and(|theirs| theirs.ending)) {
            return;
        }
        let partial = partials(shards);
        let clock = self.told_clock(now);
        let versions = &self.versions;
        let Some(session) = self.peers.get_mut(&to.get()).and_then(Peer::greeted) else { return };
        let Some(theirs) = &mut session.theirs else { return };
        theirs.ending = false;
        let (number, fresh, began) = (theirs.number, theirs.fresh, theirs.began);
        let found = core::mem::take(&mut theirs.found);
        let ours: Vec<Found> = partial
            .iter()
            .map(|(table, n)| Found { table: *table, partial: *n, ..Found::default() })
            .collect();
        if fresh && !session.overflowed {
            session.in_sync(versions);
        }
        let verified = session.judged(number, fresh, Verdict::of(began, &ours, &found));
        session.send(to, clock, now, &mut self.out, |head| Frame::RoundDone(head, number, ours));
        if verified {
            self.out.push(Output::Verified(to));
        }
    }

    /// The peer that leads has heard all.
    pub(super) fn round_end(&mut self, from: EngineSlot, round: u32, found: Vec<Found>) {
        let Some(session) = self.session(from) else { return };
        let Some(theirs) = session.theirs.as_mut().filter(|theirs| theirs.number == round) else { return };
        theirs.ending = true;
        let began = theirs.began;
        let differing = found.iter().fold(0u32, |sum, f| sum.saturating_add(f.differing));
        theirs.found = found;
        if differing == 0 {
            (0..RANGES).for_each(|range| session.prove(range, began));
        }
    }

    /// The peer that was led has sent all.
    pub(super) fn round_done(&mut self, from: EngineSlot, number: u32, theirs: &[Found], now: Now) {
        let versions = &self.versions;
        let Some(session) = self.peers.get_mut(&from.get()).and_then(Peer::greeted) else { return };
        let Some(round) = session.round.as_ref().filter(|r| r.number == number && r.ended) else { return };
        let ours: Vec<Found> =
            round.found.iter().map(|(table, f)| Found { table: *table, ..f.clone() }).collect();
        let (fresh, began) = (round.fresh, round.began);
        if fresh && !session.overflowed {
            session.in_sync(versions);
        }
        let verdict = Verdict::of(began, &ours, theirs);
        if session.judged(number, fresh, verdict) {
            self.out.push(Output::Verified(from));
        }
        // After the first comparison at once another one, which proves it.
        session.begin(false, fresh, now);
    }
}

fn is_value<S: Shards>(shards: &S, id: TableId) -> bool {
    shards.tables().iter().any(|table| table.id == id && table.rule.is_value())
}

impl Verdict {
    /// What both sides found: differences stand with one of them.
    fn of(began: Now, ours: &[Found], theirs: &[Found]) -> Self {
        let mut tables: BTreeMap<u64, TableVerdict> = BTreeMap::new();
        for (found, here) in ours.iter().map(|f| (f, true)).chain(theirs.iter().map(|f| (f, false))) {
            let table = tables.entry(found.table).or_default();
            table.table = found.table;
            table.differing = table.differing.saturating_add(found.differing);
            *(if here { &mut table.partial_here } else { &mut table.partial_there }) = found.partial;
            let room = BUCKETS_TOLD.saturating_sub(table.buckets.len());
            table.buckets.extend(found.buckets.iter().take(room));
        }
        Self { began, tables: tables.into_values().collect() }
    }
}

impl Session {
    pub(super) fn begin(&mut self, fresh: bool, quick: bool, now: Now) {
        let number = self.round.as_ref().map_or(0, |round| round.number).wrapping_add(1);
        self.round = Some(Round {
            number,
            fresh,
            quick,
            next: 0,
            begun: None,
            under_way: BTreeMap::new(),
            found: BTreeMap::new(),
            ended: false,
            due: now,
            began: now,
        });
    }

    /// If all of a range has been answered, it is through.
    pub(super) fn range_done(&mut self, range: u8) {
        let Some(round) = &mut self.round else { return };
        if round.under_way.get(&range).is_none_or(|under_way| under_way.frames > 0) {
            return;
        }
        let Some(done) = round.under_way.remove(&range) else { return };
        if !done.judged {
            self.prove(range, done.began);
        }
    }

    /// A range was found equal in a comparison of that moment.
    pub(super) fn prove(&mut self, range: u8, at: Now) {
        if let Some(proven) = self.proven.get_mut(usize::from(range)) {
            *proven = (*proven).max(Some(at));
        }
    }

    /// A comparison is through. Returns whether it is one that was asked for.
    fn judged(&mut self, number: u32, fresh: bool, verdict: Verdict) -> bool {
        self.differing = verdict.differing();
        self.sum.rounds += 1;
        self.verdict = Some(verdict);
        let asked = !fresh && self.asked.is_some_and(|asked| asked <= number);
        if asked {
            self.asked = None;
        }
        asked
    }
}
