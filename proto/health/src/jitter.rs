//! Spreads probes, so that a thousand servers are not asked in the same millisecond.

use crate::limits::JITTER_PERCENT;

/// A repeatable source of offsets; equal seeds give equal offsets.
#[derive(Clone, Debug)]
pub struct Jitter(u64);

impl Jitter {
    /// Starts from `seed`; drivers pass something that differs per server and monitor.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a part of `interval_us`: 0 ≤ result < `interval_us`, or 0 for an interval of 0.
    ///
    /// Used once, to give each probe its own phase.
    pub fn phase(&mut self, interval_us: u64) -> u64 {
        self.below(interval_us)
    }

    /// Returns `interval_us` moved by at most [`JITTER_PERCENT`] to either side.
    pub fn around(&mut self, interval_us: u64) -> u64 {
        let reach = interval_us / 100 * JITTER_PERCENT;
        (interval_us - reach).saturating_add(self.below(reach.saturating_mul(2).saturating_add(1)))
    }

    fn below(&mut self, bound: u64) -> u64 {
        // Multiply and shift: even enough for spreading, and no division by zero.
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// One step of a Weyl sequence through an avalanche: every seed, 0 included, gives a usable sequence.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        x ^ (x >> 32)
    }
}
