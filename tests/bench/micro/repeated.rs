//! The same sequence of operations timed in several rounds: what is slow in each of them is slow by itself.

use crate::host::cpu_ns;

const MILLISECOND: u64 = 1_000_000;

/// Times of a sequence of operations that is run again and again from the same state.
///
/// The operation of one index does the same work in each round. What a machine takes away (interrupts, a
/// hypervisor's other guests) is charged to the operation that happens to run, which is another one in each
/// round. So an operation costs at most its least time over the rounds, and one that is above a bound in every
/// round is above it by its own doing.
pub struct Repeated {
    /// By index. 4 bytes each: an operation of four seconds counts as one of that.
    least_ns: Vec<u32>,
    last: u64,
    /// Sum over all rounds.
    pub sum_ns: u64,
    /// The longest of all rounds.
    pub max_ns: u64,
    /// Operations above one millisecond, in all rounds together.
    pub above_1_ms: u64,
}

impl Repeated {
    /// For rounds of this many operations. Writes all its memory now, so that no page is touched first while
    /// operations are timed.
    pub fn new(operations: u64) -> Self {
        let least_ns = vec![std::hint::black_box(u32::MAX); operations as usize];
        Self { least_ns, last: 0, sum_ns: 0, max_ns: 0, above_1_ms: 0 }
    }

    /// The first operation of a round begins now.
    pub fn start(&mut self) {
        self.last = cpu_ns();
    }

    /// The operation of this index ended, and the next one begins.
    #[inline(always)]
    pub fn done(&mut self, index: u64) {
        let now = cpu_ns();
        self.took(index, now - self.last);
        self.last = now;
    }

    #[inline(always)]
    fn took(&mut self, index: u64, ns: u64) {
        self.sum_ns += ns;
        self.max_ns = self.max_ns.max(ns);
        self.above_1_ms += u64::from(ns > MILLISECOND);
        let least = &mut self.least_ns[index as usize];
        *least = (*least).min(u32::try_from(ns).unwrap_or(u32::MAX));
    }

    /// Operations that took more than a millisecond in every round.
    pub fn above_1_ms_in_every_round(&self) -> usize {
        self.least_ns.iter().filter(|ns| u64::from(**ns) > MILLISECOND).count()
    }

    /// The least time of the operation whose least time is longest: no operation costs more.
    pub fn longest_at_its_best_ns(&self) -> u32 {
        self.least_ns.iter().copied().max().unwrap_or(0)
    }

    /// The control: readings of the same clock with nothing between them, for as long as `other` took and at
    /// least as often.
    pub fn of_nothing(other: &Self, operations: u64) -> Self {
        let mut nothing = Self::new(1);
        nothing.start();
        let mut readings = 0;
        while nothing.sum_ns < other.sum_ns || readings < operations {
            nothing.done(0);
            readings += 1;
        }
        nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_slow_in_every_round_is_slow_by_itself() {
        let mut r = Repeated::new(4);
        let rounds =
            [[10, 1_000_001, 2_000_000, 7], [2_000_000, 8, 1_500_000, 7], [11, 9, 1_000_001, 1_000_000]];
        for round in rounds {
            for (index, ns) in (0..).zip(round) {
                r.took(index, ns);
            }
        }
        assert_eq!((r.above_1_ms, r.max_ns), (5, 2_000_000));
        assert_eq!((r.above_1_ms_in_every_round(), r.longest_at_its_best_ns()), (1, 1_000_001));
    }

    #[test]
    fn the_control_lasts_as_long_and_reads_as_often() {
        let mut r = Repeated::new(1);
        r.took(0, 300_000);
        let nothing = Repeated::of_nothing(&r, 0);
        assert!(nothing.sum_ns >= 300_000);
        let often = Repeated::of_nothing(&Repeated::new(1), 1_000);
        assert!(often.sum_ns > 0);
    }
}
