//! The targets: each states a promise and looks for bytes that break it.

use forebay_core::persist::cookie_line;
use forebay_http::Limits;
use forebay_http::h1::write::{self, RequestEdits, ResponseEdits};
use forebay_http::h1::{self, Framing, Method, Parse, RequestContext, RequestHead, Upgrade, Version};

use crate::chunks::{self, Read};
use crate::lenient;
use crate::relay::{self, End, Outcome};

/// The first two bytes choose limits, options and cuts; the rest is what a client sends.
pub fn h1_request(input: &[u8]) {
    let Some((options, cut, bytes)) = options(input) else { return };
    let limits = limits(options);
    let edits = RequestEdits {
        default_host: b"192.0.2.1",
        via: (options & 2 != 0).then_some(b"edge"),
        drop_cookies: if options & 4 != 0 { &[b"s"] } else { &[] },
        close: options & 8 != 0,
        ..RequestEdits::default()
    };
    let whole = relay::requests([bytes], &limits, &edits);
    assert_eq!(whole, relay::requests(pieces(bytes, cut), &limits, &edits), "cut by {cut}");

    lenient::assert_reads_the_same(&whole.forwarded, whole.messages, is_whole(&whole), false);
}

/// The first two bytes choose limits, options and cuts; the rest is what a server sends.
pub fn h1_response(input: &[u8]) {
    let Some((options, cut, bytes)) = options(input) else { return };
    let limits = limits(options);
    let context = RequestContext {
        method: if options & 2 != 0 { Method::Head } else { Method::Get },
        upgrade: (options & 4 != 0).then_some(Upgrade::WebSocket),
        interims: 0,
    };
    let edits = ResponseEdits {
        client: if options & 8 != 0 { Version::Http10 } else { Version::Http11 },
        te_trailers: options & 16 != 0,
        keep_alive: options & 32 != 0,
        via: (options & 128 != 0).then_some(b"edge"),
        ..ResponseEdits::default()
    };
    let closes = options & 64 != 0;
    let whole = relay::responses([bytes], &limits, context, &edits, closes);
    let cut_up = relay::responses(pieces(bytes, cut), &limits, context, &edits, closes);
    assert_eq!(whole, cut_up, "cut by {cut}");

    // A reader that does not know the request was HEAD would take the announced length for content.
    if context.method != Method::Head {
        lenient::assert_reads_the_same(&whole.forwarded, whole.messages, is_whole(&whole), true);
    }
}

/// The first byte chooses the cuts, the rest is chunked content.
pub fn chunked(input: &[u8]) {
    let Some((&cut, bytes)) = input.split_first() else { return };
    let whole = relay::content([bytes], &Limits::default(), Framing::Chunked);
    let cut_up = relay::content(pieces(bytes, cut), &Limits::default(), Framing::Chunked);
    assert_eq!(whole, cut_up, "cut by {cut}");

    // The second decoder knows the grammar and none of our bounds.
    let unbounded = Limits {
        field_bytes: u32::MAX,
        chunk_ext_bytes: u32::MAX,
        chunk_ext_total_bytes: u32::MAX,
        trailer_bytes: u32::MAX,
        trailer_fields: u32::MAX,
        ..Limits::default()
    };
    let whole = relay::content([bytes], &unbounded, Framing::Chunked);
    match (chunks::read(bytes), whole.end) {
        (Read::Whole(content, left), End::Closed) => {
            assert_eq!(whole.left, left);
            let Read::Whole(again, b"") = chunks::read(&whole.forwarded) else {
                panic!("written content is whole")
            };
            assert_eq!(again, content);
        }
        (Read::Incomplete, End::Incomplete) | (Read::Malformed, End::Refused(_)) => {}
        (read, end) => panic!("{read:?} against {end:?}"),
    }
}

/// The first byte is the length of a cookie name that follows; the rest is a `Cookie` value.
pub fn cookie(input: &[u8]) {
    let Some((&len, rest)) = input.split_first() else { return };
    let Some((name, line)) = rest.split_at_checked(usize::from(len % 16)) else { return };
    if name.is_empty() || !name.iter().all(u8::is_ascii_alphanumeric) {
        return;
    }
    let found: Vec<_> = cookie_line::values(line, name).collect();
    assert_eq!(found, plain_cookies(line, name));
    let _ = cookie_line::set_cookie(line);

    let request = [b"GET / HTTP/1.1\r\nHost: a\r\nCookie: ", line, b"\r\n\r\n"].concat();
    let mut head = RequestHead::default();
    let Ok(Parse::Done { .. }) = h1::parse_request(&request, &Limits::default(), &mut head) else { return };
    let mut out = Vec::new();
    let edits = RequestEdits { drop_cookies: &[name], ..RequestEdits::default() };
    write::request(&request, &head, &edits, &mut out).expect("no edit of a field");
    head.reset();
    let Ok(Parse::Done { .. }) = h1::parse_request(&out, &Limits::default(), &mut head) else {
        panic!("what was written is well-formed")
    };
    for line in head.fields.known(&out, forebay_http::Known::Cookie) {
        assert_eq!(cookie_line::values(line, name).count(), 0, "the server sees no cookie that was dropped");
    }
}

fn plain_cookies<'a>(line: &'a [u8], name: &[u8]) -> Vec<&'a [u8]> {
    line.split(|&b| b == b';')
        .filter_map(|pair| {
            let at = pair.iter().position(|&b| b == b'=')?;
            (blank_trim(&pair[..at]) == name).then(|| blank_trim(&pair[at + 1..]))
        })
        .collect()
}

fn blank_trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The input is a configuration document.
pub fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match forebay_snapshot::check(text) {
        Ok(_) => {}
        Err(problems) => {
            assert!(!problems.is_empty(), "a refusal says why");
            for problem in problems {
                assert!(!problem.to_string().is_empty());
            }
        }
    }
}

fn options(input: &[u8]) -> Option<(u8, u8, &[u8])> {
    match input {
        [options, cut, bytes @ ..] => Some((*options, *cut, bytes)),
        _ => None,
    }
}

fn limits(options: u8) -> Limits {
    let limits = Limits::default();
    match options & 1 {
        0 => limits,
        _ => Limits {
            head_bytes: 200,
            target_bytes: 30,
            field_bytes: 60,
            fields: 6,
            body_bytes: 40,
            chunk_ext_bytes: 4,
            chunk_ext_total_bytes: 8,
            trailer_bytes: 40,
            trailer_fields: 2,
            interim_responses: 2,
            ..limits
        },
    }
}

/// Says whether everything that was forwarded is complete.
fn is_whole(outcome: &Outcome) -> bool {
    matches!(outcome.end, End::Idle | End::Closed | End::Upgraded)
}

/// Cuts by a seed: 0 is byte by byte.
fn pieces(bytes: &[u8], seed: u8) -> impl Iterator<Item = &[u8]> {
    let mut state = u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(u64::from(seed));
        let len = 1 + (state >> 33) as usize % (1 + usize::from(seed));
        let (piece, after) = rest.split_at(len.min(rest.len()));
        rest = after;
        Some(piece)
    })
}

/// The bytes that a connection begins with.
pub fn proxy_header(input: &[u8]) {
    use forebay_proxy_protocol::{Parse, WRITTEN_BYTES_MAX, parse, write};
    let whole = parse(input);
    // As they come one by one: what is not refused asks for no byte behind its end.
    let first = (0..=input.len()).map(|end| parse(&input[..end])).find(|read| *read != Ok(Parse::NeedMore));
    match (whole, first) {
        (Ok(Parse::Done(whole)), Some(Ok(Parse::Done(first)))) => assert_eq!(whole, first),
        (Ok(Parse::NeedMore), None) | (Err(_), Some(Err(_))) => {}
        other => panic!("{other:?}"),
    }
    let Ok(Parse::Done(header)) = whole else { return };
    assert!(header.len <= input.len());
    let Some(named) = header.named else { return };
    let mut out = [0; WRITTEN_BYTES_MAX];
    let len = write(header.version, named.source, named.destination, &mut out);
    let Ok(Parse::Done(again)) = parse(&out[..len]) else { panic!("{:?}", &out[..len]) };
    let again = again.named.expect("somebody is named");
    let plain = |at: std::net::SocketAddr| (at.ip().to_canonical(), at.port());
    assert_eq!(plain(again.source), plain(named.source));
    assert_eq!(plain(again.destination), plain(named.destination));
}
