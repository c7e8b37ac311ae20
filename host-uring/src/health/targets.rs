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

use super::probe::{Ask, Secure};
use super::{Driver, Seen, convert, publish, state_of};
use crate::config::{Server, Tree};
use crate::l4::introduce;
use crate::metrics::Counter;
use crate::tls::{ClientFiles, ClientProfile};

/// Servers that agree in these are one target: address, the name that led there, monitors, passive monitor, version of the
/// PROXY header.
type Alike<'t> = (SocketAddr, Option<&'t str>, Vec<&'t str>, bool, Option<u8>);

/// An address with the monitors that judge it.
pub(super) struct Target {
    /// The PROXY header that the server wants: probes speak for the engine itself.
    pub(super) introduces: Option<Version>,
    /// What each monitor asks.
    pub(super) probes: Vec<Arc<Ask>>,
    address: SocketAddr,
    passive: bool,
    pub(super) health: ServerHealth,
    /// Slots of the servers that this target stands for.
    pub(super) slots: Vec<usize>,
    pub(super) running: BTreeMap<(usize, Attempt), oneshot::Sender<()>>,
    pub(super) due: Option<Now>,
}

/// A monitor of the document, made ready to ask any server.
struct Asked<'t> {
    from: &'t HealthMonitor,
    monitor: Arc<Monitor>,
    trust: Option<Arc<ClientProfile>>,
}

impl<'t> Asked<'t> {
    fn of(from: &'t HealthMonitor) -> Self {
        let trust = match from {
            HealthMonitor::Https(https) => {
                Some(Arc::new(ClientProfile::new(ClientFiles::of(https, |path| path.into()))))
            }
            _ => None,
        };
        Self { from, monitor: Arc::new(convert::monitor(from)), trust }
    }

    /// What it asks this server.
    //= HM-HTTPS-04
    fn at(&self, server: &Server) -> Ask {
        let port = self.from.port().unwrap_or(server.address.port());
        let address = SocketAddr::new(server.address.ip(), port);
        let given = match self.from {
            HealthMonitor::Https(https) => https.server_name.as_deref(),
            _ => None,
        };
        let named = given.or_else(|| server.config.address.name());
        let host = match named {
            Some(name) if port == if self.trust.is_some() { 443 } else { 80 } => name.to_owned(),
            Some(name) => format!("{name}:{port}"),
            None => address.to_string(),
        };
        let secure = self.trust.as_ref().map(|trust| Secure {
            trust: Arc::clone(trust),
            name: named.map_or_else(|| address.ip().to_string(), str::to_owned),
        });
        Ask { address, host, monitor: Arc::clone(&self.monitor), secure }
    }
}

impl Driver {
    /// Makes the targets of `tree`; those that are asked the same as before go on.
    //= OBS-HEALTH-01
    //= RELOAD-HEALTH-01
    pub(super) fn make_targets(&mut self, tree: Arc<Tree>) {
        let mut before = std::mem::take(&mut self.targets);
        let monitors: BTreeMap<&str, Asked<'_>> =
            tree.monitors.iter().map(|m| (m.name().as_str(), Asked::of(m))).collect();
        let mut known: BTreeMap<Alike<'_>, usize> = BTreeMap::new();
        let now = self.now();
        self.seen = vec![Seen::default(); tree.server_slots];
        for (pool, server) in tree.servers() {
            let mut names: Vec<&str> = pool.config.health_monitors.iter().map(String::as_str).collect();
            names.sort_unstable();
            let passive = pool.config.passive_health_monitor;
            let introduces = introduce::version(pool.config.send_proxy_protocol);
            let wants = introduces.map(|version| version as u8);
            let alike = (server.address, server.name.as_deref(), names.clone(), passive, wants);
            let number = *known.entry(alike).or_insert_with(|| {
                let probes: Vec<Arc<Ask>> =
                    names.iter().filter_map(|name| Some(Arc::new(monitors.get(name)?.at(server)))).collect();
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
                let timings: Vec<_> = probes.iter().map(|ask| ask.monitor.timing).collect();
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
