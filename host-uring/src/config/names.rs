//! Which servers a pool has, where the document calls some of them by host names.
//!
//! Each address that a name has is a server of its own. It is known by its address alone, as every server is: clients
//! that are bound to it stay so while any name, or the document itself, leads there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use forebay_core::id::{Endpoint, ServerId};
use forebay_snapshot::limits::POOL_SERVERS_MAX;
use forebay_snapshot::{Snapshot, host_names};

/// Where host names lead, as far as it is known: each to its addresses in order. One without any is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses(BTreeMap<String, Vec<IpAddr>>);

impl Addresses {
    /// Of names with their addresses in any order.
    pub fn new(known: impl IntoIterator<Item = (String, Vec<IpAddr>)>) -> Self {
        let ordered = |(name, mut addresses): (String, Vec<IpAddr>)| {
            addresses.sort_unstable();
            addresses.dedup();
            (name, addresses)
        };
        Self(known.into_iter().map(ordered).collect())
    }

    fn of(&self, name: &str) -> &[IpAddr] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}

/// A name or an address of one that is no server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unplaced {
    /// The name with its port.
    pub name: String,
    /// The address that is left out; `None`: the name has none.
    pub address: Option<SocketAddr>,
    /// Why it is none.
    pub why: &'static str,
}

/// A server of the document at one address.
pub(super) struct Placed<'c> {
    pub(super) config: &'c forebay_snapshot::Server,
    pub(super) address: SocketAddr,
    pub(super) name: Option<Arc<str>>,
}

/// Addresses that the engine itself listens on, for whom a name must not lead back to it. None where the document has no
/// names: what it says of addresses was checked.
pub(super) fn own_addresses(snapshot: &Snapshot) -> BTreeSet<SocketAddr> {
    if host_names(snapshot).next().is_none() {
        return BTreeSet::new();
    }
    let services = snapshot.virtual_service.iter().filter(|service| service.enabled);
    services.flat_map(|service| service.listen.iter().copied()).collect()
}

/// The servers of a pool, and what is none; `own` are addresses of the engine itself.
//= NAME-SERVER-01
//= NAME-SAME-01
pub(super) fn place<'c>(
    pool: &'c forebay_snapshot::Pool,
    names: &Addresses,
    own: &BTreeSet<SocketAddr>,
) -> (Vec<Placed<'c>>, Vec<Unplaced>) {
    let port = pool.default_server_port;
    let said = |config: &forebay_snapshot::Server| config.address.with_default(port);
    let id = |address: SocketAddr| ServerId::of(Endpoint::from(address));
    let (mut placed, mut unplaced) = (Vec::with_capacity(pool.server.len()), Vec::new());
    // What the document says itself comes first, wherever it stands.
    let mut taken: BTreeSet<ServerId> = pool.server.iter().filter_map(said).map(id).collect();
    for config in &pool.server {
        let Some(name) = config.address.name() else {
            placed.extend(said(config).map(|address| Placed { config, address, name: None }));
            continue;
        };
        let port = config.address.port.unwrap_or(port);
        let full: Arc<str> = format!("{name}:{port}").into();
        let addresses = names.of(name);
        if addresses.is_empty() {
            unplaced.push(Unplaced { name: full.to_string(), address: None, why: NOT_RESOLVED });
        }
        for address in addresses.iter().map(|ip| SocketAddr::new(*ip, port)) {
            let why = if address.ip().is_unspecified() || address.ip().is_multicast() {
                Some("nothing can be reached there")
            } else if is_own(own, address) {
                Some("the engine itself listens there")
            } else if taken.len() >= POOL_SERVERS_MAX {
                Some("the pool has as many servers as it may")
            } else if !taken.insert(id(address)) {
                Some("another server of the pool is there already")
            } else {
                None
            };
            match why {
                Some(why) => {
                    unplaced.push(Unplaced { name: full.to_string(), address: Some(address), why });
                }
                None => placed.push(Placed { config, address, name: Some(Arc::clone(&full)) }),
            }
        }
    }
    (placed, unplaced)
}

/// What is said of a name that leads nowhere.
pub(super) const NOT_RESOLVED: &str = "name not resolved";

fn is_own(own: &BTreeSet<SocketAddr>, address: SocketAddr) -> bool {
    let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    // Which addresses of the machine a wildcard covers is known of loopback only.
    own.contains(&address)
        || (address.ip().is_loopback() && own.contains(&SocketAddr::new(any, address.port())))
}

#[cfg(test)]
mod tests {
    use super::super::Tree;
    use super::*;

    fn tree(servers: &str, known: &[(&str, &[&str])]) -> Tree {
        let document = format!(
            "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:8080\", \"0.0.0.0:8081\"]\npool = \"web\"\n\
             [[pool]]\nname = \"web\"\nserver = [{servers}]\n\
             [[pool]]\nname = \"last\"\nserver = [{{ address = \"192.0.2.99\" }}]\n"
        );
        let snapshot = forebay_snapshot::check(&document).unwrap_or_else(|p| panic!("{p:?}"));
        let ips = |list: &[&str]| list.iter().map(|ip| ip.parse().expect("an address")).collect::<Vec<_>>();
        let names = known.iter().map(|(name, list)| ((*name).to_owned(), ips(list)));
        Tree::after(snapshot, &[], &Addresses::new(names))
    }

    fn at(tree: &Tree) -> Vec<String> {
        tree.pools[0].servers.iter().map(|s| s.address.to_string()).collect()
    }

    //= test NAME-SERVER-01
    #[test]
    fn each_address_of_a_name_is_a_server_in_an_order_that_the_answer_does_not_change() {
        let servers = "{ address = \"b.internal:81\", ratio = 3 }, { address = \"192.0.2.1\" }";
        let one = tree(servers, &[("b.internal", &["192.0.2.7", "192.0.2.5", "2001:db8::1"])]);
        let other = tree(servers, &[("b.internal", &["2001:db8::1", "192.0.2.5", "192.0.2.7", "192.0.2.5"])]);
        assert_eq!(at(&one), ["192.0.2.5:81", "192.0.2.7:81", "[2001:db8::1]:81", "192.0.2.1:80"]);
        assert_eq!(at(&one), at(&other));
        let first = &one.pools[0].servers[0];
        assert_eq!((first.name.as_deref(), first.config.ratio), (Some("b.internal:81"), 3));
        assert_eq!(first.id, ServerId::of(Endpoint::from(first.address)), "cookies know it by its address");
    }

    //= test NAME-SAME-01
    #[test]
    fn an_address_that_has_a_server_already_or_leads_back_to_the_engine_is_left_out_and_said() {
        let servers = "{ address = \"a.internal\" }, { address = \"b.internal\" }, { address = \"192.0.2.1\" }, \
                       { address = \"b.internal:8080\" }, { address = \"b.internal:8081\" }";
        let tree = tree(
            servers,
            &[
                ("a.internal", &["192.0.2.1", "192.0.2.2", "0.0.0.0"]),
                ("b.internal", &["192.0.2.2", "127.0.0.1", "224.0.0.9"]),
            ],
        );
        assert_eq!(
            at(&tree),
            ["192.0.2.2:80", "127.0.0.1:80", "192.0.2.1:80", "192.0.2.2:8080", "192.0.2.2:8081"],
            "what the document says itself comes first"
        );
        let said: Vec<(&str, String, &str)> = tree.pools[0]
            .unplaced
            .iter()
            .map(|u| (u.name.as_str(), u.address.map(|a| a.to_string()).unwrap_or_default(), u.why))
            .collect();
        let (twice, own, nobody) = (
            "another server of the pool is there already",
            "the engine itself listens there",
            "nothing can be reached there",
        );
        for want in [
            ("a.internal:80", "0.0.0.0:80".to_owned(), nobody),
            ("a.internal:80", "192.0.2.1:80".to_owned(), twice),
            ("b.internal:80", "192.0.2.2:80".to_owned(), twice),
            ("b.internal:8080", "127.0.0.1:8080".to_owned(), own),
            ("b.internal:8081", "127.0.0.1:8081".to_owned(), own),
            ("b.internal:80", "224.0.0.9:80".to_owned(), nobody),
        ] {
            assert!(said.contains(&want), "{want:?} in {said:?}");
        }
    }

    #[test]
    fn a_pool_without_any_server_hides_none_of_the_others() {
        let tree = tree("{ address = \"a.internal\" }, { address = \"b.internal:81\" }", &[]);
        assert_eq!(tree.pools[0].servers.len(), 0);
        assert_eq!(tree.pools[0].unplaced.len(), 2);
        let (pool, server) = tree.server_at(0).expect("the server of the other pool");
        assert_eq!((pool.name.as_str(), server.slot, tree.server_slots), ("last", 0, 1));
        assert!(tree.server_at(1).is_none());
    }
}
