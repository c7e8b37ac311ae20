//! Algorithms that count open requests.

use std::collections::{BTreeMap, BTreeSet};

use forebay_e2e::Lab;
use forebay_e2e::scene::tally;

use super::{Scene, open_requests_stand_three_to_one};

//= test LB-LC-01
#[test]
pub fn least_connections_goes_where_fewest_requests_are_open() {
    let lab = Lab::new();
    let servers = lab.demos(["a", "b", "c"]);
    let addresses = servers.each_ref().map(|s| (s.address, ""));
    let scene = Scene::new(lab, 1, "algorithm = \"least_connections\"", &addresses, "");
    assert!(tally(scene.ask(30)).values().all(|n| *n == 10), "an idle pool is used evenly");
    let _held = [scene.hold(0), scene.hold(1)];
    let open = servers.each_ref().map(|s| scene.active(s.address) as u32);
    let idle: Vec<&str> = (0..3).filter(|i| open[*i] == 0).map(|i| servers[i].name.as_str()).collect();
    assert_eq!(idle.len(), 1, "two open requests at two servers: {open:?}");
    assert_eq!(tally(scene.ask(50)).into_keys().collect::<Vec<_>>(), idle, "all to the one without any");
}

//= test LB-LC-01
#[test]
pub fn least_connections_shares_open_requests_by_ratio() {
    open_requests_stand_three_to_one("least_connections", 0.0);
}

//= test LB-RND-01
#[test]
pub fn random_evens_open_requests_out_by_ratio() {
    // Two servers: both are drawn each time, and the one with fewer for its weight is taken.
    open_requests_stand_three_to_one("random", 1.0);
}

//= test LB-FS-01
#[test]
pub fn fewest_servers_stays_with_the_first_until_it_is_gone() {
    let lab = Lab::new();
    let mut servers = lab.demos(["a", "b", "c"]);
    let addresses = servers.each_ref().map(|s| (s.address, ""));
    let scene = Scene::new(lab, 1, "algorithm = \"fewest_servers\"", &addresses, "");
    assert_eq!(tally(scene.ask(100)).into_iter().collect::<Vec<_>>(), [("a".to_owned(), 100)]);
    servers[0].process.kill();
    assert_eq!(tally(scene.ask(100)).into_iter().collect::<Vec<_>>(), [("b".to_owned(), 100)]);
}

//= test LB-CA-01
#[test]
pub fn core_affinity_gives_each_worker_its_own_servers() {
    for (share, apart) in [(1, true), (2, false)] {
        let lab = Lab::new();
        let servers = lab.demos(["a", "b", "c", "d"]);
        let addresses = servers.each_ref().map(|s| (s.address, ""));
        let keys = format!("algorithm = \"core_affinity\"\ncore_nonaffinity = {share}");
        let scene = Scene::new(lab, 2, &keys, &addresses, "");
        scene.ask(200);
        let mut used: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
        for line in scene.engine.log_lines(200, |l| l["uri_path"] == "/") {
            let server = format!("{}:{}", line["server_ip"].as_str().unwrap(), line["server_dest_port"]);
            used.entry(line["vcpu_id"].as_u64().unwrap()).or_default().insert(server);
        }
        let sets: Vec<_> = used.values().collect();
        assert_eq!(sets.len(), 2, "both workers took part");
        assert_eq!(sets[0].is_disjoint(sets[1]), apart, "{share} workers for a server: {used:?}");
        assert_eq!(sets[0].union(sets[1]).count(), 4, "every server has a worker: {used:?}");
    }
}
