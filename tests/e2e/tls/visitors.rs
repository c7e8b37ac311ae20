//! Clients that come again, by a program that is told each step.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use forebay_e2e::{Lab, bin};

/// Reads lines `client how address` and answers each with a line `resumed server`. `how` is a version; `-id` behind it:
/// no tickets are taken; `@name` behind that: it asks for this
/// name and not for `app.test`. Several lines' worth at once, apart by `;`, are asked side by side.
const PROGRAM: &str = "import concurrent.futures as cf, socket, ssl, sys\n\
clients = {}\n\
def visit(words):\n\
\x20   name, how, ip, port = words.split()\n\
\x20   how, _, asked = how.partition('@')\n\
\x20   if name not in clients:\n\
\x20       c = ssl.create_default_context(cafile='ca.pem')\n\
\x20       v = ssl.TLSVersion.TLSv1_2 if how.startswith('1.2') else ssl.TLSVersion.TLSv1_3\n\
\x20       c.minimum_version = c.maximum_version = v\n\
\x20       if how.endswith('-id'): c.options |= ssl.OP_NO_TICKET\n\
\x20       clients[name] = [c, None]\n\
\x20   c, session = clients[name]\n\
\x20   s = socket.create_connection((ip, int(port)), 20)\n\
\x20   t = c.wrap_socket(s, server_hostname=asked or 'app.test', session=session)\n\
\x20   t.sendall(b'GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n')\n\
\x20   got = b''\n\
\x20   while True:\n\
\x20       try: more = t.recv(65536)\n\
\x20       except (ssl.SSLEOFError, ConnectionResetError): break\n\
\x20       if not more: break\n\
\x20       got += more\n\
\x20   clients[name][1] = t.session\n\
\x20   head = got.split(b'\\r\\n\\r\\n')[0].decode().lower().split('\\r\\n')\n\
\x20   server = [l.split(': ')[1] for l in head if l.startswith('x-demo-server')]\n\
\x20   return ('resumed ' if t.session_reused else 'new ') + (server[0] if server else '-')\n\
with cf.ThreadPoolExecutor(8) as pool:\n\
\x20   for line in sys.stdin:\n\
\x20       print(';'.join(pool.map(visit, line.strip().split(';'))), flush=True)\n";

/// The program.
pub struct Visitors {
    child: Child,
    orders: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
}

/// What came of one visit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// The connection went on with the client's last session.
    pub is_resumed: bool,
    /// The server that answered; `-`: none.
    pub server: String,
}

impl Visitors {
    /// Starts the program.
    pub fn start(lab: &Lab) -> Self {
        let mut child = Command::new(bin::foreign("python3", "python3"))
            .args(["-c", PROGRAM])
            .current_dir(lab.folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let said = BufReader::new(child.stdout.take().expect("piped"));
        Visitors { orders: child.stdin.take(), said, child }
    }

    /// The client's next visits, side by side.
    #[track_caller]
    pub fn at_once(&mut self, client: &str, how: &str, ats: &[SocketAddr]) -> Vec<Visit> {
        let orders: Vec<String> =
            ats.iter().map(|at| format!("{client} {how} {} {}", at.ip(), at.port())).collect();
        let mut to = self.orders.as_ref().expect("it is not over");
        writeln!(to, "{}", orders.join(";")).expect("python3 reads");
        let mut line = String::new();
        self.said.read_line(&mut line).expect("python3 answers");
        let visit = |said: &str| {
            let (how, server) =
                said.trim().split_once(' ').unwrap_or_else(|| panic!("python3 said {said:?}"));
            Visit { is_resumed: how == "resumed", server: server.to_owned() }
        };
        line.split(';').map(visit).collect()
    }

    /// The client's next visit.
    #[track_caller]
    pub fn go(&mut self, client: &str, how: &str, at: SocketAddr) -> Visit {
        self.at_once(client, how, &[at]).remove(0)
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        // It ends with its orders.
        drop(self.orders.take());
        let _ = self.child.wait();
    }
}
