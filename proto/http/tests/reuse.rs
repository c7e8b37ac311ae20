//! After which answers a server's connection may carry another request.

use forebay_http::Limits;
use forebay_http::h1::{Method, Parse, RequestContext, ResponseHead, parse_response};

fn keeps(method: Method, answer: &str) -> bool {
    let context = RequestContext { method, ..RequestContext::default() };
    let mut head = ResponseHead::default();
    let parsed = parse_response(answer.as_bytes(), &context, &Limits::default(), &mut head);
    assert!(matches!(parsed, Ok(Parse::Done { .. })), "{answer}");
    head.keep_alive
}

//= test H1-RESP-11
#[test]
fn an_answer_that_announces_content_which_it_may_not_have_is_a_connections_last() {
    for (method, status, framing, keep) in [
        (Method::Head, "200 OK", "Content-Length: 5", false),
        (Method::Head, "200 OK", "Transfer-Encoding: chunked", false),
        (Method::Get, "204 No Content", "Content-Length: 5", false),
        (Method::Get, "304 Not Modified", "Content-Length: 5", false),
        (Method::Head, "200 OK", "Content-Length: 0", true),
        (Method::Head, "200 OK", "Server: x", true),
        (Method::Get, "204 No Content", "Server: x", true),
        (Method::Get, "304 Not Modified", "Server: x", true),
        (Method::Get, "200 OK", "Content-Length: 5", true),
        (Method::Get, "200 OK", "Transfer-Encoding: chunked", true),
    ] {
        let answer = format!("HTTP/1.1 {status}\r\n{framing}\r\n\r\n");
        assert_eq!(keeps(method, &answer), keep, "{method:?} {answer}");
    }
}
