//! The table as a whole, against a simple model and rule by rule.

mod life;
mod model;
mod room;
mod shared;

use super::*;
use crate::units::{Now, Seconds};
use alloc::vec;
use alloc::vec::Vec;

/// A small table, and time.
pub(super) struct Bench {
    pub(super) geometry: Geometry,
    pub(super) catalog: Catalog,
    /// The first partition.
    pub(super) part: Partition,
    pub(super) others: Vec<Partition>,
    /// Not shared; lives of 10 s, 60 s and unlimited.
    pub(super) own: TableId,
    /// Shared with other engines; the same lives.
    pub(super) shared: TableId,
    pub(super) servers: Vec<ServerSlot>,
    pub(super) now: Now,
}

pub(super) const LIVES: [Lifetime; 3] =
    [Lifetime::For(Seconds(10)), Lifetime::For(Seconds(60)), Lifetime::Unlimited];

pub(super) fn settings(name: u64, synced: bool) -> TableSettings {
    TableSettings { name, lives: LIVES.to_vec(), synced }
}

impl Bench {
    /// A table of one partition of eight buckets: 22 entries.
    pub(super) fn small() -> Self {
        Self::with(Geometry::for_entries(1).unwrap(), 0)
    }

    pub(super) fn with(geometry: Geometry, engine: u8) -> Self {
        let me = EngineSlot::new(engine).unwrap();
        let memory = TableMemory::reserve(&geometry);
        let mut catalog = Catalog::new(&memory, *b"the test secret!", me);
        let own = catalog.define(&settings(1, false)).unwrap();
        let shared = catalog.define(&settings(2, true)).unwrap();
        let servers = (100..105).map(|name| catalog.server(name)).collect();
        let now = Now(1_000_000_000);
        let mut parts: Vec<_> = memory.into_partitions(&catalog, now).collect();
        let part = parts.remove(0);
        Self { geometry, catalog, part, others: parts, own, shared, servers, now }
    }

    pub(super) fn key(&self, table: TableId, n: u32) -> Key {
        self.catalog.key(table, KeyBytes(u128::from(n).to_be_bytes()))
    }

    pub(super) fn group(&self) -> GroupMillis {
        GroupMillis(1_700_000_000_000 + self.now.0 / 1_000)
    }

    pub(super) fn pass(&mut self, millis: u64) {
        self.now = Now(self.now.0 + millis * 1_000);
    }

    pub(super) fn put(&mut self, table: TableId, n: u32, server: usize) -> Result<Written, Refused> {
        self.write(table, n, Write::first(self.servers[server]))
    }

    pub(super) fn write(&mut self, table: TableId, n: u32, write: Write) -> Result<Written, Refused> {
        let (key, group) = (self.key(table, n), self.group());
        self.part.put(&self.catalog, &key, write, self.now, group)
    }

    pub(super) fn get(&self, table: TableId, n: u32) -> Option<ServerSlot> {
        self.part.get(&self.catalog, &self.key(table, n), self.now)
    }

    pub(super) fn open(&mut self, table: TableId, n: u32) -> Option<Opened> {
        let key = self.key(table, n);
        self.part.open(&self.catalog, &key, self.now)
    }

    pub(super) fn close(&mut self, table: TableId, n: u32) -> Option<Closed> {
        let key = self.key(table, n);
        self.part.close(&self.catalog, &key, self.now)
    }

    pub(super) fn touch(&mut self, table: TableId, n: u32) -> Option<ServerSlot> {
        let key = self.key(table, n);
        self.part.touch(&self.catalog, &key, self.now)
    }

    pub(super) fn remove(&mut self, table: TableId, n: u32) -> Option<ServerSlot> {
        let (key, group) = (self.key(table, n), self.group());
        self.part.remove(&self.catalog, &key, self.now, group).unwrap()
    }

    pub(super) fn elsewhere(&mut self, table: TableId, n: u32, engine: u8, open: bool) -> bool {
        let key = self.key(table, n);
        let engine = EngineSlot::new(engine).unwrap();
        self.part.open_elsewhere(&self.catalog, &key, engine, (!open).then_some(self.now), self.now)
    }

    pub(super) fn sweep(&mut self) -> Swept {
        self.part.sweep(&self.catalog, self.now, u32::MAX)
    }

    pub(super) fn entry(&self, table: TableId, n: u32) -> Option<EntryView> {
        self.part.entry(&self.catalog, &self.key(table, n), self.now)
    }

    pub(super) fn verify(&self) {
        self.part.verify(&self.catalog, self.shared).unwrap();
    }
}

#[test]
fn a_key_of_one_table_is_unknown_in_another() {
    let mut b = Bench::small();
    b.put(b.own, 7, 1).unwrap();
    assert_eq!((b.get(b.own, 7), b.get(b.shared, 7)), (Some(b.servers[1]), None));
    b.put(b.shared, 7, 2).unwrap();
    assert_eq!((b.get(b.own, 7), b.get(b.shared, 7)), (Some(b.servers[1]), Some(b.servers[2])));
}

//= test TBL-KEY-03
#[test]
fn the_same_bytes_in_two_tables_are_two_keys_and_print_alike() {
    let mut b = Bench::small();
    assert_ne!(b.key(b.own, 7).stored, b.key(b.shared, 7).stored);
    b.put(b.own, 7, 1).unwrap();
    b.put(b.shared, 7, 2).unwrap();
    let keys: Vec<_> = b.part.entries(&b.catalog, 0..u32::MAX, b.now).map(|e| (e.table, e.key)).collect();
    let bytes = KeyBytes(7u128.to_be_bytes());
    assert_eq!(keys.len(), 2);
    assert!(keys.contains(&(b.own, bytes)) && keys.contains(&(b.shared, bytes)), "{keys:?}");
}

#[test]
fn an_unknown_table_or_server_is_refused_with_its_reason() {
    let mut b = Bench::small();
    let other = b.catalog.clone().define(&settings(3, true)).unwrap();
    assert_eq!(b.put(other, 1, 0), Err(Refused::UnknownTable));
    let write = Write::first(ServerSlot(99));
    assert_eq!(b.write(b.own, 1, write), Err(Refused::UnknownServer));
    assert_eq!((b.get(other, 1), b.open(other, 1), b.close(other, 1)), (None, None, None));
    assert_eq!(b.part.stats().entries, 0);
}

#[test]
fn settings_that_no_table_can_have_are_refused() {
    let mut b = Bench::small();
    for n in [0, 17] {
        let lives = vec![Lifetime::Unlimited; n];
        let settings = TableSettings { name: 9, lives, synced: false };
        assert_eq!(b.catalog.define(&settings), Err(CatalogProblem::Classes(n)));
    }
}

//= test TBL-CATALOG-01
#[test]
fn a_new_time_out_holds_for_entries_that_are_there() {
    let mut b = Bench::small();
    b.put(b.own, 1, 0).unwrap();
    b.put(b.shared, 2, 0).unwrap();
    b.pass(4_000);
    let mut catalog = b.catalog.clone();
    let lives = vec![Lifetime::For(Seconds(3))];
    let settings = TableSettings { name: 1, lives, synced: false };
    assert_eq!(catalog.define(&settings), Ok(b.own));
    b.part.adopt(&catalog, b.now);
    b.catalog = catalog;
    assert_eq!((b.get(b.own, 1), b.get(b.shared, 2)), (None, Some(b.servers[0])));
    b.verify();
}

//= test TBL-CATALOG-01
#[test]
fn a_removed_table_takes_its_entries_along_and_its_digest_cells_are_used_again() {
    let mut b = Bench::small();
    b.put(b.shared, 1, 0).unwrap();
    b.open(b.shared, 1);
    b.put(b.own, 1, 0).unwrap();
    let old = b.catalog.clone();
    let key = b.key(b.shared, 1);
    b.catalog.remove(b.shared);
    let next = b.catalog.define(&settings(5, true)).unwrap();
    assert_ne!(next, b.shared);
    b.part.adopt(&b.catalog, b.now);
    assert_eq!((b.part.stats().entries, b.part.stats().held), (1, 0));
    // A worker that still holds the old catalog.
    assert_eq!(
        b.part.put(&old, &key, Write::first(b.servers[0]), b.now, b.group()),
        Err(Refused::UnknownTable)
    );
    assert_eq!(b.part.close(&old, &key, b.now), None);
    b.put(next, 1, 0).unwrap();
    b.part.verify(&b.catalog, next).unwrap();
    assert_eq!(b.part.digest(&b.catalog, b.shared, 0), None);
}

#[test]
fn a_worker_with_an_old_catalog_does_not_end_what_it_does_not_know() {
    let mut b = Bench::small();
    let old = b.catalog.clone();
    let fresh = b.catalog.define(&settings(5, true)).unwrap();
    let server = b.catalog.server(900);
    b.part.adopt(&b.catalog, b.now);
    b.write(fresh, 1, Write::first(server)).unwrap();
    b.write(b.shared, 2, Write::first(server)).unwrap();
    assert_eq!(b.part.sweep(&old, b.now, u32::MAX), Swept { expired: 0, turn_done: true });
    assert_eq!(b.get(fresh, 1), Some(server));
    let key = b.key(b.shared, 2);
    assert_eq!(b.part.remove(&old, &key, b.now, b.group()), Err(Refused::OldCatalog));
    b.verify();
}

//= test TBL-CATALOG-02
#[test]
fn tables_come_and_go_without_end_and_nothing_of_one_is_taken_for_another_ones() {
    let mut b = Bench::small();
    b.put(b.own, 1, 0).unwrap();
    b.put(b.shared, 1, 0).unwrap();
    let mut highest = 0;
    let mut before: Option<(Catalog, Key)> = None;
    for name in 10..70_010_u64 {
        let table = b.catalog.define(&settings(name, name % 3 == 0)).unwrap();
        highest = highest.max(table.get());
        // Every now and then somebody uses one, and is late.
        if name % 701 < 2 {
            b.part.adopt(&b.catalog, b.now);
            if let Some((old, key)) = before.take() {
                let late = b.part.put(&old, &key, Write::first(b.servers[1]), b.now, b.group());
                // What it writes into a table that is gone is swept away, if it is not refused.
                assert!(matches!(late, Ok(_) | Err(Refused::OldCatalog | Refused::UnknownTable)), "{late:?}");
            }
            assert_eq!(b.get(table, 2), None, "nobody has written into it");
            b.put(table, 2, 0).unwrap();
            before = Some((b.catalog.clone(), b.key(table, 3)));
        }
        b.catalog.remove(table);
    }
    assert!(highest < 1_100, "{highest} numbers were given");
    b.part.adopt(&b.catalog, b.now);
    assert_eq!(b.part.stats().entries, 2);
    assert_eq!((b.get(b.own, 1), b.get(b.shared, 1)), (Some(b.servers[0]), Some(b.servers[0])));
    b.verify();
}

//= test TBL-CATALOG-02
#[test]
fn who_is_late_with_a_removed_table_does_not_write_into_the_one_that_has_its_number() {
    for synced in [false, true] {
        let mut b = Bench::small();
        let first = b.catalog.define(&settings(10, synced)).unwrap();
        b.part.adopt(&b.catalog, b.now);
        b.put(first, 1, 0).unwrap();
        let (old, late) = (b.catalog.clone(), b.key(first, 2));
        b.catalog.remove(first);
        let mut name = 11;
        // Its number is given again in the catalog that does not have it any more.
        let next = loop {
            let table = b.catalog.define(&settings(name, synced)).unwrap();
            if table == first {
                break table;
            }
            b.catalog.remove(table);
            name += 1;
        };
        b.part.adopt(&b.catalog, b.now);
        assert_eq!(b.part.stats().entries, 0, "the entries of the one before are gone");
        let written = b.part.put(&old, &late, Write::first(b.servers[0]), b.now, b.group());
        assert_eq!(written, Err(Refused::OldCatalog));
        assert_eq!((b.get(next, 1), b.get(next, 2)), (None, None));
        // What else it has is as good as before.
        let kept = old.key(b.own, KeyBytes(5_u128.to_be_bytes()));
        assert!(b.part.put(&old, &kept, Write::first(b.servers[0]), b.now, b.group()).is_ok());
        b.put(next, 1, 0).unwrap();
        b.verify();
    }
}

#[test]
fn a_server_keeps_its_slot() {
    let mut b = Bench::small();
    assert_eq!(b.catalog.server(101), b.servers[1]);
    assert_eq!(b.catalog.slot_of(101), Some(b.servers[1]));
    assert_eq!(b.catalog.name_of(b.servers[1]), Some(101));
}
