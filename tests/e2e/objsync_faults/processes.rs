//! Engines that are killed, and engines that start anew one after another.

use std::time::{Duration, Instant};

use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Engine, long, long_or};

use crate::common::wait_until_gone;
use crate::group::{Group, entries, ready, synced};
use crate::machines::verified;

/// Starts an engine anew in a slot whose engine is gone.
fn anew(group: &Group, slot: usize) -> Engine {
    wait_until_gone(group, slot);
    let engine = group.spawn(slot);
    ready(&engine);
    engine
}

#[test]
fn clients_whose_entries_others_have_keep_their_server_whichever_engine_is_killed() {
    const ENGINES: usize = 3;
    let group = Group::new(ENGINES);
    let mut engines = group.start();
    let mut homes: Vec<String> = Vec::new();
    let began = Instant::now();
    // Which one comes next is chosen by no clock and no chance, and is another one each time.
    for turn in 0.. {
        if turn >= 3 && !(long() && began.elapsed() < Duration::from_secs(600)) {
            break;
        }
        let (writer, victim) = (turn % ENGINES, (turn * 7 + turn / ENGINES) % ENGINES);
        for _ in 0..30 {
            homes.push(group.by_address(writer, homes.len() as u32));
        }
        // What the others have, an engine that is killed takes nothing of. How far they are behind is shown now and then only.
        for engine in &engines {
            eventually("every engine has every entry", secs(20), || entries(engine) == homes.len());
        }
        engines[victim].process.kill();
        let violations = (0..ENGINES)
            .filter(|slot| *slot != victim)
            .flat_map(|slot| homes.iter().enumerate().map(move |(n, home)| (slot, n as u32, home)))
            .filter(|(slot, n, home)| group.by_address(*slot, *n) != **home)
            .count();
        assert_eq!(violations, 0, "turn {turn}, of {} clients at two engines", homes.len());
        engines[victim] = anew(&group, victim);
        for engine in &engines {
            synced(engine, ENGINES - 1);
        }
    }
    for slot in 0..ENGINES {
        let moved = homes.iter().zip(0..).filter(|(home, n)| group.by_address(slot, *n) != **home).count();
        assert_eq!(moved, 0, "at engine {slot} in the end");
    }
}

#[test]
fn an_engine_that_is_killed_right_after_its_answers_takes_little_with_it() {
    let group = Group::new(2);
    let mut engines = group.start();
    let clients = long_or(2_000, 300);
    let homes: Vec<String> = (0..clients).map(|n| group.by_address(0, n)).collect();
    engines[0].process.kill();
    // Who was answered in the last moments may be new to the other engine; whoever came before is not. A machine with
    // nothing else to do answers three in a millisecond, and the others have them a few milliseconds later.
    let lost: Vec<u32> = (0..clients).filter(|n| group.by_address(1, *n) != homes[*n as usize]).collect();
    println!("{} of {clients} clients lost their server", lost.len());
    assert!(lost.iter().all(|n| n + 20 >= clients), "only the last ones: {lost:?}");
}

#[test]
fn a_rolling_restart_loses_no_entry() {
    const ENGINES: usize = 8;
    let group = Group::new(ENGINES);
    let mut engines = group.start();
    let clients = long_or(2_000, 200);
    let homes: Vec<String> = (0..clients).map(|n| group.by_address(n as usize % ENGINES, n)).collect();
    for engine in &engines {
        eventually("every engine has every entry", secs(20), || entries(engine) == clients as usize);
    }
    for slot in 0..ENGINES {
        let ended = engines[slot].process.end(secs(20));
        assert!(ended.success(), "engine {slot}: {ended}");
        engines[slot] = anew(&group, slot);
        for engine in &engines {
            synced(engine, ENGINES - 1);
        }
    }
    for (slot, engine) in engines.iter().enumerate() {
        let kept = (0..clients).filter(|n| group.by_address(slot, *n) == homes[*n as usize]).count();
        assert_eq!(kept, clients as usize, "at engine {slot}");
        eventually("nothing differs", secs(30), || verified(engine));
    }
}
