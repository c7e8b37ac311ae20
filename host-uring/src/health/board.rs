//! What is known about each server's health, for people.

use super::unix_s;
use crate::config::HealthState;

/// What is known about one server's health.
#[derive(Clone, Debug)]
pub struct ServerReport {
    /// The state.
    pub state: HealthState,
    /// Since when, in seconds since 1970.
    pub since_unix_s: u64,
    /// What tipped it, or how the last probe since failed, with the bytes that were seen.
    pub why: String,
    /// Changes of state since the start.
    pub changes: u64,
    /// Probes that succeeded.
    pub probes_passed: u64,
    /// Probes that failed.
    pub probes_failed: u64,
    /// Probes that found the server in maintenance.
    pub probes_maintenance: u64,
    /// Probes that could not be made, for want of something of ours.
    pub probes_not_made: u64,
    /// Until when flap damping holds it down, in seconds since 1970.
    pub held_until_unix_s: Option<u64>,
}

impl ServerReport {
    /// The report of a server that is in its first state since now.
    pub fn new(state: HealthState) -> Self {
        Self {
            state,
            since_unix_s: unix_s(),
            why: if state == HealthState::Up { "no monitor" } else { "not checked yet" }.to_owned(),
            changes: 0,
            probes_passed: 0,
            probes_failed: 0,
            probes_maintenance: 0,
            probes_not_made: 0,
            held_until_unix_s: None,
        }
    }
}
