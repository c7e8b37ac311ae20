//! Tables that engines share: versions, tombstones, digests, records.

use super::*;

fn tombstone(b: &Bench, n: u32) -> bool {
    b.entry(b.shared, n).is_some_and(|e| e.record.tombstone)
}

//= test TBL-REMOVE-01
#[test]
fn a_shared_entry_leaves_a_tombstone_for_an_hour() {
    let mut b = Bench::small();
    b.put(b.shared, 1, 0).unwrap();
    let life = b.entry(b.shared, 1).unwrap().record.version;
    assert_eq!(b.remove(b.shared, 1), Some(b.servers[0]));
    assert_eq!(b.get(b.shared, 1), None);
    let dead = b.entry(b.shared, 1).unwrap().record;
    assert!(dead.tombstone && dead.version.switches == 65_536 && dead.version.birth == life.birth);
    b.pass(3_600_000);
    assert_eq!((b.sweep().expired, tombstone(&b, 1)), (0, true));
    b.pass(250);
    assert_eq!((b.sweep().expired, tombstone(&b, 1)), (1, false));
    b.verify();
}

#[test]
fn a_tombstone_with_open_connections_stays() {
    let mut b = Bench::small();
    b.put(b.shared, 1, 0).unwrap();
    b.elsewhere(b.shared, 1, 3, true);
    b.remove(b.shared, 1);
    b.pass(4_000_000);
    assert_eq!((b.sweep().expired, tombstone(&b, 1)), (0, true));
}

//= test TBL-VERSION-04
#[test]
fn a_life_over_a_tombstone_is_not_evicted_and_leaves_a_tombstone_below_itself() {
    let mut b = Bench::small();
    b.put(b.shared, 1, 0).unwrap();
    b.remove(b.shared, 1);
    b.put(b.shared, 1, 1).unwrap();
    let reborn = b.entry(b.shared, 1).unwrap().record.version;
    assert_eq!(reborn.switches, 65_537);
    for i in 100..200 {
        b.put(b.shared, i, 0).unwrap();
    }
    assert_eq!(b.get(b.shared, 1), Some(b.servers[1]), "not evicted");
    b.write(b.shared, 1, Write::moved(b.servers[2])).unwrap();
    b.pass(10_251);
    b.sweep();
    let dead = b.entry(b.shared, 1).unwrap().record;
    assert!(dead.tombstone);
    assert_eq!((dead.version.birth, dead.version.switches), (reborn.birth, 65_536));
    b.verify();
    b.pass(3_600_251);
    b.sweep();
    assert_eq!((b.entry(b.shared, 1), b.part.stats().entries), (None, 0));
}

//= test TBL-VERSION-04
#[test]
fn a_later_life_leaves_a_tombstone_of_the_minute_before() {
    let mut b = Bench::small();
    b.put(b.shared, 1, 0).unwrap();
    b.remove(b.shared, 1);
    b.pass(300_000);
    b.put(b.shared, 1, 1).unwrap();
    let reborn = b.entry(b.shared, 1).unwrap().record.version;
    b.pass(10_251);
    b.sweep();
    let dead = b.entry(b.shared, 1).unwrap().record.version;
    assert_eq!((dead.birth, dead.switches), (reborn.birth - 1, u32::MAX));
}

//= test TBL-VERSION-05
#[test]
fn stamps_of_one_partition_always_grow_unless_time_went_back_by_more_than_half_an_hour() {
    let mut b = Bench::small();
    b.put(b.shared, 1, 0).unwrap();
    b.put(b.shared, 2, 0).unwrap();
    let stamp = |b: &Bench, n| b.entry(b.shared, n).unwrap().record.version.stamp;
    assert!(stamp(&b, 2) > stamp(&b, 1));
    b.now = Now(b.now.0 - 500_000_000);
    b.put(b.shared, 3, 0).unwrap();
    assert!(stamp(&b, 3) > stamp(&b, 2));
    b.now = Now(b.now.0 + 3_000_000_000);
    b.put(b.shared, 4, 0).unwrap();
    b.now = Now(b.now.0 - 3_000_000_000);
    b.put(b.shared, 5, 0).unwrap();
    assert_eq!(stamp(&b, 5), b.group().0 << 16);
}

#[test]
fn the_last_write_of_a_key_value_table_holds() {
    let mut b = Bench::small();
    let last = |server| Write { kind: WriteKind::Last, ..Write::first(server) };
    b.write(b.shared, 1, last(b.servers[0])).unwrap();
    assert_eq!(b.write(b.shared, 1, last(b.servers[1])).unwrap().outcome, Outcome::Replaced(b.servers[0]));
    let v = b.entry(b.shared, 1).unwrap().record.version;
    assert_eq!((v.birth, v.switches), (0, 0));
    b.verify();
}

/// All digests of the shared table by the coarser of two divisions.
fn parts(benches: &[(&Geometry, &Catalog, &[Partition])], table: TableId, bits: u8) -> Vec<(u32, u128)> {
    let mut parts = vec![(0u32, 0u128); 1 << bits];
    for (geometry, catalog, partitions) in benches {
        for (p, part) in (0..).zip(*partitions) {
            for cell in 0..geometry.cells() {
                let n = geometry.part_of(p, cell) >> (geometry.digest_bits() - bits);
                let d = part.digest(catalog, table, cell).unwrap();
                let sum = &mut parts[n as usize];
                *sum = (sum.0 + d.count, sum.1.wrapping_add(d.sum));
            }
        }
    }
    parts
}

//= test TBL-RECORD-01, TBL-DIGEST-01
#[test]
fn two_engines_of_unequal_memory_that_hold_the_same_have_the_same_digests() {
    let small = Geometry::for_entries(1_000).unwrap();
    let large = Geometry::for_entries(60_000).unwrap();
    assert!(large.partitions() > small.partitions());
    let mut a = Bench::with(small, 3);
    for n in 0..900 {
        a.put(a.shared, n, n as usize % 5).unwrap();
        if n % 3 == 0 {
            a.open(a.shared, n);
        }
        if n % 7 == 0 {
            a.remove(a.shared, n);
        }
        a.elsewhere(a.shared, n, 9, n % 4 == 0);
    }
    let mut b = Bench::with(large, 9);
    let mut parts_b = core::mem::take(&mut b.others);
    parts_b.insert(0, b.part);
    for e in a.part.entries(&a.catalog, 0..u32::MAX, a.now).filter(|e| e.table == a.shared) {
        let key = b.catalog.key(b.shared, e.key);
        let part = &mut parts_b[large.route(&key) as usize];
        part.restore(&b.catalog, &key, &e.record, b.now).unwrap();
        // Each engine alone knows what is open there.
        if e.record.open & 1 << 9 != 0 && !e.record.tombstone {
            part.open(&b.catalog, &key, b.now).unwrap();
        }
    }
    // A tombstone cannot be opened; what engine 9 has open of one is told by it later.
    for n in (0..900).filter(|n| n % 28 == 0) {
        a.elsewhere(a.shared, n, 9, false);
    }
    let bits = small.digest_bits().min(large.digest_bits());
    let of_a = parts(&[(&small, &a.catalog, core::slice::from_ref(&a.part))], a.shared, bits);
    let of_b = parts(&[(&large, &b.catalog, &parts_b)], b.shared, bits);
    assert_eq!(of_a.iter().map(|p| p.0).sum::<u32>(), 900);
    assert_eq!(of_a, of_b);
    // And one bit of one key makes a difference.
    a.elsewhere(a.shared, 5, 50, true);
    assert_ne!(parts(&[(&small, &a.catalog, core::slice::from_ref(&a.part))], a.shared, bits), of_b);
}

//= test TBL-RECORD-01
#[test]
fn a_record_past_its_end_of_life_is_dropped_unless_it_is_open() {
    let mut b = Bench::small();
    b.put(b.shared, 1, 0).unwrap();
    let mut record = b.entry(b.shared, 1).unwrap().record;
    record.age_ms = 20_000;
    let key = b.key(b.shared, 2);
    b.part.restore(&b.catalog, &key, &record, b.now).unwrap();
    assert_eq!(b.entry(b.shared, 2), None);
    record.open = 1 << 5;
    b.part.restore(&b.catalog, &key, &record, b.now).unwrap();
    assert_eq!(b.get(b.shared, 2), Some(b.servers[0]));
    b.verify();
}

//= test TBL-RECORD-01
#[test]
fn of_two_ages_the_younger_holds_and_travels_as_a_duration() {
    let mut b = Bench::small();
    b.put(b.shared, 1, 0).unwrap();
    b.pass(4_000);
    let record = b.entry(b.shared, 1).unwrap().record;
    assert_eq!(record.age_ms, 4_000);
    let key = b.key(b.shared, 1);
    b.part.restore(&b.catalog, &key, &Record { age_ms: 9_000, ..record }, b.now).unwrap();
    assert_eq!(b.entry(b.shared, 1).unwrap().record.age_ms, 4_000);
    b.part.restore(&b.catalog, &key, &Record { age_ms: 1_000, ..record }, b.now).unwrap();
    let entry = b.entry(b.shared, 1).unwrap();
    assert_eq!((entry.record.age_ms, entry.left_ms), (1_000, Some(9_000)));
}

//= test TBL-RECORD-01
#[test]
fn the_time_since_a_removal_is_no_idle_time_of_a_life() {
    let mut b = Bench::small();
    b.put(b.shared, 1, 0).unwrap();
    let key = b.key(b.shared, 1);
    let life = Record { age_ms: 9_000, ..b.entry(b.shared, 1).unwrap().record };
    b.remove(b.shared, 1);
    let removal = b.entry(b.shared, 1).unwrap().record;
    b.pass(1_000);
    b.part.restore(&b.catalog, &key, &life, b.now).unwrap();
    assert_eq!(b.entry(b.shared, 1).unwrap().record.age_ms, 9_000, "it is not renewed by what it replaces");
    b.part.restore(&b.catalog, &key, &Record { age_ms: 60_000, ..removal }, b.now).unwrap();
    assert_eq!(b.entry(b.shared, 1).unwrap().record.age_ms, 60_000, "nor is the removal");
    b.part.restore(&b.catalog, &key, &Record { age_ms: 90_000, ..removal }, b.now).unwrap();
    assert_eq!(b.entry(b.shared, 1).unwrap().record.age_ms, 60_000);
    b.verify();
}

//= test TBL-RECORD-01
#[test]
fn a_record_changes_everything_but_what_is_open_here() {
    let mut b = Bench::small();
    b.put(b.shared, 1, 0).unwrap();
    b.open(b.shared, 1);
    let key = b.key(b.shared, 1);
    let version = Version { birth: 9, switches: 8, stamp: 7, origin: EngineSlot::new(6).unwrap() };
    let class = Class::new(1).unwrap();
    let record = Record {
        server: b.servers[4],
        class,
        version,
        tombstone: true,
        lasting: false,
        open: 0b110,
        age_ms: 0,
    };
    b.part.restore(&b.catalog, &key, &record, b.now).unwrap();
    assert_eq!(b.entry(b.shared, 1).unwrap().record, Record { open: 0b111, ..record });
    b.verify();
}

//= test TBL-RECORD-01
#[test]
fn a_life_that_began_over_a_tombstone_elsewhere_lasts_here_too() {
    let mut b = Bench::small();
    b.put(b.shared, 1, 0).unwrap();
    b.remove(b.shared, 1);
    b.put(b.shared, 1, 1).unwrap();
    let record = b.entry(b.shared, 1).unwrap().record;
    assert!(record.lasting);
    let mut other = Bench::small();
    for known in [false, true] {
        let key = other.key(other.shared, u32::from(known));
        if known {
            other.put(other.shared, 1, 0).unwrap();
        }
        other.part.restore(&other.catalog, &key, &record, other.now).unwrap();
        assert_eq!(other.part.entry(&other.catalog, &key, other.now).unwrap().record, record);
    }
    other.verify();
    other.pass(10_251);
    let before = other.entry(other.shared, 1).unwrap().record;
    assert!(tombstone(&other, 0) && tombstone(&other, 1), "even before the hand comes by");
    other.sweep();
    assert_eq!(other.entry(other.shared, 1).unwrap().record.version, before.version);
    assert!(tombstone(&other, 0) && tombstone(&other, 1));
    let key = other.key(other.shared, 2);
    other.part.restore(&other.catalog, &key, &Record { age_ms: 20_000, ..record }, other.now).unwrap();
    let late = other.entry(other.shared, 2).unwrap().record;
    assert_eq!((late.tombstone, late.version), (true, before.version), "it had ended on its way");
    other.verify();
}

//= test TBL-HOLD-01
#[test]
fn what_is_held_does_not_end_until_it_is_released() {
    let mut b = Bench::small();
    b.put(b.own, 1, 0).unwrap();
    b.put(b.shared, 2, 0).unwrap();
    b.put(b.shared, 3, 0).unwrap();
    b.remove(b.shared, 3);
    b.part.hold(Hold { entries: true, tombstones: false });
    b.pass(3_600_251);
    assert_eq!(b.sweep().expired, 2, "what is not shared, and the tombstone");
    assert_eq!(b.get(b.shared, 2), Some(b.servers[0]));
    b.part.hold(Hold { entries: false, tombstones: true });
    assert_eq!(b.get(b.shared, 2), None);
    b.put(b.shared, 3, 0).unwrap();
    b.remove(b.shared, 3);
    b.pass(3_600_251);
    assert_eq!((b.sweep().expired, tombstone(&b, 3)), (1, true));
    b.part.hold(Hold::default());
    b.pass(3_600_000);
    assert_eq!((b.sweep().expired, tombstone(&b, 3)), (0, true), "its hour began when it was released");
    b.pass(251);
    assert_eq!((b.sweep().expired, tombstone(&b, 3)), (1, false));
    b.verify();
}

//= test TBL-OPEN-02
#[test]
fn a_close_elsewhere_that_is_heard_of_late_takes_nothing_from_the_countdown_of_a_later_one_here() {
    let mut b = Bench::small();
    b.put(b.shared, 1, 0).unwrap();
    b.open(b.shared, 1);
    b.elsewhere(b.shared, 1, 3, true);
    b.pass(20_000);
    b.close(b.shared, 1);
    let open = b.entry(b.shared, 1).unwrap().record;
    assert_eq!(open.open, 0b1000);
    b.pass(1_000);
    let key = b.key(b.shared, 1);
    b.part.restore(&b.catalog, &key, &Record { open: 0, age_ms: 6_000, ..open }, b.now).unwrap();
    assert_eq!(b.entry(b.shared, 1).unwrap().record.age_ms, 1_000);
}

//= test TBL-DIGEST-02
#[test]
fn a_garbled_entry_is_found_by_recomputing_the_digest() {
    let mut b = Bench::small();
    b.put(b.shared, 1, 0).unwrap();
    b.verify();
    let key = b.key(b.shared, 1);
    let at = b.part.find(&b.catalog, &key).unwrap();
    b.part.store.set_value(at, b.servers[1].0);
    let mismatch = b.part.verify(&b.catalog, b.shared).unwrap_err();
    assert_eq!(mismatch.running.count, mismatch.recomputed.count);
    assert_ne!(mismatch.running.sum, mismatch.recomputed.sum);
}
