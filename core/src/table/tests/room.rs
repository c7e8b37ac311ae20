//! What happens when a partition is full.

use super::limits::MOVES_SEEN_MAX;
use super::*;

fn full(b: &Bench) -> u32 {
    b.geometry.partition_limit()
}

//= test TBL-EVICT-01
#[test]
fn the_oldest_idle_entry_goes_first_and_is_reported() {
    let mut b = Bench::small();
    let n = full(&b);
    for i in 0..n {
        b.put(b.shared, i, 0).unwrap();
        b.pass(125);
    }
    // Used again: no longer the oldest.
    b.touch(b.shared, 0);
    b.open(b.shared, 1);
    let mut gone = Vec::new();
    for i in 0..n - 2 {
        let evicted = b.put(b.shared, 1_000 + i, 1).unwrap().evicted.expect("the partition is full");
        assert_eq!((evicted.table, evicted.server), (b.shared, Some(b.servers[0])));
        gone.push(u128::from_be_bytes(evicted.key.0) as u32);
    }
    let stats = b.part.stats();
    if stats.evicted_nearby == 0 {
        assert_eq!(gone, (2..n).collect::<Vec<_>>());
    }
    assert_eq!((stats.evicted, stats.entries), (u64::from(n - 2), n));
    b.verify();
    let partial =
        (0..b.geometry.cells()).filter(|c| b.part.digest(&b.catalog, b.shared, *c).unwrap().partial);
    assert!(partial.count() > 0, "the digests say that something was evicted");
}

//= test TBL-EVICT-01
#[test]
fn an_entry_that_arrives_old_goes_before_younger_ones() {
    let mut b = Bench::small();
    let n = full(&b);
    for i in 0..n {
        b.put(b.shared, i, 0).unwrap();
    }
    b.pass(5_000);
    b.put(b.shared, 100, 0).unwrap(); // makes the list of the oldest
    let mut old = b.entry(b.shared, 100).unwrap().record;
    old.age_ms = 9_000;
    let key = b.key(b.shared, 200);
    b.part.restore(&b.catalog, &key, &old, b.now).unwrap();
    let evicted = b.put(b.shared, 300, 0).unwrap().evicted.unwrap();
    assert_eq!((evicted.key, evicted.age_ms), (KeyBytes(200u128.to_be_bytes()), 9_000));
}

//= test TBL-EVICT-02
#[test]
fn a_partition_full_of_open_entries_refuses_and_counts() {
    let mut b = Bench::small();
    for i in 0..full(&b) {
        b.put(b.own, i, 0).unwrap();
        b.open(b.own, i);
    }
    let before = b.part.stats();
    assert_eq!(before.held, full(&b));
    assert_eq!(b.put(b.own, 900, 1), Err(Refused::Full));
    assert_eq!(b.part.stats(), Stats { refused: 1, ..before });
    for i in 0..full(&b) {
        assert_eq!(b.get(b.own, i), Some(b.servers[0]));
    }
    b.close(b.own, 4);
    let evicted = b.put(b.own, 900, 1).unwrap().evicted.unwrap();
    assert_eq!(evicted.key, KeyBytes(4u128.to_be_bytes()));
}

//= test TBL-INSERT-01
#[test]
fn a_partition_fills_to_its_limit_without_evicting_anything() {
    for seed in 0..20u32 {
        let mut b = Bench::with(Geometry::for_entries(2_000).unwrap(), 0);
        let mut stored = 0;
        for i in 0..b.geometry.partition_limit() {
            let n = seed.wrapping_mul(0x9e37_79b9).wrapping_add(i);
            let written = b.put(b.own, n, 0).unwrap();
            stored += u32::from(written.evicted.is_none());
        }
        assert_eq!(stored, b.geometry.partition_limit(), "seed {seed}: {:?}", b.part.stats());
        for i in 0..b.geometry.partition_limit() {
            let n = seed.wrapping_mul(0x9e37_79b9).wrapping_add(i);
            assert_eq!(b.get(b.own, n), Some(b.servers[0]));
        }
        let stats = b.part.stats();
        assert!(stats.moves > 0, "some needed a move");
        assert!((3..=MOVES_SEEN_MAX as u32).contains(&stats.widest_search), "{stats:?}");
    }
}

//= test TBL-EVICT-02
#[test]
fn where_no_slot_is_in_reach_the_oldest_in_reach_goes_but_never_an_open_one() {
    // Above its limit a partition is not filled; here it is, slot by slot, to force the last way out.
    let mut b = Bench::small();
    b.part.limit = b.geometry.buckets() * 3 + 1;
    let mut kept = Vec::new();
    for i in 0..400u32 {
        b.pass(125);
        let written = b.put(b.own, i, 0).unwrap();
        if i % 40 == 0 && b.open(b.own, i).is_some() {
            kept.push(i);
        }
        if let Some(e) = written.evicted {
            let n = u128::from_be_bytes(e.key.0) as u32;
            assert!(!kept.contains(&n), "{n} is open");
        }
    }
    let stats = b.part.stats();
    assert!(stats.evicted_nearby > 0);
    assert_eq!(stats.widest_search, MOVES_SEEN_MAX as u32, "a search in vain ends at its bound");
    assert_eq!(stats.entries, b.geometry.buckets() * 3);
    for n in kept {
        assert_eq!(b.get(b.own, n), Some(b.servers[0]));
    }
}

//= test TBL-MEMORY-03
#[test]
fn the_bytes_of_a_partition_are_what_the_geometry_promised() {
    for geometry in [Geometry::for_entries(1).unwrap(), Geometry::for_memory(1 << 20, 1).unwrap()] {
        let b = Bench::with(geometry, 0);
        let promised = b.geometry.bytes(1) / u64::from(b.geometry.partitions());
        assert!(b.part.bytes() as u64 <= promised, "{} of {promised}", b.part.bytes());
    }
}
//= test TBL-INSERT-01
#[test]
fn a_full_partition_that_turns_over_keeps_its_free_slots_in_reach() {
    // Ages all different, and all equal.
    for writes_per_tick in [1u32, u32::MAX] {
        let mut b = Bench::with(Geometry::for_entries(2_000).unwrap(), 0);
        for i in 0..b.geometry.partition_limit() * 4 {
            if i % writes_per_tick == 0 {
                b.pass(125);
            }
            let write = Write { class: Class::new(2).unwrap(), ..Write::first(b.servers[0]) };
            b.write(b.own, i, write).unwrap();
        }
        let stats = b.part.stats();
        assert_eq!(stats.evicted, u64::from(b.geometry.partition_limit() * 3));
        assert_eq!(stats.evicted_nearby, 0, "{writes_per_tick} a tick: {stats:?}");
    }
}
