//! A run: engines, clients and faults in virtual time.

mod clients;
mod faults;

use std::collections::{BTreeMap, BTreeSet};

use forebay_core::table::{EngineSlot, KeyBytes};
use forebay_objsync::limits::{PROTOCOL, SLICE};
use forebay_objsync::slots::Slots;
use forebay_objsync::{Bounds, Event, Input, Output, wire};

use crate::check;
use crate::given::Left;
use crate::ledger::{Ledger, Place};
use crate::net::{Net, pair};
use crate::node::{Node, Snapshot, Start};
use crate::plan::{Plan, SECOND};
use crate::rng::Rng;
use crate::values::{self, ValueLedger};

/// Microseconds after the last fault in which everything must become equal.
pub const SETTLE: u64 = 45 * SECOND;

/// Microseconds after that in which a comparison between any two begins and ends, and finds nothing.
const QUIET: u64 = 12 * SECOND;

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
    /// Keys under which several engines, or incarnations, had counted.
    pub counted: usize,
    /// Frames that said or asked what differs.
    pub mending: u64,
    /// Bytes that were sent.
    pub bytes: u64,
}

#[derive(Debug)]
enum What {
    Deliver {
        from: u8,
        to: u8,
        pipe: u64,
        bytes: Vec<u8>,
    },
    Ended {
        node: u8,
        peer: u8,
        boot: u64,
    },
    Wake {
        node: u8,
        boot: u64,
    },
    Sweep {
        node: u8,
        boot: u64,
    },
    Close {
        node: u8,
        boot: u64,
        place: Place,
    },
    Client,
    Dial,
    Check,
    Begin(usize),
    Finish(usize),
    Lose(usize),
    /// An engine hears who is a member now.
    Members {
        node: u8,
        boot: u64,
    },
    /// An engine writes a value.
    Value,
    /// An engine of this name waits for a slot.
    Give(u64),
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
    /// What engines wrote that is no server.
    pub values: ValueLedger,
    /// Frames that say or ask what differs, by pair.
    pub mending: BTreeMap<(u8, u8), u64>,
    /// What the one that only reads had when the last engine ended.
    pub left: Option<Left>,
    /// Who has which slot, as the one who gives them knows.
    slots: Slots,
    names: BTreeMap<u8, u64>,
    rng: Rng,
    /// Chance for what earlier releases did not do, so that their seeds stay what they were.
    more: Rng,
    events: BTreeMap<(u64, u64), What>,
    order: u64,
    boots: u64,
    /// Milliseconds by which the wall clock of each machine is wrong.
    walls: BTreeMap<u8, i64>,
    woken: BTreeMap<u8, u64>,
    trace: bool,
    /// A promise that was broken in the middle of something; told within a second.
    pub broken: Option<Violation>,
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
            values: ValueLedger::default(),
            mending: BTreeMap::new(),
            left: None,
            slots: Slots::new(plan.engines),
            names: BTreeMap::new(),
            rng: Rng::new(seed.wrapping_mul(31) ^ 0xc0de),
            more: Rng::new(seed.wrapping_mul(37) ^ 0xc0de),
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
            broken: None,
            watched,
            summary: Summary { overlapping: plan.overlapping(), ..Summary::default() },
            plan,
        };
        for slot in 0..world.plan.engines {
            world.slots.give(u64::from(slot));
            world.names.insert(slot, u64::from(slot));
        }
        for slot in 0..world.plan.processes() {
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
        if world.plan.values > 0 {
            world.later(SECOND, What::Value);
        }
        let end = world.plan.end + SETTLE;
        world.until(end)?;
        world.summary.entries = check::at_the_end(&mut world)?;
        values::at_the_end(&mut world)?;
        world.summary.counted = world.values.shared;
        let before = std::mem::take(&mut world.mending);
        let changing = check::changing(&world, QUIET);
        let compared = check::compared(&world);
        world.until(end + QUIET)?;
        check::quiet(&world, changing)?;
        check::goes_on(&world, &compared)?;
        world.summary.mending = before.values().sum();
        world.summary.acknowledged = world.ledger.acknowledged;
        Ok(world.summary)
    }

    /// All that happens up to then.
    fn until(&mut self, end: u64) -> Result<(), Violation> {
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((at, _), what) = entry.remove_entry();
            self.at = at;
            self.summary.events += 1;
            self.step(what)?;
        }
        self.at = end;
        Ok(())
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
        let slice = if self.plan.slices { 1 } else { SLICE };
        let start = Start {
            slot: EngineSlot::new(slot).expect("below 64"),
            boot: self.boots,
            entries: self.plan.entries,
            members: self.slots.members(),
            readers: if self.plan.reader { 1 << self.plan.engines } else { 0 },
            mono: self.rng.between(1, 1_000) * 1_000 * SECOND,
            wall_off: off,
            bounds: Bounds { dirty, window, slice, ..Bounds::default() },
            speaks,
        };
        self.say(|| format!("engine {slot} starts, wall clock off by {off} ms"));
        let node = Node::start(&start, snapshot, self.at);
        let boot = node.boot;
        // Who starts has nothing open.
        let awaited: Vec<EngineSlot> = self.slots.awaited().map(|(cleared, _)| cleared).collect();
        awaited.into_iter().for_each(|cleared| self.slots.confirmed(node.slot, cleared));
        self.nodes.insert(slot, node);
        if let Some(snapshot) = snapshot {
            self.ledger.inherits(boot, snapshot.boot);
            self.broken = self.broken.take().or(check::begins(self, slot, snapshot).err());
        }
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
            | What::Members { node, .. }
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
                    one.tables.values.sweep(one.engine.group_time(now));
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
            What::Members { node, boot } => {
                if runs(self, node, boot) {
                    self.handle(node, Input::Members(self.slots.members()));
                }
            }
            What::Give(name) => self.give(name)?,
            What::Value => {
                if self.at < self.plan.end {
                    self.write_value();
                    let next = self.at + self.more.between(1, 2 * self.plan.values);
                    self.later(next, What::Value);
                }
            }
        }
        Ok(())
    }

    /// Lets an engine take something in, and does what it wants.
    pub(crate) fn handle(&mut self, on: u8, input: Input<'_>) {
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
                    assert!(by.get() < self.plan.engines, "who only reads acknowledges nothing");
                    let by = self.nodes.get(&by.get()).map(|n| n.boot);
                    match by {
                        Some(by) if ticket & values::TICKET != 0 => self.values.acknowledged(ticket, by),
                        Some(by) => self.ledger.acknowledged(ticket, by),
                        None => {}
                    }
                }
                Output::Verified(_) => {}
                Output::Event(event) => {
                    self.say(|| format!("{on}: {event:?}"));
                    if let Event::Cleared(cleared) = event {
                        self.slots.confirmed(slot(on), cleared);
                    }
                    if let Event::Joined { .. } | Event::WentBack(_) = event
                        && let Some(node) = self.nodes.get_mut(&on)
                    {
                        node.group = node.engine.group_time(now);
                        let slot = node.slot.get();
                        if let Event::Joined { .. } = event {
                            let lacks = self.left.as_ref().and_then(|left| left.lacking(self, slot));
                            self.broken = self.broken.take().or(lacks);
                        }
                        let Some(node) = self.nodes.get(&on) else { return };
                        if let Event::WentBack(_) = event {
                            self.ledger.went_back(node.group);
                            self.values.went_back(node.boot, node.group);
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
        *self.mending.entry(pair(from, to)).or_default() += u64::from(check::mends(&bytes));
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
        for a in 0..self.plan.processes() {
            for b in a + 1..self.plan.processes() {
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
