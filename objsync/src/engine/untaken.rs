//! Entries that a member cannot take: who waits for it is not told that it has them, and those whose servers it does not
//! know are not sent again and again.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use forebay_core::table::{EngineSlot, KeyBytes, TableId};
use forebay_core::units::Now;

use super::Engine;
use super::live::{shared, statement};
use super::peer::{Dirty, Session};
use crate::limits::{ANSWER_MAX, FOREIGN_MAX};
use crate::merge::Entry;
use crate::shards::Shards;
use crate::wire::Frame;

impl Engine {
    /// Tells a peer which of its entries are not taken, before what told of them is acknowledged.
    //= SYNC-UNTAKEN-01
    pub(super) fn tell_untaken(
        &mut self,
        to: EngineSlot,
        table: u64,
        unknown: bool,
        keys: Vec<KeyBytes>,
        now: Now,
    ) {
        let clock = self.told_clock(now);
        let Some((session, out)) = self.session_of(to) else { return };
        for keys in keys.chunks(ANSWER_MAX) {
            session.say(to, clock, now, out, |head| Frame::Untaken(head, table, unknown, keys.to_vec()));
        }
    }

    /// A peer has not taken these.
    //= SYNC-UNTAKEN-01
    pub(super) fn untaken<S: Shards>(
        &mut self,
        by: EngineSlot,
        table: u64,
        unknown: bool,
        keys: Vec<KeyBytes>,
        shards: &mut S,
        now: Now,
    ) {
        let Some(table) = shared(shards, table) else { return };
        let geometry = shards.geometry();
        let keys: BTreeSet<Dirty> = keys.into_iter().map(|key| (table.id, key)).collect();
        let Some(session) = self.session(by) else { return };
        session.waiting.retain(|(_, key, _)| !keys.contains(key));
        if !unknown || table.rule.is_value() {
            return;
        }
        for dirty in keys {
            let key = shards.catalog().key(table.id, dirty.1);
            let entry = shards.with(geometry.route(&key), |partition, catalog| {
                statement(catalog, &partition.entry(catalog, &key, now)?)
            });
            if let Some(entry) = entry.filter(|entry| !entry.tombstone)
                && session.foreign.len() < FOREIGN_MAX
            {
                session.foreign.insert(dirty, entry.server);
            }
        }
    }

    /// A peer has another configuration than before: what it did not know it may know now.
    pub fn offer_again(&mut self, to: EngineSlot) {
        if let Some(session) = self.session(to) {
            session.foreign.clear();
        }
    }
}

impl Session {
    /// The peer does not know the server of this entry.
    //= SYNC-UNTAKEN-01
    pub(super) fn is_foreign(&self, table: TableId, entry: &Entry) -> bool {
        !entry.tombstone && self.foreign.get(&(table, entry.key)) == Some(&entry.server)
    }
}
