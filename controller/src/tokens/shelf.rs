//! Where tokens of one sort are kept. The store has their digests only.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::accounts::secret;
use crate::hex::sha256;
use crate::store::{Pages, Refusal, Step, Store};

/// The moment, seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Says whether a token is good at this moment.
pub fn is_on(held: &Value) -> bool {
    held["until"].as_u64().is_some_and(|until| until > now())
}

/// A new token.
pub struct Made {
    /// What it is used by; nobody can be told of it again.
    pub secret: String,
    /// What it is called.
    pub uuid: String,
    /// Its last second, since 1970.
    pub until: u64,
}

/// Tokens of one sort.
pub struct Shelf {
    /// The front of their keys in the store.
    pub prefix: &'static str,
    /// The front of their names.
    pub name: &'static str,
    /// The life of one whose maker says nothing, and the longest, hours.
    pub hours: (u64, u64),
}

impl Shelf {
    /// Where the store has the one that is used by this.
    pub fn key(&self, secret: &str) -> String {
        format!("{}{}", self.prefix, sha256(secret.as_bytes()))
    }

    /// All that are still good, with their keys; those that are over go.
    pub async fn all(&self, store: &impl Store) -> Result<Vec<(String, Value)>, Refusal> {
        let mut good = Vec::new();
        let mut pages = Pages::of(store, self.prefix);
        while let Some(page) = pages.next().await? {
            for (key, stored) in page {
                let held: Value = serde_json::from_slice(&stored.value).unwrap_or_default();
                if is_on(&held) {
                    good.push((key, held));
                } else {
                    store.commit(Step::default().write(key, None)).await?;
                }
            }
        }
        Ok(good)
    }

    /// Makes one that is good for so many hours, about which the store has `with` beside its name and its end.
    pub async fn make(
        &self,
        store: &impl Store,
        hours: Option<u64>,
        mut with: Value,
    ) -> Result<Made, Refusal> {
        let unavailable = |what: &str| Refusal::Unavailable(what.to_owned());
        let (token, name) = (secret().map_err(unavailable)?, secret().map_err(unavailable)?);
        let (usual, most) = self.hours;
        let made = Made {
            uuid: format!("{}{name}", self.name),
            until: now() + hours.unwrap_or(usual).clamp(1, most) * 3600,
            secret: token,
        };
        with["uuid"] = Value::from(made.uuid.as_str());
        with["until"] = Value::from(made.until);
        let key = self.key(&made.secret);
        let step = Step::default().demand(key.clone(), None);
        store.commit(step.write(key, Some(with.to_string().into_bytes()))).await?;
        Ok(made)
    }

    /// What the store has about one that is good; `None`: there is none.
    pub async fn held(&self, store: &impl Store, secret: &str) -> Result<Option<Value>, Refusal> {
        let stored = store.get(&self.key(secret)).await?;
        let held: Option<Value> = stored.and_then(|stored| serde_json::from_slice(&stored.value).ok());
        Ok(held.filter(is_on))
    }

    /// Takes one that is good once: from now on it is not there. `false`: it was not, or was over.
    pub async fn take(&self, store: &impl Store, secret: &str) -> Result<bool, Refusal> {
        let key = self.key(secret);
        let Some(stored) = store.get(&key).await? else { return Ok(false) };
        let held: Value = serde_json::from_slice(&stored.value).unwrap_or_default();
        let step = Step::default().demand(key.clone(), Some(stored.revision));
        match store.commit(step.write(key, None)).await {
            Ok(_) => Ok(is_on(&held)),
            // Another one was faster.
            Err(Refusal::Conflict(_)) => Ok(false),
            Err(refusal) => Err(refusal),
        }
    }

    /// Ends those that fit, and says how many there were.
    pub async fn end(&self, store: &impl Store, fits: impl Fn(&Value) -> bool) -> Result<usize, Refusal> {
        let mut count = 0;
        for (key, _) in self.all(store).await?.into_iter().filter(|(_, held)| fits(held)) {
            store.commit(Step::default().write(key, None)).await?;
            count += 1;
        }
        Ok(count)
    }
}
