//! Tokens by which engines become members: each is good once, for so many hours.
//!
//! The store has their digests only.

use serde_json::{Value, json};

use crate::hex::sha256;
use crate::store::{Refusal, Step, Store};
pub use crate::tokens::Made;
use crate::tokens::shelf::{Shelf, is_on};

/// The longest life of a token, hours: a week, within which machines are set up.
const HOURS_MAX: u64 = 168;
/// The life of a token whose maker says nothing, hours.
const HOURS: u64 = 1;
/// Tokens at once: ten groups of 64 engines.
const TOKENS_MAX: usize = 640;
/// Where they are. Those that were used lately are among them.
const SHELF: Shelf = Shelf { prefix: "engine-token/", name: "se-token-", hours: (HOURS, HOURS_MAX) };

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

/// Makes a token for an engine of a group.
///
/// # Errors
/// There are too many, or those of the store.
//= CHAN-TOKEN-01
pub async fn make(store: &impl Store, grant: &Grant, hours: Option<u64>) -> Result<Made, Refusal> {
    if SHELF.all(store).await?.len() >= TOKENS_MAX {
        return Err(Refusal::TooLarge(format!("there are {TOKENS_MAX} tokens: delete some first")));
    }
    let held = json!({"group": grant.group, "tenant": grant.tenant, "engine": grant.engine});
    SHELF.make(store, hours, held).await
}

/// Takes a token: from now on it is good for this public key only, whose owner may ask again if it missed the answer.
///
/// # Errors
/// It is good for nothing.
//= CHAN-TOKEN-01
pub async fn take(store: &impl Store, secret: &str, public_key: &[u8]) -> Result<Grant, Bad> {
    let place = SHELF.key(secret);
    let by = sha256(public_key);
    loop {
        let stored = store.get(&place).await.map_err(Bad::Store)?.ok_or(Bad::Unknown)?;
        let mut held: Value = serde_json::from_slice(&stored.value).unwrap_or_default();
        if !is_on(&held) {
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
    Ok(SHELF.all(store).await?.into_iter().map(shown).collect())
}

/// Ends a token; `false` if there is none.
///
/// # Errors
/// Those of the store.
pub async fn end(store: &impl Store, uuid: &str) -> Result<bool, Refusal> {
    Ok(SHELF.end(store, |held| held["uuid"] == uuid).await? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Embedded;
    use crate::store::suite::Folder;
    use crate::tokens::shelf::now;

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
        let place = SHELF.key(&over.secret);
        let mut held: Value =
            serde_json::from_slice(&store.get(&place).await.expect("read").expect("it").value).expect("JSON");
        held["until"] = Value::from(now());
        store.commit(Step::default().write(place, Some(held.to_string().into_bytes()))).await.expect("room");
        assert_eq!(take(&store, &over.secret, b"key").await, Err(Bad::Unknown), "it is over");
        assert!(list(&store).await.expect("read").is_empty());
    }
}
