//! One peer, and the connection with it.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use forebay_core::table::{EngineSlot, GroupMillis, KeyBytes, TableId};
use forebay_core::units::{Micros, Now};

use super::slices::{Begun, Partial};
use super::sums::{Row, first_cell, part_of};
use super::{Bounds, Engine, Output, Verdict, Why};
use crate::limits::{ACK_MS, BATCH_MS, BATCHES_AT_ONCE, OWED_WAIT_BYTES, RANGES, TICKETS_MAX, WINDOW_BYTES};
use crate::merge::Entry;
use crate::wire::{Found, Frame, Head};

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
    /// When the last connection ended.
    pub ended: Option<Now>,
    /// When it was heard last on connections that have ended.
    pub last_heard: Option<Now>,
    /// Until then this engine's changes are known to have reached it.
    pub has_all_until: Option<Now>,
    /// Entries are held from then on for what it may have open, over all connections until one got in sync.
    pub hold_from: Option<Now>,
    /// What connections before this one amounted to.
    pub before: Sum,
    /// What it said last of the group's time, and when.
    pub clock: Option<(GroupMillis, Now)>,
}

/// What only grows, of one peer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub told: u64,
    pub applied: u64,
    pub repaired: u64,
    pub rounds: u64,
}

impl Sum {
    pub(super) fn and(self, more: Self) -> Self {
        Self {
            bytes_in: self.bytes_in + more.bytes_in,
            bytes_out: self.bytes_out + more.bytes_out,
            told: self.told + more.told,
            applied: self.applied + more.applied,
            repaired: self.repaired + more.repaired,
            rounds: self.rounds + more.rounds,
        }
    }
}

/// A connection, from its beginning to its end.
#[derive(Debug)]
pub(super) struct Session {
    bounds: Bounds,
    /// The peer's [`crate::wire::Hello`] was heard.
    pub greeted: bool,
    /// The number of the protocol that both speak.
    pub protocol: u16,
    pub last_heard: Now,
    /// The peer was heard last before this connection.
    pub heard_before: Option<Now>,
    pub last_sent: Now,
    /// Number of the last frame that was sent, applied, acknowledged by the peer.
    pub sent: u64,
    pub heard: u64,
    pub acked: u64,
    pub ack_due: bool,
    /// Changes are to be acknowledged then.
    pub ack_at: Option<Now>,
    in_flight: VecDeque<InFlight>,
    pub in_flight_bytes: usize,
    /// Changes that were sent and are not acknowledged.
    pub in_flight_entries: usize,
    pub sum: Sum,
    pub dirty: BTreeSet<Dirty>,
    pub flush_at: Option<Now>,
    /// The first of the keys that wait has waited since then.
    pub dirty_since: Option<Now>,
    /// How far the peer is with this engine's changes, by table; and how far it is with the acknowledgement of a frame.
    pub reached: BTreeMap<TableId, u64>,
    marks: VecDeque<(u64, TableId, u64)>,
    /// The millisecond in which a batch left last, and how many have left in it.
    batches: (u64, u32),
    /// Changes were lost for want of room, and no comparison has begun since.
    pub overflowed: bool,
    /// Who waits for the acknowledgement of a key that is not sent yet, and of a frame.
    pub tickets: BTreeMap<Dirty, Vec<u64>>,
    pub waiting: VecDeque<(u64, Dirty, u64)>,
    /// Entries that the peer does not know the servers of, by these.
    pub foreign: BTreeMap<Dirty, u64>,
    /// The tables were compared since the peer came, and all that was missing was told, both ways.
    pub synced: bool,
    /// The comparison that this engine leads.
    pub round: Option<Round>,
    /// The comparison that the peer leads.
    pub theirs: Option<Theirs>,
    /// What the peer lacks.
    pub replies: Replies,
    /// Frames of comparisons that wait for time to be spent on them, and their bytes.
    pub todo: VecDeque<Vec<u8>>,
    pub todo_bytes: usize,
    /// Sums of which a part has been computed, of the comparison that this engine leads or of the one that the peer leads.
    pub partial: Option<Partial>,
    /// Cells that differed in the last comparison that is through; by range, when one found none.
    pub differing: u32,
    pub proven: [Option<Now>; RANGES as usize],
    pub verdict: Option<Verdict>,
    /// The number of a comparison that was asked for.
    pub asked: Option<u32>,
    /// The peer knows the group's time: it serves. And whether it did when it came.
    pub serves: bool,
    /// See `serves`.
    pub served: bool,
    /// One of the two only reads, and was asked by the other for what it has.
    pub gives: bool,
}

/// A frame that is not acknowledged.
#[derive(Debug)]
struct InFlight {
    number: u64,
    bytes: usize,
    /// Changes in it, and since when the first of them waits.
    changes: usize,
    since: Now,
}

/// What a peer lacks.
#[derive(Debug)]
pub(super) enum Reply {
    /// All of a part of the hash space.
    Part(TableId, RangeInclusive<u64>),
    /// These keys.
    Keys(TableId, Vec<KeyBytes>),
    /// These, which are not held here.
    Entries(TableId, Vec<Entry>),
    /// What this engine wrote from this stamp on, of a part of the hash space.
    Written(u64, RangeInclusive<u64>),
}

/// What a peer lacks, in the order in which it is sent, and the bytes that noting it takes.
#[derive(Debug, Default)]
pub(super) struct Replies {
    all: VecDeque<Reply>,
    pub bytes: usize,
}

impl Replies {
    pub(super) fn push(&mut self, reply: Reply) {
        self.bytes += reply.bytes();
        self.all.push_back(reply);
    }

    /// What is left of the one that was taken last.
    pub(super) fn push_rest(&mut self, reply: Reply) {
        self.bytes += reply.bytes();
        self.all.push_front(reply);
    }

    pub(super) fn extend(&mut self, replies: impl IntoIterator<Item = Reply>) {
        replies.into_iter().for_each(|reply| self.push(reply));
    }

    pub(super) fn pop(&mut self) -> Option<Reply> {
        let reply = self.all.pop_front()?;
        self.bytes -= reply.bytes();
        Some(reply)
    }

    pub(super) fn front(&self) -> Option<&Reply> {
        self.all.front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

impl Reply {
    fn bytes(&self) -> usize {
        let inside = match self {
            Self::Part(..) | Self::Written(..) => 0,
            Self::Keys(_, keys) => size_of_val(&keys[..]),
            Self::Entries(_, entries) => size_of_val(&entries[..]),
        };
        size_of::<Self>() + inside
    }

    /// All of some cells of a range. Cells between them that hold nothing do not count.
    pub(super) fn parts(table: TableId, range: u8, cells: &[u16]) -> Vec<Self> {
        let runs = cells.chunk_by(|a, b| b - a <= CELLS_BRIDGED);
        let cell = |n: u16| first_cell(range) + usize::from(n);
        runs.filter_map(|run| Some(Self::Part(table, part_of(cell(*run.first()?), cell(*run.last()?)))))
            .collect()
    }
}

/// Cells between two that are sent are sent along if there are fewer: it costs less than reading the table once more.
const CELLS_BRIDGED: u16 = 64;

/// A comparison of all ranges, led by the engine with the lower slot.
#[derive(Debug)]
pub(super) struct Round {
    pub number: u32,
    /// See [`crate::wire::Step::fresh`].
    pub fresh: bool,
    /// As fast as the peer answers.
    pub quick: bool,
    /// How many ranges were begun.
    pub next: u8,
    /// The next one, of which some sums have been sent or computed.
    pub begun: Option<Begun>,
    /// Those of them that are not through.
    pub under_way: BTreeMap<u8, UnderWay>,
    /// What differed, by table.
    pub found: BTreeMap<u64, Found>,
    pub ended: bool,
    /// When the next range is sent.
    pub due: Now,
    pub began: Now,
}

/// A range that is being compared.
#[derive(Debug)]
pub(super) struct UnderWay {
    /// Frames that the peer has not answered.
    pub frames: u32,
    pub began: Now,
    /// Something in it differs.
    pub judged: bool,
    /// The sums that were sent were made of these, by table.
    pub sums: Vec<(u64, Vec<(u16, u128)>)>,
    /// What was listed, by table.
    pub rows: Vec<(u64, Row)>,
}

/// What is known of a comparison that the peer leads.
#[derive(Debug)]
pub(super) struct Theirs {
    pub number: u32,
    pub fresh: bool,
    pub began: Now,
    /// The peer has said its last word.
    pub ending: bool,
    /// And what it found.
    pub found: Vec<Found>,
}

impl Engine {
    /// From now on so many bytes may be on their way to each peer unacknowledged, [`WINDOW_BYTES`] at most; connections that stand
    /// keep what they have.
    pub fn limit_window(&mut self, bytes: usize) {
        self.settings.bounds.window = bytes.clamp(1, WINDOW_BYTES);
    }
}

impl Peer {
    pub(super) fn new(slot: EngineSlot) -> Self {
        Self {
            slot,
            boot: None,
            session: None,
            lost: None,
            ended: None,
            last_heard: None,
            has_all_until: None,
            hold_from: None,
            before: Sum::default(),
            clock: None,
        }
    }

    /// Ends the connection; whether there was one.
    pub(super) fn end_session(&mut self, now: Now) -> bool {
        let ended = self.session.take();
        self.ended = ended.as_ref().map(|_| now).or(self.ended);
        self.last_heard =
            ended.as_ref().filter(|session| session.greeted).map(|s| s.last_heard).or(self.last_heard);
        let in_sync = ended.as_ref().filter(|session| session.synced);
        let until = in_sync.map(|s| s.behind_since().map_or(s.last_heard, |since| since.min(s.last_heard)));
        self.has_all_until = until.or(self.has_all_until);
        self.before = ended.as_ref().map_or(self.before, |session| self.before.and(session.sum));
        ended.is_some()
    }

    /// When it was heard last.
    pub(super) fn last_heard(&self) -> Option<Now> {
        self.session
            .as_ref()
            .filter(|session| session.greeted)
            .map(|session| session.last_heard)
            .or(self.last_heard)
    }

    /// The connection, once the peer is known to be at its other end.
    pub(super) fn greeted(&mut self) -> Option<&mut Session> {
        self.session.as_mut().filter(|session| session.greeted)
    }
}

impl Session {
    pub(super) fn new(bounds: Bounds, heard_before: Option<Now>, now: Now) -> Self {
        Self {
            bounds,
            greeted: false,
            protocol: 0,
            last_heard: now,
            heard_before,
            last_sent: now,
            sent: 0,
            heard: 0,
            acked: 0,
            ack_due: false,
            ack_at: None,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            in_flight_entries: 0,
            sum: Sum::default(),
            dirty: BTreeSet::new(),
            flush_at: None,
            dirty_since: None,
            reached: BTreeMap::new(),
            marks: VecDeque::new(),
            batches: (0, 0),
            overflowed: false,
            tickets: BTreeMap::new(),
            waiting: VecDeque::new(),
            foreign: BTreeMap::new(),
            synced: false,
            round: None,
            theirs: None,
            replies: Replies::default(),
            todo: VecDeque::new(),
            todo_bytes: 0,
            partial: None,
            differing: 0,
            proven: [None; RANGES as usize],
            verdict: None,
            asked: None,
            serves: false,
            served: false,
            gives: false,
        }
    }

    /// A key is to be told. Past the bound everything that waits is forgotten, and the tables are compared instead.
    //= SYNC-DIRTY-01
    pub(super) fn mark(&mut self, key: Dirty, ticket: Option<u64>, now: Now) {
        if self.dirty.len() >= self.bounds.dirty && !self.dirty.contains(&key) {
            self.dirty.clear();
            self.dirty_since = None;
            self.tickets.clear();
            self.overflowed = true;
            self.synced = false;
        }
        self.dirty.insert(key);
        self.dirty_since.get_or_insert(now);
        if let Some(ticket) = ticket {
            self.tickets.entry(key).or_default().push(ticket);
        }
        // Who waits for it does not wait for others to travel with.
        if ticket.is_some() {
            self.flush_at = Some(now);
        }
        if self.flush_at.is_none() {
            let many = self.batches.0 == now.0 / 1_000 && self.batches.1 >= BATCHES_AT_ONCE;
            self.flush_at = Some(if many { now.after(Micros::from_millis(BATCH_MS)) } else { now });
        }
    }

    /// A batch of changes leaves.
    pub(super) fn count_batch(&mut self, now: Now) {
        let millisecond = now.0 / 1_000;
        let before = if self.batches.0 == millisecond { self.batches.1 } else { 0 };
        self.batches = (millisecond, before + 1);
    }

    /// Further questions of the peer wait until it has taken some of what it asked for.
    //= SYNC-OWED-01
    pub(super) fn owes_much(&self) -> bool {
        self.replies.bytes >= OWED_WAIT_BYTES.min(self.bounds.owed / 2)
    }

    /// It asks for more and more, and takes nothing.
    //= SYNC-OWED-01
    pub(super) fn owes_too_much(&self) -> bool {
        self.replies.bytes > self.bounds.owed
    }

    pub(super) fn has_room(&self) -> bool {
        self.in_flight_bytes < self.bounds.window
    }

    /// The peer is about to hear how much of what it said was applied.
    fn acks(&mut self) {
        (self.ack_due, self.ack_at) = (false, None);
    }

    /// A frame was applied. Changes follow one another, and are acknowledged together.
    //= SYNC-ACK-01
    pub(super) fn applied(&mut self, number: u64, are_changes: bool) {
        self.heard = number;
        if are_changes {
            self.ack_at = self.ack_at.or(Some(self.last_sent.after(Micros::from_millis(ACK_MS))));
        } else {
            self.ack_due = true;
        }
    }

    /// Whether the peer is to hear now how much of what it said was applied.
    pub(super) fn acks_now(&self, now: Now) -> bool {
        self.ack_due || self.ack_at.is_some_and(|at| at <= now)
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
        self.acks();
        let bytes = frame(Head { clock, number: self.sent, ack: self.heard }).encode();
        let since = self.dirty_since.unwrap_or(now);
        self.in_flight.push_back(InFlight { number: self.sent, bytes: bytes.len(), changes: 0, since });
        self.in_flight_bytes += bytes.len();
        self.sum.bytes_out += bytes.len() as u64;
        self.last_sent = now;
        out.push(Output::Send(to, bytes));
    }

    /// The frame that was just sent told so many changes; of these tables nothing waits any more.
    pub(super) fn told(&mut self, changes: usize, tables: impl Iterator<Item = (TableId, u64)>) {
        if let Some(last) = self.in_flight.back_mut() {
            last.changes = changes;
            self.in_flight_entries += changes;
            self.sum.told += changes as u64;
            let number = last.number;
            self.marks.extend(tables.map(|(table, version)| (number, table, version)));
        }
        if self.dirty.is_empty() {
            self.dirty_since = None;
        }
    }

    /// The peer was compared with, and all that was missing was told.
    pub(super) fn in_sync(&mut self, versions: &BTreeMap<TableId, u64>) {
        self.synced = true;
        if self.dirty.is_empty() && self.in_flight_entries == 0 {
            self.reached.clone_from(versions);
        }
    }

    /// Cells that differed in the last comparison, or that differ in the one under way as far as that is: who looks need not wait
    /// for its end.
    //= SYNC-VERIFY-02
    pub(super) fn differing_so_far(&self) -> u32 {
        let found = self.round.iter().flat_map(|round| round.found.values());
        self.differing.max(found.fold(0, |sum, found| sum.saturating_add(found.differing)))
    }

    /// Since when the oldest change waits that the peer has not acknowledged.
    pub(super) fn behind_since(&self) -> Option<Now> {
        let sent = self.in_flight.iter().find(|frame| frame.changes > 0).map(|frame| frame.since);
        sent.or(self.dirty_since)
    }

    /// Says nothing but what has been applied.
    pub(super) fn acknowledge(
        &mut self,
        to: EngineSlot,
        clock: GroupMillis,
        now: Now,
        out: &mut Vec<Output>,
    ) {
        self.acks();
        self.say(to, clock, now, out, Frame::Ack);
    }

    /// Sends a frame that has no number.
    pub(super) fn say(
        &mut self,
        to: EngineSlot,
        clock: GroupMillis,
        now: Now,
        out: &mut Vec<Output>,
        frame: impl FnOnce(Head) -> Frame<'static>,
    ) {
        self.last_sent = now;
        let bytes = frame(Head { clock, number: 0, ack: self.heard }).encode();
        self.sum.bytes_out += bytes.len() as u64;
        out.push(Output::Send(to, bytes));
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
        while let Some(frame) = self.in_flight.pop_front_if(|frame| frame.number <= ack) {
            self.in_flight_bytes -= frame.bytes;
            self.in_flight_entries -= frame.changes;
        }
        while let Some((_, table, version)) = self.marks.pop_front_if(|(number, ..)| *number <= ack) {
            self.reached.insert(table, version);
        }
        while let Some((.., ticket)) = self.waiting.pop_front_if(|(number, ..)| *number <= ack) {
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
            self.waiting.push_back((self.sent + 1, *key, ticket));
        }
    }
}
