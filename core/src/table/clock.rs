//! Time as the table stores it: ticks of an eighth of a second, in 32 bits that may wrap.
//!
//! Only differences are used. They are right as long as no stored moment is further away than 4.2 years;
//! the clock hand writes older ones down as exactly that old.

use super::limits::{AGE_TICKS_MAX, TOMBSTONE_SECONDS};
use crate::units::{Now, Seconds};

const MICROS_PER_TICK: u64 = 125_000;
const TICKS_PER_SECOND: u32 = 8;

/// A moment in eighths of a second of the host's clock, modulo 2^32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tick(pub(super) u32);

impl Tick {
    pub(super) const fn at(now: Now) -> Self {
        // Truncation is the wrap that the module doc speaks of.
        Self((now.0 / MICROS_PER_TICK) as u32)
    }

    /// The age at this moment of something that happened at `then`; zero if `then` lies in the future,
    /// because two threads may have read the clock before one of them got the lock.
    pub(super) const fn age_of(self, then: Tick) -> u32 {
        let d = self.0.wrapping_sub(then.0);
        if d > u32::MAX / 2 { 0 } else { d }
    }

    /// The moment `age` ticks before this one, bounded so that differences stay unambiguous.
    pub(super) const fn before(self, age: u32) -> Tick {
        let age = if age > AGE_TICKS_MAX { AGE_TICKS_MAX } else { age };
        Tick(self.0.wrapping_sub(age))
    }
}

/// How long an entry lives after its last connection closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Lifetime {
    /// This long, and at most a quarter of a second longer. Zero: it ends with the last connection.
    For(Seconds),
    /// Until it is removed, or is the oldest of a full partition.
    Unlimited,
}

impl Lifetime {
    /// The life of a tombstone.
    pub const TOMBSTONE: Self = Self::For(Seconds(TOMBSTONE_SECONDS));

    /// In ticks; bounded so that a bounded life always ends.
    pub(super) const fn ticks(self) -> u32 {
        match self {
            Self::Unlimited => u32::MAX,
            Self::For(s) => {
                let t = s.0.saturating_mul(TICKS_PER_SECOND);
                if t >= AGE_TICKS_MAX { AGE_TICKS_MAX - 1 } else { t }
            }
        }
    }
}

/// Ticks as a whole number of milliseconds.
pub(super) const fn millis(ticks: u32) -> u64 {
    ticks as u64 * (MICROS_PER_TICK / 1_000)
}

/// Milliseconds as ticks, rounded down: an age that travels is never made older than it was.
pub(super) const fn ticks_of_millis(ms: u64) -> u32 {
    let t = ms / (MICROS_PER_TICK / 1_000);
    if t > AGE_TICKS_MAX as u64 { AGE_TICKS_MAX } else { t as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_survives_the_wrap_of_the_tick() {
        let then = Tick(u32::MAX - 3);
        assert_eq!(Tick(5).age_of(then), 9);
        assert_eq!(Tick(5).before(9), then);
    }

    #[test]
    fn a_moment_in_the_future_has_age_zero() {
        assert_eq!(Tick(10).age_of(Tick(11)), 0);
    }

    #[test]
    fn every_bounded_life_is_shorter_than_the_oldest_age() {
        assert!(Lifetime::For(Seconds(u32::MAX)).ticks() < AGE_TICKS_MAX);
        assert_eq!(Lifetime::For(Seconds(300)).ticks(), 2_400);
    }
}
