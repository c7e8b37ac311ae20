//! Children: services that share the addresses and ports of a parent, and are chosen by the host, or host and path, of a
//! request.
//!
//! A child is rules of its parent's service: its own, held to its hosts, and one that leads to its pool. Rules add up, so
//! the parent's own are held to the hosts that no child has. What cannot be told apart so is a child's problem. The hosts of
//! a child that is off, or that cannot be carried out, lead nowhere: its parent would let in whom it keeps out.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::cx::{Cx, Making};
use super::place::Held;
use super::policy::{self, Scope};
use super::pool::{self, PoolKey};
use super::service::Listener;
use super::table::Part;
use super::{Placed, l4, matching, tls};
use crate::Problem;

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

/// Children that cannot be carried out, by uuid, and why.
pub(super) type Shut = BTreeMap<String, Vec<Problem>>;

/// What a child has made so far.
#[derive(Default)]
pub(super) struct Traces {
    pub problems: Vec<Problem>,
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

/// Says whether a host is one of those that a name stands for.
fn covers(name: &str, host: &str) -> bool {
    match name.strip_prefix('*') {
        Some(end) => host.len() > end.len() && host.ends_with(end),
        None => name == host,
    }
}

/// The condition on these hosts.
fn on_hosts<'h>(hosts: impl Iterator<Item = &'h str>, is_not: bool) -> Value {
    let (globs, plain): (BTreeSet<&str>, BTreeSet<&str>) = hosts.partition(|host| host.starts_with('*'));
    let mut part = Part::default();
    part.set_list("equals", plain);
    part.set_list("glob", globs);
    part.set_if("not", is_not);
    part.into()
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
    let mut uuids = placed.children.clone();
    uuids.sort();
    uuids.dedup();
    let mut all: Vec<Child> = Vec::new();
    for uuid in uuids {
        let Some(held) = cx.get("virtualservice", &uuid) else { continue };
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
        let claims = claims(cx, &mut making, &held);
        // Who comes second has nothing of it.
        let (taken, claims): (Vec<Claim>, Vec<Claim>) =
            claims.into_iter().partition(|claim| all.iter().any(|other| other.claims.contains(claim)));
        for claim in taken {
            let reason = format!("{} is chosen by another child of its parent already", claim.host);
            making.wrong(&held, "vh_domain_name", reason, "give each name to one child");
        }
        let is_shut = !view.is_on("enabled") || !view.is_on("traffic_enabled") || cx.shut.contains_key(&uuid);
        trace(cx, &uuid, making);
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
    for host in view.texts("vh_domain_name") {
        add(host, None);
    }
    for (at, entry) in view.entries("vh_matches") {
        let (host, at) = (entry.text("host"), format!("vh_matches[{at}]"));
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

/// How closely a condition names a path: longer texts go before shorter ones.
fn length(path: Option<&Table>) -> usize {
    let texts = path.into_iter().flat_map(|path| path.values().filter_map(Value::as_array).flatten());
    texts.filter_map(Value::as_str).map(str::len).min().unwrap_or(0)
}

/// Holds a rule to some hosts; `Some(false)`: it holds for none of them. `None`: nobody can tell.
fn held_to<'h>(rule: &mut Table, hosts: impl Iterator<Item = &'h str> + Clone) -> Option<bool> {
    let when = rule.entry("when").or_insert_with(|| Table::new().into()).as_table_mut()?;
    let Some(by) = when.get("host").and_then(Value::as_table) else {
        when.insert("host".to_owned(), on_hosts(hosts, false));
        return Some(true);
    };
    let left = match equals(by) {
        Some(named) => named.into_iter().filter(|host| hosts.clone().any(|own| covers(own, host))).collect(),
        None => {
            let mut left = Vec::new();
            for host in hosts {
                if host.starts_with('*') || holds(by, host)? {
                    left.push(host.to_owned());
                }
                if host.starts_with('*') {
                    return None;
                }
            }
            left
        }
    };
    when.insert("host".to_owned(), on_hosts(left.iter().map(String::as_str), false));
    Some(!left.is_empty())
}

/// Holds a rule to all hosts but some; `Some(false)`: it holds for no other. `None`: nobody can tell.
fn held_off<'h>(rule: &mut Table, hosts: impl Iterator<Item = &'h str> + Clone) -> Option<bool> {
    let when = rule.entry("when").or_insert_with(|| Table::new().into()).as_table_mut()?;
    let Some(by) = when.get("host").and_then(Value::as_table) else {
        when.insert("host".to_owned(), on_hosts(hosts, true));
        return Some(true);
    };
    if let Some(named) = equals(by) {
        let left: Vec<String> =
            named.into_iter().filter(|host| !hosts.clone().any(|own| covers(own, host))).collect();
        when.insert("host".to_owned(), on_hosts(left.iter().map(String::as_str), false));
        return Some(!left.is_empty());
    }
    for host in hosts {
        if host.starts_with('*') || holds(by, host)? {
            return None;
        }
    }
    Some(true)
}

/// The hosts of a condition that names them.
fn equals(by: &Table) -> Option<Vec<String>> {
    let list = by.get("equals").and_then(Value::as_array).filter(|_| by.len() == 1)?;
    Some(list.iter().filter_map(Value::as_str).map(str::to_ascii_lowercase).collect())
}

/// Whether a condition holds for a host; `None`: nobody can tell.
fn holds(by: &Table, host: &str) -> Option<bool> {
    let mut any = false;
    for (word, list) in by.iter().filter(|(word, _)| *word != "not") {
        for text in list.as_array()?.iter().filter_map(Value::as_str).map(str::to_ascii_lowercase) {
            any |= match word.as_str() {
                "equals" => host == text,
                "begins_with" => host.starts_with(&text),
                "ends_with" => host.ends_with(&text),
                "contains" => host.contains(&text),
                "glob" if text == "?*" => !host.is_empty(),
                _ => return None,
            };
        }
    }
    let is_not = by.get("not").and_then(Value::as_bool).unwrap_or(false);
    Some(any != is_not)
}

/// The rules of a service with children: theirs, and then its own, which count for no host of a child.
//= COMPILE-CHILD-01
pub(super) fn rules(
    cx: &mut Cx<'_>,
    making: &mut Making,
    parent: &Held,
    (children, scope): (&[Child], &Scope<'_>),
    own: Vec<Value>,
) -> Vec<Value> {
    let here: Vec<&Child> = children.iter().filter(|child| child.is_at(scope.listener)).collect();
    if here.is_empty() {
        return own;
    }
    // By hosts and then paths, the closest first: of several pools the first one holds.
    let mut ways: Vec<((bool, usize, usize), Value)> = Vec::new();
    let mut rules = Vec::new();
    for child in &here {
        let mut from = Making::new(String::new(), &child.held);
        let then = match child.is_shut {
            // Nowhere: a rule that ended the request would end those of closer hosts and paths too.
            true => nowhere(cx, &mut from, child, scope.listener),
            false => {
                rules.extend(of_child(cx, &mut from, child, &here, scope, !own.is_empty()));
                target(cx, &mut from, child, scope)
            }
        };
        making.needs.extend(from.needs.iter().cloned());
        making.warnings.append(&mut from.warnings);
        trace(cx, &child.held.uuid, from);
        for (at, claim) in child.claims.iter().enumerate() {
            let mut when = Part::default();
            when.set("host", on_hosts(std::iter::once(claim.host.as_str()), false));
            when.set_some("path", claim.path.clone());
            let mut rule = Part::named(&format!("{} {at}", child.held.uuid));
            rule.set("when", when);
            rule.set_list("then", [then.clone()]);
            let rank = (claim.host.starts_with('*'), claim.host.len(), length(claim.path.as_ref()));
            ways.push(((rank.0, usize::MAX - rank.1, usize::MAX - rank.2), rule.into()));
        }
    }
    ways.sort_by_key(|(rank, _)| *rank);
    // Of a host of which a child has some paths the rest is the parent's, and under its rules.
    let hosts: Vec<&str> = here.iter().flat_map(|child| child.whole_hosts()).collect();
    let mut all: Vec<Value> = rules.into_iter().chain(ways.into_iter().map(|(_, rule)| rule)).collect();
    for mut rule in own {
        let kept = rule.as_table_mut().and_then(|rule| held_off(rule, hosts.iter().copied()));
        match kept {
            Some(true) => all.push(rule),
            Some(false) => {}
            None => {
                let name = rule.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
                let reason = format!("its rule {name} compares hosts, and may mean those of children");
                making.wrong(parent, "http_policies", reason, "name the hosts in the rule by HDR_EQUALS");
            }
        }
    }
    all
}

/// A child's own rules, held to its hosts.
fn of_child(
    cx: &mut Cx<'_>,
    from: &mut Making,
    child: &Child,
    here: &[&Child],
    scope: &Scope<'_>,
    parent_has_rules: bool,
) -> Vec<Value> {
    let held = &child.held;
    for name in ["application_profile_ref", "network_profile_ref", "ssl_profile_ref", "services"] {
        if held.view().has(name) && held.view().refers(name).is_some_and(|uuid| !is_parents(scope, &uuid)) {
            let reason = "a child speaks as its parent does";
            from.idle(held, name, reason, "set it in the parent");
        }
    }
    //= COMPILE-GUARD-01
    if let Some(uuid) = held.view().refers("application_profile_ref").filter(|uuid| !is_parents(scope, uuid))
        && let Some(profile) = cx.follow(from, held, "application_profile_ref", "applicationprofile", &uuid)
        && tls::asks(&profile)
    {
        let reason = "it asks clients for certificates, and a child speaks as its parent does";
        from.wrong(
            held,
            "application_profile_ref",
            reason,
            "let the parent ask, or make it a service of its own",
        );
    }
    let made = policy::rules(cx, from, held, scope);
    let others = here.iter().filter(|other| other.held.uuid != held.uuid);
    let mut shared = others.flat_map(|other| other.hosts()).filter(|host| child.has(host));
    if !made.is_empty()
        && let Some(host) = shared.next()
    {
        let reason =
            format!("it has rules, and another child has requests for {host}, to which they would apply");
        from.wrong(held, "http_policies", reason, "give each child hosts of its own, or leave out the rules");
    }
    if child.has_paths() && (parent_has_rules || !made.is_empty()) {
        let reason =
            "it is chosen by a path, and rules, its own or its parent's, are kept apart by hosts only";
        from.wrong(held, "vh_matches", reason, "choose it by its host, or leave out the rules");
    }
    let mut rules = Vec::new();
    for mut rule in made {
        let Some(table) = rule.as_table_mut() else { continue };
        let name = table.get("name").and_then(Value::as_str).unwrap_or_default();
        let name = policy::named(&held.uuid, name);
        table.insert("name".to_owned(), name.clone().into());
        match held_to(table, child.hosts().collect::<Vec<_>>().into_iter()) {
            Some(true) => rules.push(rule),
            Some(false) => {}
            None => {
                let reason = format!("{name} compares hosts, and the child has hosts of all names");
                from.wrong(held, "http_policies", reason, "name the hosts in the rule by HDR_EQUALS");
            }
        }
    }
    rules
}

fn is_parents(scope: &Scope<'_>, uuid: &str) -> bool {
    scope.listener.application.uuid == uuid || scope.listener.network.uuid == uuid
}

/// Where a child's requests go.
fn target(cx: &mut Cx<'_>, from: &mut Making, child: &Child, scope: &Scope<'_>) -> Value {
    let (held, listener) = (&child.held, scope.listener);
    let introduced = l4::introduced(&listener.application, listener.speaks);
    let key = |uuid: String| PoolKey { uuid, speaks: listener.speaks, introduced };
    let view = held.view();
    if let Some(uuid) = view.refers("pool_ref") {
        if cx.follow(from, held, "pool_ref", "pool", &uuid).is_some() {
            let key = key(uuid);
            from.needs("pool", &key.name());
            let action = Part::default().with("pool", key.name());
            pool::used(cx, key, scope.sessions, scope.engines);
            return action.into();
        }
    } else if let Some(uuid) = view.refers("pool_group_ref")
        && let Some(group) = cx.follow(from, held, "pool_group_ref", "poolgroup", &uuid)
        && let Some(name) = pool::group(cx, from, &group, &key(uuid), scope.sessions, scope.engines)
    {
        return Part::default().with("pool_group", name).into();
    }
    nowhere(cx, from, child, listener)
}

/// A pool without servers: the connection is closed.
fn nowhere(cx: &mut Cx<'_>, from: &mut Making, child: &Child, listener: &Listener) -> Value {
    let name = pool::nothing(cx, from, &child.held, &format!("{}/{}", listener.name, child.held.uuid));
    Part::default().with("pool", name).into()
}
