//! Every time-out of a request, on a virtual clock: what the client gets, and which counter moves.

use crate::memory;
use crate::memory::{Lab, sleep_ms};

const SERVER: &str = "10.0.0.1:80";
const OTHER: &str = "10.0.0.2:80";

fn document(profile: &str, pool: &str) -> String {
    format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"192.0.2.1:80\"]\npool = \"web\"\n\
         http_profile = \"p\"\n[[http_profile]]\nname = \"p\"\n{profile}\n[[pool]]\nname = \"web\"\n\
         algorithm = \"round_robin\"\n{pool}\n[[pool.server]]\naddress = \"{SERVER}\"\n"
    )
}

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

async fn ok(_: forebay_host_uring::rt::memory::Memory, mut peer: memory::Peer) {
    while peer.until("\r\n\r\n").await.ends_with("\r\n\r\n") {
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    }
}

//= test SE-TIMEOUT-02
#[test]
fn a_head_that_does_not_come_in_time_is_answered_408_and_counted() {
    let mut lab = Lab::new(&document("header_timeout_ms = 2000", ""));
    lab.server(SERVER, ok);
    let (answer, took) = lab.run(async {
        let mut client = lab.client().await;
        client.send("GET / HTTP/1.1\r\nHo").await;
        let begin = lab.now_us();
        (client.all().await, lab.now_us() - begin)
    });
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("Connection: close"), "{answer}");
    assert!((2_000_000..4_000_000).contains(&took), "{took}");
    assert_eq!(lab.metrics.timeouts.header.get(), 1);
    let log = lab.log();
    assert_eq!(log[0]["response_code"], 408);
    assert_eq!(log[0]["request_state"], "the request's head did not come in time");
}

#[test]
fn a_client_that_says_nothing_is_closed_without_an_answer() {
    let lab = Lab::new(&document("header_timeout_ms = 2000\nidle_timeout_ms = 7000", ""));
    lab.server(SERVER, ok);
    let (silent, kept) = lab.run(async {
        let silent = lab.client().await.all().await;
        let mut client = lab.client().await;
        client.send(GET).await;
        let answer = client.until("ok").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let begin = lab.now_us();
        assert_eq!(client.all().await, "");
        (silent, lab.now_us() - begin)
    });
    assert_eq!(silent, "");
    assert!((7_000_000..7_100_000).contains(&kept), "{kept}");
    assert_eq!((lab.metrics.timeouts.header.get(), lab.metrics.timeouts.idle.get()), (1, 1));
}

#[test]
fn a_connect_that_is_not_answered_ends_in_time_and_another_server_serves() {
    let mut lab = Lab::new(
        &(document("connect_timeout_ms = 3000", "") + "[[pool.server]]\naddress = \"10.0.0.2:80\"\n"),
    );
    lab.memory.silence(memory::at(SERVER));
    lab.server(OTHER, ok);
    let answers = lab.run(async {
        let mut client = lab.client().await;
        let mut answers = Vec::new();
        for _ in 0..2 {
            client.send(GET).await;
            answers.push(client.until("ok").await);
        }
        answers
    });
    assert!(answers.iter().all(|answer| answer.starts_with("HTTP/1.1 200 ")), "{answers:?}");
    assert!(lab.metrics.timeouts.connect.get() >= 1);
    assert!(lab.of_pool(0).retries.get() >= 1);
    let tried = lab.log().iter().map(|r| r["servers_tried"].as_u64().expect("a number")).max();
    assert_eq!(tried, Some(2));
}

#[test]
fn a_connect_that_nobody_answers_is_a_504() {
    let lab = Lab::new(&document("connect_timeout_ms = 3000", ""));
    lab.memory.silence(memory::at(SERVER));
    let answer = lab.run(async {
        let mut client = lab.client().await;
        client.send(GET).await;
        client.until("\r\n\r\n").await
    });
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert_eq!(lab.metrics.timeouts.connect.get(), 1);
}

#[test]
fn a_server_that_does_not_answer_in_time_is_a_504_and_not_asked_twice() {
    let lab = Lab::new(&document("response_timeout_ms = 5000", ""));
    lab.server(SERVER, |rt, mut peer| async move {
        peer.until("\r\n\r\n").await;
        sleep_ms(&rt, 60_000).await;
    });
    let (answer, took) = lab.run(async {
        let mut client = lab.client().await;
        let begin = lab.now_us();
        client.send(GET).await;
        (client.until("\r\n\r\n").await, lab.now_us() - begin)
    });
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert!((5_000_000..5_100_000).contains(&took), "{took}");
    assert_eq!(lab.metrics.timeouts.response.get(), 1);
    assert_eq!(lab.of_server(0).connections.opened.get(), 1);
}

//= test SE-BLAME-01
#[test]
fn a_server_is_charged_with_an_answer_that_is_late_and_not_with_a_short_total() {
    for (profile, charged) in [
        ("response_timeout_ms = 5000\ntotal_timeout_ms = 60000", 1),
        ("response_timeout_ms = 60000\ntotal_timeout_ms = 5000", 0),
    ] {
        let lab = Lab::new(&document(profile, ""));
        lab.server(SERVER, |rt, mut peer| async move {
            peer.until("\r\n\r\n").await;
            sleep_ms(&rt, 60_000).await;
        });
        let answer = lab.run(async {
            let mut client = lab.client().await;
            client.send(GET).await;
            client.until("\r\n\r\n").await
        });
        assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
        assert_eq!(lab.of_server(0).aborts.get(), charged, "{profile}");
    }
}

#[test]
fn a_request_body_that_stands_still_is_a_408() {
    let lab = Lab::new(&document("body_timeout_ms = 4000", ""));
    lab.server(SERVER, |_, mut peer| async move {
        peer.all().await;
    });
    let answer = lab.run(async {
        let mut client = lab.client().await;
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf").await;
        client.all().await
    });
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(lab.metrics.timeouts.body.get(), 1);
}

//= test SE-TIMEOUT-05
#[test]
fn a_server_that_takes_no_more_of_an_upload_is_a_504_and_not_an_endless_wait() {
    let lab = Lab::new(&document("body_timeout_ms = 1000\nresponse_timeout_ms = 2000", ""));
    lab.server(SERVER, |rt, mut peer| async move {
        peer.until("\r\n\r\n").await;
        sleep_ms(&rt, 60_000).await;
    });
    let (answer, took) = lab.run(async {
        let mut client = lab.client().await;
        let begin = lab.now_us();
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n").await;
        client.send(vec![b'x'; 250_000]).await;
        (client.all().await, lab.now_us() - begin)
    });
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert!((3_000_000..5_000_000).contains(&took), "{took}");
    assert_eq!(lab.metrics.timeouts.response.get(), 1);
}

#[test]
fn an_answer_that_stands_still_is_cut() {
    let mut lab = Lab::new(&document("body_timeout_ms = 4000", ""));
    lab.server(SERVER, |rt, mut peer| async move {
        peer.until("\r\n\r\n").await;
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
        sleep_ms(&rt, 60_000).await;
    });
    let answer = lab.run(async {
        let mut client = lab.client().await;
        client.send(GET).await;
        client.all().await
    });
    assert!(answer.ends_with("4\r\nhalf\r\n"), "no last chunk: {answer}");
    assert_eq!(lab.metrics.timeouts.body.get(), 1);
    assert_eq!(lab.log()[0]["request_state"], "the server stood still in the middle of the answer");
}

#[test]
fn a_client_that_does_not_read_is_cut() {
    let mut lab = Lab::new(&document("body_timeout_ms = 4000", ""));
    lab.server(SERVER, |_, mut peer| async move {
        peer.until("\r\n\r\n").await;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await;
        peer.send(vec![b'x'; 1_000_000]).await;
    });
    lab.run(async {
        let mut client = lab.client().await;
        client.send(GET).await;
        lab.sleep_ms(10_000).await;
        assert!(client.all().await.len() < 200_000);
    });
    assert_eq!(lab.metrics.timeouts.body.get(), 1);
    assert_eq!(lab.log()[0]["request_state"], "the client read too slowly");
}

//= test SE-TIMEOUT-04
#[test]
fn a_request_that_takes_too_long_as_a_whole_ends_wherever_it_is() {
    let lab = Lab::new(&document("total_timeout_ms = 6000", ""));
    lab.server(SERVER, |rt, mut peer| async move {
        peer.until("\r\n\r\n").await;
        sleep_ms(&rt, 5_000).await;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n").await;
        for _ in 0..10 {
            sleep_ms(&rt, 400).await;
            peer.send("0123456789").await;
        }
    });
    let (answer, took) = lab.run(async {
        let mut client = lab.client().await;
        let begin = lab.now_us();
        client.send(GET).await;
        (client.all().await, lab.now_us() - begin)
    });
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("01234567890123456789"), "{answer}");
    assert!((6_000_000..6_100_000).contains(&took), "{took}");
    assert_eq!(lab.metrics.timeouts.total.get(), 1);
}

#[test]
fn a_request_that_waits_too_long_for_a_server_is_a_503() {
    let queue = "max_concurrent_connections_per_server = 1\n\
                 request_queue = { enabled = true, depth = 1, timeout_ms = 2000 }";
    let lab = Lab::new(&document("", queue));
    lab.server(SERVER, |rt, mut peer| async move {
        peer.until("\r\n\r\n").await;
        sleep_ms(&rt, 10_000).await;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    });
    lab.run(async {
        let mut first = lab.client().await;
        first.send(GET).await;
        lab.sleep_ms(100).await;
        let mut second = lab.client().await;
        second.send(GET).await;
        lab.sleep_ms(100).await;
        let mut third = lab.client().await;
        third.send(GET).await;
        let full = third.until("\r\n\r\n").await;
        assert!(full.starts_with("HTTP/1.1 503 "), "{full}");
        let late = second.until("\r\n\r\n").await;
        assert!(late.starts_with("HTTP/1.1 503 "), "{late}");
        assert!(first.until("ok").await.starts_with("HTTP/1.1 200 "));
    });
    assert_eq!(lab.metrics.timeouts.queue.get(), 1);
    assert_eq!((lab.of_pool(0).queued.get(), lab.of_pool(0).queue_full.get()), (1, 1));
}

//= test SE-QUEUE-01
#[test]
fn a_request_that_waits_is_served_when_a_place_comes_free() {
    let queue = "max_concurrent_connections_per_server = 1\n\
                 request_queue = { enabled = true, depth = 10, timeout_ms = 60000 }";
    let lab = Lab::new(&document("", queue));
    lab.server(SERVER, |rt, mut peer| async move {
        let head = peer.until("\r\n\r\n").await;
        let path = head.split(' ').nth(1).unwrap_or("").to_owned();
        sleep_ms(&rt, 1_000).await;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len());
        peer.send(answer).await;
        peer.all().await;
    });
    lab.run(async {
        let mut clients = Vec::new();
        for n in 0..5 {
            let mut client = lab.client().await;
            client.send(format!("GET /{n} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            clients.push(client);
            lab.sleep_ms(50).await;
        }
        let begin = lab.now_us();
        for (n, client) in clients.iter_mut().enumerate() {
            let answer = client.until(&format!("\r\n\r\n/{n}")).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        // One after the other, without a pause between them.
        let took = lab.now_us() - begin;
        assert!((4_500_000..5_600_000).contains(&took), "{took}");
    });
    assert_eq!(lab.of_pool(0).queued.get(), 4);
}

#[test]
fn an_upgraded_connection_that_stands_still_is_closed() {
    let lab = Lab::new(&document("upgraded_idle_timeout_ms = 9000", ""));
    lab.server(SERVER, |_, mut peer| async move {
        peer.until("\r\n\r\n").await;
        peer.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            .await;
        while !peer.exactly(4).await.is_empty() {
            peer.send("pong").await;
        }
    });
    let took = lab.run(async {
        let mut client = lab.client().await;
        client.send("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n").await;
        let answer = client.until("\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        for _ in 0..3 {
            lab.sleep_ms(8_000).await;
            client.send("ping").await;
            assert_eq!(client.exactly(4).await, b"pong");
        }
        let begin = lab.now_us();
        assert_eq!(client.all().await, "");
        lab.now_us() - begin
    });
    assert!((9_000_000..9_100_000).contains(&took), "{took}");
    assert_eq!(lab.metrics.timeouts.upgraded_idle.get(), 1);
    assert_eq!(lab.of_service(0).upgrades.get(), 1);
}
