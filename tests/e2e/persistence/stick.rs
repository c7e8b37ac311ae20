//! The same client stays with one server, whatever its service knows it by.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use forebay_e2e::client::read_answer;
use forebay_e2e::scene::tally;
use forebay_e2e::{Client, Engine, Lab, Origin, Request, Scene, Wire, config, system};

/// Requests of the one client.
const REQUESTS: usize = 1000;
/// Requests on one connection before it takes a new one.
const PER_CONNECTION: usize = 5;

/// Sends all requests; returns the servers that answered, in order.
fn run(client: &mut Client, mut request: impl FnMut(usize) -> Request) -> Vec<String> {
    (0..REQUESTS)
        .map(|n| {
            let mut request = request(n);
            request.last = (n + 1).is_multiple_of(PER_CONNECTION);
            let answer = client.send(&request).unwrap_or_else(|e| panic!("request {n}: {e}"));
            assert_eq!(answer.status, 200, "request {n}: {}", answer.text());
            answer.server().to_owned()
        })
        .collect()
}

fn workers_that_served(engine: &Engine) -> BTreeSet<u64> {
    let lines = engine.log_lines(REQUESTS, |_| true);
    lines.iter().filter_map(|l| l["vcpu_id"].as_u64()).collect()
}

#[track_caller]
fn all_from_one(engine: &Engine, servers: &[String]) {
    let tally = tally(servers.to_vec());
    assert_eq!(tally.len(), 1, "one client, more than one server: {tally:?}");
    assert_eq!(workers_that_served(engine).len(), 2, "both workers take part");
}

#[test]
fn without_persistence_one_client_meets_all_servers() {
    let scene = Scene::new("algorithm = \"round_robin\"", "");
    let tally = tally(run(&mut scene.client(), |_| Request::get("/")));
    assert_eq!(tally.len(), 3, "{tally:?}");
    // Round robin is exact within each worker; two workers may differ by one round each.
    assert!(tally.values().all(|n| n.abs_diff(REQUESTS / 3) <= 3), "{tally:?}");
    assert_eq!(workers_that_served(&scene.engine).len(), 2);
}

//= test PERS-COOKIE-01
#[test]
fn an_inserted_cookie_keeps_its_client_on_one_server() {
    let profile = config::persistence("p", "http_cookie", "");
    let scene = Scene::new("algorithm = \"round_robin\"\npersistence = \"p\"", &profile);
    let servers = run(&mut scene.client(), |_| Request::get("/"));
    all_from_one(&scene.engine, &servers);
}

#[test]
fn clients_without_the_cookie_are_spread_over_all_servers() {
    let profile = config::persistence("p", "http_cookie", "");
    let scene = Scene::new("algorithm = \"round_robin\"\npersistence = \"p\"", &profile);
    let servers = (0..60).map(|_| scene.client().get_once("/").unwrap().server().to_owned());
    assert_eq!(tally(servers).len(), 3);
}

#[test]
fn a_client_address_keeps_its_client_on_one_server() {
    let profile = config::persistence("p", "client_ip", "");
    let scene = Scene::new("algorithm = \"round_robin\"\npersistence = \"p\"", &profile);
    let mut client = scene.client().from(scene.lab.client_ip(1)).without_jar();
    let servers = run(&mut client, |_| Request::get("/"));
    all_from_one(&scene.engine, &servers);
    let others = (2..62).map(|n| {
        let mut client = scene.client().from(scene.lab.client_ip(n));
        client.get_once("/").unwrap().server().to_owned()
    });
    assert_eq!(tally(others).len(), 3, "other addresses go elsewhere");
}

#[test]
fn clients_of_one_network_stay_together_under_a_mask() {
    let profile = config::persistence("p", "client_ip", "ipv4_prefix_bits = 24");
    let scene = Scene::new("algorithm = \"round_robin\"\npersistence = \"p\"", &profile);
    let one_network = (0..256).step_by(16).map(|n| {
        let mut client = scene.client().from(scene.lab.client_ip(n));
        client.get_once("/").unwrap().server().to_owned()
    });
    let tally_one = tally(one_network);
    assert_eq!(tally_one.len(), 1, "{tally_one:?}");
    let networks = (0..30).map(|n| {
        let mut client = scene.client().from(scene.lab.client_ip(n * 256));
        client.get_once("/").unwrap().server().to_owned()
    });
    assert_eq!(tally(networks).len(), 3);
}

#[test]
fn an_application_cookie_keeps_its_client_on_the_server_that_set_it() {
    let profile = config::persistence("p", "app_cookie", "cookie_name = \"JSESSIONID\"");
    let scene = Scene::new("algorithm = \"round_robin\"\npersistence = \"p\"", &profile);
    let mut client = scene.client();
    let home = client.get_once("/login").unwrap().server().to_owned();
    let servers = run(&mut client, |_| Request::get("/"));
    all_from_one(&scene.engine, &servers);
    assert_eq!(servers[0], home);
}

#[test]
fn a_header_value_leads_to_the_server_that_is_configured_for_it() {
    let lab = forebay_e2e::Lab::new();
    let [a, b, c] = lab.demos(["a", "b", "c"]);
    let at = lab.address();
    let servers = [
        (a.address, "header_value = \"red\""),
        (b.address, "header_value = \"green\""),
        (c.address, "header_value = \"blue\""),
    ];
    let text = config::service("web", at)
        + &config::pool_of("web", "algorithm = \"round_robin\"\npersistence = \"p\"", &servers)
        + &config::persistence("p", "custom_header", "header = \"X-Colour\"");
    let engine = lab.engine(&text);
    let mut client = Client::new(at);
    for (value, server) in [("red", "a"), ("green", "b"), ("blue", "c")] {
        let servers = run(&mut client, |_| Request::get("/").field(format!("X-Colour: {value}")));
        all_from_one(&engine, &servers);
        assert_eq!(servers[0], server, "{value}");
    }
    let unknown = (0..30).map(|_| {
        let request = Request::get("/").field("X-Colour: purple").last();
        client.send(&request).unwrap().server().to_owned()
    });
    assert_eq!(tally(unknown).len(), 3, "no match: the algorithm decides");
}

/// One consistent-hash pool by `hash_by`; `request` makes the request of key `k`.
fn hashed(keys: &str, request: impl Fn(usize) -> Request) {
    let pool = format!("algorithm = \"consistent_hash\"\n{keys}");
    let scene = Scene::new(&pool, "");
    let servers = run(&mut scene.client().without_jar(), |_| request(7));
    all_from_one(&scene.engine, &servers);
    let spread = run(&mut scene.client().without_jar(), request);
    let tally = tally(spread);
    assert_eq!(tally.len(), 3, "{tally:?}");
    assert!(tally.values().all(|n| *n > REQUESTS / 6), "no server below half its share: {tally:?}");
}

#[test]
fn a_consistent_hash_of_the_uri_keeps_each_uri_on_one_server() {
    hashed("hash_by = \"uri\"", |k| Request::get(&format!("/page/{k}?x={k}")));
}

#[test]
fn a_consistent_hash_of_a_header_keeps_each_value_on_one_server() {
    hashed("hash_by = \"custom_header\"\nhash_header = \"X-Tenant\"", |k| {
        Request::get("/").field(format!("X-Tenant: tenant-{k}"))
    });
}

#[test]
fn a_consistent_hash_of_the_call_id_keeps_each_call_on_one_server() {
    hashed("hash_by = \"call_id\"", |k| Request::get("/").field(format!("Call-ID: {k}@example")));
}

#[test]
fn a_consistent_hash_of_the_address_keeps_each_client_on_one_server() {
    let scene = Scene::new("algorithm = \"consistent_hash\"\nhash_by = \"source_ip\"", "");
    let mut client = scene.client().from(scene.lab.client_ip(0)).without_jar();
    let servers = run(&mut client, |_| Request::get("/"));
    all_from_one(&scene.engine, &servers);
    let mut seen = vec![servers[0].clone()];
    for n in 1..60 {
        let mut client = scene.client().from(scene.lab.client_ip(n));
        let first = client.get_once("/").unwrap().server().to_owned();
        for _ in 0..5 {
            assert_eq!(client.get_once("/").unwrap().server(), first, "client {n}");
        }
        seen.push(first);
    }
    assert_eq!(tally(seen).len(), 3);
}

#[test]
fn a_consistent_hash_of_address_and_port_keeps_each_pair_on_one_server_over_connections() {
    const PORTS: usize = 20;
    let scene = Scene::new("algorithm = \"consistent_hash\"\nhash_by = \"source_ip_port\"", "");
    let ip = scene.lab.client_ip(1);
    let mut homes: Vec<Option<String>> = vec![None; PORTS];
    for n in 0..REQUESTS {
        let from = SocketAddr::new(ip, 20_000 + (n % PORTS) as u16);
        let stream = system::connect_from(from, scene.at).unwrap_or_else(|e| panic!("from {from}: {e}"));
        let mut wire = Wire::from_stream(stream).unwrap();
        wire.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", scene.at)).unwrap();
        let (answer, _) = read_answer(&mut wire, false).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        // So that the port is free for the next connection at once.
        wire.reset();
        let home = homes[n % PORTS].get_or_insert_with(|| answer.server().to_owned());
        assert_eq!(home, answer.server(), "connection {} from {from}", n / PORTS);
    }
    assert_eq!(workers_that_served(&scene.engine).len(), 2);
    assert_eq!(tally(homes.into_iter().flatten()).len(), 3, "one address, many ports, all servers");
}

//= test PERS-APP-05
#[test]
fn a_session_that_its_server_ends_by_a_past_date_is_forgotten() {
    let lab = Lab::new();
    let origin = Origin::answering(lab.address(), |head| {
        let ends =
            if head.starts_with("GET /logout") { "; Expires=Wed, 01 Jan 2020 00:00:00 GMT" } else { "" };
        Some(
            format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: SID=abc{ends}\r\n\r\n").into_bytes(),
        )
    });
    let at = lab.address();
    let text = config::service("web", at)
        + &config::pool("web", "persistence = \"app\"", &[origin.address])
        + &config::persistence("app", "app_cookie", "cookie_name = \"SID\"");
    let engine = lab.engine(&text);
    Client::new(at).get_once("/login").unwrap();
    assert_eq!(engine.metric("forebay_persistence_entries", &[]), 1.0);
    Client::new(at).get_once("/logout").unwrap();
    assert_eq!(engine.metric("forebay_persistence_entries", &[]), 0.0);
}
