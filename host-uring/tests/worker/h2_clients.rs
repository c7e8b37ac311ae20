//! Clients that speak HTTP/2 and leave things half done, on a virtual clock.

use crate::memory::{Lab, Peer, sleep_ms};
use forebay_host_uring::rt::give_way;

const SERVER: &str = "10.0.0.1:80";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
/// The stream's end, and the header block's.
const END: u8 = 1;
const WHOLE: u8 = 4;
const CALM: u32 = 11;

fn document(profile: &str, pool: &str) -> String {
    format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"192.0.2.1:80\"]\npool = \"web\"\n\
         http_profile = \"p\"\n[[http_profile]]\nname = \"p\"\nhttp2 = true\n{profile}\n\
         [[pool]]\nname = \"web\"\n{pool}\n[[pool.server]]\naddress = \"{SERVER}\"\n"
    )
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A request's header block: GET or POST, `http`, `/` and a name.
fn block(is_post: bool) -> Vec<u8> {
    vec![if is_post { 0x83 } else { 0x82 }, 0x86, 0x84, 0x01, 1, b'x']
}

fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END | WHOLE, stream, &block(false))
}

/// A frame's kind, flags, stream and content.
async fn next(peer: &mut Peer) -> Option<(u8, u8, u32, Vec<u8>)> {
    let head = peer.exactly(9).await;
    let &[a, b, c, kind, flags, d, e, f, g] = head.as_slice() else { return None };
    let len = u32::from_be_bytes([0, a, b, c]) as usize;
    Some((kind, flags, u32::from_be_bytes([d, e, f, g]), peer.exactly(len).await))
}

/// Reads to the connection's end; gives the code that it ended with, if one was said.
async fn ending(peer: &mut Peer) -> Option<u32> {
    let mut code = None;
    while let Some((kind, _, _, payload)) = next(peer).await {
        if kind == GOAWAY {
            code = payload.get(4..8).and_then(|word| word.try_into().ok()).map(u32::from_be_bytes);
        }
    }
    code
}

async fn client(lab: &Lab) -> Peer {
    let mut client = lab.client().await;
    client.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await;
    client
}

/// Answers each request after `after_ms`.
fn serve(lab: &Lab, after_ms: u64) {
    lab.server(SERVER, move |rt, mut peer| async move {
        while peer.until("\r\n\r\n").await.ends_with("\r\n\r\n") {
            sleep_ms(&rt, after_ms).await;
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    });
}

//= test H2-HOST-11
#[test]
fn header_blocks_that_are_not_finished_have_the_memory_of_large_heads_and_no_more() {
    const CLIENTS: usize = 800;
    const PIECE: usize = 16_000;
    const PIECES: usize = 6;
    /// What 10,000 connections share, and what each has of its own.
    const SHARED: usize = 10_000 * (5 << 10);
    const FREE: usize = 8 << 10;
    let lab = Lab::new(&document("header_timeout_ms = 60000", ""));
    serve(&lab, 0);
    lab.run(async {
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let mut client = client(&lab).await;
            client.send(frame(HEADERS, END, 1, &[0; PIECE])).await;
            for _ in 1..PIECES {
                client.send(frame(CONTINUATION, 0, 1, &[0; PIECE])).await;
            }
            lab.sleep_ms(1).await;
            clients.push(client);
        }
        lab.sleep_ms(100).await;
        let refused = lab.metrics.heads_refused_memory.get() as usize;
        let most = SHARED / (PIECES * PIECE - FREE);
        assert!(CLIENTS - refused <= most + 1, "{refused} of {CLIENTS} were refused, room is for {most}");
        assert!(CLIENTS - refused >= most / 2, "{refused} of {CLIENTS} were refused, room is for {most}");
        // The last one found no room.
        assert_eq!(ending(clients.last_mut().expect("a client")).await, Some(CALM));
        // A head that needs none of it is served, over both versions.
        let mut small = lab.client().await;
        small.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(small.until("ok").await.starts_with("HTTP/1.1 200 "));
        let mut small = self::client(&lab).await;
        small.send(get(1)).await;
        while next(&mut small).await.expect("an answer").0 != DATA {}
        drop(clients);
        lab.sleep_ms(100).await;
        let refused = lab.metrics.heads_refused_memory.get();
        let mut large = lab.client().await;
        let field = "X: ".to_owned() + &"v".repeat(7_000) + "\r\n";
        large.send(format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", field.repeat(5))).await;
        assert!(large.until("ok").await.starts_with("HTTP/1.1 200 "), "there is room again");
        assert_eq!(lab.metrics.heads_refused_memory.get(), refused);
    });
}

//= test H2-HOST-12
#[test]
fn a_head_that_is_not_finished_ends_its_connection_in_time_whatever_else_happens() {
    let lab = Lab::new(&document("header_timeout_ms = 10000\nidle_timeout_ms = 30000", ""));
    serve(&lab, 4_000);
    let part = frame(HEADERS, END, 3, &block(false));
    let cut = &get(3)[..12];
    // What is sent after a whole request, if one is, and how the connection ends.
    let cases: [(bool, &[u8], u32); 5] =
        [(false, &[], 0), (false, &part, CALM), (true, &part, CALM), (false, cut, CALM), (true, cut, CALM)];
    lab.run(async {
        for (nth, (asks, unfinished, code)) in cases.into_iter().enumerate() {
            let mut client = self::client(&lab).await;
            let begin = lab.now_us();
            if asks {
                client.send(get(1)).await;
            }
            client.send(unfinished).await;
            let ended = ending(&mut client).await;
            let took = (lab.now_us() - begin) / 1_000;
            assert_eq!(ended, Some(code), "case {nth}");
            assert!((10_000..10_500).contains(&took), "case {nth}: {took} ms");
            assert_eq!(lab.metrics.timeouts.header.get(), nth as u64 + 1);
        }
        // One whose frames come one by one, with other streams under way.
        {
            let mut client = self::client(&lab).await;
            client.send(get(1)).await;
            lab.sleep_ms(1_000).await;
            client.send(&part).await;
            let begin = lab.now_us();
            for _ in 0..9 {
                lab.sleep_ms(1_000).await;
                client.send(frame(CONTINUATION, 0, 3, b"")).await;
            }
            assert_eq!(ending(&mut client).await, Some(CALM));
            assert!((lab.now_us() - begin) / 1_000 < 10_500);
        }
        assert_eq!(lab.metrics.timeouts.header.get(), cases.len() as u64 + 1);
        // One that has asked may be idle, and one whose head is whole in time is answered.
        {
            let mut client = self::client(&lab).await;
            lab.sleep_ms(5_000).await;
            client.send(frame(HEADERS, END, 1, &block(false)[..3])).await;
            lab.sleep_ms(4_000).await;
            client.send(frame(CONTINUATION, WHOLE, 1, &block(false)[3..])).await;
            while next(&mut client).await.expect("an answer").0 != DATA {}
            let begin = lab.now_us();
            assert_eq!(ending(&mut client).await, Some(0));
            assert!((lab.now_us() - begin) / 1_000 >= 29_000, "it was idle, no more");
        }
        assert_eq!(lab.metrics.timeouts.header.get(), cases.len() as u64 + 1);
        assert_eq!(lab.metrics.timeouts.idle.get(), 1);
    });
}

//= test H2-HOST-13
#[test]
fn a_client_that_has_ended_its_side_gets_its_answers() {
    let lab = Lab::new(&document("", ""));
    serve(&lab, 2_000);
    lab.run(async {
        let mut client = client(&lab).await;
        client.send([get(1), get(3), frame(HEADERS, WHOLE, 5, &block(true))].concat()).await;
        client.end();
        let begin = lab.now_us();
        let mut answered = Vec::new();
        while let Some((kind, _, stream, payload)) = next(&mut client).await {
            if kind == DATA && payload == b"ok" {
                answered.push(stream);
            }
        }
        answered.sort_unstable();
        assert_eq!(answered, [1, 3], "all but the one that was not whole");
        assert!((lab.now_us() - begin) / 1_000 < 3_000, "then the connection closes");
        // One that has asked for nothing is not waited for.
        let mut client = self::client(&lab).await;
        client.end();
        let begin = lab.now_us();
        while next(&mut client).await.is_some() {}
        assert!((lab.now_us() - begin) / 1_000 < 1_000);
    });
}

/// Sends as much content as it may on its only stream.
async fn flood(mut peer: Peer) {
    peer.exactly(PREFACE.len()).await;
    peer.send(frame(SETTINGS, 0, 0, &[])).await;
    let mut window = 0;
    while let Some((kind, _, stream, payload)) = next(&mut peer).await {
        match kind {
            HEADERS => {
                peer.send(frame(HEADERS, WHOLE, 1, &[0x88])).await;
                window += 65_535;
            }
            WINDOW_UPDATE if stream == 1 => {
                window += u32::from_be_bytes(payload.try_into().expect("four bytes")) as usize;
            }
            _ => {}
        }
        while window > 0 {
            let piece = window.min(16_000);
            peer.send(frame(DATA, 0, 1, &vec![b'x'; piece])).await;
            window -= piece;
        }
    }
}

//= test H2BACK-FLOW-01
#[test]
fn what_clients_do_not_take_of_servers_over_http_2_counts_as_held() {
    let lab = Lab::new(&document("", "enable_http2 = true"));
    lab.server(SERVER, |_, peer| flood(peer));
    lab.run(async {
        let mut client = lab.client().await;
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        lab.sleep_ms(1_000).await;
        let held = lab.worker.buffers.held_bytes();
        assert!((40_000..=200_000).contains(&held), "{held} bytes: a window of it waits");
        client.exactly(300_000).await;
        lab.sleep_ms(1_000).await;
        let held = lab.worker.buffers.held_bytes();
        assert!((40_000..=200_000).contains(&held), "{held} bytes: still no more than a window");
        drop(client);
        lab.sleep_ms(2_000).await;
        assert_eq!(lab.worker.buffers.held_bytes(), 0, "nothing waits for a client that is gone");
    });
}

/// Sends as much content as it may on each of its streams.
async fn flood_all(mut peer: Peer) {
    peer.exactly(PREFACE.len()).await;
    peer.send(frame(SETTINGS, 0, 0, &[])).await;
    // What may be sent on the connection as a whole, on a new stream, and on each that there is.
    let (mut whole, mut first, mut windows) = (65_535, 0, std::collections::BTreeMap::new());
    while let Some((kind, flags, stream, payload)) = next(&mut peer).await {
        let word = || u32::from_be_bytes(payload[..4].try_into().expect("four bytes")) as usize;
        match kind {
            // Ours says what each stream may be sent.
            SETTINGS if flags == 0 => {
                let one = payload.chunks(6).find(|one| one[..2] == [0, 4]).expect("a window of its own");
                first = u32::from_be_bytes(one[2..].try_into().expect("four bytes")) as usize;
            }
            HEADERS => {
                peer.send(frame(HEADERS, WHOLE, stream, &[0x88])).await;
                windows.insert(stream, first);
            }
            RESET => drop(windows.remove(&stream)),
            WINDOW_UPDATE if stream == 0 => whole += word(),
            WINDOW_UPDATE => {
                if let Some(window) = windows.get_mut(&stream) {
                    *window += word();
                }
            }
            _ => {}
        }
        for (stream, window) in &mut windows {
            while *window > 0 && whole > 0 {
                let piece = 16_000.min(*window).min(whole);
                peer.send(frame(DATA, 0, *stream, &vec![b'x'; piece])).await;
                *window -= piece;
                whole -= piece;
            }
        }
    }
}

//= test H2BACK-FLOW-03
#[test]
fn a_thousand_streams_that_stand_still_hold_less_than_their_windows_might() {
    const CLIENTS: usize = 1_000;
    let lab = Lab::new(&document("", "enable_http2 = true"));
    lab.server(SERVER, |_, peer| flood_all(peer));
    lab.run(async {
        let held = || lab.worker.buffers.held_bytes();
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let mut client = lab.client().await;
            client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
            // More than makes a window wide; then it takes nothing.
            client.exactly(100_000).await;
            clients.push(client);
        }
        lab.sleep_ms(1_000).await;
        println!("{CLIENTS} clients that stand still: {} KiB", held() >> 10);
        assert!((30 << 20..=41 << 20).contains(&held()), "{} KiB", held() >> 10);
        // Each of them goes on, and who is gone leaves its place to others.
        for client in clients.iter_mut().step_by(100) {
            assert_eq!(client.exactly(1_000_000).await.len(), 1_000_000);
        }
        clients.truncate(10);
        lab.sleep_ms(2_000).await;
        assert!(held() < 2 << 20, "{} KiB", held() >> 10);
        let mut late = lab.client().await;
        late.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(late.exactly(1_000_000).await.len(), 1_000_000);
        drop(clients);
        drop(late);
        lab.sleep_ms(2_000).await;
        assert_eq!(held(), 0);
    });
}

/// Runs turns until `count` says `all`; gives by how much it grew in one of them at most.
async fn most_of_a_turn(all: u64, count: impl Fn() -> u64) -> u64 {
    let (mut before, mut most) = (count(), 0);
    for _ in 0..10_000 {
        give_way().await;
        let now = count();
        most = most.max(now - before);
        before = now;
        if now == all {
            return most;
        }
    }
    panic!("{before} of {all}")
}

//= test H2-HOST-15
#[test]
fn the_streams_of_one_connection_begin_and_end_by_turns_of_all() {
    const STREAMS: u32 = 120;
    let all = u64::from(STREAMS);
    let lab = Lab::new(&document("", ""));
    lab.server(SERVER, |_, mut peer| async move {
        peer.all().await;
    });
    lab.run(async {
        let (service, server) = (lab.of_service(0), lab.of_server(0));
        let mut client = client(&lab).await;
        client.send((0..STREAMS).flat_map(|nth| get(1 + 2 * nth)).collect::<Vec<u8>>()).await;
        // A turn has two parts: of who was woken, and of who gave way.
        let begun = most_of_a_turn(all, || service.requests.get()).await;
        assert!((1..=2 * 16).contains(&begun), "{begun} streams began in one turn");
        let opened = most_of_a_turn(all, || server.connections.opened.get()).await;
        assert!((1..=2 * 2).contains(&opened), "{opened} connections were opened in one turn");
        // An error of the connection's, which ends all of them.
        client.send(frame(SETTINGS, 0, 1, &[])).await;
        let closed = most_of_a_turn(all, || server.connections.closed.get()).await;
        assert!((1..=2 * 4).contains(&closed), "{closed} connections were closed in one turn");
    });
}

//= test H2-HOST-15
#[test]
fn of_many_connections_one_does_what_is_beyond_its_share_in_a_turn() {
    const CLIENTS: u64 = 8;
    const STREAMS: u32 = 120;
    let all = CLIENTS * u64::from(STREAMS);
    let lab = Lab::new(&document("", ""));
    lab.server(SERVER, |_, mut peer| async move {
        peer.all().await;
    });
    lab.run(async {
        let (service, server) = (lab.of_service(0), lab.of_server(0));
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(client(&lab).await);
        }
        let requests: Vec<u8> = (0..STREAMS).flat_map(|nth| get(1 + 2 * nth)).collect();
        for client in &mut clients {
            client.send(&requests).await;
        }
        // What each has at once.
        let (first_begun, first_opened) = (CLIENTS * 4, CLIENTS);
        while service.requests.get() < first_begun || server.connections.opened.get() < first_opened {
            give_way().await;
        }
        let begun = most_of_a_turn(all, || service.requests.get()).await;
        assert!((1..=2 * 8).contains(&begun), "{begun} streams began in one turn");
        let opened = most_of_a_turn(all, || server.connections.opened.get()).await;
        assert!((1..=2).contains(&opened), "{opened} connections were opened in one turn");
        for client in &mut clients {
            client.send(frame(SETTINGS, 0, 1, &[])).await;
        }
        let first_closed = CLIENTS * 2;
        while server.connections.closed.get() < first_closed {
            give_way().await;
        }
        let closed = most_of_a_turn(all, || server.connections.closed.get()).await;
        assert!((1..=2 * 2).contains(&closed), "{closed} connections were closed in one turn");
    });
}

//= test H2-HOST-16
#[test]
fn a_request_that_is_taken_back_at_once_reaches_no_server() {
    let mut lab = Lab::new(&document("", ""));
    serve(&lab, 0);
    lab.run(async {
        let mut client = client(&lab).await;
        client.send([get(1), frame(RESET, 0, 1, &[0, 0, 0, 8]), get(3)].concat()).await;
        while next(&mut client).await.expect("an answer").0 != DATA {}
        assert_eq!(lab.of_server(0).connections.opened.get(), 1, "for the other one");
        assert_eq!(lab.metrics.client_aborts.get(), 1);
        assert_eq!(lab.of_service(0).requests.get(), 2);
    });
    let log = lab.log();
    assert_eq!(log.len(), 2);
    assert!(log.iter().any(|line| line["request_state"] == "the client took it back before its turn came"));
}
