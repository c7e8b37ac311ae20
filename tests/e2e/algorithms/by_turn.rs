//! Algorithms that count nothing: turns and chance.

use std::collections::BTreeSet;

use forebay_e2e::Lab;
use forebay_e2e::scene::tally;

use super::{Scene, three_to_one};

/// Requests of a test of turns.
const REQUESTS: usize = 300;

/// Three demo servers `a`, `b`, `c`.
fn of_three(keys: &str, workers: u16) -> (Scene, [forebay_e2e::Demo; 3]) {
    let lab = Lab::new();
    let servers = lab.demos(["a", "b", "c"]);
    let addresses = servers.each_ref().map(|s| (s.address, ""));
    (Scene::new(lab, workers, keys, &addresses, ""), servers)
}

//= test LB-RR-01
#[test]
pub fn round_robin_takes_turns_exactly() {
    let (scene, _servers) = of_three("algorithm = \"round_robin\"", 1);
    let order = scene.ask(REQUESTS);
    for (n, round) in order.windows(3).enumerate() {
        assert_eq!(BTreeSet::from_iter(round).len(), 3, "from request {n} on: {round:?}");
    }
}

//= test LB-RR-01
#[test]
pub fn round_robin_takes_turns_by_ratio() {
    let (scene, _servers) = three_to_one("round_robin");
    let order = scene.ask(REQUESTS);
    for (n, round) in order.windows(4).enumerate() {
        assert_eq!(round.iter().filter(|s| *s == "light").count(), 1, "from request {n} on: {round:?}");
    }
}

//= test LB-RR-02
#[test]
pub fn round_robin_of_the_engine_takes_turns_over_all_workers() {
    let (scene, _servers) = of_three("algorithm = \"round_robin\"\nround_robin_per_engine = true", 2);
    let order = scene.ask(REQUESTS);
    let lines = scene.engine.log_lines(REQUESTS, |l| l["uri_path"] == "/");
    let workers: BTreeSet<_> = lines.iter().map(|l| l["vcpu_id"].as_u64()).collect();
    assert_eq!(workers.len(), 2, "both workers took part");
    for (n, round) in order.windows(3).enumerate() {
        assert_eq!(BTreeSet::from_iter(round).len(), 3, "from request {n} on: {round:?}");
    }
}

//= test LB-RND-01
#[test]
pub fn random_spreads_evenly_and_not_in_turn() {
    let (scene, _servers) = of_three("algorithm = \"random\"", 1);
    let mut client = forebay_e2e::Client::new(scene.at).without_jar();
    let order: Vec<String> = (0..3000).map(|_| client.get("/health").unwrap().server().to_owned()).collect();
    let counts = tally(order.iter().cloned());
    // Five standard deviations of 3000 fair draws among three.
    assert!(counts.values().all(|n| n.abs_diff(1000) <= 130) && counts.len() == 3, "{counts:?}");
    let repeats = order.windows(2).filter(|w| w[0] == w[1]).count();
    assert!(repeats > 500, "turns would not repeat: {repeats}");
}
