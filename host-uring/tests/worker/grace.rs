//! What is open at a server that is disabled or found down: it goes on until the grace is over, and is cut then.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::rc::Rc;

use crate::memory;
use crate::memory::{Lab, Peer, sleep_ms};
use crate::support::{Engine, Server, eventually, read_answer, read_request};
use forebay_host_uring::config::HealthState;
use forebay_host_uring::control::mailbox::Message;
use forebay_host_uring::rt::memory::Memory;
use forebay_host_uring::rt::{Now, Rt};

const A: &str = "10.0.0.1:80";
const B: &str = "10.0.0.2:80";
const CUT: &str = "cut: the grace of its disabled or failed server is over";

/// Two servers; the header `X-To` says which one.
fn document(pool: &str, a: &str) -> String {
    bound("", pool, a)
}

/// Likewise, with further keys of the persistence.
fn bound(keys: &str, pool: &str, a: &str) -> String {
    format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"192.0.2.1:80\"]\npool = \"web\"\n\
         http_profile = \"p\"\n[[http_profile]]\nname = \"p\"\nresponse_timeout_ms = 3600000\n[[persistence]]\n\
         name = \"to\"\ntype = \"custom_header\"\nheader = \"X-To\"\n{keys}\n[[pool]]\nname = \"web\"\n\
         persistence = \"to\"\n{pool}\n[[pool.server]]\naddress = \"{A}\"\nheader_value = \"a\"\n{a}\n\
         [[pool.server]]\naddress = \"{B}\"\nheader_value = \"b\"\n"
    )
}

/// A server that streams, echoes, swallows, or keeps silent, as the path says; B answers what A keeps silent on.
async fn serve(rt: Memory, mut peer: Peer, name: &'static str) {
    loop {
        let head = peer.until("\r\n\r\n").await;
        match head.split(' ').nth(1) {
            Some("/stream") => {
                peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
                // The lab ends before this does.
                for _ in 0..100_000 {
                    peer.send("1\r\nx\r\n").await;
                    sleep_ms(&rt, 1_000).await;
                }
            }
            Some("/ws") => {
                let upgraded = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                                Connection: Upgrade\r\n\r\n";
                peer.send(upgraded).await;
                while !peer.exactly(1).await.is_empty() {
                    peer.send("y").await;
                }
            }
            Some("/upload") => {
                peer.all().await;
            }
            Some("/silent") if name == A => {
                peer.all().await;
            }
            Some(_) => peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await,
            None => return,
        }
    }
}

/// What each client got, and when its connection ended, milliseconds after the beginning.
/// And whether that end was a reset.
type Ends = Rc<RefCell<BTreeMap<String, (u64, String, bool)>>>;

/// Opens one of each kind at the server `to`; all of them move a byte each second.
async fn open_all(lab: &Lab, to: &'static str, ends: &Ends) {
    let began = lab.now_us();
    // B answers at once what A keeps silent on.
    let kinds = &["stream", "ws", "upload", "silent", "post"][..if to == "a" { 5 } else { 3 }];
    for &kind in kinds {
        let mut client = lab.client().await;
        let path = if kind == "post" { "silent" } else { kind };
        let (method, fields) = match kind {
            "ws" => ("GET", "Upgrade: websocket\r\nConnection: Upgrade\r\n"),
            "upload" => ("POST", "Content-Length: 1000\r\n"),
            "post" => ("POST", "Content-Length: 0\r\n"),
            _ => ("GET", ""),
        };
        client.send(format!("{method} /{path} HTTP/1.1\r\nHost: x\r\nX-To: {to}\r\n{fields}\r\n")).await;
        let (rt, ends) = (lab.memory.clone(), ends.clone());
        lab.memory.spawn(async move {
            let mut got = String::new();
            let moves = kind == "ws" || kind == "upload";
            while moves && !client.has_ended() {
                client.send("x").await;
                sleep_ms(&rt, 1_000).await;
                if kind == "ws" && got.is_empty() {
                    got = client.until("\r\n\r\n").await;
                }
            }
            let (rest, reset) = match kind {
                "silent" => (client.until("ok").await, false),
                "post" => (client.until("\r\n\r\n").await, false),
                _ => client.all_and_reset().await,
            };
            got += &rest;
            ends.borrow_mut().insert(format!("{to} {kind}"), ((rt.now().0 - began) / 1_000, got, reset));
        });
    }
}

/// The open ones at A were cut within a second after `at_ms`, and none of those at B.
fn assert_cut(lab: &mut Lab, ends: &Ends, at_ms: u64) {
    let ends = ends.borrow();
    let names: Vec<&str> = ends.keys().map(String::as_str).collect();
    assert_eq!(names, ["a post", "a silent", "a stream", "a upload", "a ws"], "{ends:?}");
    for (name, (ended, got, reset)) in ends.iter() {
        assert!((at_ms..=at_ms + 1_200).contains(ended), "{name} ended after {ended} ms");
        let begins = match name.as_str() {
            "a stream" => "HTTP/1.1 200 ",
            // It may be repeated: the other server answers.
            "a silent" => "HTTP/1.1 200 ",
            "a ws" => "HTTP/1.1 101 ",
            _ => "HTTP/1.1 503 ",
        };
        assert!(got.starts_with(begins), "{name}: {got}");
        assert!(!got.contains("\r\n0\r\n\r\n"), "{name}: a cut answer does not look whole");
        assert_eq!(*reset, name == "a stream" || name == "a ws", "{name}: what had begun is reset");
    }
    assert_eq!((lab.of_server(0).cuts.get(), lab.of_server(1).cuts.get()), (5, 0));
    assert_eq!(lab.of_server(0).aborts.get(), 0, "it is not the server's fault");
    assert_eq!(lab.of_server(0).connections.now(), 0, "idle ones included");
    assert_eq!(lab.log().iter().filter(|record| record["request_state"] == CUT).count(), 4);
}

fn lab(document: &str) -> (Lab, Ends) {
    let lab = Lab::new(document);
    lab.server(A, |rt, peer| serve(rt, peer, A));
    lab.server(B, |rt, peer| serve(rt, peer, B));
    lab.follow_servers();
    (lab, Ends::default())
}

//= test SE-CUT-01
//= test LB-DRAIN-03
#[test]
fn what_is_open_at_a_disabled_server_is_cut_when_the_grace_is_over_and_not_before() {
    let pool = "server_disable = \"allow_persistent\"\ngraceful_disable_timeout_min = 1";
    let (mut lab, ends) = lab(&document(pool, "enabled = false"));
    let began = lab.now_us();
    lab.run(async {
        lab.sleep_ms(10_000).await;
        open_all(&lab, "a", &ends).await;
        open_all(&lab, "b", &ends).await;
        lab.memory.sleep_until(Now(began + 59_900_000)).await;
        assert!(ends.borrow().is_empty(), "before its time: {:?}", ends.borrow());
        lab.sleep_ms(5_000).await;
        // Nobody else is touched, and long after as little.
        lab.sleep_ms(120_000).await;
    });
    assert_cut(&mut lab, &ends, 50_000);
}

//= test SE-CUT-01
#[test]
fn what_is_open_at_a_server_that_went_down_is_cut_when_its_grace_is_over_unless_it_comes_back() {
    let (mut lab, ends) = lab(&document("graceful_hm_down_disable_timeout_s = 60", ""));
    lab.run(async {
        // Idle connections to it, which go as well.
        let mut client = lab.client().await;
        client.send("GET / HTTP/1.1\r\nHost: x\r\nX-To: a\r\n\r\n").await;
        client.until("ok").await;
        open_all(&lab, "a", &ends).await;
        open_all(&lab, "b", &ends).await;
        lab.sleep_ms(1_000).await;
        lab.set_health(0, HealthState::Down);
        lab.sleep_ms(39_000).await;
        lab.set_health(0, HealthState::Up);
        lab.sleep_ms(40_000).await;
        lab.set_health(0, HealthState::Down);
        lab.sleep_ms(30_000).await;
        lab.set_health(0, HealthState::Maintenance);
        lab.sleep_ms(29_900).await;
        assert!(ends.borrow().is_empty(), "before its time: {:?}", ends.borrow());
        lab.sleep_ms(60_000).await;
    });
    assert_cut(&mut lab, &ends, 140_000);
}

#[test]
fn without_an_end_of_the_grace_nothing_is_cut() {
    let (lab, ends) = lab(&document("", ""));
    lab.run(async {
        open_all(&lab, "a", &ends).await;
        lab.sleep_ms(1_000).await;
        lab.set_health(0, HealthState::Down);
        lab.sleep_ms(1_800_000).await;
    });
    assert!(ends.borrow().is_empty(), "{:?}", ends.borrow());
    assert_eq!(lab.of_server(0).cuts.get(), 0);
}

#[test]
fn what_a_policy_sends_to_a_failed_server_after_the_cut_goes_on() {
    let keys = "server_down = \"continue_persistent_server\"";
    let (lab, ends) = lab(&bound(keys, "graceful_hm_down_disable_timeout_s = 0", ""));
    lab.run(async {
        lab.set_health(0, HealthState::Down);
        lab.sleep_ms(500).await;
        open_all(&lab, "a", &ends).await;
        lab.sleep_ms(10_000).await;
        lab.set_health(0, HealthState::Maintenance);
        lab.sleep_ms(60_000).await;
    });
    assert!(ends.borrow().is_empty(), "{:?}", ends.borrow());
}

//= test SE-CUT-01
#[test]
fn a_request_whose_cut_comes_before_it_was_sent_goes_to_another_server() {
    let mut lab = Lab::new(&document("graceful_hm_down_disable_timeout_s = 0", ""));
    lab.memory.silence(memory::at(A));
    lab.server(B, |rt, peer| serve(rt, peer, B));
    lab.follow_servers();
    let answer = lab.run(async {
        let mut client = lab.client().await;
        client.send("POST / HTTP/1.1\r\nHost: x\r\nX-To: a\r\nContent-Length: 0\r\n\r\n").await;
        lab.sleep_ms(200).await;
        lab.set_health(0, HealthState::Down);
        lab.sleep_ms(500).await;
        assert_eq!(lab.of_server(0).connections.opened.get(), 0, "it is still being opened");
        lab.server(A, |_, mut peer| async move {
            assert_eq!(peer.all().await, "", "nothing of it is sent there");
        });
        client.until("\r\n\r\n").await
    });
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(lab.of_server(0).connections.opened.get(), 1, "the connection came after the cut");
    assert_eq!(lab.of_server(0).tx_bytes.get(), 0);
    assert_eq!(lab.log()[0]["servers_tried"], 2);
}

//= test SE-CUT-01
#[test]
fn a_worker_cuts_by_itself_whether_or_not_a_message_tells_it_of_the_change() {
    let server = Server::start(|mut stream| {
        let mut rest = Vec::new();
        read_request(&mut stream, &mut rest).expect("a request");
        let upgraded =
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        stream.write_all(upgraded).expect("sent");
        let _ = stream.read(&mut [0; 100]);
    });
    let document = format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:8080\"]\npool = \"web\"\n\
         [[pool]]\nname = \"web\"\ngraceful_hm_down_disable_timeout_s = 0\n[[pool.server]]\n\
         address = \"{}\"\n",
        server.address
    );
    for told in [true, false] {
        let engine = Engine::start(&document, 2);
        let mut clients = Vec::new();
        for _ in 0..8 {
            let mut client = engine.connect();
            client
                .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
                .expect("sent");
            assert_eq!(read_answer(&mut client, &mut Vec::new(), false).expect("an answer").status, 101);
            clients.push(client);
        }
        let pool = &engine.tree.pools[0];
        pool.servers[0].shared.publish(HealthState::Down);
        pool.shared.bump();
        for mailbox in engine.mailboxes.iter().filter(|_| told) {
            mailbox.send(Message::PoolsChanged).expect("room");
        }
        for client in &mut clients {
            let end = client.read(&mut [0; 100]).map_err(|error| error.kind());
            assert_eq!(end, Err(std::io::ErrorKind::ConnectionReset), "within the time-out");
        }
        eventually("all are counted", || engine.servers(0, |one| one.cuts.get()) == 8);
    }
}
