//! Tokens: what a program logs in with instead of a password, for so many hours.
//!
//! The store has their digests only.

pub(crate) mod shelf;

use serde_json::{Value, json};

use crate::hex::hex;
use crate::objects::Login;
use crate::store::{Refusal, Step, Store};
pub use shelf::Made;
use shelf::{Shelf, is_on};

/// The longest life of a token, hours: a year.
const HOURS_MAX: u64 = 8760;
/// The life of a token whose user says nothing, hours.
const HOURS: u64 = 24;
/// Tokens of all users together.
const TOKENS_MAX: usize = 1000;
/// Of these, of one user: nobody takes all of them.
const TOKENS_OF_ONE: usize = 20;

/// Where they are.
const SHELF: Shelf = Shelf { prefix: "token/", name: "user-token-", hours: (HOURS, HOURS_MAX) };

/// Makes a token for a user: the name by which that one comes in, and the uuid.
///
/// # Errors
/// There are too many, or those of the store.
//= API-TOKEN-01
pub async fn make(
    store: &impl Store,
    user: &str,
    login: &Login,
    hours: Option<u64>,
) -> Result<Made, Refusal> {
    let (of, mark) = (login.held.uuid.as_str(), mark(login));
    let mut there = SHELF.all(store).await?;
    // Those of an earlier password open nothing any more, and take nobody's place.
    for (key, _) in there.extract_if(.., |(_, held)| held["of"] == of && held["mark"] != mark) {
        store.commit(Step::default().write(key, None)).await?;
    }
    if there.iter().filter(|(_, held)| held["of"] == of).count() >= TOKENS_OF_ONE {
        return Err(Refusal::TooLarge(format!("you have {TOKENS_OF_ONE} tokens: delete some first")));
    }
    if there.len() >= TOKENS_MAX {
        return Err(Refusal::TooLarge(format!("there are {TOKENS_MAX} tokens: delete some first")));
    }
    SHELF.make(store, hours, json!({"user": user, "of": of, "mark": mark})).await
}

/// The password that a token is made under: a new one ends it.
fn mark(login: &Login) -> String {
    hex(&login.mark)
}

/// Says whether this user may come in with this: a later user of the same name may not, and nobody after a new password.
///
/// # Errors
/// Those of the store.
//= API-PASSWORD-02
pub async fn is_good(store: &impl Store, login: &Login, token: &str) -> Result<bool, Refusal> {
    let Some(stored) = store.get(&SHELF.key(token)).await? else { return Ok(false) };
    let held: Value = serde_json::from_slice(&stored.value).unwrap_or_default();
    Ok(held["of"] == login.held.uuid && held["mark"] == mark(login) && is_on(&held))
}

/// The tokens of a user: their uuids and their last seconds.
///
/// # Errors
/// Those of the store.
pub async fn list(store: &impl Store, of: &str) -> Result<Vec<Value>, Refusal> {
    let all = SHELF.all(store).await?;
    Ok(all
        .into_iter()
        .filter(|(_, held)| held["of"] == of)
        .map(|(_, held)| json!({"uuid": held["uuid"], "expires_at": held["until"]}))
        .collect())
}

/// Ends a token of a user; `false` if there is none.
///
/// # Errors
/// Those of the store.
pub async fn end(store: &impl Store, of: &str, uuid: &str) -> Result<bool, Refusal> {
    Ok(SHELF.end(store, |held| held["of"] == of && held["uuid"] == uuid).await? > 0)
}

/// Ends all tokens of a user, and says how many there were.
///
/// # Errors
/// Those of the store.
pub async fn end_all(store: &impl Store, of: &str) -> Result<usize, Refusal> {
    SHELF.end(store, |held| held["of"] == of).await
}
