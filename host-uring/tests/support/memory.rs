//! A worker on the in-memory runtime: scripted servers and clients, a virtual clock.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::future::Future;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use forebay_host_uring::config::{HealthState, ServiceIndex, Transport, Tree};
use forebay_host_uring::control::Running;
use forebay_host_uring::listen::admit;
use forebay_host_uring::log::{self, Drain};
use forebay_host_uring::metrics::{PoolMetrics, ServerMetrics, ServiceMetrics, WorkerMetrics};
use forebay_host_uring::persist::Store;
use forebay_host_uring::rt::memory::Memory;
use forebay_host_uring::rt::{NEVER, Now, Rt, Stream};
use forebay_host_uring::worker::Worker;

pub const VIP: &str = "192.0.2.1:80";

pub fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// A worker in memory.
pub struct Lab {
    pub memory: Memory,
    pub worker: Rc<Worker<Memory>>,
    pub metrics: Arc<WorkerMetrics>,
    drain: Drain,
}

impl Lab {
    pub fn new(document: &str) -> Lab {
        Lab::with_descriptors(document, usize::MAX)
    }

    /// With as many descriptors for connections to clients and servers.
    pub fn with_descriptors(document: &str, descriptors_max: usize) -> Lab {
        let snapshot = forebay_snapshot::check(document).unwrap_or_else(|problems| {
            panic!("{}", problems.iter().map(|p| format!("{p}\n")).collect::<String>())
        });
        let mut tree = Tree::build(snapshot);
        let memory = Memory::new();
        // The real clock is none of this world's.
        tree.started = memory.now();
        let tree = Arc::new(tree);
        let store = Store::build(&tree, 16 << 20, [7; 16], memory.now()).expect("a store");
        let metrics = Arc::new(WorkerMetrics::default());
        let (sink, drain) = log::ring(1 << 20, true);
        let store = Arc::new(store);
        let running = Running { number: 1, tree, store };
        let rt = memory.clone();
        let worker = Worker::new(rt, 0, 1, &running, metrics.clone(), sink, 10_000, descriptors_max, 1);
        let (rt, own) = (memory.clone(), worker.clone());
        let listener = memory.bind(at(VIP));
        let door = worker.door(at(VIP), Transport::Stream, ServiceIndex(0));
        memory.spawn(async move {
            while let Ok((stream, peer)) = rt.accept(&listener).await {
                admit(&own, &door, stream, peer, at(VIP));
            }
        });
        Lab { memory, worker, metrics, drain }
    }

    /// What the worker counts for a service.
    pub fn of_service(&self, service: usize) -> Arc<ServiceMetrics> {
        self.worker.current().tree.services[service].shared.counts.of(0)
    }

    /// What the worker counts for a pool.
    pub fn of_pool(&self, pool: usize) -> Arc<PoolMetrics> {
        self.worker.current().tree.pools[pool].shared.counts.of(0)
    }

    /// What the worker counts for a server; servers of all pools are counted through.
    pub fn of_server(&self, server: usize) -> Arc<ServerMetrics> {
        let current = self.worker.current();
        let (_, server) = current.tree.servers().nth(server).expect("there is such a server");
        server.shared.counts.of(0)
    }

    /// Starts a server that runs `script` with each connection.
    pub fn server<F: Future<Output = ()> + 'static>(
        &self,
        address: &str,
        script: impl Fn(Memory, Peer) -> F + 'static,
    ) {
        let listener = self.memory.bind(at(address));
        let rt = self.memory.clone();
        self.memory.spawn(async move {
            while let Ok((stream, _)) = rt.accept(&listener).await {
                rt.spawn(script(rt.clone(), Peer::new(stream)));
            }
        });
    }

    /// Does what a worker's clockwork does about its servers, ten times a second.
    pub fn follow_servers(&self) {
        let (rt, worker) = (self.memory.clone(), self.worker.clone());
        self.memory.spawn(async move {
            loop {
                worker.follow_servers();
                sleep_ms(&rt, 100).await;
            }
        });
    }

    /// What the health driver does when a server's state changes.
    pub fn set_health(&self, server: usize, state: HealthState) {
        let pool = &self.worker.current().tree.pools[0];
        pool.servers[server].shared.publish(state);
        pool.shared.bump();
    }

    pub async fn client(&self) -> Peer {
        Peer::new(self.memory.connect(at(VIP), NEVER).await.expect("connected"))
    }

    pub fn now_us(&self) -> u64 {
        self.memory.now().0
    }

    pub async fn sleep_ms(&self, ms: u64) {
        sleep_ms(&self.memory, ms).await;
    }

    pub fn run<T>(&self, main: impl Future<Output = T>) -> T {
        self.memory.block_on(main)
    }

    pub fn log(&mut self) -> Vec<serde_json::Value> {
        let mut bytes = Vec::new();
        self.drain.take(&mut bytes, usize::MAX);
        bytes
            .split(|b| *b == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).expect("each line is JSON"))
            .collect()
    }
}

pub async fn sleep_ms(memory: &Memory, ms: u64) {
    memory.sleep_until(Now(memory.now().0 + ms * 1000)).await;
}

/// The scripted end of a connection.
pub struct Peer {
    stream: <Memory as Rt>::Stream,
    rest: Vec<u8>,
}

impl Peer {
    fn new(stream: <Memory as Rt>::Stream) -> Peer {
        Peer { stream, rest: Vec::new() }
    }

    /// Writes everything, waiting for room for ever.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let mut left = bytes.as_ref();
        while !left.is_empty() {
            match self.stream.try_write(&[IoSlice::new(left)]) {
                Ok(count) => left = &left[count..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.stream.writable(NEVER).await.expect("room");
                }
                Err(_) => return,
            }
        }
    }

    /// Writes what there is room for now.
    pub fn offer(&mut self, bytes: &[u8]) {
        let _ = self.stream.try_write(&[IoSlice::new(bytes)]);
    }

    /// Reads until `end` came, and gives everything up to there; what came so far at the connection's end.
    pub async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(found) = self.rest.windows(end.len()).position(|w| w == end.as_bytes()) {
                let bytes: Vec<u8> = self.rest.drain(..found + end.len()).collect();
                return String::from_utf8_lossy(&bytes).into_owned();
            }
            if !self.more().await {
                return String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned();
            }
        }
    }

    /// Writes until nobody takes any more, and gives the number of bytes.
    pub async fn fill(&mut self, rt: &Memory) -> usize {
        let mut total = 0;
        loop {
            let before = total;
            while let Ok(count) = self.stream.try_write(&[IoSlice::new(&[b'x'; 1000])]) {
                total += count;
            }
            sleep_ms(rt, 1).await;
            if total == before {
                return total;
            }
        }
    }

    /// Reads to the connection's end.
    pub async fn all(&mut self) -> String {
        while self.more().await {}
        String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned()
    }

    /// Reads to the connection's end, and says whether that was a reset.
    pub async fn all_and_reset(&mut self) -> (String, bool) {
        let text = self.all().await;
        let reset = matches!(self.stream.try_read(&mut [0]), Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset);
        (text, reset)
    }

    /// Says whether the other end has reset the connection.
    pub fn is_reset(&self) -> bool {
        matches!(self.stream.try_read(&mut []), Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset)
    }

    /// Goes away as a program does that was killed in the middle.
    pub fn reset(self) {
        self.stream.reset_on_close();
    }

    /// Says nothing more, and goes on listening.
    pub fn end(&self) {
        self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// Reads exactly `count` bytes.
    pub async fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.rest.len() < count && self.more().await {}
        let count = count.min(self.rest.len());
        self.rest.drain(..count).collect()
    }

    /// Says whether the connection has ended, whatever of it was read.
    pub fn has_ended(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.try_read(&mut buffer) {
                Ok(0) => return true,
                Ok(count) => self.rest.extend_from_slice(&buffer[..count]),
                Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
            }
        }
    }

    async fn more(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.try_read(&mut buffer) {
                Ok(0) => return false,
                Ok(count) => {
                    self.rest.extend_from_slice(&buffer[..count]);
                    return true;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    if self.stream.readable(NEVER).await.is_err() {
                        return false;
                    }
                }
                Err(_) => return false,
            }
        }
    }
}
