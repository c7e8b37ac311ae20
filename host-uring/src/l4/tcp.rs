//! A connection of a TCP service: a server for it, then bytes both ways.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;

use forebay_core::id::ServerIndex;
use forebay_core::request::{ClientAddr, NoHttp};
use forebay_core::retry::{self, Attempt, Retry, Sent};
use forebay_core::table::Key;
use forebay_core::units::Micros;
use forebay_core::{Refusal, Verdict};
use forebay_tls_hello::Name;

use super::hello::{Heard, Unheard, hear, refuse};
use super::record::{End, Ends, Trace, finish};
use crate::config::{ServiceIndex, Target};
use crate::http::choose::{Circumstances, Holds, Memory, choose};
use crate::http::limits::BURST_BYTES_MAX;
use crate::http::place::{Busy, Waited, Waiting};
use crate::http::steer::{plain_route, route_to};
use crate::http::tunnel::{self, Carried, Tunnel};
use crate::http::wait::Patience;
use crate::limits::is_shortage;
use crate::rt::{Now, Rt, Stream};
use crate::tls::Securable;
use crate::upstream::{For, ServerConn, Unready, ready};
use crate::worker::{Generation, Route, Service, TimeOuts, Why, Worker};

/// A client's connection.
pub struct Connection<R: Rt> {
    worker: Rc<Worker<R>>,
    /// The configuration that it began with.
    plan: Rc<Generation>,
    service: ServiceIndex,
    stream: R::Stream,
    ends: Ends,
    /// The table entry of its address that it keeps alive.
    held: Cell<Option<Key>>,
    trace: RefCell<Trace>,
    carried: Carried,
}

impl<R: Rt> Connection<R> {
    /// Takes a connection over and counts it.
    pub fn new(
        worker: &Rc<Worker<R>>,
        service: ServiceIndex,
        stream: R::Stream,
        client: SocketAddr,
        local: SocketAddr,
    ) -> Self {
        worker.connections.set(worker.connections.get() + 1);
        worker.metrics.connections.opened.inc();
        let plan = worker.current();
        plan.service(service).counts.connections.opened.inc();
        let trace = Trace { begin: worker.rt.now(), ..Trace::default() };
        Connection {
            worker: worker.clone(),
            plan,
            service,
            stream,
            ends: Ends { client, local },
            held: Cell::new(None),
            trace: RefCell::new(trace),
            carried: Carried::default(),
        }
    }

    fn service(&self) -> &Service {
        self.plan.service(self.service)
    }

    fn ended(&self, end: End) {
        self.trace.borrow_mut().end = Some(end);
    }

    /// Whether this end cut somebody's data short, so that it must not pass for a whole one. A side that failed after
    /// its data had ended, and was passed on, cut nothing: what is still queued of it must arrive.
    //= L4-RESET-01
    fn is_cut_by(&self, end: End) -> bool {
        match end {
            End::Whole | End::NameRefused | End::Unbegun => false,
            End::ClientFailed => !self.carried.up_over.get(),
            End::ServerFailed => !self.carried.down_over.get(),
            _ => true,
        }
    }
}

impl<R: Rt> Holds for Connection<R> {
    fn hold(&self, key: Key, _who: IpAddr, now: Now) {
        if self.held.get() == Some(key) {
            return;
        }
        let store = &self.worker.current().store;
        if store.open(&key, now)
            && let Some(before) = self.held.replace(Some(key))
        {
            store.close(&before, now);
        }
    }
}

impl<R: Rt> Drop for Connection<R> {
    fn drop(&mut self) {
        let worker = &self.worker;
        let mut trace = self.trace.borrow_mut();
        let end = match trace.end {
            Some(end) => end,
            None if worker.draining.get() => End::Stopped,
            None => End::WorkerFailed,
        };
        if self.is_cut_by(end) {
            self.stream.reset_on_close();
        }
        if let Some(key) = self.held.take() {
            worker.current().store.close(&key, worker.rt.now());
        }
        worker.connections.set(worker.connections.get() - 1);
        worker.metrics.connections.closed.inc();
        self.service().counts.connections.closed.inc();
        // Of the task that panics itself nothing is certain any more; its panic is in the process log.
        if !std::thread::panicking() {
            trace.rx_bytes = self.carried.up.get();
            trace.tx_bytes = self.carried.down.get();
            finish(worker, &self.plan, self.service, self.ends, &trace, end);
        }
    }
}

/// A server that has taken the connection.
struct Served<'w, R: Rt> {
    route: &'w Route,
    server: ServerIndex,
    busy: Busy<'w>,
    conn: ServerConn<R::Stream>,
}

/// Resets the server's connection as well, unless nothing was cut.
struct Cut<'c, R: Rt> {
    connection: &'c Connection<R>,
    server: &'c R::Stream,
}

impl<R: Rt> Drop for Cut<'_, R> {
    fn drop(&mut self) {
        let ended = self.connection.trace.try_borrow().ok().and_then(|trace| trace.end);
        if ended.is_none_or(|end| self.connection.is_cut_by(end)) {
            self.server.reset_on_close();
        }
    }
}

/// Serves a connection to its end.
//= L4-TCP-01
pub async fn serve<R: Rt>(connection: Connection<R>) {
    // Boxed: of most connections nothing is heard first.
    let led = match connection.plan.tree.service(connection.service).sni.is_some() {
        true => Box::pin(hear_out(&connection)).await.map(Some),
        false => Ok(None),
    };
    let end = match led {
        Ok(led) => {
            let (target, first) = led.unzip();
            match find_server(&connection, target).await {
                Ok(served) => {
                    carry(&connection, served, first).await;
                    return;
                }
                Err(end) => end,
            }
        }
        Err(end) => end,
    };
    connection.ended(end);
}

/// Hears where a client wants to go whose TLS is passed on; gives also what it has said, which is its server's.
//= TLS-PASS-01
//= TLS-PASS-02
async fn hear_out<R: Rt>(connection: &Connection<R>) -> Result<(Target, Vec<u8>), End> {
    let (worker, service) = (&*connection.worker, connection.plan.tree.service(connection.service));
    let Some(sni) = &service.sni else { return Err(End::Hello) };
    let heard = &connection.service().counts.hellos;
    let deadline = TimeOuts::at(worker.rt.now(), sni.hello_us);
    let (hello, bytes) = match hear(&connection.stream, deadline).await {
        Ok(whole) => whole,
        Err(Unheard { kind, text }) => {
            heard[kind as usize].inc();
            if kind == Heard::Late {
                worker.metrics.timeouts.tls_handshake.inc();
            }
            connection.trace.borrow_mut().refused = Some(text);
            return Err(kind.end().unwrap_or(End::Hello));
        }
    };
    let name = hello.name.as_ref().map(Name::as_str);
    connection.trace.borrow_mut().name = name.map(Box::from);
    let Some((target, is_named)) = sni.lead(name) else {
        heard[Heard::Refused as usize].inc();
        refuse(&connection.stream);
        return Err(End::NameRefused);
    };
    let kind = match (is_named, name) {
        (true, _) => Heard::Named,
        (false, Some(_)) => Heard::Other,
        (false, None) => Heard::Nameless,
    };
    heard[kind as usize].inc();
    Ok((target, bytes))
}

/// Decides, and connects; another server gets its try where one does not take the connection.
async fn find_server<R: Rt>(
    connection: &Connection<R>,
    target: Option<Target>,
) -> Result<Served<'_, R>, End> {
    let (worker, plan) = (&*connection.worker, &*connection.plan);
    let client = connection.ends.client;
    let who = ClientAddr::new(client.ip().to_canonical(), client.port());
    let service = plan.tree.service(connection.service).keeps_as;
    let tls = connection.stream.session().and_then(|session| session.known_as(service));
    let view = NoHttp { client: who, tls };
    let found = match target {
        Some(target) => route_to(worker, plan, connection.service(), target, &view),
        None => plain_route(worker, plan, connection.service(), &view),
    };
    let Some(route_at) = found else {
        if let Some(first) = connection.service().routes.first() {
            plan.routes[*first].counts.no_server.inc();
        }
        return Err(End::NoServer);
    };
    let route = &plan.routes[route_at];
    let metrics = &route.counts;
    metrics.requests.inc();
    connection.trace.borrow_mut().route = Some(route_at);
    let mut tried: Vec<ServerIndex> = Vec::new();
    let mut full: Vec<ServerIndex> = Vec::new();
    let mut waiting: Option<Waiting<'_>> = None;
    let mut memory = Memory::default();
    loop {
        // Others came earlier: behind them.
        let behind = waiting.is_none() && !route.queue.is_empty();
        let circumstances = Circumstances {
            tried: &tried,
            full: &full,
            queued: waiting.is_some(),
            hash_key: None,
            waits: true,
        };
        let decision = choose(worker, plan, connection, route, &view, &circumstances, &mut memory);
        connection.trace.borrow_mut().reason = Some(decision.reason);
        let server = match decision.verdict {
            Verdict::Server(server) if !behind => server,
            Verdict::Server(_) | Verdict::Queue => {
                full.clear();
                wait_for_turn(connection, route, &mut waiting).await?;
                continue;
            }
            Verdict::Close | Verdict::Reject { .. } | Verdict::Site(_) => {
                left_queue(connection, &mut waiting);
                if !tried.is_empty() {
                    return Err(End::Unconnected);
                }
                metrics.no_server.inc();
                return Err(match decision.verdict {
                    Verdict::Reject { why: Refusal::QueueFull, .. } => {
                        metrics.queue_full.inc();
                        End::Queue
                    }
                    Verdict::Reject { why: Refusal::AllAtLimit, .. } => End::Queue,
                    _ => End::NoServer,
                });
            }
        };
        let Some(busy) = Busy::take(worker, plan, route, server) else {
            full.push(server);
            continue;
        };
        full.clear();
        left_queue(connection, &mut waiting);
        let attempts = {
            let mut trace = connection.trace.borrow_mut();
            trace.server = Some(server.at());
            trace.servers_tried = trace.servers_tried.saturating_add(1);
            trace.servers_tried
        };
        match connect(connection, route, server).await {
            Ok(conn) => {
                if let Some(receipt) = memory.receipt {
                    worker.acknowledged(receipt).await;
                }
                return Ok(Served { route, server, busy, conn });
            }
            Err(End::Shortage) => return Err(End::Shortage),
            Err(_) => {}
        }
        drop(busy);
        //= L4-RETRY-01
        let attempt = Attempt {
            failure: retry::Failure::Connect,
            sent: Sent::Nothing,
            idempotent: false,
            body_held: true,
            answered: false,
            reused: false,
            attempts,
        };
        if !matches!(retry::may_retry(&route.retry, &attempt), Retry::OtherServer) {
            return Err(End::Unconnected);
        }
        metrics.retries.inc();
        tried.push(server);
    }
}

/// Waits in the pool's queue until it is this one's turn. A client that has ended its side waits on: it may have said
/// all that it wants to say.
//= L4-TCP-02
async fn wait_for_turn<'w, R: Rt>(
    connection: &'w Connection<R>,
    route: &'w Route,
    waiting: &mut Option<Waiting<'w>>,
) -> Result<(), End> {
    let worker = &*connection.worker;
    if waiting.is_none() {
        *waiting = Waiting::enter(worker, &connection.plan, route);
    }
    let waited = match &waiting {
        Some(place) => Some(place.turn(&worker.rt, Patience::endless()).await),
        None => None,
    };
    let end = match waited {
        Some(Waited::Turn) if !connection.stream.is_reset() => return Ok(()),
        Some(Waited::Turn | Waited::Gone) => End::ClientFailed,
        Some(Waited::Late) => {
            worker.metrics.timeouts.queue.inc();
            End::Queue
        }
        None => {
            route.counts.queue_full.inc();
            End::Queue
        }
    };
    left_queue(connection, waiting);
    Err(end)
}

fn left_queue<R: Rt>(connection: &Connection<R>, waiting: &mut Option<Waiting<'_>>) {
    if let Some(waiting) = waiting.take() {
        connection.trace.borrow_mut().queue_us += waiting.waited_us(&connection.worker.rt);
    }
}

//= TLS-SERVER-TCP-01
async fn connect<R: Rt>(
    connection: &Connection<R>,
    route: &Route,
    server: ServerIndex,
) -> Result<ServerConn<R::Stream>, End> {
    let worker = &*connection.worker;
    let target = &route.servers[server.at()];
    let began = worker.rt.now();
    let deadline = TimeOuts::at(began, connection.service().time_outs.connect);
    let Ends { client, local } = connection.ends;
    match ready(worker, route, target, For { client, local, asked: None }, deadline).await {
        Ok(conn) => {
            let took = worker.rt.now().0.saturating_sub(began.0);
            route.tell_pool(server, |pool, at| pool.response_time(at, Micros(took)));
            let mut trace = connection.trace.borrow_mut();
            (trace.server_src, trace.server_rtt_us) = (conn.local, conn.rtt_us);
            trace.refused = None;
            Ok(conn)
        }
        Err(Unready::Unopened(error)) if is_shortage(&error) => {
            worker.metrics.connect_shortages.inc();
            Err(End::Shortage)
        }
        Err(unready) => {
            target.counts.connect_failures.inc();
            if unready.is_late() {
                worker.metrics.timeouts.connect.inc();
            }
            connection.trace.borrow_mut().refused = unready.why();
            Err(End::Unconnected)
        }
    }
}

async fn carry<R: Rt>(connection: &Connection<R>, served: Served<'_, R>, first: Option<Vec<u8>>) {
    let Served { route, server, busy, conn } = served;
    let worker = &*connection.worker;
    let cut = Cut { connection, server: &conn.stream };
    connection.stream.heed_marks();
    conn.stream.heed_marks();
    {
        let mut trace = connection.trace.borrow_mut();
        let since = worker.rt.now().0.saturating_sub(trace.begin.0);
        trace.connect_us = since.saturating_sub(trace.queue_us);
    }
    let metrics = &route.servers[server.at()].counts;
    let load = Load { worker, route, server, bytes: Cell::new(0) };
    let tunnel = Tunnel {
        worker,
        client: &connection.stream,
        server: &conn.stream,
        idle_us: connection.service().tcp_idle_us,
        carried: &connection.carried,
        gave: &|bytes| {
            metrics.tx_bytes.add(bytes);
            load.moved(bytes);
        },
        got: &|bytes| {
            metrics.rx_bytes.add(bytes);
            load.moved(bytes);
        },
    };
    let first = first.map(|bytes| {
        let mut buffer = worker.buffers.head();
        buffer.append(&bytes);
        buffer
    });
    let ended = busy.ticket.unless_cut(pin!(tunnel.carry(first, None))).await;
    load.settle();
    let end = match ended {
        Some(tunnel::End::Whole) => End::Whole,
        Some(tunnel::End::Idle) => {
            worker.metrics.timeouts.tcp_idle.inc();
            End::Idle
        }
        Some(tunnel::End::ClientFailed) => {
            worker.metrics.client_aborts.inc();
            End::ClientFailed
        }
        Some(tunnel::End::ServerFailed) => {
            // One that ends like this without having said anything has not served.
            if connection.carried.down.get() == 0 {
                metrics.aborts.inc();
            }
            End::ServerFailed
        }
        //= L4-CUT-01
        None => match busy.ticket.why() {
            Why::Service => End::Gone,
            Why::Server => {
                metrics.cuts.inc();
                End::Cut
            }
        },
    };
    let rtt_us = connection.stream.rtt_us().unwrap_or(0);
    connection.service().counts.rtt.sample(rtt_us);
    {
        let mut trace = connection.trace.borrow_mut();
        trace.client_rtt_us = rtt_us;
        trace.end = Some(end);
    }
    drop(cut);
}

/// Tells the pool of bytes while they move, some at a time.
struct Load<'w, R: Rt> {
    worker: &'w Worker<R>,
    route: &'w Route,
    server: ServerIndex,
    bytes: Cell<u64>,
}

impl<R: Rt> Load<'_, R> {
    fn moved(&self, bytes: u64) {
        self.bytes.set(self.bytes.get() + bytes);
        if self.bytes.get() >= BURST_BYTES_MAX {
            self.settle();
        }
    }

    fn settle(&self) {
        let bytes = self.bytes.take();
        if bytes > 0 {
            let now = self.worker.rt.now();
            self.route.tell_pool(self.server, |pool, at| pool.transferred(at, bytes, now));
        }
    }
}
