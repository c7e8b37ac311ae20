//! An engine that is told to stop while clients come, wait, and download.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

use forebay_e2e::client::read_answer;
use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Answer, Engine, Lab, Options, Origin, Scene, Wire, config, eventually};
use serde_json::{Value, json};

/// Clients of a storm.
const CLIENTS: usize = 24;

/// What became of one connection.
enum Fate {
    /// A whole answer.
    Served(Answer),
    /// ECONNREFUSED.
    Refused,
}

/// Connects anew, asks once, and reads the answer.
///
/// # Errors
/// Everything but a whole answer and a refusal.
fn come(at: SocketAddr) -> io::Result<Fate> {
    let stream = match TcpStream::connect_timeout(&at, secs(10)) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Ok(Fate::Refused),
        connected => connected?,
    };
    let mut wire = Wire::from_stream(stream)?;
    wire.send("GET /storm HTTP/1.1\r\nHost: x\r\n\r\n")?;
    read_answer(&mut wire, false).map(|(answer, _)| Fate::Served(answer))
}

/// An engine in front of one server that answers with `answer`.
fn engine(
    lab: &Lab,
    options: Options,
    serve: impl Fn(Wire, usize) -> io::Result<()> + Send + Sync + 'static,
) -> (Engine, Origin, SocketAddr) {
    let at = lab.address();
    let origin = Origin::start(lab.address(), serve);
    let text = config::service("web", at) + &config::pool("web", "", &[origin.address]);
    (lab.engine_with(&text, options), origin, at)
}

//= test OBS-STOP-01
#[test]
fn in_a_storm_every_client_gets_a_whole_answer_or_a_clean_refusal() {
    let mut scene = Scene::new("algorithm = \"round_robin\"", "");
    let at = scene.at;
    let told = Arc::new(AtomicBool::new(false));
    let storm: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let told = Arc::clone(&told);
            thread::spawn(move || {
                let (mut served, mut after) = (0, 0);
                loop {
                    let was_told = told.load(Ordering::SeqCst);
                    match come(at) {
                        Ok(Fate::Served(answer)) => {
                            assert_eq!(answer.status, 200);
                            served += 1;
                            after += usize::from(was_told);
                        }
                        Ok(Fate::Refused) => return (served, after),
                        Err(error) => panic!("connection {served}, told to stop: {was_told}: {error}"),
                    }
                }
            })
        })
        .collect();
    eventually("the storm has begun", secs(10), || {
        scene.engine.metric("forebay_requests_total", &[]) > 1_000.0
    });
    told.store(true, Ordering::SeqCst);
    let began = Instant::now();
    let ended = scene.engine.process.end(secs(20));
    let ends: Vec<_> = storm.into_iter().map(|one| one.join()).collect();
    let failed = ends.iter().filter(|end| end.is_err()).count();
    assert_eq!(failed, 0, "of {CLIENTS} clients");
    assert_eq!(ended.code(), Some(0));
    assert!(began.elapsed() < secs(15), "{:?}", began.elapsed());
    let printed = scene.engine.process.printed();
    assert!(printed.contains("connections_cut=0"));
    assert!(!printed.contains("SE_ACCEPT_FAILED"), "sockets that a stop closes are no failure");
}

#[test]
fn who_waits_in_the_queue_of_a_worker_that_stands_still_is_served_before_the_engine_ends() {
    let options = Options { arguments: vec!["--allow-faults".into()], ..Options::default() };
    let mut scene = Scene::with(Lab::new(), "algorithm = \"round_robin\"", "", options);
    let at = scene.at;
    let done = scene.engine.admin(&json!({ "command": "fault", "worker": 0, "stall_ms": 6000 }));
    assert_eq!(done["error"], Value::Null, "{done}");
    let ticks = || scene.engine.metric("forebay_worker_ticks_total", &[("worker", "0")]);
    eventually("it stands still", secs(2), || {
        let before = ticks();
        // Sleep: two ticks of a worker that goes on.
        thread::sleep(ms(220));
        ticks() == before
    });
    let all_in = Arc::new(Barrier::new(CLIENTS + 1));
    let waiting: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let all_in = Arc::clone(&all_in);
            thread::spawn(move || {
                let mut wire = Wire::connect(at)?;
                all_in.wait();
                wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
                read_answer(&mut wire, false).map(|(answer, _)| (answer, Instant::now()))
            })
        })
        .collect();
    all_in.wait();
    let began = Instant::now();
    let ended = scene.engine.process.end(secs(20));
    for one in waiting {
        let (answer, served) = one.join().expect("no panic").expect("an answer");
        assert!(
            served.duration_since(began) < secs(5),
            "another worker accepted for the one that stands still"
        );
        assert_eq!(answer.status, 200);
    }
    assert_eq!(ended.code(), Some(0));
}

//= test SE-STOP-01
#[test]
fn a_kept_connection_learns_with_its_next_answer_that_it_ends() {
    let mut scene = Scene::new("", "");
    let [mut asks, mut idle] = [scene.client(), scene.client()];
    let kept = Wire::connect(scene.at);
    let mut silent = kept.expect("it listens");
    assert_eq!(asks.get("/").unwrap().field("connection"), None);
    idle.get("/").unwrap();
    scene.engine.process.signal(libc::SIGTERM);
    eventually("it stops", secs(5), || scene.engine.process.printed().contains("SE_STOPPING"));
    // The workers learn of it within microseconds, not in the same one.
    eventually("an answer says that the connection ends", ms(500), || {
        let answer = asks.get("/").unwrap();
        assert_eq!(answer.status, 200);
        answer.field("connection") == Some("close")
    });
    assert!(silent.closes_within(secs(5)), "who never asked is let go without a reset");
    assert!(!asks.is_connected() && idle.is_connected());
    assert_eq!(scene.engine.process.wait(secs(10)).code(), Some(0));
}

#[test]
fn a_download_under_way_ends_whole() {
    const PIECE: usize = 64 << 10;
    let lab = Lab::new();
    let go_on = Arc::new(AtomicBool::new(false));
    let goes_on = Arc::clone(&go_on);
    let (mut engine, _origin, at) = engine(&lab, Options::default(), move |mut wire, _| {
        wire.head()?;
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 2 * PIECE))?;
        wire.send(vec![b'a'; PIECE])?;
        eventually("the engine stops", secs(15), || goes_on.load(Ordering::SeqCst));
        wire.send(vec![b'b'; PIECE])
    });
    let mut wire = Wire::connect(at).unwrap();
    wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    wire.head().unwrap();
    assert_eq!(wire.exactly(PIECE).unwrap(), vec![b'a'; PIECE]);
    engine.process.signal(libc::SIGTERM);
    eventually("nobody new is let in", secs(5), || {
        TcpStream::connect_timeout(&at, ms(3000)).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused)
    });
    assert!(engine.process.ended().is_none(), "it waits for the download");
    go_on.store(true, Ordering::SeqCst);
    assert_eq!(wire.exactly(PIECE).unwrap(), vec![b'b'; PIECE]);
    assert_eq!(engine.process.wait(secs(10)).code(), Some(0));
}

//= test OBS-STOP-01
#[test]
fn what_is_open_when_the_grace_is_over_is_cut_and_said() {
    let lab = Lab::new();
    let options = Options {
        engine: "stop_grace_s = 1\npersistence_mem_max_bytes = 16777216".into(),
        ..Options::default()
    };
    let (mut engine, origin, at) = engine(&lab, options, |mut wire, _| {
        wire.head()?;
        // Never an answer.
        wire.rest().map(drop)
    });
    let mut clients: Vec<Wire> = (0..3).map(|_| Wire::connect(at).unwrap()).collect();
    for wire in &mut clients {
        wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    }
    eventually("the requests are under way", secs(5), || origin.accepted() == 3);
    engine.process.signal(libc::SIGTERM);
    assert_eq!(engine.process.wait(secs(10)).code(), Some(6), "a script sees that the grace was too short");
    assert!(engine.process.printed().contains("connections_cut=3"), "{}", engine.process.printed());
    drop(clients);
}
