//! What one worker knows: its configuration, its connections, its counts.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use forebay_core::units::UnixSeconds;

use super::Door;
use super::configure::Departed;
use super::generation::{Generation, Seat};
use super::receipts::Receipts;
use super::slots::Slots;
use super::underway::Underway;
use crate::config::{ServiceIndex, Transport};
use crate::control::Running;
use crate::http::buffer::Buffers;
use crate::http::client::Parked;
use crate::http::conversation::Conversations;
use crate::http::date::DateCache;
use crate::http::mover::Mover;
use crate::http::work::Works;
use crate::limits::sizes::large_heads_bytes;
use crate::log::Sink;
use crate::metrics::WorkerMetrics;
use crate::rt::{NEVER, Now, Rt};
use crate::upstream::Upstreams;

/// One worker's state; its tasks share it.
pub struct Worker<R: Rt> {
    /// Sockets, clock, tasks.
    pub rt: R,
    /// The worker's number.
    pub index: usize,
    /// Of how many.
    pub workers: usize,
    /// The configuration that new requests take.
    pub(super) current: RefCell<Rc<Generation>>,
    /// Earlier ones by which requests still work, the oldest first.
    pub(super) retired: RefCell<Vec<Weak<Generation>>>,
    /// Servers that were taken out and are not done yet.
    pub(super) departed: RefCell<Vec<Departed>>,
    /// Where clients come in.
    pub(super) doors: RefCell<Vec<Rc<Door>>>,
    /// The numbers of servers.
    pub(super) slots: Slots,
    /// The worker's counters.
    pub metrics: Arc<WorkerMetrics>,
    /// Where access records go.
    pub log: RefCell<Sink>,
    /// Connections to servers.
    pub upstreams: Upstreams<R>,
    /// Requests and tunnels under way at servers.
    pub underway: Rc<Underway>,
    /// Buffers that are not in use.
    pub buffers: Buffers,
    /// Moves bulk without copying it.
    pub mover: Mover,
    /// Working sets that are not in use.
    pub works: Works,
    /// Conversations that serve no client.
    pub conversations: Conversations<R>,
    /// The door of clients that are none any more.
    pub nowhere: Rc<Door>,
    /// Client connections that wait for their next request.
    pub parked: Parked<R>,
    /// Client connections.
    pub connections: Cell<usize>,
    /// Streams with a request under way beyond the first of each connection.
    pub streams: Cell<usize>,
    /// Those of the connections that are flows of datagrams.
    pub flows: Cell<usize>,
    /// Places for connections.
    pub connections_max: usize,
    /// Room for a sealed cookie.
    pub sealed: RefCell<Vec<u8>>,
    /// Answers that wait for other engines.
    pub receipts: Rc<Receipts>,
    /// The date of answers.
    pub date: DateCache,
    /// No new requests: answer, then close.
    pub draining: Cell<bool>,
    /// When connections without a request end while it drains.
    pub idle_until: Cell<Now>,
    /// Microseconds between the epochs of the wall clock and of [`Now`].
    wall_offset_us: Cell<u64>,
    random: Cell<u64>,
    request_ids: Cell<u64>,
}

impl<R: Rt> Worker<R> {
    /// Builds a worker's state.
    #[expect(clippy::too_many_arguments, reason = "called once, each argument is another part of the seat")]
    pub fn new(
        rt: R,
        index: usize,
        workers: usize,
        running: &Running,
        metrics: Arc<WorkerMetrics>,
        log: Sink,
        connections_max: usize,
        descriptors_max: usize,
        seed: u64,
    ) -> Rc<Self> {
        let slots = Slots::default();
        let seat = Seat { worker: index, workers, slots: &slots, now: rt.now() };
        let current = RefCell::new(Rc::new(Generation::new(running, None, seat)));
        metrics.generation.store(running.number, Ordering::Release);
        metrics.generations.store(1, Ordering::Relaxed);
        let buffers = Buffers::new(large_heads_bytes(connections_max));
        let held = buffers.held_account().clone();
        let worker = Worker {
            upstreams: Upstreams::new(rt.clone(), metrics.clone(), held, descriptors_max),
            rt,
            index,
            workers,
            current,
            retired: RefCell::default(),
            departed: RefCell::default(),
            doors: RefCell::default(),
            slots,
            mover: Mover::new(metrics.clone()),
            metrics,
            log: RefCell::new(log),
            underway: Rc::default(),
            buffers,
            works: Works::default(),
            conversations: Conversations::default(),
            nowhere: Door::nowhere(),
            parked: Parked::default(),
            connections: Cell::new(0),
            streams: Cell::new(0),
            flows: Cell::new(0),
            sealed: RefCell::default(),
            receipts: Rc::new(Receipts::new(seed)),
            date: DateCache::default(),
            connections_max,
            draining: Cell::new(false),
            idle_until: Cell::new(NEVER),
            wall_offset_us: Cell::new(0),
            random: Cell::new(seed),
            request_ids: Cell::new(0),
        };
        worker.read_wall_clock();
        let now = worker.rt.now();
        let current = worker.current();
        for route in &current.routes {
            route.read_states(&current.tree, now);
            for server in &route.servers {
                worker.upstreams.welcome(server.slot);
            }
        }
        Rc::new(worker)
    }

    /// The configuration that new requests take. Who has begun with one keeps it.
    pub fn current(&self) -> Rc<Generation> {
        self.current.borrow().clone()
    }

    /// Takes the servers' states over where one has changed, and cuts what is open at servers whose grace is over.
    //= SE-CUT-01
    pub fn follow_servers(&self) {
        let now = self.rt.now();
        let current = self.current();
        for route in &current.routes {
            route.follow_states(&current.tree, now);
            if now < route.next_cut.get() {
                continue;
            }
            for server in route.servers.iter().filter(|server| server.cut_at.get() <= now) {
                if !server.was_cut.replace(true) {
                    self.underway.cut(server.slot);
                    self.upstreams.drop_idle(server.slot);
                }
            }
            route.find_next_cut();
        }
        self.follow_departed(now);
        if !self.retired.borrow().is_empty() {
            self.tidy_generations();
        }
    }

    /// The door at an address: the one that is open there, or a new one to `service`. It follows every change of the
    /// configuration.
    pub fn door(&self, address: SocketAddr, transport: Transport, service: ServiceIndex) -> Rc<Door> {
        let is_there =
            |door: &&Rc<Door>| (door.address, door.transport) == (address, transport) && door.is_open();
        if let Some(door) = self.doors.borrow().iter().find(is_there) {
            return door.clone();
        }
        let door = Door::new(address, transport, service);
        self.doors.borrow_mut().push(door.clone());
        door
    }

    /// Says whether there is a place for another client. A connection takes one, with two descriptors; a flow of datagrams
    /// has one descriptor and takes half of one. A stream with a request under way is as good as a connection, but for the
    /// first one of its connection.
    pub fn has_place(&self) -> bool {
        self.clients().saturating_sub(self.flows.get() / 2) < self.connections_max
    }

    /// Clients that need descriptors: connections, and streams beyond the first of each.
    pub fn clients(&self) -> usize {
        self.connections.get() + self.streams.get()
    }

    /// Reads the wall clock, which may jump; between two readings it is counted on.
    pub fn read_wall_clock(&self) {
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let wall_us = wall.map_or(0, |wall| wall.as_micros() as u64);
        self.wall_offset_us.set(wall_us.wrapping_sub(self.rt.now().0));
    }

    /// The wall clock at `now`, microseconds since 1970.
    pub fn unix_us(&self, now: Now) -> u64 {
        now.0.wrapping_add(self.wall_offset_us.get())
    }

    /// The wall clock at `now`, seconds since 1970.
    pub fn unix_seconds(&self, now: Now) -> UnixSeconds {
        UnixSeconds(self.unix_us(now) / 1_000_000)
    }

    /// 64 random bits, good enough to spread load (SplitMix64).
    pub fn random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next request's number.
    pub fn request_id(&self) -> u64 {
        let id = self.request_ids.get() + 1;
        self.request_ids.set(id);
        id
    }
}
