//! What is known of an engine's Redis, for those who show it.

use std::sync::{Arc, Mutex, PoisonError};

/// What is known of an engine's Redis and of the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MirrorStatus {
    /// Where the Redis is.
    pub redis: String,
    /// A connection stands, and all entries of this engine are in it.
    pub connected: bool,
    /// Why there is none.
    pub trouble: Option<String>,
    /// The engine may serve.
    pub joined: bool,
    /// When it did, all others' entries had been told.
    pub complete: bool,
    /// Keys that wait to be written.
    pub waiting: u64,
    /// Connections that stood. This and what follows only grows.
    pub sessions: u64,
    /// Entries of this engine that were written for the others.
    pub told: u64,
    /// Entries that came and changed something here.
    pub applied: u64,
    /// Entries of tables or servers that are not in this configuration.
    pub unknown: u64,
    /// Entries for which there was no room, or with a stamp of tomorrow.
    pub refused: u64,
    /// How often notes were lost, and everything was asked for anew.
    pub lost: u64,
    /// Slots of the other engines that live.
    pub others: Vec<u8>,
    /// Microseconds of processor time that the thread has used.
    pub busy_us: u64,
}

/// The last status that was made known.
#[derive(Clone, Debug, Default)]
pub struct MirrorView(Arc<Mutex<MirrorStatus>>);

impl MirrorView {
    /// What is known.
    pub fn status(&self) -> MirrorStatus {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, status: MirrorStatus) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}
