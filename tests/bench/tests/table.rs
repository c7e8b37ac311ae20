//! What the figures of the table rest on, without any clock: bytes and allocations.

use forebay_bench::host::{HostAllocator, allocations};
use forebay_bench::table::Bench;
use forebay_core::table::{GroupMillis, Write};
use forebay_core::units::Now;

#[global_allocator]
static ALLOCATOR: HostAllocator = HostAllocator;

const ENTRIES: u64 = 200_000;

//= test TBL-MEMORY-03, TBL-MEMORY-02
#[test]
fn a_table_of_200000_entries_keeps_its_bytes_and_allocates_nothing_in_use() {
    let mut bench = Bench::new(ENTRIES).expect("a table of that size");
    let second = 1_000_000;
    let now = Now(10 * second);
    let reserved: u64 = bench.partitions().map(|p| p.bytes() as u64).sum();
    assert!(reserved <= 66 * ENTRIES, "{} bytes an entry", reserved as f64 / ENTRIES as f64);

    let before = allocations();
    bench.insert(0, ENTRIES, now, |_| {}).expect("all fit, none evicts another");
    let server = bench.server();
    for i in 0..ENTRIES {
        let found = bench.with(i, |p, c, k| {
            assert!(p.open(c, k, now).is_some_and(|o| o.first));
            assert!(p.close(c, k, now).is_some_and(|o| o.last));
            p.touch(c, k, now);
            if i % 3 == 0 {
                let group = GroupMillis(now.0 / 1_000);
                p.put(c, k, Write::moved(server), now, group).expect("it exists");
            }
            if i % 5 == 0 {
                p.remove(c, k, now, GroupMillis(now.0 / 1_000)).expect("a table that is defined");
            }
            p.get(c, k, now)
        });
        assert_eq!(found.is_some(), i % 5 != 0, "key {i}");
    }
    // Half as many again: every partition fills up and evicts.
    for i in ENTRIES..ENTRIES + ENTRIES / 2 {
        bench.with(i, |p, c, k| {
            p.put(c, k, Write::first(server), now, GroupMillis(0)).expect("the oldest goes")
        });
    }
    let expired = bench.sweep(Now(now.0 + 3_601 * second), |_| {});
    assert!(expired > ENTRIES / 2, "{expired} ended");
    assert_eq!(allocations() - before, 0, "allocations by {ENTRIES} entries in use");
    let stats = bench.stats();
    assert_eq!((stats.entries, stats.held, stats.refused), (0, 0, 0), "{stats:?}");
    // All are equally old here; whichever goes, free slots must stay spread over the partition.
    assert!(stats.evicted > 50_000 && stats.evicted_nearby < 50, "{stats:?}");
}
