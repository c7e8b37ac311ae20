//! From one version of HTTP to the other and back: the same message, by the same rules.

#[path = "h2/kit.rs"]
mod kit;

use forebay_http::h1::body::{self, Decoder};
use forebay_http::h1::write::{self, FieldEdit, Hop, RequestEdits, ResponseEdits};
use forebay_http::h1::{
    self, Framing, Method, Parse, RequestContext, RequestHead, ResponseHead, Upgrade, Version,
};
use forebay_http::h2::{Config, Event, Role};
use forebay_http::{Known, Limits};
use kit::*;

/// What HTTP/1.1 makes of a request that came over HTTP/2.
fn to_h1(flags: u8, block: &[u8], edits: &RequestEdits<'_>) -> String {
    let mut peer = Peer::server(&Config::default());
    let events = peer.feed(&frame(HEADERS, flags, 1, block));
    assert_eq!(events, [Event::Request { stream: 1, end: flags & END_STREAM != 0 }]);
    let mut out = Vec::new();
    write::request(&peer.inbox.bytes, &peer.inbox.request, edits, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

//= test H2-CONV-01
//= test H2-CONV-02
//= test H2-FIELD-05
#[test]
fn a_request_over_http2_is_written_for_a_server_as_one_of_http_1_1() {
    let fields = [
        ("user-agent", "x"),
        ("cookie", "a=1"),
        ("te", "trailers"),
        ("cookie", "b=2"),
        ("x-a", "y z"),
        ("cookie", "c=3"),
    ];
    let edits = RequestEdits { via: Some(b"edge"), ..RequestEdits::default() };
    assert_eq!(
        to_h1(WHOLE, &request("GET", &fields), &edits),
        "GET / HTTP/1.1\r\nHost: a.example\r\nuser-agent: x\r\ncookie: a=1; b=2; c=3\r\nx-a: y z\r\n\
         Via: 2.0 edge\r\nTE: trailers\r\nConnection: TE\r\n\r\n"
    );
    let plain = RequestEdits::default();
    for (flags, method, length, framing) in [
        (END_HEADERS, "POST", None, "Transfer-Encoding: chunked\r\n"),
        (END_HEADERS, "POST", Some("5"), "Content-Length: 5\r\n"),
        (WHOLE, "POST", None, "Content-Length: 0\r\n"),
        (WHOLE, "PUT", Some("0"), "Content-Length: 0\r\n"),
        (WHOLE, "GET", None, ""),
        (WHOLE, "DELETE", None, ""),
    ] {
        let fields: Vec<_> = length.map(|n| ("content-length", n)).into_iter().collect();
        assert_eq!(
            to_h1(flags, &request(method, &fields), &plain),
            format!("{method} / HTTP/1.1\r\nHost: a.example\r\n{framing}\r\n")
        );
    }
    // Rules see a Host, wherever it came from.
    let mut peer = Peer::server(&Config::default());
    peer.feed(&get(1));
    let (bytes, head) = (&peer.inbox.bytes, &peer.inbox.request);
    assert_eq!(head.fields.get(bytes, Known::Host), Some(&b"a.example"[..]));
    assert_eq!(head.host(bytes), Some(&b"a.example"[..]));
    assert_eq!(head.version, Version::Http20);
    let host = block(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "b.example:8080")]);
    assert_eq!(to_h1(WHOLE, &host, &plain), "GET / HTTP/1.1\r\nHost: b.example:8080\r\n\r\n");
}

#[test]
fn edits_and_forwarding_fields_are_those_of_http_1_1() {
    let edits = RequestEdits {
        hop: Some(Hop { client: [192, 0, 2, 1].into(), port: 443, tls: true }),
        drop_cookies: &[b"s"],
        fields: &[FieldEdit::Set { name: b"X-A", value: b"new" }],
        ..RequestEdits::default()
    };
    let fields = [("x-a", "old"), ("cookie", "s=1"), ("cookie", "t=2"), ("x_forwarded_for", "forged")];
    let written = to_h1(WHOLE, &request("GET", &fields), &edits);
    for there in
        ["Cookie: t=2\r\n", "X-A: new\r\n", "X-Forwarded-For: 192.0.2.1\r\n", "X-Forwarded-Proto: https\r\n"]
    {
        assert!(written.contains(there), "{there} in {written}");
    }
    for gone in ["old", "s=1", "forged"] {
        assert!(!written.contains(gone), "{gone} in {written}");
    }
}

/// Sends an answer of HTTP/1.1 through a server to a client, and returns the client with its events.
fn over_h2(answer: &str, edits: &[FieldEdit<'_>], method: &str) -> (Peer, Vec<Event>) {
    let context = RequestContext { method: Method::of(method.as_bytes()), ..RequestContext::default() };
    let mut head = ResponseHead::default();
    let parsed = h1::parse_response(answer.as_bytes(), &context, &Limits::default(), &mut head);
    assert!(matches!(parsed, Ok(Parse::Done { .. })), "{answer}");
    let how = ResponseEdits {
        client: Version::Http20,
        keep_alive: true,
        fields: edits,
        ..ResponseEdits::default()
    };
    let mut text = Vec::new();
    write::response(answer.as_bytes(), &head, &how, &mut text).unwrap();
    let mut server = Peer::server(&Config::default());
    server.feed(&frame(HEADERS, WHOLE, 1, &request(method, &[])));
    server.connection.head(1, &text, &[b"x-secret"], !head.framing.has_content(), &mut server.out).unwrap();
    let mut client = Peer::client(&Config::default(), method);
    let events = client.feed(&std::mem::take(&mut server.out));
    (client, events)
}

/// What a client makes of each of many answers on one connection; before some of them it changes the table's size.
fn one_after_another(answers: &[(Option<u32>, &str)]) -> Vec<String> {
    let mut server = Peer::server(&Config::default());
    let mut client = Peer::client(&Config::default(), "GET");
    let mut written = Vec::new();
    for (nth, (table, answer)) in answers.iter().enumerate() {
        let stream = 2 * nth as u32 + 1;
        if nth > 0 {
            let head = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
            client.connection.open(head, b"https", &[], true, &mut client.out).unwrap();
        }
        if let Some(size) = table {
            server.feed(&setting(1, *size));
        }
        server.feed(&get(stream));
        server.out.clear();
        server.connection.head(stream, answer.as_bytes(), &[], true, &mut server.out).unwrap();
        let events = client.feed(&std::mem::take(&mut server.out));
        assert_eq!(events, [Event::Response { stream, end: true }]);
        written.push(client_text(&client));
    }
    written
}

#[test]
fn answers_that_begin_alike_come_through_each_as_it_is() {
    let answer = |server: &str, kind: &str, cookie: u32, more: &str| {
        format!(
            "HTTP/1.1 200 \r\nserver: {server}\r\ncontent-type: {kind}\r\netag: \"a\"\r\nset-cookie: s={cookie}\r\n{more}\r\n"
        )
    };
    let not_found = "HTTP/1.1 404 \r\nserver: x\r\n\r\n".to_owned();
    let answers = [
        (None, answer("x", "text/html", 1, "")),
        (None, answer("x", "text/html", 2, "")),
        (None, answer("x", "text/html", 3, "x-more: y\r\n")),
        // Another line in the middle, which gets into the table and moves what stands there.
        (None, answer("x", "image/png", 4, "")),
        (None, answer("x", "text/html", 5, "")),
        (None, answer("x", "image/png", 6, "")),
        (None, not_found.clone()),
        (None, answer("y", "text/html", 7, "")),
        (None, answer("x", "text/html", 8, "")),
        // No table any more, and then one again.
        (Some(0), answer("x", "text/html", 9, "")),
        (None, answer("x", "text/html", 10, "")),
        (Some(4096), answer("x", "text/html", 11, "")),
        (None, answer("x", "text/html", 12, "")),
        (None, not_found),
    ];
    let of: Vec<(Option<u32>, &str)> = answers.iter().map(|(size, text)| (*size, text.as_str())).collect();
    for ((_, answer), written) in answers.iter().zip(one_after_another(&of)) {
        assert_eq!(written.replace("Content-Length: 0\r\n", ""), *answer);
    }
}

//= test H2-HPACK-06
#[test]
fn answers_that_change_and_come_again_stay_in_step_with_the_table() {
    let answer =
        |which: char| format!("HTTP/1.1 200 \r\nserver: {which}\r\ncontent-type: text/{which}\r\n\r\n");
    // One that comes twice behind another puts nothing into the table the second time: else the first one would be
    // elsewhere.
    let order = "aabbaabaabcaccbba";
    for sizes in [vec![], vec![(5, 0), (9, 4096)], vec![(2, 300), (5, 0), (6, 4096), (9, 256), (12, 4096)]] {
        let at = |nth: usize| sizes.iter().find(|(at, _)| *at == nth).map(|(_, size)| *size);
        let answers: Vec<_> =
            order.chars().enumerate().map(|(nth, which)| (at(nth), answer(which))).collect();
        let of: Vec<(Option<u32>, &str)> =
            answers.iter().map(|(size, text)| (*size, text.as_str())).collect();
        for (nth, ((_, answer), written)) in answers.iter().zip(one_after_another(&of)).enumerate() {
            assert_eq!(written.replace("Content-Length: 0\r\n", ""), *answer, "{sizes:?}, answer {nth}");
        }
    }
}

fn client_text(client: &Peer) -> String {
    let mut text = Vec::new();
    let how = ResponseEdits { keep_alive: true, ..ResponseEdits::default() };
    write::response(&client.inbox.bytes, &client.inbox.response, &how, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

//= test H2-CONV-04
//= test H2-CONV-05
#[test]
fn a_response_comes_through_without_what_concerns_one_connection() {
    let answer = "HTTP/1.1 200 Whatever\r\nServer: x\r\nConnection: x-hop, close\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
        Content-Length: 5\r\nX-Secret: y\r\nSet-Cookie: a=b\r\n\r\n";
    let (client, events) = over_h2(answer, &[FieldEdit::Add { name: b"Set-Cookie", value: b"s=1" }], "GET");
    assert_eq!(events, [Event::Response { stream: 1, end: false }]);
    let written = client_text(&client);
    assert_eq!(
        written,
        "HTTP/1.1 200 \r\nserver: x\r\nx-secret: y\r\nset-cookie: a=b\r\nset-cookie: s=1\r\nContent-Length: 5\r\n\r\n"
    );
    let (client, events) = over_h2("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &[], "GET");
    assert_eq!(events, [Event::Response { stream: 1, end: false }]);
    assert_eq!(client.inbox.response.framing, Framing::Chunked);
    for (answer, method, framing, length) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", "GET", Framing::None, None),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "GET", Framing::None, Some(9)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "HEAD", Framing::None, Some(9)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "GET", Framing::Length(0), Some(0)),
    ] {
        let (client, events) = over_h2(answer, &[], method);
        assert_eq!(events, [Event::Response { stream: 1, end: true }], "{answer}");
        let head = &client.inbox.response;
        assert_eq!((head.framing, head.content_length), (framing, length), "{answer}");
        assert!(!client.connection.has_streams(), "{answer}");
    }
}

//= test H2-FIELD-06
#[test]
fn secrets_and_what_their_sender_forbids_get_into_no_table() {
    let head = b"HTTP/1.1 200 OK\r\nX-Secret: y\r\nSet-Cookie: a=b\r\nServer: z\r\n\r\n";
    let mut server = Peer::server(&Config::default());
    server.feed(&get(1));
    server.connection.head(1, head, &[b"x-secret"], true, &mut server.out).unwrap();
    let mut client = Peer::client(&Config::default(), "GET");
    client.feed(&std::mem::take(&mut server.out));
    let (bytes, fields) = (&client.inbox.bytes, &client.inbox.response.fields);
    let never: Vec<_> = fields.iter().filter(|f| f.sensitive).map(|f| f.name.of(bytes)).collect();
    assert_eq!(never, [&b"x-secret"[..], b"set-cookie"]);
    // The mark survives the way through: a request's field that came as never indexed.
    let mut peer = Peer::server(&Config::default());
    let mut lines = request("GET", &[]);
    lines.extend([0x10, 1, b'k', 1, b'v']);
    peer.feed(&frame(HEADERS, WHOLE, 1, &lines));
    let marked: Vec<_> = peer.inbox.request.fields.iter().filter(|f| f.sensitive).collect();
    assert_eq!(marked.len(), 1);
    assert_eq!(marked[0].name.of(&peer.inbox.bytes), b"k");
}

//= test H2-CONV-03
#[test]
fn a_websocket_over_http2_is_an_upgrade_over_http_1_1_and_the_other_way_round() {
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":path", "/chat"),
        (":authority", "a.example"),
        ("sec-websocket-version", "13"),
    ];
    let mut server = Peer::server(&Config::default());
    let events = server.feed(&frame(HEADERS, END_HEADERS, 1, &block(&fields)));
    assert_eq!(events, [Event::Request { stream: 1, end: false }]);
    assert_eq!(server.inbox.request.upgrade, Some(Upgrade::WebSocket));
    let key = [FieldEdit::Set { name: b"Sec-WebSocket-Key", value: b"k" }];
    let mut text = Vec::new();
    let edits = RequestEdits { fields: &key, ..RequestEdits::default() };
    write::request(&server.inbox.bytes, &server.inbox.request, &edits, &mut text).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&text),
        "GET /chat HTTP/1.1\r\nHost: a.example\r\nsec-websocket-version: 13\r\nSec-WebSocket-Key: k\r\n\
         Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    );
    // That very request goes to a server of HTTP/2, which has to offer it first.
    let mut client = Peer::new(Role::Client, &Config::default());
    client.feed(&[frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, 1, 0, &[])].concat());
    let no = client.connection.open(&text, b"https", &[], true, &mut client.out);
    assert_eq!(no, Err(forebay_http::h2::OpenError::NoConnect));
    client.feed(&setting(8, 1));
    client.out.clear();
    assert_eq!(client.connection.open(&text, b"https", &[], true, &mut client.out), Ok(1));
    let mut origin = Peer::server(&Config::default());
    assert_eq!(origin.feed(&client.out), [Event::Request { stream: 1, end: false }]);
    assert_eq!(origin.inbox.request.upgrade, Some(Upgrade::WebSocket));
    assert_eq!(origin.inbox.request.fields.named(&origin.inbox.bytes, b"sec-websocket-key").count(), 0);
    // A 101 answers it as 200, which is a 101 for whoever asked by HTTP/1.1; then bytes go both ways.
    let switch =
        b"HTTP/1.1 101 X\r\nSec-WebSocket-Accept: q\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    origin.out.clear();
    origin.connection.head(1, switch, &[], false, &mut origin.out).unwrap();
    assert_eq!(client.feed(&std::mem::take(&mut origin.out)), [Event::Response { stream: 1, end: false }]);
    let response = &client.inbox.response;
    assert_eq!((response.status, response.upgrade), (101, Some(Upgrade::WebSocket)));
    assert_eq!(response.fields.named(&client.inbox.bytes, b"sec-websocket-accept").count(), 0);
    client.out.clear();
    let head = client.connection.data(1, 5, false).unwrap();
    client.out.extend_from_slice(&head);
    client.out.extend_from_slice(b"frame");
    origin.feed(&std::mem::take(&mut client.out));
    assert_eq!(origin.content, b"frame");
    assert!(server.connection.is_open(1));
}

//= test H2-CONV-06
//= test H2-BODY-05
#[test]
fn trailers_go_over_both_ways_and_those_that_may_not_stay() {
    let mut server = Peer::server(&Config::default());
    let trailing = block(&[("x-sum", "1"), ("content-length", "9"), ("host", "b"), ("x-more", "2")]);
    let events = server.feed(&[post(1, &[]), frame(HEADERS, WHOLE, 1, &trailing)].concat());
    assert_eq!(events[1], Event::Trailers { stream: 1 });
    let mut out = Vec::new();
    forebay_http::h2::last_chunk(&server.inbox, true, &mut out);
    assert_eq!(String::from_utf8_lossy(&out), "0\r\nx-sum: 1\r\nx-more: 2\r\n\r\n");
    out.clear();
    forebay_http::h2::last_chunk(&server.inbox, false, &mut out);
    assert_eq!(out, body::LAST_CHUNK);

    let mut decoder = Decoder::new(Framing::Chunked, &Limits::default());
    decoder.decode(b"0\r\nGrpc-Status: 0\r\nHost: b\r\n\r\n").unwrap();
    server.connection.head(1, b"HTTP/1.1 200 OK\r\n\r\n", &[], false, &mut server.out).unwrap();
    server.connection.trailers(1, decoder.trailers(), &mut server.out).unwrap();
    let mut client = Peer::client(&Config::default(), "GET");
    let events = client.feed(&std::mem::take(&mut server.out));
    assert_eq!(events, [Event::Response { stream: 1, end: false }, Event::Trailers { stream: 1 }]);
    let names: Vec<_> = client.inbox.trailers.iter().map(|f| f.name.of(&client.inbox.bytes)).collect();
    assert_eq!(names, [b"grpc-status"]);
    // Too many of them reset the stream alone.
    let many: Vec<u8> = (0..40).flat_map(|_| line("x", "y")).collect();
    let events = server.feed(&[post(3, &[]), frame(HEADERS, WHOLE, 3, &many)].concat());
    assert!(matches!(events[1], Event::Reset { stream: 3, .. }), "{events:?}");
}

//= test H2-REQ-07
#[test]
fn what_is_too_much_or_wrong_for_any_version_gets_its_status_and_the_connection_stays() {
    let long = "x".repeat(13 << 10);
    let huge = "y".repeat(9 << 10);
    let path = format!("/{}", "p".repeat(9 << 10));
    let pseudo = |path| [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", path)];
    let host = |host| [(":method", "GET"), (":scheme", "https"), (":authority", host), (":path", "/")];
    let crowd: Vec<_> = (0..6).map(|_| ("x", &*huge)).collect();
    let lines: Vec<_> = (0..201).map(|_| ("x", "y")).collect();
    for (what, flags, bytes, status) in [
        ("a field", WHOLE, request("GET", &[("x", &long)]), 431),
        ("the whole head", WHOLE, request("GET", &crowd), 431),
        ("fields", WHOLE, request("GET", &lines), 431),
        ("the path", WHOLE, block(&pseudo(&path)), 414),
        ("a byte of the path", WHOLE, block(&pseudo("/a b")), 400),
        ("an escape", WHOLE, block(&pseudo("/%zz")), 400),
        ("user information", WHOLE, block(&host("u@a")), 400),
        ("no host", WHOLE, block(&[(":method", "GET"), (":scheme", "https"), (":path", "/")]), 400),
        ("two hosts", WHOLE, request("GET", &[("host", "a.example"), ("host", "a.example")]), 400),
        ("an expectation", END_HEADERS, request("POST", &[("expect", "magic")]), 417),
        (
            "a method",
            WHOLE,
            block(&[(":method", &"M".repeat(40)), (":scheme", "https"), (":authority", "a"), (":path", "/")]),
            501,
        ),
        ("CONNECT", END_HEADERS, block(&[(":method", "CONNECT"), (":authority", "a:443")]), 501),
        ("content", END_HEADERS, request("POST", &[("content-length", "101")]), 413),
    ] {
        let mut config = Config::default();
        config.limits.body_bytes = 100;
        let mut peer = Peer::server(&config);
        let mut input = Vec::new();
        let mut rest = &bytes[..];
        let mut kind = HEADERS;
        while rest.len() > 16_384 {
            input.extend(frame(kind, flags & !END_HEADERS, 1, &rest[..16_384]));
            (rest, kind) = (&rest[16_384..], CONTINUATION);
        }
        input.extend(frame(kind, flags, 1, rest));
        let events = peer.feed(&input);
        let Some(Event::Refused { stream: 1, reject }) = events.first() else { panic!("{what}: {events:?}") };
        assert_eq!((reject.status, reject.close), (status, false), "{what}");
        // What follows is thrown away, and its window given back; the next request is as good as any.
        if flags == END_HEADERS {
            let much: Vec<u8> = (0..40).flat_map(|_| frame(DATA, 0, 1, &[0; 16_000])).collect();
            assert_eq!(peer.feed(&much[..15 * 16_009]), [], "{what}");
        }
        peer.answer(1, status);
        assert_eq!(peer.feed(&get(3)), [Event::Request { stream: 3, end: true }], "{what}");
    }
}

#[test]
fn a_request_of_http_1_1_arrives_over_http2_as_it_was_meant() {
    let text = b"POST /a?b=c HTTP/1.1\r\nHost: a.example\r\nX-Y: z\r\nTE: trailers\r\nConnection: TE\r\nCookie: s=1\r\n\
        Transfer-Encoding: chunked\r\n\r\n";
    let mut head = RequestHead::default();
    h1::parse_request(text, &Limits::default(), &mut head).unwrap();
    let mut written = Vec::new();
    write::request(text, &head, &RequestEdits::default(), &mut written).unwrap();
    let mut client = Peer::new(Role::Client, &Config::default());
    assert_eq!(client.connection.open(&written, b"http", &[], false, &mut client.out), Ok(1));
    let mut server = Peer::new(Role::Server, &Config::default());
    assert_eq!(server.feed(&client.out), [Event::Request { stream: 1, end: false }]);
    let (bytes, request) = (&server.inbox.bytes, &server.inbox.request);
    let fields: Vec<_> = request.fields.iter().map(|f| (f.name.of(bytes), f.value.of(bytes))).collect();
    let expected: [(&[u8], &[u8]); 4] =
        [(b"x-y", b"z"), (b"cookie", b"s=1"), (b"te", b"trailers"), (b"host", b"a.example")];
    assert_eq!(fields, expected);
    assert!(request.te_trailers);
    assert_eq!(request.path(bytes), b"/a");
    assert_eq!(request.query(bytes), Some(&b"b=c"[..]));
    assert_eq!(request.framing, Framing::Chunked);
}
