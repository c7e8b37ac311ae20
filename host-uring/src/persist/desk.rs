//! What a worker and the thread of object sync leave for one another: each worker has a desk, so that none writes a line of
//! memory that another one writes.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Partitions of a table, at most; each has a bit.
const PARTITIONS_MAX: usize = 4_096;

/// Words of 64 bits for them.
const WORDS: usize = PARTITIONS_MAX / 64;

/// Desks: the first one is that of all threads that are no workers, and there are 256 workers at most.
pub(super) const DESKS: usize = 257;

/// Numbers that wait for a worker, at most: each answer that waits gets one from every member. Who misses one waits for as
/// long as it may.
const NUMBERS_MAX: usize = 65_536;

thread_local! {
    static SEAT: Cell<usize> = const { Cell::new(0) };
}

/// This thread is the worker of that number from now on.
pub fn sit(worker: usize) {
    SEAT.set((worker + 1).min(DESKS - 1));
}

/// The desk of this thread.
#[inline]
pub(super) fn seat() -> usize {
    SEAT.get()
}

/// A worker's desk.
#[derive(Default)]
#[repr(align(128))]
pub struct Desk {
    marks: Marks,
    acks: Acks,
}

/// Partitions in which this worker has changed something.
#[repr(align(128))]
struct Marks {
    /// A bit for each of `words` that is not zero.
    summary: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl Default for Marks {
    fn default() -> Self {
        Self { summary: AtomicU64::new(0), words: [const { AtomicU64::new(0) }; WORDS] }
    }
}

/// Numbers of changes that another engine has, for this worker. The lock is taken where answers wait for other engines
/// only, by the two threads that this desk has.
#[derive(Default)]
#[repr(align(128))]
struct Acks {
    numbers: Mutex<Vec<u64>>,
    bell: OnceLock<OwnedFd>,
}

impl Desk {
    /// Something in partition `at` has changed. Whoever reads takes the word back before it looks into the partition.
    #[inline]
    pub(super) fn mark(&self, at: usize) {
        let (n, bit) = (at / 64 % WORDS, 1 << (at % 64));
        let word = &self.marks.words[n];
        if word.load(Ordering::SeqCst) & bit == 0 {
            word.fetch_or(bit, Ordering::SeqCst);
        }
        // Read after the word was written: whoever has taken the summary back meanwhile takes the word back after that.
        if self.marks.summary.load(Ordering::SeqCst) & 1 << n == 0 {
            self.marks.summary.fetch_or(1 << n, Ordering::SeqCst);
        }
    }

    /// Whether nothing is marked.
    pub(super) fn is_clear(&self) -> bool {
        self.marks.summary.load(Ordering::SeqCst) == 0
    }

    /// Takes back all marks.
    pub(super) fn take(&self) -> impl Iterator<Item = usize> + '_ {
        let summary = if self.is_clear() { 0 } else { self.marks.summary.swap(0, Ordering::SeqCst) };
        bits(summary).flat_map(|n| {
            let word = self.marks.words[n].swap(0, Ordering::SeqCst);
            bits(word).map(move |bit| n * 64 + bit)
        })
    }

    /// Another engine has what was given this number: the worker is told.
    pub(super) fn acknowledged(&self, number: u64) {
        let Some(bell) = self.acks.bell.get() else { return };
        let mut numbers = self.acks.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        if numbers.len() >= NUMBERS_MAX {
            return;
        }
        numbers.push(number);
        // Who has not taken the first one yet takes all.
        if numbers.len() == 1 {
            let one = 1_u64.to_ne_bytes();
            // A full counter means that it rings already.
            // SAFETY: the buffer is eight valid bytes, and the descriptor is open as long as the desk.
            let _ = unsafe { libc::write(bell.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        }
    }

    /// Becomes readable (eight bytes) when [`Desk::take_acknowledged`] has something to give; non-blocking.
    ///
    /// # Errors
    /// The system has no file descriptor left.
    pub fn bell(&self) -> io::Result<BorrowedFd<'_>> {
        use std::os::fd::AsFd;
        if self.acks.bell.get().is_none() {
            // SAFETY: eventfd takes two integers and touches no memory of ours.
            let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: the call above has just opened it, so nobody else owns it.
            let _ = self.acks.bell.set(unsafe { OwnedFd::from_raw_fd(fd) });
        }
        let bell = self.acks.bell.get().ok_or(io::ErrorKind::NotFound)?;
        Ok(bell.as_fd())
    }

    /// Gives the numbers of changes that another engine has.
    pub fn take_acknowledged(&self, numbers: &mut Vec<u64>) {
        numbers.append(&mut self.acks.numbers.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
        word &= word - 1;
        Some(bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mark_is_taken_back_once() {
        let desk = Desk::default();
        assert!(desk.is_clear());
        for at in [0, 63, 64, 4_095, 64] {
            desk.mark(at);
        }
        assert_eq!(desk.take().collect::<Vec<_>>(), [0, 63, 64, 4_095]);
        assert!(desk.is_clear() && desk.take().next().is_none());
        desk.mark(64);
        assert_eq!(desk.take().collect::<Vec<_>>(), [64], "a word that was taken back is marked anew");
    }

    //= test SYNC-FEED-02
    #[test]
    fn who_marks_while_marks_are_taken_back_loses_none() {
        const ROUNDS: usize = 200_000;
        let desk = Desk::default();
        let made: Vec<AtomicU64> = (0..PARTITIONS_MAX).map(|_| AtomicU64::new(0)).collect();
        let done = AtomicU64::new(0);
        let seen = std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..ROUNDS {
                    let at = n * 67 % PARTITIONS_MAX;
                    made[at].fetch_add(1, Ordering::SeqCst);
                    desk.mark(at);
                }
                done.store(1, Ordering::SeqCst);
            });
            let mut seen = 0;
            loop {
                let is_last = done.load(Ordering::SeqCst) == 1;
                for at in desk.take() {
                    seen += made[at].swap(0, Ordering::SeqCst);
                }
                if is_last {
                    return seen;
                }
            }
        });
        assert_eq!(seen, ROUNDS as u64);
    }

    #[test]
    fn one_bell_rings_for_many_numbers() {
        let desk = Desk::default();
        let bell = desk.bell().expect("an eventfd");
        let rung = || {
            let mut count = [0_u8; 8];
            // SAFETY: the buffer is eight valid bytes, and the descriptor is open as long as the desk.
            let read = unsafe { libc::read(bell.as_raw_fd(), count.as_mut_ptr().cast(), 8) };
            if read == 8 { u64::from_ne_bytes(count) } else { 0 }
        };
        (0..5).for_each(|n| desk.acknowledged(n));
        assert_eq!(rung(), 1);
        let mut numbers = Vec::new();
        desk.take_acknowledged(&mut numbers);
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
        desk.acknowledged(9);
        assert_eq!(rung(), 1, "once more, for what came later");
    }
}
