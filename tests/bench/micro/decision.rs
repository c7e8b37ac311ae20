//! The decision for one request with 16 servers and with fewer and more, the consistent hash, and the sealing of cookies beside it.

use crate::figure::{Report, median};
use crate::host::cpu_ns;
use crate::random::mix;
use anyhow::{Context, ensure};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use forebay_core::id::{Endpoint, PoolId, ServerIndex, VsId};
use forebay_core::lb::{
    ALGORITHMS, Algorithm, Maglev, Pool, PoolConfig, ServerConfig, ServerState, hash_key,
};
use forebay_core::persist::http_cookie::{HttpCookie, PAYLOAD_MAX, Payload};
use forebay_core::persist::tls::TlsId;
use forebay_core::persist::{self, Kind, Profile, ServerDown, Stored};
use forebay_core::policy::{Action, Match, Names, Policy, PolicyConfig, Rule, TextMatch};
use forebay_core::request::{ClientAddr, RequestView};
use forebay_core::units::{Minutes, Now, UnixSeconds};
use forebay_core::{Input, Verdict, decide};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

const SERVERS: u8 = 16;
const RULES: usize = 16;
const COOKIE: &str = "FBPERSIST";
const NONCES: usize = 64;

/// A browser's request: twelve fields, four cookies before ours.
struct Head {
    client: ClientAddr,
    fields: Vec<(&'static str, Vec<u8>)>,
}

impl Head {
    fn new(sealed: &str) -> Self {
        let cookies = format!(
            "_ga=GA1.1.1234567890.1700000000; theme=dark; session_hint=0123456789abcdef0123456789abcdef; \
             consent=all; {COOKIE}={sealed}; last=/catalogue/items"
        );
        let text = |t: &str| t.as_bytes().to_vec();
        let fields = vec![
            ("host", text("www.example.com")),
            ("user-agent", text("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")),
            ("accept", text("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")),
            ("accept-language", text("en-US,en;q=0.5")),
            ("accept-encoding", text("gzip, deflate, br, zstd")),
            ("referer", text("https://www.example.com/catalogue")),
            ("connection", text("keep-alive")),
            ("cookie", text(&cookies)),
            ("sec-fetch-dest", text("document")),
            ("sec-fetch-mode", text("navigate")),
            ("sec-fetch-site", text("same-origin")),
            ("priority", text("u=0, i")),
        ];
        Self { client: client(1), fields }
    }
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
        b"/catalogue/items?page=3"
    }
    fn path(&self) -> &[u8] {
        b"/catalogue/items"
    }
    fn query(&self) -> Option<&[u8]> {
        Some(b"page=3")
    }
    fn headers(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.fields.iter().filter(move |(n, _)| *n == name).map(|(_, v)| &v[..])
    }
    fn tls_id(&self) -> Option<TlsId<'_>> {
        None
    }
}

fn client(n: u32) -> ClientAddr {
    ClientAddr::new(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 | n)), 40_000)
}

fn servers(count: u8) -> Vec<ServerConfig> {
    (0..count)
        .map(|i| ServerConfig::new(Endpoint { ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, i)), port: 8_080 }))
        .collect()
}

fn pool(servers: u8, algorithm: Algorithm, cookie: bool) -> anyhow::Result<Pool> {
    let kind = Kind::HttpCookie(HttpCookie { name: COOKIE.into(), ..HttpCookie::default() });
    let persistence = cookie.then_some(Profile { kind, server_down: ServerDown::PickNewServer });
    let config = PoolConfig {
        algorithm,
        persistence,
        ramp: Minutes(0),
        servers: self::servers(servers),
        ..PoolConfig::new(VsId(7), PoolId(3))
    };
    let mut pool = Pool::new(config).ok().context("a good configuration")?;
    for i in 0..u16::from(servers) {
        for _ in 0..mix(i.into()) % 50 {
            pool.connection_opened(ServerIndex(i));
        }
    }
    Ok(pool)
}

/// Nanoseconds of one `op`, the median of `rounds` rounds of `steps`.
fn time(rounds: usize, steps: u64, mut op: impl FnMut(u64)) -> f64 {
    let mut all: Vec<f64> = (0..rounds)
        .map(|_| {
            let start = cpu_ns();
            (0..steps).for_each(&mut op);
            (cpu_ns() - start) as f64 / steps as f64
        })
        .collect();
    median(&mut all)
}

/// Prints what decisions, and the cookie beside them, cost.
///
/// # Errors
/// The core refuses the pool, or decides other than it must.
pub fn run(steps: u64, rounds: usize) -> anyhow::Result<()> {
    let report = Report::new("decision");
    let mut with_cookie = pool(SERVERS, Algorithm::LeastConnections, true)?;
    let profile = with_cookie.profile().cloned().context("it has a profile")?;
    let payload = Payload::of(&with_cookie, ServerIndex(9), UnixSeconds(1_700_000_000));
    let sealed = "k1.".to_owned() + &"aB3-".repeat(22);
    let head = Head::new(&sealed);

    let find = time(rounds, steps, |_| {
        black_box(persist::find(&profile, black_box(&head)));
    });
    report.put("find_cookie_among_six", find, "ns");

    let mut hits = 0;
    let hit = time(rounds, steps, |i| {
        let found = persist::find(&profile, black_box(&head));
        let stored = Stored::Cookie(black_box(payload));
        let input = Input { now: Now(i), seed: i, found, stored, ..Input::new(head.client) };
        let decision = decide(&mut with_cookie, &input);
        hits += u64::from(matches!(decision.verdict, Verdict::Server(ServerIndex(9))));
        black_box(&decision);
    });
    ensure!(hits == steps * rounds as u64, "the cookie decides");
    report.put("decide_16_servers_cookie_search_and_hit", hit, "ns");

    let bare =
        Head { client: client(2), fields: head.fields.iter().filter(|f| f.0 != "cookie").cloned().collect() };
    let first = time(rounds, steps, |i| {
        let found = persist::find(&profile, black_box(&bare));
        let input = Input { now: Now(i), seed: mix(i), found, ..Input::new(bare.client) };
        black_box(decide(&mut with_cookie, &input));
    });
    report.put("decide_16_servers_new_client_gets_cookie", first, "ns");

    for entry in ALGORITHMS {
        for servers in [4, SERVERS, 128] {
            let mut pool = pool(servers, Algorithm::of(entry.name), false)?;
            let ns = time(rounds, steps, |i| {
                let seed = mix(i);
                let from = client(seed as u32 & 0xff_ffff);
                let input = Input { now: Now(i), seed, ticket: i, ..Input::new(from) };
                black_box(decide(&mut pool, black_box(&input)));
            });
            report.put(&format!("decide_{servers}_servers_{}", entry.name), ns, "ns");
        }
    }
    with_cookie.set_state(ServerIndex(9), ServerState::DOWN, Now(1));
    let moved = time(rounds, steps, |i| {
        let found = persist::find(&profile, black_box(&head));
        let stored = Stored::Cookie(black_box(payload));
        let input = Input { now: Now(i), seed: mix(i), found, stored, ..Input::new(head.client) };
        black_box(decide(&mut with_cookie, &input));
    });
    report.put("decide_16_servers_that_of_the_cookie_is_down", moved, "ns");
    let mut down = pool(SERVERS, Algorithm::LeastConnections, false)?;
    for at in down.indices() {
        down.set_state(at, ServerState::DOWN, Now(1));
    }
    let none = time(rounds, steps, |i| {
        black_box(decide(&mut down, &Input { now: Now(i), ..Input::new(head.client) }));
    });
    report.put("decide_16_servers_all_down", none, "ns");
    let walk = walk(&head, steps, rounds)?;
    report.put("walk_16_rules_by_path_the_last_applies", walk, "ns");
    aead(&report, &payload, steps, rounds)
}

/// A walk through rules of which the last applies.
fn walk(head: &Head, steps: u64, rounds: usize) -> anyhow::Result<f64> {
    let path = |n: usize| if n + 1 == RULES { "/catalogue/".into() } else { format!("/app{n}/") };
    let rules = (0..RULES).map(|n| {
        let text = TextMatch { begins_with: vec![path(n)], ..TextMatch::default() };
        let when = Match { path: Some(text), ..Match::default() };
        Rule { name: format!("r{n}"), enabled: true, when, then: vec![Action::Pool("p".into())] }
    });
    let config = PolicyConfig { rules: rules.collect(), ..PolicyConfig::default() };
    let names = Names { pool: &|_| Some(PoolId(1)), group: &|_| None };
    let policy = Policy::new(&config, &names).ok().context("good rules")?;
    let mut state = policy.state(1);
    Ok(time(rounds, steps, |i| {
        black_box(policy.evaluate(&mut state, black_box(head), Now(i)));
    }))
}

/// AES-256-GCM as the service engine seals its cookie: service, pool and name bound in.
fn aead(report: &Report, payload: &Payload, steps: u64, rounds: usize) -> anyhow::Result<()> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32])?);
    let random = SystemRandom::new();
    let bound = b"forebay persistence cookie 1\0\x07\0\0\0\x03\0\0\0FBPERSIST";
    let mut plain = [0; PAYLOAD_MAX];
    let len = payload.encode(&mut plain);

    let mut nonce = [0; NONCE_LEN];
    let seal = time(rounds, steps / 4, |_| {
        let mut bytes = plain;
        let nonce = Nonce::assume_unique_for_key(black_box(nonce));
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&bound[..]), &mut bytes[..len]);
        black_box((tag.is_ok(), bytes));
    });
    report.put("seal_cookie", seal, "ns");
    let draw = time(rounds, steps / 4, |_| {
        black_box((random.fill(&mut nonce).is_ok(), nonce));
    });
    report.put("random_nonce_one_at_a_time", draw, "ns");
    let mut many = [0; NONCE_LEN * NONCES];
    let draw = time(rounds, steps / 4 / NONCES as u64, |_| {
        black_box((random.fill(&mut many).is_ok(), many));
    });
    report.put("random_nonce_of_64_drawn_at_once", draw / NONCES as f64, "ns");

    let mut sealed = plain[..len].to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&bound[..]), &mut sealed)?;
    let mut opened = 0;
    let open = time(rounds, steps / 4, |_| {
        let mut bytes = [0; PAYLOAD_MAX + 16];
        bytes[..sealed.len()].copy_from_slice(&sealed);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let plain = key.open_in_place(nonce, Aad::from(&bound[..]), &mut bytes[..sealed.len()]);
        opened += u64::from(plain.is_ok_and(|p| Payload::decode(p).is_some()));
    });
    ensure!(opened == steps / 4 * rounds as u64, "what was sealed opens");
    report.put("open_cookie", open, "ns");
    Ok(())
}

/// Prints what a consistent-hash look-up costs.
///
/// # Errors
/// The table finds no server.
pub fn hash(steps: u64, rounds: usize) -> anyhow::Result<()> {
    let report = Report::new("hash");
    let table = Maglev::of_servers(&servers(SERVERS), false);
    let mut sum = 0;
    let ns = time(rounds, steps, |i| {
        // The next hash depends on the server found.
        let found = table.get(mix(i ^ (sum & 1)));
        sum += found.map_or(1 << 32, |s| u64::from(s.0));
    });
    ensure!(sum >> 32 == 0, "every hash has a server");
    report.put("maglev_look_up_dependent", ns, "ns");
    let mix_only = time(rounds, steps, |i| {
        sum = black_box(mix(i ^ (sum & 1)));
    });
    report.put("of_which_making_the_hash", mix_only, "ns");

    let head = Head::new("x");
    let by = forebay_core::lb::HashBy::SourceIp;
    let ns = time(rounds, steps, |_| {
        let key = hash_key(&by, black_box(&head), None);
        black_box(table.get(forebay_core::hash::fixed64(key.bytes())));
    });
    report.put("key_of_source_ip_hash_and_look_up", ns, "ns");
    Ok(())
}
