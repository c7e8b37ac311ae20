//! Requests that clients send with their first message (0-RTT), before it is certain that it was they who sent it.
//!
//! Whoever hears that message can send it again. A session that may be gone on with in this way is in the memory of this
//! process alone and is taken out by the first who names it, whichever worker that comes to; so what is sent again is
//! refused by TLS itself, and its client has to make a whole handshake. What is left is what a first message does that was
//! held back by someone and then let through: only requests that change nothing reach a server so early, and say so.

use std::io::{self, ErrorKind};

use super::secured::Securable;
use super::session::Step;
use crate::rt::{Now, Stream};

/// What came of early data: the word in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyData {
    /// A client's was taken.
    Taken,
    /// A request went to a server before its client's handshake was over.
    Forwarded,
    /// A request waited for the end of the handshake.
    Waited,
    /// That end did not come.
    Unfinished,
}

impl EarlyData {
    /// Every kind, in the order of [`ServiceMetrics::early_data`](crate::metrics::ServiceMetrics).
    pub const ALL: [EarlyData; 4] =
        [EarlyData::Taken, EarlyData::Forwarded, EarlyData::Waited, EarlyData::Unfinished];

    /// The word in metrics.
    pub fn word(self) -> &'static str {
        match self {
            EarlyData::Taken => "taken",
            EarlyData::Forwarded => "forwarded",
            EarlyData::Waited => "waited",
            EarlyData::Unfinished => "unfinished",
        }
    }
}

/// Waits for the end of a handshake whose client is heard already. What it sends meanwhile is kept for who reads next: no
/// more than it may send early, and one read behind that.
///
/// # Errors
/// It did not end by `deadline`, or not well.
//= TLS-EARLY-02
pub async fn prove<S: Securable>(stream: &S, deadline: Now) -> io::Result<()> {
    let Some(session) = stream.session() else { return Ok(()) };
    loop {
        match session.shake(stream.bare(), true).map_err(|_| io::Error::from(ErrorKind::ConnectionAborted))? {
            Step::Done => return Ok(()),
            // Turns are for first messages.
            Step::Read | Step::Turn => stream.bare().readable(deadline).await?,
            Step::Write => stream.bare().writable(deadline).await?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_early_data_has_its_own_place_and_word() {
        for (place, kind) in EarlyData::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
            assert_eq!(EarlyData::ALL.iter().filter(|other| other.word() == kind.word()).count(), 1);
        }
    }
}
