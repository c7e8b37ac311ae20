//! What is wrong with a configuration, and which part of it.

use std::fmt;

use forebay_snapshot::Problem;

/// Where a fault is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// In no part alone.
    Nowhere,
    /// In the part of this kind and name, as in `certificate` and `web`.
    Part(&'static str, String),
    /// At this address of this service.
    Listen(String, String),
    /// At this place of the document, as in `pool[1].server[0]`: it is no document with that.
    Path(String),
    /// In a file that the document names there.
    File(String),
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub at: At,
    /// What, and what to do about it, for people.
    pub why: String,
    /// It may mend itself: what the machine has, or another program.
    pub may_mend: bool,
}

impl Fault {
    /// Of a part of this kind and name.
    pub fn of(kind: &'static str, name: &str, why: impl Into<String>) -> Self {
        Fault { at: At::Part(kind, name.to_owned()), why: why.into(), may_mend: false }
    }

    /// Of a certificate's files. What is wrong with them may be the clock or the disk of this machine.
    pub fn of_certificate(name: &str, why: &str) -> Self {
        Fault::of("certificate", name, format!("certificate \"{name}\": {why}")).that_may_mend()
    }

    /// That may mend itself.
    #[must_use]
    pub fn that_may_mend(self) -> Self {
        Fault { may_mend: true, ..self }
    }

    /// Of the same place, with this before what it says.
    #[must_use]
    pub fn within(self, whose: &str) -> Self {
        Fault { why: format!("{whose}: {}", self.why), ..self }
    }

    /// Of this part, unless it names one.
    #[must_use]
    pub fn or_of(self, kind: &'static str, name: &str) -> Self {
        match self.at {
            At::Nowhere => Fault { at: At::Part(kind, name.to_owned()), ..self },
            At::Part(..) | At::Listen(..) | At::Path(_) | At::File(_) => self,
        }
    }
}

impl From<String> for Fault {
    fn from(why: String) -> Self {
        Fault { at: At::Nowhere, why, may_mend: false }
    }
}

impl From<&Problem> for Fault {
    fn from(problem: &Problem) -> Self {
        let line = problem.line.map(|line| format!("line {line}: ")).unwrap_or_default();
        let why = format!("{line}{}: {} ({})", problem.path, problem.reason, problem.fix);
        Fault { at: At::Path(problem.path.clone()), why, may_mend: false }
    }
}

impl Fault {
    /// Of a file that the document names: it may come, and a clock may be set.
    pub fn of_file(problem: &Problem) -> Self {
        Fault { at: At::File(problem.path.clone()), ..Fault::from(problem) }.that_may_mend()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// Why nothing can be done by a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit(pub Vec<Fault>);

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<&str> = self.0.iter().map(|fault| fault.why.as_str()).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Unfit {}

/// What each says.
pub fn in_words(faults: &[Fault]) -> Vec<String> {
    faults.iter().map(|fault| fault.why.clone()).collect()
}
