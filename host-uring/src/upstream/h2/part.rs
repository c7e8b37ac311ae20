//! One stream of a connection to a server, as the exchange of its request sees it.

use std::cell::Cell;
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use forebay_http::h1::body::Decoder;
use forebay_http::h1::{Framing, head_len};
use forebay_http::h2::{Code, OpenError, Rule, SendError};

use super::lane::State;
use super::trunk::Trunk;
use super::{END_US, OUT_BYTES_MAX};
use crate::rt::{NEVER, Now, Rt};

/// Why a stream ended before its answer was whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The server has said that it did not look at the request.
    Unseen,
    /// The server has ended the stream.
    Reset(Code),
    /// The server has broken a rule.
    Broken(Rule),
    /// The connection is gone.
    Connection,
}

impl Lost {
    /// In words, for the log.
    pub fn text(self) -> &'static str {
        match self {
            Lost::Unseen => "the server did not look at the request",
            Lost::Reset(_) => "the server reset the stream without an answer",
            Lost::Broken(rule) => rule.text(),
            Lost::Connection => "the server closed the connection without an answer",
        }
    }
}

/// A stream of a connection that speaks HTTP/2, or the right to one.
///
/// What is written to it is a request's head as `h1::write` writes it and bare content behind that; what is read is an answer
/// of HTTP/1.1.
pub struct Part<R: Rt> {
    trunk: Rc<Trunk<R>>,
    at: usize,
    /// The content of the request that is to be written.
    framing: Cell<Framing>,
    /// Content that is still to go, if its length is known.
    left: Cell<Option<u64>>,
    /// The request is whole.
    ended: Cell<bool>,
    /// A part of another connection to the server was lost before.
    again: Cell<bool>,
}

fn closed(_: SendError) -> io::Error {
    ErrorKind::ConnectionReset.into()
}

impl<R: Rt> Part<R> {
    /// Lane `at` of a connection, which was lent for it.
    pub(super) fn new(trunk: Rc<Trunk<R>>, at: usize) -> Self {
        Part {
            trunk,
            at,
            framing: Cell::default(),
            left: Cell::default(),
            ended: Cell::default(),
            again: Cell::default(),
        }
    }

    /// The connection.
    pub(super) fn trunk(&self) -> &Trunk<R> {
        &self.trunk
    }

    /// Says what content the request has, before it is written.
    pub fn expects(&self, framing: Framing) {
        self.framing.set(framing);
    }

    /// Its connection is not kept once no request has it.
    pub(in crate::upstream) fn is_the_last(&self) {
        self.trunk.kept.set(false);
    }

    /// Another one was lost before, for the same request at the same server.
    pub fn set_again(&self) {
        self.again.set(true);
    }

    /// Says whether another one was lost before.
    pub fn is_again(&self) -> bool {
        self.again.get()
    }

    /// Why there is no answer.
    pub fn lost(&self) -> Option<Lost> {
        self.trunk.state.borrow().peek(self.at).lost()
    }

    /// Reads what came of the answer.
    pub(super) fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        let mut state = self.trunk.state.borrow_mut();
        let lane = state.lane(self.at);
        let before = lane.down_bytes();
        let (count, released) = lane.take(into);
        self.trunk.held.borrow_mut().lower(before - lane.down_bytes());
        if count == 0 && !into.is_empty() {
            return match (lane.is_ended(), lane.lost()) {
                (true, _) => Ok(0),
                (false, Some(_)) => Err(ErrorKind::ConnectionReset.into()),
                (false, None) => Err(ErrorKind::WouldBlock.into()),
            };
        }
        let before = state.out.len();
        state.release(self.at, released);
        let more = state.out.len() > before;
        drop(state);
        if more {
            self.trunk.call();
        }
        Ok(count)
    }

    /// Writes the request, as much as the windows and the connection's buffer take.
    pub(super) fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.trunk.state.borrow_mut();
        if state.peek(self.at).lost().is_some() {
            return Err(ErrorKind::ConnectionReset.into());
        }
        let (mut written, mut all) = (0, true);
        for piece in pieces {
            let mut bytes: &[u8] = piece;
            if state.id(self.at) == 0 && !bytes.is_empty() {
                let len = self.open(&mut state, bytes)?;
                written += len;
                bytes = &bytes[len..];
            }
            let count = self.content(&mut state, bytes)?;
            written += count;
            if count < bytes.len() {
                all = false;
                break;
            }
        }
        drop(state);
        self.trunk.call();
        if written == 0 && !all { Err(ErrorKind::WouldBlock.into()) } else { Ok(written) }
    }

    /// Opens the stream with the head that `bytes` begin with.
    fn open(&self, state: &mut State, bytes: &[u8]) -> io::Result<usize> {
        let len = head_len(bytes).ok_or(ErrorKind::InvalidData)?;
        let left = match self.framing.get() {
            Framing::None => Some(0),
            Framing::Length(length) => Some(length),
            Framing::Chunked | Framing::UntilClose => None,
        };
        let ends = left == Some(0);
        let State { connection, out, .. } = &mut *state;
        let opened = connection.open(&bytes[..len], self.trunk.scheme(), &[], ends, out);
        let id = opened.map_err(|error| match error {
            // The place was lent a moment ago; the server has taken it back since.
            OpenError::Busy | OpenError::Going => {
                state.lane(self.at).lose(Lost::Unseen);
                ErrorKind::ConnectionReset
            }
            OpenError::NoConnect | OpenError::Head => ErrorKind::InvalidData,
        })?;
        state.opened(self.at, id);
        self.left.set(left);
        self.ended.set(ends);
        Ok(len)
    }

    fn content(&self, state: &mut State, bytes: &[u8]) -> io::Result<usize> {
        let id = state.id(self.at);
        let is_whole = bytes.len() <= state.room(self.at);
        // Whoever waits then does so until it may.
        if !is_whole && state.connection.is_open(id) && state.may_send(self.at, self.trunk.now()).is_err() {
            return Ok(0);
        }
        let mut written = 0;
        while written < bytes.len() {
            if self.ended.get() {
                return Err(ErrorKind::InvalidData.into());
            }
            let room = state.connection.room(id).min(OUT_BYTES_MAX.saturating_sub(state.waiting()));
            let count = room.min(bytes.len() - written);
            if count == 0 {
                if !state.connection.is_open(id) {
                    return Err(ErrorKind::ConnectionReset.into());
                }
                break;
            }
            if !is_whole && written > 0 && !state.is_worthwhile(count.max(room)) {
                break;
            }
            let left = self.left.get().map(|left| left.saturating_sub(count as u64));
            let end = left == Some(0);
            let head = state.connection.data(id, count, end).map_err(closed)?;
            state.out.extend_from_slice(&head);
            state.out.extend_from_slice(&bytes[written..written + count]);
            self.left.set(left);
            self.ended.set(end);
            written += count;
        }
        if written > 0 {
            state.wrote(self.at);
        }
        Ok(written)
    }

    /// Ends a request whose content `decoder` has read to its end, with its trailers.
    //= H2BACK-CONV-01
    //= GRPC-CARRY-01
    pub fn finish(&self, decoder: &Decoder) {
        let mut state = self.trunk.state.borrow_mut();
        let id = state.id(self.at);
        if id == 0 || self.ended.replace(true) {
            return;
        }
        let State { connection, out, .. } = &mut *state;
        if decoder.trailers().next().is_some() {
            // One that was reset says so to whoever reads.
            let _ = connection.trailers(id, decoder.trailers(), out);
        } else if let Ok(head) = connection.data(id, 0, true) {
            out.extend_from_slice(&head);
        }
        drop(state);
        self.trunk.call();
    }

    /// How much content it takes now.
    pub(super) fn room(&self) -> usize {
        self.trunk.state.borrow().room(self.at)
    }

    /// Waits until there is something to read, or to write.
    pub(super) fn wait(&self, side: Side, deadline: Now) -> Wait<'_, R> {
        Wait { part: self, side, deadline }
    }
}

impl<R: Rt> Drop for Part<R> {
    fn drop(&mut self) {
        let now = self.trunk.now();
        let until = Now(now.0.saturating_add(END_US));
        let mut state = self.trunk.state.borrow_mut();
        state.give_back(self.at, until);
        drop(state);
        self.trunk.was_left(until);
    }
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Something to read, or the end.
    Read,
    /// Room to write.
    Write,
}

/// A wait for one side of a stream. It has no timer of its own: the connection's task keeps time for all of them.
pub struct Wait<'p, R: Rt> {
    part: &'p Part<R>,
    side: Side,
    deadline: Now,
}

impl<R: Rt> Future for Wait<'_, R> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Wait { part, side, deadline } = *self;
        let mut state = part.trunk.state.borrow_mut();
        let now = part.trunk.now();
        let lane = state.peek(part.at);
        let id = state.id(part.at);
        let ready_at = match side {
            Side::Read if lane.is_readable() => Ok(()),
            Side::Read => Err(NEVER),
            Side::Write if lane.lost().is_some() || id == 0 || !state.connection.is_open(id) => Ok(()),
            Side::Write if lane.is_silly() => state.may_send(part.at, now),
            Side::Write if state.room(part.at) > 0 => Ok(()),
            Side::Write => Err(NEVER),
        };
        let Err(ready_at) = ready_at else { return Poll::Ready(Ok(())) };
        if now >= deadline {
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        let until = deadline.min(ready_at);
        let lane = state.lane(part.at);
        let wait = match side {
            Side::Read => &mut lane.reader,
            Side::Write => &mut lane.writer,
        };
        wait.set(context.waker().clone(), until);
        drop(state);
        part.trunk.wake_by(until);
        Poll::Pending
    }
}
