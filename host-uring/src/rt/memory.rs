//! The runtime in memory: pipes for sockets, a virtual clock, and failures on command.
//!
//! Deterministic: the clock moves only when every task waits, straight to the next deadline, so a
//! test of a 60 s time-out takes microseconds and always runs in the same order.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::clock::{NEVER, Now};
use super::exec::Exec;
use super::wheel::{TimerId, Wheel};
use super::{Rt, Stream};
use crate::tls::Secured;

/// Bytes that a pipe takes before its writer has to wait, unless [`Memory::pipe_capacity`] says
/// otherwise.
const CAPACITY: usize = 64 * 1024;

/// A handle on the in-memory world; clones are the same world.
#[derive(Clone)]
pub struct Memory {
    world: Rc<World>,
}

struct World {
    exec: Exec,
    clock: Cell<Now>,
    timers: RefCell<Wheel<Waker>>,
    ports: RefCell<BTreeMap<SocketAddr, Rc<Port>>>,
    capacity: Cell<usize>,
    clients: Cell<u16>,
}

/// What stands at an address.
#[derive(Default)]
struct Port {
    incoming: RefCell<VecDeque<(MemoryStream, SocketAddr)>>,
    acceptor: RefCell<Option<Waker>>,
    /// Connects neither succeed nor fail.
    silent: Cell<bool>,
    /// Those who connect to a silent address.
    callers: RefCell<Vec<Waker>>,
}

/// A listening address of the in-memory world.
pub struct MemoryListener {
    port: Rc<Port>,
    world: Rc<World>,
    at: SocketAddr,
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        self.world.ports.borrow_mut().remove(&self.at);
    }
}

/// One end of a pair of pipes.
pub struct MemoryStream {
    world: Rc<World>,
    incoming: Rc<Pipe>,
    outgoing: Rc<Pipe>,
    local: SocketAddr,
    reset: Cell<bool>,
}

#[derive(Default)]
struct Pipe {
    bytes: RefCell<VecDeque<u8>>,
    capacity: Cell<usize>,
    ended: Cell<bool>,
    reset: Cell<bool>,
    unread: Cell<bool>,
    reader: RefCell<Option<Waker>>,
    writer: RefCell<Option<Waker>>,
}

impl Pipe {
    fn wake(&self) {
        for slot in [&self.reader, &self.writer] {
            if let Some(waker) = slot.borrow_mut().take() {
                waker.wake();
            }
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Memory::new()
    }
}

impl Memory {
    /// An empty world at one hour after the machine's start.
    pub fn new() -> Self {
        let start = Now(3_600_000_000);
        let world = World {
            exec: Exec::new(),
            clock: Cell::new(start),
            timers: RefCell::new(Wheel::new(start)),
            ports: RefCell::default(),
            capacity: Cell::new(CAPACITY),
            clients: Cell::new(0),
        };
        Memory { world: Rc::new(world) }
    }

    /// Sets how many bytes the pipes of later connections hold.
    pub fn pipe_capacity(&self, bytes: usize) {
        self.world.capacity.set(bytes);
    }

    /// Listens at an address; connects to an address where nobody listens are refused, those that hang at a silent one
    /// succeed now.
    pub fn bind(&self, at: SocketAddr) -> MemoryListener {
        let port = Rc::new(Port::default());
        if let Some(before) = self.world.ports.borrow_mut().insert(at, port.clone()) {
            before.callers.take().into_iter().for_each(Waker::wake);
        }
        MemoryListener { port, world: self.world.clone(), at }
    }

    /// Makes an address swallow connects: they end at their deadline, or when somebody listens there.
    pub fn silence(&self, at: SocketAddr) {
        let port = Port { silent: Cell::new(true), ..Port::default() };
        self.world.ports.borrow_mut().insert(at, Rc::new(port));
    }

    /// Runs `main` and all tasks until `main` completes, moving the clock when all of them wait.
    ///
    /// # Panics
    /// When everything waits and no deadline is armed; and with the panic of a task.
    pub fn block_on<T>(&self, main: impl Future<Output = T>) -> T {
        let mut main = pin!(main);
        let mut fired = Vec::new();
        let outcome = loop {
            match self.world.exec.run_main(main.as_mut()) {
                Ok(Some(value)) => break Ok(value),
                Ok(None) => {}
                Err(thrown) => break Err(thrown),
            }
            if let Err(thrown) =
                self.world.exec.run_ready(|| false).and_then(|()| self.world.exec.run_later(|| false))
            {
                break Err(thrown);
            }
            if self.world.exec.has_work() {
                continue;
            }
            let Some(next) = self.world.timers.borrow().next() else {
                panic!("every task waits and no deadline is armed: nothing will ever happen");
            };
            self.world.clock.set(next.max(self.world.clock.get()));
            self.world.timers.borrow_mut().advance(self.world.clock.get(), &mut fired);
            for waker in fired.drain(..) {
                waker.wake();
            }
        };
        self.world.exec.clear();
        match outcome {
            Ok(value) => value,
            Err(thrown) => std::panic::resume_unwind(thrown),
        }
    }

    fn pair(&self, near: SocketAddr, far: SocketAddr) -> (MemoryStream, MemoryStream) {
        let pipe = || {
            let pipe = Pipe::default();
            pipe.capacity.set(self.world.capacity.get());
            Rc::new(pipe)
        };
        let (a, b) = (pipe(), pipe());
        let end = |incoming: &Rc<Pipe>, outgoing: &Rc<Pipe>, local| MemoryStream {
            world: self.world.clone(),
            incoming: incoming.clone(),
            outgoing: outgoing.clone(),
            local,
            reset: Cell::new(false),
        };
        (end(&a, &b, near), end(&b, &a, far))
    }

    fn timed(&self, deadline: Now) -> Timed {
        Timed { world: self.world.clone(), deadline, timer: None }
    }
}

/// A deadline that wakes the task which polls it.
struct Timed {
    world: Rc<World>,
    deadline: Now,
    timer: Option<TimerId>,
}

impl Timed {
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        let mut timers = self.world.timers.borrow_mut();
        if let Some(timer) = self.timer.take() {
            timers.disarm(timer);
        }
        if self.world.clock.get() >= self.deadline {
            return true;
        }
        if self.deadline != NEVER {
            self.timer = Some(timers.arm(self.deadline, context.waker().clone()));
        }
        false
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            self.world.timers.borrow_mut().disarm(timer);
        }
    }
}

impl Future for Timed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.is_over(context) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Rt for Memory {
    type Stream = Secured<MemoryStream>;
    type Listener = MemoryListener;

    fn now(&self) -> Now {
        self.world.clock.get()
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.world.exec.spawn(task);
    }

    fn sleep_until(&self, at: Now) -> impl Future<Output = ()> {
        self.timed(at)
    }

    fn listen(&self, socket: std::net::TcpListener) -> io::Result<MemoryListener> {
        Ok(self.bind(socket.local_addr()?))
    }

    async fn accept(&self, listener: &MemoryListener) -> io::Result<(Secured<MemoryStream>, SocketAddr)> {
        poll_fn(|context| match listener.port.incoming.borrow_mut().pop_front() {
            Some((stream, from)) => Poll::Ready(Ok((Secured::plain(stream), from))),
            None => {
                *listener.port.acceptor.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    async fn connect(&self, to: SocketAddr, deadline: Now) -> io::Result<Secured<MemoryStream>> {
        let mut timed = self.timed(deadline);
        let port = poll_fn(|context| {
            let Some(port) = self.world.ports.borrow().get(&to).cloned() else {
                return Poll::Ready(Err(ErrorKind::ConnectionRefused));
            };
            if !port.silent.get() {
                return Poll::Ready(Ok(port));
            }
            if timed.is_over(context) {
                return Poll::Ready(Err(ErrorKind::TimedOut));
            }
            port.callers.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await?;
        let client = self.world.clients.get().wrapping_add(1);
        self.world.clients.set(client);
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, client));
        let (near, far) = self.pair(local, to);
        port.incoming.borrow_mut().push_back((far, local));
        if let Some(waker) = port.acceptor.borrow_mut().take() {
            waker.wake();
        }
        Ok(Secured::plain(near))
    }

    async fn fd_readable(&self, _: std::os::fd::BorrowedFd<'_>) -> io::Result<()> {
        std::future::pending().await
    }
}

impl MemoryStream {
    async fn wait(
        &self,
        deadline: Now,
        slot: &RefCell<Option<Waker>>,
        is_ready: impl Fn() -> bool,
    ) -> io::Result<()> {
        let mut timed = Timed { world: self.world.clone(), deadline, timer: None };
        poll_fn(|context| {
            if is_ready() {
                return Poll::Ready(Ok(()));
            }
            if timed.is_over(context) {
                return Poll::Ready(Err(ErrorKind::TimedOut.into()));
            }
            *slot.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl Stream for MemoryStream {
    fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        if self.incoming.reset.get() {
            return Err(ErrorKind::ConnectionReset.into());
        }
        let mut bytes = self.incoming.bytes.borrow_mut();
        if bytes.is_empty() {
            return if self.incoming.ended.get() { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let count = into.len().min(bytes.len());
        for (to, from) in into.iter_mut().zip(bytes.drain(..count)) {
            *to = from;
        }
        drop(bytes);
        self.incoming.wake();
        Ok(count)
    }

    fn try_peek(&self, into: &mut [u8]) -> io::Result<usize> {
        if self.incoming.reset.get() {
            return Err(ErrorKind::ConnectionReset.into());
        }
        let bytes = self.incoming.bytes.borrow();
        if bytes.is_empty() {
            return if self.incoming.ended.get() { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let count = into.len().min(bytes.len());
        for (to, from) in into.iter_mut().zip(bytes.iter()) {
            *to = *from;
        }
        Ok(count)
    }

    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.incoming.reset.get() {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if self.outgoing.ended.get() || self.outgoing.unread.get() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let mut bytes = self.outgoing.bytes.borrow_mut();
        let mut room = self.outgoing.capacity.get().saturating_sub(bytes.len());
        let mut written = 0;
        for piece in pieces {
            let count = piece.len().min(room);
            bytes.extend(&piece[..count]);
            room -= count;
            written += count;
        }
        drop(bytes);
        if written == 0 && pieces.iter().any(|piece| !piece.is_empty()) {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.outgoing.wake();
        Ok(written)
    }

    fn readable(&self, deadline: Now) -> impl Future<Output = io::Result<()>> + Unpin {
        let pipe = &self.incoming;
        Box::pin(self.wait(deadline, &pipe.reader, || {
            !pipe.bytes.borrow().is_empty() || pipe.ended.get() || pipe.reset.get()
        }))
    }

    fn is_past(&self, moment: Now) -> bool {
        self.world.clock.get() >= moment
    }

    async fn writable(&self, deadline: Now) -> io::Result<()> {
        let pipe = &self.outgoing;
        self.wait(deadline, &pipe.writer, || {
            pipe.bytes.borrow().len() < pipe.capacity.get() || pipe.ended.get() || pipe.unread.get()
        })
        .await
    }

    async fn hung_up(&self) {
        let pipe = &self.incoming;
        let _ = self.wait(NEVER, &pipe.reader, || pipe.ended.get() || pipe.reset.get()).await;
    }

    fn shutdown(&self, how: Shutdown) {
        if how != Shutdown::Read {
            self.outgoing.ended.set(true);
            self.outgoing.wake();
        }
        if how != Shutdown::Write {
            self.incoming.ended.set(true);
            self.incoming.wake();
        }
    }

    fn reset_on_close(&self) {
        self.reset.set(true);
    }

    fn is_spent(&self) -> bool {
        self.incoming.ended.get() || self.incoming.reset.get() || !self.incoming.bytes.borrow().is_empty()
    }

    fn is_reset(&self) -> bool {
        self.incoming.reset.get()
    }

    fn room(&self) -> Option<usize> {
        Some(self.outgoing.capacity.get().saturating_sub(self.outgoing.bytes.borrow().len()))
    }

    fn unacknowledged(&self) -> usize {
        if self.outgoing.unread.get() { 0 } else { self.outgoing.bytes.borrow().len() }
    }

    fn rtt_us(&self) -> Option<u32> {
        None
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }
}

impl Drop for MemoryStream {
    /// As TCP does it: a close with unread bytes is a reset.
    fn drop(&mut self) {
        let unread = !self.incoming.bytes.borrow().is_empty();
        if unread || self.reset.get() {
            self.outgoing.reset.set(true);
        }
        self.outgoing.ended.set(true);
        self.incoming.unread.set(true);
        self.outgoing.wake();
        self.incoming.wake();
    }
}
