//! A side that does not read: nothing is read for it, and nothing is held for it, in any direction.

use std::cell::Cell;
use std::rc::Rc;

use crate::memory::{Lab, Peer, sleep_ms};

const SERVER: &str = "10.0.0.1:80";
/// What one in-memory pipe holds.
const PIPE: usize = 64 * 1024;

fn document(profile: &str) -> String {
    format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"192.0.2.1:80\"]\npool = \"web\"\n\
         http_profile = \"p\"\n[[http_profile]]\nname = \"p\"\n{profile}\n[[pool]]\nname = \"web\"\n\
         [[pool.server]]\naddress = \"{SERVER}\"\n"
    )
}

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

/// The least that is read for somebody who takes some.
const LEAST: usize = 1024;

/// Two pipes are full, and hardly anything is between them.
fn assert_only_the_pipes_hold(sent: usize) {
    assert!(
        sent <= 2 * PIPE + LEAST,
        "{sent} bytes went out: {} are held between the pipes",
        sent.saturating_sub(2 * PIPE)
    );
    assert!(sent > PIPE, "{sent} bytes: what could be passed on was");
}

//= test SE-BODY-01
#[test]
fn of_an_upload_that_the_server_does_not_read_nothing_is_held() {
    for framing in ["Content-Length: 10000000", "Transfer-Encoding: chunked"] {
        let lab = Lab::new(&document(""));
        lab.server(SERVER, |rt, peer| async move {
            sleep_ms(&rt, 20_000).await;
            drop(peer);
        });
        let sent = lab.run(async {
            let mut client = lab.client().await;
            client.send(format!("POST / HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n9fffff\r\n")).await;
            client.fill(&lab.memory).await
        });
        assert_only_the_pipes_hold(sent);
        assert!(lab.worker.buffers.held_bytes() <= LEAST, "{framing}: {}", lab.worker.buffers.held_bytes());
    }
}

//= test SE-TUNNEL-02
#[test]
fn of_a_tunnel_that_nobody_reads_nothing_is_held() {
    let lab = Lab::new(&document(""));
    let down = Rc::new(Cell::new(0));
    let sent = down.clone();
    lab.server(SERVER, move |rt, mut peer| {
        let sent = sent.clone();
        async move {
            peer.until("\r\n\r\n").await;
            peer.send(SWITCH).await;
            sent.set(peer.fill(&rt).await);
            sleep_ms(&rt, 20_000).await;
        }
    });
    let up = lab.run(async {
        let mut client = lab.client().await;
        client.send(UPGRADE).await;
        client.fill(&lab.memory).await
    });
    assert_only_the_pipes_hold(up);
    assert_only_the_pipes_hold(down.get());
    assert!(lab.worker.buffers.held_bytes() <= 2 * LEAST, "{}", lab.worker.buffers.held_bytes());
}

//= test SE-BODY-01
#[test]
fn no_more_is_read_than_the_receiver_has_room_for() {
    let lab = Lab::new(&document(""));
    lab.server(SERVER, |rt, mut peer| async move {
        peer.until("\r\n\r\n").await;
        peer.send(SWITCH).await;
        sleep_ms(&rt, 1_000).await;
        // A quarter of what waits for it.
        peer.exactly(PIPE / 4).await;
        sleep_ms(&rt, 20_000).await;
    });
    lab.run(async {
        let mut client = lab.client().await;
        client.send(UPGRADE).await;
        client.until("\r\n\r\n").await;
        client.fill(&lab.memory).await;
        lab.sleep_ms(2_000).await;
        let more = client.fill(&lab.memory).await;
        assert!((PIPE / 4 - LEAST..=PIPE / 4 + LEAST).contains(&more), "{more} bytes went on");
        assert!(lab.worker.buffers.held_bytes() <= LEAST, "{}", lab.worker.buffers.held_bytes());
    });
}

//= test SE-BODY-02
#[test]
fn of_an_answer_that_the_client_does_not_read_nothing_is_held() {
    let lab = Lab::new(&document(""));
    let down = Rc::new(Cell::new(0));
    let sent = down.clone();
    lab.server(SERVER, move |rt, mut peer| {
        let sent = sent.clone();
        async move {
            peer.until("\r\n\r\n").await;
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n").await;
            sent.set(peer.fill(&rt).await);
            sleep_ms(&rt, 20_000).await;
        }
    });
    lab.run(async {
        let mut client = lab.client().await;
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        lab.sleep_ms(100).await;
    });
    // The first piece comes before the client's room is known: it may not fit as a whole.
    assert!(down.get() <= 2 * PIPE + 200, "{} bytes went out", down.get());
    assert!(lab.worker.buffers.held_bytes() <= 200, "{}", lab.worker.buffers.held_bytes());
}

//= test SE-HEAD-02
#[test]
fn what_came_of_a_servers_head_waits_for_its_rest_in_little_memory() {
    for begin in [1, 1_000, 20_000] {
        let lab = Lab::new(&document(""));
        let fields = format!("X-A: {}\r\n", "v".repeat(5_000)).repeat(6);
        let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\n");
        let expected = head.len();
        lab.server(SERVER, move |rt, mut peer| {
            let head = head.clone();
            async move {
                peer.until("\r\n\r\n").await;
                peer.send(&head[..begin]).await;
                sleep_ms(&rt, 1_000).await;
                peer.send(&head[begin..]).await;
                peer.send("ok").await;
                peer.all().await;
            }
        });
        lab.run(async {
            let mut client = lab.client().await;
            client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
            lab.sleep_ms(500).await;
            assert_eq!(lab.worker.buffers.unused_large(), 1, "after {begin} bytes a large buffer is held");
            assert_eq!(lab.worker.buffers.held_bytes(), begin);
            let answer = client.until("ok").await;
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.len() > expected, "{begin}");
        });
        assert_eq!(lab.worker.buffers.held_bytes(), 0);
    }
}

//= test SE-HEAD-02
//= test SE-INTERIM-01
#[test]
fn an_interim_answer_that_its_client_does_not_take_holds_no_large_buffer() {
    for behind in ["", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"] {
        let lab = Lab::new(&document(""));
        lab.memory.pipe_capacity(6_000);
        lab.server(SERVER, move |_, mut peer| async move {
            peer.until("\r\n\r\n").await;
            let hint = format!("HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n", "v".repeat(4_000));
            peer.send(hint.repeat(2) + behind).await;
            if behind.is_empty() {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n").await;
            }
            peer.send("ok").await;
            peer.all().await;
        });
        lab.run(async {
            let mut client = lab.client().await;
            client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
            lab.sleep_ms(100).await;
            assert_eq!(lab.worker.buffers.unused_large(), 1, "a large buffer is held");
            let held = lab.worker.buffers.held_bytes();
            assert!((2_000..6_000).contains(&held), "{held} bytes wait");
            let answer = client.until("ok").await;
            assert_eq!(answer.matches("HTTP/1.1 103 Early Hints\r\n").count(), 2, "{answer}");
            assert_eq!(answer.matches("HTTP/1.1 200 OK\r\n").count(), 1, "{answer}");
        });
        assert_eq!(lab.worker.buffers.held_bytes(), 0);
    }
}

//= test SE-BODY-02
#[test]
fn bytes_behind_an_answer_hold_no_large_buffer_while_its_client_does_not_read() {
    let mut lab = Lab::new(&document(""));
    lab.memory.pipe_capacity(6_000);
    lab.server(SERVER, |_, mut peer| async move {
        peer.until("\r\n\r\n").await;
        let head = format!("HTTP/1.1 200 OK\r\nX-A: {}\r\nContent-Length: 3000\r\n\r\n", "v".repeat(4_000));
        peer.send(format!("{head}{}too much", "x".repeat(3_000))).await;
        peer.all().await;
    });
    lab.run(async {
        let mut client = lab.client().await;
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        lab.sleep_ms(100).await;
        assert_eq!(lab.worker.buffers.unused_large(), 1, "a large buffer is held");
        let answer = client.until(&"x".repeat(3_000)).await;
        assert!(answer.ends_with("x") && !answer.contains("too much"), "{answer}");
        lab.sleep_ms(10).await;
    });
    assert_eq!(lab.log()[0]["significance"][0], "the server sent more than it announced");
}

//= test SE-HELD-01
#[test]
fn while_much_is_held_the_first_read_of_an_answer_is_small_too() {
    const SMALL: usize = 4_096;
    for scarce in [true, false] {
        let lab = Lab::new(&document(""));
        lab.memory.pipe_capacity(40_000);
        lab.server(SERVER, |_, mut peer| async move {
            // The first answer fills the client's socket, the second one finds no room there.
            for size in [38_500, 30_000] {
                peer.until("\r\n\r\n").await;
                let content = "x".repeat(size);
                peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n{content}")).await;
            }
            peer.all().await;
        });
        let much = lab.worker.buffers.hold(if scarce { 3 << 20 } else { 0 });
        let before = lab.worker.buffers.held_bytes();
        lab.run(async {
            let mut client = lab.client().await;
            client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2)).await;
            lab.sleep_ms(100).await;
            let held = lab.worker.buffers.held_bytes() - before;
            assert_eq!(held <= SMALL, scarce, "{held} bytes are held");
            assert!(held > 1_000, "{held}: something waits");
            for size in [38_500, 30_000] {
                client.until("\r\n\r\n").await;
                assert_eq!(client.exactly(size).await.len(), size);
            }
        });
        drop(much);
    }
}

//= test SE-BODY-01
//= test SE-TUNNEL-02
#[test]
fn bytes_come_through_unchanged_and_in_order_however_small_the_sockets_and_slow_the_readers() {
    for capacity in [1, 700, 4096, 5000, 20_000] {
        let lab = Lab::new(&document(""));
        lab.memory.pipe_capacity(capacity);
        let content: Vec<u8> =
            (0..150_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let expected = content.clone();
        lab.server(SERVER, move |rt, mut peer| {
            let expected = expected.clone();
            async move {
                let head = peer.until("\r\n\r\n").await;
                if head.starts_with("GET ") {
                    peer.send(SWITCH).await;
                }
                sip(&rt, &mut peer, &expected).await;
                if head.starts_with("GET ") {
                    peer.send(&expected).await;
                } else {
                    peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await;
                }
                peer.all().await;
            }
        });
        lab.run(async {
            let mut client = lab.client().await;
            client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 150000\r\n\r\n").await;
            client.send(&content).await;
            assert!(client.until("ok").await.starts_with("HTTP/1.1 200 "), "{capacity}");
            let mut client = lab.client().await;
            client.send(UPGRADE).await;
            let answer = client.until("\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 101 "), "{capacity}: {answer}");
            client.send(&content).await;
            sip(&lab.memory, &mut client, &content).await;
        });
        assert_eq!(lab.worker.buffers.held_bytes(), 0, "{capacity}: what was held was passed on");
    }
}

/// Reads slowly, and compares.
async fn sip(rt: &forebay_host_uring::rt::memory::Memory, peer: &mut Peer, expected: &[u8]) {
    for piece in expected.chunks(9_999) {
        sleep_ms(rt, 5).await;
        assert!(peer.exactly(piece.len()).await == piece, "bytes were changed");
    }
}

//= test SE-HEAD-01
#[test]
fn slow_large_heads_have_a_bound_together_and_are_refused_and_counted_beyond_it() {
    // 10,000 connections share 50 MB: some 1,250 heads of 47 KB.
    const CLIENTS: usize = 1_400;
    let lab = Lab::new(&document("header_timeout_ms = 60000"));
    lab.server(SERVER, |_, mut peer| async move {
        while peer.until("\r\n\r\n").await.ends_with("\r\n\r\n") {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    });
    let field = |n: usize| format!("X-{n}: {}\r\n", "v".repeat(4_000));
    let part: String = (0..11).map(field).collect();
    let (mut served, mut refused) = (0, 0);
    lab.run(async {
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let mut client = lab.client().await;
            client.send(format!("GET / HTTP/1.1\r\nHost: x\r\n{part}")).await;
            lab.sleep_ms(1).await;
            clients.push(client);
        }
        for client in &mut clients {
            client.send("\r\n").await;
            let answer = client.until("\r\n\r\n").await;
            match answer.get(..13) {
                Some("HTTP/1.1 200 ") => served += 1,
                Some("HTTP/1.1 503 ") => refused += 1,
                _ => panic!("{answer}"),
            }
        }
        drop(clients);
        let mut client = lab.client().await;
        client.send(format!("GET / HTTP/1.1\r\nHost: x\r\n{part}\r\n")).await;
        assert!(client.until("ok").await.starts_with("HTTP/1.1 200 "), "there is room again");
    });
    assert!(served > 1_100, "{served} of {CLIENTS} found room");
    assert!(refused > 50, "{refused} of {CLIENTS} were refused");
    assert_eq!(lab.metrics.heads_refused_memory.get(), refused);
}

#[test]
fn requests_behind_a_chunked_upload_are_answered_whatever_their_size() {
    let lab = Lab::new(&document(""));
    lab.server(SERVER, |_, mut peer| async move {
        let mut n = 0;
        while peer.until("\r\n\r\n").await.ends_with("\r\n\r\n") {
            if n == 0 {
                peer.until("0\r\n\r\n").await;
            }
            n += 1;
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{n:03}")).await;
        }
    });
    lab.run(async {
        let mut client = lab.client().await;
        client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        lab.sleep_ms(5).await;
        let next = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "v".repeat(2_000));
        client.send(format!("3\r\nabc\r\n0\r\n\r\n{}", next.repeat(20))).await;
        for n in 1..=21 {
            assert!(client.until(&format!("\r\n\r\n{n:03}")).await.starts_with("HTTP/1.1 200 "), "{n}");
        }
    });
}
