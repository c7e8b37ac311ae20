//! What the streams of one connection may do in one turn of their worker, so that others wait for a part of it only.
//!
//! A client may ask for a hundred requests in one packet, and take all of them back in the next. What costs a turn most is
//! to begin and to end them, and above all to open and to close connections to servers: some tens of microseconds each.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::Waker;

/// Streams that a connection begins or ends before it is the others' turn: what clients ask for at once who do not flood.
const STREAMS_PER_TURN: u32 = 16;

/// Frames that it is heard of before it is the others' turn: some tens of microseconds of the cheapest ones.
const FRAMES_PER_TURN: u32 = 256;

/// Connections to servers that its streams open before it is the others' turn: each takes as long as several requests.
const OPENS_PER_TURN: u32 = 2;

/// Streams that hear that the connection is over before it is the others' turn: each may have a server's connection to close.
pub(super) const TOLD_PER_TURN: usize = 4;

/// What a connection has used of its turn.
#[derive(Debug, Default)]
pub(super) struct Used {
    streams: u32,
    frames: u32,
}

impl Used {
    /// Counts a frame, which may have begun or ended a stream; says whether it is the others' turn.
    //= H2-HOST-15
    pub(super) fn is_over(&mut self, of_stream: bool) -> bool {
        self.frames += 1;
        self.streams += u32::from(of_stream);
        self.frames >= FRAMES_PER_TURN || self.streams >= STREAMS_PER_TURN
    }
}

/// Which streams may open a connection to a server.
pub(super) struct Share {
    left: Cell<u32>,
    /// As many as streams have a request under way at most.
    waiting: RefCell<VecDeque<Waker>>,
}

impl Default for Share {
    fn default() -> Self {
        Share { left: Cell::new(OPENS_PER_TURN), waiting: RefCell::default() }
    }
}

impl Share {
    /// Says whether a connection may be opened now; otherwise the task is woken when it may ask again.
    //= H2-HOST-15
    pub(super) fn take(&self, waker: &Waker) -> bool {
        if let Some(left) = self.left.get().checked_sub(1) {
            self.left.set(left);
            return true;
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|other| other.will_wake(waker)) {
            waiting.push_back(waker.clone());
        }
        false
    }

    /// Says whether somebody waits.
    pub(super) fn is_wanted(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// The others had their turn.
    pub(super) fn renew(&self) {
        self.left.set(OPENS_PER_TURN);
        for _ in 0..OPENS_PER_TURN {
            let next = self.waiting.borrow_mut().pop_front();
            next.into_iter().for_each(Waker::wake);
        }
    }
}
