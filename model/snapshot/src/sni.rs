//! TCP services that pass TLS on unread, and choose the pool by the name that a client asks for.

use std::collections::BTreeMap;

use crate::Snapshot;
use crate::ignored::report;
use crate::limits;
use crate::read::{Reader, printable, section};
use crate::rules;
use crate::service::{Protocol, VirtualService};

section! {
    /// Where clients go that ask for one of these names, their TLS unread.
    pub struct SniRoute {
        /// Names of hosts; `*.` in front stands for exactly one label.
        names: Vec<String>;
        /// The pool that serves them; either this or `pool_group`.
        pool: Option<String> = None;
        /// The pool group that serves them; either this or `pool`.
        pool_group: Option<String> = None;
    }
}

/// What does not fit in how services pass TLS on.
//= TLS-PASS-CHECK-01
pub(crate) fn find(reader: &mut Reader, snapshot: &Snapshot) {
    for (index, service) in snapshot.virtual_service.iter().enumerate() {
        let at = format!("virtual_service[{index}]");
        let list = format!("{at}.sni_routes");
        if service.sni_routes.is_empty() || reader.is_bad(&list) {
            continue;
        }
        if service.protocol != Protocol::Tcp && !reader.is_bad(&format!("{at}.protocol")) {
            let reason = "only a service with protocol = \"tcp\" passes TLS on unread";
            report(reader, &list, reason, "set protocol = \"tcp\", or remove it");
        }
        if !service.certificates.is_empty() {
            let reason = "the service ends TLS, because it has certificates";
            report(reader, &list, reason, "remove certificates, or remove it");
        }
        names_of(reader, &list, service);
        secured(reader, snapshot, service);
    }
}

/// Each name once, and each one a name.
//= TLS-PASS-CHECK-01
fn names_of(reader: &mut Reader, list: &str, service: &VirtualService) {
    let count: usize = service.sni_routes.iter().map(|route| route.names.len()).sum();
    if count > limits::SNI_NAMES_MAX {
        let reason = format!("{count} names, at most {} are taken", limits::SNI_NAMES_MAX);
        report(reader, list, &reason, "split the service");
        return;
    }
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for (r, route) in service.sni_routes.iter().enumerate() {
        let at = format!("{list}[{r}]");
        if route.names.is_empty() && !reader.is_bad(&format!("{at}.names")) {
            report(
                reader,
                &format!("{at}.names"),
                "no client comes here",
                "name a host, or remove the route",
            );
        }
        for (n, name) in route.names.iter().enumerate() {
            let path = format!("{at}.names[{n}]");
            if reader.is_bad(&path) {
                continue;
            }
            let host = name.strip_prefix("*.").unwrap_or(name);
            if !rules::is_host_name(host) || host.ends_with('.') {
                let fix = "write one like \"app.example\", or \"*.example\" for all that have one label more";
                report(reader, &path, "this is no name that a client asks for", fix);
                continue;
            }
            match seen.get(&name.to_ascii_lowercase()) {
                Some(first) => {
                    let reason = format!("\"{}\" is {first} already", printable(name));
                    report(reader, &path, &reason, "remove one of the two");
                }
                None => {
                    seen.insert(name.to_ascii_lowercase(), path);
                }
            }
        }
    }
}

/// Pools whose servers would get TLS within TLS.
//= TLS-PASS-CHECK-01
fn secured(reader: &mut Reader, snapshot: &Snapshot, service: &VirtualService) {
    let reached = crate::ignored::reach(service, snapshot);
    for (p, pool) in snapshot.pool.iter().enumerate() {
        if pool.tls.is_some() && reached.contains(pool.name.as_str()) {
            let name = printable(&service.name);
            let reason =
                format!("virtual_service \"{name}\" passes its clients' TLS on, which is encrypted already");
            report(
                reader,
                &format!("pool[{p}].tls"),
                &reason,
                "give that service a pool of its own, or remove it",
            );
        }
    }
}
