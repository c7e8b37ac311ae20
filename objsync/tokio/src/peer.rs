//! What the driver knows of one member.

use std::sync::Arc;
use std::time::Instant;

use forebay_core::table::EngineSlot;

use crate::dial::Dial;
use crate::limits::{COUNTED_IN, REASONS_MAX};
use crate::link::{Link, Traffic};
use crate::{Differences, Table};

/// How often something was done.
#[derive(Default)]
pub(crate) struct Often {
    since: Option<Instant>,
    count: u32,
}

impl Often {
    /// Counts once more, if that is not more often than `most` in [`COUNTED_IN`].
    pub fn has_room(&mut self, most: u32) -> bool {
        if self.since.is_none_or(|since| since.elapsed() >= COUNTED_IN) {
            *self = Self { since: Some(Instant::now()), count: 0 };
        }
        let has_room = self.count < most;
        self.count += u32::from(has_room);
        has_room
    }
}

/// A member, as the driver knows it.
#[derive(Default)]
pub(crate) struct Peer {
    pub link: Option<Link>,
    /// It has said who it is over this connection.
    pub is_up: bool,
    pub dial: Option<Dial>,
    pub traffic: Arc<Traffic>,
    pub connections: u64,
    pub trouble: Option<String>,
    /// Reasons for which it was not reached since it was connected, as the log has them.
    pub said: Vec<String>,
    /// What it keeps in which tables, by its last word, and how that differs.
    pub kept: Option<Vec<Table>>,
    pub differs: Differences,
    /// It only reads, and was asked over this connection for what no member has.
    pub asked: bool,
    /// Since when it is there, and when it was heard of last.
    pub up_since: Option<Instant>,
    pub heard: Option<Instant>,
    /// How often it told of its tables, and asked for what is held.
    pub catalogues: Often,
    pub gives: Often,
    /// Since when it is not connected.
    pub away: Option<Instant>,
    /// Connections that were ended because too much waited for it.
    pub too_slow: u64,
}

impl Peer {
    /// Says so, once for each reason.
    pub fn is_not_reached(&mut self, slot: EngineSlot, why: String) {
        if !self.said.contains(&why) && self.said.len() < REASONS_MAX {
            tracing::warn!(
                event = "OBJSYNC_UNREACHED",
                slot = slot.get(),
                "a member cannot be reached: {why}"
            );
            self.said.push(why.clone());
        }
        self.trouble = Some(why);
    }
}
