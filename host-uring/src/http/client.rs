//! A client's connection: what is known of it, and its waiting for requests.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Poll, Waker};

use forebay_core::persist::tls::TlsId;
use forebay_core::table::Key;

use super::buffer::Buffer;
use super::choose::Holds;
use super::conversation::{After, Job};
use super::exchange::Outcome;
use super::h2::front;
use super::h2::part::Part;
use super::h2::way::Way;
use crate::config::ServiceIndex;
use crate::limits::SERVER_NAME_BYTES_MAX;
use crate::metrics::ServiceMetrics;
use crate::rt::{Now, Rt, Stream};
use crate::tls::Session;
use crate::worker::{Door, Generation, Service, TimeOuts, Worker};

/// A client's connection.
pub struct Client<R: Rt> {
    /// The worker that serves it.
    pub worker: Rc<Worker<R>>,
    /// Where it came in.
    pub(crate) door: Rc<Door>,
    /// The service of its request, by the configuration that the request began with.
    pub service: Cell<ServiceIndex>,
    /// For which of the hosts with profiles of their own its request is, from 1 on; 0: for another one.
    host: Cell<u16>,
    /// The socket.
    pub stream: Way<R>,
    /// The other end.
    pub peer: SocketAddr,
    /// The address that it connected to.
    pub local: SocketAddr,
    /// Requests so far.
    pub requests: Cell<u32>,
    /// Round-trip time, microseconds.
    pub rtt_us: Cell<u32>,
    /// An answer whose end is the connection's close has begun and is not whole: until it is, whatever ends the
    /// connection has to be a reset.
    pub open_ended: Cell<bool>,
    /// What only some connections have; made once for each that does.
    ties: Cell<Option<Box<Ties>>>,
    /// The worker drains, and its time to send a request is over.
    pub(super) dismissed: Cell<bool>,
    /// Its task, while it waits for a request.
    pub(super) waiting: Cell<Option<Waker>>,
    /// Where it is counted: with the service that accepted it.
    counts: Arc<ServiceMetrics>,
}

/// What ties a connection to others than its peer.
#[derive(Default)]
struct Ties {
    /// Whom a trusted proxy named in the last request.
    shown: Option<SocketAddr>,
    /// Table entries of the peer's address that this connection keeps alive: one for each table that it came to.
    held: Vec<Key>,
    /// The entry of an address that a proxy named, kept alive by the request that is under way.
    named: Option<Key>,
}

impl<R: Rt> Client<R> {
    /// Takes a connection over and counts it.
    pub fn new(
        worker: &Rc<Worker<R>>,
        door: &Rc<Door>,
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
            door: door.clone(),
            service: Cell::new(service),
            host: Cell::new(0),
            stream: Way::Own(stream),
            peer,
            local,
            requests: Cell::new(0),
            rtt_us: Cell::new(0),
            open_ended: Cell::new(false),
            ties: Cell::default(),
            dismissed: Cell::new(false),
            waiting: Cell::default(),
            counts,
        })
    }

    /// By what TLS knows the client.
    //= PERS-TLS-02
    pub fn known_by_tls(&self, plan: &Generation) -> Option<TlsId<'static>> {
        self.stream.session()?.known_as(plan.tree.service(self.service.get()).keeps_as)
    }

    /// The client of one stream of a connection, which is counted as one; `retired`: one whose stream has ended, which it
    /// takes the place of.
    pub(super) fn beside(part: Part<R>, retired: Option<Rc<Self>>) -> Rc<Self> {
        let whole = part.whole().clone();
        if let Some(mut client) = retired
            && let Some(place) = Rc::get_mut(&mut client)
            && let Way::Part(stream) = &mut place.stream
        {
            **stream = part;
            place.worker.clone_from(&whole.worker);
            place.door.clone_from(&whole.door);
            place.counts.clone_from(&whole.counts);
            (place.peer, place.local) = (whole.peer, whole.local);
            place.service.set(whole.service.get());
            place.requests.set(whole.requests.get());
            place.rtt_us.set(whole.rtt_us.get());
            place.dismissed.set(false);
            return client;
        }
        Rc::new(Client {
            worker: whole.worker.clone(),
            door: whole.door.clone(),
            service: whole.service.clone(),
            host: Cell::new(0),
            stream: Way::Part(Box::new(part)),
            peer: whole.peer,
            local: whole.local,
            requests: whole.requests.clone(),
            rtt_us: whole.rtt_us.clone(),
            open_ended: Cell::new(false),
            ties: Cell::default(),
            dismissed: Cell::new(false),
            waiting: Cell::default(),
            counts: whole.counts.clone(),
        })
    }

    /// Ends the client of one stream as if it were dropped, and gives what is left of it for [`Client::beside`].
    pub(super) fn retire(mut self: Rc<Self>) -> Option<Rc<Self>> {
        let client = Rc::get_mut(&mut self)?;
        client.end();
        let Way::Part(part) = &mut client.stream else { return None };
        part.leave();
        // It keeps nobody's address open.
        client.door = client.worker.nowhere.clone();
        Some(self)
    }

    /// Lets go of all that it holds.
    fn end(&self) {
        //= SE-CUT-02
        if self.open_ended.take() {
            self.stream.reset_on_close();
        }
        self.waiting.take();
        let now = self.worker.rt.now();
        self.let_go(now);
        for key in self.ties.take().iter().flat_map(|ties| &ties.held) {
            self.worker.current().store.close(key, now);
        }
    }

    /// The exchange on its stream is over.
    pub(super) fn finish(&self, outcome: Outcome) {
        if let Some(part) = self.stream.part() {
            part.finish(outcome, self.open_ended.get());
        }
    }

    /// Says whether it has sent as many requests as one connection may.
    pub(super) fn has_had_all(&self) -> bool {
        // The number that it knows is that of its last request's configuration.
        let Some(at) = self.door.service() else { return true };
        let most = self.worker.current().service(at).requests_max;
        most != 0 && self.requests.get() >= most
    }

    /// Calls `with` with what ties it to others. A cell and no more, because each byte is one of every idle connection.
    fn with_ties<T>(&self, with: impl FnOnce(&mut Option<Box<Ties>>) -> T) -> T {
        let mut ties = self.ties.take();
        let value = with(&mut ties);
        self.ties.set(ties);
        value
    }

    /// Its service's settings, by the configuration that its request began with, for the host that the request is for.
    pub fn service<'g>(&self, plan: &'g Generation) -> &'g Service {
        let service = plan.service(self.service.get());
        match self.host.get().checked_sub(1) {
            None => service,
            at => service.for_host(at.map(usize::from)),
        }
    }

    /// Says which host its request is for.
    //= SE-HOST-01
    pub(super) fn came_for(&self, plan: &Generation, host: &[u8]) {
        let at = plan.tree.service(self.service.get()).hosts.find(host);
        // More hosts than a document has are none.
        self.host.set(at.and_then(|at| u16::try_from(at + 1).ok()).unwrap_or(0));
    }

    /// Says whether its connection is for other hosts than its request: those have another profile of TLS, by which it would
    /// have had to be greeted.
    //= TLS-HOST-02
    pub(super) fn is_misdirected(&self, plan: &Generation, host: &[u8]) -> bool {
        let hosts = &plan.tree.service(self.service.get()).hosts;
        let Some(session) = self.stream.session().filter(|_| !hosts.fronts.is_empty()) else { return false };
        let mut name = [0; SERVER_NAME_BYTES_MAX];
        let len = session.server_name(&mut name);
        hosts.front(&name[..len]) != hosts.front(host)
    }

    /// The current configuration, for a request that begins; `None` if the service that the client came to is gone.
    pub fn current(&self) -> Option<Rc<Generation>> {
        self.service.set(self.door.service()?);
        self.host.set(0);
        Some(self.worker.current())
    }

    /// Its service's time-outs between two requests; those of an address that is gone are short. Who may not be who it was
    /// is idle no longer than its handshake may take.
    //= TLS-EARLY-06
    pub fn time_outs(&self) -> TimeOuts {
        let Some(at) = self.door.service().filter(|_| self.door.is_open()) else { return TimeOuts::LEAVING };
        let plan = self.worker.current();
        let service = plan.service(at);
        let mut time_outs = service.time_outs;
        if self.stream.is_early()
            && let Some(front) = &service.tls
            && (time_outs.idle == 0 || time_outs.idle > front.handshake_us)
        {
            time_outs.idle = front.handshake_us;
        }
        time_outs
    }

    /// Says whether it gets no further request: the engine stops, or the address where it came in is gone.
    pub fn is_leaving(&self) -> bool {
        self.worker.draining.get() || !self.door.is_open()
    }

    /// The client as logs show it: the peer, or whom a trusted proxy named in the last request.
    pub fn shown(&self) -> SocketAddr {
        self.with_ties(|ties| ties.as_ref().and_then(|ties| ties.shown)).unwrap_or(self.peer)
    }

    /// Says who sent the request that begins.
    pub fn show(&self, who: SocketAddr) {
        self.with_ties(|ties| match ties {
            Some(ties) => ties.shown = Some(who),
            None if who == self.peer => {}
            None => ties.get_or_insert_default().shown = Some(who),
        });
    }

    /// The request is over: the countdown of a client that a proxy named begins.
    pub fn let_go(&self, now: Now) {
        if let Some(key) = self.with_ties(|ties| ties.as_mut().and_then(|ties| ties.named.take())) {
            self.worker.current().store.close(&key, now);
        }
    }
}

impl<R: Rt> Holds for Client<R> {
    //= TLS-HTTP-01
    fn is_secured(&self) -> bool {
        self.stream.is_secured()
    }

    /// Keeps the table entry of the client at `who` alive: as long as this connection is open if that is the peer, as
    /// long as the request if a proxy named it. A proxy's connection says nothing of how long its clients stay, and it
    /// would gather an entry of every one that ever came.
    //= SE-PERSIST-04
    fn hold(&self, key: Key, who: IpAddr, now: Now) {
        // As long as the connection, not one of its streams.
        if let Some(part) = self.stream.part()
            && who == self.peer.ip().to_canonical()
        {
            return part.whole().hold(key, who, now);
        }
        let store = &self.worker.current().store;
        self.with_ties(|ties| {
            let ties = ties.get_or_insert_default();
            if who == self.peer.ip().to_canonical() {
                if !ties.held.contains(&key) && store.open(&key, now) {
                    ties.held.push(key);
                }
            } else if ties.named != Some(key) {
                if let Some(other) = ties.named.take() {
                    store.close(&other, now);
                }
                ties.named = store.open(&key, now).then_some(key);
            }
        });
    }
}

impl<R: Rt> Drop for Client<R> {
    fn drop(&mut self) {
        self.end();
        if self.stream.part().is_some() {
            return;
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

pub(super) struct Place<'p, R: Rt> {
    parked: &'p Parked<R>,
    at: usize,
}

impl<R: Rt> Parked<R> {
    pub(super) fn enter(&self, client: &Rc<Client<R>>) -> Place<'_, R> {
        let mut places = self.places.borrow_mut();
        let at = self.free.borrow_mut().pop().unwrap_or_else(|| {
            places.push(Weak::new());
            places.len() - 1
        });
        places[at] = Rc::downgrade(client);
        Place { parked: self, at }
    }

    /// Lets all of them look whether they are to go: one that carries many requests says so to its client.
    pub fn nudge(&self) {
        for client in self.places.borrow().iter().filter_map(Weak::upgrade) {
            if let Some(waker) = client.waiting.take() {
                waker.wake();
            }
        }
    }

    /// Ends the waiting of those that are to go.
    pub fn end_where(&self, goes: impl Fn(&Client<R>) -> bool) {
        for client in self.places.borrow().iter().filter_map(Weak::upgrade).filter(|client| goes(client)) {
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

/// Serves a connection to its end.
///
/// While it waits for a request it is this future, which must stay small, and the [`Client`]: what a request needs is
/// borrowed from the worker when its first byte is there.
//= SE-IDLE-01
pub async fn serve<R: Rt>(client: Rc<Client<R>>) {
    //= H2-HOST-01
    if client.stream.session().is_some_and(Session::is_http2) {
        return front::begin(client, Buffer::default());
    }
    let mut first_head = Some(TimeOuts::at(client.worker.rt.now(), client.time_outs().header));
    loop {
        let job = {
            let worker = &client.worker;
            let idle = || TimeOuts::at(worker.rt.now(), client.time_outs().idle);
            let deadline = first_head.unwrap_or_else(idle);
            let _place = worker.parked.enter(&client);
            // The wait for the connection itself: a byte here is one of every idle client.
            let Some(own) = client.stream.own() else { return };
            let mut readable = pin!(own.readable(deadline));
            // What has come before the worker drains is served.
            let waited = poll_fn(|context| {
                if let Poll::Ready(waited) = readable.as_mut().poll(context) {
                    return Poll::Ready(Some(waited));
                }
                if client.dismissed.get() && !client.stream.is_spent() {
                    return Poll::Ready(None);
                }
                client.waiting.set(Some(context.waker().clone()));
                Poll::Pending
            });
            match waited.await {
                Some(Ok(())) => Job::Serve(first_head.take()),
                Some(Err(error)) => {
                    if error.kind() == ErrorKind::TimedOut {
                        let counters = &worker.metrics.timeouts;
                        if first_head.is_some() { counters.header.inc() } else { counters.idle.inc() }
                    }
                    return;
                }
                // Its next request may be on its way: a close that meets it would be a reset.
                None => Job::Dismiss,
            }
        };
        let mut conversation = client.worker.conversations.take();
        let after = conversation.lead(&client, job).await;
        client.worker.conversations.give_back(conversation);
        match after {
            After::Wait => {}
            After::End => return,
            After::Http2(first) => return front::begin(client, first),
        }
    }
}
