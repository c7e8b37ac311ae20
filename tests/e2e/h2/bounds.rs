//! What clients over HTTP/2 may take of the engine, and how it takes leave of them.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use forebay_e2e::wait::Gate;
use forebay_e2e::{Engine, Lab, Options, Origin, Wire, bin, config, eventually, system};

use crate::crate_client::{connect_to, request};
use crate::raw::{DATA, END, GOAWAY, HEADERS, PING, RESET, Raw, WHOLE, WINDOW_UPDATE, block, frame, get};

const PROFILE: &str = "[[http_profile]]\nname = \"two\"\nhttp2 = true\n";
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;

fn engine(lab: &Lab, at: SocketAddr, server: SocketAddr, options: Options) -> Engine {
    let text = format!(
        "{PROFILE}{}{}",
        config::service_with("web", at, "http_profile = \"two\""),
        config::pool("web", "", &[server]),
    );
    lab.engine_with(&text, options)
}

/// A server whose kernel takes little beside what the engine would have to.
struct Stalling {
    accepted: Arc<AtomicUsize>,
}

impl Stalling {
    fn start(
        at: SocketAddr,
        serve: impl Fn(Wire) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Stalling {
        let listener = TcpListener::bind(at).unwrap();
        system::segments_of_ethernet(listener.as_raw_fd());
        system::smallest_receive_buffer(listener.as_raw_fd());
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = accepted.clone();
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                let serve = serve.clone();
                // The engine may end the connection whenever it likes.
                std::thread::spawn(move || serve(Wire::from_stream(stream?)?));
            }
        });
        Stalling { accepted }
    }
}

//= test H2-HOST-04
#[test]
fn streams_take_places_of_connections_and_what_is_too_much_is_refused_unread() {
    let lab = Lab::new();
    let [at, server] = lab.addresses();
    let origin = Origin::silent(server);
    let few =
        vec![bin::foreign("prlimit", "util-linux").to_string_lossy().into_owned(), "--nofile=160:160".into()];
    let engine = engine(&lab, at, server, Options { workers: 1, under: few, ..Options::default() });
    let most = engine.metric("forebay_client_connections_max", &[]) as usize;
    assert!((8..100).contains(&most), "{most} places, fewer than the streams of one connection");
    let mut raw = Raw::connect(at, &[]).unwrap();
    for nth in 0..100 {
        raw.send(get(1 + 2 * nth, "/")).unwrap();
    }
    let refused: Vec<u32> = raw
        .heard()
        .unwrap()
        .iter()
        .filter(|frame| frame.kind == RESET)
        .map(|frame| {
            assert_eq!(frame.word(0), REFUSED_STREAM);
            frame.stream
        })
        .collect();
    assert_eq!(refused, (most as u32..100).map(|nth| 1 + 2 * nth).collect::<Vec<_>>(), "{most} places");
    eventually("each of the others is at a server", Duration::from_secs(10), || origin.accepted() == most);
    assert_eq!(engine.metric("forebay_http2_streams_refused_total", &[]), (100 - most) as f64);
    // A connection is refused at the same bound, at times before its client has looked.
    let late = Wire::connect(at).and_then(|mut late| {
        late.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
        late.head()
    });
    assert!(late.is_err());
    // The first stream of a connection needs no place beside it.
    for nth in 0..most as u32 {
        raw.send(frame(RESET, 0, 1 + 2 * nth, &CANCEL.to_be_bytes())).unwrap();
    }
    raw.heard().unwrap();
    eventually("places are free when streams have ended", Duration::from_secs(10), || {
        let Ok(mut other) = Raw::connect(at, &[]) else { return false };
        other.send(get(1, "/")).is_ok()
            && other.heard().is_ok_and(|came| came.iter().all(|f| f.kind != RESET))
    });
}

//= test H2-HOST-05
#[tokio::test]
async fn uploads_that_no_server_takes_cost_little_and_go_on_when_one_does() {
    const CONNECTIONS: usize = 40;
    const STREAMS: usize = 4;
    const BYTES: usize = 400 << 10;
    let lab = Lab::new();
    let [at, server] = lab.addresses();
    let goes_on = Gate::default();
    let waits = goes_on.clone();
    let origin = Stalling::start(server, move |mut wire| {
        waits.pass();
        system::receive_buffer(wire.stream().as_raw_fd(), BYTES as i32);
        wire.head()?;
        wire.exactly(BYTES)?;
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nall")
    });
    let engine = engine(&lab, at, server, Options { workers: 1, ..Options::default() });
    let pid = engine.process.pid();
    let before = system::private_kib(pid);
    let content = Bytes::from(vec![b'x'; BYTES]);
    let mut answers = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut sender = connect_to(at, 65_535, 65_535).await;
        for _ in 0..STREAMS {
            sender = sender.ready().await.unwrap();
            let mut head = request("POST", "/");
            head.headers_mut().insert("content-length", BYTES.into());
            let (answer, mut stream) = sender.send_request(head, false).unwrap();
            stream.send_data(content.clone(), true).unwrap();
            answers.push(answer);
        }
    }
    let servers = origin.accepted;
    // Beside the clients' tasks, which this thread runs.
    let stalled = tokio::task::spawn_blocking(move || {
        let (mut last, mut since) = (0, Instant::now());
        eventually("little is taken or given back for two seconds", Duration::from_secs(60), || {
            let now = system::private_kib(pid);
            if servers.load(Ordering::SeqCst) < CONNECTIONS * STREAMS || now.abs_diff(last) > 512 {
                (last, since) = (now, Instant::now());
            }
            since.elapsed() > Duration::from_secs(2)
        });
        last
    });
    let grown = stalled.await.unwrap().saturating_sub(before);
    println!("{CONNECTIONS} connections of {STREAMS} stalled uploads: {grown} KiB");
    // Their windows hold 40 MiB. Some 14 come of it: 2 MiB that is held, what the worker keeps of buffers and working sets,
    // and 20 KiB for each request under way.
    assert!(grown < 20 << 10, "{grown} KiB");
    goes_on.open();
    for answer in answers {
        assert_eq!(answer.await.unwrap().status(), 200);
    }
}

//= test H2-HOST-14
#[test]
fn a_client_may_send_what_its_profile_says_before_a_server_takes_it_and_no_byte_more() {
    const FRAME: usize = 16 << 10;
    const FLOW_CONTROL_ERROR: u32 = 3;
    for kib in [64, 512] {
        let lab = Lab::new();
        let [at, server] = lab.addresses();
        let origin = Origin::silent(server);
        let text = format!(
            "{PROFILE}http2_initial_window_kib = {kib}\n{}{}",
            config::service_with("web", at, "http_profile = \"two\""),
            config::pool(
                "web",
                "max_concurrent_connections_per_server = 1\nrequest_queue = { enabled = true, depth = 4 }",
                &[server]
            ),
        );
        let engine = lab.engine_with(&text, Options { workers: 1, ..Options::default() });
        let mut raw = Raw::connect(at, &[]).unwrap();
        raw.send(get(1, "/")).unwrap();
        eventually("the only place is taken", Duration::from_secs(10), || origin.accepted() == 1);
        // This one waits for it, and nobody reads its content.
        raw.send(frame(HEADERS, WHOLE, 3, &block("POST", "/", &[]))).unwrap();
        for _ in 0..(kib << 10) / FRAME {
            raw.send(frame(DATA, 0, 3, &[b'x'; FRAME])).unwrap();
        }
        let came = raw.heard().unwrap();
        assert!(
            came.iter().all(|frame| !frame.is(RESET, 3) && !frame.is(WINDOW_UPDATE, 3)),
            "{kib}: {came:?}"
        );
        raw.send(frame(DATA, 0, 3, b"x")).unwrap();
        let reset = raw.find(|frame| frame.is(RESET, 3)).unwrap();
        assert_eq!(reset.word(0), FLOW_CONTROL_ERROR, "{kib}");
        drop(engine);
    }
}

//= test H2-HOST-06
#[test]
fn a_draining_engine_takes_leave_in_two_steps_and_answers_what_is_under_way() {
    let lab = Lab::new();
    let [at, server] = lab.addresses();
    let goes_on = Gate::default();
    let waits = goes_on.clone();
    let _origin = Origin::start(server, move |mut wire, _| {
        wire.head()?;
        waits.pass();
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    });
    let mut engine = engine(&lab, at, server, Options::default());
    // One that hears, one that says nothing to the first step, one without a request.
    let mut polite = Raw::connect(at, &[]).unwrap();
    let mut deaf = Raw::connect(at, &[]).unwrap();
    let mut idle = Raw::connect(at, &[]).unwrap();
    polite.send(get(1, "/one")).unwrap();
    deaf.send(get(1, "/one")).unwrap();
    for raw in [&mut polite, &mut deaf, &mut idle] {
        raw.heard().unwrap();
    }
    engine.process.signal(libc::SIGTERM);
    let first = polite.find(|frame| frame.kind == GOAWAY).unwrap();
    assert_eq!((first.word(0), first.word(4)), (u32::MAX >> 1, 0), "nothing under way is lost");
    let asked = polite.find(|frame| frame.kind == PING).unwrap();
    // On its way before the client knew: it is served as well.
    polite.send(get(3, "/two")).unwrap();
    polite.send(frame(PING, END, 0, &asked.payload)).unwrap();
    let second = polite.find(|frame| frame.kind == GOAWAY).unwrap();
    assert_eq!((second.word(0), second.word(4)), (3, 0));
    let second = deaf.find(|frame| frame.kind == GOAWAY && frame.word(0) != u32::MAX >> 1).unwrap();
    assert_eq!((second.word(0), second.word(4)), (1, 0));
    deaf.send(get(3, "/late")).unwrap();
    assert_eq!(deaf.find(|frame| frame.is(RESET, 3)).unwrap().word(0), REFUSED_STREAM);
    goes_on.open();
    for (raw, streams) in [(&mut polite, 2), (&mut deaf, 1)] {
        for _ in 0..streams {
            raw.find(|frame| frame.kind == HEADERS).unwrap();
        }
        assert!(raw.find(|_| false).is_err(), "it ends");
    }
    assert!(idle.find(|_| false).is_err(), "it ends");
    assert!(engine.process.wait(Duration::from_secs(20)).success());
}
