//! Memory for bytes in flight: a few buffers per worker, handed out only while bytes are there.
//!
//! Two sizes. Small ones hold a client's head (and grow to the profile's bound for large heads); large ones
//! hold what a read of a body brought. The pools are last-in first-out, so the same few buffers stay in the
//! processor's cache.

use std::cell::{Cell, RefCell};

use super::limits::{BODY_BUFFER_BYTES, BUFFERS_KEPT_MAX, HEAD_BUFFER_BYTES, HELD_BYTES_MAX};

/// Bytes between `start` and `end` of an owned piece of memory.
#[derive(Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// An empty buffer of `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Buffer { bytes: vec![0; capacity], start: 0, end: 0 }
    }

    /// The bytes that are there.
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// How many bytes are there.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Says whether no byte is there.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Room behind the bytes.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.bytes[self.end..]
    }

    /// Says that `count` bytes were read into [`Buffer::space`].
    pub fn commit(&mut self, count: usize) {
        self.end += count;
        debug_assert!(self.end <= self.bytes.len());
    }

    /// Forgets the first `count` bytes.
    pub fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end);
        if self.start == self.end {
            self.clear();
        }
    }

    /// Forgets all bytes.
    pub fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Moves the bytes to the front; positions in [`Buffer::filled`] stay valid.
    pub fn compact(&mut self) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }

    /// Makes room for at least one more byte, up to `capacity_max` in all; `false` if that is reached.
    pub fn make_room(&mut self, capacity_max: usize) -> bool {
        if self.end < self.bytes.len() {
            return true;
        }
        self.compact();
        if self.end < self.bytes.len() {
            return true;
        }
        let larger = (self.bytes.len() * 2).min(capacity_max);
        if larger <= self.bytes.len() {
            return false;
        }
        self.bytes.resize(larger, 0);
        true
    }

    /// Appends bytes, growing as needed: for what was read beyond the end of a message.
    pub fn append(&mut self, bytes: &[u8]) {
        self.compact();
        let end = self.end + bytes.len();
        if end > self.bytes.len() {
            self.bytes.resize(end, 0);
        }
        self.bytes[self.end..end].copy_from_slice(bytes);
        self.end = end;
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

/// Bytes that wait for a slow client, counted with their worker while this lives.
pub struct Held<'b> {
    buffers: &'b Buffers,
    bytes: usize,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.buffers.held.set(self.buffers.held.get() - self.bytes);
    }
}

/// The buffers of one worker that are not in use.
pub struct Buffers {
    held: Cell<usize>,
    heads: RefCell<Vec<Buffer>>,
    bodies: RefCell<Vec<Buffer>>,
}

impl Default for Buffers {
    fn default() -> Self {
        // The lists' own memory is taken once.
        Buffers {
            held: Cell::new(0),
            heads: RefCell::new(Vec::with_capacity(BUFFERS_KEPT_MAX)),
            bodies: RefCell::new(Vec::with_capacity(BUFFERS_KEPT_MAX)),
        }
    }
}

impl Buffers {
    /// A small buffer, for a head.
    pub fn head(&self) -> Buffer {
        self.heads.borrow_mut().pop().unwrap_or_else(|| Buffer::new(HEAD_BUFFER_BYTES))
    }

    /// A large buffer, for a body.
    pub fn body(&self) -> Buffer {
        self.bodies.borrow_mut().pop().unwrap_or_else(|| Buffer::new(BODY_BUFFER_BYTES))
    }

    /// Counts bytes that are held for a slow client.
    pub fn hold(&self, bytes: usize) -> Held<'_> {
        self.held.set(self.held.get() + bytes);
        Held { buffers: self, bytes }
    }

    /// Says whether so much is held for slow clients that no more than small pieces should be read for any.
    pub fn are_scarce(&self) -> bool {
        self.held.get() > HELD_BYTES_MAX
    }

    /// Takes a buffer back. One that had to grow, or one too many, is freed.
    pub fn give_back(&self, mut buffer: Buffer) {
        buffer.clear();
        let list = match buffer.capacity() {
            HEAD_BUFFER_BYTES => &self.heads,
            BODY_BUFFER_BYTES => &self.bodies,
            _ => return,
        };
        let mut list = list.borrow_mut();
        if list.len() < BUFFERS_KEPT_MAX {
            list.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_grows_to_its_bound_and_no_further() {
        let mut buffer = Buffer::new(4);
        buffer.append(b"abcd");
        assert!(buffer.make_room(10));
        assert_eq!(buffer.space().len(), 4);
        buffer.commit(4);
        assert!(buffer.make_room(10));
        buffer.commit(2);
        assert!(!buffer.make_room(10));
        buffer.consume(9);
        assert!(buffer.make_room(10), "what was consumed makes room");
        assert_eq!(buffer.filled(), &[0]);
    }

    #[test]
    fn a_buffer_that_had_to_grow_is_not_kept() {
        let buffers = Buffers::default();
        let mut buffer = buffers.head();
        buffer.append(&vec![1; HEAD_BUFFER_BYTES + 1]);
        buffers.give_back(buffer);
        assert_eq!(buffers.heads.borrow().len(), 0);
        let buffer = buffers.head();
        buffers.give_back(buffer);
        assert_eq!(buffers.heads.borrow().len(), 1);
    }

    #[test]
    fn what_slow_clients_hold_is_counted_until_it_is_gone() {
        let buffers = Buffers::default();
        let some = buffers.hold(HELD_BYTES_MAX);
        assert!(!buffers.are_scarce());
        let more = buffers.hold(1);
        assert!(buffers.are_scarce());
        drop(some);
        assert!(!buffers.are_scarce());
        drop(more);
        assert_eq!(buffers.held.get(), 0);
    }
}
