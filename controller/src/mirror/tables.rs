//! What a mirror holds: the core's partitions, by the tables and servers of which the engines tell.

use std::collections::BTreeMap;

use forebay_core::table::{
    Catalog, EngineSlot, Geometry, Lifetime, Partition, PartitionIndex, TableId, TableMemory, TableSettings,
};
use forebay_core::units::{Now, Seconds};
use forebay_objsync::{Rule, Shards, Shared};
use forebay_objsync_tokio::Catalogue;

/// Bytes of the entries of one group: room for half a million clients. Memory that nothing stands in is not touched.
pub const ENTRIES_BYTES: u64 = 32 << 20;
/// Tables of one group that are mirrored: the sums over their parts take a tenth of a MiB each.
pub const TABLES_MAX: usize = 256;
/// Servers of one group in the life of its mirror: 12 MiB.
const SERVERS_MAX: usize = 250_000;
/// A table of which no engine tells any more is dropped so long after its last entry has ended.
const KEPT_LONGER: Seconds = Seconds(60);
/// Buckets that are looked at in one go.
const SLICE_BUCKETS: u32 = 1_024;
/// Pause between two looks for entries that have ended, and how many of them go over all.
const SWEEP_EVERY_US: u64 = 100_000;
const SWEEPS: u32 = 64;

/// A table, as engines tell of it.
struct Told {
    id: TableId,
    life_s: u32,
    /// Who has told of it, one bit a slot.
    by: u64,
    /// Since when nobody does who is there.
    untold: Option<Now>,
}

/// Partitions and what they are read by.
pub struct Tables {
    geometry: Geometry,
    catalog: Catalog,
    partitions: Vec<Partition>,
    shared: Vec<Shared>,
    told: BTreeMap<u64, Told>,
    servers: usize,
    /// Tables that there is no room for.
    left_out: usize,
    /// No more tables can be numbered, or no more servers: it has to begin anew.
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
            geometry,
            catalog,
            partitions,
            shared: Vec::new(),
            told: BTreeMap::new(),
            servers: 0,
            left_out: 0,
            worn: false,
            hand: 0,
            swept: now,
        })
    }

    /// An engine keeps entries by these.
    //= SYNC-MIRROR-02
    pub fn told(&mut self, by: EngineSlot, catalogue: &Catalogue, now: Now) {
        let bit = 1 << by.get();
        self.told.values_mut().for_each(|table| table.by &= !bit);
        let mut is_new = false;
        self.left_out = 0;
        for (name, life_s) in &catalogue.tables {
            let known = self.told.get(name).map(|table| (table.id, table.life_s));
            if known.is_none() && self.told.len() >= TABLES_MAX {
                self.left_out += 1;
                continue;
            }
            let life_s = known.map_or(*life_s, |(_, before)| before.max(*life_s));
            let id = match known {
                Some((id, before)) if before == life_s => id,
                _ => {
                    is_new = true;
                    let lives = vec![Lifetime::For(Seconds(life_s))];
                    let Ok(id) = self.catalog.define(&TableSettings { name: *name, lives, synced: true })
                    else {
                        self.worn = true;
                        continue;
                    };
                    id
                }
            };
            let table = self.told.entry(*name).or_insert(Told { id, life_s, by: 0, untold: None });
            (table.id, table.life_s) = (id, life_s);
            table.by |= bit;
        }
        for name in &catalogue.servers {
            if self.catalog.slot_of(*name).is_none() {
                if self.servers >= SERVERS_MAX {
                    self.worn = true;
                    break;
                }
                self.servers += 1;
                self.catalog.server(*name);
            }
        }
        if is_new {
            self.adopt(now);
        }
    }

    /// These engines are there, one bit a slot: tables of which none of them tells go when their last entry must have ended.
    //= SYNC-MIRROR-02
    pub fn present(&mut self, slots: u64, now: Now) {
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
        if !gone.is_empty() {
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

    /// Tables that are mirrored, and those that there is no room for.
    pub fn count(&self) -> (usize, usize) {
        (self.told.len(), self.left_out)
    }

    /// It has to begin anew.
    pub fn is_worn(&self) -> bool {
        self.worn
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
        assert_eq!((tables.count(), tables.entries()), ((2, 0), 2));
        // The first engine is gone, and later it is there without its table.
        tables.present(0b10, at(3));
        tables.present(0b10, at(350));
        assert_eq!(tables.count().0, 2, "its entries may live");
        tables.told(slot(0), &of(&[2]), at(351));
        tables.present(0b11, at(364));
        assert_eq!((tables.count().0, tables.entries()), (1, 1), "nobody has the other one any more");
        tables.present(0b00, at(365));
        tables.told(slot(0), &of(&[2]), at(700));
        tables.present(0b01, at(800));
        assert_eq!(tables.count().0, 1, "who comes back finds it");
    }

    //= test SYNC-MIRROR-02
    #[test]
    fn tables_beyond_the_bound_are_left_out_and_what_has_ended_goes() {
        let mut tables = tables();
        let all: Vec<(u64, u32)> = (0..=TABLES_MAX as u64).map(|name| (name, 60)).collect();
        tables.told(slot(0), &Catalogue { tables: all, servers: vec![9] }, Now(SECOND));
        assert_eq!(tables.count(), (TABLES_MAX, 1));
        put(&mut tables, 3, 1, Now(2 * SECOND));
        assert_eq!(tables.entries(), 1);
        for tenth in 0..1_200 {
            tables.sweep(Now(2 * SECOND + tenth * SWEEP_EVERY_US));
        }
        assert_eq!(tables.entries(), 0, "it ended a minute ago");
        assert!(!tables.is_worn());
    }
}
