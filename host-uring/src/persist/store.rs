//! The persistence table of the process, and the locks of its partitions.
//!
//! The whole of it is reserved at start from the memory setting and made resident by a thread of its own soon after, so
//! nothing grows on the data path. A lock is held for one operation on one of up to 4,096 partitions (a few dozen nanoseconds), which count what
//! they evict and refuse. What else two workers write: here the tickets, for pools with `round_robin_per_engine`, and
//! the hand of the sweep; and the counters of limited servers and of waiting requests (`config/shared.rs`).

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forebay_core::id::ServerId;
use forebay_core::persist::{ClientKey, TableKey};
use forebay_core::table::{
    Catalog, EngineSlot, Geometry, Key, KeyBytes, Pages, Partition, ServerSlot, TableId, TableMemory,
};
use forebay_core::units::Now;

use super::Sealer;
use super::feed::{Changed, Feed};
use super::journal::Journal;
use super::wanted::{Wanted, define, table_name, wanted};
use crate::config::{PoolIndex, ServiceIndex, Tree};

/// Buckets that one hold of a partition's lock sweeps: about 0.1 ms when nothing but expired entries is met.
const SWEEP_SLICE_BUCKETS: u32 = 1024;

/// Why the persistence table cannot be set up.
#[derive(Debug)]
pub struct StoreProblem(pub(super) String);

impl fmt::Display for StoreProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StoreProblem {}

/// A partition with its lock, on cache lines of its own.
#[repr(align(128))]
struct Locked(Mutex<Shelf>);

/// A partition, and what of it other engines have not been told.
pub(super) struct Shelf {
    partition: Partition,
    pub(super) changed: Changed,
}

impl Deref for Shelf {
    type Target = Partition;

    fn deref(&self) -> &Partition {
        &self.partition
    }
}

impl DerefMut for Shelf {
    fn deref_mut(&mut self) -> &mut Partition {
        &mut self.partition
    }
}

/// How the tables of a process are made that are not its own alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// Whose connections hold entries: this process's, as others know it.
    pub me: EngineSlot,
    /// Other engines have the same tables.
    pub is_shared: bool,
    /// Where tables are shared: a place that no member has, for processes before this one.
    pub before: EngineSlot,
}

/// Cookie keys and persistence table of the process; shared by all workers.
pub struct Store {
    tree: Arc<Tree>,
    sealer: Sealer,
    pub(super) catalog: Catalog,
    /// The partitions had others before.
    has_other_tables: bool,
    pub(super) geometry: Option<Geometry>,
    shelves: Arc<Shelves>,
    pub(super) tables: Vec<Kept>,
    /// Whose connections hold entries: this process's, as others know it.
    pub(super) me: EngineSlot,
    /// What further configurations need, should they be the first with a table.
    table_bytes: u64,
    secret: [u8; 16],
    pub(super) is_shared: bool,
    /// Stands for processes before this one, which the other members know under this one's place.
    pub(super) before: EngineSlot,
    pub(super) feed: Arc<Feed>,
}

/// The memory of the tables: the same for all configurations.
struct Shelves {
    partitions: Box<[Locked]>,
    /// The memory of the partitions, and how much of it is touched; nothing without a table.
    pages: Option<Pages>,
    touched: AtomicU64,
    /// The partition that is swept next.
    hand: AtomicU32,
    /// What another process that takes the tables over has to learn. On lines of its own.
    journal: Box<Journal>,
}

/// One table of a configuration.
pub(super) struct Kept {
    pub(super) service: ServiceIndex,
    pub(super) pool: PoolIndex,
    pub(super) id: TableId,
    pub(super) wanted: Wanted,
}

impl Store {
    /// Sets up keys and table for a configuration. The table's memory is reserved only if
    /// some pool remembers its clients in it.
    ///
    /// # Errors
    /// The memory left for the table is too little, or there are too many tables.
    pub fn build(
        tree: &Arc<Tree>,
        table_bytes: u64,
        secret: [u8; 16],
        now: Now,
    ) -> Result<Self, StoreProblem> {
        Self::build_as(tree, table_bytes, secret, Place::default(), now)
    }

    /// As [`Store::build`], for a process that is not alone: one that takes tables over from another one, in another place
    /// than that one's, or one that shares them with other engines.
    ///
    /// # Errors
    /// As [`Store::build`].
    pub fn build_as(
        tree: &Arc<Tree>,
        table_bytes: u64,
        secret: [u8; 16],
        place: Place,
        now: Now,
    ) -> Result<Self, StoreProblem> {
        Self::build_with(tree, table_bytes, secret, place, Arc::default(), now)
    }

    fn build_with(
        tree: &Arc<Tree>,
        table_bytes: u64,
        secret: [u8; 16],
        Place { me, is_shared, before }: Place,
        feed: Arc<Feed>,
        now: Now,
    ) -> Result<Self, StoreProblem> {
        let wanted = wanted(tree);
        // Who shares has partitions, so that there is one geometry for as long as the process lives.
        let geometry = if wanted.is_empty() && !is_shared {
            None
        } else {
            let synced = if is_shared { wanted.len() as u32 } else { 0 };
            let geometry = Geometry::for_memory(table_bytes, synced)
                .map_err(|problem| StoreProblem(format!("engine.memory_gib: {problem}")))?;
            Some(geometry)
        };
        let smallest = || Geometry::for_entries(1).expect("one entry fits the smallest table");
        let memory = TableMemory::reserve(&geometry.unwrap_or_else(smallest));
        let pages = geometry.map(|_| memory.pages());
        let mut catalog = Catalog::new(&memory, secret, me);
        let mut tables = Vec::new();
        for (service, pool, wanted) in wanted {
            tables.push(Kept { service, pool, id: define(&mut catalog, wanted, is_shared)?, wanted });
        }
        for (_, server) in tree.servers() {
            catalog.server(server.id.0);
        }
        let partitions = match geometry {
            None => Box::default(),
            Some(_) => {
                let shelf = |partition| Shelf { partition, changed: Changed::default() };
                memory.into_partitions(&catalog, now).map(|part| Locked(Mutex::new(shelf(part)))).collect()
            }
        };
        Ok(Store {
            tree: tree.clone(),
            sealer: Sealer::new(&tree.cookie_keys),
            catalog,
            has_other_tables: false,
            geometry,
            shelves: Arc::new(Shelves {
                partitions,
                pages,
                touched: AtomicU64::new(0),
                hand: AtomicU32::new(0),
                journal: Box::default(),
            }),
            tables,
            me,
            table_bytes,
            secret,
            is_shared,
            before,
            feed,
        })
    }

    /// Keys and tables for a configuration that may take this one's place: then [`Store::adopt`] comes first. Tables of services
    /// and pools that stay keep their entries.
    ///
    /// # Errors
    /// As [`Store::build`]. Nothing has changed then.
    //= RELOAD-KEEP-02
    pub fn next(&self, tree: &Arc<Tree>, now: Now) -> Result<Self, StoreProblem> {
        let wanted = wanted(tree);
        if self.geometry.is_none() && !wanted.is_empty() {
            let place = Place { me: self.me, is_shared: self.is_shared, before: self.before };
            return Self::build_with(tree, self.table_bytes, self.secret, place, Arc::clone(&self.feed), now);
        }
        let mut catalog = self.catalog.clone();
        let mut changed = false;
        for gone in self.tables.iter().map(|kept| kept.wanted) {
            let stays = |(.., wanted): &&(_, _, Wanted)| (wanted.name, wanted.kind) == (gone.name, gone.kind);
            if !wanted.iter().any(|one| stays(&one))
                && let Some(id) = catalog.table(gone.name)
            {
                catalog.remove(id);
                changed = true;
            }
        }
        let mut tables = Vec::new();
        for (service, pool, wanted) in wanted {
            let same = self.tables.iter().find(|kept| kept.wanted == wanted);
            let id = match same {
                Some(kept) => kept.id,
                None => {
                    changed = true;
                    define(&mut catalog, wanted, self.is_shared)?
                }
            };
            tables.push(Kept { service, pool, id, wanted });
        }
        for (_, server) in tree.servers() {
            catalog.server(server.id.0);
        }
        Ok(Store {
            tree: tree.clone(),
            sealer: Sealer::new(&tree.cookie_keys),
            catalog,
            has_other_tables: changed,
            geometry: self.geometry,
            shelves: Arc::clone(&self.shelves),
            tables,
            me: self.me,
            table_bytes: self.table_bytes,
            secret: self.secret,
            is_shared: self.is_shared,
            before: self.before,
            feed: Arc::clone(&self.feed),
        })
    }

    /// From now on the partitions have these tables; entries of those that are gone go, before anybody works by this
    /// configuration. Nothing that may fail comes after it: whoever went on by the configuration before could not write to
    /// what is gone.
    ///
    /// Takes each partition's lock for a walk of it (0.3 ms) if tables come, go or change their time-out, so it is
    /// not for a thread that others wait for.
    //= RELOAD-KEEP-02
    pub fn adopt(&self, now: Now) {
        if !self.has_other_tables {
            return;
        }
        for locked in &self.shelves.partitions {
            locked.0.lock().unwrap_or_else(PoisonError::into_inner).adopt(&self.catalog, now);
        }
    }

    /// The next turn of a pool whose round robin goes over all workers.
    pub fn ticket(&self, pool: PoolIndex) -> u64 {
        self.tree.pool(pool).shared.ticket()
    }

    /// The turn that [`Store::ticket`] gives next.
    pub fn next_ticket(&self, pool: PoolIndex) -> u64 {
        self.tree.pool(pool).shared.next_ticket()
    }

    /// The keys of persistence cookies.
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// The table of a service's pool, if it has one.
    pub fn table(&self, service: ServiceIndex, pool: PoolIndex) -> Option<TableId> {
        let name = table_name(&self.tree, service, pool);
        self.tables.iter().find(|kept| kept.wanted.name == name).map(|kept| kept.id)
    }

    /// The key's bytes as the decision core takes them.
    pub fn table_key(&self, key: ClientKey<'_>) -> TableKey {
        match key {
            ClientKey::Plain(bytes) => TableKey(bytes),
            ClientKey::Opaque(text) => TableKey(self.catalog.text_bytes(text).0),
        }
    }

    /// The key in a table.
    pub fn key(&self, table: TableId, key: TableKey) -> Key {
        self.catalog.key(table, KeyBytes(key.0))
    }

    pub(super) fn partition(&self, key: &Key) -> Option<MutexGuard<'_, Shelf>> {
        let at = self.geometry?.route(key);
        self.catalog.ask(key);
        // A worker that panicked while it held the lock was inside one operation of the core, which does
        // not panic half-way on purpose; an entry that it garbled expires like any other.
        Some(self.shelves.partitions[at as usize].0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The server that a key means.
    pub fn get(&self, key: &Key, now: Now) -> Option<ServerId> {
        let slot = self.partition(key)?.get(&self.catalog, key, now)?;
        self.catalog.name_of(slot).map(ServerId)
    }

    /// Frees what has expired in the next `partitions` partitions. Any worker may call it.
    pub fn sweep(&self, partitions: u32, now: Now) {
        let count = self.shelves.partitions.len() as u32;
        for _ in 0..partitions.min(count) {
            let at = self.shelves.hand.fetch_add(1, Ordering::Relaxed) % count;
            // In slices, so that a request on another worker waits for a slice and not for a partition.
            loop {
                let locked = self.shelves.partitions[at as usize].0.lock();
                let mut partition = locked.unwrap_or_else(PoisonError::into_inner);
                if partition.sweep(&self.catalog, now, SWEEP_SLICE_BUCKETS).turn_done {
                    break;
                }
            }
        }
    }

    /// Makes up to `bytes` more of the table resident; `false` if all of it was. For one thread.
    pub fn touch_more(&self, bytes: u64) -> bool {
        let Some(pages) = &self.shelves.pages else { return false };
        let from = self.shelves.touched.load(Ordering::Relaxed);
        let next = pages.touch(from, bytes);
        self.shelves.touched.store(next.unwrap_or(pages.bytes()), Ordering::Relaxed);
        next.is_some()
    }

    /// Bytes of the table's entries, and how many of them [`Store::touch_more`] has made resident.
    pub fn table_bytes(&self) -> (u64, u64) {
        let all = self.shelves.pages.as_ref().map_or(0, Pages::bytes);
        (all, self.shelves.touched.load(Ordering::Relaxed))
    }

    /// Partitions of the table; 0 if no pool needs one.
    pub fn partitions(&self) -> u32 {
        self.shelves.partitions.len() as u32
    }
}

impl Store {
    pub(super) fn journal(&self) -> &Journal {
        &self.shelves.journal
    }

    /// Whose connections hold entries: this process's place, as others know it.
    pub fn me(&self) -> EngineSlot {
        self.me
    }

    /// What keys are made with.
    pub fn secret(&self) -> [u8; 16] {
        self.secret
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// How the tables are cut, if there are any.
    pub(super) fn geometry(&self) -> Option<Geometry> {
        self.geometry
    }

    /// Entries that there is room for.
    pub(super) fn capacity(&self) -> u64 {
        self.geometry.map_or(0, |geometry| geometry.limit())
    }

    /// Buckets of each partition.
    pub(super) fn buckets(&self) -> u32 {
        self.geometry.map_or(0, |geometry| geometry.buckets())
    }

    /// Whether some service keeps the clients of this pool in a table.
    pub(super) fn keeps_clients_of(&self, pool: PoolIndex) -> bool {
        self.tables.iter().any(|kept| kept.pool == pool)
    }

    /// The service and pool of a table.
    pub(super) fn owner(&self, table: TableId) -> Option<(ServiceIndex, PoolIndex)> {
        self.tables.iter().find(|kept| kept.id == table).map(|kept| (kept.service, kept.pool))
    }

    /// The server in a slot.
    pub(super) fn server_of(&self, slot: ServerSlot) -> Option<ServerId> {
        self.catalog.name_of(slot).map(ServerId)
    }

    /// Looks at one partition under its lock.
    pub(super) fn with_partition(&self, at: usize, look: impl FnOnce(&Partition, &Catalog)) {
        if let Some(locked) = self.shelves.partitions.get(at) {
            look(&locked.0.lock().unwrap_or_else(PoisonError::into_inner), &self.catalog);
        }
    }

    /// Works on one partition under its lock.
    ///
    /// # Panics
    /// There is no such partition: none was counted by the geometry that gave the number.
    pub(super) fn with_partition_mut<R>(
        &self,
        at: usize,
        work: impl FnOnce(&mut Partition, &Catalog) -> R,
    ) -> R {
        let mut shelf = self.shelves.partitions[at].0.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut shelf.partition, &self.catalog)
    }

    /// Works on what has changed in one partition, under its lock.
    pub(super) fn with_changed<R>(&self, at: usize, work: impl FnOnce(&mut Changed) -> R) -> Option<R> {
        let mut shelf = self.shelves.partitions.get(at)?.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some(work(&mut shelf.changed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Tables;

    //= test OBS-DRAIN-01
    #[test]
    fn the_clients_of_a_disabled_server_are_counted_down_to_none() {
        let text = "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:80\"]\npool = \"web\"\n\
                    [[pool]]\nname = \"web\"\npersistence = \"ip\"\nserver = [\
                    { address = \"127.0.0.1:81\", enabled = false }, { address = \"127.0.0.1:82\" }]\n\
                    [[persistence]]\nname = \"ip\"\ntype = \"client_ip\"\n";
        let tree = Arc::new(Tree::build(forebay_snapshot::check(text).expect("it is valid")));
        let now = crate::rt::clock::now();
        let store = Store::build(&tree, 1 << 20, [7; 16], now).expect("a table");
        let table = store.table(ServiceIndex(0), PoolIndex(0)).expect("the pool has one");
        let [leaving, staying] = [0, 1].map(|n| tree.pools[0].servers[n].id);
        let key = |n: u64| store.key(table, store.table_key(ClientKey::Opaque(&n.to_le_bytes())));
        let counted = || {
            let mut clients = crate::control::tables::Clients::new();
            (0..Tables::partitions(&store)).for_each(|partition| store.count(partition, &mut clients));
            [leaving, staying].map(|id| clients.get(&(PoolIndex(0), id)).copied().unwrap_or(0))
        };
        assert!(store.keeps(PoolIndex(0)));
        for n in 0..500 {
            store.put(&key(n), if n < 300 { leaving } else { staying }, false, now);
        }
        assert_eq!(counted(), [300, 200]);
        (0..100).for_each(|n| store.remove(&key(n), now));
        assert_eq!(counted(), [200, 200]);
        for n in 100..300 {
            store.put(&key(n), staying, true, now);
        }
        assert_eq!(counted(), [0, 400]);
    }

    //= test RELOAD-KEEP-02
    #[test]
    fn a_configuration_that_takes_nobodys_place_takes_no_entry_away() {
        let tree = |pool: &str, persistence: &str| {
            let text = format!(
                "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:80\"]\npool = \"{pool}\"\n\
                 [[pool]]\nname = \"{pool}\"\n{persistence}server = [{{ address = \"127.0.0.1:81\" }}]\n\
                 [[persistence]]\nname = \"ip\"\ntype = \"client_ip\"\n"
            );
            Arc::new(Tree::build(forebay_snapshot::check(&text).expect("it is valid")))
        };
        let (had, other) = (tree("a", "persistence = \"ip\"\n"), tree("b", "persistence = \"ip\"\n"));
        let now = crate::rt::clock::now();
        let store = Store::build(&had, 1 << 20, [7; 16], now).expect("a table");
        let server = had.pools[0].servers[0].id;
        let table = store.table(ServiceIndex(0), PoolIndex(0)).expect("the pool has one");
        let key = |n: u64| store.key(table, store.table_key(ClientKey::Opaque(&n.to_le_bytes())));
        store.put(&key(1), server, false, now).expect("there is room");
        // Something else of it was refused: twice it comes to nothing.
        for _ in 0..2 {
            store.next(&other, now).expect("tables");
            assert_eq!(store.get(&key(1), now), Some(server));
            assert!(store.put(&key(2), server, false, now).is_some(), "whoever comes now is kept as well");
        }
        let next = store.next(&other, now).expect("tables");
        next.adopt(now);
        assert_eq!(store.get(&key(1), now), None);
        let table = next.table(ServiceIndex(0), PoolIndex(0)).expect("the other pool has one");
        let key = next.key(table, next.table_key(ClientKey::Opaque(&1_u64.to_le_bytes())));
        assert_eq!(next.get(&key, now), None);
        assert!(next.put(&key, other.pools[0].servers[0].id, false, now).is_some());
    }

    //= test OBS-PERSIST-02
    #[test]
    fn a_table_full_of_clients_with_open_connections_refuses_and_counts_it_and_evicts_nobody() {
        let text = "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:80\"]\npool = \"web\"\n\
                    [[pool]]\nname = \"web\"\npersistence = \"ip\"\nserver = [{ address = \"127.0.0.1:81\" }]\n\
                    [[persistence]]\nname = \"ip\"\ntype = \"client_ip\"\n";
        let tree = Arc::new(Tree::build(forebay_snapshot::check(text).expect("it is valid")));
        let now = crate::rt::clock::now();
        let store = Store::build(&tree, 1 << 20, [7; 16], now).expect("a table");
        let table = store.table(ServiceIndex(0), PoolIndex(0)).expect("the pool has one");
        let server = tree.pools[0].servers[0].id;
        let key = |n: u64| store.key(table, store.table_key(ClientKey::Opaque(&n.to_le_bytes())));
        let room = store.capacity();
        let mut refused = 0;
        for n in 0..2 * room {
            match store.put(&key(n), server, false, now) {
                Some(holds) => {
                    assert_eq!(holds, server);
                    assert!(store.open(&key(n), now));
                }
                None => refused += 1,
            }
        }
        let view = store.view();
        assert!(refused >= room, "twice as many clients as there is room for: {refused} refused");
        assert_eq!((view.refused, view.evicted, view.entries), (refused, 0, 2 * room - refused));
        // One that has left makes room.
        let idle = (0..).map(key).find(|k| store.get(k, now).is_some()).expect("an entry");
        store.close(&idle, now);
        let mut late = 2 * room;
        while store.put(&key(late), server, false, now).is_none() {
            late += 1;
        }
        assert_eq!((store.view().evicted, store.get(&idle, now)), (1, None));
    }
}
