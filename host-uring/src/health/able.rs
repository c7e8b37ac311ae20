//! Whether this process can do at all what the monitors ask of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use forebay_snapshot::HealthMonitor;

use super::probe::{can_ping, can_start};
use crate::config::Tree;
use crate::fault::Fault;
use crate::tls::{ClientFiles, ClientProfile};

/// All monitors that this process cannot run, each with the reason and the remedy; to be asked once its rights are what
/// they will stay. A monitor that can never pass would take its pools out of service with the first look.
/// Those that `before` has as they are run already, and are not judged anew.
pub fn unable(tree: &Tree, before: Option<&Tree>) -> Vec<Fault> {
    let is_new = |monitor: &&HealthMonitor| !before.is_some_and(|before| before.monitors.contains(monitor));
    tree.monitors.iter().filter(is_new).filter_map(|monitor| said(tree, monitor)).collect()
}

fn said(tree: &Tree, monitor: &HealthMonitor) -> Option<Fault> {
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
    let name = monitor.name();
    // Rights are given and programs installed beside the configuration.
    why.map(|why| {
        Fault::of("health_monitor", name, format!("health_monitor \"{name}\": {why}")).that_may_mend()
    })
}
