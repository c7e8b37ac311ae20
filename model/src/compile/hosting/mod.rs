//! Children: services that share the addresses and ports of a parent, and are chosen by the host, or host and path, of a
//! request.
//!
//! A child is rules of its parent's service: its own, held to its hosts, and one that leads to its pool. Rules add up, so
//! the parent's own are held to the hosts that no child has. What cannot be told apart so is a child's problem, and so are the
//! rules for which its parent has no room. The hosts of a child that is off, or that cannot be carried out, lead nowhere: its
//! parent would let in whom it keeps out.

mod hosts;
mod own;
mod rules;

use std::collections::{BTreeMap, BTreeSet};

use forebay_snapshot::core_limits::GLOB_MAX;
use toml::{Table, Value};

pub(super) use own::{others_to_tls, own};
pub(super) use rules::rules;

use super::cx::{Cx, Making};
use super::place::Held;
use super::service::Listener;
use super::table::Part;
use super::{Placed, matching};
use crate::Problem;
use hosts::covers;

/// Fields of a match that say more of a request than its path.
const NOT_PATHS: &[&str] = &[
    "client_ip",
    "source_ip",
    "vs_port",
    "protocol",
    "method",
    "version",
    "query",
    "hdrs",
    "cookie",
    "host_hdr",
    "bot_detection_result",
    "geo_matches",
    "ip_reputation_type",
    "tls_fingerprint_match",
];

/// A child that cannot be carried out.
#[derive(Default)]
pub(super) struct Closed {
    /// Why not.
    pub problems: Vec<Problem>,
    /// The engine does not even take its conditions on paths.
    pub has_no_paths: bool,
}

/// Children that cannot be carried out, by uuid.
pub(super) type Shut = BTreeMap<String, Closed>;

/// What a child has made so far.
#[derive(Default)]
pub(super) struct Traces {
    pub problems: Vec<Problem>,
    pub warnings: Vec<Problem>,
    /// The parts that its rules name.
    pub needs: BTreeSet<String>,
}

/// Which requests are a child's.
#[derive(Clone, Debug, PartialEq)]
struct Claim {
    host: String,
    /// The condition on the path; `None`: any.
    path: Option<Table>,
}

/// A child of the service that is being made.
pub(super) struct Child {
    held: Held,
    /// It takes requests without TLS as well.
    is_enhanced: bool,
    claims: Vec<Claim>,
    /// Its hosts lead nowhere.
    is_shut: bool,
}

impl Child {
    fn hosts(&self) -> impl Iterator<Item = &str> {
        self.claims.iter().map(|claim| claim.host.as_str())
    }

    /// Those of which it has all requests.
    fn whole_hosts(&self) -> impl Iterator<Item = &str> {
        self.claims.iter().filter(|claim| claim.path.is_none()).map(|claim| claim.host.as_str())
    }

    fn has(&self, host: &str) -> bool {
        self.hosts().any(|own| covers(own, host))
    }

    fn has_paths(&self) -> bool {
        self.claims.iter().any(|claim| claim.path.is_some())
    }

    /// It is chosen at these ports.
    pub fn is_at(&self, listener: &Listener) -> bool {
        self.is_enhanced || listener.is_secured
    }
}

/// The certificates that children show. One that cannot be used is its child's problem.
pub(super) fn certificates(cx: &mut Cx<'_>, children: &[Child]) -> Vec<Held> {
    let mut all = Vec::new();
    for child in children.iter().filter(|child| !child.is_shut) {
        let mut from = Making::new(String::new(), &child.held);
        let named = child.held.view().references("ssl_key_and_certificate_refs");
        for (at, uuid) in named.into_iter().enumerate() {
            let field = format!("ssl_key_and_certificate_refs[{at}]");
            if let Some(pair) = cx.follow(&mut from, &child.held, &field, "sslkeyandcertificate", &uuid) {
                from.needs("certificate", &pair.uuid);
                all.push(pair);
            }
        }
        trace(cx, &child.held.uuid, from);
    }
    all
}

/// The children of a service, with what is wrong with them as far as it is known now.
//= COMPILE-CHILD-01
pub(super) fn children(cx: &mut Cx<'_>, parent: &Held, placed: &Placed) -> Vec<Child> {
    let parent_kind = parent.view().text("vh_type").to_owned();
    let mut seen = BTreeSet::new();
    let mut all: Vec<Child> = Vec::new();
    for uuid in placed.children.iter().filter(|uuid| seen.insert(*uuid)) {
        let Some(held) = cx.get("virtualservice", uuid) else { continue };
        let view = held.view();
        if view.text("type") != "VS_TYPE_VH_CHILD"
            || view.refers("vh_parent_vs_ref").as_deref() != Some(&parent.uuid)
        {
            continue;
        }
        let mut making = Making::new(String::new(), &held);
        if view.text("vh_type") != parent_kind {
            let reason = format!("its parent is of {parent_kind}, and it is not");
            making.wrong(&held, "vh_type", reason, "give both the same");
        }
        let is_enhanced = parent_kind == "VS_TYPE_VH_ENHANCED";
        let mut claims = claims(cx, &mut making, &held);
        if cx.shut.get(uuid).is_some_and(|closed| closed.has_no_paths) {
            claims.retain(|claim| claim.path.is_none());
        }
        // Who comes second has nothing of it.
        let (taken, claims): (Vec<Claim>, Vec<Claim>) =
            claims.into_iter().partition(|claim| all.iter().any(|other| other.claims.contains(claim)));
        for claim in taken {
            let reason = format!("{} is chosen by another child of its parent already", claim.host);
            making.wrong(&held, "vh_domain_name", reason, "give each name to one child");
        }
        let is_shut = !view.is_on("enabled") || !view.is_on("traffic_enabled") || cx.shut.contains_key(uuid);
        trace(cx, uuid, making);
        all.push(Child { held, is_enhanced, claims, is_shut });
    }
    all
}

fn trace(cx: &mut Cx<'_>, uuid: &str, making: Making) {
    let traces = cx.children.entry(uuid.to_owned()).or_default();
    for problem in making.problems {
        if !traces.problems.contains(&problem) {
            traces.problems.push(problem);
        }
    }
    traces.warnings.extend(making.warnings);
    traces.needs.extend(making.needs);
}

/// The hosts and paths of a child.
fn claims(cx: &Cx<'_>, making: &mut Making, held: &Held) -> Vec<Claim> {
    let view = held.view();
    let mut claims = Vec::new();
    let mut add = |host: &str, path: Option<Table>| {
        let claim = Claim { host: host.trim_end_matches('.').to_ascii_lowercase(), path };
        if !claims.contains(&claim) {
            claims.push(claim);
        }
    };
    let mut longer = Vec::new();
    let mut fits = |host: &str, at: &str| {
        let is_so = !host.is_empty() && (host.len() <= GLOB_MAX || !host.starts_with('*'));
        if !is_so {
            longer.push(at.to_owned());
        }
        is_so
    };
    for (at, host) in view.texts("vh_domain_name").enumerate() {
        if fits(host, &format!("vh_domain_name[{at}]")) {
            add(host, None);
        }
    }
    for (at, entry) in view.entries("vh_matches") {
        let (host, at) = (entry.text("host"), format!("vh_matches[{at}]"));
        if !fits(host, &format!("{at}.host")) {
            continue;
        }
        let mut any = true;
        for (n, rule) in entry.entries("rules") {
            any = false;
            let (target, at) = (rule.part("matches"), format!("{at}.rules[{n}].matches"));
            for name in NOT_PATHS.iter().filter(|name| target.has(name)) {
                let reason = "children are told apart by hosts and paths, and by nothing else";
                making.wrong(held, &format!("{at}.{name}"), reason, "leave it out");
            }
            let path = target.some_part("path");
            let path = path.and_then(|by| matching::compared(cx, making, held, &format!("{at}.path"), by));
            add(host, path.map(table).filter(|path| !is_any(path)));
        }
        for (n, by) in entry.entries("path") {
            any = false;
            let path = matching::compared(cx, making, held, &format!("{at}.path[{n}]"), by);
            add(host, path.map(table).filter(|path| !is_any(path)));
        }
        if any {
            add(host, None);
        }
    }
    for at in longer {
        let reason =
            format!("names that begin with * have at most {GLOB_MAX} characters, all others one at least");
        making.wrong(held, &at, reason, "name each host, or a shorter end");
    }
    claims
}

fn table(part: Part) -> Table {
    match Value::from(part) {
        Value::Table(table) => table,
        _ => Table::new(),
    }
}

/// Each path begins with a slash.
fn is_any(path: &Table) -> bool {
    let slash = Value::Array(vec![Value::from("/")]);
    path.get("begins_with") == Some(&slash) && !path.contains_key("not")
}
