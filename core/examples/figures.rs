//! Prints what a decision costs, in nanoseconds: the minimum over batches, with `std::time::Instant`.
//!
//! `cargo run --profile dist -p forebay-core --example figures`. The look-up of a cookie is part of "with
//! cookie"; opening it (AEAD) is the host's and measured there.
#![allow(clippy::disallowed_macros, clippy::disallowed_methods)] // a program that measures and prints

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use forebay_core::id::{Endpoint, PoolId, ServerIndex, VsId};
use forebay_core::lb::{ALGORITHMS, Algorithm, Maglev, Pool, PoolConfig, ServerConfig, ServerState};
use forebay_core::persist::http_cookie::{HttpCookie, Payload};
use forebay_core::persist::{self, Kind, Profile, ServerDown, Stored};
use forebay_core::policy::{Action, Match, Names, Policy, PolicyConfig, Rule, TextMatch};
use forebay_core::request::{ClientAddr, RequestView};
use forebay_core::units::{Minutes, Now, UnixSeconds};
use forebay_core::{Input, Verdict, decide, hash};

const BATCH: u32 = 20_000;
const BATCHES: u32 = 60;

fn main() {
    println!("ns per operation, minimum of {BATCHES} batches of {BATCH}");
    let client = ClientAddr::new(IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3)), 40_000);
    for entry in ALGORITHMS {
        for servers in [4, 16, 128] {
            let mut pool = pool(servers, Algorithm::of(entry.name), None);
            for i in 0..servers {
                for _ in 0..i % 5 {
                    pool.connection_opened(ServerIndex(i));
                }
            }
            let mut n = 0u64;
            let ns = measure(|| {
                n += 1;
                let ip = IpAddr::V4(Ipv4Addr::from(n as u32));
                let input =
                    Input { now: Now(n * 10), seed: n, client: ClientAddr::new(ip, 1), ..Input::new(client) };
                let decision = decide(&mut pool, &input);
                if let Verdict::Server(at) = decision.verdict {
                    pool.connection_opened(at);
                    pool.connection_closed(at);
                }
                black_box(decision.reason);
            });
            report(&format!("decide {} of {servers}, no persistence", entry.name), ns);
        }
    }
    cookie(client);
    all_busy(client);
    hash_lookup();
    rules();
}

fn report(what: &str, ns: f64) {
    println!("{ns:8.1}  {what}");
}

fn measure(mut f: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..BATCHES {
        let start = Instant::now();
        for _ in 0..BATCH {
            f();
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(BATCH));
    }
    best
}

fn pool(servers: u16, algorithm: Algorithm, kind: Option<Kind>) -> Pool {
    let mut config = PoolConfig::new(VsId(1), PoolId(2));
    config.algorithm = algorithm;
    config.ramp = Minutes(0);
    config.persistence = kind.map(|kind| Profile { kind, server_down: ServerDown::PickNewServer });
    config.servers = (0..servers)
        .map(|i| {
            ServerConfig::new(Endpoint { ip: Ipv4Addr::new(10, 0, (i >> 8) as u8, i as u8).into(), port: 80 })
        })
        .collect();
    Pool::new(config).expect("a good configuration")
}

fn cookie(client: ClientAddr) {
    let kind = Kind::HttpCookie(HttpCookie { name: "JKQBPMSG".into(), ..HttpCookie::default() });
    let mut pool = pool(16, Algorithm::LeastConnections, Some(kind));
    let sealed = "A".repeat(88);
    let line =
        format!("_ga=GA1.2.1234567890.1700000000; theme=dark; lang=en-GB; JKQBPMSG={sealed}; cart=8841");
    let with = Head { line: Some(line.into_bytes()), client };
    let without = Head { line: None, client };
    let profile = pool.profile().cloned().expect("the pool has one");
    let payload = Payload::of(&pool, ServerIndex(9), UnixSeconds(1_700_000_000));
    let mut encoded = [0; persist::http_cookie::PAYLOAD_MAX];
    let n = payload.encode(&mut encoded);
    report(
        "find the cookie in 180 bytes",
        measure(|| {
            black_box(persist::find(black_box(&profile), black_box(&with)));
        }),
    );
    report(
        "find, decode and decide: 16 servers, cookie leads to one",
        measure(|| {
            let found = persist::find(&profile, black_box(&with));
            let stored = Payload::decode(black_box(&encoded[..n])).map_or(Stored::Nothing, Stored::Cookie);
            let input = Input { found, stored, wall: UnixSeconds(1_700_000_100), ..Input::new(client) };
            black_box(decide(&mut pool, &input));
        }),
    );
    report(
        "find and decide: 16 servers, no cookie yet (least connections, new payload)",
        measure(|| {
            let found = persist::find(&profile, black_box(&without));
            black_box(decide(&mut pool, &Input { found, ..Input::new(client) }));
        }),
    );
    pool.set_state(ServerIndex(9), ServerState::DOWN, Now(1));
    report(
        "find, decode and decide: 16 servers, the cookie's is down (policy, skip list)",
        measure(|| {
            let found = persist::find(&profile, black_box(&with));
            let stored = Payload::decode(black_box(&encoded[..n])).map_or(Stored::Nothing, Stored::Cookie);
            let input = Input { found, stored, wall: UnixSeconds(1_700_000_100), ..Input::new(client) };
            black_box(decide(&mut pool, &input));
        }),
    );
}

fn all_busy(client: ClientAddr) {
    let mut pool = pool(16, Algorithm::LeastConnections, None);
    for at in pool.indices() {
        pool.set_state(at, ServerState::DOWN, Now(1));
    }
    report(
        "decide: 16 servers, all down",
        measure(|| {
            black_box(decide(&mut pool, &Input::new(client)));
        }),
    );
}

fn hash_lookup() {
    let servers: Vec<ServerConfig> = (0..16)
        .map(|i| ServerConfig::new(Endpoint { ip: Ipv4Addr::new(10, 0, 0, i).into(), port: 80 }))
        .collect();
    let table = Maglev::of_servers(&servers, false);
    let mut n = 0u64;
    report(
        "consistent hash: look-up of a hashed key",
        measure(|| {
            n += 1;
            black_box(table.get(hash::mix64(n)));
        }),
    );
    let mut last = 0u64;
    report(
        "consistent hash: look-up, its key from the last one's result",
        measure(|| {
            n += 1;
            last = table.get(hash::mix64(n ^ last)).map_or(0, |at| u64::from(at.0));
        }),
    );
    black_box(last);
    report(
        "consistent hash: hash 16 bytes and look up",
        measure(|| {
            n += 1;
            let mut key = [0u8; 16];
            key[8..].copy_from_slice(&n.to_le_bytes());
            black_box(table.get(hash::fixed64(black_box(&key))));
        }),
    );
}

fn rules() {
    let text = |v: &str| Some(TextMatch { begins_with: vec![v.into()], ..TextMatch::default() });
    let rules = (0..16)
        .map(|i| Rule {
            name: format!("r{i}"),
            enabled: true,
            when: Match { path: text(&format!("/app{i}/")), ..Match::default() },
            then: vec![Action::Pool("p".into())],
        })
        .collect();
    let config = PolicyConfig { rules, ..PolicyConfig::default() };
    let names = Names { pool: &|_| Some(PoolId(1)), group: &|_| None };
    let policy = Policy::new(&config, &names).expect("good rules");
    let mut state = policy.state(1);
    let head = Head { line: None, client: ClientAddr::new(Ipv4Addr::LOCALHOST.into(), 1) };
    report(
        "16 rules by path, the last applies",
        measure(|| {
            black_box(policy.evaluate(&mut state, black_box(&head), Now(1)));
        }),
    );
}

struct Head {
    line: Option<Vec<u8>>,
    client: ClientAddr,
}

impl RequestView for Head {
    fn client(&self) -> ClientAddr {
        self.client
    }
    fn method(&self) -> &[u8] {
        b"GET"
    }
    fn host(&self) -> &[u8] {
        b"www.example.com"
    }
    fn uri(&self) -> &[u8] {
        b"/app15/index.html"
    }
    fn path(&self) -> &[u8] {
        b"/app15/index.html"
    }
    fn query(&self) -> Option<&[u8]> {
        None
    }
    fn headers(&self, _name: &str) -> impl Iterator<Item = &[u8]> {
        self.line.iter().map(|l| &l[..])
    }
}
