//! The open streams of a connection, in one vector that grows to their bound and no further.

use alloc::vec::Vec;

use super::priority::Priority;
use crate::h1::Upgrade;

/// The length of content that nobody has announced.
pub(crate) const UNKNOWN: u64 = u64::MAX;

/// A stream that is open in at least one direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    pub id: u32,
    /// We have ended our side.
    pub local_ended: bool,
    /// The peer has ended its side.
    pub remote_ended: bool,
    /// Our final head is sent.
    pub head_sent: bool,
    /// The peer's final head is here.
    pub head_seen: bool,
    /// What still comes is thrown away: the request was refused.
    pub ignored: bool,
    /// The request was HEAD: its answer has no content.
    pub is_head: bool,
    /// The request was an extended CONNECT.
    pub tunnel: Option<Upgrade>,
    /// Interim responses so far.
    pub interims: u8,
    /// The driver has data for it.
    pub ready: bool,
    pub priority: Priority,
    /// When data was last sent, counted by frames.
    pub turn: u32,
    /// What the peer may still send; below zero after a setting.
    pub receive: i64,
    /// What it may send again once we say so.
    pub credit: u32,
    /// What it has sent and the driver has not released.
    pub unreleased: u32,
    /// What we may still send; below zero after a setting.
    pub send: i64,
    /// Content that is still to come, or [`UNKNOWN`].
    pub left: u64,
}

impl Stream {
    pub(crate) fn new(id: u32, receive: i64, send: i64) -> Stream {
        Stream {
            id,
            local_ended: false,
            remote_ended: false,
            head_sent: false,
            head_seen: false,
            ignored: false,
            is_head: false,
            tunnel: None,
            interims: 0,
            ready: false,
            priority: Priority::UNSAID,
            turn: 0,
            receive,
            credit: 0,
            unreleased: 0,
            send,
            left: UNKNOWN,
        }
    }

    /// Who goes first, the lowest of all; those that share are equal.
    pub(crate) fn rank(&self) -> (u8, bool, u32) {
        let Priority { urgency, incremental } = self.priority;
        (urgency, incremental, if incremental { 0 } else { self.id })
    }
}

/// All open streams, by number. Their numbers stand side by side: a look at 16 streams is one cache line.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    ids: Vec<u32>,
    list: Vec<Stream>,
    /// The last ones that closed, newest last; the upper bit: we reset it, so frames may still be under way.
    closed: Vec<u32>,
    next_closed: usize,
}

//= H2-ABUSE-09
/// How many closed streams are remembered: what a peer sends on one of them is judged by how it closed. 128 are a
/// round trip's worth at the default number of streams.
pub(crate) const CLOSED_MAX: usize = 128;

const RESET_BY_US: u32 = 1 << 31;

/// How a stream that is not open was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    Forgotten,
    Ended,
    ResetByUs,
}

impl Streams {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    #[inline]
    pub(crate) fn place(&self, id: u32) -> Option<usize> {
        self.ids.iter().rposition(|&i| i == id)
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Stream> {
        self.list.get(self.place(id)?)
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Stream> {
        let place = self.place(id)?;
        self.list.get_mut(place)
    }

    pub(crate) fn add(&mut self, stream: Stream) {
        self.ids.push(stream.id);
        self.list.push(stream);
    }

    /// Takes a stream out and remembers how it closed.
    pub(crate) fn remove(&mut self, id: u32, reset_by_us: bool) -> Option<Stream> {
        let place = self.place(id)?;
        self.ids.swap_remove(place);
        let stream = self.list.swap_remove(place);
        self.remember(id, reset_by_us);
        Some(stream)
    }

    pub(crate) fn remember(&mut self, id: u32, reset_by_us: bool) {
        let mark = if reset_by_us { id | RESET_BY_US } else { id };
        if self.closed.len() < CLOSED_MAX {
            self.closed.push(mark);
        } else if let Some(slot) = self.closed.get_mut(self.next_closed) {
            *slot = mark;
            self.next_closed = (self.next_closed + 1) % CLOSED_MAX;
        }
    }

    pub(crate) fn closed(&self, id: u32) -> Closed {
        match self.closed.iter().find(|&&mark| mark & !RESET_BY_US == id) {
            None => Closed::Forgotten,
            Some(mark) if mark & RESET_BY_US != 0 => Closed::ResetByUs,
            Some(_) => Closed::Ended,
        }
    }

    pub(crate) fn iter(&self) -> core::slice::Iter<'_, Stream> {
        self.list.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> core::slice::IterMut<'_, Stream> {
        self.list.iter_mut()
    }

    /// Returns the memory that is held, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.ids.capacity() * 4 + self.list.capacity() * size_of::<Stream>() + self.closed.capacity() * 4
    }
}
