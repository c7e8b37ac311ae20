//! What is counted and logged of a request, exactly: all of it, nothing twice, nothing under another's name.

use crate::memory;
use crate::memory::{Lab, sleep_ms};
use forebay_host_uring::config::HealthState;
use serde_json::Value;

const SERVER: &str = "10.0.0.1:80";
const OTHER: &str = "10.0.0.2:80";
const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const KEY: &str = "[[cookie_key]]\nname = \"k1\"\nkey = \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"\n";

fn document(profile: &str, pool: &str, more: &str) -> String {
    format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"192.0.2.1:80\"]\npool = \"web\"\n\
         http_profile = \"p\"\n[[http_profile]]\nname = \"p\"\n{profile}\n[[pool]]\nname = \"web\"\n\
         algorithm = \"round_robin\"\n{pool}\n[[pool.server]]\naddress = \"{SERVER}\"\n{more}"
    )
}

fn another() -> String {
    format!("[[pool.server]]\naddress = \"{OTHER}\"\n")
}

/// Answers every request.
fn ok_server(lab: &Lab, address: &str) {
    lab.server(address, |_, mut peer| async move {
        while peer.until("\r\n\r\n").await.ends_with("\r\n\r\n") {
            peer.send(OK).await;
        }
    });
}

/// All time-outs by kind, in the order of the metrics page.
fn timeouts(lab: &Lab) -> [u64; 8] {
    let t = &lab.metrics.timeouts;
    [&t.connect, &t.header, &t.body, &t.response, &t.idle, &t.total, &t.queue, &t.upgraded_idle]
        .map(|counter| counter.get())
}

fn ms(record: &Value, field: &str) -> f64 {
    record[field].as_f64().unwrap_or_else(|| panic!("{field} of {record}"))
}

#[test]
fn each_look_at_a_cookie_is_a_hit_a_miss_or_invalid_and_only_that() {
    let profile = "[[persistence]]\nname = \"c\"\ntype = \"http_cookie\"\ncookie_name = \"STICKY\"\n";
    let lab = Lab::new(&document("", "persistence = \"c\"", &format!("{profile}{KEY}")));
    ok_server(&lab, SERVER);
    lab.run(async {
        let mut client = lab.client().await;
        client.send(GET).await;
        let first = client.until("\r\n\r\nok").await;
        let set = first.split("STICKY=").nth(1).expect("a cookie").split(';').next().expect("a value");
        for cookie in [set, set, "k1.AAAA", "", "k2.AAAA"] {
            client.send(format!("GET / HTTP/1.1\r\nHost: x\r\nCookie: STICKY={cookie}\r\n\r\n")).await;
            assert!(client.until("\r\n\r\nok").await.starts_with("HTTP/1.1 200 "));
        }
        client.send(GET).await;
        client.until("\r\n\r\nok").await;
    });
    let counted = &lab.of_pool(0).persistence;
    let counted = [&counted.hits, &counted.misses, &counted.invalid, &counted.server_down].map(|c| c.get());
    assert_eq!(counted, [2, 2, 3, 0], "hits, misses, invalid, server down");
}

//= test OBS-TIMEOUT-01
//= test SE-BLAME-01
#[test]
fn a_request_whose_whole_time_ends_while_it_connects_is_counted_so() {
    for (profile, counted) in [
        ("connect_timeout_ms = 5000\ntotal_timeout_ms = 2000", [0, 0, 0, 0, 0, 1, 0, 0]),
        ("connect_timeout_ms = 2000\ntotal_timeout_ms = 5000", [1, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        let lab = Lab::new(&document(profile, "", ""));
        lab.memory.silence(memory::at(SERVER));
        let (answer, took) = lab.run(async {
            let mut client = lab.client().await;
            let begin = lab.now_us();
            client.send(GET).await;
            (client.until("\r\n\r\n").await, lab.now_us() - begin)
        });
        assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
        assert!((2_000_000..2_100_000).contains(&took), "{profile}: {took}");
        assert_eq!(timeouts(&lab), counted, "{profile}");
        let charged = lab.of_server(0).connect_failures.get();
        assert_eq!(charged, counted[0], "{profile}: a late connect is the server's, a short total is not");
    }
}

#[test]
fn a_server_that_closed_its_kept_connection_is_asked_anew_and_was_tried_once() {
    let mut lab = Lab::new(&document("", "", ""));
    lab.server(SERVER, |_, mut peer| async move {
        peer.until("\r\n\r\n").await;
        peer.send(OK).await;
        // Its end meets the second request.
        peer.until("\r\n\r\n").await;
    });
    lab.run(async {
        let mut client = lab.client().await;
        for _ in 0..2 {
            client.send(GET).await;
            assert!(client.until("ok").await.starts_with("HTTP/1.1 200 "));
        }
    });
    let log = lab.log();
    assert_eq!((&log[0]["servers_tried"], &log[1]["servers_tried"]), (&1.into(), &1.into()), "{log:?}");
    assert_eq!(lab.of_server(0).connections.opened.get(), 2, "it did come to that");
    assert_eq!((lab.of_pool(0).retries.get(), lab.of_server(0).aborts.get()), (0, 0));
}

#[test]
fn the_bytes_of_a_tunnel_stand_in_its_record() {
    const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let mut lab = Lab::new(&document("", "", ""));
    lab.server(SERVER, |_, mut peer| async move {
        peer.until("\r\n\r\n").await;
        peer.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            .await;
        peer.exactly(300_000).await;
        peer.send(vec![b'd'; 70_000]).await;
    });
    let down = lab.run(async {
        let mut client = lab.client().await;
        client.send(UPGRADE).await;
        let head = client.until("\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        client.send(vec![b'u'; 300_000]).await;
        let received = head.len() + client.all().await.len();
        drop(client);
        lab.sleep_ms(100).await;
        received
    });
    let log = lab.log();
    assert_eq!(log[0]["request_length"], UPGRADE.len() + 300_000, "{log:?}");
    assert_eq!(log[0]["response_length"], down, "{log:?}");
    let service = &lab.of_service(0);
    assert_eq!(service.rx_bytes.get(), (UPGRADE.len() + 300_000) as u64);
    assert_eq!(service.tx_bytes.get(), down as u64);
}

#[test]
fn a_wait_for_a_server_stands_in_the_record_with_its_end_and_its_length() {
    let queue = "max_concurrent_connections_per_server = 1\n\
                 request_queue = { enabled = true, depth = 2, timeout_ms = 2000 }";
    let mut lab = Lab::new(&document("", queue, ""));
    lab.server(SERVER, |rt, mut peer| async move {
        let head = peer.until("\r\n\r\n").await;
        sleep_ms(&rt, if head.starts_with("GET /long ") { 5_000 } else { 1_000 }).await;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await;
    });
    lab.run(async {
        let mut clients = Vec::new();
        for path in ["/first", "/long", "/late", "/refused"] {
            let mut client = lab.client().await;
            client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            // So that they come in this order.
            lab.sleep_ms(1).await;
            clients.push(client);
        }
        for (client, status) in clients.iter_mut().zip(["200", "200", "503", "503"]).rev() {
            let answer = client.until("\r\n\r\n").await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        }
        lab.sleep_ms(1).await;
    });
    let log = lab.log();
    let of = |path: &str| log.iter().find(|record| record["uri_path"] == path).expect("a record");
    for (path, state, waited_ms) in [
        ("/first", "complete", 0.0..0.001),
        ("/long", "complete", 990.0..1010.0),
        ("/late", "no server came free in time", 1990.0..2040.0),
        ("/refused", "queue_full", 0.0..0.001),
    ] {
        assert_eq!(of(path)["request_state"], state, "{path}");
        assert!(waited_ms.contains(&ms(of(path), "queue_time")), "{path}: {}", of(path));
    }
    assert_eq!(timeouts(&lab), [0, 0, 0, 0, 0, 0, 1, 0]);
}

#[test]
fn the_record_tells_the_status_of_the_server_from_the_one_for_the_client() {
    let mut lab = Lab::new(&document("", "", ""));
    lab.server(SERVER, |_, mut peer| async move {
        peer.until("\r\n\r\n").await;
        peer.send("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nno chunk").await;
    });
    lab.run(async {
        let mut client = lab.client().await;
        client.send(GET).await;
        assert!(client.until("\r\n\r\n").await.starts_with("HTTP/1.1 502 "));
    });
    let log = lab.log();
    assert_eq!((&log[0]["response_code"], &log[0]["server_response_code"]), (&502.into(), &201.into()));
    assert_eq!(log[0]["request_state"], "the answer's content is garbled");
}

#[test]
fn what_one_server_said_is_not_told_of_the_next_one() {
    let reselect = "server_reselect = { enabled = true, statuses = [\"503\"] }";
    let mut lab = Lab::new(&document("", reselect, &another()));
    // One says 503; the other one is not there.
    lab.server(SERVER, |_, mut peer| async move {
        while peer.until("\r\n\r\n").await.ends_with("\r\n\r\n") {
            peer.send("HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno").await;
        }
    });
    lab.run(async {
        let mut client = lab.client().await;
        for _ in 0..2 {
            client.send(GET).await;
            client.until("\r\n\r\n").await;
        }
    });
    let log = lab.log();
    let moved = log.iter().find(|record| record["server_ip"] == "10.0.0.2").expect("one ended at the other");
    assert_eq!((&moved["servers_tried"], &moved["response_code"]), (&2.into(), &502.into()), "{moved}");
    for field in ["server_response_code", "server_conn_src_ip"] {
        assert!(moved[field].is_null() || moved[field] == 0, "{field} is the first one's: {moved}");
    }
    assert_eq!(moved["server_connection_reused"], false, "{moved}");
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_head_is_an_abort_and_no_request() {
    let lab = Lab::new(&document("", "", ""));
    lab.run(async {
        drop(lab.client().await);
        lab.sleep_ms(1).await;
        assert_eq!(lab.metrics.client_aborts.get(), 0, "it had asked nothing");
        let mut client = lab.client().await;
        client.send("GET / HTTP/1.1\r\nHo").await;
        lab.sleep_ms(1).await;
        drop(client);
        lab.sleep_ms(1).await;
    });
    assert_eq!(lab.metrics.client_aborts.get(), 1);
    assert_eq!((lab.of_service(0).requests.get(), lab.metrics.requests_rejected.get()), (0, 0));
}

#[test]
fn each_request_that_nobody_can_serve_is_counted_at_its_pool() {
    let fail = "fail_action = { action = \"local_response\", status = 503, body = \"none\" }";
    let mut lab = Lab::new(&document("", fail, ""));
    ok_server(&lab, SERVER);
    lab.run(async {
        let mut client = lab.client().await;
        client.send(GET).await;
        client.until("ok").await;
        assert_eq!(lab.of_pool(0).no_server.get(), 0);
        lab.set_health(0, HealthState::Down);
        for n in 1..=3 {
            client.send(GET).await;
            assert!(client.until("none").await.starts_with("HTTP/1.1 503 "));
            assert_eq!(lab.of_pool(0).no_server.get(), n);
        }
    });
    assert_eq!(lab.of_pool(0).requests.get(), 4);
    let log = lab.log();
    assert!(log[1..].iter().all(|r| r["server_ip"].is_null() && r["servers_tried"] == 0), "{log:?}");
}

#[test]
fn a_request_for_which_no_pool_of_the_group_can_serve_is_counted_and_answered_as_the_group_says() {
    let pool = |name: &str, server: &str| {
        format!("[[pool]]\nname = \"{name}\"\n[[pool.server]]\naddress = \"{server}\"\n")
    };
    let mut lab = Lab::new(&format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"192.0.2.1:80\"]\npool_group = \"g\"\n\
         [[pool_group]]\nname = \"g\"\n\
         fail_action = {{ action = \"local_response\", status = 503, body = \"none\" }}\n\
         [[pool_group.member]]\npool = \"a\"\n[[pool_group.member]]\npool = \"b\"\n{}{}",
        pool("a", SERVER),
        pool("b", OTHER)
    ));
    ok_server(&lab, SERVER);
    ok_server(&lab, OTHER);
    lab.run(async {
        let mut client = lab.client().await;
        client.send(GET).await;
        assert!(client.until("ok").await.starts_with("HTTP/1.1 200 "));
        for pool in &lab.worker.current().tree.pools {
            pool.servers[0].shared.publish(HealthState::Down);
            pool.shared.bump();
        }
        for _ in 0..3 {
            client.send(GET).await;
            assert!(client.until("none").await.starts_with("HTTP/1.1 503 "));
        }
    });
    let pools = || (0..lab.worker.current().tree.pools.len()).map(|at| lab.of_pool(at));
    assert_eq!(pools().map(|pool| pool.no_server.get()).sum::<u64>(), 3);
    assert_eq!(pools().map(|pool| pool.requests.get()).sum::<u64>(), 1, "none was sent on");
    let log = lab.log();
    assert!(log[1..].iter().all(|r| r["request_state"] == "no pool of the group can serve"), "{log:?}");
}

#[test]
fn a_request_that_is_refused_has_its_line_and_comes_after_what_was_served() {
    for (refused, status, why) in [
        ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: none\r\n\r\n", 400, "Content-Length"),
        ("GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", 400, ""),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}", 400, ""),
        ("GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505, ""),
    ] {
        let mut lab = Lab::new(&document("", "", ""));
        ok_server(&lab, SERVER);
        lab.run(async {
            let mut client = lab.client().await;
            client.send(GET).await;
            client.until("ok").await;
            client.send(refused).await;
            let answer = client.all().await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{refused:?}: {answer}");
        });
        let log = lab.log();
        assert_eq!(log.len(), 2, "{refused:?}");
        assert_eq!((&log[0]["response_code"], &log[1]["response_code"]), (&200.into(), &status.into()));
        assert_eq!(log[1]["request_length"], refused.len(), "{}", log[1]);
        let state = log[1]["request_state"].as_str().expect("a text");
        assert!(state.contains(why) && state != "complete" && !state.is_empty(), "{refused:?}: {state}");
        assert_eq!(log[1]["client_ip"], log[0]["client_ip"]);
        assert!(log[1]["server_ip"].is_null(), "{}", log[1]);
    }
}
