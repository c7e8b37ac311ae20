//! What engines tell, as the Controller keeps it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use forebay_model::compile::uuid_of;
use forebay_wire::limits::{
    PROBLEM_BYTES_MAX, PROBLEMS_MAX, UNTAKEN_BYTES_MAX, UNTAKEN_MAX, UNTAKEN_WHYS_MAX,
};
use forebay_wire::proto;

use crate::engines::{Engine, Interface, Machine, Peer, Server, Service, Untaken};

/// Services and servers that are kept of one engine: what a document of the longest kind may have.
const KEPT_MAX: usize = 200_000;
/// Interfaces of one engine.
const INTERFACES_MAX: usize = 1_024;
/// Bytes of a name, or of a reason.
const TEXT_MAX: usize = 512;

/// An address of 4 or 16 bytes.
pub fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

fn short(mut text: String, bytes: usize) -> String {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// Problems, as many as people read.
pub fn problems(told: Vec<String>) -> Vec<String> {
    told.into_iter().take(PROBLEMS_MAX).map(|text| short(text, PROBLEM_BYTES_MAX)).collect()
}

/// What an engine runs on.
pub fn machine(told: proto::Machine) -> Machine {
    let networks = |networks: Vec<proto::Network>| {
        let read = |network: proto::Network| {
            let address = address(&network.address)?;
            let longest = if address.is_ipv4() { 32 } else { 128 };
            Some((address, u8::try_from(network.prefix_length).ok().filter(|length| *length <= longest)?))
        };
        networks.into_iter().take(INTERFACES_MAX).filter_map(read).collect()
    };
    let interface = |interface: proto::Interface| Interface {
        name: short(interface.name, TEXT_MAX),
        mac: short(interface.mac, TEXT_MAX),
        addresses: networks(interface.networks),
        is_up: interface.is_up,
        is_loopback: interface.is_loopback,
        mtu: interface.mtu,
    };
    Machine {
        cores: told.cores,
        memory_bytes: told.memory_bytes,
        interfaces: told.interfaces.into_iter().take(INTERFACES_MAX).map(interface).collect(),
        routes: networks(told.routes),
    }
}

/// Adds a report to what is known.
//= CHAN-REPORT-01
pub fn report(engine: &mut Engine, told: proto::Report) {
    let is_news = told.whole || !told.servers.is_empty() || !told.servers_gone.is_empty();
    engine.reports += u64::from(is_news);
    engine.is_telling = told.more;
    if told.whole {
        engine.services.clear();
        engine.servers.clear();
    }
    for name in told.services_gone {
        engine.services.remove(&name);
    }
    for server in told.servers_gone {
        engine.servers.remove(&(server.pool, server.address));
    }
    for service in told.services {
        let name = short(service.name, TEXT_MAX);
        if engine.services.len() < KEPT_MAX || engine.services.contains_key(&name) {
            let service = Service {
                is_up: service.is_up,
                is_listening: service.is_listening,
                connections: service.connections,
            };
            engine.services.insert(name, service);
        }
    }
    for server in told.servers {
        let place = (short(server.pool, TEXT_MAX), short(server.address, TEXT_MAX));
        if engine.servers.len() < KEPT_MAX || engine.servers.contains_key(&place) {
            let server = Server { state: short(server.state, TEXT_MAX), why: short(server.why, TEXT_MAX) };
            engine.servers.insert(place, server);
        }
    }
    //= CHAN-PART-06
    if told.whole || told.untaken.is_some() {
        engine.untaken = untaken(told.untaken.unwrap_or_default());
    }
    if let Some(told) = told.machine {
        engine.machine = machine(told);
    }
    engine.has_tables = told.has_tables;
    let peer = |peer: proto::Peer| {
        Some(Peer {
            slot: u8::try_from(peer.slot).ok().filter(|slot| *slot < crate::engines::SLOTS)?,
            is_connected: peer.is_connected,
            waiting: peer.waiting,
            is_equal: peer.is_equal,
        })
    };
    engine.peers = told.peers.into_iter().take(crate::engines::SLOTS.into()).filter_map(peer).collect();
}

/// By the services' uuids: one of several kinds of ports is several services of the engine's document.
fn untaken(told: proto::AllUntaken) -> BTreeMap<String, Untaken> {
    let mut all: BTreeMap<String, Untaken> = BTreeMap::new();
    for one in told.services.into_iter().take(UNTAKEN_MAX) {
        let known = all.entry(short(uuid_of(&one.service).to_owned(), TEXT_MAX)).or_default();
        known.is_left_out |= one.is_left_out;
        known.may_mend |= one.is_left_out && one.may_mend;
        for text in one.why.into_iter().take(UNTAKEN_WHYS_MAX) {
            let text = short(text, UNTAKEN_BYTES_MAX);
            if !known.why.contains(&text) {
                known.why.push(text);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, is_up: bool) -> proto::Service {
        proto::Service { name: name.to_owned(), is_up, ..Default::default() }
    }

    //= test CHAN-REPORT-01
    //= test CHAN-PART-06
    #[test]
    fn reports_add_up_and_a_whole_one_begins_anew() {
        let mut engine = Engine::default();
        let states = |engine: &Engine| -> Vec<(String, bool)> {
            engine.services.iter().map(|(name, service)| (name.clone(), service.is_up)).collect()
        };
        let told = proto::Report {
            whole: true,
            services: vec![service("a", true), service("b", true)],
            ..Default::default()
        };
        report(&mut engine, told);
        let told = proto::Report {
            services: vec![service("b", false), service("c", true)],
            services_gone: vec!["a".to_owned()],
            ..Default::default()
        };
        report(&mut engine, told);
        assert_eq!(states(&engine), [("b".to_owned(), false), ("c".to_owned(), true)]);
        report(&mut engine, proto::Report { whole: true, ..Default::default() });
        assert!(states(&engine).is_empty());
        // What could not be taken stays so until it is told anew; an older engine tells nothing of it.
        let one = |service: &str, is_left_out| proto::Untaken {
            service: service.to_owned(),
            is_left_out,
            why: vec!["w".to_owned()],
            may_mend: true,
        };
        let services = vec![one("a/http", false), one("a", true), one("b", false)];
        let untaken = Some(proto::AllUntaken { services });
        report(&mut engine, proto::Report { untaken, ..Default::default() });
        report(&mut engine, proto::Report::default());
        assert_eq!(engine.lacking().map(|(uuid, _)| uuid.as_str()).collect::<Vec<_>>(), ["a"]);
        assert_eq!(engine.as_before().map(|(uuid, _)| uuid.as_str()).collect::<Vec<_>>(), ["b"]);
        // That another engine may have it is said of what it does not serve.
        assert_eq!(["a", "b"].map(|uuid| engine.untaken[uuid].may_mend), [true, false]);
        report(&mut engine, proto::Report { whole: true, ..Default::default() });
        assert!(engine.untaken.is_empty());
        let odd = proto::Network { address: vec![1, 2, 3], prefix_length: 8 };
        let good = proto::Network { address: vec![192, 0, 2, 1], prefix_length: 24 };
        let long = proto::Network { address: vec![192, 0, 2, 1], prefix_length: 33 };
        let networks = vec![odd, good, long];
        let interface = proto::Interface { networks: networks.clone(), ..Default::default() };
        let told = proto::Machine { interfaces: vec![interface], routes: networks, ..Default::default() };
        let read = machine(told);
        for networks in [&read.interfaces[0].addresses, &read.routes] {
            assert_eq!(*networks, [(IpAddr::from([192, 0, 2, 1]), 24)]);
        }
        assert_eq!(short("ää".to_owned(), 3), "ä");
    }
}
