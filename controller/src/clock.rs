//! The clock by which leases and what hangs on them end: it goes on while the machine sleeps, and every process of the machine
//! has the same.

use std::time::Duration;

use nix::time::ClockId;

/// A moment, counted from when the machine was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

//= CLUSTER-STILL-02
impl Moment {
    /// This one. Where the system says none everything is over: nothing is held by a clock that is not there.
    pub fn now() -> Self {
        Moment(ClockId::CLOCK_BOOTTIME.now().map_or(Duration::MAX, Duration::from))
    }

    /// So much later.
    pub fn after(self, by: Duration) -> Self {
        Moment(self.0.saturating_add(by))
    }

    /// For how long it is not there yet.
    pub fn left(self) -> Duration {
        self.0.saturating_sub(Self::now().0)
    }

    /// It is there.
    pub fn is_over(self) -> bool {
        Self::now() >= self
    }

    /// For another process of this machine.
    pub fn millis(self) -> u128 {
        self.0.as_millis()
    }

    /// As another process has said it.
    pub fn of_millis(millis: u64) -> Self {
        Moment(Duration::from_millis(millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test CLUSTER-STILL-02
    #[test]
    fn a_moment_ends_by_the_time_since_the_machine_was_started_and_not_before() {
        let uptime = std::fs::read_to_string("/proc/uptime").expect("Linux");
        let uptime: f64 = uptime.split(' ').next().and_then(|text| text.parse().ok()).expect("seconds");
        let now = Moment::now();
        assert!((now.0.as_secs_f64() - uptime).abs() < 5.0, "{now:?}, and the system says {uptime}");
        let later = now.after(Duration::from_secs(3_600));
        assert!(now.is_over() && !later.is_over());
        assert!(later.left() > Duration::from_secs(3_500) && now.left().is_zero());
        let told = Moment::of_millis(u64::try_from(later.millis()).expect("small"));
        assert!(told <= later && told.after(Duration::from_millis(1)) > later);
        // Of a clock that says nothing nothing is ever ahead.
        assert_eq!(Moment(Duration::MAX).after(Duration::from_secs(3)), Moment(Duration::MAX));
    }
}
