//! Connections on both sides: kept, shared, pipelined.

use forebay_e2e::client::read_answer;
use forebay_e2e::wait::secs;
use forebay_e2e::{Origin, Request, Scene, Wire, origin, wire};

use crate::Proxied;

#[test]
fn connections_are_kept_on_both_sides() {
    let p = Proxied::one("", |_| Some(origin::ok("hi")));
    let mut client = p.client();
    for _ in 0..200 {
        assert_eq!(client.get("/").unwrap().body, b"hi");
        assert!(client.is_connected());
    }
    assert_eq!(p.heads().len(), 200);
    assert!(p.origins[0].accepted() <= 2, "{} connections to the server", p.origins[0].accepted());
}

#[test]
fn many_clients_share_few_server_connections() {
    let p = Proxied::one("", |_| Some(origin::ok("hi")));
    for _ in 0..100 {
        assert_eq!(p.client().get_once("/").unwrap().status, 200);
    }
    // One after the other: a worker needs one connection at a time.
    assert!(p.origins[0].accepted() <= 4, "{} connections to the server", p.origins[0].accepted());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let scene = Scene::new("algorithm = \"round_robin\"", "");
    let mut wire = Wire::connect(scene.at).unwrap();
    // The first is the slowest: an answer that overtook would show.
    let delays = [120, 0, 60, 0, 30, 0, 0, 0];
    let mut all = String::new();
    for (n, ms) in delays.iter().enumerate() {
        all += &format!("GET /slow?ms={ms}&n={n} HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    wire.send(all).unwrap();
    for ms in delays {
        let (answer, _) = read_answer(&mut wire, false).unwrap();
        assert!(answer.text().ends_with(&format!("slept {ms} ms\n")), "{}", answer.text());
    }
}

#[test]
fn pipelined_requests_with_bodies_are_kept_apart() {
    let scene = Scene::new("algorithm = \"round_robin\"", "");
    let mut wire = Wire::connect(scene.at).unwrap();
    let mut all = String::new();
    for n in 0..20 {
        let body = "x".repeat(n * 37);
        all += &format!("POST /p{n} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        all += &format!(
            "POST /q{n} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        );
    }
    wire.send(all).unwrap();
    for n in 0..20 {
        let (p, _) = read_answer(&mut wire, false).unwrap();
        assert_eq!(p.json()["path"], format!("/p{n}"));
        assert_eq!(p.json()["body_bytes"], n * 37);
        let (q, _) = read_answer(&mut wire, false).unwrap();
        assert_eq!(
            (q.json()["path"].as_str(), q.json()["body_bytes"].as_u64()),
            (Some(&*format!("/q{n}")), Some(3))
        );
    }
}

#[test]
fn a_request_that_arrives_byte_by_byte_is_served() {
    let scene = Scene::new("", "");
    let mut wire = Wire::connect(scene.at).unwrap();
    for byte in b"POST /slowly HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    {
        wire.send([*byte]).unwrap();
    }
    let (answer, keep) = read_answer(&mut wire, false).unwrap();
    assert_eq!(answer.json()["body_bytes"], 3);
    assert!(keep);
}

#[test]
fn http_1_0_clients_are_served_and_closed_unless_they_ask_to_keep() {
    let scene = Scene::new("", "");
    let answer = wire::exchange(scene.at, "GET /health HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
    assert!(answer.starts_with("HTTP/1.") && answer.contains(" 200 "), "{answer}");
    assert!(answer.ends_with("ok\n"), "{answer}");
    let mut wire = Wire::connect(scene.at).unwrap();
    for _ in 0..2 {
        wire.send("GET /health HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n").unwrap();
        let head = wire.head().unwrap().to_ascii_lowercase();
        assert!(head.contains("connection: keep-alive"), "{head}");
        assert_eq!(wire.exactly(3).unwrap(), b"ok\n");
    }
}

#[test]
fn an_http_1_0_client_never_gets_chunks() {
    let scene = Scene::new("", "");
    let answer = wire::exchange(scene.at, "GET /bytes?n=5000&chunked=1 HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "{head}");
    assert_eq!(body.len(), 5000);
}

#[test]
fn close_is_kept_as_a_promise() {
    let scene = Scene::new("", "");
    let mut wire = Wire::connect(scene.at).unwrap();
    wire.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let (answer, keep) = read_answer(&mut wire, false).unwrap();
    assert_eq!(answer.status, 200);
    assert!(!keep, "said in the answer");
    assert!(wire.closes_within(secs(2)));
}

#[test]
fn a_server_that_closes_after_each_answer_costs_no_request() {
    let p = Proxied::new::<1>("", "", |_, address| {
        Origin::start(address, |mut wire, _| {
            wire.head()?;
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
        })
    });
    let mut client = p.client();
    for _ in 0..50 {
        assert_eq!(client.get("/").unwrap().body, b"hi");
    }
    assert!(client.is_connected(), "the client's connection is its own affair");
}

#[test]
fn a_server_that_closes_its_kept_connection_without_a_word_costs_no_request() {
    // It closes right after the answer, saying nothing: the next request may race with the end.
    let p = Proxied::new::<1>("", "", |_, address| {
        Origin::start(address, |mut wire, _| {
            wire.head()?;
            wire.send(origin::ok("hi"))
        })
    });
    let mut client = p.client();
    for n in 0..200 {
        let answer = client.send(&Request::get("/")).unwrap_or_else(|e| panic!("request {n}: {e}"));
        assert_eq!(answer.status, 200, "request {n}");
    }
}
