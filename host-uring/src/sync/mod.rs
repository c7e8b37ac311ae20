//! Object sync in the service engine: which files and addresses, a thread of its own, and what is known of the group.
//!
//! The thread runs `forebay_objsync_tokio` and nothing else: comparing tables takes milliseconds, for which neither the
//! control thread nor a worker waits. What workers change comes by [`crate::persist::SharedTables`]; the engine reads and
//! writes the same partitions as they do, one lock for one operation.

mod settings;
pub mod snapshot;
mod thread;

pub use forebay_objsync_tokio::{PeerStatus, Settings, Status, Verified, View};
pub use settings::{need_a_start, place_of_before, place_of_snapshots, secrets, settings};
pub use thread::{Reached, Sync, last_words, start};
