//! Servers that speak HTTP/2 and fall silent, on a virtual clock.

use std::cell::RefCell;
use std::rc::Rc;

use crate::memory::{Lab, Peer, sleep_ms};
use forebay_host_uring::rt::Rt;
use forebay_host_uring::rt::memory::Memory;
use forebay_http::h1::write::{Answer, answer};
use forebay_http::h2::{Config, Connection, Event, Inbox, Role};

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

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const END: u8 = 1;

fn raw(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// How long each DATA frame of an upload was, and the moment that it came, microseconds.
type Frames = Rc<RefCell<Vec<(usize, u64)>>>;

/// How a server opens its window: what it takes on a stream at first, then `step` bytes with each tick of the clock, `per_frame` times
/// for each DATA frame and `steps` times in all. It answers when all of the content is there.
#[derive(Clone, Copy)]
struct Dribble {
    first: u32,
    step: u32,
    per_frame: u32,
    steps: u32,
}

async fn dribbling(rt: Memory, mut peer: Peer, frames: Frames, how: Dribble) {
    peer.exactly(PREFACE).await;
    let window = [&[0, 4][..], &how.first.to_be_bytes()].concat();
    let wide = raw(WINDOW_UPDATE, 0, 0, &0x1000_0000_u32.to_be_bytes());
    peer.send([raw(SETTINGS, 0, 0, &window), wide].concat()).await;
    let mut left = how.steps;
    while let Some((kind, flags, content)) = frame(&mut peer).await {
        if kind != DATA {
            continue;
        }
        frames.borrow_mut().push((content.len(), rt.now().0));
        if flags & END != 0 {
            peer.send(raw(HEADERS, END | 4, 1, &[0x88])).await;
        }
        for _ in 0..how.per_frame.min(left) {
            left -= 1;
            peer.send(raw(WINDOW_UPDATE, 0, 1, &how.step.to_be_bytes())).await;
            sleep_ms(&rt, 1).await;
        }
    }
}

/// Uploads so many bytes to such a server; gives the frames in which they went.
fn dribbled(bytes: usize, how: Dribble) -> Vec<(usize, u64)> {
    let lab = Lab::new(&document(""));
    let frames = Frames::default();
    let seen = frames.clone();
    lab.server(SERVER, move |rt, peer| dribbling(rt, peer, seen.clone(), how));
    let answer = lab.run(async {
        let mut client = lab.client().await;
        client.send(format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {bytes}\r\n\r\n")).await;
        client.send(vec![b'x'; bytes]).await;
        client.until("\r\n\r\n").await
    });
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let frames = frames.take();
    assert_eq!(frames.iter().map(|(len, _)| len).sum::<usize>(), bytes);
    frames
}

//= test H2BACK-FLOW-02
#[test]
fn a_window_that_opens_by_a_few_bytes_at_a_time_gets_no_frame_for_each_of_them() {
    let frames = dribbled(40_000, Dribble { first: 20_000, step: 400, per_frame: 50, steps: 50 });
    let (last, others) = frames.split_last().expect("frames");
    assert!(others.iter().all(|(len, _)| *len >= 1_024), "{frames:?}");
    assert!(last.0 <= 1_024 && frames.len() < 30, "{frames:?}");
    // Half of a window that is small as a whole is worth a frame.
    let frames = dribbled(1_000, Dribble { first: 100, step: 10, per_frame: 90, steps: 90 });
    let (_, others) = frames.split_last().expect("frames");
    assert!(others.iter().all(|(len, _)| *len >= 50), "{frames:?}");
    assert!(others.len() > 5, "{frames:?}");
}

//= test H2BACK-FLOW-02
#[test]
fn a_window_that_opens_no_further_is_used_as_it_is() {
    let gaps = |frames: &[(usize, u64)]| -> Vec<u64> {
        frames.windows(2).map(|pair| (pair[1].1 - pair[0].1) / 1_000).collect()
    };
    // What is the rest waits for nothing.
    let frames = dribbled(20_010, Dribble { first: 20_000, step: 10, per_frame: 1, steps: 1 });
    assert!(gaps(&frames).iter().all(|ms| *ms < 50), "{frames:?}");
    // A server that gives no more before it has all that it gave.
    let frames = dribbled(20_060, Dribble { first: 20_000, step: 10, per_frame: 1, steps: 1_000 });
    let small: Vec<(usize, u64)> = frames.iter().copied().filter(|(len, _)| *len <= 20).collect();
    assert!((4..=6).contains(&small.len()), "{frames:?}");
    let gaps = gaps(&small);
    let (last, others) = gaps.split_last().expect("gaps");
    assert!(others.iter().all(|ms| (100..150).contains(ms)) && *last < 150, "{frames:?}");
}
