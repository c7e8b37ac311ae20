//! The handshake of a client that speaks TLS, before it is served.

use std::rc::Rc;

use super::introduce::Arriving;
use super::record::{End, Ends, Trace, finish};
use crate::config::ServiceIndex;
use crate::rt::{Rt, Stream};
use crate::tls::{Agreed, Unshaken, greet};
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
    let greeted = greet(front, &mut stream, TimeOuts::at(begin, front.handshake_us)).await;
    drop(arriving);
    let counts = &plan.service(service).counts;
    match greeted {
        Ok(agreed) => {
            counts.tls_handshakes[place(&agreed)].inc();
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
        }
    }
}

/// Where a handshake is counted in [`ServiceMetrics::tls_handshakes`](crate::metrics::ServiceMetrics).
fn place(agreed: &Agreed) -> usize {
    2 * usize::from(agreed.version == "TLSv1.3") + usize::from(agreed.is_resumed)
}
