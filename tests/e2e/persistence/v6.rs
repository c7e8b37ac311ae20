//! Clients and servers that speak IPv6: known by their networks, shown by their addresses.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use forebay_e2e::scene::tally;
use forebay_e2e::{Client, Demo, Engine, Lab, Network, config};
use serde_json::Value;

/// Networks of 64 bits that clients come from.
const NETWORKS: u16 = 24;
/// Clients in each.
const CLIENTS: u16 = 4;

/// The `client`th client of the `network`th network.
fn ip(network: u16, client: u16) -> IpAddr {
    // They differ in the last bit before the mask and in the first and last behind it.
    let high = if client.is_multiple_of(2) { 0 } else { 0x8000 };
    Ipv6Addr::new(0x2001, 0xdb8, 0, network, high, 0, 0, client + 1).into()
}

/// A virtual service on `[::1]`, in front of servers of both families.
struct Scene {
    engine: Engine,
    servers: [Demo; 3],
    at: SocketAddr,
    // The last to be dropped.
    _lab: Lab,
}

impl Scene {
    fn new(network: &Network, kind: &str) -> Self {
        Self::at(&["[::1]:8080"], network, kind)
    }

    fn at(listen: &[&str], network: &Network, kind: &str) -> Self {
        network.add((0..NETWORKS).flat_map(|n| (0..CLIENTS).map(move |c| ip(n, c))));
        let lab = Lab::new();
        let at: SocketAddr = listen[0].parse().unwrap();
        let servers = [
            lab.demo_at("a", "[::1]:9001".parse().unwrap()),
            lab.demo_at("b", "[::1]:9002".parse().unwrap()),
            lab.demo("c"),
        ];
        let addresses = servers.each_ref().map(|s| s.address);
        let pool = config::pool("web", "algorithm = \"round_robin\"\npersistence = \"p\"", &addresses);
        let one = config::service("web", at);
        let service = one.replace(&format!("[\"{at}\"]"), &format!("{listen:?}"));
        let engine = lab.engine(&format!("{service}{pool}{kind}"));
        Self { engine, servers, at, _lab: lab }
    }

    /// The server of each client, asked three times on connections of its own.
    fn homes(&self) -> BTreeMap<(u16, u16), String> {
        let mut homes = BTreeMap::new();
        for round in 0..3 {
            for (network, client) in (0..NETWORKS).flat_map(|n| (0..CLIENTS).map(move |c| (n, c))) {
                let mut asked = Client::new(self.at).from(ip(network, client)).without_jar();
                let answer = asked.get_once("/").unwrap();
                assert_eq!(answer.status, 200, "{}", answer.text());
                let home = homes.entry((network, client)).or_insert_with(|| answer.server().to_owned());
                assert_eq!(answer.server(), home, "round {round}: {}", ip(network, client));
            }
        }
        homes
    }

    fn table(&self, filter: &[&str]) -> String {
        let mut words = vec!["persistence", "--output", "json"];
        words.extend(filter);
        self.engine.ask(&words)
    }
}

//= test PERS-IP-01
#[test]
fn ipv6_clients_of_one_network_stay_together_under_a_mask() {
    let Some(network) = Network::own() else { return };
    let kind = config::persistence("p", "client_ip", "ipv6_prefix_bits = 64");
    let scene = Scene::new(&network, &kind);
    let homes = scene.homes();
    for n in 0..NETWORKS {
        let of_network = (0..CLIENTS).map(|c| homes[&(n, c)].clone());
        assert_eq!(tally(of_network).len(), 1, "{} and its neighbours", ip(n, 0));
    }
    let of_networks = tally((0..NETWORKS).map(|n| homes[&(n, 0)].clone()));
    assert_eq!(of_networks.len(), 3, "networks side by side are told apart: {of_networks:?}");
    let entries = scene.engine.metric("forebay_persistence_entries", &[]);
    assert!((entries - f64::from(NETWORKS)).abs() < 0.5, "one entry for each network: {entries}");
}

#[test]
fn each_ipv6_client_sticks_without_a_mask_and_is_found_by_its_address() {
    let Some(network) = Network::own() else { return };
    let scene = Scene::new(&network, &config::persistence("p", "client_ip", ""));
    let homes = scene.homes();
    assert_eq!(tally(homes.values().cloned()).len(), 3);
    let apart = (0..NETWORKS).any(|n| tally((0..CLIENTS).map(|c| homes[&(n, c)].clone())).len() > 1);
    assert!(apart, "neighbours are told apart: {homes:?}");

    let wanted = ip(5, 1);
    let home = scene.servers.iter().find(|s| s.name == homes[&(5, 1)]).unwrap();
    let found: Value = serde_json::from_str(&scene.table(&["--client", &wanted.to_string()])).unwrap();
    let text = found.to_string();
    assert!(text.contains(&format!("\"{wanted}\"")) && text.contains(&home.address.to_string()), "{found}");
    assert!(!text.contains(&ip(5, 0).to_string()), "only this client: {found}");
    // The same address, written at full length.
    let IpAddr::V6(v6) = wanted else { unreachable!("made above") };
    let long = v6.segments().map(|s| format!("{s:04x}")).join(":");
    assert!(scene.table(&["--client", &long]).contains(&home.address.to_string()), "{long}");
    let of_server = scene.table(&["--server", &scene.servers[0].address.to_string(), "--limit", "1000"]);
    for ((n, c), server) in &homes {
        let listed = of_server.contains(&format!("\"{}\"", ip(*n, *c)));
        assert_eq!(listed, server == "a", "{} in {of_server}", ip(*n, *c));
    }

    let url = format!("http://{}/", scene.at);
    let explained = scene.engine.ask(&["explain", &url, "--client", &wanted.to_string()]);
    assert!(explained.contains(&home.address.to_string()), "{explained}");
}

#[test]
fn servers_and_the_access_log_learn_the_address_of_an_ipv6_client() {
    let Some(network) = Network::own() else { return };
    let scene = Scene::new(&network, &config::persistence("p", "client_ip", ""));
    for client in 0..12 {
        let from = ip(client, 2);
        let echo = Client::new(scene.at).from(from).get_once("/log-me").unwrap().json();
        let fields: BTreeMap<String, String> = serde_json::from_value(echo["headers"].clone())
            .map(|pairs: Vec<(String, String)>| pairs.into_iter().collect())
            .unwrap();
        assert_eq!(fields["x-forwarded-for"], from.to_string(), "bare, without brackets: {echo}");
        assert_eq!(fields["host"], "[::1]:8080", "{echo}");
    }
    let lines = scene.engine.log_lines(12, |l| l["uri_path"] == "/log-me");
    for client in 0..12 {
        let from = ip(client, 2).to_string();
        let of_client: Vec<_> = lines.iter().filter(|l| l["client_ip"] == from.as_str()).collect();
        assert_eq!(of_client.len(), 1, "{from} in {lines:?}");
        assert_eq!(of_client[0]["client_dest_ip"], "::1");
        let server = SocketAddr::new(
            of_client[0]["server_ip"].as_str().unwrap().parse().unwrap(),
            of_client[0]["server_dest_port"].as_u64().unwrap() as u16,
        );
        assert!(scene.servers.iter().any(|s| s.address == server), "{server} is one of ours");
    }
}

//= test CFG-LISTEN-01
#[test]
fn a_service_for_both_families_knows_each_client_by_its_own_address() {
    let Some(network) = Network::own() else { return };
    let kind = config::persistence("p", "client_ip", "");
    let scene = Scene::at(&["[::]:8080", "0.0.0.0:8080"], &network, &kind);
    let of_v4: SocketAddr = "127.0.0.1:8080".parse().unwrap();
    let of_v6: SocketAddr = "[::1]:8080".parse().unwrap();
    for (to, from) in [(of_v4, "127.0.0.77"), (of_v6, "2001:db8:0:5::1")] {
        let client = || Client::new(to).from(from.parse().unwrap()).without_jar();
        let answers: Vec<_> = (0..6).map(|_| client().get_once("/").unwrap()).collect();
        assert_eq!(tally(answers.iter().map(|a| a.server().to_owned())).len(), 1, "{from} sticks");
        let echo = answers[0].json();
        assert!(echo["headers"].to_string().contains(&format!("[\"x-forwarded-for\",\"{from}\"]")), "{echo}");
        scene.engine.log_lines(6, |l| l["client_ip"] == from);
        assert!(scene.table(&["--client", from]).contains(&format!("\"{from}\"")));
    }
}
