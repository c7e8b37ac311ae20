//! What two parsers could read differently is refused, and nothing of it reaches a server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use forebay_e2e::{Origin, origin, wire};

use crate::Proxied;

/// Sends bytes; returns the status of the first answer (0: closed without one), and how many answers came.
fn send(p: &Proxied, bytes: &str) -> (u16, usize) {
    let answer = wire::exchange(p.at, bytes).unwrap_or_default();
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    (status, answer.matches("HTTP/1.1 ").count())
}

/// A hidden second request follows each of these. It must never reach the server.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn ambiguous_requests_are_refused_closed_and_never_forwarded() {
    let p = Proxied::one("", |_| Some(origin::ok("hi")));
    let cases = [
        (
            "both framings",
            400,
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "two lengths",
            400,
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
        ),
        (
            "two equal lengths",
            400,
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
        ),
        ("a list of lengths", 400, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4, 4\r\n\r\nabcd"),
        ("a signed length", 400, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\nabcd"),
        ("a negative length", 400, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"),
        (
            "a length beyond all numbers",
            400,
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        ),
        (
            "chunked that is not last",
            400,
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        ),
        (
            "chunked twice",
            400,
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "an unknown coding",
            501,
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "space before the colon",
            400,
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        ),
        ("a folded line", 400, "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n"),
        ("a bare LF", 400, "GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n"),
        ("a bare CR", 400, "GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n"),
        ("a NUL", 400, "GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n"),
        ("no Host", 400, "GET / HTTP/1.1\r\nA: b\r\n\r\n"),
        ("two Hosts", 400, "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"),
        ("an odd Host", 400, "GET / HTTP/1.1\r\nHost: x@y\r\n\r\n"),
        (
            "a negative chunk",
            400,
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        ),
        (
            "an odd chunk size",
            400,
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "a chunk longer than its size",
            400,
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "a chunk that ends in LF",
            400,
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
        ),
        ("HTTP/2.0 in words", 505, "GET / HTTP/2.0\r\nHost: x\r\n\r\n"),
        ("no version", 400, "GET /\r\nHost: x\r\n\r\n"),
        ("an unknown expectation", 417, "GET / HTTP/1.1\r\nHost: x\r\nExpect: a-miracle\r\n\r\n"),
    ];
    for (what, want, bytes) in cases {
        let before = p.heads().len();
        let (status, answers) = send(&p, &format!("{bytes}{HIDDEN}"));
        assert_eq!((status, answers), (want, 1), "{what}");
        // A bad chunk may show only after the head went to the server.
        let reached = &p.heads()[before..];
        assert!(
            reached.len() <= usize::from(what.contains("chunk ") || what.contains("chunk")),
            "{what}: {reached:?}"
        );
        assert!(reached.iter().all(|h| !h.contains("/hidden")), "{what}: {reached:?}");
    }
}

#[test]
fn heads_beyond_the_limits_get_their_status_and_reach_no_server() {
    let p = Proxied::one("", |_| Some(origin::ok("hi")));
    let long_uri = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "u".repeat(20_000));
    let long_field = format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "v".repeat(20_000));
    let big_head = format!(
        "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "A: 0123456789012345678901234567890123456789\r\n".repeat(2_400)
    );
    let fields: String = (0..1000).map(|n| format!("A{n}: 1\r\n")).collect();
    let many_fields = format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    for (what, want, bytes) in [
        ("a URI of 20 KB", 414, long_uri),
        ("a field of 20 KB", 431, long_field),
        ("a head of 100 KiB", 431, big_head),
        ("1,000 fields", 431, many_fields),
    ] {
        assert_eq!(send(&p, &bytes), (want, 1), "{what}");
    }
    assert_eq!(p.heads().len(), 0);
    assert_eq!(p.client().get("/").unwrap().status, 200, "and the next client is served");
}

#[test]
fn absolute_form_overrides_the_host_field() {
    let p = Proxied::one("", |_| Some(origin::ok("hi")));
    let answer = wire::exchange(
        p.at,
        "GET http://true.example/path?q HTTP/1.1\r\nHost: false.example\r\nConnection: close\r\n\r\n",
    )
    .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let head = p.heads().remove(0);
    assert!(head.starts_with("GET /path?q HTTP/1.1\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains("\r\nhost: true.example\r\n"), "{head}");
    assert!(!head.contains("false.example"), "{head}");
}

#[test]
fn an_unread_request_body_closes_the_connection() {
    // The server answers at the head and does not read the body; the rest of the body must never be
    // taken for the next request.
    let hidden = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&hidden);
    let p = Proxied::new::<1>("", "", move |_, address| {
        let seen = Arc::clone(&seen);
        Origin::start(address, move |mut wire, _| {
            seen.fetch_add(usize::from(wire.head()?.starts_with("GET /hidden")), Ordering::SeqCst);
            wire.send(origin::ok("early"))?;
            wire.rest().map(|_| ())
        })
    });
    let body = HIDDEN.repeat(50_000);
    let mut wire = forebay_e2e::Wire::connect(p.at).unwrap();
    let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    wire.send(head).unwrap();
    // The engine may close while we send: that is what is asked for.
    let _ = wire.send(&body[..body.len() / 2]);
    let closed = wire.closes_within(forebay_e2e::wait::secs(35));
    let text = String::from_utf8_lossy(wire.ahead()).into_owned();
    assert!(text.matches("HTTP/1.1 ").count() <= 1, "{text}");
    assert!(closed, "left open after {text:?}");
    assert_eq!(hidden.load(Ordering::SeqCst), 0);
}
