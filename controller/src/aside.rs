//! Work that is nobody's request: it has a thread of its own and a part of one processor, so that who asks the Controller, and
//! engines that hang on it, never wait for it.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// All work of one thread together may take this part of a processor: a quarter.
const PART: u32 = 4;
/// So much at once before that: what a group of half a million entries takes to be read.
const BURST: Duration = Duration::from_millis(500);
/// Who has taken too much rests so long at most, and asks again, until what was taken too much has run off.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// A thread for such work; it ends, and all its work with it, when this is dropped.
pub struct Aside {
    handle: Handle,
    budget: Arc<Budget>,
    _end: oneshot::Sender<()>,
}

impl Aside {
    /// A thread of this name.
    ///
    /// # Errors
    /// As a text: the system gives none.
    pub fn start(name: &str) -> Result<Self, String> {
        let budget = Arc::new(Budget::new(Instant::now()));
        let (parks, wakes) = (Arc::clone(&budget), Arc::clone(&budget));
        let runtime = Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || parks.rests(Instant::now()))
            .on_thread_unpark(move || wakes.wakes(Instant::now()))
            .build()
            .map_err(|error| error.to_string())?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        let run = move || {
            // Whoever held the other end is gone.
            let _ = runtime.block_on(ended);
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(|error| error.to_string())?;
        Ok(Aside { handle, budget, _end: end })
    }

    /// Does that there.
    pub fn spawn<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.handle.spawn(work)
    }

    /// What its work is to ask now and then.
    pub fn budget(&self) -> Arc<Budget> {
        Arc::clone(&self.budget)
    }
}

/// What the work of one thread takes of a processor.
pub struct Budget {
    spent: Mutex<Spent>,
}

struct Spent {
    /// What was taken and has not run off yet.
    debt: Duration,
    /// Upto when that is true.
    at: Instant,
    /// The thread works, and this much of it stands in `debt`.
    woke: Option<Instant>,
}

impl Spent {
    fn settle(&mut self, now: Instant) {
        if let Some(woke) = &mut self.woke {
            self.debt += now.saturating_duration_since(*woke);
            *woke = now;
        }
        self.debt = self.debt.saturating_sub(now.saturating_duration_since(self.at) / PART);
        self.at = now;
    }
}

impl Budget {
    /// Nothing yet; the thread works.
    fn new(now: Instant) -> Self {
        Budget { spent: Mutex::new(Spent { debt: Duration::ZERO, at: now, woke: Some(now) }) }
    }

    fn with<R>(&self, now: Instant, work: impl FnOnce(&mut Spent) -> R) -> R {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.settle(now);
        work(&mut spent)
    }

    fn rests(&self, now: Instant) {
        self.with(now, |spent| spent.woke = None);
    }

    fn wakes(&self, now: Instant) {
        self.with(now, |spent| spent.woke = Some(now));
    }

    /// How long who is at work is to rest before it asks again; nothing, where the thread has taken no more than its part.
    pub fn pause(&self, now: Instant) -> Duration {
        self.with(now, |spent| (spent.debt.saturating_sub(BURST) * PART).min(PAUSE_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test SYNC-MIRROR-06
    #[test]
    fn who_has_taken_its_part_of_a_processor_rests() {
        let began = Instant::now();
        let at = |ms: u64| began + Duration::from_millis(ms);
        let budget = Budget::new(began);
        assert_eq!(budget.pause(at(600)), Duration::ZERO, "450 ms are owed");
        assert_eq!(budget.pause(at(1_000)), PAUSE_MAX, "750 ms are owed");
        budget.rests(at(1_000));
        budget.wakes(at(2_000));
        assert_eq!(budget.pause(at(2_000)), Duration::ZERO, "it has run off");
        // Several at once, whatever each of their steps takes: all rest until they may go on, and then each does a step.
        for (workers, step) in [(1, 10), (1, 25), (2, 25), (8, 5), (8, 25)] {
            let (budget, mut now, mut worked) = (Budget::new(began), 0, 0);
            while now < 100_000 {
                budget.wakes(at(now));
                now += workers * step;
                worked += workers * step;
                budget.rests(at(now));
                loop {
                    let pause = budget.pause(at(now));
                    if pause.is_zero() {
                        break;
                    }
                    now += u64::try_from(pause.as_millis()).unwrap_or(0).max(1);
                }
            }
            let most = 26_000;
            assert!((24_000..most).contains(&worked), "{workers} with steps of {step} ms: {worked} of {now}");
        }
    }

    //= test SYNC-MIRROR-06
    #[test]
    fn a_thread_that_waits_takes_nothing_and_one_that_does_not_has_to_rest() {
        let aside = Aside::start("aside").expect("a thread");
        let budget = aside.budget();
        // Sleep: it is the time that passes that costs nothing; work without end would owe too much in less.
        std::thread::sleep(2 * BURST);
        assert_eq!(budget.pause(Instant::now()), Duration::ZERO, "it has waited");
        let (rests, rested) = std::sync::mpsc::channel();
        aside.spawn(async move {
            let began = Instant::now();
            while budget.pause(Instant::now()).is_zero() && began.elapsed() < 20 * BURST {
                std::hint::spin_loop();
            }
            rests.send(began.elapsed()).expect("it is waited for");
        });
        let took = rested.recv().expect("it works");
        assert!(took >= BURST && took < 20 * BURST, "{took:?}");
    }

    #[test]
    fn its_work_ends_with_it() {
        let aside = Aside::start("aside").expect("a thread");
        let (alive, ended) = oneshot::channel::<()>();
        aside.spawn(async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        });
        drop(aside);
        assert!(ended.blocking_recv().is_err());
    }
}
