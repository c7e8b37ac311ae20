//! What a connection over TLS costs that has had a request answered and waits for the next.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::wait::{eventually, secs};
use crate::{Engine, Lab, bin};

/// Connections before the first look: what is needed once is there then.
const BEFORE: usize = 100;

/// Opens as many connections as each line of its input says, has one request answered on each, and keeps them.
const CLIENTS: &str = "import socket, ssl, struct, sys\n\
c = ssl.create_default_context(cafile='ca.pem')\n\
exec(sys.argv[3])\n\
held = []\n\
for line in sys.stdin:\n\
\x20   for _ in range(int(line)):\n\
\x20       s = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n\
\x20       s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)\n\
\x20       s = c.wrap_socket(s, server_hostname='app.test')\n\
\x20       s.sendall(ask)\n\
\x20       got = b''\n\
\x20       while not answered(got): got += s.recv(4096)\n\
\x20       held.append(s)\n\
\x20   print(len(held), flush=True)\n";

/// Private memory of a process: what no file backs.
fn private_bytes(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|n| n.parse::<usize>().ok()).expect("a number") * 1024
}

/// Private bytes of each of `count` idle connections to `at`, where the lab's authority `ca` stands for `app.test`. `speak` is
/// Python that prepares the context `c`, and says what to send (`ask`) and whether what came is an answer (`answered`).
///
/// # Panics
/// If it does not become `most` or less.
pub fn bytes(lab: &Lab, engine: &Engine, at: SocketAddr, speak: &str, count: usize, most: usize) -> usize {
    let mut clients = Command::new(bin::foreign("python3", "python3"))
        .args(["-c", CLIENTS, &at.ip().to_string(), &at.port().to_string(), speak])
        .current_dir(lab.folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    let mut orders = clients.stdin.take().expect("piped");
    let mut answers = BufReader::new(clients.stdout.take().expect("piped"));
    let mut open = |count: usize| {
        writeln!(orders, "{count}").expect("it reads");
        let mut line = String::new();
        answers.read_line(&mut line).expect("it answers");
        line.trim().parse::<usize>().expect("a number")
    };
    assert_eq!(open(BEFORE), BEFORE);
    let pid = engine.process.pid();
    let before = private_bytes(pid);
    assert_eq!(open(count), BEFORE + count);
    let mut each = usize::MAX;
    // What requests needed is given back a moment later.
    eventually("an idle connection is small", secs(15), || {
        each = each.min(private_bytes(pid).saturating_sub(before) / count);
        each <= most
    });
    assert!(each > 1_000, "{each}: they are there");
    drop(orders);
    clients.wait().expect("it ends");
    each
}
