//! Many reloads under load.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::Instant;

use forebay_e2e::lively::{Seen, chat, download, websocket};
use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Client, Lab, Options, config, pki};

use crate::secured::{Chatter, certificates, turn};
use crate::web;

/// Clients that keep their connections.
const CLIENTS: u32 = 8;
const RELOADS: u32 = 100;

/// Asks again and again from an address of its own, and is always served by the same server.
fn client(at: SocketAddr, from: IpAddr, server: &str, seen: &Seen) {
    let mut client = Client::new(at).from(from).without_jar();
    while !seen.is_over() {
        let answer = client.get("/").unwrap_or_else(|error| panic!("{from}: a request failed: {error}"));
        assert_eq!(answer.status, 200, "{from}");
        assert_eq!(answer.server(), server, "{from} lost its server");
        seen.requests.fetch_add(1, Ordering::Relaxed);
    }
}

//= test RELOAD-ROUTE-01
//= test RELOAD-KEEP-02
//= test RELOAD-BROKEN-01
//= test TLS-RELOAD-01
#[test]
fn a_hundred_reloads_under_load_fail_no_request_and_cost_no_client_its_server() {
    let lab = Lab::new();
    let [a, b, c, d] = lab.demos(["a", "b", "c", "d"]);
    let [at, raw, secured] = lab.addresses();
    certificates(&lab);
    let sections = config::persistence("p", "client_ip", "") + &config::monitor("looks");
    let document = |round: u32| {
        let algorithm = ["least_connections", "round_robin", "consistent_hash"][round as usize % 3];
        let monitor = if round % 4 == 1 { "health_monitors = [\"looks\"]\n" } else { "" };
        let mut servers = vec![a.address, b.address];
        servers.extend([c.address, d.address].into_iter().take(round as usize % 3));
        let keys = format!("algorithm = \"{algorithm}\"\npersistence = \"p\"\n{monitor}");
        web(at, &keys, &servers)
            + &config::profile(&format!("via = \"round{round}\"\nidle_timeout_ms = {}", 30_000 + round))
            + &config::service_with("raw", raw, "protocol = \"tcp\"")
            + &config::pool("raw", "", &[a.address, b.address])
            + &config::service_with("secured", secured, "certificates = [\"app\"]")
            + &config::pool("secured", "", &[a.address, b.address])
            + &pki::section("app")
            + &format!("[[tcp_profile]]\nname = \"default\"\nidle_timeout_ms = {}\n", 600_000 + round)
            + &sections
    };
    let options = Options { engine: "persistence_mem_max_bytes = 16777216".into(), ..Options::default() };
    let engine = lab.engine_with(&document(0), options);
    // Everybody is bound before servers come and go: to one that stays.
    let bound: Vec<(IpAddr, String)> = (1..=CLIENTS)
        .map(|n| {
            let from = lab.client_ip(n);
            let answer = Client::new(at).from(from).without_jar().get_once("/").expect("served");
            (from, answer.server().to_owned())
        })
        .collect();
    let seen = &Seen::default();
    // Through the service of HTTP, and through one that passes bytes on unread.
    let chatting = [websocket(at), websocket(raw)];
    // And one over TLS, with a certificate that is another one after each reload.
    let mut chatter = Chatter::start(&lab, secured, turn(lab.folder(), 0));
    std::thread::scope(|scope| {
        for (from, server) in &bound {
            scope.spawn(|| client(at, *from, server, seen));
        }
        for wire in chatting {
            scope.spawn(|| chat(wire, seen));
        }
        scope.spawn(|| download(at, seen));
        let over = seen.until_dropped();
        let asked = || seen.requests.load(Ordering::Relaxed);
        let rate = |requests: u64, began: Instant| requests as f64 / began.elapsed().as_secs_f64();
        let (began, before) = (Instant::now(), asked());
        // Sleep: what this machine and these clients can do when nothing changes.
        std::thread::sleep(ms(1000));
        let quiet = rate(asked() - before, began);
        let (began, before) = (Instant::now(), asked());
        for round in 1..=RELOADS {
            let certificate = turn(lab.folder(), round);
            engine.write(&document(round).replace("algorithm", "algorithn"));
            let answer = engine.reload();
            assert_eq!(answer["ok"], false, "{answer}");
            engine.load(&document(round));
            assert_eq!(chatter.shown(), certificate, "round {round}");
            // Sleep: traffic between two changes.
            std::thread::sleep(ms(20));
        }
        let (requests, busy) = (asked() - before, rate(asked() - before, began));
        drop(over);
        let echoed = chatter.end();
        assert!(echoed > 20, "the WebSocket over TLS lived through it: {echoed}");
        assert_eq!(
            engine.metric("forebay_config_reloads_total", &[("result", "loaded")]),
            f64::from(RELOADS)
        );
        assert_eq!(
            engine.metric("forebay_config_reloads_total", &[("result", "refused")]),
            f64::from(RELOADS)
        );
        eprintln!("{requests} requests, {busy:.0} a second; {quiet:.0} without reloads");
        // A machine that can do less has its own measure: reloads leave more than half of it.
        assert!(
            busy >= 2_000.0 || busy >= quiet / 2.0,
            "{busy:.0} a second are no load, or reloads cost too much"
        );
        assert!(busy >= 200.0, "{busy:.0} requests a second are no load");
    });
    let answer = Client::new(at).get_once("/bytes?n=1").expect("served");
    let by = answer.field("via").expect("who passed it on");
    assert!(by.contains(&format!("round{RELOADS}")), "the last profile counts: {by}");
    assert_eq!(engine.metric("forebay_worker_panics_total", &[]), 0.0);
    let page = engine.page();
    for class in ["4xx", "5xx"] {
        assert_eq!(page.sum("forebay_responses_total", &[("class", class)]), 0.0, "{class}");
    }
    forebay_e2e::eventually("old configurations are freed", secs(5), || {
        engine.metric("forebay_config_generations_live", &[]) == 1.0
    });
}
