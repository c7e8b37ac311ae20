//! The tables, as the engine reaches them: the host owns the locks.

use forebay_core::table::{Catalog, Geometry, Partition, PartitionIndex, TableId};

use crate::merge::Rule;
use crate::values::Values;

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

    /// Lets `work` have the values that are no servers, under their lock; `None` if this host shares no such tables.
    fn with_values<R>(&mut self, work: impl FnOnce(&mut Values, &Catalog) -> R) -> Option<R> {
        let _ = work;
        None
    }

    /// Lets `work` have one partition, under its lock; short.
    fn with<R>(&mut self, partition: PartitionIndex, work: impl FnOnce(&mut Partition, &Catalog) -> R) -> R;
}
