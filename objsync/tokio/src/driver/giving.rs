//! The side of one that only reads: it gives what it has of tables that no member has.

use std::collections::{BTreeMap, BTreeSet};

use forebay_core::table::EngineSlot;
use forebay_objsync::limits::BATCH_BYTES;
use forebay_objsync::wire::{Frame, Head, Packer};
use forebay_objsync::{Shards, statement};

use super::Driver;
use crate::limits::GIVE_AHEAD;
use crate::{Host, given};

/// A member that is given entries.
pub(super) struct Giving {
    to: EngineSlot,
    tables: Vec<u64>,
    /// The partition that is read next.
    next: u32,
}

impl<H: Host> Driver<H> {
    /// A member has tables that no other one has.
    pub(super) fn is_asked(&mut self, by: EngineSlot, tables: Vec<u64>) {
        self.giving.retain(|giving| giving.to != by);
        self.giving.push_back(Giving { to: by, tables, next: 0 });
    }

    /// Gives the entries of one partition; `true`: there is more to give.
    //= SYNC-MIRROR-03
    pub(super) fn give(&mut self) -> bool {
        let Some(mut giving) = self.giving.pop_front() else { return false };
        let peer = self.peers.get(&giving.to.get()).filter(|peer| peer.is_up);
        // Who is gone asks again when it is back.
        let Some(link) = peer.and_then(|peer| peer.link.as_ref()) else { return !self.giving.is_empty() };
        if link.queued() > GIVE_AHEAD {
            self.giving.push_back(giving);
            return self.giving.len() > 1;
        }
        let now = self.host.now();
        let shards = self.host.tables();
        if giving.next >= shards.geometry().partitions() {
            link.send(given::done(&giving.tables));
            return !self.giving.is_empty();
        }
        let wanted: BTreeSet<u64> = giving.tables.iter().copied().collect();
        let names: BTreeMap<_, u64> = shards
            .tables()
            .iter()
            .filter(|table| wanted.contains(&table.name))
            .map(|table| (table.id, table.name))
            .collect();
        let mut packers: BTreeMap<u64, Packer> = BTreeMap::new();
        let mut frames = Vec::new();
        shards.with(giving.next, |partition, catalog| {
            for view in partition.entries(catalog, 0..u32::MAX, now) {
                let Some(name) = names.get(&view.table) else { continue };
                let Some(entry) = statement(catalog, &view) else { continue };
                let packer = packers.entry(*name).or_insert_with(|| Packer::new(*name));
                packer.push(entry);
                if packer.bytes() >= BATCH_BYTES {
                    frames.push(Frame::Changes(Head::default(), vec![packer.pack()]).encode());
                    packers.remove(name);
                }
            }
        });
        frames.extend(
            packers.values().map(|packer| Frame::Changes(Head::default(), vec![packer.pack()]).encode()),
        );
        for frame in frames {
            link.send(given::entries(&frame));
        }
        giving.next += 1;
        self.giving.push_front(giving);
        true
    }
}
