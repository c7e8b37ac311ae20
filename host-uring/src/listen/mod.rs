//! Accepting connections.
//!
//! Each worker has its own listening sockets (SO_REUSEPORT), so the kernel spreads connections and no worker wakes
//! another. When descriptors or memory run out accepting pauses, is counted, and goes on by itself; at the
//! engine's own limit a connection is taken and closed at once, so that its client learns of it.

mod entrances;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Poll, Waker};

use forebay_snapshot::Protocol;

use crate::config::Transport;
use crate::control::{ListenSocket, SeatListener, sockets};
use crate::http::client::{Client, serve};
use crate::http::limits::{ACCEPT_PAUSE_US, ACCEPTS_PER_TURN};
use crate::l4::introduce::receive;
use crate::l4::record::Ends;
use crate::l4::tcp::{self, Connection};
use crate::l4::welcome::welcome;
use crate::limits::ACCEPT_TELL_S;
use crate::rt::{Now, Rt, Stream, give_way};
use crate::worker::{Door, Worker};

pub use entrances::Entrances;

/// The accept loops of a worker.
pub struct Acceptors<R: Rt> {
    loops: RefCell<Vec<Rc<AcceptLoop<R>>>>,
}

impl<R: Rt> Default for Acceptors<R> {
    fn default() -> Self {
        Acceptors { loops: RefCell::default() }
    }
}

struct AcceptLoop<R: Rt> {
    listener: R::Listener,
    door: Rc<Door>,
    /// What tells the socket from others at the address.
    socket: u64,
    /// The stuck worker for which it accepts.
    instead_of: Option<usize>,
    stopped: Cell<bool>,
    /// Told when it is stopped.
    waker: RefCell<Option<Waker>>,
    ended: Cell<bool>,
    /// Before then a failure is not told again.
    silent_until: Cell<Now>,
}

impl<R: Rt> Acceptors<R> {
    /// Starts to accept on a socket; `instead_of`: for a worker that is stuck.
    ///
    /// # Errors
    /// The socket cannot be made ready.
    pub fn start(
        &self,
        worker: &Rc<Worker<R>>,
        listener: SeatListener,
        instead_of: Option<usize>,
    ) -> io::Result<()> {
        let ListenSocket::Stream(socket) = listener.socket else {
            return Err(ErrorKind::InvalidInput.into());
        };
        let one = Rc::new(AcceptLoop {
            socket: sockets::identity(&socket),
            listener: worker.rt.listen(socket)?,
            door: worker.door(listener.address, Transport::Stream, listener.service),
            instead_of,
            stopped: Cell::new(false),
            waker: RefCell::default(),
            ended: Cell::new(false),
            silent_until: Cell::new(Now(0)),
        });
        self.loops.borrow_mut().push(one.clone());
        worker.rt.spawn(accept(worker.clone(), one));
        Ok(())
    }

    /// Accepts on those sockets on which it does not already. Sockets of addresses that are gone are closed by the control
    /// thread, which ends their loops.
    pub fn follow(&self, worker: &Rc<Worker<R>>, listeners: Vec<SeatListener>) {
        self.loops.borrow_mut().retain(|one| !one.ended.get());
        for listener in listeners {
            let socket = sockets::identity(&listener.socket);
            let is_own = |one: &Rc<AcceptLoop<R>>| {
                one.instead_of.is_none() && one.door.address == listener.address && one.socket == socket
            };
            // Its service speaks something else now: who comes by the same socket comes by another door.
            //= RELOAD-LISTEN-02
            for one in self.loops.borrow().iter().filter(|one| is_own(one) && !one.door.is_open()) {
                one.stop();
            }
            if !self.loops.borrow().iter().any(|one| is_own(one) && one.door.is_open()) {
                let address = listener.address;
                if let Err(error) = self.start(worker, listener, None) {
                    tracing::error!(worker = worker.index, %address, %error, "a new address cannot be listened on");
                }
            }
        }
    }

    /// Accepts on no socket any more, and leaves all of them as they are: another process accepts there.
    //= UPG-ORDER-02
    pub fn stop(&self) {
        for one in self.loops.borrow_mut().drain(..) {
            one.stop();
        }
    }

    /// Stops accepting for a worker that goes on by itself.
    pub fn stop_for(&self, worker: usize) {
        self.loops.borrow_mut().retain(|one| {
            one.stopped.set(one.stopped.get() || one.instead_of == Some(worker));
            !one.stopped.get()
        });
    }

    /// Says whether nothing is accepted any more: the control thread has closed every socket.
    pub fn are_done(&self) -> bool {
        let mut loops = self.loops.borrow_mut();
        loops.retain(|one| !one.ended.get());
        loops.is_empty()
    }
}

/// Accepts until its socket is closed, which the control thread does for all duplicates at once when the engine stops
/// and nobody waits in the queue any more. Once stopped it leaves the queue to whoever else has the socket.
async fn accept<R: Rt>(worker: Rc<Worker<R>>, one: Rc<AcceptLoop<R>>) {
    accept_all(&worker, &one).await;
    one.ended.set(true);
}

async fn accept_all<R: Rt>(worker: &Rc<Worker<R>>, one: &AcceptLoop<R>) {
    let (mut in_turn, mut closed) = (0, false);
    while !one.stopped.get() {
        let Some(accepted) = one.unless_stopped(pin!(worker.rt.accept(&one.listener))).await else { return };
        match accepted {
            Ok((stream, peer)) => {
                closed = false;
                let address = one.door.address;
                let local = match address.ip().is_unspecified() {
                    true => stream.local_addr().unwrap_or(address),
                    false => address,
                };
                admit(worker, &one.door, stream, peer, local);
                in_turn += 1;
                if in_turn >= ACCEPTS_PER_TURN {
                    in_turn = 0;
                    give_way().await;
                }
            }
            Err(error) => {
                if (worker.draining.get() || !one.door.is_open()) && is_closed(&error) {
                    return;
                }
                // A stop closes the sockets before each worker has heard of it.
                let was_closed = std::mem::replace(&mut closed, is_closed(&error));
                if closed && !was_closed {
                    worker.rt.sleep_until(Now(worker.rt.now().0 + ACCEPT_PAUSE_US)).await;
                    continue;
                }
                worker.metrics.accept_errors.inc();
                let now = worker.rt.now();
                one.tell(worker.index, &error, now);
                worker.rt.sleep_until(Now(now.0 + ACCEPT_PAUSE_US)).await;
            }
        }
    }
}

/// Serves a new connection, or refuses it at the engine's limit.
//= SE-LIMIT-02
pub fn admit<R: Rt>(
    worker: &Rc<Worker<R>>,
    door: &Rc<Door>,
    stream: R::Stream,
    peer: SocketAddr,
    local: SocketAddr,
) {
    if !worker.has_place() {
        worker.metrics.connections_refused_limit.inc();
        stream.reset_on_close();
        return;
    }
    worker.upstreams.make_room(worker.clients() + 1);
    // Who came for a service that is gone meanwhile is let go.
    let Some(service) = door.service() else { return };
    let ends = Ends { client: peer, local };
    let plan = worker.current();
    if plan.tree.service(service).proxy_protocol.from.is_empty() {
        take(worker, door, stream, ends);
    } else {
        let door = door.clone();
        let serve = move |worker: &Rc<Worker<R>>, stream, ends| take(worker, &door, stream, ends);
        worker.rt.spawn(receive(worker.clone(), plan, service, stream, ends, serve));
    }
}

/// Serves a client whose address is known: makes its handshake first, if the service's clients speak TLS.
//= TLS-TCP-01
fn take<R: Rt>(worker: &Rc<Worker<R>>, door: &Rc<Door>, stream: R::Stream, ends: Ends) {
    // Its service may have gone while its header was awaited.
    let Some(service) = door.service() else { return };
    let plan = worker.current();
    if plan.service(service).tls.is_none() {
        return dispatch(worker, door, stream, ends);
    }
    let door = door.clone();
    let serve = move |worker: &Rc<Worker<R>>, stream, ends| dispatch(worker, &door, stream, ends);
    worker.rt.spawn(welcome(worker.clone(), plan, service, stream, ends, serve));
}

/// Serves a client over a stream that is ready for it.
fn dispatch<R: Rt>(worker: &Rc<Worker<R>>, door: &Rc<Door>, stream: R::Stream, ends: Ends) {
    let Ends { client, local } = ends;
    // Its service may have gone during its handshake.
    let Some(service) = door.service() else { return };
    match worker.current().service(service).protocol {
        Protocol::Tcp => {
            let connection = Connection::new(worker, service, stream, client, local);
            worker.rt.spawn(tcp::serve(connection));
        }
        Protocol::Http | Protocol::Udp => {
            let client = Client::new(worker, door, service, stream, client, local);
            worker.rt.spawn(serve(client));
        }
    }
}

/// Says whether the socket listens no more.
fn is_closed(error: &io::Error) -> bool {
    error.kind() == ErrorKind::InvalidInput || error.raw_os_error() == Some(libc::EBADF)
}

impl<R: Rt> AcceptLoop<R> {
    /// It accepts nothing more; its socket stays as it is.
    fn stop(&self) {
        self.stopped.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// The next connection; `None` once it is stopped.
    async fn unless_stopped<T>(&self, mut accept: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        poll_fn(|context| {
            if self.stopped.get() {
                return Poll::Ready(None);
            }
            let mut waker = self.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                *waker = Some(context.waker().clone());
            }
            drop(waker);
            accept.as_mut().poll(context).map(Some)
        })
        .await
    }

    /// Tells that accepting failed, now and then.
    //= OBS-ACCEPT-01
    fn tell(&self, worker: usize, error: &io::Error, now: Now) {
        if now < self.silent_until.get() {
            return;
        }
        self.silent_until.set(Now(now.0 + ACCEPT_TELL_S * 1_000_000));
        let address = self.door.address;
        if is_closed(error) {
            tracing::error!(event = "SE_ACCEPT_FAILED", worker, %address, %error, "a socket cannot be listened on; tried on");
        } else {
            tracing::warn!(
                event = "SE_ACCEPT_FAILED",
                worker,
                %address,
                %error,
                "connections cannot be accepted at the moment; raise the limits of file descriptors and memory"
            );
        }
    }
}
