//! The side of one that only reads: it gives what it has of tables that no member has.

use std::collections::{BTreeMap, BTreeSet};

use forebay_core::table::EngineSlot;
use forebay_objsync::limits::BATCH_BYTES;
use forebay_objsync::wire::{Frame, Head, Packer};
use forebay_objsync::{Shards, statement};

use super::Driver;
use crate::limits::{GIVE_AHEAD, GIVES_MAX};
use crate::link::Link;
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
        // Each is looked at once.
        for _ in 0..self.giving.len() {
            let Some(giving) = self.giving.pop_front() else { break };
            let Some(peer) = self.peers.get_mut(&giving.to.get()).filter(|peer| peer.is_up) else { continue };
            // Who is gone asks again when it is back.
            let Some(queued) = peer.link.as_ref().map(Link::queued) else { continue };
            if queued > GIVE_AHEAD || giving.next == 0 && !peer.gives.has_room(GIVES_MAX) {
                self.giving.push_back(giving);
                continue;
            }
            self.give_one(giving);
            return !self.giving.is_empty();
        }
        false
    }

    /// Gives the entries of the partition that is next.
    fn give_one(&mut self, mut giving: Giving) {
        let Some(link) = self.peers.get(&giving.to.get()).and_then(|peer| peer.link.as_ref()) else { return };
        let now = self.host.now();
        let shards = self.host.tables();
        if giving.next >= shards.geometry().partitions() {
            link.send(given::done(&giving.tables));
            return;
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
        // One after another gets a part, so that none waits for what another one asks for.
        self.giving.push_back(giving);
    }

    /// Rests for as long as other work goes first, and does only as it is told; `true`: it is to end.
    pub(super) async fn give_way(&mut self) -> bool {
        loop {
            let pause = self.host.pause();
            if pause.is_zero() {
                return false;
            }
            tokio::select! {
                biased;
                command = self.commands.recv() => if self.obey(command) {
                    return true;
                },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}
