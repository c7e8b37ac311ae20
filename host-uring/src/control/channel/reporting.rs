//! What the engine reports: all of it first, then what has changed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use forebay_wire::limits::REPORTED_MAX;
use forebay_wire::proto::{AllUntaken, Machine, Peer, Report, Server, Service, Untaken};

use super::machine;
use crate::config::Tree;
use crate::control::State;
use crate::control::answers::usable;

/// Interfaces are looked at this often.
const MACHINE_EVERY: Duration = Duration::from_secs(10);
/// Bytes of a reason.
const WHY_MAX: usize = 200;

/// What was reported.
pub struct Reporting {
    every: Duration,
    last: Option<Instant>,
    services: BTreeMap<String, Service>,
    servers: BTreeMap<(String, String), Server>,
    machine: (Option<Instant>, Machine),
    peers: Vec<Peer>,
    has_tables: bool,
    untaken: Vec<Untaken>,
}

impl Reporting {
    /// Nothing yet; something is reported at least this often.
    pub fn new(every: Duration) -> Self {
        Self {
            every,
            last: None,
            services: BTreeMap::new(),
            servers: BTreeMap::new(),
            machine: (None, Machine::default()),
            peers: Vec::new(),
            has_tables: false,
            untaken: Vec::new(),
        }
    }

    /// What is to be reported now (`is_complete`: tables that a configuration has brought are; `untaken`: what the engine could
    /// not take of its configuration): nothing, where nothing that matters has changed and the last report is not old enough.
    //= CHAN-REPORT-01
    //= CHAN-HEART-01
    //= CHAN-PART-06
    pub fn due(&mut self, state: &State, is_complete: bool, untaken: &[Untaken]) -> Vec<Report> {
        let now = Instant::now();
        let is_old = self.last.is_none_or(|last| now.duration_since(last) >= self.every);
        let tree = state.tree();
        let (services, servers) = (services(&tree, state), servers(&tree));
        let (peers, has_tables) = (peers(state), state.has_joined() && is_complete);
        let is_whole = self.last.is_none();
        let mut report = Report { whole: is_whole, has_tables, peers: peers.clone(), ..Report::default() };
        let differs = |before: Option<&Service>, after: &Service| match before {
            // How many connections are open changes all the time: it is told with what is told anyway.
            Some(before) if is_old => before != after,
            Some(before) => (before.is_up, before.is_listening) != (after.is_up, after.is_listening),
            None => true,
        };
        let set = services.iter().filter(|(name, service)| differs(self.services.get(*name), service));
        report.services = set.map(|(_, service)| service.clone()).collect();
        let set = servers.iter().filter(|(place, server)| self.servers.get(*place) != Some(server));
        report.servers = set.map(|(_, server)| server.clone()).collect();
        report.services_gone =
            self.services.keys().filter(|name| !services.contains_key(*name)).cloned().collect();
        let gone = self.servers.iter().filter(|(place, _)| !servers.contains_key(*place));
        report.servers_gone = gone.map(|(_, server)| server.clone()).collect();
        if self.machine.0.is_none_or(|then| now.duration_since(then) >= MACHINE_EVERY) {
            let seen = machine::look();
            if seen != self.machine.1 {
                report.machine = Some(seen.clone());
            }
            self.machine = (Some(now), seen);
        }
        if is_whole || untaken != self.untaken {
            report.untaken = Some(AllUntaken { services: untaken.to_vec() });
            self.untaken = untaken.to_vec();
        }
        let is_news = is_whole
            || report.untaken.is_some()
            || !report.services.is_empty()
            || !report.servers.is_empty()
            || !report.services_gone.is_empty()
            || !report.servers_gone.is_empty()
            || report.machine.is_some()
            || has_tables != self.has_tables
            || states(&peers) != states(&self.peers);
        if !is_news && !is_old {
            return Vec::new();
        }
        (self.last, self.peers, self.has_tables) = (Some(now), peers, has_tables);
        // What is told now is what the next one is compared with; the rest is as it was told before.
        for service in &report.services {
            self.services.insert(service.name.clone(), service.clone());
        }
        self.services.retain(|name, _| services.contains_key(name));
        self.servers = servers;
        split(report)
    }
}

/// What of the other engines is news at once.
fn states(peers: &[Peer]) -> Vec<(u32, bool, bool)> {
    peers.iter().map(|peer| (peer.slot, peer.is_connected, peer.is_equal)).collect()
}

/// In messages of a bounded size; each says all that is not a list of services or servers.
fn split(mut report: Report) -> Vec<Report> {
    let (mut services, mut servers) =
        (std::mem::take(&mut report.services), std::mem::take(&mut report.servers));
    let (mut services_gone, mut servers_gone) =
        (std::mem::take(&mut report.services_gone), std::mem::take(&mut report.servers_gone));
    let mut all = Vec::new();
    loop {
        let next = Report {
            services: drained(&mut services),
            servers: drained(&mut servers),
            services_gone: drained(&mut services_gone),
            servers_gone: drained(&mut servers_gone),
            ..report.clone()
        };
        let is_last =
            services.is_empty() && servers.is_empty() && services_gone.is_empty() && servers_gone.is_empty();
        all.push(Report { more: !is_last, ..next });
        if is_last {
            return all;
        }
        (report.whole, report.machine, report.untaken) = (false, None, None);
    }
}

fn drained<T>(list: &mut Vec<T>) -> Vec<T> {
    list.drain(..list.len().min(REPORTED_MAX)).collect()
}

fn services(tree: &Tree, state: &State) -> BTreeMap<String, Service> {
    let has_joined = state.has_joined();
    let listening: std::collections::BTreeSet<usize> =
        tree.listeners.iter().map(|listener| listener.service.0).collect();
    let told = |(index, service): (usize, &crate::config::Service)| Service {
        name: service.name.clone(),
        is_up: tree.pools_of(service).iter().any(|pool| usable(tree.pool(*pool)) > 0),
        // One that is off has no address.
        is_listening: has_joined && listening.contains(&index),
        connections: service.shared.counts.sum(|counts| counts.connections.now()),
    };
    tree.services.iter().enumerate().map(told).map(|service| (service.name.clone(), service)).collect()
}

fn servers(tree: &Tree) -> BTreeMap<(String, String), Server> {
    let told = |pool: &crate::config::Pool, server: &crate::config::Server| {
        let report = server.shared.report();
        let mut why = report.why.to_string();
        let mut end = why.len().min(WHY_MAX);
        while !why.is_char_boundary(end) {
            end -= 1;
        }
        why.truncate(end);
        let (pool, address) = (pool.name.clone(), server.address.to_string());
        Server { pool, address, state: report.state.word().to_owned(), why }
    };
    let all = tree.servers().map(|(pool, server)| told(pool, server));
    all.map(|server| ((server.pool.clone(), server.address.clone()), server)).collect()
}

fn peers(state: &State) -> Vec<Peer> {
    let Some(sync) = state.sync() else { return Vec::new() };
    let told = |peer: crate::sync::PeerStatus| {
        let figures = peer.figures.unwrap_or_default();
        Peer {
            slot: peer.slot.get().into(),
            is_connected: figures.connected,
            waiting: figures.behind as u64,
            is_equal: figures.synced && figures.differing == 0 && peer.differs.count() == 0,
        }
    };
    let peers = sync.view().status().peers.into_iter();
    // What the Controller itself mirrors it knows.
    peers.filter(|peer| !peer.reads).map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test CHAN-REPORT-01
    #[test]
    fn a_long_report_is_told_in_messages_of_a_bounded_size_of_which_the_first_is_whole() {
        let service = |n: usize| Service { name: format!("s-{n}"), ..Service::default() };
        let server = |n: usize| Server { pool: "p".to_owned(), address: n.to_string(), ..Server::default() };
        let report = Report {
            whole: true,
            services: (0..2 * REPORTED_MAX + 1).map(service).collect(),
            servers: (0..REPORTED_MAX).map(server).collect(),
            has_tables: true,
            ..Report::default()
        };
        let all = split(report);
        assert_eq!(
            all.iter().map(|one| one.services.len()).collect::<Vec<_>>(),
            [REPORTED_MAX, REPORTED_MAX, 1]
        );
        assert_eq!(all.iter().map(|one| one.servers.len()).sum::<usize>(), REPORTED_MAX);
        assert_eq!(all.iter().map(|one| one.whole).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(all.iter().map(|one| one.more).collect::<Vec<_>>(), [true, true, false]);
        assert!(all.iter().all(|one| one.has_tables));
        assert_eq!(split(Report::default()).len(), 1, "a heartbeat says nothing else");
    }
}
