//! Requests that wait for a place at a server, first come first served on each worker.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::http::limits::QUEUE_LOOK_US;
use crate::rt::{Now, Rt};

/// The waiting requests of one route on one worker.
#[derive(Default)]
pub struct Queue {
    waiting: RefCell<VecDeque<Rc<Waiter>>>,
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
        let waiter = Rc::new(Waiter::default());
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

    /// Calls the first one that was not called yet: a place may have come free.
    pub fn call(&self) {
        let waiting = self.waiting.borrow();
        if let Some(waiter) = waiting.iter().find(|waiter| !waiter.called.get()) {
            waiter.called.set(true);
            if let Some(waker) = waiter.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }
}

impl Place<'_> {
    /// Waits until called, or a short while: a place may also come free on another worker.
    pub async fn wait<R: Rt>(&self, rt: &R, deadline: Now) {
        let look = Now(rt.now().0 + QUEUE_LOOK_US).min(deadline);
        let mut pause = pin!(rt.sleep_until(look));
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
        let mut waiting = self.queue.waiting.borrow_mut();
        waiting.retain(|waiter| !Rc::ptr_eq(waiter, &self.waiter));
        drop(waiting);
        // A call that came in the moment of leaving goes to the next one.
        if self.waiter.called.get() {
            self.queue.call();
        }
    }
}
