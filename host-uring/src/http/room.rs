//! How much to read for a receiver: what its socket surely takes, so that next to nothing is held for a slow one.

use super::buffer::Buffers;
use super::limits::{
    BODY_BUFFER_BYTES, PIPE_BYTES, ROOM_ASKED_BELOW_BYTES, SLOW_READ_BYTES, SLOW_READ_BYTES_MIN,
};
use crate::rt::Stream;

/// How much of `room` a large piece may take: a quarter is left free, because the kernel's bookkeeping for a receiver with
/// a small window takes more than it does of others.
//= SE-HELD-01
pub fn for_pipe(room: usize, buffers: &Buffers) -> usize {
    let most = if buffers.are_scarce() { SLOW_READ_BYTES } else { PIPE_BYTES };
    (room - room / 4).min(most)
}

/// The room of one receiver's socket as it was when it was last asked, less what went there since. Asking is a system
/// call, so small messages live on what is left.
#[derive(Debug, Default)]
pub struct Room {
    bytes: usize,
}

impl Room {
    /// How many bytes to read at most for `to`; `None` while it hardly takes any: wait until it does, without a buffer,
    /// then read as [`Room::after_wait`] says.
    //= SE-BODY-01
    pub fn for_read(&mut self, to: &impl Stream, buffers: &Buffers) -> Option<usize> {
        self.known(to, ROOM_ASKED_BELOW_BYTES).map(|bytes| bytes.min(buffers.read_max()))
    }

    /// The same for the next read of a stream that fills large buffers, or goes through a pipe. Asking costs next to nothing
    /// of such a read.
    pub fn for_bulk(&mut self, to: &impl Stream, buffers: &Buffers) -> Option<usize> {
        self.known(to, PIPE_BYTES).map(|bytes| for_pipe(bytes, buffers))
    }

    fn known(&mut self, to: &impl Stream, asked_below: usize) -> Option<usize> {
        if self.bytes < asked_below {
            self.bytes = to.room().unwrap_or(BODY_BUFFER_BYTES);
            if self.bytes < SLOW_READ_BYTES {
                return None;
            }
        }
        Some(self.bytes)
    }

    /// How many bytes to read at most for `to`, which was waited for and says that it takes some: it may mean few.
    pub fn after_wait(&mut self, to: &impl Stream) -> usize {
        self.bytes = 0;
        to.room().unwrap_or(SLOW_READ_BYTES).clamp(SLOW_READ_BYTES_MIN, SLOW_READ_BYTES)
    }

    /// Counts bytes that went there.
    pub fn took(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// It took less than it had room for: it is asked anew.
    pub fn was_less(&mut self) {
        self.bytes = 0;
    }
}
