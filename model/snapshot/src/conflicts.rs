//! What is wrong between the parts of a document, each part being right by itself.
//!
//! A conflict names both sides. A place that was already found wrong is not judged again, because its value
//! is only a filler.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use forebay_core::id::{GroupId, PoolId, ServerId};
use forebay_core::policy::{self, Policy};

use crate::health::{HealthMonitor, StatusRange};
use crate::limits;
use crate::persistence::Persistence;
use crate::pool::{Algorithm, FailAction, FailKind, HashBy, Pool};
use crate::read::{Reader, printable};
use crate::service::Protocol;
use crate::{Snapshot, name_id, nearest, rules};

/// The names of one kind of object, for references.
struct Names<'s> {
    kind: &'static str,
    names: Vec<&'s str>,
    /// Whether every name is known; if not, a reference that dangles may only seem to.
    whole: bool,
}

pub(crate) fn find(reader: &mut Reader, snapshot: &Snapshot) {
    let pools = Names::unique(reader, "pool", snapshot.pool.iter().map(|p| p.name.as_str()));
    let groups = Names::unique(reader, "pool_group", snapshot.pool_group.iter().map(|g| g.name.as_str()));
    let persistence =
        Names::unique(reader, "persistence", snapshot.persistence.iter().map(|p| p.name().as_str()));
    let monitors =
        Names::unique(reader, "health_monitor", snapshot.health_monitor.iter().map(|m| m.name().as_str()));
    let mut profiles =
        Names::unique(reader, "http_profile", snapshot.http_profile.iter().map(|p| p.name.as_str()));
    profiles.names.push("default");
    let mut tcp = Names::unique(reader, "tcp_profile", snapshot.tcp_profile.iter().map(|p| p.name.as_str()));
    let mut udp = Names::unique(reader, "udp_profile", snapshot.udp_profile.iter().map(|p| p.name.as_str()));
    tcp.names.push("default");
    udp.names.push("default");
    let certificates =
        Names::unique(reader, "certificate", snapshot.certificate.iter().map(|c| c.name.as_str()));
    let mut tls = Names::unique(reader, "tls_profile", snapshot.tls_profile.iter().map(|p| p.name.as_str()));
    tls.names.push("default");
    let pki = Names::unique(reader, "pki_profile", snapshot.pki_profile.iter().map(|p| p.name.as_str()));
    let services: Vec<&str> = snapshot.virtual_service.iter().map(|vs| vs.name.as_str()).collect();
    Names::unique(reader, "virtual_service", services.iter().copied());
    same_id(reader, "virtual_service", &services);
    same_id(reader, "pool", &pools.names);
    same_id(reader, "pool_group", &groups.names);

    listening(reader, snapshot);
    own_files(reader, snapshot);
    rules_of(reader, snapshot, &pools, &groups);
    for (index, service) in snapshot.virtual_service.iter().enumerate() {
        let at = format!("virtual_service[{index}]");
        // Who asks for no name of the routes is refused where nothing else serves it.
        if service.pool.is_some() || service.pool_group.is_some() || service.sni_routes.is_empty() {
            served_by(reader, &at, (&service.pool, &pools), (&service.pool_group, &groups));
        }
        for (n, route) in service.sni_routes.iter().enumerate() {
            let at = format!("{at}.sni_routes[{n}]");
            served_by(reader, &at, (&route.pool, &pools), (&route.pool_group, &groups));
        }
        profiles.resolve(reader, &format!("{at}.http_profile"), &service.http_profile);
        tcp.resolve(reader, &format!("{at}.tcp_profile"), &service.tcp_profile);
        udp.resolve(reader, &format!("{at}.udp_profile"), &service.udp_profile);
        tls.resolve(reader, &format!("{at}.tls_profile"), &service.tls_profile);
        if let Some(name) = &service.client_certificate.pki_profile {
            pki.resolve(reader, &format!("{at}.client_certificate.pki_profile"), name);
        }
        for (n, own) in service.hosts.iter().enumerate() {
            let at = format!("{at}.hosts[{n}]");
            if let Some(name) = &own.http_profile {
                profiles.resolve(reader, &format!("{at}.http_profile"), name);
            }
            if let Some(name) = &own.tls_profile {
                tls.resolve(reader, &format!("{at}.tls_profile"), name);
            }
        }
        for (n, name) in service.certificates.iter().enumerate() {
            certificates.resolve(reader, &format!("{at}.certificates[{n}]"), name);
        }
    }
    for (index, group) in snapshot.pool_group.iter().enumerate() {
        let at = format!("pool_group[{index}]");
        if group.member.is_empty() {
            reader.report(
                &format!("{at}.member"),
                "the group has no pool",
                "add member = [{ pool = \"...\" }]",
            );
        }
        if group.member.len() > limits::GROUP_MEMBERS_MAX {
            let reason =
                format!("{} pools, at most {} are taken", group.member.len(), limits::GROUP_MEMBERS_MAX);
            reader.report(&format!("{at}.member"), reason, "split the group");
        }
        let mut seen = BTreeMap::new();
        for (m, member) in group.member.iter().enumerate() {
            let path = format!("{at}.member[{m}].pool");
            pools.resolve(reader, &path, &member.pool);
            twice(reader, &mut seen, member.pool.as_str(), &path, "the pool is in the group already");
        }
        fail_action(reader, &at, &group.fail_action);
    }
    for (index, pool) in snapshot.pool.iter().enumerate() {
        let at = format!("pool[{index}]");
        references_of(reader, &at, pool, &persistence, &monitors);
        servers_of(reader, &at, pool);
        choices_of(reader, &at, pool, snapshot);
        fail_action(reader, &at, &pool.fail_action);
        if let Some(secured) = &pool.tls {
            tls.resolve(reader, &format!("{at}.tls.tls_profile"), &secured.tls_profile);
            if let Some(name) = &secured.certificate {
                certificates.resolve(reader, &format!("{at}.tls.certificate"), name);
            }
        }
    }
    for (index, monitor) in snapshot.health_monitor.iter().enumerate() {
        monitor_problems(reader, &format!("health_monitor[{index}]"), monitor);
    }
    crate::names::find(reader, snapshot);
    crate::loops::find(reader, snapshot);
    crate::ignored::find(reader, snapshot);
    crate::l4::find(reader, snapshot);
    crate::tls::find(reader, snapshot);
    crate::pool_tls::find(reader, snapshot);
    crate::sessions::find(reader, snapshot);
    crate::sni::find(reader, snapshot);
    crate::hosts::find(reader, snapshot);
    crate::inline::find(reader, snapshot);
    crate::objsync::find(reader, snapshot);
    cookies(reader, snapshot);
    let mut aes = BTreeMap::new();
    for (index, key) in snapshot.cookie_key.iter().enumerate() {
        let path = format!("cookie_key[{index}].key");
        twice(reader, &mut aes, key.key.expose(), &path, "the same key has another name");
    }
    let mut sealing = BTreeMap::new();
    for (index, key) in snapshot.ticket_key.iter().enumerate() {
        let path = format!("ticket_key[{index}].key");
        twice(reader, &mut sealing, key.key.expose(), &path, "the same key has another name");
    }
    Names::unique(reader, "ticket_key", snapshot.ticket_key.iter().map(|k| k.name.as_str()));
    let keys = Names::unique(reader, "cookie_key", snapshot.cookie_key.iter().map(|k| k.name.as_str()));
    for (index, persistence) in snapshot.persistence.iter().enumerate() {
        let Persistence::HttpCookie(cookie) = persistence else { continue };
        for (n, name) in cookie.cookie_keys.iter().enumerate() {
            keys.resolve(reader, &format!("persistence[{index}].cookie_keys[{n}]"), name);
        }
    }
    Names::unique(reader, "file", snapshot.file.iter().map(|file| file.name.as_str()));
    for (index, profile) in snapshot.http_profile.iter().enumerate() {
        let at = format!("http_profile[{index}]");
        for (name, bytes) in [
            ("field_bytes_max", profile.field_bytes_max),
            ("request_line_bytes_max", profile.request_line_bytes_max),
        ] {
            if bytes > profile.head_bytes_max {
                let reason = format!("{bytes} is more than head_bytes_max = {}", profile.head_bytes_max);
                reader.report(&format!("{at}.{name}"), reason, "lower it, or raise head_bytes_max");
            }
        }
    }
}

/// Says what serves: one pool or one group.
fn served_by(
    reader: &mut Reader,
    at: &str,
    (pool, pools): (&Option<String>, &Names<'_>),
    (group, groups): (&Option<String>, &Names<'_>),
) {
    match (pool, group) {
        (Some(pool), None) => pools.resolve(reader, &format!("{at}.pool"), pool),
        (None, Some(group)) => groups.resolve(reader, &format!("{at}.pool_group"), group),
        (Some(pool), Some(group)) => {
            let reason =
                format!("pool = {pool:?} and pool_group = {group:?} (at {at}.pool_group) are both given");
            reader.report(&format!("{at}.pool"), reason, "keep one of the two");
        }
        (None, None) => reader.report(at, "nothing serves it", "add pool = the name of a [[pool]]"),
    }
}

impl<'s> Names<'s> {
    /// Collects the names of a list and reports those that stand twice.
    fn unique(reader: &mut Reader, kind: &'static str, names: impl Iterator<Item = &'s str>) -> Self {
        let names: Vec<&str> = names.collect();
        let mut whole = true;
        let mut seen = BTreeMap::new();
        for (index, name) in names.iter().enumerate() {
            let path = format!("{kind}[{index}].name");
            // A name that is against a rule is known all the same; one that is missing is not.
            whole &= !name.is_empty();
            if name.is_empty() {
                continue;
            }
            twice(reader, &mut seen, *name, &path, &format!("the name \"{}\" is taken", printable(name)));
        }
        Self { kind, names, whole }
    }

    //= CFG-REF-01
    fn resolve(&self, reader: &mut Reader, path: &str, name: &str) {
        if self.whole && !reader.is_bad(path) && !self.names.contains(&name) {
            let fix = match nearest(name, self.names.iter().copied()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None if self.names.is_empty() => format!("add a [[{}]] of this name", self.kind),
                None => format!(
                    "name one of: {}",
                    self.names.iter().take(8).copied().collect::<Vec<_>>().join(", ")
                ),
            };
            reader.report(path, format!("no [[{}]] has the name \"{}\"", self.kind, printable(name)), fix);
        }
    }
}

/// Reports `path` if `value` was seen before, naming the other place.
//= CFG-CONFLICT-01
fn twice<K: Ord>(reader: &mut Reader, seen: &mut BTreeMap<K, String>, value: K, path: &str, what: &str) {
    if reader.is_bad(path) {
        return;
    }
    match seen.get(&value) {
        Some(first) => {
            let line = reader.line_of(first).map(|line| format!(", line {line}")).unwrap_or_default();
            let reason = format!("{what} (see {first}{line})");
            reader.report(path, reason, "change one of the two");
        }
        None => {
            seen.insert(value, path.to_owned());
        }
    }
}

fn same_id(reader: &mut Reader, kind: &str, names: &[&str]) {
    let mut ids: BTreeMap<u32, (&str, usize)> = BTreeMap::new();
    for (index, name) in names.iter().enumerate() {
        match ids.get(&name_id(name)) {
            Some((other, at)) if other != name => {
                let reason = format!("its id is also that of \"{}\" ({kind}[{at}].name)", printable(other));
                reader.report(&format!("{kind}[{index}].name"), reason, "rename one of the two");
            }
            Some(_) => {}
            None => {
                ids.insert(name_id(name), (name, index));
            }
        }
    }
}

/// Lets the core compile every service's rules, and puts its problems where they stand in the document.
//= CFG-RULE-01
fn rules_of(reader: &mut Reader, snapshot: &Snapshot, pools: &Names<'_>, groups: &Names<'_>) {
    for (index, service) in snapshot.virtual_service.iter().enumerate() {
        let config = service.policy(&snapshot.string_group, &snapshot.address_group);
        let named = |names: &Names<'_>, name: &str| !names.whole || names.names.contains(&name);
        let pool = |name: &str| named(pools, name).then(|| PoolId(name_id(name)));
        let group = |name: &str| named(groups, name).then(|| GroupId(name_id(name)));
        let problems = match Policy::new(&config, &policy::Names { pool: &pool, group: &group }) {
            // What is wrong with groups is said once, and of no service that asks no rule.
            Err(problems) if !service.rules.is_empty() => problems,
            _ => Vec::new(),
        };
        for problem in problems {
            let path = match problem.path.split_once("_groups") {
                Some((kind @ ("string" | "address"), rest)) => format!("{kind}_group{rest}"),
                _ => format!("virtual_service[{index}].{}", problem.path),
            };
            // What could not be read is only a filler.
            if !reader.is_bad_around(&path) {
                let ours = |text: String| {
                    text.replace("string_groups", "string_group").replace("address_groups", "address_group")
                };
                reader.report(&path, ours(problem.reason), ours(problem.fix));
            }
        }
        let mut seen = BTreeMap::new();
        for (r, rule) in service.rules.iter().enumerate() {
            let at = format!("virtual_service[{index}].rules[{r}]");
            let path = format!("{at}.name");
            if reader.is_bad(&at) || reader.is_bad(&path) {
                continue;
            }
            reader.keeps(&path, rules::name(&rule.name));
            let what = format!("the name \"{}\" is that of another rule", printable(&rule.name));
            twice(reader, &mut seen, rule.name.as_str(), &path, &what);
        }
    }
}

/// Reports a path that the engine wants for two things.
//= CFG-PATH-01
fn own_files(reader: &mut Reader, snapshot: &Snapshot) {
    let (socket, log) = (&snapshot.engine.admin_socket, &snapshot.engine.access_log.path);
    let steps = |path: &'_ str| -> Vec<String> {
        path.split('/').filter(|step| !matches!(*step, "" | ".")).map(str::to_owned).collect()
    };
    let is_same = socket.starts_with('/') == log.starts_with('/') && steps(socket) == steps(log);
    if is_same && !reader.is_bad("engine.admin_socket") && !reader.is_bad("engine.access_log.path") {
        let line = reader.line_of("engine.admin_socket").map(|l| format!(", line {l}")).unwrap_or_default();
        let reason = format!("{log:?} is the admin socket already (see engine.admin_socket{line})");
        reader.report("engine.access_log.path", reason, "name another file");
    }
}

/// Reports addresses that two listeners want.
//= CFG-LISTEN-01
fn listening(reader: &mut Reader, snapshot: &Snapshot) {
    let mut wanted: Vec<(String, SocketAddr, bool)> = Vec::new();
    for (index, service) in snapshot.virtual_service.iter().enumerate() {
        let at = format!("virtual_service[{index}].listen");
        if service.listen.is_empty() {
            reader.report(&at, "it listens nowhere", "add an address, as in listen = [\"127.0.0.1:8080\"]");
        }
        if service.listen.len() > limits::LISTEN_MAX {
            let reason =
                format!("{} addresses, at most {} are taken", service.listen.len(), limits::LISTEN_MAX);
            reader.report(&at, reason, "split the service");
        }
        let is_udp = service.protocol == Protocol::Udp;
        let own = service.listen.iter().enumerate();
        wanted.extend(own.map(|(n, address)| (format!("{at}[{n}]"), *address, is_udp)));
    }
    let metrics = snapshot.engine.metrics_listen;
    wanted.extend(metrics.map(|address| ("engine.metrics_listen".to_owned(), address, false)));
    // Ports of TCP and of UDP are not the same ports.
    let mut by_port: BTreeMap<(u16, bool), Vec<(String, IpAddr)>> = BTreeMap::new();
    for (path, address, is_udp) in wanted {
        if reader.is_bad(&path) {
            continue;
        }
        if address.port() == 0 {
            reader.report(&path, "port 0 is no port to connect to", "name the port");
            continue;
        }
        let same_port = by_port.entry((address.port(), is_udp)).or_default();
        let overlaps = |other: &IpAddr| {
            *other == address.ip()
                || (other.is_ipv4() == address.ip().is_ipv4()
                    && (other.is_unspecified() || address.ip().is_unspecified()))
        };
        if let Some((first, other)) = same_port.iter().find(|(_, other)| overlaps(other)) {
            let other = SocketAddr::new(*other, address.port());
            let line = reader.line_of(first).map(|line| format!(", line {line}")).unwrap_or_default();
            let reason = format!("{address} is listened on already as {other} (see {first}{line})");
            reader.report(&path, reason, "change one of the two");
        }
        same_port.push((path, address.ip()));
    }
}

fn references_of(reader: &mut Reader, at: &str, pool: &Pool, persistence: &Names<'_>, monitors: &Names<'_>) {
    if let Some(name) = &pool.persistence {
        persistence.resolve(reader, &format!("{at}.persistence"), name);
    }
    if pool.health_monitors.len() > limits::POOL_MONITORS_MAX {
        let reason = format!(
            "{} monitors, at most {} are taken",
            pool.health_monitors.len(),
            limits::POOL_MONITORS_MAX
        );
        reader.report(&format!("{at}.health_monitors"), reason, "remove some");
    }
    let mut seen = BTreeMap::new();
    for (n, name) in pool.health_monitors.iter().enumerate() {
        let path = format!("{at}.health_monitors[{n}]");
        monitors.resolve(reader, &path, name);
        twice(reader, &mut seen, name.as_str(), &path, "the monitor is named twice");
    }
}

fn servers_of(reader: &mut Reader, at: &str, pool: &Pool) {
    let path = format!("{at}.server");
    if pool.server.len() > limits::POOL_SERVERS_MAX {
        let reason = format!("{} servers, at most {} are taken", pool.server.len(), limits::POOL_SERVERS_MAX);
        reader.report(&path, reason, "split the pool");
    }
    let mut addresses = BTreeMap::new();
    let mut named = BTreeMap::new();
    let mut values = BTreeMap::new();
    let mut ids = BTreeMap::new();
    for (n, server) in pool.server.iter().enumerate() {
        let path = format!("{at}.server[{n}].address");
        let Some(full) = server.address.with_default(pool.default_server_port) else {
            let port = server.address.port.unwrap_or(pool.default_server_port);
            let what = format!("{}:{port} is in the pool already", server.address.name().unwrap_or_default());
            twice(reader, &mut named, (server.address.name(), port), &path, &what);
            if server.header_value.is_some() {
                let reason = "a name may lead to several servers, and one value means one server";
                let path = format!("{at}.server[{n}].header_value");
                reader.report(&path, reason, "remove it, or write the server's IP address");
            }
            continue;
        };
        if !reader.is_bad(&path)
            && (full.ip().is_unspecified() || full.ip().is_multicast() || full.port() == 0)
        {
            reader.report(
                &path,
                format!("nothing can be reached at {full}"),
                "write the server's own address and port",
            );
        }
        twice(reader, &mut addresses, full, &path, &format!("{full} is in the pool already"));
        // Two different addresses with one id would be one server to a cookie or a table.
        twice(
            reader,
            &mut ids,
            ServerId::of(full.into()),
            &path,
            &format!("the id of {full} is that of another server"),
        );
        if let Some(value) = &server.header_value {
            let path = format!("{at}.server[{n}].header_value");
            twice(reader, &mut values, value.as_str(), &path, "another server of the pool has this value");
        }
    }
}

fn choices_of(reader: &mut Reader, at: &str, pool: &Pool, snapshot: &Snapshot) {
    let header = format!("{at}.hash_header");
    let hashes = pool.algorithm == Algorithm::ConsistentHash;
    let by_header = hashes && pool.hash_by == HashBy::CustomHeader;
    if by_header && pool.hash_header.is_none() {
        reader.report(&header, "hash_by = \"custom_header\" needs a header", "add hash_header = \"X-...\"");
    }
    if !by_header && pool.hash_header.is_some() {
        let (algorithm, by) = (pool.algorithm, pool.hash_by);
        let reason = format!("nothing hashes it (algorithm = \"{algorithm}\", hash_by = \"{by}\")");
        reader.report(
            &header,
            reason,
            "set algorithm = \"consistent_hash\" and hash_by = \"custom_header\", or remove it",
        );
    }
    let kind =
        pool.persistence.as_ref().and_then(|name| snapshot.persistence.iter().find(|p| p.name() == name));
    let percent = pool.hash_load_max_percent;
    if (1..=100).contains(&percent) {
        let reason = format!("{percent} % of the fair share cannot be kept");
        reader.report(
            &format!("{at}.hash_load_max_percent"),
            reason,
            "set it to 101..10000 (usual is 125), or 0 for no bound",
        );
    }
    let by_value = matches!(kind, Some(Persistence::CustomHeader(_))) && !pool.server.is_empty();
    if by_value && pool.server.iter().all(|server| server.header_value.is_none()) {
        let reason = "no server has a header_value, so the persistence header never names one";
        reader.report(&format!("{at}.persistence"), reason, "add header_value to the servers");
    }
    if pool.request_queue.enabled && pool.max_concurrent_connections_per_server == 0 {
        let reason =
            "requests wait only for a server at its limit, and max_concurrent_connections_per_server is 0";
        reader.report(&format!("{at}.request_queue.enabled"), reason, "set a limit, or switch the queue off");
    }
    let reselect = &pool.server_reselect;
    let unread = reader.is_bad_within(&format!("{at}.server_reselect.statuses"));
    if reselect.enabled && reselect.statuses.is_empty() && !unread {
        let reason = "no status leads to another try";
        reader.report(
            &format!("{at}.server_reselect.statuses"),
            reason,
            "add statuses = [\"5xx\"], or switch it off",
        );
    }
    if !unread && reselect.statuses.iter().any(|range| range.low < 400) {
        let reason = "an answer below 400 is no failure";
        reader.report(&format!("{at}.server_reselect.statuses"), reason, "name statuses from 400 to 599");
    }
}

fn fail_action(reader: &mut Reader, at: &str, action: &FailAction) {
    let path = format!("{at}.fail_action.location");
    let status = format!("{at}.fail_action.status");
    if let (FailKind::Redirect, Some(code)) =
        (action.action, action.status.filter(|s| ![301, 302, 307, 308].contains(s)))
    {
        reader.report(&status, format!("{code} is no redirect"), "set it to 301, 302, 307 or 308");
    }
    match (action.action, &action.location) {
        (FailKind::Redirect, None) => {
            reader.report(&path, "a redirect needs an address", "add location = \"https://...\"");
        }
        (FailKind::CloseConnection | FailKind::LocalResponse, Some(_)) => {
            let reason = format!("action = \"{}\" sends nobody there", action.action);
            reader.report(&path, reason, "set action = \"redirect\", or remove it");
        }
        _ => {}
    }
}

/// Whether a probe's text begins with a request line; the version may be left out.
fn is_request(text: &str) -> bool {
    let first = text.lines().map(str::trim_end).find(|line| !line.is_empty()).unwrap_or_default();
    let words: Vec<&str> = first.split(' ').collect();
    let (method, target, version) = match words[..] {
        [method, target] => (method, target, "HTTP/1.0"),
        [method, target, version] => (method, target, version),
        _ => return false,
    };
    let is_target = target.starts_with('/') || target.starts_with("http://") || target == "*";
    let is_plain = target.bytes().all(|b| b.is_ascii_graphic());
    rules::token(method).is_ok() && is_target && is_plain && matches!(version, "HTTP/1.0" | "HTTP/1.1")
}

//= CFG-MONITOR-01
//= CFG-MONITOR-02
fn monitor_problems(reader: &mut Reader, at: &str, monitor: &HealthMonitor) {
    let (interval, timeout) = (*monitor.send_interval_s(), *monitor.receive_timeout_s());
    let path = format!("{at}.receive_timeout_s");
    if timeout >= interval && !reader.is_bad(&path) && !reader.is_bad(&format!("{at}.send_interval_s")) {
        let reason =
            format!("{timeout} s is not below send_interval_s = {interval} s ({at}.send_interval_s)");
        reader.report(&path, reason, "wait less long, or probe less often");
    }
    let Some(http) = monitor.http() else { return };
    let path = format!("{at}.request");
    if !http.exact_request && !reader.is_bad(&path) && !is_request(http.request) {
        let reason = "its first line is no request line";
        let fix = "begin with a method and a path, as in \"GET / HTTP/1.0\", or set exact_request = true";
        reader.report(&path, reason, fix);
    }
    if http.maintenance_codes.len() > limits::MAINTENANCE_CODES_MAX {
        let reason = format!(
            "{} codes, at most {} are taken",
            http.maintenance_codes.len(),
            limits::MAINTENANCE_CODES_MAX
        );
        reader.report(&format!("{at}.maintenance_codes"), reason, "keep the ones that are used");
    }
    if http.statuses.is_empty() && !reader.is_bad(&format!("{at}.statuses")) {
        reader.report(
            &format!("{at}.statuses"),
            "no answer can succeed",
            "name one, as in statuses = [\"2xx\"]",
        );
    }
    for (n, code) in http.maintenance_codes.iter().enumerate() {
        let path = format!("{at}.maintenance_codes[{n}]");
        if !(100..=599).contains(code) {
            reader.report(&path, format!("{code} is no HTTP status"), "use a status from 100 to 599");
        } else if let Some(range) = http.statuses.iter().find(|range: &&StatusRange| range.contains(*code)) {
            let reason = format!("{code} also means success by \"{range}\" ({at}.statuses)");
            reader.report(&path, reason, "remove one of the two");
        }
    }
}

//= CFG-COOKIE-01
fn cookies(reader: &mut Reader, snapshot: &Snapshot) {
    for (index, persistence) in snapshot.persistence.iter().enumerate() {
        let Persistence::HttpCookie(cookie) = persistence else { continue };
        let at = format!("persistence[{index}]");
        if snapshot.cookie_key.is_empty() {
            let fix = "add [[cookie_key]] with name and key (head -c 32 /dev/urandom | base64)";
            reader.report(
                &format!("{at}.type"),
                "an http_cookie is sealed with a key, and no [[cookie_key]] is given",
                fix,
            );
        }
        let keys = cookie.cookie_keys.len();
        if keys > limits::COOKIE_KEYS_MAX {
            let reason = format!("{keys} keys, at most {} are taken", limits::COOKIE_KEYS_MAX);
            reader.report(&format!("{at}.cookie_keys"), reason, "remove the oldest");
        }
        if cookie.persistent_cookie == Some(true) && cookie.timeout_min == 0 {
            let reason = "a browser keeps a cookie only with a time-out, and timeout_min is 0";
            reader.report(&format!("{at}.persistent_cookie"), reason, "set timeout_min, or remove it");
        }
    }
}
