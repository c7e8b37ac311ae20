//! The engine: what it is told, what it wants done, and what it does of itself.

mod live;
mod peer;
mod round;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use forebay_core::table::{EngineSlot, GroupMillis, Hasher, Hold, KeyBytes, TableId};
use forebay_core::units::{Micros, Now};

use crate::group::GroupClock;
use crate::limits::{
    CLOCK_MAX, DEAD_MS, DIRTY_MAX, HOLD_MS, JOIN_LATEST_MS, JOIN_MS, KEEP_MS, PROTOCOL, PROTOCOL_MIN,
    SETTLE_MS, SILENCE_MS, STEP_TOLD_MS, WINDOW_BYTES,
};
use crate::shards::Shards;
use crate::wire::{Bad, Frame, Hello};
use peer::{Peer, Session};

/// How much may wait for one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Keys that wait to be told, at least 1; [`crate::limits::DIRTY_MAX`].
    pub dirty: usize,
    /// Bytes that are not acknowledged, at least 1; [`crate::limits::WINDOW_BYTES`].
    pub window: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { dirty: DIRTY_MAX, window: WINDOW_BYTES }
    }
}

/// What an engine is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its place in the group.
    pub me: EngineSlot,
    /// Its incarnation: a number that no earlier start of this slot had.
    pub boot: u64,
    /// Whose tables they are; a peer of another group is refused.
    pub group: u64,
    /// Sums are keyed with what the group alone knows.
    pub sums: Hasher,
    /// All members, one bit a slot.
    pub members: u64,
    /// The wall clock: the group's time if nobody knows a better one.
    pub wall: GroupMillis,
    /// Below this the group's time cannot be (a snapshot's, and a minute).
    pub floor: GroupMillis,
    /// How much may wait for a peer.
    pub bounds: Bounds,
}

/// What has happened.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// The members of the group are others now, one bit a slot.
    Members(u64),
    /// A connection with a member stands; an earlier one is gone.
    Up(EngineSlot),
    /// It is lost.
    Down(EngineSlot),
    /// A frame of it: type and body, as [`crate::wire::split`] gives them.
    Frame(EngineSlot, &'a [u8]),
    /// This engine has written, removed, first opened or last closed an entry. Who gives a number is told when a peer has
    /// it.
    Changed(TableId, KeyBytes, Option<u64>),
    /// [`Engine::wake`] has come.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes.
    Send(EngineSlot, Vec<u8>),
    /// End the connection; there is none any more.
    Close(EngineSlot, Why),
    /// A peer has applied the change that was given this number.
    Acknowledged {
        /// The number.
        ticket: u64,
        /// The peer.
        by: EngineSlot,
    },
    /// Worth telling people.
    Event(Event),
}

/// Why a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It belongs to another group, or is not who it should be, or no member.
    Stranger,
    /// No protocol is spoken by both.
    Protocol,
    /// It did not introduce itself, skipped a number, or acknowledged what was not sent.
    Nonsense,
    /// A frame could not be read.
    Bad(Bad),
    /// Nothing was heard of it for too long.
    Silent,
}

/// What people should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The tables are complete, or were waited for long enough: the engine may serve.
    Joined {
        /// All members were heard of and compared with.
        complete: bool,
    },
    /// A member's clock moved the group's time by this many milliseconds.
    Stepped(EngineSlot, u64),
    /// Changes for a peer were more than there is room for: the tables are compared with it anew.
    Overflowed(EngineSlot),
}

/// What only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Entries that were sent: as changes, in statements, and as what a peer lacked.
    pub told: u64,
    /// See `told`.
    pub stated: u64,
    /// See `told`.
    pub repaired: u64,
    /// Entries that came and changed something here.
    pub applied: u64,
    /// Entries of tables or servers that are not in this configuration.
    pub unknown: u64,
    /// Entries for which the table had no room.
    pub refused: u64,
    /// Frames that had been applied before.
    pub repeated: u64,
    /// Frames of a type that is not known.
    pub skipped: u64,
}

/// What is known of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerFigures {
    /// A connection stands and both have introduced themselves.
    pub connected: bool,
    /// The tables were compared since, and all that was missing was told.
    pub synced: bool,
    /// Keys that wait to be told.
    pub waiting: usize,
    /// Bytes that are not acknowledged.
    pub in_flight: usize,
    /// Cells that differed in the last comparison.
    pub differing: u32,
    /// When the last comparison began that found no difference.
    pub proven: Option<Now>,
}

/// One engine of a group.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    clock: GroupClock,
    peers: BTreeMap<u8, Peer>,
    /// When each cell changed last, in milliseconds; 0: never.
    touched: Box<[u32]>,
    started: Now,
    /// When time was looked at last.
    looked: Now,
    joined: bool,
    hold: Hold,
    figures: Figures,
    out: Vec<Output>,
}

impl Engine {
    /// An engine that starts. It must not write before [`Event::Joined`].
    pub fn new(settings: Settings, now: Now) -> Self {
        Self {
            clock: GroupClock::new(settings.floor, now),
            peers: BTreeMap::new(),
            touched: vec![0; 1 << 16].into_boxed_slice(),
            started: now,
            looked: now,
            joined: false,
            hold: Hold::default(),
            figures: Figures::default(),
            out: Vec::new(),
            settings,
        }
    }

    /// The time of the group, with which the host writes.
    pub fn group_time(&self, now: Now) -> GroupMillis {
        self.clock.read(now)
    }

    /// Whether the engine may serve.
    pub fn joined(&self) -> bool {
        self.joined
    }

    /// What only grows.
    pub fn figures(&self) -> Figures {
        self.figures
    }

    /// What is known of a peer.
    pub fn peer(&self, slot: EngineSlot) -> Option<PeerFigures> {
        let session = self.peers.get(&slot.get())?.session.as_ref();
        Some(PeerFigures {
            connected: session.is_some_and(|s| s.greeted),
            synced: session.is_some_and(|s| s.synced),
            waiting: session.map_or(0, |s| s.dirty.len()),
            in_flight: session.map_or(0, |s| s.in_flight_bytes),
            differing: session.map_or(0, |s| s.differing),
            proven: session.and_then(|s| s.proven),
        })
    }

    /// Takes in what has happened, and says what is to be done.
    pub fn handle<S: Shards>(&mut self, input: Input<'_>, shards: &mut S, now: Now) -> Vec<Output> {
        match input {
            Input::Members(members) => self.settings.members = members,
            Input::Up(slot) => self.up(slot, now),
            Input::Down(slot) => self.down(slot, now),
            Input::Frame(slot, bytes) => {
                if let Err(why) = self.frame(slot, bytes, shards, now) {
                    self.close(slot, why, now);
                }
            }
            Input::Changed(table, key, ticket) => {
                self.changed(shards, table, key, ticket, now);
                return core::mem::take(&mut self.out);
            }
            Input::Tick => {}
        }
        self.look_around(shards, now);
        core::mem::take(&mut self.out)
    }

    /// When [`Input::Tick`] is due.
    pub fn wake(&self) -> Now {
        let after = |at: Now, ms| at.after(Micros::from_millis(ms));
        let mut wake = Now::NEVER;
        let mut sooner = |at: Now| wake = wake.min(at);
        if !self.joined {
            // Whichever of the two moments has passed is nothing to wake up for.
            sooner(after(
                self.started,
                if self.looked < after(self.started, JOIN_MS) { JOIN_MS } else { JOIN_LATEST_MS },
            ));
        }
        for peer in self.peers.values() {
            if let Some(lost) = peer.lost {
                sooner(after(lost, DEAD_MS));
            }
            let Some(session) = &peer.session else { continue };
            if session.greeted {
                sooner(after(session.last_sent, KEEP_MS));
            }
            sooner(after(session.last_heard, SILENCE_MS));
            if self.looked < after(session.since, HOLD_MS) && !session.synced {
                sooner(after(session.since, HOLD_MS));
            }
            if let Some(at) = session.flush_at.filter(|_| session.greeted && session.has_room()) {
                sooner(at);
            }
            if let Some(round) = &session.round
                && round.sent < crate::limits::RANGES
                && (round.sent - round.answered) < round.ahead()
                && session.has_room()
            {
                sooner(round.due);
            }
        }
        wake
    }

    fn is_member(&self, slot: EngineSlot) -> bool {
        slot != self.settings.me && self.settings.members & 1 << slot.get() != 0
    }

    fn up(&mut self, slot: EngineSlot, now: Now) {
        if !self.is_member(slot) {
            self.out.push(Output::Close(slot, Why::Stranger));
            return;
        }
        let peer = self.peers.entry(slot.get()).or_insert_with(|| Peer::new(slot));
        if peer.session.is_some() {
            peer.lost.get_or_insert(now);
        }
        peer.session = Some(Session::new(self.settings.bounds, now));
        let Settings { me, boot, group, .. } = self.settings;
        let clock = if self.clock.known() { self.clock.read(now) } else { GroupMillis(0) };
        let hello = Hello {
            protocol: PROTOCOL,
            protocol_min: PROTOCOL_MIN,
            features: 0,
            slot: me,
            boot,
            group,
            clock,
        };
        self.out.push(Output::Send(slot, Frame::Hello(hello).encode()));
    }

    fn down(&mut self, slot: EngineSlot, now: Now) {
        if let Some(peer) = self.peers.get_mut(&slot.get())
            && peer.session.take().is_some()
        {
            peer.lost.get_or_insert(now);
        }
    }

    fn close(&mut self, slot: EngineSlot, why: Why, now: Now) {
        self.down(slot, now);
        self.out.push(Output::Close(slot, why));
    }

    fn frame<S: Shards>(
        &mut self,
        from: EngineSlot,
        bytes: &[u8],
        shards: &mut S,
        now: Now,
    ) -> Result<(), Why> {
        // What was under way when this side ended the connection.
        let Some(session) = self.peers.get_mut(&from.get()).and_then(|p| p.session.as_mut()) else {
            return Ok(());
        };
        session.last_heard = now;
        let frame = match Frame::decode(bytes) {
            Ok(frame) => frame,
            //= SYNC-WIRE-02
            Err(Bad::Unknown(_)) => {
                self.figures.skipped += 1;
                return Ok(());
            }
            Err(bad) => return Err(Why::Bad(bad)),
        };
        if let Frame::Hello(hello) = frame {
            return self.hello(from, hello, shards, now);
        }
        let head = *frame.head().ok_or(Why::Nonsense)?;
        if !session.greeted {
            return Err(Why::Nonsense);
        }
        session.acknowledged(from, head.ack, &mut self.out)?;
        self.step_time(from, head.clock, now)?;
        let Some(session) = self.peers.get_mut(&from.get()).and_then(|p| p.session.as_mut()) else {
            return Ok(());
        };
        //= SYNC-ORDER-01
        if head.number != 0 {
            if head.number <= session.heard {
                self.figures.repeated += 1;
                return Ok(());
            }
            if head.number != session.heard + 1 {
                return Err(Why::Nonsense);
            }
        }
        match frame {
            Frame::Hello(_) | Frame::Ack(_) => return Ok(()),
            Frame::Changes(_, packs) => self.arrive(from, &packs, true, shards, now)?,
            Frame::Repair(_, packs) => self.arrive(from, &packs, false, shards, now)?,
            Frame::Sums(_, step, sums) => self.compare(from, step, &sums, shards, now),
            Frame::Cells(_, step, cells) => self.state(from, step, &cells, shards, now),
            Frame::Statement(_, table, part, pack) => self.stated(from, table, part, &pack, shards, now)?,
            Frame::RoundEnd(_, round, differing) => self.round_end(from, round, differing),
            Frame::RoundDone(_, round) => self.round_done(from, round, now),
            Frame::Again(_) => self.again(from, now),
        }
        // Only now: what is acknowledged has been applied.
        if let Some(session) = self.peers.get_mut(&from.get()).and_then(|p| p.session.as_mut()) {
            session.heard = head.number;
            session.ack_due = true;
        }
        Ok(())
    }

    fn hello<S: Shards>(
        &mut self,
        from: EngineSlot,
        hello: Hello,
        shards: &mut S,
        now: Now,
    ) -> Result<(), Why> {
        if hello.slot != from || hello.group != self.settings.group || !self.is_member(from) {
            return Err(Why::Stranger);
        }
        if hello.protocol < PROTOCOL_MIN || hello.protocol_min > PROTOCOL {
            return Err(Why::Protocol);
        }
        let Some(peer) = self.peers.get_mut(&from.get()) else { return Ok(()) };
        let new = peer.boot != Some(hello.boot);
        let Some(session) = &mut peer.session else { return Ok(()) };
        if session.greeted {
            self.figures.repeated += 1;
            return Ok(());
        }
        session.greeted = true;
        (peer.boot, peer.lost) = (Some(hello.boot), None);
        //= SYNC-SLOT-01
        if new {
            self.forget(from, shards, now);
        }
        if hello.clock.0 != 0 {
            self.step_time(from, hello.clock, now)?;
        }
        self.again(from, now);
        Ok(())
    }

    fn step_time(&mut self, from: EngineSlot, to: GroupMillis, now: Now) -> Result<(), Why> {
        if to.0 == 0 {
            return Ok(());
        }
        if to.0 > CLOCK_MAX {
            return Err(Why::Nonsense);
        }
        let by = self.clock.step(to, now);
        if by > STEP_TOLD_MS {
            self.out.push(Output::Event(Event::Stepped(from, by)));
        }
        Ok(())
    }

    /// Whatever time alone makes due.
    fn look_around<S: Shards>(&mut self, shards: &mut S, now: Now) {
        self.looked = now;
        let slots: Vec<u8> = self.peers.keys().copied().collect();
        for slot in slots.iter().filter_map(|slot| EngineSlot::new(*slot)) {
            let Some(peer) = self.peers.get_mut(&slot.get()) else { continue };
            let over = |since: Now, ms| now.since(since) >= Micros::from_millis(ms);
            if peer.session.as_ref().is_some_and(|s| over(s.last_heard, SILENCE_MS)) {
                self.close(slot, Why::Silent, now);
            }
            let Some(peer) = self.peers.get_mut(&slot.get()) else { continue };
            if peer.lost.is_some_and(|lost| over(lost, DEAD_MS)) {
                peer.lost = None;
                self.forget(slot, shards, now);
            }
            self.flush(slot, shards, now);
            self.lead(slot, shards, now);
            self.reply(slot, shards, now);
            let clock = self.told_clock(now);
            let Some(session) = self.peers.get_mut(&slot.get()).and_then(Peer::greeted) else { continue };
            if session.ack_due || over(session.last_sent, KEEP_MS) {
                session.acknowledge(slot, clock, now, &mut self.out);
            }
        }
        self.join(now);
        self.hold_what_may_be_open(shards, now);
    }

    fn told_clock(&self, now: Now) -> GroupMillis {
        if self.clock.known() { self.clock.read(now) } else { GroupMillis(0) }
    }

    //= SYNC-JOIN-01
    fn join(&mut self, now: Now) {
        if self.joined {
            return;
        }
        let waited = now.since(self.started);
        let synced = |n: u8| self.peers.get(&n).and_then(|p| p.session.as_ref()).is_some_and(|s| s.synced);
        let complete = (0..64).filter_map(EngineSlot::new).all(|s| !self.is_member(s) || synced(s.get()));
        let of_those_heard = self.peers.values().filter_map(|p| p.session.as_ref()).all(|s| s.synced);
        let long = waited >= Micros::from_millis(JOIN_MS) && of_those_heard;
        if complete || long || waited >= Micros::from_millis(JOIN_LATEST_MS) {
            self.joined = true;
            if !self.clock.known() {
                self.clock.step(self.settings.wall, now);
            }
            self.out.push(Output::Event(Event::Joined { complete }));
        }
    }

    /// While a peer that is there has not said what it has open, nothing ends; while a member is not there, no removal is
    /// forgotten.
    //= SYNC-HOLD-01
    //= SYNC-TOMBSTONE-01
    fn hold_what_may_be_open<S: Shards>(&mut self, shards: &mut S, now: Now) {
        let session = |slot: EngineSlot| self.peers.get(&slot.get()).and_then(|p| p.session.as_ref());
        let members = (0..64).filter_map(EngineSlot::new).filter(|slot| self.is_member(*slot));
        let mut hold = Hold::default();
        for session in members.map(session) {
            hold.tombstones |= session.is_none_or(|s| !s.synced);
            hold.entries |=
                session.is_some_and(|s| !s.synced && now.since(s.since) < Micros::from_millis(HOLD_MS));
        }
        if hold != self.hold {
            self.hold = hold;
            for partition in 0..shards.geometry().partitions() {
                shards.with(partition, |partition, _| partition.hold(hold));
            }
        }
    }

    /// What a peer had open counts as closed.
    fn forget<S: Shards>(&mut self, slot: EngineSlot, shards: &mut S, now: Now) {
        let bit = 1 << slot.get();
        for partition in 0..shards.geometry().partitions() {
            shards.with(partition, |partition, catalog| {
                let open: Vec<_> = partition
                    .entries(catalog, 0..u32::MAX, now)
                    .filter(|view| view.record.open & bit != 0)
                    .map(|view| catalog.key(view.table, view.key))
                    .collect();
                for key in open {
                    partition.open_elsewhere(catalog, &key, slot, false, now);
                }
            });
        }
    }

    fn touch(&mut self, hash: u64, now: Now) {
        if let Some(cell) = self.touched.get_mut((hash >> 48) as usize) {
            *cell = (now.0 / 1_000) as u32 | 1;
        }
    }

    fn is_settled(&self, cell: usize, now: Now) -> bool {
        let at = self.touched.get(cell).copied().unwrap_or(0);
        at == 0 || ((now.0 / 1_000) as u32).wrapping_sub(at) >= SETTLE_MS
    }
}
