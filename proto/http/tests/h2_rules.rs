//! Each rule of HTTP/2 that a peer can break, broken once: what it costs and with which code.

#[path = "h2/kit.rs"]
mod kit;

use std::collections::BTreeSet;

use forebay_http::h2::{Budgets, Code, Config, Event, PREFACE, Rate, Role, Rule};
use kit::*;

/// What breaking a rule ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Connection,
    Stream(u32),
}
use Ends::*;

struct Case {
    rule: Rule,
    ends: Ends,
    what: &'static str,
    peer: Peer,
    bytes: Vec<u8>,
}

fn server(rule: Rule, ends: Ends, what: &'static str, bytes: Vec<u8>) -> Case {
    Case { rule, ends, what, peer: Peer::server(&config()), bytes }
}

fn client(rule: Rule, ends: Ends, what: &'static str, method: &str, bytes: Vec<u8>) -> Case {
    Case { rule, ends, what, peer: Peer::client(&config(), method), bytes }
}

/// Small bounds, so that each is reached.
fn config() -> Config {
    let few = Rate { burst: 4, per_second: 1 };
    let mut config = Config { streams_max: 8, stream_window: 65_535, ..Config::default() };
    config.limits.head_bytes = 2048;
    config.limits.interim_responses = 2;
    config.budgets = Budgets {
        peer_resets: few,
        own_resets: few,
        controls: few,
        empty_data: few,
        small_data: few,
        window_updates: few,
    };
    config
}

/// A request with these pseudo-header fields and fields instead of the usual ones.
fn odd(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &block(fields))
}

/// A request with more fields than the usual ones.
fn with(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &request("GET", fields))
}

/// A request whose block begins with these bytes.
fn raw(first: &[u8]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &[first, &request("GET", &[])].concat())
}

fn answer(flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags, 1, &block(fields))
}

const M: (&str, &str) = (":method", "GET");
const S: (&str, &str) = (":scheme", "https");
const A: (&str, &str) = (":authority", "a.example");
const P: (&str, &str) = (":path", "/");

fn framing() -> Vec<Case> {
    let ping = || frame(PING, 0, 0, &[0; 8]);
    let open = || frame(HEADERS, 0, 1, &request("GET", &[])[..10]);
    let fresh = |rule, what, bytes| Case {
        peer: Peer::new(Role::Server, &config()),
        ..server(rule, Connection, what, bytes)
    };
    vec![
        fresh(Rule::Preface, "HTTP/1.1", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        fresh(Rule::Preface, "one wrong byte at its end", [&PREFACE[..23], b"X"].concat()),
        fresh(Rule::FirstFrame, "PING first", [&PREFACE[..], &ping()].concat()),
        fresh(
            Rule::FirstFrame,
            "an acknowledgement first",
            [&PREFACE[..], &frame(SETTINGS, 1, 0, &[])].concat(),
        ),
        server(Rule::FrameLength, Connection, "one byte too long", frame(DATA, 0, 1, &[0; 16_385])),
        server(Rule::FixedLength, Connection, "PING of 7", frame(PING, 0, 0, &[0; 7])),
        server(Rule::FixedLength, Connection, "SETTINGS of 5", frame(SETTINGS, 0, 0, &[0; 5])),
        server(Rule::FixedLength, Connection, "WINDOW_UPDATE of 3", frame(WINDOW_UPDATE, 0, 0, &[0; 3])),
        server(
            Rule::FixedLength,
            Connection,
            "RST_STREAM of 5",
            [get(1), frame(RST_STREAM, 0, 1, &[0; 5])].concat(),
        ),
        server(
            Rule::FixedLength,
            Stream(1),
            "PRIORITY of 4",
            [get(1), frame(PRIORITY, 0, 1, &[0; 4])].concat(),
        ),
        server(Rule::FixedLength, Connection, "GOAWAY of 7", frame(GOAWAY, 0, 0, &[0; 7])),
        server(
            Rule::FixedLength,
            Connection,
            "HEADERS cut in its priority",
            frame(HEADERS, WHOLE | WITH_PRIORITY, 1, &[0; 4]),
        ),
        server(
            Rule::Padding,
            Connection,
            "DATA",
            [post(1, &[]), frame(DATA, PADDED, 1, &[3, 0, 0])].concat(),
        ),
        server(
            Rule::Padding,
            Connection,
            "DATA without a length",
            [post(1, &[]), frame(DATA, PADDED, 1, &[])].concat(),
        ),
        server(Rule::Padding, Connection, "HEADERS", frame(HEADERS, WHOLE | PADDED, 1, &[9, 0x82])),
        server(Rule::StreamZero, Connection, "DATA", frame(DATA, 0, 0, b"x")),
        server(Rule::StreamZero, Connection, "HEADERS", frame(HEADERS, WHOLE, 0, &request("GET", &[]))),
        server(Rule::StreamZero, Connection, "RST_STREAM", reset(0, Code::Cancel)),
        server(Rule::StreamZero, Connection, "PRIORITY", frame(PRIORITY, 0, 0, &[0; 5])),
        server(Rule::StreamZero, Connection, "PING on a stream", frame(PING, 0, 1, &[0; 8])),
        server(Rule::StreamZero, Connection, "SETTINGS on a stream", frame(SETTINGS, 0, 1, &[])),
        server(Rule::StreamZero, Connection, "GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8])),
        server(Rule::Interleaved, Connection, "PING", [open(), ping()].concat()),
        server(Rule::Interleaved, Connection, "unknown", [open(), frame(99, 0, 1, &[])].concat()),
        server(
            Rule::Interleaved,
            Connection,
            "another stream",
            [open(), frame(CONTINUATION, 4, 3, &[])].concat(),
        ),
        server(Rule::ContinuationAlone, Connection, "", frame(CONTINUATION, 4, 1, &[])),
        server(
            Rule::ContinuationAlone,
            Connection,
            "behind the last",
            [get(1), frame(CONTINUATION, 4, 1, &[])].concat(),
        ),
        server(
            Rule::Pushed,
            Connection,
            "by a client",
            [get(1), frame(PUSH_PROMISE, 4, 1, &[0; 8])].concat(),
        ),
        client(
            Rule::Pushed,
            Connection,
            "by a server",
            "GET",
            frame(PUSH_PROMISE, 4, 1, &[0, 0, 0, 2, 0x82]),
        ),
        server(Rule::SettingsAck, Connection, "", frame(SETTINGS, 1, 0, &[0; 6])),
        server(Rule::SettingsValue, Connection, "push 2", setting(2, 2)),
        client(Rule::SettingsValue, Connection, "push of a server", "GET", setting(2, 1)),
        server(Rule::SettingsValue, Connection, "frames of 16,383", setting(5, 16_383)),
        server(Rule::SettingsValue, Connection, "frames of 2^24", setting(5, 1 << 24)),
        server(Rule::SettingsValue, Connection, "connect 2", setting(8, 2)),
        server(
            Rule::SettingsValue,
            Connection,
            "connect taken back",
            [setting(8, 1), setting(8, 0)].concat(),
        ),
        server(Rule::SettingsWindow, Connection, "2^31", setting(4, 1 << 31)),
        server(
            Rule::SettingsWindow,
            Connection,
            "of a stream",
            [post(1, &[]), window_update(1, 0x7fff_0000), setting(4, 1 << 20)].concat(),
        ),
        server(Rule::SettingsUnasked, Connection, "", frame(SETTINGS, 1, 0, &[])),
        server(Rule::PriorityField, Connection, "no stream", frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\0u=1")),
        server(
            Rule::PriorityField,
            Connection,
            "a stream of ours",
            frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x02u=1"),
        ),
        client(
            Rule::PriorityField,
            Connection,
            "of a server",
            "GET",
            frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x01u=1"),
        ),
    ]
}

fn streams() -> Vec<Case> {
    let update = |stream, more| [get(1), window_update(stream, more)].concat();
    let many: Vec<u8> = (0..9).flat_map(|n| post(2 * n + 1, &[])).collect();
    let flood: Vec<u8> = (0..5).flat_map(|_| frame(DATA, 0, 1, &[0; 16_384])).collect();
    let mut gone = Peer::server(&config());
    gone.connection.go(Code::No, &mut gone.out);
    let mut done = Peer::server(&config());
    done.feed(&get(1));
    done.answer(1, 200);
    let mut done_too = Peer::server(&config());
    done_too.feed(&get(1));
    done_too.answer(1, 200);
    vec![
        server(Rule::StreamNumber, Connection, "even", get(2)),
        server(Rule::StreamNumber, Connection, "back", [get(5), get(3)].concat()),
        server(Rule::StreamIdle, Connection, "RST_STREAM", reset(1, Code::Cancel)),
        server(Rule::StreamIdle, Connection, "WINDOW_UPDATE", window_update(1, 1)),
        server(Rule::StreamIdle, Connection, "DATA", frame(DATA, 0, 1, b"x")),
        client(
            Rule::StreamIdle,
            Connection,
            "HEADERS of a server",
            "GET",
            frame(HEADERS, WHOLE, 3, &block(&[(":status", "200")])),
        ),
        Case { peer: done, ..server(Rule::StreamClosed, Connection, "HEADERS", get(1)) },
        Case { peer: done_too, ..server(Rule::StreamClosed, Stream(1), "DATA", frame(DATA, 0, 1, b"x")) },
        server(Rule::StreamEnded, Stream(1), "DATA", [get(1), frame(DATA, 1, 1, b"x")].concat()),
        server(Rule::StreamEnded, Stream(1), "HEADERS", [get(1), get(1)].concat()),
        server(Rule::StreamCount, Stream(17), "", many),
        server(
            Rule::SelfDependency,
            Stream(1),
            "HEADERS",
            frame(HEADERS, WHOLE | WITH_PRIORITY, 1, &[&[0, 0, 0, 1, 0], &request("GET", &[])[..]].concat()),
        ),
        server(
            Rule::SelfDependency,
            Stream(1),
            "PRIORITY",
            [get(1), frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0])].concat(),
        ),
        Case { peer: gone, ..server(Rule::NewerThanGoAway, Stream(1), "", get(1)) },
        server(Rule::WindowExceeded, Stream(1), "of a stream", [post(1, &[]), flood].concat()),
        server(Rule::WindowOverflow, Stream(1), "", update(1, 0x7fff_ffff)),
        server(Rule::WindowOverflow, Connection, "", update(0, 0x7fff_ffff)),
        server(Rule::WindowZero, Stream(1), "", update(1, 0)),
        server(Rule::WindowZero, Connection, "", update(0, 0)),
    ]
}

fn compression() -> Vec<Case> {
    let expands: Vec<u8> = [&[0x40, 1, b'a', 0x7f, 0xa1, 0x0f][..], &[b'x'; 2080], &[0xbe; 20]].concat();
    let block_of = |n| frame(HEADERS, 0, 1, &vec![0; n]);
    let more = |n| frame(CONTINUATION, 0, 1, &vec![0; n]);
    let endless = [block_of(1), (0..16).flat_map(|_| more(0)).collect()].concat();
    vec![
        server(Rule::Integer, Connection, "", raw(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f])),
        server(Rule::HuffmanPadding, Connection, "", raw(&[0, 0x81, 0xff, 1, b'a'])),
        server(Rule::TableUpdateLate, Connection, "", frame(HEADERS, WHOLE, 1, &[0x82, 0x20])),
        server(Rule::TableUpdateLarge, Connection, "", raw(&[0x3f, 0xe2, 0x1f])),
        Case {
            peer: Peer::server(&Config { table_bytes: 100, ..config() }),
            ..server(Rule::TableUpdateMissing, Connection, "", get(1))
        },
        server(Rule::TableIndex, Connection, "0", raw(&[0x80])),
        server(Rule::TableIndex, Connection, "none there", raw(&[0xbe])),
        server(Rule::StringCut, Connection, "", frame(HEADERS, WHOLE, 1, &[0, 5, b'a'])),
        server(Rule::BlockLength, Connection, "bytes", [block_of(2048), more(2048), more(1)].concat()),
        server(Rule::BlockLength, Connection, "frames", endless),
        server(Rule::ListLength, Connection, "", frame(HEADERS, WHOLE, 1, &expands)),
        server(Rule::FieldName, Stream(1), "capital", with(&[("Foo", "bar")])),
        server(Rule::FieldName, Stream(1), "blank", with(&[("fo o", "bar")])),
        server(Rule::FieldName, Stream(1), "empty", with(&[("", "bar")])),
        server(Rule::FieldName, Stream(1), "colon inside", with(&[("a:b", "bar")])),
        server(Rule::FieldValue, Stream(1), "NUL", with(&[("foo", "b\0r")])),
        server(Rule::FieldValue, Stream(1), "LF", with(&[("foo", "b\nr")])),
        server(Rule::FieldValue, Stream(1), "CR", with(&[("foo", "b\rr")])),
        server(Rule::FieldValue, Stream(1), "blank in front", with(&[("foo", " bar")])),
        server(Rule::FieldValue, Stream(1), "TAB behind", with(&[("foo", "bar\t")])),
        server(Rule::FieldConnection, Stream(1), "connection", with(&[("connection", "close")])),
        server(Rule::FieldConnection, Stream(1), "keep-alive", with(&[("keep-alive", "5")])),
        server(Rule::FieldConnection, Stream(1), "proxy-connection", with(&[("proxy-connection", "close")])),
        server(
            Rule::FieldConnection,
            Stream(1),
            "transfer-encoding",
            with(&[("transfer-encoding", "chunked")]),
        ),
        server(Rule::FieldConnection, Stream(1), "upgrade", with(&[("upgrade", "h2c")])),
        server(Rule::FieldTe, Stream(1), "", with(&[("te", "trailers, gzip")])),
        server(Rule::Method, Stream(1), "", odd(&[(":method", "GET /x HTTP/1.1"), S, A, P])),
    ]
}

fn messages() -> Vec<Case> {
    let length = |n: &str, sizes: &[usize], end: bool| {
        let mut bytes = post(1, &[("content-length", n)]);
        for (nth, size) in sizes.iter().enumerate() {
            let last = end && nth + 1 == sizes.len();
            bytes.extend(frame(DATA, u8::from(last), 1, &vec![b'x'; *size]));
        }
        bytes
    };
    let trailers =
        |flags, fields: &[(&str, &str)]| [post(1, &[]), frame(HEADERS, flags, 1, &block(fields))].concat();
    vec![
        server(Rule::PseudoUnknown, Stream(1), "unknown", odd(&[M, S, A, P, (":x", "y")])),
        server(Rule::PseudoUnknown, Stream(1), "of a response", odd(&[M, S, A, P, (":status", "200")])),
        server(Rule::PseudoLate, Stream(1), "", odd(&[M, S, A, ("x", "y"), P])),
        server(Rule::PseudoRepeated, Stream(1), "path", odd(&[M, S, A, P, P])),
        server(Rule::PseudoRepeated, Stream(1), "authority", odd(&[M, S, A, A, P])),
        server(Rule::PseudoMissing, Stream(1), "method", odd(&[S, A, P])),
        server(Rule::PseudoMissing, Stream(1), "scheme", odd(&[M, A, P])),
        server(Rule::PseudoMissing, Stream(1), "path", odd(&[M, S, A])),
        server(Rule::PseudoTrailer, Stream(1), "", trailers(WHOLE, &[(":path", "/x")])),
        server(Rule::Scheme, Stream(1), "", odd(&[M, (":scheme", "ftp"), A, P])),
        server(Rule::Path, Stream(1), "empty", odd(&[M, S, A, (":path", "")])),
        server(Rule::Path, Stream(1), "absolute", odd(&[M, S, A, (":path", "http://b/")])),
        server(Rule::Path, Stream(1), "asterisk", odd(&[M, S, A, (":path", "*")])),
        server(Rule::AuthorityHost, Stream(1), "", with(&[("host", "b.example")])),
        server(Rule::AuthorityHost, Stream(1), "port", with(&[("host", "a.example:81")])),
        server(Rule::ConnectForm, Stream(1), "with a path", odd(&[(":method", "CONNECT"), A, P])),
        server(Rule::ConnectForm, Stream(1), "without authority", odd(&[(":method", "CONNECT")])),
        server(
            Rule::ConnectForm,
            Stream(1),
            "extended without authority",
            odd(&[(":method", "CONNECT"), (":protocol", "websocket"), S, P]),
        ),
        server(Rule::ConnectProtocol, Stream(1), "of a GET", odd(&[M, S, A, P, (":protocol", "websocket")])),
        Case {
            peer: Peer::server(&Config { extended_connect: false, ..config() }),
            ..server(
                Rule::ConnectProtocol,
                Stream(1),
                "not offered",
                odd(&[(":method", "CONNECT"), (":protocol", "websocket"), S, A, P]),
            )
        },
        server(Rule::LengthField, Stream(1), "twice", length("3", &[], false).also("content-length", "3")),
        server(Rule::LengthField, Stream(1), "no number", length("+3", &[], false)),
        server(Rule::LengthData, Stream(1), "more", length("3", &[4], false)),
        server(Rule::LengthData, Stream(1), "less", length("300", &[100, 100], true)),
        server(
            Rule::LengthData,
            Stream(1),
            "none",
            frame(HEADERS, WHOLE, 1, &request("POST", &[("content-length", "3")])),
        ),
        server(
            Rule::LengthData,
            Stream(1),
            "trailers early",
            [length("300", &[100], false), frame(HEADERS, WHOLE, 1, &[])].concat(),
        ),
        server(Rule::TrailersOpen, Stream(1), "", trailers(END_HEADERS, &[("x", "y")])),
        client(
            Rule::NoContent,
            Stream(1),
            "of HEAD",
            "HEAD",
            [answer(4, &[(":status", "200")]), frame(DATA, 1, 1, b"x")].concat(),
        ),
        client(
            Rule::LengthData,
            Stream(1),
            "of 204",
            "GET",
            [answer(4, &[(":status", "204")]), frame(DATA, 1, 1, b"x")].concat(),
        ),
        client(Rule::Status, Stream(1), "two digits", "GET", answer(WHOLE, &[(":status", "20")])),
        client(Rule::Status, Stream(1), "600", "GET", answer(WHOLE, &[(":status", "600")])),
        client(Rule::Status, Stream(1), "none", "GET", answer(WHOLE, &[("x", "y")])),
        client(Rule::StatusSwitch, Stream(1), "", "GET", answer(4, &[(":status", "101")])),
        client(Rule::InterimEnd, Stream(1), "", "GET", answer(WHOLE, &[(":status", "103")])),
        client(Rule::InterimFlood, Stream(1), "", "GET", answer(4, &[(":status", "103")]).repeat(3)),
        client(Rule::DataFirst, Stream(1), "", "GET", frame(DATA, 1, 1, b"x")),
        client(
            Rule::PseudoUnknown,
            Stream(1),
            "of a request",
            "GET",
            answer(WHOLE, &[(":status", "200"), P]),
        ),
    ]
}

fn floods() -> Vec<Case> {
    let all = |count: u32, each: &dyn Fn(u32) -> Vec<u8>| {
        (0..count).flat_map(|n| each(2 * n + 1)).collect::<Vec<u8>>()
    };
    vec![
        server(Rule::PeerResets, Connection, "", all(5, &|id| [get(id), reset(id, Code::Cancel)].concat())),
        server(
            Rule::OwnResets,
            Connection,
            "",
            all(5, &|id| frame(HEADERS, WHOLE, id, &block(&[M, S, A, (":path", "")]))),
        ),
        server(Rule::Controls, Connection, "PING", frame(PING, 0, 0, &[0; 8]).repeat(5)),
        server(Rule::Controls, Connection, "SETTINGS", setting(3, 1).repeat(5)),
        server(Rule::Controls, Connection, "unknown", frame(77, 0, 0, b"x").repeat(5)),
        server(Rule::EmptyData, Connection, "", [post(1, &[]), frame(DATA, 0, 1, &[]).repeat(5)].concat()),
        server(Rule::SmallData, Connection, "", [post(1, &[]), frame(DATA, 0, 1, b"x").repeat(5)].concat()),
        server(Rule::WindowUpdates, Connection, "", [get(1), window_update(1, 1).repeat(5)].concat()),
    ]
}

trait Also {
    fn also(self, name: &str, value: &str) -> Vec<u8>;
}

impl Also for Vec<u8> {
    /// Puts one more field into the only HEADERS frame.
    fn also(self, name: &str, value: &str) -> Vec<u8> {
        let payload = [&self[9..], &line(name, value)].concat();
        frame(HEADERS, self[4], 1, &payload)
    }
}

//= test H2-CONN-01
//= test H2-CONN-02
//= test H2-CONN-03
//= test H2-FRAME-01
//= test H2-FRAME-02
//= test H2-FRAME-03
//= test H2-FRAME-04
//= test H2-FRAME-06
//= test H2-FRAME-07
//= test H2-FRAME-08
//= test H2-SET-01
//= test H2-SET-02
//= test H2-SET-03
//= test H2-SET-04
//= test H2-PRIO-01
#[test]
fn a_frame_that_may_not_be_ends_the_connection_by_its_rule() {
    judge(framing());
}

//= test H2-STREAM-01
//= test H2-STREAM-02
//= test H2-STREAM-03
//= test H2-STREAM-04
//= test H2-STREAM-05
//= test H2-STREAM-06
//= test H2-STREAM-07
//= test H2-FLOW-01
//= test H2-FLOW-02
//= test H2-FLOW-03
#[test]
fn a_frame_on_the_wrong_stream_or_beyond_its_window_is_judged_by_its_rule() {
    judge(streams());
}

//= test H2-HPACK-01
//= test H2-HPACK-02
//= test H2-HPACK-04
//= test H2-HPACK-05
//= test H2-HPACK-07
//= test H2-HPACK-08
//= test H2-HPACK-09
//= test H2-FIELD-01
//= test H2-FIELD-02
//= test H2-FIELD-03
//= test H2-FIELD-04
//= test H2-REQ-01
//= test H2-ABUSE-01
//= test H2-ABUSE-02
#[test]
fn a_header_block_that_cannot_be_read_ends_the_connection_and_a_bad_field_its_stream() {
    judge(compression());
}

//= test H2-PSEUDO-01
//= test H2-PSEUDO-02
//= test H2-PSEUDO-03
//= test H2-PSEUDO-04
//= test H2-PSEUDO-05
//= test H2-REQ-02
//= test H2-REQ-03
//= test H2-REQ-04
//= test H2-REQ-05
//= test H2-REQ-06
//= test H2-BODY-01
//= test H2-BODY-02
//= test H2-BODY-03
//= test H2-BODY-04
//= test H2-RESP-01
//= test H2-RESP-02
//= test H2-RESP-03
//= test H2-RESP-04
//= test H2-RESP-05
#[test]
fn a_malformed_message_resets_its_stream_and_nothing_else() {
    judge(messages());
}

//= test H2-ABUSE-03
//= test H2-ABUSE-04
//= test H2-ABUSE-05
//= test H2-ABUSE-06
//= test H2-ABUSE-07
//= test H2-ABUSE-08
#[test]
fn a_budget_that_is_used_up_ends_the_connection_by_its_rule() {
    judge(floods());
}

#[test]
fn every_rule_is_broken_by_a_case_and_its_id_stands_in_the_page_once() {
    let cases = [framing(), streams(), compression(), messages(), floods()];
    let broken: BTreeSet<Rule> = cases.iter().flatten().map(|case| case.rule).collect();
    let unbroken: Vec<_> = Rule::ALL.iter().filter(|rule| !broken.contains(rule)).collect();
    assert!(unbroken.is_empty(), "no case breaks {unbroken:?}");
    let page = include_str!("../../../docs/spec/http2.md");
    for rule in Rule::ALL {
        assert_eq!(page.matches(&format!("**{}**", rule.id())).count(), 1, "{rule}");
    }
}

fn judge(cases: Vec<Case>) {
    for Case { rule, ends, what, mut peer, bytes } in cases {
        let name = format!("{rule:?}: {what}");
        peer.out.clear();
        let events = peer.feed(&bytes);
        let frames = peer.sent();
        match ends {
            Connection => {
                assert_eq!(events.last(), Some(&Event::Over { rule }), "{name}");
                let last = frames.last().unwrap_or_else(|| panic!("{name}: nothing was said"));
                assert_eq!((last.kind, last.word(4)), (GOAWAY, rule.code() as u32), "{name}");
                assert_eq!(peer.feed(&get(99)), [Event::Over { rule }], "{name}: it stays over");
                assert!(peer.out.is_empty(), "{name}: said twice");
            }
            Stream(id) => {
                let reset = Event::Reset { stream: id, code: rule.code(), rule: Some(rule) };
                assert!(events.contains(&reset), "{name}: {events:?}");
                let said = frames.iter().find(|f| f.kind == RST_STREAM && f.stream == id);
                assert_eq!(said.map(|f| f.word(0)), Some(rule.code() as u32), "{name}: {frames:?}");
                // The connection goes on, and both tables are still the same.
                peer.sent();
                let ping = frame(PING, 0, 0, b"12345678");
                assert!(!peer.feed(&ping).iter().any(|e| matches!(e, Event::Over { .. })), "{name}");
                assert_eq!(
                    peer.sent().last().map(|f| f.payload.clone()),
                    Some(b"12345678".to_vec()),
                    "{name}"
                );
            }
        }
    }
}
