//! Waiting for a silent server, as long as its client is there.

use std::future::{Future, poll_fn};
use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::task::Poll;

use forebay_core::retry;

use super::limits::{CLIENT_LOOK_US, DUPLEX_LOOK_US};
use super::receive::Failure;
use super::send::Leg;
use crate::rt::{Now, Rt, Stream};
use crate::tls::thought_better;
use crate::upstream::ServerConn;
use crate::upstream::h2::{Link, Lost};
use crate::worker::TimeOuts;

/// Why nothing came from a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unheard {
    /// The deadline came.
    Late,
    /// The server's connection failed.
    ServerGone(ErrorKind),
    /// The client's connection was reset: nobody waits any more.
    ClientGone,
}

/// Why there is no answer.
pub(super) enum Unanswered {
    /// The server failed.
    Failed(Failure),
    /// The client reset its connection.
    ClientGone,
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Self {
        Unanswered::Failed(failure)
    }
}

/// The connection ended before an answer.
pub(super) fn lost<R: Rt>(conn: &ServerConn<Link<R>>) -> Failure {
    let part = conn.stream.part();
    let lost = part.and_then(|part| part.lost()).unwrap_or(Lost::Connection);
    let again = part.is_some_and(|part| part.is_again());
    // The count includes this request.
    let before = conn.requests > 1 && !again;
    let (kind, reused) = match lost {
        Lost::Broken(_) => (retry::Failure::BadResponse, before),
        // An answer, of a kind.
        Lost::Reset(_) => (retry::Failure::Closed, false),
        Lost::Connection => (retry::Failure::Closed, before),
        // The connection may have been about to go: once more at the same server.
        Lost::Unseen => (retry::Failure::Closed, !again),
    };
    Failure { status: 502, kind, reused, why: lost.text() }
}

/// The connection failed before an answer.
pub(super) fn lost_by<R: Rt>(leg: &Leg<'_, R>, conn: &ServerConn<Link<R>>, error: &Error) -> Failure {
    let Some(why) = thought_better(error) else { return lost(conn) };
    leg.route.counts.tls_failures[why as usize].inc();
    Failure { why: why.text(), ..lost(conn) }
}

/// Waits until there is something to read from the server. A client that has only ended its side waits for its answer.
//= SE-GONE-01
pub(super) async fn server_readable<R: Rt>(
    leg: &Leg<'_, R>,
    conn: &ServerConn<Link<R>>,
    deadline: Now,
) -> Result<(), Unheard> {
    let rt = &leg.worker.rt;
    loop {
        let look = deadline.min(TimeOuts::at(rt.now(), CLIENT_LOOK_US));
        let mut readable = conn.stream.readable(look);
        let waited = poll_fn(|context| {
            // A stream of HTTP/2 is told at once, and many of them come cheaply.
            if leg.client.stream.part().is_some_and(|part| part.watch(context)) {
                return Poll::Ready(None);
            }
            Pin::new(&mut readable).poll(context).map(Some)
        });
        let Some(waited) = waited.await else { return Err(Unheard::ClientGone) };
        match waited {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                if leg.client.stream.is_reset() {
                    return Err(Unheard::ClientGone);
                }
                if rt.now() >= deadline {
                    return Err(Unheard::Late);
                }
            }
            Err(error) => return Err(Unheard::ServerGone(error.kind())),
        }
    }
}

/// Waits until the server says something. The time for it runs from the request's last byte, or from the moment
/// the server took no more of it; while the request is still on its way, its own time-outs hold.
//= SE-TIMEOUT-05
pub(super) async fn await_answer<R: Rt>(
    leg: &Leg<'_, R>,
    conn: &ServerConn<Link<R>>,
) -> Result<(), Unanswered> {
    let rt = &leg.worker.rt;
    loop {
        let now = rt.now();
        let deadline = match leg.progress.answer_due_from() {
            Some(sent) => leg.patience.step(sent, leg.service.time_outs.response),
            None => leg.patience.step(now, DUPLEX_LOOK_US),
        };
        match server_readable(leg, conn, deadline).await {
            Ok(()) => return Ok(()),
            Err(Unheard::Late) => {}
            Err(Unheard::ServerGone(_)) => return Err(lost(conn).into()),
            Err(Unheard::ClientGone) => return Err(Unanswered::ClientGone),
        }
        let now = rt.now();
        let over = leg.patience.is_over(now);
        let late = leg
            .progress
            .answer_due_from()
            .is_some_and(|sent| now >= leg.patience.step(sent, leg.service.time_outs.response));
        if !over && !late {
            continue;
        }
        let counters = &leg.worker.metrics.timeouts;
        if over {
            counters.total.inc()
        } else {
            counters.response.inc()
        }
        let failure = Failure {
            status: 504,
            kind: retry::Failure::Timeout,
            reused: conn.requests > 1,
            why: if over { "the request took too long" } else { "the server did not answer in time" },
        };
        return Err(failure.into());
    }
}
