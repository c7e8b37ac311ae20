//! No descriptor left to connect to a server with: idle connections make room, then it is 503, and no server's fault.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use forebay_e2e::wait::secs;
use forebay_e2e::{Client, Engine, Lab, Options, Origin, Wire, config, eventually, origin};

use super::resources::{descriptors, open_descriptors};

const SERVERS: usize = 3;

/// Servers whose answer to `/hold` waits for a word.
struct Held {
    origins: Vec<Origin>,
    holding: Arc<AtomicUsize>,
    go: Arc<AtomicBool>,
}

impl Held {
    fn new(lab: &Lab) -> Self {
        let (holding, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let origins = lab
            .addresses::<SERVERS>()
            .map(|address| {
                let (holding, go) = (holding.clone(), go.clone());
                Origin::answering(address, move |head| {
                    if head.starts_with("GET /hold ") {
                        holding.fetch_add(1, Ordering::SeqCst);
                        eventually("the word to go on", secs(20), || go.load(Ordering::SeqCst));
                    }
                    Some(origin::ok(&address.to_string()))
                })
            })
            .into();
        Self { origins, holding, go }
    }
}

/// A client whose request is held by a server.
fn hold(at: SocketAddr, wire: &mut Wire, held: &Held) {
    let before = held.holding.load(Ordering::SeqCst);
    wire.send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    eventually(&format!("a server behind {at} holds the request"), secs(10), || {
        held.holding.load(Ordering::SeqCst) > before
    });
}

//= test SE-UPSTREAM-05
#[test]
fn with_no_descriptor_for_a_server_idle_ones_make_room_then_it_is_503_and_no_servers_fault() {
    let lab = Lab::new();
    let held = Held::new(&lab);
    let at = lab.address();
    let servers: Vec<SocketAddr> = held.origins.iter().map(|origin| origin.address).collect();
    let text = config::service("web", at) + &config::pool("web", "algorithm = \"round_robin\"", &servers);
    let engine = lab.engine_with(&text, Options { workers: 1, ..Options::default() });
    // Accepted while there are descriptors; the last ones leave an idle connection at each server.
    let mut clients: Vec<Client> = (0..2).map(|_| Client::new(at)).collect();
    let mut wires: Vec<Wire> = (0..SERVERS).map(|_| Wire::connect(at).unwrap()).collect();
    for n in 0..SERVERS {
        for client in &mut clients {
            assert_eq!(client.get("/").unwrap().status, 200, "request {n}");
        }
    }
    eventually("every connection is accepted and every server has one that is idle", secs(5), || {
        engine.metric("forebay_client_connections_open", &[]) >= (clients.len() + wires.len()) as f64
            && engine.metric("forebay_server_connections_open", &[]) >= SERVERS as f64
    });
    // The log is open by now, and no descriptor is in passing: one that came or went later would spoil the count.
    engine.log_lines(SERVERS * clients.len(), |line| line["response_code"] == 200);
    eventually("the connections that asked for metrics are closed", secs(5), || !engine.asked_for_metrics());
    // So that what is given up has a number below the limit, silent clients take every free one.
    let mut silent: Vec<Wire> = Vec::new();
    let mut limit = 0;
    eventually("no number between the open descriptors is free", secs(10), || {
        let open = open_descriptors(&engine);
        limit = open.len() as u64;
        let whole = open.iter().all(|fd| *fd < limit);
        if !whole {
            silent.push(Wire::connect(at).unwrap());
        }
        whole
    });
    let usual = descriptors(&engine, "--nofile");
    descriptors(&engine, &format!("--nofile={limit}:"));

    // One after the other the idle connections are taken, or given up for a new one where the turn's server has none.
    hold(at, &mut wires[0], &held);
    for n in 0..2 * SERVERS {
        let answer = clients[0].get("/").unwrap();
        assert_eq!(answer.status, 200, "request {n}: an idle connection makes room");
    }
    for wire in &mut wires[1..] {
        hold(at, wire, &held);
    }
    for n in 0..10 {
        let answer = clients[n % 2].get("/").unwrap();
        assert_eq!(answer.status, 503, "request {n}: {}", answer.text());
    }

    descriptors(&engine, &format!("--nofile={usual}:"));
    for n in 0..2 * SERVERS {
        assert_eq!(clients[1].get("/").unwrap().status, 200, "request {n}: there are descriptors again");
    }
    held.go.store(true, Ordering::SeqCst);
    drop(silent);
    for wire in &mut wires {
        assert!(wire.head().unwrap().starts_with("HTTP/1.1 200 "), "what was under way went on");
    }
    blameless(&engine);
    let refused = engine.log_lines(10, |line| line["response_code"] == 503);
    for line in refused {
        assert_eq!(line["servers_tried"], 1, "no other server is tried: {line}");
        let why = "no descriptor, memory or port left to connect to a server";
        assert_eq!(line["request_state"], why);
    }
}

/// The shortage was counted as ours, and nothing was held against a server.
fn blameless(engine: &Engine) {
    assert_eq!(engine.metric("forebay_connect_shortages_total", &[]), 10.0);
    assert!(engine.metric("forebay_server_idle_evictions_total", &[]) >= 2.0);
    assert_eq!(engine.metric("forebay_server_connect_failures_total", &[]), 0.0);
    assert_eq!(engine.metric("forebay_server_aborts_total", &[]), 0.0);
    assert_eq!(engine.metric("forebay_pool_retries_total", &[]), 0.0);
    assert_eq!(engine.metric("forebay_server_up", &[]), SERVERS as f64);
}
