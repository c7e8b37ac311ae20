//! A run: engines, clients and faults in virtual time.

mod faults;

use std::collections::{BTreeMap, BTreeSet};

use forebay_core::table::{EngineSlot, KeyBytes, Outcome, Write as Put, WriteKind, Written};
use forebay_objsync::limits::PROTOCOL;
use forebay_objsync::{Bounds, Event, Input, Output, wire};

use crate::check;
use crate::ledger::{Ledger, Place, Write};
use crate::net::{Net, pair};
use crate::node::{Node, SERVERS, Snapshot, Start};
use crate::plan::{Plan, SECOND};
use crate::rng::Rng;

/// Microseconds after the last fault in which everything must become equal.
pub const SETTLE: u64 = 45 * SECOND;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When, in microseconds.
    pub at: u64,
    /// Which, and how.
    pub what: String,
}

/// What a run amounted to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Events of the simulation.
    pub events: u64,
    /// Writes that a peer acknowledged.
    pub acknowledged: u64,
    /// Faults at once, at most.
    pub overlapping: usize,
    /// Entries that were equal on all engines in the end.
    pub entries: usize,
    /// Bytes that were sent.
    pub bytes: u64,
}

#[derive(Debug)]
enum What {
    Deliver { from: u8, to: u8, pipe: u64, bytes: Vec<u8> },
    Ended { node: u8, peer: u8, boot: u64 },
    Wake { node: u8, boot: u64 },
    Sweep { node: u8, boot: u64 },
    Close { node: u8, boot: u64, place: Place },
    Client,
    Dial,
    Check,
    Begin(usize),
    Finish(usize),
    Lose(usize),
}

/// Everything.
pub struct World {
    /// What goes wrong.
    pub plan: Plan,
    /// Now, in microseconds.
    pub at: u64,
    /// The processes that run, by slot.
    pub nodes: BTreeMap<u8, Node>,
    /// What lies between them.
    pub net: Net,
    /// What clients did.
    pub ledger: Ledger,
    /// Who stands still, and for how many reasons.
    pub paused: BTreeMap<u8, u32>,
    /// Since when two engines hear each other, undisturbed, and say that they are equal.
    pub clean: BTreeMap<(u8, u8), u64>,
    down: BTreeMap<u8, (u32, Option<Snapshot>)>,
    deferred: BTreeMap<u8, Vec<What>>,
    rng: Rng,
    events: BTreeMap<(u64, u64), What>,
    order: u64,
    boots: u64,
    /// Milliseconds by which the wall clock of each machine is wrong.
    walls: BTreeMap<u8, i64>,
    woken: BTreeMap<u8, u64>,
    trace: bool,
    /// A client of which every second everything is said.
    pub watched: Option<KeyBytes>,
    summary: Summary,
}

impl World {
    /// The run of a seed, to its end.
    ///
    /// # Errors
    /// The first promise that was broken.
    pub fn run(seed: u64, trace: bool) -> Result<Summary, Violation> {
        Self::run_plan(Plan::of(seed), seed, trace, None)
    }

    /// The run of a plan, with the chance of a seed.
    ///
    /// # Errors
    /// As [`World::run`].
    pub fn run_plan(
        plan: Plan,
        seed: u64,
        trace: bool,
        watched: Option<KeyBytes>,
    ) -> Result<Summary, Violation> {
        let mut world = Self {
            rng: Rng::new(seed.wrapping_mul(31) ^ 0xc0de),
            at: 0,
            nodes: BTreeMap::new(),
            net: Net::default(),
            ledger: Ledger::default(),
            paused: BTreeMap::new(),
            clean: BTreeMap::new(),
            down: BTreeMap::new(),
            deferred: BTreeMap::new(),
            events: BTreeMap::new(),
            order: 0,
            boots: 0,
            walls: BTreeMap::new(),
            woken: BTreeMap::new(),
            trace,
            watched,
            summary: Summary { overlapping: plan.overlapping(), ..Summary::default() },
            plan,
        };
        for slot in 0..world.plan.engines {
            world.start(slot, None);
        }
        for n in 0..world.plan.faults.len() {
            let (from, until) = (world.plan.faults[n].from, world.plan.faults[n].until);
            world.later(from, What::Begin(n));
            world.later(until, What::Finish(n));
        }
        for (at, what) in [(0, What::Dial), (SECOND, What::Check), (SECOND, What::Client)] {
            world.later(at, what);
        }
        let end = world.plan.end + SETTLE;
        while let Some(((at, _), what)) = world.events.pop_first() {
            if at > end {
                break;
            }
            world.at = at;
            world.summary.events += 1;
            world.step(what)?;
        }
        world.at = end;
        world.summary.entries = check::at_the_end(&mut world)?;
        world.summary.acknowledged = world.ledger.acknowledged;
        Ok(world.summary)
    }

    fn later(&mut self, at: u64, what: What) {
        self.order += 1;
        self.events.insert((at.max(self.at), self.order), what);
    }

    /// Says what happens, if somebody wants to know.
    pub fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>12.6} {}", self.at as f64 / 1e6, what());
        }
    }

    /// Whether a process runs and does not stand still.
    pub fn is_awake(&self, slot: u8) -> bool {
        self.nodes.contains_key(&slot) && self.paused.get(&slot).is_none_or(|n| *n == 0)
    }

    fn start(&mut self, slot: u8, snapshot: Option<&Snapshot>) {
        self.boots += 1;
        let most = self.plan.wall_off as i64;
        let off = self.rng.between(0, 2 * self.plan.wall_off) as i64 - most;
        // A machine that is started again has the clock that it had.
        let again = self.walls.contains_key(&slot);
        let off = *self.walls.entry(slot).or_insert(off);
        let speaks = if self.plan.old >> slot & 1 == 1 && !again { PROTOCOL - 1 } else { PROTOCOL };
        let (dirty, window) = self.plan.bounds;
        let start = Start {
            slot: EngineSlot::new(slot).expect("below 64"),
            boot: self.boots,
            entries: self.plan.entries,
            members: u64::MAX >> (64 - self.plan.engines),
            mono: self.rng.between(1, 1_000) * 1_000 * SECOND,
            wall_off: off,
            bounds: Bounds { dirty, window },
            speaks,
        };
        self.say(|| format!("engine {slot} starts, wall clock off by {off} ms"));
        let node = Node::start(&start, snapshot, self.at);
        let boot = node.boot;
        if let Some(snapshot) = snapshot {
            self.ledger.inherits(boot, snapshot.boot);
        }
        self.nodes.insert(slot, node);
        self.woken.remove(&slot);
        self.later(self.at, What::Wake { node: slot, boot });
        let first = self.at + self.rng.below(10 * SECOND);
        self.later(first, What::Sweep { node: slot, boot });
    }

    fn step(&mut self, what: What) -> Result<(), Violation> {
        let whose = match &what {
            What::Deliver { to: node, .. }
            | What::Ended { node, .. }
            | What::Wake { node, .. }
            | What::Sweep { node, .. }
            | What::Close { node, .. } => Some(*node),
            _ => None,
        };
        if let Some(node) = whose.filter(|node| self.paused.get(node).is_some_and(|n| *n > 0)) {
            self.deferred.entry(node).or_default().push(what);
            return Ok(());
        }
        let runs = |world: &Self, node: u8, boot: u64| world.nodes.get(&node).is_some_and(|n| n.boot == boot);
        match what {
            What::Deliver { from, to, pipe, bytes } => {
                if self.net.id(from, to) == Some(pipe) {
                    let split = wire::split(&bytes).expect("what engines send has a sound length");
                    let (frame, _) = split.expect("whole");
                    self.handle(to, Input::Frame(slot(from), frame));
                }
            }
            What::Ended { node, peer, boot } => {
                if runs(self, node, boot) && self.net.id(node, peer).is_none() {
                    self.handle(node, Input::Down(slot(peer)));
                }
            }
            What::Wake { node, boot } => {
                // An earlier one may have been asked for since.
                if runs(self, node, boot) && self.woken.get(&node).is_none_or(|at| *at == self.at) {
                    self.woken.remove(&node);
                    self.handle(node, Input::Tick);
                }
            }
            What::Sweep { node, boot } => {
                if let Some(one) = self.nodes.get_mut(&node).filter(|n| n.boot == boot) {
                    let now = one.now(self.at);
                    one.tables.sweep(now);
                    self.later(self.at + 10 * SECOND, What::Sweep { node, boot });
                }
            }
            What::Close { node, boot, place } => self.client_leaves(node, boot, place),
            What::Client => {
                if self.at < self.plan.end {
                    self.client()?;
                    let next = self.at + self.rng.between(1, 2 * self.plan.every);
                    self.later(next, What::Client);
                }
            }
            What::Dial => self.dial(),
            What::Check => {
                check::now(self)?;
                self.later(self.at + SECOND, What::Check);
            }
            What::Begin(n) => self.begin(n),
            What::Finish(n) => self.finish(n),
            What::Lose(n) => self.lose(n),
        }
        Ok(())
    }

    /// Lets an engine take something in, and does what it wants.
    fn handle(&mut self, on: u8, input: Input<'_>) {
        let Some(node) = self.nodes.get_mut(&on) else { return };
        let now = node.now(self.at);
        let outputs = node.engine.handle(input, &mut node.tables, now);
        for output in outputs {
            match output {
                Output::Send(to, bytes) => self.send(on, to.get(), bytes),
                Output::Close(peer, why) => {
                    self.say(|| format!("{on} ends its connection with {}: {why:?}", peer.get()));
                    self.net.pipes.remove(&pair(on, peer.get()));
                    self.ended(on, peer.get());
                }
                Output::Acknowledged { ticket, by } => {
                    if let Some(by) = self.nodes.get(&by.get()).map(|n| n.boot) {
                        self.ledger.acknowledged(ticket, by);
                    }
                }
                Output::Verified(_) => {}
                Output::Event(event) => {
                    self.say(|| format!("{on}: {event:?}"));
                    if let Event::Joined { .. } | Event::WentBack(_) = event
                        && let Some(node) = self.nodes.get_mut(&on)
                    {
                        node.group = node.engine.group_time(now);
                        if let Event::WentBack(_) = event {
                            self.ledger.went_back(node.group);
                        }
                    }
                }
            }
        }
        let Some(node) = self.nodes.get(&on) else { return };
        let wake = node.engine.wake().0.saturating_sub(node.mono);
        let (wake, boot) = (wake.max(self.at + 1), node.boot);
        if wake < u64::MAX / 2 && self.woken.get(&on).is_none_or(|at| *at > wake) {
            self.woken.insert(on, wake);
            self.later(wake, What::Wake { node: on, boot });
        }
    }

    fn send(&mut self, from: u8, to: u8, bytes: Vec<u8>) {
        self.summary.bytes += bytes.len() as u64;
        let takes = if self.rng.percent(1) { 200_000 } else { self.rng.between(100, 10_000) };
        let Some(pipe) = self.net.id(from, to) else { return };
        let Some(arrives) = self.net.send(from, to, &bytes, self.at, takes) else { return };
        if self.rng.percent(self.plan.twice) {
            let again = arrives + self.rng.below(2 * SECOND);
            self.later(again, What::Deliver { from, to, pipe, bytes: bytes.clone() });
        }
        self.later(arrives, What::Deliver { from, to, pipe, bytes });
    }

    /// The other side hears of the end of a connection, if it hears anything.
    fn ended(&mut self, by: u8, other: u8) {
        if self.net.hears(by, other)
            && let Some(boot) = self.nodes.get(&other).map(|n| n.boot)
        {
            let at = self.at + self.rng.between(100, 10_000);
            self.later(at, What::Ended { node: other, peer: by, boot });
        }
    }

    fn dial(&mut self) {
        for a in 0..self.plan.engines {
            for b in a + 1..self.plan.engines {
                let ways = self.net.hears(a, b) && self.net.hears(b, a);
                let both = self.is_awake(a) && self.is_awake(b);
                if ways && both && self.net.id(a, b).is_none() && self.rng.percent(60) {
                    self.say(|| format!("{a} and {b} are connected"));
                    self.net.connect(a, b);
                    self.handle(a, Input::Up(slot(b)));
                    self.handle(b, Input::Up(slot(a)));
                }
            }
        }
        self.later(self.at + SECOND / 2, What::Dial);
    }

    /// Where somebody has connections of a key.
    pub fn open_places(&self) -> BTreeSet<Place> {
        let open = self.nodes.values().flat_map(|n| n.open.iter());
        open.filter(|(_, since)| !since.is_empty()).map(|(place, _)| *place).collect()
    }

    /// Who has connections of a key, and what it knows of it.
    fn note_open(&mut self, place: Place) {
        for node in self.nodes.values() {
            note_open(&mut self.ledger, node, place, self.at);
        }
    }

    /// The same of all keys.
    pub fn note_all_open(&mut self) {
        for place in self.open_places() {
            self.note_open(place);
        }
    }

    /// An engine begins to use a key.
    fn used(&mut self, on: u8, place: Place) {
        self.note_open(place);
        let Some(node) = self.nodes.get(&on) else { return };
        if let Some(rank) = node.rank(place, self.at) {
            self.ledger.used(place, node.boot, self.at, rank);
        }
    }

    fn client(&mut self) -> Result<(), Violation> {
        let on = self.rng.below(u64::from(self.plan.engines)) as u8;
        let key = KeyBytes::of_ip([10, 0, 0, self.rng.below(self.plan.keys) as u8].into());
        let (what, server) = (self.rng.below(100), self.rng.below(SERVERS));
        let longest = if self.rng.percent(10) { 150 } else { 40 };
        let stays = self.rng.between(SECOND / 20, longest * SECOND);
        if !self.is_awake(on) || !self.nodes[&on].engine.joined() {
            return Ok(());
        }
        match what {
            0..66 => self.client_comes(on, (0, key), server, stays),
            66..74 => self.removed(on, (0, key)),
            74..82 => self.written(on, (0, key), server, WriteKind::Move),
            82..96 => self.written(on, (1, key), server, WriteKind::Last),
            _ => self.removed(on, (1, key)),
        }
    }

    fn client_comes(&mut self, on: u8, place: Place, server: u64, stays: u64) -> Result<(), Violation> {
        check::before_use(self, on, place)?;
        self.written(on, place, server, WriteKind::First)?;
        let Some(node) = self.nodes.get_mut(&on) else { return Ok(()) };
        let now = node.now(self.at);
        let (partition, catalog, key) = node.tables.at(place.0, place.1);
        let Some(opened) = partition.open(catalog, &key, now) else { return Ok(()) };
        let (boot, id) = (node.boot, node.tables.id(place.0));
        self.used(on, place);
        let Some(node) = self.nodes.get_mut(&on) else { return Ok(()) };
        node.open.entry(place).or_default().push(self.at);
        if opened.first {
            self.handle(on, Input::Changed(id, place.1, None));
        }
        self.later(self.at + stays, What::Close { node: on, boot, place });
        Ok(())
    }

    fn client_leaves(&mut self, on: u8, boot: u64, place: Place) {
        // At the end everything is to be at rest.
        if self.at > self.plan.end {
            return;
        }
        self.note_open(place);
        let Some(node) = self.nodes.get_mut(&on).filter(|n| n.boot == boot) else { return };
        let now = node.now(self.at);
        let (partition, catalog, key) = node.tables.at(place.0, place.1);
        let closed = partition.close(catalog, &key, now);
        let since = node.open.entry(place).or_default();
        since.pop();
        if since.is_empty() {
            node.closed.insert(place, self.at);
        }
        let id = node.tables.id(place.0);
        if closed.is_some_and(|c| c.last_here) {
            self.handle(on, Input::Changed(id, place.1, None));
        }
    }

    /// An engine binds, moves or writes; a move only what is there.
    fn written(&mut self, on: u8, place: Place, server: u64, kind: WriteKind) -> Result<(), Violation> {
        let Some(node) = self.nodes.get_mut(&on) else { return Ok(()) };
        let now = node.now(self.at);
        let group = node.engine.group_time(now);
        let slot = node.tables.catalog.server(server);
        let (partition, catalog, key) = node.tables.at(place.0, place.1);
        let held = partition.get(catalog, &key, now);
        if kind == WriteKind::Move && held.is_none() || kind == WriteKind::First && held.is_some() {
            return Ok(());
        }
        let put = Put { server: slot, class: Default::default(), kind };
        match partition.put(catalog, &key, put, now, group) {
            Err(_) => {
                return Err(Violation {
                    at: self.at,
                    what: format!("engine {on} has no room for {place:?}"),
                });
            }
            // That is no use of it.
            Ok(Written { outcome: Outcome::Same, .. }) => return Ok(()),
            Ok(_) => {}
        }
        self.used(on, place);
        self.tell_of_write(on, place);
        Ok(())
    }

    fn removed(&mut self, on: u8, place: Place) -> Result<(), Violation> {
        let Some(node) = self.nodes.get_mut(&on) else { return Ok(()) };
        let now = node.now(self.at);
        let group = node.engine.group_time(now);
        let (partition, catalog, key) = node.tables.at(place.0, place.1);
        let removed = partition.remove(catalog, &key, now, group);
        if matches!(removed, Ok(Some(_))) {
            self.tell_of_write(on, place);
        }
        Ok(())
    }

    fn tell_of_write(&mut self, on: u8, place: Place) {
        let at = self.at;
        let Some(node) = self.nodes.get_mut(&on) else { return };
        let now = node.now(at);
        let Some(view) = node.tables.entry(place.0, place.1, now) else { return };
        let server = node.tables.catalog.name_of(view.record.server).unwrap_or(0);
        let (by, id) = (node.boot, node.tables.id(place.0));
        self.say(|| {
            format!("{on} writes {:?}: table {} {}", place.1.to_ip(), place.0, check::short(&view.record))
        });
        let write = Write { place, record: view.record, server, by, held_by: None, at };
        let ticket = self.ledger.wrote(write);
        self.handle(on, Input::Changed(id, place.1, Some(ticket)));
    }
}

/// The slot of a number below 64.
pub fn slot(n: u8) -> EngineSlot {
    EngineSlot::new(n).expect("below 64")
}

fn note_open(ledger: &mut Ledger, node: &Node, place: Place, at: u64) {
    if node.open.get(&place).is_some_and(|since| !since.is_empty())
        && let Some(rank) = node.rank(place, at)
    {
        ledger.holds_open(place, node.boot, at, rank);
    }
}
