//! Group time: the one clock of all engines, which only goes forward.

use forebay_core::table::GroupMillis;
use forebay_core::units::Now;

/// An offset from this engine's monotonic clock to the group's time.
#[derive(Clone, Copy, Debug)]
pub struct GroupClock {
    base: u64,
    at: Now,
    known: bool,
}

impl GroupClock {
    /// A clock that has not heard of the group yet; it begins at `floor`, below which the group's time cannot be.
    pub fn new(floor: GroupMillis, now: Now) -> Self {
        Self { base: floor.0, at: now, known: false }
    }

    /// The time of the group.
    pub fn read(&self, now: Now) -> GroupMillis {
        GroupMillis(self.base.saturating_add(now.since(self.at).0 / 1_000))
    }

    /// Whether the group's time is known: a member told it, or there is none and the wall clock was taken.
    pub fn known(&self) -> bool {
        self.known
    }

    /// Before the time is known: it is this one, earlier or later than where the clock began.
    pub fn settle(&mut self, to: GroupMillis, now: Now) {
        (self.base, self.at, self.known) = (to.0, now, true);
    }

    /// Steps to a later time, and never back. Returns by how many milliseconds.
    //= SYNC-TIME-01
    pub fn step(&mut self, to: GroupMillis, now: Now) -> u64 {
        let ours = self.read(now);
        if to > ours {
            (self.base, self.at) = (to.0, now);
        }
        to.0.saturating_sub(ours.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test SYNC-TIME-01
    #[test]
    fn group_time_steps_forward_and_never_back() {
        let mut clock = GroupClock::new(GroupMillis(0), Now(0));
        assert!(!clock.known());
        clock.settle(GroupMillis(500), Now(1_000));
        assert!(clock.known());
        assert_eq!(clock.read(Now(3_000)), GroupMillis(502));
        assert_eq!(clock.step(GroupMillis(100), Now(3_000)), 0);
        assert_eq!(clock.read(Now(3_000)), GroupMillis(502));
        assert_eq!(clock.step(GroupMillis(100_000), Now(3_000)), 99_498);
        assert_eq!(clock.read(Now(4_000)), GroupMillis(100_001));
    }
}
