//! Requests through a worker, on real sockets.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use crate::support::{Engine, Server, eventually, read_answer, read_request, signal};
use forebay_host_uring::control::mailbox::Message;
use forebay_host_uring::rt::Backend;

fn document(servers: &[&Server], pool: &str) -> String {
    document_with(servers, "", pool)
}

fn document_with(servers: &[&Server], profile: &str, pool: &str) -> String {
    let servers: String =
        servers.iter().map(|server| format!("[[pool.server]]\naddress = \"{}\"\n", server.address)).collect();
    format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:1\"]\npool = \"web\"\n\
         http_profile = \"p\"\n[[http_profile]]\nname = \"p\"\n{profile}\n\
         [[pool]]\nname = \"web\"\nalgorithm = \"round_robin\"\n{pool}\n{servers}"
    )
}

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const LAST: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#[test]
fn a_request_goes_to_a_server_and_its_answer_back() {
    for backend in [Backend::IoUring, Backend::Epoll] {
        let server = Server::echo("one");
        let engine = Engine::start_on(backend, &document(&[&server], ""), 1, 100);
        let mut client = engine.connect();
        let mut rest = Vec::new();
        for n in 0..3 {
            let request = format!("GET /path?{n} HTTP/1.1\r\nHost: example.org\r\n\r\n");
            client.write_all(request.as_bytes()).expect("sent");
            let answer = read_answer(&mut client, &mut rest, false).expect("an answer");
            assert_eq!(answer.status, 200);
            let text = answer.text();
            let begin = format!("one\nGET /path?{n} HTTP/1.1\r\nHost: example.org\r\n");
            assert!(text.starts_with(&begin), "{text}");
            assert!(text.contains("X-Forwarded-For: 127.0.0.1\r\n"), "{text}");
            assert!(text.contains("Via: 1.1 forebay\r\n"), "{text}");
            assert!(answer.field("Date").is_some(), "{}", answer.head);
        }
        assert_eq!(server.connections.load(Ordering::SeqCst), 1, "the connection is kept");
        let mut log = Vec::new();
        eventually("three records", || {
            log.extend(engine.log());
            log.len() == 3
        });
        assert_eq!(log[2]["uri_query"], "2");
        assert_eq!(log[2]["server_connection_reused"], true);
        assert_eq!(log[2]["request_state"], "complete");
        assert_eq!(log[2]["reason"]["chosen_by"], "algorithm");
    }
}

//= test SE-PIPELINE-01
#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::echo("s");
    let engine = Engine::start(&document(&[&server], ""), 1);
    let mut client = engine.connect();
    let mut all = String::new();
    for n in 0..200 {
        all += &match n % 3 {
            0 => format!("GET /{n} HTTP/1.1\r\nHost: x\r\n\r\n"),
            1 => format!("POST /{n} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"),
            _ => format!(
                "POST /{n} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
            ),
        };
    }
    let mut writer = client.try_clone().expect("a clone");
    let sender = std::thread::spawn(move || {
        // In pieces that end anywhere.
        for piece in all.as_bytes().chunks(77) {
            writer.write_all(piece).expect("sent");
        }
    });
    let mut rest = Vec::new();
    for n in 0..200 {
        let text = read_answer(&mut client, &mut rest, false).expect("an answer").text();
        assert!(text.lines().nth(1).is_some_and(|line| line.contains(&format!(" /{n} "))), "{n}: {text}");
        match n % 3 {
            0 => assert!(text.ends_with("\r\n\r\n"), "{text}"),
            1 => assert!(text.ends_with("\r\n\r\nhello"), "{text}"),
            _ => assert!(text.ends_with("\r\n\r\nabcde"), "{text}"),
        }
    }
    sender.join().expect("sent");
}

//= test SE-BODY-01
//= test SE-BODY-02
#[test]
fn large_bodies_stream_both_ways_whatever_their_framing() {
    let server = Server::start(|mut stream| {
        let mut rest = Vec::new();
        while let Some((head, body)) = read_request(&mut stream, &mut rest) {
            // The body comes back in the framing that the path asks for.
            let path = head.split(' ').nth(1).expect("a path");
            let framing = match path {
                "/length" => format!("Content-Length: {}\r\n\r\n", body.len()),
                "/chunks" => "Transfer-Encoding: chunked\r\n\r\n".to_owned(),
                _ => "Connection: close\r\n\r\n".to_owned(),
            };
            stream.write_all(format!("HTTP/1.1 200 OK\r\n{framing}").as_bytes()).expect("sent");
            if path == "/chunks" {
                for piece in body.chunks(70_001) {
                    stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).expect("sent");
                    stream.write_all(piece).expect("sent");
                    stream.write_all(b"\r\n").expect("sent");
                }
                stream.write_all(b"0\r\n\r\n").expect("sent");
            } else {
                stream.write_all(&body).expect("sent");
            }
            if path == "/close" {
                return;
            }
        }
    });
    for backend in [Backend::IoUring, Backend::Epoll] {
        let engine = Engine::start_on(backend, &document(&[&server], ""), 1, 100);
        let body: Vec<u8> = (0..5_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut client = engine.connect();
        let mut rest = Vec::new();
        for path in ["/length", "/chunks", "/close", "/length"] {
            for chunked in [false, true] {
                let mut writer = client.try_clone().expect("a clone");
                let content = body.clone();
                let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\n");
                let sender = std::thread::spawn(move || {
                    if chunked {
                        writer
                            .write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes())
                            .expect("sent");
                        for piece in content.chunks(99_999) {
                            writer.write_all(format!("{:X}\r\n", piece.len()).as_bytes()).expect("sent");
                            writer.write_all(piece).expect("sent");
                            writer.write_all(b"\r\n").expect("sent");
                        }
                        writer.write_all(b"0\r\n\r\n").expect("sent");
                    } else {
                        writer
                            .write_all(format!("{head}Content-Length: {}\r\n\r\n", content.len()).as_bytes())
                            .expect("sent");
                        writer.write_all(&content).expect("sent");
                    }
                });
                let answer = read_answer(&mut client, &mut rest, false).expect("an answer");
                sender.join().expect("sent");
                assert_eq!(answer.status, 200);
                assert!(answer.body == body, "{path} {chunked}: {} bytes", answer.body.len());
            }
        }
    }
}

#[test]
fn answers_without_content_leave_the_clients_connection_usable() {
    let server = Server::start(|mut stream| {
        let mut rest = Vec::new();
        while let Some((head, _)) = read_request(&mut stream, &mut rest) {
            let answer = match head.split(' ').next().expect("a method") {
                "HEAD" => "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
                "DELETE" => "HTTP/1.1 204 No Content\r\n\r\n",
                "PUT" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            };
            stream.write_all(answer.as_bytes()).expect("sent");
        }
    });
    let engine = Engine::start(&document(&[&server], ""), 1);
    let mut client = engine.connect();
    let mut rest = Vec::new();
    for (method, status) in [("HEAD", 200), ("DELETE", 204), ("PUT", 304), ("GET", 200)].repeat(5) {
        client.write_all(format!("{method} / HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).expect("sent");
        let answer = read_answer(&mut client, &mut rest, method == "HEAD").expect("an answer");
        assert_eq!(answer.status, status);
        if method == "HEAD" {
            assert_eq!(answer.field("Content-Length"), Some("1000"));
        }
    }
    // HEAD and 304 announce content here: each is its server connection's last answer.
    assert_eq!(server.connections.load(Ordering::SeqCst), 1 + 10);
}

#[test]
fn a_client_that_waits_for_100_gets_it_from_the_server() {
    let server = Server::start(|mut stream| {
        let mut rest = Vec::new();
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&rest).contains("\r\n\r\n") {
            let count = stream.read(&mut buffer).expect("a head");
            rest.extend_from_slice(&buffer[..count]);
        }
        let head = String::from_utf8_lossy(&rest).into_owned();
        assert!(head.contains("Expect: 100-continue\r\n"), "{head}");
        stream
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            .expect("sent");
        let (_, body) = read_request(&mut stream, &mut rest).expect("a body");
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(answer.as_bytes()).expect("sent");
        stream.write_all(&body).expect("sent");
    });
    let engine = Engine::start(&document(&[&server], ""), 1);
    let mut client = engine.connect();
    let mut rest = Vec::new();
    client
        .write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .expect("sent");
    assert_eq!(read_answer(&mut client, &mut rest, false).expect("an answer").status, 100);
    assert_eq!(read_answer(&mut client, &mut rest, false).expect("an answer").status, 103);
    client.write_all(b"hello").expect("sent");
    let answer = read_answer(&mut client, &mut rest, false).expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
}

//= test SE-CLOSE-01
#[test]
fn an_early_answer_arrives_and_the_unread_body_is_never_a_request() {
    let (_over, until_over) = signal();
    let server = Server::start(move |mut stream| {
        let mut head = [0; 1000];
        let _ = stream.read(&mut head);
        let _ = stream.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
        // A server that stays and never reads the rest.
        until_over();
    });
    let engine = Engine::start(&document(&[&server], ""), 1);
    let mut client = engine.connect();
    let mut rest = Vec::new();
    let evil = "GET /evil HTTP/1.1\r\nHost: x\r\n\r\n";
    client.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n").expect("sent");
    // Until the engine takes no more.
    let mut writer = client.try_clone().expect("a clone");
    let sender = std::thread::spawn(move || while writer.write_all(evil.as_bytes()).is_ok() {});
    let answer = read_answer(&mut client, &mut rest, false).expect("an answer");
    assert_eq!(answer.status, 413);
    assert_eq!(answer.field("Connection"), Some("close"));
    assert!(read_answer(&mut client, &mut rest, false).is_none(), "the body was parsed as a request");
    drop(client);
    sender.join().expect("the connection was closed");
    assert_eq!(engine.log().len(), 1);
}

//= test SE-TUNNEL-01
#[test]
fn an_upgrade_becomes_a_tunnel_only_after_the_servers_101() {
    let server = Server::start(|mut stream| {
        let mut rest = Vec::new();
        let (head, _) = read_request(&mut stream, &mut rest).expect("a request");
        if head.starts_with("GET /no ") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno").expect("sent");
            let (next, _) = read_request(&mut stream, &mut rest).expect("a request");
            assert!(next.starts_with("GET /next "), "{next}");
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext").expect("sent");
            return;
        }
        assert!(
            head.contains("Upgrade: websocket\r\n") && head.contains("Connection: Upgrade\r\n"),
            "{head}"
        );
        stream
            .write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst",
            )
            .expect("sent");
        // Echo until the client's end, then say goodbye.
        let mut buffer = [0; 1000];
        loop {
            match stream.read(&mut buffer).expect("bytes") {
                0 => break,
                count => stream.write_all(&buffer[..count]).expect("sent"),
            }
        }
        stream.write_all(b"goodbye").expect("sent");
    });
    let engine = Engine::start(&document(&[&server], ""), 1);
    let upgrade = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    };
    let mut client = engine.connect();
    let mut rest = Vec::new();
    client.write_all((upgrade("/yes") + "early").as_bytes()).expect("sent");
    let answer = read_answer(&mut client, &mut rest, false).expect("an answer");
    assert_eq!(answer.status, 101);
    client.write_all(b" late").expect("sent");
    client.shutdown(Shutdown::Write).expect("half closed");
    client.read_to_end(&mut rest).expect("the end");
    assert_eq!(String::from_utf8_lossy(&rest), "firstearly lategoodbye");
    // Refused: what follows is a request like any other.
    let mut client = engine.connect();
    let mut rest = Vec::new();
    client.write_all((upgrade("/no") + "GET /next HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).expect("sent");
    assert_eq!(read_answer(&mut client, &mut rest, false).expect("an answer").text(), "no");
    assert_eq!(read_answer(&mut client, &mut rest, false).expect("an answer").text(), "next");
    drop(client);
    let mut logged = 0;
    eventually("all are logged", || {
        logged += engine.log().len();
        logged == 3
    });
}

//= test SE-UPSTREAM-02
#[test]
fn a_kept_connection_that_the_server_closed_is_not_used() {
    let server = Server::saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true);
    let engine = Engine::start(&document(&[&server], ""), 1);
    let mut client = engine.connect();
    let mut rest = Vec::new();
    for n in 0..50 {
        // POST is never repeated: each must find a living connection at once.
        client.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx").expect("sent");
        let answer = read_answer(&mut client, &mut rest, false).expect("an answer");
        assert_eq!(answer.status, 200, "request {n}");
        let begin = std::time::Instant::now();
        eventually("the server's close has come", || begin.elapsed() > Duration::from_millis(20));
    }
}

//= test SE-UPSTREAM-01
#[test]
fn kept_connections_end_by_number_age_use_and_idleness() {
    for (rules, opened) in [
        ("reuse_max = 2", 5),
        ("idle_connections_max = 0", 10),
        ("life_ms = 1", 10),
        ("idle_ms = 1", 10),
        ("", 1),
    ] {
        let server = Server::echo("s");
        let document = document(&[&server], &format!("connection_pool = {{ {rules} }}"));
        let engine = Engine::start(&document, 1);
        let mut client = engine.connect();
        let mut rest = Vec::new();
        for _ in 0..10 {
            client.write_all(GET.as_bytes()).expect("sent");
            assert_eq!(read_answer(&mut client, &mut rest, false).expect("an answer").status, 200);
            // Longer than what may be kept for a millisecond.
            let begin = std::time::Instant::now();
            eventually("a moment passed", || begin.elapsed() > Duration::from_millis(20));
        }
        assert_eq!(server.connections.load(Ordering::SeqCst), opened, "{rules}");
    }
}

#[test]
fn a_request_that_failed_on_a_kept_connection_is_sent_again_only_if_that_does_no_harm() {
    // Answers the first request of a connection, closes at the second one without an answer.
    let server = Server::start(|mut stream| {
        let mut rest = Vec::new();
        if read_request(&mut stream, &mut rest).is_some() {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("sent");
            let _ = read_request(&mut stream, &mut rest);
        }
    });
    let engine = Engine::start(&document(&[&server], ""), 1);
    let mut client = engine.connect();
    let mut rest = Vec::new();
    let mut ask = |request: &str| {
        client.write_all(request.as_bytes()).expect("sent");
        read_answer(&mut client, &mut rest, false).map(|answer| answer.status)
    };
    assert_eq!((ask(GET), ask(GET), ask(GET)), (Some(200), Some(200), Some(200)));
    let post = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(ask(post), Some(502), "a POST that may have been carried out is not sent twice");
    assert_eq!(ask(GET), Some(200));
}

//= test SE-RETRY-01
#[test]
fn a_server_that_is_down_is_passed_over_and_the_client_sees_nothing_of_it() {
    let (a, b) = (Server::echo("a"), Server::echo("b"));
    let dead = Server::echo("dead");
    let mut document = document(&[&a, &b], "");
    // A port where nobody listens any more.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    document += &format!("[[pool.server]]\naddress = \"{gone}\"\n");
    drop(dead);
    let engine = Engine::start(&document, 1);
    for _ in 0..30 {
        let answer = engine.talk(LAST);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert!(engine.pools(0, |one| one.retries.get()) >= 10);
    assert!(engine.servers(2, |one| one.connect_failures.get()) >= 10);
    let log = engine.log();
    assert!(log.iter().any(|r| r["servers_tried"] == 2 && r["reason"]["attempt"] == 2), "{log:?}");
}

#[test]
fn all_servers_down_is_a_502_and_the_connection_lives_on() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let engine = Engine::start(&(document(&[], "") + &format!("[[pool.server]]\naddress = \"{gone}\"\n")), 1);
    let mut client = engine.connect();
    let mut rest = Vec::new();
    for _ in 0..3 {
        client.write_all(GET.as_bytes()).expect("sent");
        assert_eq!(read_answer(&mut client, &mut rest, false).expect("an answer").status, 502);
    }
}

//= test SE-UPSTREAM-03
#[test]
fn an_answer_that_is_cut_or_too_long_never_reaches_the_next_client() {
    for (answer, expected) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"[..], None),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
            Some("ok"),
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n", None),
    ] {
        let server = Server::saying(answer, true);
        let engine = Engine::start(&document(&[&server], ""), 1);
        for _ in 0..3 {
            let mut client = engine.connect();
            client.write_all(GET.as_bytes()).expect("sent");
            let got = read_answer(&mut client, &mut Vec::new(), false);
            match expected {
                Some(text) => assert_eq!(got.expect("an answer").text(), text),
                None => assert!(got.is_none_or(|got| got.status == 502), "a cut answer looks whole"),
            }
        }
        eventually("spoilt connections are closed", || engine.servers(0, |one| one.connections.now()) == 0);
    }
}

#[test]
fn what_a_server_says_wrongly_is_a_502() {
    for answer in [
        &b"garbage\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 200",
    ] {
        let server = Server::saying(answer, true);
        let engine = Engine::start(&document(&[&server], ""), 1);
        let got = engine.talk(LAST);
        assert!(got.starts_with("HTTP/1.1 502 "), "{:?}: {got}", String::from_utf8_lossy(answer));
    }
}

#[test]
fn what_a_client_says_wrongly_is_refused_before_a_server_is_asked() {
    let server = Server::echo("s");
    let engine = Engine::start(&document_with(&[&server], "head_bytes_max = 16384\nfields_max = 20", ""), 1);
    let long = "x".repeat(100_000);
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/2.0\r\nHost: x\r\n\r\n".to_owned(), 505),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            400,
        ),
        (format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "a: b\r\n".repeat(30)), 431),
        ("CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 501),
        ("\x16\x03\x01\x02\x00\x01\x00\x01".to_owned(), 400),
    ] {
        let answer = engine.talk(&request);
        let begin: String = request.chars().take(40).collect();
        let refused = answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 5");
        assert!(refused, "{begin:?}: {answer:?}");
        if !begin.contains("xxxx") {
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{begin:?}: {answer:?}");
        }
        assert!(answer.contains("Connection: close"), "{answer}");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
    assert_eq!(engine.count(|m| m.requests_rejected.get()), 7);
}

//= test SE-LIMIT-02
#[test]
fn the_connection_limit_refuses_and_counts_and_recovers() {
    let server = Server::echo("s");
    let engine = Engine::start_on(Backend::IoUring, &document(&[&server], ""), 1, 5);
    let mut held: Vec<TcpStream> = (0..5).map(|_| engine.connect()).collect();
    eventually("five connections", || engine.count(|m| m.connections.now()) == 5);
    for _ in 0..3 {
        let mut refused = engine.connect();
        let _ = refused.write_all(GET.as_bytes());
        assert!(matches!(refused.read(&mut [0; 10]), Ok(0) | Err(_)));
    }
    assert_eq!(engine.count(|m| m.connections_refused_limit.get()), 3);
    drop(held.pop());
    eventually("a place", || engine.count(|m| m.connections.now()) == 4);
    assert!(engine.talk(LAST).starts_with("HTTP/1.1 200 "));
}

//= test SE-LIMIT-01
#[test]
fn a_limit_of_one_on_four_workers_never_shows_two() {
    let under_way = Arc::new(AtomicU32::new(0));
    let most = Arc::new(AtomicU32::new(0));
    let (now, peak) = (under_way.clone(), most.clone());
    let server = Server::start(move |mut stream| {
        let mut rest = Vec::new();
        while read_request(&mut stream, &mut rest).is_some() {
            peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            // Sleep: the server takes its time, so that two at once would meet.
            std::thread::sleep(Duration::from_micros(300));
            now.fetch_sub(1, Ordering::SeqCst);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("sent");
        }
    });
    let pool = "max_concurrent_connections_per_server = 1\n\
                request_queue = { enabled = true, depth = 1000, timeout_ms = 20000 }";
    let engine = Engine::start(&document(&[&server], pool), 4);
    let address = engine.addresses[0];
    let begin = Arc::new(Barrier::new(24));
    let clients: Vec<_> = (0..24)
        .map(|_| {
            let begin = begin.clone();
            std::thread::spawn(move || {
                begin.wait();
                for _ in 0..10 {
                    let mut client = TcpStream::connect(address).expect("connected");
                    client.write_all(GET.as_bytes()).expect("sent");
                    let answer = read_answer(&mut client, &mut Vec::new(), false).expect("an answer");
                    assert_eq!(answer.status, 200);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().expect("all were served");
    }
    assert_eq!(most.load(Ordering::SeqCst), 1);
    assert!(
        (0..4).filter(|worker| engine.tree.services[0].shared.counts.of(*worker).requests.get() > 0).count()
            > 1,
        "several workers"
    );
}

#[test]
fn draining_ends_idle_connections_and_lets_requests_finish() {
    let (idle_is_gone, until_idle_is_gone) = signal();
    let server = Server::start(move |mut stream| {
        let mut rest = Vec::new();
        while let Some((head, _)) = read_request(&mut stream, &mut rest) {
            if head.starts_with("GET /slow") {
                until_idle_is_gone();
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("sent");
        }
    });
    let engine = Engine::start(&document(&[&server], ""), 1);
    let mut idle = engine.connect();
    let mut rest = Vec::new();
    idle.write_all(GET.as_bytes()).expect("sent");
    read_answer(&mut idle, &mut rest, false).expect("an answer");
    eventually("the first request is over", || engine.servers(0, |one| one.active.now()) == 0);
    let mut busy = engine.connect();
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    eventually("the slow request is under way", || {
        engine.services(0, |one| one.requests.get()) == 2 && engine.servers(0, |one| one.active.now()) == 1
    });
    engine.drain();
    idle.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out above zero");
    assert_eq!(idle.read(&mut [0; 10]).expect("the end"), 0);
    drop(idle_is_gone);
    let answer = read_answer(&mut busy, &mut Vec::new(), false).expect("an answer");
    assert_eq!((answer.status, answer.field("Connection")), (200, Some("close")));
    eventually("the worker ended", || engine.has_ended());
}

//= test SE-PANIC-01
#[test]
fn a_panicking_worker_closes_its_connections() {
    let server = Server::echo("s");
    let mut engine = Engine::start(&document(&[&server], ""), 1);
    engine.may_panic();
    let mut client = engine.connect();
    let mut rest = Vec::new();
    client.write_all(GET.as_bytes()).expect("sent");
    read_answer(&mut client, &mut rest, false).expect("an answer");
    engine.mailboxes[0].send(Message::Panic).expect("room");
    assert!(matches!(client.read(&mut [0; 10]), Ok(0) | Err(_)));
    eventually("the thread ended", || engine.has_ended());
}
