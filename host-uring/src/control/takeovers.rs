//! What became of processes that took over from each other, as this one knows it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::metrics::TakeoverView;

/// Counts of take-overs, from this process and by it.
#[derive(Debug, Default)]
pub struct Takeovers {
    failed: AtomicU64,
    refused: AtomicU64,
    took_ms: AtomicU64,
    entries: AtomicU64,
}

impl Takeovers {
    /// Somebody was given to, and nothing came of it.
    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Somebody asked who is not given to.
    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// This process serves in the place of another one, which took so long; it was told so many entries.
    pub(super) fn done(&self, took: Duration, entries: u64) {
        // Below a millisecond it would pass for one that was started anew.
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        self.took_ms.store(took_ms, Ordering::Relaxed);
        self.entries.store(entries, Ordering::Relaxed);
    }

    /// What the metrics page shows.
    pub fn view(&self) -> TakeoverView {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        TakeoverView {
            failed: read(&self.failed),
            refused: read(&self.refused),
            took_ms: read(&self.took_ms),
            entries: read(&self.entries),
        }
    }
}
