//! Promises of HTTP/2 that hold for all bytes, searched by random ones.

#[path = "h2/kit.rs"]
mod kit;
#[path = "h2/outcome.rs"]
mod outcome;

use forebay_http::h2::{Code, Config, Event, PREFACE, Role};
use kit::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// Frames near what a peer may send, and near what it may not.
fn odd_frames() -> impl Strategy<Value = Vec<u8>> {
    let id = prop_oneof![6 => prop::sample::select(vec![1u32, 3, 5, 7]), 1 => prop::sample::select(vec![0u32, 2, 9, 77])];
    let blocks = vec![
        request("GET", &[]),
        request("POST", &[("content-length", "3")]),
        request("GET", &[("cookie", "a=b"), ("cookie", "c=d")]),
        request("GET", &[("Foo", "bar")]),
        block(&[(":status", "200")]),
        block(&[(":status", "103"), ("x", "y")]),
        block(&[("x-sum", "1")]),
        vec![0x82, 0x86, 0x84, 0x41, 1, b'a', 0x40, 1, b'k', 1, b'v'],
        vec![0x82, 0x86, 0x84, 0xbf, 0xbe],
        vec![0x3f, 0x21, 0x82],
        vec![0xff, 0xff, 0xff],
    ];
    let flags =
        prop::sample::select(vec![WHOLE, WHOLE, END_HEADERS, END_HEADERS, END_STREAM, 0, WHOLE | PADDED]);
    let headers = (id.clone(), flags, prop::sample::select(blocks.clone()))
        .prop_map(|(id, flags, block)| frame(HEADERS, flags, id, &block));
    let more = (id.clone(), prop::sample::select(blocks), any::<bool>())
        .prop_map(|(id, block, end)| frame(CONTINUATION, if end { END_HEADERS } else { 0 }, id, &block));
    let data = (
        id.clone(),
        prop::sample::select(vec![0u8, 0, 1, 8, 9]),
        prop::sample::select(vec![0usize, 1, 3, 70, 150]),
    )
        .prop_map(|(id, flags, len)| frame(DATA, flags, id, &vec![2; len]));
    let small = (id, 0u8..9, 0u32..4).prop_map(|(id, kind, word)| match kind {
        0 => reset(id, Code::Cancel),
        1 => window_update(id, word),
        2 => window_update(0, word),
        3 => setting(word as u16 + 1, word * 40),
        4 => frame(PING, word as u8 & 1, 0, &[7; 8]),
        5 => frame(PRIORITY, 0, id, &[0, 0, 0, word as u8, 1]),
        6 => frame(PRIORITY_UPDATE, 0, 0, &[0, 0, 0, id as u8, b'u', b'=', b'1']),
        7 => frame(GOAWAY, 0, 0, &[0, 0, 0, id as u8, 0, 0, 0, word as u8]),
        _ => frame(SETTINGS, 1, 0, &[]),
    });
    let one = prop_oneof![4 => headers, 1 => more, 3 => data, 3 => small];
    (vec(one, 0..24), vec((any::<Index>(), any::<u8>()), 0..2)).prop_map(|(frames, spoil)| {
        let mut bytes = frames.concat();
        for (at, byte) in spoil {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        bytes
    })
}

fn cuts(bytes: &[u8], at: &[Index]) -> Vec<Vec<u8>> {
    let mut at: Vec<usize> = at.iter().map(|i| i.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|w| bytes[w[0]..w[1]].to_vec()).collect()
}

fn opened(role: Role, rest: &[u8]) -> Vec<u8> {
    let preface: &[u8] = if role == Role::Server { PREFACE } else { &[] };
    [preface, &frame(SETTINGS, 0, 0, &[]), &frame(SETTINGS, 1, 0, &[]), rest].concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn where_the_bytes_were_cut_does_not_matter(rest in odd_frames(), at in vec(any::<Index>(), 0..12), client: bool) {
        let role = if client { Role::Client } else { Role::Server };
        let bytes = opened(role, &rest);
        for config in [Config::default(), outcome::small()] {
            let whole = outcome::of(role, &config, [&bytes[..]]);
            let pieces = cuts(&bytes, &at);
            prop_assert_eq!(&whole, &outcome::of(role, &config, pieces.iter().map(Vec::as_slice)));
            prop_assert_eq!(&whole, &outcome::of(role, &config, bytes.chunks(1)));
        }
    }

    #[test]
    fn random_bytes_never_panic(rest in vec(any::<u8>(), 0..600), client: bool, kind in 0u8..17, id in 0u32..6) {
        let role = if client { Role::Client } else { Role::Server };
        outcome::of(role, &outcome::small(), [&rest[..]]);
        // Behind the opening, and as the content of a frame.
        let bytes = opened(role, &[frame(kind, 4, id, &rest), rest].concat());
        outcome::of(role, &outcome::small(), [&bytes[..]]);
    }

    #[test]
    fn a_request_arrives_as_it_was_sent(
        method in prop::sample::select(vec!["GET", "HEAD", "POST", "PATCH", "X-ODD"]),
        path in "/[a-zA-Z0-9._~!$&'()*+,;=:@/-]{0,60}",
        fields in vec(("[qzj][A-Za-z0-9-]{0,20}", "([!-~]([ -~\\t]{0,200}[!-~])?)?"), 0..12),
        rounds in 1usize..4,
    ) {
        let lines: String = fields.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n");
        let mut client = Peer::new(Role::Client, &Config::default());
        let mut server = Peer::new(Role::Server, &Config::default());
        for round in 0..rounds {
            let id = client.connection.open(head.as_bytes(), b"https", &[], true, &mut client.out).unwrap();
            prop_assert_eq!(id, 2 * round as u32 + 1);
            let events = server.feed(&std::mem::take(&mut client.out));
            prop_assert_eq!(events, [Event::Request { stream: id, end: true }]);
            let (bytes, request) = (&server.inbox.bytes, &server.inbox.request);
            prop_assert_eq!(request.method_bytes(bytes), method.as_bytes());
            prop_assert_eq!(request.target.of(bytes), path.as_bytes());
            let read: Vec<_> = request.fields.iter().filter(|f| f.known == forebay_http::Known::Other)
                .map(|f| (f.name.of(bytes).to_vec(), f.value.of(bytes).to_vec())).collect();
            let meant: Vec<_> = fields.iter().map(|(n, v)| (n.to_ascii_lowercase().into_bytes(), v.clone().into_bytes())).collect();
            prop_assert_eq!(read, meant);
        }
    }

    /// Two engines and a wire between them that carries bytes in random pieces: whatever is sent arrives, and neither
    /// ever sees the other beyond a window.
    #[test]
    fn two_ends_with_small_windows_bring_all_content_over(
        sizes in vec(0usize..5_000, 1..6), window in 1u32..3_000, seed in any::<u64>(), piece in 1usize..700,
    ) {
        let mut config = Config { stream_window: window, ..Config::default() };
        // Tiny windows make tiny frames, which are not this test's subject.
        config.budgets.small_data.burst = u32::MAX / 2_000;
        config.budgets.window_updates.burst = u32::MAX / 2_000;
        let mut client = Peer::new(Role::Client, &config);
        let mut server = Peer::new(Role::Server, &config);
        let head = b"POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut left = Vec::new();
        for size in &sizes {
            let id = client.connection.open(head, b"http", &[], false, &mut client.out).unwrap();
            client.connection.want(id, true);
            left.push((id, *size));
        }
        let (mut random, mut arrived, mut ended) = (seed | 1, vec![0; sizes.len()], 0);
        let mut to_server: Vec<u8> = Vec::new();
        let mut to_client: Vec<u8> = Vec::new();
        for _turn in 0..200_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            while let Some((id, room)) = client.connection.next() {
                let rest = &mut left[(id as usize - 1) / 2].1;
                let len = room.min(*rest).min(1 + random as usize % 900);
                *rest -= len;
                let frame = client.connection.data(id, len, *rest == 0).unwrap();
                client.out.extend_from_slice(&frame);
                client.out.resize(client.out.len() + len, 7);
            }
            to_server.append(&mut client.out);
            let now: Vec<u8> = to_server.drain(..to_server.len().min(piece)).collect();
            let mut releases = Vec::new();
            server.feed_with(&now, |_, event| match event {
                Event::Data { stream, data, end } => {
                    arrived[(stream as usize - 1) / 2] += data.len();
                    releases.push((stream, data.len()));
                    ended += usize::from(end);
                }
                Event::Request { end, .. } => assert!(!end),
                other => panic!("{other:?}"),
            });
            for (stream, len) in releases {
                server.connection.release(stream, len, &mut server.out);
            }
            to_client.append(&mut server.out);
            let now: Vec<u8> = to_client.drain(..to_client.len().min(piece)).collect();
            prop_assert_eq!(client.feed(&now), []);
            if ended == sizes.len() {
                break;
            }
        }
        prop_assert_eq!(arrived, sizes);
    }
}
