//! Settings that the engine would not act on: not yet at all, or not beside what else the document says.
//!
//! Each is refused, so that nobody relies on what does not happen. A setting at its default is not one.

use std::collections::BTreeSet;

use forebay_core::policy::{Action, Rule};

use crate::health::HttpsMonitor;
use crate::persistence::Persistence;
use crate::pool::{Algorithm, FailAction, FailKind, HashBy, Pool, RequestQueue, ServerDisable};
use crate::profile::HttpProfile;
use crate::read::{Reader, printable};
use crate::service::{EscapedSlashes, VirtualService};
use crate::{HealthMonitor, Snapshot};

pub(crate) fn find(reader: &mut Reader, snapshot: &Snapshot) {
    for (index, pool) in snapshot.pool.iter().enumerate() {
        let at = format!("pool[{index}]");
        planned(reader, &at, pool);
        beside_algorithm(reader, &at, pool);
        header_values(reader, &at, pool, snapshot);
        if !pool.server_reselect.enabled && !pool.server_reselect.statuses.is_empty() {
            let reason = "no status leads to another try while enabled = false";
            report(
                reader,
                &format!("{at}.server_reselect.statuses"),
                reason,
                "set enabled = true, or remove it",
            );
        }
        without_queue(reader, &at, pool);
        if pool.http2_fallback && !reader.is_bad(&format!("{at}.enable_http2")) {
            let missing = [("enable_http2 = true", !pool.enable_http2), ("tls", pool.tls.is_none())];
            for (what, _) in missing.into_iter().filter(|(_, is_missing)| *is_missing) {
                let reason = format!("without {what} no server is asked which version it speaks");
                report(
                    reader,
                    &format!("{at}.http2_fallback"),
                    &reason,
                    &format!("add {what}, or remove it"),
                );
            }
        }
        let persistent = pool.server_disable == ServerDisable::AllowPersistent;
        if persistent && pool.persistence.is_none() && !reader.is_bad(&format!("{at}.persistence")) {
            let reason = "no client is bound to a server, because the pool has no persistence";
            let fix = "name a [[persistence]] in the pool, or remove it";
            report(reader, &format!("{at}.server_disable"), reason, fix);
        }
        fail_action(reader, &at, &pool.fail_action);
    }
    for (index, group) in snapshot.pool_group.iter().enumerate() {
        fail_action(reader, &format!("pool_group[{index}]"), &group.fail_action);
    }
    for (index, profile) in snapshot.http_profile.iter().enumerate() {
        let at = format!("http_profile[{index}]");
        let is_set = profile.upgraded_idle_timeout_ms != HttpProfile::default().upgraded_idle_timeout_ms;
        if is_set && !profile.websockets && !reader.is_bad(&format!("{at}.websockets")) {
            let reason = "no connection is upgraded while websockets = false";
            let fix = "set websockets = true, or remove it";
            report(reader, &format!("{at}.upgraded_idle_timeout_ms"), reason, fix);
        }
        let is_set = profile.http2_initial_window_kib != HttpProfile::default().http2_initial_window_kib;
        if is_set && !profile.http2 && !reader.is_bad(&format!("{at}.http2")) {
            let reason = "no client speaks HTTP/2 while http2 = false";
            report(
                reader,
                &format!("{at}.http2_initial_window_kib"),
                reason,
                "set http2 = true, or remove it",
            );
        }
    }
    if snapshot.engine.group.is_some() && snapshot.engine.user.is_none() {
        let reason = "without engine.user the engine stays who it is";
        report(reader, "engine.group", reason, "add user = \"...\", or remove it");
    }
    for (index, monitor) in snapshot.health_monitor.iter().enumerate() {
        if let HealthMonitor::Https(https) = monitor {
            client_certificate(reader, &format!("health_monitor[{index}]"), https);
        }
    }
    rules(reader, snapshot);
}

/// A certificate without its key, or a key without its certificate.
//= CFG-IGNORED-02
fn client_certificate(reader: &mut Reader, at: &str, monitor: &HttpsMonitor) {
    let keys = ["client_certificate_file", "client_key_file"];
    let (there, missing) = match (&monitor.client_certificate_file, &monitor.client_key_file) {
        (Some(_), None) => (keys[0], keys[1]),
        (None, Some(_)) => (keys[1], keys[0]),
        _ => return,
    };
    if !reader.is_bad(&format!("{at}.{missing}")) {
        let reason = format!("nobody is shown a certificate without {missing}");
        report(reader, &format!("{at}.{there}"), &reason, &format!("add {missing}, or remove it"));
    }
}

pub(crate) fn report(reader: &mut Reader, path: &str, reason: &str, fix: &str) {
    if !reader.is_bad(path) {
        reader.report(path, reason, fix);
    }
}

/// How requests wait, where none does.
//= CFG-IGNORED-02
fn without_queue(reader: &mut Reader, at: &str, pool: &Pool) {
    let (queue, default) = (&pool.request_queue, RequestQueue::default());
    if queue.enabled || reader.is_bad(&format!("{at}.request_queue.enabled")) {
        return;
    }
    for (key, is_set) in
        [("depth", queue.depth != default.depth), ("timeout_ms", queue.timeout_ms != default.timeout_ms)]
    {
        if is_set {
            let fix = "set enabled = true, or remove it";
            report(
                reader,
                &format!("{at}.request_queue.{key}"),
                "no request waits while enabled = false",
                fix,
            );
        }
    }
}

/// What the decision core can do and the engine does not feed yet.
//= CFG-IGNORED-01
fn planned(reader: &mut Reader, at: &str, pool: &Pool) {
    let default = Pool::default();
    if pool.algorithm == Algorithm::FewestTasks {
        let reason = "it needs a monitor that reports tasks, which is planned";
        let fix = "use least_connections, or least_load, until then";
        report(reader, &format!("{at}.algorithm"), reason, fix);
    }
    if pool.fewest_tasks_feedback_delay_s != default.fewest_tasks_feedback_delay_s {
        let reason = "no monitor reports tasks yet: it is planned";
        report(reader, &format!("{at}.fewest_tasks_feedback_delay_s"), reason, "remove it");
    }
}

//= CFG-IGNORED-02
fn beside_algorithm(reader: &mut Reader, at: &str, pool: &Pool) {
    if reader.is_bad(&format!("{at}.algorithm")) && pool.algorithm != Algorithm::FewestTasks {
        return;
    }
    let default = Pool::default();
    let only = [
        ("hash_by", Algorithm::ConsistentHash, pool.hash_by != default.hash_by),
        ("hash_load_max_percent", Algorithm::ConsistentHash, pool.hash_load_max_percent != 0),
        ("ignore_server_port", Algorithm::ConsistentHash, pool.ignore_server_port),
        ("round_robin_per_engine", Algorithm::RoundRobin, pool.round_robin_per_engine),
        ("core_nonaffinity", Algorithm::CoreAffinity, pool.core_nonaffinity != default.core_nonaffinity),
    ];
    for (key, reads, is_set) in only {
        if is_set && pool.algorithm != reads {
            let reason = format!("algorithm = \"{}\" does not read it", pool.algorithm);
            let fix = format!("set algorithm = \"{reads}\", or remove it");
            report(reader, &format!("{at}.{key}"), &reason, &fix);
        }
    }
}

//= CFG-IGNORED-02
fn header_values(reader: &mut Reader, at: &str, pool: &Pool, snapshot: &Snapshot) {
    let named = pool.persistence.as_ref();
    let kind = named.and_then(|name| snapshot.persistence.iter().find(|p| p.name() == name));
    // A persistence that is not there is a problem of its own.
    if matches!(kind, Some(Persistence::CustomHeader(_))) || (named.is_some() && kind.is_none()) {
        return;
    }
    for (n, _) in pool.server.iter().enumerate().filter(|(_, server)| server.header_value.is_some()) {
        let reason = "no persistence of type custom_header reads it";
        let fix = "name such a [[persistence]] in the pool, or remove it";
        report(reader, &format!("{at}.server[{n}].header_value"), reason, fix);
    }
}

//= CFG-IGNORED-02
fn fail_action(reader: &mut Reader, at: &str, action: &FailAction) {
    let closes = action.action == FailKind::CloseConnection;
    let at = format!("{at}.fail_action");
    if reader.is_bad(&format!("{at}.action")) {
        return;
    }
    let reason = format!("action = \"{}\" sends none", action.action);
    let fix = "set action = \"local_response\", or remove it";
    if closes && action.status.is_some() {
        report(reader, &format!("{at}.status"), &reason, fix);
    }
    if action.action != FailKind::LocalResponse && !action.body.is_empty() {
        report(reader, &format!("{at}.body"), &reason, fix);
    }
}

/// The pools that may serve a service: its own, those of its group, and those that its rules and routes name.
pub(crate) fn reach<'s>(service: &'s VirtualService, snapshot: &'s Snapshot) -> BTreeSet<&'s str> {
    let actions = || service.rules.iter().flat_map(|rule| &rule.then);
    let groups: BTreeSet<&str> = actions()
        .filter_map(|action| match action {
            Action::PoolGroup(name) => Some(name.as_str()),
            _ => None,
        })
        .chain(service.pool_group.as_deref())
        .chain(service.sni_routes.iter().filter_map(|route| route.pool_group.as_deref()))
        .collect();
    let members = snapshot.pool_group.iter().filter(|group| groups.contains(group.name.as_str()));
    actions()
        .filter_map(|action| match action {
            Action::Pool(name) => Some(name.as_str()),
            _ => None,
        })
        .chain(service.pool.as_deref())
        .chain(service.sni_routes.iter().filter_map(|route| route.pool.as_deref()))
        .chain(members.flat_map(|group| group.member.iter().map(|member| member.pool.as_str())))
        .collect()
}

fn hashes_by_rule(pool: &Pool) -> bool {
    pool.algorithm == Algorithm::ConsistentHash && pool.hash_by == HashBy::CustomString
}

/// Actions of rules that nothing would follow, and what nothing would give.
//= CFG-IGNORED-01
//= CFG-IGNORED-02
fn rules(reader: &mut Reader, snapshot: &Snapshot) {
    // A pool that is not there is a problem of its own.
    let by_rule =
        |name: &&str| snapshot.pool.iter().find(|pool| pool.name == *name).is_none_or(hashes_by_rule);
    for (index, service) in snapshot.virtual_service.iter().enumerate() {
        let pools = reach(service, snapshot);
        let hashes = pools.iter().any(by_rule);
        for (r, rule) in service.rules.iter().enumerate() {
            for (a, action) in rule.then.iter().enumerate() {
                let path = format!("virtual_service[{index}].rules[{r}].then[{a}]");
                match action {
                    Action::Persist(..) => {
                        let reason = "the action persist is not carried out on traffic yet: it is planned";
                        let fix = "remove it, and give the pool a [[persistence]]";
                        report(reader, &path, reason, fix);
                    }
                    Action::HashBy(_) if !hashes => {
                        let reason = "no pool of the service hashes by a rule's text";
                        let fix =
                            "give a pool algorithm = \"consistent_hash\" and hash_by = \"custom_string\"";
                        report(reader, &path, reason, fix);
                    }
                    _ => {}
                }
            }
        }
        without_paths(reader, index, service);
        without_text(reader, index, service, snapshot, &pools);
    }
}

/// A choice for paths with an escaped slash, where no rule compares a path: they pass as they are.
//= CFG-IGNORED-02
fn without_paths(reader: &mut Reader, index: usize, service: &VirtualService) {
    let compares = |rule: &Rule| {
        let replaces = |action: &Action| matches!(action, Action::ReplacePrefix(..));
        rule.when.path.is_some() || rule.then.iter().any(replaces)
    };
    let unread = reader.is_bad_within(&format!("virtual_service[{index}].rules"));
    if service.escaped_slashes != EscapedSlashes::Refuse && !unread && !service.rules.iter().any(compares) {
        let reason = "no rule of the service compares a path";
        report(reader, &format!("virtual_service[{index}].escaped_slashes"), reason, "remove it");
    }
}

/// Pools that hash by a rule's text behind a service none of whose rules gives one: they would hash the client's
/// address instead.
//= CFG-IGNORED-02
fn without_text(
    reader: &mut Reader,
    index: usize,
    service: &VirtualService,
    snapshot: &Snapshot,
    pools: &BTreeSet<&str>,
) {
    let mut actions = service.rules.iter().filter(|rule| rule.enabled).flat_map(|rule| &rule.then);
    let gives = actions.any(|action| matches!(action, Action::HashBy(_)));
    // The rule that gives it may be one that could not be read.
    let unread = reader.is_bad_within(&format!("virtual_service[{index}].rules"));
    if gives || unread {
        return;
    }
    for (p, pool) in snapshot.pool.iter().enumerate() {
        if pools.contains(pool.name.as_str()) && hashes_by_rule(pool) {
            let reason = format!(
                "no rule of virtual_service \"{}\" gives the text that it hashes",
                printable(&service.name)
            );
            let fix = "add { hash_by = { header = \"x-...\" } } (or cookie, query, path, host) to a rule of that service, \
                       or hash by something else";
            report(reader, &format!("pool[{p}].hash_by"), &reason, fix);
        }
    }
}
