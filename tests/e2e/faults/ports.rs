//! No local port is left to connect to a server with.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use forebay_e2e::wait::secs;
use forebay_e2e::{Lab, Network, Origin, Wire, config, eventually, origin};

const PORTS: usize = 20;
const CLIENTS: usize = 30;

//= test SE-UPSTREAM-05
#[test]
fn with_no_port_left_to_a_server_it_is_503_counted_as_ours_and_no_servers_fault() {
    let Some(_network) = Network::own() else { return };
    let lab = Lab::new();
    let (holding, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (held, word) = (holding.clone(), go.clone());
    let server = Origin::answering(lab.address(), move |head| {
        if head.starts_with("GET /hold ") {
            held.fetch_add(1, Ordering::SeqCst);
            eventually("the word to go on", secs(30), || word.load(Ordering::SeqCst));
        }
        Some(origin::ok("hi"))
    });
    let at = lab.address();
    let engine = lab.engine(&(config::service("web", at) + &config::pool("web", "", &[server.address])));
    let few = FewPorts::new();
    // Each client has an address of its own, so that the test itself runs out of none.
    let clients = (0..CLIENTS as u32).map(|n| lab.client_ip(n));
    let mut wires: Vec<Wire> =
        clients.map(|from: IpAddr| Wire::connect_from(from, at).expect("a connection")).collect();
    for wire in &mut wires {
        wire.send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n").expect("a request is sent");
    }
    // Nothing that asks the engine itself: the test has no ports either.
    let refusals = CLIENTS - PORTS;
    let line = engine.log_lines(refusals, |line| line["response_code"] == 503).remove(0);
    assert_eq!(line["request_state"], "no descriptor, memory or port left to connect to a server");
    eventually("every port holds a request", secs(10), || holding.load(Ordering::SeqCst) == PORTS);
    go.store(true, Ordering::SeqCst);
    let mut refused = 0;
    for (n, wire) in wires.iter_mut().enumerate() {
        let head = wire.head().unwrap_or_else(|e| panic!("client {n}: {e}"));
        if head.starts_with("HTTP/1.1 503 ") {
            refused += 1;
        } else {
            assert!(head.starts_with("HTTP/1.1 200 "), "client {n}: {head}");
        }
    }
    assert_eq!(refused, refusals);
    // Idle connections are used again; nobody needs a new port.
    let mut wire = Wire::connect_from(lab.client_ip(200), at).expect("a connection");
    wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("a request is sent");
    assert!(wire.head().expect("an answer").starts_with("HTTP/1.1 200 "));
    drop(few);
    assert_eq!(engine.metric("forebay_connect_shortages_total", &[]), refusals as f64);
    let label = server.address.to_string();
    let of_server = [("server", label.as_str())];
    assert_eq!(engine.metric("forebay_server_connect_failures_total", &of_server), 0.0);
    assert_eq!(engine.metric("forebay_server_up", &of_server), 1.0);
}

/// As long as it lives, the thread's network has so few ports to connect from.
struct FewPorts(String);

impl FewPorts {
    /// The kernel looks at the network of the thread that reads and writes.
    const FILE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

    fn new() -> Self {
        let usual = std::fs::read_to_string(Self::FILE).expect("the range of ports");
        // Below what the lab and the kernel give away, where nobody in this network listens.
        let few = format!("10000 {}", 10_000 + PORTS - 1);
        std::fs::write(Self::FILE, few).expect("root may set it");
        Self(usual)
    }
}

impl Drop for FewPorts {
    fn drop(&mut self) {
        // The network goes with its last process in any case.
        let _ = std::fs::write(Self::FILE, &self.0);
    }
}
