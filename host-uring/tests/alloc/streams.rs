//! Streams of HTTP/2, to servers and of clients, allocate nothing either.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};

use forebay_host_uring::rt::Backend;
use forebay_http::h1::write::{Answer, answer};
use forebay_http::h2::{Config, Connection, Event, Inbox, Role};

use crate::support::{Engine, Server, eventually, read_answer, read_request};
use crate::{ALLOCATIONS, COUNTED, COUNTS};

/// A server that speaks HTTP/2 and answers each request with a few bytes.
fn server_of_http2() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the worker comes");
        let (mut out, mut input, mut buffer) = (Vec::new(), Vec::new(), [0; 4096]);
        let mut connection = Connection::new(Role::Server, &Config::default(), &mut out);
        let mut inbox = Inbox::default();
        let mut head = Vec::new();
        answer(&Answer { status: 200, content: Some(b"hello"), ..Answer::default() }, &mut head)
            .expect("a head");
        while stream.write_all(&out).is_ok() {
            out.clear();
            match stream.read(&mut buffer) {
                Ok(count) if count > 0 => input.extend_from_slice(&buffer[..count]),
                _ => return,
            }
            let mut at = 0;
            loop {
                let step = connection.feed(&input[at..], 0, &mut inbox, &mut out);
                at += step.consumed;
                match step.event {
                    Event::NeedInput => break,
                    Event::Request { stream, .. } => {
                        connection.head(stream, &head, &[], false, &mut out).expect("an open stream");
                        let data = connection.data(stream, 5, true).expect("a window");
                        out.extend_from_slice(&data);
                        out.extend_from_slice(b"hello");
                    }
                    _ => {}
                }
            }
            input.drain(..at);
        }
    });
    address
}

//= test SE-COST-01
#[test]
fn a_stream_to_a_server_allocates_nothing_in_steady_state() {
    const REQUESTS: u64 = 2_000;
    let _alone = COUNTS.lock();
    let document = format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:1\"]\npool = \"web\"\n\
         [[pool]]\nname = \"web\"\nenable_http2 = true\n[[pool.server]]\naddress = \"{}\"\n",
        server_of_http2()
    );
    let engine = Engine::start_with(Backend::IoUring, &document, 1, 100, || COUNTED.set(true));
    let mut client = engine.connect();
    let mut rest = Vec::new();
    let mut ask = |count: u64| {
        for _ in 0..count {
            client.write_all(b"GET /p?q HTTP/1.1\r\nHost: x\r\nUser-Agent: t\r\n\r\n").expect("sent");
            let answer = read_answer(&mut client, &mut rest, false).expect("an answer");
            assert_eq!(answer.status, 200);
        }
    };
    ask(200);
    // The clockwork is part of the steady state: let it turn a few times.
    eventually("three ticks", || {
        ask(1);
        engine.count(|m| m.ticks.load(Ordering::Relaxed)) >= 3
    });
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    ask(REQUESTS);
    let after = ALLOCATIONS.load(Ordering::Relaxed);
    assert_eq!(after - before, 0, "allocations in {REQUESTS} requests");
}

/// Makes `count` requests, sixteen at once, over a connection that speaks HTTP/2.
fn ask(client: &mut (impl Read + Write), engine: &mut Connection, count: u64) {
    let (mut out, mut input, mut buffer) = (Vec::new(), Vec::new(), [0; 4096]);
    let mut inbox = Inbox::default();
    let (mut open, mut left) = (0, count);
    while open > 0 || left > 0 {
        while open < 16 && left > 0 {
            let head = b"GET /p?q HTTP/1.1\r\nHost: x\r\nUser-Agent: t\r\n\r\n";
            engine.open(head, b"http", &[], true, &mut out).expect("a place for a stream");
            (open, left) = (open + 1, left - 1);
        }
        client.write_all(&out).expect("sent");
        out.clear();
        let came = client.read(&mut buffer).expect("an answer");
        assert!(came > 0, "the connection has ended");
        input.extend_from_slice(&buffer[..came]);
        let mut at = 0;
        loop {
            let step = engine.feed(&input[at..], 0, &mut inbox, &mut out);
            at += step.consumed;
            match step.event {
                Event::NeedInput => break,
                Event::Response { .. } => assert_eq!(inbox.response.status, 200),
                Event::Data { stream, ref data, end } => {
                    engine.release(stream, data.len(), &mut out);
                    open -= u64::from(end);
                }
                ref other => assert!(matches!(other, Event::Pong { .. }), "{other:?}"),
            }
        }
        input.drain(..at);
    }
}

//= test SE-COST-01
#[test]
fn a_stream_of_a_client_allocates_nothing_in_steady_state() {
    const REQUESTS: u64 = 4_000;
    let _alone = COUNTS.lock();
    // With a date, as ours would be another entry of the header table each second until that is full.
    const ANSWER: &[u8] =
        b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nX: y\r\nContent-Length: 5\r\n\r\nhello";
    static ARRIVED: AtomicU64 = AtomicU64::new(0);
    let server = Server::start(|mut stream| {
        let mut rest = Vec::new();
        while read_request(&mut stream, &mut rest).is_some() {
            // Nobody is answered before the first sixteen are there: what so many need is there from then on.
            ARRIVED.fetch_add(1, Ordering::Relaxed);
            eventually("all are there", || ARRIVED.load(Ordering::Relaxed) >= 16);
            if stream.write_all(ANSWER).is_err() {
                return;
            }
        }
    });
    let document = format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:1\"]\npool = \"web\"\n\
         http_profile = \"p\"\n[[http_profile]]\nname = \"p\"\nhttp2 = true\n\
         [[pool]]\nname = \"web\"\npersistence = \"c\"\n[[pool.server]]\naddress = \"{}\"\n\
         [[persistence]]\nname = \"c\"\ntype = \"http_cookie\"\ncookie_name = \"STICKY\"\n\
         [[cookie_key]]\nname = \"k1\"\nkey = \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"\n",
        server.address
    );
    let engine = Engine::start_with(Backend::IoUring, &document, 1, 100, || COUNTED.set(true));
    let mut client = engine.connect();
    let mut first = Vec::new();
    let mut speaker = Connection::new(Role::Client, &Config::default(), &mut first);
    client.write_all(&first).expect("sent");
    // The clockwork is part of the steady state.
    ask(&mut client, &mut speaker, 400);
    eventually("three ticks", || {
        ask(&mut client, &mut speaker, 16);
        engine.count(|m| m.ticks.load(Ordering::Relaxed)) >= 3
    });
    // The frames of one turn are one text: it grows until as many answers as ever will have met in one.
    let runs: Vec<u64> = (0..5)
        .map(|_| {
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            ask(&mut client, &mut speaker, REQUESTS);
            ALLOCATIONS.load(Ordering::Relaxed) - before
        })
        .collect();
    assert!(
        runs.contains(&0) && runs.iter().sum::<u64>() < 5,
        "allocations in {REQUESTS} requests: {runs:?}"
    );
}
