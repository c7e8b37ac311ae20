//! How far the hand-over of this process has come, as its threads agree on it.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// How far it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Nobody has asked.
    #[default]
    Idle,
    /// Somebody gets what this process has; until he says that he accepts, everything can be taken back.
    Busy,
    /// Another process serves; this one tells of the connections that it ends.
    Given,
    /// All is told.
    Told,
}

/// How far the hand-over of this process has come.
#[derive(Debug, Default)]
pub struct Standing(Mutex<Stands>);

#[derive(Debug, Default)]
struct Stands {
    phase: Phase,
    /// The process stops, so nothing new is begun, and what is not settled is given up.
    stops: bool,
    /// Its last connection is closed.
    is_done: bool,
}

impl Standing {
    fn lock(&self) -> MutexGuard<'_, Stands> {
        // Three flags: each change is one statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to give.
    ///
    /// # Errors
    /// Why that cannot be.
    pub(super) fn begin(&self) -> Result<(), &'static str> {
        let mut stands = self.lock();
        match stands.phase {
            _ if stands.stops => Err("it stops"),
            Phase::Idle => {
                stands.phase = Phase::Busy;
                Ok(())
            }
            Phase::Busy => Err("another process is taking over"),
            Phase::Given | Phase::Told => Err("another process has taken over"),
        }
    }

    /// The other process serves.
    pub(super) fn settle(&self) {
        self.lock().phase = Phase::Given;
    }

    /// Nothing came of it.
    pub(super) fn fail(&self) {
        self.lock().phase = Phase::Idle;
    }

    /// There is nobody to tell any more, or nothing.
    pub(super) fn told(&self) {
        self.lock().phase = Phase::Told;
    }

    //= UPG-STOP-01
    /// This process stops by itself; what is not settled is given up.
    pub fn stop(&self) {
        self.lock().stops = true;
    }

    /// Whether what is not settled is to be given up.
    pub(super) fn stops(&self) -> bool {
        self.lock().stops
    }

    /// Whether it is not settled yet who serves.
    pub fn is_busy(&self) -> bool {
        self.lock().phase == Phase::Busy
    }

    /// Whether another process serves.
    pub fn is_given(&self) -> bool {
        matches!(self.lock().phase, Phase::Given | Phase::Told)
    }

    /// The last connection is closed.
    pub fn finish(&self) {
        self.lock().is_done = true;
    }

    /// Whether the last connection is closed.
    pub(super) fn is_done(&self) -> bool {
        self.lock().is_done
    }

    /// Whether nothing is left to be told.
    pub fn is_told(&self) -> bool {
        self.lock().phase != Phase::Given
    }
}
