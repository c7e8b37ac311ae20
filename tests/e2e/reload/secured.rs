//! A foreign client whose connections are over TLS, while certificates change.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use forebay_e2e::pki::{self, EC};
use forebay_e2e::{Lab, bin};

/// The names of the certificates that take turns.
const TURNS: [&str; 2] = ["one", "two"];

/// Chats over a WebSocket from a thread of its own; for each line of input says whose certificate a new connection is
/// shown, and at the end of input how many frames came back over the old one.
const CLIENT: &str = r#"
import socket, ssl, sys, threading, time
trusted = ssl.create_default_context(cafile='ca.pem')
def talk():
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return trusted.wrap_socket(s, server_hostname='app.test')
def shown(t): return dict(pair for rdn in t.getpeercert()['subject'] for pair in rdn)['commonName']
def exactly(n):
    got = b''
    while len(got) < n:
        more = web.recv(n - len(got))
        if not more: raise EOFError('the WebSocket was cut after %d frames' % echoed)
        got += more
    return got
web, echoed, over, failed = talk(), 0, threading.Event(), []
web.sendall(b'GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n'
            b'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n')
head = b''
while not head.endswith(b'\r\n\r\n'): head += exactly(1)
assert head.startswith(b'HTTP/1.1 101 '), head
def chat():
    global echoed
    try:
        while not over.is_set():
            web.sendall(b'\x81\x84\0\0\0\0echo')
            frame = exactly(6)
            assert frame == b'\x81\x04echo', frame
            echoed += 1
            time.sleep(0.02)
    except Exception as error: failed.append(error)
thread = threading.Thread(target=chat)
thread.start()
print(shown(web), flush=True)
for line in sys.stdin:
    with talk() as t: print(shown(t), flush=True)
over.set()
thread.join()
if failed: raise failed[0]
print(echoed, flush=True)
"#;

/// Makes two certificates for `app.test`; `app` is the first of them.
pub fn certificates(lab: &Lab) {
    pki::authority(lab.folder(), "ca");
    for name in TURNS {
        pki::certificate(lab.folder(), name, "ca", EC, "DNS:app.test", 2);
    }
    turn(lab.folder(), 0);
}

/// Writes the files of the certificate `app` anew, and says whose it is now.
pub fn turn(folder: &Path, round: u32) -> &'static str {
    let name = TURNS[round as usize % TURNS.len()];
    for ending in ["pem", "key"] {
        std::fs::copy(folder.join(format!("{name}.{ending}")), folder.join(format!("app.{ending}")))
            .expect("the folder");
    }
    name
}

/// The client.
pub struct Chatter {
    child: Child,
    /// `None` once it was told to end.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Chatter {
    /// Starts it, and waits until its WebSocket stands; it must have been shown the certificate `expected`.
    pub fn start(lab: &Lab, at: SocketAddr, expected: &str) -> Self {
        let mut child = Command::new(bin::foreign("python3", "python3"))
            .args(["-c", CLIENT, &at.ip().to_string(), &at.port().to_string()])
            .current_dir(lab.folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        let mut chatter = Chatter { child, orders, answers };
        assert_eq!(chatter.answer(), expected);
        chatter
    }

    /// Whose certificate a new connection is shown.
    pub fn shown(&mut self) -> String {
        writeln!(self.orders.as_mut().expect("not told to end"), "look").expect("it reads");
        self.answer()
    }

    /// Ends it; gives the number of frames that came back over its WebSocket, which must have lived until now.
    pub fn end(mut self) -> u32 {
        self.orders = None;
        let echoed = self.answer();
        assert!(self.child.wait().expect("a child of ours").success(), "its connections have lived");
        echoed.parse().expect("a number")
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it answers");
        assert!(!line.is_empty(), "a connection over TLS has failed; what the client says stands above");
        line.trim().to_owned()
    }
}

impl Drop for Chatter {
    fn drop(&mut self) {
        // Without orders it ends by itself; who failed does not wait for that.
        self.orders = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
