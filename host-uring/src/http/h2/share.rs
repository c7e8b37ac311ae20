//! What the streams of one connection may do in one turn of their worker, so that others wait for a part of it only.
//!
//! A client may ask for a hundred requests in one packet, and take all of them back in the next. What costs a turn most is
//! to begin and to end them, and above all to open and to close connections to servers: some tens of microseconds each. What is
//! beyond a connection's share is done by one connection of all in each turn, behind everybody who has something else to do.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use crate::rt::lane::{STREAMS, turn};
use crate::rt::{Rt, behind};

/// Streams that a connection begins or ends by what it has just said: what clients ask for at once who do not flood.
const STREAMS_AT_ONCE: u32 = 16;

/// The same of a connection that has not asked for so much yet: a flood is new.
const STREAMS_AT_FIRST: u32 = 4;

/// Streams that one connection of all begins or ends in one turn beyond that: as long as a connection that is opened.
const STREAMS_PER_TURN: u32 = 8;

/// Frames that it is heard of before it is the others' turn: some tens of microseconds of the cheapest ones.
const FRAMES_PER_TURN: u32 = 256;

/// Connections to servers that its streams open at once; beyond that one connection of all opens one in each turn: it takes as
/// long as several requests.
const OPENS_AT_ONCE: u32 = 1;

/// Streams of one connection of all that hear in one turn that their connection is over: each may have a server's connection to
/// close.
pub(super) const TOLD_PER_TURN: usize = 2;

/// What a connection has used of its turn.
#[derive(Debug)]
pub(super) struct Used {
    streams: u32,
    frames: u32,
}

impl Used {
    /// Nothing yet; `is_first`: of what was just read, on a connection that has had so many requests.
    pub(super) fn new(is_first: bool, requests: u32) -> Self {
        let streams = match is_first {
            true if requests < STREAMS_AT_ONCE => STREAMS_AT_FIRST,
            true => STREAMS_AT_ONCE,
            false => STREAMS_PER_TURN,
        };
        Used { streams, frames: FRAMES_PER_TURN }
    }

    /// Counts a frame, which may have begun or ended a stream; says whether it is the others' turn.
    //= H2-HOST-15
    pub(super) fn is_over(&mut self, of_stream: bool) -> bool {
        self.frames = self.frames.saturating_sub(1);
        self.streams = self.streams.saturating_sub(u32::from(of_stream));
        self.frames == 0 || self.streams == 0
    }
}

/// Which streams may open a connection to a server.
pub(super) struct Share {
    left: Cell<u32>,
    /// As many as streams have a request under way at most.
    waiting: RefCell<VecDeque<Waker>>,
    /// A task goes on with them.
    is_led: Cell<bool>,
}

impl Default for Share {
    fn default() -> Self {
        Share { left: Cell::new(OPENS_AT_ONCE), waiting: RefCell::default(), is_led: Cell::default() }
    }
}

impl Share {
    /// Says whether a connection may be opened now; otherwise the task is woken when it may ask again.
    //= H2-HOST-15
    pub(super) fn take<R: Rt>(self: &Rc<Self>, rt: &R, waker: &Waker) -> bool {
        if let Some(left) = self.left.get().checked_sub(1) {
            self.left.set(left);
            return true;
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|other| other.will_wake(waker)) {
            waiting.push_back(waker.clone());
        }
        if !self.is_led.replace(true) {
            rt.spawn(lead(self.clone()));
        }
        false
    }

    /// Nobody waits any more: the connection is over.
    pub(super) fn forget(&self) {
        self.waiting.borrow_mut().clear();
    }

    /// One more may be opened: says whether somebody waits for that.
    fn renew(&self) -> bool {
        self.left.set(self.left.get().max(1));
        let next = self.waiting.borrow_mut().pop_front();
        next.map(Waker::wake).is_some()
    }
}

/// Lets those who wait open theirs, one by one.
async fn lead(share: Rc<Share>) {
    loop {
        let _turn = turn(&STREAMS).await;
        if !behind(|| share.renew()) {
            break;
        }
    }
    share.is_led.set(false);
}
