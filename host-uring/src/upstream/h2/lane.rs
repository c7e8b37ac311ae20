//! The streams of one connection, and what all of them write into.

use std::cell::Cell;
use std::rc::Rc;
use std::task::Waker;

use forebay_http::h1::Framing;
use forebay_http::h1::body::{CHUNK_END, CHUNK_HEAD_MAX, chunk_head};
use forebay_http::h2::{self, Code, Connection, Inbox};

use super::part::Lost;
use super::{OUT_BYTES_MAX, SILLY_US, STREAM_WINDOW, STREAM_WINDOW_MORE, WIDE_MAX, WORTHWHILE_BYTES};
use crate::rt::{NEVER, Now};

/// Memory that an unused stream keeps for what comes on the next one: most answers.
const KEPT_BYTES: usize = 16 * 1024;

/// Content that was read and still takes memory, at most: what follows it moves once for so much.
const READ_MAX: usize = 32 * 1024;

/// Content that comes gets memory in steps of so much: twice as much as is needed, of a thousand streams, is what the machine
/// may not have.
const STEP_BYTES: usize = 8 * 1024;

/// Heads that were not read, in bytes: more than the bound of one, which comes with the final head, and less than a flood.
const HEADS_MAX: usize = 64 * 1024;

/// The streams of a worker whose window is the wide one.
#[derive(Clone, Debug, Default)]
pub(super) struct WideAccount(Rc<Cell<usize>>);

impl WideAccount {
    /// Takes a place, if there is one.
    fn enter(&self) -> Option<Wide> {
        let count = self.0.get();
        (count < WIDE_MAX).then(|| {
            self.0.set(count + 1);
            Wide(self.0.clone())
        })
    }
}

/// A place among them, until it is dropped.
struct Wide(Rc<Cell<usize>>);

impl Drop for Wide {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// What a connection's streams share.
pub(super) struct State {
    /// The engine.
    pub(super) connection: Connection,
    /// Where it puts heads.
    pub(super) inbox: Inbox,
    /// Frames for the server.
    pub(super) out: Vec<u8>,
    /// How many bytes of them are sent.
    pub(super) sent: usize,
    lanes: Vec<Lane>,
    /// The number of each lane's stream, 0 where it has none: a search of 100 is a few cache lines.
    ids: Vec<u32>,
    /// Lanes that nobody has.
    free: Vec<usize>,
    /// Lanes that are lent and have no stream yet.
    unopened: usize,
    wide: WideAccount,
}

/// One request, from the moment that it is lent a part of the connection.
#[derive(Default)]
pub(super) struct Lane {
    /// What came and was not read, as HTTP/1.1 says it; at most a window and the heads.
    down: Vec<u8>,
    /// How many bytes of it were read.
    read: usize,
    /// Content that the server may not send anew yet.
    unreleased: usize,
    /// Content that the client has taken.
    taken: u64,
    /// Its window is the wide one.
    wide: Option<Wide>,
    /// The content is given as chunks.
    chunked: bool,
    /// Content that is still to come, if its length is known.
    left: Option<u64>,
    /// The whole answer is in `down`, or was.
    ended: bool,
    /// Why there will be no more of it.
    lost: Option<Lost>,
    /// Its request is over; the stream's end is all that is awaited, until then.
    abandoned: Option<Now>,
    /// Since when content has waited for which there was room, but less than is worth a frame.
    silly: Option<Now>,
    pub(super) reader: Wait,
    pub(super) writer: Wait,
}

/// Somebody who waits, and how long.
#[derive(Default)]
pub(super) struct Wait(Option<(Waker, Now)>);

impl Wait {
    pub(super) fn set(&mut self, waker: Waker, until: Now) {
        self.0 = Some((waker, until));
    }

    pub(super) fn wake(&mut self) {
        if let Some((waker, _)) = self.0.take() {
            waker.wake();
        }
    }

    fn until(&self) -> Now {
        self.0.as_ref().map_or(NEVER, |(_, until)| *until)
    }

    fn wake_if_late(&mut self, now: Now) {
        if self.until() <= now {
            self.wake();
        }
    }
}

impl Lane {
    /// Says whether a read would not wait.
    pub(super) fn is_readable(&self) -> bool {
        self.ended || self.lost.is_some() || self.read < self.down.len()
    }

    /// Says whether content waits until more of it fits.
    pub(super) fn is_silly(&self) -> bool {
        self.silly.is_some()
    }

    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn lost(&self) -> Option<Lost> {
        self.lost
    }

    /// Takes a head in; `false`: more of them than anybody needs.
    pub(super) fn head(&mut self, inbox: &Inbox, end: bool) -> bool {
        if self.down.len() - self.read > HEADS_MAX {
            return false;
        }
        h2::response_text(inbox, &mut self.down);
        if !inbox.response.is_interim() {
            self.chunked = inbox.response.framing == Framing::Chunked;
            self.left = match inbox.response.framing {
                Framing::Length(length) => Some(length),
                Framing::None => Some(0),
                Framing::Chunked | Framing::UntilClose => None,
            };
            self.ended = end;
        }
        self.reader.wake();
        true
    }

    /// Takes content in.
    pub(super) fn content(&mut self, data: &[u8], end: bool) {
        self.unreleased += data.len();
        let needed = data.len() + CHUNK_HEAD_MAX + CHUNK_END.len();
        if self.down.capacity() - self.down.len() < needed {
            self.down.reserve_exact(needed.next_multiple_of(STEP_BYTES));
        }
        if !data.is_empty() {
            if self.chunked {
                let mut line = [0; CHUNK_HEAD_MAX];
                self.down.extend_from_slice(chunk_head(data.len() as u64, &mut line));
                self.down.extend_from_slice(data);
                self.down.extend_from_slice(CHUNK_END);
            } else {
                self.down.extend_from_slice(data);
            }
        }
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(data.len() as u64);
        }
        if end {
            self.end(&Inbox::default());
        }
        self.reader.wake();
    }

    /// The content ends, with the trailers that are in `inbox`.
    pub(super) fn end(&mut self, inbox: &Inbox) {
        if self.chunked {
            h2::last_chunk(inbox, true, &mut self.down);
        }
        self.ended = true;
        self.reader.wake();
    }

    /// It has ended before its time. What came of the answer stays to be read, unless nobody has looked at the request.
    pub(super) fn lose(&mut self, lost: Lost) {
        if !self.ended {
            self.lost.get_or_insert(lost);
        }
        self.reader.wake();
        self.writer.wake();
    }

    /// Bytes that came and are kept.
    pub(super) fn down_bytes(&self) -> usize {
        self.down.len()
    }

    /// Reads; gives how many bytes, and how many the server may send anew.
    pub(super) fn take(&mut self, into: &mut [u8]) -> (usize, usize) {
        let rest = &self.down[self.read..];
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        let released = count.min(self.unreleased);
        self.unreleased -= released;
        self.taken += released as u64;
        if self.read == self.down.len() {
            self.down.clear();
            self.read = 0;
        } else if self.read >= READ_MAX {
            self.down.drain(..self.read);
            self.read = 0;
        }
        (count, released)
    }

    fn clear(&mut self) {
        let mut down = std::mem::take(&mut self.down);
        down.clear();
        down.shrink_to(KEPT_BYTES);
        *self = Lane { down, ..Lane::default() };
    }
}

impl State {
    pub(super) fn new(connection: Connection, out: Vec<u8>, wide: WideAccount) -> Self {
        State {
            connection,
            inbox: Inbox::default(),
            out,
            sent: 0,
            lanes: Vec::new(),
            ids: Vec::new(),
            free: Vec::new(),
            unopened: 0,
            wide,
        }
    }

    /// The client has taken so much content of a lane: the server may send as much anew, and more where there is a place for
    /// a wide window.
    //= H2BACK-FLOW-03
    pub(super) fn release(&mut self, at: usize, bytes: usize) {
        let (id, lane) = (self.ids[at], &mut self.lanes[at]);
        if lane.wide.is_none() && !lane.ended && lane.taken >= u64::from(STREAM_WINDOW / 2) {
            lane.wide = self.wide.enter();
            if lane.wide.is_some() {
                self.connection.widen(id, STREAM_WINDOW_MORE);
            }
        }
        self.connection.release(id, bytes, &mut self.out);
    }

    /// Bytes that wait for the socket.
    pub(super) fn waiting(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Bytes that came and that no client has taken, and those that wait for the socket.
    pub(super) fn held(&self) -> usize {
        self.waiting() + self.lanes.iter().map(Lane::down_bytes).sum::<usize>()
    }

    /// Lanes that are lent, or of which the end is awaited.
    pub(super) fn lent(&self) -> usize {
        self.lanes.len() - self.free.len()
    }

    /// How many more requests it takes.
    //= H2BACK-POOL-02
    pub(super) fn room_for_lanes(&self) -> usize {
        let by_server = self.connection.room_for_streams().saturating_sub(self.unopened);
        by_server.min(super::STREAMS_MAX.saturating_sub(self.lent()))
    }

    /// Lends a lane, without a stream yet.
    pub(super) fn lend(&mut self) -> usize {
        self.unopened += 1;
        self.free.pop().unwrap_or_else(|| {
            self.lanes.push(Lane::default());
            self.ids.push(0);
            self.lanes.len() - 1
        })
    }

    /// The lane has a stream from now on.
    pub(super) fn opened(&mut self, at: usize, id: u32) {
        self.ids[at] = id;
        self.unopened -= 1;
    }

    pub(super) fn id(&self, at: usize) -> u32 {
        self.ids[at]
    }

    pub(super) fn lane(&mut self, at: usize) -> &mut Lane {
        &mut self.lanes[at]
    }

    pub(super) fn peek(&self, at: usize) -> &Lane {
        &self.lanes[at]
    }

    fn place(&self, id: u32) -> Option<usize> {
        self.ids.iter().position(|&other| other == id)
    }

    /// The lane of a stream.
    pub(super) fn of_stream(&mut self, id: u32) -> Option<&mut Lane> {
        self.place(id).map(|at| &mut self.lanes[at])
    }

    /// How much content a lane's stream may send now.
    pub(super) fn room(&self, at: usize) -> usize {
        self.connection.window(self.ids[at]).min(OUT_BYTES_MAX.saturating_sub(self.waiting()))
    }

    /// Says whether as much content is worth a frame while more of it waits.
    pub(super) fn is_worthwhile(&self, bytes: usize) -> bool {
        bytes >= WORTHWHILE_BYTES.min(self.connection.first_window() / 2).max(1)
    }

    /// Gives when a lane with content that does not fit may send what does: now, or at that moment if its window opens no
    /// further.
    //= H2BACK-FLOW-02
    pub(super) fn may_send(&mut self, at: usize, now: Now) -> Result<(), Now> {
        let room = self.connection.window(self.ids[at]).min(OUT_BYTES_MAX.saturating_sub(self.waiting()));
        let is_worthwhile = self.is_worthwhile(room);
        let silly = &mut self.lanes[at].silly;
        if is_worthwhile || room == 0 {
            *silly = None;
            return if room > 0 { Ok(()) } else { Err(NEVER) };
        }
        let until = Now(silly.get_or_insert(now).0.saturating_add(SILLY_US));
        if now >= until { Ok(()) } else { Err(until) }
    }

    /// Content of a lane has gone.
    pub(super) fn wrote(&mut self, at: usize) {
        self.lanes[at].silly = None;
    }

    /// A lane's request is over. A stream all of whose answer is here may end by itself until `until`; another one is
    /// reset.
    //= H2BACK-RESET-01
    pub(super) fn give_back(&mut self, at: usize, until: Now) {
        let id = self.ids[at];
        if id == 0 {
            self.unopened -= 1;
            self.set_free(at);
            return;
        }
        let lane = &mut self.lanes[at];
        let unread = std::mem::take(&mut lane.unreleased);
        let sent = !self.connection.is_open(id);
        let ends = lane.lost.is_none() && !lane.ended && lane.left == Some(0) && sent;
        (lane.reader, lane.writer) = Default::default();
        self.connection.release(id, unread, &mut self.out);
        if ends {
            self.lanes[at].abandoned = Some(until);
        } else {
            // Does nothing if both sides have ended it.
            self.connection.reset(id, Code::Cancel, &mut self.out);
            self.set_free(at);
        }
    }

    fn set_free(&mut self, at: usize) {
        self.lanes[at].clear();
        self.ids[at] = 0;
        self.free.push(at);
    }

    /// The stream's end is here, whichever: if that was all that was awaited, its lane is free.
    pub(super) fn free_if_abandoned(&mut self, id: u32) {
        if let Some(at) = self.place(id)
            && self.lanes[at].abandoned.is_some()
        {
            self.set_free(at);
        }
    }

    /// The connection is over: every request hears of it.
    pub(super) fn lose_all(&mut self, lost: Lost) {
        self.lanes.iter_mut().for_each(|lane| lane.lose(lost));
        for at in 0..self.lanes.len() {
            if self.lanes[at].abandoned.is_some() {
                self.set_free(at);
            }
        }
    }

    /// Wakes everybody whose time is over, and gives the next moment when that will be so.
    pub(super) fn wake_late(&mut self, now: Now) -> Now {
        let mut next = NEVER;
        for at in 0..self.lanes.len() {
            let lane = &mut self.lanes[at];
            lane.reader.wake_if_late(now);
            lane.writer.wake_if_late(now);
            match lane.abandoned {
                Some(until) if until <= now => {
                    self.connection.reset(self.ids[at], Code::Cancel, &mut self.out);
                    self.set_free(at);
                }
                Some(until) => next = next.min(until),
                None => next = next.min(lane.reader.until()).min(lane.writer.until()),
            }
        }
        next
    }

    /// Wakes those that have content for which there is room now.
    pub(super) fn wake_writers(&mut self) {
        if self.waiting() >= OUT_BYTES_MAX {
            return;
        }
        for at in 0..self.lanes.len() {
            let (lane, id) = (&self.lanes[at], self.ids[at]);
            if lane.writer.0.is_none() {
                continue;
            }
            let room = self.connection.room(id);
            if id == 0 || self.is_worthwhile(room) || (room > 0 && !lane.is_silly()) {
                self.lanes[at].writer.wake();
            }
        }
    }
}
