//! A recorded scenario gives the same decisions after it has travelled as bytes, and the scenarios reach all
//! that there is.
#![cfg(feature = "testing")]

use std::collections::BTreeSet;

use forebay_core::testing::{self, Scenario};

//= test LB-REPLAY-01
#[test]
fn a_scenario_that_travelled_as_bytes_gives_the_same_bytes() {
    for seed in 0..500 {
        let scenario = testing::scenario(seed);
        let bytes = postcard::to_allocvec(&scenario).expect("a scenario can be written");
        let read: Scenario = postcard::from_bytes(&bytes).expect("and read");
        assert_eq!(read, scenario);
        assert_eq!(testing::run(&read).to_bytes(), testing::run(&scenario).to_bytes(), "seed {seed}");
    }
}

//= test LB-REPLAY-01
#[test]
fn scenarios_reach_every_algorithm_kind_and_policy() {
    let mut missing = testing::wanted();
    let mut decisions = 0;
    let mut keys = BTreeSet::new();
    for seed in 0..2_000 {
        let scenario = testing::scenario(seed);
        let outcome = testing::run(&scenario);
        assert_eq!(outcome.decisions.len(), testing::decisions(&scenario));
        decisions += outcome.decisions.len();
        for reached in testing::coverage(&scenario, &outcome) {
            missing.remove(&reached);
        }
        keys.extend(outcome.decisions.iter().map(|d| d.reason.key.as_str()));
    }
    assert!(decisions >= 100_000, "{decisions} recorded inputs");
    assert!(missing.is_empty(), "not reached: {missing:?}");
    assert_eq!(keys.len(), 12, "every outcome of a key: {keys:?}");
}
