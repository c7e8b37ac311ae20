//! What the driver knows of one member.

use std::sync::Arc;
use std::time::Instant;

use forebay_core::table::EngineSlot;

use crate::dial::Dial;
use crate::limits::REASONS_MAX;
use crate::link::{Link, Traffic};
use crate::{Differences, Table};

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
