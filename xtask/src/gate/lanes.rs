//! Which test programs run beside which.
//!
//! Tests of real processes mostly wait: for probes, for time limits, for what must not happen. So two programs run at once,
//! those that take longest first, so that none is left over for the end. Where what a program measures would be that of its
//! neighbour, it runs alone.

use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::Result;

use super::report::Outcome;
use super::suites::{self, Suite};
use super::unsteady;

/// Programs of the end-to-end tests beside which nothing runs, and why.
const ALONE: &[(&str, &str)] = &[
    ("attacks", "compares the times of clients with and without an attack, on a core of their own"),
    ("slow", "compares the times of clients with and without slow ones, on a core of their own"),
    ("objsync_looks", "compares how long tables take to be joined with and without somebody who looks"),
];

/// Those that take longest, in that order.
const LONG: &[&str] = &[
    "objsync_faults",
    "cluster",
    "faults",
    "avi_api",
    "objsync",
    "objsync_legacy",
    "channel",
    "tls",
    "http",
    "l4",
    "up",
    "judges",
    "health",
    "names",
    "scale",
    "persistence",
    "h2",
    "operations",
    "upgrade",
    "h2back",
    "reload",
    "reencrypt",
];

/// Unit tests that take longest: some count on all of their time, others wait for most of it.
const LONG_UNITS: &[(&str, &str)] = &[
    ("forebay-sim", "seeds"),
    ("forebay-host-uring", "lib"),
    ("forebay-host-uring", "engine"),
    ("forebay-host-uring", "alloc"),
    ("forebay-controller", "lib"),
    ("forebay-controller", "api"),
    ("forebay-host-uring", "moment"),
];

/// As many as have been shown to leave each other's time limits alone, on two cores.
const LANES: usize = 2;

/// Runs programs one after the other.
///
/// # Errors
/// One cannot be started.
pub fn one_by_one(programs: &[&Suite], long: bool) -> Result<Outcome> {
    through(1, programs, |suite| suites::run(suite, None, long, &suites::logs()))
}

/// Runs programs of unit tests side by side.
///
/// # Errors
/// One cannot be started.
pub fn units(programs: &[&Suite], long: bool) -> Result<Outcome> {
    let place = |suite: &&Suite| {
        let named = |(package, target): &(&str, &str)| suite.package == *package && suite.target == *target;
        LONG_UNITS.iter().position(named).unwrap_or(LONG_UNITS.len())
    };
    let mut programs = programs.to_vec();
    programs.sort_by_key(place);
    let mut sum = through(LANES, &programs, |suite| suites::run(suite, None, long, &suites::logs()))?;
    unsteady::look(&mut sum, &programs, long)?;
    Ok(sum)
}

/// Runs programs side by side, then those alone that must be.
///
/// # Errors
/// One cannot be started.
pub fn side_by_side(programs: &[&Suite], long: bool) -> Result<Outcome> {
    let (alone, mut beside): (Vec<&Suite>, Vec<&Suite>) =
        programs.iter().partition(|suite| ALONE.iter().any(|(name, _)| *name == suite.target));
    beside.sort_by_key(|suite| LONG.iter().position(|name| *name == suite.target).unwrap_or(LONG.len()));
    let mut sum = through(LANES, &beside, |suite| suites::run(suite, None, long, &suites::logs()))?;
    sum.add(one_by_one(&alone, long)?);
    unsteady::look(&mut sum, programs, long)?;
    Ok(sum)
}

/// Does the work in so many lanes, each of which takes the next piece when it has done one.
fn through<T: Sync>(
    lanes: usize,
    pieces: &[T],
    work: impl Fn(&T) -> Result<Outcome> + Sync,
) -> Result<Outcome> {
    let next = Mutex::new(pieces.iter());
    let lane = || -> Result<Outcome> {
        let mut sum = Outcome::default();
        loop {
            let piece = next.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(piece) = piece else { return Ok(sum) };
            sum.add(work(piece)?);
        }
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..lanes).map(|_| scope.spawn(lane)).collect();
        let mut sum = Outcome::default();
        for lane in running {
            sum.add(
                lane.join().unwrap_or_else(|_| Ok(Outcome::broken("the gate itself panicked".to_owned())))?,
            );
        }
        Ok(sum)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::tool::tree;

    const LOOK_EVERY: Duration = Duration::from_millis(1);

    #[test]
    fn pieces_are_done_once_each_and_as_many_at_a_time_as_there_are_lanes() {
        let begun = AtomicUsize::new(0);
        let work = |n: &usize| {
            begun.fetch_add(1, Ordering::SeqCst);
            let deadline = Instant::now() + Duration::from_secs(10);
            while begun.load(Ordering::SeqCst) < 2 {
                anyhow::ensure!(Instant::now() < deadline, "nobody is beside it");
                thread::sleep(LOOK_EVERY);
            }
            Ok(Outcome { passed: *n, ..Outcome::default() })
        };
        assert_eq!(through(2, &[1, 10, 100, 1000], work).unwrap().passed, 1111);
        let lone = Mutex::new(());
        let work = |n: &usize| {
            let _only = lone.try_lock().expect("nobody is beside it");
            Ok(Outcome { passed: *n, ..Outcome::default() })
        };
        assert_eq!(through(1, &[1, 10, 100], work).unwrap().passed, 111);
    }

    #[test]
    fn what_cannot_be_started_is_an_error_and_what_panics_is_red() {
        assert!(through(2, &[0], |_| anyhow::bail!("no such program")).is_err());
        assert_eq!(through(1, &[0], |_| panic!("a fault")).unwrap().problems, 1);
    }

    #[test]
    fn programs_that_are_named_exist() {
        let text = std::fs::read_to_string(tree::root().join("tests/e2e/Cargo.toml")).unwrap();
        for name in ALONE.iter().map(|(name, _)| name).chain(LONG) {
            assert!(text.contains(&format!("name = \"{name}\"\n")), "{name}");
        }
        assert!(LONG.iter().all(|name| ALONE.iter().all(|(alone, _)| alone != name)), "either or");
    }
}
