//! The handshake of a client that speaks TLS, before it is served.

use std::io::ErrorKind;
use std::net::Shutdown;
use std::rc::Rc;

use forebay_tls_hello::Name;

use super::introduce::Arriving;
use super::record::{End, Ends, Trace, finish};
use crate::config::ServiceIndex;
use crate::limits::{PARTING_BYTES_MAX, PARTING_READ_BYTES, PARTING_US};
use crate::rt::{Now, Rt, Stream};
use crate::tls::{EarlyData, Securable, Session, Unshaken, greet, hear};
use crate::worker::{Generation, TimeOuts, Worker};

/// Makes the handshake with a client and serves it; one whose handshake fails is closed, counted and logged. A client that
/// leaves without a byte is counted only: whoever looks every second whether the port is open would fill the log.
//= TLS-LOG-02
pub async fn welcome<R: Rt>(
    worker: Rc<Worker<R>>,
    plan: Rc<Generation>,
    service: ServiceIndex,
    mut stream: R::Stream,
    ends: Ends,
    serve: impl FnOnce(&Rc<Worker<R>>, R::Stream, Ends),
) {
    let Some(front) = &plan.service(service).tls else { return };
    let arriving = Arriving::new(&worker);
    let begin = worker.rt.now();
    let deadline = TimeOuts::at(begin, front.handshake_us);
    let greeted = match plan.service(service).has_fronts() {
        false => greet(front, &mut stream, deadline, None).await,
        //= TLS-HOST-01
        true => match hear(stream.bare(), deadline).await {
            Ok(heard) => {
                let name = heard.name.as_ref().map_or("", Name::as_str);
                let front = plan.front(service, name).unwrap_or(front);
                greet(front, &mut stream, deadline, Some(heard)).await
            }
            Err(why) => Err(why),
        },
    };
    let counts = &plan.service(service).counts;
    match greeted {
        Ok(agreed) => {
            drop(arriving);
            counts.tls_handshakes[agreed.place()].inc();
            if stream.session().is_some_and(Session::has_early) {
                counts.early_data[EarlyData::Taken as usize].inc();
            }
            serve(&worker, stream, ends);
        }
        Err(why) => {
            counts.tls_failures[why as usize].inc();
            if why == Unshaken::Unbegun {
                return;
            }
            if why == Unshaken::Late {
                worker.metrics.timeouts.tls_handshake.inc();
                stream.reset_on_close();
            }
            let trace = Trace { begin, refused: Some(why.text()), ..Trace::default() };
            finish(&worker, &plan, service, ends, &trace, End::Handshake);
            if why.is_told() {
                part(&worker.rt, &stream).await;
            }
        }
    }
}

/// Closes so that the alert which says why still arrives: ends our side, then reads and drops what the client is still
/// sending, until it closes as well, for a moment at most. A close with unread bytes would be a reset, which may overtake
/// the alert.
//= TLS-HANDSHAKE-03
async fn part<R: Rt>(rt: &R, stream: &R::Stream) {
    stream.shutdown(Shutdown::Write);
    let until = Now(rt.now().0 + PARTING_US);
    let mut left = PARTING_BYTES_MAX;
    while left > 0 && rt.now() < until {
        match drop_some(stream) {
            Ok(0) => return,
            Ok(count) => left = left.saturating_sub(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if stream.readable(until).await.is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
    // It sends without end: from here on it has to wait for itself, and has the alert meanwhile.
    rt.sleep_until(until).await;
}

/// Reads for nobody. Nothing of it is kept while the connection waits.
fn drop_some(stream: &impl Stream) -> std::io::Result<usize> {
    stream.try_read(&mut [0; PARTING_READ_BYTES])
}
