//! A request's place: at a server, or in the queue for one.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use forebay_core::id::ServerIndex;
use forebay_core::lb::Pool;

use super::wait::Patience;
use super::work::Work;
use crate::rt::{Now, Rt, Stream};
use crate::worker::{Generation, Route, Ticket, TimeOuts, Underway, Worker};

/// A server that works on a request: counted with the pool, and, if it is limited, over all workers.
pub(crate) struct Busy<'w> {
    route: &'w Route,
    server: ServerIndex,
    /// Ends the work if the server's grace is over.
    pub(crate) ticket: Ticket<&'w Underway>,
}

impl<'w> Busy<'w> {
    /// Takes a place at the server; `None` if its limit leaves none.
    pub(crate) fn take<R: Rt>(
        worker: &'w Worker<R>,
        plan: &Generation,
        route: &'w Route,
        server: ServerIndex,
    ) -> Option<Self> {
        let slot = route.servers[server.at()].slot;
        take_place(route, server).then(|| Busy {
            route,
            server,
            ticket: worker.underway.enter(slot, plan.number, route.service_id()),
        })
    }
}

/// Counts work at a server; `false` if its limit leaves no place.
//= SE-LIMIT-01
pub(crate) fn take_place(route: &Route, server: ServerIndex) -> bool {
    let target = &route.servers[server.at()];
    if target.limit != 0 && !target.shared.try_open(target.limit) {
        return false;
    }
    route.tell_pool(server, Pool::connection_opened);
    target.counts.active.opened.inc();
    true
}

/// Takes back what [`take_place`] counted.
pub(crate) fn leave_place(route: &Route, server: ServerIndex) {
    let target = &route.servers[server.at()];
    route.tell_pool(server, Pool::connection_closed);
    target.counts.active.closed.inc();
    if target.limit != 0 {
        target.shared.close();
        route.queue.call();
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        leave_place(self.route, self.server);
    }
}

/// A request's place in its pool's queue.
pub(crate) struct Waiting<'w> {
    place: crate::worker::Place<'w>,
    shared: &'w crate::config::PoolShared,
    since: Now,
    until: Now,
}

/// How a request's wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// It is the first one, and a place may have come free.
    Turn,
    /// The time for it is over.
    Late,
    /// The client has ended its side or reset the connection: nobody waits any more.
    Gone,
}

impl<'w> Waiting<'w> {
    /// Takes a place; `None` if all are taken.
    pub(crate) fn enter<R: Rt>(worker: &Worker<R>, plan: &'w Generation, route: &'w Route) -> Option<Self> {
        let pool = plan.pool_of(route);
        let queue = &pool.config.request_queue;
        if !queue.enabled || !pool.shared.try_queue(queue.depth) {
            return None;
        }
        route.counts.queued.inc();
        let since = worker.rt.now();
        let until = TimeOuts::at(since, route.queue_us);
        Some(Waiting { place: route.queue.enter(), shared: &pool.shared, since, until })
    }

    /// How long it has waited, microseconds.
    pub(crate) fn waited_us<R: Rt>(&self, rt: &R) -> u64 {
        rt.now().0.saturating_sub(self.since.0)
    }

    /// Waits for a turn, as long as the client does.
    //= SE-QUEUE-02
    pub(crate) async fn wait<R: Rt>(&self, rt: &R, client: &impl Stream, patience: Patience) -> Waited {
        let mut gone = pin!(client.hung_up());
        let mut turn = pin!(self.turn(rt, patience));
        poll_fn(|context| match gone.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Waited::Gone),
            Poll::Pending => turn.as_mut().poll(context),
        })
        .await
    }

    /// Waits for a turn, whatever the client does meanwhile.
    pub(crate) async fn turn<R: Rt>(&self, rt: &R, patience: Patience) -> Waited {
        loop {
            self.place.wait(rt, patience.step(self.since, 0).min(self.until)).await;
            let now = rt.now();
            if now >= self.until || patience.is_over(now) {
                return Waited::Late;
            }
            if self.place.is_first() {
                return Waited::Turn;
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.leave_queue();
    }
}

pub(super) fn leave<R: Rt>(waiting: &mut Option<Waiting<'_>>, worker: &Worker<R>, work: &mut Work) {
    if let Some(waiting) = waiting.take() {
        work.trace.queue_us += waiting.waited_us(&worker.rt);
    }
}
