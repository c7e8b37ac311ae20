//! Hosts of a service that are served otherwise than its others: by profiles of their own.

use std::collections::{BTreeMap, BTreeSet};

use crate::Snapshot;
use crate::ignored::report;
use crate::limits;
use crate::read::{Reader, printable, section};
use crate::service::{Protocol, VirtualService};

/// Bytes of a name: a host name has at most 253, and there is a star before it.
const NAME_BYTES_MAX: usize = 254;

section! {
    /// Hosts with profiles of their own. Of several that fit, a whole name goes before one with a star, and a longer one of those before a shorter one.
    pub struct OwnHosts {
        /// Names of hosts; `*` in front stands for one character or more.
        names: Vec<String>;
        /// The `[[http_profile]]` of requests for them. What counts before it is known which host a request is for (`idle_timeout_ms`, `header_timeout_ms`, bounds of heads, `requests_per_connection_max`, `http2`), and what a server is reached by (`connect_timeout_ms`), is that of the service.
        http_profile: Option<String> = None;
        /// The `[[tls_profile]]` of clients who ask for one of them. A request for one of them on a connection that asked for another host with another profile is answered 421.
        tls_profile: Option<String> = None;
    }
}

impl OwnHosts {
    /// Says whether a name is one that a host can have, with or without a star in front.
    pub fn is_name(name: &str) -> bool {
        let rest = name.strip_prefix('*').unwrap_or(name);
        !rest.is_empty()
            && name.len() <= NAME_BYTES_MAX
            && rest.bytes().all(|b| b.is_ascii_graphic() && b != b'*')
    }
}

/// What does not fit in what services say of single hosts.
//= SE-HOST-CHECK-01
pub(crate) fn find(reader: &mut Reader, snapshot: &Snapshot) {
    for (index, service) in snapshot.virtual_service.iter().enumerate() {
        let list = format!("virtual_service[{index}].hosts");
        if service.hosts.is_empty() || reader.is_bad(&list) {
            continue;
        }
        if service.protocol != Protocol::Http && !reader.is_bad(&format!("virtual_service[{index}].protocol"))
        {
            let reason = format!("protocol = \"{}\" has no requests", service.protocol);
            report(reader, &list, &reason, "set protocol = \"http\", or remove it");
        }
        for (n, own) in service.hosts.iter().enumerate() {
            let at = format!("{list}[{n}]");
            if own.http_profile.is_none() && own.tls_profile.is_none() && !reader.is_bad_within(&at) {
                report(reader, &at, "it says nothing of its hosts", "name a profile, or remove it");
            }
            if own.tls_profile.is_some() && service.certificates.is_empty() {
                let fix = "name a [[certificate]] in certificates, or remove it";
                report(reader, &format!("{at}.tls_profile"), "the service's clients speak no TLS", fix);
            }
        }
        let profiles: BTreeSet<&str> =
            service.hosts.iter().filter_map(|own| own.tls_profile.as_deref()).collect();
        if profiles.len() > limits::HOST_TLS_PROFILES_MAX {
            let (got, max) = (profiles.len(), limits::HOST_TLS_PROFILES_MAX);
            let reason = format!("{got} different tls_profiles, at most {max} are taken");
            report(reader, &list, &reason, "split the service");
        }
        names_of(reader, &list, service);
    }
}

/// Each name once, and each one a name.
//= SE-HOST-CHECK-01
fn names_of(reader: &mut Reader, list: &str, service: &VirtualService) {
    let count: usize = service.hosts.iter().map(|own| own.names.len()).sum();
    if count > limits::SNI_NAMES_MAX {
        let reason = format!("{count} names, at most {} are taken", limits::SNI_NAMES_MAX);
        report(reader, list, &reason, "split the service");
        return;
    }
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for (n, own) in service.hosts.iter().enumerate() {
        let at = format!("{list}[{n}].names");
        if own.names.is_empty() && !reader.is_bad(&at) {
            report(reader, &at, "no request is for it", "name a host, or remove it");
        }
        for (m, name) in own.names.iter().enumerate() {
            let path = format!("{at}[{m}]");
            if reader.is_bad(&path) {
                continue;
            }
            if !OwnHosts::is_name(name) {
                let fix = "write one like \"app.example\", or \"*.example\" for all that end so";
                report(reader, &path, "this is no name of a host", fix);
                continue;
            }
            if let Some(first) = seen.get(&name.to_ascii_lowercase()) {
                let reason = format!("\"{}\" is {first} already", printable(name));
                report(reader, &path, &reason, "remove one of the two");
                continue;
            }
            seen.insert(name.to_ascii_lowercase(), path);
        }
    }
}
