//! Host names of servers: where they are looked up, and how many there may be.

use std::collections::BTreeSet;

use crate::Snapshot;
use crate::limits::{HOST_NAMES_MAX, NAME_SERVERS_MAX};
use crate::read::Reader;

//= CFG-NAME-01
pub(crate) fn find(reader: &mut Reader, snapshot: &Snapshot) {
    let dns = &snapshot.engine.dns;
    if u32::from(dns.ttl_min_s) > dns.ttl_max_s && !reader.is_bad("engine.dns.ttl_max_s") {
        let reason = format!("{} s is below ttl_min_s = {} s", dns.ttl_max_s, dns.ttl_min_s);
        reader.report("engine.dns.ttl_max_s", reason, "raise it, or lower ttl_min_s");
    }
    if dns.servers.len() > NAME_SERVERS_MAX {
        let reason = format!("{} name servers, at most {NAME_SERVERS_MAX} are asked", dns.servers.len());
        reader.report("engine.dns.servers", reason, "keep the nearest");
    }
    for (n, server) in dns.servers.iter().enumerate() {
        let path = format!("engine.dns.servers[{n}]");
        if !reader.is_bad(&path) && (server.ip().is_unspecified() || server.port() == 0) {
            let reason = format!("nothing can be asked at {server}");
            reader.report(
                &path,
                reason,
                "write the name server's own address and port, as in \"192.0.2.53:53\"",
            );
        }
    }
    let names: BTreeSet<&str> = host_names(snapshot).collect();
    if names.len() > HOST_NAMES_MAX {
        let reason = format!("{} different host names, at most {HOST_NAMES_MAX} are looked up", names.len());
        reader.report("pool", reason, "write IP addresses, or let one name have several");
    }
}

/// The host names of all servers, a name for each server that has one.
pub fn host_names(snapshot: &Snapshot) -> impl Iterator<Item = &str> {
    snapshot.pool.iter().flat_map(|pool| &pool.server).filter_map(|server| server.address.name())
}
