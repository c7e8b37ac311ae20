//! Servers that come and go.

use forebay_e2e::lively::{echoes, upgraded, websocket};
use forebay_e2e::wait::{eventually, ms, secs};
use forebay_e2e::{Client, Lab, Wire};

use crate::web;

//= test RELOAD-REMOVE-01
#[test]
fn what_is_under_way_at_a_server_that_is_gone_ends_by_itself_within_the_grace() {
    let lab = Lab::new();
    let [a, b] = lab.demos(["a", "b"]);
    let at = lab.address();
    let engine = lab.engine(&web(at, "graceful_disable_timeout_min = 1", &[a.address]));
    let mut slow = Wire::connect(at).expect("it listens");
    slow.send("GET /slow?ms=1500 HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    eventually("it is under way", secs(5), || engine.metric("forebay_server_requests_active", &[]) == 1.0);
    let mut chat = websocket(at);
    engine.load(&web(at, "graceful_disable_timeout_min = 1", &[b.address]));
    for _ in 0..6 {
        assert_eq!(Client::new(at).get_once("/").expect("served").server(), "b", "nothing new for it");
    }
    let head = slow.head().expect("its answer");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("X-Demo-Server: a"), "{head}");
    assert!(echoes(&mut chat), "the WebSocket goes on meanwhile");
    assert!(engine.metric("forebay_config_generations_live", &[]) >= 2.0, "its configuration lives as long");
    drop((slow, chat));
    eventually("then it is freed", secs(5), || engine.metric("forebay_config_generations_live", &[]) == 1.0);
}

//= test RELOAD-REMOVE-01
#[test]
fn what_is_left_at_a_server_that_is_gone_is_cut_when_the_grace_is_over() {
    let lab = Lab::new();
    let [a, b] = lab.demos(["a", "b"]);
    let at = lab.address();
    let keys = "graceful_disable_timeout_min = 0";
    let engine = lab.engine(&web(at, keys, &[a.address]));
    let mut at_a = websocket(at);
    engine.load(&web(at, keys, &[a.address, b.address]));
    assert!(!at_a.closes_within(ms(300)), "another server touches nothing");
    // Which of the two each worker asks first is its own affair.
    let mut chats = Vec::new();
    eventually("there is one at the other server", secs(5), || {
        chats.push(upgraded(Wire::connect(at).expect("it listens")));
        chats.iter().any(|(_, server)| server == "b")
    });
    engine.load(&web(at, keys, &[b.address]));
    assert!(at_a.closes_within(secs(5)), "its server is gone");
    for (chat, server) in &mut chats {
        match server.as_str() {
            "a" => assert!(chat.closes_within(secs(5)), "its server is gone"),
            _ => assert!(echoes(chat), "the one at the other server goes on"),
        }
    }
}

//= test RELOAD-REMOVE-01
#[test]
fn a_server_that_comes_back_within_the_grace_is_not_cut() {
    let lab = Lab::new();
    let [a, b] = lab.demos(["a", "b"]);
    let at = lab.address();
    // An endless grace would show nothing, none would be too short for the way back: the limit counts it all the while.
    let keys = "graceful_disable_timeout_min = 1\nmax_concurrent_connections_per_server = 1";
    let engine = lab.engine(&web(at, keys, &[a.address]));
    let mut chat = websocket(at);
    engine.load(&web(at, keys, &[b.address]));
    engine.load(&web(at, keys, &[a.address]));
    assert_eq!(Client::new(at).get_once("/").expect("an answer").status, 503, "its one place is taken");
    assert!(echoes(&mut chat));
    drop(chat);
    eventually("the place is free again", secs(5), || {
        Client::new(at).get_once("/").is_ok_and(|answer| answer.server() == "a")
    });
}
