//! Logs and series of several Controllers: each answers for what it was told while it led, and the one that leads makes one
//! answer of all.

mod answering;
mod records;
mod series;
mod stores;
mod wire;

use std::time::Duration;

pub use answering::Answering;
pub use records::{Groups, Place, Records, Wanted};
pub use series::{Read, Remote};
pub use stores::{Held, Stores};

/// Whom a question is for: a Controller's own part. Clients' requests never have this name in their target.
pub const NAME: &str = "parts.forebay.internal";
/// Each kind of question, by its path.
const RECORDS: &str = "/1/records";
const GROUPS: &str = "/1/groups";
const HOLDERS: &str = "/1/holders";
const SLOTS: &str = "/1/slots";
const TOTALS: &str = "/1/totals";

/// Bytes of one part: those of ten thousand records, and of what stands around them.
pub const BYTES_MAX: usize = 24 << 20;
/// How long others are waited for where nobody says how long an answer may take: series.
const WITHIN: Duration = Duration::from_millis(1_000);
/// Of the time that an answer may take others are waited for three quarters, and look for half of it.
const WAITED: (u32, u32) = (3, 4);
const LOOKED: u32 = 2;

/// What a node has to say, or why it says nothing.
pub struct Told {
    /// Its name.
    pub node: String,
    /// What it said.
    pub said: Result<Vec<u8>, String>,
}

/// A node whose part is missing, in words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// Its name.
    pub node: String,
    /// Why.
    pub why: String,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the part of the Controller {} is missing: {}", self.node, self.why)
    }
}

/// Reads what others said, and notes whose part is missing.
fn heard<T>(
    told: Vec<Told>,
    missing: &mut Vec<Missing>,
    read: impl Fn(&[u8]) -> Option<T>,
) -> Vec<(String, T)> {
    let mut all = Vec::new();
    for Told { node, said } in told {
        let said =
            said.and_then(|said| read(&said).ok_or_else(|| "its answer is of another form".to_owned()));
        match said {
            Ok(said) => all.push((node, said)),
            Err(why) => missing.push(Missing { node, why }),
        }
    }
    all
}
