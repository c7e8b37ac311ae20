//! The supervisor with bodies that only tick, accept, panic or stand still.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use forebay_host_uring::config::Tree;
use forebay_host_uring::control::mailbox::Message;
use forebay_host_uring::control::supervisor::{Body, Order, Orders, Supervisor};
use forebay_host_uring::control::{Running, SeatListener, ShutdownStage, State, WorkerSeat, sockets};
use forebay_host_uring::limits::sizes::{self, Needs};
use forebay_host_uring::metrics::WorkerMetrics;
use forebay_host_uring::persist::Store;
use forebay_host_uring::rt::clock;

/// A worker's loop as the supervisor sees it: each connection gets the number of the worker that accepted it.
fn body(seat: &WorkerSeat) {
    let mut helped: Vec<(usize, SeatListener)> = Vec::new();
    loop {
        seat.metrics.tick();
        while let Some(message) = seat.mailbox.try_recv() {
            match message {
                Message::Panic => panic!("planted"),
                // Sleep: to stand still is what the message asks for.
                Message::Sleep(ms) => std::thread::sleep(Duration::from_millis(ms)),
                Message::AcceptFor { worker, listeners } => {
                    helped.extend(listeners.into_iter().map(|listener| (worker, listener)));
                }
                Message::StopAcceptFor { worker } => helped.retain(|(other, _)| *other != worker),
                // Nobody upgrades it.
                Message::StopAccept(_) => {}
                Message::PoolsChanged
                | Message::Configure { .. }
                | Message::CutServices(_)
                | Message::Shutdown => {}
            }
        }
        if seat.shutdown.stage() != ShutdownStage::Running {
            return;
        }
        for listener in seat.listeners.iter().chain(helped.iter().map(|(_, listener)| listener)) {
            if let Ok((mut stream, _)) = listener.socket.stream().expect("one of TCP").accept() {
                // The client may be gone already.
                let _ = stream.write_all(&[b'0' + seat.index as u8]);
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

struct Rig {
    state: Arc<State>,
    orders: Orders,
    address: std::net::SocketAddr,
    runtime: Option<std::thread::JoinHandle<()>>,
}

impl Rig {
    fn start(body: Body) -> Self {
        Self::of(2, body)
    }

    fn of(workers: usize, body: Body) -> Self {
        // A port that was free a moment ago.
        let address =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
        let document = format!(
            "version = 1\n[[virtual_service]]\nname = \"v\"\nlisten = [\"{address}\"]\npool = \"p\"\n\
             [[pool]]\nname = \"p\"\nserver = [{{ address = \"127.0.0.1:1\" }}]"
        );
        let tree = Arc::new(Tree::build(forebay_snapshot::check(&document).expect("a right document")));
        let sockets = sockets::bind(&tree, workers).expect("the port is free");
        let needs = Needs { workers: workers as u64, listeners: 1, probes: 0, group_bytes: None };
        let sizes = sizes::derive(&tree.engine, 4_096, needs).expect("files enough");
        let store = Store::build(&tree, 1 << 20, [7; 16], clock::now()).expect("a store");
        let store = Arc::new(store);
        let metrics = (0..workers).map(|_| Arc::new(WorkerMetrics::default())).collect();
        let state =
            Arc::new(State::new(Running { number: 1, tree, store }, metrics, sizes, None, Arc::default()));
        let (orders, taken) = Orders::new();
        let theirs = Arc::clone(&state);
        let runtime = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(Supervisor::new(theirs, body, sockets).run(taken));
        });
        Self { state, orders, address, runtime: Some(runtime) }
    }

    /// Who answers a new connection.
    fn ask(&self) -> Option<u8> {
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(2)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let mut byte = [0];
        stream.read_exact(&mut byte).ok().map(|()| byte[0] - b'0')
    }

    fn stop(mut self) {
        self.state.shutdown.raise(ShutdownStage::Draining);
        self.orders.give(Order::Shutdown);
        self.runtime.take().expect("running").join().expect("the supervisor ends");
    }
}

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(2);

fn eventually(what: &str, within: Duration, mut is: impl FnMut() -> bool) {
    let until = Instant::now() + within;
    while !is() {
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

//= test OBS-WORKER-01
#[test]
fn a_panicked_worker_is_back_within_a_second_and_its_port_never_closes() {
    let starts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&starts);
    let rig = Rig::start(Arc::new(move |seat| {
        counted.fetch_add(1, Ordering::SeqCst);
        body(&seat);
    }));
    eventually("ready", Duration::from_secs(5), || rig.state.is_ready());
    for round in 1..=3_u64 {
        rig.orders.give(Order::Tell(0, Message::Panic));
        eventually("the panic is counted", Duration::from_secs(5), || {
            rig.state.supervised()[0].panics == round
        });
        let panicked = Instant::now();
        // Connections of this moment wait in the sockets of both workers; none is refused.
        for _ in 0..16 {
            assert!(rig.ask().is_some(), "a connection was lost");
        }
        eventually("worker 0 is back", Duration::from_secs(1), || {
            starts.load(Ordering::SeqCst) == 2 + round as usize
        });
        assert!(panicked.elapsed() < Duration::from_secs(3));
    }
    rig.stop();
}

//= test OBS-WORKER-02
#[test]
fn another_worker_accepts_for_one_that_stands_still_until_it_goes_on() {
    let rig = Rig::start(Arc::new(|seat| body(&seat)));
    eventually("ready", Duration::from_secs(5), || rig.state.is_ready());
    rig.orders.give(Order::Tell(1, Message::Sleep(4_000)));
    eventually("worker 1 is seen as stuck", Duration::from_secs(3), || rig.state.supervised()[1].is_stuck);
    let answers: Vec<Option<u8>> = (0..32).map(|_| rig.ask()).collect();
    assert!(answers.iter().all(|by| *by == Some(0)), "{answers:?}");
    eventually("worker 1 goes on", Duration::from_secs(8), || !rig.state.supervised()[1].is_stuck);
    eventually("both answer again", Duration::from_secs(5), || rig.ask() == Some(1));
    let seen = rig.state.supervised()[1];
    assert_eq!((seen.stuck, seen.panics), (1, 0));
    rig.stop();
}

//= test OBS-WORKER-02
#[test]
fn a_stand_in_that_panics_is_followed_by_a_third_worker() {
    // Worker 1 panics whenever it is asked to help.
    let rig = Rig::of(
        3,
        Arc::new(|seat| match seat.index {
            1 => cowardly(&seat),
            _ => body(&seat),
        }),
    );
    eventually("ready", Duration::from_secs(5), || rig.state.is_ready());
    rig.orders.give(Order::Tell(0, Message::Sleep(5_000)));
    eventually("worker 0 is seen as stuck", Duration::from_secs(3), || rig.state.supervised()[0].is_stuck);
    eventually("its stand-in panics", Duration::from_secs(3), || rig.state.supervised()[1].panics == 1);
    let answers: Vec<Option<u8>> = (0..48).map(|_| rig.ask()).collect();
    assert!(answers.iter().all(|by| *by == Some(1) || *by == Some(2)), "{answers:?}");
    assert!(rig.state.supervised()[0].is_stuck, "it still stands still");
    assert_eq!(rig.state.supervised()[1].panics, 1, "who failed is not asked again first");
    rig.stop();
}

/// A worker that panics when it is asked to accept for another one.
fn cowardly(seat: &WorkerSeat) {
    loop {
        seat.metrics.tick();
        if let Some(Message::AcceptFor { .. }) = seat.mailbox.try_recv() {
            panic!("planted");
        }
        if seat.shutdown.stage() != ShutdownStage::Running {
            return;
        }
        for listener in &seat.listeners {
            if let Ok((mut stream, _)) = listener.socket.stream().expect("one of TCP").accept() {
                // The client may be gone already.
                let _ = stream.write_all(b"1");
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

//= test OBS-BIND-01
#[test]
fn a_port_that_another_engine_has_is_refused_although_both_could_share_it() {
    let rig = Rig::start(Arc::new(|seat| body(&seat)));
    let problems = sockets::bind(&rig.state.tree(), 1).expect_err("the port is taken");
    assert!(problems[0].to_string().contains("another process listens there"), "{}", problems[0]);
    rig.stop();
}

#[test]
fn a_stop_closes_the_port_and_ends_the_workers() {
    let rig = Rig::start(Arc::new(|seat| body(&seat)));
    eventually("ready", Duration::from_secs(5), || rig.state.is_ready());
    let address = rig.address;
    rig.stop();
    assert!(TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err());
}
