//! Judges how the command of an external monitor ended.

use alloc::string::String;
use core::fmt;

use super::{End, Failure, Verdict, Window, ended};
use crate::limits::COMMAND_OUTPUT_BYTES_MAX;

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Status(i32),
    /// By this signal, not one of ours.
    Signal(i32),
    /// It did not even start; the text is the system's.
    NotStarted(String),
    /// It was ended because it printed more than [`COMMAND_OUTPUT_BYTES_MAX`].
    Flooded,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "the command ended with status {status}"),
            Self::Signal(signal) => write!(f, "the command was ended by signal {signal}"),
            Self::NotStarted(why) => write!(f, "the command cannot be started: {why}"),
            Self::Flooded => {
                write!(f, "the command printed more than {} KiB", COMMAND_OUTPUT_BYTES_MAX >> 10)
            }
        }
    }
}

/// Judges one run of a command. Of what it prints only the start is kept, to be shown when it fails.
#[derive(Clone, Debug, Default)]
pub struct Evaluator {
    window: Window,
    /// Bytes that it printed.
    printed: usize,
}

impl Evaluator {
    /// Takes what the command printed; a verdict only if that was too much.
    //= HM-EXTERNAL-04
    pub fn receive(&mut self, bytes: &[u8]) -> Option<Verdict> {
        self.window.push(bytes);
        self.printed = self.printed.saturating_add(bytes.len());
        (self.printed > COMMAND_OUTPUT_BYTES_MAX).then(|| self.exited(Exit::Flooded))
    }

    /// Judges by how it ended.
    //= HM-EXTERNAL-01
    pub fn exited(&self, exit: Exit) -> Verdict {
        match exit {
            Exit::Status(0) => Verdict::Pass,
            exit => Verdict::Fail(Failure::Command(exit, self.window.excerpt())),
        }
    }

    /// Judges a command that did not end within the receive time-out.
    //= HM-EXTERNAL-02
    pub fn timed_out(&self) -> Verdict {
        ended(End::TimedOut, self.window.excerpt())
    }
}
