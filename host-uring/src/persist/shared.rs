//! The tables as object sync reaches them.

use std::sync::Arc;

use forebay_core::table::{Catalog, Geometry, GroupMillis, KeyBytes, Partition, PartitionIndex, TableId};
use forebay_core::units::Now;
use forebay_objsync::{Rule, Shards, Shared};

use super::Store;
use super::feed::{Waker, wall};

/// Buckets whose entries are read while a partition's lock is held: well below 0.1 ms.
const SLICE_BUCKETS: u32 = 256;

/// The partitions of a configuration's tables, for object sync.
pub struct SharedTables {
    store: Arc<Store>,
    geometry: Geometry,
    shared: Vec<Shared>,
}

impl SharedTables {
    /// Those of a configuration; `None`: it shares none.
    pub fn of(store: Arc<Store>) -> Option<Self> {
        let geometry = store.geometry().filter(|_| store.is_shared)?;
        let shared =
            store.tables.iter().map(|kept| Shared { name: kept.wanted.name, id: kept.id, rule: Rule::First });
        Some(Self { shared: shared.collect(), geometry, store })
    }

    /// The store.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }
}

impl Shards for SharedTables {
    fn catalog(&self) -> &Catalog {
        &self.store.catalog
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn tables(&self) -> &[Shared] {
        &self.shared
    }

    fn with<R>(&mut self, partition: PartitionIndex, work: impl FnOnce(&mut Partition, &Catalog) -> R) -> R {
        self.store.with_partition_mut(partition as usize, work)
    }
}

impl Store {
    /// Whether the tables are shared with other engines.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// From now on changes are kept for [`Store::take_changes`], and `waker` is called at the first one after
    /// [`Store::wake_at_change`].
    pub fn share_changes(&self, waker: Waker) {
        self.feed.start(waker);
    }

    /// Nobody wants to know of changes any more.
    pub fn share_no_changes(&self) {
        self.feed.stop();
    }

    /// The next change wakes; `false`: there is one already.
    pub fn wake_at_change(&self) -> bool {
        self.feed.sleep()
    }

    /// The time of the group is this, now.
    pub fn set_group_time(&self, time: GroupMillis, now: Now) {
        self.feed.set_group_time(time, now);
    }

    /// The wall clock, as group time.
    pub fn wall_time() -> GroupMillis {
        wall()
    }

    /// What workers have changed since the last call: table, key, and who waits until a peer knows. A partition in which
    /// more has changed than it keeps is told whole.
    //= SYNC-FEED-01
    pub fn take_changes(&self, now: Now, taken: &mut Vec<(TableId, KeyBytes, Option<u64>)>) {
        let mut keys = Vec::new();
        for at in self.feed.take() {
            let all = self.with_changed(at, |changed| {
                keys.append(&mut changed.keys);
                std::mem::take(&mut changed.all)
            });
            for (key, ticket) in keys.drain(..) {
                // One that has gone meanwhile was not removed: a removal leaves something.
                let view =
                    self.partition(&key).and_then(|partition| partition.entry(&self.catalog, &key, now));
                if let Some(view) = view {
                    taken.push((view.table, view.key, ticket));
                }
            }
            if all == Some(true) {
                self.whole_partition(at, now, taken);
            }
        }
    }

    fn whole_partition(&self, at: usize, now: Now, taken: &mut Vec<(TableId, KeyBytes, Option<u64>)>) {
        let mut next = 0;
        while next < self.buckets() {
            let end = next.saturating_add(SLICE_BUCKETS);
            self.with_partition(at, |partition, catalog| {
                let entries = partition.entries(catalog, next..end, now);
                taken.extend(entries.map(|view| (view.table, view.key, None)));
            });
            next = end;
        }
    }
}
