//! The tables as object sync reaches them.

use std::sync::Arc;

use forebay_core::hash;
use forebay_core::table::{
    Catalog, EngineSlot, EntryView, Geometry, GroupMillis, Hold, KeyBytes, Partition, PartitionIndex, Record,
    ServerSlot, TableId,
};
use forebay_core::units::Now;
use forebay_objsync::{Entry, Rule, Shards, Shared};
use forebay_objsync_tokio::{Catalogue, Table};

use super::Store;
use super::desk::Desk;
use super::feed::{Waker, wall};
use super::store::Kept;
use super::wanted::Wanted;
use crate::config::{PoolIndex, Server, ServiceIndex};

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

/// A table, as people know it.
#[derive(Clone, Copy, Debug)]
pub struct SharedTable {
    /// What the group calls it.
    pub name: u64,
    /// Its number in this engine.
    pub id: TableId,
    /// The kind of its keys.
    pub kind: &'static str,
    /// The service.
    pub service: ServiceIndex,
    /// The pool.
    pub pool: PoolIndex,
}

impl Store {
    /// The tables.
    pub fn shared_tables(&self) -> Vec<SharedTable> {
        let table = |kept: &Kept| {
            let Wanted { name, kind, .. } = kept.wanted;
            SharedTable { name, id: kept.id, kind, service: kept.service, pool: kept.pool }
        };
        self.tables.iter().map(table).collect()
    }

    /// What is kept in which tables, as members have to agree on it.
    pub fn kept(&self) -> Vec<Table> {
        // Two engines may resolve a name at two moments.
        let named = |server: &Server| match &server.name {
            Some(name) => hash::fixed64(name.as_bytes()),
            None => server.id.0,
        };
        let table = |kept: &Kept| {
            let mut servers: Vec<u64> = self.tree().pool(kept.pool).servers.iter().map(named).collect();
            servers.sort_unstable();
            servers.dedup();
            Table {
                name: kept.wanted.name,
                settings: kept.wanted.settings(),
                servers: hash::fixed64(&servers.into_iter().flat_map(u64::to_le_bytes).collect::<Vec<u8>>()),
            }
        };
        self.tables.iter().map(table).collect()
    }

    /// By which tables and servers entries are kept, for those that only read.
    //= SYNC-MIRROR-02
    pub fn catalogue(&self) -> Catalogue {
        let tables = self.tables.iter().map(|kept| (kept.wanted.name, kept.wanted.seconds()));
        let mut servers: Vec<u64> = self.tree().servers().map(|(_, server)| server.id.0).collect();
        servers.sort_unstable();
        servers.dedup();
        Catalogue { tables: tables.collect(), servers }
    }

    /// What people call a table of the group, if it is one of this configuration.
    pub fn table_in_words(&self, name: u64) -> Option<String> {
        let kept = self.tables.iter().find(|kept| kept.wanted.name == name)?;
        let (service, pool) = (self.tree().service(kept.service), self.tree().pool(kept.pool));
        Some(format!("pool {} of service {}", pool.name, service.name))
    }

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

    /// There are no other engines any more: nothing is held for them, and what they had open counts as closed.
    //= SYNC-PANIC-01
    pub fn stand_alone(&self, now: impl Fn() -> Now) {
        self.feed.stop();
        for at in 0..self.partitions() as usize {
            self.with_partition_mut(at, |partition, _| partition.hold(Hold::default()));
            let mut next = 0;
            while next < self.buckets() {
                let end = next.saturating_add(SLICE_BUCKETS);
                self.with_partition_mut(at, |partition, catalog| {
                    let own = 1 << self.me.get() | 1 << self.before.get();
                    let others = |view: &EntryView| view.record.open & !own;
                    let now = now();
                    let open: Vec<EntryView> = partition.entries(catalog, next..end, now).collect();
                    for view in open.into_iter().filter(|view| others(view) != 0) {
                        let key = catalog.key(view.table, view.key);
                        let slots =
                            (0..64).filter(|n| others(&view) & 1 << n != 0).filter_map(EngineSlot::new);
                        slots.for_each(|slot| {
                            partition.open_elsewhere(catalog, &key, slot, Some(now), now);
                        });
                    }
                });
                next = end;
            }
        }
    }

    /// The next change wakes; `false`: there is one already.
    pub fn wake_at_change(&self) -> bool {
        self.feed.sleep()
    }

    /// The next change that somebody waits for wakes; `false`: there is one already.
    pub fn gather_changes(&self) -> bool {
        self.feed.gather()
    }

    /// So many other engines are connected.
    pub fn set_peers(&self, peers: usize) {
        self.feed.set_peers(peers);
    }

    /// How many other engines are connected.
    #[inline]
    pub fn peers(&self) -> usize {
        self.feed.peers()
    }

    /// What object sync and the worker whose thread this is leave for one another.
    pub fn desk(&self) -> &Desk {
        self.feed.desk()
    }

    /// Another engine has the change of that ticket: the worker that waits is told.
    pub fn acknowledged(&self, ticket: u64) {
        self.feed.acknowledged(ticket);
    }

    /// The time of the group is this, now.
    pub fn set_group_time(&self, time: GroupMillis, now: Now) {
        self.feed.set_group_time(time, now);
    }

    /// The time of the group; where nobody knows it, the wall clock.
    pub fn group_time(&self, now: Now) -> GroupMillis {
        self.feed.group_time(now)
    }

    /// Gives every entry, with the group's name of its table.
    ///
    /// # Errors
    /// What `each` says ends it.
    pub fn export<E>(
        &self,
        now: impl Fn() -> Now,
        mut each: impl FnMut(u64, Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut views: Vec<EntryView> = Vec::new();
        for at in 0..self.partitions() as usize {
            let mut next = 0;
            while next < self.buckets() {
                let end = next.saturating_add(SLICE_BUCKETS);
                self.with_partition(at, |partition, catalog| {
                    views.extend(partition.entries(catalog, next..end, now()));
                });
                next = end;
                for view in views.drain(..) {
                    let Some(kept) = self.tables.iter().find(|kept| kept.id == view.table) else { continue };
                    let Record { server, class, version, tombstone, lasting, open, age_ms } = view.record;
                    let Some(server) = self.catalog.name_of(server) else { continue };
                    let server = if tombstone { 0 } else { server };
                    each(
                        kept.wanted.name,
                        Entry { key: view.key, server, class, version, tombstone, lasting, open, age_ms },
                    )?;
                }
            }
        }
        Ok(())
    }

    /// Takes an entry of a time before: nobody has it open, and it is so much older. `false`: its table or server is gone,
    /// it has ended, or there is no room.
    pub fn import(&self, table: u64, entry: &Entry, away_ms: u64, now: Now) -> bool {
        let Some(kept) = self.tables.iter().find(|kept| kept.wanted.name == table) else { return false };
        let server = if entry.tombstone { Some(ServerSlot(0)) } else { self.catalog.slot_of(entry.server) };
        let Some(server) = server else { return false };
        let key = self.catalog.key(kept.id, entry.key);
        let Entry { class, version, tombstone, lasting, .. } = *entry;
        let age_ms = entry.age_ms.saturating_add(away_ms);
        let record = Record { server, class, version, tombstone, lasting, open: 0, age_ms };
        let Some(mut partition) = self.partition(&key) else { return false };
        partition.restore(&self.catalog, &key, &record, now).is_ok()
            && partition.entry(&self.catalog, &key, now).is_some()
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use forebay_core::persist::ClientKey;
    use forebay_core::table::{EngineSlot, Key};

    use super::*;
    use crate::config::{PoolIndex, ServiceIndex, Tree};
    use crate::persist::Place;
    use crate::rt::clock;

    const TEXT: &str = "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:80\"]\npool = \"web\"\n\
                        [[pool]]\nname = \"web\"\npersistence = \"ip\"\nserver = [{ address = \"127.0.0.1:81\" }]\n\
                        [[persistence]]\nname = \"ip\"\ntype = \"client_ip\"\n";

    struct Bench {
        store: Store,
        server: forebay_core::id::ServerId,
        woken: Arc<AtomicU32>,
    }

    impl Bench {
        fn new() -> Self {
            let tree = Arc::new(Tree::build(forebay_snapshot::check(TEXT).expect("it is valid")));
            let [me, before] = [3, 63].map(|n| EngineSlot::new(n).expect("below 64"));
            let place = Place { me, is_shared: true, before };
            let store = Store::build_as(&tree, 1 << 20, [7; 16], place, clock::now()).expect("a table");
            let woken: Arc<AtomicU32> = Arc::default();
            let count = Arc::clone(&woken);
            store.share_changes(Arc::new(move || {
                count.fetch_add(1, Ordering::Relaxed);
            }));
            Self { store, server: tree.pools[0].servers[0].id, woken }
        }

        fn key(&self, n: u64) -> Key {
            let table = self.store.table(ServiceIndex(0), PoolIndex(0)).expect("the pool has one");
            let mut bytes = [0; 16];
            bytes[8..].copy_from_slice(&n.to_be_bytes());
            self.store.key(table, self.store.table_key(ClientKey::Plain(bytes)))
        }

        fn taken(&self, now: Now) -> Vec<u64> {
            let mut taken = Vec::new();
            self.store.take_changes(now, &mut taken);
            let number = |(_, KeyBytes(key), _): &(TableId, KeyBytes, Option<u64>)| {
                key[8..].iter().fold(0, |n, byte| n << 8 | u64::from(*byte))
            };
            let mut numbers: Vec<u64> = taken.iter().map(number).collect();
            numbers.sort_unstable();
            numbers.dedup();
            numbers
        }
    }

    //= test SYNC-FEED-01
    #[test]
    fn what_changes_is_told_once_and_who_sleeps_is_woken_once() {
        let bench = Bench::new();
        let (now, store) = (clock::now(), &bench.store);
        assert!(store.wake_at_change(), "nothing has changed");
        for n in 0..100 {
            store.put(&bench.key(n), bench.server, false, now);
        }
        assert_eq!(bench.woken.load(Ordering::Relaxed), 1);
        assert!(!store.wake_at_change(), "there is something to be taken");
        assert_eq!(bench.taken(now), (0..100).collect::<Vec<u64>>());
        assert!(bench.taken(now).is_empty(), "once");
        assert!(store.open(&bench.key(5), now) && store.open(&bench.key(5), now));
        assert_eq!(bench.taken(now), [5], "the first connection");
        store.close(&bench.key(5), now);
        assert!(bench.taken(now).is_empty(), "another one is open");
        store.close(&bench.key(5), now);
        store.remove(&bench.key(6), now);
        assert_eq!(bench.taken(now), [5, 6], "the end of the last one, and a removal");
    }

    //= test SYNC-FEED-01
    #[test]
    fn more_changes_than_there_is_room_for_are_all_told() {
        let bench = Bench::new();
        let (now, store) = (clock::now(), &bench.store);
        let clients = u64::from(store.partitions()) * 200;
        let kept: Vec<u64> =
            (0..clients).filter(|n| store.put(&bench.key(*n), bench.server, false, now).is_some()).collect();
        let taken = bench.taken(now);
        let missing = kept.iter().filter(|n| store.get(&bench.key(**n), now).is_some() && !taken.contains(n));
        assert_eq!(missing.count(), 0, "every entry that is there is told");
        assert!(taken.len() > 128 * store.partitions() as usize / 2, "and there were many");
    }

    //= test SYNC-AGE-02
    #[test]
    fn a_client_that_is_always_there_is_told_of_once_in_a_span() {
        let bench = Bench::new();
        let begin = clock::now();
        bench.store.put(&bench.key(1), bench.server, false, begin);
        bench.taken(begin);
        let second = |n: u64| Now(begin.0 + n * 500_000);
        let told: Vec<u64> = (1..=160)
            .filter(|n| {
                bench.store.touch(&bench.key(1), second(*n));
                !bench.taken(second(*n)).is_empty()
            })
            .collect();
        assert_eq!(told.len(), 10, "80 s are ten spans: {told:?}");
        assert!(told.windows(2).all(|pair| pair[1] - pair[0] == 16), "evenly: {told:?}");
        // Who comes seldom is told of each time.
        for n in 1..5 {
            let now = second(160 + n * 20);
            bench.store.touch(&bench.key(1), now);
            assert_eq!(bench.taken(now), [1]);
        }
    }
}
