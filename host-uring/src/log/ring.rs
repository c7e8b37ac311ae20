//! A ring of bytes between one worker and the log's writer.

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::record::Line;
use crate::limits::LOG_LINE_BYTES_MAX;

/// Bits of [`Ring::head`] that are a position; the others count lines. Both wrap.
const POSITION_BITS: u32 = 40;
const POSITIONS: u64 = (1 << POSITION_BITS) - 1;
const LINES: u64 = u64::MAX >> POSITION_BITS;

/// Lines, one behind the other.
struct Ring {
    bytes: Box<[UnsafeCell<u8>]>,
    /// How far it was written, and how many lines those are, as one word: who sees the bytes sees their number. Only the
    /// worker stores it.
    head: AtomicU64,
    /// The position of the first byte; only the worker stores it, and only while nothing waits to be read.
    base: AtomicU64,
    /// How far it was read; only the writer stores it.
    tail: AtomicU64,
    dropped: AtomicU64,
    written: AtomicU64,
}

// SAFETY: the bytes between `tail` and `head` are the writer's, all others the worker's. Each end is one value that is lent
// by `&mut`, and hands bytes over by storing its position with release, which the other end loads with acquire.
unsafe impl Send for Ring {}
// SAFETY: as above.
unsafe impl Sync for Ring {}

/// A worker's end.
pub struct Sink {
    ring: Arc<Ring>,
    line: Vec<u8>,
    enabled: bool,
    /// What the Controller is told, where there is one.
    told: Option<Arc<Ring>>,
}

/// The writer's end.
pub struct Drain {
    ring: Arc<Ring>,
    /// Lines that were taken; wraps.
    lines: u64,
}

/// Makes a ring of about `bytes` bytes (rounded up to a power of two, at least 16 KiB, so any line fits).
///
/// A disabled sink (`enabled` false: the log is off) takes records and does nothing with them.
pub fn ring(bytes: usize, enabled: bool) -> (Sink, Drain) {
    let bytes = if enabled { bytes.max(2 * LOG_LINE_BYTES_MAX).next_power_of_two() } else { 1 };
    let ring = Arc::new(Ring::new(bytes));
    let line = Vec::with_capacity(if enabled { LOG_LINE_BYTES_MAX } else { 0 });
    (Sink { ring: Arc::clone(&ring), line, enabled, told: None }, Drain { ring, lines: 0 })
}

impl Ring {
    fn new(bytes: usize) -> Self {
        Ring {
            bytes: std::iter::repeat_with(UnsafeCell::default).take(bytes).collect(),
            head: AtomicU64::new(0),
            base: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            written: AtomicU64::new(0),
        }
    }

    /// The run of `len` bytes from `position` on, if the first byte's is `base`: to the end of the ring, and from its start on.
    fn run(&self, base: u64, position: u64, len: usize) -> (&[UnsafeCell<u8>], &[UnsafeCell<u8>]) {
        // A power of two long, so the mask is exact.
        let at = (position.wrapping_sub(base) & POSITIONS) as usize & (self.bytes.len() - 1);
        let first = len.min(self.bytes.len() - at);
        (&self.bytes[at..at + first], &self.bytes[..len - first])
    }
}

impl Sink {
    /// Lets the Controller be told of records as well, by a ring of its own of about `bytes` bytes.
    pub fn also_tell(&mut self, bytes: usize) -> Drain {
        let ring = Arc::new(Ring::new(bytes.max(2 * LOG_LINE_BYTES_MAX).next_power_of_two()));
        self.line.reserve(LOG_LINE_BYTES_MAX);
        self.told = Some(Arc::clone(&ring));
        Drain { ring, lines: 0 }
    }

    /// Whether a record goes anywhere; a worker may skip filling one if not. `is_wanted`: the Controller wants it, if there is one.
    pub fn takes(&self, is_wanted: bool) -> bool {
        self.enabled || (is_wanted && self.told.is_some())
    }

    /// Writes one record, or drops and counts it if the ring is full. Never waits. `is_wanted`: the Controller wants it, if there
    /// is one.
    //= OBS-LOG-01
    //= OBS-CLIENT-01
    pub fn push(&mut self, record: &impl Line, is_wanted: bool) {
        if !self.takes(is_wanted) {
            return;
        }
        self.line.clear();
        record.write_json(&mut self.line);
        self.push_line(is_wanted);
    }

    #[cfg(test)]
    pub(super) fn push_bytes(&mut self, line: &[u8]) {
        self.line.clear();
        self.line.extend_from_slice(line);
        self.push_line(true);
    }

    fn push_line(&mut self, is_wanted: bool) {
        if self.enabled {
            self.ring.push(&self.line);
        }
        if let Some(told) = self.told.as_ref().filter(|_| is_wanted) {
            told.push(&self.line);
        }
    }
}

impl Ring {
    /// Writes one line. Only the one sink that has the ring calls this, which has it by `&mut`.
    fn push(&self, line: &[u8]) {
        let head = self.head.load(Ordering::Relaxed);
        let (lines, at) = (head >> POSITION_BITS, head & POSITIONS);
        let waiting = (at.wrapping_sub(self.tail.load(Ordering::Acquire)) & POSITIONS) as usize;
        if line.len() > (self.bytes.len() - waiting).min(LOG_LINE_BYTES_MAX) {
            self.dropped.store(self.dropped.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            return;
        }
        // From the front again whenever all has been read: only as much of the ring is ever touched as waits at once,
        // and that stays in the processor's cache. The writer sees it before any byte of the new turn, by `head`.
        if waiting == 0 {
            self.base.store(at, Ordering::Relaxed);
        }
        let (first, second) = self.run(self.base.load(Ordering::Relaxed), at, line.len());
        let (begin, rest) = line.split_at(first.len());
        for (to, from) in [(first, begin), (second, rest)] {
            // SAFETY: both are as long; the cells are free (looked at above), so the writer does not read them before
            // `head` is stored, and nobody else has this end.
            unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to.as_ptr() as *mut u8, from.len()) };
        }
        self.written.store(self.written.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        let at = at.wrapping_add(line.len() as u64) & POSITIONS;
        self.head.store(((lines + 1) & LINES) << POSITION_BITS | at, Ordering::Release);
    }
}

impl Drain {
    /// Appends whole lines to `out` until it holds `bytes_max` or a little more, or the ring is empty; gives their number.
    pub fn take(&mut self, out: &mut Vec<u8>, bytes_max: usize) -> usize {
        let ring = &*self.ring;
        let head = ring.head.load(Ordering::Acquire);
        let (lines, head) = (head >> POSITION_BITS, head & POSITIONS);
        let tail = ring.tail.load(Ordering::Relaxed);
        let waiting = (head.wrapping_sub(tail) & POSITIONS) as usize;
        let room = bytes_max.saturating_sub(out.len());
        if waiting == 0 || room == 0 {
            return 0;
        }
        // It stands as long as something is left to read, and what is read here is left until `tail` is stored.
        let base = ring.base.load(Ordering::Relaxed);
        // The line that goes beyond the bound is taken to its end.
        let most = waiting.min(room.saturating_add(LOG_LINE_BYTES_MAX));
        let begin = out.len();
        let (first, second) = ring.run(base, tail, most);
        for cells in [first, second] {
            // SAFETY: the cells lie between `tail` and `head`, so the worker has written them and leaves them alone until
            // `tail` is stored.
            out.extend_from_slice(unsafe { std::slice::from_raw_parts(cells.as_ptr().cast(), cells.len()) });
        }
        let mut taken = most;
        let mut count = (lines.wrapping_sub(self.lines) & LINES) as usize;
        if most > room {
            let end = out[begin + room - 1..].iter().position(|byte| *byte == b'\n');
            taken = end.map_or(most, |end| room + end);
            out.truncate(begin + taken);
        }
        if taken < waiting {
            count = out[begin..].iter().filter(|byte| **byte == b'\n').count();
        }
        self.lines = (self.lines + count as u64) & LINES;
        ring.tail.store(tail.wrapping_add(taken as u64) & POSITIONS, Ordering::Release);
        count
    }

    /// Whether the worker's end is gone: nothing more comes after what is in the ring now.
    pub fn is_orphan(&self) -> bool {
        let gone = Arc::strong_count(&self.ring) == 1;
        // Pairs with the release of the worker's drop, so that its last push is seen by the next take.
        std::sync::atomic::fence(Ordering::Acquire);
        gone
    }

    /// Records dropped because the ring was full.
    pub fn dropped(&self) -> u64 {
        self.ring.dropped.load(Ordering::Relaxed)
    }

    /// Records that got into the ring.
    pub fn accepted(&self) -> u64 {
        self.ring.written.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(sink: &mut Sink, line: &[u8]) {
        sink.push_bytes(line);
    }

    #[test]
    fn lines_come_out_whole_and_in_order_over_many_turns_of_the_ring() {
        let (mut sink, mut drain) = ring(0, true);
        let mut out = Vec::new();
        let mut want = Vec::new();
        for n in 0..20_000_usize {
            let line = vec![b'a' + (n % 26) as u8; n % 300];
            put(&mut sink, &line);
            want.extend_from_slice(&line);
            if n % 20 == 0 {
                drain.take(&mut out, usize::MAX);
            }
        }
        drain.take(&mut out, usize::MAX);
        assert!(out == want && drain.dropped() == 0 && drain.accepted() == 20_000);
    }

    //= test OBS-LOG-01
    #[test]
    fn a_full_ring_drops_and_counts_and_goes_on_when_there_is_room() {
        let (mut sink, mut drain) = ring(0, true);
        for _ in 0..1_000 {
            put(&mut sink, &[b'x'; 100]);
        }
        let dropped = drain.dropped();
        assert_eq!((dropped, drain.accepted()), (1_000 - 16_384 / 100, 16_384 / 100));
        drain.take(&mut Vec::new(), usize::MAX);
        put(&mut sink, b"again");
        let mut out = Vec::new();
        assert_eq!((drain.take(&mut out, 100), out.as_slice(), drain.dropped()), (1, &b"again"[..], dropped));
    }

    #[test]
    fn no_more_whole_lines_are_taken_than_were_asked_for() {
        let (mut sink, mut drain) = ring(0, true);
        for turn in 0..2_000_usize {
            let lines = 1 + turn % 9;
            for n in 0..lines {
                let mut line = vec![b'x'; (turn + n) % 70];
                line.push(b'\n');
                put(&mut sink, &line);
            }
            let (mut out, mut got) = (Vec::new(), 0);
            loop {
                let before = out.len();
                let taken = drain.take(&mut out, before + 60);
                let came = &out[before..];
                assert_eq!(came.iter().filter(|byte| **byte == b'\n').count(), taken);
                assert!(came.is_empty() || came.ends_with(b"\n"), "whole lines");
                assert!(came.len() < 60 + 71, "one line beyond the bound at most");
                got += taken;
                if taken == 0 {
                    break;
                }
            }
            assert_eq!(got, lines);
        }
        assert_eq!((drain.accepted(), drain.dropped()), (drain.lines, 0));
    }

    #[test]
    fn positions_and_counts_may_wrap() {
        let (mut sink, mut drain) = ring(0, true);
        let start = (POSITIONS - 1_000) | (LINES - 3) << POSITION_BITS;
        sink.ring.head.store(start, Ordering::Relaxed);
        sink.ring.tail.store(start & POSITIONS, Ordering::Relaxed);
        drain.lines = LINES - 3;
        for n in 0..100_u8 {
            let (mut line, mut out) = (vec![b'a' + n % 26; 99], Vec::new());
            line.push(b'\n');
            put(&mut sink, &line);
            put(&mut sink, &line);
            assert_eq!(drain.take(&mut out, 100), 1);
            assert_eq!(drain.take(&mut out, 1_000), 1);
            assert_eq!(out, [line.clone(), line].concat());
        }
    }

    #[test]
    fn a_ring_whose_reader_keeps_up_uses_its_front_only() {
        let (mut sink, mut drain) = ring(1 << 20, true);
        let mut out = Vec::new();
        for _ in 0..10_000 {
            put(&mut sink, &[b'x'; 400]);
            drain.take(&mut out, usize::MAX);
        }
        assert_eq!((out.len(), drain.dropped()), (4_000_000, 0));
        drop(sink);
        let mut ring = Arc::into_inner(drain.ring).expect("nobody else has it");
        let touched = ring.bytes.iter_mut().map(UnsafeCell::get_mut).filter(|byte| **byte != 0).count();
        assert_eq!(touched, 400, "bytes for one line at a time");
    }

    #[test]
    fn a_reader_beside_the_writer_sees_no_torn_line() {
        let (mut sink, mut drain) = ring(0, true);
        let writer = std::thread::spawn(move || {
            for n in 0..200_000_u32 {
                let mut line = n.to_string().into_bytes();
                line.extend(std::iter::repeat_n(b'.', n as usize % 50));
                line.push(b'\n');
                put(&mut sink, &line);
            }
        });
        let mut last = None;
        let mut out = Vec::new();
        loop {
            let ended = writer.is_finished();
            out.clear();
            if drain.take(&mut out, 1 << 20) == 0 && ended {
                break;
            }
            for line in out.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
                let digits = line.iter().take_while(|b| b.is_ascii_digit()).count();
                let n: u32 = std::str::from_utf8(&line[..digits]).expect("digits").parse().expect("a number");
                assert_eq!(line.len() - digits, n as usize % 50);
                assert!(last < Some(n));
                last = Some(n);
            }
        }
        writer.join().expect("the writer ends");
        assert_eq!(drain.accepted() + drain.dropped(), 200_000);
    }
}
