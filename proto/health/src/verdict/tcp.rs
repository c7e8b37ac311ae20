//! Judges a TCP probe.

use alloc::vec::Vec;

use super::{End, Failure, Verdict, Window, ended};
use crate::monitor::Tcp;

/// Judges one TCP probe.
#[derive(Clone, Debug)]
pub struct Evaluator {
    response: Vec<u8>,
    maintenance: Vec<u8>,
    window: Window,
}

impl Evaluator {
    /// Starts for one probe.
    pub fn new(tcp: &Tcp) -> Self {
        Self {
            response: tcp.response.clone(),
            maintenance: tcp.maintenance_response.clone(),
            window: Window::default(),
        }
    }

    /// Judges after connecting: with no text to look for, the connection is the success.
    //= HM-TCP-01
    pub fn connected(&mut self) -> Verdict {
        if self.response.is_empty() && self.maintenance.is_empty() {
            Verdict::Pass
        } else {
            Verdict::NeedMore
        }
    }

    /// Judges with `bytes` more of the answer.
    //= HM-TCP-02
    pub fn receive(&mut self, bytes: &[u8]) -> Verdict {
        self.window.push(bytes);
        if let Some(verdict) = self.maintenance_found() {
            return verdict;
        }
        let found = self.window.contains(&self.response);
        // With a maintenance text as well, the rest of the window may still say so.
        match (found, self.window.is_full()) {
            (true, full) if full || self.maintenance.is_empty() => Verdict::Pass,
            (false, true) => Verdict::Fail(Failure::NoMatch(self.window.excerpt())),
            _ => Verdict::NeedMore,
        }
    }

    /// Judges finally. A server that has said what was expected passes, even if it then said nothing more.
    pub fn finish(&mut self, end: End) -> Verdict {
        if let Some(verdict) = self.maintenance_found() {
            return verdict;
        }
        let seen = self.window.excerpt();
        match (self.window.contains(&self.response), end) {
            (true, _) => Verdict::Pass,
            (false, End::Closed) if !seen.is_empty() => Verdict::Fail(Failure::NoMatch(seen)),
            (false, end) => ended(end, seen),
        }
    }

    fn maintenance_found(&self) -> Option<Verdict> {
        (!self.maintenance.is_empty() && self.window.contains(&self.maintenance))
            .then(|| Verdict::Maintenance(self.window.excerpt()))
    }
}
