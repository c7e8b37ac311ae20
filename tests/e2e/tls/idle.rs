//! What a connection costs that speaks TLS and waits for its next request.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use forebay_e2e::bin;
use forebay_e2e::wait::{eventually, secs};

use crate::secured;

/// Private bytes of such a connection. The library's part is 6,300.
const IDLE_BYTES_MAX: usize = 10_000;
const CONNECTIONS: usize = 400;

/// Opens as many connections as each line of its input says, has one request answered on each, and keeps them.
const CLIENTS: &str = "import socket, ssl, sys\n\
c = ssl.create_default_context(cafile='ca.pem')\n\
held = []\n\
for line in sys.stdin:\n\
\x20   for _ in range(int(line)):\n\
\x20       s = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n\
\x20       s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)\n\
\x20       s = c.wrap_socket(s, server_hostname='app.test')\n\
\x20       s.sendall(b'GET /health HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n\
\x20       got = b''\n\
\x20       while not got.endswith(b'ok\\n'): got += s.recv(4096)\n\
\x20       held.append(s)\n\
\x20   print(len(held), flush=True)\n";

/// Private memory of a process: what no file backs.
fn private_bytes(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|n| n.parse::<usize>().ok()).expect("a number") * 1024
}

//= test TLS-IDLE-01
#[test]
fn an_idle_connection_costs_what_the_library_needs_and_little_more() {
    let scene = secured("", "", "[[http_profile]]\nname = \"default\"\nidle_timeout_ms = 600000\n");
    let mut clients = Command::new(bin::foreign("python3", "python3"))
        .args(["-c", CLIENTS, &scene.at.ip().to_string(), &scene.at.port().to_string()])
        .current_dir(scene.lab.folder())
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
    // What is needed once is there before the first look.
    assert_eq!(open(100), 100);
    let pid = scene.engine.process.pid();
    let before = private_bytes(pid);
    assert_eq!(open(CONNECTIONS), 100 + CONNECTIONS);
    let mut each = usize::MAX;
    // What requests needed is given back a moment later.
    eventually("an idle connection is small", secs(10), || {
        each = each.min(private_bytes(pid).saturating_sub(before) / CONNECTIONS);
        each <= IDLE_BYTES_MAX
    });
    println!("an idle TLS connection: {each} bytes private");
    assert!(each > 1_000, "{each}: they are there");
    drop(orders);
    clients.wait().expect("it ends");
}
