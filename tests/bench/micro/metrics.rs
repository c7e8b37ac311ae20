//! `micro metrics`: what 10,000 services with 100,000 servers count in the Controller's store, all of them at work: how long it
//! takes to write and to roll up, how much it takes of the disk and of memory, and how long a series takes to be read.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::Context;
use forebay_metrics::{Ask, Keep, Key, Kind, Offer, Range, Store, Tally};

use crate::figure::{Report, median};
use crate::random::{below, mix};

/// A day that begins when this does, and so do its hours.
const DAY: u64 = 20_000 * 86_400_000;
/// Servers of a pool.
const SERVERS: u64 = 10;
/// Tallies of a sample, as engines tell them.
const TOGETHER: u64 = 2_000;

/// What something counts in five seconds at some ten requests a second.
fn tally(nth: u64) -> Tally {
    let some = |salt: u64, n: u64| below(mix(nth ^ mix(salt)), n);
    let mut sums = vec![0; 20];
    for (place, n) in
        [(0, 50), (1, 50), (2, 60), (4, 60), (6, 4), (8, 100_000), (9, 2_000_000), (10, 3_000_000)]
    {
        sums[place] = some(place as u64, n);
    }
    let durations = (0..12).map(|bucket| if bucket > 4 { some(100 + bucket, 12) } else { 0 }).collect();
    Tally { sums, tops: vec![some(99, 100)], durations }
}

/// Runs the scene in a folder that is made for it and removed.
///
/// # Errors
///
/// Fails if the folder cannot be used, or a series cannot be read.
pub fn run(services: u64, slots: u64, folder: &Path) -> anyhow::Result<()> {
    let folder = folder.join(format!("forebay-metrics-{}", std::process::id()));
    let done = measure(services, slots, &folder);
    std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    done
}

fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = text.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0.0);
    pages * 4_096.0 / 1_048_576.0
}

fn measure(services: u64, slots: u64, folder: &Path) -> anyhow::Result<()> {
    let report = Report::new("metrics");
    let clock = Arc::new(AtomicU64::new(DAY));
    let keep_clock = Arc::clone(&clock);
    let keep = Keep {
        bytes_max: 8 << 30,
        things_max: forebay_metrics::THINGS_MAX,
        clock: Arc::new(move || keep_clock.load(Ordering::SeqCst)),
    };
    let before = resident();
    let store = Store::open(folder, keep)?;
    let mut keys: Vec<Key> = Vec::new();
    for nth in 0..services {
        keys.push(Key::new(Kind::Service, &format!("virtualservice-{nth:036}")));
        let pool = format!("pool-{nth:036}");
        keys.push(Key::new(Kind::Pool, &pool));
        keys.extend(
            (0..SERVERS).map(|server| Key::server(&pool, &format!("10.1.{}.{server}:8080", nth % 250))),
        );
    }
    let (mut number, mut took) = (0, Vec::new());
    for slot in 1..=slots {
        clock.store(DAY + slot * 5_000, Ordering::SeqCst);
        let mut offers: Vec<Offer> = Vec::new();
        for (part, keys) in keys.chunks(TOGETHER as usize).enumerate() {
            number += 1;
            let one =
                |(at, key): (usize, &Key)| (key.clone(), tally(slot << 32 | (part as u64) << 16 | at as u64));
            offers.push(Offer {
                engine: "se".to_owned(),
                process: 1,
                number,
                oldest: 1,
                age: 0,
                length: 5_000,
                tallies: keys.iter().enumerate().map(one).collect(),
                done: Box::new(|_| {}),
            });
        }
        let began = Instant::now();
        for offer in offers {
            // There is room for a slot's samples.
            let _ = store.offer(offer);
        }
        store.flush();
        took.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    let counts = store.counts();
    report.put("samples_lost", counts.put_off as f64 + counts.failed as f64, "samples");
    report.put("slot_written_median", median(&mut took.clone()), "ms");
    report.put("slot_written_worst_rolling_up", took.iter().copied().fold(0.0, f64::max), "ms");
    let bytes = std::fs::metadata(folder.join("metrics.db"))?.len();
    report.put("bytes_a_tally", bytes as f64 / (slots as f64 * keys.len() as f64), "bytes");
    report.put("memory_grown", resident() - before, "MiB");
    let mut read = Vec::new();
    for nth in 0..50 {
        let key = keys[usize::try_from(below(mix(nth), keys.len() as u64))?].clone();
        let stop = DAY + slots * 5_000;
        let began = Instant::now();
        store.read(&Ask { keys: vec![key], engine: None, range: Range::of(0, 0, stop, slots) })?;
        read.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    report.put("series_of_all_slots_read", median(&mut read), "ms");
    let began = Instant::now();
    let page: Vec<Key> = keys.iter().filter(|key| key.of != Kind::Server).take(400).cloned().collect();
    store.totals(&page, Range::of(0, 0, DAY + slots * 5_000, 12))?;
    report.put("page_of_200_services_read", began.elapsed().as_secs_f64() * 1_000.0, "ms");
    Ok(())
}
