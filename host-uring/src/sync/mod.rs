//! Object sync in the service engine: which files and addresses, a thread of its own, and what is known of the group.
//!
//! The thread runs `forebay_objsync_tokio` and nothing else: comparing tables takes milliseconds, for which neither the
//! control thread nor a worker waits. What workers change comes by [`crate::persist::SharedTables`]; the engine reads and
//! writes the same partitions as they do, one lock for one operation.

mod differences;
pub mod redis;
mod settings;
pub mod snapshot;
mod thread;

use std::sync::Arc;
use std::time::Duration;

pub use differences::in_words;
pub use forebay_objsync_tokio::{PeerStatus, Settings, Status, Verified, View};
pub use settings::{need_a_start, place_of_before, place_of_snapshots, secrets, settings};
pub use thread::{Reached, Sync, last_words, start};

/// How tables are shared.
pub enum Way {
    /// Engines speak to one another.
    Members(Settings),
    /// By way of a Redis beside this engine.
    Redis(redis::Place),
}

/// How tables are shared, while they are.
#[derive(Clone)]
pub enum Sharing {
    /// Engines speak to one another.
    Members(Arc<Sync>),
    /// By way of a Redis beside this engine.
    Redis(Arc<redis::Redis>),
}

impl Sharing {
    /// What was made of the group's secret at the start.
    pub fn proof(&self) -> u64 {
        match self {
            Self::Members(sync) => sync.proof(),
            Self::Redis(redis) => redis.proof(),
        }
    }

    /// Ends it, within `limit`; whoever asks waits.
    pub fn stop(&self, limit: Duration) {
        match self {
            Self::Members(sync) => sync.stop(limit),
            Self::Redis(redis) => redis.stop(limit),
        }
    }
}

/// How the document wants tables to be shared; `None`: with nobody.
///
/// # Errors
/// All files that cannot be used, with the remedy.
pub fn way(objsync: &forebay_snapshot::Objsync) -> Result<Option<Way>, Vec<String>> {
    match redis::redis(objsync)? {
        Some(place) => Ok(Some(Way::Redis(place))),
        None => Ok(settings(objsync)?.map(Way::Members)),
    }
}
