//! Addresses that come and go.

use std::net::{SocketAddr, TcpListener, TcpStream};

use forebay_e2e::pki::{self, EC};
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Client, Lab, Wire, config};

use crate::web;

fn refuses(at: SocketAddr) -> bool {
    TcpStream::connect_timeout(&at, secs(3)).is_err()
}

//= test RELOAD-LISTEN-01
#[test]
fn a_new_address_serves_at_once_and_one_that_is_gone_refuses_and_ends_its_clients() {
    let lab = Lab::new();
    let a = lab.demo("a");
    let [first, second] = lab.addresses();
    let engine = lab.engine(&web(first, "", &[a.address]));
    let (mut idle, mut slow) = (Client::new(first), Wire::connect(first).expect("it listens"));
    assert_eq!(idle.get("/").expect("served").status, 200);
    let mut kept = Wire::connect(first).expect("it listens");
    kept.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    kept.head().expect("an answer");
    slow.send("GET /slow?ms=1500 HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    eventually("the slow one is under way", secs(5), || {
        engine.metric("forebay_server_requests_active", &[]) == 1.0
    });
    engine.load(&web(second, "", &[a.address]));
    assert_eq!(Client::new(second).get_once("/").expect("served").status, 200);
    eventually("the old address refuses", secs(5), || refuses(first));
    assert!(kept.closes_within(secs(5)), "a client without a request is let go");
    let head = slow.head().expect("the answer that was under way");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.to_ascii_lowercase().contains("connection: close"), "it is the last: {head}");
    // And back: it may be had again.
    engine.load(&web(first, "", &[a.address]));
    assert_eq!(Client::new(first).get_once("/").expect("served").status, 200);
    eventually("the other one refuses", secs(5), || refuses(second));
}

//= test RELOAD-LISTEN-01
//= test RELOAD-STANDBY-01
#[test]
fn requests_that_are_on_their_way_when_a_service_leaves_are_answered() {
    const ASKS: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let lab = Lab::new();
    let a = lab.demo("a");
    let at = lab.address();
    let engine = lab.engine(&web(at, "", &[a.address]));
    let connect = || Wire::connect(at).expect("it listens");
    let (mut kept, mut fresh, mut part, mut silent) = (Client::new(at), connect(), connect(), connect());
    assert_eq!(kept.get("/").expect("served").status, 200);
    part.send(&ASKS[..9]).expect("sent");
    engine
        .load(&(config::service_with("web", at, "enabled = false") + &config::pool("web", "", &[a.address])));
    part.send(&ASKS[9..]).expect("sent");
    fresh.send(ASKS).expect("sent");
    let last = kept.get("/").expect("its next request is answered");
    assert_eq!((last.status, last.field("connection")), (200, Some("close")));
    for (name, one) in [("fresh", &mut fresh), ("in part", &mut part)] {
        let head = one.head().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(head.starts_with("HTTP/1.1 200 "), "{name}: {head}");
        assert!(head.to_ascii_lowercase().contains("connection: close"), "{name}: it is the last: {head}");
    }
    assert!(silent.closes_within(secs(5)), "who asks nothing is let go");
    eventually("it refuses", secs(5), || refuses(at));
}

//= test RELOAD-LISTEN-02
#[test]
fn who_came_to_an_address_before_it_spoke_something_else_is_let_go() {
    let lab = Lab::new();
    let [a, b] = lab.demos(["a", "b"]);
    let [at, other] = lab.addresses();
    let pool = |name: &str, server: SocketAddr| config::pool(name, "", &[server]);
    let engine = lab.engine(&(config::service("web", at) + &pool("web", a.address)));
    let mut kept = Wire::connect(at).expect("it listens");
    kept.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    assert!(kept.head().expect("served").starts_with("HTTP/1.1 200 "));
    // The service goes to another address, and one that passes connections on has its place.
    engine.load(
        &(config::service("web", other)
            + &pool("web", a.address)
            + &config::service_with("raw", at, "protocol = \"tcp\"")
            + &pool("raw", b.address)),
    );
    assert!(kept.closes_within(secs(5)), "it is let go");
    for _ in 0..20 {
        assert_eq!(Client::new(at).get_once("/").expect("served").server(), "b");
    }
    assert_eq!(Client::new(other).get_once("/").expect("served").server(), "a");
    // And back: HTTP again, where half of the connections would go to the loop of before.
    engine.load(&(config::service("web", at) + &pool("web", a.address)));
    for _ in 0..20 {
        assert_eq!(Client::new(at).get_once("/").expect("served").server(), "a");
    }
}

//= test RELOAD-LISTEN-02
//= test TLS-CLIENT-01
#[test]
fn who_has_shown_no_certificate_is_not_served_when_one_is_demanded() {
    let lab = Lab::new();
    let a = lab.demo("a");
    let at = lab.address();
    pki::authority(lab.folder(), "ca");
    pki::certificate(lab.folder(), "app", "ca", EC, "DNS:app.test", 2);
    let engine = lab.engine(&web(at, "", &[a.address]));
    let mut kept = Client::new(at);
    assert_eq!(kept.get("/").expect("served").status, 200);
    engine.load(&format!(
        "{}[[pki_profile]]\nname = \"ca\"\nca_file = \"ca.pem\"\n{}{}",
        pki::section("app"),
        config::service_with(
            "web",
            at,
            "certificates = [\"app\"]\nclient_certificate = { mode = \"require\", pki_profile = \"ca\" }"
        ),
        config::pool("web", "", &[a.address])
    ));
    assert!(kept.get("/").is_err(), "in clear text, and without a certificate");
}

//= test RELOAD-LISTEN-01
#[test]
fn an_address_that_cannot_be_had_changes_nothing() {
    let lab = Lab::new();
    let [a, b] = lab.demos(["a", "b"]);
    let [at, free] = lab.addresses();
    let holder = TcpListener::bind((lab.ip(), 0)).expect("a port");
    let taken = holder.local_addr().expect("it is bound");
    let engine = lab.engine(&web(at, "", &[a.address]));
    engine.write(&format!(
        "[[virtual_service]]\nname = \"web\"\nlisten = [\"{at}\", \"{free}\", \"{taken}\"]\npool = \"web\"\n{}",
        config::pool("web", "", &[b.address])
    ));
    let answer = engine.reload();
    assert_eq!(answer["ok"], false, "{answer}");
    assert!(answer["error"]["reason"].as_str().unwrap_or_default().contains(&taken.to_string()), "{answer}");
    assert!(refuses(free), "none of the new ones is listened on");
    for _ in 0..4 {
        assert_eq!(
            Client::new(at).get_once("/").expect("served").server(),
            "a",
            "the old configuration serves"
        );
    }
}

//= test RELOAD-ROUTE-01
#[test]
fn a_kept_connection_goes_by_the_new_configuration_with_its_next_request() {
    let lab = Lab::new();
    let [a, b] = lab.demos(["a", "b"]);
    let at = lab.address();
    let engine = lab.engine(&web(at, "", &[a.address]));
    let mut client = Client::new(at);
    assert_eq!(client.get("/").expect("served").server(), "a");
    // Another service at the same address, with a pool of another name.
    engine.load(&(config::service("shop", at) + &config::pool("shop", "", &[b.address])));
    assert!(client.is_connected());
    assert_eq!(client.get("/").expect("served on the same connection").server(), "b");
    assert!(client.is_connected());
}
