//! The tables, as the engine reaches them: the host owns the locks.

use alloc::vec::Vec;
use core::ops::RangeInclusive;

use forebay_core::table::{Catalog, EntryView, Geometry, Partition, PartitionIndex, TableId};
use forebay_core::units::Now;

use crate::merge::Rule;

/// A table that engines share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    /// What the group calls it.
    pub name: u64,
    /// Its number in this engine.
    pub id: TableId,
    /// Which of two statements holds.
    pub rule: Rule,
}

/// The partitions of one engine, and what they have in common.
pub trait Shards {
    /// The catalog that all partitions have adopted.
    fn catalog(&self) -> &Catalog;

    /// How the table is cut.
    fn geometry(&self) -> Geometry;

    /// The tables that engines share.
    fn tables(&self) -> &[Shared];

    /// Lets `work` have one partition, under its lock; short.
    fn with<R>(&mut self, partition: PartitionIndex, work: impl FnOnce(&mut Partition, &Catalog) -> R) -> R;
}

/// An entry with the hash of its key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hashed {
    pub hash: u64,
    pub view: EntryView,
}

/// The entries of a part of the hash space that `wanted` takes, in the order of table and hash.
pub(crate) fn gather<S: Shards>(
    shards: &mut S,
    part: RangeInclusive<u64>,
    now: Now,
    wanted: impl Fn(TableId) -> bool,
) -> Vec<Hashed> {
    let geometry = shards.geometry();
    let mut found = Vec::new();
    for partition in geometry.route_hash(*part.start())..=geometry.route_hash(*part.end()) {
        shards.with(partition, |partition, catalog| {
            for view in partition.entries(catalog, 0..u32::MAX, now).filter(|view| wanted(view.table)) {
                let hash = catalog.key(view.table, view.key).hash();
                if part.contains(&hash) {
                    found.push(Hashed { hash, view });
                }
            }
        });
    }
    found.sort_unstable_by_key(|e| (e.view.table, e.hash, e.view.key));
    found
}
