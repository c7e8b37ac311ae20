//! The persistence table at full size.

use crate::figure::{Report, median};
use crate::host::{allocations, cpu_ns, resident, resident_huge};
use crate::memory::Chase;
use crate::random::{below, key, mix};
use crate::repeated::Repeated;
use anyhow::{Context, ensure};
use forebay_core::table::{
    Catalog, EngineSlot, Geometry, GroupMillis, Key, KeyBytes, Lifetime, Partition, ServerSlot, Stats,
    TableId, TableMemory, TableSettings, Write,
};
use forebay_core::units::{Now, Seconds};
use std::sync::Mutex;

const LIFE_SECONDS: u32 = 300;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Entries in the table.
    pub entries: u64,
    /// Steps of each measured loop.
    pub steps: u64,
    /// Rounds; the median counts.
    pub rounds: usize,
    /// Tables that are filled and emptied one after the other.
    pub repeats: u64,
}

/// One table of one kind, as a service engine would have it.
pub struct Bench {
    geometry: Geometry,
    catalog: Catalog,
    table: TableId,
    partitions: Vec<Slot>,
    server: ServerSlot,
}

/// Keys made before the clock starts; they fit the first-level cache.
const BATCH: u64 = 1_024;

/// A partition as the service engine keeps it: lock word and what a look-up reads in one cache line.
#[repr(align(64))]
struct Slot(Mutex<Partition>);

/// Time between two seconds of the simulated clock that the loops use.
const SECOND: u64 = 1_000_000;

impl Bench {
    /// Reserves a table for `entries` random keys.
    ///
    /// # Errors
    /// More entries than a table can have.
    pub fn new(entries: u64) -> anyhow::Result<Self> {
        let geometry = Geometry::for_entries(entries)?;
        let memory = TableMemory::reserve(&geometry);
        let pages = memory.pages();
        pages.touch(0, pages.bytes());
        let mut catalog = Catalog::new(&memory, *b"micro bench key!", EngineSlot::default());
        let lives = vec![Lifetime::For(Seconds(LIFE_SECONDS))];
        let table = catalog.define(&TableSettings { name: 1, lives, synced: true })?;
        let server = catalog.server(77);
        let partitions =
            memory.into_partitions(&catalog, Now(0)).map(|part| Slot(Mutex::new(part))).collect();
        Ok(Self { geometry, catalog, table, partitions, server })
    }

    /// The `i`-th key.
    #[inline(always)]
    fn key(&self, i: u64) -> Key {
        self.catalog.key(self.table, key(i))
    }

    /// Inserts the keys `from` to `to`; tells `done` of each.
    ///
    /// # Errors
    /// An insert was refused or evicted something: the table was not large enough.
    pub fn insert(&mut self, from: u64, to: u64, now: Now, mut done: impl FnMut(u64)) -> anyhow::Result<()> {
        for i in from..to {
            let key = self.key(i);
            let part = open(&mut self.partitions[self.geometry.route(&key) as usize]);
            let written =
                part.put(&self.catalog, &key, Write::first(self.server), now, GroupMillis(now.0 / 1_000))?;
            ensure!(written.evicted.is_none(), "entry {i} evicted another: the partition was full");
            done(i);
        }
        Ok(())
    }

    /// The partitions, one after the other.
    pub fn partitions(&mut self) -> impl Iterator<Item = &mut Partition> {
        self.partitions.iter_mut().map(open)
    }

    /// The server that the entries are bound to.
    pub fn server(&self) -> ServerSlot {
        self.server
    }

    /// Does something with the `i`-th key and its partition.
    pub fn with<T>(&mut self, i: u64, op: impl FnOnce(&mut Partition, &Catalog, &Key) -> T) -> T {
        let key = self.key(i);
        op(open(&mut self.partitions[self.geometry.route(&key) as usize]), &self.catalog, &key)
    }

    /// The figures of all partitions together.
    pub fn stats(&mut self) -> Stats {
        let mut sum = Stats::default();
        self.partitions().for_each(|p| sum.add(&p.stats()));
        sum
    }

    /// Nanoseconds of `op` on the entries of random keys out of the first `n`. The keys are at hand, as a
    /// client's address is; which of them comes next depends on what `op` returned for the one before, so
    /// that no miss overlaps the next. With `DEPENDENT` false it does not.
    #[inline(always)]
    fn run<const DEPENDENT: bool>(
        &mut self,
        seed: u64,
        n: u64,
        steps: u64,
        mut op: impl FnMut(&mut Partition, &Catalog, &Key) -> Option<ServerSlot>,
    ) -> f64 {
        let mut batch = [KeyBytes([0; 16]); BATCH as usize];
        let (mut ns, mut carried, mut missed) = (0, 0, 0);
        for first in (0..steps).step_by(BATCH as usize) {
            for (i, k) in (first..).zip(&mut batch) {
                *k = key(below(mix(seed + i), n));
            }
            let start = cpu_ns();
            for k in &batch {
                let bytes = KeyBytes((u128::from_be_bytes(k.0) ^ carried).to_be_bytes());
                let key = self.catalog.key(self.table, bytes);
                let part = self.partitions[self.geometry.route(&key) as usize].0.get_mut();
                let found = op(part.expect("nobody panics with the lock"), &self.catalog, &key);
                let found = found.map_or(1, |s| u128::from(s.0));
                if DEPENDENT {
                    carried = found;
                }
                missed |= found;
            }
            ns += cpu_ns() - start;
        }
        assert_eq!(missed, 0, "every look-up found the server in slot 0");
        ns as f64 / (steps.next_multiple_of(BATCH)) as f64
    }

    /// Passes the clock hand over every partition and tells `done` of each; returns entries expired.
    pub fn sweep(&mut self, now: Now, mut done: impl FnMut(u64)) -> u64 {
        let mut expired = 0;
        for (i, part) in (0..).zip(&mut self.partitions) {
            expired += u64::from(open(part).sweep(&self.catalog, now, u32::MAX).expired);
            done(i);
        }
        expired
    }
}

/// Runs everything and prints it.
///
/// # Errors
/// The table cannot be made, or does not behave.
pub fn run(scene: &str, plan: Plan) -> anyhow::Result<()> {
    let report = Report::new(scene);
    let Plan { entries, repeats, .. } = plan;
    let partitions = u64::from(Geometry::for_entries(entries)?.partitions());
    let mut times = Times {
        inserts: Repeated::new(entries),
        quiet: Repeated::new(partitions),
        all: Repeated::new(partitions),
    };
    for round in 1..=repeats {
        one_table(&report, plan, &mut times, round == 1, round == repeats)?;
    }
    let Times { inserts, quiet, all } = times;
    let inserted = (entries * repeats) as f64;
    let nothing = Repeated::of_nothing(&inserts, entries * repeats);
    report.put("rounds_of_inserts_and_sweeps", repeats as f64, "rounds");
    report.put("insert_mean", inserts.sum_ns as f64 / inserted - clock_cost(), "ns");
    report.put("insert_longest", inserts.max_ns as f64, "ns");
    report.put("inserts_above_1_ms_in_all_rounds_together", inserts.above_1_ms as f64, "inserts");
    report.put("inserts_above_1_ms_in_every_round", inserts.above_1_ms_in_every_round() as f64, "inserts");
    report.put("insert_longest_at_its_best", f64::from(inserts.longest_at_its_best_ns()), "ns");
    report.put("longest_of_doing_nothing_as_long", nothing.max_ns as f64, "ns");
    report.put("of_doing_nothing_above_1_ms", nothing.above_1_ms as f64, "times");
    for (what, sweeps) in [("nothing_ends", &quiet), ("all_end", &all)] {
        let each = sweeps.sum_ns as f64 / inserted;
        let put = |name: &str, value, unit| report.put(&format!("{name}_when_{what}"), value, unit);
        put("sweep_an_entry", each, "ns");
        put("sweep_longest_slice", sweeps.max_ns as f64, "ns");
        put("sweep_longest_slice_at_its_best", f64::from(sweeps.longest_at_its_best_ns()), "ns");
        put("sweeps_above_1_ms_in_all_rounds_together", sweeps.above_1_ms as f64, "sweeps");
        put("sweeps_above_1_ms_in_every_round", sweeps.above_1_ms_in_every_round() as f64, "sweeps");
    }
    Ok(())
}

/// What is timed in every round.
struct Times {
    inserts: Repeated,
    /// Sweeps that find nothing to do.
    quiet: Repeated,
    /// Sweeps that clear away every entry.
    all: Repeated,
}

/// Fills a new table and empties it. The first one shows what it weighs, the last one what its use costs.
fn one_table(
    report: &Report,
    plan: Plan,
    times: &mut Times,
    is_first: bool,
    is_last: bool,
) -> anyhow::Result<()> {
    let Plan { entries, steps, rounds, .. } = plan;
    let before = resident()?;
    let mut bench = Bench::new(entries).context("reserving the table")?;
    let reserved = resident()?.saturating_sub(before);
    let now = Now(10 * SECOND);

    let calls = allocations();
    times.inserts.start();
    bench.insert(0, entries, now, |i| times.inserts.done(i))?;
    if is_first {
        report.put("allocations_by_inserts", (allocations() - calls) as f64, "allocations");
        report.put("bytes_an_entry_by_rss", (resident()? - before) as f64 / entries as f64, "bytes");
        report.put("bytes_an_entry_reserved", reserved as f64 / entries as f64, "bytes");
        report.put("huge_pages", resident_huge()? as f64, "bytes");
        let stats = bench.stats();
        report.put("moves_per_1000_inserts", stats.moves as f64 * 1e3 / entries as f64, "moves");
        report.put("buckets_seen_by_the_longest_search", f64::from(stats.widest_search), "buckets");
        report.put("buckets_of_a_partition", f64::from(bench.geometry.buckets()), "buckets");
    }
    if is_last {
        let bytes = bench.geometry.bytes(1) as usize;
        measure_access(report, &mut bench, entries, steps, rounds, bytes, now);
    }

    times.quiet.start();
    let expired = bench.sweep(now, |i| times.quiet.done(i));
    ensure!(expired == 0, "nothing is old enough to end");
    if is_last {
        bench = two_threads(report, bench, entries, steps, now)?;
    }
    let late = Now(now.0 + u64::from(LIFE_SECONDS + 100) * SECOND);
    let calls = allocations();
    times.all.start();
    let expired = bench.sweep(late, |i| times.all.done(i));
    ensure!(expired == entries, "{expired} of {entries} entries ended");
    if is_last {
        report.put("allocations_by_sweeps", (allocations() - calls) as f64, "allocations");
    }
    Ok(())
}

fn clock_cost() -> f64 {
    let start = cpu_ns();
    for _ in 0..100_000 {
        std::hint::black_box(cpu_ns());
    }
    (cpu_ns() - start) as f64 / 1e5
}

fn measure_access(
    report: &Report,
    bench: &mut Bench,
    n: u64,
    steps: u64,
    rounds: usize,
    bytes: usize,
    now: Now,
) {
    const HOT_KEYS: u64 = 500;
    let chase = Chase::new(bytes);
    let mut rows: [Vec<f64>; 8] = Default::default();
    for round in 0..rounds as u64 {
        let seed = round * 0x1000_0000;
        let access = chase.run(seed, steps);
        let get = bench.run::<true>(seed + 0x100_0000, n, steps, |p, c, k| p.get(c, k, now));
        let touch = bench.run::<true>(seed + 0x200_0000, n, steps, |p, c, k| {
            let found = p.get(c, k, now);
            p.touch(c, k, now);
            found
        });
        let open = bench.run::<true>(seed + 0x300_0000, n, steps, |p, c, k| {
            let found = p.get(c, k, now);
            p.open(c, k, now);
            found
        });
        let close = bench
            .run::<false>(seed + 0x300_0000, n, steps, |p, c, k| p.close(c, k, now).map(|_| ServerSlot(0)));
        let only =
            bench.run::<true>(seed + 0x600_0000, n, steps, |p, c, k| p.open(c, k, now).map(|o| o.server));
        bench.run::<false>(seed + 0x600_0000, n, steps, |p, c, k| p.close(c, k, now).map(|_| ServerSlot(0)));
        let free = bench.run::<false>(seed + 0x400_0000, n, steps, |p, c, k| p.get(c, k, now));
        bench.run::<true>(seed, HOT_KEYS, HOT_KEYS * 20, |p, c, k| p.get(c, k, now));
        let hot = bench.run::<true>(seed, HOT_KEYS, steps, |p, c, k| p.get(c, k, now));
        let access = (access + chase.run(seed + 0x500_0000, steps)) / 2.0;
        for (row, x) in rows.iter_mut().zip([access, hot, free, get, touch, open, close, only]) {
            row.push(x);
        }
    }
    let ratio = |a: &[f64], b: &[f64]| median(&mut a.iter().zip(b).map(|(a, b)| a / b).collect::<Vec<_>>());
    let [get_ratio, touch_ratio, open_ratio, only_ratio] = [3, 4, 5, 7].map(|i| ratio(&rows[i], &rows[0]));
    let names = [
        "one_dependent_access_same_size",
        "get_hot",
        "get_cold_independent",
        "get_cold_dependent",
        "get_and_touch_cold_dependent",
        "get_and_open_cold_dependent",
        "close_cold_independent",
        "open_cold_dependent",
    ];
    for (name, row) in names.iter().zip(&mut rows) {
        report.put(name, median(row), "ns");
    }
    report.put("get_to_one_access", get_ratio, "ratio");
    report.put("get_and_touch_to_one_access", touch_ratio, "ratio");
    report.put("get_and_open_to_one_access", open_ratio, "ratio");
    report.put("open_to_one_access", only_ratio, "ratio");
}

/// One thread, then two at once, over all partitions behind a lock each.
fn two_threads(report: &Report, bench: Bench, n: u64, steps: u64, now: Now) -> anyhow::Result<Bench> {
    let Bench { geometry, catalog, table, partitions, server } = bench;
    let work = |seed: u64| {
        let mut waits = 0u64;
        let start = cpu_ns();
        for i in 0..steps {
            let key = catalog.key(table, key(below(mix(seed + i), n)));
            let lock = &partitions[geometry.route(&key) as usize].0;
            let mut part = match lock.try_lock() {
                Ok(part) => part,
                Err(_) => {
                    waits += 1;
                    lock.lock().expect("no thread panics with the lock")
                }
            };
            if i % 2 == 0 {
                std::hint::black_box(part.get(&catalog, &key, now));
            } else {
                part.touch(&catalog, &key, now);
            }
        }
        ((cpu_ns() - start) as f64 / steps as f64, waits)
    };
    let (mut alone, mut both, mut waits) = (Vec::new(), Vec::new(), 0);
    for round in 0..5u64 {
        let seed = round * 0x1000_0000;
        alone.push(work(seed).0);
        let (a, b) = std::thread::scope(|s| {
            let other = s.spawn(|| work(seed + 0x700_0000));
            let mine = work(seed + 0x800_0000);
            (mine, other.join().expect("the other thread does not panic"))
        });
        both.push((a.0 + b.0) / 2.0);
        waits += a.1 + b.1;
    }
    report.put("locked_get_or_touch_one_thread", median(&mut alone), "ns");
    report.put("locked_get_or_touch_two_threads", median(&mut both), "ns");
    report.put("waits_per_million_operations", waits as f64 * 1e6 / (steps as f64 * 10.0), "waits");
    Ok(Bench { geometry, catalog, table, partitions, server })
}

fn open(slot: &mut Slot) -> &mut Partition {
    slot.0.get_mut().expect("nobody panics with the lock")
}
