//! Requests that wait for a place at a server, first come first served on each worker.
//!
//! Only the first one is ever called: when a place may have come free, and when it has become the first. So whoever
//! leaves, for whatever reason, passes the turn on, and a call cannot get lost with one who has no use for it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::http::limits::{QUEUE_LOOK_US, QUEUE_SPARES_MAX};
use crate::rt::{Now, Rt};

/// The waiting requests of one route on one worker.
#[derive(Default)]
pub struct Queue {
    waiting: RefCell<VecDeque<Rc<Waiter>>>,
    /// Of those who have left, for those who come.
    spare: RefCell<Vec<Rc<Waiter>>>,
}

#[derive(Default)]
struct Waiter {
    called: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// A request's place; given up when dropped.
pub struct Place<'q> {
    queue: &'q Queue,
    waiter: Rc<Waiter>,
}

impl Queue {
    /// Takes the last place.
    //= SE-QUEUE-01
    pub fn enter(&self) -> Place<'_> {
        let waiter = self.spare.borrow_mut().pop().unwrap_or_default();
        self.waiting.borrow_mut().push_back(waiter.clone());
        Place { queue: self, waiter }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Says whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    /// Calls the first one: a place may have come free.
    pub fn call(&self) {
        if let Some(first) = self.waiting.borrow().front() {
            first.called.set(true);
            if let Some(waker) = first.waker.take() {
                waker.wake();
            }
        }
    }
}

impl Place<'_> {
    /// Waits until it is the first one's turn and this is the first one, or until `deadline`. The first one's turn also
    /// comes by itself after a short while: a place may have come free on another worker.
    pub async fn wait<R: Rt>(&self, rt: &R, deadline: Now) {
        let look = Now(rt.now().0 + QUEUE_LOOK_US).min(deadline);
        let mut pause = pin!(rt.sleep_until(if self.is_first() { look } else { deadline }));
        poll_fn(|context| {
            if self.waiter.called.replace(false) {
                return Poll::Ready(());
            }
            *self.waiter.waker.borrow_mut() = Some(context.waker().clone());
            pause.as_mut().poll(context)
        })
        .await;
    }

    /// Says whether nobody came earlier.
    pub fn is_first(&self) -> bool {
        let waiting = self.queue.waiting.borrow();
        waiting.front().is_some_and(|first| Rc::ptr_eq(first, &self.waiter))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let was_first = self.is_first();
        self.queue.waiting.borrow_mut().retain(|waiter| !Rc::ptr_eq(waiter, &self.waiter));
        // Whom nobody calls any more.
        self.waiter.called.set(false);
        self.waiter.waker.take();
        let mut spare = self.queue.spare.borrow_mut();
        if spare.len() < QUEUE_SPARES_MAX {
            spare.push(self.waiter.clone());
        }
        drop(spare);
        if was_first {
            self.queue.call();
        }
    }
}
