//! Requests through a worker, on real sockets.

mod support;

use std::io::Write;

use support::{Engine, Server, read_answer};

fn document(servers: &[&Server], more: &str) -> String {
    let servers: String =
        servers.iter().map(|server| format!("[[pool.server]]\naddress = \"{}\"\n", server.address)).collect();
    format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:1\"]\npool = \"web\"\n\
         [[pool]]\nname = \"web\"\n{more}\n{servers}"
    )
}

#[test]
fn a_request_goes_to_a_server_and_its_answer_back() {
    let server = Server::echo("one");
    let engine = Engine::start(&document(&[&server], ""), 1);
    let mut client = engine.connect();
    let mut rest = Vec::new();
    for n in 0..3 {
        let request = format!("GET /path?{n} HTTP/1.1\r\nHost: example.org\r\n\r\n");
        client.write_all(request.as_bytes()).expect("sent");
        let answer = read_answer(&mut client, &mut rest, false).expect("an answer");
        assert_eq!(answer.status, 200);
        let text = answer.text();
        assert!(text.starts_with(&format!("one\nGET /path?{n} HTTP/1.1\r\nHost: example.org\r\n")), "{text}");
        assert!(text.contains("X-Forwarded-For: 127.0.0.1\r\n"), "{text}");
        assert!(text.contains("Via: 1.1 forebay\r\n"), "{text}");
    }
    assert_eq!(server.connections.load(std::sync::atomic::Ordering::SeqCst), 1, "the connection is kept");
}
