//! What is probed: one target for all servers that are asked the same at the same address.
//!
//! Targets that a new configuration asks the same of go on as they are: neither their state nor the time of their next
//! probe changes by a reload.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use forebay_core::units::Now;
use forebay_health::{Attempt, Monitor, PassiveRule, ServerHealth, State};
use forebay_proxy_protocol::Version;
use forebay_snapshot::HealthMonitor;
use tokio::sync::oneshot;

use super::{Driver, Seen, convert, publish, state_of};
use crate::config::{Server, Tree};
use crate::l4::introduce;
use crate::metrics::Counter;

/// Servers that agree in these are one target: address, monitors, passive monitor, version of the PROXY header.
type Alike<'t> = (SocketAddr, Vec<&'t str>, bool, Option<u8>);

/// An address with the monitors that judge it.
pub(super) struct Target {
    /// The PROXY header that the server wants: probes speak for the engine itself.
    pub(super) introduces: Option<Version>,
    /// Where each monitor probes.
    pub(super) probes: Vec<(SocketAddr, Arc<Monitor>)>,
    address: SocketAddr,
    passive: bool,
    pub(super) health: ServerHealth,
    /// Slots of the servers that this target stands for.
    pub(super) slots: Vec<usize>,
    pub(super) running: BTreeMap<(usize, Attempt), oneshot::Sender<()>>,
    pub(super) due: Option<Now>,
}

impl Driver {
    /// Makes the targets of `tree`; those that are asked the same as before go on.
    //= OBS-HEALTH-01
    //= RELOAD-HEALTH-01
    pub(super) fn make_targets(&mut self, tree: Arc<Tree>) {
        let mut before = std::mem::take(&mut self.targets);
        let monitors: BTreeMap<&str, Arc<Monitor>> =
            tree.monitors.iter().map(|m| (m.name().as_str(), Arc::new(convert::monitor(m)))).collect();
        let ports: BTreeMap<&str, Option<u16>> =
            tree.monitors.iter().map(|m: &HealthMonitor| (m.name().as_str(), m.port())).collect();
        let mut known: BTreeMap<Alike<'_>, usize> = BTreeMap::new();
        let now = self.now();
        self.seen = vec![Seen::default(); tree.server_slots];
        for (pool, server) in tree.servers() {
            let mut names: Vec<&str> = pool.config.health_monitors.iter().map(String::as_str).collect();
            names.sort_unstable();
            let passive = pool.config.passive_health_monitor;
            let introduces = introduce::version(pool.config.send_proxy_protocol);
            let wants = introduces.map(|version| version as u8);
            let number = *known.entry((server.address, names.clone(), passive, wants)).or_insert_with(|| {
                let at = |name: &str| {
                    let port = ports.get(name).copied().flatten().unwrap_or(server.address.port());
                    Some((SocketAddr::new(server.address.ip(), port), Arc::clone(monitors.get(name)?)))
                };
                let probes: Vec<(SocketAddr, Arc<Monitor>)> =
                    names.iter().filter_map(|name| at(name)).collect();
                let same = |t: &Target| {
                    t.address == server.address
                        && t.passive == passive
                        && t.introduces == introduces
                        && t.probes == probes
                };
                if let Some(number) =
                    before.iter().find(|(_, target)| same(target)).map(|(number, _)| *number)
                    && let Some(mut target) = before.remove(&number)
                {
                    target.slots.clear();
                    self.targets.insert(number, target);
                    return number;
                }
                let timings: Vec<_> = probes.iter().map(|(_, monitor)| monitor.timing).collect();
                let rule = PassiveRule { enabled: passive, ..PassiveRule::default() };
                let health = ServerHealth::new(&timings, rule, server.id.0, now);
                let (slots, running) = (Vec::new(), BTreeMap::new());
                self.targets_made += 1;
                let target = Target {
                    introduces,
                    probes,
                    address: server.address,
                    passive,
                    health,
                    slots,
                    running,
                    due: None,
                };
                self.targets.insert(self.targets_made, target);
                self.targets_made
            });
            if let Some(target) = self.targets.get_mut(&number) {
                target.slots.push(server.slot);
            }
            self.seen[server.slot] = Seen::of(server, number);
        }
        // Who is asked no more: its probes end as their sender goes.
        for (number, gone) in before {
            if let Some(due) = gone.due {
                self.due.remove(&(due, number));
            }
        }
        self.tree = tree;
    }

    /// Another configuration has taken the place of the one that is followed.
    pub(super) fn follow(&mut self, tree: Arc<Tree>) {
        self.make_targets(tree);
        // A server that is new to a target which knows its state already has that state. One whose monitors are others
        // than before keeps the state that it has until the new ones judge.
        for target in self.targets.values().filter(|target| target.health.state() != State::Checking) {
            let why = if target.probes.is_empty() { "no monitor" } else { "its address was probed before" };
            for (pool, server) in target.slots.iter().filter_map(|slot| self.tree.server_at(*slot)) {
                publish(&self.tree, pool, server, state_of(target.health.state()), why, None);
            }
        }
        (self.changed)();
        let targets: Vec<usize> = self.targets.keys().copied().collect();
        for target in targets {
            self.turn(target);
        }
    }
}

impl Seen {
    /// What is counted for a server so far: it was judged by that before.
    fn of(server: &Server, target: usize) -> Self {
        let counts = &server.shared.counts;
        Self {
            target,
            ok: counts.sum(|s| s.responses[..4].iter().map(Counter::get).sum()),
            status_5xx: counts.sum(|s| s.responses[4].get()),
            failed: counts.sum(|s| s.connect_failures.get() + s.aborts.get()),
        }
    }
}
