//! Two engines on one address.

use std::net::SocketAddr;

use forebay_e2e::wait::secs;
use forebay_e2e::{Client, Engine, Lab, Options, Origin, config, eventually, origin};

fn text(at: SocketAddr, server: SocketAddr, shared: bool) -> String {
    config::service_with("web", at, &format!("shared_listener = {shared}"))
        + &config::pool("web", "", &[server])
}

//= test OBS-BIND-02
#[test]
fn engines_that_both_share_a_listener_get_clients_both() {
    let lab = Lab::new();
    let at = lab.address();
    let [a, b] = ["a", "b"].map(|name| Origin::fixed(lab.address(), origin::ok(name)));
    let _first = lab.engine(&text(at, a.address, true));
    let mut second = lab.engine(&text(at, b.address, true));
    let mut seen = std::collections::BTreeSet::new();
    eventually("both engines answer", secs(15), || {
        seen.insert(Client::new(at).get_once("/").expect("an answer").text());
        seen.len() == 2
    });
    assert_eq!(second.process.end(secs(10)).code(), Some(0));
    for _ in 0..20 {
        assert_eq!(Client::new(at).get_once("/").expect("an answer").text(), "a");
    }
}

//= test OBS-BIND-02
//= test OBS-BIND-01
#[test]
fn an_address_is_shared_only_if_both_want_to() {
    for (first, second, reason) in [
        (false, false, "another process listens there"),
        (true, false, "another process listens there"),
        (false, true, "shares it with nobody; set shared_listener = true"),
    ] {
        let lab = Lab::new();
        let at = lab.address();
        let server = Origin::fixed(lab.address(), origin::ok("a"));
        let _first = lab.engine(&text(at, server.address, first));
        let mut refused = Engine::spawn(&lab, &text(at, server.address, second), &Options::default());
        assert_eq!(refused.process.wait(secs(10)).code(), Some(1), "{first} {second}");
        let said = refused.process.printed();
        assert!(said.contains(&at.to_string()) && said.contains(reason), "{first} {second}: {said}");
        assert_eq!(Client::new(at).get_once("/").expect("an answer").text(), "a");
    }
}
