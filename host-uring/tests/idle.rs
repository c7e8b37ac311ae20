//! What a client connection that waits for its next request costs.

mod support;

use std::io::Write;
use std::rc::Rc;

use forebay_host_uring::http::client::{Client, serve};
use forebay_host_uring::rt::{Rt, Sockets};
use support::{Engine, Server, eventually, read_answer};

fn future_bytes<R: Rt, F: Future>(_: impl Fn(Rc<Client<R>>) -> F) -> usize {
    size_of::<F>()
}

/// Private memory of this process: what no file backs.
fn private_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|n| n.parse::<usize>().ok()).expect("a number") * 1024
}

//= test SE-IDLE-01
#[test]
fn an_idle_connection_holds_no_buffer() {
    const CONNECTIONS: usize = 2_000;
    static ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let server = Server::saying(ANSWER, false);
    let document = format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:1\"]\npool = \"web\"\n\
         [[pool]]\nname = \"web\"\n[[pool.server]]\naddress = \"{}\"\n",
        server.address
    );
    let engine = Engine::start(&document, 1);
    let ask = || {
        let mut client = engine.connect();
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
        assert_eq!(read_answer(&mut client, &mut Vec::new(), false).expect("an answer").status, 200);
        client
    };
    // What is needed once is there before the first look.
    let warm: Vec<_> = (0..50).map(|_| ask()).collect();
    let before = private_bytes();
    let held: Vec<_> = (0..CONNECTIONS).map(|_| ask()).collect();
    eventually("all are counted", || engine.count(|m| m.connections.now()) as usize == CONNECTIONS + 50);
    let each = private_bytes().saturating_sub(before) / CONNECTIONS;
    let future = future_bytes(serve::<Sockets>);
    let client = size_of::<Client<Sockets>>();
    eprintln!("an idle connection: {each} bytes private; its task {future}, its state {client}");
    // A buffer would be 8 KiB and more.
    assert!(each < 6 * 1024, "{each} bytes for each idle connection");
    drop((warm, held));
}
