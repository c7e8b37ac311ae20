//! Parts of the own tables that cannot be trusted: what their entries add up to is not what was written into them.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use forebay_core::table::{DigestMismatch, Geometry, TableId};
use forebay_core::units::{Micros, Now};

use super::sums::{CellSet, first_cell};
use super::{Engine, Event, Output};
use crate::limits::{DISTRUST_MS, DISTRUSTED_MAX, SUSPECTS_MAX};
use crate::shards::{Shards, Shared};

/// A part of a table that is not what was written into it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt {
    /// It is known since then.
    since: Now,
    /// By how much its running digest was wrong when it had been loaded anew, which no write changes.
    loaded: Option<u128>,
}

/// By how much a running digest is wrong.
fn error_of(found: &DigestMismatch) -> u128 {
    found.recomputed.sum.wrapping_sub(found.running.sum)
}

impl Engine {
    /// Looks, where a peer has something else, whether it is this engine's memory that is wrong. Where very much differs
    /// memory is not the reason.
    //= SYNC-TRUST-01
    pub(super) fn suspect<S: Shards>(
        &mut self,
        shards: &mut S,
        range: u8,
        tables: &[Shared],
        cells: &CellSet,
        now: Now,
    ) {
        let geometry = shards.geometry();
        let differ =
            |place: u16| cells.of_table(place).map(|cell| (first_cell(range) + usize::from(cell)) as u64);
        let count: usize = (0..).zip(tables).map(|(place, _)| differ(place).count()).sum();
        if count > SUSPECTS_MAX {
            return;
        }
        for (place, table) in (0..).zip(tables) {
            let mut partitions: Vec<_> = differ(place).map(|cell| geometry.route_hash(cell << 48)).collect();
            partitions.dedup();
            for partition in partitions {
                let wrong =
                    shards.with(partition, |partition, catalog| partition.mismatches(catalog, table.id));
                for cell in wrong {
                    let part = geometry.part_of(partition, cell.cell);
                    self.distrust(table.id, table.name, part, &geometry, now);
                }
            }
        }
    }

    fn distrust(&mut self, table: TableId, name: u64, part: u32, geometry: &Geometry, now: Now) {
        if self.distrusted.len() < DISTRUSTED_MAX && !self.distrusted.contains_key(&(table, part)) {
            self.distrusted.insert((table, part), Doubt { since: now, loaded: None });
            let bucket = (part << (16 - geometry.digest_bits()) >> 4) as u16;
            self.out.push(Output::Event(Event::Distrusted { table: name, bucket }));
        }
    }

    /// Whether an entry with this hash may be wrong. What has just been written is not.
    pub(super) fn distrusts<S: Shards>(&self, shards: &S, table: TableId, hash: u64) -> bool {
        if self.distrusted.is_empty() {
            return false;
        }
        let part = (hash >> 48) as u32 >> (16 - shards.geometry().digest_bits());
        self.distrusted.contains_key(&(table, part)) && !self.recent.has(hash)
    }

    /// The same of a cell of a range, of all that is in it.
    pub(super) fn distrusts_cell<S: Shards>(&self, shards: &S, table: TableId, range: u8, cell: u16) -> bool {
        let part = (first_cell(range) + usize::from(cell)) as u32 >> (16 - shards.geometry().digest_bits());
        self.distrusted.contains_key(&(table, part))
    }

    /// What was loaded anew is trusted again: some peer had the same since, or there was time enough for it.
    pub(super) fn trust_again<S: Shards>(&mut self, shards: &mut S, now: Now) {
        let geometry = shards.geometry();
        // One that only reads has what it was told, and is no witness.
        let peers: Vec<_> = self.peers.values().filter(|peer| !self.reads(peer.slot)).collect();
        let over = |part: u32, since: Now| {
            let range = (part << (16 - geometry.digest_bits()) >> 10) as usize;
            let proven = peers.iter().filter_map(|peer| *peer.session.as_ref()?.proven.get(range)?);
            now.since(since) >= Micros::from_millis(DISTRUST_MS) || proven.into_iter().any(|at| at > since)
        };
        let over: Vec<(TableId, u32)> = (self.distrusted.iter())
            .filter(|((_, part), doubt)| doubt.loaded.is_none() && over(*part, doubt.since))
            .map(|(at, _)| *at)
            .collect();
        for (table, part) in over {
            let partition = geometry.route_hash(u64::from(part) << (64 - geometry.digest_bits()));
            let wrong = shards.with(partition, |partition, catalog| partition.mismatches(catalog, table));
            let wrong: BTreeMap<u32, u128> =
                wrong.iter().map(|cell| (geometry.part_of(partition, cell.cell), error_of(cell))).collect();
            if let Some(doubt) = self.distrusted.get_mut(&(table, part)) {
                doubt.loaded = Some(wrong.get(&part).copied().unwrap_or(0));
            }
            // Digests of a partition are put right together: only when all that is wrong in it has been loaded, and nothing
            // has failed since then.
            let name = shards.tables().iter().find(|shared| shared.id == table).map(|shared| shared.name);
            let mut waits = false;
            for (part, error) in &wrong {
                self.distrust(table, name.unwrap_or_default(), *part, &geometry, now);
                let doubt = self.distrusted.get_mut(&(table, *part));
                waits |= doubt.as_ref().is_none_or(|doubt| doubt.loaded != Some(*error));
                if let Some(doubt) = doubt.filter(|doubt| doubt.loaded.is_some_and(|loaded| loaded != *error))
                {
                    *doubt = Doubt { since: now, loaded: None };
                }
            }
            let is_here = |part: u32| {
                geometry.route_hash(u64::from(part) << (64 - geometry.digest_bits())) == partition
            };
            if !waits {
                self.distrusted.retain(|(id, part), _| *id != table || !is_here(*part));
                shards.with(partition, |partition, catalog| partition.trust(catalog, table));
            } else if self.distrusted.len() >= DISTRUSTED_MAX {
                // What there is no room to note is never loaded: this one is tried again.
                self.distrusted.insert((table, part), Doubt { since: now, loaded: None });
            }
        }
    }

    /// When the first of them is trusted whatever peers say.
    pub(super) fn trust_at(&self) -> Now {
        let first =
            self.distrusted.values().filter(|doubt| doubt.loaded.is_none()).map(|doubt| doubt.since).min();
        first.map_or(Now::NEVER, |since| since.after(Micros::from_millis(DISTRUST_MS)))
    }
}
