//! Servers that speak HTTP/2 and fall silent, on a virtual clock.

#[path = "support/memory.rs"]
mod memory;

use std::cell::RefCell;
use std::rc::Rc;

use forebay_host_uring::rt::Rt;
use forebay_host_uring::rt::memory::Memory;
use forebay_http::h1::write::{Answer, answer};
use forebay_http::h2::{Config, Connection, Event, Inbox, Role};
use memory::{Lab, Peer, sleep_ms};

const SERVER: &str = "10.0.0.1:80";
const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const PREFACE: usize = 24;
const PING: u8 = 6;
const ACK: u8 = 1;

fn document(pool: &str) -> String {
    format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"192.0.2.1:80\"]\npool = \"web\"\n\
         http_profile = \"p\"\n[[http_profile]]\nname = \"p\"\nresponse_timeout_ms = 3600000\n\
         [[pool]]\nname = \"web\"\nenable_http2 = true\n{pool}\n[[pool.server]]\naddress = \"{SERVER}\"\n"
    )
}

/// A frame's kind, flags and content.
async fn frame(peer: &mut Peer) -> Option<(u8, u8, Vec<u8>)> {
    let head = peer.exactly(9).await;
    let &[a, b, c, kind, flags, ..] = head.as_slice() else { return None };
    let len = u32::from_be_bytes([0, a, b, c]) as usize;
    Some((kind, flags, peer.exactly(len).await))
}

/// The moments at which a server was asked for a sign of life, in seconds.
type Asked = Rc<RefCell<Vec<u64>>>;

/// A server that answers no request until `answers_after` PINGs, and each PING only if it `lives`.
async fn silent(rt: Memory, mut peer: Peer, asked: Asked, lives: bool, answers_after: usize) {
    let mut out = Vec::new();
    let mut server = Connection::new(Role::Server, &Config::default(), &mut out);
    let mut inbox = Inbox::default();
    let preface = peer.exactly(PREFACE).await;
    server.feed(&preface, 0, &mut inbox, &mut out);
    peer.send(&out).await;
    let mut stream = 0;
    while let Some((kind, flags, content)) = frame(&mut peer).await {
        if kind == PING && flags & ACK == 0 {
            asked.borrow_mut().push(rt.now().0 / 1_000_000);
            if !lives {
                continue;
            }
            let mut pong = vec![0, 0, 8, PING, ACK, 0, 0, 0, 0];
            pong.extend_from_slice(&content);
            peer.send(&pong).await;
            if asked.borrow().len() < answers_after {
                continue;
            }
            sleep_ms(&rt, 1_000).await;
            out.clear();
            let mut head = Vec::new();
            answer(&Answer { status: 200, content: Some(b""), ..Answer::default() }, &mut head)
                .expect("a head");
            server.head(stream, &head, &[], true, &mut out).expect("an open stream");
            peer.send(&out).await;
            continue;
        }
        if kind == 1 {
            stream = 1;
            out.clear();
            let mut bytes = vec![0, 0, content.len() as u8, kind, flags, 0, 0, 0, 1];
            bytes.extend_from_slice(&content);
            // SETTINGS have to come first.
            let step = server.feed(&[0, 0, 0, 4, 0, 0, 0, 0, 0], 0, &mut inbox, &mut out);
            assert_eq!(step.event, Event::NeedInput);
            let step = server.feed(&bytes, 0, &mut inbox, &mut out);
            assert!(matches!(step.event, Event::Request { stream: 1, .. }), "{step:?}");
        }
    }
}

//= test H2BACK-PING-01
#[test]
fn a_silent_server_is_asked_for_a_sign_of_life_and_lost_without_one() {
    let mut lab = Lab::new(&document("server_reselect = { num_retries = 0 }"));
    let asked = Asked::default();
    let of_server = asked.clone();
    lab.server(SERVER, move |rt, peer| silent(rt, peer, of_server.clone(), false, 1));
    let (answer, took) = lab.run(async {
        let mut client = lab.client().await;
        let begin = lab.now_us();
        client.send(GET).await;
        (client.until("\r\n\r\n").await, lab.now_us() - begin)
    });
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!((30_000_000..32_000_000).contains(&took), "{took}");
    assert_eq!((asked.borrow().len(), lab.metrics.upstream_h2.silent.get()), (1, 1));
    assert_eq!(lab.log()[0]["request_state"], "the server closed the connection without an answer");
    assert_eq!(lab.of_server(0).connections.closed.get(), 1);
}

//= test H2BACK-PING-01
#[test]
fn a_server_that_lives_is_asked_more_and_more_seldom() {
    let lab = Lab::new(&document(""));
    let asked = Asked::default();
    let of_server = asked.clone();
    lab.server(SERVER, move |rt, peer| silent(rt, peer, of_server.clone(), true, 5));
    let (answer, begin) = lab.run(async {
        let mut client = lab.client().await;
        let begin = lab.now_us() / 1_000_000;
        client.send(GET).await;
        (client.until("\r\n\r\n").await, begin)
    });
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let asked = asked.borrow();
    let gaps: Vec<u64> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((20..=22).contains(&(asked[0] - begin)), "{asked:?}");
    let due = [80, 320, 320, 320];
    assert!(gaps.iter().zip(due).all(|(gap, due)| (due..=due + 2).contains(gap)), "{asked:?}");
    assert_eq!(lab.metrics.upstream_h2.silent.get(), 0);
}
