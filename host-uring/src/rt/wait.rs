//! Single waits for readiness: armed once, answered once, cancelled when their deadline comes.

use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::clock::{NEVER, Now};
use super::poller::{Answer, GENERATIONS, Side};
use super::sockets::{Inner, Timer};
use super::wheel::TimerId;

/// The armed waits: a slab whose index and generation are the poller's key.
#[derive(Default)]
pub(super) struct Waits {
    slots: Vec<WaitSlot>,
    free: Vec<u32>,
}

struct WaitSlot {
    generation: u32,
    fd: RawFd,
    state: WaitState,
}

enum WaitState {
    Free,
    /// The task to wake, and whether the cancellation in flight comes from the deadline.
    Pending {
        waker: Waker,
        late: bool,
    },
    /// The waiting future is gone; the kernel's answer frees the slot.
    Orphan,
    Answered {
        result: Result<(), i32>,
        late: bool,
    },
}

impl Waits {
    fn key(&self, index: u32) -> u64 {
        u64::from(self.slots[index as usize].generation) << 32 | u64::from(index)
    }

    fn get(&mut self, key: u64) -> Option<&mut WaitSlot> {
        let slot = self.slots.get_mut(key as u32 as usize)?;
        (slot.generation == (key >> 32) as u32).then_some(slot)
    }

    fn insert(&mut self, fd: RawFd, waker: Waker) -> u64 {
        let state = WaitState::Pending { waker, late: false };
        let index = match self.free.pop() {
            Some(index) => {
                let slot = &mut self.slots[index as usize];
                slot.fd = fd;
                slot.state = state;
                index
            }
            None => {
                self.slots.push(WaitSlot { generation: 0, fd, state });
                (self.slots.len() - 1) as u32
            }
        };
        self.key(index)
    }

    fn release(&mut self, key: u64) {
        let index = key as u32;
        let slot = &mut self.slots[index as usize];
        slot.state = WaitState::Free;
        slot.generation = (slot.generation + 1) & GENERATIONS;
        self.free.push(index);
    }

    pub(super) fn answer(&mut self, Answer { key, result, .. }: Answer) {
        let Some(slot) = self.get(key) else { return };
        match std::mem::replace(&mut slot.state, WaitState::Free) {
            WaitState::Pending { waker, late } => {
                slot.state = WaitState::Answered { result, late };
                waker.wake();
            }
            WaitState::Orphan => self.release(key),
            WaitState::Free | WaitState::Answered { .. } => {
                debug_assert!(false, "a wait is answered once");
            }
        }
    }
}

impl Inner {
    /// The deadline of a wait has come: asks the kernel to cancel it. Its answer ends the wait.
    //= SE-TIMEOUT-01
    pub(super) fn expire(&self, key: u64) {
        if let Some(WaitSlot { fd, state: WaitState::Pending { late, .. }, .. }) =
            self.waits.borrow_mut().get(key)
        {
            *late = true;
            self.poller.borrow_mut().cancel(*fd, key);
        }
    }
}

/// One wait for readiness.
pub(super) struct Wait<'a> {
    rt: &'a Inner,
    fd: BorrowedFd<'a>,
    side: Side,
    deadline: Now,
    key: Option<u64>,
    timer: Option<TimerId>,
}

impl<'a> Wait<'a> {
    pub(super) fn new(rt: &'a Inner, fd: BorrowedFd<'a>, side: Side, deadline: Now) -> Self {
        Wait { rt, fd, side, deadline, key: None, timer: None }
    }
}

impl Future for Wait<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = &mut *self;
        let Some(key) = me.key else {
            let fd = me.fd.as_raw_fd();
            let key = me.rt.waits.borrow_mut().insert(fd, context.waker().clone());
            if let Err(error) = me.rt.poller.borrow_mut().arm(fd, me.side, key) {
                me.rt.waits.borrow_mut().release(key);
                return Poll::Ready(Err(error));
            }
            me.key = Some(key);
            if me.deadline != NEVER {
                me.timer = Some(me.rt.timers.borrow_mut().arm(me.deadline, Timer::Wait(key)));
            }
            return Poll::Pending;
        };
        let mut waits = me.rt.waits.borrow_mut();
        let slot = waits.get(key).expect("a wait's slot lives until its answer was taken");
        match &mut slot.state {
            WaitState::Answered { result, late } => {
                let (result, late) = (*result, *late);
                waits.release(key);
                drop(waits);
                me.key = None;
                if let Some(timer) = me.timer.take() {
                    me.rt.timers.borrow_mut().disarm(timer);
                }
                Poll::Ready(match result {
                    Ok(()) => Ok(()),
                    Err(libc::ECANCELED) if late => Err(io::ErrorKind::TimedOut.into()),
                    Err(code) => Err(io::Error::from_raw_os_error(code)),
                })
            }
            WaitState::Pending { waker, .. } => {
                if !waker.will_wake(context.waker()) {
                    waker.clone_from(context.waker());
                }
                Poll::Pending
            }
            WaitState::Orphan | WaitState::Free => unreachable!("only a drop orphans a wait"),
        }
    }
}

impl Drop for Wait<'_> {
    /// A task that is torn down (its worker stops or panicked) or has something better to do drops a wait; the kernel is
    /// asked to cancel it, and its answer frees the slot.
    fn drop(&mut self) {
        let Some(key) = self.key.take() else { return };
        if let Some(timer) = self.timer.take() {
            self.rt.timers.borrow_mut().disarm(timer);
        }
        let mut waits = self.rt.waits.borrow_mut();
        let Some(slot) = waits.get(key) else { return };
        match slot.state {
            WaitState::Pending { .. } => {
                slot.state = WaitState::Orphan;
                drop(waits);
                self.rt.poller.borrow_mut().cancel(self.fd.as_raw_fd(), key);
            }
            _ => waits.release(key),
        }
    }
}
