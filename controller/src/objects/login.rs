//! Users as they come in: by which name, and with what.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use forebay_model::{Kind, Object, Problem, shape};
use serde_json::{Value, json};

use super::catalogue::{Catalogue, Held};
use super::{ADMIN, Denied, Objects, Tenant, find};
use crate::access::entries;
use crate::accounts;
use crate::store::{Refusal, Store};

/// The shortest password of a user, bytes.
const PASSWORD_BYTES_MIN: usize = 8;

/// Who could come in by a name.
#[derive(Clone, Debug)]
pub struct Login {
    /// The user's object.
    pub held: Arc<Held>,
    /// The hash of the password; `None`: there is none that fits.
    pub hash: Option<String>,
    /// It changes with every new password, even with the same one.
    pub mark: [u8; 32],
    /// Whether the user may come in at all.
    pub is_active: bool,
}

impl<S: Store> Objects<S> {
    /// The user who comes in by this name.
    pub fn login(&self, name: &str) -> Option<Login> {
        let now = self.now();
        let held = now.all("user").find(|held| login_name(held, &held.object()) == name)?;
        Some(self.login_of(held))
    }

    /// The user of this uuid, as one who has come in.
    pub fn login_by_uuid(&self, uuid: &str) -> Option<Login> {
        self.now().get("user", uuid).map(|held| self.login_of(held))
    }

    /// Gives the user `admin` a password if there is none, and tells it: nobody else knows it.
    ///
    /// # Errors
    /// The store does not take it.
    pub async fn first(&self) -> Result<Option<String>, Denied> {
        match self.login(ADMIN) {
            Some(login) if login.hash.is_none() => self.reset(&login).await.map(Some),
            _ => Ok(None),
        }
    }

    /// Gives a user a new password that nobody else knows; sessions of the user end by that.
    ///
    /// # Errors
    /// The store does not take it.
    pub async fn reset(&self, login: &Login) -> Result<String, Denied> {
        let unavailable = |text: &str| Denied::Store(Refusal::Unavailable(text.to_owned()));
        let password = accounts::secret().map_err(unavailable)?[..20].to_owned();
        let change = json!({"replace": {"password": password}});
        let change = change.as_object().cloned().unwrap_or_default();
        let tenant = Tenant { is_all: true, ..Tenant::admin() };
        self.patch(login.held.kind, &login.held.uuid, &change, &tenant).await?;
        Ok(password)
    }

    fn login_of(&self, held: &Arc<Held>) -> Login {
        let sealed = held.object();
        let hash = self.opened(held).get("password").and_then(Value::as_str).map(str::to_owned);
        let mut mark = [0; 32];
        let text = sealed.get("password").map(Value::to_string).unwrap_or_default();
        mark.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        let is_active = sealed.get("is_active").and_then(Value::as_bool) != Some(false);
        Login { held: held.clone(), hash, mark, is_active }
    }
}

/// The name by which a user comes in.
fn login_name(held: &Held, object: &Object) -> String {
    let name = object.get("username").and_then(Value::as_str).filter(|name| !name.is_empty());
    name.unwrap_or(&held.name).to_owned()
}

/// Says whether nobody else comes in by the name of this user.
pub(super) fn is_free(now: &Catalogue, held: &Held) -> Result<(), Denied> {
    if held.kind.path != "user" {
        return Ok(());
    }
    let name = login_name(held, &held.object());
    let is_taken =
        now.all("user").any(|other| other.uuid != held.uuid && login_name(other, &other.object()) == name);
    match is_taken {
        true => Err(Denied::Taken(format!("User with this username already exists: {name}"))),
        false => Ok(()),
    }
}

/// The tenants for which a user is given roles, by the places in which the roles stand: as who the user is written by.
//= API-ROLE-06
pub(super) fn tenants_of_access(
    now: &Catalogue,
    kind: &Kind,
    object: &Object,
    tenant: &Tenant,
) -> BTreeMap<String, Tenant> {
    if kind.path != "user" {
        return BTreeMap::new();
    }
    entries(object, "access")
        .enumerate()
        .filter_map(|(at, entry)| {
            let text = entry.get("tenant_ref").and_then(Value::as_str)?;
            let of = find::target(now, text, "tenant", tenant, "")?;
            let of = Tenant { uuid: of.uuid.clone(), is_all: false, rights: Arc::clone(&tenant.rights) };
            Some((format!("access[{at}].role_ref"), of))
        })
        .collect()
}

/// Puts the hash in the place of a password that was sent. Clients cannot read it, so who leaves it out keeps it.
//= API-PASSWORD-01
pub(super) async fn take_password(object: &mut Object, before: Option<&Held>) -> Result<(), Denied> {
    let had = before.is_some_and(|before| before.object().contains_key("password"));
    let password = match object.get("password").and_then(Value::as_str) {
        Some(text) if text != shape::MASK => text.to_owned(),
        _ if had => {
            object.insert("password".to_owned(), Value::from(shape::MASK));
            return Ok(());
        }
        _ => return Ok(()),
    };
    if !(PASSWORD_BYTES_MIN..=accounts::PASSWORD_BYTES_MAX).contains(&password.len()) {
        return Err(Denied::Wrong(vec![Problem {
            line: None,
            path: "password".to_owned(),
            reason: format!("it has {} bytes", password.len()),
            fix: format!("use {PASSWORD_BYTES_MIN} to {} bytes", accounts::PASSWORD_BYTES_MAX),
        }]));
    }
    let hash = tokio::task::spawn_blocking(move || accounts::hash(&password)).await;
    let hash = hash.unwrap_or(Err("the password could not be hashed"));
    let hash = hash.map_err(|text| Denied::Store(Refusal::Unavailable(text.to_owned())))?;
    object.insert("password".to_owned(), Value::from(hash));
    Ok(())
}
