//! One engine of the simulation: its tables, its clocks, its clients' connections.

use std::collections::BTreeMap;

use forebay_core::table::{
    Catalog, EngineSlot, EntryView, Geometry, GroupMillis, Hasher, KeyBytes, Lifetime, Partition,
    PartitionIndex, Record, ServerSlot, TableId, TableMemory, TableSettings,
};
use forebay_core::units::{Now, Seconds};
use forebay_objsync::values::Values;
use forebay_objsync::{Bounds, Engine, Rule, Settings, Shards, Shared};

use crate::ledger::{Place, Rank, rank};

/// Servers that clients are bound to; the group's ids.
pub const SERVERS: u64 = 5;
/// What the group knows and clients do not.
const SECRET: [u8; 16] = *b"the group's own!";
/// Milliseconds since 1970 at the beginning of the simulation.
pub const EPOCH_MS: u64 = 1_800_000_000_000;

/// The tables that are shared: a client's server, and key-value.
pub const TABLES: [(u64, Rule, u32); 2] = [(11, Rule::First, 60), (22, Rule::Last, 90)];

/// The tables of values that are shared: bytes and counts, and the milliseconds for which they live.
pub const VALUES: [(u64, Rule, u64); 2] = [(33, Rule::Bytes, 120_000), (44, Rule::Counts, 120_000)];

/// The tables of one engine.
pub struct Tables {
    /// What all partitions agree on.
    pub catalog: Catalog,
    geometry: Geometry,
    partitions: Vec<Partition>,
    /// The tables that are shared.
    pub shared: Vec<Shared>,
    /// Values that are no servers.
    pub values: Values,
}

impl Tables {
    /// Empty ones with room for so many entries, of the engine in this slot.
    pub fn new(entries: u64, slot: EngineSlot, now: Now) -> Self {
        let geometry = Geometry::for_entries(entries).expect("few");
        let memory = TableMemory::reserve(&geometry);
        let mut catalog = Catalog::new(&memory, SECRET, slot);
        let shared = TABLES.map(|(name, rule, life)| {
            let lives = vec![Lifetime::For(Seconds(life))];
            let id = catalog.define(&TableSettings { name, lives, synced: true }).expect("a few tables");
            Shared { name, id, rule }
        });
        let mut values = Values::new(1 << 20);
        let of_values = VALUES.map(|(name, rule, life_ms)| {
            let lives = vec![Lifetime::For(Seconds(60))];
            let id = catalog.define(&TableSettings { name, lives, synced: true }).expect("a few tables");
            values.define(id, life_ms);
            Shared { name, id, rule }
        });
        for server in 0..SERVERS {
            catalog.server(server);
        }
        let partitions = memory.into_partitions(&catalog, now).collect();
        let shared = [&shared[..], &of_values[..]].concat();
        Self { catalog, geometry, partitions, shared, values }
    }

    /// The number of the `n`-th of [`TABLES`].
    pub fn id(&self, n: usize) -> TableId {
        self.shared[n].id
    }

    /// The number of the `n`-th of [`VALUES`].
    pub fn value_id(&self, n: usize) -> TableId {
        self.shared[TABLES.len() + n].id
    }

    /// The partition of a key, and the key.
    pub fn at(
        &mut self,
        table: usize,
        key: KeyBytes,
    ) -> (&mut Partition, &Catalog, forebay_core::table::Key) {
        let key = self.catalog.key(self.shared[table].id, key);
        let partition = self.geometry.route(&key) as usize;
        (&mut self.partitions[partition], &self.catalog, key)
    }

    /// The entry of a key.
    pub fn entry(&mut self, table: usize, key: KeyBytes, now: Now) -> Option<EntryView> {
        let (partition, catalog, key) = self.at(table, key);
        partition.entry(catalog, &key, now)
    }

    /// As [`Tables::entry`], where nothing is to be changed.
    pub fn view(&self, table: usize, key: KeyBytes, now: Now) -> Option<EntryView> {
        let key = self.catalog.key(self.shared[table].id, key);
        self.partitions[self.geometry.route(&key) as usize].entry(&self.catalog, &key, now)
    }

    /// All entries, by table and key.
    pub fn all(&self, now: Now) -> BTreeMap<(usize, KeyBytes), EntryView> {
        let views = self.partitions.iter().flat_map(|p| p.entries(&self.catalog, 0..u32::MAX, now));
        let place = |id| self.shared.iter().position(|t| t.id == id).expect("only shared ones");
        views.map(|view| ((place(view.table), view.key), view)).collect()
    }

    /// A turn of the clock hand.
    pub fn sweep(&mut self, now: Now) {
        for partition in &mut self.partitions {
            partition.sweep(&self.catalog, now, u32::MAX);
        }
    }
}

impl Shards for Tables {
    fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn tables(&self) -> &[Shared] {
        &self.shared
    }

    fn with_values<R>(&mut self, work: impl FnOnce(&mut Values, &Catalog) -> R) -> Option<R> {
        Some(work(&mut self.values, &self.catalog))
    }

    fn with<R>(&mut self, partition: PartitionIndex, work: impl FnOnce(&mut Partition, &Catalog) -> R) -> R {
        work(&mut self.partitions[partition as usize], &self.catalog)
    }
}

/// What a process that ends leaves on disk.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// When, in microseconds of the simulation.
    pub at: u64,
    /// The incarnation that left it.
    pub boot: u64,
    /// The group's time.
    pub group: GroupMillis,
    entries: Vec<(usize, KeyBytes, u64, Record)>,
}

impl Snapshot {
    /// For how long each key had not been used then, in milliseconds.
    pub fn ages(&self) -> BTreeMap<Place, u64> {
        self.entries.iter().map(|(table, key, _, record)| ((*table, *key), record.age_ms)).collect()
    }
}

/// A process.
pub struct Node {
    /// Its place.
    pub slot: EngineSlot,
    /// Its incarnation; no two processes share one.
    pub boot: u64,
    /// The engine.
    pub engine: Engine,
    /// Its tables.
    pub tables: Tables,
    /// What its monotonic clock shows at the beginning of the simulation.
    pub mono: u64,
    /// The latest group time that it showed.
    pub group: GroupMillis,
    /// Connections of clients: since when, by table and key.
    pub open: BTreeMap<(usize, KeyBytes), Vec<u64>>,
    /// The newest protocol that it speaks.
    pub speaks: u16,
    /// A key's last connection closed then.
    pub closed: BTreeMap<(usize, KeyBytes), u64>,
}

/// What a process starts with.
pub struct Start {
    /// Its place.
    pub slot: EngineSlot,
    /// Its incarnation.
    pub boot: u64,
    /// Entries that its tables have room for.
    pub entries: u64,
    /// All members.
    pub members: u64,
    /// Those that only read.
    pub readers: u64,
    /// What its monotonic clock shows at the beginning of the simulation, in microseconds.
    pub mono: u64,
    /// Milliseconds by which its wall clock is wrong.
    pub wall_off: i64,
    /// Bounds of its peers' queues.
    pub bounds: Bounds,
    /// The newest protocol that it speaks.
    pub speaks: u16,
}

impl Node {
    /// Starts a process at `at` microseconds.
    pub fn start(start: &Start, snapshot: Option<&Snapshot>, at: u64) -> Self {
        let now = Now(at + start.mono);
        let wall = (EPOCH_MS + at / 1_000).saturating_add_signed(start.wall_off);
        let floor = snapshot.map_or(0, |s| s.group.0 + 60_000);
        let settings = Settings {
            me: start.slot,
            boot: start.boot,
            group: 77,
            sums: Hasher::new(*b"sums are secret!"),
            members: start.members,
            readers: start.readers,
            wall: GroupMillis(wall.max(floor)),
            floor: GroupMillis(floor),
            bounds: start.bounds,
        };
        let mut tables = Tables::new(start.entries, start.slot, now);
        for (table, key, server, record) in snapshot.iter().flat_map(|s| &s.entries) {
            let away = (at - snapshot.map_or(at, |s| s.at)) / 1_000;
            let server = if record.tombstone { ServerSlot(0) } else { tables.catalog.server(*server) };
            let record = Record { server, open: 0, age_ms: record.age_ms + away, ..*record };
            let (partition, catalog, key) = tables.at(*table, *key);
            let _ = partition.restore(catalog, &key, &record, now);
        }
        let mut engine = Engine::new(settings, now);
        engine.speak_up_to(start.speaks);
        let (open, closed) = (BTreeMap::new(), BTreeMap::new());
        let (slot, boot, mono, group) = (start.slot, start.boot, start.mono, GroupMillis(0));
        Self { slot, boot, engine, tables, mono, group, open, speaks: start.speaks, closed }
    }

    /// Its clock.
    pub fn now(&self, at: u64) -> Now {
        Now(at + self.mono)
    }

    /// How strong what it knows of a key is; `None` if it knows nothing of it.
    pub fn rank(&self, place: Place, at: u64) -> Option<Rank> {
        let view = self.tables.view(place.0, place.1, self.now(at))?;
        let server = self.tables.catalog.name_of(view.record.server).unwrap_or(0);
        Some(rank(TABLES[place.0].1, &view.record, server))
    }

    /// What it would find on disk if it ended now.
    pub fn snapshot(&self, at: u64) -> Snapshot {
        let now = self.now(at);
        let entries = self.tables.all(now).into_iter().map(|((table, key), view)| {
            (table, key, self.tables.catalog.name_of(view.record.server).unwrap_or(0), view.record)
        });
        Snapshot { at, boot: self.boot, group: self.engine.group_time(now), entries: entries.collect() }
    }
}
