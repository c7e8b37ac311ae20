//! The streams of one connection that have a request under way, and what all of them write into.

use std::task::Waker;

use forebay_http::h1::body::{CHUNK_END, CHUNK_HEAD_MAX, chunk_head};
use forebay_http::h2::{self, Code, Connection, Inbox};

use super::hold::Hold;
use crate::http::limits::SLOW_READ_BYTES;
use crate::rt::{NEVER, Now};

/// Frames that wait for the socket, at most: streams write nothing beyond it. As much as one large write.
const OUT_BYTES_MAX: usize = 64 * 1024;

/// A stream's memory for content that is kept when all of it was read: what small uploads need.
const UP_KEPT_BYTES: usize = 4 * 1024;

/// Content that was read takes memory up to so much, or to as much as there is behind it: so each byte moves once at most.
const UP_READ_MIN: usize = 4 * 1024;

/// What a connection's streams share.
pub(super) struct State {
    /// The engine.
    pub(super) connection: Connection,
    /// Where it puts heads.
    pub(super) inbox: Inbox,
    /// Frames for the client.
    pub(super) out: Vec<u8>,
    /// How many bytes of them are sent.
    pub(super) sent: usize,
    /// Frames that may wait for the socket.
    pub(super) out_max: usize,
    /// The streams.
    pub(super) lanes: Vec<Lane>,
    /// A stream has earned that less urgent ones wait for it.
    pub(super) holds: bool,
    /// A stream has content that it may not send, or had.
    pub(super) has_waiting: bool,
    /// What went last was a piece of a stream that starved.
    pub(super) owes: bool,
    /// The kernel was told to take little at once.
    pub(super) is_short: bool,
    /// When content of a connection whose streams have ranks went last.
    pub(super) wrote_at: Now,
    /// There was no room for anybody's content.
    pub(super) was_shut: bool,
    /// When the socket last took less than there was.
    pub(super) slow_at: Option<Now>,
    /// Somebody looks when the time of a wait is over.
    pub(super) is_patient: bool,
}

/// One stream with a request under way.
pub(super) struct Lane {
    pub(super) id: u32,
    /// Content that came and was not read, in chunks if its length is not known; at most a stream's window.
    pub(super) up: Vec<u8>,
    /// How many bytes of it were read.
    read: usize,
    /// Content that the client may not send anew yet.
    unreleased: usize,
    /// The content is read as chunks.
    chunked: bool,
    /// All of it is in `up`.
    pub(super) ended: bool,
    /// The stream, or the connection, has ended before its time.
    pub(super) gone: bool,
    /// What waits to be written is a head, for which there need be no window.
    pub(super) heads: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    pub(super) watcher: Option<Waker>,
    pub(super) hold: Hold,
}

impl Lane {
    pub(super) fn new(id: u32, chunked: bool, ended: bool) -> Self {
        Lane {
            id,
            up: Vec::new(),
            read: 0,
            unreleased: 0,
            chunked,
            ended,
            gone: false,
            heads: false,
            reader: None,
            writer: None,
            watcher: None,
            hold: Hold::default(),
        }
    }

    /// Says whether a read would not wait.
    pub(super) fn is_readable(&self) -> bool {
        self.gone || self.ended || self.read < self.up.len()
    }

    /// Bytes of content that were not read.
    fn unread(&self) -> usize {
        self.up.len() - self.read
    }

    /// Takes content in.
    pub(super) fn content(&mut self, data: &[u8], end: bool) {
        self.unreleased += data.len();
        if !data.is_empty() && self.chunked {
            let mut line = [0; CHUNK_HEAD_MAX];
            self.up.extend_from_slice(chunk_head(data.len() as u64, &mut line));
            self.up.extend_from_slice(data);
            self.up.extend_from_slice(CHUNK_END);
        } else {
            self.up.extend_from_slice(data);
        }
        if end {
            self.end(&Inbox::default());
        }
    }

    /// The content ends, with the trailers that are in `inbox`.
    pub(super) fn end(&mut self, inbox: &Inbox) {
        if self.chunked {
            h2::last_chunk(inbox, true, &mut self.up);
        }
        self.ended = true;
        wake(&mut self.reader);
    }

    /// Reads content; gives how many bytes, and how many the client may send anew.
    pub(super) fn take(&mut self, into: &mut [u8]) -> (usize, usize) {
        let rest = &self.up[self.read..];
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        let released = count.min(self.unreleased);
        self.unreleased -= released;
        if self.read == self.up.len() {
            self.up.clear();
            self.up.shrink_to(UP_KEPT_BYTES);
            self.read = 0;
        } else if self.read >= UP_READ_MIN.max(self.unread()) {
            self.up.drain(..self.read);
            self.up.shrink_to(2 * self.up.len());
            self.read = 0;
        }
        (count, released)
    }

    /// Says whether a task waits for something of it.
    fn is_awaited(&self) -> bool {
        self.reader.is_some() || self.writer.is_some() || self.watcher.is_some()
    }

    /// It has ended before its time.
    pub(super) fn lose(&mut self) {
        self.gone = true;
        for waker in [&mut self.reader, &mut self.writer, &mut self.watcher] {
            wake(waker);
        }
    }
}

pub(super) fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

impl State {
    pub(super) fn new(connection: Connection, out: Vec<u8>) -> Self {
        State {
            connection,
            inbox: Inbox::default(),
            out,
            sent: 0,
            out_max: OUT_BYTES_MAX,
            lanes: Vec::new(),
            holds: false,
            has_waiting: false,
            owes: false,
            is_short: false,
            wrote_at: Now(0),
            was_shut: false,
            slow_at: None,
            is_patient: false,
        }
    }

    /// Bytes that wait for the socket.
    pub(super) fn waiting(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Bytes of content that no stream has read.
    pub(super) fn unread(&self) -> usize {
        self.lanes.iter().map(Lane::unread).sum()
    }

    /// Bytes of memory that content takes.
    pub(super) fn content_bytes(&self) -> usize {
        self.lanes.iter().map(|lane| lane.up.capacity()).sum()
    }

    /// Lets less wait for the client where memory is scarce.
    pub(super) fn bound_out(&mut self, are_scarce: bool) {
        self.out_max = if are_scarce { SLOW_READ_BYTES } else { OUT_BYTES_MAX };
    }

    /// Says whether as much waits for the client as may.
    pub(super) fn is_full(&self) -> bool {
        self.waiting() >= self.out_max
    }

    /// How much content a stream may write now.
    pub(super) fn room(&self, id: u32, now: impl FnOnce() -> Now) -> usize {
        let room = self.connection.room(id).min(self.out_max.saturating_sub(self.waiting()));
        if room > 0 && (self.holds || self.has_waiting) { self.share(id, room, now()) } else { room }
    }

    pub(super) fn open(&mut self, lane: Lane) {
        self.lanes.push(lane);
    }

    pub(super) fn lane(&mut self, id: u32) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.id == id)
    }

    /// How many streams have a request under way; the client may have reset some of them.
    pub(super) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Forgets a stream whose request has ended; what of its content nobody read may be sent anew on others.
    pub(super) fn close(&mut self, id: u32) {
        if let Some(at) = self.lanes.iter().position(|lane| lane.id == id) {
            let lane = self.lanes.swap_remove(at);
            self.connection.release(id, lane.unreleased, &mut self.out);
        }
    }

    /// Ends a stream before its time.
    pub(super) fn reset(&mut self, id: u32, code: Code) {
        self.connection.reset(id, code, &mut self.out);
    }

    /// The client sends no more: the streams whose content is not whole have lost it. Gives how many others there are.
    pub(super) fn lose_unended(&mut self) -> usize {
        self.lanes.iter_mut().filter(|lane| !lane.ended).for_each(Lane::lose);
        self.lanes.iter().filter(|lane| !lane.gone).count()
    }

    /// The connection is over; its streams hear of it by [`State::tell_lost`].
    pub(super) fn lose_all(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.gone = true);
    }

    /// Tells streams that have ended before their time and do not know, `most` of them; says whether there may be more.
    pub(super) fn tell_lost(&mut self, most: usize) -> bool {
        let unknowing = self.lanes.iter_mut().filter(|lane| lane.gone && lane.is_awaited());
        unknowing.take(most).map(Lane::lose).count() == most
    }

    /// Wakes the streams that have content for which there is room now, the most urgent one first. Gives when those that
    /// wait for a more urgent one are to be looked at again.
    pub(super) fn wake_writers(&mut self, now: impl Fn() -> Now) -> Now {
        if self.is_full() {
            return NEVER;
        }
        if self.holds {
            self.renew_holds(now());
        }
        self.renew_waits();
        let is_ordered = self.holds || self.has_waiting;
        let starved = if is_ordered { self.starved(now()) } else { None };
        let next = || self.connection.next().map(|(first, _)| first);
        if let Some(first) = starved.filter(|first| self.connection.room(*first) > 0).or_else(next)
            && !(is_ordered && self.is_held(first, now()))
            && let Some(at) = self.lanes.iter().position(|lane| lane.id == first)
        {
            self.wake_writer(at, &now);
        }
        let mut again = NEVER;
        for at in 0..self.lanes.len() {
            let lane = &self.lanes[at];
            let (id, heads) = (lane.id, lane.heads);
            if lane.writer.is_none() || !(heads || self.connection.room(id) > 0) {
                continue;
            }
            if !heads && is_ordered && self.is_held(id, now()) {
                again = again.min(self.held_until(now()));
                continue;
            }
            self.wake_writer(at, &now);
        }
        again
    }

    fn wake_writer(&mut self, at: usize, now: impl Fn() -> Now) {
        let lane = &mut self.lanes[at];
        self.connection.want(lane.id, false);
        if self.has_waiting && lane.writer.is_some() {
            lane.hold.wake(now());
        }
        wake(&mut lane.writer);
    }
}
