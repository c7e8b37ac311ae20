//! The way tables were shared before engines spoke to one another: each engine keeps its entries in a Redis of its own, and a
//! distributor copies between these.
//!
//! ```text
//!   engine 0 ── Redis 0 ══ distributor ══ Redis 1 ── engine 1
//! ```
//!
//! An engine writes its entries to keys, with the life that they have left, and what it has just changed to a stream, its
//! outbox. The distributor reads all outboxes and writes what stands there to the inboxes of the others; it holds
//! nothing that it could not read again. What two engines say of one client is merged as everywhere ([`forebay_objsync::merge`]).
//! No worker waits for a Redis: whatever becomes of it, an engine serves by its own table.

mod conn;
mod gate;
mod hear;
mod mirror;
mod names;
mod page;
mod relay;
mod resp;
mod session;
mod source;
mod target;

pub use conn::{Place, Reach, Reached, Stream, through};
pub use gate::Gate;
pub use mirror::{Mirror, MirrorHandle, MirrorOrder, MirrorSettings};
pub use page::{MirrorStatus, MirrorView};
pub use relay::{Relay, relay};

/// Bounds of this mode, with their reasons.
mod limits {
    use std::time::Duration;

    /// Keys of this engine that wait for its Redis; beyond, the connection is begun anew and all entries are written.
    pub const DIRTY_MAX: usize = 65_536;
    /// Entries that are written in one go: what comes meanwhile waits for a fraction of a millisecond each.
    pub const WRITE_MAX: usize = 512;
    /// Buckets whose entries are written in one go when all are.
    pub const SLICE_BUCKETS: u32 = 256;
    /// Notes in an outbox: who reads it is behind by that much at most, and reads all entries otherwise.
    pub const OUTBOX_NOTES: &[u8] = b"4096";
    /// Notes in an inbox, at most [`COPY_BYTES`] each: 128 MiB.
    pub const INBOX_NOTES: &[u8] = b"4096";
    /// Notes in an inbox beyond which copies wait for its engine.
    pub const INBOX_FULL: i64 = 1_024;
    /// Bytes of entries in a note of a copy.
    pub const COPY_BYTES: usize = 32 * 1024;
    /// Notes that are read at once.
    pub const READ_NOTES: &[u8] = b"64";
    /// Bytes that wait in the distributor for one inbox; beyond, all entries are copied anew.
    pub const QUEUE_BYTES_MAX: usize = 16 << 20;
    /// Bytes of one answer of Redis: [`READ_NOTES`] notes of 64 KiB and what surrounds them.
    pub const REPLY_BYTES_MAX: usize = 16 << 20;
    /// How long an answer of Redis may take: it answers in microseconds unless it hangs.
    pub const PATIENCE: Duration = Duration::from_secs(3);
    /// How long a read waits for a note.
    pub const BLOCK_MS: &[u8] = b"500";
    /// How often an engine says that it lives, and how often the distributor looks.
    pub const BEAT: Duration = Duration::from_millis(500);
    /// What an engine has open counts as closed when nothing was heard of it for so long.
    pub const SILENT: Duration = Duration::from_secs(15);
    /// The same, as Redis keeps it.
    pub const SILENT_MS: &[u8] = b"15000";
    /// How long an engine that starts waits for its own Redis and the others' entries.
    pub const JOIN: Duration = Duration::from_secs(10);
    /// Entries that an engine wrote longer ago are not taken at its start: removals are remembered for an hour.
    pub const LIFE_MS: u64 = 3_600_000;
    /// Wait before Redis is called again: the first time, and at most.
    pub const REDIAL_MS: u64 = 100;
    /// See [`REDIAL_MS`].
    pub const REDIAL_MAX_MS: u64 = 2_000;
}
