//! The real runtime: sockets on io_uring or epoll, tasks and deadlines of one worker thread.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::clock::{self, NEVER, Now};
use super::epoll::Epoll;
use super::exec::{Exec, Thrown};
use super::pipe::Pipe;
use super::poller::{Answer, Poller, Side, WATCH};
use super::ring::Ring;
use super::soon::{self, Soon};
use super::wait::{Wait, Waits};
use super::watch::{Got, Readable, Watched, Watches};
use super::wheel::{TimerId, Wheel};
use super::{Rt, Stream, sys};
use crate::tls::Secured;

/// The kernel interface that a worker waits with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// io_uring with SINGLE_ISSUER and DEFER_TASKRUN (Linux 6.1 or newer).
    IoUring,
    /// epoll; works everywhere, at one more system call per wait.
    Epoll,
}

impl Backend {
    /// The interface's word in outputs.
    pub fn word(self) -> &'static str {
        match self {
            Backend::IoUring => "io_uring",
            Backend::Epoll => "epoll",
        }
    }
}

/// Answers and deadlines of one loop turn for which room is kept.
const BATCH: usize = 1024;
/// Tasks that are ready may run this many times between two looks at the sockets.
const ROUNDS_MAX: usize = 4;
/// Microseconds that ready tasks may run between two looks at the sockets and the clock, however many there are: a
/// hundred small requests' worth, so that the look's system call does not count.
const TURN_US: u64 = 1_000;

/// One turn of the loop: its time runs from its first look at the clock, so a turn of few tasks costs none.
#[derive(Default)]
struct Turn {
    until: Option<Now>,
    over: bool,
}

impl Turn {
    //= SE-FAIR-02
    fn is_over(&mut self) -> bool {
        let now = clock::now();
        self.over = now >= *self.until.get_or_insert(Now(now.0 + TURN_US));
        self.over
    }
}

/// A handle on the thread's runtime; clones are the same runtime.
#[derive(Clone)]
pub struct Sockets {
    pub(super) inner: Rc<Inner>,
}

pub(super) struct Inner {
    exec: Exec,
    pub(super) poller: RefCell<Poller>,
    pub(super) waits: RefCell<Waits>,
    pub(super) watches: RefCell<Watches>,
    pub(super) timers: RefCell<Wheel<Timer>>,
    pub(super) soon: RefCell<Soon>,
    backend: Backend,
}

pub(super) enum Timer {
    Wait(u64),
    Watch(u64),
    Sleep(Waker),
}

impl Sockets {
    /// Sets up the calling thread: io_uring, or epoll if it is asked for or io_uring is refused.
    ///
    /// The second value is the kernel's refusal of io_uring, for the log.
    ///
    /// # Errors
    /// Not even epoll can be had (no descriptors left).
    pub fn new(wanted: Backend) -> io::Result<(Self, Option<io::Error>)> {
        let (poller, backend, refusal) = match wanted {
            Backend::Epoll => (Poller::Epoll(Epoll::new()?), Backend::Epoll, None),
            Backend::IoUring => match Ring::new() {
                Ok(ring) => (Poller::Ring(ring), Backend::IoUring, None),
                Err(refusal) => (Poller::Epoll(Epoll::new()?), Backend::Epoll, Some(refusal)),
            },
        };
        let inner = Inner {
            exec: Exec::new(),
            poller: RefCell::new(poller),
            waits: RefCell::default(),
            watches: RefCell::default(),
            timers: RefCell::new(Wheel::new(clock::now())),
            soon: RefCell::default(),
            backend,
        };
        Ok((Sockets { inner: Rc::new(inner) }, refusal))
    }

    /// The interface in use.
    pub fn backend(&self) -> Backend {
        self.inner.backend
    }

    /// Runs `main` and all spawned tasks until `main` completes; then every task that is left is
    /// dropped, which closes its connections.
    ///
    /// # Panics
    /// Goes on with the panic of `main` or of a task, after every connection has been closed.
    pub fn block_on<T>(&self, main: impl Future<Output = T>) -> T {
        let outcome = self.run(main);
        self.inner.exec.clear();
        match outcome {
            Ok(value) => value,
            Err(thrown) => std::panic::resume_unwind(thrown),
        }
    }

    fn run<T>(&self, main: impl Future<Output = T>) -> Result<T, Thrown> {
        let mut main = pin!(main);
        let mut answers: Vec<Answer> = Vec::with_capacity(BATCH);
        let mut fired: Vec<Timer> = Vec::with_capacity(BATCH);
        loop {
            let mut turn = Turn::default();
            for _ in 0..ROUNDS_MAX {
                if let Some(value) = self.inner.exec.run_main(main.as_mut())? {
                    return Ok(value);
                }
                self.inner.exec.run_ready(|| turn.is_over())?;
                if turn.over || !self.inner.exec.is_urgent() {
                    break;
                }
            }
            // What others wait for does not wait for those who gave way.
            if self.inner.exec.has_later() {
                self.inner.soon.borrow_mut().flush();
            }
            // After all others, so that a crowd of streams that always have more delays no small request; and always a
            // few, so that a crowd of small requests stops no stream.
            self.inner.exec.run_later(|| turn.is_over())?;
            let is_stuck = {
                let mut soon = self.inner.soon.borrow_mut();
                soon.flush();
                soon.is_stuck()
            };
            let timeout = if self.inner.exec.has_work() {
                Some(0)
            } else if is_stuck {
                Some(TURN_US)
            } else {
                let next = self.inner.timers.borrow().next();
                next.map(|at| at.0.saturating_sub(clock::now().0))
            };
            let all_told = match self.inner.poller.borrow_mut().wait(timeout, &mut answers) {
                Ok(all_told) => all_told,
                // The kernel interface itself is gone: the worker cannot go on, its supervisor can.
                Err(error) => return Err(Box::new(format!("waiting for sockets failed: {error}"))),
            };
            for answer in answers.drain(..) {
                match answer.key & WATCH {
                    0 => self.inner.waits.borrow_mut().answer(answer),
                    _ => self.inner.watches.borrow_mut().answer(answer),
                }
            }
            if all_told {
                self.inner.watches.borrow_mut().all_told();
            }
            let now = clock::now();
            self.inner.timers.borrow_mut().advance(now, &mut fired);
            for timer in fired.drain(..) {
                match timer {
                    Timer::Sleep(waker) => waker.wake(),
                    Timer::Wait(key) => self.inner.expire(key),
                    Timer::Watch(key) => self.inner.watch_expires(key, now),
                }
            }
        }
    }

    fn wait<'a>(&'a self, fd: BorrowedFd<'a>, side: Side, deadline: Now) -> Wait<'a> {
        Wait::new(&self.inner, fd, side, deadline)
    }
}

/// A pause until a moment. Whoever sleeps lets the others have a turn, even if the moment was over before the pause began:
/// a task whose clock stands still while it runs would else go round for ever once the machine had held it up.
struct Sleep<'a> {
    rt: &'a Inner,
    at: Now,
    timer: Option<TimerId>,
    has_waited: bool,
}

impl Future for Sleep<'_> {
    type Output = ();

    //= SE-FAIR-03
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let me = &mut *self;
        let mut timers = me.rt.timers.borrow_mut();
        if let Some(timer) = me.timer.take() {
            timers.disarm(timer);
        }
        if std::mem::replace(&mut me.has_waited, true) && clock::now() >= me.at {
            return Poll::Ready(());
        }
        me.timer = Some(timers.arm(me.at, Timer::Sleep(context.waker().clone())));
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            self.rt.timers.borrow_mut().disarm(timer);
        }
    }
}

/// A listening socket.
pub struct Listener {
    rt: Rc<Inner>,
    fd: OwnedFd,
    /// The last accept found nothing, so the next one waits first.
    drained: Cell<bool>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.rt.poller.borrow_mut().forget(self.fd.as_raw_fd());
    }
}

/// A connected socket.
pub struct Socket {
    rt: Sockets,
    fd: OwnedFd,
    watch: Watched,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.rt.inner.unwatch(&self.watch, self.fd.as_raw_fd());
    }
}

impl Socket {
    fn new(rt: &Sockets, fd: OwnedFd) -> Self {
        Socket { rt: rt.clone(), fd, watch: Watched::default() }
    }

    /// Takes over a connected socket (the tests' socket pairs).
    ///
    /// # Errors
    /// It could not be made non-blocking.
    pub fn adopt(rt: &Sockets, fd: OwnedFd) -> io::Result<Self> {
        sys::set_nonblocking(fd.as_fd())?;
        Ok(Socket::new(rt, fd))
    }
}

impl Rt for Sockets {
    type Stream = Secured<Socket>;
    type Listener = Listener;

    fn now(&self) -> Now {
        self.inner.exec.now()
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.inner.exec.spawn(task);
    }

    fn sleep_until(&self, at: Now) -> impl Future<Output = ()> {
        Sleep { rt: &self.inner, at, timer: None, has_waited: false }
    }

    fn listen(&self, socket: std::net::TcpListener) -> io::Result<Listener> {
        let fd = OwnedFd::from(socket);
        sys::set_nonblocking(fd.as_fd())?;
        // Inherited by what is accepted.
        sys::set_nodelay(fd.as_fd())?;
        Ok(Listener { rt: self.inner.clone(), fd, drained: Cell::new(true) })
    }

    async fn accept(&self, listener: &Listener) -> io::Result<(Secured<Socket>, SocketAddr)> {
        loop {
            if listener.drained.get() {
                self.wait(listener.fd.as_fd(), Side::Read, NEVER).await?;
                listener.drained.set(false);
            }
            match sys::accept(listener.fd.as_fd()) {
                Ok((fd, from)) => return Ok((Secured::plain(Socket::new(self, fd)), from)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    listener.drained.set(true);
                }
                // The client gave up before we came: nothing to accept, nothing wrong.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn connect(&self, to: SocketAddr, deadline: Now) -> io::Result<Secured<Socket>> {
        let (fd, connected) = sys::connect(to)?;
        let socket = Socket::new(self, fd);
        if !connected {
            self.wait(socket.fd.as_fd(), Side::Write, deadline).await?;
            sys::take_error(socket.fd.as_fd())?;
        }
        Ok(Secured::plain(socket))
    }

    async fn fd_readable(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.wait(fd, Side::Read, NEVER).await
    }
}

impl Stream for Socket {
    fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        let got = sys::recv(self.fd.as_fd(), into);
        let told = match &got {
            Ok(count) if *count < into.len() => Got::Less,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Got::Nothing,
            _ => Got::All,
        };
        self.rt.inner.was_read(&self.watch, told);
        got
    }

    fn try_peek(&self, into: &mut [u8]) -> io::Result<usize> {
        sys::peek(self.fd.as_fd(), into)
    }

    fn write_soon(&self, most: usize, fill: impl FnOnce(&mut Vec<u8>)) -> bool {
        let inner = &*self.rt.inner;
        // A peer that may be gone is written to at once: who writes wants to know.
        inner.is_silent(&self.watch)
            && inner.soon.borrow_mut().push(self.fd.as_raw_fd(), most, inner.exec.is_crowd(), fill)
    }

    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes = pieces.iter().map(|piece| piece.len()).sum();
        self.rt.inner.soon.borrow_mut().before(self.fd.as_raw_fd(), bytes)?;
        let put = sys::send(self.fd.as_fd(), pieces);
        // A system call of some microseconds: what comes after it has another time.
        self.rt.inner.exec.forget_time();
        put
    }

    fn heed_marks(&self) {
        // Without it a byte is lost where there is a mark.
        let _ = sys::read_urgent_inline(self.fd.as_fd());
    }

    fn queue_little(&self) {
        // Without it what is urgent waits behind more.
        let _ = sys::bound_unsent(self.fd.as_fd());
    }

    fn has_unread(&self) -> bool {
        sys::unread(self.fd.as_fd()) > 0
    }

    fn can_move(&self) -> bool {
        true
    }

    fn move_into(&self, pipe: &Pipe, most: usize) -> io::Result<usize> {
        let got = pipe.fill(self.fd.as_fd(), most);
        let told = match &got {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Got::Nothing,
            // The pipe may have been full before the socket was empty.
            _ => Got::All,
        };
        self.rt.inner.was_read(&self.watch, told);
        got
    }

    fn move_out_of(&self, pipe: &Pipe) -> io::Result<usize> {
        self.rt.inner.soon.borrow_mut().before(self.fd.as_raw_fd(), soon::LARGE_BYTES)?;
        let put = pipe.empty(self.fd.as_fd());
        self.rt.inner.exec.forget_time();
        put
    }

    // Not `async`: an idle connection waits here, and that would be a future around the wait.
    fn readable(&self, deadline: Now) -> impl Future<Output = io::Result<()>> + Unpin {
        Readable::new(&self.rt.inner, &self.watch, self.fd.as_fd(), deadline)
    }

    fn is_past(&self, moment: Now) -> bool {
        clock::now() >= moment
    }

    async fn writable(&self, deadline: Now) -> io::Result<()> {
        self.rt.wait(self.fd.as_fd(), Side::Write, deadline).await
    }

    async fn hung_up(&self) {
        // A wait that cannot even begin has nothing to wait for.
        let _ = self.rt.wait(self.fd.as_fd(), Side::End, NEVER).await;
    }

    fn shutdown(&self, how: Shutdown) {
        let _ = self.rt.inner.soon.borrow_mut().before(self.fd.as_raw_fd(), 0);
        sys::shutdown(self.fd.as_fd(), how);
    }

    fn reset_on_close(&self) {
        sys::set_linger_zero(self.fd.as_fd());
    }

    fn is_spent(&self) -> bool {
        sys::is_spent(self.fd.as_fd())
    }

    fn has_spoken(&self) -> bool {
        match self.rt.inner.is_silent(&self.watch) {
            true => false,
            false => sys::is_spent(self.fd.as_fd()),
        }
    }

    fn is_reset(&self) -> bool {
        sys::is_reset(self.fd.as_fd())
    }

    fn room(&self) -> Option<usize> {
        sys::send_room(self.fd.as_fd())
    }

    fn unacknowledged(&self) -> usize {
        sys::unacknowledged(self.fd.as_fd())
    }

    fn rtt_us(&self) -> Option<u32> {
        sys::rtt_us(self.fd.as_fd())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        sys::local_addr(self.fd.as_fd())
    }
}
