//! Answers that end before they are whole, and clients that go away in the middle: nobody takes a part for the whole.

use std::cell::RefCell;
use std::rc::Rc;

use crate::memory::{Lab, sleep_ms};

const SERVER: &str = "10.0.0.1:80";

fn document(profile: &str, server: &str) -> String {
    format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"192.0.2.1:80\"]\npool = \"web\"\n\
         http_profile = \"p\"\n[[http_profile]]\nname = \"p\"\n{profile}\n[[pool]]\nname = \"web\"\n\
         {server}\n[[pool.server]]\naddress = \"{SERVER}\"\n"
    )
}

/// From a client that knows no chunks: the end of content of unknown length is the connection's.
const OLD_GET: &str = "GET / HTTP/1.0\r\nHost: x\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A server that sends a piece of `size` bytes every `pause_ms`, `count` of them, and the end.
fn streaming(lab: &Lab, size: usize, pause_ms: u64, count: usize) {
    lab.server(SERVER, move |rt, mut peer| async move {
        peer.until("\r\n\r\n").await;
        peer.send(CHUNKED).await;
        for _ in 0..count {
            peer.send(format!("{size:x}\r\n{}\r\n", "x".repeat(size))).await;
            sleep_ms(&rt, pause_ms).await;
        }
        peer.send("0\r\n\r\n").await;
        peer.all().await;
    });
}

//= test SE-CUT-02
#[test]
fn a_client_that_pauses_too_long_gets_a_reset_and_not_an_end() {
    let bounds = ["body_timeout_ms = 4000", "total_timeout_ms = 4000"];
    for (bound, pause_ms) in bounds.into_iter().flat_map(|bound| [(bound, 2_000), (bound, 10_000)]) {
        let cut = pause_ms > 4_000;
        let lab = Lab::new(&document(bound, ""));
        streaming(&lab, 100_000, 0, 10);
        let (answer, reset) = lab.run(async {
            let mut client = lab.client().await;
            client.send(OLD_GET).await;
            lab.sleep_ms(pause_ms).await;
            client.all_and_reset().await
        });
        assert_eq!((reset, answer.len() < 1_000_000), (cut, cut), "{bound}: {} bytes", answer.len());
    }
}

//= test SE-CUT-02
#[test]
fn an_answer_whose_total_time_is_over_ends_by_a_reset() {
    for (total_ms, cut) in [(60_000, false), (3_000, true)] {
        let lab = Lab::new(&document(&format!("total_timeout_ms = {total_ms}"), ""));
        streaming(&lab, 10, 500, 20);
        let (answer, reset) = lab.run(async {
            let mut client = lab.client().await;
            client.send(OLD_GET).await;
            client.all_and_reset().await
        });
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(reset, cut, "{answer}");
    }
}

//= test SE-CUT-02
#[test]
fn an_answer_that_the_end_of_its_worker_cuts_ends_by_a_reset_and_a_whole_one_does_not() {
    for (wait_ms, cut) in [(1_000, true), (20_000, false)] {
        let lab = Lab::new(&document("", ""));
        streaming(&lab, 10, 500, 10);
        // When the run ends, all tasks are dropped: a stop does that, and a panic.
        let client = lab.run(async {
            let mut client = lab.client().await;
            client.send(OLD_GET).await;
            client.until("xxx").await;
            lab.sleep_ms(wait_ms).await;
            client
        });
        assert_eq!(client.is_reset(), cut, "after {wait_ms} ms");
    }
}

//= test SE-CUT-02
#[test]
fn a_tunnel_that_the_end_of_its_worker_cuts_is_reset_at_both_ends_and_one_that_ended_is_not() {
    for ends in [false, true] {
        let lab = Lab::new(&document("", ""));
        let server = Rc::new(RefCell::new(None));
        let kept = server.clone();
        lab.server(SERVER, move |_, mut peer| {
            let kept = kept.clone();
            async move {
                peer.until("\r\n\r\n").await;
                let upgrade =
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
                peer.send(upgrade).await;
                if ends {
                    peer.end();
                }
                *kept.borrow_mut() = Some(peer);
            }
        });
        let client = lab.run(async {
            let mut client = lab.client().await;
            client
                .send("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
                .await;
            assert!(client.until("\r\n\r\n").await.starts_with("HTTP/1.1 101 "));
            if ends {
                client.end();
            }
            lab.sleep_ms(1_000).await;
            client
        });
        assert_eq!(client.is_reset(), !ends, "the client's end");
        let server = server.take().expect("a connection");
        assert_eq!(server.is_reset(), !ends, "the server's end");
    }
}

//= test SE-CUT-02
#[test]
fn a_tunnel_of_which_one_side_is_reset_resets_the_other() {
    const SWITCH: &str =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    for by_server in [false, true] {
        let lab = Lab::new(&document("", ""));
        let servers_end = Rc::new(RefCell::new(None));
        let told = servers_end.clone();
        lab.server(SERVER, move |_, mut peer| {
            let told = told.clone();
            async move {
                peer.until("\r\n\r\n").await;
                peer.send(SWITCH).await;
                peer.send("hi;").await;
                if by_server {
                    peer.until("die;").await;
                    peer.reset();
                } else {
                    *told.borrow_mut() = Some(peer.all_and_reset().await);
                }
            }
        });
        let clients_end = lab.run(async {
            let mut client = lab.client().await;
            client
                .send("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
                .await;
            assert!(client.until("hi;").await.starts_with("HTTP/1.1 101 "));
            client.send("die;").await;
            let end = if by_server {
                Some(client.all_and_reset().await)
            } else {
                client.reset();
                None
            };
            lab.sleep_ms(1_000).await;
            end
        });
        let (said, reset) = clients_end.or_else(|| servers_end.take()).expect("the other side's end");
        assert!(reset, "by the server: {by_server}, {said:?}: a part passes for the whole");
    }
}

/// A server that says its last and closes at once resets when its client says something after that.
//= test SE-CUT-02
#[test]
fn the_end_of_a_tunnel_arrives_although_its_server_resets_after_it() {
    let lab = Lab::new(&document("", ""));
    lab.server(SERVER, move |_, mut peer| async move {
        peer.until("\r\n\r\n").await;
        peer.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            .await;
        peer.send("bye").await;
        peer.end();
        peer.until(";").await;
        peer.reset();
    });
    let (said, reset) = lab.run(async {
        let mut client = lab.client().await;
        client.send("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n").await;
        assert!(client.until("\r\n\r\n").await.starts_with("HTTP/1.1 101 "));
        lab.sleep_ms(10).await;
        client.send("one more;").await;
        lab.sleep_ms(10).await;
        client.send("and that;").await;
        lab.sleep_ms(10).await;
        client.all_and_reset().await
    });
    assert_eq!((said.as_str(), reset), ("bye", false));
}

/// A client that goes away in the middle, how, and whether its server goes on for it.
const LEAVERS: [(&str, bool); 2] = [("resets", false), ("ends its side", true)];

//= test SE-GONE-01
#[test]
fn a_client_that_resets_leaves_its_place_at_a_silent_server_and_one_that_ends_its_side_does_not() {
    // The server is silent before its answer, or in the middle of it.
    for begun in [false, true] {
        for (how, waits) in LEAVERS {
            let mut lab = Lab::new(&document("", "max_concurrent_connections_per_server = 1"));
            lab.server(SERVER, move |rt, mut peer| async move {
                let head = peer.until("\r\n\r\n").await;
                if head.starts_with("GET /slow ") {
                    if begun {
                        peer.send(CHUNKED).await;
                    }
                    sleep_ms(&rt, 20_000).await;
                    if !begun {
                        peer.send(CHUNKED).await;
                    }
                }
                let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                peer.send(if head.starts_with("GET /slow ") { "2\r\nok\r\n0\r\n\r\n" } else { ok }).await;
                peer.all().await;
            });
            let (answer, status) = lab.run(async {
                let mut client = lab.client().await;
                client.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
                lab.sleep_ms(100).await;
                let left = if waits {
                    client.end();
                    Some(client)
                } else {
                    client.reset();
                    None
                };
                lab.sleep_ms(1_100).await;
                let mut other = lab.client().await;
                other.send("GET /fast HTTP/1.1\r\nHost: x\r\n\r\n").await;
                let status = other.until("\r\n\r\n").await.get(9..12).unwrap_or_default().to_owned();
                match left {
                    Some(mut client) => (client.until("0\r\n\r\n").await, status),
                    None => (String::new(), status),
                }
            });
            assert_eq!(status, if waits { "503" } else { "200" }, "{how}, {begun}");
            assert_eq!(answer.contains("\r\nok\r\n"), waits, "{how}, {begun}: {answer}");
            assert_eq!(lab.metrics.client_aborts.get(), u64::from(!waits), "{how}, {begun}");
            let said = lab.log()[0]["request_state"].as_str().map(str::to_owned);
            assert_eq!(said.as_deref() == Some("the client closed the connection"), !waits, "{said:?}");
        }
    }
}

//= test SE-EARLY-01
#[test]
fn an_early_answer_goes_on_although_the_client_sends_no_more_of_its_content() {
    for version in ["1.0", "1.1"] {
        for expects in [true, false] {
            for ends in [true, false] {
                let lab = Lab::new(&document("body_timeout_ms = 2000", ""));
                streaming(&lab, 10, 1_000, 8);
                let (answer, reset) = lab.run(async {
                    let mut client = lab.client().await;
                    let expect = if expects { "Expect: 100-continue\r\n" } else { "" };
                    let head =
                        format!("POST / HTTP/{version}\r\nHost: x\r\n{expect}Content-Length: 100\r\n\r\n");
                    client.send(head).await;
                    if !expects {
                        client.send("some").await;
                    }
                    let begin = client.until("xxx").await;
                    if ends {
                        client.end();
                    }
                    let (rest, reset) = client.all_and_reset().await;
                    (begin + &rest, reset)
                });
                let case = format!("{version}, {expects}, {ends}: {answer}");
                assert!(answer.starts_with("HTTP/1.1 200 "), "{case}");
                assert_eq!(answer.matches("xxxxxxxxxx").count(), 8, "{case}");
                assert!(answer.ends_with("0\r\n\r\n") == (version == "1.1") && !reset, "{case}");
                assert!(answer.contains("Connection: close\r\n"), "{case}");
                assert_eq!(lab.metrics.timeouts.body.get(), 0, "{case}");
                assert_eq!(lab.metrics.client_aborts.get(), 0, "{case}");
            }
        }
    }
}
