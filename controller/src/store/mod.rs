//! Where the Controller keeps what it must not lose.
//!
//! Keys are paths (`object/pool/pool-…`), values are bytes. Whatever is written together is there together or not at
//! all, and each such step has a revision, larger than all before it. A step may demand that what it is built on has not
//! changed meanwhile. What changed since a revision can be asked for, as far back as [`HISTORY`].

mod embedded;
mod etcd;
#[cfg(test)]
pub(crate) mod suite;
pub(crate) mod wrote;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

pub use embedded::Embedded;
pub use etcd::{Etcd, Leading};

/// The number of a step; 0 is before the first one.
pub type Revision = u64;

/// The longest value, bytes: what the smallest store that the Controller runs on takes in one piece.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// The longest key, bytes.
pub const KEY_BYTES_MAX: usize = 512;
/// The most writes and demands of one step: etcd takes 128 by default, and the store itself needs one.
pub const STEP_MAX: usize = 127;
/// The most bytes of one step, keys and values together: etcd takes 1.5 MiB by default, some of it for what stands around.
pub const STEP_BYTES_MAX: usize = (1 << 20) + (1 << 18);
/// How many of the last changes can be asked for. Who is further behind reads everything anew.
pub const HISTORY: u64 = 10_000;

/// A value, and when it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its bytes.
    pub value: Vec<u8>,
    /// The step that wrote it.
    pub revision: Revision,
}

/// What is to be written together, and what must still be so.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// Keys and the revisions at which they must stand; `None`: the key must not be there.
    pub demands: Vec<(String, Option<Revision>)>,
    /// Keys and what to write there; `None`: the key goes.
    pub writes: Vec<(String, Option<Vec<u8>>)>,
}

impl Step {
    /// With this demand.
    #[must_use]
    pub fn demand(mut self, key: impl Into<String>, revision: Option<Revision>) -> Self {
        self.demands.push((key.into(), revision));
        self
    }

    /// With this write.
    #[must_use]
    pub fn write(mut self, key: impl Into<String>, value: Option<Vec<u8>>) -> Self {
        self.writes.push((key.into(), value));
        self
    }

    /// What a write takes of [`STEP_BYTES_MAX`].
    pub(crate) fn bytes(key: &str, value: Option<&[u8]>) -> usize {
        key.len() + value.map_or(0, <[u8]>::len)
    }

    /// Says what of it no store would take.
    //= API-STORE-03
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        if self.demands.len().max(self.writes.len()) > STEP_MAX {
            return Err(Refusal::TooLarge(format!("a step of more than {STEP_MAX} writes")));
        }
        let keys = self.demands.iter().map(|(key, _)| key).chain(self.writes.iter().map(|(key, _)| key));
        for key in keys {
            if key.len() > KEY_BYTES_MAX {
                return Err(Refusal::TooLarge(format!("a key of {} bytes", key.len())));
            }
        }
        let bytes: usize = self.writes.iter().map(|(key, value)| Self::bytes(key, value.as_deref())).sum();
        if bytes > STEP_BYTES_MAX {
            return Err(Refusal::TooLarge(format!(
                "{bytes} bytes in one step; {STEP_BYTES_MAX} are the most"
            )));
        }
        for (key, value) in &self.writes {
            let bytes = value.as_ref().map_or(0, Vec::len);
            if bytes > VALUE_BYTES_MAX {
                return Err(Refusal::TooLarge(format!(
                    "{bytes} bytes at {key}; {VALUE_BYTES_MAX} are the most"
                )));
            }
        }
        Ok(())
    }
}

/// One change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The step that made it.
    pub revision: Revision,
    /// Where.
    pub key: String,
    /// What stands there, by this step or by a later one; `None`: nothing.
    pub value: Option<Vec<u8>>,
}

/// Why a store did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A demand is not met: somebody else was faster. The key says which.
    Conflict(String),
    /// More than a store takes.
    TooLarge(String),
    /// The changes since then are not known any more: read everything anew.
    Forgotten,
    /// Its file is damaged, or is none of ours. Nothing was read of it.
    Damaged(String),
    /// It cannot be reached, or its disk takes nothing more. What was asked for did not happen.
    Unavailable(String),
    /// No answer came, or this process leads no more: it may have happened.
    Unknown(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Conflict(key) => write!(f, "{key} has changed meanwhile"),
            Refusal::TooLarge(what) => write!(f, "too large for the store: {what}"),
            Refusal::Forgotten => f.write_str("the changes since then are not kept any more"),
            Refusal::Damaged(what) => write!(f, "the store is damaged: {what}"),
            Refusal::Unavailable(what) => write!(f, "the store cannot be used: {what}"),
            Refusal::Unknown(what) => {
                write!(f, "whether this was written is not known ({what}): look before you repeat it")
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// What a store gives, when it has it.
pub type Given<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'a>>;

/// A place for keys and values. Every implementation passes the same tests.
pub trait Store: Send + Sync {
    /// What stands at `key`.
    fn get(&self, key: &str) -> Given<'_, Option<Stored>>;

    /// At most `most` keys with this prefix, in order, behind `after`; and the revision at which that was so.
    fn list(&self, prefix: &str, after: Option<&str>, most: usize) -> Given<'_, Listed>;

    /// Does a step, whole, and gives its revision. It is on disk when this returns.
    fn commit(&self, step: Step) -> Given<'_, Revision>;

    /// What changed after `since`, oldest first, at most `most` changes and then the rest of the last one's step.
    fn changes(&self, since: Revision, most: usize) -> Given<'_, Vec<Change>>;

    /// A copy of everything, of one moment, in a file that did not exist.
    fn backup(&self, file: &std::path::Path) -> Given<'_, ()>;
}

/// Keys of one answer of a store where all of them are read.
const PAGE: usize = 500;

/// All keys with a prefix, in order, page by page: what is read at once has a bound. Each page is of a moment of its own.
pub struct Pages<'s, S> {
    store: &'s S,
    prefix: &'s str,
    after: Option<String>,
}

impl<'s, S: Store> Pages<'s, S> {
    /// Those with this prefix.
    pub fn of(store: &'s S, prefix: &'s str) -> Self {
        Pages { store, prefix, after: None }
    }

    /// The next keys and their values; `None`: there are no more.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn next(&mut self) -> Result<Option<Vec<(String, Stored)>>, Refusal> {
        let page = self.store.list(self.prefix, self.after.as_deref(), PAGE).await?.entries;
        self.after = page.last().map(|(last, _)| last.clone());
        Ok((!page.is_empty()).then_some(page))
    }
}

/// Keys in order with their values, and the revision at which they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The revision of the whole store.
    pub revision: Revision,
    /// Keys and values.
    pub entries: Vec<(String, Stored)>,
}
