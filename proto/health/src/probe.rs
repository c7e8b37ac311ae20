//! One monitor of one server: when the next probe is due, and what its results add up to.

use forebay_core::units::Now;

use crate::{
    jitter::Jitter,
    limits::{QUICK_RETRY_US, RESULT_GRACE_US},
    monitor::Timing,
    verdict::{Excerpt, Failure, Verdict},
};

/// The number of one probe of one monitor; a result with another number is stale and ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt(pub u64);

/// How one probe ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server did what the monitor wants.
    Pass,
    /// It did not.
    Fail(Failure),
    /// It said that it is in maintenance.
    Maintenance(Excerpt),
    /// The probe could not be made for want of something of our own: it says nothing about the server.
    NotMade,
}

impl Outcome {
    /// Turns a final verdict into an outcome; `None` for [`Verdict::NeedMore`].
    pub fn of(verdict: Verdict) -> Option<Self> {
        match verdict {
            Verdict::NeedMore => None,
            Verdict::Pass => Some(Self::Pass),
            Verdict::Fail(why) => Some(Self::Fail(why)),
            Verdict::Maintenance(seen) => Some(Self::Maintenance(seen)),
        }
    }
}

/// What one monitor says about its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeState {
    /// Not enough results yet.
    Checking,
    /// `successful_checks` in a row passed, and since then never `failed_checks` in a row failed.
    Up,
    /// `failed_checks` in a row failed, and since then never `successful_checks` in a row passed.
    Down,
    /// The server said so, and since then never `successful_checks` in a row passed.
    Maintenance,
}

/// Schedule and counters of one monitor of one server.
///
/// Invariant: at most one attempt runs, so a slow server is never asked twice at once.
#[derive(Clone, Debug)]
pub struct Probe {
    timing: Timing,
    jitter: Jitter,
    state: ProbeState,
    passes: u8,
    failures: u8,
    attempts: u64,
    next_at: Now,
    running: Option<Running>,
    /// Probe again right after a success instead of after the interval.
    hurry: bool,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    attempt: Attempt,
    started: Now,
    deadline: Now,
    expired: bool,
}

/// What [`Probe::handle_timeout`] wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Begin this attempt.
    Start(Attempt),
    /// This attempt's time is up; the driver hands in what its evaluator says of [`crate::End::TimedOut`].
    Expired(Attempt),
    /// The driver handed nothing in; the attempt is over and has counted as a failure.
    Lost,
}

impl Probe {
    /// Starts the schedule at `now`. With quick start the first probe is due at once, otherwise at a point of the
    /// first interval that `seed` chooses.
    //= HM-QUICK-01
    //= HM-QUICK-02
    //= HM-SPREAD-01
    pub fn new(timing: Timing, seed: u64, now: Now) -> Self {
        let mut jitter = Jitter::new(seed);
        let next_at =
            if timing.quick_start { now } else { after(now, jitter.phase(timing.send_interval_us())) };
        Self {
            timing,
            jitter,
            state: ProbeState::Checking,
            passes: 0,
            failures: 0,
            attempts: 0,
            next_at,
            running: None,
            hurry: timing.quick_start,
        }
    }

    /// When [`Probe::handle_timeout`] is to be called next; changes with every other call.
    pub fn poll_timeout(&self) -> Now {
        match self.running {
            Some(running) => running.deadline,
            None => self.next_at,
        }
    }

    /// Returns what is due at `now`, if anything.
    ///
    /// An expired attempt waits [`RESULT_GRACE_US`] for its result, then counts as failed without one.
    //= HM-TIME-02
    pub fn handle_timeout(&mut self, now: Now) -> Option<Due> {
        if let Some(running) = &mut self.running {
            if now < running.deadline {
                return None;
            }
            let attempt = running.attempt;
            if running.expired {
                self.handle_result(now, attempt, &Outcome::Fail(Failure::TimedOut(Excerpt::default())));
                return Some(Due::Lost);
            }
            running.expired = true;
            running.deadline = after(now, RESULT_GRACE_US);
            return Some(Due::Expired(attempt));
        }
        if now < self.next_at {
            return None;
        }
        let attempt = Attempt(self.attempts);
        // Not reached in any life time of a process; a repeated number would at worst accept a stale result.
        self.attempts = self.attempts.wrapping_add(1);
        let deadline = after(now, self.timing.receive_timeout_us());
        self.running = Some(Running { attempt, started: now, deadline, expired: false });
        Some(Due::Start(attempt))
    }

    /// Takes the result of `attempt`; returns whether it was the running one.
    //= HM-COUNT-01
    //= HM-COUNT-02
    pub fn handle_result(&mut self, now: Now, attempt: Attempt, outcome: &Outcome) -> bool {
        let Some(running) = self.running.filter(|running| running.attempt == attempt) else {
            return false;
        };
        self.running = None;
        //= HM-OWN-01
        if *outcome == Outcome::NotMade {
            let wait = match self.state {
                ProbeState::Checking => QUICK_RETRY_US.min(self.timing.send_interval_us()),
                _ => self.jitter.around(self.timing.send_interval_us()),
            };
            self.next_at = after(running.started, wait).max(now);
            return true;
        }
        match outcome {
            Outcome::Pass => {
                self.failures = 0;
                self.passes = self.passes.saturating_add(1);
                if self.passes >= self.timing.successful_checks {
                    self.state = ProbeState::Up;
                    self.hurry = false;
                }
            }
            Outcome::Fail(_) => {
                self.passes = 0;
                self.hurry = false;
                self.failures = self.failures.saturating_add(1);
                if self.failures >= self.timing.failed_checks {
                    self.state = ProbeState::Down;
                }
            }
            //= HM-MAINT-02
            Outcome::Maintenance(_) => {
                self.passes = 0;
                self.failures = 0;
                self.hurry = false;
                self.state = ProbeState::Maintenance;
            }
            Outcome::NotMade => {}
        }
        let is_unknown = self.timing.quick_start && self.state == ProbeState::Checking;
        if is_unknown {
            self.hurry = self.attempts < self.quick_attempts();
        }
        self.next_at = if self.hurry && is_unknown && self.failures > 0 {
            after(running.started, QUICK_RETRY_US.min(self.timing.send_interval_us())).max(now)
        } else if self.hurry {
            now
        } else {
            // Start to start; a probe that took longer than its interval is followed at once, never overtaken,
            // and what a stalled driver missed is not made up for.
            after(running.started, self.jitter.around(self.timing.send_interval_us())).max(now)
        };
        true
    }

    /// How many attempts of a new server are made without waiting for the interval: those that a verdict needs, and as
    /// many again for a server that cannot make up its mind.
    fn quick_attempts(&self) -> u64 {
        2 * (u64::from(self.timing.failed_checks) + u64::from(self.timing.successful_checks))
    }

    /// Asks the server again at once and in sequence, as if it were new, without forgetting its state.
    //= HM-PASSIVE-02
    pub fn recheck(&mut self, now: Now) {
        self.passes = 0;
        self.hurry = true;
        if self.running.is_none() {
            self.next_at = now;
        }
    }

    /// Returns what the results so far add up to.
    pub fn state(&self) -> ProbeState {
        self.state
    }

    /// Returns whether the last results are `successful_checks` passes, all since the last [`Probe::recheck`].
    pub fn is_confirmed(&self) -> bool {
        self.passes >= self.timing.successful_checks
    }
}

/// The time `us` microseconds after `now`.
pub(crate) fn after(now: Now, us: u64) -> Now {
    Now(now.0.saturating_add(us))
}
