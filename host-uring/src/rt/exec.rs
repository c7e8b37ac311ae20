//! The tasks of one thread: a slab of futures and a queue of those to be polled.
//!
//! A waker is the task's number and its slot's generation, no more: cloning and dropping it are
//! free, and waking a task that has ended does nothing. Wakers must stay on their thread; one that
//! is used elsewhere finds another thread's (empty) queue and wakes nobody.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use super::clock::{self, Now};

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// What a panicking task threw.
pub(super) type Thrown = Box<dyn Any + Send>;

#[derive(Default)]
struct Queue {
    /// Per slot: generation, and whether it stands in `ready` or `later`.
    slots: Vec<(u32, bool)>,
    /// Woken by what they wait for.
    ready: VecDeque<u64>,
    /// Woken by themselves: they gave way, and would go on at once.
    later: VecDeque<u64>,
    /// The task being polled.
    running: Option<u64>,
    /// Whoever is woken now runs behind the others, as if it had given way.
    behind: bool,
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
            let gave_way = queue.behind || queue.running == Some(id);
            if gave_way { queue.later.push_back(id) } else { queue.ready.push_back(id) }
        }
    });
}

/// Runs `first`; whoever it wakes or spawns is put behind those who are ready.
pub(super) fn behind<T>(first: impl FnOnce() -> T) -> T {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            QUEUE.with(|queue| queue.borrow_mut().behind = self.0);
        }
    }
    let _before = Before(QUEUE.with(|queue| std::mem::replace(&mut queue.borrow_mut().behind, true)));
    first()
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

/// Tasks that are polled between two looks at whether the turn is over: a stream's share takes some tens of
/// microseconds, so a turn is over late by less than a millisecond.
const TASKS_PER_LOOK: usize = 8;

/// The executor of one thread; at most one per thread at a time.
#[derive(Default)]
pub(super) struct Exec {
    tasks: RefCell<Vec<Option<Task>>>,
    free: RefCell<Vec<u32>>,
    /// The time as the running task has seen it; `None`: it has not looked yet.
    time: Cell<Option<Now>>,
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

    /// The clock, read at most once for each time that a task is polled and once after each [`Exec::forget_time`].
    pub(super) fn now(&self) -> Now {
        if let Some(now) = self.time.get() {
            return now;
        }
        let now = clock::now();
        self.time.set(Some(now));
        now
    }

    /// Time has passed: the clock is read anew when it is asked for.
    pub(super) fn forget_time(&self) {
        self.time.set(None);
    }

    /// Says whether a task or the main future waits to be polled.
    pub(super) fn has_work(&self) -> bool {
        QUEUE.with(|queue| {
            let queue = queue.borrow();
            queue.main || !queue.ready.is_empty() || !queue.later.is_empty()
        })
    }

    /// Says whether others are ready beside the running task.
    pub(super) fn is_crowd(&self) -> bool {
        QUEUE.with(|queue| !queue.borrow().ready.is_empty())
    }

    /// Says whether somebody gave way.
    pub(super) fn has_later(&self) -> bool {
        QUEUE.with(|queue| !queue.borrow().later.is_empty())
    }

    /// Says whether there is work for anybody but those who gave way.
    pub(super) fn is_urgent(&self) -> bool {
        QUEUE.with(|queue| {
            let queue = queue.borrow();
            queue.main || !queue.ready.is_empty()
        })
    }

    /// Polls the tasks that were woken by what they waited for before the call, each once and in their order, until
    /// `is_over` says that this is enough for now; it is asked after each [`TASKS_PER_LOOK`] of them. What is left stays
    /// in front.
    ///
    /// # Errors
    /// What the first panicking task threw; the rest is left unpolled.
    pub(super) fn run_ready(&self, is_over: impl FnMut() -> bool) -> Result<(), Thrown> {
        self.run(|queue| &mut queue.ready, is_over)
    }

    /// The same for those who gave way; some of them are polled however soon it is over.
    ///
    /// # Errors
    /// As of [`Exec::run_ready`].
    pub(super) fn run_later(&self, is_over: impl FnMut() -> bool) -> Result<(), Thrown> {
        self.run(|queue| &mut queue.later, is_over)
    }

    fn run(
        &self,
        which: fn(&mut Queue) -> &mut VecDeque<u64>,
        mut is_over: impl FnMut() -> bool,
    ) -> Result<(), Thrown> {
        let count = QUEUE.with(|queue| which(&mut queue.borrow_mut()).len());
        for polled in 0..count {
            if polled > 0 && polled.is_multiple_of(TASKS_PER_LOOK) && is_over() {
                break;
            }
            self.run_next(which)?;
        }
        Ok(())
    }

    fn run_next(&self, which: fn(&mut Queue) -> &mut VecDeque<u64>) -> Result<(), Thrown> {
        let next = QUEUE.with(|queue| {
            let mut queue = queue.borrow_mut();
            let id = which(&mut queue).pop_front()?;
            let slot = &mut queue.slots[id as u32 as usize];
            slot.1 = false;
            let is_live = slot.0 == (id >> 32) as u32;
            queue.running = is_live.then_some(id);
            queue.running
        });
        let Some(id) = next else { return Ok(()) };
        let index = id as u32 as usize;
        let Some(mut task) = self.tasks.borrow_mut()[index].take() else {
            return Ok(());
        };
        let waker = waker(id);
        self.forget_time();
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(&mut Context::from_waker(&waker))));
        // Whoever it wakes from here on, as by being dropped, is not it.
        QUEUE.with(|queue| queue.borrow_mut().running = None);
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
        self.forget_time();
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
