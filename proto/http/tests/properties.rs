//! Promises that hold for every message, searched by random ones.

#[path = "relay/lenient.rs"]
mod lenient;
mod relay;

use forebay_http::h1::body::{CHUNK_HEAD_MAX, Decoder, State, chunk_head};
use forebay_http::h1::write::{self, RequestEdits, ResponseEdits};
use forebay_http::h1::{self, Framing, Parse, RequestContext, RequestHead};
use forebay_http::{Known, Limits};
use proptest::collection::vec;
use proptest::prelude::*;
use relay::End;

/// A request as meant: what every parser should read out of its bytes.
#[derive(Clone, Debug)]
struct Meant {
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    None,
    Length(Vec<u8>),
    Chunks(Vec<Vec<u8>>),
}

impl Meant {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes =
            format!("{} {} HTTP/1.1\r\nHost: a.example\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.fields {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        match &self.content {
            Content::None => bytes.extend_from_slice(b"\r\n"),
            Content::Length(content) => {
                bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", content.len()).as_bytes());
                bytes.extend_from_slice(content);
            }
            Content::Chunks(chunks) => {
                bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in chunks {
                    bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    bytes.extend_from_slice(chunk);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(b"0\r\n\r\n");
            }
        }
        bytes
    }

    fn content(&self) -> Vec<u8> {
        match &self.content {
            Content::None => Vec::new(),
            Content::Length(content) => content.clone(),
            Content::Chunks(chunks) => chunks.concat(),
        }
    }
}

fn meant() -> impl Strategy<Value = Meant> {
    let method = prop::sample::select(vec!["GET", "POST", "PUT", "DELETE", "PATCH", "X-ODD"]);
    let target = "/[a-zA-Z0-9._~!$&'()*+,;=:@/-]{0,40}(\\?[a-z0-9%=&\\[\\]|]{0,40})?";
    // A first letter that no name known to us begins with: those have meanings of their own.
    let field = ("[qzj][a-zA-Z0-9!#$&'*+.^`|~-]{0,20}", "([!-~]([ -~\\t]{0,40}[!-~])?)?");
    let content = prop_oneof![
        Just(Content::None),
        vec(any::<u8>(), 0..200).prop_map(Content::Length),
        vec(vec(any::<u8>(), 1..60), 0..5).prop_map(Content::Chunks),
    ];
    (method, target, vec(field, 0..12), content).prop_map(|(method, target, fields, content)| Meant {
        method: method.to_owned(),
        target,
        fields,
        content,
    })
}

/// Bytes near HTTP: lines of a message, cut, doubled, joined and spoilt.
fn odd_bytes() -> impl Strategy<Value = Vec<u8>> {
    let part = prop::sample::select(vec![
        &b"GET / HTTP/1.1\r\n"[..],
        b"POST /a?b HTTP/1.0\r\n",
        b"GET http://a.example:80/ HTTP/1.1\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 101 X\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"Host: a\r\n",
        b"Host: b\r\n",
        b"Content-Length: 3\r\n",
        b"Content-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: x\r\n",
        b"Connection: close, upgrade, x-a\r\n",
        b"Upgrade: websocket\r\n",
        b"Expect: 100-continue\r\n",
        b"Cookie: a=b; s=c\r\n",
        b"X-A: y\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b":",
        b"abc",
        b"3\r\nabc\r\n",
        b"3;e=f\r\nabc\r\n",
        b"0\r\n\r\n",
        b"0\r\nX-T: u\r\n\r\n",
        b"ffffffffffffffff\r\n",
    ]);
    let parts = vec(part, 0..24).prop_map(|parts| parts.concat());
    (parts, vec((any::<prop::sample::Index>(), any::<u8>()), 0..3)).prop_map(|(mut bytes, spoil)| {
        for (at, byte) in spoil {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        bytes
    })
}

fn cuts(bytes: &[u8], at: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut at: Vec<usize> = at.iter().map(|i| i.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|w| bytes[w[0]..w[1]].to_vec()).collect()
}

fn small() -> Limits {
    Limits {
        head_bytes: 120,
        target_bytes: 24,
        field_bytes: 40,
        fields: 5,
        body_bytes: 20,
        chunk_ext_bytes: 4,
        chunk_ext_total_bytes: 8,
        trailer_bytes: 30,
        trailer_fields: 2,
        interim_responses: 2,
        ..Limits::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_request_is_read_as_it_was_meant_and_written_as_it_was_read(meant in meant()) {
        let bytes = meant.bytes();
        let mut head = RequestHead::default();
        let parsed = h1::parse_request(&bytes, &Limits::default(), &mut head);
        let Ok(Parse::Done { len }) = parsed else { panic!("{parsed:?}") };
        prop_assert_eq!(head.method_bytes(&bytes), meant.method.as_bytes());
        prop_assert_eq!(head.target.of(&bytes), meant.target.as_bytes());
        let others = head.fields.iter().filter(|f| f.known == Known::Other);
        let read: Vec<_> = others.map(|f| (f.name.of(&bytes), f.value.of(&bytes))).collect();
        let wanted: Vec<_> = meant.fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        prop_assert_eq!(read, wanted);

        let mut decoder = Decoder::new(head.framing, &Limits::default());
        let (mut content, mut at) = (Vec::new(), len);
        while !decoder.is_done() {
            let step = decoder.decode(&bytes[at..]).unwrap();
            content.extend_from_slice(&bytes[at..][step.data]);
            at += step.consumed;
            prop_assert_ne!(step.state, State::NeedInput);
        }
        prop_assert_eq!(content, meant.content());
        prop_assert_eq!(at, bytes.len());

        let mut out = Vec::new();
        write::request(&bytes, &head, &RequestEdits::default(), &mut out).unwrap();
        prop_assert_eq!(&out[..], &bytes[..len], "what is in our form already stays as it is");
    }

    #[test]
    fn where_the_bytes_were_cut_does_not_matter_to_requests(
        bytes in odd_bytes(), at in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        for limits in [Limits::default(), small()] {
            let edits = RequestEdits { default_host: b"a", ..RequestEdits::default() };
            let whole = relay::requests([&bytes[..]], &limits, &edits);
            let pieces = cuts(&bytes, &at);
            let cut = relay::requests(pieces.iter().map(Vec::as_slice), &limits, &edits);
            prop_assert_eq!(&whole, &cut);
            prop_assert_eq!(&whole, &relay::requests(bytes.chunks(1), &limits, &edits));
        }
    }

    #[test]
    fn where_the_bytes_were_cut_does_not_matter_to_responses(
        bytes in odd_bytes(), at in vec(any::<prop::sample::Index>(), 0..12), closes: bool,
    ) {
        for limits in [Limits::default(), small()] {
            let context = RequestContext::default();
            let edits = ResponseEdits { keep_alive: true, ..ResponseEdits::default() };
            let bytes = [b"HTTP/1.1 200 OK\r\n", &bytes[..]].concat();
            let whole = relay::responses([&bytes[..]], &limits, context, &edits, closes);
            let pieces = cuts(&bytes, &at);
            let cut = relay::responses(pieces.iter().map(Vec::as_slice), &limits, context, &edits, closes);
            prop_assert_eq!(&whole, &cut);
            prop_assert_eq!(&whole, &relay::responses(bytes.chunks(1), &limits, context, &edits, closes));
        }
    }

    #[test]
    fn a_server_reads_exactly_the_requests_that_were_forwarded(bytes in odd_bytes()) {
        let edits = RequestEdits { default_host: b"a", via: Some(b"edge"), ..RequestEdits::default() };
        let bytes = [b"GET / HTTP/1.1\r\nHost: a\r\n", &bytes[..]].concat();
        let first = relay::requests([&bytes[..]], &Limits::default(), &edits);
        let whole = match first.end {
            End::Idle | End::Closed => first.messages,
            // The last one is not whole; its bytes are there, its end is not.
            End::Incomplete | End::Refused(_) => return Ok(()),
            End::Upgraded => unreachable!("requests do not end so"),
        };
        let second = relay::requests([&first.forwarded[..]], &Limits::default(), &RequestEdits::default());
        prop_assert_eq!(second.end, End::Idle);
        prop_assert_eq!(second.messages, whole);
        prop_assert_eq!(second.forwarded, first.forwarded);
    }

    #[test]
    fn a_careless_server_reads_the_same_requests_as_a_strict_one(bytes in odd_bytes()) {
        let edits = RequestEdits { default_host: b"a", ..RequestEdits::default() };
        let bytes = [b"GET / HTTP/1.1\r\nHost: a\r\n", &bytes[..]].concat();
        let outcome = relay::requests([&bytes[..]], &Limits::default(), &edits);
        let whole = matches!(outcome.end, End::Idle | End::Closed);
        lenient::assert_reads_the_same(&outcome.forwarded, outcome.messages, whole, false);
    }

    #[test]
    fn a_careless_client_reads_the_same_responses_as_a_strict_one(bytes in odd_bytes(), closes: bool) {
        let edits = ResponseEdits { keep_alive: true, ..ResponseEdits::default() };
        let bytes = [b"HTTP/1.1 200 OK\r\n", &bytes[..]].concat();
        let context = RequestContext::default();
        let outcome = relay::responses([&bytes[..]], &Limits::default(), context, &edits, closes);
        let whole = matches!(outcome.end, End::Idle | End::Closed);
        lenient::assert_reads_the_same(&outcome.forwarded, outcome.messages, whole, true);
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        relay::requests([&bytes[..]], &small(), &RequestEdits::default());
        relay::responses([&bytes[..]], &small(), RequestContext::default(), &ResponseEdits::default(), true);
        relay::content([&bytes[..]], &small(), Framing::Chunked);
    }

    #[test]
    fn a_chunk_head_is_read_as_its_length(len in 1u64..=i64::MAX as u64) {
        let mut line = [0; CHUNK_HEAD_MAX];
        let line = chunk_head(len, &mut line);
        let expected = format!("{len:x}\r\n");
        prop_assert_eq!(line, expected.as_bytes());
    }
}
