//! Where request logs of engines are kept and searched: one SQLite file an hour, so that the oldest is dropped at once.
//!
//! Records come as engines write them, a line of JSON each, with Avi's field names. What searches look at first stands in
//! columns, the rest is compressed. Every answer is bounded: newest first, at most so many, within a time; who is not through
//! by then is told how far back was searched, and goes on from there.

#![forbid(unsafe_code)]

mod export;
mod filter;
mod hour;
mod ledger;
mod once;
mod parquet;
mod part;
mod record;
mod retention;
mod room;
mod search;
mod store;
mod top;
mod trim;

pub use export::over as export;
pub use filter::{Condition, Filter, Op};
pub use once::Sent;
pub use part::{Cursor, Line, Merged, Part, merged, merged_top};
pub use record::{Kind, Record, moment, stamp};
pub use search::{Found, Position, Search};
pub use store::{Admit, BATCH_BYTES_MAX, Batch, Counts, Done, Refused, Settings, Store, Tap};
pub use top::{Top, TopOf};

/// Microseconds since 1970 in UTC.
pub type Micros = i64;

/// An hour, in microseconds.
const HOUR: Micros = 3_600_000_000;

/// What went wrong with a file of records.
#[derive(Debug)]
pub enum Failure {
    /// The file, and what SQLite says of it.
    File(std::path::PathBuf, rusqlite::Error),
    /// The folder, or a file as the system sees it.
    System(std::path::PathBuf, std::io::Error),
    /// What was asked for makes no sense: what, and why.
    Asked(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::File(path, error) => write!(f, "{}: {error}", path.display()),
            Failure::System(path, error) => write!(f, "{}: {error}", path.display()),
            Failure::Asked(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Failure {}
