//! Tokens by which engines become members: each is good once, for so many hours.
//!
//! The store has their digests only.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::accounts::secret;
use crate::store::{Refusal, Step, Store};

/// The longest life of a token, hours: a week, within which machines are set up.
const HOURS_MAX: u64 = 168;
/// The life of a token whose maker says nothing, hours.
const HOURS: u64 = 1;
/// Tokens at once: ten groups of 64 engines.
const TOKENS_MAX: usize = 640;
/// Where the store has them.
const PREFIX: &str = "engine-token/";

/// A new token.
pub struct Made {
    /// What is good once.
    pub secret: String,
    /// What it is called.
    pub uuid: String,
    /// Its last second, since 1970.
    pub until: u64,
}

/// For whom a token was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The uuid of the group.
    pub group: String,
    /// The uuid of the tenant.
    pub tenant: String,
    /// The uuid that its engine gets.
    pub engine: String,
}

/// Why a token is good for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bad {
    /// There is none, or it is over.
    Unknown,
    /// It was used, by another key than this.
    Used,
    /// The store did not tell.
    Store(Refusal),
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn hex(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key(secret: &str) -> String {
    format!("{PREFIX}{}", hex(secret.as_bytes()))
}

/// All tokens that are still good or were used lately, with their keys; those that are over go.
async fn all(store: &impl Store) -> Result<Vec<(String, Value)>, Refusal> {
    let listed = store.list(PREFIX, None, 2 * TOKENS_MAX).await?;
    let mut good = Vec::new();
    for (key, stored) in listed.entries {
        let held: Value = serde_json::from_slice(&stored.value).unwrap_or_default();
        if held["until"].as_u64().is_some_and(|until| until > now()) {
            good.push((key, held));
        } else {
            store.commit(Step::default().write(key, None)).await?;
        }
    }
    Ok(good)
}

/// Makes a token for an engine of a group.
///
/// # Errors
/// There are too many, or those of the store.
//= CHAN-TOKEN-01
pub async fn make(store: &impl Store, grant: &Grant, hours: Option<u64>) -> Result<Made, Refusal> {
    if all(store).await?.len() >= TOKENS_MAX {
        return Err(Refusal::TooLarge(format!("there are {TOKENS_MAX} tokens: delete some first")));
    }
    let unavailable = |what: &str| Refusal::Unavailable(what.to_owned());
    let (token, name) = (secret().map_err(unavailable)?, secret().map_err(unavailable)?);
    let uuid = format!("se-token-{name}");
    let until = now() + hours.unwrap_or(HOURS).clamp(1, HOURS_MAX) * 3600;
    let held = json!({
        "uuid": uuid, "until": until, "group": grant.group, "tenant": grant.tenant, "engine": grant.engine,
    });
    let step = Step::default().demand(key(&token), None);
    store.commit(step.write(key(&token), Some(held.to_string().into_bytes()))).await?;
    Ok(Made { secret: token, uuid, until })
}

/// Takes a token: from now on it is good for this public key only, whose owner may ask again if it missed the answer.
///
/// # Errors
/// It is good for nothing.
//= CHAN-TOKEN-01
pub async fn take(store: &impl Store, secret: &str, public_key: &[u8]) -> Result<Grant, Bad> {
    let place = key(secret);
    let by = hex(public_key);
    loop {
        let stored = store.get(&place).await.map_err(Bad::Store)?.ok_or(Bad::Unknown)?;
        let mut held: Value = serde_json::from_slice(&stored.value).unwrap_or_default();
        if held["until"].as_u64().is_none_or(|until| until <= now()) {
            return Err(Bad::Unknown);
        }
        let text = |name: &str| held[name].as_str().unwrap_or_default().to_owned();
        let grant = Grant { group: text("group"), tenant: text("tenant"), engine: text("engine") };
        match held["used_by"].as_str() {
            Some(used_by) if used_by == by => return Ok(grant),
            Some(_) => return Err(Bad::Used),
            None => {}
        }
        held["used_by"] = Value::from(by.as_str());
        let step = Step::default().demand(place.clone(), Some(stored.revision));
        match store.commit(step.write(place.clone(), Some(held.to_string().into_bytes()))).await {
            Ok(_) => return Ok(grant),
            // Two had it at the same moment, and the other one was faster. What it wrote says who.
            Err(Refusal::Conflict(_)) => {}
            Err(refusal) => return Err(Bad::Store(refusal)),
        }
    }
}

/// The tokens that are still good: what they are called, for which group, until when, and whether they were used.
///
/// # Errors
/// Those of the store.
pub async fn list(store: &impl Store) -> Result<Vec<Value>, Refusal> {
    let shown = |(_, held): (String, Value)| {
        json!({
            "uuid": held["uuid"],
            "expires_at": held["until"],
            "se_group_ref": format!("/api/serviceenginegroup/{}", held["group"].as_str().unwrap_or_default()),
            "used": held["used_by"].is_string(),
        })
    };
    Ok(all(store).await?.into_iter().map(shown).collect())
}

/// Ends a token; `false` if there is none.
///
/// # Errors
/// Those of the store.
pub async fn end(store: &impl Store, uuid: &str) -> Result<bool, Refusal> {
    let found = all(store).await?.into_iter().find(|(_, held)| held["uuid"] == uuid);
    let Some((key, _)) = found else { return Ok(false) };
    store.commit(Step::default().write(key, None)).await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Embedded;
    use crate::store::suite::Folder;

    //= test CHAN-TOKEN-01
    #[tokio::test]
    async fn a_token_is_good_for_one_key_and_no_longer_than_it_says() {
        let folder = Folder::new("engine-tokens");
        let store = Embedded::open(&folder.0.join("store")).expect("a store");
        let text = str::to_owned;
        let grant = Grant { group: text("g"), tenant: text("admin"), engine: text("serviceengine-1") };
        let made = make(&store, &grant, None).await.expect("one");
        assert_eq!(take(&store, "another", b"key").await, Err(Bad::Unknown));
        assert_eq!(take(&store, &made.secret, b"key").await, Ok(grant.clone()));
        assert_eq!(take(&store, &made.secret, b"key").await, Ok(grant.clone()), "its own key may ask again");
        assert_eq!(take(&store, &made.secret, b"other").await, Err(Bad::Used));
        assert_eq!(list(&store).await.expect("read")[0]["used"], true);
        assert_eq!(end(&store, &made.uuid).await, Ok(true));
        assert_eq!(take(&store, &made.secret, b"key").await, Err(Bad::Unknown), "it was ended");
        let over = make(&store, &grant, Some(1)).await.expect("one");
        let place = key(&over.secret);
        let mut held: Value =
            serde_json::from_slice(&store.get(&place).await.expect("read").expect("it").value).expect("JSON");
        held["until"] = Value::from(now());
        store.commit(Step::default().write(place, Some(held.to_string().into_bytes()))).await.expect("room");
        assert_eq!(take(&store, &over.secret, b"key").await, Err(Bad::Unknown), "it is over");
        assert!(list(&store).await.expect("read").is_empty());
    }
}
