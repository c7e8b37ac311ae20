//! Connections to servers: opened, lent to one request at a time, kept for the next.
//!
//! Each worker keeps its own, the youngest in front: it is the likeliest to be alive and in the cache, and the
//! others grow old and go. A connection is lent only if its server has neither closed it nor said anything
//! since it was put back.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::metrics::WorkerMetrics;
use crate::rt::{NEVER, Now, Rt, Stream};

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
    opened: Now,
    idle_since: Now,
    slot: usize,
    metrics: Arc<WorkerMetrics>,
}

impl<S> ServerConn<S> {
    /// Whether an earlier request was sent on it.
    pub fn is_reused(&self) -> bool {
        self.requests > 0
    }
}

impl<S> Drop for ServerConn<S> {
    fn drop(&mut self) {
        self.metrics.servers[self.slot].connections.closed.inc();
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
type Idle<S> = RefCell<Vec<ServerConn<S>>>;

/// The connections of one worker to all servers.
pub struct Upstreams<R: Rt> {
    rt: R,
    metrics: Arc<WorkerMetrics>,
    /// By server slot.
    idle: Box<[Idle<R::Stream>]>,
    closing: Cell<bool>,
}

impl<R: Rt> Upstreams<R> {
    /// No connection yet, to any of `slots` servers.
    pub fn new(rt: R, metrics: Arc<WorkerMetrics>, slots: usize) -> Self {
        Upstreams {
            rt,
            metrics,
            idle: std::iter::repeat_with(RefCell::default).take(slots).collect(),
            closing: Cell::new(false),
        }
    }

    /// A kept connection that is fit for use.
    //= SE-UPSTREAM-01
    //= SE-UPSTREAM-02
    pub fn kept(&self, slot: usize, rules: &KeepRules) -> Option<ServerConn<R::Stream>> {
        let mut idle = self.idle[slot].borrow_mut();
        while let Some(conn) = idle.pop() {
            if !rules.is_over(&conn, self.rt.now()) && !conn.stream.is_spent() {
                return Some(conn);
            }
        }
        None
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// `TimedOut` at the deadline; else what the system says.
    pub async fn open(
        &self,
        slot: usize,
        to: SocketAddr,
        deadline: Now,
    ) -> io::Result<ServerConn<R::Stream>> {
        let stream = self.rt.connect(to, deadline).await?;
        let now = self.rt.now();
        self.metrics.servers[slot].connections.opened.inc();
        Ok(ServerConn {
            local: stream.local_addr().ok(),
            rtt_us: stream.rtt_us().unwrap_or(0),
            stream,
            requests: 0,
            opened: now,
            idle_since: NEVER,
            slot,
            metrics: self.metrics.clone(),
        })
    }

    /// Keeps a connection whose last answer was read to its end, if the rules allow; else closes it.
    //= SE-UPSTREAM-03
    pub fn keep(&self, mut conn: ServerConn<R::Stream>, rules: &KeepRules) {
        let now = self.rt.now();
        conn.idle_since = now;
        if self.closing.get() || rules.idle_max == 0 || rules.is_over(&conn, now) {
            return;
        }
        let mut idle = self.idle[conn.slot].borrow_mut();
        if idle.len() >= rules.idle_max {
            idle.remove(0);
        }
        idle.push(conn);
    }

    /// Closes what has been idle too long; `rules` gives those of a server, `None` for one that is gone.
    pub fn sweep(&self, rules: impl Fn(usize) -> Option<KeepRules>) {
        let now = self.rt.now();
        for (slot, idle) in self.idle.iter().enumerate() {
            let mut idle = idle.borrow_mut();
            if !idle.is_empty() {
                match rules(slot) {
                    Some(rules) => idle.retain(|conn| !rules.is_over(conn, now)),
                    None => idle.clear(),
                }
            }
        }
    }

    /// Closes all idle connections to one server.
    pub fn drop_idle(&self, slot: usize) {
        self.idle[slot].borrow_mut().clear();
    }

    /// Closes all idle connections, and keeps none from now on.
    pub fn close(&self) {
        self.closing.set(true);
        for idle in &self.idle {
            idle.borrow_mut().clear();
        }
    }
}
