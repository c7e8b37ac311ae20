//! Children as rules of their parent's service.

use forebay_snapshot::core_limits::{GROUP_VALUES_MAX, MATCH_VALUES_MAX, RULES_MAX};
use toml::{Table, Value};

use super::super::cx::{Cx, Making};
use super::super::place::Held;
use super::super::policy::{self, Scope};
use super::super::pool::{self, PoolKey};
use super::super::service::Listener;
use super::super::table::Part;
use super::super::tls;
use super::hosts::{Conditions, can_be_held_off, held_off, held_to};
use super::{Child, own, trace};

/// Rules of a service that are kept free of children: one that leads to its TLS ports, and two that close the hosts of
/// children for which there is no room.
const RULES_KEPT: usize = 3;

/// How closely a claim names requests: of several the first holds.
type Rank = (bool, usize, usize);

/// One that comes after all that name a host and a path, and before those for hosts of any name.
const WHOLE_HOSTS: Rank = (false, usize::MAX, usize::MAX);
/// One that comes last.
const LAST: Rank = (true, usize::MAX, usize::MAX);

/// How closely a condition names a path: longer texts go before shorter ones.
fn length(path: Option<&Table>) -> usize {
    let texts = path.into_iter().flat_map(|path| path.values().filter_map(Value::as_array).flatten());
    texts.filter_map(Value::as_str).map(str::len).min().unwrap_or(0)
}

/// The rules of a service with children: theirs, and then its own, which count for no host of a child.
//= COMPILE-CHILD-01
pub(in super::super) fn rules(
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
    let mut room = RULES_MAX.saturating_sub(RULES_KEPT + own.len());
    let mut rules: Vec<(&str, Value)> = Vec::new();
    let mut ways: Vec<(Rank, &str, Value)> = Vec::new();
    let (mut kept, mut closed) = (Vec::new(), Vec::new());
    // The eldest first: where there is no room, the younger ones go without.
    for child in &here {
        let uuid = child.held.uuid.as_str();
        let mut from = Making::new(String::new(), &child.held);
        let (mut made, then) = match child.is_shut {
            // Nowhere: a rule that ended the request would end those of closer hosts and paths too.
            true => {
                (Vec::new(), nowhere(cx, &mut from, &child.held, &format!("{}/{uuid}", scope.listener.name)))
            }
            false => {
                apart(&mut from, child, &own);
                let made = of_child(cx, &mut from, child, &here, scope, !own.is_empty());
                (made, target(cx, &mut from, child, scope))
            }
        };
        let mut own_ways = ways_to(cx, &mut from, child, scope.listener, &then);
        //= COMPILE-CHILD-02
        match room.checked_sub(made.len() + own_ways.len()) {
            Some(left) => {
                room = left;
                kept.push(*child);
                rules.extend(made.drain(..).map(|rule| (uuid, rule)));
                ways.append(&mut own_ways);
                making.needs.extend(from.needs.iter().cloned());
            }
            None => {
                let (needed, most) = (made.len() + own_ways.len(), RULES_MAX - RULES_KEPT);
                let reason = format!(
                    "it needs {needed} rules of its parent, which has {room} left of {most} for its own and its children's"
                );
                from.wrong(
                    &child.held,
                    "vh_parent_vs_ref",
                    reason,
                    "give some children a parent of their own",
                );
                closed.extend(child.whole_hosts());
            }
        }
        trace(cx, uuid, from);
    }
    if !closed.is_empty() {
        ways.extend(closing(cx, making, parent, scope.listener, &closed));
    }
    ways.sort_by_key(|(rank, ..)| *rank);
    let ways = ways.into_iter().map(|(_, uuid, rule)| (uuid, rule));
    let (owners, mut all): (Vec<&str>, Vec<Value>) = rules.into_iter().chain(ways).unzip();
    making.owners = owners.into_iter().map(|uuid| (!uuid.is_empty()).then(|| uuid.to_owned())).collect();
    for mut rule in own {
        // Of a host of which a child has some paths the rest is the parent's, and under its rules. Where it cannot be told
        // which hosts a rule means, the child is shut: then the rule ends requests that would have led nowhere.
        let apart = kept.iter().filter(|child| can_be_held_off(&rule, child.whole_hosts()));
        let hosts: Vec<&str> = apart.flat_map(|child| child.whole_hosts()).collect();
        let name = format!("{}/children", scope.listener.name);
        let mut conditions = Conditions { cx: &mut *cx, making: &mut *making, held: parent, name };
        if rule.as_table_mut().is_none_or(|rule| held_off(rule, &hosts, &mut conditions)) {
            all.push(rule);
        }
    }
    all
}

/// Where a child's requests go: a rule for all hosts that it names whole, and one for each other claim.
fn ways_to<'c>(
    cx: &mut Cx<'_>,
    from: &mut Making,
    child: &'c Child,
    listener: &Listener,
    then: &Value,
) -> Vec<(Rank, &'c str, Value)> {
    let uuid = child.held.uuid.as_str();
    let is_whole = |host: &str, path: Option<&Table>| path.is_none() && !host.starts_with('*');
    let mut ways = Vec::new();
    let mut way = |rank: Rank, at: usize, host: Value, path: Option<&Table>| {
        let mut when = Part::default();
        when.set("host", host);
        when.set_some("path", path.cloned());
        let mut rule = Part::named(&format!("{uuid} {at}"));
        rule.set("when", when);
        rule.set_list("then", [then.clone()]);
        ways.push((rank, uuid, rule.into()));
    };
    let name = format!("{}/{uuid}", listener.name);
    let mut conditions = Conditions { cx, making: from, held: &child.held, name };
    if let Some(first) = child.claims.iter().position(|claim| is_whole(&claim.host, claim.path.as_ref())) {
        let plain = child.whole_hosts().filter(|host| is_whole(host, None));
        way(WHOLE_HOSTS, first, conditions.on(plain, false), None);
    }
    for (at, claim) in child.claims.iter().enumerate() {
        let path = claim.path.as_ref();
        if !is_whole(&claim.host, path) {
            let (is_any, host) = (claim.host.starts_with('*'), claim.host.as_str());
            let rank = (is_any, usize::MAX - host.len(), usize::MAX - length(path));
            way(rank, at, conditions.on(std::iter::once(host), false), path);
        }
    }
    ways
}

/// The hosts of children for which there is no room lead nowhere. For those that are too many even so the parent stands in.
fn closing(
    cx: &mut Cx<'_>,
    making: &mut Making,
    parent: &Held,
    listener: &Listener,
    hosts: &[&str],
) -> Vec<(Rank, &'static str, Value)> {
    let then = nowhere(cx, making, parent, &format!("{}/closed", listener.name));
    let (globs, plain): (Vec<&str>, Vec<&str>) = hosts.iter().partition(|host| host.starts_with('*'));
    let mut ways = Vec::new();
    let name = format!("{}/closed", listener.name);
    let lists = [(WHOLE_HOSTS, plain, GROUP_VALUES_MAX), (LAST, globs, MATCH_VALUES_MAX)];
    for (number, (rank, hosts, most)) in lists.into_iter().enumerate() {
        if hosts.is_empty() {
            continue;
        }
        let mut conditions =
            Conditions { cx: &mut *cx, making: &mut *making, held: parent, name: name.clone() };
        let host = conditions.on(hosts.into_iter().take(most), false);
        let mut rule = Part::named(&format!("{} closed {number}", listener.name));
        rule.set("when", Part::default().with("host", host));
        rule.set_list("then", [then.clone()]);
        ways.push((rank, "", rule.into()));
    }
    ways
}

/// Says so where it cannot be told which requests of a child a rule of its parent means.
fn apart(from: &mut Making, child: &Child, own: &[Value]) {
    for rule in own.iter().filter(|rule| !can_be_held_off(rule, child.whole_hosts())) {
        let name = rule.get("name").and_then(Value::as_str).unwrap_or_default();
        let reason = format!("the rule {name} of its parent compares hosts, and may mean those of the child");
        let fix = "name the hosts in that rule by HDR_EQUALS, or give the child another parent";
        from.wrong(&child.held, "vh_parent_vs_ref", reason, fix);
    }
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
    let other = |uuid: &String| !is_parents(scope, uuid);
    if held.view().refers("network_profile_ref").is_some_and(|uuid| other(&uuid)) {
        let reason = "a child's connections are its parent's";
        from.idle(held, "network_profile_ref", reason, "set it in the parent");
    }
    //= COMPILE-GUARD-01
    if let Some(uuid) = held.view().refers("application_profile_ref").filter(|uuid| !is_parents(scope, uuid))
        && let Some(profile) = cx.follow(from, held, "application_profile_ref", "applicationprofile", &uuid)
        && tls::asks(&profile)
    {
        let reason =
            "it asks clients for certificates, and those of all children are asked as its parent says";
        from.wrong(
            held,
            "application_profile_ref",
            reason,
            "let the parent ask, or make it a service of its own",
        );
    }
    let hosts = child.own_hosts(here.iter().copied());
    let application = child.application(cx, &mut Making::new(String::new(), held), scope.listener);
    let application = application.filter(|_| !hosts.is_empty());
    let own = application.map(|profile| scope.listener.by(scope.listener.name.clone(), profile));
    let by = Scope { listener: own.as_ref().unwrap_or(scope.listener), ..*scope };
    let made = policy::rules(cx, from, held, &by);
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
        let group = format!("{}/{}", scope.listener.name, held.uuid);
        let mut conditions = Conditions { cx: &mut *cx, making: &mut *from, held, name: group };
        match held_to(table, &child.hosts().collect::<Vec<_>>(), &mut conditions) {
            Some(true) => rules.push(rule),
            Some(false) => {}
            None => {
                let reason = format!("{name} compares hosts, and the child has hosts of all names");
                from.wrong(held, "http_policies", reason, "name the hosts in the rule by HDR_EQUALS");
            }
        }
    }
    if let Some(own) = own.filter(|_| scope.may_redirect) {
        rules.extend(own::to_tls(cx, from, child, &hosts, &own));
    }
    rules
}

fn is_parents(scope: &Scope<'_>, uuid: &str) -> bool {
    scope.listener.application.uuid == uuid || scope.listener.network.uuid == uuid
}

/// Where a child's requests go.
fn target(cx: &mut Cx<'_>, from: &mut Making, child: &Child, scope: &Scope<'_>) -> Value {
    let (held, listener) = (&child.held, scope.listener);
    let view = held.view();
    if let Some(uuid) = view.refers("pool_ref") {
        if cx.follow(from, held, "pool_ref", "pool", &uuid).is_some() {
            let key = PoolKey::of(cx, "pool", uuid, listener);
            from.needs("pool", &key.name());
            let action = Part::default().with("pool", key.name());
            pool::used(cx, key, scope.sessions, scope.engines);
            return action.into();
        }
    } else if let Some(uuid) = view.refers("pool_group_ref")
        && let Some(group) = cx.follow(from, held, "pool_group_ref", "poolgroup", &uuid)
    {
        let key = PoolKey::of(cx, "poolgroup", uuid, listener);
        if let Some(name) = pool::group(cx, from, &group, &key, scope.sessions, scope.engines) {
            return Part::default().with("pool_group", name).into();
        }
    }
    nowhere(cx, from, held, &format!("{}/{}", listener.name, held.uuid))
}

/// A pool without servers: the connection is closed.
fn nowhere(cx: &mut Cx<'_>, from: &mut Making, held: &Held, name: &str) -> Value {
    Part::default().with("pool", pool::nothing(cx, from, held, name)).into()
}
