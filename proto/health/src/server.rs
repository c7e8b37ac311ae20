//! All that is known about one server's health: its monitors, its traffic, its damping.

use alloc::{collections::VecDeque, vec::Vec};

use forebay_core::units::Now;

use crate::{
    damping::Damping,
    limits::EVENTS_MAX,
    monitor::Timing,
    passive::{Passive, PassiveRule, Traffic, Trip},
    probe::{Attempt, Due, Outcome, Probe, ProbeState},
    verdict::{Excerpt, Failure},
};

/// Whether new work may go to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// New, and not yet passed by all monitors; gets no work.
    Checking,
    /// Every monitor passes.
    Up,
    /// A monitor fails, traffic fails, or the server is held down for flapping.
    Down,
    /// The server says that it is in maintenance; no monitor fails.
    Maintenance,
}

/// What the driver has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Begin a probe of the monitor with this index.
    Start {
        /// Index of the monitor, in the order given to [`ServerHealth::new`].
        monitor: usize,
        /// To be handed back with the result.
        attempt: Attempt,
    },
    /// The probe's time is up: close its socket and hand in what its evaluator says of [`crate::End::TimedOut`].
    Abandon {
        /// Index of the monitor.
        monitor: usize,
        /// To be handed back with the result.
        attempt: Attempt,
    },
}

/// A change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Now,
    /// The state before.
    pub from: State,
    /// The state after; never equal to `from`.
    pub to: State,
    /// What tipped it.
    pub why: Why,
    /// Until when flap damping keeps the server down, if it does.
    pub held_until: Option<Now>,
}

/// What tipped a change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The server has no active monitor and is taken to be up.
    Unmonitored,
    /// Every monitor passes.
    Passed,
    /// A probe of this monitor failed.
    Failed {
        /// Index of the monitor.
        monitor: usize,
        /// How.
        failure: Failure,
    },
    /// The server answered this monitor that it is in maintenance.
    Maintenance {
        /// Index of the monitor.
        monitor: usize,
        /// What it answered.
        seen: Excerpt,
    },
    /// The traffic of clients failed.
    Traffic {
        /// Failures within the passive monitor's window.
        failures: u32,
        /// Everything tried in it.
        tried: u32,
    },
    /// A time was up: a hold-down, or the wait of a server without monitors.
    TimePassed,
}

/// The health of one server. The loop that its driver runs is in the crate's documentation.
///
/// Invariant: [`State::Up`] only while every monitor's own state is up.
#[derive(Clone, Debug)]
pub struct ServerHealth {
    probes: Vec<Probe>,
    passive: Passive,
    /// Set from a trip of the passive monitor until the monitors confirm the server or, without any, the wait is over.
    tripped: Option<Trip>,
    damping: Damping,
    state: State,
    events: VecDeque<Event>,
}

impl ServerHealth {
    /// Starts with one entry of `monitors` per active monitor; `seed` differs per server.
    ///
    /// A server without active monitors is up at once.
    //= HM-COMBINE-01
    pub fn new(monitors: &[Timing], passive: PassiveRule, seed: u64, now: Now) -> Self {
        let probes = monitors
            .iter()
            .zip(0_u64..)
            .map(|(timing, index)| Probe::new(*timing, seed ^ index.rotate_right(16), now))
            .collect();
        let mut this = Self {
            probes,
            passive: Passive::new(passive, now),
            tripped: None,
            damping: Damping::default(),
            state: State::Checking,
            events: VecDeque::new(),
        };
        if this.probes.is_empty() {
            this.settle(now, Why::Unmonitored);
        }
        this
    }

    /// Returns the state to publish.
    pub fn state(&self) -> State {
        self.state
    }

    /// When [`ServerHealth::handle_timeout`] is to be called next; `None`: not before another input.
    pub fn poll_timeout(&self) -> Option<Now> {
        let probes = self.probes.iter().map(Probe::poll_timeout);
        let trip = self.tripped.filter(|_| self.probes.is_empty()).map(|trip| trip.until);
        let hold = self.wants_up().then(|| self.damping.held_until(Now(0))).flatten();
        probes.chain(trip).chain(hold.filter(|_| self.state != State::Up)).min()
    }

    /// Returns one thing that is due at `now`; call until `None`.
    pub fn handle_timeout(&mut self, now: Now) -> Option<Action> {
        let mut lost = None;
        for (monitor, probe) in self.probes.iter_mut().enumerate() {
            match probe.handle_timeout(now) {
                None => {}
                Some(Due::Start(attempt)) => return Some(Action::Start { monitor, attempt }),
                Some(Due::Expired(attempt)) => return Some(Action::Abandon { monitor, attempt }),
                Some(Due::Lost) => {
                    lost = Some(monitor);
                    break;
                }
            }
        }
        if let Some(monitor) = lost {
            self.settle(now, Why::Failed { monitor, failure: Failure::TimedOut(Excerpt::default()) });
            // Others may be due as well; each call of this arm has ended one attempt, so the depth is bounded.
            return self.handle_timeout(now);
        }
        if self.probes.is_empty() && self.tripped.is_some_and(|trip| now >= trip.until) {
            self.tripped = None;
            self.passive.clear(now);
        }
        self.settle(now, Why::TimePassed);
        None
    }

    /// Takes how a probe ended; the result of an attempt that is over already is ignored.
    pub fn handle_result(&mut self, now: Now, monitor: usize, attempt: Attempt, outcome: Outcome) {
        let taken = match self.probes.get_mut(monitor) {
            Some(probe) => probe.handle_result(now, attempt, &outcome),
            None => false,
        };
        if !taken {
            return;
        }
        if self.tripped.is_some() && self.probes.iter().all(Probe::is_confirmed) {
            self.tripped = None;
            self.passive.clear(now);
        }
        let why = match outcome {
            Outcome::Pass => Why::Passed,
            Outcome::Fail(failure) => Why::Failed { monitor, failure },
            Outcome::Maintenance(seen) => Why::Maintenance { monitor, seen },
            Outcome::NotMade => return,
        };
        self.settle(now, why);
    }

    /// Takes what the data plane saw of the server. Only a server that is up is judged by it: requests that began
    /// before it went down still fail after.
    //= HM-PASSIVE-02
    pub fn handle_traffic(&mut self, now: Now, traffic: Traffic) {
        if self.state != State::Up {
            return;
        }
        let Some(trip) = self.passive.handle_traffic(now, traffic) else {
            return;
        };
        self.tripped = Some(trip);
        for probe in &mut self.probes {
            probe.recheck(now);
        }
        self.settle(now, Why::Traffic { failures: trip.failures, tried: trip.tried });
    }

    /// Takes the oldest change of state that was not yet taken.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns what a single monitor says, by index.
    pub fn monitor_state(&self, monitor: usize) -> Option<ProbeState> {
        self.probes.get(monitor).map(Probe::state)
    }

    /// What monitors and traffic say, damping apart.
    //= HM-COMBINE-01
    fn wanted(&self) -> State {
        let any = |state| self.probes.iter().any(|probe| probe.state() == state);
        if self.tripped.is_some() || any(ProbeState::Down) {
            State::Down
        } else if any(ProbeState::Maintenance) {
            State::Maintenance
        } else if any(ProbeState::Checking) {
            State::Checking
        } else {
            State::Up
        }
    }

    fn wants_up(&self) -> bool {
        self.wanted() == State::Up
    }

    fn settle(&mut self, now: Now, why: Why) {
        let to = self.wanted();
        let from = self.state;
        if to == from || (to == State::Up && self.damping.held_until(now).is_some()) {
            return;
        }
        let mut held_until = None;
        match to {
            State::Up => self.damping.went_up(now),
            // Without a monitor the passive back-off is the damping: only traffic can tell that it is back.
            State::Down if from == State::Up && !self.probes.is_empty() => {
                held_until = self.damping.went_down(now);
            }
            State::Checking | State::Down | State::Maintenance => {}
        }
        self.state = to;
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(Event { at: now, from, to, why, held_until });
        debug_assert!(
            self.state != State::Up || self.probes.iter().all(|probe| probe.state() == ProbeState::Up),
            "up only while every monitor's own state is up"
        );
    }
}
