//! What a stage came to, and the table at the end.

/// Tests counted, checks counted, and what went wrong.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    pub passed: usize,
    pub failed: usize,
    /// Test and reason.
    pub skipped: Vec<(String, String)>,
    /// What a check looked at: how many of what.
    pub looked_at: Option<(usize, &'static str)>,
    /// Problems that are not failed tests.
    pub problems: usize,
    /// What failed, by name.
    pub red: Vec<String>,
    /// Those of them that are tests: the program's name and the test's.
    pub tests: Vec<(String, String)>,
    /// Tests that failed beside others and passed alone.
    pub unsteady: Vec<String>,
}

impl Outcome {
    pub fn checks(looked_at: usize, of: &'static str, problems: usize) -> Self {
        Outcome { looked_at: Some((looked_at, of)), problems, ..Outcome::default() }
    }

    /// The stage could not even run.
    pub fn broken(why: String) -> Self {
        Outcome { problems: 1, red: vec![why], ..Outcome::default() }
    }

    pub fn good(&self) -> bool {
        self.failed == 0 && self.problems == 0
    }

    /// Adds another part of the same stage.
    pub fn add(&mut self, other: Outcome) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.problems += other.problems;
        self.skipped.extend(other.skipped);
        self.red.extend(other.red);
        self.tests.extend(other.tests);
        self.unsteady.extend(other.unsteady);
    }
}

/// A stage that ran.
pub struct Row {
    pub stage: &'static str,
    pub seconds: f64,
    pub outcome: Outcome,
}

impl Row {
    pub fn line(&self) -> String {
        let o = &self.outcome;
        let mut parts = Vec::new();
        if o.passed + o.failed + o.skipped.len() > 0 {
            parts.push(format!("{} passed, {} failed, {} skipped", o.passed, o.failed, o.skipped.len()));
        }
        if let Some((n, of)) = o.looked_at {
            parts.push(format!("{n} {of}"));
        }
        if !o.unsteady.is_empty() {
            parts.push(format!("{} unsteady", o.unsteady.len()));
        }
        if o.problems > 0 {
            parts.push(format!("{} problems", o.problems));
        }
        let word = if o.good() { "ok" } else { "FAILED" };
        format!("{:<10} {:<6} {:>8}  {}", self.stage, word, clock(self.seconds), parts.join("; "))
    }
}

/// Prints the table, the reasons of all skips, the names of all failures, and the last line.
pub fn print(rows: &[Row], seconds: f64) {
    println!("\n{:<10} {:<6} {:>8}", "stage", "result", "time");
    for row in rows {
        println!("{}", row.line());
    }
    let skipped: Vec<_> = rows.iter().flat_map(|r| &r.outcome.skipped).collect();
    if !skipped.is_empty() {
        println!("\nskipped:");
        for (test, reason) in &skipped {
            println!("  {test}: {reason}");
        }
    }
    let unsteady: Vec<_> = rows.iter().flat_map(|r| &r.outcome.unsteady).collect();
    if !unsteady.is_empty() {
        println!("\nunsteady (failed beside others, see above, and passed alone; each is to be mended):");
        for test in &unsteady {
            println!("  {test}");
        }
    }
    let red: Vec<_> =
        rows.iter().flat_map(|r| r.outcome.red.iter().map(move |test| (r.stage, test))).collect();
    if !red.is_empty() {
        println!("\nfailed:");
        for (stage, what) in &red {
            println!("  {stage}: {what}");
        }
    }
    let bad: Vec<&str> = rows.iter().filter(|r| !r.outcome.good()).map(|r| r.stage).collect();
    println!();
    if bad.is_empty() {
        println!("{} stages ok in {}", rows.len(), clock(seconds));
    } else {
        println!("{} of {} stages failed in {}: {}", bad.len(), rows.len(), clock(seconds), bad.join(", "));
    }
    println!("{}", last_line(rows));
}

/// The sum of all tests. A check stage that failed counts as one failure, so that the line never says
/// "0 failed" beside a red gate.
fn last_line(rows: &[Row]) -> String {
    let sum = |f: fn(&Outcome) -> usize| rows.iter().map(|r| f(&r.outcome)).sum::<usize>();
    let passed = sum(|o| o.passed);
    let failed = sum(|o| o.failed + usize::from(o.failed == 0 && o.problems > 0));
    let skipped = sum(|o| o.skipped.len());
    format!("forebay: {passed} passed, {failed} failed, {skipped} skipped")
}

fn clock(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    if whole >= 60 { format!("{} min {:02} s", whole / 60, whole % 60) } else { format!("{seconds:.1} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(outcome: Outcome) -> Row {
        Row { stage: "unit", seconds: 61.0, outcome }
    }

    #[test]
    fn the_last_line_sums_up_tests_and_never_hides_a_failed_check() {
        let tests = Outcome {
            passed: 3,
            failed: 1,
            skipped: vec![("t".into(), "no wrk".into())],
            ..Outcome::default()
        };
        assert_eq!(last_line(&[row(tests.clone())]), "forebay: 3 passed, 1 failed, 1 skipped");
        let rows = [row(tests), row(Outcome::checks(9, "files", 4))];
        assert_eq!(last_line(&rows), "forebay: 3 passed, 2 failed, 1 skipped");
    }

    #[test]
    fn a_line_says_stage_result_time_and_counts() {
        assert_eq!(
            row(Outcome::checks(9, "files", 1)).line(),
            "unit       FAILED 1 min 01 s  9 files; 1 problems"
        );
    }
}
