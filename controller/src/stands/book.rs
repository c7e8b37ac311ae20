//! What was told of each thing last.

use std::collections::{BTreeMap, BTreeSet};

use forebay_model::kind;
use serde::{Deserialize, Serialize};

use crate::store::{Pages, Refusal, Revision, Store};

/// Where the store has it.
const PREFIX: &str = "standing/";

/// What was told of one thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// That it is up, or down; `None`: nothing yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up: Option<bool>,
    /// Of a pool: the servers that are down.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub down: BTreeSet<String>,
    /// Of an engine: the others with which it shares tables, by uuid, and whether it is connected with them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub peers: BTreeMap<String, bool>,
    /// Of the Controllers: who leads.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub leader: String,
    /// Of the Controllers: which there are, and whether they are heard.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<String, bool>,
}

impl Told {
    /// As the store has it.
    pub fn bytes(&self) -> Vec<u8> {
        // A struct of lists and maps of texts always has a form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads it; what cannot be read says nothing.
    pub fn read(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }
}

/// Where the store has what was told of a thing.
pub fn key(kind: &str, uuid: &str) -> String {
    format!("{PREFIX}{kind}/{uuid}")
}

type Things = BTreeMap<String, (Told, Revision)>;

/// All that was told.
#[derive(Debug, Default)]
pub struct Book {
    kinds: BTreeMap<&'static str, Things>,
}

impl Book {
    /// What the store has.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn open(store: &impl Store) -> Result<Self, Refusal> {
        let mut book = Book::default();
        let mut pages = Pages::of(store, PREFIX);
        while let Some(page) = pages.next().await? {
            for (at, stored) in page {
                let named = at.strip_prefix(PREFIX).and_then(|at| at.split_once('/'));
                if let Some((kind, uuid)) = named.and_then(|(path, uuid)| Some((kind(path)?, uuid))) {
                    let told = Told::read(&stored.value);
                    book.set(kind.path, uuid.to_owned(), Some((told, stored.revision)));
                }
            }
        }
        Ok(book)
    }

    /// What was told of a thing.
    pub fn get(&self, kind: &str, uuid: &str) -> Option<&Told> {
        self.kinds.get(kind)?.get(uuid).map(|(told, _)| told)
    }

    /// The step that wrote it.
    pub fn revision(&self, kind: &str, uuid: &str) -> Option<Revision> {
        self.kinds.get(kind)?.get(uuid).map(|(_, revision)| *revision)
    }

    /// That stands in the store now.
    pub fn set(&mut self, kind: &'static str, uuid: String, told: Option<(Told, Revision)>) {
        let things = self.kinds.entry(kind).or_default();
        match told {
            Some(told) => things.insert(uuid, told),
            None => things.remove(&uuid),
        };
    }

    /// All things of which something was told.
    pub fn things(&self) -> impl Iterator<Item = (&'static str, &String)> {
        self.kinds.iter().flat_map(|(kind, things)| things.keys().map(move |uuid| (*kind, uuid)))
    }
}
