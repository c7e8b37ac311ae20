//! The persistence table: which server a client is bound to, for every client of one service engine.
//!
//! One table per engine holds the entries of all services (client IP, app cookie, TLS); a table id is part
//! of the key. It is cut into [`Geometry::partitions`] partitions by the top bits of a keyed hash. The host
//! owns the locks: it keeps one `Mutex<Partition>` per partition and holds it for one operation.
//!
//! ```
//! use forebay_core::table::*;
//! use forebay_core::units::{Now, Seconds};
//!
//! // Control thread, at start and at every change of the configuration.
//! let geometry = Geometry::for_memory(1 << 20, 0)?;
//! let memory = TableMemory::reserve(&geometry);
//! let mut catalog = Catalog::new(&memory, *b"16 secret bytes!", EngineSlot::default());
//! let clients = catalog.define(&TableSettings {
//!     name: 7,
//!     lives: vec![Lifetime::For(Seconds(300))],
//!     synced: false,
//! })?;
//! let server = catalog.server(0xfeed);
//! let now = Now(1_000_000);
//! let mut partitions: Vec<Partition> = memory.into_partitions(&catalog, now).collect();
//!
//! // Worker, for a new connection.
//! let key = catalog.key(clients, KeyBytes::of_ip("192.0.2.1".parse()?));
//! let part = &mut partitions[geometry.route(&key) as usize];
//! assert_eq!(part.get(&catalog, &key, now), None);
//! part.put(&catalog, &key, Write::first(server), now, GroupMillis(0))?;
//! part.open(&catalog, &key, now);
//! assert_eq!(part.get(&catalog, &key, now), Some(server));
//! part.close(&catalog, &key, now); // the countdown starts
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Invariants.** An entry with open connections, here or on another engine, neither ends nor is evicted.
//! [`Partition::get`] never returns an entry past its end of life, however long ago the clock hand came by.
//! Nothing allocates between two calls of [`Partition::adopt`], but for the list that counts connections of
//! clients with more than 4,095 of them once 16 such clients share a partition. The running digests are the
//! sums over the entries. No operation looks at more than one partition.

mod catalog;
mod clock;
mod digest;
mod geometry;
mod hash;
mod key;
pub mod limits;
mod memory;
mod outcome;
mod partition;
mod place;
mod store;
mod sweep;
mod version;
mod view;

pub use catalog::{Catalog, CatalogProblem, Class, Key, ServerSlot, TableId, TableSettings};
pub use clock::Lifetime;
pub use digest::{Digest, DigestMismatch};
pub use geometry::{Geometry, GeometryProblem, PartitionIndex};
pub use hash::Hasher;
pub use key::KeyBytes;
pub use memory::{Pages, TableMemory};
pub use outcome::{Closed, Evicted, Hold, Opened, Outcome, Refused, Stats, Write, WriteKind, Written};
pub use partition::Partition;
pub use sweep::Swept;
pub use version::{EngineSlot, GroupMillis, Version};
pub use view::{EntryView, Record};

#[cfg(test)]
mod tests;
