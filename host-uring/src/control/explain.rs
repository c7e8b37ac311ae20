//! Which server a request would get, and why, from the live state and without changing it.

use std::net::{IpAddr, SocketAddr};

use forebay_core::id::{GroupId, PoolId, ServerIndex};
use forebay_core::lb;
use forebay_core::persist::{self, Found, Profile, Stored};
use forebay_core::policy::{self, End};
use forebay_core::units::{Now, UnixSeconds};
use forebay_core::{ChosenBy, Input, Reason, Verdict};
use forebay_http::h1::{Parse, RequestHead, parse_request};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::State;
use super::refused::{Code, Refused, no_such};
use crate::config::{Group, HealthState, PoolIndex, Service, ServiceIndex, Target, Tree, head_limits};
use crate::http::view::{View, client_of};
use crate::log::write_reason;
use crate::persist::{Remembered, bound_to};
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
    /// Opens the cookies or looks up the key of `found` for a service's pool, without touching the entry.
    fn remembered(
        &self,
        service: ServiceIndex,
        pool: PoolIndex,
        profile: &Profile,
        found: &Found<'_>,
        now: Now,
    ) -> Remembered;

    /// The turn of a pool whose round robin goes over all workers, without taking it.
    fn next_ticket(&self, pool: PoolIndex) -> u64;
}

/// What an explanation has to go by.
struct Case<'c> {
    tree: &'c Tree,
    peek: &'c dyn Peek,
    at: ServiceIndex,
    service: &'c Service,
    view: View<'c>,
    now: Now,
}

/// A copy of a pool's state, and what the request carries for it.
struct Copied<'c> {
    pool: lb::Pool,
    found: Found<'c>,
    known: Remembered,
}

/// Explains one request: the bytes that a client would send are read and judged as a worker does it.
//= OBS-EXPLAIN-01
pub(super) fn answer(state: &State, question: &Question) -> Result<Value, Refused> {
    let asked = Asked::of(question)?;
    let running = state.running();
    let tree = &*running.tree;
    let peek: &dyn Peek = running.store.as_ref();
    let at = service(tree, question, &asked)?;
    let service = tree.service(at);
    let mut steps = vec![format!("virtual service {:?} takes the request", service.name)];
    let ends = |verdict: String, steps: Vec<String>| {
        Ok(json!({ "virtual_service": service.name, "verdict": verdict, "steps": steps }))
    };
    let own = tree.listeners.iter().find(|l| l.service == at).map(|l| l.address.to_string());
    let bytes = asked.bytes(question, &own.unwrap_or_else(|| "localhost".to_owned()));
    let mut head = RequestHead::default();
    match parse_request(&bytes, &head_limits(&service.http), &mut head) {
        Ok(Parse::Done { .. }) => {}
        Ok(Parse::NeedMore) => return Err(bad("it is no whole request")),
        Err(reject) => {
            steps.push(format!("the request is refused: {}", reject.rule.text()));
            return ends(format!("answer {}", reject.status), steps);
        }
    }
    let peer = SocketAddr::new(question.client, question.client_port);
    let client = client_of(peer, &service.http.trusted_proxies, &bytes, &head);
    if client.ip != peer.ip().to_canonical() {
        steps.push(format!("{} is a trusted proxy and asks for {}", peer.ip(), client.ip));
    }
    let view = View { bytes: &bytes, head: &head, client, tls: None };
    let case = Case { tree, peek, at, service, view, now: clock::now() };
    let mut own = service.policy.state(1);
    let (named, by_rule) = match rules(&case, &mut own, &mut steps) {
        Ruled::Goes(named, by_rule) => (named, by_rule),
        Ruled::Ends(verdict) => return ends(verdict, steps),
    };
    let target = named.map_or(Some(service.target), |named| named.resolve(tree));
    let mut turn = None;
    let pool = match target {
        Some(Target::Pool(index)) => {
            steps.push(format!("pool {:?} serves it", tree.pool(index).name));
            index
        }
        Some(Target::Group(index)) => {
            let Some((pool, note)) = of_group(&case, &tree.groups[index.0], &mut steps) else {
                return ends("no pool".to_owned(), steps);
            };
            turn = note;
            pool
        }
        None => {
            return Err(Refused::new(
                Code::Failed,
                "a rule names a pool that is gone",
                "look at the engine's log",
            ));
        }
    };
    decide(&case, pool, by_rule, turn, steps)
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

fn rules<'c>(case: &'c Case<'_>, own: &mut policy::State, steps: &mut Vec<String>) -> Ruled<'c> {
    if case.service.policy.is_empty() {
        return Ruled::Goes(None, None);
    }
    // A state of its own: rate limits are the workers' and are neither read nor used up here.
    let outcome = case.service.policy.evaluate(own, &case.view, case.now);
    let names: Vec<&str> = outcome.rules().collect();
    steps.push(match names.as_slice() {
        [] => "no rule of the service matches".to_owned(),
        names => format!("these rules match: {}", names.join(", ")),
    });
    let verdict = match outcome.end {
        End::Proceed => {
            let named = outcome.pool.map(Named::Pool).or(outcome.group.map(Named::Group));
            return Ruled::Goes(named, outcome.hash_key(&case.view));
        }
        End::Redirect(to) => format!("redirect {}", to.status),
        End::Respond(answer) => format!("answer {} by a rule", answer.status),
        End::Close => "close by a rule".to_owned(),
        End::RateLimited(status) => format!("answer {status}: a rule's rate is exceeded"),
        End::PathTooLong => "answer 414: the path is too long for rules".to_owned(),
        End::PathAmbiguous => {
            "answer 400: servers could read the path differently, so no rule can judge it".to_owned()
        }
    };
    Ruled::Ends(verdict)
}

impl<'c> Case<'c> {
    /// Copies a pool's state and finds what the request carries for it.
    fn copy(&'c self, at: PoolIndex) -> Result<Copied<'c>, Refused> {
        let from = self.tree.pool(at);
        let mut pool = lb::Pool::new(from.decision_config(self.service))
            .map_err(|_| Refused::new(Code::Failed, "the pool cannot be read", "run forebay-se check"))?;
        pool.started(self.tree.started);
        from.read_states(&mut pool, self.now);
        let profile = pool.profile();
        let found = profile.map_or(Found::Off, |profile| persist::find(profile, &self.view));
        let known = match profile {
            Some(profile) => self.peek.remembered(self.at, at, profile, &found, self.now),
            None => Remembered { table_key: None, key: None, stored: Stored::Nothing },
        };
        Ok(Copied { pool, found, known })
    }
}

/// The pool of a group, and what of the choice is a worker's own.
fn of_group(
    case: &Case<'_>,
    group: &Group,
    steps: &mut Vec<String>,
) -> Option<(PoolIndex, Option<&'static str>)> {
    let tree = case.tree;
    let mut copy = lb::PoolGroup::new(&group.decision_config(tree)).ok()?;
    // In the order of the service's routes, as a worker looks for the client's own pool.
    let members: Vec<(PoolId, Copied<'_>)> = tree
        .pools_of(case.service)
        .iter()
        .filter(|pool| group.pools.contains(pool))
        .filter_map(|pool| Some((tree.pool(*pool).id, case.copy(*pool).ok()?)))
        .collect();
    let bound =
        members.iter().find_map(|(_, member)| bound_to(&member.pool, &member.found, &member.known.stored));
    let usable = |id| members.iter().find(|(of, _)| *of == id).map_or(0, |(_, member)| member.pool.usable());
    let Some(choice) = copy.choose(bound, usable) else {
        steps.push(format!("no pool of its group {:?} has a server that is up", group.name));
        return None;
    };
    let at = tree.pool_by_id(choice.pool)?;
    let name = &tree.pool(at).name;
    let (priority, levels) = (choice.priority, choice.fell_through);
    let place = format!("(priority {priority}, {levels} levels above have no server)");
    let group = &group.name;
    if choice.bound {
        steps.push(format!("its group {group:?} keeps the client in its pool {name:?} {place}"));
        return Some((at, None));
    }
    steps.push(format!("its group {group:?} chooses pool {name:?} {place}"));
    Some((at, (members.len() > 1).then_some("pool group: each worker has its own turn among the pools")))
}

fn decide(
    case: &Case<'_>,
    at: PoolIndex,
    by_rule: Option<&[u8]>,
    turn: Option<&'static str>,
    mut steps: Vec<String>,
) -> Result<Value, Refused> {
    let pool = case.tree.pool(at);
    let Copied { pool: mut copy, found, known } = case.copy(at)?;
    for (index, server) in pool.servers.iter().enumerate() {
        let at = ServerIndex(u16::try_from(index).unwrap_or(u16::MAX));
        let open = match copy.config().connections_max {
            0 => server.shared.counts.sum(|s| s.active.now()),
            _ => u64::from(server.shared.open()),
        };
        copy.set_open_elsewhere(at, u32::try_from(open).unwrap_or(u32::MAX));
        let report = server.shared.report();
        if report.state != HealthState::Up {
            steps.push(format!("server {} is {}: {}", server.address, report.state.word(), report.why));
        }
    }
    steps.push(match (copy.profile(), &found, &known.stored) {
        (None, ..) => "the pool has no persistence".to_owned(),
        (Some(p), Found::Absent | Found::Off, _) => {
            format!("persistence {} finds no key in the request", p.kind.name())
        }
        (Some(p), ..) if bound_to(&copy, &found, &known.stored).is_some() => {
            format!("persistence {} finds a key that leads to a server", p.kind.name())
        }
        (Some(p), ..) => {
            format!("persistence {} finds a key, and nothing is stored for it", p.kind.name())
        }
    });
    let hash_key = match &copy.config().algorithm {
        lb::Algorithm::ConsistentHash { by, .. } => Some(lb::hash_key(by, &case.view, by_rule)),
        _ => None,
    };
    let input = Input {
        now: case.now,
        wall: UnixSeconds(crate::health::unix_s()),
        ticket: case.peek.next_ticket(at),
        hash_key: hash_key.as_ref().map(lb::HashKey::bytes),
        found,
        key: known.table_key,
        stored: known.stored,
        queued: pool.shared.queued(),
        ..Input::new(case.view.client)
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
    let per_engine = matches!(copy.config().algorithm, lb::Algorithm::RoundRobin { per_se: true });
    let note = turn.or_else(|| note(decision.reason.algorithm, decision.reason.chosen_by, per_engine));
    Ok(json!({
        "virtual_service": case.service.name,
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
fn note(algorithm: lb::Name, chosen_by: ChosenBy, per_engine: bool) -> Option<&'static str> {
    if chosen_by != ChosenBy::Algorithm {
        return None;
    }
    match algorithm {
        lb::Name::ConsistentHash => None,
        lb::Name::RoundRobin if per_engine => None,
        lb::Name::RoundRobin => {
            Some("round robin: each worker has its own turn, so the next request gets another server")
        }
        lb::Name::Random => Some("random: two servers are drawn for each request"),
        _ => Some(
            "by the sum of all workers' open requests; a worker decides by its own and by response times",
        ),
    }
}

fn service(tree: &Tree, question: &Question, asked: &Asked) -> Result<ServiceIndex, Refused> {
    let services = &tree.services;
    if let Some(name) = &question.virtual_service {
        return services
            .iter()
            .position(|s| s.name == *name)
            .map(ServiceIndex)
            .ok_or_else(|| no_such("virtual service", name, services.iter().map(|s| s.name.as_str())));
    }
    let by_port =
        |port: u16| tree.listeners.iter().filter(move |l| l.address.port() == port).map(|l| l.service);
    if let Some(port) = asked.port {
        let mut found = by_port(port);
        if let (Some(only), None) = (found.next(), found.next()) {
            return Ok(only);
        }
    }
    match services.as_slice() {
        [_] => Ok(ServiceIndex(0)),
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

fn bad(reason: &str) -> Refused {
    Refused::new(Code::Usage, reason.to_owned(), "write it like http://host:8080/path?query or /path")
}

/// The address of a question, taken apart.
struct Asked {
    authority: Option<String>,
    port: Option<u16>,
    uri: String,
}

impl Asked {
    fn of(question: &Question) -> Result<Self, Refused> {
        let is_host = |name: &str| name.trim().eq_ignore_ascii_case("host");
        let host = question.headers.iter().find(|(name, _)| is_host(name)).map(|(_, host)| host.trim());
        let (authority, uri) = match question.url.split_once("://") {
            Some((_, rest)) => {
                let cut = rest.find(['/', '?']).unwrap_or(rest.len());
                let (authority, uri) = rest.split_at(cut);
                let uri = if uri.starts_with('/') { uri.to_owned() } else { format!("/{uri}") };
                (Some(host.unwrap_or(authority).to_owned()), uri)
            }
            None if question.url.starts_with('/') => (host.map(str::to_owned), question.url.clone()),
            None => return Err(bad("the address has no scheme and no leading slash")),
        };
        let torn = |text: &str| text.bytes().any(|b| b.is_ascii_control());
        if torn(&question.url) || question.url.contains(' ') {
            return Err(bad("the address has a space or control character"));
        }
        let is_tchar = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if question.method.is_empty() || !question.method.bytes().all(is_tchar) {
            let reason = format!("{:?} is no method", question.method);
            return Err(Refused::new(Code::Usage, reason, "write one like GET"));
        }
        if question.headers.iter().any(|(n, v)| torn(n) || torn(v)) {
            return Err(bad("a header has a control character"));
        }
        let port =
            authority.as_deref().and_then(|a| a.rsplit_once(':')).and_then(|(_, port)| port.parse().ok());
        Ok(Self { authority, port, uri })
    }

    /// The request as a client would send it; `own`: the host if the question names none.
    fn bytes(&self, question: &Question, own: &str) -> Vec<u8> {
        let host = self.authority.as_deref().unwrap_or(own);
        let mut text = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", question.method, self.uri);
        for (name, value) in &question.headers {
            if !name.trim().eq_ignore_ascii_case("host") {
                text += &format!("{}: {}\r\n", name.trim(), value.trim());
            }
        }
        (text + "\r\n").into_bytes()
    }
}
