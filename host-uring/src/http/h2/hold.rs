//! Less urgent streams wait a moment for a more urgent one whose next bytes are still with its server.
//!
//! Where a connection has room for all, nobody waits. Where it is scarce, because its window is small or its client slow,
//! content that a stream has sent earns it a while in which streams that it outranks leave the room to it. A server that is
//! silent, or sends less than 1 MB a second, does not fill that while, and the others go on.
//!
//! Whoever has had content for a second and sent none, because others went first, gets the next room: a small piece, whoever
//! else wants it, and then the others go on.

use super::lane::{Lane, State};
use crate::rt::{NEVER, Now};

/// How long others wait for each KiB that a stream has sent, microseconds: a server that sends as much in that time keeps
/// them waiting.
const US_PER_KIB: u64 = 1_000;

/// The longest that others wait for one whose server says nothing, microseconds: a round trip within a continent, and the
/// turn of a busy machine.
const HOLD_US_MAX: u64 = 50_000;

/// How long a stream that has content waits before the next room is its, microseconds: what it loads goes on.
const STARVED_US: u64 = 1_000_000;

/// How much it sends then, in bytes: a fiftieth of what a client of 50 KB a second takes.
const PIECE_BYTES: usize = 1024;

/// How long that room is kept for it once it was woken, microseconds: what it sends may be with its server.
const CHANCE_US: u64 = HOLD_US_MAX;

/// How long a client counts as slow after its socket took less than there was, microseconds: what is fetched meanwhile would
/// fill it again.
const SLOW_US: u64 = 1_000_000;

/// Where the connection's window takes so much there is room for everybody, in bytes: what the protocol begins with.
const SCARCE_BYTES: usize = 64 * 1024;

/// How long others wait for a stream, and since when it waits itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    /// What it had earned when it last sent something, and others had not waited yet.
    earned_us: u64,
    /// Others wait until then.
    until: Now,
    /// It has had content and sent none since.
    since: Now,
    /// It was woken to send some then; [`NEVER`] while it waits.
    woken: Now,
}

impl Default for Hold {
    fn default() -> Self {
        Hold { earned_us: 0, until: Now(0), since: NEVER, woken: NEVER }
    }
}

impl Hold {
    /// It has content, and there is no room for it.
    fn wait(&mut self, now: Now) {
        // Who was woken long ago has had room, and nothing to send.
        if self.since == NEVER || after(self.woken, CHANCE_US) <= now {
            self.since = now;
        }
        self.woken = NEVER;
    }

    /// There is room, as far as anybody knows.
    pub(super) fn wake(&mut self, now: Now) {
        self.woken = now;
    }

    fn is_starved(&self, now: Now) -> bool {
        after(self.since, STARVED_US) <= now && after(self.woken, CHANCE_US) > now
    }
}

fn after(now: Now, us: u64) -> Now {
    Now(now.0.saturating_add(us))
}

impl State {
    /// Content of a stream has gone.
    pub(super) fn wrote(&mut self, id: u32, bytes: usize, now: Now) {
        // Others go on before the next of them.
        self.owes = self.starved(now) == Some(id);
        self.wrote_at = now;
        let Some(lane) = self.lane(id) else { return };
        // What others have waited is spent.
        let left = lane.hold.until.0.saturating_sub(now.0);
        let earned_us = (left + bytes as u64 * US_PER_KIB / 1024).min(HOLD_US_MAX);
        lane.hold = Hold { earned_us, until: after(now, earned_us), ..Hold::default() };
        self.holds = true;
        self.was_shut |= self.connection.whole_window() == 0 || self.is_full();
    }

    /// A stream has content that it may not send now.
    pub(super) fn waits(&mut self, id: u32, now: Now) {
        if let Some(lane) = self.lane(id) {
            lane.hold.wait(now);
            self.has_waiting = true;
        }
    }

    /// Says whether others of the connection have sent content since then while a stream waited that might have sent some
    /// as well: that is our choice, and not its client's.
    //= H2-PRIO-06
    pub(super) fn was_passed_over(&self, id: u32, since: Now) -> bool {
        self.wrote_at > since && self.connection.own_window(id) > 0
    }

    /// Gives the stream that the next room is kept for: of those that starve the one that has waited longest.
    //= H2-PRIO-05
    pub(super) fn starved(&self, now: Now) -> Option<u32> {
        if !self.has_waiting || self.owes || !self.is_patient {
            return None;
        }
        let starve = |lane: &&Lane| lane.hold.is_starved(now) && self.connection.own_window(lane.id) > 0;
        let first = self.lanes.iter().filter(starve).min_by_key(|lane| lane.hold.since);
        first.map(|lane| lane.id)
    }

    /// Gives how much of `room` is a stream's.
    pub(super) fn share(&self, id: u32, room: usize, now: Now) -> usize {
        match self.starved(now) {
            Some(first) if first == id => room.min(PIECE_BYTES),
            _ if self.is_held(id, now) => 0,
            _ => room,
        }
    }

    /// Says whether a stream is to leave the room to one that starves or is more urgent.
    //= H2-PRIO-05
    pub(super) fn is_held(&self, id: u32, now: Now) -> bool {
        if let Some(first) = self.starved(now) {
            return first != id;
        }
        let is_slow = self.slow_at.is_some_and(|slow_at| after(slow_at, SLOW_US) > now);
        let is_scarce = is_slow || self.connection.whole_window() < SCARCE_BYTES;
        let precedes = |lane: &Lane| lane.hold.until > now && self.connection.outranks(lane.id, id);
        is_scarce && self.is_patient && self.lanes.iter().any(precedes)
    }

    /// Gives when streams that are held are to be looked at again.
    pub(super) fn held_until(&self, now: Now) -> Now {
        let times = self.lanes.iter().flat_map(|lane| {
            let Hold { until, since, woken, .. } = lane.hold;
            [until, after(since, STARVED_US), after(woken, CHANCE_US)]
        });
        times.filter(|time| *time > now).min().unwrap_or(NEVER)
    }

    /// Forgets that streams waited if none does.
    pub(super) fn renew_waits(&mut self) {
        self.has_waiting = self.has_waiting && self.lanes.iter().any(|lane| lane.hold.since != NEVER);
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
