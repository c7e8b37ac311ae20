//! What happens in the very turn in which a deadline comes.
//!
//! The thread that waits is also the one that writes, so each event falls where the test wants it: after the deadline's
//! clock value and before the timer is looked at; after the cancellation was asked for and before the kernel sees it; after
//! the kernel has it and before its answer is taken.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use forebay_host_uring::rt::clock::{NEVER, Now, now};
use forebay_host_uring::rt::memory::Memory;
use forebay_host_uring::rt::sockets::{Listener, Socket};
use forebay_host_uring::rt::wheel::TICK;
use forebay_host_uring::rt::{Backend, Rt, Sockets, Stream, give_way};

#[path = "support/skips.rs"]
mod skips;

const BACKENDS: [Backend; 2] = [Backend::IoUring, Backend::Epoll];

fn runtime(backend: Backend) -> Sockets {
    let (rt, refusal) = Sockets::new(backend).expect("a runtime");
    if let Some(refusal) = refusal {
        skips::no_io_uring(&skips::this_test(), &refusal);
    }
    rt
}

/// When, in the turn of the deadline, the awaited event comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    /// The clock has reached the deadline; the timer was not looked at yet.
    TimerDue,
    /// The cancellation was asked for; the kernel has not seen it.
    CancelAsked,
    /// The kernel has had the cancellation; the waiting task does not know of it.
    CancelDone,
}

/// Something to wait for, and its other side.
trait Subject: 'static {
    async fn wait(&self, rt: &Sockets, deadline: Now) -> io::Result<()>;
    /// Makes the event happen.
    fn provoke(&self, round: u32);
    /// Shows that nothing of the event is lost; without waiting, where the kind of event allows it.
    async fn take(&self, rt: &Sockets, round: u32);
}

/// Events that fell into the moment, by what the wait said.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    ready: usize,
    timed_out: usize,
}

struct Seat<S> {
    subject: S,
    moment: Moment,
    provoked: Cell<bool>,
}

/// Lets deadlines and events meet until at least `wanted` have, and returns what the waits said, by moment.
fn meet<S: Subject>(
    rt: &Sockets,
    subjects: Vec<S>,
    moments: &[Moment],
    wanted: usize,
) -> Vec<(Moment, Tally)> {
    let seats: Vec<Rc<Seat<S>>> = subjects
        .into_iter()
        .zip(moments.iter().cycle())
        .map(|(subject, moment)| Rc::new(Seat { subject, moment: *moment, provoked: Cell::default() }))
        .collect();
    let tallies: Rc<Vec<(Moment, Cell<Tally>)>> =
        Rc::new(moments.iter().map(|m| (*m, Cell::default())).collect());
    let met = |tallies: &[(Moment, Cell<Tally>)]| {
        tallies.iter().map(|(_, t)| t.get().ready + t.get().timed_out).sum::<usize>()
    };
    let provoke = |seats: &[Rc<Seat<S>>], moment, round| {
        // Backwards: the last armed is the first to be answered.
        for seat in seats.iter().rev().filter(|seat| seat.moment == moment) {
            seat.subject.provoke(round);
            seat.provoked.set(true);
        }
    };
    let (own, _quiet) = UnixStream::pair().expect("a socket pair");
    let own = Socket::adopt(rt, OwnedFd::from(own)).expect("adopted");
    rt.block_on(async {
        let mut rounds = 0;
        while met(&tallies) < wanted {
            rounds += 1;
            assert!(rounds * seats.len() < 3 * wanted + 1000, "the moments hardly ever meet: {tallies:?}");
            let round = rounds as u32;
            let deadline = Now((now().0 / TICK + 2) * TICK);
            let left = Rc::new(Cell::new(seats.len()));
            for seat in &seats {
                let (rt, seat, left, tallies) = (rt.clone(), seat.clone(), left.clone(), tallies.clone());
                seat.provoked.set(false);
                rt.clone().spawn(async move {
                    let said = seat.subject.wait(&rt, deadline).await;
                    let in_the_moment = seat.provoked.get();
                    let (_, tally) = tallies.iter().find(|(m, _)| *m == seat.moment).expect("a known moment");
                    let mut sum = tally.get();
                    match said {
                        Ok(()) => {
                            assert!(in_the_moment, "ready before anything happened");
                            sum.ready += 1;
                        }
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::TimedOut);
                            assert!(now() >= deadline, "a time-out before its time");
                            if in_the_moment {
                                sum.timed_out += 1;
                            } else {
                                // The task was told before the event came: no coincidence, and nothing lost either.
                                seat.subject.wait(&rt, NEVER).await.expect("the event comes");
                            }
                        }
                    }
                    tally.set(sum);
                    seat.subject.take(&rt, round).await;
                    left.set(left.get() - 1);
                });
            }
            // What is armed last fires first: who provokes runs before those who wait.
            give_way().await;
            let mut told = pin!(own.readable(deadline));
            poll_fn(|context| {
                assert!(told.as_mut().poll(context).is_pending());
                Poll::Ready(())
            })
            .await;
            let (clock, own_seats) = (rt.clone(), seats.clone());
            rt.spawn(async move {
                clock.sleep_until(deadline).await;
                provoke(&own_seats, Moment::CancelAsked, round);
            });
            rt.sleep_until(Now(deadline.0 - TICK)).await;
            while now() < deadline {
                std::hint::spin_loop();
            }
            provoke(&seats, Moment::TimerDue, round);
            told.await.expect_err("nobody writes here");
            provoke(&seats, Moment::CancelDone, round);
            while left.get() > 0 {
                rt.sleep_until(Now(now().0 + 1000)).await;
            }
        }
    });
    tallies.iter().map(|(moment, tally)| (*moment, tally.get())).collect()
}

/// Checks that both outcomes occurred often enough, and says how often.
#[track_caller]
fn both_outcomes(backend: Backend, what: &str, tallies: &[(Moment, Tally)], wanted: usize, each: usize) {
    eprintln!("{backend:?}, {what}: {tallies:?}");
    let ready: usize = tallies.iter().map(|(_, t)| t.ready).sum();
    let timed_out: usize = tallies.iter().map(|(_, t)| t.timed_out).sum();
    assert!(ready + timed_out >= wanted, "{tallies:?}");
    assert!(ready >= each && timed_out >= each, "one outcome is too rare: {tallies:?}");
    for (moment, tally) in tallies {
        assert!(tally.ready + tally.timed_out >= each, "{moment:?} is too rare: {tallies:?}");
    }
}

const ALL: [Moment; 3] = [Moment::TimerDue, Moment::CancelAsked, Moment::CancelDone];

/// A byte to be read.
struct Byte {
    near: Socket,
    far: RefCell<UnixStream>,
}

impl Subject for Byte {
    async fn wait(&self, _: &Sockets, deadline: Now) -> io::Result<()> {
        self.near.readable(deadline).await
    }

    fn provoke(&self, round: u32) {
        self.far.borrow_mut().write_all(&[round as u8]).expect("the other end is open");
    }

    async fn take(&self, _: &Sockets, round: u32) {
        let mut got = [0; 2];
        assert_eq!(self.near.try_read(&mut got).expect("the byte is there"), 1);
        assert_eq!(got[0], round as u8, "each byte once and in order");
    }
}

//= test SE-TIMEOUT-01
#[test]
fn bytes_that_arrive_in_the_turn_of_the_time_out_are_kept() {
    const MEETINGS: usize = 100_000;
    for backend in BACKENDS {
        let rt = runtime(backend);
        let bytes = (0..1000).map(|_| {
            let (near, far) = UnixStream::pair().expect("a socket pair");
            let near = Socket::adopt(&rt, OwnedFd::from(near)).expect("adopted");
            Byte { near, far: RefCell::new(far) }
        });
        let tallies = meet(&rt, bytes.collect(), &ALL, MEETINGS);
        both_outcomes(backend, "bytes", &tallies, MEETINGS, 1000);
    }
}

/// Room to write.
struct Room {
    near: Socket,
    far: RefCell<UnixStream>,
    unread: Cell<usize>,
}

impl Room {
    fn fill(&self) {
        while let Ok(count) = self.near.try_write(&[IoSlice::new(&[7; 4096])]) {
            self.unread.set(self.unread.get() + count);
        }
    }
}

impl Subject for Room {
    async fn wait(&self, _: &Sockets, deadline: Now) -> io::Result<()> {
        self.near.writable(deadline).await
    }

    fn provoke(&self, _: u32) {
        let mut got = vec![0; 1 << 16];
        while let Ok(count) = self.far.borrow_mut().read(&mut got) {
            self.unread.set(self.unread.get() - count);
        }
        assert_eq!(self.unread.get(), 0, "all that was written arrived");
    }

    async fn take(&self, _: &Sockets, _: u32) {
        self.fill();
        assert!(self.unread.get() > 0, "there is room");
    }
}

//= test SE-TIMEOUT-01
#[test]
fn room_that_comes_in_the_turn_of_the_time_out_is_kept() {
    for backend in BACKENDS {
        let rt = runtime(backend);
        let rooms = (0..150).map(|_| {
            let (near, far) = UnixStream::pair().expect("a socket pair");
            socket2::SockRef::from(&near).set_send_buffer_size(4096).expect("an option");
            far.set_nonblocking(true).expect("non-blocking");
            let near = Socket::adopt(&rt, OwnedFd::from(near)).expect("adopted");
            let room = Room { near, far: RefCell::new(far), unread: Cell::new(0) };
            room.fill();
            room
        });
        let tallies = meet(&rt, rooms.collect(), &ALL, 3000);
        both_outcomes(backend, "room", &tallies, 3000, 100);
    }
}

/// A connection to be accepted.
struct Caller {
    listener: Listener,
    at: SocketAddr,
    called: RefCell<Option<TcpStream>>,
    accepted: RefCell<Option<SocketAddr>>,
}

impl Subject for Caller {
    /// An accept has no deadline of its own: who waits gives it up.
    async fn wait(&self, rt: &Sockets, deadline: Now) -> io::Result<()> {
        let mut accept = pin!(rt.accept(&self.listener));
        let mut late = pin!(rt.sleep_until(deadline));
        poll_fn(|context| {
            if let Poll::Ready(accepted) = accept.as_mut().poll(context) {
                *self.accepted.borrow_mut() = Some(accepted?.1);
                return Poll::Ready(Ok(()));
            }
            late.as_mut().poll(context).map(|()| Err(ErrorKind::TimedOut.into()))
        })
        .await
    }

    fn provoke(&self, _: u32) {
        let call = TcpStream::connect(self.at).expect("the backlog has room");
        // Closed by a reset, so that thousands of them leave no port behind.
        socket2::SockRef::from(&call).set_linger(Some(std::time::Duration::ZERO)).expect("an option");
        *self.called.borrow_mut() = Some(call);
    }

    async fn take(&self, rt: &Sockets, _: u32) {
        let mut accepted = self.accepted.take();
        if accepted.is_none() {
            accepted = Some(rt.accept(&self.listener).await.expect("accepted").1);
        }
        let called = self.called.take().expect("somebody called");
        assert_eq!(accepted, Some(called.local_addr().expect("bound")), "each caller once and in order");
    }
}

#[test]
fn a_connection_that_comes_as_its_accept_is_given_up_is_accepted_by_the_next() {
    for backend in BACKENDS {
        let rt = runtime(backend);
        let callers = (0..100).map(|_| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
            let at = listener.local_addr().expect("bound");
            let listener = rt.listen(listener).expect("listening");
            Caller { listener, at, called: RefCell::default(), accepted: RefCell::default() }
        });
        let moments = [Moment::TimerDue, Moment::CancelAsked];
        let tallies = meet(&rt, callers.collect(), &moments, 2000);
        eprintln!("{backend:?}, accepts: {tallies:?}");
        assert!(tallies.iter().all(|(_, tally)| tally.ready + tally.timed_out >= 500), "{tallies:?}");
    }
}

//= test SE-TIMEOUT-01
#[test]
fn in_memory_bytes_that_arrive_in_the_turn_of_the_time_out_are_kept() {
    const PAIRS: usize = 1000;
    const ROUNDS: usize = 100;
    let rt = Memory::new();
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
    let listener = rt.bind(at);
    let tally = Rc::new(Cell::new(Tally::default()));
    rt.block_on(async {
        let mut pairs = Vec::new();
        for _ in 0..PAIRS {
            let near = Rc::new(rt.connect(at, NEVER).await.expect("connected"));
            pairs.push((near, Rc::new(rt.accept(&listener).await.expect("accepted").0)));
        }
        for round in 0..ROUNDS {
            let deadline = Now((rt.now().0 / TICK + 2) * TICK);
            for (index, (near, far)) in pairs.iter().enumerate() {
                let (clock, far) = (rt.clone(), far.clone());
                let write = async move {
                    clock.sleep_until(deadline).await;
                    assert_eq!(far.try_write(&[IoSlice::new(&[round as u8])]).expect("room"), 1);
                };
                let (near, tally) = (near.clone(), tally.clone());
                let read = async move {
                    let said = near.readable(deadline).await;
                    if let Err(error) = &said {
                        assert_eq!(error.kind(), ErrorKind::TimedOut);
                        near.readable(NEVER).await.expect("the byte comes");
                    }
                    let mut sum = tally.get();
                    *(if said.is_ok() { &mut sum.ready } else { &mut sum.timed_out }) += 1;
                    tally.set(sum);
                    let mut got = [0; 2];
                    assert_eq!(near.try_read(&mut got).expect("the byte is there"), 1);
                    assert_eq!(got[0], round as u8, "each byte once and in order");
                };
                if index % 2 == 0 {
                    rt.spawn(write);
                    rt.spawn(read);
                } else {
                    rt.spawn(read);
                    rt.spawn(write);
                }
            }
            rt.sleep_until(Now(deadline.0 + TICK)).await;
        }
    });
    let tally = tally.get();
    eprintln!("in memory: {tally:?}");
    assert_eq!(tally.ready + tally.timed_out, PAIRS * ROUNDS);
    assert!(tally.ready >= 1000 && tally.timed_out >= 1000, "one outcome is too rare: {tally:?}");
}
