//! Settings that a TCP or UDP service would not act on, or cannot keep: each is refused.
//!
//! Such a service passes bytes on unread, so whatever needs a request has nothing to read there.

use std::collections::BTreeMap;

use crate::Snapshot;
use crate::ignored::{reach, report};
use crate::persistence::Persistence;
use crate::pool::{
    Algorithm, ConnectionPool, FailAction, FailKind, HashBy, Pool, RequestQueue, SendProxy, ServerReselect,
};
use crate::read::{Reader, printable};
use crate::service::{Protocol, ProxyProtocol, VirtualService};

/// A service that passes bytes on unread: its name, and whether it takes datagrams.
#[derive(Clone, Copy)]
struct Unread<'s> {
    name: &'s str,
    protocol: Protocol,
}

/// Which protocols reach a pool.
#[derive(Default)]
struct Reached<'s> {
    http: bool,
    tcp: Option<Unread<'s>>,
    udp: Option<Unread<'s>>,
}

pub(crate) fn find(reader: &mut Reader, snapshot: &Snapshot) {
    let mut pools: BTreeMap<&str, Reached<'_>> = BTreeMap::new();
    let mut groups: BTreeMap<&str, Unread<'_>> = BTreeMap::new();
    for (index, service) in snapshot.virtual_service.iter().enumerate() {
        let unread = Unread { name: &service.name, protocol: service.protocol };
        own_settings(reader, index, service);
        if service.protocol != Protocol::Http {
            let routed = service.sni_routes.iter().filter_map(|route| route.pool_group.as_deref());
            groups
                .extend(service.pool_group.as_deref().into_iter().chain(routed).map(|group| (group, unread)));
        }
        for pool in reach(service, snapshot) {
            let reached = pools.entry(pool).or_default();
            match service.protocol {
                Protocol::Http => reached.http = true,
                Protocol::Tcp => reached.tcp = Some(unread),
                Protocol::Udp => reached.udp = Some(unread),
            }
        }
    }
    for (index, pool) in snapshot.pool.iter().enumerate() {
        let Some(reached) = pools.get(pool.name.as_str()) else { continue };
        let at = format!("pool[{index}]");
        if pool.send_proxy_protocol != SendProxy::Off && pool.connection_pool != ConnectionPool::default() {
            let reason = "a connection with a PROXY header is one client's, and none is kept";
            let fix = "remove it, or set send_proxy_protocol = \"off\"";
            report(reader, &format!("{at}.connection_pool"), reason, fix);
        }
        if pool.send_proxy_protocol != SendProxy::Off && pool.enable_http2 {
            let reason =
                "a connection with a PROXY header is one client's, and over HTTP/2 requests share theirs";
            let fix = "remove it, or set send_proxy_protocol = \"off\"";
            report(reader, &format!("{at}.enable_http2"), reason, fix);
        }
        if let Some(unread) = reached.tcp.or(reached.udp) {
            needs_a_request(reader, &at, pool, snapshot, unread);
            if !reached.http {
                only_for_requests(reader, &at, pool, unread);
            }
        }
        if let Some(udp) = reached.udp {
            not_for_datagrams(reader, &at, pool, udp, reached.http || reached.tcp.is_some());
        }
    }
    for (index, group) in snapshot.pool_group.iter().enumerate() {
        if let Some(unread) = groups.get(group.name.as_str()) {
            answers(reader, &format!("pool_group[{index}]"), &group.fail_action, *unread);
        }
    }
}

fn served(unread: Unread<'_>) -> String {
    format!("virtual_service \"{}\" with protocol = \"{}\"", printable(unread.name), unread.protocol)
}

/// Keys of the service itself that its protocol does not read.
//= L4-CHECK-01
fn own_settings(reader: &mut Reader, index: usize, service: &VirtualService) {
    let at = format!("virtual_service[{index}]");
    let protocol = service.protocol;
    if reader.is_bad(&format!("{at}.protocol")) {
        return;
    }
    let profiles = [
        ("http_profile", &service.http_profile, Protocol::Http),
        ("tcp_profile", &service.tcp_profile, Protocol::Tcp),
        ("udp_profile", &service.udp_profile, Protocol::Udp),
    ];
    for (key, name, reads) in profiles {
        if protocol != reads && name != "default" {
            let reason = format!("a service with protocol = \"{protocol}\" does not read it");
            let fix = format!("set protocol = \"{reads}\", or remove it");
            report(reader, &format!("{at}.{key}"), &reason, &fix);
        }
    }
    if protocol != Protocol::Http && !service.rules.is_empty() {
        let reason =
            format!("a service with protocol = \"{protocol}\" sees no request that a rule could judge");
        report(reader, &format!("{at}.rules"), &reason, "set protocol = \"http\", or remove the rules");
    }
    if protocol != Protocol::Udp {
        return;
    }
    if service.proxy_protocol != ProxyProtocol::default() {
        let reason = "datagrams carry no PROXY header";
        report(reader, &format!("{at}.proxy_protocol"), reason, "set protocol = \"tcp\", or remove it");
    }
    for (n, address) in service.listen.iter().enumerate() {
        if address.ip().is_unspecified() {
            let reason =
                format!("an answer from {address} would leave from whatever address the system picks");
            let fix = "name each address that clients send to";
            report(reader, &format!("{at}.listen[{n}]"), &reason, fix);
        }
    }
}

/// What only a request could carry: it is refused even where HTTP services use the pool as well.
//= L4-CHECK-01
fn needs_a_request(reader: &mut Reader, at: &str, pool: &Pool, snapshot: &Snapshot, unread: Unread<'_>) {
    let of = served(unread);
    let kind = pool.persistence.as_ref();
    let kind = kind.and_then(|name| snapshot.persistence.iter().find(|p| p.name() == name));
    if let Some(kind) = kind.filter(|kind| !matches!(kind, Persistence::ClientIp(_) | Persistence::Tls(_))) {
        let reason = format!("{of} has no request that could carry a {}", kind.type_word());
        let fix = "use type = \"client_ip\", or give that service a pool of its own";
        report(reader, &format!("{at}.persistence"), &reason, fix);
    }
    let by_address = matches!(pool.hash_by, HashBy::SourceIp | HashBy::SourceIpPort);
    if pool.algorithm == Algorithm::ConsistentHash && !by_address {
        let reason = format!("{of} has no request that hash_by = \"{}\" could read", pool.hash_by);
        let fix = "use hash_by = \"source_ip\" or \"source_ip_port\", or give that service a pool of its own";
        report(reader, &format!("{at}.hash_by"), &reason, fix);
    }
    answers(reader, at, &pool.fail_action, unread);
}

//= L4-CHECK-01
fn answers(reader: &mut Reader, at: &str, action: &FailAction, unread: Unread<'_>) {
    if action.action != FailKind::CloseConnection {
        let reason = format!("{} cannot answer; it closes", served(unread));
        let fix = "set action = \"close_connection\", or give that service a pool of its own";
        report(reader, &format!("{at}.fail_action.action"), &reason, fix);
    }
}

/// What would be read for requests alone, where none come.
//= L4-CHECK-01
fn only_for_requests(reader: &mut Reader, at: &str, pool: &Pool, unread: Unread<'_>) {
    let of = served(unread);
    if pool.connection_pool != ConnectionPool::default() {
        let reason = format!("{of} opens a connection for each client and keeps none");
        report(reader, &format!("{at}.connection_pool"), &reason, "remove it");
    }
    if pool.enable_http2 {
        let reason = format!("{of} passes on what its clients speak");
        report(reader, &format!("{at}.enable_http2"), &reason, "remove it");
    }
    let statuses =
        ServerReselect { num_retries: pool.server_reselect.num_retries, ..ServerReselect::default() };
    if pool.server_reselect != statuses {
        let reason = format!("{of} sees no status and no method; it tries again only to connect");
        report(reader, &format!("{at}.server_reselect"), &reason, "keep num_retries only");
    }
}

//= L4-CHECK-01
fn not_for_datagrams(reader: &mut Reader, at: &str, pool: &Pool, udp: Unread<'_>, also_others: bool) {
    let of = served(udp);
    if pool.send_proxy_protocol != SendProxy::Off {
        let reason = format!("{of} sends datagrams, which carry no PROXY header");
        let fix = "give that service a pool of its own, or remove it";
        report(reader, &format!("{at}.send_proxy_protocol"), &reason, fix);
    }
    if also_others {
        return;
    }
    if pool.request_queue != RequestQueue::default() {
        let reason = format!("{of} lets no datagram wait");
        report(reader, &format!("{at}.request_queue"), &reason, "remove it");
    }
    if pool.server_reselect.num_retries != ServerReselect::default().num_retries {
        let reason = format!("{of} sends no datagram again: its client does");
        report(reader, &format!("{at}.server_reselect.num_retries"), &reason, "remove it");
    }
}
