//! Workers on real sockets, without the control thread: what the supervisor does, in a few lines.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use forebay_host_uring::config::{Transport, Tree};
use forebay_host_uring::control::mailbox::{Mailbox, mailbox};
use forebay_host_uring::control::{
    ListenSocket, Running, SeatListener, ShutdownFlag, ShutdownStage, WorkerSeat,
};
use forebay_host_uring::log::{self, Drain};
use forebay_host_uring::metrics::{PoolMetrics, ServerMetrics, ServiceMetrics, WorkerMetrics};
use forebay_host_uring::persist::Store;
use forebay_host_uring::rt::{Backend, clock};
use forebay_host_uring::worker::{self, Common, Started};

mod skips;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits for a condition, at most ten seconds.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < end, "not within 10 s: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Running workers.
pub struct Engine {
    pub tree: Arc<Tree>,
    pub store: Arc<Store>,
    /// By place in the tree's listeners.
    pub addresses: Vec<SocketAddr>,
    pub metrics: Vec<Arc<WorkerMetrics>>,
    pub mailboxes: Vec<Mailbox>,
    drains: Mutex<Vec<Drain>>,
    shutdown: Arc<ShutdownFlag>,
    /// Duplicates of the workers' sockets.
    listening: Vec<TcpListener>,
    threads: Vec<JoinHandle<()>>,
    may_panic: bool,
}

impl Engine {
    pub fn start(document: &str, workers: usize) -> Engine {
        Engine::start_on(Backend::IoUring, document, workers, 10_000)
    }

    pub fn start_on(backend: Backend, document: &str, workers: usize, connections_max: usize) -> Engine {
        Engine::start_with(backend, document, workers, connections_max, || {})
    }

    /// `on_start` runs on each worker's thread when it is about to accept.
    pub fn start_with(
        backend: Backend,
        document: &str,
        workers: usize,
        connections_max: usize,
        on_start: fn(),
    ) -> Engine {
        let snapshot = forebay_snapshot::check(document).unwrap_or_else(|problems| {
            panic!("{}", problems.iter().map(|p| format!("{p}\n")).collect::<String>())
        });
        let tree = Arc::new(Tree::build(snapshot));
        let store = Arc::new(Store::build(&tree, 64 << 20, [7; 16], clock::now()).expect("a store"));
        let running = Arc::new(Running { number: 1, tree: tree.clone(), store: store.clone() });
        let shutdown = Arc::new(ShutdownFlag::default());
        let mut addresses = Vec::new();
        let mut sockets: Vec<Vec<SeatListener>> = (0..workers).map(|_| Vec::new()).collect();
        for listener in &tree.listeners {
            // The document's port is a placeholder: any free one serves.
            let mut at = SocketAddr::new(listener.address.ip(), 0);
            for own in &mut sockets {
                let socket = match listener.transport {
                    Transport::Stream => ListenSocket::Stream(listen(at)),
                    Transport::Datagrams => ListenSocket::Datagrams(UdpSocket::bind(at).expect("one worker")),
                };
                at = match &socket {
                    ListenSocket::Stream(socket) => socket.local_addr().expect("bound"),
                    ListenSocket::Datagrams(socket) => socket.local_addr().expect("bound"),
                };
                own.push(SeatListener { address: at, service: listener.service, socket, claim: None });
            }
            addresses.push(at);
        }
        let mut engine = Engine {
            tree: tree.clone(),
            store: store.clone(),
            addresses,
            metrics: Vec::new(),
            mailboxes: Vec::new(),
            drains: Mutex::default(),
            shutdown: shutdown.clone(),
            listening: sockets
                .iter()
                .flatten()
                .filter_map(|own| own.socket.stream())
                .map(|socket| socket.try_clone().expect("a copy"))
                .collect(),
            threads: Vec::new(),
            may_panic: false,
        };
        for (index, listeners) in sockets.into_iter().enumerate() {
            let metrics = Arc::new(WorkerMetrics::default());
            let (mail, receiver) = mailbox().expect("a mailbox");
            let (log, drain) = log::ring(1 << 20, true);
            let seat = WorkerSeat {
                index,
                running: running.clone(),
                listeners,
                metrics: metrics.clone(),
                log,
                mailbox: receiver,
                shutdown: shutdown.clone(),
                connections_max,
                descriptors_max: usize::MAX,
            };
            let common = Common { workers, backend };
            let name = skips::this_test();
            engine.threads.push(std::thread::spawn(move || {
                let began = |started: &Started| {
                    if let Some(refusal) = &started.refusal {
                        skips::no_io_uring(&name, refusal);
                    }
                    on_start();
                };
                worker::run(seat, common, began).expect("a worker");
            }));
            engine.metrics.push(metrics);
            engine.mailboxes.push(mail);
            engine.drains.lock().expect("not poisoned").push(drain);
        }
        engine
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addresses[0]).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
        stream.set_nodelay(true).expect("no delay");
        stream
    }

    /// Sends bytes on a new connection and reads to its end.
    pub fn talk(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// All access records so far.
    pub fn log(&self) -> Vec<serde_json::Value> {
        let mut bytes = Vec::new();
        for drain in self.drains.lock().expect("not poisoned").iter_mut() {
            drain.take(&mut bytes, usize::MAX);
        }
        bytes
            .split(|b| *b == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).expect("each line is JSON"))
            .collect()
    }

    /// The sum of a service's counter over all workers.
    pub fn services(&self, service: usize, of: impl Fn(&ServiceMetrics) -> u64) -> u64 {
        self.tree.services[service].shared.counts.sum(of)
    }

    /// The sum of a pool's counter over all workers.
    pub fn pools(&self, pool: usize, of: impl Fn(&PoolMetrics) -> u64) -> u64 {
        self.tree.pools[pool].shared.counts.sum(of)
    }

    /// The sum of a server's counter over all workers; servers of all pools are counted through.
    pub fn servers(&self, server: usize, of: impl Fn(&ServerMetrics) -> u64) -> u64 {
        let (_, server) = self.tree.servers().nth(server).expect("there is such a server");
        server.shared.counts.sum(of)
    }

    /// The sum of a counter over all workers.
    pub fn count(&self, of: impl Fn(&WorkerMetrics) -> u64) -> u64 {
        self.metrics.iter().map(|metrics| of(metrics)).sum()
    }

    /// From now on a worker may end by a panic: the test asked for it.
    pub fn may_panic(&mut self) {
        self.may_panic = true;
    }

    pub fn drain(&self) {
        self.shutdown.raise(ShutdownStage::Draining);
        self.close_sockets();
    }

    /// Ends the listening under the workers' feet.
    pub fn close_sockets(&self) {
        for listening in &self.listening {
            socket2::SockRef::from(listening).shutdown(std::net::Shutdown::Both).expect("it listens");
        }
    }

    /// Whether every worker has ended, for whatever reason.
    pub fn has_ended(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shutdown.raise(ShutdownStage::Now);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            if !std::thread::panicking() && !self.may_panic {
                ended.expect("no worker panicked");
            }
        }
    }
}

fn listen(at: SocketAddr) -> TcpListener {
    let socket = socket2::Socket::new(socket2::Domain::for_address(at), socket2::Type::STREAM, None)
        .expect("a socket");
    socket.set_reuse_port(true).expect("SO_REUSEPORT");
    socket.set_reuse_address(true).expect("SO_REUSEADDR");
    socket.bind(&at.into()).expect("bound");
    socket.listen(1024).expect("listening");
    socket.into()
}

/// A server that runs `serve` with each connection, on a thread of its own.
pub struct Server {
    pub address: SocketAddr,
    pub connections: Arc<AtomicU32>,
}

impl Server {
    pub fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        let connections = Arc::new(AtomicU32::new(0));
        let (serve, count) = (Arc::new(serve), connections.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                stream.set_nodelay(true).expect("no delay");
                stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
                let serve = serve.clone();
                std::thread::spawn(move || serve(stream));
            }
        });
        Server { address, connections }
    }

    /// A server that answers every request with its name and what it got, and keeps connections.
    pub fn echo(name: &'static str) -> Server {
        Server::start(move |mut stream| {
            let mut rest = Vec::new();
            while let Some((head, body)) = read_request(&mut stream, &mut rest) {
                let content = format!("{name}\n{head}{}", String::from_utf8_lossy(&body));
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{content}", content.len());
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        })
    }

    /// A server that says `answer` to every request, and closes if `closes`.
    pub fn saying(answer: &'static [u8], closes: bool) -> Server {
        Server::start(move |mut stream| {
            let mut rest = Vec::new();
            while read_request(&mut stream, &mut rest).is_some() {
                if stream.write_all(answer).is_err() || closes {
                    return;
                }
            }
        })
    }
}

/// Reads one request, with a body of known length or in chunks; `None` at the end.
pub fn read_request(stream: &mut TcpStream, rest: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let end = loop {
        if let Some(at) = rest.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, rest)?;
    };
    let head = String::from_utf8_lossy(&rest[..end]).into_owned();
    rest.drain(..end);
    let lower = head.to_ascii_lowercase();
    let mut body = Vec::new();
    if let Some(at) = lower.find("content-length: ") {
        let len: usize = lower[at + 16..].lines().next()?.trim().parse().ok()?;
        while rest.len() < len {
            more(stream, rest)?;
        }
        body.extend(rest.drain(..len));
    } else if lower.contains("transfer-encoding: chunked") {
        loop {
            let line = loop {
                if let Some(at) = rest.windows(2).position(|w| w == b"\r\n") {
                    break at;
                }
                more(stream, rest)?;
            };
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?, 16).ok()?;
            while rest.len() < line + 2 + size + 2 {
                more(stream, rest)?;
            }
            body.extend_from_slice(&rest[line + 2..line + 2 + size]);
            rest.drain(..line + 2 + size + 2);
            if size == 0 {
                break;
            }
        }
    }
    Some((head, body))
}

fn more(stream: &mut TcpStream, rest: &mut Vec<u8>) -> Option<()> {
    let mut buffer = [0; 16_384];
    match stream.read(&mut buffer) {
        Ok(0) | Err(_) => None,
        Ok(count) => {
            rest.extend_from_slice(&buffer[..count]);
            Some(())
        }
    }
}

/// One answer as a client reads it.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// Reads one answer from a connection that stays open.
pub fn read_answer(stream: &mut TcpStream, rest: &mut Vec<u8>, is_head: bool) -> Option<Answer> {
    let end = loop {
        if let Some(at) = rest.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, rest)?;
    };
    let head = String::from_utf8_lossy(&rest[..end]).into_owned();
    let status: u16 = head.get(9..12)?.parse().ok()?;
    let lower = head.to_ascii_lowercase();
    let bodiless = is_head || status < 200 || status == 204 || status == 304;
    let mut body = Vec::new();
    if bodiless {
        rest.drain(..end);
    } else if lower.contains("content-length: ") || lower.contains("transfer-encoding: chunked") {
        // The framing is a request's: the same reader does.
        let (_, content) = read_request(stream, rest)?;
        body = content;
    } else {
        rest.drain(..end);
        while more(stream, rest).is_some() {}
        body.append(rest);
    }
    Some(Answer { status, head, body })
}

/// Something to drop, and what waits until it is dropped (also by a test that fails).
pub fn signal() -> (std::sync::mpsc::Sender<()>, impl Fn() + Send + Sync + 'static) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let receiver = std::sync::Mutex::new(receiver);
    (sender, move || {
        let _ = receiver.lock().expect("no holder panics").recv();
    })
}
