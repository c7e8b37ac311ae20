//! What passes and what does not: upgrades, hops, ends, and which connections are kept.

use std::cell::RefCell;
use std::rc::Rc;

use crate::memory::{Lab, sleep_ms};

const SERVER: &str = "10.0.0.1:80";
const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn document(profile: &str, pool: &str) -> String {
    format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"192.0.2.1:80\"]\npool = \"web\"\n\
         http_profile = \"p\"\n[[http_profile]]\nname = \"p\"\n{profile}\n[[pool]]\nname = \"web\"\n\
         {pool}\n[[pool.server]]\naddress = \"{SERVER}\"\n"
    )
}

/// Heads that a server saw.
type Heads = Rc<RefCell<Vec<String>>>;

/// A server that answers each request with `answer`, and remembers what came.
fn recording(lab: &Lab, answer: &'static str) -> Heads {
    let heads = Heads::default();
    let seen = heads.clone();
    lab.server(SERVER, move |_, mut peer| {
        let seen = seen.clone();
        async move {
            loop {
                let head = peer.until("\r\n\r\n").await;
                if !head.ends_with("\r\n\r\n") {
                    return;
                }
                seen.borrow_mut().push(head);
                peer.send(answer).await;
            }
        }
    });
    heads
}

#[test]
fn an_upgrade_reaches_the_server_only_where_websockets_may_pass() {
    for (profile, passes) in [("websockets = false", false), ("", true)] {
        let lab = Lab::new(&document(profile, ""));
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno";
        let heads = recording(&lab, answer);
        lab.run(async {
            let mut client = lab.client().await;
            client
                .send("GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
                .await;
            assert!(client.until("no").await.starts_with("HTTP/1.1 200 "));
        });
        let heads = heads.borrow();
        assert_eq!(heads[0].to_ascii_lowercase().contains("upgrade"), passes, "{profile:?}: {}", heads[0]);
    }
}

//= test H1-MAXFWD-01
#[test]
fn a_request_that_may_go_no_further_is_answered_here() {
    let lab = Lab::new(&document("", ""));
    let heads = recording(&lab, OK);
    let ask = async |method: &str, hops: u32| {
        let mut client = lab.client().await;
        client.send(format!("{method} / HTTP/1.1\r\nHost: x\r\nMax-Forwards: {hops}\r\n\r\n")).await;
        client.until("\r\n\r\n").await.get(9..12).unwrap_or_default().to_owned()
    };
    lab.run(async {
        assert_eq!((ask("OPTIONS", 0).await, ask("TRACE", 0).await), ("204".into(), "405".into()));
        assert!(heads.borrow().is_empty(), "{heads:?}");
        assert_eq!(ask("OPTIONS", 1).await, "200");
        // For other methods it says nothing.
        assert_eq!(ask("GET", 0).await, "200");
    });
    let heads = heads.borrow();
    assert_eq!(heads.len(), 2);
    assert!(heads[0].contains("\r\nMax-Forwards: 0\r\n"), "one hop less: {}", heads[0]);
}

#[test]
fn a_cut_answer_that_ends_with_the_connection_ends_by_a_reset_and_a_whole_one_does_not() {
    for (end, cut) in [("0\r\n\r\n", false), ("zz\r\n", true)] {
        for garbled_late in [true, false] {
            let lab = Lab::new(&document("", ""));
            lab.server(SERVER, move |rt, mut peer| async move {
                peer.until("\r\n\r\n").await;
                peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
                sleep_ms(&rt, 10).await;
                match (cut, garbled_late) {
                    // Its connection ends without a last chunk.
                    (true, false) => {}
                    _ => peer.send(end).await,
                }
            });
            let (answer, reset) = lab.run(async {
                let mut client = lab.client().await;
                // A client that knows no chunks: the content's end is the connection's.
                client.send("GET / HTTP/1.0\r\nHost: x\r\n\r\n").await;
                client.all_and_reset().await
            });
            assert!(answer.ends_with("\r\n\r\nhello") && !answer.contains("chunked"), "{answer}");
            assert_eq!(reset, cut, "{end:?}, {garbled_late}");
        }
    }
}

#[test]
fn the_last_request_of_a_connection_closes_it_and_no_further_one_is_served() {
    let lab = Lab::new(&document("requests_per_connection_max = 3", ""));
    let heads = recording(&lab, OK);
    lab.run(async {
        let mut client = lab.client().await;
        // All at once: the fourth is there when the third is answered.
        client.send(GET.repeat(4)).await;
        for n in 1..=3 {
            let answer = client.until("ok").await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            assert_eq!(answer.contains("Connection: close\r\n"), n == 3, "{n}: {answer}");
        }
        assert_eq!(client.all().await, "");
    });
    assert_eq!(heads.borrow().len(), 3);
}

//= test H1-VIA-01
#[test]
fn an_answer_names_our_hop_behind_the_hops_before() {
    for (profile, before, expected) in [
        ("", "", Some("Via: 1.1 forebay\r\n")),
        ("", "Via: 1.0 far\r\n", Some("Via: 1.0 far, 1.1 forebay\r\n")),
        ("via = \"edge\"", "", Some("Via: 1.1 edge\r\n")),
        ("via = \"\"", "", None),
    ] {
        let lab = Lab::new(&document(profile, ""));
        lab.server(SERVER, move |_, mut peer| async move {
            peer.until("\r\n\r\n").await;
            peer.send(format!("HTTP/1.1 200 OK\r\n{before}Content-Length: 2\r\n\r\nok")).await;
        });
        let answer = lab.run(async {
            let mut client = lab.client().await;
            client.send(GET).await;
            client.until("ok").await
        });
        // One line or two mean the same.
        let via: Vec<&str> = answer.lines().filter_map(|line| line.strip_prefix("Via: ")).collect();
        let expected = expected.map_or("", |line| line.trim_start_matches("Via: ").trim_end());
        assert_eq!(via.join(", "), expected, "{answer}");
    }
}

//= test SE-STOP-01
#[test]
fn our_own_answers_close_while_the_engine_drains() {
    let rule = "[[virtual_service.rules]]\nname = \"tea\"\nwhen = { path = { equals = [\"/tea\"] } }\n\
                then = [{ respond = { status = 418, body = \"short\" } }]\n[[http_profile]]";
    let lab = Lab::new(&document("", "").replace("[[http_profile]]", rule));
    let heads = recording(&lab, OK);
    lab.run(async {
        let mut client = lab.client().await;
        for draining in [false, true] {
            lab.worker.draining.set(draining);
            client.send("GET /tea HTTP/1.1\r\nHost: x\r\n\r\n").await;
            let answer = client.until("short").await;
            assert!(answer.starts_with("HTTP/1.1 418 "), "{answer}");
            assert_eq!(answer.contains("Connection: close\r\n"), draining, "{answer}");
        }
        assert_eq!(client.all().await, "", "and closes");
    });
    assert!(heads.borrow().is_empty());
}

//= test SE-UPSTREAM-01
#[test]
fn beyond_the_number_of_kept_connections_the_one_that_was_idle_longest_goes() {
    let lab = Lab::new(&document("", "connection_pool = { idle_connections_max = 2 }"));
    // Which connections ended, by the path of their first request.
    let ended: Rc<RefCell<Vec<String>>> = Rc::default();
    let seen = ended.clone();
    lab.server(SERVER, move |rt, mut peer| {
        let seen = seen.clone();
        async move {
            let mut name = String::new();
            loop {
                let head = peer.until("\r\n\r\n").await;
                let Some(path) = head.split(' ').nth(1) else { break };
                if name.is_empty() {
                    name = path.to_owned();
                    sleep_ms(&rt, 100 * path.trim_matches('/').parse::<u64>().expect("a number")).await;
                }
                peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len())).await;
            }
            seen.borrow_mut().push(name);
        }
    });
    let connections = &lab.of_server(0).connections;
    lab.run(async {
        let mut clients = Vec::new();
        for n in 1..=3 {
            let mut client = lab.client().await;
            client.send(format!("GET /{n} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            clients.push(client);
        }
        lab.sleep_ms(1_000).await;
        assert_eq!(*ended.borrow(), ["/1"], "the one that came back first");
        assert_eq!((connections.opened.get(), connections.now()), (3, 2));
        // The youngest is lent first.
        let mut client = lab.client().await;
        client.send("GET /again HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(client.until("\r\n\r\n/3").await.ends_with("/3"));
    });
    assert_eq!(connections.opened.get(), 3);
}
