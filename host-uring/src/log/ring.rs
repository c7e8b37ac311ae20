//! A ring of bytes between one worker and the log's writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::record::Line;
use crate::limits::LOG_LINE_BYTES_MAX;

/// Words rather than bytes, so that copying needs no unsafe code and eight bytes cost one store.
struct Ring {
    words: Box<[AtomicU64]>,
    /// Words ever written; only the worker stores it.
    head: AtomicU64,
    /// The position of the first word; only the worker stores it, and only while nothing waits to be read.
    base: AtomicU64,
    /// Words ever read; only the writer stores it.
    tail: AtomicU64,
    dropped: AtomicU64,
    written: AtomicU64,
}

/// A worker's end.
pub struct Sink {
    ring: Arc<Ring>,
    line: Vec<u8>,
    enabled: bool,
}

/// The writer's end.
pub struct Drain {
    ring: Arc<Ring>,
}

/// Makes a ring of about `bytes` bytes (rounded up to a power of two, at least 16 KiB, so any line fits).
///
/// A disabled sink (`enabled` false: the log is off) takes records and does nothing with them.
pub fn ring(bytes: usize, enabled: bool) -> (Sink, Drain) {
    let words = if enabled { (bytes.max(2 * LOG_LINE_BYTES_MAX) / 8).next_power_of_two() } else { 1 };
    let ring = Arc::new(Ring {
        words: std::iter::repeat_with(AtomicU64::default).take(words).collect(),
        head: AtomicU64::new(0),
        base: AtomicU64::new(0),
        tail: AtomicU64::new(0),
        dropped: AtomicU64::new(0),
        written: AtomicU64::new(0),
    });
    let line = Vec::with_capacity(if enabled { LOG_LINE_BYTES_MAX } else { 0 });
    (Sink { ring: Arc::clone(&ring), line, enabled }, Drain { ring })
}

impl Ring {
    /// The word at a position, if the first word's is `base`.
    fn at(&self, base: u64, position: u64) -> &AtomicU64 {
        &self.words[self.place(base, position)]
    }

    fn place(&self, base: u64, position: u64) -> usize {
        // A power of two long, so the mask is exact.
        (position - base) as usize & (self.words.len() - 1)
    }

    /// The words from `position` on: to the end of the ring, and from its start on. Walked without a look at each place.
    fn run(&self, base: u64, position: u64, words: usize) -> (&[AtomicU64], &[AtomicU64]) {
        let at = self.place(base, position);
        let first = words.min(self.words.len() - at);
        (&self.words[at..at + first], &self.words[..words - first])
    }
}

impl Sink {
    /// Whether records go anywhere; a worker may skip filling one if not.
    pub fn enabled(&self) -> bool {
        self.enabled
    }

    /// Writes one record, or drops and counts it if the ring is full. Never waits.
    //= OBS-LOG-01
    pub fn push(&mut self, record: &impl Line) {
        if !self.enabled {
            return;
        }
        self.line.clear();
        record.write_json(&mut self.line);
        self.push_line();
    }

    #[cfg(test)]
    pub(super) fn push_bytes(&mut self, line: &[u8]) {
        self.line.clear();
        self.line.extend_from_slice(line);
        self.push_line();
    }

    fn push_line(&mut self) {
        let ring = &*self.ring;
        let head = ring.head.load(Ordering::Relaxed);
        let waiting = head - ring.tail.load(Ordering::Acquire);
        let free = ring.words.len() as u64 - waiting;
        let need = 1 + self.line.len().div_ceil(8) as u64;
        if need > free || self.line.len() > LOG_LINE_BYTES_MAX {
            ring.dropped.store(ring.dropped.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            return;
        }
        // From the front again whenever all has been read: only as much of the ring is ever touched as waits at once,
        // and that stays in the processor's cache. The writer sees it before any word of the new turn, by `head`.
        if waiting == 0 {
            ring.base.store(head, Ordering::Relaxed);
        }
        let base = ring.base.load(Ordering::Relaxed);
        ring.at(base, head).store(self.line.len() as u64, Ordering::Relaxed);
        // Whole words: what stands behind the line's end is never read.
        self.line.resize(self.line.len().next_multiple_of(8), 0);
        let (words, _) = self.line.as_chunks::<8>();
        let (first, second) = ring.run(base, head + 1, words.len());
        for (to, word) in first.iter().chain(second).zip(words) {
            to.store(u64::from_le_bytes(*word), Ordering::Relaxed);
        }
        ring.written.store(ring.written.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        ring.head.store(head + need, Ordering::Release);
    }
}

impl Drain {
    /// Appends whole lines to `out` until it holds `bytes_max` or the ring is empty; gives their number.
    pub fn take(&mut self, out: &mut Vec<u8>, bytes_max: usize) -> usize {
        let ring = &*self.ring;
        let head = ring.head.load(Ordering::Acquire);
        let mut tail = ring.tail.load(Ordering::Relaxed);
        // It stands as long as something is left to read, and what is read here is left until `tail` is stored.
        let base = ring.base.load(Ordering::Relaxed);
        let mut lines = 0;
        while tail != head && out.len() < bytes_max {
            let bytes = ring.at(base, tail).load(Ordering::Relaxed);
            let words = bytes.div_ceil(8) as usize;
            let begin = out.len();
            out.resize(begin + words * 8, 0);
            let (first, second) = ring.run(base, tail + 1, words);
            for (to, word) in out[begin..].as_chunks_mut::<8>().0.iter_mut().zip(first.iter().chain(second)) {
                *to = word.load(Ordering::Relaxed).to_le_bytes();
            }
            out.truncate(begin + bytes as usize);
            tail += 1 + words as u64;
            lines += 1;
        }
        ring.tail.store(tail, Ordering::Release);
        lines
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
        assert_eq!((dropped, drain.accepted()), (1_000 - 2_048 / 14, 2_048 / 14));
        drain.take(&mut Vec::new(), usize::MAX);
        put(&mut sink, b"again");
        let mut out = Vec::new();
        assert_eq!((drain.take(&mut out, 100), out.as_slice(), drain.dropped()), (1, &b"again"[..], dropped));
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
        let touched = drain.ring.words.iter().filter(|word| word.load(Ordering::Relaxed) != 0).count();
        assert!(touched <= 51, "{touched} words for one line at a time");
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
