//! Whether this process can do at all what the monitors ask of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use forebay_snapshot::HealthMonitor;

use super::probe::{can_ping, can_start};
use crate::config::Tree;
use crate::tls::{ClientFiles, ClientProfile};

/// All monitors that this process cannot run, each with the reason and the remedy; to be asked once its rights are what
/// they will stay. A monitor that can never pass would take its pools out of service with the first look.
pub fn unable(tree: &Tree) -> Vec<String> {
    tree.monitors.iter().filter_map(|monitor| said(tree, monitor)).collect()
}

fn said(tree: &Tree, monitor: &HealthMonitor) -> Option<String> {
    let why = match monitor {
        HealthMonitor::Ping(_) => {
            let asks = |name: &String| name == monitor.name();
            let servers = tree.servers().filter(|(pool, _)| pool.config.health_monitors.iter().any(asks));
            // One address of each family stands for all.
            let families: BTreeMap<bool, IpAddr> =
                servers.map(|(_, server)| (server.address.is_ipv6(), server.address.ip())).collect();
            families.values().find_map(|address| can_ping(*address).err())
        }
        HealthMonitor::External(external) => {
            external.command.first().and_then(|program| can_start(program).err())
        }
        HealthMonitor::Https(https) => ClientProfile::new(ClientFiles::of(https, |path| path.into()))
            .config()
            .err()
            .map(|why| why.to_string()),
        HealthMonitor::Tcp(_) | HealthMonitor::Http(_) | HealthMonitor::Udp(_) | HealthMonitor::Grpc(_) => {
            None
        }
    };
    why.map(|why| format!("health_monitor \"{}\": {why}", monitor.name()))
}
