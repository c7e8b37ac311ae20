//! A thin server around the pure engine, on blocking sockets: what judges and foreign clients talk to until the
//! service engine itself speaks HTTP/2.
//!
//! It answers by the path: `/` a small text, `/bytes/N` N bytes, `/echo` the request's content, `/trailers` a text
//! and trailers, `/hint` an interim response first. The engine decides about everything else.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use forebay_http::h1::write::{Answer, FieldEdit, answer};
use forebay_http::h2::{Config, Connection, Event, Inbox, Role};

/// What one client's connection does, without its socket.
pub struct Session {
    connection: Connection,
    inbox: Inbox,
    bodies: BTreeMap<u32, Body>,
    out: Vec<u8>,
    began: Instant,
    /// How the connection ended, if it did by a rule.
    pub over: Option<forebay_http::h2::Rule>,
}

struct Body {
    bytes: Vec<u8>,
    sent: usize,
    complete: bool,
    trailers: bool,
}

impl Session {
    pub fn new(config: &Config) -> Session {
        let mut out = Vec::new();
        Session {
            connection: Connection::new(Role::Server, config, &mut out),
            inbox: Inbox::default(),
            bodies: BTreeMap::new(),
            out,
            began: Instant::now(),
            over: None,
        }
    }

    /// Takes what has arrived; removes from `input` what is done with.
    pub fn feed(&mut self, input: &mut Vec<u8>) {
        let now = self.began.elapsed().as_millis() as u64;
        let mut at = 0;
        loop {
            let step = self.connection.feed(&input[at..], now, &mut self.inbox, &mut self.out);
            let from = at;
            at += step.consumed;
            match step.event {
                Event::NeedInput => break,
                Event::Over { rule } => {
                    self.over = Some(rule);
                    break;
                }
                Event::Request { stream, end } => self.request(stream, end),
                Event::Data { stream, data, end } => {
                    let bytes = &input[from..][data];
                    self.connection.release(stream, bytes.len(), &mut self.out);
                    if let Some(body) = self.bodies.get_mut(&stream) {
                        body.bytes.extend_from_slice(bytes);
                        body.complete |= end;
                        self.connection.want(stream, true);
                    }
                }
                Event::Trailers { stream } => {
                    if let Some(body) = self.bodies.get_mut(&stream) {
                        body.complete = true;
                        self.connection.want(stream, true);
                    }
                }
                Event::Refused { stream, reject } => self.refuse(stream, reject.status),
                Event::Reset { stream, .. } => {
                    self.bodies.remove(&stream);
                }
                Event::Response { .. } | Event::GoAway { .. } | Event::Pong { .. } => {}
            }
        }
        input.drain(..at);
        self.send();
    }

    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    pub fn is_over(&self) -> bool {
        self.connection.is_over()
    }

    fn refuse(&mut self, stream: u32, status: u16) {
        let mut head = Vec::new();
        answer(&Answer { status, keep_alive: true, content: Some(b""), ..Answer::default() }, &mut head)
            .unwrap();
        self.connection.head(stream, &head, &[], true, &mut self.out).unwrap();
    }

    fn request(&mut self, stream: u32, end: bool) {
        let request = &self.inbox.request;
        let bytes = &self.inbox.bytes;
        let path = request.path(bytes).to_vec();
        let is_head = request.method_bytes(bytes) == b"HEAD";
        let echo = path == b"/echo";
        let content = if let Some(count) = path.strip_prefix(b"/bytes/") {
            let count: usize = std::str::from_utf8(count).ok().and_then(|n| n.parse().ok()).unwrap_or(0);
            (0..count).map(|n| (n % 251) as u8).collect()
        } else if echo {
            Vec::new()
        } else {
            b"hello from a thin server\n".to_vec()
        };
        let fields = [
            FieldEdit::Add { name: b"Server", value: b"thin" },
            FieldEdit::Add { name: b"Content-Type", value: b"text/plain" },
        ];
        if path == b"/hint" {
            let hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
            self.connection.head(stream, hint, &[], false, &mut self.out).unwrap();
        }
        let mut head = Vec::new();
        if echo || path == b"/trailers" {
            head.extend_from_slice(b"HTTP/1.1 200 OK\r\nServer: thin\r\nTransfer-Encoding: chunked\r\n\r\n");
        } else {
            let how = Answer {
                status: 200,
                head: true,
                keep_alive: true,
                fields: &fields,
                content: Some(&content),
                ..Answer::default()
            };
            answer(&how, &mut head).unwrap();
        }
        self.connection.head(stream, &head, &[], is_head, &mut self.out).unwrap();
        if !is_head {
            let body =
                Body { bytes: content, sent: 0, complete: end || !echo, trailers: path == b"/trailers" };
            self.bodies.insert(stream, body);
            self.connection.want(stream, true);
        }
    }

    /// Sends what the windows allow, in the engine's order.
    fn send(&mut self) {
        while let Some((stream, room)) = self.connection.next() {
            let Some(body) = self.bodies.get_mut(&stream) else {
                self.connection.want(stream, false);
                continue;
            };
            let len = room.min(body.bytes.len() - body.sent);
            let last = body.complete && body.sent + len == body.bytes.len();
            if len == 0 && !last {
                self.connection.want(stream, false);
                continue;
            }
            let head = self.connection.data(stream, len, last && !body.trailers).unwrap();
            self.out.extend_from_slice(&head);
            self.out.extend_from_slice(&body.bytes[body.sent..body.sent + len]);
            body.sent += len;
            if last && body.trailers {
                let trailers = [(&b"X-Sum"[..], &b"1"[..]), (b"Grpc-Status", b"0")];
                self.connection.trailers(stream, trailers.into_iter(), &mut self.out).unwrap();
            }
            if last {
                self.bodies.remove(&stream);
            } else if body.sent == body.bytes.len() {
                self.connection.want(stream, false);
            }
        }
        // An end without data needs no window.
        let ended: Vec<u32> = (self.bodies.iter())
            .filter(|(_, body)| body.complete && body.sent == body.bytes.len() && !body.trailers)
            .map(|(stream, _)| *stream)
            .collect();
        for stream in ended {
            self.bodies.remove(&stream);
            if let Ok(head) = self.connection.data(stream, 0, true) {
                self.out.extend_from_slice(&head);
            }
        }
    }
}

/// Serves until it is dropped, a thread for each connection.
pub struct Server {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Server {
    pub fn start(config: Config) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = client else { continue };
                std::thread::spawn(move || serve(client, &config));
            }
        });
        Server { address, stop }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the accept loop.
        drop(TcpStream::connect(self.address));
    }
}

/// How long a client may say nothing at all before the server gives it up.
const SILENCE_MAX: Duration = Duration::from_secs(20);

fn serve(mut client: TcpStream, config: &Config) {
    let _ = client.set_nodelay(true);
    let _ = client.set_read_timeout(Some(SILENCE_MAX));
    let mut session = Session::new(config);
    let (mut input, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let out = session.take_output();
        if client.write_all(&out).is_err() {
            return;
        }
        if session.over.is_some() || session.is_over() {
            // What the client sends until it has read the end would make a reset of it.
            let _ = client.shutdown(std::net::Shutdown::Write);
            while matches!(client.read(&mut buffer), Ok(1..)) {}
            return;
        }
        match client.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(len) => input.extend_from_slice(&buffer[..len]),
        }
        session.feed(&mut input);
    }
}
