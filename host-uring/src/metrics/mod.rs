//! Counters that workers write and the control thread reads.
//!
//! A worker's counters have one writer: adding is a relaxed load and store, no locked instruction and no
//! line that another core writes. Names and units as exported are in `docs/spec/observability.md`.

mod histogram;
mod names;
mod objsync;
pub mod page;
mod per_worker;
mod process;
mod redis;
mod takeover;
mod text;
mod tls;
mod worker;
mod worker_counters;

use std::sync::atomic::{AtomicU64, Ordering};

pub use histogram::{BOUNDS_US, Histogram, HistogramSum};
pub use names::NamesView;
pub use objsync::{MemberView, ObjsyncView};
pub use per_worker::PerWorker;
pub use process::Process;
pub use takeover::TakeoverView;
pub use worker::{
    PersistenceCounters, PoolMetrics, ServerMetrics, ServiceMetrics, TimeoutCounters, WorkerMetrics,
};

/// A count that only grows, written by one thread.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning worker may call it: two writers would lose counts.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Adds one; see [`Counter::add`].
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// The count, from any thread.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Things that begin and end, written by one thread.
#[derive(Debug, Default)]
pub struct Open {
    /// How many began.
    pub opened: Counter,
    /// How many ended.
    pub closed: Counter,
}

impl Open {
    /// How many have begun and not ended. Read `closed` first, so a race never shows fewer than none.
    pub fn now(&self) -> u64 {
        let closed = self.closed.get();
        self.opened.get().saturating_sub(closed)
    }

    /// Ends what has not ended: its worker is gone, and nobody else writes.
    pub fn settle(&self) {
        self.closed.add(self.now());
    }
}
