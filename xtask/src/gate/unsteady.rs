//! Tests that fail beside others and pass alone.
//!
//! A test of real processes that waits for seconds can fail because the machine stood still, with nothing wrong in the
//! product. So the few tests that failed are run once more, one at a time with nothing beside them. One that passes then is
//! unsteady: it is named at the end of the run, with its first output above, for whoever has to mend it.

use anyhow::Result;

use super::report::Outcome;
use super::suites::{self, Suite};

/// With more than these something is wrong, with the product or with the machine, and nothing is tried again.
const UNSTEADY_MAX: usize = 2;

/// Runs again, alone, what failed, if it is little and no program died.
///
/// # Errors
/// A program cannot be started.
pub fn look(sum: &mut Outcome, programs: &[&Suite], long: bool) -> Result<()> {
    again(sum, |program, test| {
        let Some(suite) = programs.iter().find(|suite| suite.name() == program) else { return Ok(false) };
        println!("  once more, alone: {program} {test}");
        let outcome = suites::run(suite, Some(test), long, &suites::logs().join("alone"))?;
        // One that was skipped has not passed.
        Ok(outcome.passed == 1 && outcome.good())
    })
}

fn again(sum: &mut Outcome, mut passes: impl FnMut(&str, &str) -> Result<bool>) -> Result<()> {
    if sum.tests.len() > UNSTEADY_MAX || sum.failed > sum.tests.len() {
        return Ok(());
    }
    for (program, test) in std::mem::take(&mut sum.tests) {
        if passes(&program, &test)? {
            let name = format!("{program} {test}");
            sum.failed -= 1;
            sum.passed += 1;
            sum.red.retain(|red| *red != name);
            sum.unsteady.push(name);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(tests: usize, dead: usize) -> Outcome {
        let name = |n: usize| ("p t".to_owned(), format!("test{n}"));
        let tests: Vec<_> = (0..tests).map(name).collect();
        let red =
            tests.iter().map(|(p, t)| format!("{p} {t}")).chain((0..dead).map(|n| format!("p d{n}: died")));
        Outcome { passed: 5, failed: tests.len() + dead, red: red.collect(), tests, ..Outcome::default() }
    }

    #[test]
    fn one_that_passes_alone_is_named_and_one_that_does_not_stays_red() {
        let mut sum = failed(2, 0);
        again(&mut sum, |_, test| Ok(test == "test0")).unwrap();
        assert_eq!((sum.passed, sum.failed, sum.good()), (6, 1, false));
        assert_eq!((sum.red, sum.unsteady), (vec!["p t test1".to_owned()], vec!["p t test0".to_owned()]));
        let mut sum = failed(1, 0);
        again(&mut sum, |_, _| Ok(true)).unwrap();
        assert!(sum.good() && sum.unsteady.len() == 1);
    }

    #[test]
    fn many_that_fail_or_a_program_that_dies_are_not_tried_again() {
        for mut sum in [failed(UNSTEADY_MAX + 1, 0), failed(1, 1)] {
            let before = sum.failed;
            again(&mut sum, |_, _| panic!("tried again")).unwrap();
            assert_eq!((sum.failed, sum.unsteady.len()), (before, 0));
        }
    }
}
