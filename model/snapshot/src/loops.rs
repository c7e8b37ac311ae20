//! Servers that are listeners of the same engine, by which requests would come back for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::Snapshot;
use crate::ignored::reach;
use crate::read::{Reader, printable};
use crate::service::Protocol;

/// A listener, or a server that may be one: its address, and whether it takes datagrams.
type Place = (SocketAddr, bool);

/// Reports servers through which a service's requests come back to it.
//= CFG-LOOP-01
pub(crate) fn find(reader: &mut Reader, snapshot: &Snapshot) {
    let services = &snapshot.virtual_service;
    let mut listeners: BTreeMap<Place, usize> = BTreeMap::new();
    for (index, service) in services.iter().enumerate() {
        let is_udp = service.protocol == Protocol::Udp;
        listeners.extend(service.listen.iter().map(|address| ((*address, is_udp), index)));
    }
    // Which services a service's servers are.
    let onward: Vec<Vec<(String, usize)>> = services
        .iter()
        .map(|service| {
            let is_udp = service.protocol == Protocol::Udp;
            let reached = reach(service, snapshot);
            let mut found = Vec::new();
            for (p, pool) in
                snapshot.pool.iter().enumerate().filter(|(_, p)| reached.contains(p.name.as_str()))
            {
                for (s, server) in pool.server.iter().enumerate() {
                    // Where a name leads is known later; what leads back to the engine is left out then.
                    let Some(address) = server.address.with_default(pool.default_server_port) else {
                        continue;
                    };
                    if let Some(service) = service_at(&listeners, (address, is_udp)) {
                        found.push((format!("pool[{p}].server[{s}].address"), service));
                    }
                }
            }
            found
        })
        .collect();
    for (index, own) in onward.iter().enumerate() {
        for (path, first) in own {
            if !reader.is_bad(path) && comes_back(&onward, *first, index) {
                let name = printable(&services[index].name);
                let reason = match *first == index {
                    true => format!("it is virtual_service \"{name}\" itself, which sends its requests here"),
                    false => format!(
                        "it is virtual_service \"{}\", from which requests come back to \"{name}\"",
                        printable(&services[*first].name)
                    ),
                };
                reader.report(path, reason, "write the address of a server behind the engine");
            }
        }
    }
}

/// The service that listens at an address. What the wildcard covers is known of loopback only: which other addresses
/// are the machine's own is not.
fn service_at(listeners: &BTreeMap<Place, usize>, (address, is_udp): Place) -> Option<usize> {
    let any = if address.is_ipv4() { "0.0.0.0" } else { "::" };
    let covered = any.parse().ok().filter(|_| address.ip().is_loopback());
    let wildcard = covered.map(|ip| (SocketAddr::new(ip, address.port()), is_udp));
    listeners.get(&(address, is_udp)).or_else(|| listeners.get(&wildcard?)).copied()
}

/// Whether requests to the service `from` can reach the service `to`.
fn comes_back(onward: &[Vec<(String, usize)>], from: usize, to: usize) -> bool {
    let (mut open, mut seen) = (vec![from], BTreeSet::new());
    while let Some(at) = open.pop() {
        if at == to {
            return true;
        }
        if seen.insert(at) {
            open.extend(onward[at].iter().map(|(_, next)| *next));
        }
    }
    false
}
