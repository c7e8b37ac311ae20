//! Checks over the source tree. Each is a function from text to findings, so that its own tests can
//! show it red on a bad tree; reading the tree is left to `tool`.

pub mod acceptance;
pub mod arrows;
pub mod features;
pub mod licences;
pub mod links;
pub mod manifests;
pub mod planted;
pub mod seams;
pub mod spec;
pub mod tidy;

use std::fmt;

/// One thing that is wrong: where, what, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub place: String,
    pub what: String,
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.place, self.what, self.fix)
    }
}

/// What a check looked at and what it found.
#[derive(Debug, Default)]
pub struct Findings {
    /// How many things were looked at, and what they are ("files", "arrows").
    pub looked_at: usize,
    pub of: &'static str,
    pub problems: Vec<Problem>,
    /// Known and allowed, worth a line.
    pub notes: Vec<String>,
}

impl Findings {
    pub fn of(of: &'static str) -> Self {
        Findings { of, ..Findings::default() }
    }

    pub fn problem(&mut self, place: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) {
        self.problems.push(Problem { place: place.into(), what: what.into(), fix: fix.into() });
    }

    /// Takes over what a second check of the same stage found.
    pub fn join(&mut self, other: Findings) {
        if !other.of.is_empty() {
            self.notes.push(format!("{} {}", other.looked_at, other.of));
        }
        self.problems.extend(other.problems);
        self.notes.extend(other.notes);
    }

    pub fn print(&self) {
        for note in &self.notes {
            println!("  {note}");
        }
        for problem in &self.problems {
            println!("  problem: {problem}");
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, {} problems", self.looked_at, self.of, self.problems.len())
    }
}
