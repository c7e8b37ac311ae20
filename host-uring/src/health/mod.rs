//! The driver of the health monitors.
//!
//! One task on the control thread keeps a `ServerHealth` for each *target*: an address with the monitors
//! that judge it. Two pools that send the same monitors to the same address share one target, so the
//! server is asked once. Each change of state is published to the workers (an atomic and the pool's
//! generation), noted in the server's [`ServerReport`], logged as an event, and counted.

mod able;
mod board;
mod convert;
pub(crate) mod events;
mod probe;
mod targets;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use forebay_core::units::Now;
use forebay_health::{Action, Attempt, Event, Failure, Outcome, State, Traffic, Why};
use probe::Ask;
use targets::Target;
use tokio::sync::{mpsc, oneshot, watch};

pub use able::unable;
pub use board::ServerReport;
pub use convert::monitor;
use events::{say, say_pool, up_servers};

use crate::config::{HealthState, Pool, Server, Tree};
use crate::control::Running;
use crate::limits::{PASSIVE_LOOK_MS, PROBES_AT_ONCE_MAX};
use crate::metrics::Counter;

/// Drives all monitors of a tree; runs until dropped.
pub struct Driver {
    tree: Arc<Tree>,
    /// By numbers that are never given twice: a probe may end after its target.
    targets: BTreeMap<usize, Target>,
    targets_made: usize,
    /// Targets by the time they want to be called.
    due: BTreeSet<(Now, usize)>,
    /// The target of each server slot, with what was counted when it was last looked at.
    seen: Vec<Seen>,
    started: Instant,
    places: probe::Places,
    results: mpsc::Sender<Ended>,
    ended: mpsc::Receiver<Ended>,
    /// Told after each publication, to wake the workers.
    changed: Box<dyn FnMut() + Send>,
}

/// A probe that ended.
struct Ended {
    target: usize,
    monitor: usize,
    attempt: Attempt,
    outcome: Outcome,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    target: usize,
    ok: u64,
    failed: u64,
    status_5xx: u64,
}

impl Driver {
    /// Prepares the monitors of `tree`; `changed` is called after a change was published.
    pub fn new(tree: Arc<Tree>, changed: Box<dyn FnMut() + Send>) -> Self {
        let (results, ended) = mpsc::channel(PROBES_AT_ONCE_MAX);
        let mut this = Self {
            seen: Vec::new(),
            targets: BTreeMap::new(),
            targets_made: 0,
            due: BTreeSet::new(),
            started: Instant::now(),
            places: probe::Places::default(),
            tree: Arc::clone(&tree),
            results,
            ended,
            changed,
        };
        this.make_targets(tree);
        this
    }

    fn now(&self) -> Now {
        Now(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Runs the monitors; `running` says when another configuration takes the place of the one it began with.
    pub async fn run(mut self, mut running: watch::Receiver<Arc<Running>>) {
        let targets: Vec<usize> = self.targets.keys().copied().collect();
        for target in targets {
            self.turn(target);
        }
        let mut look = tokio::time::interval(Duration::from_millis(PASSIVE_LOOK_MS));
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let next = self.due.first().map_or(Now::NEVER, |(at, _)| *at);
            let wait = Duration::from_micros(next.since(self.now()).0.min(3_600_000_000));
            tokio::select! {
                ended = self.ended.recv() => {
                    if let Some(ended) = ended {
                        self.take(ended);
                    }
                }
                () = tokio::time::sleep(wait) => self.call_due(),
                _ = look.tick() => self.look_at_traffic(),
                Ok(()) = running.changed() => {
                    let tree = Arc::clone(&running.borrow_and_update().tree);
                    self.follow(tree);
                }
            }
        }
    }

    fn call_due(&mut self) {
        let now = self.now();
        while let Some((at, target)) = self.due.first().copied() {
            if at > now {
                break;
            }
            self.due.pop_first();
            if let Some(target) = self.targets.get_mut(&target) {
                target.due = None;
            }
            self.turn(target);
        }
    }

    fn take(&mut self, ended: Ended) {
        let now = self.now();
        // Its target may be gone with its configuration.
        let Some(target) = self.targets.get_mut(&ended.target) else { return };
        target.running.remove(&(ended.monitor, ended.attempt));
        let servers = target.slots.iter().filter_map(|slot| self.tree.server_at(*slot));
        note(servers.map(|(_, server)| server), &ended, &target.probes);
        target.health.handle_result(now, ended.monitor, ended.attempt, ended.outcome);
        self.turn(ended.target);
    }

    /// Feeds the passive monitors with what the workers have counted since the last look.
    fn look_at_traffic(&mut self) {
        let now = self.now();
        let tree = Arc::clone(&self.tree);
        for (_, server) in tree.servers() {
            let slot = server.slot;
            let counts = &server.shared.counts;
            let ok = counts.sum(|s| s.responses[..4].iter().map(Counter::get).sum());
            let status_5xx = counts.sum(|s| s.responses[4].get());
            let failed = counts.sum(|s| s.connect_failures.get() + s.aborts.get());
            let last = self.is_last_up(slot);
            let seen = &mut self.seen[slot];
            let mut traffic = Traffic {
                ok: grown(&mut seen.ok, ok),
                failed: grown(&mut seen.failed, failed),
                status_5xx: grown(&mut seen.status_5xx, status_5xx),
            };
            if last {
                traffic.failed = 0;
            }
            if traffic != Traffic::default() {
                let target = seen.target;
                if let Some(target) = self.targets.get_mut(&target) {
                    target.health.handle_traffic(now, traffic);
                }
                self.turn(target);
            }
        }
    }

    /// Says whether no other server of this one's pool is up. Traffic does not judge such a server: a few requests that
    /// make any server hang up would otherwise take the whole service down, for everybody.
    //= HM-PASSIVE-04
    fn is_last_up(&self, slot: usize) -> bool {
        let holds = |pool: &&Pool| pool.servers.iter().any(|server| server.slot == slot);
        self.tree.pools.iter().find(holds).is_some_and(|pool| {
            let mut others = pool.servers.iter().filter(|server| server.slot != slot);
            !others.any(|server| server.shared.state() == HealthState::Up)
        })
    }

    /// Does what the target wants now: starts and abandons probes, publishes changes, notes its next time.
    fn turn(&mut self, index: usize) {
        let now = self.now();
        while let Some(action) = self.targets.get_mut(&index).and_then(|t| t.health.handle_timeout(now)) {
            match action {
                Action::Start { monitor, attempt } => self.start(index, monitor, attempt),
                Action::Abandon { monitor, attempt } => {
                    // Dropping the sender tells the probe that its time is up.
                    if let Some(target) = self.targets.get_mut(&index) {
                        target.running.remove(&(monitor, attempt));
                    }
                }
            }
        }
        while let Some(event) = self.targets.get_mut(&index).and_then(|t| t.health.poll_event()) {
            self.publish(index, &event);
        }
        let Some(target) = self.targets.get_mut(&index) else { return };
        if let Some(before) = target.due.take() {
            self.due.remove(&(before, index));
        }
        target.due = target.health.poll_timeout();
        if let Some(at) = target.due {
            self.due.insert((at, index));
        }
    }

    fn start(&mut self, index: usize, monitor: usize, attempt: Attempt) {
        let Some(target) = self.targets.get_mut(&index) else { return };
        let ask = Arc::clone(&target.probes[monitor]);
        let (sender, abandon) = oneshot::channel();
        target.running.insert((monitor, attempt), sender);
        let (results, places, introduces) = (self.results.clone(), self.places.clone(), target.introduces);
        tokio::spawn(async move {
            let outcome = probe::run(ask, introduces, places, abandon).await;
            // The driver is gone only when the engine ends.
            let _ = results.send(Ended { target: index, monitor, attempt, outcome }).await;
        });
    }

    fn publish(&mut self, index: usize, event: &Event) {
        let Some(target) = self.targets.get(&index) else { return };
        let why = said(&event.why, &target.probes);
        let held = event.held_until.map(|until| unix_s() + until.since(self.now()).0.div_ceil(1_000_000));
        for (pool, server) in target.slots.iter().filter_map(|slot| self.tree.server_at(*slot)) {
            publish(&self.tree, pool, server, state_of(event.to), &why, held);
        }
        (self.changed)();
    }
}

fn state_of(state: State) -> HealthState {
    match state {
        State::Checking => HealthState::Checking,
        State::Up => HealthState::Up,
        State::Down => HealthState::Down,
        State::Maintenance => HealthState::Maintenance,
    }
}

/// Publishes one server's state, if it is another one than before.
//= OBS-HEALTH-02
fn publish(tree: &Tree, pool: &Pool, server: &Server, state: HealthState, why: &str, held: Option<u64>) {
    let usable = up_servers(pool);
    let before = server.shared.state();
    if before == state {
        return;
    }
    server.shared.publish(state);
    pool.shared.bump();
    let mut report = server.shared.report();
    report.state = state;
    report.since_unix_s = unix_s();
    why.clone_into(&mut report.why);
    report.changes += 1;
    report.held_until_unix_s = held;
    drop(report);
    say(pool, server, before, state, why, held);
    say_pool(tree, pool, usable);
}

/// Counts a probe that has ended, and says in the reports how it went where that is news.
fn note<'s>(servers: impl Iterator<Item = &'s Server>, ended: &Ended, probes: &[Arc<Ask>]) {
    for server in servers {
        let mut report = server.shared.report();
        match &ended.outcome {
            Outcome::Pass => report.probes_passed += 1,
            Outcome::Fail(failure) => {
                report.probes_failed += 1;
                match report.state {
                    HealthState::Checking => report.why = format!("the first probe failed: {failure}"),
                    // Who mends one fault and meets the next one must not be told the first one for ever.
                    //= OBS-HEALTH-03
                    HealthState::Down => report.why = failed(ended.monitor, failure, probes),
                    HealthState::Up | HealthState::Maintenance => {}
                }
            }
            Outcome::Maintenance(_) => report.probes_maintenance += 1,
            Outcome::NotMade => {
                report.probes_not_made += 1;
                if report.state == HealthState::Checking {
                    report.why = "not checked yet: no descriptor, port or place for a probe".to_owned();
                }
            }
        }
    }
}

fn grown(before: &mut u64, now: u64) -> u32 {
    let by = now.saturating_sub(*before);
    *before = now;
    u32::try_from(by).unwrap_or(u32::MAX)
}

fn name(monitor: usize, probes: &[Arc<Ask>]) -> &str {
    probes.get(monitor).map_or("?", |ask| ask.monitor.name.as_str())
}

fn failed(monitor: usize, failure: &Failure, probes: &[Arc<Ask>]) -> String {
    format!("monitor {}: {failure}", name(monitor, probes))
}

fn said(why: &Why, probes: &[Arc<Ask>]) -> String {
    match why {
        Why::Unmonitored => "no monitor".to_owned(),
        Why::Passed => "every monitor passes".to_owned(),
        Why::Failed { monitor, failure } => failed(*monitor, failure, probes),
        Why::Maintenance { monitor, seen } => {
            format!("monitor {}: maintenance, {seen}", name(*monitor, probes))
        }
        Why::Traffic { failures, tried } => format!("traffic: {failures} of {tried} requests failed"),
        Why::TimePassed => "its pause is over: traffic tries it again".to_owned(),
    }
}

/// Seconds since 1970; 0 with a clock before that.
pub(crate) fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
