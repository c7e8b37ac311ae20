//! Bytes that nobody looks at, from one socket to another without being copied.
//!
//! A worker has one pipe for it. It is filled and emptied before anything is waited for: what the receiver does not take
//! after all is copied out of it and waits as what was read by copying would, in memory that is counted. So pipes need no
//! account of their own, no receiver keeps one from another, and no connection finds bytes of another one in it.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::sync::Arc;

use super::limits::{PIPE_BYTES, PIPE_BYTES_MIN};
use crate::limits::is_shortage;
use crate::metrics::WorkerMetrics;
use crate::rt::{Pipe, Stream};

/// A worker's pipe.
pub struct Mover {
    pipe: RefCell<Option<Pipe>>,
    /// The system allows no pipe that would be worth it.
    refused: Cell<bool>,
    metrics: Arc<WorkerMetrics>,
}

impl Mover {
    /// With its pipe, if one can be had now.
    pub fn new(metrics: Arc<WorkerMetrics>) -> Self {
        let mover = Mover { pipe: RefCell::default(), refused: Cell::new(false), metrics };
        mover.put(mover.take());
        mover
    }

    /// Moves what is there of `from` into the pipe, on its way to `to`; at most `most` bytes and as many as the pipe has
    /// room for. `None` is the end of the sender's data.
    ///
    /// Nothing may be waited for while the outcome lives.
    ///
    /// # Errors
    /// `Unsupported` if bytes have to be copied between these two, or no pipe is to be had at the moment; else as
    /// [`Stream::try_read`].
    //= SE-MOVE-01
    pub fn fill(&self, from: &impl Stream, to: &impl Stream, most: usize) -> io::Result<Option<Moving<'_>>> {
        if !from.can_move() || !to.can_move() {
            return Err(ErrorKind::Unsupported.into());
        }
        let Some(pipe) = self.take() else { return Err(ErrorKind::Unsupported.into()) };
        let moving = Moving { mover: self, pipe: Some(pipe) };
        match from.move_into(moving.pipe(), most) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(moving)),
            // Of the pipe, not of the connection.
            Err(error) if is_shortage(&error) || error.kind() == ErrorKind::InvalidInput => {
                Err(ErrorKind::Unsupported.into())
            }
            Err(error) => Err(error),
        }
    }

    /// Moves what is there of `from` on to `to`, at most `most` bytes, and copies what `to` does not take now. None that came
    /// are the end of the sender's data.
    ///
    /// # Errors
    /// As [`Mover::fill`].
    pub fn pass(&self, from: &impl Stream, to: &impl Stream, most: usize) -> io::Result<Moved> {
        let Some(moving) = self.fill(from, to, most)? else { return Ok(Moved::default()) };
        let mut moved = Moved { came: moving.len(), ..Moved::default() };
        let passed = moving.send(to).and_then(|went| {
            moved.went = went;
            moving.copy_rest(&mut moved.rest)
        });
        moved.failed = passed.err();
        Ok(moved)
    }

    fn take(&self) -> Option<Pipe> {
        match self.pipe.take() {
            Some(pipe) => Some(pipe),
            None if self.refused.get() => None,
            None => self.make(),
        }
    }

    fn put(&self, pipe: Option<Pipe>) {
        *self.pipe.borrow_mut() = pipe;
    }

    //= SE-MOVE-02
    fn make(&self) -> Option<Pipe> {
        let mut bytes = PIPE_BYTES;
        loop {
            let refusal = match Pipe::new(bytes) {
                Ok(pipe) => return Some(pipe),
                Err(refusal) => refusal,
            };
            if is_shortage(&refusal) {
                self.metrics.pipe_shortages.inc();
                return None;
            }
            bytes /= 2;
            if bytes < PIPE_BYTES_MIN {
                self.metrics.pipe_shortages.inc();
                self.refused.set(true);
                tracing::warn!(
                    event = "SE_PIPE_REFUSED",
                    %refusal,
                    "the system allows no pipe of {PIPE_BYTES_MIN} bytes (sysctl fs.pipe-max-size, \
                     fs.pipe-user-pages-soft): bulk is copied, which costs more processor time"
                );
                return None;
            }
        }
    }
}

/// What became of bytes that went through the pipe.
#[derive(Debug, Default)]
pub struct Moved {
    /// How many came from the sender.
    pub came: usize,
    /// How many of them the receiver took at once.
    pub went: usize,
    /// The others.
    pub rest: Vec<u8>,
    /// Why the receiver takes nothing more.
    pub failed: Option<io::Error>,
}

/// Bytes on their way through the pipe.
pub struct Moving<'m> {
    mover: &'m Mover,
    pipe: Option<Pipe>,
}

impl Moving<'_> {
    fn pipe(&self) -> &Pipe {
        // Taken only by `drop`.
        self.pipe.as_ref().expect("a pipe until the end")
    }

    /// Bytes that are in the pipe.
    pub fn len(&self) -> usize {
        self.pipe().len()
    }

    /// Says whether everything went out.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Passes on what `to` takes now, and gives the number of bytes. Of a failure, what went before it is of no use.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn send(&self, to: &impl Stream) -> io::Result<usize> {
        let before = self.len();
        while !self.is_empty() {
            match to.move_out_of(self.pipe()) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let went = before - self.len();
        self.mover.metrics.moved_bytes.add(went as u64);
        Ok(went)
    }

    /// Copies what is left behind what `into` has.
    ///
    /// # Errors
    /// What the system says of the pipe.
    pub fn copy_rest(&self, into: &mut Vec<u8>) -> io::Result<()> {
        into.reserve_exact(self.len());
        self.pipe().copy_out(into)
    }
}

impl Drop for Moving<'_> {
    //= SE-MOVE-03
    fn drop(&mut self) {
        self.mover.put(self.pipe.take().filter(Pipe::is_empty));
    }
}
