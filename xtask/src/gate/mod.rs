//! The gate: everything that a change must pass, in stages. A stage that fails does not stop the others;
//! the table at the end says which failed, what each took, and what was skipped and why. The last row is the tree: a run
//! that leaves files in it fails.

mod lanes;
pub mod report;
mod stages;
pub mod suites;
mod traces;
mod unsteady;

use std::time::Instant;

use anyhow::Result;

use crate::check::Findings;
use crate::tool::tree::{self, File};
use crate::tool::workspace::Workspace;
use report::{Outcome, Row};
use suites::Suite;
use traces::Tree;

/// A part of the gate.
pub struct Stage {
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// What it takes on two quiet cores, with the foreign dependencies partly built.
    pub takes: &'static str,
    run: fn(&mut Gate) -> Result<Outcome>,
}

/// What the stages share: the tree as it is, read once, and the tests, built once.
pub struct Gate {
    /// Run in full what the gate runs shortened.
    pub long: bool,
    workspace: Option<Workspace>,
    files: Option<Vec<File>>,
    suites: Option<Vec<Suite>>,
}

/// All stages in the order in which they run: what answers quickly comes first.
pub fn stages() -> &'static [Stage] {
    stages::ALL
}

/// The names of all stages.
pub fn stage_names() -> Vec<&'static str> {
    stages::ALL.iter().map(|s| s.name).collect()
}

impl Gate {
    pub fn new(long: bool) -> Self {
        Gate { long, workspace: None, files: None, suites: None }
    }

    fn files(&mut self) -> Result<&[File]> {
        if self.files.is_none() {
            self.files = Some(tree::read_all(&tree::root())?);
        }
        Ok(self.files.as_deref().unwrap_or_default())
    }

    fn workspace(&mut self) -> Result<&Workspace> {
        if self.workspace.is_none() {
            self.workspace = Some(Workspace::load()?);
        }
        Ok(self.workspace.as_ref().expect("loaded above"))
    }

    /// Both at once, for checks that compare them.
    fn tree(&mut self) -> Result<(&Workspace, &[File])> {
        self.files()?;
        self.workspace()?;
        let workspace = self.workspace.as_ref().expect("loaded above");
        Ok((workspace, self.files.as_deref().unwrap_or_default()))
    }

    /// Runs the named stages (all if none is named) and prints the table.
    ///
    /// Returns whether all passed.
    pub fn run(&mut self, only: &[String], fail_fast: bool) -> bool {
        let chosen: Vec<&Stage> =
            stages::ALL.iter().filter(|s| only.is_empty() || only.iter().any(|o| o == s.name)).collect();
        let mut rows = Vec::new();
        let start = Instant::now();
        let before = Tree::look(&tree::root());
        for (number, stage) in chosen.iter().enumerate() {
            println!("\n[{}/{}] {}: {} ({})", number + 1, chosen.len(), stage.name, stage.about, stage.takes);
            let begun = Instant::now();
            let outcome = (stage.run)(self).unwrap_or_else(|error| {
                println!("  problem: {error:#}");
                Outcome::broken(format!("{error:#}"))
            });
            let row = Row { stage: stage.name, seconds: begun.elapsed().as_secs_f64(), outcome };
            println!("  {}", row.line());
            let failed = !row.outcome.good();
            rows.push(row);
            if failed && fail_fast {
                println!("stopping at the first failure, as asked");
                break;
            }
        }
        let begun = Instant::now();
        let outcome = before.compare(&Tree::look(&tree::root()));
        rows.push(Row { stage: traces::NAME, seconds: begun.elapsed().as_secs_f64(), outcome });
        report::print(&rows, start.elapsed().as_secs_f64());
        rows.iter().all(|row| row.outcome.good())
    }
}

/// A check's findings as a stage's outcome.
fn checked(findings: &Findings) -> Outcome {
    findings.print();
    Outcome::checks(findings.looked_at, findings.of, findings.problems.len())
}
