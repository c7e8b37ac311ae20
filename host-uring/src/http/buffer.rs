//! Memory for bytes in flight: a few buffers per worker, handed out only while bytes are there.
//!
//! Two sizes. Small ones hold a client's head (and grow to the profile's bound for large heads); large ones
//! hold what a read of a body brought. The pools are last-in first-out, so the same few buffers stay in the
//! processor's cache.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::limits::{
    BODY_BUFFER_BYTES, BODY_BUFFERS_KEPT_MAX, BULK_BUFFER_BYTES, HEAD_BUFFER_BYTES, HEAD_GROWTH_BYTES,
    HELD_BYTES_MAX, SLOW_READ_BYTES, SPARE_KEPT,
};
use super::spare::Spare;

/// Bytes between `start` and `end` of an owned piece of memory.
#[derive(Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// What of it stands in the worker's account of large heads.
    charged: Option<Charge>,
}

/// Bytes in the worker's account of large heads while this lives: a buffer may end with a task that is given up.
struct Charge {
    large: Rc<Cell<usize>>,
    bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.large.set(self.large.get() - self.bytes);
    }
}

/// What came of asking for more room for a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grown {
    /// There is room.
    Room,
    /// It has all the room that a head may have.
    TooLong,
    /// Large heads have all the memory that they may have together.
    Scarce,
}

impl Buffer {
    /// An empty buffer of `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Buffer { bytes: vec![0; capacity], start: 0, end: 0, charged: None }
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
        if self.has_room() {
            return true;
        }
        let larger = self.larger(capacity_max);
        if larger <= self.bytes.len() {
            return false;
        }
        self.grow_to(larger);
        true
    }

    fn has_room(&mut self) -> bool {
        if self.end == self.bytes.len() {
            self.compact();
        }
        self.end < self.bytes.len()
    }

    /// The next capacity: near what is there, so that a slow head costs little more than its bytes.
    fn larger(&self, capacity_max: usize) -> usize {
        let step = HEAD_GROWTH_BYTES.max(self.bytes.len() / 4);
        (self.bytes.len() + step).min(capacity_max)
    }

    fn grow_to(&mut self, capacity: usize) {
        // A vector left to itself doubles.
        self.bytes.reserve_exact(capacity.saturating_sub(self.bytes.len()));
        self.bytes.resize(capacity, 0);
    }

    /// Appends bytes, growing as needed: for what was read beyond the end of a message.
    pub fn append(&mut self, bytes: &[u8]) {
        self.compact();
        let end = self.end + bytes.len();
        if end > self.bytes.len() {
            self.grow_to(end);
        }
        self.bytes[self.end..end].copy_from_slice(bytes);
        self.end = end;
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

/// What a connection over HTTP/2 keeps of a header block that is not finished, in the worker's account of large heads while
/// this lives.
pub struct Unfinished {
    charge: Charge,
    large_max: usize,
}

impl Unfinished {
    /// Says that so many bytes are kept, of which those of a head's first buffer are free; `false` if large heads have no
    /// memory left for more.
    //= H2-HOST-11
    pub fn set(&mut self, bytes: usize) -> bool {
        let Charge { large, bytes: charged } = &mut self.charge;
        let wanted = bytes.saturating_sub(HEAD_BUFFER_BYTES);
        let all = large.get() - *charged + wanted;
        if wanted > *charged && all > self.large_max {
            return false;
        }
        large.set(all);
        *charged = wanted;
        true
    }
}

/// Bytes that wait for a slow receiver, counted with their worker while this lives.
pub struct Held {
    account: HeldAccount,
    bytes: usize,
}

impl Held {
    /// Counts so many bytes instead.
    pub fn set(&mut self, bytes: usize) {
        self.account.0.set(self.account.0.get() - self.bytes + bytes);
        self.bytes = bytes;
    }

    /// Counts so many bytes less, as far as they stand in it.
    pub fn lower(&mut self, by: usize) {
        self.set(self.bytes.saturating_sub(by));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// All bytes that wait for slow receivers of a worker.
#[derive(Clone, Default)]
pub struct HeldAccount(Rc<Cell<usize>>);

impl HeldAccount {
    /// Counts bytes that are held for a slow receiver.
    pub fn hold(&self, bytes: usize) -> Held {
        self.0.set(self.0.get() + bytes);
        Held { account: self.clone(), bytes }
    }
}

/// The buffers of one worker that are not in use.
pub struct Buffers {
    held: HeldAccount,
    /// Bytes by which heads are larger than their first buffer.
    large: Rc<Cell<usize>>,
    large_max: usize,
    heads: Spare<Buffer>,
    bodies: RefCell<Vec<Buffer>>,
    bulk: RefCell<Option<Buffer>>,
}

impl Buffers {
    /// None yet. Heads that outgrow their first buffer get `large_max` bytes together.
    pub fn new(large_max: usize) -> Self {
        // The lists' own memory is taken once.
        Buffers {
            held: HeldAccount::default(),
            large: Rc::default(),
            large_max,
            heads: Spare::new(SPARE_KEPT),
            bodies: RefCell::new(Vec::with_capacity(BODY_BUFFERS_KEPT_MAX)),
            bulk: RefCell::default(),
        }
    }

    /// A small buffer, for a head.
    pub fn head(&self) -> Buffer {
        self.heads.take().unwrap_or_else(|| Buffer::new(HEAD_BUFFER_BYTES))
    }

    /// A large buffer, for a body.
    pub fn body(&self) -> Buffer {
        self.bodies.borrow_mut().pop().unwrap_or_else(|| Buffer::new(BODY_BUFFER_BYTES))
    }

    /// The worker's largest buffer, to be given back before anything is waited for.
    pub fn bulk(&self) -> Buffer {
        self.bulk.borrow_mut().take().unwrap_or_else(|| Buffer::new(BULK_BUFFER_BYTES))
    }

    /// Makes room for more of a head, up to `capacity_max` bytes in all.
    //= SE-HEAD-01
    pub fn grow_head(&self, buffer: &mut Buffer, capacity_max: usize) -> Grown {
        if buffer.has_room() {
            return Grown::Room;
        }
        let larger = buffer.larger(capacity_max);
        if larger <= buffer.capacity() {
            return Grown::TooLong;
        }
        let more = larger - buffer.capacity();
        if self.large.get() + more > self.large_max {
            return Grown::Scarce;
        }
        self.charge(buffer, more);
        buffer.grow_to(larger);
        Grown::Room
    }

    /// A connection's account of header blocks that are not finished; nothing stands in it yet.
    pub fn unfinished(&self) -> Unfinished {
        Unfinished { charge: Charge { large: self.large.clone(), bytes: 0 }, large_max: self.large_max }
    }

    /// Keeps what was read behind a message's end; `None` if that is nothing.
    pub fn leftover(&self, bytes: &[u8]) -> Option<Buffer> {
        if bytes.is_empty() {
            return None;
        }
        let mut buffer = self.head();
        self.charge(&mut buffer, bytes.len().saturating_sub(HEAD_BUFFER_BYTES));
        buffer.append(bytes);
        Some(buffer)
    }

    /// Puts a whole head into an empty buffer; `false` if large heads have no memory left.
    //= H2-HOST-05
    pub fn fill_head(&self, buffer: &mut Buffer, bytes: &[u8]) -> bool {
        let more = bytes.len().saturating_sub(buffer.capacity());
        if more > 0 && self.large.get() + more > self.large_max {
            return false;
        }
        self.charge(buffer, more);
        buffer.append(bytes);
        true
    }

    fn charge(&self, buffer: &mut Buffer, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.large.set(self.large.get() + bytes);
        match &mut buffer.charged {
            Some(charge) => charge.bytes += bytes,
            none => *none = Some(Charge { large: self.large.clone(), bytes }),
        }
    }

    /// Counts bytes that are held for a slow receiver.
    pub fn hold(&self, bytes: usize) -> Held {
        self.held.hold(bytes)
    }

    /// Where they are counted, for what outlives a borrow.
    pub fn held_account(&self) -> &HeldAccount {
        &self.held
    }

    /// Bytes that wait for slow receivers.
    pub fn held_bytes(&self) -> usize {
        self.held.0.get()
    }

    //= SE-HELD-01
    /// Says whether so much is held that no more than small pieces should be read for anybody.
    pub fn are_scarce(&self) -> bool {
        self.held.0.get() > HELD_BYTES_MAX || self.large.get() > self.large_max
    }

    /// How much to read at once for anybody.
    pub fn read_max(&self) -> usize {
        if self.are_scarce() { SLOW_READ_BYTES } else { BODY_BUFFER_BYTES }
    }

    /// Puts what a large buffer has into no more memory than it needs for as long as somebody is waited for, and counts
    /// it while the guard lives.
    pub fn fold(&self, buffer: &mut Buffer) -> Held {
        let mut small = if buffer.is_empty() { Buffer::default() } else { self.head() };
        small.append(buffer.filled());
        self.give_back(std::mem::replace(buffer, small));
        self.hold(buffer.len())
    }

    /// Puts what was folded into a large buffer again.
    pub fn unfold(&self, buffer: &mut Buffer) {
        let mut large = self.body();
        large.append(buffer.filled());
        self.give_back(std::mem::replace(buffer, large));
    }

    /// Says whether the largest buffer was needed, and is not in use.
    pub fn has_bulk(&self) -> bool {
        self.bulk.borrow().is_some()
    }

    /// Large buffers that nobody uses.
    pub fn unused_large(&self) -> usize {
        self.bodies.borrow().len()
    }

    /// Takes a buffer back. One that had to grow, or one too many, is freed.
    pub fn give_back(&self, mut buffer: Buffer) {
        buffer.clear();
        buffer.charged = None;
        match buffer.capacity() {
            HEAD_BUFFER_BYTES => self.heads.give(buffer),
            BULK_BUFFER_BYTES => *self.bulk.borrow_mut() = Some(buffer),
            BODY_BUFFER_BYTES => {
                let mut bodies = self.bodies.borrow_mut();
                if bodies.len() < BODY_BUFFERS_KEPT_MAX {
                    bodies.push(buffer);
                }
            }
            _ => {}
        }
    }

    /// Frees small buffers that were not needed since the last call; gives how many bytes that were.
    pub fn release(&self) -> usize {
        self.heads.release() * HEAD_BUFFER_BYTES
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
        assert_eq!(buffer.space().len(), 6);
        buffer.commit(6);
        assert!(!buffer.make_room(10));
        buffer.consume(9);
        assert!(buffer.make_room(10), "what was consumed makes room");
        assert_eq!(buffer.filled(), &[0]);
    }

    #[test]
    fn a_buffer_that_had_to_grow_is_not_kept() {
        let buffers = Buffers::new(1 << 20);
        let mut buffer = buffers.head();
        buffer.append(&vec![1; HEAD_BUFFER_BYTES + 1]);
        buffers.give_back(buffer);
        assert_eq!(buffers.heads.len(), 0);
        let buffer = buffers.head();
        buffers.give_back(buffer);
        assert_eq!(buffers.heads.len(), 1);
    }

    //= test SE-HEAD-01
    #[test]
    fn a_large_head_has_little_more_room_than_it_fills() {
        let buffers = Buffers::new(1 << 20);
        let mut buffer = buffers.head();
        for count in 1..=49_152 {
            assert_eq!(buffers.grow_head(&mut buffer, 49_153), Grown::Room);
            buffer.space()[0] = count as u8;
            buffer.commit(1);
            let slack = buffer.bytes.capacity() - count;
            assert!(slack <= HEAD_BUFFER_BYTES.max(count / 4), "{slack} bytes of room behind {count}");
        }
        assert_eq!(buffers.large.get(), buffer.bytes.capacity() - HEAD_BUFFER_BYTES);
        buffer.commit(1);
        assert_eq!(buffers.grow_head(&mut buffer, 49_153), Grown::TooLong);
        buffers.give_back(buffer);
        assert_eq!(buffers.large.get(), 0);
        let given_up = buffers.leftover(&[1; HEAD_BUFFER_BYTES + 1]);
        assert_eq!(buffers.large.get(), 1);
        drop(given_up);
        assert_eq!(buffers.large.get(), 0, "a task that is given up takes nothing from the account for ever");
    }

    //= test SE-HEAD-01
    #[test]
    fn large_heads_together_have_a_bound_and_what_ends_makes_room() {
        let buffers = Buffers::new(10 * HEAD_GROWTH_BYTES);
        let full = || {
            let mut buffer = buffers.head();
            buffer.commit(HEAD_BUFFER_BYTES);
            buffer
        };
        let mut large: Vec<Buffer> = (0..11).map(|_| full()).collect();
        let grown: Vec<Grown> = large.iter_mut().map(|head| buffers.grow_head(head, 49_153)).collect();
        assert_eq!(grown[..10], [Grown::Room; 10]);
        assert_eq!(grown[10], Grown::Scarce);
        buffers.give_back(large.remove(0));
        assert_eq!(buffers.grow_head(&mut large[9], 49_153), Grown::Room);
        assert!(!buffers.are_scarce());
        let behind = buffers.leftover(&[1; HEAD_BUFFER_BYTES + 1]).expect("bytes");
        assert!(buffers.are_scarce(), "what was read behind a message counts, and no more of it is read");
        buffers.give_back(behind);
        assert!(!buffers.are_scarce());
    }

    //= test SE-HELD-01
    #[test]
    fn what_slow_clients_hold_is_counted_until_it_is_gone() {
        let buffers = Buffers::new(1 << 20);
        let some = buffers.hold(HELD_BYTES_MAX);
        assert!(!buffers.are_scarce());
        let more = buffers.hold(1);
        assert!(buffers.are_scarce());
        drop(some);
        assert!(!buffers.are_scarce());
        drop(more);
        assert_eq!(buffers.held.0.get(), 0);
    }
}
