//! A peer that comes back: what was written here meanwhile is told at once, before tables are compared.
//!
//! A comparison costs by what is in the cells that differ, and when a tenth of a table differs, at random, that is nearly
//! all of them. But an entry says who wrote it and when; so who kept running, and was in sync, is told this engine's own
//! entries from then on, in one pass over the table. Every engine tells its own. What a pass cannot know of (open
//! connections, ages, what others wrote) the comparison finds that follows.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use forebay_core::table::{Catalog, EngineSlot, GroupMillis, Partition, TableId};
use forebay_core::units::{Micros, Now};

use super::Engine;
use super::answer::end_of_partition;
use super::live::statement;
use super::peer::{Peer, Reply, Session};
use super::sums::read_parts;
use crate::limits::{RESUME_BEFORE_MS, RESUME_MS};
use crate::merge::Entry;
use crate::shards::Shards;
use crate::wire::Frame;

impl Session {
    /// What was written while the peer was away is being told.
    pub(super) fn tells_written(&self) -> bool {
        matches!(self.replies.front(), Some(Reply::Written(..)))
    }
}

impl Engine {
    /// The incarnation that was there before is back.
    //= SYNC-RESUME-01
    pub(super) fn resume(&mut self, with: EngineSlot, now: Now) {
        let leads = self.settings.me < with;
        let time = self.clock.read(now);
        let Some(peer) = self.peers.get_mut(&with.get()) else { return };
        let Some(until) = peer.has_all_until else { return };
        let Some(session) = peer.greeted() else { return };
        let away_ms = now.since(until).0 / 1_000;
        let from = GroupMillis(time.0.saturating_sub(away_ms).saturating_sub(RESUME_BEFORE_MS));
        session.replies.push_rest(Reply::Written(from.stamp(), 0..=u64::MAX));
        if leads && let Some(round) = &mut session.round {
            round.due = now.after(Micros::from_millis(RESUME_MS));
        }
    }

    /// A peer tells what it wrote: it is not compared with before it is through, which it says ([`Frame::Again`]).
    pub(super) fn hears_what_was_written(&mut self, from: EngineSlot, now: Now) {
        let Some(round) = self.session(from).and_then(|session| session.round.as_mut()) else { return };
        if round.fresh && round.next == 0 && round.due > now {
            round.due = now.after(Micros::from_millis(RESUME_MS));
        }
    }

    /// Tells what this engine wrote from a stamp on, of one partition; the rest follows when there is room.
    pub(super) fn tell_written<S: Shards>(
        &mut self,
        to: EngineSlot,
        stamp: u64,
        part: RangeInclusive<u64>,
        shards: &mut S,
        now: Now,
    ) {
        let me = self.settings.me;
        let end = end_of_partition(&shards.geometry(), *part.start()).min(*part.end());
        let mut written: Vec<(TableId, Entry)> = Vec::new();
        // It is a whole partition.
        let read = |partition: &Partition, catalog: &Catalog, buckets, found: &mut Vec<_>| {
            let views = partition.written(catalog, buckets, me, stamp, now);
            found.extend(views.filter_map(|view| Some((view.table, statement(catalog, &view)?))));
        };
        read_parts(shards, &(*part.start()..=end), read, |found| written.append(found));
        self.bulk = true;
        let mut tables: BTreeMap<TableId, Vec<Entry>> = BTreeMap::new();
        for (table, entry) in written {
            tables.entry(table).or_default().push(entry);
        }
        for table in shards.tables().to_vec() {
            if let Some(entries) = tables.remove(&table.id) {
                self.repair(to, &table, entries, now);
            }
        }
        let clock = self.told_clock(now);
        let leads = me < to;
        let Some(session) = self.peers.get_mut(&to.get()).and_then(Peer::greeted) else { return };
        if end < *part.end() {
            session.replies.push_rest(Reply::Written(stamp, end + 1..=*part.end()));
        } else if !leads {
            session.send(to, clock, now, &mut self.out, Frame::Again);
        }
    }
}
