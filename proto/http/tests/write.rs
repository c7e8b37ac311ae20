//! What writers do with edits, and answers of our own.

use forebay_http::h1::write::{self, Answer, BadEdit, FieldEdit, RequestEdits, ResponseEdits};
use forebay_http::h1::{self, Framing, Parse, RequestContext, RequestHead, ResponseHead, Version};
use forebay_http::{Known, Limits};

const GET: &[u8] =
    b"GET /a?b=c HTTP/1.1\r\nHost: a.example\r\nX-A: 1\r\nX-B: 2\r\nx-a: 3\r\nVia: 1.1 q\r\n\r\n";

//= test H1-EDIT-01
#[test]
fn edits_remove_replace_and_add_lines() {
    let edits = [
        FieldEdit::Set { name: b"X-A", value: b"9" },
        FieldEdit::Remove { name: b"x-b" },
        FieldEdit::Add { name: b"X-C", value: b"7" },
        FieldEdit::Add { name: b"X-C", value: b"8" },
    ];
    let how = RequestEdits { fields: &edits, ..RequestEdits::default() };
    assert_eq!(
        request(GET, &how).unwrap(),
        "GET /a?b=c HTTP/1.1\r\nHost: a.example\r\nVia: 1.1 q\r\nX-A: 9\r\nX-C: 7\r\nX-C: 8\r\n\r\n"
    );
}

//= test H1-EDIT-02
#[test]
fn an_edit_reaches_what_servers_take_for_the_same_name() {
    let get: &[u8] =
        b"GET / HTTP/1.1\r\nHost: a\r\nx_user_name: eve\r\nX-User_Name: eve\r\nX-UserName: bob\r\n\r\n";
    let edits = [FieldEdit::Set { name: b"X-User-Name", value: b"anna" }];
    let how = RequestEdits { fields: &edits, ..RequestEdits::default() };
    let want = "GET / HTTP/1.1\r\nHost: a\r\nX-UserName: bob\r\nX-User-Name: anna\r\n\r\n";
    assert_eq!(request(get, &how).unwrap(), want);
}

//= test H1-EDIT-03
#[test]
fn a_later_edit_takes_what_an_earlier_one_wrote() {
    let edits = [
        FieldEdit::Set { name: b"X-A", value: b"1" },
        FieldEdit::Add { name: b"X-C", value: b"2" },
        FieldEdit::Set { name: b"x_a", value: b"3" },
        FieldEdit::Add { name: b"X-A", value: b"4" },
        FieldEdit::Add { name: b"X-D", value: b"5" },
        FieldEdit::Remove { name: b"x-c" },
    ];
    let how = RequestEdits { fields: &edits, ..RequestEdits::default() };
    let want = "GET / HTTP/1.1\r\nHost: a\r\nx_a: 3\r\nX-A: 4\r\nX-D: 5\r\n\r\n";
    assert_eq!(request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &how).unwrap(), want);
}

#[test]
fn target_and_host_are_rewritten() {
    let how = RequestEdits { target: Some(b"/x?y"), host: Some(b"b.example:81"), ..RequestEdits::default() };
    assert!(request(GET, &how).unwrap().starts_with("GET /x?y HTTP/1.1\r\nHost: b.example:81\r\nX-A: 1\r\n"));
}

#[test]
fn an_edit_of_via_or_a_forwarding_field_has_the_last_word() {
    let edits =
        [FieldEdit::Set { name: b"via", value: b"1.1 z" }, FieldEdit::Remove { name: b"x-forwarded-for" }];
    let hop = write::Hop { client: [192, 0, 2, 1].into(), port: 80, tls: false };
    let how = RequestEdits { fields: &edits, via: Some(b"edge"), hop: Some(hop), ..RequestEdits::default() };
    let text = request(GET, &how).unwrap();
    assert!(
        text.contains("\r\nvia: 1.1 z\r\n") && !text.contains("edge") && !text.contains("1.1 q"),
        "{text}"
    );
    assert!(!text.contains("X-Forwarded-For") && text.contains("X-Forwarded-Proto: http\r\n"), "{text}");
}

//= test H1-EDIT-01
#[test]
fn edits_that_would_break_the_message_are_refused_and_nothing_is_written() {
    for bad in [
        &b""[..],
        b"X Y",
        b"X:",
        b"X\r\n",
        b"Content-Length",
        b"transfer-encoding",
        b"Connection",
        b"HOST",
        b"Upgrade",
    ] {
        let edits = [FieldEdit::Add { name: bad, value: b"1" }];
        assert_eq!(request(GET, &with(&edits)), Err(BadEdit::Name), "{bad:?}");
    }
    for bad in [&b"a\r\nX: y"[..], b"a\n", b"a\0", b" a", b"a\t", b"\x7f"] {
        let edits = [FieldEdit::Set { name: b"X", value: bad }];
        assert_eq!(request(GET, &with(&edits)), Err(BadEdit::Value), "{bad:?}");
        let how = ResponseEdits { fields: &edits, ..ResponseEdits::default() };
        assert_eq!(
            response(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", &how).map(|_| ()),
            Err(BadEdit::Value)
        );
    }
    for bad in [&b""[..], b"a", b"/a b", b"/a\r\n", b"/\xff", b"/a#b"] {
        let how = RequestEdits { target: Some(bad), ..RequestEdits::default() };
        assert_eq!(request(GET, &how), Err(BadEdit::Target), "{bad:?}");
    }
    for bad in [&b""[..], b"a b", b"a,b", b"u@a", b"a:x"] {
        let how = RequestEdits { host: Some(bad), ..RequestEdits::default() };
        assert_eq!(request(GET, &how), Err(BadEdit::Host), "{bad:?}");
    }
}

#[test]
fn a_set_cookie_is_added_beside_those_of_the_server() {
    let edits = [FieldEdit::Add { name: b"Set-Cookie", value: b"s=abc; Path=/; HttpOnly" }];
    let how = ResponseEdits { fields: &edits, keep_alive: true, ..ResponseEdits::default() };
    let (text, sent) =
        response(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\n", &how).unwrap();
    assert_eq!(
        text,
        "HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nSet-Cookie: s=abc; Path=/; HttpOnly\r\nContent-Length: 2\r\n\r\n"
    );
    assert_eq!((sent.framing, sent.keep_alive), (Framing::Length(2), true));
}

#[test]
fn an_interim_response_is_not_edited() {
    let edits =
        [FieldEdit::Add { name: b"Set-Cookie", value: b"s=abc" }, FieldEdit::Remove { name: b"Link" }];
    let how = ResponseEdits { fields: &edits, keep_alive: true, ..ResponseEdits::default() };
    let (text, _) = response(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", &how).unwrap();
    assert_eq!(text, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
}

//= test H1-ANSWER-01
#[test]
fn an_error_answer_has_a_length_and_closes() {
    let mut out = Vec::new();
    write::answer(&Answer::error(431), &mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: 32\r\nConnection: close\r\n\r\nRequest Header Fields Too Large\n"
    );
}

//= test H1-ANSWER-01
#[test]
fn an_answer_to_head_announces_its_content_and_does_not_send_it() {
    let head = parse(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut out = Vec::new();
    let fields = [FieldEdit::Add { name: b"Location", value: b"/x" }];
    let answer = Answer { fields: &fields, content: Some(b"moved"), ..Answer::to(&head, 302) };
    write::answer(&answer, &mut out).unwrap();
    assert_eq!(out, b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 5\r\n\r\n");
}

//= test H1-ANSWER-01
#[test]
fn every_answer_is_a_response_that_we_would_accept() {
    for status in 200..600 {
        for (keep_alive, client) in
            [(false, Version::Http11), (true, Version::Http11), (true, Version::Http10)]
        {
            let mut out = Vec::new();
            write::answer(&Answer { status, keep_alive, client, ..Answer::default() }, &mut out).unwrap();
            let mut head = ResponseHead::default();
            let context = RequestContext::default();
            let Ok(Parse::Done { len }) = h1::parse_response(&out, &context, &Limits::default(), &mut head)
            else {
                panic!("{status} is not accepted")
            };
            assert_eq!(head.keep_alive, keep_alive);
            let content = (out.len() - len) as u64;
            match status {
                204 | 304 => assert_eq!((head.framing, content), (Framing::None, 0)),
                _ => assert_eq!(head.framing, Framing::Length(content)),
            }
        }
    }
}

//= test H1-CONN-05
#[test]
fn an_answer_to_a_request_with_content_to_come_closes() {
    let head = parse(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    assert!(!Answer::to(&head, 503).keep_alive);
    assert!(Answer::to(&parse(GET), 503).keep_alive);
}

#[test]
fn a_head_says_who_is_asked_for_what() {
    let buf = b"GET http://b.example:81/x?y?z HTTP/1.1\r\nHost: a.example\r\ncookie: a=1\r\nCookie: b=2\r\nX: 1\r\n\r\n";
    let head = parse(buf);
    assert_eq!(head.host(buf), Some(&b"b.example"[..]));
    assert_eq!(head.authority.unwrap().port, Some(81));
    assert_eq!((head.path(buf), head.query(buf)), (&b"/x"[..], Some(&b"y?z"[..])));
    assert_eq!(head.fields.known(buf, Known::Cookie).collect::<Vec<_>>(), [b"a=1", b"b=2"]);
    assert_eq!(head.fields.named(buf, b"COOKIE").count(), 2);
    assert_eq!(head.fields.named(buf, b"x").collect::<Vec<_>>(), [b"1"]);
}

fn with<'a>(fields: &'a [FieldEdit<'a>]) -> RequestEdits<'a> {
    RequestEdits { fields, ..RequestEdits::default() }
}

fn parse(buf: &[u8]) -> RequestHead {
    let mut head = RequestHead::default();
    assert_eq!(h1::parse_request(buf, &Limits::default(), &mut head), Ok(Parse::Done { len: buf.len() }));
    head
}

fn request(buf: &[u8], how: &RequestEdits<'_>) -> Result<String, BadEdit> {
    let mut out = b"before".to_vec();
    let done = write::request(buf, &parse(buf), how, &mut out);
    let text = String::from_utf8(out.split_off(6)).unwrap();
    assert!(done.is_ok() || text.is_empty(), "a refused edit writes nothing");
    done.map(|()| text)
}

fn response(buf: &[u8], how: &ResponseEdits<'_>) -> Result<(String, write::Sent), BadEdit> {
    let mut head = ResponseHead::default();
    let parsed = h1::parse_response(buf, &RequestContext::default(), &Limits::default(), &mut head);
    assert_eq!(parsed, Ok(Parse::Done { len: buf.len() }));
    let mut out = Vec::new();
    let sent = write::response(buf, &head, how, &mut out)?;
    Ok((String::from_utf8(out).unwrap(), sent))
}
