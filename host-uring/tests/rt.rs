//! The runtime on real sockets, on io_uring and on epoll.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use forebay_host_uring::rt::clock::{NEVER, Now, now};
use forebay_host_uring::rt::sockets::Socket;
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

fn soon(stream: &Socket, bytes: &[u8]) -> bool {
    stream.write_soon(bytes.len(), |all| all.extend_from_slice(bytes))
}

fn in_ms(ms: u64) -> Now {
    Now(now().0 + ms * 1000)
}

//= test SE-TIMEOUT-02
#[test]
fn a_time_out_leaves_the_stream_usable_in_both_directions() {
    for backend in BACKENDS {
        let rt = runtime(backend);
        let (a, mut b) = UnixStream::pair().expect("a socket pair");
        rt.block_on(async {
            let a = Socket::adopt(&rt, OwnedFd::from(a)).expect("adopted");
            let begin = now();
            let error = a.readable(in_ms(50)).await.expect_err("nobody writes");
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            let waited = now().0 - begin.0;
            assert!((50_000..2_000_000).contains(&waited), "waited {waited} us");
            a.writable(in_ms(1000)).await.expect("room");
            assert_eq!(a.try_write(&[IoSlice::new(b"out "), IoSlice::new(b"there")]).expect("room"), 9);
            b.write_all(b"in").expect("room");
            a.readable(in_ms(1000)).await.expect("bytes came");
            let mut got = [0; 8];
            assert_eq!(a.try_read(&mut got).expect("bytes"), 2);
        });
        let mut got = String::new();
        b.read_to_string(&mut got).expect("text");
        assert_eq!(got, "out there");
    }
}

/// Reads what is there, bytes by bytes of room.
async fn next(stream: &Socket, room: usize) -> Vec<u8> {
    stream.readable(in_ms(2000)).await.expect("something comes");
    let mut got = vec![0; room];
    let count = stream.try_read(&mut got).expect("a wait that ended well means that a read gets something");
    got.truncate(count);
    got
}

#[test]
fn an_end_that_comes_with_the_last_bytes_is_told_after_them() {
    for backend in BACKENDS {
        // The first wait is armed in another way than those that follow.
        for earlier in 0..3 {
            let rt = runtime(backend);
            let (a, mut b) = UnixStream::pair().expect("a socket pair");
            rt.block_on(async {
                let a = Socket::adopt(&rt, OwnedFd::from(a)).expect("adopted");
                for _ in 0..earlier {
                    b.write_all(b"early").expect("room");
                    assert_eq!(next(&a, 64).await, b"early");
                    let error = a.readable(in_ms(20)).await.expect_err("no more than that came");
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                }
                b.write_all(b"last").expect("room");
                b.shutdown(Shutdown::Both).expect("open");
                assert_eq!(next(&a, 64).await, b"last");
                assert_eq!(next(&a, 64).await, b"", "{backend:?} after {earlier}");
                assert_eq!(next(&a, 64).await, b"", "however often it is asked for");
            });
        }
    }
}

#[test]
fn bytes_that_a_read_left_are_told_of_again() {
    for backend in BACKENDS {
        let rt = runtime(backend);
        let (a, mut b) = UnixStream::pair().expect("a socket pair");
        rt.block_on(async {
            let a = Socket::adopt(&rt, OwnedFd::from(a)).expect("adopted");
            for _ in 0..3 {
                b.write_all(b"one two").expect("room");
                assert_eq!(next(&a, 4).await, b"one ");
                assert_eq!(next(&a, 3).await, b"two");
                let error = a.readable(in_ms(20)).await.expect_err("all of it was read");
                assert_eq!(error.kind(), ErrorKind::TimedOut);
            }
        });
    }
}

//= test SE-CUT-02
#[test]
fn a_reset_is_told_as_one_to_who_reads_after_a_look() {
    for backend in BACKENDS {
        let rt = runtime(backend);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let far = TcpStream::connect(listener.local_addr().expect("bound")).expect("listening");
        let (near, _) = listener.accept().expect("connected");
        rt.block_on(async {
            let near = Socket::adopt(&rt, OwnedFd::from(near)).expect("adopted");
            (&far).write_all(b"half").expect("room");
            // As much as was asked for: whether there is more, only a look can tell.
            assert_eq!(next(&near, 4).await, b"half");
            socket2::SockRef::from(&far).set_linger(Some(Duration::ZERO)).expect("an option");
            drop(far);
            near.readable(in_ms(2000)).await.expect("a failure is something to read");
            assert!(near.is_spent(), "{backend:?}");
            let error = near.try_read(&mut [0; 4]).expect_err("what was cut must not pass for whole");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{backend:?}");
        });
    }
}

//= test SE-UPSTREAM-02
#[test]
fn a_watched_stream_is_known_to_be_silent_until_something_comes() {
    for backend in BACKENDS {
        let rt = runtime(backend);
        let (a, mut b) = UnixStream::pair().expect("a socket pair");
        rt.block_on(async {
            let a = Socket::adopt(&rt, OwnedFd::from(a)).expect("adopted");
            assert!(!a.has_spoken(), "nothing came yet");
            for round in 0..3 {
                b.write_all(b"answer").expect("room");
                assert_eq!(next(&a, 64).await, b"answer");
                assert!(!a.has_spoken(), "{backend:?}, {round}: all was read");
                b.write_all(b"unasked").expect("room");
                // Whatever is seen after the bytes: here a deadline, there another client's request.
                rt.sleep_until(in_ms(1)).await;
                assert!(a.has_spoken(), "{backend:?}, {round}");
                assert_eq!(next(&a, 64).await, b"unasked");
            }
            drop(b);
            rt.sleep_until(in_ms(1)).await;
            assert!(a.has_spoken(), "the end counts as well");
        });
    }
}

//= test SE-TIMEOUT-01
#[test]
fn a_deadline_holds_whatever_the_one_before_it_was() {
    for backend in BACKENDS {
        let rt = runtime(backend);
        let (a, mut b) = UnixStream::pair().expect("a socket pair");
        rt.block_on(async {
            let a = Socket::adopt(&rt, OwnedFd::from(a)).expect("adopted");
            // Bytes end a long wait and a short one; the timers that they leave behind must not end what follows.
            for ms in [10_000, 50] {
                b.write_all(b"x").expect("room");
                a.readable(in_ms(ms)).await.expect("bytes");
                assert_eq!(a.try_read(&mut [0; 8]).expect("bytes"), 1);
            }
            for ms in [300, 40, 200] {
                let begin = now();
                let error = a.readable(in_ms(ms)).await.expect_err("nobody writes");
                assert_eq!(error.kind(), ErrorKind::TimedOut);
                let waited = now().0 - begin.0;
                assert!(waited >= ms * 1000, "{backend:?}: {waited} us instead of {ms} ms");
                assert!(waited < 5_000_000, "{backend:?}: {waited} us instead of {ms} ms");
            }
        });
    }
}

#[test]
fn connections_are_accepted_and_connected() {
    for backend in BACKENDS {
        let rt = runtime(backend);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let at = listener.local_addr().expect("bound");
        rt.block_on(async {
            let listener = rt.listen(listener).expect("listening");
            let client = rt.connect(at, in_ms(2000)).await.expect("connected");
            let (server, from) = rt.accept(&listener).await.expect("accepted");
            assert_eq!(from, client.local_addr().expect("bound"));
            assert!(!client.is_spent());
            assert_eq!(server.try_write(&[IoSlice::new(b"hello")]).expect("room"), 5);
            client.readable(in_ms(2000)).await.expect("bytes");
            assert!(client.is_spent(), "an idle connection with bytes on it must not be used");
            let mut got = [0; 16];
            assert_eq!(client.try_read(&mut got).expect("bytes"), 5);
            assert!(client.rtt_us().is_some());
            server.shutdown(Shutdown::Write);
            client.readable(in_ms(2000)).await.expect("the end is readable");
            assert_eq!(client.try_read(&mut got).expect("the end"), 0);
            assert!(client.is_spent());
        });
    }
}

#[test]
fn a_refused_connect_fails_at_once_and_an_unanswered_one_at_its_deadline() {
    for backend in BACKENDS {
        let rt = runtime(backend);
        let refused: SocketAddr = {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
            listener.local_addr().expect("bound")
        };
        // Nobody accepts here and the backlog is full, so the kernel drops what follows.
        let full =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        full.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("bound");
        full.listen(0).expect("listening");
        let silent = full.local_addr().expect("bound").as_socket().expect("an address");
        let _first = TcpStream::connect(silent).expect("the only place in the backlog");
        rt.block_on(async {
            let error = rt.connect(refused, in_ms(5000)).await.err().expect("nobody listens");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            let begin = now();
            let error = rt.connect(silent, in_ms(100)).await.err().expect("nobody answers");
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!(now().0 - begin.0 < 3_000_000);
        });
    }
}

//= test SE-PANIC-01
#[test]
fn a_panicking_task_ends_the_runtime_and_closes_every_connection() {
    for backend in BACKENDS {
        let (held, mut peer) = UnixStream::pair().expect("a socket pair");
        let thrown = std::thread::spawn(move || {
            let rt = runtime(backend);
            let held = Socket::adopt(&rt, OwnedFd::from(held)).expect("adopted");
            rt.spawn(async move {
                let _ = held.readable(NEVER).await;
            });
            let clock = rt.clone();
            rt.spawn(async move {
                clock.sleep_until(in_ms(20)).await;
                panic!("as the test wants it");
            });
            rt.block_on(std::future::pending::<()>());
        })
        .join();
        assert!(thrown.is_err(), "the panic reaches the thread's root");
        peer.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
        assert_eq!(peer.read(&mut [0]).expect("the end, not a time-out"), 0);
    }
}

#[test]
fn both_sides_of_a_stream_can_be_awaited_at_once() {
    for backend in BACKENDS {
        let rt = runtime(backend);
        let (a, mut b) = UnixStream::pair().expect("a socket pair");
        rt.block_on(async {
            let a = Rc::new(Socket::adopt(&rt, OwnedFd::from(a)).expect("adopted"));
            let block = [7_u8; 65536];
            while a.try_write(&[IoSlice::new(&block)]).is_ok() {}
            let all = Countdown::new(2);
            for side in 0..2 {
                let (a, all) = (a.clone(), all.clone());
                rt.spawn(async move {
                    if side == 0 {
                        a.readable(in_ms(5000)).await.expect("a byte comes");
                    } else {
                        a.writable(in_ms(5000)).await.expect("room comes");
                    }
                    all.one_less();
                });
            }
            rt.sleep_until(in_ms(20)).await;
            b.write_all(b"x").expect("room");
            rt.sleep_until(in_ms(20)).await;
            assert_eq!(all.left(), 1, "the reader was woken, the writer was not");
            b.set_nonblocking(true).expect("non-blocking");
            let mut sink = vec![0; 1 << 20];
            while b.read(&mut sink).is_ok() {}
            all.wait().await;
        });
    }
}

#[test]
fn a_hang_up_is_noticed_behind_unread_bytes_and_a_wait_for_it_can_be_given_up() {
    for backend in BACKENDS {
        for resets in [false, true] {
            let rt = runtime(backend);
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
            let mut far = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
            let near = listener.accept().expect("accepted").0;
            rt.block_on(async {
                let near = Rc::new(Socket::adopt(&rt, OwnedFd::from(near)).expect("adopted"));
                far.write_all(b"unread").expect("room");
                for _ in 0..3 {
                    // Given up while it is armed, as when a turn comes first.
                    let mut given_up = Box::pin(near.hung_up());
                    poll_fn(|context| {
                        assert!(given_up.as_mut().poll(context).is_pending(), "bytes are no hang-up");
                        Poll::Ready(())
                    })
                    .await;
                    rt.sleep_until(in_ms(5)).await;
                }
                let noticed = Rc::new(Cell::new(false));
                let all = Countdown::new(1);
                let (own, seen, done) = (near.clone(), noticed.clone(), all.clone());
                rt.spawn(async move {
                    own.hung_up().await;
                    seen.set(true);
                    done.one_less();
                });
                rt.sleep_until(in_ms(20)).await;
                assert!(!noticed.get(), "bytes are no hang-up");
                assert!(!near.is_reset(), "nor a reset");
                if resets {
                    socket2::SockRef::from(&far).set_linger(Some(Duration::ZERO)).expect("an option");
                }
                drop(far);
                all.wait().await;
                assert_eq!(near.is_reset(), resets, "an end is no reset");
                if !resets {
                    let mut got = [0; 10];
                    near.readable(in_ms(1000)).await.expect("bytes");
                    assert_eq!(near.try_read(&mut got).expect("bytes"), 6, "what came before stays");
                }
            });
        }
    }
}

/// Lets a task wait until a number of others have said that they are done.
#[derive(Clone)]
struct Countdown(Rc<(Cell<usize>, RefCell<Option<Waker>>)>);

impl Countdown {
    fn new(count: usize) -> Self {
        Countdown(Rc::new((Cell::new(count), RefCell::new(None))))
    }

    fn left(&self) -> usize {
        self.0.0.get()
    }

    fn one_less(&self) {
        self.0.0.set(self.0.0.get() - 1);
        if self.left() == 0
            && let Some(waker) = self.0.1.borrow_mut().take()
        {
            waker.wake();
        }
    }

    async fn wait(&self) {
        poll_fn(|context| {
            *self.0.1.borrow_mut() = Some(context.waker().clone());
            if self.left() == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// A task's clock stands still while it runs: held up for longer than its pause, it would find the pause over each time.
//= test SE-FAIR-03
#[test]
fn who_was_held_up_for_longer_than_its_pause_lets_others_have_a_turn() {
    for backend in BACKENDS {
        let rt = runtime(backend);
        let (turns, rounds) = rt.block_on(async {
            let turns = Rc::new(Cell::new(0));
            let counted = turns.clone();
            rt.spawn(async move {
                loop {
                    counted.set(counted.get() + 1);
                    give_way().await;
                }
            });
            let (mut rounds, begin) = (0, now());
            while turns.get() < 3 && rounds < 1000 {
                rounds += 1;
                // Sleep: the machine that holds this thread up.
                std::thread::sleep(Duration::from_millis(2));
                rt.sleep_until(Now(begin.0 + 1000)).await;
            }
            (turns.get(), rounds)
        });
        assert!(rounds < 10, "{backend:?}: {rounds} pauses, {turns} turns of the other task");
    }
}

/// Each task always has more to do; all of them once take far longer than a turn of the loop may.
//= test SE-FAIR-02
#[test]
fn the_clockwork_turns_however_many_tasks_have_something_to_do() {
    const BUSY: usize = 400;
    const SHARE_US: u64 = 500;
    for backend in BACKENDS {
        let rt = runtime(backend);
        let polled = Rc::new(RefCell::new(vec![0_u32; BUSY]));
        let (late, polled) = rt.block_on(async {
            for task in 0..BUSY {
                let polled = polled.clone();
                rt.spawn(async move {
                    loop {
                        let until = now().0 + SHARE_US;
                        while now().0 < until {
                            std::hint::spin_loop();
                        }
                        polled.borrow_mut()[task] += 1;
                        give_way().await;
                    }
                });
            }
            while polled.borrow().contains(&0) {
                rt.sleep_until(in_ms(1)).await;
            }
            // From here on each of them is one that gave way.
            polled.borrow_mut().fill(0);
            let mut late = Vec::new();
            for _ in 0..5 {
                let at = in_ms(20);
                rt.sleep_until(at).await;
                late.push(now().0.saturating_sub(at.0));
            }
            (late, polled.take())
        });
        // The best of them: a loaded machine may spoil the others.
        let (best, round) = (late.iter().min().expect("pauses"), BUSY as u64 * SHARE_US);
        assert!(*best < round / 2, "{backend:?}: late by {late:?} us, a round takes {round}");
        let (most, least) = (polled.iter().max().expect("tasks"), polled.iter().min().expect("tasks"));
        assert!(most - least <= 1, "{backend:?}: who was left is served first, in order: {least} to {most}");
    }
}

/// Two ends of a pair that answer each other, beside tasks that always have more to do.
//= test SE-FAIR-02
#[test]
fn who_waits_for_bytes_goes_before_those_who_used_their_share_up() {
    const BUSY: usize = 400;
    const SHARE_US: u64 = 250;
    for backend in BACKENDS {
        let rt = runtime(backend);
        let (near, far) = UnixStream::pair().expect("a socket pair");
        let near = Socket::adopt(&rt, OwnedFd::from(near)).expect("adopted");
        let far = Socket::adopt(&rt, OwnedFd::from(far)).expect("adopted");
        let polled = Rc::new(Cell::new(0_usize));
        let took = rt.block_on(async {
            for _ in 0..BUSY {
                let polled = polled.clone();
                rt.spawn(async move {
                    loop {
                        let until = now().0 + SHARE_US;
                        while now().0 < until {
                            std::hint::spin_loop();
                        }
                        polled.set(polled.get() + 1);
                        give_way().await;
                    }
                });
            }
            rt.spawn(async move {
                while far.readable(NEVER).await.is_ok() {
                    let mut byte = [0];
                    if far.try_read(&mut byte).is_ok() {
                        far.try_write(&[IoSlice::new(&byte)]).expect("there is room");
                    }
                }
            });
            // All of them have begun, so what follows is told from the burst of the beginning.
            rt.sleep_until(in_ms(200)).await;
            let before = polled.get();
            for _ in 0..10 {
                near.try_write(&[IoSlice::new(b"x")]).expect("there is room");
                near.readable(NEVER).await.expect("an answer");
                near.try_read(&mut [0]).expect("a byte");
            }
            polled.get() - before
        });
        assert!(took > 0, "{backend:?}: those who go on have their turns, too");
        assert!(took < 10 * BUSY / 4, "{backend:?}: {took} shares of others in ten answers");
    }
}

//= test SE-TURN-01
#[test]
fn short_messages_of_a_crowd_go_out_together_and_each_stream_keeps_its_order() {
    for backend in BACKENDS {
        let rt = runtime(backend);
        let (a, b) = UnixStream::pair().expect("a socket pair");
        let (closed, closed_peer) = UnixStream::pair().expect("a socket pair");
        rt.block_on(async {
            let adopt = |socket| Rc::new(Socket::adopt(&rt, OwnedFd::from(socket)).expect("adopted"));
            let (a, b, closed, closed_peer) = (adopt(a), adopt(b), adopt(closed), adopt(closed_peer));
            rt.spawn(async {});
            assert!(!soon(&a, b"early"), "of a stream that nobody waited for nothing is known");
            for stream in [&a, &closed] {
                let silent = stream.readable(now()).await.expect_err("nothing comes");
                assert_eq!(silent.kind(), ErrorKind::TimedOut);
            }
            assert!(!soon(&a, b"alone"), "nobody else has anything to do");
            let first = (a.clone(), b.clone());
            rt.spawn(async move {
                let (a, b) = first;
                assert!(soon(&a, b"one "), "others have something to do");
                let early = b.try_read(&mut [0; 8]).expect_err("it waits for the others");
                assert_eq!(early.kind(), ErrorKind::WouldBlock);
            });
            let last = a.clone();
            rt.spawn(async move {
                assert!(!soon(&last, b"two "), "its stream has one that waits");
                assert_eq!(last.try_write(&[IoSlice::new(b"two ")]).expect("room"), 4);
                assert!(soon(&last, b"three"), "what waited has gone");
            });
            rt.spawn(async move {
                assert!(soon(&closed, b"last"), "one waits, so it is a crowd");
            });
            rt.spawn(async {});
            let mut got = Vec::new();
            while got.len() < 13 {
                got.extend(next(&b, 64).await);
            }
            assert_eq!(got, b"one two three");
            assert_eq!(next(&closed_peer, 64).await, b"last", "a close loses nothing");
            assert_eq!(next(&closed_peer, 64).await, b"", "and comes after it");
        });
    }
}
