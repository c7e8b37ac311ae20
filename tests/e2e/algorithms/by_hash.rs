//! The consistent hash, by each of its keys.

use std::collections::BTreeMap;

use forebay_core::lb::HashBy;
use forebay_e2e::scene::tally;
use forebay_e2e::{Client, Lab, Request};

use super::{Scene, key_word, three_to_one};

/// Keys of each kind.
const KEYS: u32 = 40;

/// How many requests of one key are sent.
const AGAIN: usize = 4;

/// Sends requests of key `k` and gives the servers that answered.
fn ask(scene: &Scene, by: &HashBy, k: u32) -> Vec<String> {
    let mut client = Client::new(scene.at).without_jar();
    let mut request = Request::get("/").last();
    match by {
        HashBy::SourceIp => client = client.from(scene.lab.client_ip(k)),
        // A port is the same for as long as the connection is.
        HashBy::SourceIpAndPort => request.last = false,
        HashBy::Uri => request.target = format!("/page/{k}?x=1"),
        HashBy::CustomHeader(name) => request = request.field(format!("{name}: tenant-{k}")),
        HashBy::CustomString => request = request.field(format!("X-User: user-{k}")),
        HashBy::CallId => request = request.field(format!("Call-ID: {k}@example")),
    }
    (0..AGAIN).map(|_| client.send(&request).unwrap().server().to_owned()).collect()
}

//= test LB-CH-04
#[test]
pub fn each_key_has_one_server_and_keys_use_all_servers() {
    for (name, _) in HashBy::NAMES {
        let by = HashBy::parse(name, "x-tenant").unwrap();
        let mut keys = format!("algorithm = \"consistent_hash\"\nhash_by = \"{}\"", key_word(&by));
        let mut rules = "";
        match by {
            HashBy::CustomHeader(_) => keys += "\nhash_header = \"x-tenant\"",
            HashBy::CustomString => {
                rules = "[[virtual_service.rules]]\nname = \"user\"\nthen = [{ hash_by = { header = \"x-user\" } }]";
            }
            _ => {}
        }
        let lab = Lab::new();
        let servers = lab.demos(["a", "b", "c"]);
        let addresses = servers.each_ref().map(|s| (s.address, ""));
        let scene = Scene::new(lab, 2, &keys, &addresses, rules);
        let homes: Vec<String> = (0..KEYS)
            .map(|k| {
                let answered = ask(&scene, &by, k);
                assert!(answered.iter().all(|s| *s == answered[0]), "{name}, key {k}: {answered:?}");
                answered[0].clone()
            })
            .collect();
        assert_eq!(tally(homes).len(), 3, "{name}: many keys use all servers");
        let lines = scene.engine.log_lines(AGAIN * KEYS as usize, |l| l["response_code"] == 200);
        let workers: std::collections::BTreeSet<_> = lines.iter().map(|l| l["vcpu_id"].as_u64()).collect();
        assert_eq!(workers.len(), 2, "{name}: both workers took part, with one answer");
    }
}

/// The server of each of `n` URIs.
fn homes(scene: &Scene, n: usize) -> BTreeMap<usize, String> {
    let mut client = Client::new(scene.at).without_jar();
    (0..n).map(|k| (k, client.get(&format!("/{k}")).unwrap().server().to_owned())).collect()
}

//= test LB-CH-01
#[test]
pub fn keys_are_shared_by_ratio() {
    let (scene, _servers) = three_to_one("consistent_hash\"\nhash_by = \"uri");
    let counts = tally(homes(&scene, 2000).into_values());
    // Five standard deviations of 2000 draws with a chance of a quarter.
    assert!(counts["light"].abs_diff(500) <= 97, "{counts:?}");
}

//= test LB-CH-02
#[test]
pub fn a_server_that_leaves_takes_only_its_own_keys_along() {
    let lab = Lab::new();
    let mut servers = lab.demos(["a", "b", "c"]);
    let addresses = servers.each_ref().map(|s| (s.address, ""));
    let keys = "algorithm = \"consistent_hash\"\nhash_by = \"uri\"";
    let scene = Scene::new(lab, 1, keys, &addresses, "");
    let before = homes(&scene, 300);
    servers[1].process.kill();
    let after = homes(&scene, 300);
    for (key, home) in &before {
        match home.as_str() {
            "b" => assert_ne!(after[key], "b", "key {key}"),
            stays => assert_eq!(after[key], stays, "key {key}"),
        }
    }
    let moved = tally(before.iter().filter(|(_, home)| *home == "b").map(|(k, _)| after[k].clone()));
    assert_eq!(moved.len(), 2, "its keys go to all others: {moved:?}");
}
