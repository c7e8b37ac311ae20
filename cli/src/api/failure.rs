//! What can go wrong, with the exit code that tells scripts which kind it is, and what to type next.

use std::fmt::{self, Display, Formatter};

/// Why something did not happen.
#[derive(Debug)]
pub struct Failure {
    /// Which kind.
    pub kind: Kind,
    /// What is wrong, and where.
    pub what: String,
    /// A command that helps; empty: there is none.
    pub next: String,
}

/// Kinds of failures, by their exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It did not work.
    Failed = 1,
    /// What was typed, or what stands in a file, makes no sense.
    Usage = 2,
    /// There is no such thing.
    NotFound = 3,
    /// It is there already, is in use, or was changed meanwhile.
    Conflict = 4,
    /// The user may not.
    Denied = 5,
    /// It took too long.
    Late = 6,
    /// The Controller does not answer.
    Unreachable = 7,
    /// Not a failure: there are differences.
    Different = 8,
}

impl Failure {
    /// A failure without a command that helps.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Failure { kind, what: what.into(), next: String::new() }
    }

    /// With a command that helps.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = next.into();
        self
    }

    /// Its exit code.
    pub fn code(&self) -> u8 {
        self.kind as u8
    }
}

/// What was typed makes no sense.
pub fn usage(what: impl Into<String>) -> Failure {
    Failure::new(Kind::Usage, what)
}

//= CLI-ERROR-01
impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if self.next.is_empty() { Ok(()) } else { write!(f, "\n  next: {}", self.next) }
    }
}

impl std::error::Error for Failure {}
