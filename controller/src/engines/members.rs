//! Which place each engine has among those of its group that share tables, and what only the group knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::rand;
use serde_json::{Value, json};

use crate::hex::{hex, sha256};
use crate::sealed::Seal;
use crate::store::{Pages, Refusal, Step, Store};

/// The most engines of a group: as many as can share tables.
pub const SLOTS: u8 = 64;

/// Where the store has the members.
const PREFIX: &str = "engine/";

/// Slots by the uuids of engines, each with the group in which it holds.
#[derive(Debug, Default)]
pub struct Members {
    slots: Mutex<BTreeMap<String, (String, u8)>>,
}

/// The name of a group among its engines: one that fits into the names of certificates, whatever uuid the group has.
//= CHAN-GROUP-01
pub fn group_name(uuid: &str) -> String {
    format!("g-{}", &sha256(uuid.as_bytes())[..16])
}

impl Members {
    /// Reads what the store has.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn open(store: &impl Store) -> Result<Self, Refusal> {
        let mut slots = BTreeMap::new();
        let mut pages = Pages::of(store, PREFIX);
        while let Some(page) = pages.next().await? {
            for (key, stored) in page {
                let held: Value = serde_json::from_slice(&stored.value).unwrap_or_default();
                let slot = held["slot"].as_u64().and_then(|slot| u8::try_from(slot).ok());
                let uuid = key.strip_prefix(PREFIX).unwrap_or_default().to_owned();
                if let (Some(group), Some(slot)) = (held["group"].as_str(), slot.filter(|slot| *slot < SLOTS))
                {
                    slots.insert(uuid, (group.to_owned(), slot));
                }
            }
        }
        Ok(Members { slots: Mutex::new(slots) })
    }

    /// The slot of an engine in this group; `None`: it has none, or one in another group.
    pub fn slot(&self, uuid: &str, group: &str) -> Option<u8> {
        self.held().get(uuid).filter(|(of, _)| of == group).map(|(_, slot)| *slot)
    }

    /// Gives an engine the lowest slot of a group that nobody has; the one that it has there already stays.
    ///
    /// # Errors
    /// The group is full, or those of the store.
    //= CHAN-GROUP-01
    pub async fn enter(&self, store: &impl Store, uuid: &str, group: &str) -> Result<u8, Refusal> {
        let slot = {
            let mut held = self.held();
            if let Some((of, slot)) = held.get(uuid)
                && of == group
            {
                return Ok(*slot);
            }
            let taken: BTreeSet<u8> =
                held.values().filter(|(of, _)| of == group).map(|(_, slot)| *slot).collect();
            let free = (0..SLOTS).find(|slot| !taken.contains(slot));
            let slot = free.ok_or_else(|| {
                Refusal::TooLarge(format!(
                    "the group has {SLOTS} engines, and more cannot share their tables"
                ))
            })?;
            held.insert(uuid.to_owned(), (group.to_owned(), slot));
            slot
        };
        let entry = json!({"group": group, "slot": slot}).to_string().into_bytes();
        let written = store.commit(Step::default().write(format!("{PREFIX}{uuid}"), Some(entry))).await;
        if let Err(refusal) = written {
            self.held().remove(uuid);
            return Err(refusal);
        }
        Ok(slot)
    }

    /// An engine is not there any more: its slot is free.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn leave(&self, store: &impl Store, uuid: &str) -> Result<(), Refusal> {
        store.commit(Step::default().write(format!("{PREFIX}{uuid}"), None)).await?;
        self.held().remove(uuid);
        Ok(())
    }

    fn held(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, (String, u8)>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The secret that the engines of a group share, as 64 hexadecimal digits; made if there is none.
///
/// # Errors
/// Those of the store; it does not open.
//= CHAN-GROUP-01
pub async fn secret(store: &impl Store, seal: &Seal, group: &str) -> Result<String, Refusal> {
    let unavailable = |what: &str| Refusal::Unavailable(what.to_owned());
    let key = format!("engine-group/{group}");
    loop {
        if let Some(stored) = store.get(&key).await? {
            let held: Value = serde_json::from_slice(&stored.value).unwrap_or_default();
            let open =
                seal.unseal(group, "secret", &held).and_then(|secret| secret.as_str().map(str::to_owned));
            return open.ok_or_else(|| {
                unavailable("the secret of the group does not open: store.key is not the one that sealed it")
            });
        }
        let mut bytes = [0_u8; 32];
        rand::fill(&mut bytes).map_err(|_| unavailable("the system gives no random numbers"))?;
        let sealed = seal.seal(group, "secret", &Value::from(hex(&bytes))).map_err(unavailable)?;
        let step = Step::default().demand(key.clone(), None);
        match store.commit(step.write(key.clone(), Some(sealed.to_string().into_bytes()))).await {
            // Another one was faster: its secret counts.
            Ok(_) | Err(Refusal::Conflict(_)) => {}
            Err(refusal) => return Err(refusal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Embedded;
    use crate::store::suite::Folder;

    //= test CHAN-GROUP-01
    #[tokio::test]
    async fn an_engine_keeps_its_slot_and_a_group_has_one_secret() {
        let folder = Folder::new("members");
        let store = Embedded::open(&folder.0.join("store")).expect("a store");
        let seal = Seal::open(&folder.0.join("key")).expect("a key");
        let members = Members::open(&store).await.expect("empty");
        for (uuid, group, slot) in [("a", "g", 0), ("b", "g", 1), ("c", "h", 0), ("a", "g", 0)] {
            assert_eq!(members.enter(&store, uuid, group).await, Ok(slot), "{uuid}");
        }
        members.leave(&store, "a").await.expect("written");
        let again = Members::open(&store).await.expect("read");
        assert_eq!((again.slot("a", "g"), again.slot("b", "g"), again.slot("c", "g")), (None, Some(1), None));
        assert_eq!(again.slot("c", "h"), Some(0));
        assert_eq!(again.enter(&store, "d", "g").await, Ok(0), "a slot that is free is given again");
        for number in 2..SLOTS {
            assert_eq!(again.enter(&store, &format!("e-{number}"), "g").await, Ok(number));
        }
        let full = again.enter(&store, "one more", "g").await.expect_err("there is no slot left");
        assert!(full.to_string().contains("64 engines"), "{full}");
        let first = secret(&store, &seal, "g").await.expect("made");
        assert_eq!(secret(&store, &seal, "g").await, Ok(first.clone()));
        assert_ne!(secret(&store, &seal, "h").await, Ok(first));
        assert_eq!(group_name("any uuid at all").len(), 18);
    }
}
