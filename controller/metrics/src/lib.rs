//! Where what engines count is kept, rolled up and read as series.
//!
//! An engine tells tallies of stretches of five seconds ([`forebay_wire::proto::Sample`]). [`Store`] writes each once, by the
//! Controller's clock, in slots of 5 s, from which it makes slots of 5 minutes, an hour and a day. [`METRICS`] says what is
//! made of a tally: names, units and meanings of Avi's metrics.

#![forbid(unsafe_code)]

mod file;
mod gather;
mod keeper;
mod metric;
mod read;
mod store;
mod table;
mod tally;

pub use gather::{Holders, Part, Row, gathered, gathered_totals, held};
pub use metric::{Entity, Metric, Of, apdex, find, near};
pub use read::{Ask, Range};
pub use store::{Counts, Keep, Offer, Refused, Store, THINGS_MAX};
pub use table::METRICS;
pub use tally::Tally;

use std::fmt;

/// Milliseconds since 1970, by the Controller's clock.
pub type Millis = u64;

/// The lengths of slots in milliseconds, and for how many milliseconds slots of that length are kept.
pub const STEPS: [(Millis, Millis); 4] = [
    (5_000, 3_600_000),
    (300_000, 2 * 86_400_000),
    (3_600_000, 30 * 86_400_000),
    (86_400_000, 366 * 86_400_000),
];

/// Whose series it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// What it is.
    pub of: Kind,
    /// The uuid of an engine, a service or a pool; of a server that of its pool.
    pub uuid: String,
    /// The address of a server; else empty.
    pub server: String,
}

/// What has series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A service engine.
    Engine = 0,
    /// A virtual service.
    Service = 1,
    /// A pool.
    Pool = 2,
    /// A server of a pool.
    Server = 3,
    /// The Controller itself.
    Controller = 4,
}

impl Key {
    /// That of a thing that is no server.
    pub fn new(of: Kind, uuid: &str) -> Self {
        Key { of, uuid: uuid.to_owned(), server: String::new() }
    }

    /// That of a server.
    pub fn server(pool: &str, address: &str) -> Self {
        Key { of: Kind::Server, uuid: pool.to_owned(), server: address.to_owned() }
    }
}

/// Why something could not be read or written.
#[derive(Debug)]
pub enum Failure {
    /// The folder, or a thread.
    System(std::path::PathBuf, std::io::Error),
    /// The file.
    File(std::path::PathBuf, rusqlite::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::System(path, error) => write!(f, "{}: {error}", path.display()),
            Failure::File(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for Failure {}
