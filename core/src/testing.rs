//! Recorded inputs that reach every algorithm, persistence kind and server-down policy.
//!
//! [`scenario`] makes a pool and a history from a seed, [`run`] plays it and returns all decisions. The same
//! seed gives the same scenario, and the same scenario the same outcome, byte for byte, on every target: this
//! is what the parity and replay tests compare. [`coverage`] says what an outcome has reached.

use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::decide::{Decision, Input, Verdict, decide};
use crate::effect::Effect;
use crate::hash::Draw;
use crate::id::{Endpoint, PoolId, ServerId, ServerIndex, SiteId, VsId};
use crate::lb::{
    Algorithm, DisablePolicy, DisableType, FailAction, Grace, HashBy, Health, Name, Pool, PoolConfig,
    QueueConfig, ServerConfig, ServerState,
};
use crate::persist::app_cookie::AppCookie;
use crate::persist::client_ip::ClientIp;
use crate::persist::custom_header::CustomHeader;
use crate::persist::gslb_site::{self, GslbSite};
use crate::persist::http_cookie::{self, HttpCookie};
use crate::persist::tls::Tls;
use crate::persist::{
    ClientKey, Found, Kind, KindName, Profile, SealedCookies, ServerDown, Stored, TableKey,
};
use crate::reason::{ChosenBy, KeyOutcome, SkipWhy};
use crate::request::ClientAddr;
use crate::units::{Micros, Minutes, Now, Seconds, UnixSeconds};

/// A pool and what happens to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scenario {
    /// What it was made from.
    pub seed: u64,
    /// The pool.
    pub config: PoolConfig,
    /// Which worker plays it, of how many.
    pub worker: (u16, u16),
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// One thing that happens to a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// A connection is opened.
    Open(ServerIndex),
    /// A connection has ended.
    Close(ServerIndex),
    /// Other workers' connections.
    Elsewhere(ServerIndex, u32),
    /// A response arrived.
    Response(ServerIndex, Micros),
    /// Bytes were exchanged.
    Transferred(ServerIndex, u64, Now),
    /// The server's own report.
    Tasks(ServerIndex, u32),
    /// Health or administration.
    State(ServerIndex, ServerState, Now),
    /// Another site.
    Site(SiteId, bool),
    /// A request.
    Decide(RecordedInput),
}

/// An [`Input`] that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedInput {
    /// See [`Input::now`].
    pub now: Now,
    /// See [`Input::wall`].
    pub wall: UnixSeconds,
    /// See [`Input::seed`].
    pub seed: u64,
    /// See [`Input::ticket`].
    pub ticket: u64,
    /// See [`Input::client`].
    pub client: ClientAddr,
    /// See [`Input::hash_key`].
    pub hash_key: Option<Vec<u8>>,
    /// See [`Input::found`].
    pub found: RecordedFound,
    /// See [`Input::key`].
    pub key: Option<TableKey>,
    /// See [`Input::stored`].
    pub stored: Stored,
    /// See [`Input::tried`].
    pub tried: Vec<ServerIndex>,
    /// See [`Input::full`].
    pub full: Vec<ServerIndex>,
    /// See [`Input::queued`].
    pub queued: u32,
}

/// A [`Found`] that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordedFound {
    /// See [`Found::Off`].
    Off,
    /// See [`Found::Absent`].
    Absent,
    /// See [`Found::TooLong`].
    TooLong,
    /// See [`Found::Sealed`]; the sealed bytes themselves are the host's.
    Sealed,
    /// See [`Found::Key`].
    Key([u8; 16]),
    /// See [`Found::Header`].
    Header(Vec<u8>),
    /// See [`Found::Carried`].
    Carried(ServerId),
    /// See [`Found::Script`].
    Script([u8; 16], Seconds),
}

impl RecordedInput {
    /// Borrows it as the input of a decision.
    pub fn as_input(&self) -> Input<'_> {
        Input {
            now: self.now,
            wall: self.wall,
            seed: self.seed,
            ticket: self.ticket,
            client: self.client,
            hash_key: self.hash_key.as_deref(),
            found: match &self.found {
                RecordedFound::Off => Found::Off,
                RecordedFound::Absent => Found::Absent,
                RecordedFound::TooLong => Found::TooLong,
                RecordedFound::Sealed => Found::Sealed(SealedCookies::one(b"sealed")),
                RecordedFound::Key(bytes) => Found::Key(ClientKey::Plain(*bytes)),
                RecordedFound::Header(value) => Found::Header(value),
                RecordedFound::Carried(id) => Found::Carried(*id),
                RecordedFound::Script(bytes, lifetime) => {
                    Found::Script { key: ClientKey::Plain(*bytes), lifetime: *lifetime }
                }
            },
            key: self.key,
            stored: self.stored,
            tried: &self.tried,
            full: &self.full,
            queued: self.queued,
        }
    }
}

/// All decisions of a scenario, or that its configuration was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The decisions, in order.
    pub decisions: Vec<Decision>,
    /// Each server's open connections and weight at the end: a difference that no decision showed.
    pub end: Vec<(u32, u32)>,
}

impl Outcome {
    /// The bytes that are compared.
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }
}

/// Plays a scenario.
pub fn run(scenario: &Scenario) -> Outcome {
    let Ok(pool) = Pool::new(scenario.config.clone()) else {
        return Outcome { decisions: Vec::new(), end: Vec::new() };
    };
    let mut pool = pool.for_worker(scenario.worker.0, scenario.worker.1);
    let mut decisions = Vec::new();
    for step in &scenario.steps {
        match step {
            Step::Decide(input) => decisions.push(decide(&mut pool, &input.as_input())),
            other => apply(&mut pool, other),
        }
    }
    let end = pool.indices().map(|at| (pool.open(at), pool.weight_milli(at))).collect();
    Outcome { decisions, end }
}

fn apply(pool: &mut Pool, step: &Step) {
    match step {
        Step::Open(at) => pool.connection_opened(*at),
        Step::Close(at) => pool.connection_closed(*at),
        Step::Elsewhere(at, open) => pool.set_open_elsewhere(*at, *open),
        Step::Response(at, time) => pool.response_time(*at, *time),
        Step::Transferred(at, bytes, now) => pool.transferred(*at, *bytes, *now),
        Step::Tasks(at, tasks) => pool.set_tasks(*at, *tasks),
        Step::State(at, state, now) => pool.set_state(*at, *state, *now),
        Step::Site(site, up) => pool.set_site(*site, *up),
        Step::Decide(_) => {}
    }
}

/// What one decision has reached: an algorithm, the kind that was looked at, the outcome of its key, and the
/// server-down policy that had to be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Coverage {
    /// The pool's algorithm.
    pub algorithm: Name,
    /// The persistence kind; `None` for a pool without.
    pub kind: Option<KindName>,
    /// The policy of the pool's profile.
    pub policy: Option<ServerDown>,
    /// The policy was applied: the client's server (or site) was down.
    pub applied: bool,
}

/// What a scenario's outcome has reached.
pub fn coverage(scenario: &Scenario, outcome: &Outcome) -> BTreeSet<Coverage> {
    let policy = scenario.config.persistence.as_ref().map(|p| p.server_down);
    let reached = |d: &Decision| Coverage {
        algorithm: d.reason.algorithm,
        kind: d.reason.persistence,
        policy,
        applied: d.reason.policy.is_some() || d.reason.key == KeyOutcome::RemoteSiteDown,
    };
    outcome.decisions.iter().map(reached).collect()
}

/// Everything that the scenarios must have reached together: each algorithm without persistence, and each
/// algorithm × kind × policy, with the policy applied.
pub fn wanted() -> BTreeSet<Coverage> {
    let mut all = BTreeSet::new();
    for algorithm in crate::lb::ALGORITHMS {
        let algorithm = algorithm.name;
        all.insert(Coverage { algorithm, kind: None, policy: None, applied: false });
        for kind in crate::persist::KINDS {
            for policy in ServerDown::ALL {
                let (kind, policy) = (Some(kind.name), Some(policy));
                all.insert(Coverage { algorithm, kind, policy, applied: true });
            }
        }
    }
    all
}

/// How many decisions a scenario holds.
pub fn decisions(scenario: &Scenario) -> usize {
    scenario.steps.iter().filter(|s| matches!(s, Step::Decide(_))).count()
}

/// Makes the scenario of `seed`: the seed's remainder chooses algorithm, kind and policy, the rest is drawn.
///
/// Two hundred consecutive seeds reach everything in [`wanted`].
pub fn scenario(seed: u64) -> Scenario {
    let mut draw = Draw::new(seed ^ 0x666f_7265_6261_7931);
    let mut rest = seed;
    let mut of = |n: u64| {
        let at = rest % n;
        rest /= n;
        at as usize
    };
    let algorithm = algorithm(crate::lb::ALGORITHMS[of(9)].name, &mut draw);
    let kind = match of(8) {
        0 => None,
        n => Some(crate::persist::KINDS[n - 1].name),
    };
    let server_down = ServerDown::ALL[of(3)];
    let config = config(algorithm, kind, server_down, &mut draw);
    let workers = 1 + draw.below(8) as u16;
    let worker = (draw.below(u32::from(workers)) as u16, workers);
    let steps = History::new(&config, worker, kind, draw).write();
    Scenario { seed, config, worker, steps }
}

fn algorithm(name: Name, draw: &mut Draw) -> Algorithm {
    match name {
        Name::RoundRobin => Algorithm::RoundRobin { per_se: draw.below(2) == 0 },
        Name::FewestServers => {
            Algorithm::FewestServers { time_to_first_byte_max: Micros(u64::from(draw.below(2)) * 20_000) }
        }
        Name::CoreAffinity => Algorithm::CoreAffinity { nonaffinity: 1 + draw.below(4) as u16 },
        Name::ConsistentHash => Algorithm::ConsistentHash {
            by: match draw.below(6) {
                0 => HashBy::SourceIp,
                1 => HashBy::SourceIpAndPort,
                2 => HashBy::Uri,
                3 => HashBy::CustomHeader("x-key".to_string()),
                4 => HashBy::CustomString,
                _ => HashBy::CallId,
            },
            ignore_server_port: draw.below(2) == 0,
            load_max_percent: if draw.below(2) == 0 { 0 } else { 125 },
        },
        other => Algorithm::of(other),
    }
}

fn profile(kind: KindName, draw: &mut Draw) -> Option<Kind> {
    Some(match kind {
        KindName::HttpCookie => Kind::HttpCookie(HttpCookie {
            name: "sticky".to_string(),
            timeout: Minutes(draw.below(3) * 10),
            always_send: draw.below(2) == 0,
            ..HttpCookie::default()
        }),
        KindName::AppCookie => {
            Kind::AppCookie(AppCookie { name: "sid".to_string(), timeout: Minutes(1 + draw.below(720)) })
        }
        KindName::CustomHeader => Kind::CustomHeader(CustomHeader { name: "x-shard".to_string() }),
        KindName::ClientIp | KindName::KeyValue => Kind::ClientIp(ClientIp::default()),
        KindName::Tls => {
            Kind::Tls(Tls { carry_server: draw.below(2) == 0, lifetime: Seconds(1 + draw.below(86_400)) })
        }
        KindName::GslbSite => Kind::GslbSite(GslbSite {
            cookie_name: "site".to_string(),
            local: SiteId(1),
            remote: vec![SiteId(2), SiteId(3)],
            service: VsId(99),
            http_only: false,
        }),
    })
}

fn config(
    algorithm: Algorithm,
    kind: Option<KindName>,
    server_down: ServerDown,
    draw: &mut Draw,
) -> PoolConfig {
    let servers = 2 + draw.below(15);
    let v6 = draw.below(4) == 0;
    let servers = (0..servers as u16)
        .map(|i| ServerConfig {
            endpoint: Endpoint {
                ip: if v6 {
                    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, i))
                } else {
                    IpAddr::V4(Ipv4Addr::new(10, 1, 0, (i / 2) as u8))
                },
                port: 8_000 + i,
            },
            ratio: [1, 1, 1, 2, 5, 20, 0][draw.below(7) as usize],
            enabled: true,
            connections_max: if draw.below(4) == 0 { 1 + draw.below(6) } else { 0 },
            header_value: [b"shard-".as_slice(), &[b'a' + i as u8]].concat(),
        })
        .collect();
    PoolConfig {
        algorithm,
        persistence: kind.and_then(|k| profile(k, draw)).map(|kind| Profile { kind, server_down }),
        ramp: Minutes(draw.below(3) * 5),
        disable: DisablePolicy {
            kind: if draw.below(2) == 0 {
                DisableType::DisallowNewConnection
            } else {
                DisableType::AllowNewConnectionIfPersistencePresent
            },
            grace: [Grace::Immediate, Grace::For(Minutes(1)), Grace::Unlimited][draw.below(3) as usize],
        },
        connections_max: [0, 0, 8][draw.below(3) as usize],
        queue: (draw.below(2) == 0).then_some(QueueConfig { depth: 4 }),
        fail_action: match draw.below(3) {
            0 => FailAction::CloseConnection,
            1 => FailAction::LocalResponse { status: 503, body: "down".to_string() },
            _ => FailAction::Redirect { status: 302, location: "https://sorry.example/".to_string() },
        },
        servers,
        ..PoolConfig::new(VsId(1), PoolId(2))
    }
}

/// Writes a history by playing it: clients return, servers fail under them.
struct History {
    pool: Option<Pool>,
    kind: Option<KindName>,
    draw: Draw,
    now: u64,
    steps: Vec<Step>,
    open: Vec<ServerIndex>,
}

/// Rounds of a history: about as many decisions each as there are clients in it.
const ROUNDS: u32 = 24;

impl History {
    fn new(config: &PoolConfig, worker: (u16, u16), kind: Option<KindName>, draw: Draw) -> Self {
        let pool = Pool::new(config.clone()).ok().map(|p| p.for_worker(worker.0, worker.1));
        Self { pool, kind, draw, now: 1_000_000, steps: Vec::new(), open: Vec::new() }
    }

    fn write(mut self) -> Vec<Step> {
        let Some(mut pool) = self.pool.take() else { return self.steps };
        for round in 0..ROUNDS {
            self.now += u64::from(self.draw.below(90_000_000));
            self.disturb(&mut pool);
            let client = self.draw.below(12);
            let input = self.fresh(client);
            let decision = self.ask(&mut pool, input);
            // The same client returns with what it was given, first undisturbed, then with its server down.
            let bound = self.returning(&pool, client, &decision, round);
            self.ask(&mut pool, bound.clone());
            if let Some(at) = self.server_of(&pool, &bound) {
                self.fail(&mut pool, at, &bound);
            } else if self.kind == Some(KindName::GslbSite) {
                let (site, up) = (SiteId(2), self.draw.below(2) == 0);
                self.push(&mut pool, Step::Site(site, up));
                self.ask(&mut pool, bound);
            }
        }
        self.steps
    }

    fn push(&mut self, pool: &mut Pool, step: Step) {
        apply(pool, &step);
        self.steps.push(step);
    }

    fn ask(&mut self, pool: &mut Pool, input: RecordedInput) -> Decision {
        let decision = decide(pool, &input.as_input());
        self.steps.push(Step::Decide(input));
        if let Verdict::Server(at) = decision.verdict {
            self.push(pool, Step::Open(at));
            self.open.push(at);
            let time = Micros(u64::from(self.draw.below(50_000)));
            self.push(pool, Step::Response(at, time));
        }
        if self.open.len() > 12 {
            let i = self.draw.below(self.open.len() as u32) as usize;
            let at = self.open.swap_remove(i);
            self.push(pool, Step::Close(at));
        }
        decision
    }

    fn disturb(&mut self, pool: &mut Pool) {
        let at = ServerIndex(self.draw.below(pool.len() as u32) as u16);
        let now = Now(self.now);
        let step = match self.draw.below(8) {
            0 => Step::Elsewhere(at, self.draw.below(6)),
            1 => Step::Transferred(at, u64::from(self.draw.below(1 << 24)), now),
            2 => Step::Tasks(at, self.draw.below(100)),
            3 => Step::Site(SiteId(2 + self.draw.below(2)), self.draw.below(2) == 0),
            4 => Step::State(at, ServerState { health: Health::Maintenance, enabled: true }, now),
            _ => Step::State(at, ServerState::UP, now),
        };
        self.push(pool, step);
    }

    fn fresh(&mut self, client: u32) -> RecordedInput {
        let ip = if client.is_multiple_of(3) {
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, client as u16))
        } else {
            IpAddr::V4(Ipv4Addr::from(0xc000_0200 | client))
        };
        let mut key = [0x5a; 16];
        key[..4].copy_from_slice(&client.to_le_bytes());
        let found = match self.kind {
            None => RecordedFound::Off,
            Some(KindName::ClientIp) => RecordedFound::Key(key),
            Some(KindName::KeyValue) => RecordedFound::Script(key, Seconds(300)),
            Some(KindName::AppCookie | KindName::Tls) if self.draw.below(2) == 0 => RecordedFound::Key(key),
            Some(_) => [RecordedFound::Absent, RecordedFound::Sealed, RecordedFound::TooLong]
                [self.draw.below(3) as usize]
                .clone(),
        };
        let tabled = matches!(found, RecordedFound::Key(_) | RecordedFound::Script(..));
        RecordedInput {
            now: Now(self.now),
            wall: UnixSeconds(1_700_000_000 + self.now / 1_000_000),
            seed: self.draw.bits(),
            ticket: self.draw.bits() >> 40,
            client: ClientAddr::new(ip, 1_024 + client as u16),
            hash_key: (self.draw.below(2) == 0).then(|| key[..self.draw.below(17) as usize].to_vec()),
            key: tabled.then_some(crate::table::KeyBytes(key)),
            found,
            stored: Stored::Nothing,
            tried: Vec::new(),
            full: Vec::new(),
            queued: self.draw.below(6),
        }
    }

    /// The client of `decision` with what the decision gave it.
    fn returning(&mut self, pool: &Pool, client: u32, decision: &Decision, round: u32) -> RecordedInput {
        let fresh = self.fresh(client);
        let any = ServerIndex(self.draw.below(pool.len() as u32) as u16);
        let at = match decision.verdict {
            Verdict::Server(at) => at,
            _ => any,
        };
        let (vs, id) = (pool.vs(), pool.id());
        let server = pool.id_of(at);
        let given = decision.effects.iter().find_map(|e| match e {
            Effect::SetCookie(payload) => Some(*payload),
            _ => None,
        });
        // Now and then the cookie is foreign or old, the member gone, the entry of another generation.
        let odd = round % 8 == 7;
        let (found, stored) = match self.kind {
            None => (RecordedFound::Off, Stored::Nothing),
            Some(KindName::HttpCookie) => {
                let own =
                    http_cookie::Payload { vs, pool: id, server: pool.endpoint(at), issued: fresh.wall };
                let payload = given.unwrap_or(own);
                let payload = match round % 8 {
                    5 => http_cookie::Payload { issued: UnixSeconds(1), ..payload },
                    _ => payload,
                };
                let payload = if odd { http_cookie::Payload { vs: VsId(77), ..payload } } else { payload };
                (RecordedFound::Sealed, Stored::Cookie(payload))
            }
            Some(KindName::GslbSite) => {
                let site = SiteId(1 + self.draw.below(4));
                let service = if odd { VsId(98) } else { VsId(99) };
                (RecordedFound::Sealed, Stored::Site(gslb_site::Payload { service, site }))
            }
            Some(KindName::CustomHeader) => {
                let letter = if odd { b'z' } else { b'a' + at.0 as u8 };
                (RecordedFound::Header([b"shard-".as_slice(), &[letter]].concat()), Stored::Nothing)
            }
            Some(KindName::Tls) if self.draw.below(2) == 0 => {
                (RecordedFound::Carried(if odd { ServerId(1) } else { server }), Stored::Nothing)
            }
            Some(kind) => {
                let mut key = [0x5a; 16];
                key[..4].copy_from_slice(&client.to_le_bytes());
                let server = if odd { ServerId(1) } else { server };
                let stored = Stored::Entry { server, generation: self.draw.below(3) };
                let found = match kind {
                    KindName::KeyValue => RecordedFound::Script(key, Seconds(300)),
                    _ => RecordedFound::Key(key),
                };
                (found, stored)
            }
        };
        let key = match &found {
            RecordedFound::Key(k) | RecordedFound::Script(k, _) => Some(crate::table::KeyBytes(*k)),
            _ => None,
        };
        RecordedInput { found, stored, key, ..fresh }
    }

    fn server_of(&self, pool: &Pool, input: &RecordedInput) -> Option<ServerIndex> {
        match (&input.found, input.stored) {
            (_, Stored::Cookie(p)) => {
                pool.index_of_endpoint(p.server).filter(|_| p.vs == pool.vs() && p.issued.0 > 1)
            }
            (_, Stored::Entry { server, .. }) => pool.index_of(server),
            (RecordedFound::Header(v), _) => pool.server_of_header(v),
            (RecordedFound::Carried(id), _) => pool.index_of(*id),
            _ => None,
        }
    }

    /// Makes the client's server count as down in one of the ways there are, and lets the client return.
    fn fail(&mut self, pool: &mut Pool, at: ServerIndex, bound: &RecordedInput) {
        let now = Now(self.now);
        let mut input = RecordedInput { now, ..bound.clone() };
        match self.draw.below(5) {
            0 => self.push(pool, Step::State(at, ServerState::DOWN, now)),
            1 => self.push(pool, Step::State(at, ServerState::DISABLED, now)),
            2 => input.tried.push(at),
            3 => input.full.push(at),
            _ => self
                .push(pool, Step::State(at, ServerState { health: Health::Maintenance, enabled: true }, now)),
        }
        let decision = self.ask(pool, input.clone());
        if decision.reason.chosen_by == ChosenBy::Algorithm {
            // The new server fails as well.
            if let Verdict::Server(next) = decision.verdict {
                input.tried.push(next);
                self.ask(pool, input);
            }
        }
        let why = decision.reason.policy.map(|p| p.why);
        if why != Some(SkipWhy::Tried) && self.draw.below(2) == 0 {
            self.push(pool, Step::State(at, ServerState::UP, now));
        }
    }
}
