//! The core decides as it did when the record was written. See `record/README.md`.
#![cfg(feature = "testing")]

mod record;

use std::collections::{BTreeMap, BTreeSet};

use forebay_core::testing::{self, Outcome, Scenario, Step};
use record::{Digest, INPUTS_MIN, Vector};

/// Among these seeds the shortest way to each cell is looked for.
const SEEDS: u64 = 10_000;

//= test LB-REPLAY-01
#[test]
fn every_recorded_scenario_gets_the_answer_that_stands_in_the_record() {
    if std::env::var_os("FOREBAY_BLESS").is_some() {
        let text: String = chosen().iter().map(Vector::text).collect();
        return write("vectors.txt", &text);
    }
    let vectors = record::vectors();
    for vector in &vectors {
        let answer = testing::run(&vector.scenario()).to_bytes();
        assert_eq!(vector.difference(&answer), None);
    }
    let inputs: usize = vectors.iter().map(|v| v.reasons.len()).sum();
    assert!(inputs >= 400, "only {inputs} inputs are recorded whole");
}

//= test LB-REPLAY-01
#[test]
fn the_record_holds_every_algorithm_with_every_kind_under_every_policy() {
    if std::env::var_os("FOREBAY_BLESS").is_some() {
        return;
    }
    let mut missing = testing::wanted();
    for vector in record::vectors() {
        let recorded: Outcome = postcard::from_bytes(&vector.answer).expect("an outcome");
        for reached in testing::coverage(&vector.scenario(), &recorded) {
            missing.remove(&reached);
        }
    }
    assert!(missing.is_empty(), "no recorded answer for {missing:?}");
}

//= test LB-REPLAY-01
#[test]
fn a_hundred_thousand_generated_inputs_and_their_answers_are_the_recorded_ones() {
    let now = |seed| {
        let scenario = testing::scenario(seed);
        Digest::of(&scenario, &testing::run(&scenario).to_bytes())
    };
    if std::env::var_os("FOREBAY_BLESS").is_some() {
        let (mut inputs, mut text) = (0, String::new());
        for digest in (0..).map(now) {
            inputs += digest.decisions.len();
            text += &digest.text();
            if inputs >= INPUTS_MIN {
                return write("digests.txt", &text);
            }
        }
    }
    let digests = record::digests();
    for (seed, digest) in (0..).zip(&digests) {
        assert_eq!(digest.seed, seed, "the record has each seed once");
        assert_eq!(digest.difference(&now(seed)), None);
    }
    let inputs: usize = digests.iter().map(|d| d.decisions.len()).sum();
    assert!(inputs >= INPUTS_MIN, "only {inputs} inputs are recorded");
}

//= test LB-REPLAY-01
#[test]
fn another_input_or_answer_than_the_recorded_one_is_named() {
    if std::env::var_os("FOREBAY_BLESS").is_some() {
        return;
    }
    let vector = &record::vectors()[0];
    let digest = &record::digests()[3];
    for at in 0..vector.answer.len() {
        let mut other = vector.answer.clone();
        other[at] ^= 1;
        assert!(vector.difference(&other).is_some_and(|d| d.starts_with(&vector.shows)), "byte {at}");
    }
    let mut scenario = testing::scenario(3);
    let answer = testing::run(&scenario).to_bytes();
    assert_eq!(digest.difference(&Digest::of(&scenario, &answer)), None);
    let first = scenario.steps.iter_mut().find_map(|step| match step {
        Step::Decide(input) => Some(input),
        _ => None,
    });
    first.expect("it decides").client.port ^= 1;
    let other = digest.difference(&Digest::of(&scenario, &answer)).expect("another input");
    assert_eq!(other, "seed 3: another input; all answers are equal");
    let mut outcome: Outcome = postcard::from_bytes(&answer).expect("an outcome");
    outcome.decisions[7].reason.attempt ^= 1;
    let other = Digest::of(&testing::scenario(3), &outcome.to_bytes());
    let named = digest.difference(&other).expect("another answer");
    assert_eq!(named, "seed 3: the input is the recorded one; answer 7 is the first that differs");
}

/// For each algorithm, kind and policy, and for each outcome of each kind's key, the scenario that reaches it
/// with the fewest steps, without those behind.
fn chosen() -> Vec<Vector> {
    let mut best: BTreeMap<String, Scenario> = BTreeMap::new();
    for seed in 0..SEEDS {
        let scenario = testing::scenario(seed);
        let outcome = testing::run(&scenario);
        let ends: Vec<usize> = (1..=scenario.steps.len())
            .filter(|at| matches!(scenario.steps[at - 1], Step::Decide(_)))
            .collect();
        let mut seen = BTreeSet::new();
        for (decision, end) in outcome.decisions.iter().zip(ends) {
            let one = Outcome { decisions: vec![*decision], end: Vec::new() };
            let kind = decision.reason.persistence.map_or("no persistence", |kind| kind.as_str());
            let mut shows = vec![format!("key {} of {kind}", decision.reason.key.as_str())];
            for cell in testing::coverage(&scenario, &one) {
                if testing::wanted().contains(&cell) {
                    let policy = cell.policy.map_or("none".into(), |policy| format!("{policy:?}"));
                    shows.push(format!("algorithm {} with {kind} under {policy}", cell.algorithm.as_str()));
                }
            }
            for shows in shows {
                let shorter = best.get(&shows).is_none_or(|other| other.steps.len() > end);
                if seen.insert(shows.clone()) && shorter {
                    let steps = scenario.steps[..end].to_vec();
                    best.insert(shows, Scenario { steps, ..scenario.clone() });
                }
            }
        }
    }
    best.into_iter().map(|(shows, scenario)| Vector::of(shows, &scenario)).collect()
}

fn write(name: &str, text: &str) {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/record").join(name);
    std::fs::write(file, text).expect("the record can be written");
}
