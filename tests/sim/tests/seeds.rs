//! Runs of the simulator that the gate repeats. A run that breaks a promise is told by its seed;
//! `cargo run --profile gate -p forebay-sim -- SEED` tells all that happens in it.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use forebay_sim::{Plan, World};

/// Seeds of the gate, and of a full run; and those that nobody has run before.
const FEW: u64 = 60;
const ALL: u64 = 10_000;
const FRESH: u64 = 4;

/// Seeds that broke a promise once.
const ONCE: [u64; 14] = [486, 863, 1198, 1225, 1338, 1482, 1629, 1653, 1740, 1744, 2009, 2206, 2699, 3197];

/// And since engines are replaced, read only, and write values.
const SINCE: [u64; 11] = [583, 597, 687, 773, 2596, 4071, 5362, 9696, 20_000_052, 20_000_119, 20_000_273];

/// Runs seeds on two threads; tells which broke a promise, and how many had three faults at once.
fn run(seeds: Range<u64>) -> (Vec<String>, u64) {
    let (next, overlapping) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let work = || {
        let mut broken = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || broken.len() > 5 {
                return broken;
            }
            match World::run(seed, false) {
                Ok(summary) => {
                    overlapping.fetch_add(u64::from(summary.overlapping >= 3), Ordering::Relaxed);
                }
                Err(violation) => {
                    broken.push(format!("seed {seed}, {} us: {}", violation.at, violation.what));
                }
            }
        }
    };
    let broken = std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let mut broken = work();
        broken.extend(other.join().expect("the other half"));
        broken
    });
    (broken, overlapping.into_inner())
}

//= test SYNC-SIM-01
#[test]
fn whatever_fails_the_tables_become_equal_and_no_promise_is_broken() {
    let seeds = if std::env::var_os("FOREBAY_LONG").is_some() { ALL } else { FEW };
    let (broken, overlapping) = run(0..seeds);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(overlapping * 2 >= seeds, "{overlapping} of {seeds} with three faults at once");
}

/// `cargo run --profile gate -p forebay-sim -- SEED` repeats one that failed.
//= test SYNC-SIM-01
#[test]
fn seeds_that_nobody_has_run_before_break_no_promise() {
    // Every hasher of the standard library has keys of its own.
    let first = RandomState::new().hash_one(std::process::id()) >> 1;
    println!("seeds from {first}");
    let (broken, _) = run(first..first + FRESH);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

//= test SYNC-SIM-01
#[test]
fn seeds_that_broke_a_promise_once_break_none() {
    for seed in ONCE {
        let run = World::run_plan(Plan::before(seed), seed, false, None);
        assert!(run.is_ok(), "seed {seed}: {run:?}");
    }
}

//= test SYNC-SIM-01
#[test]
fn seeds_of_this_release_that_broke_a_promise_once_break_none() {
    for seed in SINCE {
        let run = World::run(seed, false);
        assert!(run.is_ok(), "seed {seed}: {run:?}");
    }
}

/// Seeds of a group that loses all its engines and has one that only reads.
//= test SYNC-GIVE-01
#[test]
fn what_one_that_only_reads_has_is_there_again_before_engines_that_lost_all_serve() {
    let few = if std::env::var_os("FOREBAY_LONG").is_some() { 1_000 } else { 6 };
    // The last ones broke it once.
    let broken: Vec<String> = (0..few)
        .chain([108, 131, 133, 206, 279, 489, 859, 955, 959])
        .filter_map(|seed| Some((seed, World::run_plan(Plan::lost(seed), seed, false, None).err()?)))
        .map(|(seed, broken)| format!("seed {seed}, {} us: {}", broken.at, broken.what))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    let same = |seed| {
        let [a, b] = [(); 2].map(|()| World::run(seed, false).expect("no promise is broken"));
        assert_eq!((a.events, a.bytes, a.entries), (b.events, b.bytes, b.entries));
        (a.events, a.bytes)
    };
    assert_ne!(same(11), same(12));
}

//= test SYNC-SIM-01
#[test]
fn many_engines_become_equal_after_half_of_them_were_cut_off() {
    let engines = if std::env::var_os("FOREBAY_LONG").is_some() { 64 } else { 20 };
    let summary = World::run_plan(Plan::crowd(engines), 1, false, None).expect("no promise is broken");
    assert!(summary.entries > usize::from(engines), "{summary:?}");
}

#[test]
fn half_of_all_plans_have_three_faults_at_once() {
    let overlapping = (0..ALL).filter(|seed| Plan::of(*seed).overlapping() >= 3).count() as u64;
    assert!(overlapping * 2 >= ALL, "{overlapping} of {ALL}");
}
