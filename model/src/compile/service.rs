//! Virtual services: where they listen, what their ports speak, what stands behind them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::cx::{Cx, Making};
use super::place::Held;
use super::pool::{self, PoolKey, Speaks};
use super::table::Part;
use super::view::View;
use super::{Placed, hosting, http, l4, policy, tls};
use crate::Problem;

/// The most ports of one range: more addresses than an engine listens on for one service are found further on.
const PORTS_MAX: usize = 1024;

/// Ports of a service that are served alike: one service of the document.
pub(super) struct Listener {
    /// Its name in the document.
    pub name: String,
    pub speaks: Speaks,
    /// Its clients speak TLS.
    pub is_secured: bool,
    pub has_http2: bool,
    pub application: Held,
    pub network: Held,
    pub ports: Vec<u16>,
    /// Which of `service_pool_select` sends its traffic elsewhere.
    selector: Option<usize>,
}

impl Listener {
    /// The same ports under another name, by another application profile.
    pub fn by(&self, name: String, application: Held) -> Listener {
        Listener {
            name,
            speaks: self.speaks,
            is_secured: self.is_secured,
            has_http2: self.has_http2,
            application,
            network: self.network.again(),
            ports: self.ports.clone(),
            selector: None,
        }
    }
}

/// Makes the parts of a service; gives the keys of those that nothing else names.
pub(super) fn service(cx: &mut Cx<'_>, placed: &Placed) -> Result<BTreeSet<String>, Vec<Problem>> {
    let Some(held) = cx.get("virtualservice", &placed.service) else {
        return Err(vec![Problem {
            line: None,
            path: format!("virtualservice {}", placed.service),
            reason: "it is placed on the engine, and is not there".to_owned(),
            fix: "take it off the engine".to_owned(),
        }]);
    };
    let mut making = Making::new(format!("virtual_service/{}", held.uuid), &held);
    if held.view().text("type") == "VS_TYPE_VH_CHILD" {
        let reason = "a child is served at the addresses of its parent, and its parent is not placed";
        making.wrong(
            &held,
            "vh_parent_vs_ref",
            reason,
            "name a parent that is on, of type VS_TYPE_VH_PARENT",
        );
    }
    let addresses = addresses(cx, &mut making, &held, placed);
    let mut all = vec![held.again()];
    all.extend(placed.children.iter().filter_map(|uuid| cx.get("virtualservice", uuid)));
    let apart = pool::follow_ports(cx, &all);
    let listeners = listeners(cx, &mut making, &held, apart);
    let children = match held.view().text("type") {
        "VS_TYPE_VH_PARENT" => hosting::children(cx, &held, placed),
        _ => Vec::new(),
    };
    if let Some(other) = listeners.iter().find(|listener| listener.speaks != Speaks::Http)
        && !children.is_empty()
    {
        let reason =
            format!("children are told apart by requests, and its ports speak {}", other.speaks.word());
        making.wrong(&held, "services", reason, "use an application profile of HTTP");
    }
    if !making.problems.is_empty() {
        return Err(making.problems);
    }
    // What is to be said of the service as a whole is said once, by its first part.
    let mut shared = making.warnings;
    let has_secured = listeners.iter().any(|listener| listener.is_secured);
    let mut keys = BTreeSet::new();
    for listener in &listeners {
        let mut making = Making::new(format!("virtual_service/{}", listener.name), &held);
        making.warnings.append(&mut shared);
        keys.insert(making.key.clone());
        let is_udp = listener.speaks == Speaks::Udp;
        let at =
            |port: &u16| addresses.iter().map(|ip| (SocketAddr::new(*ip, *port), is_udp)).collect::<Vec<_>>();
        making.listens = listener.ports.iter().flat_map(at).collect();
        let mut part = Part::named(&listener.name);
        part.set_list("listen", making.listens.iter().map(|(at, _)| at.to_string()));
        part.set("enabled", held.view().is_on("enabled") && held.view().is_on("traffic_enabled"));
        part.set("protocol", listener.speaks.word());
        // Clients are the service's, by whatever port they come, and whichever ports are added later.
        //= COMPILE-PERSIST-01
        part.set_some("persistence_name", Some(held.uuid.as_str()).filter(|uuid| *uuid != listener.name));
        part.set_if("shared_listener", cx.input.engine.shares_listeners);
        let client_logs = client_logs(held.view());
        if !client_logs.is_empty() {
            part.set("client_logs", client_logs);
        }
        let sessions =
            listener.is_secured && tls::of_service(cx, &mut making, &held, (listener, &children), &mut part);
        making.has_tickets = sessions;
        let answer_ms = target(cx, &mut making, &held, listener, sessions, placed.engines.max(1), &mut part);
        if listener.speaks == Speaks::Http {
            http::profile(cx, &mut making, listener, answer_ms);
            part.set("http_profile", listener.name.as_str());
            let secured = if listener.is_secured { tls::profile_of(cx, &held) } else { None };
            let own = hosting::own(cx, &mut making, &children, (listener, answer_ms, secured.as_deref()));
            part.set_list("hosts", own);
        } else {
            l4::profile(cx, &mut making, &listener.network, listener.speaks, &listener.name);
            let key = if listener.speaks == Speaks::Udp { "udp_profile" } else { "tcp_profile" };
            part.set(key, listener.name.as_str());
        }
        let may_redirect = has_secured && !listener.is_secured;
        let scope = policy::Scope { listener, sessions, engines: placed.engines.max(1), may_redirect };
        let mut rules = policy::rules(cx, &mut making, &held, &scope);
        if !children.is_empty() {
            rules = hosting::rules(cx, &mut making, &held, (&children, &scope), rules);
        }
        if listener.speaks == Speaks::Http && may_redirect {
            let others = hosting::others_to_tls(cx, &mut making, &held, (&children, listener));
            let to_https = listener.application.view().part("http_profile").is_on("http_to_https");
            part.set_if("http_to_https", to_https && others.is_none());
            rules.extend(others);
        }
        part.set_list("rules", rules);
        cx.done(making, part);
    }
    Ok(keys)
}

/// Of which requests and connections the engine tells; what is as it is by default is not said.
//= COMPILE-LOGS-01
fn client_logs(service: View<'_>) -> Part {
    let policy = service.part("analytics_policy");
    let all = policy.part("full_client_logs");
    let mut part = Part::default();
    let differs = |value: Option<i64>, standard: i64| value.filter(|value| *value != standard);
    part.set_some("significant_per_s", differs(policy.int("significant_log_throttle"), 10));
    if all.is_on("enabled") {
        part.set("all", true);
        part.set_some("minutes", differs(all.int("duration"), 30));
        part.set_some("others_per_s", differs(all.int("throttle"), 10));
    }
    part
}

/// The addresses that the engine has of the service.
fn addresses(cx: &Cx<'_>, making: &mut Making, held: &Held, placed: &Placed) -> Vec<IpAddr> {
    let view = held.view();
    let shared =
        view.refers("vsvip_ref").and_then(|uuid| cx.follow(making, held, "vsvip_ref", "vsvip", &uuid));
    let of = shared.as_ref().unwrap_or(held);
    let mut addresses = Vec::new();
    for (at, vip) in of.view().entries("vip") {
        let is_here = placed.vips.is_empty() || placed.vips.iter().any(|id| id == vip.text("vip_id"));
        if !is_here || !vip.is_on("enabled") {
            continue;
        }
        for name in ["ip_address", "ip6_address"] {
            let Some(text) = vip.address(name) else { continue };
            match text.parse::<IpAddr>() {
                Ok(ip) if !addresses.contains(&ip) => addresses.push(ip),
                Ok(_) => {}
                Err(_) => {
                    let reason = "an engine listens on IP addresses, and this is none";
                    making.wrong(of, &format!("vip[{at}].{name}.addr"), reason, "write the address");
                }
            }
        }
    }
    if addresses.is_empty() && making.problems.is_empty() {
        let reason = "the engine has no address of it";
        making.wrong(of, "vip", reason, "give it an address that is enabled");
    }
    addresses
}

/// Ports of a service whose pools have `use_service_port`: each is a listener and a pool of its own.
const APART_MAX: usize = 64;
/// Servers of such pools at all of its ports together: four times as many as a pool has.
const APART_SERVERS_MAX: usize = 20_000;

/// The ports of the service, those together that are served alike; each for itself where so many servers are `apart` at each.
fn listeners(cx: &Cx<'_>, making: &mut Making, held: &Held, apart: Option<usize>) -> Vec<Listener> {
    let view = held.view();
    let ports: usize = view.entries("services").map(|(_, entry)| range(entry).count()).sum();
    //= COMPILE-PORT-02
    if let Some(servers) = apart
        && (ports > APART_MAX || ports.saturating_mul(servers) > APART_SERVERS_MAX)
    {
        let reason = format!(
            "a pool of it has use_service_port, and {ports} ports with {servers} servers at each are too many"
        );
        let fix = format!(
            "name {APART_MAX} ports at most, and fewer than {APART_SERVERS_MAX} servers at all of them together"
        );
        making.wrong(held, "services", reason, fix);
        return Vec::new();
    }
    let mut all: BTreeMap<String, Listener> = BTreeMap::new();
    for (at, entry) in view.entries("services") {
        let path = format!("services[{at}]");
        let ports: Vec<u16> = range(entry).filter_map(|port| u16::try_from(port).ok()).collect();
        if ports.first() == Some(&0) || ports.is_empty() || ports.len() > PORTS_MAX {
            let reason = format!("it stands for {} ports, 0 among them or not", ports.len());
            making.wrong(
                held,
                &path,
                reason,
                format!("name ports from 1 on, at most {PORTS_MAX} in a range"),
            );
            continue;
        }
        let application = profile(
            cx,
            making,
            held,
            (entry, &format!("{path}.override_application_profile_ref"), "override_application_profile_ref"),
            ("application_profile_ref", "applicationprofile", "System-HTTP"),
        );
        let network = profile(
            cx,
            making,
            held,
            (entry, &format!("{path}.override_network_profile_ref"), "override_network_profile_ref"),
            ("network_profile_ref", "networkprofile", "System-TCP-Proxy"),
        );
        let (Some(application), Some(network)) = (application, network) else { continue };
        let Some(speaks) = speaks(making, held, &path, &application, &network) else { continue };
        let is_secured = entry.is_on("enable_ssl");
        if is_secured && speaks == Speaks::Udp {
            let reason = "TLS needs a stream of bytes, and its network profile is of datagrams";
            making.wrong(
                held,
                &format!("{path}.enable_ssl"),
                reason,
                "switch it off, or use a profile of TCP",
            );
            continue;
        }
        let has_http2 = speaks == Speaks::Http && entry.is_on("enable_http2");
        for port in ports {
            let selector = selector(view, port, speaks);
            let is_own = entry.has("override_application_profile_ref")
                || entry.has("override_network_profile_ref")
                || selector.is_some()
                || apart.is_some();
            let mut name = held.uuid.clone();
            for (word, is_so) in [
                (speaks.word(), speaks != Speaks::Http),
                ("tls", is_secured),
                ("h2", has_http2),
                (&*port.to_string(), is_own),
            ] {
                if is_so {
                    name = format!("{name}/{word}");
                }
            }
            let listener = all.entry(name.clone()).or_insert_with(|| Listener {
                name,
                speaks,
                is_secured,
                has_http2,
                application: application.again(),
                network: network.again(),
                ports: Vec::new(),
                selector,
            });
            if !listener.ports.contains(&port) {
                listener.ports.push(port);
            }
        }
    }
    if all.is_empty() && making.problems.is_empty() {
        making.wrong(held, "services", "it has no port", "name the ports that it listens on");
    }
    all.into_values().collect()
}

/// The ports of an entry, as they are said.
fn range(entry: View<'_>) -> std::ops::RangeInclusive<i64> {
    let from = entry.int("port").unwrap_or(0);
    from..=entry.int("port_range_end").filter(|to| *to != 0).unwrap_or(from)
}

/// The profile of some ports: their own, the service's, or the one that a system has from its first start.
fn profile(
    cx: &Cx<'_>,
    making: &mut Making,
    held: &Held,
    (entry, path, own): (View<'_>, &str, &str),
    (field, kind, standard): (&str, &str, &str),
) -> Option<Held> {
    if let Some(uuid) = entry.refers(own) {
        return cx.follow(making, held, path, kind, &uuid);
    }
    match held.view().refers(field) {
        Some(uuid) => cx.follow(making, held, field, kind, &uuid),
        None => cx.built_in(kind, standard),
    }
}

fn speaks(
    making: &mut Making,
    held: &Held,
    path: &str,
    application: &Held,
    network: &Held,
) -> Option<Speaks> {
    let carried = network.view().part("profile").text("type").to_owned();
    let kind = application.view().text("type");
    let is_udp = carried.starts_with("PROTOCOL_TYPE_UDP");
    match kind {
        "APPLICATION_PROFILE_TYPE_HTTP" if !is_udp && carried.starts_with("PROTOCOL_TYPE_TCP") => {
            Some(Speaks::Http)
        }
        "APPLICATION_PROFILE_TYPE_L4"
        | "APPLICATION_PROFILE_TYPE_SSL"
        | "APPLICATION_PROFILE_TYPE_SYSLOG"
        | "APPLICATION_PROFILE_TYPE_DNS"
            if !carried.starts_with("PROTOCOL_TYPE_SCTP") =>
        {
            Some(if is_udp { Speaks::Udp } else { Speaks::Tcp })
        }
        _ => {
            let reason = format!("no engine can do {kind} over {carried}");
            making.wrong(held, path, reason, "choose another application or network profile");
            None
        }
    }
}

/// Which entry of `service_pool_select` is for this port.
fn selector(view: View<'_>, port: u16, speaks: Speaks) -> Option<usize> {
    let port = i64::from(port);
    let fits = |entry: View<'_>| {
        let from = entry.int("service_port").unwrap_or(0);
        let to = entry.int("service_port_range_end").filter(|to| *to != 0).unwrap_or(from);
        let protocol = entry.text("service_protocol");
        let is_same = match speaks {
            Speaks::Udp => protocol.starts_with("PROTOCOL_TYPE_UDP"),
            _ => protocol.starts_with("PROTOCOL_TYPE_TCP"),
        };
        (from..=to).contains(&port) && (protocol.is_empty() || is_same)
    };
    view.entries("service_pool_select").find(|(_, entry)| fits(*entry)).map(|(at, _)| at)
}

/// What stands behind some ports. Gives how long a server may take, if the pool says so, milliseconds.
fn target(
    cx: &mut Cx<'_>,
    making: &mut Making,
    held: &Held,
    listener: &Listener,
    sessions: bool,
    engines: u32,
    part: &mut Part,
) -> Option<i64> {
    let view = held.view();
    let selected = listener.selector.and_then(|at| view.entries("service_pool_select").nth(at));
    let (pool, group, at) = match &selected {
        Some((at, entry)) => (
            entry.refers("service_pool_ref"),
            entry.refers("service_pool_group_ref"),
            format!("service_pool_select[{at}].service_"),
        ),
        None => (view.refers("pool_ref"), view.refers("pool_group_ref"), String::new()),
    };
    if let Some(uuid) = pool {
        let found = cx.follow(making, held, &format!("{at}pool_ref"), "pool", &uuid)?;
        let key = PoolKey::of(cx, "pool", uuid, listener);
        making.needs("pool", &key.name());
        part.set("pool", key.name());
        pool::used(cx, key, sessions, engines);
        return found.view().int("server_timeout").filter(|ms| *ms != 0);
    }
    if let Some(uuid) = group {
        let found = cx.follow(making, held, &format!("{at}pool_group_ref"), "poolgroup", &uuid)?;
        let key = PoolKey::of(cx, "poolgroup", uuid, listener);
        if let Some(name) = pool::group(cx, making, &found, &key, sessions, engines) {
            part.set("pool_group", name);
            return None;
        }
    }
    let name = pool::nothing(cx, making, held, &listener.name);
    part.set("pool", name);
    None
}
