//! Judges a UDP probe.

use alloc::vec::Vec;

use super::{End, Failure, Verdict, Window, ended};
use crate::monitor::Udp;

/// Judges one UDP probe. Each datagram is an answer of its own: a text is not sought across two of them.
#[derive(Clone, Debug)]
pub struct Evaluator {
    response: Vec<u8>,
    maintenance: Vec<u8>,
    /// The last datagram.
    window: Window,
    /// Whether any datagram came.
    answered: bool,
}

impl Evaluator {
    /// Starts for one probe.
    pub fn new(udp: &Udp) -> Self {
        Self {
            response: udp.response.clone(),
            maintenance: udp.maintenance_response.clone(),
            window: Window::default(),
            answered: false,
        }
    }

    /// Judges one datagram, of which the first 2 KB count.
    //= HM-UDP-02
    //= HM-UDP-03
    pub fn receive(&mut self, datagram: &[u8]) -> Verdict {
        self.answered = true;
        self.window = Window::default();
        self.window.push(datagram);
        if !self.maintenance.is_empty() && self.window.contains(&self.maintenance) {
            return Verdict::Maintenance(self.window.excerpt());
        }
        // A datagram of another's making must not end the wait for the right one.
        if self.window.contains(&self.response) { Verdict::Pass } else { Verdict::NeedMore }
    }

    /// Judges finally. Silence is no failure where no text is expected: many services answer only what they understand,
    /// and a port that nobody listens on says so.
    //= HM-UDP-01
    //= HM-UDP-02
    pub fn finish(&mut self, end: End) -> Verdict {
        if self.response.is_empty() && end == End::TimedOut {
            return Verdict::Pass;
        }
        let seen = self.window.excerpt();
        if self.answered { Verdict::Fail(Failure::NoMatch(seen)) } else { ended(end, seen) }
    }
}
