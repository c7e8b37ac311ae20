//! What a mirror holds: the core's partitions, by the tables and servers of which the engines tell.
//!
//! What one engine tells takes nothing from the others: each has its part of what there is room for, and where names have run
//! out, those that nobody uses any more are forgotten ([`Tables::renewed`]).

use std::collections::BTreeMap;

use forebay_core::table::{
    Catalog, EngineSlot, Geometry, Lifetime, Partition, PartitionIndex, TableId, TableMemory, TableSettings,
};
use forebay_core::units::{Now, Seconds};
use forebay_objsync::{How, Rule, Shards, Shared, apply, statement};
use forebay_objsync_tokio::Catalogue;

use super::names::Names;

/// Bytes of the entries of one group: room for half a million clients. Memory that nothing stands in is not touched.
pub const ENTRIES_BYTES: u64 = 32 << 20;
/// Tables of one group that are mirrored: the sums over their parts take a tenth of a MiB each.
pub const TABLES_MAX: usize = 256;
/// A table of which no engine tells any more is dropped so long after its last entry has ended.
const KEPT_LONGER: Seconds = Seconds(60);
/// How long entries live at most, and tables whose entries have no end: a month. Time-outs of services are minutes to days.
const LIFE_MAX: u32 = 30 * 86_400;
/// Buckets that are looked at in one go.
const SLICE_BUCKETS: u32 = 1_024;
/// Pause between two looks for entries that have ended, and how many of them go over all.
const SWEEP_EVERY_US: u64 = 100_000;
const SWEEPS: u32 = 64;

/// A table, as engines tell of it.
#[derive(Clone)]
struct Told {
    id: TableId,
    /// For how long its entries live here: the longest that is told, or was when somebody told last.
    life_s: u32,
    /// What each tells who tells of it.
    lives: BTreeMap<EngineSlot, u32>,
    /// Who tells of it, one bit a slot, and who ever has.
    by: u64,
    ever: u64,
    /// Since when nobody does who is there.
    untold: Option<Now>,
    /// Which of all tables it was.
    number: u64,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Tables that are mirrored.
    pub tables: usize,
    /// Tables and servers that there is no room for.
    pub tables_left_out: usize,
    /// See `tables_left_out`.
    pub servers_left_out: usize,
    /// Servers that have names.
    pub servers: usize,
}

/// Partitions and what they are read by.
pub struct Tables {
    secret: [u8; 16],
    me: EngineSlot,
    geometry: Geometry,
    catalog: Catalog,
    partitions: Vec<Partition>,
    shared: Vec<Shared>,
    told: BTreeMap<u64, Told>,
    names: Names,
    /// Tables that there is no room for, by who told of them.
    left_out: BTreeMap<EngineSlot, usize>,
    /// Tables that there ever were.
    tables_ever: u64,
    /// Who is there, one bit a slot.
    there: u64,
    /// No more tables can be numbered.
    worn: bool,
    hand: u32,
    swept: Now,
}

impl Tables {
    /// None yet. `secret` is what the group makes keys of.
    ///
    /// # Errors
    /// As a text: memory is cut in another way than here.
    pub fn new(secret: [u8; 16], me: EngineSlot, now: Now) -> Result<Self, String> {
        let geometry = Geometry::for_memory(ENTRIES_BYTES, 0).map_err(|problem| problem.to_string())?;
        let memory = TableMemory::reserve(&geometry);
        let catalog = Catalog::new(&memory, secret, me);
        let partitions = memory.into_partitions(&catalog, now).collect();
        Ok(Tables {
            secret,
            me,
            geometry,
            catalog,
            partitions,
            shared: Vec::new(),
            told: BTreeMap::new(),
            names: Names::default(),
            left_out: BTreeMap::new(),
            tables_ever: 0,
            there: 0,
            worn: false,
            hand: 0,
            swept: now,
        })
    }

    /// The same without names that nobody uses: of servers of which no engine tells and that no entry has, and of tables that
    /// there are no more. For a mirror that begins anew: engines number nothing by them.
    ///
    /// # Errors
    /// Those of [`Tables::new`].
    //= SYNC-MIRROR-06
    pub fn renewed(&self, now: Now) -> Result<Self, String> {
        let mut new = Tables::new(self.secret, self.me, now)?;
        let mut told: Vec<(&u64, &Told)> = self.told.iter().collect();
        told.sort_unstable_by_key(|(_, table)| table.number);
        for (name, table) in told {
            if let Some(id) = new.define(*name, table.life_s) {
                let number = new.tables_ever;
                new.tables_ever += 1;
                new.told.insert(*name, Told { id, number, ..table.clone() });
            }
        }
        new.there = self.there;
        let names = self.shared.iter().map(|table| (table.id, table.name)).collect::<BTreeMap<_, _>>();
        let mut entries = Vec::new();
        for partition in &self.partitions {
            let of_it = partition.entries(&self.catalog, 0..u32::MAX, now);
            entries.extend(
                of_it.filter_map(|view| Some((*names.get(&view.table)?, statement(&self.catalog, &view)?))),
            );
        }
        let used = entries.iter().filter(|(_, entry)| !entry.tombstone).map(|(_, entry)| entry.server);
        for (name, owner) in self.names.kept(used) {
            new.names.keep(&mut new.catalog, name, owner);
        }
        new.adopt(now);
        let by_name: BTreeMap<u64, Shared> = new.shared.iter().map(|table| (table.name, *table)).collect();
        for (name, entry) in entries {
            let Some(table) = by_name.get(&name) else { continue };
            let at = new.geometry.route(&new.catalog.key(table.id, entry.key));
            let me = new.me;
            new.with(at, |partition, catalog| {
                // What there is no room for here there was none for there: the memory is the same.
                let _ = apply(partition, catalog, table, me, me, &entry, How::Merge, |_, _| false, now);
            });
        }
        Ok(new)
    }

    /// An engine keeps entries by these.
    //= SYNC-MIRROR-02
    //= SYNC-MIRROR-06
    pub fn told(&mut self, by: EngineSlot, catalogue: &Catalogue, now: Now) {
        let bit = 1 << by.get();
        self.there |= bit;
        for table in self.told.values_mut() {
            table.by &= !bit;
            table.lives.remove(&by);
        }
        let (mut is_new, mut left_out) = (false, 0);
        for (name, life_s) in &catalogue.tables {
            let life_s = (*life_s).min(LIFE_MAX);
            if !self.told.contains_key(name) {
                if self.told.len() >= TABLES_MAX {
                    if !self.make_room(by) {
                        left_out += 1;
                        continue;
                    }
                    is_new = true;
                }
                let Some(id) = self.define(*name, life_s) else { continue };
                is_new = true;
                let (number, lives) = (self.tables_ever, BTreeMap::new());
                self.tables_ever += 1;
                let fresh = Told { id, life_s, lives, by: 0, ever: 0, untold: None, number };
                self.told.insert(*name, fresh);
            }
            if let Some(table) = self.told.get_mut(name) {
                (table.by, table.ever) = (table.by | bit, table.ever | bit);
                table.lives.insert(by, life_s);
            }
        }
        is_new |= self.settle_lives();
        self.left_out.insert(by, left_out);
        self.names.told(&mut self.catalog, by, &catalogue.servers);
        if is_new {
            self.adopt(now);
        }
    }

    /// Entries live for as long as the longest that an engine tells that is there. Gives whether any does for longer or shorter.
    fn settle_lives(&mut self) -> bool {
        let there = self.there;
        let mut others = Vec::new();
        for (name, table) in &self.told {
            let told = table.lives.iter().filter(|(slot, _)| there >> slot.get() & 1 == 1);
            if let Some(longest) = told.map(|(_, life_s)| *life_s).max()
                && longest != table.life_s
            {
                others.push((*name, longest));
            }
        }
        for (name, life_s) in &others {
            let id = self.define(*name, *life_s);
            if let (Some(table), Some(id)) = (self.told.get_mut(name), id) {
                (table.id, table.life_s) = (id, *life_s);
            }
        }
        !others.is_empty()
    }

    fn define(&mut self, name: u64, life_s: u32) -> Option<TableId> {
        let lives = vec![Lifetime::For(Seconds(life_s))];
        let id = self.catalog.define(&TableSettings { name, lives, synced: true }).ok();
        self.worn |= id.is_none();
        id
    }

    /// Where there are as many tables as there may be, whoever has the most of which nobody else ever told gives its youngest
    /// to one that has fewer.
    fn make_room(&mut self, by: EngineSlot) -> bool {
        let alone = |slot: u8| move |table: &&Told| table.ever == 1 << slot;
        let count = |slot: u8| self.told.values().filter(alone(slot)).count();
        let Some((most, slot)) = (0..64).map(|slot| (count(slot), slot)).max() else { return false };
        if most <= count(by.get()) + 1 {
            return false;
        }
        let of_it = self.told.iter().filter(|(_, table)| alone(slot)(table));
        let Some((name, id)) =
            of_it.max_by_key(|(_, table)| table.number).map(|(name, table)| (*name, table.id))
        else {
            return false;
        };
        self.told.remove(&name);
        self.catalog.remove(id);
        true
    }

    /// These engines are there, one bit a slot: tables of which none of them tells go when their last entry must have ended.
    //= SYNC-MIRROR-02
    pub fn present(&mut self, slots: u64, now: Now) {
        self.there = slots;
        let mut is_new = self.settle_lives();
        let mut gone = Vec::new();
        for (name, table) in &mut self.told {
            if table.by & slots != 0 {
                table.untold = None;
                continue;
            }
            let since = *table.untold.get_or_insert(now);
            let kept_s = u64::from(table.life_s) + u64::from(KEPT_LONGER.0);
            if now.since(since).0 / 1_000_000 > kept_s {
                gone.push((*name, table.id));
            }
        }
        for (name, id) in &gone {
            self.told.remove(name);
            self.catalog.remove(*id);
        }
        is_new |= !gone.is_empty();
        if is_new {
            self.adopt(now);
        }
    }

    fn adopt(&mut self, now: Now) {
        let shared = |(name, table): (&u64, &Told)| Shared { name: *name, id: table.id, rule: Rule::First };
        self.shared = self.told.iter().map(shared).collect();
        for partition in &mut self.partitions {
            partition.adopt(&self.catalog, now);
        }
    }

    /// Frees what has ended, a part of it at a time.
    pub fn sweep(&mut self, now: Now) {
        if now.since(self.swept).0 < SWEEP_EVERY_US {
            return;
        }
        self.swept = now;
        for _ in 0..self.geometry.partitions().div_ceil(SWEEPS) {
            let at = self.hand as usize;
            self.hand = (self.hand + 1) % self.geometry.partitions();
            if let Some(partition) = self.partitions.get_mut(at) {
                while !partition.sweep(&self.catalog, now, SLICE_BUCKETS).turn_done {}
            }
        }
    }

    /// Entries that are held.
    pub fn entries(&self) -> u64 {
        self.partitions.iter().map(|partition| u64::from(partition.stats().entries)).sum()
    }

    /// How much there is.
    pub fn count(&self) -> Count {
        Count {
            tables: self.told.len(),
            tables_left_out: self.left_out.values().sum(),
            servers_left_out: self.names.left_out(),
            servers: self.names.count(),
        }
    }

    /// Names have run out, some of which nobody uses: it had better begin anew ([`Tables::renewed`]).
    pub fn is_worn(&self) -> bool {
        self.worn || self.names.are_worn()
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

    fn with<R>(&mut self, partition: PartitionIndex, work: impl FnOnce(&mut Partition, &Catalog) -> R) -> R {
        // Whoever asks has its number from the geometry.
        work(&mut self.partitions[partition as usize], &self.catalog)
    }
}

#[cfg(test)]
mod tests {
    use forebay_core::table::{GroupMillis, KeyBytes, Write};

    use super::*;

    const SECOND: u64 = 1_000_000;

    fn slot(n: u8) -> EngineSlot {
        EngineSlot::new(n).expect("below 64")
    }

    fn tables() -> Tables {
        Tables::new([7; 16], slot(63), Now(SECOND)).expect("there is memory")
    }

    fn put(tables: &mut Tables, name: u64, client: u8, now: Now) {
        let id = tables.shared.iter().find(|table| table.name == name).expect("it is told").id;
        let server = tables.catalog.slot_of(9).expect("it is told");
        let key = tables.catalog.key(id, KeyBytes([client; 16]));
        let at = tables.geometry.route(&key);
        tables
            .with(at, |partition, catalog| {
                partition.put(catalog, &key, Write::first(server), now, GroupMillis(1))
            })
            .expect("room");
    }

    //= test SYNC-MIRROR-02
    #[test]
    fn a_table_stays_for_as_long_as_its_entries_may_live_after_the_last_engine_that_told_of_it() {
        let mut tables = tables();
        let at = |seconds: u64| Now(SECOND + seconds * SECOND);
        let of = |names: &[u64]| Catalogue {
            tables: names.iter().map(|name| (*name, 300)).collect(),
            servers: vec![9],
        };
        tables.told(slot(0), &of(&[1, 2]), at(0));
        tables.told(slot(1), &of(&[2]), at(0));
        put(&mut tables, 1, 1, at(1));
        put(&mut tables, 2, 2, at(1));
        tables.present(0b11, at(2));
        assert_eq!((tables.count().tables, tables.entries()), (2, 2));
        // The first engine is gone, and later it is there without its table.
        tables.present(0b10, at(3));
        tables.present(0b10, at(350));
        assert_eq!(tables.count().tables, 2, "its entries may live");
        tables.told(slot(0), &of(&[2]), at(351));
        tables.present(0b11, at(364));
        assert_eq!((tables.count().tables, tables.entries()), (1, 1), "nobody has the other one any more");
        tables.present(0b00, at(365));
        tables.told(slot(0), &of(&[2]), at(700));
        tables.present(0b01, at(800));
        assert_eq!(tables.count().tables, 1, "who comes back finds it");
    }

    //= test SYNC-MIRROR-02
    #[test]
    fn tables_beyond_the_bound_are_left_out_and_what_has_ended_goes() {
        let mut tables = tables();
        let all: Vec<(u64, u32)> = (0..=TABLES_MAX as u64).map(|name| (name, 60)).collect();
        tables.told(slot(0), &Catalogue { tables: all, servers: vec![9] }, Now(SECOND));
        assert_eq!((tables.count().tables, tables.count().tables_left_out), (TABLES_MAX, 1));
        put(&mut tables, 3, 1, Now(2 * SECOND));
        assert_eq!(tables.entries(), 1);
        for tenth in 0..1_200 {
            tables.sweep(Now(2 * SECOND + tenth * SWEEP_EVERY_US));
        }
        assert_eq!(tables.entries(), 0, "it ended a minute ago");
        assert!(!tables.is_worn());
    }

    fn catalogue(tables: impl Iterator<Item = u64>, servers: impl Iterator<Item = u64>) -> Catalogue {
        Catalogue { tables: tables.map(|name| (name, 300)).collect(), servers: servers.collect() }
    }

    //= test SYNC-MIRROR-06
    #[test]
    fn an_engine_that_makes_tables_up_takes_no_room_from_the_others() {
        let mut tables = tables();
        let now = Now(SECOND);
        let all = TABLES_MAX as u64;
        // It knows the others' table as well, and tells of it first.
        let lies = |from: u64| catalogue([7].into_iter().chain(from..from + 10 * all), [9].into_iter());
        tables.told(slot(1), &lies(1_000), now);
        tables.told(slot(0), &catalogue([7, 8].into_iter(), [9].into_iter()), now);
        put(&mut tables, 7, 1, now);
        put(&mut tables, 8, 2, now);
        for turn in 1..10_u64 {
            tables.told(slot(1), &lies(1_000 + 20 * all * turn), now);
            tables.told(slot(2), &catalogue(turn..3 * turn, [9].into_iter()), now);
        }
        let has = |name: u64| tables.told.contains_key(&name);
        assert!((7..27).all(has), "each of the others has all of its tables");
        assert_eq!((tables.count().tables, tables.entries()), (TABLES_MAX, 2));
        // For ever is no longer than a month, and no longer than it is said by one that is there.
        let now = Now(2 * SECOND);
        let ever = Catalogue { tables: vec![(7, u32::MAX), (8, u32::MAX)], servers: Vec::new() };
        tables.told(slot(1), &ever, now);
        assert_eq!(tables.told[&7].life_s, LIFE_MAX);
        tables.present(0b101, now);
        assert_eq!(tables.told[&7].life_s, 300);
        tables.present(0b111, now);
        tables.present(0, now);
        tables.present(0, Now(2 * SECOND + 2 * u64::from(LIFE_MAX) * SECOND));
        assert_eq!(tables.count().tables, 0);
    }

    //= test SYNC-MIRROR-06
    #[test]
    fn an_engine_that_makes_servers_up_costs_the_others_nothing() {
        let mut tables = tables();
        let now = Now(SECOND);
        tables.told(slot(0), &catalogue(1..2, 9..10), now);
        put(&mut tables, 1, 1, now);
        let each = 120_000_u64;
        for turn in 1..=3 {
            let lies = catalogue(std::iter::empty(), (0..each).map(|n| turn * 1_000_000 + n));
            tables.told(slot(1), &lies, now);
            // Others have new servers all the time, and lose their old ones.
            let own = (0..10_000).map(|n| 100_000_000 * turn + n).chain([9]);
            tables.told(slot(0), &catalogue(1..2, own), now);
            assert_eq!(tables.names.left_out_of(slot(0)), 0, "turn {turn}");
            if tables.is_worn() {
                tables = tables.renewed(now).expect("there is memory");
                assert!(!tables.is_worn());
            }
        }
        assert_eq!((tables.count().tables, tables.entries()), (1, 1), "what was held is there");
        assert!(tables.count().servers <= 250_000);
        // The engine that had its entries is gone: they are the mirror's alone, and it begins anew.
        tables.told(slot(0), &catalogue(std::iter::empty(), std::iter::empty()), now);
        let tables = tables.renewed(now).expect("there is memory");
        assert_eq!((tables.count().tables, tables.entries()), (1, 1));
        let key = tables.catalog.key(tables.shared[0].id, KeyBytes([1; 16]));
        let at = tables.geometry.route(&key) as usize;
        let held = tables.partitions[at].entry(&tables.catalog, &key, now).expect("it is held");
        assert_eq!(tables.catalog.name_of(held.record.server), Some(9));
    }
}
