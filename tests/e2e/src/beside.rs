//! How a healthy client fares beside an attack, told apart from whatever else the machine does.
//!
//! Requests are timed in turns, some without the attack and some beside it, so that what other programs do falls on both
//! sides alike. What counts is the ratio of both tails, the median of three tries. A machine that lets the noise of one side
//! win by chance gets further sets of tries, few and printed; an attack that slows others loses all of them.

use std::time::Duration;

/// How long one stall may be that all of an attack's turns have: what a machine with other things to do makes one of some
/// hundred requests wait, and far below what anybody would call a pause.
const STALL_MAX: Duration = Duration::from_millis(100);
/// Turns of each kind in one try.
const TURNS: usize = 3;
/// Tries of which the median counts.
const TRIES: usize = 3;
/// Sets of tries at most.
const SETS: usize = 5;

/// The times that 99 % of the requests stay below.
#[derive(Clone, Copy, Debug)]
pub struct Tails {
    /// Without the attack.
    pub quiet: Duration,
    /// Beside it.
    pub beside: Duration,
}

impl Tails {
    /// How many times as long the tail is beside the attack.
    pub fn ratio(&self) -> f64 {
        self.beside.as_secs_f64() / self.quiet.as_secs_f64()
    }

    fn is_good(&self, most: f64, notable: Duration) -> bool {
        self.ratio() <= most || self.beside <= notable
    }
}

/// What came of the tries.
#[derive(Debug)]
pub struct Verdict {
    /// The median try of the last set, the slower one of two that agree.
    pub median: Tails,
    /// The ratio of each try, by sets.
    pub tries: Vec<Vec<f64>>,
    /// The slowest request of a turn, in the median turn of all tries: one stall in each shows here and in no hundredth.
    pub stall: Tails,
    /// Whether the median was within the bound, and no turn beside the attack had a stall that those without it had not.
    pub good: bool,
}

/// The time that 99 % stay below.
///
/// # Panics
/// Without any.
pub fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

/// The slowest one of a turn, in the median turn.
fn median_slowest(turns: &[Vec<Duration>]) -> Duration {
    let mut slowest: Vec<Duration> = turns.iter().filter_map(|times| times.iter().max().copied()).collect();
    slowest.sort_unstable();
    slowest[slowest.len() / 2]
}

/// Demands that the tail beside the attack is at most `most` times the quiet one, or below what anybody would note: a
/// machine with nothing else to do answers so fast that the attack's own few milliseconds are many times that. `quiet` and
/// `beside` time the requests of one turn; they are called by turns.
pub fn at_most(
    most: f64,
    notable: Duration,
    mut quiet: impl FnMut() -> Vec<Duration>,
    mut beside: impl FnMut() -> Vec<Duration>,
) -> Verdict {
    let (mut all_quiet, mut all_beside) = (Vec::new(), Vec::new());
    let mut attempt = || {
        for _ in 0..TURNS {
            all_quiet.push(quiet());
            all_beside.push(beside());
        }
        let last = |turns: &[Vec<Duration>]| p99(turns[turns.len() - TURNS..].concat());
        Tails { quiet: last(&all_quiet), beside: last(&all_beside) }
    };
    let mut tries = Vec::new();
    loop {
        let mut set = Vec::new();
        // Once most of them agree the others cannot change what the median says.
        let decides = |set: &[Tails], good: bool| {
            set.iter().filter(|tails| tails.is_good(most, notable) == good).count() > TRIES / 2
        };
        while !decides(&set, true) && !decides(&set, false) {
            set.push(attempt());
        }
        let good = decides(&set, true);
        tries.push(set.iter().map(Tails::ratio).collect());
        set.sort_by(|one, other| one.ratio().total_cmp(&other.ratio()));
        let median = set[set.len() / 2];
        if good || tries.len() == SETS {
            let stall = Tails { quiet: median_slowest(&all_quiet), beside: median_slowest(&all_beside) };
            let good = good && stall.is_good(most, STALL_MAX);
            return Verdict { median, tries, stall, good };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(slow: usize) -> Vec<Duration> {
        (0..100).map(|nth| Duration::from_micros(if nth < slow { 1_000 } else { 100 })).collect()
    }

    #[test]
    fn what_is_slower_each_time_is_found_and_chance_is_not() {
        let notable = Duration::from_micros(999);
        let verdict = at_most(2.0, notable, || times(0), || times(5));
        assert!(!verdict.good && verdict.tries.len() == SETS, "{verdict:?}");
        assert!(at_most(2.0, Duration::from_millis(1), || times(0), || times(5)).good);
        let mut turn = 0;
        let now_and_then = || {
            turn += 1;
            times(if turn <= TURNS { 5 } else { 0 })
        };
        let verdict = at_most(2.0, notable, || times(0), now_and_then);
        assert!(verdict.good && verdict.tries.len() == 1, "{verdict:?}");
        assert_eq!(verdict.tries[0].iter().filter(|ratio| **ratio > 2.0).count(), 1);
        assert_eq!(verdict.tries[0].len(), TRIES);
    }

    #[test]
    fn one_stall_in_each_turn_is_found_and_one_now_and_then_is_not() {
        let notable = Duration::from_millis(1);
        let stalled = |is: bool| {
            let mut times = times(0).repeat(3);
            times[7] = if is { Duration::from_millis(400) } else { times[7] };
            times
        };
        let verdict = at_most(2.0, notable, || stalled(false), || stalled(true));
        assert!(!verdict.good && verdict.tries.len() == 1, "{verdict:?}");
        assert_eq!(verdict.stall.beside, Duration::from_millis(400));
        let mut turn = 0;
        let now_and_then = || {
            turn += 1;
            stalled(turn % 3 == 0)
        };
        assert!(at_most(2.0, notable, || stalled(false), now_and_then).good);
        assert!(at_most(2.0, notable, || stalled(true), || stalled(true)).good, "with nobody's doing");
    }
}
