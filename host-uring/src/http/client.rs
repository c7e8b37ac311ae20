//! A client's connection: waiting for requests, reading them, ending.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Poll, Waker};

use forebay_core::table::Key;
use forebay_http::h1::{Parse, parse_request};

use super::answer::{Saying, linger, say};
use super::buffer::Grown;
use super::choose::Holds;
use super::exchange::{Outcome, exchange};
use super::gather::Gather;
use super::limits::REQUESTS_PER_TURN;
use super::record::{Trace, finish, sample_rtt};
use super::wait::{Patience, others_turn};
use super::work::{Head, Work};
use crate::config::ServiceIndex;
use crate::metrics::ServiceMetrics;
use crate::rt::{Now, Rt, Stream};
use crate::worker::{Generation, Service, TimeOuts, Worker};

/// A client's connection.
pub struct Client<R: Rt> {
    /// The worker that serves it.
    pub worker: Rc<Worker<R>>,
    /// The virtual service that it came to.
    pub service: ServiceIndex,
    /// The socket.
    pub stream: R::Stream,
    /// The other end.
    pub peer: SocketAddr,
    /// The client as logs show it: the peer, or whom a trusted proxy named in the last request.
    pub shown: Cell<SocketAddr>,
    /// The address that it connected to.
    pub local: SocketAddr,
    /// Requests so far.
    pub requests: Cell<u32>,
    /// Round-trip time, microseconds.
    pub rtt_us: Cell<u32>,
    /// An answer whose end is the connection's close has begun and is not whole: until it is, whatever ends the
    /// connection has to be a reset.
    pub open_ended: Cell<bool>,
    /// Table entries of the peer's address that this connection keeps alive: one for each table that it came to.
    held: RefCell<Vec<Key>>,
    /// The entry of an address that a proxy named, kept alive by the request that is under way.
    named: Cell<Option<Key>>,
    /// The worker drains, and its time to send a request is over.
    dismissed: Cell<bool>,
    /// Its task, while it waits for a request.
    waiting: RefCell<Option<Waker>>,
    /// Where it is counted: with the service that accepted it.
    counts: Arc<ServiceMetrics>,
}

impl<R: Rt> Client<R> {
    /// Takes a connection over and counts it.
    pub fn new(
        worker: &Rc<Worker<R>>,
        service: ServiceIndex,
        stream: R::Stream,
        peer: SocketAddr,
        local: SocketAddr,
    ) -> Rc<Self> {
        worker.connections.set(worker.connections.get() + 1);
        worker.metrics.connections.opened.inc();
        let counts = worker.current().service(service).counts.clone();
        counts.connections.opened.inc();
        Rc::new(Client {
            worker: worker.clone(),
            service,
            stream,
            peer,
            shown: Cell::new(peer),
            local,
            requests: Cell::new(0),
            rtt_us: Cell::new(0),
            open_ended: Cell::new(false),
            held: RefCell::default(),
            named: Cell::new(None),
            dismissed: Cell::new(false),
            waiting: RefCell::default(),
            counts,
        })
    }

    /// Its service's settings.
    pub fn service<'g>(&self, plan: &'g Generation) -> &'g Service {
        plan.service(self.service)
    }

    /// The request is over: the countdown of a client that a proxy named begins.
    fn let_go(&self, now: Now) {
        if let Some(key) = self.named.take() {
            self.worker.current().store.close(&key, now);
        }
    }
}

impl<R: Rt> Holds for Client<R> {
    /// Keeps the table entry of the client at `who` alive: as long as this connection is open if that is the peer, as
    /// long as the request if a proxy named it. A proxy's connection says nothing of how long its clients stay, and it
    /// would gather an entry of every one that ever came.
    //= SE-PERSIST-04
    fn hold(&self, key: Key, who: IpAddr, now: Now) {
        let store = &self.worker.current().store;
        if who == self.peer.ip().to_canonical() {
            let mut held = self.held.borrow_mut();
            if !held.contains(&key) && store.open(&key, now) {
                held.push(key);
            }
        } else if self.named.get() != Some(key) {
            self.let_go(now);
            self.named.set(store.open(&key, now).then_some(key));
        }
    }
}

impl<R: Rt> Drop for Client<R> {
    fn drop(&mut self) {
        //= SE-CUT-02
        if self.open_ended.get() {
            self.stream.reset_on_close();
        }
        let now = self.worker.rt.now();
        self.let_go(now);
        for key in self.held.borrow().iter() {
            self.worker.current().store.close(key, now);
        }
        self.worker.connections.set(self.worker.connections.get() - 1);
        self.worker.metrics.connections.closed.inc();
        self.counts.connections.closed.inc();
    }
}

/// Connections that wait for a request; a worker that drains ends them at once.
pub struct Parked<R: Rt> {
    places: RefCell<Vec<Weak<Client<R>>>>,
    free: RefCell<Vec<usize>>,
}

impl<R: Rt> Default for Parked<R> {
    fn default() -> Self {
        Parked { places: RefCell::default(), free: RefCell::default() }
    }
}

struct Place<'p, R: Rt> {
    parked: &'p Parked<R>,
    at: usize,
}

impl<R: Rt> Parked<R> {
    fn enter(&self, client: &Rc<Client<R>>) -> Place<'_, R> {
        let mut places = self.places.borrow_mut();
        let at = self.free.borrow_mut().pop().unwrap_or_else(|| {
            places.push(Weak::new());
            places.len() - 1
        });
        places[at] = Rc::downgrade(client);
        Place { parked: self, at }
    }

    /// Ends the waiting of all of them.
    pub fn end_all(&self) {
        for client in self.places.borrow().iter().filter_map(Weak::upgrade) {
            client.dismissed.set(true);
            if let Some(waker) = client.waiting.take() {
                waker.wake();
            }
        }
    }
}

impl<R: Rt> Drop for Place<'_, R> {
    fn drop(&mut self) {
        self.parked.places.borrow_mut()[self.at] = Weak::new();
        self.parked.free.borrow_mut().push(self.at);
    }
}

/// What follows after a request.
enum After {
    /// The client may send another one.
    Wait,
    /// The connection ends.
    End,
}

/// Serves a connection to its end.
///
/// While it waits for a request it holds no buffer: only this small future, the socket, a deadline.
//= SE-IDLE-01
pub async fn serve<R: Rt>(client: Rc<Client<R>>) {
    let worker = &client.worker;
    let time_outs = || client.service(&worker.current()).time_outs;
    let mut first_head = Some(TimeOuts::at(worker.rt.now(), time_outs().header));
    loop {
        let now = worker.rt.now();
        let deadline = first_head.unwrap_or_else(|| TimeOuts::at(now, time_outs().idle));
        let waited = {
            let _place = worker.parked.enter(&client);
            request_or_dismissal(&client, deadline).await
        };
        let Some(waited) = waited else {
            // Its next request may be on its way: a close that meets it would be a reset.
            let mut sink = worker.works.head(&worker.buffers);
            linger(&client, &mut sink.bytes).await;
            worker.works.give_back_head(sink, &worker.buffers);
            return;
        };
        if let Err(error) = waited {
            if error.kind() == ErrorKind::TimedOut {
                let counters = &worker.metrics.timeouts;
                if first_head.is_some() { counters.header.inc() } else { counters.idle.inc() }
            }
            return;
        }
        let mut head = worker.works.head(&worker.buffers);
        let after = converse(&client, &mut head, first_head.take()).await;
        worker.works.give_back_head(head, &worker.buffers);
        if matches!(after, After::End) {
            return;
        }
    }
}

/// Waits until there is something to read; `None` if the worker drains and the client is to go. What has come before
/// that is served.
async fn request_or_dismissal<R: Rt>(client: &Client<R>, deadline: Now) -> Option<std::io::Result<()>> {
    let mut readable = pin!(client.stream.readable(deadline));
    poll_fn(|context| {
        if let Poll::Ready(waited) = readable.as_mut().poll(context) {
            return Poll::Ready(Some(waited));
        }
        if client.dismissed.get() && !client.stream.is_spent() {
            return Poll::Ready(None);
        }
        let mut waiting = client.waiting.borrow_mut();
        if !waiting.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waiting = Some(context.waker().clone());
        }
        Poll::Pending
    })
    .await
}

/// Serves requests as long as bytes of a next one are there.
//= SE-PIPELINE-01
async fn converse<R: Rt>(client: &Rc<Client<R>>, head: &mut Head, mut first_head: Option<Now>) -> After {
    let worker = &client.worker;
    let mut served = 0_u32;
    loop {
        // Requests that we answer ourselves never wait: a client that pipelines them must not keep the worker.
        //= SE-FAIR-01
        served = served.wrapping_add(1);
        if served.is_multiple_of(REQUESTS_PER_TURN) {
            others_turn().await;
        }
        let begin = worker.rt.now();
        let plan = &*worker.current();
        let service = client.service(plan);
        let deadline = first_head.take().unwrap_or_else(|| TimeOuts::at(begin, service.time_outs.header));
        match read_head(client, service, head, deadline).await {
            HeadRead::Request => {}
            HeadRead::Nothing => return After::End,
            HeadRead::Cut => {
                worker.metrics.client_aborts.inc();
                return After::End;
            }
            //= SE-TIMEOUT-02
            HeadRead::Late => {
                worker.metrics.timeouts.header.inc();
                refuse(client, plan, head, begin, 408, "the request's head did not come in time").await;
                return After::End;
            }
            HeadRead::Refused(status, why) => {
                worker.metrics.requests_rejected.inc();
                refuse(client, plan, head, begin, status, why).await;
                return After::End;
            }
        }
        client.requests.set(client.requests.get() + 1);
        sample_rtt(client);
        service.counts.requests.inc();
        let mut work = worker.works.work();
        work.trace.begin = begin;
        let mut told = Told { client, plan, head: &mut *head, work: &mut work, is_over: false };
        let outcome = exchange(client, plan, told.head, told.work).await;
        told.is_over = true;
        drop(told);
        client.let_go(worker.rt.now());
        worker.works.give_back(work);
        match outcome {
            Outcome::Keep if head.bytes.is_empty() => return After::Wait,
            Outcome::Keep => {}
            Outcome::Linger => {
                linger(client, &mut head.bytes).await;
                return After::End;
            }
            Outcome::Close => return After::End,
            Outcome::Reset => {
                client.stream.reset_on_close();
                return After::End;
            }
        }
    }
}

/// A request under way: where its task is dropped in the middle of it, it is told all the same.
struct Told<'c, R: Rt> {
    client: &'c Client<R>,
    plan: &'c Generation,
    head: &'c mut Head,
    work: &'c mut Work,
    /// It has ended by itself, and has been told.
    is_over: bool,
}

impl<R: Rt> Drop for Told<'_, R> {
    //= OBS-LOG-07
    fn drop(&mut self) {
        // Of the task that panics itself nothing is certain any more; its panic is in the process log.
        if self.is_over || std::thread::panicking() {
            return;
        }
        let is_stop = self.client.worker.draining.get();
        let work = &mut *self.work;
        work.trace.ended(if is_stop { "cut: the engine stopped" } else { "cut: its worker failed" });
        work.trace.rx_bytes = work.trace.rx_bytes.max(self.head.request.len as u64);
        finish(self.client, self.plan, self.head, &work.trace);
    }
}

/// How reading a head ended.
enum HeadRead {
    Request,
    /// The client left, or sent nothing.
    Nothing,
    /// The client left in the middle of a head.
    Cut,
    /// It did not come in time.
    Late,
    /// It breaks a rule.
    Refused(u16, &'static str),
}

async fn read_head<R: Rt>(client: &Client<R>, service: &Service, head: &mut Head, deadline: Now) -> HeadRead {
    let limits = &service.limits;
    // One byte more than a head may have, so that the parser sees that it is too long.
    let capacity_max = limits.head_bytes as usize + 1;
    loop {
        if !head.bytes.is_empty() {
            match parse_request(head.bytes.filled(), limits, &mut head.request) {
                Ok(Parse::Done { .. }) => return HeadRead::Request,
                Ok(Parse::NeedMore) => {}
                Err(reject) => return HeadRead::Refused(reject.status, reject.rule.text()),
            }
        }
        match client.worker.buffers.grow_head(&mut head.bytes, capacity_max) {
            Grown::Room => {}
            Grown::TooLong => return HeadRead::Refused(431, "head is too long"),
            Grown::Scarce => {
                client.worker.metrics.heads_refused_memory.inc();
                return HeadRead::Refused(503, "large heads have no memory left");
            }
        }
        match client.stream.try_read(head.bytes.space()) {
            Ok(0) if head.bytes.is_empty() => return HeadRead::Nothing,
            Ok(0) => return HeadRead::Cut,
            Ok(count) => head.bytes.commit(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                match client.stream.readable(deadline).await {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::TimedOut => return HeadRead::Late,
                    Err(_) => return HeadRead::Cut,
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) if head.bytes.is_empty() => return HeadRead::Nothing,
            Err(_) => return HeadRead::Cut,
        }
    }
}

/// Answers what cannot be served, and closes.
async fn refuse<R: Rt>(
    client: &Client<R>,
    plan: &Generation,
    head: &mut Head,
    begin: Now,
    status: u16,
    why: &'static str,
) {
    let mut trace = Trace { begin, rx_bytes: head.bytes.len() as u64, ..Trace::default() };
    trace.ended(why);
    let mut gather = Gather::default();
    let saying = Saying { status, ..Saying::default() };
    let said = say(client, plan, None, saying, &mut gather, &mut trace, Patience::endless()).await;
    // What was understood of it is not logged: its positions may be half-way.
    head.request.reset();
    finish(client, plan, head, &trace);
    if said {
        linger(client, &mut head.bytes).await;
    }
}
