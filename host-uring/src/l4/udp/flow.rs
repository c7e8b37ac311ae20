//! One client's address and port, and its server.

use std::cell::Cell;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;

use forebay_core::id::ServerIndex;
use forebay_core::request::{ClientAddr, NoHttp};
use forebay_core::table::Key;
use forebay_core::units::Micros;
use forebay_core::{Reason, Verdict};

use super::{Dropped, Shared};
use crate::config::ServiceIndex;
use crate::http::choose::{Circumstances, Holds, Memory, choose};
use crate::http::limits::DATAGRAMS_PER_TURN;
use crate::http::place::{leave_place, take_place};
use crate::http::steer::plain_route;
use crate::http::wait::others_turn;
use crate::l4::record::{End, Ends, Trace, finish};
use crate::limits::is_shortage;
use crate::metrics::{ServerMetrics, ServiceMetrics};
use crate::rt::datagram::Datagrams;
use crate::rt::{Now, Rt, Sockets};
use crate::worker::{Generation, Route, Ticket, TimeOuts, Underway, Why, Worker};

/// A flow; counted and logged when it is dropped.
pub(super) struct Flow {
    shared: Rc<Shared>,
    /// The configuration that it began with.
    plan: Rc<Generation>,
    service: ServiceIndex,
    /// Who sends.
    pub(super) client: SocketAddr,
    address: SocketAddr,
    route: usize,
    server: ServerIndex,
    servers_tried: u8,
    /// Ends it from outside of its task.
    ticket: Ticket<Rc<Underway>>,
    socket: Datagrams,
    begin: Now,
    moved: Cell<Now>,
    reason: Reason,
    answers: Cell<u32>,
    /// The client has sent again after an answer: it hears us.
    talks: Cell<bool>,
    rx_bytes: Cell<u64>,
    tx_bytes: Cell<u64>,
    end: Cell<Option<End>>,
    /// It counts towards the worker's bound of flows.
    counted: Cell<bool>,
    /// The table entry of its address that it keeps alive.
    held: Cell<Option<Key>>,
}

/// Keeps the table entry alive until the flow does.
struct Hold<'w> {
    worker: &'w Worker<Sockets>,
    key: Cell<Option<Key>>,
}

impl Holds for Hold<'_> {
    fn hold(&self, key: Key, _who: IpAddr, now: Now) {
        let store = &self.worker.current().store;
        if self.key.get() != Some(key)
            && store.open(&key, now)
            && let Some(before) = self.key.replace(Some(key))
        {
            store.close(&before, now);
        }
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.worker.current().store.close(&key, self.worker.rt.now());
        }
    }
}

/// A server with a socket towards it.
struct Connected {
    server: ServerIndex,
    socket: Datagrams,
    reason: Reason,
    servers_tried: u8,
}

/// Decides, and connects; another server gets its try where there is no way to one.
fn connect(
    shared: &Shared,
    plan: &Generation,
    route: &Route,
    hold: &Hold<'_>,
    view: &NoHttp<'_>,
) -> Result<Connected, Dropped> {
    let worker = &*shared.worker;
    //= L4-UDP-04
    let mut tried: Vec<ServerIndex> = {
        let pool = route.pool.borrow();
        let mut refusals = shared.refusals.borrow_mut();
        let own = refusals.of(view.client.ip, plan.pool_of(route).id, worker.rt.now());
        own.filter_map(|id| pool.index_of(id)).collect()
    };
    let mut refused_before = !tried.is_empty();
    let mut full = Vec::new();
    let mut servers_tried = 0_u8;
    loop {
        let circumstances =
            Circumstances { tried: &tried, full: &full, queued: false, hash_key: None, waits: false };
        let decision = choose(worker, plan, hold, route, view, &circumstances, &mut Memory::default());
        let server = match decision.verdict {
            Verdict::Server(server) if !tried.contains(&server) => server,
            // Better one that has refused it than none.
            _ if refused_before => {
                refused_before = false;
                tried.clear();
                continue;
            }
            _ => {
                route.counts.no_server.inc();
                return Err(Dropped::NoServer);
            }
        };
        if !take_place(route, server) {
            full.push(server);
            continue;
        }
        let target = &route.servers[server.at()];
        servers_tried = servers_tried.saturating_add(1);
        worker.upstreams.make_room(worker.clients() + 1);
        match Datagrams::connected(&worker.rt, target.address) {
            Ok(socket) => return Ok(Connected { server, socket, reason: decision.reason, servers_tried }),
            Err(error) if is_shortage(&error) => {
                leave_place(route, server);
                worker.metrics.connect_shortages.inc();
                return Err(Dropped::Shortage);
            }
            Err(_) => {
                leave_place(route, server);
                target.counts.connect_failures.inc();
                refused_before = false;
                tried.push(server);
            }
        }
    }
}

impl Flow {
    /// A new one, with the server that the pool gives it.
    ///
    /// # Errors
    /// There is no server for it, or nothing to reach one with.
    //= L4-UDP-01
    pub(super) fn begin(
        shared: &Rc<Shared>,
        service: ServiceIndex,
        client: SocketAddr,
        address: SocketAddr,
    ) -> Result<Self, Dropped> {
        let worker = &shared.worker;
        let plan = worker.current();
        let view = NoHttp { client: ClientAddr::new(client.ip().to_canonical(), client.port()), tls: None };
        let at = plain_route(worker, &plan, plan.service(service), &view).ok_or(Dropped::NoServer)?;
        let route = &plan.routes[at];
        route.counts.requests.inc();
        let hold = Hold { worker, key: Cell::new(None) };
        let Connected { server, socket, reason, servers_tried } =
            connect(shared, &plan, route, &hold, &view)?;
        let target = &route.servers[server.at()];
        target.counts.connections.opened.inc();
        plan.service(service).counts.connections.opened.inc();
        worker.metrics.flows.opened.inc();
        worker.connections.set(worker.connections.get() + 1);
        let now = worker.rt.now();
        Ok(Flow {
            shared: shared.clone(),
            service,
            client,
            address,
            route: at,
            server,
            servers_tried,
            ticket: worker.underway.enter_shared(target.slot, plan.number, route.service_id()),
            socket,
            begin: now,
            moved: Cell::new(now),
            reason,
            answers: Cell::new(0),
            talks: Cell::new(false),
            rx_bytes: Cell::new(0),
            tx_bytes: Cell::new(0),
            end: Cell::new(None),
            counted: Cell::new(true),
            held: Cell::new(hold.key.take()),
            plan: plan.clone(),
        })
    }

    fn route(&self) -> &Route {
        &self.plan.routes[self.route]
    }

    fn server_counts(&self) -> &ServerMetrics {
        &self.route().servers[self.server.at()].counts
    }

    fn counts(&self) -> &ServiceMetrics {
        &self.plan.service(self.service).counts
    }

    /// Says whether it takes datagrams.
    pub(super) fn lives(&self) -> bool {
        self.end.get().is_none()
    }

    /// Says whether its client has not sent again after an answer.
    pub(super) fn is_young(&self) -> bool {
        !self.talks.get() && self.lives()
    }

    /// Ends it; its task learns of it and closes its socket.
    pub(super) fn give_up(&self, end: End) {
        if self.lives() {
            self.end.set(Some(end));
            self.ticket.cut();
            self.uncount();
        }
    }

    fn uncount(&self) {
        if self.counted.replace(false) {
            let flows = &self.shared.worker.flows;
            flows.set(flows.get() - 1);
        }
    }

    /// Nobody listens at its server: the flow ends, the server is charged, and the client's next one goes elsewhere.
    //= L4-UDP-04
    pub(super) fn was_refused(&self) {
        self.server_counts().connect_failures.inc();
        let now = self.shared.worker.rt.now();
        let server = self.route().pool.borrow().id_of(self.server);
        let (client, pool) = (self.client.ip().to_canonical(), self.plan.pool_of(self.route()).id);
        self.shared.refusals.borrow_mut().add(client, pool, server, now);
        self.give_up(End::ServerFailed);
    }

    /// Sends a client's datagram to the server.
    ///
    /// # Errors
    /// `ConnectionRefused`: nobody listened there before. Else the socket took none.
    pub(super) fn take(&self, bytes: &[u8]) -> Result<(), ErrorKind> {
        self.talks.set(self.talks.get() || self.answers.get() > 0);
        self.counts().datagrams_received.inc();
        self.socket.try_send(bytes).map_err(|error| error.kind())?;
        let len = bytes.len() as u64;
        self.server_counts().tx_bytes.add(len);
        self.rx_bytes.set(self.rx_bytes.get() + len);
        self.moved.set(self.shared.worker.rt.now());
        Ok(())
    }

    /// Passes the server's datagrams to `to` until the flow ends.
    pub(super) async fn carry(&self, to: &Datagrams) {
        let ended = self.ticket.unless_cut(pin!(self.pass_all(to))).await;
        match ended {
            Some(end) => self.end.set(Some(end)),
            //= L4-CUT-01
            None if self.lives() => {
                self.end.set(Some(match self.ticket.why() {
                    Why::Service => End::Gone,
                    Why::Server => {
                        self.server_counts().cuts.inc();
                        End::Cut
                    }
                }));
            }
            None => {}
        }
    }

    async fn pass_all(&self, to: &Datagrams) -> End {
        let profile = &self.plan.tree.service(self.service).udp;
        let idle_us = u64::from(profile.idle_timeout_ms) * 1000;
        loop {
            let deadline = TimeOuts::at(self.moved.get(), idle_us);
            match self.socket.readable(deadline).await {
                Ok(()) => match self.pass_some(to, profile.answers_per_flow) {
                    Passed::All => {}
                    Passed::Some => others_turn().await,
                    Passed::Last(end) => return end,
                },
                //= L4-UDP-02
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    // The client may have sent meanwhile.
                    if self.shared.worker.rt.now() >= TimeOuts::at(self.moved.get(), idle_us) {
                        return End::Idle;
                    }
                }
                Err(_) => return End::ServerFailed,
            }
        }
    }

    /// Passes on what the server has sent, some of it.
    fn pass_some(&self, to: &Datagrams, answers_max: u32) -> Passed {
        let (counts, service) = (self.server_counts(), self.counts());
        let mut bytes = self.shared.bytes.borrow_mut();
        for _ in 0..DATAGRAMS_PER_TURN {
            let len = match self.socket.try_recv(&mut bytes) {
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Passed::All,
                Err(_) => {
                    self.was_refused();
                    return Passed::Last(End::ServerFailed);
                }
            };
            let now = self.shared.worker.rt.now();
            if self.answers.get() == 0 {
                let took = Micros(now.0.saturating_sub(self.begin.0));
                self.route().tell_pool(self.server, |pool, at| pool.response_time(at, took));
            }
            self.moved.set(now);
            self.answers.set(self.answers.get().saturating_add(1));
            counts.rx_bytes.add(len as u64);
            match to.try_send_to(&bytes[..len], self.client) {
                Ok(_) => {
                    service.datagrams_sent.inc();
                    self.tx_bytes.set(self.tx_bytes.get() + len as u64);
                }
                Err(_) => service.datagrams_dropped[Dropped::Full as usize].inc(),
            }
            //= L4-UDP-02
            if answers_max != 0 && self.answers.get() >= answers_max {
                return Passed::Last(End::Whole);
            }
        }
        Passed::Some
    }
}

/// What came of reading the server's socket.
enum Passed {
    /// Nothing more is there.
    All,
    /// There may be more.
    Some,
    /// The flow has ended.
    Last(End),
}

impl Drop for Flow {
    fn drop(&mut self) {
        let worker = &self.shared.worker;
        let route = self.route();
        self.uncount();
        leave_place(route, self.server);
        let now = worker.rt.now();
        let bytes = self.rx_bytes.get() + self.tx_bytes.get();
        route.tell_pool(self.server, |pool, at| pool.transferred(at, bytes, now));
        if let Some(key) = self.held.take() {
            worker.current().store.close(&key, now);
        }
        self.server_counts().connections.closed.inc();
        self.counts().connections.closed.inc();
        worker.metrics.flows.closed.inc();
        worker.connections.set(worker.connections.get() - 1);
        if std::thread::panicking() {
            return;
        }
        let end = match self.end.get() {
            Some(end) => end,
            None if worker.draining.get() => End::Stopped,
            None => End::WorkerFailed,
        };
        let trace = Trace {
            begin: self.begin,
            route: Some(self.route),
            server: Some(self.server.at()),
            server_src: self.socket.local_addr().ok(),
            servers_tried: self.servers_tried,
            reason: Some(self.reason),
            rx_bytes: self.rx_bytes.get(),
            tx_bytes: self.tx_bytes.get(),
            ..Trace::default()
        };
        let ends = Ends { client: self.client, local: self.address };
        finish(worker, &self.plan, self.service, ends, &trace, end);
    }
}
