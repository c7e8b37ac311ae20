//! Which server a request would get, and why, from the live state and without changing it.

use std::net::IpAddr;

use forebay_core::id::{GroupId, PoolId, ServerIndex};
use forebay_core::lb::{self, Health, ServerState};
use forebay_core::persist::{self, Found, Profile, Stored, TableKey};
use forebay_core::policy::End;
use forebay_core::request::{ClientAddr, RequestView};
use forebay_core::units::{Now, UnixSeconds};
use forebay_core::{ChosenBy, Input, Reason, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::State;
use super::admin::{Code, Refused};
use super::answers::no_such;
use crate::config::{Group, HealthState, Pool, Service, Target, Tree};
use crate::log::write_reason;
use crate::metrics::page::sum;
use crate::rt::clock;

/// A request that is to be explained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The virtual service; may be left out if there is one only, or if `url` has a port that one listens on.
    #[serde(default)]
    pub virtual_service: Option<String>,
    /// The method.
    #[serde(default = "get")]
    pub method: String,
    /// The address asked for: `http://host:port/path?query` or `/path?query`.
    pub url: String,
    /// Header lines, name and value.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The client's address.
    #[serde(default = "localhost")]
    pub client: IpAddr,
    /// The client's port.
    #[serde(default)]
    pub client_port: u16,
}

fn get() -> String {
    "GET".to_owned()
}

fn localhost() -> IpAddr {
    IpAddr::from([127, 0, 0, 1])
}

/// What `explain` may look up on the workers' side.
pub trait Peek: Send + Sync {
    /// Opens the cookies or looks up the key of `found`, without touching the entry: the key under the table's
    /// secret, and what is stored.
    fn stored(
        &self,
        service: &Service,
        pool: &Pool,
        profile: &Profile,
        found: &Found<'_>,
    ) -> (Option<TableKey>, Stored);
}

/// Explains one request.
//= OBS-EXPLAIN-01
pub(super) fn answer(state: &State, peek: Option<&dyn Peek>, question: &Question) -> Result<Value, Refused> {
    let request = Parts::of(question)?;
    let service = service(state, question, &request)?;
    let mut steps = vec![format!("virtual service {:?} takes the request", service.name)];
    let outcome = rules(service, &request, &mut steps);
    let by_rule = match &outcome {
        Ruled::Goes(_, key) => *key,
        Ruled::Ends(_) => None,
    };
    let target = match outcome {
        Ruled::Goes(target, _) => target.map_or(Some(service.target), |named| named.resolve(&state.tree)),
        Ruled::Ends(verdict) => {
            return Ok(json!({ "virtual_service": service.name, "verdict": verdict, "steps": steps }));
        }
    };
    let pool = match target {
        Some(Target::Pool(index)) => {
            let pool = state.tree.pool(index);
            steps.push(format!("pool {:?} serves it", pool.name));
            pool
        }
        Some(Target::Group(index)) => match of_group(state, &state.tree.groups[index.0], &mut steps) {
            Some(pool) => pool,
            None => {
                return Ok(json!({ "virtual_service": service.name, "verdict": "no pool", "steps": steps }));
            }
        },
        None => {
            return Err(Refused::new(
                Code::Failed,
                "a rule names a pool that is gone",
                "look at the engine's log",
            ));
        }
    };
    decide(state, peek, service, pool, (&request, by_rule), steps)
}

/// What the rules make of a request.
enum Ruled<'r> {
    /// Where the server is sought, and what a consistent hash takes.
    Goes(Option<Named>, Option<&'r [u8]>),
    Ends(String),
}

/// What a rule chose.
enum Named {
    Pool(PoolId),
    Group(GroupId),
}

impl Named {
    fn resolve(&self, tree: &Tree) -> Option<Target> {
        match self {
            Self::Pool(id) => tree.pool_by_id(*id).map(Target::Pool),
            Self::Group(id) => tree.group_by_id(*id).map(Target::Group),
        }
    }
}

fn rules<'r>(service: &Service, request: &'r Parts, steps: &mut Vec<String>) -> Ruled<'r> {
    if service.policy.is_empty() {
        return Ruled::Goes(None, None);
    }
    // A state of its own: rate limits are the workers' and are neither read nor used up here.
    let mut own = service.policy.state(1);
    let outcome = service.policy.evaluate(&mut own, request, Now(1));
    let names: Vec<&str> = outcome.rules().collect();
    steps.push(match names.as_slice() {
        [] => "no rule of the service matches".to_owned(),
        names => format!("these rules match: {}", names.join(", ")),
    });
    let verdict = match outcome.end {
        End::Proceed => {
            let named = outcome.pool.map(Named::Pool).or(outcome.group.map(Named::Group));
            return Ruled::Goes(named, outcome.hash_key(request));
        }
        End::Redirect(to) => format!("redirect {}", to.status),
        End::Respond(answer) => format!("answer {} by a rule", answer.status),
        End::Close => "close by a rule".to_owned(),
        End::RateLimited(status) => format!("answer {status}: a rule's rate is exceeded"),
        End::PathTooLong => "answer 414: the path is too long for rules".to_owned(),
    };
    Ruled::Ends(verdict)
}

fn of_group<'s>(state: &'s State, group: &Group, steps: &mut Vec<String>) -> Option<&'s Pool> {
    let tree = &state.tree;
    let mut copy = lb::PoolGroup::new(&group.decision_config(tree)).ok()?;
    let up = |id| tree.pool_by_id(id).map_or(0, |pool| usable(tree.pool(pool)) as u32);
    let Some(choice) = copy.choose(None, up) else {
        steps.push(format!("no pool of its group {:?} has a server that is up", group.name));
        return None;
    };
    let pool = tree.pool(tree.pool_by_id(choice.pool)?);
    steps.push(format!(
        "its group {:?} chooses pool {:?} (priority {}, {} levels above have no server)",
        group.name, pool.name, choice.priority, choice.fell_through
    ));
    Some(pool)
}

fn decide(
    state: &State,
    peek: Option<&dyn Peek>,
    service: &Service,
    pool: &Pool,
    (request, by_rule): (&Parts, Option<&[u8]>),
    mut steps: Vec<String>,
) -> Result<Value, Refused> {
    let config = pool.decision_config(service);
    let profile = config.persistence.clone();
    let mut copy = lb::Pool::new(config)
        .map_err(|_| Refused::new(Code::Failed, "the pool cannot be read", "run forebay-se check"))?;
    copy.started(state.tree.started);
    let now = clock::now();
    for (index, server) in pool.servers.iter().enumerate() {
        let at = ServerIndex(u16::try_from(index).unwrap_or(u16::MAX));
        let health = match server.shared.state() {
            HealthState::Up => Health::Up,
            HealthState::Maintenance => Health::Maintenance,
            HealthState::Down | HealthState::Checking => Health::Down,
        };
        copy.set_state(at, ServerState { health, enabled: server.config.enabled }, now);
        let open = sum(&state.workers, |w| w.servers[server.slot].active.now());
        copy.set_open_elsewhere(at, u32::try_from(open).unwrap_or(u32::MAX));
        let report = &state.board.lock()[server.slot];
        if health != Health::Up {
            steps.push(format!("server {} is {}: {}", server.address, report.state.word(), report.why));
        }
    }
    let found = profile.as_ref().map_or(Found::Off, |profile| persist::find(profile, request));
    let (key, stored) = match (&profile, peek) {
        (Some(profile), Some(peek)) => peek.stored(service, pool, profile, &found),
        _ => (None, Stored::Nothing),
    };
    steps.push(match (&profile, &found, &stored) {
        (None, ..) => "the pool has no persistence".to_owned(),
        (Some(p), Found::Absent | Found::Off, _) => {
            format!("persistence {} finds no key in the request", p.kind.name())
        }
        (Some(p), _, Stored::Nothing) => {
            format!("persistence {} finds a key, and nothing is stored for it", p.kind.name())
        }
        (Some(p), ..) => format!("persistence {} finds a key that leads to a server", p.kind.name()),
    });
    let hash_key = match &copy.config().algorithm {
        lb::Algorithm::ConsistentHash { by, .. } => Some(lb::hash_key(by, request, by_rule)),
        _ => None,
    };
    let input = Input {
        now,
        wall: UnixSeconds(crate::health::unix_s()),
        hash_key: hash_key.as_ref().map(lb::HashKey::bytes),
        found,
        key,
        stored,
        queued: pool.shared.queued(),
        ..Input::new(request.client)
    };
    let decision = forebay_core::decide(&mut copy, &input);
    let mut reason = Vec::new();
    write_reason(&decision.reason, Some(pool), &mut reason);
    let reason: Value = serde_json::from_slice(&reason).unwrap_or(Value::Null);
    let (verdict, server) = match decision.verdict {
        Verdict::Server(at) => {
            ("server".to_owned(), pool.servers.get(at.at()).map(|s| s.address.to_string()))
        }
        Verdict::Queue => ("queue".to_owned(), None),
        Verdict::Close => ("close".to_owned(), None),
        Verdict::Reject { status, why } => (format!("answer {status} ({why})"), None),
        Verdict::Site(site) => (format!("site {}", site.0), None),
    };
    steps.push(chosen(&decision.reason));
    let note = note(decision.reason.algorithm, decision.reason.chosen_by);
    Ok(json!({
        "virtual_service": service.name,
        "pool": pool.name,
        "verdict": verdict,
        "server": server,
        "reason": reason,
        "steps": steps,
        "note": note,
    }))
}

/// Who chose, in words; servers and their states stand in the steps before.
fn chosen(reason: &Reason) -> String {
    match (reason.chosen_by, reason.refusal) {
        (ChosenBy::Persistence, _) => "persistence chooses its server".to_owned(),
        (ChosenBy::Algorithm, _) => match reason.policy {
            Some(applied) => format!(
                "the client's own server is {}, so by {} algorithm {} chooses another",
                applied.why, applied.policy, reason.algorithm
            ),
            None => format!("algorithm {} chooses the server", reason.algorithm),
        },
        (ChosenBy::Site, _) => "the site cookie chooses the site".to_owned(),
        (ChosenBy::Nobody, Some(why)) => format!("no server: {why}"),
        (ChosenBy::Nobody, None) => "no server".to_owned(),
    }
}

/// What of the answer is a worker's own and may differ from one request to the next.
fn note(algorithm: lb::Name, chosen_by: ChosenBy) -> Option<&'static str> {
    if chosen_by != ChosenBy::Algorithm {
        return None;
    }
    match algorithm {
        lb::Name::ConsistentHash => None,
        lb::Name::RoundRobin => {
            Some("round robin: each worker has its own turn, so the next request gets another server")
        }
        lb::Name::Random => Some("random: two servers are drawn for each request"),
        _ => Some(
            "by the sum of all workers' open requests; a worker decides by its own and by response times",
        ),
    }
}

fn usable(pool: &Pool) -> usize {
    pool.servers.iter().filter(|s| s.config.enabled && s.shared.state() == HealthState::Up).count()
}

fn service<'s>(state: &'s State, question: &Question, request: &Parts) -> Result<&'s Service, Refused> {
    let services = &state.tree.services;
    if let Some(name) = &question.virtual_service {
        return services
            .iter()
            .find(|s| s.name == *name)
            .ok_or_else(|| no_such("virtual service", name, services.iter().map(|s| s.name.as_str())));
    }
    let by_port =
        |port: u16| state.tree.listeners.iter().filter(move |l| l.address.port() == port).map(|l| l.service);
    if let Some(port) = request.port {
        let mut found = by_port(port);
        if let (Some(only), None) = (found.next(), found.next()) {
            return Ok(state.tree.service(only));
        }
    }
    match services.as_slice() {
        [only] => Ok(only),
        _ => Err(Refused::new(
            Code::Usage,
            "it is not clear which virtual service is asked",
            format!(
                "name one with --service: {}",
                services.iter().map(|s| s.name.as_str()).take(8).collect::<Vec<_>>().join(", ")
            ),
        )),
    }
}

/// The request in the parts that a decision reads.
struct Parts {
    client: ClientAddr,
    method: String,
    host: String,
    port: Option<u16>,
    uri: String,
    headers: Vec<(String, String)>,
}

impl Parts {
    fn of(question: &Question) -> Result<Self, Refused> {
        let bad = |reason: &str| {
            Refused::new(Code::Usage, reason.to_owned(), "write it like http://host:8080/path?query or /path")
        };
        let headers: Vec<(String, String)> = question
            .headers
            .iter()
            .map(|(n, v)| (n.trim().to_ascii_lowercase(), v.trim().to_owned()))
            .collect();
        let (authority, uri) = match question.url.split_once("://") {
            Some((_, rest)) => {
                let cut = rest.find(['/', '?']).unwrap_or(rest.len());
                let (authority, uri) = rest.split_at(cut);
                (authority.to_owned(), if uri.starts_with('/') { uri.to_owned() } else { format!("/{uri}") })
            }
            None if question.url.starts_with('/') => {
                let host = headers.iter().find(|(name, _)| name == "host");
                (host.map(|(_, host)| host.clone()).unwrap_or_default(), question.url.clone())
            }
            None => return Err(bad("the address has no scheme and no leading slash")),
        };
        if question.url.bytes().any(|b| b.is_ascii_control() || b == b' ') {
            return Err(bad("the address has a space or control character"));
        }
        let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let host = match authority.rsplit_once(':') {
            Some((host, _)) if port.is_some() => host.to_owned(),
            _ => authority.clone(),
        };
        let client = ClientAddr::new(question.client, question.client_port);
        Ok(Self { client, method: question.method.clone(), host, port, uri, headers })
    }
}

impl RequestView for Parts {
    fn client(&self) -> ClientAddr {
        self.client
    }

    fn method(&self) -> &[u8] {
        self.method.as_bytes()
    }

    fn host(&self) -> &[u8] {
        self.host.as_bytes()
    }

    fn uri(&self) -> &[u8] {
        self.uri.as_bytes()
    }

    fn path(&self) -> &[u8] {
        self.uri.split('?').next().unwrap_or_default().as_bytes()
    }

    fn query(&self) -> Option<&[u8]> {
        self.uri.split_once('?').map(|(_, query)| query.as_bytes())
    }

    fn headers(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.headers.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_bytes())
    }
}
