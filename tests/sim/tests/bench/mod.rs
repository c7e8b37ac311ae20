//! A few engines and the frames between them, moved by hand: for tests of one rule.
#![allow(dead_code, reason = "no test program needs all of it")]

use std::collections::BTreeMap;

use forebay_core::table::{EntryView, KeyBytes, Write, WriteKind};
use forebay_core::units::Micros;
use forebay_objsync::limits::PROTOCOL;
use forebay_objsync::wire::split;
use forebay_objsync::{Bounds, Event, Input, Output};

use forebay_sim::{Node, Start, slot};

/// Microseconds of a millisecond.
pub const MS: u64 = 1_000;
/// And of a second.
pub const SECOND: u64 = 1_000 * MS;

/// The key of the `n`-th client.
pub fn key(n: u32) -> KeyBytes {
    KeyBytes::of_ip([10, 1, (n >> 8) as u8, n as u8].into())
}

/// Engines, what is under way between them, and time.
pub struct Bench {
    pub nodes: BTreeMap<u8, Node>,
    pub at: u64,
    /// Arrival, sender, receiver, bytes.
    pub under_way: Vec<(u64, u8, u8, Vec<u8>)>,
    /// Microseconds from sending to arrival.
    pub takes: u64,
    /// What a call of an engine takes of a processor, in microseconds.
    pub cost: u64,
    /// Entries that the tables of engines that start from now on have room for.
    pub entries: u64,
    /// Milliseconds by which the wall clocks of engines that start from now on are wrong.
    pub wall_off: i64,
    /// The newest protocol that engines speak that start from now on.
    pub speaks: u16,
    /// Engines that only read, one bit each, as those know that start from now on.
    pub readers: u64,
    pub said: Vec<(u8, Output)>,
}

impl Bench {
    pub fn new(engines: u8, bounds: Bounds) -> Self {
        let mut bench = Self {
            nodes: BTreeMap::new(),
            at: 0,
            under_way: Vec::new(),
            takes: MS,
            cost: 0,
            entries: 3_000,
            wall_off: 0,
            speaks: PROTOCOL,
            readers: 0,
            said: Vec::new(),
        };
        for n in 0..engines {
            bench.start(n, engines, bounds);
        }
        bench
    }

    pub fn start(&mut self, n: u8, engines: u8, bounds: Bounds) {
        let start = Start {
            slot: slot(n),
            boot: self.at + 1 + u64::from(n),
            entries: self.entries,
            members: (1 << engines) - 1,
            readers: self.readers,
            mono: 5 * SECOND,
            wall_off: self.wall_off,
            bounds,
            speaks: self.speaks,
        };
        self.nodes.insert(n, Node::start(&start, None, self.at));
    }

    /// All connected with one another, and in sync.
    pub fn connected(engines: u8) -> Self {
        let mut bench = Self::new(engines, Bounds::default());
        bench.connect_all();
        bench.pass(3 * SECOND);
        for a in 0..engines {
            assert!(bench.nodes[&a].engine.joined());
            assert!((0..engines).filter(|b| *b != a).all(|b| bench.is_synced(a, b)));
        }
        bench
    }

    pub fn is_synced(&self, a: u8, b: u8) -> bool {
        self.nodes[&a].engine.peer(slot(b)).is_some_and(|p| p.synced)
    }

    pub fn connect_all(&mut self) {
        let all: Vec<u8> = self.nodes.keys().copied().collect();
        for (i, a) in all.iter().enumerate() {
            for b in &all[i + 1..] {
                self.connect(*a, *b);
            }
        }
    }

    /// An engine that nobody hears any more.
    pub fn cut_off(&mut self, n: u8) {
        let others: Vec<u8> = self.nodes.keys().copied().filter(|other| *other != n).collect();
        others.into_iter().for_each(|other| self.cut(n, other));
    }

    pub fn connect(&mut self, a: u8, b: u8) {
        self.input(a, Input::Up(slot(b)));
        self.input(b, Input::Up(slot(a)));
    }

    pub fn cut(&mut self, a: u8, b: u8) {
        self.under_way.retain(|(_, from, to, _)| (*from, *to) != (a, b) && (*from, *to) != (b, a));
        self.input(a, Input::Down(slot(b)));
        self.input(b, Input::Down(slot(a)));
    }

    pub fn input(&mut self, on: u8, input: Input<'_>) {
        let node = self.nodes.get_mut(&on).unwrap();
        let now = node.now(self.at);
        let outputs = node.engine.handle(input, &mut node.tables, now);
        node.engine.spent(Micros(self.cost), now);
        for output in outputs {
            match output {
                Output::Send(to, bytes) => {
                    // Nothing overtakes.
                    let before = self.under_way.iter().filter(|(_, a, b, _)| (*a, *b) == (on, to.get()));
                    let last = before.map(|(at, ..)| *at).max().unwrap_or(0);
                    self.under_way.push(((self.at + self.takes).max(last), on, to.get(), bytes));
                }
                other => self.said.push((on, other)),
            }
        }
    }

    /// Lets time pass, and everything happen that is due.
    pub fn pass(&mut self, micros: u64) {
        let end = self.at + micros;
        while self.at < end {
            let wakes: Vec<(u64, u8)> = self
                .nodes
                .values()
                .map(|n| (n.engine.wake().0.saturating_sub(n.mono), n.slot.get()))
                .collect();
            let arrives = self.under_way.iter().map(|(at, ..)| *at).min().unwrap_or(u64::MAX);
            let wake = wakes.iter().map(|(at, _)| (*at).max(self.at + 1)).min().unwrap_or(u64::MAX);
            self.at = arrives.min(wake).min(end).max(self.at);
            let (due, rest) = self.under_way.drain(..).partition(|(at, ..)| *at <= self.at);
            self.under_way = rest;
            for (_, from, to, bytes) in due {
                self.deliver(from, to, &bytes);
            }
            let now = self.at;
            for (_, n) in wakes.into_iter().filter(|(at, _)| *at <= now) {
                self.input(n, Input::Tick);
            }
        }
    }

    pub fn deliver(&mut self, from: u8, to: u8, bytes: &[u8]) {
        let (frame, _) = split(bytes).unwrap().unwrap();
        self.input(to, Input::Frame(slot(from), frame));
    }

    pub fn put(&mut self, on: u8, n: u32, server: u64, kind: WriteKind) {
        let node = self.nodes.get_mut(&on).unwrap();
        let now = node.now(self.at);
        let group = node.engine.group_time(now);
        let server = node.tables.catalog.server(server);
        let (partition, catalog, key) = node.tables.at(0, key(n));
        partition.put(catalog, &key, Write { server, class: Default::default(), kind }, now, group).unwrap();
    }

    pub fn changed(&mut self, on: u8, n: u32, ticket: Option<u64>) {
        let table = self.nodes[&on].tables.id(0);
        self.input(on, Input::Changed(table, key(n), ticket));
    }

    pub fn bind(&mut self, on: u8, n: u32, server: u64) {
        self.put(on, n, server, WriteKind::First);
        self.changed(on, n, None);
    }

    pub fn open(&mut self, on: u8, n: u32) {
        let node = self.nodes.get_mut(&on).unwrap();
        let now = node.now(self.at);
        let (partition, catalog, key) = node.tables.at(0, key(n));
        partition.open(catalog, &key, now).unwrap();
        self.changed(on, n, None);
    }

    /// The engine is not told: nobody hears of it before it is compared.
    pub fn close(&mut self, on: u8, n: u32) {
        let node = self.nodes.get_mut(&on).unwrap();
        let now = node.now(self.at);
        let (partition, catalog, key) = node.tables.at(0, key(n));
        partition.close(catalog, &key, now).unwrap();
    }

    pub fn remove(&mut self, on: u8, n: u32) {
        let node = self.nodes.get_mut(&on).unwrap();
        let now = node.now(self.at);
        let group = node.engine.group_time(now);
        let (partition, catalog, key) = node.tables.at(0, key(n));
        partition.remove(catalog, &key, now, group).unwrap();
        self.changed(on, n, None);
    }

    pub fn view(&mut self, on: u8, n: u32) -> Option<EntryView> {
        let node = self.nodes.get_mut(&on).unwrap();
        let now = node.now(self.at);
        node.tables.entry(0, key(n), now)
    }

    pub fn server(&mut self, on: u8, n: u32) -> Option<u32> {
        self.view(on, n).filter(|view| !view.record.tombstone).map(|view| view.record.server.0)
    }

    pub fn sweep(&mut self) {
        for node in self.nodes.values_mut() {
            let now = node.now(self.at);
            node.tables.sweep(now);
        }
    }

    pub fn heard(&self, on: u8) -> Vec<Event> {
        let events = self.said.iter().filter(|(n, _)| *n == on);
        events
            .filter_map(|(_, out)| if let Output::Event(event) = out { Some(*event) } else { None })
            .collect()
    }
}

impl Bench {
    /// Changes what `on` holds for a client as a failing memory would: nobody is told, and version and digest stay.
    pub fn flip(&mut self, on: u8, n: u32, server: u64) {
        let open = self.view(on, n).unwrap().record.open;
        let node = self.nodes.get_mut(&on).unwrap();
        let server = node.tables.catalog.server(server);
        let (partition, catalog, at) = node.tables.at(0, key(n));
        assert!(partition.damage(catalog, &at, server, open));
    }

    /// The same with who has it open.
    pub fn flip_open(&mut self, on: u8, n: u32, bits: u64) {
        let record = self.view(on, n).unwrap().record;
        let node = self.nodes.get_mut(&on).unwrap();
        let (partition, catalog, at) = node.tables.at(0, key(n));
        assert!(partition.damage(catalog, &at, record.server, record.open ^ bits));
    }

    pub fn verified(&mut self, on: u8) -> usize {
        self.said.clear();
        self.input(on, Input::Verify);
        self.pass(2 * SECOND);
        let is_verdict = |said: &&(u8, Output)| matches!(said, (n, Output::Verified(_)) if *n == on);
        self.said.iter().filter(is_verdict).count()
    }
}
