//! Tokens: what a program logs in with instead of a password, for so many hours.
//!
//! The store has their digests only.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::accounts::secret;
use crate::objects::Login;
use crate::store::{Refusal, Step, Store};

/// The longest life of a token, hours: a year.
const HOURS_MAX: u64 = 8760;
/// The life of a token whose user says nothing, hours.
const HOURS: u64 = 24;
/// Tokens of all users together.
const TOKENS_MAX: usize = 1000;
/// Of these, of one user: nobody takes all of them.
const TOKENS_OF_ONE: usize = 20;

/// A new token.
pub struct Token {
    /// What its user logs in with; nobody can be told of it again.
    pub token: String,
    /// What it is called.
    pub uuid: String,
    /// Its last second, since 1970.
    pub until: u64,
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn key(token: &str) -> String {
    let sum = digest(&SHA256, token.as_bytes());
    let hex: String = sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("token/{hex}")
}

/// All tokens that are still good, with their keys; those that are over go.
async fn all(store: &impl Store) -> Result<Vec<(String, Value)>, Refusal> {
    let listed = store.list("token/", None, 2 * TOKENS_MAX).await?;
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
) -> Result<Token, Refusal> {
    let (of, mark) = (login.held.uuid.as_str(), mark(login));
    let mut there = all(store).await?;
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
    let unavailable = |what: &str| Refusal::Unavailable(what.to_owned());
    let token = secret().map_err(unavailable)?;
    let uuid = format!("user-token-{}", secret().map_err(unavailable)?);
    let until = now() + hours.unwrap_or(HOURS).clamp(1, HOURS_MAX) * 3600;
    let held = json!({"uuid": uuid, "user": user, "of": of, "mark": mark, "until": until});
    let step = Step::default().demand(key(&token), None);
    store.commit(step.write(key(&token), Some(held.to_string().into_bytes()))).await?;
    Ok(Token { token, uuid, until })
}

/// The password that a token is made under: a new one ends it.
fn mark(login: &Login) -> String {
    login.mark.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Says whether this user may come in with this: a later user of the same name may not, and nobody after a new password.
///
/// # Errors
/// Those of the store.
//= API-PASSWORD-02
pub async fn is_good(store: &impl Store, login: &Login, token: &str) -> Result<bool, Refusal> {
    let Some(stored) = store.get(&key(token)).await? else { return Ok(false) };
    let held: Value = serde_json::from_slice(&stored.value).unwrap_or_default();
    let is_own = held["of"] == login.held.uuid && held["mark"] == mark(login);
    Ok(is_own && held["until"].as_u64().is_some_and(|until| until > now()))
}

/// The tokens of a user: their uuids and their last seconds.
///
/// # Errors
/// Those of the store.
pub async fn list(store: &impl Store, of: &str) -> Result<Vec<Value>, Refusal> {
    let all = all(store).await?;
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
    let found = all(store).await?.into_iter().find(|(_, held)| held["of"] == of && held["uuid"] == uuid);
    let Some((key, _)) = found else { return Ok(false) };
    store.commit(Step::default().write(key, None)).await?;
    Ok(true)
}

/// Ends all tokens of a user, and says how many there were.
///
/// # Errors
/// Those of the store.
pub async fn end_all(store: &impl Store, of: &str) -> Result<usize, Refusal> {
    let own: Vec<_> = all(store).await?.into_iter().filter(|(_, held)| held["of"] == of).collect();
    for (key, _) in &own {
        store.commit(Step::default().write(key.clone(), None)).await?;
    }
    Ok(own.len())
}
