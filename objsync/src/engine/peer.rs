//! One peer, and the connection with it.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use forebay_core::table::{EngineSlot, GroupMillis, KeyBytes, TableId};
use forebay_core::units::{Micros, Now};

use super::{Bounds, Output, Why};
use crate::limits::{BATCH_MS, TICKETS_MAX};
use crate::wire::{Frame, Head};

/// A key of a table, as it waits to be told.
pub(super) type Dirty = (TableId, KeyBytes);

/// Another member of the group.
#[derive(Debug)]
pub(super) struct Peer {
    pub slot: EngineSlot,
    /// The incarnation that was heard last.
    pub boot: Option<u64>,
    pub session: Option<Session>,
    /// The connection was lost then, and what the peer had open still counts.
    pub lost: Option<Now>,
}

/// A connection, from its beginning to its end.
#[derive(Debug)]
pub(super) struct Session {
    bounds: Bounds,
    pub since: Now,
    /// The peer's [`crate::wire::Hello`] was heard.
    pub greeted: bool,
    pub last_heard: Now,
    pub last_sent: Now,
    /// Number of the last frame that was sent, applied, acknowledged by the peer.
    pub sent: u64,
    pub heard: u64,
    pub acked: u64,
    pub ack_due: bool,
    in_flight: VecDeque<(u64, usize)>,
    pub in_flight_bytes: usize,
    pub dirty: BTreeSet<Dirty>,
    pub flush_at: Option<Now>,
    /// Changes were lost for want of room, and no comparison has begun since.
    pub overflowed: bool,
    /// Who waits for the acknowledgement of a key that is not sent yet, and of a frame.
    pub tickets: BTreeMap<Dirty, Vec<u64>>,
    pub waiting: VecDeque<(u64, u64)>,
    /// The tables were compared since the peer came, and all that was missing was told, both ways.
    pub synced: bool,
    /// The comparison that this engine leads.
    pub round: Option<Round>,
    /// The comparison that the peer leads.
    pub theirs: Option<Theirs>,
    /// Parts of the hash space that the peer lacks much of.
    pub replies: VecDeque<(TableId, RangeInclusive<u64>)>,
    /// Cells that differed in the last comparison, and when one found none.
    pub differing: u32,
    pub proven: Option<Now>,
}

/// A comparison of all ranges, led by the engine with the lower slot.
#[derive(Debug)]
pub(super) struct Round {
    pub number: u32,
    /// See [`crate::wire::Step::fresh`].
    pub fresh: bool,
    /// As fast as the peer answers.
    pub quick: bool,
    pub sent: u8,
    pub answered: u8,
    pub differing: u32,
    pub ended: bool,
    /// When the next range is sent.
    pub due: Now,
    pub began: Now,
}

/// What is known of a comparison that the peer leads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theirs {
    pub number: u32,
    pub fresh: bool,
    pub began: Now,
    /// The peer has said its last word.
    pub ending: bool,
}

impl Peer {
    pub(super) fn new(slot: EngineSlot) -> Self {
        Self { slot, boot: None, session: None, lost: None }
    }

    /// The connection, once the peer is known to be at its other end.
    pub(super) fn greeted(&mut self) -> Option<&mut Session> {
        self.session.as_mut().filter(|session| session.greeted)
    }
}

impl Session {
    pub(super) fn new(bounds: Bounds, now: Now) -> Self {
        Self {
            bounds,
            since: now,
            greeted: false,
            last_heard: now,
            last_sent: now,
            sent: 0,
            heard: 0,
            acked: 0,
            ack_due: false,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            dirty: BTreeSet::new(),
            flush_at: None,
            overflowed: false,
            tickets: BTreeMap::new(),
            waiting: VecDeque::new(),
            synced: false,
            round: None,
            theirs: None,
            replies: VecDeque::new(),
            differing: 0,
            proven: None,
        }
    }

    /// A key is to be told. Past the bound everything that waits is forgotten, and the tables are compared instead.
    //= SYNC-DIRTY-01
    pub(super) fn mark(&mut self, key: Dirty, ticket: Option<u64>, now: Now) {
        if self.dirty.len() >= self.bounds.dirty && !self.dirty.contains(&key) {
            self.dirty.clear();
            self.tickets.clear();
            self.overflowed = true;
            self.synced = false;
        }
        self.dirty.insert(key);
        if let Some(ticket) = ticket {
            self.tickets.entry(key).or_default().push(ticket);
        }
        if self.flush_at.is_none() {
            self.flush_at = Some(now.after(Micros::from_millis(BATCH_MS)));
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.in_flight_bytes < self.bounds.window
    }

    /// Sends a frame with the next number.
    pub(super) fn send<'a>(
        &mut self,
        to: EngineSlot,
        clock: GroupMillis,
        now: Now,
        out: &mut Vec<Output>,
        frame: impl FnOnce(Head) -> Frame<'a>,
    ) {
        self.sent += 1;
        self.ack_due = false;
        let bytes = frame(Head { clock, number: self.sent, ack: self.heard }).encode();
        self.in_flight.push_back((self.sent, bytes.len()));
        self.in_flight_bytes += bytes.len();
        self.last_sent = now;
        out.push(Output::Send(to, bytes));
    }

    /// Says nothing but what has been applied.
    pub(super) fn acknowledge(
        &mut self,
        to: EngineSlot,
        clock: GroupMillis,
        now: Now,
        out: &mut Vec<Output>,
    ) {
        self.ack_due = false;
        self.last_sent = now;
        out.push(Output::Send(to, Frame::Ack(Head { clock, number: 0, ack: self.heard }).encode()));
    }

    /// The peer has applied all frames up to this number.
    //= SYNC-ACK-01
    pub(super) fn acknowledged(
        &mut self,
        by: EngineSlot,
        ack: u64,
        out: &mut Vec<Output>,
    ) -> Result<(), Why> {
        if ack > self.sent {
            return Err(Why::Nonsense);
        }
        self.acked = self.acked.max(ack);
        while let Some((_, bytes)) = self.in_flight.pop_front_if(|(number, _)| *number <= ack) {
            self.in_flight_bytes -= bytes;
        }
        while let Some((_, ticket)) = self.waiting.pop_front_if(|(number, _)| *number <= ack) {
            out.push(Output::Acknowledged { ticket, by });
        }
        Ok(())
    }

    /// The frame that will be sent next carries this key: whoever waits for it waits for that frame.
    pub(super) fn await_ticket(&mut self, key: &Dirty) {
        for ticket in self.tickets.remove(key).unwrap_or_default() {
            if self.waiting.len() >= TICKETS_MAX {
                self.waiting.pop_front();
            }
            self.waiting.push_back((self.sent + 1, ticket));
        }
    }
}
