//! A connection that speaks HTTP/2 to a server: its socket, its engine, and the frames of all its streams.
//!
//! One task reads, feeds the engine and writes. The requests' tasks write frames into the connection's buffer and call this
//! one; it runs behind all that were ready, so that requests that are ready in one turn leave in one write. It keeps the time
//! of all their waits as well: none of them needs a timer.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::net::{Shutdown, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Poll, Waker};

use forebay_http::Limits;
use forebay_http::h2::{Budgets, Code, Config, Connection, Event, Rate, Role};

use super::lane::State;
use super::part::{Lost, Part};
use super::trunks::Trunks;
use super::{
    CONNECTION_WINDOW, OUT_BYTES_MAX, PING_AFTER_US, PING_AFTER_US_MAX, PING_TIMES, PONG_US, STREAM_WINDOW,
    STUCK_BYTES,
};
use crate::http::buffer::Held;
use crate::http::flush::flush;
use crate::metrics::WorkerMetrics;
use crate::rt::{NEVER, Now, Rt, Stream};
use crate::tls::{Proof, Securable};
use crate::upstream::{KeepRules, Life, ServerConn};

/// A connection, as its task and its streams share it.
pub struct Trunk<R: Rt> {
    rt: R,
    socket: R::Stream,
    metrics: Arc<WorkerMetrics>,
    pub(super) state: RefCell<State>,
    /// What clients have not taken of answers, and the server of requests.
    pub(super) held: RefCell<Held>,
    /// Of the server.
    pub(super) slot: usize,
    /// By what rules it was secured, if it was.
    pub(super) proof: Option<Proof>,
    /// Bounds of the answers' heads: those of the service that it was opened for.
    pub(super) limits: Limits,
    /// What was not used of what was read: part of a frame.
    rest: RefCell<Vec<u8>>,
    /// A stream has written something, or a time was set.
    called: Cell<bool>,
    waker: Cell<Option<Waker>>,
    /// When the next wait is over.
    wake_at: Cell<Now>,
    /// It is lent to no further request, and closes with the last.
    leaving: Cell<bool>,
    /// It is closed.
    over: Cell<bool>,
    /// Requests that it was lent to.
    pub(super) requests: Cell<u32>,
    pub(super) opened: Now,
    pub(super) idle_since: Cell<Now>,
    /// It is kept without a request.
    pub(super) kept: Cell<bool>,
    /// When the server was last heard, and asked for a sign of life since, and how long it may be silent.
    heard_at: Cell<Now>,
    pinged_at: Cell<Option<Now>>,
    ping_after: Cell<u64>,
    /// Who waits for the server's settings.
    greeted: Cell<Option<Waker>>,
    pub(super) local: Option<SocketAddr>,
    pub(super) rtt_us: u32,
    pub(super) life: RefCell<Option<Life>>,
}

/// Memory that a connection keeps for a part of a frame: its head.
const REST_KEPT_BYTES: usize = 64;

/// What happened.
enum Woken {
    Read,
    Write,
    Called,
    Late,
    Gone,
}

/// What is borne of a server: it is no stranger, and serves many clients at once.
fn budgets() -> Budgets {
    let rate = |burst, per_second| Rate { burst, per_second };
    Budgets {
        peer_resets: rate(1_000, 1_000),
        own_resets: rate(1_000, 100),
        controls: rate(5_000, 1_000),
        empty_data: rate(1_000, 100),
        small_data: rate(100_000, 1_000_000),
        window_updates: rate(10_000, 10_000),
    }
}

impl<R: Rt> Trunk<R> {
    /// Begins to speak over a new connection, with a task of its own.
    pub(super) fn begin(home: &Rc<Trunks<R>>, conn: ServerConn<R::Stream>, limits: Limits) -> Rc<Self> {
        let ServerConn { stream: socket, local, rtt_us, proof, slot, life, .. } = conn;
        let config = Config {
            limits,
            streams_max: 0,
            stream_window: STREAM_WINDOW,
            connection_window: CONNECTION_WINDOW,
            budgets: budgets(),
            ..Config::default()
        };
        let mut out = Vec::new();
        let connection = Connection::new(Role::Client, &config, &mut out);
        let now = home.rt.now();
        let trunk = Rc::new(Trunk {
            rt: home.rt.clone(),
            socket,
            metrics: home.metrics.clone(),
            state: RefCell::new(State::new(connection, out, home.wide.clone())),
            held: RefCell::new(home.held.hold(0)),
            slot,
            proof,
            limits,
            rest: RefCell::default(),
            called: Cell::default(),
            waker: Cell::default(),
            wake_at: Cell::new(NEVER),
            leaving: Cell::default(),
            over: Cell::default(),
            requests: Cell::default(),
            opened: now,
            idle_since: Cell::new(now),
            kept: Cell::new(true),
            heard_at: Cell::new(now),
            pinged_at: Cell::default(),
            ping_after: Cell::new(PING_AFTER_US),
            greeted: Cell::default(),
            local,
            rtt_us,
            life: RefCell::new(life),
        });
        home.rt.spawn(serve(trunk.clone(), Rc::downgrade(home)));
        trunk
    }

    pub(super) fn now(&self) -> Now {
        self.rt.now()
    }

    pub(super) fn socket(&self) -> &R::Stream {
        &self.socket
    }

    /// What requests say that they came by.
    pub(super) fn scheme(&self) -> &'static [u8] {
        if self.socket.is_secured() { b"https" } else { b"http" }
    }

    /// Lets the connection's task look at what there is to do.
    pub(super) fn call(&self) {
        self.called.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Sees to it that the task looks at its waits at `at`.
    pub(super) fn wake_by(&self, at: Now) {
        if at < self.wake_at.get() {
            self.wake_at.set(at);
            self.call();
        }
    }

    /// Says whether no further request gets it.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.get() || self.over.get()
    }

    /// Says whether the server has said what it allows.
    pub(super) fn is_ready(&self) -> bool {
        self.state.borrow().connection.is_ready()
    }

    /// Lets it go: it closes with its last request.
    pub(super) fn leave(&self) {
        if !self.leaving.replace(true) {
            self.call();
        }
    }

    /// Requests under way.
    pub(super) fn lent(&self) -> usize {
        self.state.borrow().lent()
    }

    /// Says whether it grew too old, or had all requests that it may have.
    pub(super) fn is_spent(&self, rules: &KeepRules, now: Now) -> bool {
        (rules.life_us != 0 && now.0.saturating_sub(self.opened.0) >= rules.life_us)
            || (rules.reuse_max != 0 && self.requests.get() >= rules.reuse_max)
    }

    /// Lends it to a request, if it takes one.
    //= H2BACK-POOL-01
    pub(super) fn lend(self: &Rc<Self>, rules: &KeepRules) -> Option<Part<R>> {
        if self.is_leaving() {
            return None;
        }
        let now = self.now();
        if self.is_spent(rules, now) {
            self.leave();
            return None;
        }
        let mut state = self.state.borrow_mut();
        if !state.connection.is_ready() || state.room_for_lanes() == 0 || state.waiting() >= STUCK_BYTES {
            return None;
        }
        let at = state.lend();
        drop(state);
        if self.lent() == 1 {
            // Nobody expected anything of it until now.
            self.heard_at.set(now);
            self.wake_by(Now(now.0.saturating_add(self.ping_after.get())));
        }
        Some(Part::new(self.clone(), at))
    }

    /// A request has ended; what it left behind is looked at again at `until`.
    pub(super) fn was_left(&self, until: Now) {
        if self.lent() == 0 {
            self.idle_since.set(self.now());
            if !self.kept.get() {
                self.leaving.set(true);
            }
        } else {
            self.wake_by(until);
        }
        self.call();
    }

    /// Waits until the server's settings are here, or the connection is gone.
    pub(super) fn greeting(&self) -> impl Future<Output = bool> {
        poll_fn(|context| {
            if self.is_ready() {
                return Poll::Ready(true);
            }
            if self.is_leaving() {
                return Poll::Ready(false);
            }
            self.greeted.set(Some(context.waker().clone()));
            Poll::Pending
        })
    }

    async fn lead(&self, home: &Weak<Trunks<R>>) {
        loop {
            if self.flush().is_err() {
                return;
            }
            let (pending, over, idle) = {
                let mut state = self.state.borrow_mut();
                //= H2BACK-FLOW-01
                self.held.borrow_mut().set(state.held());
                state.wake_writers();
                (state.waiting(), state.connection.is_over(), state.lent() == 0)
            };
            if idle && (over || self.leaving.get()) {
                self.say_goodbye();
                return;
            }
            match self.wait(pending < STUCK_BYTES, pending > 0).await {
                Woken::Called | Woken::Write => {}
                Woken::Read => {
                    let Some(home) = home.upgrade() else { return };
                    if self.read(&home).is_err() {
                        return;
                    }
                }
                Woken::Late if !self.look_at_time() => return,
                Woken::Late => {}
                Woken::Gone => return,
            }
        }
    }

    /// Tells the server that this was all, as far as it takes that now.
    fn say_goodbye(&self) {
        {
            let mut state = self.state.borrow_mut();
            let State { connection, out, .. } = &mut *state;
            // Otherwise one of both has said it.
            if !connection.is_over() {
                connection.go(Code::No, out);
            }
        }
        let _ = self.flush();
    }

    async fn wait(&self, reads: bool, writes: bool) -> Woken {
        let mut readable = reads.then(|| self.socket.readable(self.wake_at.get()));
        let mut writable = pin!(async {
            match writes {
                true => self.socket.writable(self.wake_at.get()).await,
                false => std::future::pending().await,
            }
        });
        let woken = |waited: std::io::Result<()>, good| match waited {
            Ok(()) => good,
            Err(error) if error.kind() == ErrorKind::TimedOut => Woken::Late,
            Err(_) => Woken::Gone,
        };
        poll_fn(|context| {
            if self.called.take() {
                return Poll::Ready(Woken::Called);
            }
            self.waker.set(Some(context.waker().clone()));
            if let Some(readable) = &mut readable
                && let Poll::Ready(waited) = Pin::new(readable).poll(context)
            {
                return Poll::Ready(woken(waited, Woken::Read));
            }
            writable.as_mut().poll(context).map(|waited| woken(waited, Woken::Write))
        })
        .await
    }

    /// Wakes whose time is over; `false`: the server is gone.
    //= H2BACK-PING-01
    fn look_at_time(&self) -> bool {
        let now = self.now();
        let mut state = self.state.borrow_mut();
        let next = state.wake_late(now);
        if state.lent() == 0 {
            self.wake_at.set(NEVER);
            return true;
        }
        let due = match self.pinged_at.get() {
            Some(asked) => Now(asked.0.saturating_add(PONG_US)),
            None => Now(self.heard_at.get().0.saturating_add(self.ping_after.get())),
        };
        if due > now {
            self.wake_at.set(next.min(due));
            return true;
        }
        if self.pinged_at.get().is_some() {
            self.metrics.upstream_h2.silent.inc();
            return false;
        }
        let State { connection, out, .. } = &mut *state;
        connection.ping(*b"forebay?", out);
        self.pinged_at.set(Some(now));
        self.wake_at.set(next.min(Now(now.0.saturating_add(PONG_US))));
        true
    }

    /// The server has said something; `alive`: no more than that it lives.
    fn heard(&self, alive: bool) {
        let now = self.now();
        self.heard_at.set(now);
        self.pinged_at.set(None);
        self.ping_after.set(match alive {
            true => (self.ping_after.get() * PING_TIMES).min(PING_AFTER_US_MAX),
            false => PING_AFTER_US,
        });
    }

    /// Reads what is there and tells the engine.
    fn read(&self, home: &Trunks<R>) -> Result<(), ()> {
        let mut intake = home.intake.borrow_mut();
        let mut rest = self.rest.borrow_mut();
        let had = rest.len();
        intake[..had].copy_from_slice(&rest);
        rest.clear();
        rest.shrink_to(REST_KEPT_BYTES);
        let came = match self.socket.try_read(&mut intake[had..]) {
            Ok(0) => return Err(()),
            Ok(came) => came,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                rest.extend_from_slice(&intake[..had]);
                return Ok(());
            }
            Err(_) => return Err(()),
        };
        let input = &intake[..had + came];
        let mut state = self.state.borrow_mut();
        let was_ready = state.connection.is_ready();
        let now = self.now().0 / 1_000;
        let (mut at, mut alive) = (0, false);
        loop {
            let State { connection, inbox, out, .. } = &mut *state;
            let step = connection.feed(&input[at..], now, inbox, out);
            let is_last = matches!(step.event, Event::NeedInput | Event::Over { .. });
            alive |= matches!(step.event, Event::Pong { .. });
            self.take(&mut state, step.event, &input[at..]);
            at += step.consumed;
            if is_last {
                break;
            }
        }
        rest.extend_from_slice(&input[at..]);
        self.heard(alive);
        if !was_ready && state.connection.is_ready() {
            home.learned(self.slot, state.connection.room_for_streams());
            if let Some(waker) = self.greeted.take() {
                waker.wake();
            }
        }
        Ok(())
    }

    fn take(&self, state: &mut State, event: Event, input: &[u8]) {
        match event {
            Event::Response { stream, end } => {
                let inbox = std::mem::take(&mut state.inbox);
                let fits = state.of_stream(stream).is_none_or(|lane| lane.head(&inbox, end));
                state.inbox = inbox;
                if !fits {
                    let State { connection, out, .. } = &mut *state;
                    connection.reset(stream, Code::EnhanceYourCalm, out);
                    if let Some(lane) = state.of_stream(stream) {
                        lane.lose(Lost::Reset(Code::EnhanceYourCalm));
                    }
                }
                if end {
                    state.free_if_abandoned(stream);
                }
            }
            Event::Data { stream, data, end } => {
                let data = input.get(data).unwrap_or(&[]);
                match state.of_stream(stream) {
                    Some(lane) => lane.content(data, end),
                    // Its exchange is over: nobody will read it.
                    None => {
                        let State { connection, out, .. } = &mut *state;
                        connection.release(stream, data.len(), out);
                    }
                }
                if end {
                    state.free_if_abandoned(stream);
                }
            }
            Event::Trailers { stream } => {
                let inbox = std::mem::take(&mut state.inbox);
                if let Some(lane) = state.of_stream(stream) {
                    lane.end(&inbox);
                }
                state.inbox = inbox;
                state.free_if_abandoned(stream);
            }
            Event::Reset { stream, code, rule } => {
                let lost = match (rule, code) {
                    (Some(rule), _) => Lost::Broken(rule),
                    (None, Code::RefusedStream) => self.unseen(),
                    (None, code) => Lost::Reset(code),
                };
                if let Some(lane) = state.of_stream(stream) {
                    lane.lose(lost);
                }
                state.free_if_abandoned(stream);
            }
            //= H2BACK-GOAWAY-01
            Event::GoAway { .. } => {
                self.leaving.set(true);
                while let Some(stream) = state.connection.take_unprocessed() {
                    let lost = self.unseen();
                    if let Some(lane) = state.of_stream(stream) {
                        lane.lose(lost);
                    }
                    state.free_if_abandoned(stream);
                }
            }
            Event::Over { rule } => {
                self.metrics.upstream_h2.broken.inc();
                self.leaving.set(true);
                state.lose_all(Lost::Broken(rule));
            }
            // A server asks nothing.
            Event::NeedInput | Event::Pong { .. } | Event::Request { .. } | Event::Refused { .. } => {}
        }
    }

    fn unseen(&self) -> Lost {
        self.metrics.upstream_h2.unseen.inc();
        Lost::Unseen
    }

    /// Writes what the socket takes.
    fn flush(&self) -> Result<(), ()> {
        let mut state = self.state.borrow_mut();
        let State { out, sent, .. } = &mut *state;
        flush(&self.socket, out, sent)?;
        if state.out.is_empty() {
            state.out.shrink_to(OUT_BYTES_MAX);
        }
        Ok(())
    }
}

/// Serves a connection to its end.
async fn serve<R: Rt>(trunk: Rc<Trunk<R>>, home: Weak<Trunks<R>>) {
    let over = Over { trunk: &trunk, home: &home };
    trunk.lead(&home).await;
    drop(over);
}

/// The end of a connection's task, also where it is given up: its requests hear of it, and the socket closes although their
/// exchanges may last a moment longer.
struct Over<'t, R: Rt> {
    trunk: &'t Rc<Trunk<R>>,
    home: &'t Weak<Trunks<R>>,
}

impl<R: Rt> Drop for Over<'_, R> {
    fn drop(&mut self) {
        self.trunk.over.set(true);
        self.trunk.state.borrow_mut().lose_all(Lost::Connection);
        // What is still read of it is soon gone.
        self.trunk.held.borrow_mut().set(0);
        self.trunk.socket.shutdown(Shutdown::Both);
        self.trunk.life.take();
        if let Some(waker) = self.trunk.greeted.take() {
            waker.wake();
        }
        if let Some(home) = self.home.upgrade() {
            home.forget(self.trunk);
        }
    }
}
