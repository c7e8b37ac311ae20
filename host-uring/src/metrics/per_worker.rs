//! What every worker counts for one thing, each in lines of its own.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Histogram, HistogramSum};

/// One `T` for each worker that asked for one. It lives as long as the thing it counts for, over changes of the
/// configuration and new starts of the worker.
///
/// The lock is taken by who looks at all of them and when a worker takes a configuration; never for a request.
pub struct PerWorker<T>(Mutex<Vec<Arc<T>>>);

impl<T> Default for PerWorker<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> fmt::Debug for PerWorker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PerWorker({})", self.lock().len())
    }
}

impl<T> PerWorker<T> {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<T>>> {
        // The list only grows, by whole items.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one number up over the workers.
    pub fn sum(&self, of: impl Fn(&T) -> u64) -> u64 {
        self.lock().iter().map(|one| of(one)).sum()
    }

    /// Adds one histogram up over the workers.
    pub fn histogram(&self, of: impl Fn(&T) -> &Histogram) -> HistogramSum {
        let mut sum = HistogramSum::default();
        self.lock().iter().for_each(|one| sum.add(of(one)));
        sum
    }
}

impl<T: Default> PerWorker<T> {
    /// That of one worker.
    pub fn of(&self, worker: usize) -> Arc<T> {
        let mut list = self.lock();
        while list.len() <= worker {
            list.push(Arc::default());
        }
        Arc::clone(&list[worker])
    }
}
