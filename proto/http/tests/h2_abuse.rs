//! Floods against the budgets as they come: how many frames pass, and what they leave behind.

#![allow(clippy::disallowed_macros, reason = "the figures are shown")]

#[path = "h2/kit.rs"]
mod kit;

use forebay_http::h2::{Code, Config, Event, Rule};
use kit::*;

/// Whoever attacks is cut within so many frames.
const FRAMES_MAX: usize = 1_100;

/// Feeds a flood at 100,000 frames a second; returns how many frames passed and the rule that ended it.
fn flood(peer: &mut Peer, mut nth: impl FnMut(u32) -> Vec<u8>) -> (usize, Rule) {
    for count in 0..FRAMES_MAX as u32 {
        peer.now = u64::from(count) / 100;
        let events = peer.feed(&nth(count));
        peer.out.clear();
        if let Some(Event::Over { rule }) = events.last() {
            return (count as usize, *rule);
        }
    }
    panic!("{FRAMES_MAX} passed");
}

fn opened() -> Peer {
    let mut peer = Peer::server(&Config::default());
    peer.feed(&post(1, &[]));
    peer
}

//= test H2-ABUSE-03
//= test H2-ABUSE-04
//= test H2-ABUSE-05
//= test H2-ABUSE-06
//= test H2-ABUSE-07
//= test H2-ABUSE-08
//= test H2-ABUSE-09
#[test]
fn every_flood_is_cut_within_eleven_hundred_frames_and_leaves_little_memory() {
    let ids = |n: u32| 2 * n + 3;
    let malformed = |id| frame(HEADERS, WHOLE, id, &block(&[(":method", "GET"), (":path", "/")]));
    type Flood = Box<dyn FnMut(u32) -> Vec<u8>>;
    let floods: [(&str, Rule, Flood); 12] = [
        (
            "rapid reset",
            Rule::PeerResets,
            Box::new(move |n| [get(ids(n)), reset(ids(n), Code::Cancel)].concat()),
        ),
        (
            "MadeYouReset by a window",
            Rule::OwnResets,
            Box::new(move |n| [get(ids(n)), window_update(ids(n), 0)].concat()),
        ),
        (
            "MadeYouReset by data",
            Rule::OwnResets,
            Box::new(move |n| [get(ids(n)), frame(DATA, 0, ids(n), &[0; 99])].concat()),
        ),
        ("malformed requests", Rule::OwnResets, Box::new(move |n| malformed(ids(n)))),
        ("more streams than announced", Rule::OwnResets, Box::new(move |n| post(ids(n), &[]))),
        ("PING", Rule::Controls, Box::new(|n| frame(PING, 0, 0, &u64::from(n).to_be_bytes()))),
        ("SETTINGS", Rule::Controls, Box::new(|n| setting(4, n))),
        ("PRIORITY", Rule::Controls, Box::new(|n| frame(PRIORITY, 0, 2 * n + 5, &[0, 0, 0, 3, 1]))),
        (
            "PRIORITY_UPDATE",
            Rule::Controls,
            Box::new(|n| frame(PRIORITY_UPDATE, 0, 0, &[&(2 * n + 5).to_be_bytes()[..], b"u=0"].concat())),
        ),
        ("unknown frames", Rule::Controls, Box::new(|n| frame(0x40 + (n % 64) as u8, 0, n, b"x"))),
        ("empty DATA", Rule::EmptyData, Box::new(|_| frame(DATA, 0, 1, &[]))),
        ("WINDOW_UPDATE", Rule::WindowUpdates, Box::new(|_| window_update(1, 1))),
    ];
    for (what, rule, nth) in floods {
        let mut peer = opened();
        let (passed, by) = flood(&mut peer, nth);
        assert_eq!(by, rule, "{what}");
        let memory = peer.connection.memory();
        println!("{what}: cut after {passed} ({by}), {memory} bytes held");
        assert!(memory < 64 << 10, "{what}: {memory} bytes");
    }
    // Blocks for a stream that we have reset, as if they had been under way, and farewells without end.
    let mut peer = opened();
    peer.connection.reset(1, Code::Cancel, &mut peer.out);
    let late = frame(HEADERS, WHOLE, 1, &block(&[("x", "y")]));
    assert_eq!(flood(&mut peer, |_| late.clone()).1, Rule::Controls);
    assert_eq!(flood(&mut opened(), |_| frame(GOAWAY, 0, 0, &[0; 8])).1, Rule::Controls);
    // One byte a frame: 1,000 at once and ten for each millisecond.
    let mut peer = opened();
    let mut passed = 0;
    while passed < 2_000 {
        peer.now = passed / 100;
        if let Some(Event::Over { rule }) = peer.feed(&frame(DATA, 0, 1, b"x")).last() {
            assert_eq!(*rule, Rule::SmallData);
            break;
        }
        passed += 1;
    }
    println!("DATA of one byte: cut after {passed}");
    assert!((1_000..=1_200).contains(&passed), "{passed}");
}

//= test H2-ABUSE-01
#[test]
fn a_continuation_flood_is_cut_by_bytes_and_by_frames_without_holding_them() {
    let config = Config::default();
    for (what, piece) in [("empty", 0), ("one byte", 1), ("1 KiB", 1024), ("16 KiB", 16_384)] {
        let mut peer = Peer::server(&config);
        peer.feed(&frame(HEADERS, 0, 1, &request("GET", &[])));
        let (passed, rule) = flood(&mut peer, |_| frame(CONTINUATION, 0, 1, &vec![0; piece]));
        assert_eq!(rule, Rule::BlockLength, "{what}");
        assert!(passed <= 16, "{what}: {passed}");
        let memory = peer.connection.memory();
        println!("CONTINUATION, {what}: cut after {passed}, {memory} bytes held");
        assert!(memory <= 2 * 2 * config.limits.head_bytes as usize, "{what}: {memory}");
    }
}

//= test H2-ABUSE-02
#[test]
fn a_block_that_expands_is_refused_then_cut_and_its_fields_are_never_written() {
    // One entry of 4,000 bytes, named again by each byte behind it.
    let bomb = |bytes: usize| {
        let mut block = request("GET", &[]);
        block.extend([0x40, 1, b'a', 0x7f, 0xa1, 0x1e]);
        block.extend([b'x'; 4000]);
        block.extend(vec![0xbe; bytes]);
        block
    };
    let mut peer = Peer::server(&Config::default());
    let events = peer.feed(&frame(HEADERS, WHOLE, 1, &bomb(100)));
    assert!(
        matches!(&events[..], [Event::Refused { stream: 1, reject }] if reject.status == 431),
        "{events:?}"
    );
    assert!(peer.inbox.bytes.capacity() < 128 << 10, "{} bytes", peer.inbox.bytes.capacity());
    peer.answer(1, 431);
    let events = peer.feed(&frame(HEADERS, WHOLE, 3, &bomb(12_000)));
    assert_eq!(events, [Event::Over { rule: Rule::ListLength }]);
    assert!(peer.inbox.bytes.capacity() < 128 << 10, "{} bytes", peer.inbox.bytes.capacity());
}

#[test]
fn what_honest_clients_do_is_never_cut() {
    // gRPC: 5,000 messages of 20 bytes a second, for a minute, with a window update for each answer.
    let mut peer = opened();
    peer.connection.head(1, b"HTTP/1.1 200 OK\r\n\r\n", &[], false, &mut peer.out).unwrap();
    for n in 0..300_000u64 {
        peer.now = n / 5;
        let events = peer.feed(&frame(DATA, 0, 1, &[0; 20]));
        assert!(matches!(events[..], [Event::Data { .. }]), "{n}: {events:?}");
        peer.connection.release(1, 20, &mut peer.out);
        peer.connection.data(1, 20, false).unwrap();
        peer.feed(&[window_update(0, 20), window_update(1, 20)].concat());
        peer.out.clear();
    }
    // gRPC again: 2,000 answers a second of 16 KiB, a PING for each, which measures how fast they come.
    let mut peer = opened();
    peer.connection.head(1, b"HTTP/1.1 200 OK\r\n\r\n", &[], false, &mut peer.out).unwrap();
    for n in 0..20_000u64 {
        peer.now = n / 2;
        peer.connection.data(1, 16_384, false).unwrap();
        let events = peer.feed(&[window_update(0, 16_384), window_update(1, 16_384)].concat());
        assert_eq!(events, [], "{n}");
        assert_eq!(peer.feed(&frame(PING, 0, 0, &[0; 8])), [], "{n}");
        peer.out.clear();
    }
    // A browser whose user leaves two pages of 100 requests.
    let mut peer = Peer::server(&Config::default());
    for page in 0..2u32 {
        peer.now = u64::from(page) * 1000;
        let ids: Vec<u32> = (0..100).map(|n| page * 200 + 2 * n + 1).collect();
        for id in &ids {
            assert!(matches!(peer.feed(&get(*id))[..], [Event::Request { .. }]));
        }
        for id in &ids {
            assert!(matches!(peer.feed(&reset(*id, Code::Cancel))[..], [Event::Reset { .. }]));
        }
    }
    // A PING every 100 ms for an hour.
    let mut peer = Peer::server(&Config::default());
    for n in 0..36_000 {
        peer.now = n * 100;
        assert_eq!(peer.feed(&frame(PING, 0, 0, &[0; 8])), []);
        peer.out.clear();
    }
}

#[test]
fn a_client_that_opens_no_window_is_seen_to_wait() {
    let mut peer = Peer::server(&Config::default());
    peer.feed(&[setting(4, 0), get(1)].concat());
    peer.connection.head(1, b"HTTP/1.1 200 OK\r\n\r\n", &[], false, &mut peer.out).unwrap();
    assert!(!peer.connection.is_blocked(), "nothing to send yet");
    peer.connection.want(1, true);
    assert!(peer.connection.is_blocked());
    assert_eq!(peer.connection.next(), None);
    // The driver's patience is over.
    peer.connection.reset(1, Code::Cancel, &mut peer.out);
    assert!(!peer.connection.is_blocked() && !peer.connection.has_streams());
}
