//! The core decides alike natively and as a WASM component: 100,000 recorded inputs, byte for byte.

#[path = "../../../core/tests/record/mod.rs"]
mod record;

use std::{collections::BTreeMap, sync::OnceLock};

use forebay_core::{
    lb::ALGORITHMS,
    persist::{KINDS, ServerDown},
    testing::{self, Coverage, Outcome, Scenario, Step},
};
use forebay_sandbox::{Budget, CORE_COMPONENT, Decider, Error, GuestError, Loaded, Sandbox};
use record::{Digest, INPUTS_MIN, frame};

/// Scenarios of one call: enough that the call itself costs nothing, few enough for the guest's memory.
const BATCH: usize = 32;

/// Time for a loaded machine: the subject is not the deadline.
const PATIENT: Budget = Budget { call_ms: 120_000, memory_bytes: 64 << 20 };

fn decider() -> Decider {
    // Compiled once: unoptimised, as the gate builds it, the compiler takes seconds.
    static CORE: OnceLock<Loaded> = OnceLock::new();
    let load = || Sandbox::new().and_then(|sandbox| sandbox.load(CORE_COMPONENT));
    let core = CORE.get_or_init(|| load().expect("the prebuilt component loads"));
    Decider::new(core, PATIENT).expect("it instantiates")
}

//= COMP-PARITY-03
/// Where two answers differ, in words: the input's number, and what both decided.
fn difference(scenario: &Scenario, native: &[u8], wasm: &[u8]) -> Option<String> {
    if native == wasm {
        return None;
    }
    let at = native.iter().zip(wasm).position(|(a, b)| a != b).unwrap_or(native.len().min(wasm.len()));
    let read = |bytes| postcard::from_bytes::<Outcome>(bytes);
    let what = match (read(native), read(wasm)) {
        (Ok(a), Ok(b)) => match a.decisions.iter().zip(&b.decisions).position(|(a, b)| a != b) {
            Some(n) => format!("input {n}: native {}; wasm {}", a.decisions[n].reason, b.decisions[n].reason),
            None => "in the pool's state at the end".to_owned(),
        },
        _ => "an answer is no outcome".to_owned(),
    };
    Some(format!("seed {}: byte {at} of {}: {what}", scenario.seed, native.len()))
}

//= test COMP-PARITY-01
//= test COMP-PARITY-02
#[test]
fn a_hundred_thousand_recorded_inputs_are_decided_alike_and_reach_every_cell() {
    let mut decider = decider();
    let mut reached: BTreeMap<Coverage, usize> = BTreeMap::new();
    let (mut inputs, mut differences) = (0, Vec::new());
    let recorded = record::digests();
    //= COMP-PARITY-02
    for batch in recorded.chunks(BATCH) {
        let scenarios: Vec<Scenario> = batch.iter().map(|d| testing::scenario(d.seed)).collect();
        let frames: Vec<Vec<u8>> = scenarios.iter().map(frame).collect();
        let answers = decider.pick_batch(&frames).expect("every frame is answered");
        assert_eq!(answers.len(), scenarios.len());
        for ((scenario, wasm), recorded) in scenarios.iter().zip(&answers).zip(batch) {
            assert_eq!(
                recorded.difference(&Digest::of(scenario, wasm)),
                None,
                "the component against the record"
            );
            let native = testing::run(scenario);
            assert_eq!(native.decisions.len(), testing::decisions(scenario), "a scenario was refused");
            differences.extend(difference(scenario, &native.to_bytes(), wasm));
            for decision in &native.decisions {
                let one = Outcome { decisions: vec![*decision], end: Vec::new() };
                for cell in testing::coverage(scenario, &one) {
                    *reached.entry(cell).or_default() += 1;
                }
                inputs += 1;
            }
        }
    }
    print_coverage(&reached);
    println!("{inputs} inputs of {} scenarios, {} differ", recorded.len(), differences.len());
    assert!(inputs >= INPUTS_MIN, "only {inputs} inputs are recorded");
    assert_eq!(differences, [] as [String; 0]);
    let missing: Vec<Coverage> =
        testing::wanted().into_iter().filter(|cell| !reached.contains_key(cell)).collect();
    assert_eq!(missing, [], "cells that no input reached");
}

//= test COMP-PARITY-01
//= test COMP-PARITY-02
#[test]
fn the_component_gives_every_recorded_scenario_the_answer_that_stands_in_the_record() {
    let vectors = record::vectors();
    let mut decider = decider();
    for batch in vectors.chunks(BATCH) {
        let frames: Vec<Vec<u8>> = batch.iter().map(|vector| vector.input.clone()).collect();
        let answers = decider.pick_batch(&frames).expect("every frame is answered");
        assert_eq!(answers.len(), batch.len());
        for (vector, answer) in batch.iter().zip(&answers) {
            assert_eq!(vector.difference(answer), None);
        }
    }
    assert!(vectors.len() >= testing::wanted().len(), "only {} are recorded", vectors.len());
}

//= test COMP-PARITY-03
#[test]
fn one_changed_byte_of_an_answer_is_noticed_wherever_it_is() {
    let scenario = testing::scenario(1);
    let native = testing::run(&scenario).to_bytes();
    let answers = decider().pick_batch(&[frame(&scenario)]).expect("answered");
    assert_eq!(difference(&scenario, &native, &answers[0]), None);
    for at in 0..native.len() {
        let mut changed = answers[0].clone();
        changed[at] ^= 1;
        let found = difference(&scenario, &native, &changed).expect("a difference");
        assert!(found.contains(&format!("byte {at} ")), "{found}");
    }
    let shorter = &answers[0][..native.len() - 1];
    assert!(difference(&scenario, &native, shorter).is_some());
}

//= test COMP-PARITY-03
#[test]
fn a_component_that_is_fed_another_seed_or_moment_is_noticed() {
    let mut decider = decider();
    let mut noticed = [0, 0];
    for seed in 0..200 {
        let scenario = testing::scenario(seed);
        let native = testing::run(&scenario).to_bytes();
        for (which, noticed) in noticed.iter_mut().enumerate() {
            let mut other = scenario.clone();
            for step in &mut other.steps {
                if let Step::Decide(input) = step {
                    match which {
                        0 => input.seed = !input.seed,
                        _ => input.wall.0 += 1,
                    }
                }
            }
            let wasm = decider.pick_batch(&[frame(&other)]).expect("answered");
            *noticed += usize::from(difference(&scenario, &native, &wasm[0]).is_some());
        }
    }
    assert!(noticed.iter().all(|count| *count > 0), "{noticed:?}");
}

//= test COMP-ARG-03
#[test]
fn a_frame_that_is_no_scenario_is_refused_and_the_instance_lives() {
    let mut decider = decider();
    let good = frame(&testing::scenario(1));
    for bad in [&b""[..], b"garbage", &good[..good.len() / 2]] {
        let bad =
            Err(Error::Guest(GuestError::BadFrame)) == decider.pick_batch(&[good.clone(), bad.to_vec()]);
        assert!(bad);
    }
    assert_eq!(decider.pick_batch(&[]), Ok(Vec::new()));
    assert_eq!(decider.pick_batch(&[good]).map(|answers| answers.len()), Ok(1));
    assert_eq!(decider.generation(), 0);
}

/// One line per algorithm: how many inputs were decided with each kind, under each policy, because the client's
/// server or site was down.
fn print_coverage(reached: &BTreeMap<Coverage, usize>) {
    let count = |algorithm, kind, policy, applied| {
        reached.get(&Coverage { algorithm, kind, policy, applied }).copied().unwrap_or(0)
    };
    println!(
        "inputs of scenarios that reached a cell, per policy (pick new / abort / continue), policy applied"
    );
    print!("{:18}{:>8}", "", "none");
    for kind in &KINDS {
        print!("{:>16}", kind.name.as_str());
    }
    println!();
    for entry in &ALGORITHMS {
        print!("{:18}{:>8}", entry.name.as_str(), count(entry.name, None, None, false));
        for kind in &KINDS {
            let cells = ServerDown::ALL.map(|policy| count(entry.name, Some(kind.name), Some(policy), true));
            print!("{:>16}", cells.map(|cell| cell.to_string()).join("/"));
        }
        println!();
    }
}
