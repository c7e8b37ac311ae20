//! What a server sends behind the end of its answer, when nobody looks any more: it is nobody's answer.

use std::io::Write;
use std::sync::atomic::Ordering;

use crate::support::{Engine, Server, read_answer, read_request};

/// Announced as content of an answer that has none; it looks like an answer itself.
const LATE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nspoof";

/// The request, the answer's first line, and what announces content in it.
const CASES: [(&str, &str, &str); 4] = [
    ("HEAD", "200 OK", "Content-Length: 43"),
    ("HEAD", "200 OK", "Transfer-Encoding: chunked"),
    ("GET", "204 No Content", "Content-Length: 43"),
    ("GET", "304 Not Modified", "Content-Length: 43"),
];

//= test H1-RESP-11
#[test]
fn content_that_a_server_sends_late_where_none_may_be_reaches_nobody() {
    for (method, status, framing) in CASES {
        let server = Server::start(move |mut stream| {
            let mut rest = Vec::new();
            let mut late = false;
            while let Some((head, _)) = read_request(&mut stream, &mut rest) {
                let is_bare = head.contains(" /bare ");
                // What was announced comes when the next request is on its way.
                let answer = match (is_bare, late) {
                    (true, _) => format!("HTTP/1.1 {status}\r\n{framing}\r\n\r\n"),
                    (false, true) => format!("{LATE}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue"),
                    (false, false) => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue".into(),
                };
                late = is_bare;
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        });
        let document = format!(
            "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:1\"]\npool = \"web\"\n\
             [[pool]]\nname = \"web\"\n[[pool.server]]\naddress = \"{}\"\n",
            server.address
        );
        let engine = Engine::start(&document, 1);
        let mut client = engine.connect();
        let mut rest = Vec::new();
        for (method, path, content) in
            [("GET", "/", "true"), (method, "/bare", ""), ("GET", "/", "true"), ("GET", "/", "true")]
        {
            client
                .write_all(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
                .expect("sent");
            let answer = read_answer(&mut client, &mut rest, method == "HEAD").expect("an answer");
            assert_eq!(answer.text(), content, "{method} {path} {status} {framing}: {}", answer.head);
        }
        let opened = server.connections.load(Ordering::SeqCst);
        assert_eq!(opened, 2, "only the connection on which content may come is not used again");
    }
}
