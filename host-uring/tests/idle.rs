//! What a client connection that waits for its next request costs.

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::rc::Rc;

use forebay_host_uring::http::client::{Client, serve};
use forebay_host_uring::rt::{Rt, Sockets};
use support::{Engine, Server, eventually, read_answer};

/// Bytes of the future of a connection: it waits in it, so what a request needs must not be in it.
const FUTURE_BYTES_MAX: usize = 160;
/// Bytes of what is known of a connection.
const CLIENT_BYTES_MAX: usize = 160;
/// Private bytes of an idle connection: both, what the allocator adds, the wait, the deadline and the task's place.
const IDLE_BYTES_MAX: usize = 640;

fn future_bytes<R: Rt, F: Future>(_: impl Fn(Rc<Client<R>>) -> F) -> usize {
    size_of::<F>()
}

/// Private memory of this process: what no file backs.
fn private_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|n| n.parse::<usize>().ok()).expect("a number") * 1024
}

fn engine(server: &Server) -> Engine {
    Engine::start(
        &format!(
            "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:1\"]\npool = \"web\"\n\
             [[pool]]\nname = \"web\"\n[[pool.server]]\naddress = \"{}\"\n",
            server.address
        ),
        1,
    )
}

fn ask(client: &mut TcpStream) {
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
}

fn answered(client: &mut TcpStream) {
    assert_eq!(read_answer(client, &mut Vec::new(), false).expect("an answer").status, 200);
}

static ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

//= test SE-IDLE-01
#[test]
fn an_idle_connection_is_a_small_record_without_a_buffer() {
    const CONNECTIONS: usize = 2_000;
    let server = Server::saying(ANSWER, false);
    let engine = engine(&server);
    let idle = || {
        let mut client = engine.connect();
        ask(&mut client);
        answered(&mut client);
        client
    };
    // What is needed once is there before the first look.
    let warm: Vec<_> = (0..50).map(|_| idle()).collect();
    let before = private_bytes();
    let held: Vec<_> = (0..CONNECTIONS).map(|_| idle()).collect();
    eventually("all are counted", || engine.count(|m| m.connections.now()) as usize == CONNECTIONS + 50);
    let each = private_bytes().saturating_sub(before) / CONNECTIONS;
    let future = future_bytes(serve::<Sockets>);
    let client = size_of::<Client<Sockets>>();
    eprintln!("an idle connection: {each} bytes private; its task {future}, its state {client}");
    assert!(future <= FUTURE_BYTES_MAX, "{future} bytes: what a request needs is not the connection's");
    assert!(client <= CLIENT_BYTES_MAX, "{client} bytes");
    assert!(each <= IDLE_BYTES_MAX, "{each} bytes for each idle connection");
    drop((warm, held));
}
