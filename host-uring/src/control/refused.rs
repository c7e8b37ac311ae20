//! What an administrator is told who asked for what cannot be.

use serde::{Deserialize, Serialize};

/// Why a request was not answered, in the words of the exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// It cannot be done.
    Failed,
    /// The request makes no sense.
    Usage,
    /// What it names does not exist.
    NotFound,
    /// It is not allowed.
    NotAllowed,
    /// Another process serves, which is to be asked.
    Moved,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Why, in a word.
    pub code: Code,
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub fix: String,
}

impl Refused {
    /// A refusal.
    pub fn new(code: Code, reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), fix: fix.into() }
    }
}

/// Refuses a name, with the nearest one that exists.
pub(super) fn no_such<'n>(kind: &str, name: &str, known: impl Iterator<Item = &'n str> + Clone) -> Refused {
    let fix = match forebay_snapshot::nearest(name, known.clone()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("name one of: {}", known.take(8).collect::<Vec<_>>().join(", ")),
    };
    Refused::new(Code::NotFound, format!("there is no {kind} {name:?}"), fix)
}
