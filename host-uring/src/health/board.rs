//! What is known about each server's health, for people.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::config::{HealthState, Tree};

/// What is known about one server's health.
#[derive(Clone, Debug)]
pub struct ServerReport {
    /// The state.
    pub state: HealthState,
    /// Since when, in seconds since 1970.
    pub since_unix_s: u64,
    /// What tipped it, with the bytes that were seen.
    pub why: String,
    /// Changes of state since the start.
    pub changes: u64,
    /// Probes that succeeded.
    pub probes_passed: u64,
    /// Probes that failed or found maintenance.
    pub probes_failed: u64,
    /// Probes that could not be made, for want of something of ours.
    pub probes_not_made: u64,
    /// Until when flap damping holds it down, in seconds since 1970.
    pub held_until_unix_s: Option<u64>,
}

/// All servers' reports, by [`Server::slot`](crate::config::Server::slot). Not touched by workers.
#[derive(Debug)]
pub struct Board(Mutex<Vec<ServerReport>>);

impl Board {
    /// A board on which every server has its first state.
    pub fn new(tree: &Tree, now_unix_s: u64) -> Self {
        let report = |state| ServerReport {
            state,
            since_unix_s: now_unix_s,
            why: if state == HealthState::Up { "no monitor" } else { "not checked yet" }.to_owned(),
            changes: 0,
            probes_passed: 0,
            probes_failed: 0,
            probes_not_made: 0,
            held_until_unix_s: None,
        };
        Self(Mutex::new(tree.servers().map(|(_, server)| report(server.shared.state())).collect()))
    }

    /// The reports.
    pub fn lock(&self) -> MutexGuard<'_, Vec<ServerReport>> {
        // A report is written field by field; one half written is still one that can be shown.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
