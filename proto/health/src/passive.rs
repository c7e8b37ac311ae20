//! Judges a server by the traffic it gets: no probe, no waiting for the next interval.

use forebay_core::units::Now;

use crate::{
    limits::{PASSIVE_BACKOFF_US, PASSIVE_WINDOW_US},
    probe::after,
};

/// When traffic marks a server down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassiveRule {
    /// Default true.
    pub enabled: bool,
    /// Fewest failures within 10 s; at least 1, default 3.
    pub failures_min: u32,
    /// More than this share of what was tried within 10 s failed; 0 to 99, default 50.
    pub failures_percent: u8,
    /// Count 5xx answers as failures; default false: one broken page is no broken server.
    pub count_5xx: bool,
}

impl Default for PassiveRule {
    fn default() -> Self {
        Self { enabled: true, failures_min: 3, failures_percent: 50, count_5xx: false }
    }
}

/// What the data plane saw of one server since its last report; counts, not totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests or connections that were answered, 5xx apart.
    pub ok: u32,
    /// Connections that were refused, timed out, or ended before the first byte of an answer.
    pub failed: u32,
    /// Answers with a 5xx status.
    pub status_5xx: u32,
}

/// What the passive monitor saw when it marked a server down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trip {
    /// Failures within the window.
    pub failures: u32,
    /// Everything tried within the window.
    pub tried: u32,
    /// When a server without an active monitor is tried again.
    pub until: Now,
}

/// The passive monitor of one server.
#[derive(Clone, Debug)]
pub struct Passive {
    rule: PassiveRule,
    /// The running half of the window and the one before it.
    halves: [Counts; 2],
    half_started: Now,
    /// Trips without a quiet minute between them.
    trips: u8,
    last_trip_until: Now,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    failures: u32,
    tried: u32,
}

impl Passive {
    /// Starts with an empty window at `now`.
    pub fn new(rule: PassiveRule, now: Now) -> Self {
        Self { rule, halves: [Counts::default(); 2], half_started: now, trips: 0, last_trip_until: Now(0) }
    }

    /// Adds what the data plane saw; returns the reason if that marks the server down.
    //= HM-PASSIVE-01
    pub fn handle_traffic(&mut self, now: Now, traffic: Traffic) -> Option<Trip> {
        if !self.rule.enabled {
            return None;
        }
        self.roll(now);
        let counted_5xx = if self.rule.count_5xx { traffic.status_5xx } else { 0 };
        let failures = traffic.failed.saturating_add(counted_5xx);
        let tried = traffic.ok.saturating_add(traffic.failed).saturating_add(traffic.status_5xx);
        let [current, before] = &mut self.halves;
        current.failures = current.failures.saturating_add(failures);
        current.tried = current.tried.saturating_add(tried);
        let failures = current.failures.saturating_add(before.failures);
        let tried = current.tried.saturating_add(before.tried);
        let share_exceeded =
            u64::from(failures) * 100 > u64::from(tried) * u64::from(self.rule.failures_percent);
        if failures < self.rule.failures_min.max(1) || !share_exceeded {
            return None;
        }
        self.halves = [Counts::default(); 2];
        Some(Trip { failures, tried, until: self.back_off(now) })
    }

    /// Forgets what was seen: the server starts with a clean window.
    pub fn clear(&mut self, now: Now) {
        self.halves = [Counts::default(); 2];
        self.half_started = now;
    }

    //= HM-PASSIVE-03
    fn back_off(&mut self, now: Now) -> Now {
        let (first, max) = PASSIVE_BACKOFF_US;
        if now >= after(self.last_trip_until, max) {
            self.trips = 0;
        }
        let wait = (first << self.trips.min(16)).min(max);
        self.trips = self.trips.saturating_add(1);
        self.last_trip_until = after(now, wait);
        self.last_trip_until
    }

    fn roll(&mut self, now: Now) {
        let half = PASSIVE_WINDOW_US / 2;
        let passed = now.0.saturating_sub(self.half_started.0);
        if passed < half {
            return;
        }
        let [current, _] = self.halves;
        self.halves = [Counts::default(), if passed < 2 * half { current } else { Counts::default() }];
        self.half_started = now;
    }
}
