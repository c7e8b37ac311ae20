//! Pools and groups of pools. What a pool can do depends on what its services speak: a pool of services of several kinds
//! becomes several of the document's.

use std::collections::BTreeSet;

use forebay_snapshot::limits::POOL_SERVERS_MAX;
use toml::Value;

use super::cx::{Cx, Making};
use super::place::Held;
use super::service::Listener;
use super::table::Part;
use super::view::View;
use super::{l4, monitor, persistence, tls};

/// What the clients of a service speak, and with it what can be read of their traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Speaks {
    Http,
    Tcp,
    Udp,
}

impl Speaks {
    /// The word of the document.
    pub fn word(self) -> &'static str {
        match self {
            Speaks::Http => "http",
            Speaks::Tcp => "tcp",
            Speaks::Udp => "udp",
        }
    }
}

/// The header of the PROXY protocol that servers get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Introduced {
    #[default]
    Not,
    V1,
    V2,
}

/// How a pool, or a group of them, is used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PoolKey {
    pub uuid: String,
    pub speaks: Speaks,
    pub introduced: Introduced,
    /// A group speaks HTTP/2 to its servers, which does not by itself.
    pub http2: bool,
    /// Its servers are reached at the port that clients come to, whatever it says itself.
    pub port: Option<u16>,
    /// Its servers speak TLS where clients do, and nowhere else, whatever it says itself.
    pub secured: Option<bool>,
}

impl PoolKey {
    /// How clients of some ports use a pool, or a group of them.
    //= COMPILE-PORT-01
    pub fn of(cx: &Cx<'_>, kind: &str, uuid: String, listener: &Listener) -> PoolKey {
        let pools = match kind {
            "pool" => vec![uuid.clone()],
            _ => members(cx, &uuid),
        };
        let follows = |flag: &str| pools.iter().any(|pool| is_on(cx, pool, flag));
        PoolKey {
            speaks: listener.speaks,
            introduced: l4::introduced(&listener.application, listener.speaks),
            http2: false,
            port: listener.ports.first().copied().filter(|_| follows(PORT)),
            secured: follows(MODE).then_some(listener.is_secured),
            uuid,
        }
    }

    /// The pool of a group that is used like this.
    fn member(&self, pool: &Held, http2: bool) -> PoolKey {
        PoolKey {
            uuid: pool.uuid.clone(),
            http2,
            port: self.port.filter(|_| pool.view().is_on(PORT)),
            secured: self.secured.filter(|_| pool.view().is_on(MODE)),
            ..self.clone()
        }
    }

    /// Its name in the document: the uuid for requests, something behind it for what is passed on unread.
    pub fn name(&self) -> String {
        let kind = match self.speaks {
            Speaks::Http => "",
            Speaks::Tcp => "/tcp",
            Speaks::Udp => "/udp",
        };
        let proxy = match self.introduced {
            Introduced::Not => "",
            Introduced::V1 => "/proxy1",
            Introduced::V2 => "/proxy2",
        };
        let http2 = if self.http2 { "/h2" } else { "" };
        let port = self.port.map(|port| format!("/at-{port}")).unwrap_or_default();
        let secured = match self.secured {
            None => "",
            Some(true) => "/as-tls",
            Some(false) => "/as-clear",
        };
        format!("{}{kind}{proxy}{http2}{port}{secured}", self.uuid)
    }
}

/// Fields by which servers are reached as clients come.
const PORT: &str = "use_service_port";
const MODE: &str = "use_service_ssl_mode";

fn is_on(cx: &Cx<'_>, pool: &str, flag: &str) -> bool {
    cx.get("pool", pool).is_some_and(|pool| pool.view().is_on(flag))
}

/// The pools of a group.
fn members(cx: &Cx<'_>, group: &str) -> Vec<String> {
    let Some(group) = cx.get("poolgroup", group) else { return Vec::new() };
    group.view().entries("members").filter_map(|(_, member)| member.refers("pool_ref")).collect()
}

/// The servers of those pools of a service and its children that are reached at the port that clients come to: each port is
/// served apart then, and has them all. `None`: there is no such pool.
pub(super) fn follow_ports(cx: &Cx<'_>, services: &[Held]) -> Option<usize> {
    let mut following = BTreeSet::new();
    for held in services {
        let view = held.view();
        let mut pools: Vec<String> = view.refers("pool_ref").into_iter().collect();
        let mut groups: Vec<String> = view.refers("pool_group_ref").into_iter().collect();
        for (_, entry) in view.entries("service_pool_select") {
            pools.extend(entry.refers("service_pool_ref"));
            groups.extend(entry.refers("service_pool_group_ref"));
        }
        for (_, entry) in view.entries("http_policies") {
            let set = entry.refers("http_policy_set_ref").and_then(|uuid| cx.get("httppolicyset", &uuid));
            let Some(set) = set else { continue };
            for (_, rule) in set.view().part("http_request_policy").entries("rules") {
                let to = rule.part("switching_action");
                pools.extend(to.refers("pool_ref"));
                groups.extend(to.refers("pool_group_ref"));
            }
        }
        pools.extend(groups.iter().flat_map(|group| members(cx, group)));
        following.extend(pools.into_iter().filter(|pool| is_on(cx, pool, PORT)));
    }
    let servers = |uuid: &String| {
        let Some(pool) = cx.get("pool", uuid) else { return 0 };
        let group = pool.view().refers("ipaddrgroup_ref").and_then(|uuid| cx.get("ipaddrgroup", &uuid));
        let addresses = group.map_or(0, |group| group.view().entries("addrs").count());
        pool.view().entries("servers").count() + addresses
    };
    (!following.is_empty()).then(|| following.iter().map(servers).sum())
}

/// By whom a pool is used.
#[derive(Clone, Debug)]
pub(super) struct Use {
    pub is_http: bool,
    /// Clients of every service that uses it have TLS sessions.
    pub all_have_sessions: bool,
    /// On how many engines the most spread of them is.
    pub engines: u32,
}

/// Notes that a service uses a pool.
pub(super) fn used(cx: &mut Cx<'_>, key: PoolKey, sessions: bool, engines: u32) {
    let is_http = key.speaks == Speaks::Http;
    let entry = cx.pools.entry(key).or_insert(Use { is_http, all_have_sessions: true, engines: 1 });
    entry.all_have_sessions &= sessions;
    entry.engines = entry.engines.max(engines);
}

/// Makes every pool that was named.
pub(super) fn all(cx: &mut Cx<'_>) {
    for (key, used) in cx.pools.clone() {
        if let Some(held) = cx.get("pool", &key.uuid) {
            make(cx, &key, &held, &used);
        }
    }
}

fn make(cx: &mut Cx<'_>, key: &PoolKey, held: &Held, used: &Use) {
    let name = key.name();
    let mut making = Making::new(format!("pool/{name}"), held);
    let view = held.view();
    let mut part = Part::named(&name);
    algorithm(&mut making, held, key.speaks, &mut part);
    let kept_by = persistence::of_pool(cx, &mut making, held, used);
    let by_header = kept_by.as_ref().is_some_and(|uuid| {
        let profile = cx.get("applicationpersistenceprofile", uuid);
        profile.is_some_and(|profile| {
            profile.view().text("persistence_type") == "PERSISTENCE_TYPE_CUSTOM_HTTP_HEADER"
        })
    });
    let stays = view.text("server_disable_type") == "ALLOW_NEW_CONNECTION_IF_PERSISTENCE_PRESENT";
    if stays && kept_by.is_some() {
        part.set("server_disable", "allow_persistent");
    }
    part.set_some("persistence", kept_by);
    let monitors = monitor::of_pool(cx, &mut making, held);
    part.set_list("health_monitors", monitors);
    part.set("passive_health_monitor", view.is_on("inline_health_monitor"));
    part.set_some("connection_ramp_min", view.int("connection_ramp_duration"));
    part.set_some("default_server_port", key.port.map(i64::from).or(view.int("default_server_port")));
    part.set_some("graceful_disable_timeout_min", disable_minutes(&mut making, held));
    part.set_some("graceful_hm_down_disable_timeout_s", view.int("graceful_hm_down_disable_timeout"));
    limits(&mut making, held, used, key.speaks, &mut part);
    retries(view, key.speaks, &mut part);
    if key.speaks == Speaks::Http {
        kept_connections(view.part("conn_pool_properties"), &mut part);
        part.set_if("enable_http2", view.is_on("enable_http2") || key.http2);
        if let Some(action) = view.some_part("fail_action") {
            part.set_some("fail_action", fail_action(&mut making, held, action).map(Value::from));
        }
    }
    match key.introduced {
        Introduced::Not => {}
        Introduced::V1 => part.set("send_proxy_protocol", "v1"),
        Introduced::V2 => part.set("send_proxy_protocol", "v2"),
    }
    tls::of_pool(cx, &mut making, held, (key.speaks, key.secured), &mut part);
    servers(cx, &mut making, held, (by_header, key.port), &mut part);
    cx.done(making, part);
}

/// How long a server that was disabled keeps what is open: the newer field says it in seconds, and counts where it is set.
fn disable_minutes(making: &mut Making, held: &Held) -> Option<i64> {
    const SECONDS: i64 = 60;
    let field = "graceful_disable_timeout_sec";
    let Some(seconds) = held.view().int(field) else { return held.view().int("graceful_disable_timeout") };
    if seconds > 0 && seconds % SECONDS != 0 {
        let reason = "an engine counts whole minutes: the next one is taken";
        making.idle(held, field, reason, "write a multiple of 60");
    }
    // -1 stands for ever, and 0 for at once.
    Some(if seconds <= 0 { seconds } else { (seconds - 1) / SECONDS + 1 })
}

fn algorithm(making: &mut Making, held: &Held, speaks: Speaks, part: &mut Part) {
    let view = held.view();
    let word = match view.text("lb_algorithm") {
        "LB_ALGORITHM_ROUND_ROBIN" => "round_robin",
        "LB_ALGORITHM_FASTEST_RESPONSE" => "fastest_response",
        "LB_ALGORITHM_CONSISTENT_HASH" => "consistent_hash",
        "LB_ALGORITHM_LEAST_LOAD" => "least_load",
        "LB_ALGORITHM_FEWEST_SERVERS" => "fewest_servers",
        "LB_ALGORITHM_RANDOM" => "random",
        "LB_ALGORITHM_CORE_AFFINITY" => "core_affinity",
        "LB_ALGORITHM_LEAST_CONNECTIONS" => "least_connections",
        other => {
            let reason = format!("no engine can do {other}: the server with the fewest connections is taken");
            making.idle(held, "lb_algorithm", reason, "choose LB_ALGORITHM_LEAST_CONNECTIONS or another one");
            "least_connections"
        }
    };
    part.set("algorithm", word);
    match word {
        "round_robin" => part.set_if("round_robin_per_engine", view.is_on("lb_algo_rr_per_se")),
        "core_affinity" => {
            let workers = view.int("lb_algorithm_core_nonaffinity").unwrap_or(2);
            part.set("core_nonaffinity", workers.clamp(1, 65_535));
        }
        "consistent_hash" => {
            part.set_if("ignore_server_port", view.is_on("ignore_server_port"));
            let by = match view.text("lb_algorithm_hash").trim_start_matches("LB_ALGORITHM_CONSISTENT_HASH_")
            {
                "SOURCE_IP_ADDRESS" => "source_ip",
                "SOURCE_IP_ADDRESS_AND_PORT" => "source_ip_port",
                "URI" if speaks == Speaks::Http => "uri",
                "CALLID" if speaks == Speaks::Http => "call_id",
                "CUSTOM_HEADER" if speaks == Speaks::Http => {
                    part.set("hash_header", view.text("lb_algorithm_consistent_hash_hdr"));
                    "custom_header"
                }
                _ => {
                    let reason = "its service has nothing that it could hash: the client's address is hashed";
                    let fix = "choose LB_ALGORITHM_CONSISTENT_HASH_SOURCE_IP_ADDRESS";
                    making.idle(held, "lb_algorithm_hash", reason, fix);
                    "source_ip"
                }
            };
            part.set("hash_by", by);
        }
        _ => {}
    }
}

/// What a server takes at once, and who waits for it.
fn limits(making: &mut Making, held: &Held, used: &Use, speaks: Speaks, part: &mut Part) {
    let view = held.view();
    let most = view.int("max_concurrent_connections_per_server").unwrap_or(0);
    let waits = view.is_on("request_queue_enabled");
    if most > 0 {
        // The bound is that of all engines together, and each lets one connection through at least.
        //= COMPILE-LIMIT-01
        part.set("max_concurrent_connections_per_server", (most / i64::from(used.engines.max(1))).max(1));
    }
    if waits && (most == 0 || speaks == Speaks::Udp) {
        let reason = "requests wait only for a server at its limit, and there is none";
        making.idle(held, "request_queue_enabled", reason, "set max_concurrent_connections_per_server");
    } else if waits {
        let depth = view.int("request_queue_depth").unwrap_or(128).clamp(1, 65_535);
        part.set("request_queue", Part::default().with("enabled", true).with("depth", depth));
    }
}

/// Trying another server.
fn retries(view: View<'_>, speaks: Speaks, part: &mut Part) {
    let Some(by) = view.some_part("server_reselect") else { return };
    // What does not say so tries another server for a connection that failed all the same.
    let mut again = Part::default();
    if speaks != Speaks::Udp {
        again.set_some("num_retries", by.int("num_retries"));
    }
    if speaks == Speaks::Http && by.is_on("enabled") {
        let codes = by.part("svr_resp_code");
        let mut statuses: Vec<String> = codes.ints("codes").map(|code| code.to_string()).collect();
        for (_, range) in codes.entries("ranges") {
            let (begin, end) = (range.int("begin").unwrap_or(400), range.int("end").unwrap_or(599));
            if begin.max(400) <= end {
                statuses.push(format!("{}-{end}", begin.max(400)));
            }
        }
        statuses.extend(codes.texts("resp_code_block").map(|block| match block {
            "HTTP_RSP_4XX" => "4xx".to_owned(),
            _ => "5xx".to_owned(),
        }));
        again.set_if("enabled", !statuses.is_empty());
        again.set_list("statuses", statuses);
        again.set_if("retry_nonidempotent", by.is_on("retry_nonidempotent"));
    }
    part.set("server_reselect", again);
}

fn kept_connections(by: View<'_>, part: &mut Part) {
    let mut kept = Part::default();
    kept.set_some("idle_ms", by.int("upstream_connpool_conn_idle_tmo"));
    kept.set_some("life_ms", by.int("upstream_connpool_conn_life_tmo"));
    kept.set_some("reuse_max", by.int("upstream_connpool_conn_max_reuse"));
    let most = by.int("upstream_connpool_server_max_cache").filter(|most| *most != 0);
    kept.set_some("idle_connections_max", most.map(|most| most.min(65_535)));
    part.set("connection_pool", kept);
}

/// What a client gets where no server can take its request; `None`: its connection is closed.
fn fail_action(making: &mut Making, held: &Held, by: View<'_>) -> Option<Part> {
    match by.text("type") {
        "FAIL_ACTION_HTTP_REDIRECT" => {
            let to = by.part("redirect");
            let (path, query) = (to.text("path").trim_start_matches('/'), to.text("query"));
            let query =
                if query.is_empty() { String::new() } else { format!("?{}", query.trim_start_matches('?')) };
            let scheme = to.text("protocol").to_ascii_lowercase();
            let status = to.text("status_code").rsplit('_').next().and_then(|code| code.parse::<i64>().ok());
            let mut part = Part::default().with("action", "redirect");
            part.set("location", format!("{scheme}://{}/{path}{query}", to.text("host")));
            part.set_some("status", status);
            Some(part)
        }
        "FAIL_ACTION_HTTP_LOCAL_RSP" => {
            let answer = by.part("local_rsp");
            let status = if answer.text("status_code").ends_with("200") { 200 } else { 503 };
            let mut part = Part::default().with("action", "local_response").with("status", status);
            part.set_some("body", answer.part("file").some_text("file_content"));
            Some(part)
        }
        "FAIL_ACTION_BACKUP_POOL" => {
            let fix = "put the pools into a group, the one for the worst case with the lowest priority";
            making.idle(held, "fail_action.type", "no engine can do it: the connection is closed", fix);
            None
        }
        _ => None,
    }
}

fn servers(
    cx: &Cx<'_>,
    making: &mut Making,
    held: &Held,
    (by_header, at_port): (bool, Option<u16>),
    part: &mut Part,
) {
    let view = held.view();
    let is_on = view.is_on("enabled");
    let default = at_port.map(i64::from).or(view.int("default_server_port")).unwrap_or(80);
    let mut servers = Vec::new();
    let mut seen = std::collections::BTreeMap::new();
    for (at, server) in view.entries("servers") {
        let ip = server.part("ip");
        let named = server.is_on("resolve_server_by_dns").then(|| server.some_text("hostname")).flatten();
        let is_name = named.is_some() || ip.text("type") == "DNS";
        let host = named.unwrap_or(ip.text("addr"));
        let port = server.int("port").filter(|port| *port != 0 && at_port.is_none());
        let address = match port {
            Some(port) if host.contains(':') => format!("[{host}]:{port}"),
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        if let Some(first) = seen.insert((host.to_ascii_lowercase(), port.unwrap_or(default)), at) {
            let reason = format!("it is at the same place as servers[{first}], which stands for both");
            making.idle(held, &format!("servers[{at}]"), reason, "leave it out, or give it another port");
            continue;
        }
        let mut part = Part::default().with("address", address);
        part.set_some("ratio", server.int("ratio"));
        part.set("enabled", is_on && server.is_on("enabled"));
        let value = server.some_text("prst_hdr_val").filter(|_| by_header);
        if value.is_some() && is_name {
            let reason = "a name may lead to several servers, and one value means one server";
            making.idle(held, &format!("servers[{at}].prst_hdr_val"), reason, "write the server's address");
        } else {
            part.set_some("header_value", value);
        }
        servers.push(Value::from(part));
    }
    if let Some(uuid) = view.refers("ipaddrgroup_ref")
        && let Some(group) = cx.follow(making, held, "ipaddrgroup_ref", "ipaddrgroup", &uuid)
    {
        let group = group.view();
        let all = servers.len() + group.entries("addrs").count();
        //= COMPILE-PORT-02
        if all > POOL_SERVERS_MAX {
            let reason = format!(
                "it has {all} servers with the addresses of its group, {POOL_SERVERS_MAX} are the most"
            );
            making.wrong(held, "ipaddrgroup_ref", reason, "name fewer addresses in the group");
            return;
        }
        for (_, addr) in group.entries("addrs") {
            let host = addr.text("addr");
            if seen.insert((host.to_ascii_lowercase(), default), servers.len()).is_none() {
                servers.push(Part::default().with("address", host).with("enabled", is_on).into());
            }
        }
        let has_more = group.entries("ranges").chain(group.entries("prefixes")).next().is_some();
        if has_more || group.texts("country_codes").next().is_some() {
            let reason = "only the single addresses of the group are servers";
            making.idle(held, "ipaddrgroup_ref", reason, "name each server in addrs of the group");
        }
    }
    // A pool without servers says so: nobody is served until it has some.
    part.set("server", Value::Array(servers));
}

/// A pool that nothing stands behind, for a service that has none.
pub(super) fn nothing(cx: &mut Cx<'_>, making: &mut Making, held: &Held, name: &str) -> String {
    let name = format!("{name}/none");
    let part = Part::named(&name).with("server", Value::Array(Vec::new()));
    cx.done(Making::new(format!("pool/{name}"), held), part);
    making.needs("pool", &name);
    name
}

/// A group of pools; `None`: it has none.
pub(super) fn group(
    cx: &mut Cx<'_>,
    from: &mut Making,
    group: &Held,
    key: &PoolKey,
    sessions: bool,
    engines: u32,
) -> Option<String> {
    let name = key.name();
    let mut making = Making::new(format!("pool_group/{name}"), group);
    let view = group.view();
    let labels = priorities(cx, &mut making, group);
    let mut members: Vec<Value> = Vec::new();
    for (at, member) in view.entries("members") {
        let path = format!("members[{at}].pool_ref");
        let uuid = member.refers("pool_ref").unwrap_or_default();
        let Some(pool) = cx.follow(&mut making, group, &path, "pool", &uuid) else { continue };
        let http2 =
            key.speaks == Speaks::Http && view.is_on("enable_http2") && !pool.view().is_on("enable_http2");
        let pool = key.member(&pool, http2);
        let label = member.text("priority_label");
        let priority = match labels.iter().position(|known| known.iter().any(|one| one == label)) {
            // The first label is the best one.
            Some(at) => labels.len() - at,
            None => label.parse().unwrap_or(0),
        };
        let is_out = member.text("deployment_state") == "OUT_OF_SERVICE";
        let ratio = member.int("ratio").filter(|_| !is_out).unwrap_or(0);
        making.needs("pool", &pool.name());
        members.push(
            Part::default()
                .with("pool", pool.name())
                .with("ratio", ratio)
                .with("priority", i64::try_from(priority).unwrap_or(0))
                .into(),
        );
        used(cx, pool, sessions, engines);
    }
    if members.is_empty() && making.problems.is_empty() {
        return None;
    }
    let mut part = Part::named(&name);
    part.set("member", Value::Array(members));
    let least = view.int("min_servers").unwrap_or(0).clamp(1, 5000);
    part.set("servers_up_min", least);
    if let Some(action) = view.some_part("fail_action").filter(|_| key.speaks == Speaks::Http) {
        part.set_some("fail_action", fail_action(&mut making, group, action).map(Value::from));
    }
    cx.done(making, part);
    from.needs("pool_group", &name);
    Some(name)
}

/// The labels of priorities, the best first, where a list orders them; those of one entry mean the same.
fn priorities(cx: &Cx<'_>, making: &mut Making, group: &Held) -> Vec<Vec<String>> {
    let Some(uuid) = group.view().refers("priority_labels_ref") else { return Vec::new() };
    let Some(list) = cx.follow(making, group, "priority_labels_ref", "prioritylabels", &uuid) else {
        return Vec::new();
    };
    let entries = list.view().entries("equivalent_labels");
    entries.map(|(_, labels)| labels.texts("labels").map(str::to_owned).collect()).collect()
}
