//! Policies, as rules of the engine: who may come in first, then what is done with requests, then with answers.
//!
//! A rule that the engine cannot carry out as it stands is not left out: its service is.

use toml::Value;

use super::actions;
use super::cx::{Cx, Making};
use super::matching;
use super::networks::Networks;
use super::place::Held;
use super::pool::Speaks;
use super::rates;
use super::service::Listener;
use super::table::Part;

/// Characters of a rule's name.
const NAME_CHARS_MAX: usize = 128;

/// What keeps clients out of a service, and no engine can do.
//= COMPILE-GUARD-01
const GUARDS: &[&str] = &[
    "waf_policy_ref",
    "sso_policy_ref",
    "security_policy_ref",
    "bot_policy_ref",
    "csrf_policy_ref",
    "jwt_config",
    "ldap_vs_config",
    "saml_sp_config",
    "oauth_vs_config",
];

/// What rules of a service may use.
pub(super) struct Scope<'l> {
    pub listener: &'l Listener,
    pub sessions: bool,
    pub engines: u32,
    /// Its service has ports with TLS, to which those without may send their clients.
    pub may_redirect: bool,
}

/// The rules of a service, or of a child.
//= COMPILE-RULES-01
pub(super) fn rules(cx: &mut Cx<'_>, making: &mut Making, held: &Held, scope: &Scope<'_>) -> Vec<Value> {
    let view = held.view();
    for name in GUARDS.iter().filter(|name| view.has(name)) {
        let reason = "no engine can do it, and without it clients would come in that it keeps out";
        making.wrong(held, name, reason, "leave it out, if they may come in");
    }
    if scope.listener.speaks != Speaks::Http {
        for name in ["network_security_policy_ref", "http_policies", "l4_policies"] {
            let is_there = match name {
                "network_security_policy_ref" => view.has(name),
                _ => view.entries(name).next().is_some(),
            };
            if is_there {
                let reason = "its service passes bytes on unread, and no engine judges connections yet";
                making.wrong(held, name, reason, "leave it out, or serve HTTP");
            }
        }
        return Vec::new();
    }
    if view.entries("l4_policies").next().is_some() {
        making.wrong(held, "l4_policies", "no engine judges connections yet", "use http_policies");
    }
    let mut rules = Vec::new();
    if let Some(uuid) = view.refers("network_security_policy_ref") {
        let field = "network_security_policy_ref";
        if let Some(policy) = cx.follow(making, held, field, "networksecuritypolicy", &uuid) {
            rules.extend(network(cx, making, &policy, scope.listener));
        }
    }
    rules.extend(rates::of_service(making, held, &scope.listener.application));
    let mut sets = Vec::new();
    for (at, entry) in view.entries("http_policies") {
        let field = format!("http_policies[{at}].http_policy_set_ref");
        let uuid = entry.refers("http_policy_set_ref").unwrap_or_default();
        if let Some(set) = cx.follow(making, held, &field, "httppolicyset", &uuid) {
            sets.push((entry.int("index").unwrap_or(0), set));
        }
    }
    sets.sort_by_key(|(index, _)| *index);
    for kind in ["http_security_policy", "http_request_policy", "http_response_policy"] {
        for (index, set) in &sets {
            rules.extend(of_set(cx, making, (*index, set), kind, scope));
        }
    }
    rules
}

/// A rule's name: it stands once in a service, and says where to look.
pub(super) fn named(place: &str, name: &str) -> String {
    let plain = name.chars().filter(|char| !char.is_control());
    format!("{place} ").chars().chain(plain).take(NAME_CHARS_MAX).collect::<String>().trim().to_owned()
}

/// The rules of one part of a set of policies.
fn of_set(
    cx: &mut Cx<'_>,
    making: &mut Making,
    (turn, set): (i64, &Held),
    kind: &str,
    scope: &Scope<'_>,
) -> Vec<Value> {
    let is_of_answers = kind == "http_response_policy";
    let mut rules = Vec::new();
    let inner = set.view().part(kind);
    let mut entries: Vec<_> = inner.entries("rules").filter(|(_, rule)| rule.is_on("enable")).collect();
    entries.sort_by_key(|(_, rule)| rule.int("index"));
    let last = entries.len().saturating_sub(1);
    for (turn_of_rule, (at, rule)) in entries.into_iter().enumerate() {
        let path = format!("{kind}.rules[{at}]");
        let place = (set, path.as_str());
        let then = match kind {
            "http_security_policy" => actions::security(making, place, rule, turn_of_rule == last),
            "http_request_policy" => actions::request(cx, making, place, rule, scope),
            _ => actions::response(making, place, rule),
        };
        if then.is_empty() {
            continue;
        }
        let at = format!("{path}.match");
        let target = rule.part("match");
        let Some(when) = matching::when(cx, making, (set, &at), target, scope.listener, is_of_answers) else {
            continue;
        };
        let short = kind.trim_start_matches("http_").trim_end_matches("_policy");
        let place = format!("{turn}/{short}/{}", rule.int("index").unwrap_or(0));
        let mut part = Part::named(&named(&place, rule.text("name")));
        part.set("when", when);
        part.set("then", Value::Array(then));
        rules.push(Value::from(part));
    }
    rules
}

/// Who may connect: the first rule that names a client's address decides, so each one is for those that none before it names.
//= COMPILE-NETWORK-01
fn network(cx: &mut Cx<'_>, making: &mut Making, policy: &Held, listener: &Listener) -> Vec<Value> {
    let view = policy.view();
    let mut entries: Vec<_> = view.entries("rules").filter(|(_, rule)| rule.is_on("enable")).collect();
    entries.sort_by_key(|(_, rule)| rule.int("index"));
    let mut decided = Networks::default();
    let mut rules = Vec::new();
    for (at, rule) in entries {
        let path = format!("rules[{at}].match");
        let by = rule.part("match");
        for name in ["client_port", "microservice", "geo_matches", "ip_reputation_type"] {
            if by.has(name) {
                let reason =
                    "no engine can judge it, and without it the rule would hold for more than it says";
                making.wrong(
                    policy,
                    &format!("{path}.{name}"),
                    reason,
                    "leave it out, or switch the rule off",
                );
            }
        }
        let ports = by.some_part("vs_port");
        let at_ports = format!("{path}.vs_port");
        if ports.is_some_and(|ports| !matching::of_ports(making, policy, &at_ports, ports, listener)) {
            continue;
        }
        let named = match by.some_part("client_ip") {
            Some(by) => Networks::matched(cx, making, policy, &format!("{path}.client_ip"), by),
            None => Networks::all(),
        };
        let left = named.without(&decided);
        decided = decided.with(&named);
        let then = match rule.text("action") {
            "NETWORK_SECURITY_POLICY_ACTION_TYPE_DENY" => Value::from("close"),
            "NETWORK_SECURITY_POLICY_ACTION_TYPE_RATE_LIMIT" => {
                let by = rule.part("rl_param");
                let (count, burst) = (by.int("max_rate").unwrap_or(1), by.int("burst_size").unwrap_or(0));
                rates::limit(count, 1, burst, true, 0)
            }
            _ => continue,
        };
        if left.is_empty() {
            continue;
        }
        let index = rule.int("index").unwrap_or(0);
        let mut part = Part::named(&named_of(index, rule.text("name")));
        if !left.are_all() {
            let group = format!("{}/{}/{index}", policy.uuid, listener.name);
            let held = Making::new(format!("address_group/{group}"), policy);
            let mut list = Part::named(&group);
            list.set_list("prefixes", left.prefixes());
            cx.done(held, list);
            making.needs("address_group", &group);
            let mut client = Part::default();
            client.set_list("in_group", [group]);
            part.set("when", Part::default().with("client", client));
        }
        part.set_list("then", [then]);
        rules.push(Value::from(part));
    }
    rules
}

fn named_of(index: i64, name: &str) -> String {
    named(&format!("network/{index}"), name)
}
