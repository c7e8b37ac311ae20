//! All objects in memory: their bytes, and what finds them.
//!
//! An object is kept as the bytes that the store has of it: as a tree of values it would take several times as much.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use forebay_model::kind::Scope;
use forebay_model::reference::Reference;
use forebay_model::{Kind, Object, kind, shape};
use serde_json::Value;

use super::claim::Claim;
use crate::store::Revision;

/// An object as it is kept.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its kind.
    pub kind: &'static Kind,
    /// Its uuid.
    pub uuid: String,
    /// Its name; empty where its kind has none.
    pub name: String,
    /// The uuid of its tenant.
    pub tenant: String,
    /// The uuid of its cloud; empty where its kind has none.
    pub cloud: String,
    /// Its JSON: references are `/api/<kind>/<uuid>`.
    pub bytes: Vec<u8>,
    /// What it refers to.
    pub refers: Vec<Id>,
    /// The addresses and ports that it takes.
    pub claim: Option<Box<Claim>>,
    /// The step that wrote it.
    pub revision: Revision,
}

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// The path of its kind.
    pub kind: &'static str,
    /// Its uuid.
    pub uuid: String,
}

impl Held {
    /// Reads what the store has at `object/<kind>/<uuid>`; `None` if it is no object of a kind that we know.
    pub fn read(key: &str, bytes: Vec<u8>, revision: Revision) -> Option<Self> {
        let (path, uuid) = key.strip_prefix("object/")?.split_once('/')?;
        let kind = kind(path)?;
        let mut object: Object = serde_json::from_slice(&bytes).ok()?;
        let mut refers = BTreeSet::new();
        shape::references(kind, &mut object, &mut |_, kind, text| {
            if let Ok(Reference::Uuid(uuid)) = Reference::read(text, kind) {
                refers.insert(Id { kind, uuid });
            }
        });
        let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let behind = |name: &str| text(name).rsplit('/').next().unwrap_or_default().to_owned();
        Some(Held {
            kind,
            uuid: uuid.to_owned(),
            name: text("name"),
            tenant: behind("tenant_ref"),
            cloud: behind("cloud_ref"),
            claim: Claim::of(kind, &object),
            refers: refers.into_iter().collect(),
            bytes,
            revision,
        })
    }

    /// Which it is.
    pub fn id(&self) -> Id {
        Id { kind: self.kind.path, uuid: self.uuid.clone() }
    }

    /// Its fields.
    pub fn object(&self) -> Object {
        // It was read once when it was put here.
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    /// Where the store has it.
    pub fn key(&self) -> String {
        key(self.kind, &self.uuid)
    }

    /// Within what its name is the only one of its kind.
    pub fn realm(&self) -> (&str, &str) {
        realm(self.kind, &self.tenant, &self.cloud)
    }
}

/// Where the store has an object.
pub fn key(kind: &Kind, uuid: &str) -> String {
    format!("object/{}/{uuid}", kind.path)
}

/// The tenant and the cloud within which a name stands for one object of a kind.
pub fn realm<'a>(kind: &Kind, tenant: &'a str, cloud: &'a str) -> (&'a str, &'a str) {
    match kind.scope {
        Scope::System | Scope::Single => ("", ""),
        Scope::Tenant => (tenant, ""),
        Scope::Cloud => (tenant, cloud),
    }
}

/// The objects of one kind.
#[derive(Debug, Default)]
struct Shelf {
    by_uuid: HashMap<String, Arc<Held>>,
    /// In the order in which they are listed.
    by_name: BTreeMap<(String, String), Arc<Held>>,
}

/// How many of the last changes are remembered, by the ids of what changed: who follows the objects looks many times in a
/// second, and who has missed more than that looks at everything.
const CHANGES_MAX: usize = 4096;

/// All objects.
#[derive(Debug, Default)]
pub struct Catalogue {
    shelves: BTreeMap<&'static str, Shelf>,
    referrers: HashMap<Id, BTreeSet<Id>>,
    /// Who has an address.
    addresses: HashMap<IpAddr, BTreeSet<Id>>,
    count: usize,
    /// The last changes, the newest at the end.
    changes: VecDeque<Id>,
    /// How many changes there were.
    changed: u64,
}

impl Catalogue {
    /// Puts an object in its place; one that was there goes.
    pub fn put(&mut self, held: Held) {
        self.take(&held.id());
        self.note(held.id());
        for target in &held.refers {
            self.referrers.entry(target.clone()).or_default().insert(held.id());
        }
        for address in held.claim.iter().flat_map(|claim| claim.addresses()) {
            self.addresses.entry(*address).or_default().insert(held.id());
        }
        let held = Arc::new(held);
        let shelf = self.shelves.entry(held.kind.path).or_default();
        shelf.by_name.insert((held.name.clone(), held.uuid.clone()), held.clone());
        shelf.by_uuid.insert(held.uuid.clone(), held);
        self.count += 1;
    }

    /// Takes an object away.
    pub fn remove(&mut self, id: &Id) {
        self.take(id);
        self.note(id.clone());
    }

    /// How many changes there were so far.
    pub fn changed(&self) -> u64 {
        self.changed
    }

    /// What has changed after so many changes; `None`: that is too long ago to be remembered.
    pub fn changed_since(&self, seen: u64) -> Option<impl Iterator<Item = &Id>> {
        let missed = usize::try_from(self.changed.checked_sub(seen)?).ok()?;
        let skip = self.changes.len().checked_sub(missed)?;
        Some(self.changes.iter().skip(skip))
    }

    fn note(&mut self, id: Id) {
        if self.changes.len() == CHANGES_MAX {
            self.changes.pop_front();
        }
        self.changes.push_back(id);
        self.changed += 1;
    }

    fn take(&mut self, id: &Id) {
        let Some(shelf) = self.shelves.get_mut(id.kind) else { return };
        let Some(held) = shelf.by_uuid.remove(&id.uuid) else { return };
        shelf.by_name.remove(&(held.name.clone(), held.uuid.clone()));
        self.count -= 1;
        for target in &held.refers {
            if let Some(referrers) = self.referrers.get_mut(target) {
                referrers.remove(id);
                if referrers.is_empty() {
                    self.referrers.remove(target);
                }
            }
        }
        for address in held.claim.iter().flat_map(|claim| claim.addresses()) {
            if let Some(holders) = self.addresses.get_mut(address) {
                holders.remove(id);
                if holders.is_empty() {
                    self.addresses.remove(address);
                }
            }
        }
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Says whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The object of this uuid.
    pub fn get(&self, kind: &str, uuid: &str) -> Option<&Arc<Held>> {
        self.shelves.get(kind)?.by_uuid.get(uuid)
    }

    /// The objects of a kind in the order of their names.
    pub fn all(&self, kind: &str) -> impl Iterator<Item = &Arc<Held>> {
        self.shelves.get(kind).into_iter().flat_map(|shelf| shelf.by_name.values())
    }

    /// The objects of a kind with this name.
    pub fn named<'c>(&'c self, kind: &str, name: &str) -> impl Iterator<Item = &'c Arc<Held>> + use<'c> {
        let from = (name.to_owned(), String::new());
        let name = name.to_owned();
        self.shelves
            .get(kind)
            .into_iter()
            .flat_map(move |shelf| shelf.by_name.range(from.clone()..))
            .map(|(_, held)| held)
            .take_while(move |held| held.name == name)
    }

    /// The objects that have this address themselves.
    pub fn at(&self, address: &IpAddr) -> impl Iterator<Item = &Id> {
        self.addresses.get(address).into_iter().flatten()
    }

    /// The objects that refer to this one, itself left out, in the order of their kinds.
    pub fn referrers(&self, id: &Id) -> impl Iterator<Item = &Arc<Held>> {
        let itself = id.clone();
        self.referrers
            .get(id)
            .into_iter()
            .flatten()
            .filter(move |referrer| **referrer != itself)
            .filter_map(|referrer| self.get(referrer.kind, &referrer.uuid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(uuid: &str) -> Held {
        let bytes = format!("{{\"name\":\"{uuid}\"}}").into_bytes();
        Held::read(&format!("object/pool/{uuid}"), bytes, 1).expect("a pool")
    }

    #[test]
    fn who_follows_the_objects_hears_of_each_change_or_that_it_missed_some() {
        let mut all = Catalogue::default();
        let heard = |all: &Catalogue, seen: u64| -> Option<Vec<String>> {
            Some(all.changed_since(seen)?.map(|id| id.uuid.clone()).collect())
        };
        assert_eq!(heard(&all, 0), Some(Vec::new()));
        all.put(pool("a"));
        all.put(pool("b"));
        all.remove(&pool("a").id());
        assert_eq!(heard(&all, 0), Some(vec!["a".to_owned(), "b".to_owned(), "a".to_owned()]));
        assert_eq!(heard(&all, 2), Some(vec!["a".to_owned()]));
        assert_eq!(heard(&all, all.changed()), Some(Vec::new()));
        assert_eq!(heard(&all, 4), None, "this has not happened yet");
        for _ in 0..CHANGES_MAX {
            all.put(pool("c"));
        }
        assert_eq!(heard(&all, 2), None, "this is forgotten");
        assert_eq!(heard(&all, 3).map(|heard| heard.len()), Some(CHANGES_MAX));
    }
}
