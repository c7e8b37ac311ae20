//! Connections to servers: opened, lent to one request at a time, kept for the next.
//!
//! Each worker keeps its own, the youngest in front: it is the likeliest to be alive and in the cache, and the
//! others grow old and go. A connection is lent only if its server has neither closed it nor said anything
//! since it was put back.
//!
//! Idle ones live on descriptors that nobody else wants: the oldest goes when the worker's share is used up, or when
//! the system has none left.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use crate::http::buffer::HeldAccount;
use crate::limits::{GIVEN_UP_AT_ONCE_MAX, is_shortage};
use crate::metrics::{ServerMetrics, WorkerMetrics};
use crate::rt::{NEVER, Now, Rt, Stream};
use crate::tls::Proof;
use crate::worker::RouteServer;
use h2::{Link, Trunks};

pub mod h2;
mod ready;

pub use ready::{For, Unready, ready};

/// One connection to a server.
pub struct ServerConn<S> {
    /// The socket.
    pub stream: S,
    /// Requests that it has carried.
    pub requests: u32,
    /// Our own address, for the log.
    pub local: Option<SocketAddr>,
    /// Round-trip time when it was opened, microseconds.
    pub rtt_us: u32,
    /// By what rules it was secured, if it was.
    proof: Option<Proof>,
    opened: Now,
    idle_since: Now,
    slot: usize,
    /// None where it is a part of one.
    life: Option<Life>,
}

/// What counts a connection as open.
struct Life {
    counts: Arc<ServerMetrics>,
    _counted: Counted,
}

/// One of the worker's connections to servers, from the moment that its descriptor is wanted.
struct Counted {
    open: Rc<Cell<usize>>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
    }
}

impl<S> ServerConn<S> {
    /// Whether an earlier request was sent on it.
    pub fn is_reused(&self) -> bool {
        self.requests > 0
    }

    /// Says whether it is as a request wants it that asks the server for this name.
    //= TLS-SERVER-REUSE-01
    fn is_for(&self, target: &RouteServer, asked: Option<&[u8]>) -> bool {
        fits(self.proof.as_ref(), target, asked)
    }

    /// The same connection, by another type.
    pub fn map<T>(self, by: impl FnOnce(S) -> T) -> ServerConn<T> {
        let ServerConn { stream, requests, local, rtt_us, proof, opened, idle_since, slot, life } = self;
        ServerConn { stream: by(stream), requests, local, rtt_us, proof, opened, idle_since, slot, life }
    }
}

/// Says whether a connection with this proof is as a request wants it that asks the server for this name.
fn fits(proof: Option<&Proof>, target: &RouteServer, asked: Option<&[u8]>) -> bool {
    match (proof, &target.tls) {
        (None, None) => true,
        (Some(proof), Some(reach)) => proof.is_for(reach, asked),
        _ => false,
    }
}

impl<R: Rt> ServerConn<Link<R>> {
    /// The connection itself, if it carries one request after another.
    pub fn own(self) -> Option<ServerConn<R::Stream>> {
        let ServerConn { stream, requests, local, rtt_us, proof, opened, idle_since, slot, life } = self;
        match stream {
            Link::Own(stream) => {
                Some(ServerConn { stream, requests, local, rtt_us, proof, opened, idle_since, slot, life })
            }
            Link::Part(_) => None,
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.counts.connections.closed.inc();
    }
}

/// How long and how many connections to a pool's servers are kept.
#[derive(Clone, Copy, Debug)]
pub struct KeepRules {
    /// How long an idle one is kept; 0: none is.
    pub idle_us: u64,
    /// How old one may grow; 0: no bound.
    pub life_us: u64,
    /// Requests that one may carry; 0: no bound.
    pub reuse_max: u32,
    /// Idle ones kept to one server.
    pub idle_max: usize,
}

impl KeepRules {
    fn is_over<S>(&self, conn: &ServerConn<S>, now: Now) -> bool {
        now.0.saturating_sub(conn.idle_since.0) >= self.idle_us
            || (self.life_us != 0 && now.0.saturating_sub(conn.opened.0) >= self.life_us)
            || (self.reuse_max != 0 && conn.requests >= self.reuse_max)
    }
}

/// The idle connections to one server, the youngest at the end.
struct Idle<S> {
    list: Vec<ServerConn<S>>,
    /// The server is in the current configuration: its connections are kept.
    welcome: bool,
}

/// The connections of one worker to all servers.
pub struct Upstreams<R: Rt> {
    rt: R,
    metrics: Arc<WorkerMetrics>,
    /// By server slot.
    idle: RefCell<Vec<Idle<R::Stream>>>,
    idle_count: Cell<usize>,
    /// All of them: being opened, in use, idle.
    open: Rc<Cell<usize>>,
    /// Descriptors that client and server connections of this worker may have in all.
    descriptors_max: usize,
    closing: Cell<bool>,
    /// Those that carry many requests at once.
    trunks: Rc<Trunks<R>>,
}

impl<R: Rt> Upstreams<R> {
    /// No connection yet, and no server. `descriptors_max` is the worker's share, clients included;
    /// `held` counts what waits for slow receivers.
    pub fn new(rt: R, metrics: Arc<WorkerMetrics>, held: HeldAccount, descriptors_max: usize) -> Self {
        let trunks = Trunks::new(rt.clone(), metrics.clone(), held);
        Upstreams {
            rt,
            metrics,
            trunks,
            idle: RefCell::default(),
            idle_count: Cell::new(0),
            open: Rc::default(),
            descriptors_max,
            closing: Cell::new(false),
        }
    }

    /// A kept connection that is fit for use: one that was secured as the server's are now, for the same name.
    //= SE-UPSTREAM-01
    //= SE-UPSTREAM-02
    pub fn kept(
        &self,
        target: &RouteServer,
        rules: &KeepRules,
        asked: Option<&[u8]>,
    ) -> Option<ServerConn<R::Stream>> {
        let list = &mut self.idle.borrow_mut()[target.slot].list;
        // Nearly always the youngest one is for everybody.
        while let Some(at) = list.iter().rposition(|conn| conn.is_for(target, asked)) {
            let conn = list.remove(at);
            self.idle_count.set(self.idle_count.get() - 1);
            if !rules.is_over(&conn, self.rt.now()) && !conn.stream.has_spoken() {
                return Some(conn);
            }
        }
        None
    }

    /// Opens a connection, for one of `clients`. If the system has nothing to open it with, idle ones are given up
    /// for it.
    ///
    /// # Errors
    /// `TimedOut` at the deadline; else what the system says; a shortage of our own only when no idle one is left.
    //= SE-UPSTREAM-05
    pub async fn open(
        &self,
        target: &RouteServer,
        clients: usize,
        deadline: Now,
    ) -> io::Result<ServerConn<R::Stream>> {
        self.open.set(self.open.get() + 1);
        let counted = Counted { open: self.open.clone() };
        self.make_room(clients);
        let mut given_up = 0;
        let stream = loop {
            match self.rt.connect(target.address, deadline).await {
                Ok(stream) => break stream,
                Err(error)
                    if is_shortage(&error) && given_up < GIVEN_UP_AT_ONCE_MAX && self.give_up_oldest() =>
                {
                    given_up += 1;
                }
                Err(error) => return Err(error),
            }
        };
        let now = self.rt.now();
        target.counts.connections.opened.inc();
        let rtt_us = stream.rtt_us().unwrap_or(0);
        target.counts.rtt.sample(rtt_us);
        Ok(ServerConn {
            local: stream.local_addr().ok(),
            rtt_us,
            stream,
            requests: 0,
            proof: None,
            opened: now,
            idle_since: NEVER,
            slot: target.slot,
            life: Some(Life { counts: target.counts.clone(), _counted: counted }),
        })
    }

    /// Says whether connections to a server are kept at all.
    fn keeps(&self, slot: usize) -> bool {
        !self.closing.get() && self.idle.borrow().get(slot).is_some_and(|idle| idle.welcome)
    }

    /// Closes idle connections until `others` descriptors fit beside the open ones, or none is idle.
    //= SE-UPSTREAM-04
    #[inline]
    pub fn make_room(&self, others: usize) {
        while self.open.get() + others > self.descriptors_max && self.give_up_oldest() {}
    }

    /// Closes the connection that has been idle for the longest time, to whatever server; `false` if there is none.
    ///
    /// A walk over all servers: it is taken only where a connection is opened or accepted and descriptors are short.
    fn give_up_oldest(&self) -> bool {
        if self.idle_count.get() == 0 {
            let gave_up = self.trunks.give_up_oldest();
            if gave_up {
                self.metrics.upstream_evictions.inc();
            }
            return gave_up;
        }
        let mut all = self.idle.borrow_mut();
        let oldest = |idle: &Idle<R::Stream>| idle.list.first().map(|conn| conn.idle_since);
        let ages = all.iter_mut().filter_map(|idle| oldest(idle).map(|since| (since, idle)));
        let Some((_, idle)) = ages.min_by_key(|(since, _)| *since) else { return false };
        idle.list.remove(0);
        self.idle_count.set(self.idle_count.get() - 1);
        self.metrics.upstream_evictions.inc();
        true
    }

    /// Keeps a connection whose last answer was read to its end, if the rules allow; else closes it.
    //= SE-UPSTREAM-03
    pub fn keep(&self, mut conn: ServerConn<R::Stream>, rules: &KeepRules) {
        let now = self.rt.now();
        conn.idle_since = now;
        if self.closing.get() || rules.idle_max == 0 || rules.is_over(&conn, now) {
            return;
        }
        let idle = &mut self.idle.borrow_mut()[conn.slot];
        if !idle.welcome {
            return;
        }
        if idle.list.len() >= rules.idle_max {
            idle.list.remove(0);
        } else {
            self.idle_count.set(self.idle_count.get() + 1);
        }
        idle.list.push(conn);
    }

    /// Closes what has been idle too long; `rules` gives those of a server, `None` for one that is gone.
    pub fn sweep(&self, rules: impl Fn(usize) -> Option<KeepRules>) {
        let now = self.rt.now();
        self.trunks.sweep(&rules);
        for (slot, idle) in self.idle.borrow_mut().iter_mut().enumerate() {
            let idle = &mut idle.list;
            let before = idle.len();
            if before > 0 {
                match rules(slot) {
                    Some(rules) => idle.retain(|conn| !rules.is_over(conn, now)),
                    None => idle.clear(),
                }
                self.idle_count.set(self.idle_count.get() - (before - idle.len()));
            }
        }
    }

    /// Closes all idle connections to one server; those that carry many requests take no more.
    pub fn drop_idle(&self, slot: usize) {
        self.trunks.leave(slot);
        let idle = &mut self.idle.borrow_mut()[slot].list;
        self.idle_count.set(self.idle_count.get() - idle.len());
        idle.clear();
    }

    /// The server is in the current configuration: from now on its connections are kept.
    //= RELOAD-KEEP-03
    pub fn welcome(&self, slot: usize) {
        let mut idle = self.idle.borrow_mut();
        while idle.len() <= slot {
            idle.push(Idle { list: Vec::new(), welcome: false });
        }
        idle[slot].welcome = true;
    }

    /// The server is in the current configuration no more: closes its idle connections and keeps none from now on.
    pub fn dismiss(&self, slot: usize) {
        self.drop_idle(slot);
        self.idle.borrow_mut()[slot].welcome = false;
    }

    /// Closes all idle connections, and keeps none from now on.
    pub fn close(&self) {
        self.closing.set(true);
        let slots = self.idle.borrow().len();
        for slot in 0..slots {
            self.drop_idle(slot);
        }
    }
}
