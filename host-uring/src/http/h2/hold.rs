//! Less urgent streams wait a moment for a more urgent one whose next bytes are still with its server.
//!
//! Where a connection has room for all, nobody waits. Where it is scarce, because its window is small or its client slow,
//! content that a stream has sent earns it a while in which streams that it outranks leave the room to it. A server that is
//! silent, or sends less than 1 MB a second, does not fill that while, and the others go on.

use super::lane::State;
use crate::rt::{NEVER, Now};

/// How long others wait for each KiB that a stream has sent, microseconds: a server that sends as much in that time keeps
/// them waiting.
const US_PER_KIB: u64 = 1_000;

/// The longest that others wait for one whose server says nothing, microseconds: a round trip within a continent, and the
/// turn of a busy machine.
const HOLD_US_MAX: u64 = 50_000;

/// How long a stream waits before it may send a piece whatever others want, microseconds: it is not to be given up for a
/// client that takes nothing (`body_timeout_ms`).
const STARVED_US: u64 = 1_000_000;

/// Where the connection's window takes so much there is room for everybody, in bytes: what the protocol begins with.
const SCARCE_BYTES: usize = 64 * 1024;

/// How long others wait for a stream, and since when it waits itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    /// What it had earned when it last sent something, and others had not waited yet.
    earned_us: u64,
    /// Others wait until then.
    until: Now,
    /// It waits for others since.
    since: Now,
}

impl Default for Hold {
    fn default() -> Self {
        Hold { earned_us: 0, until: Now(0), since: NEVER }
    }
}

fn after(now: Now, us: u64) -> Now {
    Now(now.0.saturating_add(us))
}

impl State {
    /// Content of a stream has gone.
    pub(super) fn wrote(&mut self, id: u32, bytes: usize, now: Now) {
        let Some(lane) = self.lane(id) else { return };
        // What others have waited is spent.
        let left = lane.hold.until.0.saturating_sub(now.0);
        let earned_us = (left + bytes as u64 * US_PER_KIB / 1024).min(HOLD_US_MAX);
        lane.hold = Hold { earned_us, until: after(now, earned_us), since: NEVER };
        self.holds = true;
        self.was_shut |= self.connection.whole_window() == 0 || self.is_full();
    }

    /// Says whether a stream is to leave the room to a more urgent one.
    //= H2-PRIO-05
    pub(super) fn is_held(&self, id: u32, now: Now) -> bool {
        let is_scarce = self.is_slow || self.connection.whole_window() < SCARCE_BYTES;
        if !is_scarce || !self.is_patient {
            return false;
        }
        let mut starved = false;
        let mut waits = false;
        for lane in &self.lanes {
            if lane.id == id {
                starved = after(lane.hold.since, STARVED_US) <= now;
            } else if lane.hold.until > now {
                waits |= self.connection.outranks(lane.id, id);
            }
        }
        waits && !starved
    }

    /// A stream is held: gives when that is to be looked at again.
    pub(super) fn hold_back(&mut self, at: usize, now: Now) -> Now {
        let until = self.lanes.iter().map(|lane| lane.hold.until).filter(|until| *until > now).min();
        let hold = &mut self.lanes[at].hold;
        hold.since = hold.since.min(now);
        until.unwrap_or(now).min(after(hold.since, STARVED_US))
    }

    /// Begins the times anew where there was no room in between, and ends those that are over.
    pub(super) fn renew_holds(&mut self, now: Now) {
        if self.connection.whole_window() == 0 {
            return;
        }
        let was_shut = std::mem::take(&mut self.was_shut);
        self.holds = false;
        for lane in &mut self.lanes {
            if was_shut {
                lane.hold.until = after(now, lane.hold.earned_us);
            } else if lane.hold.until <= now {
                // It had room and sent nothing.
                lane.hold.earned_us = 0;
            }
            self.holds |= lane.hold.earned_us > 0;
        }
    }
}
