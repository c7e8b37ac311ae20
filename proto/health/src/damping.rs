//! Keeps a server out for longer, the more often it went down of late.
//!
//! The rule, for people: a server may go down [`FLAPS_FREE`] times for free. From then on each time it goes down
//! it is held down: 10 s, 20 s, 40 s … at most 5 min. For every 60 s that it stays up, one time is forgotten.
//! Probes go on meanwhile; it comes up at the end of the hold if they pass.

use forebay_core::units::Now;

use crate::{
    limits::{FLAP_FORGET_US, FLAPS_FREE, HOLD_FIRST_US, HOLD_MAX_US},
    probe::after,
};

/// Flap memory of one server.
#[derive(Clone, Debug, Default)]
pub struct Damping {
    flaps: u8,
    up_since: Option<Now>,
    held_until: Option<Now>,
}

impl Damping {
    /// Notes that the server came up.
    pub fn went_up(&mut self, now: Now) {
        self.up_since = Some(now);
        self.held_until = None;
    }

    /// Notes that the server went down; returns until when it is held, if it is.
    //= HM-FLAP-01
    //= HM-FLAP-02
    pub fn went_down(&mut self, now: Now) -> Option<Now> {
        if let Some(since) = self.up_since.take() {
            let forgotten = now.0.saturating_sub(since.0) / FLAP_FORGET_US;
            self.flaps = self.flaps.saturating_sub(u8::try_from(forgotten).unwrap_or(u8::MAX));
        }
        self.flaps = self.flaps.saturating_add(1).min(FLAPS_MAX);
        let over = self.flaps.checked_sub(FLAPS_FREE + 1)?;
        let hold_us = (HOLD_FIRST_US << over).min(HOLD_MAX_US);
        self.held_until = Some(after(now, hold_us));
        self.held_until
    }

    /// Returns until when the server is held down, if it still is at `now`.
    pub fn held_until(&self, now: Now) -> Option<Now> {
        self.held_until.filter(|&until| now < until)
    }
}

/// More is not counted: beyond it the hold would not grow, only the way back.
const FLAPS_MAX: u8 = FLAPS_FREE + 6;
