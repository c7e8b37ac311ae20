//! The engine: what it is told, what it wants done, and what it does of itself.

mod answer;
mod give;
mod listing;
mod live;
mod members;
mod peer;
mod resume;
mod round;
mod slices;
mod sums;
mod time;
mod trust;
mod types;
mod untaken;
mod values;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use forebay_core::table::{EngineSlot, GroupMillis, Hold, TableId};
use forebay_core::units::{Micros, Now};

use crate::group::GroupClock;
use crate::limits::{
    BURST_US, DEAD_MS, GIVE_MS, HOLD_MS, JOIN_LATEST_MS, JOIN_MS, KEEP_MS, PROTOCOL, PROTOCOL_MIN, ROUND_MS,
    SILENCE_MS, WAITING_BYTES,
};
use crate::shards::Shards;
use crate::wire::{Bad, Frame};
use give::Given;
pub use live::{Applied, How, apply, statement};
use peer::{Peer, Round, Session, Sum};
use slices::waits;
use sums::{Keys, Recent};
use trust::Doubt;
pub use types::{Bounds, Event, Figures, Input, Output, PeerFigures, Settings, TableVerdict, Verdict, Why};

/// One engine of a group.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    clock: GroupClock,
    peers: BTreeMap<u8, Peer>,
    /// What sums are keyed with.
    keys: Keys,
    /// What changed a moment ago.
    recent: Recent,
    /// How often this engine has changed each table.
    versions: BTreeMap<TableId, u64>,
    /// Of a hundred parts of a processor so many may be spent on comparing; 0: all.
    cpu_percent: u8,
    /// Milliseconds from one comparison with a peer to the next.
    compare_ms: u64,
    /// The oldest and the newest protocol that it speaks.
    speaks: (u16, u16),
    /// Until then the time that comparing took is paid for.
    paid: Now,
    /// This call of [`Engine::handle`] compared something.
    bulk: bool,
    started: Now,
    /// The group's time that others consented to, as it would have been at the start.
    agreed: GroupMillis,
    /// What says that it was made latest, of what was taken before the group's time was known; in milliseconds.
    latest_taken: u64,
    /// The group's time went back here last.
    went_back: Option<Now>,
    /// Parts of tables, by digest, that are not what was written into them, and since when that is known.
    distrusted: BTreeMap<(TableId, u32), Doubt>,
    /// When time was looked at last.
    looked: Now,
    joined: bool,
    given: Given,
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
            keys: Keys::of(&settings.sums),
            recent: Recent::default(),
            versions: BTreeMap::new(),
            cpu_percent: 0,
            compare_ms: ROUND_MS,
            speaks: (PROTOCOL_MIN, PROTOCOL),
            paid: Now::default(),
            bulk: false,
            started: now,
            agreed: GroupMillis(0),
            latest_taken: 0,
            went_back: None,
            distrusted: BTreeMap::new(),
            looked: now,
            joined: false,
            given: Given::default(),
            hold: Hold::default(),
            figures: Figures::default(),
            out: Vec::new(),
            settings,
        }
    }

    /// It speaks no protocol beyond this one, as an earlier release: for tests of what two releases say to one another.
    pub fn speak_up_to(&mut self, newest: u16) {
        self.speaks.1 = newest.clamp(PROTOCOL_MIN, PROTOCOL);
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
        let peer = self.peers.get(&slot.get())?;
        let session = peer.session.as_ref();
        let Sum { bytes_in, bytes_out, told, applied, repaired, rounds } =
            session.map_or(peer.before, |s| peer.before.and(s.sum));
        let grows =
            PeerFigures { bytes_in, bytes_out, told, applied, repaired, rounds, ..Default::default() };
        let Some(session) = session else { return Some(grows) };
        let proven = session.proven.iter().try_fold(Now::NEVER, |oldest, at| Some(oldest.min((*at)?)));
        Some(PeerFigures {
            connected: session.greeted,
            reads: self.reads(slot),
            protocol: session.protocol,
            synced: session.synced,
            waiting: session.dirty.len(),
            in_flight: session.in_flight_bytes,
            owed: session.replies.bytes,
            asked: session.todo_bytes,
            behind: session.dirty.len() + session.in_flight_entries,
            behind_since: session.behind_since(),
            differing: session.differing_so_far(),
            proven,
            ..grows
        })
    }

    /// What the last comparison with a peer found, if there was one in this connection.
    pub fn verdict(&self, slot: EngineSlot) -> Option<&Verdict> {
        self.peers.get(&slot.get())?.session.as_ref()?.verdict.as_ref()
    }

    /// How often this engine has changed each table since it started.
    pub fn versions(&self) -> impl Iterator<Item = (TableId, u64)> {
        self.versions.iter().map(|(table, version)| (*table, *version))
    }

    /// Up to which of those changes a peer is known to have a table.
    pub fn reached(&self, slot: EngineSlot, table: TableId) -> u64 {
        let session = self.peers.get(&slot.get()).and_then(|peer| peer.session.as_ref());
        session.and_then(|session| session.reached.get(&table)).copied().unwrap_or(0)
    }

    /// From now on comparing takes no more than `percent` of one processor, if [`Engine::spent`] is told what it takes;
    /// changes are told whatever that costs, and an engine that has not joined is not bounded. 0: no bound.
    pub fn limit_cpu(&mut self, percent: u8) {
        self.cpu_percent = percent.min(100);
    }

    /// From now on tables are compared with each peer every so many milliseconds; [`ROUND_MS`] where nobody says so.
    pub fn compare_every(&mut self, ms: u64) {
        self.compare_ms = ms;
    }

    /// The call of [`Engine::handle`] that has just returned took this much time of a processor.
    //= SYNC-CPU-01
    pub fn spent(&mut self, cpu: Micros, now: Now) {
        if self.bulk && self.cpu_percent > 0 {
            let whole = |share: u64| Micros(share.saturating_mul(100) / u64::from(self.cpu_percent));
            let burst = whole(BURST_US).0;
            self.paid = self.paid.max(Now(now.0.saturating_sub(burst))).after(whole(cpu.0));
        }
        self.bulk = false;
    }

    /// Whether comparing has to wait.
    fn rests(&self, now: Now) -> bool {
        // One step at a time, so that what it took can be told.
        self.cpu_percent > 0 && self.joined && (self.paid > now || self.bulk)
    }

    /// Takes in what has happened, and says what is to be done.
    pub fn handle<S: Shards>(&mut self, input: Input<'_>, shards: &mut S, now: Now) -> Vec<Output> {
        self.recent.turn(now);
        match input {
            Input::Members(members) => self.members(members, shards, now),
            Input::Readers(readers) => self.readers(readers),
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
            Input::Verify => {
                let slots: Vec<u8> = self.peers.keys().copied().collect();
                let slots = slots.into_iter().filter_map(EngineSlot::new);
                for slot in slots.filter(|slot| self.is_member(*slot)).collect::<Vec<_>>() {
                    self.look(slot, true, now);
                }
            }
            //= SYNC-RENEW-01
            Input::Renewed => {
                for slot in (0..64)
                    .filter_map(EngineSlot::new)
                    .filter(|slot| self.is_member(*slot))
                    .collect::<Vec<_>>()
                {
                    // A number of a table may be another table's now, of which it has refused nothing.
                    self.offer_again(slot);
                    self.again(slot, now);
                }
            }
            Input::Leave => {
                self.leave(shards, now);
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
        sooner(self.trust_at());
        if !self.joined {
            // Whichever of the moments has passed is nothing to wake up for.
            let moments = [GIVE_MS, JOIN_MS].map(|ms| after(self.started, ms));
            let next = moments.into_iter().find(|at| self.looked < *at);
            sooner(next.unwrap_or_else(|| after(self.started, JOIN_LATEST_MS)));
        }
        for peer in self.peers.values() {
            if let Some(lost) = peer.lost {
                sooner(after(lost, DEAD_MS));
            }
            let Some(session) = &peer.session else { continue };
            if session.greeted {
                sooner(after(session.last_sent, KEEP_MS));
                sooner(session.ack_at.unwrap_or(Now::NEVER));
            }
            sooner(after(session.last_heard, SILENCE_MS));
            if let Some(until) =
                peer.hold_from.map(|from| after(from, HOLD_MS)).filter(|at| self.looked < *at)
                && !session.synced
            {
                sooner(until);
            }
            if let Some(at) = session.flush_at.filter(|_| session.greeted && session.has_room()) {
                sooner(at);
            }
            if let Some(due) = session.round.as_ref().and_then(Round::due).filter(|_| session.has_room()) {
                sooner(due.max(self.may_compare_at()));
            }
            if !session.todo.is_empty() && !session.owes_much()
                || !session.replies.is_empty() && session.has_room()
            {
                sooner(self.may_compare_at());
            }
        }
        wake
    }

    /// When comparing may go on.
    fn may_compare_at(&self) -> Now {
        if self.cpu_percent > 0 && self.joined { self.paid.max(self.looked) } else { self.looked }
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
        // What waited while this engine stood still was said before.
        //= SYNC-SLOT-01
        let stood_still = now.since(self.looked) >= Micros::from_millis(SILENCE_MS);
        session.last_heard = if stood_still { session.last_heard } else { now };
        session.sum.bytes_in += 4 + bytes.len() as u64;
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
        //= SYNC-WIRE-02
        if frame.since() > session.protocol {
            self.figures.skipped += 1;
            return Ok(());
        }
        session.acknowledged(from, head.ack, &mut self.out)?;
        self.step_time(from, head.clock, shards, now)?;
        let Some(session) = self.peers.get_mut(&from.get()).and_then(|p| p.session.as_mut()) else {
            return Ok(());
        };
        session.serves |= head.clock.0 != 0;
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
        if self.reads(from) && matches!(frame, Frame::Changes(..) | Frame::Repair(..) | Frame::Values(..)) {
            let lacked = matches!(frame, Frame::Repair(..) | Frame::Values(_, false, _));
            let takes = self.takes_from_reader(from).filter(|_| lacked).ok_or(Why::Nonsense)?;
            if !takes && let Some(session) = self.session(from) {
                session.applied(head.number, false);
                return Ok(());
            }
        }
        let are_changes = matches!(frame, Frame::Changes(..) | Frame::Values(_, true, _));
        match frame {
            Frame::Hello(_) | Frame::Ack(_) => return Ok(()),
            Frame::Untaken(_, table, unknown, keys) => {
                self.untaken(from, table, unknown, keys, shards, now);
                return Ok(());
            }
            Frame::Give(_) => {
                self.asked_to_give(from);
                return Ok(());
            }
            //= SYNC-LEAVE-01
            Frame::Leave(_) => {
                self.forget(from, None, shards, now);
                return Ok(());
            }
            Frame::Changes(_, packs) => self.arrive(from, &packs, true, shards, now)?,
            Frame::Repair(_, packs) => {
                self.hears_what_was_written(from, now);
                self.arrive(from, &packs, false, shards, now)?;
            }
            Frame::Values(_, live, held) => self.arrive_values(from, live, held, shards, now)?,
            Frame::RoundEnd(_, round, found) => self.round_end(from, round, found),
            Frame::RoundDone(_, round, found) => self.round_done(from, round, &found, now),
            Frame::Again(_) => self.again(from, now),
            Frame::Look(_) => self.look(from, false, now),
            Frame::Sums(..) | Frame::Cells(..) | Frame::Lists(..) | Frame::Want(..) => {
                self.compare_or_wait(from, frame, bytes, shards, now);
            }
        }
        // Only now: what is acknowledged has been applied.
        if let Some(session) = self.peers.get_mut(&from.get()).and_then(|p| p.session.as_mut()) {
            session.applied(head.number, are_changes);
        }
        Ok(())
    }

    /// A frame of a comparison waits while there is no time to spend on it.
    fn compare_or_wait<S: Shards>(
        &mut self,
        from: EngineSlot,
        frame: Frame<'_>,
        bytes: &[u8],
        shards: &mut S,
        now: Now,
    ) {
        let rests = self.rests(now);
        if let Some(session) = self.peers.get_mut(&from.get()).and_then(Peer::greeted)
            && (rests || session.owes_much() || !session.todo.is_empty())
            && session.todo_bytes < WAITING_BYTES
        {
            session.todo_bytes += waits(bytes);
            session.todo.push_back(bytes.to_vec());
            return;
        }
        let mut is_done = self.compare_frame(from, frame, shards, now);
        // Where no more can wait it is read to its end.
        while !is_done && self.session(from).is_some_and(|session| session.todo_bytes >= WAITING_BYTES) {
            is_done = Frame::decode(bytes).is_ok_and(|frame| self.compare_frame(from, frame, shards, now));
        }
        if !is_done && let Some(session) = self.session(from) {
            session.go_on_with(bytes);
        }
    }

    /// `false`: it was begun, and is to be gone on with.
    fn compare_frame<S: Shards>(
        &mut self,
        from: EngineSlot,
        frame: Frame<'_>,
        shards: &mut S,
        now: Now,
    ) -> bool {
        self.bulk = true;
        match frame {
            Frame::Sums(_, step, sums) => return self.compare(from, step, &sums, shards, now),
            Frame::Cells(_, step, cells) => self.state(from, step, &cells, shards, now),
            Frame::Lists(_, step, lists) => self.listed(from, step, &lists, shards, now),
            Frame::Want(_, step, lists, judged) => self.wanted(from, step, &lists, &judged, shards),
            _ => {}
        }
        true
    }

    /// Frames of comparisons that waited for time to be spent on them.
    fn catch_up<S: Shards>(&mut self, with: EngineSlot, shards: &mut S, now: Now) {
        loop {
            let rests = self.rests(now);
            let Some(session) = self.peers.get_mut(&with.get()).and_then(Peer::greeted) else { return };
            if rests || session.owes_much() {
                return;
            }
            let Some(bytes) = session.todo.pop_front() else { return };
            session.todo_bytes -= waits(&bytes);
            // It was read when it came.
            if let Ok(frame) = Frame::decode(&bytes)
                && !self.compare_frame(with, frame, shards, now)
            {
                if let Some(session) = self.session(with) {
                    session.go_on_with(&bytes);
                }
                return;
            }
        }
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
            } else if peer.session.as_ref().is_some_and(Session::owes_too_much) {
                self.figures.owed += 1;
                self.close(slot, Why::Owed, now);
            }
            let Some(peer) = self.peers.get_mut(&slot.get()) else { continue };
            if peer.lost.is_some_and(|lost| over(lost, DEAD_MS)) {
                peer.lost = None;
                let last_heard = peer.last_heard;
                self.forget(slot, last_heard, shards, now);
            }
            self.flush(slot, shards, now);
            self.catch_up(slot, shards, now);
            self.lead(slot, shards, now);
            self.reply(slot, shards, now);
            let clock = self.told_clock(now);
            let Some(session) = self.peers.get_mut(&slot.get()).and_then(Peer::greeted) else { continue };
            if session.acks_now(now) || over(session.last_sent, KEEP_MS) {
                session.acknowledge(slot, clock, now, &mut self.out);
            }
        }
        self.trust_again(shards, now);
        self.join(shards, now);
        self.hold_what_may_be_open(shards, now);
    }

    //= SYNC-JOIN-01
    fn join<S: Shards>(&mut self, shards: &mut S, now: Now) {
        if self.joined {
            return;
        }
        let waited = now.since(self.started);
        let synced = |n: u8| self.peers.get(&n).and_then(|p| p.session.as_ref()).is_some_and(|s| s.synced);
        let complete = (0..64).filter_map(EngineSlot::new).all(|s| !self.is_member(s) || synced(s.get()));
        let members = self.peers.values().filter(|peer| !self.reads(peer.slot));
        let of_those_heard = members.filter_map(|p| p.session.as_ref()).all(|s| s.synced);
        let long = waited >= Micros::from_millis(JOIN_MS) && of_those_heard;
        let latest = waited >= Micros::from_millis(JOIN_LATEST_MS);
        let is_given = latest || !self.waits_to_be_given(complete, waited, now);
        if (complete || long) && is_given || latest {
            self.joined = true;
            self.settle_time(shards, now);
            self.out.push(Output::Event(Event::Joined { complete }));
        }
    }

    /// While a peer that is there has not said what it has open, nothing ends; while a member is not there, no removal is
    /// forgotten.
    //= SYNC-HOLD-01
    //= SYNC-TOMBSTONE-01
    fn hold_what_may_be_open<S: Shards>(&mut self, shards: &mut S, now: Now) {
        let mut hold = Hold::default();
        for slot in (0..64).filter_map(EngineSlot::new) {
            if !self.is_member(slot) {
                continue;
            }
            let peer = self.peers.get_mut(&slot.get());
            let Some((peer, synced)) =
                peer.and_then(|p| Some((p.session.as_ref()?.synced, p))).map(|(s, p)| (p, s))
            else {
                hold.tombstones = true;
                continue;
            };
            hold.tombstones |= !synced;
            if synced {
                peer.hold_from = None;
            }
            let lately = |from: Now| now.since(from) < Micros::from_millis(HOLD_MS);
            hold.entries |= peer.hold_from.is_some_and(lately);
        }
        if hold != self.hold {
            self.hold = hold;
            for partition in 0..shards.geometry().partitions() {
                shards.with(partition, |partition, _| partition.hold(hold));
            }
        }
    }
}
