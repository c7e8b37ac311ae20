//! What it takes to fill the tables of an engine that joins, and to mend a difference: two engines, no network.

use std::collections::VecDeque;

use forebay_core::table::{GroupMillis, KeyBytes, Write as Put};
use forebay_objsync::limits::PROTOCOL;
use forebay_objsync::{Bounds, Input, Output, wire};

use crate::node::{Node, SERVERS, Start};
use crate::plan::SECOND;
use crate::world::slot;

/// What one exchange took.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Processor time of both engines together, in milliseconds; 0 where the system does not tell it.
    pub cpu_ms: u64,
    /// Bytes of all frames.
    pub bytes: u64,
    /// Entries that were sent.
    pub sent: u64,
}

/// Two engines.
pub struct Bulk {
    nodes: [Node; 2],
    entries: u32,
    at: u64,
    boots: u64,
    said: VecDeque<(usize, Vec<u8>)>,
    bytes: u64,
}

impl Bulk {
    /// Two engines with room for so many entries; the first has them.
    pub fn new(entries: u32) -> Self {
        let nodes = [0, 1].map(|n| Self::node(n, entries, u64::from(n) + 1, 0));
        let mut bulk = Self { nodes, entries, at: 0, boots: 2, said: VecDeque::new(), bytes: 0 };
        bulk.exchange();
        for n in 0..entries {
            bulk.put(0, n);
        }
        bulk
    }

    fn node(n: u8, entries: u32, boot: u64, at: u64) -> Node {
        let start = Start {
            slot: slot(n),
            boot,
            entries: u64::from(entries) * 11 / 10,
            members: 0b11,
            readers: 0,
            mono: SECOND,
            wall_off: 0,
            bounds: Bounds::default(),
            speaks: PROTOCOL,
        };
        Node::start(&start, None, at)
    }

    fn put(&mut self, on: usize, n: u32) {
        let node = &mut self.nodes[on];
        let now = node.now(self.at);
        // Spread over the last half hour, as the clients of a running service are.
        let group = node.engine.group_time(now).0 - u64::from(n % 1_800_000);
        let server = node.tables.catalog.server(u64::from(n) % SERVERS);
        let [_, b, c, d] = n.to_be_bytes();
        let (partition, catalog, key) = node.tables.at(0, KeyBytes::of_ip([10, b, c, d].into()));
        partition.put(catalog, &key, Put::first(server), now, GroupMillis(group)).expect("room for all");
    }

    fn connect(&mut self) {
        self.said.clear();
        self.input(0, Input::Up(slot(1)));
        self.input(1, Input::Up(slot(0)));
    }

    fn input(&mut self, on: usize, input: Input<'_>) {
        let node = &mut self.nodes[on];
        let now = node.now(self.at);
        for output in node.engine.handle(input, &mut node.tables, now) {
            if let Output::Send(_, bytes) = output {
                self.bytes += bytes.len() as u64;
                self.said.push_back((1 - on, bytes));
            }
        }
    }

    fn synced(&self) -> bool {
        [0, 1]
            .into_iter()
            .all(|n: u8| self.nodes[usize::from(n)].engine.peer(slot(1 - n)).is_some_and(|peer| peer.synced))
    }

    /// Both hear each other until they are equal.
    fn exchange(&mut self) -> Cost {
        let (cpu, bytes) = (cpu_micros(), self.bytes);
        let sent = |bulk: &Self| {
            let figures = [0, 1].map(|n: usize| bulk.nodes[n].engine.figures());
            figures.iter().map(|f| f.told + f.repaired).sum::<u64>()
        };
        let before = sent(self);
        self.connect();
        while !self.synced() {
            self.at += 10;
            match self.said.pop_front() {
                Some((to, bytes)) => {
                    let (frame, _) = wire::split(&bytes).expect("sound").expect("whole");
                    self.input(to, Input::Frame(slot(1 - to as u8), frame));
                }
                None => {
                    self.input(0, Input::Tick);
                    self.input(1, Input::Tick);
                }
            }
        }
        let cpu_ms = (cpu_micros() - cpu) / 1_000;
        Cost { cpu_ms, bytes: self.bytes - bytes, sent: sent(self) - before }
    }

    /// The second engine, or the first, starts anew and gets everything from the other.
    pub fn join(&mut self, newcomer: u8) -> Cost {
        self.boots += 1;
        self.nodes[usize::from(newcomer)] = Self::node(newcomer, self.entries, self.boots, self.at);
        self.exchange()
    }

    /// The connection comes back after each side wrote a share of `percent` that the other does not have.
    pub fn heal(&mut self, percent: u32) -> Cost {
        self.input(0, Input::Down(slot(1)));
        self.input(1, Input::Down(slot(0)));
        let group = self.nodes[0].engine.group_time(self.nodes[0].now(self.at));
        for n in (0..self.entries).filter(|n| n % 100 < percent) {
            let on = (n / 100 % 2) as usize;
            let node = &mut self.nodes[on];
            let now = node.now(self.at);
            let server = node.tables.catalog.server(u64::from(n + 1) % SERVERS);
            let [_, b, c, d] = n.to_be_bytes();
            let (partition, catalog, key) = node.tables.at(0, KeyBytes::of_ip([10, b, c, d].into()));
            partition.put(catalog, &key, Put::moved(server), now, group).expect("room for all");
        }
        self.exchange()
    }

    /// The connection comes back, and nothing differs.
    pub fn nothing(&mut self) -> Cost {
        self.input(0, Input::Down(slot(1)));
        self.input(1, Input::Down(slot(0)));
        self.exchange()
    }

    /// Whether both hold the same servers.
    pub fn is_equal(&self) -> bool {
        let [a, b] = [0, 1].map(|n: usize| {
            let all = self.nodes[n].tables.all(self.nodes[n].now(self.at)).into_iter();
            all.map(|(place, view)| (place, view.record.server, view.record.version)).collect::<Vec<_>>()
        });
        a == b && a.len() == self.entries as usize
    }
}

/// Processor time of this thread.
fn cpu_micros() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) / 1_000
}
