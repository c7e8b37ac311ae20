//! Readiness to be read, known for as long as a socket lives.
//!
//! One poll, armed once, tells of every arrival (edges); what it has told is kept here until a read finds nothing more. So a
//! wait costs no system call and no submission, and a deadline that passes has nothing to cancel.
//!
//! An edge of the ring may be old news: told after a read that has taken its bytes already. So an edge that was told in the
//! turn of a read is looked at before a task is told of it.
//!
//! A socket's first wait is armed for one answer only: many connections never wait a second time, and a lasting poll has
//! to be taken back when the socket is closed.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::clock::{NEVER, Now};
use super::poller::{Answer, GENERATIONS, WATCH};
use super::sockets::{Inner, Timer};
use super::sys;
use super::wheel::TimerId;

const NONE: u32 = u32::MAX;

/// A socket's place among the watches, from its first wait on.
pub(super) struct Watched(Cell<u32>);

impl Default for Watched {
    fn default() -> Self {
        Watched(Cell::new(NONE))
    }
}

/// What a read got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Got {
    /// Nothing: it would have blocked.
    Nothing,
    /// Less than it asked for: nothing more is there, but perhaps the end. (Urgent data ends a read early as well: see
    /// [`super::Stream::has_unread`].)
    Less,
    /// All that it asked for: there may be more.
    All,
}

/// What is known of what a read would get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Known {
    /// Nothing, unless the kernel tells otherwise.
    #[default]
    Silent,
    /// Perhaps something: only a look can tell.
    Doubtful,
    /// Something: bytes, the end, or a failure.
    Ready,
}

/// The watches: a slab whose index and generation are the poller's key.
#[derive(Default)]
pub(super) struct Watches {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Counts the times that the kernel has told all that it knew.
    epoch: u32,
}

/// One line of the processor's cache, which each event and each wait touches.
#[repr(align(64))]
struct Slot {
    generation: u32,
    /// The kernel will answer (again).
    armed: bool,
    /// It was armed before: it is worth a poll that lasts.
    again: bool,
    known: Known,
    /// The epoch of the last read.
    read_at: u32,
    /// The peer's end or a failure was seen: a read gets all that there is, and then not "would block".
    ended: bool,
    /// The deadline of the wait has come.
    late: bool,
    /// The socket is closed; the kernel's last answer frees the slot.
    gone: bool,
    /// The error that the poll itself ended with; 0: none.
    failed: i32,
    /// The task that waits.
    waker: Option<Waker>,
    /// The end of its wait.
    deadline: Now,
    /// When the timer fires; [`NEVER`]: none is armed. It is left armed when a wait ends before it: the next wait's deadline
    /// is almost always later, and is seen to when the timer fires.
    timer_at: Now,
    timer: TimerId,
}

const _: () = assert!(size_of::<Slot>() == 64);

impl Slot {
    fn of_generation(generation: u32) -> Self {
        Slot {
            generation,
            armed: false,
            again: false,
            ended: false,
            late: false,
            gone: false,
            known: Known::Silent,
            read_at: 0,
            failed: 0,
            waker: None,
            deadline: NEVER,
            timer_at: NEVER,
            timer: TimerId::NONE,
        }
    }
}

impl Watches {
    fn key(&self, index: u32) -> u64 {
        WATCH | u64::from(self.slots[index as usize].generation) << 32 | u64::from(index)
    }

    fn get(&mut self, key: u64) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(key as u32 as usize)?;
        (slot.generation == (key >> 32) as u32 & GENERATIONS).then_some(slot)
    }

    fn enter(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::of_generation(0));
            (self.slots.len() - 1) as u32
        })
    }

    /// The kernel has told all that had happened: what it tells from now on is younger than every read so far.
    pub(super) fn all_told(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }

    fn release(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        *slot = Slot::of_generation((slot.generation + 1) & GENERATIONS);
        self.free.push(index);
    }

    pub(super) fn answer(&mut self, answer: Answer) {
        let epoch = self.epoch;
        let Some(slot) = self.get(answer.key) else { return };
        slot.armed = !answer.is_last;
        if slot.gone {
            if answer.is_last {
                self.release(answer.key as u32);
            }
            return;
        }
        let is_old = answer.may_be_old && slot.read_at == epoch;
        slot.known = if is_old { Known::Doubtful } else { Known::Ready };
        slot.ended |= answer.is_end;
        if let Err(code) = answer.result {
            slot.failed = code;
        }
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
    }
}

impl Inner {
    /// The timer of a watch has fired.
    //= SE-TIMEOUT-01
    pub(super) fn watch_expires(&self, key: u64, now: Now) {
        let mut watches = self.watches.borrow_mut();
        let Some(slot) = watches.get(key) else { return };
        slot.timer_at = NEVER;
        if slot.waker.is_none() || slot.deadline == NEVER {
            return;
        }
        if now >= slot.deadline {
            slot.late = true;
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        } else {
            slot.timer_at = slot.deadline;
            slot.timer = self.timers.borrow_mut().arm(slot.deadline, Timer::Watch(key));
        }
    }

    /// Something was read, or tried to be.
    #[inline]
    pub(super) fn was_read(&self, watched: &Watched, got: Got) {
        let index = watched.0.get();
        if index == NONE {
            return;
        }
        let mut watches = self.watches.borrow_mut();
        let epoch = watches.epoch;
        let slot = &mut watches.slots[index as usize];
        slot.read_at = epoch;
        slot.known = match got {
            Got::Nothing => Known::Silent,
            // An end that was told with the bytes before it is not told again.
            Got::Less if !slot.ended => Known::Silent,
            Got::Less | Got::All => Known::Doubtful,
        };
    }

    /// Says whether it is known without a look that nothing came.
    pub(super) fn is_silent(&self, watched: &Watched) -> bool {
        let index = watched.0.get();
        index != NONE
            && self
                .watches
                .borrow()
                .slots
                .get(index as usize)
                .is_some_and(|slot| slot.armed && slot.known == Known::Silent)
    }

    /// The socket is about to be closed.
    pub(super) fn unwatch(&self, watched: &Watched, fd: RawFd) {
        self.soon.borrow_mut().forget(fd);
        let index = watched.0.replace(NONE);
        if index != NONE {
            let mut watches = self.watches.borrow_mut();
            let key = watches.key(index);
            let slot = &mut watches.slots[index as usize];
            if slot.timer_at != NEVER {
                self.timers.borrow_mut().disarm(slot.timer);
                slot.timer_at = NEVER;
            }
            slot.waker = None;
            if slot.armed {
                slot.gone = true;
                // The poll holds the file: without this the peer would not hear of the close.
                self.poller.borrow_mut().cancel(fd, key);
            } else {
                watches.release(index);
            }
        }
        self.poller.borrow_mut().forget(fd);
    }
}

/// One wait for something to read.
pub(super) struct Readable<'a> {
    rt: &'a Inner,
    watched: &'a Watched,
    fd: BorrowedFd<'a>,
    deadline: Now,
    waits: bool,
}

impl<'a> Readable<'a> {
    pub(super) fn new(rt: &'a Inner, watched: &'a Watched, fd: BorrowedFd<'a>, deadline: Now) -> Self {
        Readable { rt, watched, fd, deadline, waits: false }
    }

    fn begin(&mut self, waker: &Waker) -> Poll<io::Result<()>> {
        let mut watches = self.rt.watches.borrow_mut();
        let mut index = self.watched.0.get();
        if index == NONE {
            index = watches.enter();
            self.watched.0.set(index);
        }
        let key = watches.key(index);
        let slot = &mut watches.slots[index as usize];
        if slot.is_ready(self.fd) {
            return Poll::Ready(slot.outcome());
        }
        if !slot.armed {
            self.rt.poller.borrow_mut().watch(self.fd.as_raw_fd(), !slot.again, key)?;
            (slot.armed, slot.again) = (true, true);
        }
        debug_assert!(slot.waker.is_none(), "one task waits for one side of a stream");
        slot.waker = Some(waker.clone());
        slot.deadline = self.deadline;
        slot.late = false;
        if self.deadline < slot.timer_at {
            let mut timers = self.rt.timers.borrow_mut();
            if slot.timer_at != NEVER {
                timers.disarm(slot.timer);
            }
            slot.timer_at = self.deadline;
            slot.timer = timers.arm(self.deadline, Timer::Watch(key));
        }
        self.waits = true;
        Poll::Pending
    }
}

impl Slot {
    /// Says whether a read would get something; looks if only that can tell.
    fn is_ready(&mut self, fd: BorrowedFd<'_>) -> bool {
        if self.known == Known::Doubtful {
            self.known = if sys::is_spent(fd) { Known::Ready } else { Known::Silent };
        }
        self.known == Known::Ready
    }

    fn outcome(&mut self) -> io::Result<()> {
        match std::mem::take(&mut self.failed) {
            0 => Ok(()),
            code => {
                self.known = Known::Silent;
                Err(io::Error::from_raw_os_error(code))
            }
        }
    }
}

impl Future for Readable<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.waits {
            return self.begin(context.waker());
        }
        let mut watches = self.rt.watches.borrow_mut();
        let slot = &mut watches.slots[self.watched.0.get() as usize];
        let outcome = if slot.late {
            // What came since then is for the next wait.
            Err(io::ErrorKind::TimedOut.into())
        } else if slot.is_ready(self.fd) {
            slot.outcome()
        } else {
            if !slot.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                slot.waker = Some(context.waker().clone());
            }
            return Poll::Pending;
        };
        slot.waker = None;
        drop(watches);
        self.waits = false;
        Poll::Ready(outcome)
    }
}

impl Drop for Readable<'_> {
    /// Who has something better to do stops waiting; the watch goes on.
    fn drop(&mut self) {
        if self.waits
            && let Some(slot) = self.rt.watches.borrow_mut().slots.get_mut(self.watched.0.get() as usize)
        {
            slot.waker = None;
        }
    }
}
