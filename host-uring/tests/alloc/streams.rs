//! A stream to a server that speaks HTTP/2 allocates nothing either.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::Ordering;

use forebay_host_uring::rt::Backend;
use forebay_http::h1::write::{Answer, answer};
use forebay_http::h2::{Config, Connection, Event, Inbox, Role};

use crate::support::{Engine, eventually, read_answer};
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
