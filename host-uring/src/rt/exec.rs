//! The tasks of one thread: a slab of futures and a queue of those to be polled.
//!
//! A waker is the task's number and its slot's generation, no more: cloning and dropping it are
//! free, and waking a task that has ended does nothing. Wakers must stay on their thread; one that
//! is used elsewhere finds another thread's (empty) queue and wakes nobody.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// What a panicking task threw.
pub(super) type Thrown = Box<dyn Any + Send>;

#[derive(Default)]
struct Queue {
    /// Per slot: generation, and whether it stands in `ready`.
    slots: Vec<(u32, bool)>,
    ready: Vec<u64>,
    main: bool,
}

thread_local! {
    static QUEUE: RefCell<Queue> = RefCell::default();
}

/// The waker number of the future given to `block_on`.
const MAIN: u64 = u64::MAX;

fn wake(id: u64) {
    // A waker that outlives its thread's queue has nobody to wake.
    let _ = QUEUE.try_with(|queue| {
        let mut queue = queue.borrow_mut();
        if id == MAIN {
            queue.main = true;
            return;
        }
        let (index, generation) = (id as u32 as usize, (id >> 32) as u32);
        if let Some(slot) = queue.slots.get_mut(index)
            && slot.0 == generation
            && !slot.1
        {
            slot.1 = true;
            queue.ready.push(id);
        }
    });
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |data| RawWaker::new(data, &VTABLE),
    |data| wake(data as u64),
    |data| wake(data as u64),
    |_| {},
);

fn waker(id: u64) -> Waker {
    // SAFETY: the data is a number, never followed as a pointer; clone returns it unchanged, drop
    // frees nothing, and `wake` only touches the calling thread's own queue, so the waker may be
    // sent and used anywhere.
    unsafe { Waker::from_raw(RawWaker::new(id as usize as *const (), &VTABLE)) }
}

/// The executor of one thread; at most one per thread at a time.
#[derive(Default)]
pub(super) struct Exec {
    tasks: RefCell<Vec<Option<Task>>>,
    free: RefCell<Vec<u32>>,
    /// The batch being polled; kept for its capacity.
    batch: RefCell<Vec<u64>>,
}

impl Exec {
    /// Starts with an empty queue and wakes the main future.
    pub(super) fn new() -> Self {
        QUEUE.with(|queue| *queue.borrow_mut() = Queue { main: true, ..Queue::default() });
        Exec::default()
    }

    pub(super) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        let mut tasks = self.tasks.borrow_mut();
        let index = self.free.borrow_mut().pop().unwrap_or_else(|| {
            tasks.push(None);
            QUEUE.with(|queue| queue.borrow_mut().slots.push((0, false)));
            (tasks.len() - 1) as u32
        });
        tasks[index as usize] = Some(Box::pin(future));
        drop(tasks);
        let generation = QUEUE.with(|queue| queue.borrow().slots[index as usize].0);
        wake(u64::from(generation) << 32 | u64::from(index));
    }

    /// Says whether a task or the main future waits to be polled.
    pub(super) fn has_work(&self) -> bool {
        QUEUE.with(|queue| {
            let queue = queue.borrow();
            queue.main || !queue.ready.is_empty()
        })
    }

    /// Polls every task that was ready at the call once.
    ///
    /// # Errors
    /// What the first panicking task threw; the rest of the batch is left unpolled.
    pub(super) fn run_ready(&self) -> Result<(), Thrown> {
        let mut batch = self.batch.take();
        QUEUE.with(|queue| std::mem::swap(&mut queue.borrow_mut().ready, &mut batch));
        let mut outcome = Ok(());
        for id in batch.drain(..) {
            outcome = self.run_one(id);
            if outcome.is_err() {
                break;
            }
        }
        batch.clear();
        *self.batch.borrow_mut() = batch;
        outcome
    }

    fn run_one(&self, id: u64) -> Result<(), Thrown> {
        let index = id as u32 as usize;
        let live = QUEUE.with(|queue| {
            let slot = &mut queue.borrow_mut().slots[index];
            slot.1 = false;
            slot.0 == (id >> 32) as u32
        });
        if !live {
            return Ok(());
        }
        let Some(mut task) = self.tasks.borrow_mut()[index].take() else {
            return Ok(());
        };
        let waker = waker(id);
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(&mut Context::from_waker(&waker))));
        match polled {
            Ok(Poll::Pending) => self.tasks.borrow_mut()[index] = Some(task),
            Ok(Poll::Ready(())) => {
                drop(task);
                QUEUE.with(|queue| {
                    let slot = &mut queue.borrow_mut().slots[index];
                    slot.0 = slot.0.wrapping_add(1);
                    slot.1 = false;
                });
                self.free.borrow_mut().push(index as u32);
            }
            Err(thrown) => return Err(thrown),
        }
        Ok(())
    }

    /// Polls the main future if it was woken.
    ///
    /// # Errors
    /// What it threw.
    pub(super) fn run_main<T>(&self, main: Pin<&mut impl Future<Output = T>>) -> Result<Option<T>, Thrown> {
        if !QUEUE.with(|queue| std::mem::take(&mut queue.borrow_mut().main)) {
            return Ok(None);
        }
        let waker = waker(MAIN);
        let polled = catch_unwind(AssertUnwindSafe(|| main.poll(&mut Context::from_waker(&waker))));
        match polled {
            Ok(Poll::Ready(value)) => Ok(Some(value)),
            Ok(Poll::Pending) => Ok(None),
            Err(thrown) => Err(thrown),
        }
    }

    /// Drops every task, which closes what it owns; tasks that are spawned by a drop go as well.
    //= SE-PANIC-01
    pub(super) fn clear(&self) {
        loop {
            let tasks = std::mem::take(&mut *self.tasks.borrow_mut());
            if tasks.is_empty() {
                break;
            }
            for task in tasks.into_iter().flatten() {
                // A destructor that panics must not keep the other connections open.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(task)));
            }
        }
        self.free.borrow_mut().clear();
        QUEUE.with(|queue| *queue.borrow_mut() = Queue::default());
    }
}
