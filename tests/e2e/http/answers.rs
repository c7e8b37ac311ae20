//! Answers of every kind, and servers that break the rules.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use forebay_e2e::client::read_answer;
use forebay_e2e::wait::secs;
use forebay_e2e::{Origin, Request, Scene, Wire, eventually, origin, wire};

use crate::Proxied;

#[test]
fn answers_without_a_body_leave_the_connection_usable() {
    let scene = Scene::new("", "");
    let mut client = scene.client();
    for _ in 0..3 {
        let head = Request { method: "HEAD".into(), ..Request::get("/bytes?n=5000") };
        let answer = client.send(&head).unwrap();
        assert_eq!((answer.status, answer.field("content-length")), (200, Some("5000")));
        for code in [204, 304] {
            let answer = client.get(&format!("/status?code={code}")).unwrap();
            assert_eq!((answer.status, answer.body.len()), (code, 0));
        }
        assert_eq!(client.get("/health").unwrap().body, b"ok\n");
        assert!(client.is_connected());
    }
}

#[test]
fn informational_answers_pass_and_the_final_one_follows() {
    let p = Proxied::one("", |_| {
        let mut all = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n".to_vec();
        all.extend(origin::ok("hi"));
        Some(all)
    });
    let mut wire = Wire::connect(p.at).unwrap();
    for _ in 0..5 {
        wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let hints = wire.head().unwrap();
        assert!(hints.starts_with("HTTP/1.1 103 ") && hints.contains("\r\nLink: </a.css>\r\n"), "{hints}");
        let (answer, keeps) = read_answer(&mut wire, false).unwrap();
        assert_eq!((answer.status, answer.body.as_slice(), keeps), (200, &b"hi"[..], true));
    }
    // HTTP/1.0 knows no informational answers.
    let old = wire::exchange(p.at, "GET / HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
    assert!(
        old.starts_with("HTTP/1.1 200 ") && old.ends_with("\r\n\r\nhi") && !old.contains("Link"),
        "{old}"
    );
}

#[test]
fn a_client_that_expects_100_gets_it_before_it_sends() {
    let scene = Scene::new("", "");
    let mut wire = Wire::connect(scene.at).unwrap();
    wire.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n").unwrap();
    let head = wire.head().unwrap();
    assert!(head.starts_with("HTTP/1.1 100 "), "{head}");
    wire.send("hello").unwrap();
    let (answer, _) = read_answer(&mut wire, false).unwrap();
    assert_eq!(answer.json()["body_bytes"], 5);
}

#[test]
fn an_answer_that_ends_with_its_connection_is_passed_whole() {
    let p = Proxied::new::<1>("", "", |_, address| {
        Origin::start(address, |mut wire, _| {
            wire.head()?;
            wire.send("HTTP/1.1 200 OK\r\n\r\n")?;
            wire.send("x".repeat(100_000))
        })
    });
    let answer = p.client().get("/").unwrap();
    assert_eq!(answer.body.len(), 100_000);
}

/// Servers that break the rules before the client has seen anything: 502, and the connection is given up.
#[test]
fn a_broken_answer_is_a_502_and_never_reaches_another_client() {
    let cases = [
        (
            "both framings",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi!"),
        ("no HTTP", "SSH-2.0-OpenSSH\r\n\r\n"),
        ("a folded line", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nhi"),
        ("a NUL in a field", "HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 2\r\n\r\nhi"),
        ("an odd status", "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nhi"),
        ("HTTP/2.0 in words", "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
    ];
    for (what, bytes) in cases {
        let p = Proxied::one("", move |_| Some(bytes.into()));
        let answer = p.client().get_once("/").unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(answer.status, 502, "{what}");
    }
}

#[test]
fn bytes_after_an_answer_are_thrown_away_with_the_connection() {
    // The answer is longer than its Content-Length: what follows looks like an answer of its own.
    let p = Proxied::one("", |_| {
        let mut all = origin::ok("hi");
        all.extend(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
        Some(all)
    });
    for n in 0..40 {
        let mut client = p.client();
        for _ in 0..2 {
            let answer = client.get("/").unwrap_or_else(|e| panic!("client {n}: {e}"));
            assert_eq!(answer.body, b"hi", "client {n}");
        }
    }
}

#[test]
fn an_answer_nobody_asked_for_is_never_given_to_anyone() {
    let poisoned = Arc::new(AtomicUsize::new(0));
    let sent = Arc::clone(&poisoned);
    let p = Proxied::new::<1>("", "", move |_, address| {
        let sent = Arc::clone(&sent);
        Origin::start(address, move |mut wire, _| {
            loop {
                wire.head()?;
                wire.send(origin::ok("hi"))?;
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")?;
                sent.fetch_add(1, Ordering::SeqCst);
            }
        })
    });
    for n in 1..=100 {
        let answer = p.client().get_once("/").unwrap();
        assert_eq!(answer.body, b"hi");
        // Loopback delivers at once: what is sent has arrived.
        eventually("the server has sent its second answer", secs(5), || poisoned.load(Ordering::SeqCst) >= n);
    }
}

#[test]
fn a_flood_of_informational_answers_is_cut() {
    let p = Proxied::new::<1>("", "", |_, address| {
        Origin::start(address, |mut wire, _| {
            wire.head()?;
            loop {
                wire.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n".repeat(100))?;
            }
        })
    });
    let mut wire = Wire::connect(p.at).unwrap();
    wire.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    assert!(wire.closes_within(secs(10)), "the flood goes on: {} bytes", wire.ahead().len());
    assert!(wire.ahead().len() < 1 << 20, "{} bytes came through", wire.ahead().len());
}

#[test]
fn an_answer_cut_in_its_middle_is_cut_for_the_client_too() {
    // Nothing may make the part look whole: neither length nor a last chunk.
    let p = Proxied::new::<1>("", "", |_, address| {
        Origin::start(address, |mut wire, number| {
            wire.head()?;
            if number % 2 == 0 {
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart")
            } else {
                wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")
            }
        })
    });
    for _ in 0..6 {
        match p.client().get_once("/") {
            Err(_) => {}
            Ok(answer) => assert_eq!(answer.status, 502, "a part passed for the whole: {answer:?}"),
        }
    }
}
