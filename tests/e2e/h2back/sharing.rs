//! How requests share connections, and what becomes of both when one ends.

use std::sync::atomic::Ordering;

use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::wire::Wire;
use forebay_e2e::{Client, Lab, Options, Origin, client::Request};
use h2::Reason;

use crate::server::{Manner, Server};
use crate::{Scene, text};

/// Sends as many requests that are held at once, waits until `reached` says that they are there, and lets them go.
fn held(scene: &Scene, count: usize, reached: impl Fn() -> bool) {
    let at = scene.at;
    let clients: Vec<_> = (0..count)
        .map(|_| std::thread::spawn(move || Client::new(at).get("/hold").unwrap().status))
        .collect();
    eventually("the requests are at the servers", secs(15), reached);
    for server in &scene.servers {
        server.seen.gate.add_permits(count);
    }
    for client in clients {
        assert_eq!(client.join().unwrap(), 200);
    }
}

//= test H2BACK-POOL-01
//= test H2BACK-POOL-03
#[test]
fn a_burst_of_requests_shares_one_connection() {
    let scene = Scene::one();
    let server = &scene.servers[0];
    held(&scene, 60, || server.requests() == 60);
    assert_eq!(server.connections(), 1);
    assert_eq!(server.seen.at_once.load(Ordering::SeqCst), 60);
    assert_eq!(scene.client().get("/").unwrap().status, 200);
    assert_eq!(server.connections(), 1);
    assert_eq!(scene.metric("forebay_server_connections_open"), 1.0);
}

//= test H2BACK-POOL-02
#[test]
fn requests_beyond_what_a_server_allows_get_another_connection() {
    let scene = Scene::new("", &[Manner { streams: 4, ..Manner::default() }]);
    let server = &scene.servers[0];
    // The first tells what the server allows.
    assert_eq!(scene.client().get("/").unwrap().status, 200);
    held(&scene, 22, || server.requests() == 23);
    assert_eq!(server.connections(), 6, "four at once on each");
    assert_eq!(server.seen.at_once.load(Ordering::SeqCst), 4);
    assert_eq!(scene.metric("forebay_server_streams_unseen_total"), 0.0);
}

//= test H2BACK-POOL-04
#[test]
fn a_request_is_not_lost_to_a_server_that_speaks_no_http2() {
    let lab = Lab::new();
    let old = Origin::answering(lab.address(), |_| Some(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()));
    let new = Server::start(lab.address(), Manner::default());
    let at = lab.address();
    let engine = lab.engine_with(
        &text(at, "", &[old.address, new.address]),
        Options { workers: 1, ..Options::default() },
    );
    for _ in 0..4 {
        let answer = Client::new(at).send(&Request::post("/echo", "not twice")).unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "not twice"));
    }
    assert_eq!(new.requests(), 4);
    let labels = [("server", &*old.address.to_string())];
    assert_eq!(engine.metric("forebay_server_connect_failures_total", &labels), 2.0);
    assert!(engine.metric("forebay_server_http2_broken_total", &[]) >= 2.0);
}

//= test H2BACK-RESET-01
#[test]
fn a_client_that_leaves_ends_its_stream_and_not_the_connection() {
    let scene = Scene::one();
    let server = &scene.servers[0];
    let mut leaver = Wire::connect(scene.at).unwrap();
    leaver.send("GET /stall HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    leaver.until(b"some").unwrap();
    leaver.reset();
    eventually("the stream is reset", secs(15), || *server.seen.resets.lock().unwrap() == [Reason::CANCEL]);
    assert_eq!(scene.client().get("/").unwrap().status, 200);
    assert_eq!(server.connections(), 1);
}

//= test H2BACK-GOAWAY-01
#[test]
fn after_goaway_requests_get_a_new_connection_and_those_under_way_end_well() {
    let scene = Scene::one();
    let server = &scene.servers[0];
    let at = scene.at;
    let under_way = std::thread::spawn(move || Client::new(at).get("/hold").unwrap().status);
    eventually("a request is held", secs(15), || server.requests() == 1);
    assert_eq!(scene.client().get("/last").unwrap().status, 200);
    for _ in 0..5 {
        assert_eq!(scene.client().send(&Request::post("/echo", "x")).unwrap().status, 200);
    }
    server.seen.gate.add_permits(1);
    assert_eq!(under_way.join().unwrap(), 200);
    assert_eq!(server.connections(), 2);
    eventually("the first connection is closed", secs(15), || {
        scene.metric("forebay_server_connections_open") == 1.0
    });
}

//= test H2BACK-RETRY-01
#[test]
fn a_request_that_its_server_did_not_look_at_goes_to_another_one_whatever_its_method() {
    let scene = Scene::new("", &[Manner { refuses: true, ..Manner::default() }, Manner::default()]);
    for _ in 0..4 {
        let answer = scene.client().send(&Request::post("/echo", "twice is too often")).unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "twice is too often"));
    }
    assert_eq!(scene.servers[1].requests(), 4);
    assert_eq!(scene.servers[0].requests(), 4, "each of two was tried once more there");
    assert_eq!(scene.metric("forebay_server_streams_unseen_total"), 4.0);
}

#[test]
fn a_request_that_may_have_run_is_not_repeated() {
    let scene = Scene::new("", &[Manner::default(), Manner::default()]);
    assert_eq!(scene.client().send(&Request::post("/reset", "once")).unwrap().status, 502);
    assert_eq!(scene.servers[0].requests() + scene.servers[1].requests(), 1);
    // One that does no harm is, at another server.
    assert_eq!(scene.client().get("/reset").unwrap().status, 502);
    assert_eq!(scene.servers[0].requests() + scene.servers[1].requests(), 3);
}

#[test]
fn an_idle_connection_is_closed_in_time() {
    let scene = Scene::new("connection_pool = { idle_ms = 100 }\n", &[Manner::default()]);
    assert_eq!(scene.client().get("/").unwrap().status, 200);
    eventually("the idle connection is closed", secs(15), || {
        scene.metric("forebay_server_connections_open") == 0.0
    });
    assert_eq!(scene.client().get("/").unwrap().status, 200);
    assert_eq!(scene.servers[0].connections(), 2);
}

#[test]
fn a_connection_carries_no_more_requests_than_it_may() {
    let scene = Scene::new("connection_pool = { reuse_max = 3 }\n", &[Manner::default()]);
    for _ in 0..9 {
        assert_eq!(scene.client().get("/").unwrap().status, 200);
    }
    assert_eq!(scene.servers[0].connections(), 3);
}

#[test]
fn a_server_at_its_limit_of_requests_gets_no_more() {
    let pool = "max_concurrent_connections_per_server = 3\nrequest_queue = { enabled = true }\n";
    let scene = Scene::new(pool, &[Manner::default()]);
    let server = &scene.servers[0];
    held(&scene, 10, || server.requests() == 3);
    assert_eq!(server.seen.at_once.load(Ordering::SeqCst), 3);
    assert_eq!((server.requests(), server.connections()), (10, 1));
}
