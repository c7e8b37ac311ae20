//! What goes out: windows, order, large heads, ends; and the ordinary life of a connection.

#[path = "h2/kit.rs"]
mod kit;

use forebay_http::h2::{Code, Config, Event, OpenError, Priority, Role, Rule, SendError};
use kit::*;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

/// A server with a request on each of these streams, answered but for the content.
fn answering(config: &Config, streams: &[u32]) -> Peer {
    let mut peer = Peer::server(config);
    for &id in streams {
        peer.feed(&get(id));
        peer.connection.head(id, OK, &[], false, &mut peer.out).unwrap();
        peer.connection.want(id, true);
    }
    peer.out.clear();
    peer
}

/// Sends what may be sent, `most` bytes a frame, and returns which stream sent how much.
fn send_all(peer: &mut Peer, most: usize, frames: usize) -> Vec<(u32, usize)> {
    let mut order = Vec::new();
    while let Some((id, room)) = peer.connection.next()
        && order.len() < frames
    {
        let len = room.min(most);
        peer.connection.data(id, len, false).unwrap();
        order.push((id, len));
    }
    order
}

//= test H2-FLOW-06
#[test]
fn no_more_is_sent_than_both_windows_hold() {
    let mut peer = answering(&Config::default(), &[1, 3]);
    assert_eq!(peer.connection.data(1, 65_536, false), Err(SendError::Window));
    assert_eq!(peer.connection.data(1, 16_385, false), Err(SendError::Window), "one frame");
    let sent: usize = send_all(&mut peer, 20_000, 1000).iter().map(|(_, len)| len).sum();
    assert_eq!(sent, 65_535, "the window of the connection");
    assert!(peer.connection.is_blocked());
    assert_eq!((peer.connection.next(), peer.connection.room(1)), (None, 0));
    assert_eq!(peer.connection.data(1, 1, false), Err(SendError::Window));
    peer.feed(&window_update(0, 10));
    let sent: usize = send_all(&mut peer, 20_000, 1000).iter().map(|(_, len)| len).sum();
    assert_eq!(sent, 10);
    // An end needs no window.
    assert!(peer.connection.data(1, 0, true).is_ok());
    assert_eq!(peer.connection.data(1, 0, true), Err(SendError::Closed));
    assert!(!peer.connection.is_open(1) && peer.connection.is_open(3));
}

//= test H2-SET-05
#[test]
fn a_new_initial_window_moves_the_windows_of_open_streams_below_zero_too() {
    let mut peer = answering(&Config::default(), &[1]);
    peer.connection.data(1, 16_000, false).unwrap();
    peer.feed(&setting(4, 1000));
    assert_eq!(peer.connection.next(), None);
    peer.feed(&window_update(1, 15_000));
    assert_eq!(peer.connection.next(), None, "exactly zero");
    peer.feed(&window_update(1, 1));
    assert_eq!(peer.connection.next(), Some((1, 1)));
    peer.feed(&setting(4, 2000));
    assert_eq!(peer.connection.next(), Some((1, 1001)));
    // A stream that begins now has the new one.
    peer.feed(&get(3));
    peer.connection.head(3, OK, &[], false, &mut peer.out).unwrap();
    assert_eq!(peer.connection.room(3), 2000);
}

//= test H2-FLOW-04
#[test]
fn a_window_is_opened_for_what_was_released_and_by_halves() {
    let config = Config { stream_window: 65_535, connection_window: 131_072, ..Config::default() };
    let mut peer = Peer::server(&config);
    peer.feed(&post(1, &[]));
    let kib16 = frame(DATA, 0, 1, &[b'x'; 16_000]);
    peer.feed(&kib16.repeat(4));
    assert_eq!(peer.sent(), [], "nothing was released");
    peer.connection.release(1, 32_766, &mut peer.out);
    assert_eq!(peer.sent(), [], "less than half a window");
    peer.connection.release(1, 1, &mut peer.out);
    let sent = peer.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].kind, sent[0].stream, sent[0].word(0)), (WINDOW_UPDATE, 1, 32_767));
    // What the driver says it released beyond what came counts for nothing: 31,233 bytes are left.
    peer.connection.release(1, 1_000_000, &mut peer.out);
    assert_eq!(peer.sent(), []);
    peer.feed(&frame(DATA, 0, 1, &[b'x'; 2000]));
    peer.connection.release(1, 2000, &mut peer.out);
    let sent: Vec<_> = peer.sent().iter().map(|f| (f.kind, f.stream, f.word(0))).collect();
    assert_eq!(sent, [(WINDOW_UPDATE, 1, 33_233), (WINDOW_UPDATE, 0, 66_000)]);
}

//= test H2-FLOW-04
#[test]
fn a_stream_whose_content_nobody_takes_leaves_what_is_left_of_the_window_to_the_others() {
    let config = Config { stream_window: 100_000, connection_window: 131_072, ..Config::default() };
    let mut peer = Peer::server(&config);
    peer.feed(&[post(1, &[]), post(3, &[])].concat());
    peer.feed(&frame(DATA, 0, 1, &[b'x'; 10_000]).repeat(10));
    peer.sent();
    let (mut whole, mut own) = (31_072, 100_000);
    for _ in 0..50 {
        let piece = 10_000.min(whole).min(own);
        assert!(piece > 0, "{whole} and {own} are left");
        let events = peer.feed(&frame(DATA, 0, 3, &vec![b'x'; piece as usize]));
        assert!(matches!(events[..], [Event::Data { .. }]), "{events:?}");
        peer.connection.release(3, piece as usize, &mut peer.out);
        whole -= piece;
        own -= piece;
        for update in peer.sent() {
            assert_eq!(update.kind, WINDOW_UPDATE);
            *if update.stream == 0 { &mut whole } else { &mut own } += update.word(0);
        }
    }
    assert!(whole <= 31_072, "{whole}: what the first stream holds is not given twice");
}

//= test H2-FLOW-07
#[test]
fn a_window_is_widened_with_the_next_update_and_only_while_content_comes() {
    let config = Config { stream_window: 40_000, connection_window: 1 << 20, ..Config::default() };
    let mut peer = Peer::server(&config);
    peer.feed(&post(1, &[]));
    peer.connection.widen(3, 10_000);
    peer.feed(&frame(DATA, 0, 1, &[b'x'; 12_000]));
    peer.connection.widen(1, 10_000);
    assert_eq!(peer.sent(), [], "it goes with what is released");
    peer.connection.release(1, 12_000, &mut peer.out);
    let sent: Vec<_> = peer.sent().iter().map(|f| (f.kind, f.stream, f.word(0))).collect();
    assert_eq!(sent, [(WINDOW_UPDATE, 1, 22_000)]);
    // All of the wider window may come, and no byte more.
    let events = peer.feed(&frame(DATA, 0, 1, &[b'x'; 10_000]).repeat(5));
    assert!(events.iter().all(|e| matches!(e, Event::Data { .. })), "{events:?}");
    let events = peer.feed(&frame(DATA, 0, 1, b"x"));
    assert!(matches!(events[..], [Event::Reset { rule: Some(Rule::WindowExceeded), .. }]), "{events:?}");
    // No window grows beyond what the protocol has.
    peer.feed(&post(3, &[]));
    peer.connection.widen(3, u32::MAX);
    peer.connection.widen(3, u32::MAX);
    peer.feed(&frame(DATA, 0, 3, &[b'x'; 10]));
    peer.connection.release(3, 10, &mut peer.out);
    let sent = peer.sent();
    let last = sent.last().expect("an update");
    assert_eq!((last.stream, last.word(0)), (3, (1 << 31) - 1 - 40_000 + 10));
    // One whose content is whole gets none.
    peer.feed(&post(5, &[]));
    peer.feed(&frame(DATA, END_STREAM, 5, &[b'x'; 10_000]));
    peer.connection.widen(5, 30_000);
    peer.connection.release(5, 10_000, &mut peer.out);
    assert!(peer.sent().iter().all(|f| f.stream != 5));
}

#[test]
fn padding_is_released_at_once_and_content_of_a_stream_that_is_gone_too() {
    let config = Config { stream_window: 65_535, connection_window: 65_535, ..Config::default() };
    let mut peer = Peer::server(&config);
    peer.feed(&post(1, &[]));
    let padded = |data: usize| frame(DATA, PADDED, 1, &[&[255][..], &vec![b'x'; data], &[0; 255]].concat());
    let events = peer.feed(&padded(70).repeat(200));
    assert_eq!(peer.content.len(), 14_000);
    assert!(events.iter().all(|e| matches!(e, Event::Data { end: false, .. })));
    // 200 times 256 bytes of padding were given back in pieces of half a window: 51,200 of 65,200 bytes.
    let updates: u32 = peer.sent().iter().filter(|f| f.stream == 1).map(|f| f.word(0)).sum();
    assert!((32_767..=51_200).contains(&updates), "{updates}");
    peer.connection.reset(1, Code::Cancel, &mut peer.out);
    assert_eq!(peer.sent().len(), 1, "the reset alone");
    // Frames under way when we reset it: thrown away, but given back to the connection, for ever.
    for _ in 0..100 {
        assert_eq!(peer.feed(&frame(DATA, 0, 1, &[0; 10_000])), []);
        peer.connection.release(1, 0, &mut peer.out);
    }
}

//= test H2-FRAME-05
//= test H2-FLOW-05
#[test]
fn unknown_frames_and_settings_and_updates_of_closed_streams_are_ignored() {
    let mut peer = Peer::server(&Config::default());
    peer.feed(&get(1));
    peer.answer(1, 200);
    peer.out.clear();
    let bytes = [
        frame(0xfe, 0xff, 0, b"anything"),
        frame(0xfe, 0xff, 99, &[]),
        setting(0xfefe, 7),
        window_update(1, 0),
        window_update(1, 0x7fff_ffff),
        reset(1, Code::Cancel),
        frame(PRIORITY, 0, 77, &[0, 0, 0, 1, 9]),
        frame(PING, 1, 0, b"unasked!"),
    ];
    assert_eq!(peer.feed(&bytes.concat()), []);
    let sent = peer.sent();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!((sent[0].kind, sent[0].flags), (SETTINGS, 1));
}

//= test H2-FRAME-09
#[test]
fn a_large_head_goes_out_in_frames_that_the_peer_takes() {
    let value = "0".repeat(11_000);
    let text =
        format!("HTTP/1.1 200 OK\r\nX-A: {value}\r\nX-B: {value}\r\nX-C: {value}\r\nX-D: {value}\r\n\r\n");
    let mut peer = Peer::server(&Config::default());
    peer.feed(&get(1));
    peer.out.clear();
    peer.connection.head(1, text.as_bytes(), &[], true, &mut peer.out).unwrap();
    let out = peer.out.clone();
    let frames = peer.sent();
    let shape: Vec<_> = frames.iter().map(|f| (f.kind, f.flags, f.stream)).collect();
    assert_eq!(shape, [(HEADERS, END_STREAM, 1), (CONTINUATION, END_HEADERS, 1)]);
    assert!(frames.iter().all(|f| f.payload.len() <= 16_384));
    let mut client = Peer::client(&Config::default(), "GET");
    assert_eq!(client.feed(&out), [Event::Response { stream: 1, end: true }]);
    assert_eq!(client.inbox.response.fields.len(), 4);
}

//= test H2-STREAM-08
#[test]
fn no_more_streams_are_opened_than_the_peer_allows() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut peer = Peer::new(Role::Client, &Config::default());
    let open = |peer: &mut Peer| peer.connection.open(head, b"http", &[], true, &mut peer.out);
    for _ in 0..100 {
        open(&mut peer).unwrap();
    }
    assert_eq!(open(&mut peer), Err(OpenError::Busy), "before its settings are here");
    peer.feed(&setting(3, 102));
    assert_eq!((open(&mut peer), open(&mut peer)), (Ok(201), Ok(203)));
    assert_eq!((open(&mut peer), peer.connection.room_for_streams()), (Err(OpenError::Busy), 0));
    peer.feed(&frame(HEADERS, WHOLE, 7, &block(&[(":status", "200")])));
    assert_eq!(open(&mut peer), Ok(205));
    peer.feed(&setting(3, 10));
    peer.feed(&frame(HEADERS, WHOLE, 9, &block(&[(":status", "200")])));
    assert_eq!(open(&mut peer), Err(OpenError::Busy));
}

//= test H2-GOAWAY-01
#[test]
fn a_server_goes_in_two_steps_and_loses_nothing_that_was_under_way() {
    let mut peer = Peer::server(&Config::default());
    peer.feed(&get(1));
    peer.out.clear();
    peer.connection.going(&mut peer.out);
    peer.connection.ping(*b"goingnow", &mut peer.out);
    let sent = peer.sent();
    assert_eq!((sent[0].kind, sent[0].word(0), sent[0].word(4)), (GOAWAY, 0x7fff_ffff, 0));
    assert_eq!(peer.feed(&get(3)), [Event::Request { stream: 3, end: true }], "sent before it knew");
    assert_eq!(peer.feed(&frame(PING, 1, 0, b"goingnow")), [Event::Pong { payload: *b"goingnow" }]);
    peer.connection.go(Code::No, &mut peer.out);
    let sent = peer.sent();
    assert_eq!((sent[0].kind, sent[0].word(0)), (GOAWAY, 3));
    let events = peer.feed(&[post(5, &[]), frame(DATA, 1, 5, b"x")].concat());
    assert!(matches!(events[..], [Event::Reset { stream: 5, code: Code::RefusedStream, .. }]), "{events:?}");
    assert!(!peer.connection.is_over());
    peer.answer(1, 200);
    peer.answer(3, 200);
    assert!(peer.connection.is_over());
}

//= test H2-GOAWAY-02
#[test]
fn a_client_learns_which_of_its_streams_nobody_looked_at() {
    let mut peer = Peer::client(&Config::default(), "GET");
    for _ in 0..3 {
        let head = b"POST / HTTP/1.1\r\nHost: a\r\n\r\n";
        peer.connection.open(head, b"http", &[], true, &mut peer.out).unwrap();
    }
    let goes = frame(GOAWAY, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 0]);
    assert_eq!(peer.feed(&goes), [Event::GoAway { code: Code::No }]);
    let mut unprocessed: Vec<u32> = std::iter::from_fn(|| peer.connection.take_unprocessed()).collect();
    unprocessed.sort_unstable();
    assert_eq!(unprocessed, [5, 7]);
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(peer.connection.open(head, b"http", &[], true, &mut peer.out), Err(OpenError::Going));
    for id in [1, 3] {
        let answer = frame(HEADERS, WHOLE, id, &block(&[(":status", "200")]));
        assert_eq!(peer.feed(&answer), [Event::Response { stream: id, end: true }]);
    }
    assert!(peer.connection.is_over());
}

//= test H2-PRIO-02
//= test H2-PRIO-03
//= test H2-PRIO-05
#[test]
fn the_most_urgent_goes_first_and_those_that_share_take_turns() {
    let mut peer = Peer::server(&Config::default());
    let asks = |id, priority: &[(&str, &str)]| frame(HEADERS, WHOLE, id, &request("GET", priority));
    // Said early, by a frame, which counts more than the field.
    peer.feed(&frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x09u=1"));
    peer.feed(&asks(1, &[]));
    peer.feed(&asks(3, &[("priority", "u=5")]));
    peer.feed(&asks(5, &[]));
    peer.feed(&asks(7, &[("priority", "u=3")]));
    peer.feed(&asks(9, &[("priority", "u=7, i")]));
    for id in [1, 3, 5, 7, 9] {
        peer.connection.head(id, OK, &[], false, &mut peer.out).unwrap();
        peer.connection.want(id, true);
    }
    let mut order = Vec::new();
    for _ in 0..12 {
        let (id, _) = peer.connection.next().unwrap();
        let nth = order.iter().filter(|seen| **seen == id).count();
        let (most, frames) = (1000, 3);
        peer.connection.data(id, most, nth + 1 == frames).unwrap();
        order.push(id);
    }
    assert_eq!(order, [9, 9, 9, 7, 7, 7, 1, 5, 1, 5, 1, 5]);
    assert_eq!(peer.connection.next().map(|(id, _)| id), Some(3));
    peer.feed(&asks(11, &[("priority", "u=2")]));
    peer.connection.head(11, OK, &[], false, &mut peer.out).unwrap();
    peer.connection.want(11, true);
    assert_eq!(peer.connection.next().map(|(id, _)| id), Some(11));
    peer.feed(&frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x0bu=6"));
    assert_eq!(peer.connection.next().map(|(id, _)| id), Some(3), "changed while it waits");
    assert_eq!(Priority::read(b"u=2").urgency, 2);
}

//= test H2-PRIO-04
#[test]
fn old_priorities_change_nothing() {
    let mut peer = Peer::server(&Config::default());
    let with = |id: u32, after: u32| {
        let payload = [&after.to_be_bytes()[..], &[255], &request("GET", &[])].concat();
        frame(HEADERS, WHOLE | WITH_PRIORITY, id, &payload)
    };
    peer.feed(&[with(1, 3), frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 0]), with(3, 0)].concat());
    for id in [1, 3] {
        peer.connection.head(id, OK, &[], false, &mut peer.out).unwrap();
        peer.connection.want(id, true);
    }
    let order: Vec<u32> = send_all(&mut peer, 10, 6).iter().map(|(id, _)| *id).collect();
    assert_eq!(order, [1, 3, 1, 3, 1, 3]);
}

#[test]
fn what_comes_on_a_stream_that_we_have_reset_is_read_and_forgotten() {
    let mut peer = Peer::server(&Config::default());
    peer.feed(&post(1, &[("x-a", "b")]));
    peer.connection.reset(1, Code::Internal, &mut peer.out);
    peer.connection.reset(1, Code::Internal, &mut peer.out);
    assert_eq!(peer.sent().len(), 1);
    // Data, then trailers that put a field into the table, which the next request names.
    let trailing = [0x40, 1, b'k', 1, b'v'];
    let late = [frame(DATA, 0, 1, &[7; 100]), frame(HEADERS, WHOLE, 1, &trailing), window_update(1, 5)];
    assert_eq!(peer.feed(&late.concat()), []);
    let mut next = request("GET", &[]);
    next.push(0xbe);
    assert_eq!(peer.feed(&frame(HEADERS, WHOLE, 3, &next)), [Event::Request { stream: 3, end: true }]);
    assert_eq!(peer.inbox.request.fields.named(&peer.inbox.bytes, b"k").next(), Some(&b"v"[..]));
    assert_eq!(peer.connection.head(1, OK, &[], true, &mut peer.out), Err(SendError::Closed));
}

#[test]
fn a_smaller_window_of_ours_counts_once_the_peer_knows_it() {
    let config = Config { stream_window: 1000, ..Config::default() };
    let mut peer = Peer::new(Role::Server, &config);
    let first = [&forebay_http::h2::PREFACE[..], &frame(SETTINGS, 0, 0, &[]), &post(1, &[])].concat();
    peer.feed(&first);
    assert!(!peer.connection.settings_acked());
    // By the default of 65,535 this is fine.
    assert_eq!(peer.feed(&frame(DATA, 0, 1, &[0; 5000])).len(), 1);
    peer.feed(&frame(SETTINGS, 1, 0, &[]));
    assert!(peer.connection.settings_acked());
    let events = peer.feed(&frame(DATA, 0, 1, &[0; 100]));
    assert!(matches!(events[..], [Event::Reset { stream: 1, code: Code::FlowControl, .. }]), "{events:?}");
}
