//! Parts of the own tables that cannot be trusted: what their entries add up to is not what was written into them.

use alloc::vec::Vec;

use forebay_core::table::TableId;
use forebay_core::units::{Micros, Now};

use super::sums::{CellSet, first_cell};
use super::{Engine, Event, Output};
use crate::limits::{DISTRUST_MS, DISTRUSTED_MAX, SUSPECTS_MAX};
use crate::shards::{Shards, Shared};

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
                    if self.distrusted.len() < DISTRUSTED_MAX
                        && !self.distrusted.contains_key(&(table.id, part))
                    {
                        self.distrusted.insert((table.id, part), now);
                        let bucket = (part << (16 - geometry.digest_bits()) >> 4) as u16;
                        self.out.push(Output::Event(Event::Distrusted { table: table.name, bucket }));
                    }
                }
            }
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
        let peers = &self.peers;
        let over = |part: u32, since: Now| {
            let range = (part << (16 - geometry.digest_bits()) >> 10) as usize;
            let proven = peers.values().filter_map(|peer| *peer.session.as_ref()?.proven.get(range)?);
            now.since(since) >= Micros::from_millis(DISTRUST_MS) || proven.into_iter().any(|at| at > since)
        };
        let again: Vec<_> = self
            .distrusted
            .iter()
            .filter(|((_, part), since)| over(*part, **since))
            .map(|(at, _)| *at)
            .collect();
        for (table, part) in again {
            self.distrusted.remove(&(table, part));
            let partition = geometry.route_hash(u64::from(part) << (64 - geometry.digest_bits()));
            // One that is still distrusted keeps its digest only until then; it is loaded anew all the same.
            shards.with(partition, |partition, catalog| partition.trust(catalog, table));
        }
    }

    /// When the first of them is trusted whatever peers say.
    pub(super) fn trust_at(&self) -> Now {
        let first = self.distrusted.values().min();
        first.map_or(Now::NEVER, |since| since.after(Micros::from_millis(DISTRUST_MS)))
    }
}
