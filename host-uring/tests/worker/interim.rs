//! Interim answers (1xx) end nothing: failures after one are answered, times are those of the final answer. And load:
//! what moves for a long time counts while it moves.

use crate::memory::{Lab, sleep_ms};
use forebay_host_uring::metrics::HistogramSum;

const SERVER: &str = "10.0.0.1:80";
const OTHER: &str = "10.0.0.2:80";
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";

fn document(profile: &str, pool: &str) -> String {
    format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"192.0.2.1:80\"]\npool = \"web\"\n\
         http_profile = \"p\"\n[[http_profile]]\nname = \"p\"\n{profile}\n[[pool]]\nname = \"web\"\n{pool}\n\
         [[pool.server]]\naddress = \"{SERVER}\"\n"
    )
}

fn with_another(document: String) -> String {
    document + &format!("[[pool.server]]\naddress = \"{OTHER}\"\n")
}

/// Sends a request that waits for 100, then its content, and gives what comes after the 100.
async fn upload(lab: &Lab, head: &str, content: &str) -> String {
    let mut client = lab.client().await;
    client.send(head).await;
    assert!(client.until("\r\n\r\n").await.starts_with("HTTP/1.1 100 "));
    client.send(content).await;
    client.all().await
}

//= test SE-INTERIM-01
#[test]
fn a_server_that_dies_after_its_100_is_a_502_and_the_request_is_not_sent_again() {
    let mut lab = Lab::new(&with_another(document("", "server_reselect = { retry_nonidempotent = true }")));
    for server in [SERVER, OTHER] {
        lab.server(server, |_, mut peer| async move {
            peer.until("\r\n\r\n").await;
            peer.send(CONTINUE).await;
            peer.exactly(5).await;
        });
    }
    let answer = lab.run(async { upload(&lab, POST, "hello").await });
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer:?}");
    assert!(answer.contains("Connection: close\r\n"), "{answer}");
    let servers = lab.worker.current().tree.server_slots;
    let opened: u64 = (0..servers).map(|at| lab.of_server(at).connections.opened.get()).sum();
    assert_eq!(opened, 1, "it may have run");
    let log = lab.log();
    assert_eq!(log[0]["response_code"], 502);
    assert_eq!(log[0]["request_state"], "the server closed the connection without an answer");
}

//= test SE-INTERIM-01
#[test]
fn a_server_that_is_silent_after_its_100_is_a_504() {
    let lab = Lab::new(&document("response_timeout_ms = 3000", ""));
    lab.server(SERVER, |rt, mut peer| async move {
        peer.until("\r\n\r\n").await;
        peer.send(CONTINUE).await;
        sleep_ms(&rt, 60_000).await;
    });
    let answer = lab.run(async { upload(&lab, POST, "hello").await });
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer:?}");
    assert_eq!(lab.metrics.timeouts.response.get(), 1);
}

//= test SE-INTERIM-01
#[test]
fn content_that_is_spoilt_or_late_after_a_100_is_answered_400_or_408() {
    const CHUNKED: &str =
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n";
    for (content, status) in [("zz\r\nnot a size", "400"), ("3\r\nab", "408")] {
        let lab = Lab::new(&document("body_timeout_ms = 2000", ""));
        lab.server(SERVER, |_, mut peer| async move {
            peer.until("\r\n\r\n").await;
            peer.send(CONTINUE).await;
            peer.all().await;
        });
        let answer = lab.run(async { upload(&lab, CHUNKED, content).await });
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{content:?}: {answer:?}");
    }
}

#[test]
fn an_answer_that_is_garbled_from_its_start_after_early_hints_is_a_502() {
    let lab = Lab::new(&document("", ""));
    lab.server(SERVER, |_, mut peer| async move {
        peer.until("\r\n\r\n").await;
        peer.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n").await;
        peer.send("Transfer-Encoding: chunked\r\n\r\nno chunk").await;
        peer.all().await;
    });
    let answer = lab.run(async {
        let mut client = lab.client().await;
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        client.until("\r\n\r\n").await + &client.until("\r\n\r\n").await
    });
    assert!(answer.starts_with("HTTP/1.1 103 ") && answer.contains("HTTP/1.1 502 "), "{answer}");
}

//= test SE-INTERIM-01
#[test]
fn the_response_time_is_that_of_the_final_answer_and_not_of_an_interim_one() {
    for uploads in [false, true] {
        let mut lab = Lab::new(&document("", ""));
        lab.server(SERVER, |rt, mut peer| async move {
            let head = peer.until("\r\n\r\n").await;
            peer.send(CONTINUE).await;
            if head.starts_with("POST") {
                peer.exactly(5).await;
            }
            sleep_ms(&rt, 3_000).await;
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await;
        });
        lab.run(async {
            let mut client = lab.client().await;
            client.send(if uploads { POST } else { "GET / HTTP/1.1\r\nHost: x\r\n\r\n" }).await;
            assert!(client.until("\r\n\r\n").await.starts_with("HTTP/1.1 100 "));
            if uploads {
                client.send("hello").await;
            }
            assert!(client.until("ok").await.starts_with("HTTP/1.1 200 "));
        });
        let mut times = HistogramSum::default();
        times.add(&lab.of_server(0).response_time);
        let took = times.percentile_us(50).expect("one was observed");
        assert!(took >= 2_000_000, "{uploads}: {took} us");
        let log = lab.log();
        for field in ["app_response_time", "response_time_first_byte"] {
            let ms = log[0][field].as_f64().expect("a number");
            assert!((2_900.0..3_200.0).contains(&ms), "{uploads}: {field} {ms}");
        }
    }
}

/// Names of the servers that answer six requests of a new client.
async fn who_serves(lab: &Lab, requests: usize) -> Vec<String> {
    let mut client = lab.client().await;
    let mut names = Vec::new();
    for _ in 0..requests {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        client.until("\r\n\r\n").await;
        names.push(client.until(";").await);
    }
    names
}

//= test SE-LOAD-01
#[test]
fn an_upload_and_a_tunnel_are_load_while_they_go_on() {
    const MANY: usize = 300_000;
    for tunnel in [false, true] {
        let lab = Lab::new(&with_another(document("", "algorithm = \"least_load\"")));
        for server in [SERVER, OTHER] {
            lab.server(server, move |_, mut peer| async move {
                loop {
                    let head = peer.until("\r\n\r\n").await;
                    if head.starts_with("POST") {
                        peer.exactly(MANY).await;
                        peer.all().await;
                    } else if head.contains("Upgrade:") {
                        let upgraded = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                                        Connection: Upgrade\r\n\r\n";
                        peer.send(format!("{upgraded}{server};")).await;
                        peer.exactly(MANY).await;
                        peer.all().await;
                    } else if head.is_empty() {
                        return;
                    }
                    let length = server.len() + 1;
                    peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{server};")).await;
                }
            });
        }
        let (names, loaded) = lab.run(async {
            let mut busy = lab.client().await;
            if tunnel {
                busy.send("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
                    .await;
                assert!(busy.until("\r\n\r\n").await.starts_with("HTTP/1.1 101 "));
            } else {
                busy.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 400000\r\n\r\n").await;
            }
            busy.send(vec![b'x'; MANY]).await;
            lab.sleep_ms(10).await;
            let servers = lab.worker.current().tree.server_slots;
            let loaded = (0..servers).find(|at| lab.of_server(*at).active.now() > 0);
            // An open request counts as a thousand bytes until they come: more than that goes to the other server.
            (who_serves(&lab, 60).await, loaded)
        });
        let free = if loaded == Some(0) { OTHER } else { SERVER };
        assert_eq!(names, vec![format!("{free};"); 60], "tunnel: {tunnel}");
        let sent = lab.of_server(loaded.expect("one is busy")).tx_bytes.get();
        assert!(sent >= MANY as u64, "{sent}");
    }
}
