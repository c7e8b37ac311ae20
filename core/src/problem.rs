//! What is wrong with a configuration, said to a person.

use alloc::string::String;
use core::fmt;

/// One problem of a configuration: where, why, and what would be right.
///
/// The path is relative to the object that was checked (`server[2].ratio`); the host puts its own
/// document's path in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the checked object.
    pub path: String,
    /// What is wrong there.
    pub reason: String,
    /// What to write instead.
    pub fix: String,
}

impl Problem {
    /// Makes a problem from its three sentences.
    pub fn new(path: impl Into<String>, reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { path: path.into(), reason: reason.into(), fix: fix.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.path, self.reason, self.fix)
    }
}
