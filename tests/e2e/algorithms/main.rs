//! Every load-balancing algorithm on real sockets: what its name promises, in front of real servers.
//!
//! One worker where the promise is exact for each worker, two where workers matter.

mod by_connections;
mod by_hash;
mod by_time_and_load;
mod by_turn;

use std::net::SocketAddr;
use std::process::Command;

use forebay_core::lb::{ALGORITHMS, HashBy, Name};
use forebay_e2e::{Client, Demo, Engine, Lab, Options, Wire, bin, config, eventually_some};

/// A test that shows an algorithm's promise.
type Test = fn();

/// What is expected of an algorithm that the core knows.
enum Fate {
    /// It keeps its promise.
    Kept(&'static [Test]),
    /// `check` refuses it.
    Refused,
}

/// No wildcard: a new algorithm needs a line, and its line a test.
fn fate(name: Name) -> Fate {
    match name {
        Name::LeastConnections => Fate::Kept(&[
            by_connections::least_connections_goes_where_fewest_requests_are_open,
            by_connections::least_connections_shares_open_requests_by_ratio,
        ]),
        Name::RoundRobin => Fate::Kept(&[
            by_turn::round_robin_takes_turns_exactly,
            by_turn::round_robin_takes_turns_by_ratio,
            by_turn::round_robin_of_the_engine_takes_turns_over_all_workers,
        ]),
        Name::FastestResponse => Fate::Kept(&[
            by_time_and_load::fastest_response_avoids_the_slow_server,
            by_time_and_load::fastest_response_shares_open_requests_by_ratio,
        ]),
        Name::LeastLoad => Fate::Kept(&[
            by_time_and_load::least_load_avoids_the_server_of_large_answers,
            by_time_and_load::least_load_shares_open_requests_by_ratio,
        ]),
        Name::FewestTasks => Fate::Refused,
        Name::FewestServers => Fate::Kept(&[
            by_connections::fewest_servers_stays_with_the_first_until_it_is_gone,
            by_time_and_load::fewest_servers_spills_over_when_the_first_gets_slow,
        ]),
        Name::Random => Fate::Kept(&[
            by_turn::random_spreads_evenly_and_not_in_turn,
            by_connections::random_evens_open_requests_out_by_ratio,
        ]),
        Name::CoreAffinity => Fate::Kept(&[by_connections::core_affinity_gives_each_worker_its_own_servers]),
        Name::ConsistentHash => Fate::Kept(&[
            by_hash::each_key_has_one_server_and_keys_use_all_servers,
            by_hash::keys_are_shared_by_ratio,
            by_hash::a_server_that_leaves_takes_only_its_own_keys_along,
        ]),
    }
}

/// What a configuration file calls a key of the consistent hash. No wildcard, for the same reason.
fn key_word(by: &HashBy) -> &'static str {
    match by {
        HashBy::SourceIp => "source_ip",
        HashBy::SourceIpAndPort => "source_ip_port",
        HashBy::Uri => "uri",
        HashBy::CustomHeader(_) => "custom_header",
        HashBy::CustomString => "custom_string",
        HashBy::CallId => "call_id",
    }
}

#[test]
fn every_algorithm_of_the_core_keeps_its_promise_or_is_refused_by_name() {
    let lab = Lab::new();
    for entry in ALGORITHMS {
        let name = entry.name;
        let word = name.as_str();
        let servers = [lab.address(), lab.address()];
        let pool = config::pool("web", &format!("algorithm = \"{word}\""), &servers);
        let file = lab.folder().join(format!("{word}.toml"));
        std::fs::write(&file, format!("version = 1\n{}{pool}", config::service("web", lab.address())))
            .unwrap();
        let done =
            Command::new(bin::path("forebay-se")).args(["check", "--config"]).arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        match fate(name) {
            Fate::Kept(tests) => {
                assert!(done.status.success(), "{word}: {said}");
                assert!(!tests.is_empty(), "{word} has no test");
            }
            Fate::Refused => {
                assert!(!done.status.success(), "{word} is accepted: it needs tests here");
                assert!(said.contains("pool[0].algorithm") && said.contains(word), "{said}");
            }
        }
    }
}

/// A service in front of servers, by one algorithm.
struct Scene {
    engine: Engine,
    at: SocketAddr,
    // The last to be dropped.
    lab: Lab,
}

impl Scene {
    /// `keys` are the pool's, `servers` addresses with keys of their own; `rules` stand in the service.
    fn new(lab: Lab, workers: u16, keys: &str, servers: &[(SocketAddr, &str)], rules: &str) -> Self {
        let at = lab.address();
        let text = config::service_with("web", at, rules) + &config::pool_of("web", keys, servers);
        let engine = lab.engine_with(&text, Options { workers, ..Options::default() });
        Self { engine, at, lab }
    }

    /// The servers that answered `n` requests of one client without cookies, in order, each on a
    /// connection of its own.
    fn ask(&self, n: usize) -> Vec<String> {
        let mut client = Client::new(self.at).without_jar();
        (0..n).map(|_| client.get_once("/").unwrap().server().to_owned()).collect()
    }

    /// Sends a request that stays open for long beside so many others, and waits until a server has it.
    fn hold(&self, beside: u32) -> Wire {
        let open = |n: u32| self.active_all() == f64::from(n);
        // A request is still counted for a moment when its client has the answer.
        forebay_e2e::eventually("nothing else is open", forebay_e2e::wait::secs(10), || open(beside));
        let mut wire = Wire::connect(self.at).unwrap();
        wire.send("GET /slow?ms=60000 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        forebay_e2e::eventually("a server has the request", forebay_e2e::wait::secs(10), || open(beside + 1));
        wire
    }

    fn active_all(&self) -> f64 {
        self.engine.metric("forebay_server_requests_active", &[])
    }

    /// Requests that are open at a server now.
    fn active(&self, server: SocketAddr) -> f64 {
        self.engine.metric("forebay_server_requests_active", &[("server", &server.to_string())])
    }

    /// Holds 40 requests open in front of two servers and gives how many each has.
    fn hold_forty(&self, servers: [&Demo; 2]) -> (Vec<Wire>, [f64; 2]) {
        let mut wires = Vec::new();
        for _ in 0..40 {
            let mut wire = Wire::connect(self.at).unwrap();
            wire.send("GET /slow?ms=60000 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            wires.push(wire);
        }
        let counts = eventually_some("all 40 are open", forebay_e2e::wait::secs(10), || {
            let counts = servers.map(|s| self.active(s.address));
            (counts.iter().sum::<f64>() > 39.5).then_some(counts)
        });
        (wires, counts)
    }
}

/// Two demo servers, `heavy` of ratio 3 and `light` of ratio 1, by one algorithm and one worker.
fn three_to_one(algorithm: &str) -> (Scene, [Demo; 2]) {
    let lab = Lab::new();
    let [heavy, light] = lab.demos(["heavy", "light"]);
    let servers = [(heavy.address, "ratio = 3"), (light.address, "ratio = 1")];
    let scene = Scene::new(lab, 1, &format!("algorithm = \"{algorithm}\""), &servers, "");
    (scene, [heavy, light])
}

/// Asserts that of 40 open requests the server of ratio 3 has 30, give or take `slack`.
#[track_caller]
fn open_requests_stand_three_to_one(algorithm: &str, slack: f64) {
    let (scene, [heavy, light]) = three_to_one(algorithm);
    let (_wires, [at_heavy, at_light]) = scene.hold_forty([&heavy, &light]);
    assert!((at_heavy - 30.0).abs() <= slack, "{algorithm}: {at_heavy} to {at_light}");
}
