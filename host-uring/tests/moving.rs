//! Bytes that go from one real socket to another through the worker's pipe.

use std::cell::Cell;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use forebay_host_uring::http::limits::PIPE_BYTES;
use forebay_host_uring::http::mover::Mover;
use forebay_host_uring::metrics::WorkerMetrics;
use forebay_host_uring::rt::clock::{Now, now};
use forebay_host_uring::rt::memory::Memory;
use forebay_host_uring::rt::sockets::Socket;
use forebay_host_uring::rt::{Backend, NEVER, Rt, Sockets, Stream};

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

fn mover() -> (Mover, Arc<WorkerMetrics>) {
    let metrics = Arc::new(WorkerMetrics::default());
    (Mover::new(metrics.clone()), metrics)
}

fn in_ms(ms: u64) -> Now {
    Now(now().0 + ms * 1000)
}

/// A connection: our end, and the peer's.
fn connection(rt: &Sockets) -> (Socket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let theirs = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    let ours = listener.accept().expect("somebody has connected").0;
    (Socket::adopt(rt, OwnedFd::from(ours)).expect("adopted"), theirs)
}

fn pattern(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|at| ((at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// Moves everything that comes until the sender ends; what the receiver does not take at once is written later.
async fn pass_on(mover: &Mover, from: &Socket, to: &Socket) -> usize {
    let mut total = 0;
    loop {
        let mut rest = Vec::new();
        match mover.fill(from, to, PIPE_BYTES) {
            Ok(None) => {
                to.shutdown(Shutdown::Write);
                return total;
            }
            Ok(Some(moving)) => {
                total += moving.len();
                moving.send(to).expect("the receiver is there");
                moving.copy_rest(&mut rest).expect("a pipe gives back what it took");
                assert!(moving.is_empty());
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                from.readable(in_ms(10_000)).await.expect("the sender goes on");
            }
            Err(error) => panic!("{error}"),
        }
        let mut at = 0;
        while at < rest.len() {
            to.writable(in_ms(10_000)).await.expect("the receiver goes on");
            at += to.try_write(&[IoSlice::new(&rest[at..])]).expect("there is room");
        }
    }
}

//= test SE-MOVE-01
#[test]
fn what_goes_through_the_pipe_is_what_came_however_slowly_it_is_taken() {
    const BYTES: usize = 24 << 20;
    for backend in BACKENDS {
        for slow in [false, true] {
            let rt = runtime(backend);
            let (mover, metrics) = mover();
            let (from, mut sender) = connection(&rt);
            let (to, mut receiver) = connection(&rt);
            let sent = std::thread::spawn(move || sender.write_all(&pattern(0, BYTES)).expect("taken"));
            let got = std::thread::spawn(move || {
                if slow {
                    // Sleep: the receiver's and our queues fill up meanwhile, or do not: both have to end well.
                    std::thread::sleep(std::time::Duration::from_millis(300));
                }
                let mut got = Vec::new();
                receiver.read_to_end(&mut got).expect("no reset");
                got
            });
            let total = rt.block_on(pass_on(&mover, &from, &to));
            sent.join().expect("sent");
            assert_eq!(total, BYTES);
            assert!(got.join().expect("read") == pattern(0, BYTES), "bytes were changed or moved");
            let moved = metrics.moved_bytes.get();
            assert!(moved <= BYTES as u64 && moved > BYTES as u64 / 4, "{moved} bytes were not copied");
        }
    }
}

//= test SE-MOVE-01
#[test]
fn what_a_pipe_has_left_in_the_socket_is_told_and_nothing_else_is() {
    for backend in BACKENDS {
        // The first wait is armed in another way than those that follow.
        for earlier in 0..3 {
            let rt = runtime(backend);
            let (mover, _) = mover();
            let (from, mut sender) = connection(&rt);
            let (to, mut receiver) = connection(&rt);
            let at = Cell::new(0);
            let moved = |most: usize| {
                let moving = mover.fill(&from, &to, most).expect("bytes are there").expect("no end");
                at.set(at.get() + moving.len());
                assert_eq!(moving.send(&to).expect("the receiver is there"), most);
            };
            rt.block_on(async {
                for _ in 0..=earlier {
                    sender.write_all(b"one two").expect("room");
                    from.readable(in_ms(10_000)).await.expect("bytes came");
                    moved(4);
                    from.readable(in_ms(10_000)).await.expect("some are left");
                    moved(3);
                    let error = from.readable(in_ms(20)).await.expect_err("all of it was moved");
                    assert_eq!(error.kind(), ErrorKind::TimedOut, "{backend:?} after {earlier}");
                    let nothing = mover.fill(&from, &to, 9).err().expect("nothing is there");
                    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
                    let error = from.readable(in_ms(20)).await.expect_err("nothing came");
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                }
                sender.write_all(b"last").expect("room");
                sender.shutdown(Shutdown::Write).expect("open");
                from.readable(in_ms(10_000)).await.expect("bytes came");
                moved(4);
                from.readable(in_ms(10_000)).await.expect("the end is told after them");
                assert!(mover.fill(&from, &to, 9).expect("no failure").is_none());
            });
            drop(to);
            let mut got = String::new();
            receiver.read_to_string(&mut got).expect("text");
            assert_eq!(got, "one two".repeat(earlier + 1) + "last");
        }
    }
}

//= test SE-MOVE-03
#[test]
fn what_a_failed_receiver_left_in_the_pipe_reaches_nobody_else() {
    let rt = runtime(Backend::IoUring);
    let (mover, _) = mover();
    let (from, mut sender) = connection(&rt);
    let (gone, other_end) = connection(&rt);
    let (to, mut receiver) = connection(&rt);
    rt.block_on(async {
        sender.write_all(b"a secret of one").expect("room");
        from.readable(in_ms(10_000)).await.expect("bytes came");
        // Its data is unread, so its close is a reset.
        gone.try_write(&[IoSlice::new(b"unread")]).expect("room");
        while other_end.peek(&mut [0]).expect("it comes") == 0 {}
        drop(other_end);
        gone.readable(in_ms(10_000)).await.expect("the reset is told");
        let moving = mover.fill(&from, &gone, PIPE_BYTES).expect("bytes").expect("no end");
        moving.send(&gone).expect_err("it is gone");
        assert!(!moving.is_empty(), "the bytes are still in the pipe");
        drop(moving);
        sender.write_all(b"another's").expect("room");
        from.readable(in_ms(10_000)).await.expect("bytes came");
        let moving = mover.fill(&from, &to, PIPE_BYTES).expect("bytes").expect("no end");
        assert_eq!(moving.send(&to).expect("it is there"), b"another's".len());
    });
    drop(to);
    let mut got = String::new();
    receiver.read_to_string(&mut got).expect("text");
    assert_eq!(got, "another's");
}

#[test]
fn streams_that_are_no_sockets_are_copied() {
    let (mover, metrics) = mover();
    let rt = Memory::new();
    let at = "192.0.2.1:80".parse().expect("an address");
    let listener = rt.bind(at);
    rt.block_on(async {
        let here = rt.connect(at, NEVER).await.expect("it listens");
        let there = rt.accept(&listener).await.expect("somebody has connected").0;
        assert!(!here.can_move());
        here.try_write(&[IoSlice::new(b"bytes")]).expect("room");
        let error = mover.fill(&there, &here, PIPE_BYTES).err().expect("no pipe goes there");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(there.try_read(&mut [0; 9]).expect("nothing was lost"), 5);
    });
    assert_eq!(metrics.moved_bytes.get(), 0);
}
