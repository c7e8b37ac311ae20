//! What is wrong with a configuration, said so that its writer can repair it.

use core::fmt;

/// One thing that is wrong with a configuration document.
///
/// Invariant: no field ever holds a secret's value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The line in the document, counted from 1; `None` for what no line stands for.
    pub line: Option<u32>,
    /// The place in the user's own document, as in `pool[1].server[0].address` (lists count from 0).
    pub path: String,
    /// What is wrong there, with the other side if it is a conflict.
    pub reason: String,
    /// What to do about it.
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        write!(f, "{}: {}; {}", self.path, self.reason, self.fix)
    }
}
