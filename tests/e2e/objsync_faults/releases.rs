//! Engines of two releases: those that speak the protocol of before only, and those that speak a later one as well.

use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Engine, Options, long_or};
use serde_json::json;

use crate::common::wait_until_gone;
use crate::group::{Group, entries, ready, synced};
use crate::machines::verified;

const ENGINES: usize = 3;

/// Of a thousand entries so many are to be kept.
const KEPT: usize = 999;

fn options(is_new: bool) -> Options {
    let before = ["--allow-faults", "--objsync-protocol-max", "1"].map(str::to_owned);
    Options { arguments: if is_new { Vec::new() } else { before.to_vec() }, ..Options::default() }
}

/// The protocols that an engine speaks with the others, by their slots.
fn spoken(engine: &Engine) -> Vec<u64> {
    let answer = engine.admin(&json!({ "command": "show", "what": "serviceengine_objsync" }));
    let peers = answer["data"]["peers"].as_array().expect("the others");
    peers.iter().map(|peer| peer["protocol"].as_u64().expect("a number")).collect()
}

//= test SYNC-WIRE-05
#[test]
fn an_upgrade_one_by_one_to_a_later_protocol_and_back_keeps_the_entries() {
    let each = long_or(500, 25);
    let group = Group::new(ENGINES);
    let mut engines = group.start_each(|_| options(false));
    assert!(engines.iter().all(|engine| spoken(engine) == [1, 1]), "{:?}", spoken(&engines[0]));
    let mut homes: Vec<String> = Vec::new();
    let mut is_new = [false; ENGINES];
    for turn in 0..2 * ENGINES {
        let slot = turn % ENGINES;
        // New ones come before each step, to all engines, of whatever release.
        for _ in 0..each {
            let client = homes.len() as u32;
            homes.push(group.by_address(client as usize % ENGINES, client));
        }
        for engine in &engines {
            eventually("every engine has every entry", secs(20), || entries(engine) == homes.len());
        }
        assert!(engines[slot].process.end(secs(20)).success());
        wait_until_gone(&group, slot);
        is_new[slot] = !is_new[slot];
        engines[slot] = group.spawn_with(slot, &options(is_new[slot]));
        ready(&engines[slot]);
        engines.iter().for_each(|engine| synced(engine, ENGINES - 1));
        for (of, engine) in engines.iter().enumerate() {
            let others = (0..ENGINES).filter(|n| *n != of);
            let both: Vec<bool> = others.map(|n| is_new[of] && is_new[n]).collect();
            let later: Vec<bool> = spoken(engine).iter().map(|protocol| *protocol > 1).collect();
            assert_eq!(later, both, "turn {turn}, engine {of}: {:?}", spoken(engine));
        }
        let kept = homes.iter().zip(0..).filter(|(home, n)| group.by_address(slot, *n) == **home).count();
        println!("turn {turn}: {kept} of {} entries", homes.len());
        assert!(kept * 1_000 >= homes.len() * KEPT, "turn {turn}: {kept} of {}", homes.len());
    }
    for (slot, engine) in engines.iter().enumerate() {
        let kept = homes.iter().zip(0..).filter(|(home, n)| group.by_address(slot, *n) == **home).count();
        assert!(kept * 1_000 >= homes.len() * KEPT, "at engine {slot}: {kept} of {}", homes.len());
        eventually("nothing differs", secs(30), || verified(engine));
    }
}

#[test]
fn who_was_not_started_for_tests_is_of_no_earlier_release() {
    let mut command = std::process::Command::new(forebay_e2e::bin::path("forebay-se"));
    let done = command.args(["run", "--config", "none", "--objsync-protocol-max", "1"]).output();
    let done = done.expect("it starts");
    assert_eq!(done.status.code(), Some(2), "{}", String::from_utf8_lossy(&done.stderr));
}
