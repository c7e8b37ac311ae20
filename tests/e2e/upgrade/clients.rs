//! What the new process knows of clients and servers, and learns while the old one ends.

use std::net::IpAddr;

use forebay_e2e::lively::{echoes, websocket_from};
use forebay_e2e::wait::secs;
use forebay_e2e::{Client, Engine, Lab, Wire, config, eventually};
use serde_json::Value;

use crate::{options, web};

/// The entry of a client, as the engine shows it.
fn entry(engine: &Engine, client: IpAddr) -> Option<Value> {
    let text = engine.ask(&["persistence", "--client", &client.to_string(), "--output", "json"]);
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    answer["entries"].as_array().expect("a list").first().cloned()
}

//= test UPG-TABLE-01
//= test UPG-TABLE-02
#[test]
fn an_entry_is_held_by_a_connection_of_any_process_before_and_counts_down_when_it_closes() {
    let lab = Lab::new();
    let [a, b] = lab.demos(["a", "b"]);
    let at = lab.address();
    let text = web(at, "persistence = \"ip\"", &[a.address, b.address])
        + &config::persistence("ip", "client_ip", "timeout_min = 7");
    let mut engine = lab.engine(&text);
    let [held, left] = [1, 2].map(|n| lab.client_ip(n));
    let (mut chat, server) = websocket_from(held, at);
    Client::new(at).from(left).without_jar().get_once("/").expect("served");
    let expires = |engine: &Engine| entry(engine, left).and_then(|entry| entry["expires_in_s"].as_u64());
    // So old that a countdown which begins anew would be seen.
    eventually("who has left counts down", secs(20), || expires(&engine).is_some_and(|s| s <= 415));
    let mut olds = Vec::new();
    for round in 0..3 {
        let before = expires(&engine).expect("it counts down");
        olds.push(engine.upgrade(&options()));
        let there = entry(&engine, held).expect("it was taken over");
        assert_eq!(there["expires_in_s"], Value::Null, "a connection of a process before holds it ({round})");
        let after = expires(&engine).expect("it was taken over and counts down");
        assert!(after <= before, "{after} s after the upgrade, {before} s before it ({round})");
        let again = Client::new(at).from(held).without_jar().get_once("/").expect("served");
        assert_eq!(again.server(), server, "it leads to the same server");
    }
    assert!(echoes(&mut chat), "the first process serves it still");
    drop(chat);
    eventually("the countdown starts, two processes later", secs(10), || {
        entry(&engine, held).is_some_and(|entry| entry["expires_in_s"].is_u64())
    });
    for old in &mut olds {
        assert_eq!(old.process.wait(secs(10)).code(), Some(0));
    }
}

//= test UPG-TABLE-02
#[test]
fn what_a_killed_old_process_held_counts_down_from_its_end() {
    let lab = Lab::new();
    let a = lab.demo("a");
    let at = lab.address();
    let text = web(at, "persistence = \"ip\"", &[a.address]) + &config::persistence("ip", "client_ip", "");
    let mut engine = lab.engine(&text);
    let client = lab.client_ip(1);
    let (_chat, _) = websocket_from(client, at);
    let mut old = engine.upgrade(&options());
    assert_eq!(entry(&engine, client).expect("taken over")["expires_in_s"], Value::Null);
    old.process.kill();
    eventually("the countdown starts", secs(10), || {
        entry(&engine, client).is_some_and(|entry| entry["expires_in_s"].is_u64())
    });
}

//= test UPG-TABLE-03
#[test]
fn a_client_whose_first_request_the_old_process_answers_finds_its_server_at_the_new_one_at_once() {
    let lab = Lab::new();
    let [a, b, c] = lab.demos(["a", "b", "c"]);
    let at = lab.address();
    let text = web(at, "persistence = \"ip\"\nalgorithm = \"random\"", &[a.address, b.address, c.address])
        + &config::persistence("ip", "client_ip", "");
    let mut engine = lab.engine(&text);
    for round in 0..3 {
        // They are in the middle of their request when another process takes over.
        let ip = |n: u32| lab.client_ip(100 * round + n);
        let mut waiting: Vec<(u32, Wire)> =
            (1..=30).map(|n| (n, Wire::connect_from(ip(n), at).expect("it listens"))).collect();
        for (_, wire) in &mut waiting {
            wire.send("GET / HTTP/1.1\r\nHost: x\r\n").expect("sent");
        }
        eventually("all are accepted", secs(5), || {
            engine.metric("forebay_client_connections_open", &[]) >= 30.0
        });
        let old = engine.upgrade(&options());
        for (n, wire) in &mut waiting {
            wire.send("\r\n").expect("the old process serves it");
            let head = wire.head().expect("an answer");
            let server =
                head.lines().find_map(|line| line.strip_prefix("X-Demo-Server: ")).expect("its name");
            let again = Client::new(at).from(ip(*n)).without_jar().get_once("/").expect("served");
            assert_eq!(again.server(), server, "client {n}");
        }
        drop(old);
    }
}

//= test UPG-STATE-01
#[test]
fn a_new_process_begins_with_what_is_known_of_servers_and_what_operators_have_decided() {
    let lab = Lab::new();
    let [a, b, mut c] = lab.demos(["a", "b", "c"]);
    let at = lab.address();
    let slow = "[[health_monitor]]\nname = \"rare\"\ntype = \"tcp\"\nsend_interval_s = 3600\nreceive_timeout_s = 1\nfailed_checks = 1\nsuccessful_checks = 1\n";
    let text = web(at, "health_monitors = [\"rare\"]", &[a.address, b.address, c.address]) + slow;
    c.process.kill();
    let mut engine = lab.engine(&text);
    engine.wait_for_server(a.address, true);
    engine.wait_for_state(c.address, "down");
    engine.ask(&["drain", &format!("web/{}", b.address)]);
    let since = |engine: &Engine| {
        let answer: Value =
            serde_json::from_str(&engine.ask(&["servers", "--output", "json"])).expect("JSON");
        let servers = answer["servers"].as_array().expect("a list").clone();
        servers.iter().find(|s| s["server"] == c.address.to_string().as_str()).cloned().expect("the server")
    };
    let before = since(&engine);
    let mut old = engine.upgrade(&options());
    let after = since(&engine);
    assert_eq!((&after["state"], &after["why"]), (&before["state"], &before["why"]));
    for _ in 0..20 {
        let answer = Client::new(at).get_once("/").expect("served");
        assert_eq!(
            (answer.status, answer.server()),
            (200, "a"),
            "not the drained one, not the one that is down"
        );
    }
    engine.ask(&["drain", "--reset", &format!("web/{}", b.address)]);
    eventually("it serves again", secs(5), || Client::new(at).get_once("/").is_ok_and(|a| a.server() == "b"));
    assert_eq!(old.process.wait(secs(10)).code(), Some(0));
}
