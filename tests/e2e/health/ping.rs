//! Monitors by ping in a network of their own.

use std::net::{IpAddr, SocketAddr};

use forebay_e2e::wait::secs;
use forebay_e2e::{Engine, Lab, Network, Options, config};

use crate::monitor;

/// Runs the engine as a user without any right.
const NOBODY: [&str; 6] =
    ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--no-new-privs"];

fn text(lab: &Lab, servers: &[SocketAddr]) -> String {
    config::service("web", lab.address())
        + &config::pool("web", "health_monitors = [\"m\"]\npassive_health_monitor = false", servers)
        + &monitor("ping", "")
}

fn servers() -> [SocketAddr; 2] {
    [SocketAddr::from(([10, 9, 8, 7], 80)), "[fd00:9::7]:80".parse().expect("an address")]
}

//= test HM-PING-01
#[test]
fn a_server_that_answers_pings_is_up_whatever_listens_there() {
    let Some(network) = Network::own() else { return };
    let servers = servers();
    network.add(servers.map(|server| server.ip()));
    let lab = Lab::new();
    let engine = lab.engine(&text(&lab, &servers));
    for server in servers {
        engine.wait_for_server(server, true);
        network.remove(server.ip());
        engine.wait_for_server(server, false);
        let why = engine.why(server);
        assert!(why.contains("unreachable: "), "{why}");
        network.add([server.ip()]);
        engine.wait_for_server(server, true);
    }
}

//= test HM-PING-02
#[test]
fn an_engine_that_may_not_ping_says_which_right_is_missing() {
    let Some(network) = Network::own() else { return };
    let servers = servers();
    network.add(servers.map(|server: SocketAddr| -> IpAddr { server.ip() }));
    let lab = Lab::new();
    lab.give_to_nobody();
    let options = || Options { under: NOBODY.map(str::to_owned).to_vec(), ..Options::default() };
    let mut refused = Engine::spawn(&lab, &text(&lab, &servers), &options());
    assert_eq!(refused.process.wait(secs(10)).code(), Some(1));
    let said = refused.process.printed();
    assert!(said.contains("health_monitor \"m\": the engine may not send echo requests"), "{said}");
    assert!(said.contains("ping_group_range") && said.contains("cap_net_raw"), "{said}");
    // The kernel looks at the network of the thread that writes.
    std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647").expect("root may set it");
    let engine = lab.engine_with(&text(&lab, &servers), options());
    for server in servers {
        engine.wait_for_server(server, true);
    }
}
