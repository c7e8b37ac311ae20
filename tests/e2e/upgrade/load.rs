//! Many upgrades under load.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::Instant;

use forebay_e2e::lively::{Seen, chat, download, websocket};
use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Client, Engine, Lab, config};

use crate::{options, web};

/// Clients that keep their connections, half of them known by their address and half by a cookie.
const KEEPING: u32 = 6;
/// Clients that come with a connection for each request.
const COMING: u32 = 2;
const UPGRADES: usize = 10;

/// Asks again and again from an address of its own, and is always served by the same server.
fn ask(mut client: Client, keeps: bool, server: &str, seen: &Seen) {
    while !seen.is_over() {
        let answer = if keeps { client.get("/") } else { client.get_once("/") };
        let answer = answer.unwrap_or_else(|error| panic!("a request failed (keeps: {keeps}): {error}"));
        assert_eq!(answer.status, 200);
        assert_eq!(answer.server(), server, "a client lost its server (keeps: {keeps})");
        seen.requests.fetch_add(1, Ordering::Relaxed);
    }
}

/// Comes from a new address every time, twice: the second time it is the server of the first.
fn come(at: SocketAddr, lab: &Lab, seen: &Seen) {
    for n in 1_000_u32.. {
        if seen.is_over() {
            return;
        }
        let ip: IpAddr = lab.client_ip(n % 60_000);
        let ask = || Client::new(at).from(ip).without_jar().get_once("/").expect("a new client is served");
        let (first, second) = (ask(), ask());
        assert_eq!((first.status, second.status), (200, 200));
        assert_eq!(first.server(), second.server(), "{ip} lost the server that it was given");
        seen.requests.fetch_add(2, Ordering::Relaxed);
    }
}

/// Looks at the page of metrics, as scrapers do, and asks whether the engine is ready.
fn scrape(metrics: SocketAddr, seen: &Seen) {
    while !seen.is_over() {
        for path in ["/metrics", "/readyz"] {
            let answer = Client::new(metrics).get_once(path).unwrap_or_else(|e| panic!("{path}: {e}"));
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        }
        // Sleep: scrapers come now and then.
        std::thread::sleep(ms(10));
    }
}

//= test UPG-ORDER-01
//= test UPG-ORDER-02
//= test UPG-SOCKET-01
//= test UPG-TABLE-01
//= test UPG-TABLE-03
//= test UPG-DOOR-01
#[test]
fn ten_upgrades_under_load_fail_no_request_and_cost_no_client_its_server() {
    let lab = Lab::new();
    let [a, b, c] = lab.demos(["a", "b", "c"]);
    let [by_address, by_cookie] = lab.addresses();
    let servers = [a.address, b.address, c.address];
    let text = web(by_address, "persistence = \"ip\"\nhealth_monitors = [\"looks\"]", &servers)
        + &config::service("cookie", by_cookie)
        + &config::pool("cookie", "persistence = \"cookie\"", &servers)
        + &config::persistence("ip", "client_ip", "")
        + &config::persistence("cookie", "http_cookie", "")
        + &config::monitor("looks")
        + config::COOKIE_KEY;
    let mut engine = lab.engine_with(&text, options());
    let bound = |n: u32, client: Client| {
        let mut client = client;
        let server = client.get_once("/").expect("served").server().to_owned();
        (n, client, server)
    };
    let address = |n: u32| Client::new(by_address).from(lab.client_ip(n)).without_jar();
    let mut clients: Vec<_> = (0..KEEPING / 2).map(|n| bound(n, address(n + 1))).collect();
    clients.extend((0..KEEPING / 2).map(|n| bound(n, Client::new(by_cookie))));
    clients.extend((KEEPING..KEEPING + COMING).map(|n| bound(n, address(n + 1))));
    let seen = Seen::default();
    let chatting = [websocket(by_address), websocket(by_cookie)];
    let metrics = engine.metrics;
    std::thread::scope(|scope| {
        for (n, client, server) in clients {
            let seen = &seen;
            scope.spawn(move || ask(client, n < KEEPING, &server, seen));
        }
        for wire in chatting {
            scope.spawn(|| chat(wire, &seen));
        }
        scope.spawn(|| download(by_address, &seen));
        scope.spawn(|| come(by_address, &lab, &seen));
        scope.spawn(|| scrape(metrics, &seen));
        let over = seen.until_dropped();
        let asked = || seen.requests.load(Ordering::Relaxed);
        let rate = |requests: u64, began: Instant| requests as f64 / began.elapsed().as_secs_f64();
        let (began, before) = (Instant::now(), asked());
        // Sleep: what this machine and these clients can do when nothing changes.
        std::thread::sleep(ms(1000));
        let quiet = rate(asked() - before, began);
        let (began, before) = (Instant::now(), asked());
        let mut olds: Vec<Engine> = Vec::new();
        for _ in 0..UPGRADES {
            olds.push(engine.upgrade(&options()));
            // Sleep: traffic between two upgrades.
            std::thread::sleep(ms(100));
        }
        let (requests, busy) = (asked() - before, rate(asked() - before, began));
        drop(over);
        eprintln!("{requests} requests, {busy:.0} a second; {quiet:.0} without upgrades");
        // A machine that can do less has its own measure; each upgrade starts a program, which takes a core for a while.
        assert!(
            busy >= 2_000.0 || busy >= quiet / 3.0,
            "{busy:.0} of {quiet:.0} a second: upgrades cost too much"
        );
        assert!(busy >= 200.0, "{busy:.0} requests a second are no load");
        for old in &mut olds {
            let status = old.process.wait(secs(40));
            assert_eq!(status.code(), Some(0), "nothing had to be cut: {}", old.process.printed());
        }
    });
    assert_eq!(engine.metric("forebay_worker_panics_total", &[]), 0.0);
    let lines = engine.log();
    let failed =
        lines.iter().filter(|line| line["response_code"].as_u64().is_some_and(|status| status >= 400));
    assert_eq!(failed.count(), 0, "no process has refused or failed a request");
}
