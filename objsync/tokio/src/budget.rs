//! How much of a core the work for other engines may take.

use std::time::{Duration, Instant};

use crate::limits::BURST;

/// Processor time against a share of what passes. What is saved up covers a short burst.
pub(crate) struct Budget {
    percent: u64,
    /// Processor time that may be used now, in microseconds; below zero: too much was.
    credit_us: i64,
    cpu_us: u64,
    looked: Instant,
    used_us: u64,
    paused: Duration,
    pausing: bool,
}

impl Budget {
    pub fn new(percent: u8, cpu_us: u64) -> Self {
        let now = Instant::now();
        Self {
            percent: u64::from(percent),
            credit_us: 0,
            cpu_us,
            looked: now,
            used_us: 0,
            paused: Duration::ZERO,
            pausing: false,
        }
    }

    pub fn set(&mut self, percent: u8) {
        self.percent = u64::from(percent);
    }

    /// How long nobody is to be read from, for the work to keep to its share; `cpu_us`: what this thread has used in all;
    /// `bound`: whether the share counts. An engine that joins serves nobody yet, and has the core to itself.
    //= SYNC-CPU-01
    pub fn pause(&mut self, cpu_us: u64, bound: bool) -> Option<Duration> {
        let passed = self.looked.elapsed();
        self.looked += passed;
        if self.pausing {
            self.paused += passed;
        }
        let used = cpu_us.saturating_sub(self.cpu_us);
        self.cpu_us = cpu_us;
        self.used_us += used;
        let share =
            |of: Duration| i64::try_from(of.as_micros() as u64 * self.percent / 100).unwrap_or(i64::MAX);
        let most = share(BURST);
        self.credit_us = self.credit_us.saturating_add(share(passed)).min(most);
        self.credit_us = self.credit_us.saturating_sub(i64::try_from(used).unwrap_or(i64::MAX));
        if !bound {
            self.credit_us = most;
        }
        self.pausing = self.credit_us < 0;
        let wait_us = self.credit_us.unsigned_abs() * 100 / self.percent.max(1);
        self.pausing.then(|| Duration::from_micros(wait_us.max(1_000)))
    }

    pub fn used_us(&self) -> u64 {
        self.used_us
    }

    pub fn paused_ms(&self) -> u64 {
        self.paused.as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test SYNC-CPU-01
    #[test]
    fn work_that_took_more_than_its_share_waits_and_work_within_it_does_not() {
        let mut budget = Budget::new(20, 0);
        assert_eq!(budget.pause(0, true), None, "nothing was used");
        // A second of work, of which 20 ms at most were saved up.
        let pause = budget.pause(1_000_000, true).expect("it was too much");
        assert!(pause > Duration::from_millis(4_000) && pause <= Duration::from_secs(5), "{pause:?}");
        assert_eq!(budget.pause(2_000_000, false), None, "nobody is served yet");
        assert_eq!(budget.pause(2_010_000, true), None, "half of what a burst may take");
        assert_eq!(budget.used_us(), 2_010_000);
    }
}
