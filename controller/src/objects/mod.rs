//! What is done with objects, whoever asks: the API, the console, the command line.

mod carried;
mod catalogue;
mod change;
mod claim;
mod find;
mod login;
mod pair;
mod servers;
mod show;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand;
use forebay_model::check::check_after;
use forebay_model::reference::{Reference, is_uuid};
use forebay_model::{Kind, Object, Problem, kind, patch, shape};
use serde_json::Value;

pub use crate::access::{ADMIN, Tenant};
pub use catalogue::{Catalogue, Held, Id, key, realm};
pub use change::Change;
use change::Ready;
pub use claim::Claim;
pub(crate) use claim::default_group;
pub use find::{Found, Query};
pub use login::Login;
pub(crate) use pair::misfit;
pub use servers::{port, servers};
pub use show::{Look, shown};

use crate::access;
use crate::events::{self, Ring};
use crate::hex::{hex, sha256};
use crate::sealed::Seal;
use crate::store::{Pages, Refusal, Step, Store};

/// Writes that are told of, with what they changed: a year of a site where 27 are made a day.
const AUDIT_MAX: usize = 10_000;
/// Events of who came in. They stand apart: who tries passwords pushes no write out.
const SESSIONS_TOLD_MAX: usize = 2_000;

/// The most objects: 10,000 services with 100,000 servers need a quarter of it.
pub const OBJECTS_MAX: usize = 200_000;

/// Why something was not done.
#[derive(Debug)]
pub enum Denied {
    /// The document, and where it is wrong.
    Wrong(Vec<Problem>),
    /// A text for status 400.
    Bad(String),
    /// The object is not there.
    Missing(&'static Kind),
    /// Another one has the name.
    Taken(String),
    /// It is in use, or built in.
    InUse(String),
    /// No role of the user allows it.
    Forbidden(String),
    /// It has changed since the client read it.
    Stale(&'static Kind),
    /// The store did not take it.
    Store(Refusal),
}

impl From<Vec<Problem>> for Denied {
    fn from(problems: Vec<Problem>) -> Self {
        Denied::Wrong(problems)
    }
}

/// The objects and the store that has them.
pub struct Objects<S> {
    store: S,
    seal: Seal,
    catalogue: RwLock<Catalogue>,
    audit: Ring,
    sessions: Ring,
    /// One write after another: what a write was checked against is still so when it is made.
    writing: tokio::sync::Mutex<()>,
    /// How many changes there were, for who follows them.
    changed: tokio::sync::watch::Sender<u64>,
}

impl<S: Store> Objects<S> {
    /// Reads all that the store has.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn open(store: S, seal: Seal) -> Result<Self, Refusal> {
        let mut catalogue = Catalogue::default();
        let mut pages = Pages::of(&store, "object/");
        while let Some(page) = pages.next().await? {
            for (key, stored) in page {
                match Held::read(&key, stored.value, stored.revision) {
                    Some(held) => catalogue.put(held),
                    None => {
                        tracing::warn!(
                            event = "CONTROLLER_OBJECT_UNKNOWN",
                            key,
                            "this version knows no such object: it is left alone"
                        );
                    }
                }
            }
        }
        let audit = Ring::open(&store, "audit/", AUDIT_MAX, events::of_user).await?;
        let sessions = Ring::open(&store, "session/", SESSIONS_TOLD_MAX, events::of_user).await?;
        let (changed, _) = tokio::sync::watch::channel(catalogue.changed());
        Ok(Objects {
            store,
            seal,
            catalogue: RwLock::new(catalogue),
            audit,
            sessions,
            writing: tokio::sync::Mutex::new(()),
            changed,
        })
    }

    /// Makes those of these objects whose name is not there yet: what clients look up and nobody made.
    ///
    /// # Errors
    /// One of them is refused.
    pub async fn seed(&self, seeds: impl Iterator<Item = (&'static Kind, Object)>) -> Result<(), Denied> {
        for (kind, object) in seeds {
            let name = object.get("name").and_then(Value::as_str).unwrap_or_default();
            let is_there = match kind.scope {
                forebay_model::kind::Scope::Single => self.now().all(kind.path).next().is_some(),
                _ => self.now().named(kind.path, name).next().is_some(),
            };
            if !is_there {
                self.create(kind, &object, &Tenant::admin()).await?;
            }
        }
        Ok(())
    }

    /// The objects as they are now. Nothing may be waited for while it is held.
    pub fn now(&self) -> RwLockReadGuard<'_, Catalogue> {
        self.catalogue.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an event of somebody who came in or did not.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn tell(&self, event: Object) -> Result<(), Refusal> {
        self.sessions.commit(&self.store, Step::default(), event).await.map(drop)
    }

    /// What was written, and who came in.
    pub fn events(&self) -> [&Ring; 2] {
        [&self.audit, &self.sessions]
    }

    /// An object with its secrets open, for whoever carries it out; what does not open is left out.
    pub fn opened(&self, held: &Held) -> Object {
        self.unsealed(held.kind, &held.uuid, held.object())
    }

    fn unsealed(&self, kind: &'static Kind, uuid: &str, mut object: Object) -> Object {
        shape::secrets(kind, &mut object, &mut |field, value| {
            // A field that was no secret in an earlier version is not sealed before its next write.
            if value.is_object() {
                *value = self.seal.unseal(uuid, field, value).unwrap_or(Value::Null);
            }
        });
        object
    }

    /// The object, if the tenant sees it.
    ///
    /// # Errors
    /// It is not there.
    pub fn get(&self, kind: &'static Kind, uuid: &str, tenant: &Tenant) -> Result<Arc<Held>, Denied> {
        let found = self.now().get(kind.path, uuid).filter(|held| tenant.sees(held)).cloned();
        found.ok_or(Denied::Missing(kind))
    }

    /// `is_moved`: it stood elsewhere as it is.
    async fn created(
        &self,
        kind: &'static Kind,
        sent: &Object,
        tenant: &Tenant,
        is_moved: bool,
    ) -> Result<Ready, Denied> {
        let object = check_after(kind, sent, is_moved.then_some(sent))?;
        if self.now().len() >= OBJECTS_MAX {
            return Err(Denied::Bad(format!("there are {OBJECTS_MAX} objects, and no more can be kept")));
        }
        let asked = sent.get("uuid").and_then(Value::as_str).filter(|uuid| !uuid.is_empty());
        let uuid = match asked {
            Some(uuid) if is_uuid(uuid) => uuid.to_owned(),
            Some(_) => return Err(Denied::Bad("uuid: use letters, digits and '-', at most 128".to_owned())),
            None => new_uuid(kind)?,
        };
        if self.now().get(kind.path, &uuid).is_some() {
            return Err(Denied::Taken(format!("{} with uuid {uuid} already exists.", kind.name)));
        }
        self.write(kind, &uuid, object, tenant, None).await
    }

    //= API-STALE-01
    async fn replaced(
        &self,
        kind: &'static Kind,
        uuid: &str,
        sent: &Object,
        tenant: &Tenant,
    ) -> Result<Ready, Denied> {
        let before = self.get(kind, uuid, tenant)?;
        let old = before.object();
        if let Some(seen) = sent.get("_last_modified").and_then(Value::as_str)
            && old.get("_last_modified").and_then(Value::as_str) != Some(seen)
        {
            return Err(Denied::Stale(kind));
        }
        let object = check_after(kind, sent, Some(&old))?;
        self.write(kind, uuid, object, tenant, Some(&before)).await
    }

    async fn patched(
        &self,
        kind: &'static Kind,
        uuid: &str,
        change: &Object,
        tenant: &Tenant,
    ) -> Result<Ready, Denied> {
        let before = self.get(kind, uuid, tenant)?;
        // What is sealed is no text that a table allows; the mask is, and has it come back.
        let mut old = before.object();
        shape::mask(kind, &mut old);
        let changed = patch::apply(kind, &old, change)?;
        let object = check_after(kind, &changed, Some(&old))?;
        self.write(kind, uuid, object, tenant, Some(&before)).await
    }

    //= API-DELETE-01
    fn deleted(&self, kind: &'static Kind, uuid: &str, tenant: &Tenant) -> Result<Ready, Denied> {
        let held = self.get(kind, uuid, tenant)?;
        tenant.demand_write(Some(&held), None)?;
        access::may_grant(&self.now(), tenant, Some(&held), None)?;
        if access::is_built_in(&held) {
            return Err(Denied::InUse(format!(
                "Cannot delete system default object {} {}",
                kind.name, held.name
            )));
        }
        self.is_unused(&held, tenant)?;
        let step = Step::default()
            .demand(held.key(), Some(held.revision))
            .write(held.key(), None)
            .write(name_key(&held), None);
        let event = events::written(kind, uuid, &tenant.rights, Some(&held.object()), None);
        Ok(Ready { held: Held::clone(&held), is_gone: true, step, event })
    }

    /// Says whether nothing refers to an object. Who refers to it is told as far as the user sees it.
    fn is_unused(&self, held: &Held, tenant: &Tenant) -> Result<(), Denied> {
        let now = self.now();
        let (seen, hidden): (Vec<_>, Vec<_>) = now.referrers(&held.id()).partition(|by| tenant.sees(by));
        let mut by: Vec<String> =
            seen.iter().take(20).map(|by| format!("'{} {}'", by.kind.name, by.name)).collect();
        if !hidden.is_empty() {
            by.push("what you may not see".to_owned());
        }
        match by.is_empty() {
            true => Ok(()),
            false => Err(Denied::InUse(format!("Cannot delete, object is referred by: [{}]", by.join(", ")))),
        }
    }

    /// Tells of changes: how many there were so far. Which they were, the catalogue knows ([`Catalogue::changed_since`]).
    pub fn follow(&self) -> tokio::sync::watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// What seals secrets, those too that are in no object.
    pub fn seal(&self) -> &Seal {
        &self.seal
    }

    fn alter(&self, with: impl FnOnce(&mut Catalogue)) {
        let changed = {
            let mut catalogue = self.catalogue.write().unwrap_or_else(PoisonError::into_inner);
            with(&mut catalogue);
            catalogue.changed()
        };
        self.changed.send_replace(changed);
    }

    /// Resolves the references of a checked object and has it ready to be written.
    async fn write(
        &self,
        kind: &'static Kind,
        uuid: &str,
        mut object: Object,
        tenant: &Tenant,
        before: Option<&Held>,
    ) -> Result<Ready, Denied> {
        self.belong(kind, &mut object, tenant, before)?;
        self.resolve(kind, uuid, &mut object, tenant, before)?;
        object.insert("uuid".to_owned(), Value::from(uuid));
        if kind.path == "user" {
            login::take_password(&mut object, before).await?;
        }
        let lost = shape::keep_secrets(kind, &mut object, &before.map(Held::object).unwrap_or_default());
        // What is made may come from elsewhere, where its secrets stay; what there is must not lose one without a word.
        if before.is_some() && !lost.is_empty() {
            return Err(Denied::Wrong(lost));
        }
        let mut failed = None;
        shape::secrets(kind, &mut object, &mut |field, value| {
            // Those that were kept are sealed.
            if !value.is_object() {
                match self.seal.seal(uuid, field, value) {
                    Ok(sealed) => *value = sealed,
                    Err(text) => failed = Some(text),
                }
            }
        });
        if let Some(text) = failed {
            return Err(Denied::Store(Refusal::Unavailable(text.to_owned())));
        }
        if kind.path == "sslkeyandcertificate" {
            let open = |object: &Object| self.unsealed(kind, uuid, object.clone());
            let was = before.map(|before| open(&before.object()));
            if let Some(problem) = misfit(&open(&object), was.as_ref()) {
                return Err(Denied::Wrong(vec![problem]));
            }
        }
        let last = before.and_then(|before| before.object().get("_last_modified")?.as_str()?.parse().ok());
        object.insert("_last_modified".to_owned(), Value::from(moment_after(last.unwrap_or(0)).to_string()));
        let bytes = serde_json::to_vec(&object).map_err(|error| Denied::Bad(error.to_string()))?;
        let Some(held) = Held::read(&key(kind, uuid), bytes, 0) else {
            return Err(Denied::Bad(format!("{} is no object", kind.name)));
        };
        // What it was is changed, and what it will be is made: both have to be allowed.
        tenant.demand_write(before, Some(&held))?;
        access::may_grant(&self.now(), tenant, before, Some(&held))?;
        self.is_free(&held)?;
        claim::is_free(&self.now(), tenant, before, &held)?;
        let mut step = Step::default()
            .demand(held.key(), before.map(|before| before.revision))
            .write(held.key(), Some(held.bytes.clone()));
        let name = name_key(&held);
        match before.map(name_key) {
            Some(old) if old == name => {}
            old => {
                step = step.demand(name.clone(), None).write(name, Some(uuid.as_bytes().to_vec()));
                if let Some(old) = old {
                    step = step.write(old, None);
                }
            }
        }
        let event =
            events::written(kind, uuid, &tenant.rights, before.map(Held::object).as_ref(), Some(&object));
        Ok(Ready { held, is_gone: false, step, event })
    }

    /// Says whose it is, where the object does not.
    fn belong(
        &self,
        kind: &'static Kind,
        object: &mut Object,
        tenant: &Tenant,
        before: Option<&Held>,
    ) -> Result<(), Denied> {
        if !object.contains_key("tenant_ref") {
            let uuid = before.map_or(tenant.uuid.as_str(), |before| &before.tenant);
            object.insert("tenant_ref".to_owned(), Value::from(format!("/api/tenant/{uuid}")));
        }
        if kind.field("cloud_ref").is_some() && !object.contains_key("cloud_ref") {
            let now = self.now();
            if let Some(cloud) = now.named("cloud", "Default-Cloud").next() {
                object.insert("cloud_ref".to_owned(), Value::from(format!("/api/cloud/{}", cloud.uuid)));
            }
        }
        Ok(())
    }

    /// Puts the uuid in the place of each name, and refuses what leads nowhere.
    fn resolve(
        &self,
        kind: &'static Kind,
        uuid: &str,
        object: &mut Object,
        tenant: &Tenant,
        before: Option<&Held>,
    ) -> Result<(), Denied> {
        let itself = format!("/api/{}/{uuid}", kind.path);
        let now = self.now();
        let cloud = object.get("cloud_ref").and_then(Value::as_str).map(str::to_owned);
        let cloud = cloud.as_deref().and_then(|text| find::target(&now, text, "cloud", tenant, ""));
        let cloud = cloud.map_or(String::new(), |cloud| cloud.uuid.clone());
        // Who may change an object may leave in it what was there, seen or not.
        let stood = |target: &'static str, text: &mut String| match Reference::read(text, target) {
            Ok(Reference::Uuid(uuid)) => {
                let id = Id { kind: target, uuid };
                let is_so = before.is_some_and(|before| before.refers.contains(&id))
                    && now.get(target, &id.uuid).is_some();
                if is_so {
                    *text = format!("/api/{target}/{}", id.uuid);
                }
                is_so
            }
            _ => false,
        };
        let mut problems = Vec::new();
        let places = login::tenants_of_access(&now, kind, object, tenant);
        shape::references(kind, object, &mut |path, target, text| {
            // A role is one of the tenant that it is given for, or one that everybody knows.
            let of_place = || find::target(&now, text, target, places.get(path)?, "");
            match find::target(&now, text, target, tenant, &cloud).or_else(of_place) {
                _ if *text == itself || stood(target, text) => {}
                Some(found) => *text = format!("/api/{target}/{}", found.uuid),
                None => problems.push(Problem {
                    line: None,
                    path: path.to_owned(),
                    reason: format!("{} object not found!", kind_name(target)),
                    fix: format!("make the {target} first, or name one that there is"),
                }),
            }
        });
        if problems.is_empty() { Ok(()) } else { Err(Denied::Wrong(problems)) }
    }

    //= API-NAME-01
    fn is_free(&self, held: &Held) -> Result<(), Denied> {
        let now = self.now();
        let taken = now
            .named(held.kind.path, &held.name)
            .any(|other| other.uuid != held.uuid && other.realm() == held.realm());
        if taken && held.kind.field("name").is_some() {
            let realm = match held.kind.scope {
                forebay_model::kind::Scope::Cloud => "Name, Tenant ref and Cloud ref",
                forebay_model::kind::Scope::Tenant => "Name and Tenant ref",
                _ => "Name",
            };
            return Err(Denied::Taken(format!("{} with this {realm} already exists.", held.kind.name)));
        }
        login::is_free(&now, held)
    }
}

/// The name of a kind in texts.
fn kind_name(path: &str) -> &str {
    kind(path).map_or(path, |kind| kind.name)
}

/// Where the store keeps a name, so that two nodes cannot give it at once.
fn name_key(held: &Held) -> String {
    let (tenant, cloud) = held.realm();
    let name = match held.kind.field("name") {
        Some(_) => &held.name,
        None => &held.uuid,
    };
    // A name may be longer than a key, and have any character.
    let sum = sha256(format!("{tenant}\0{cloud}\0{name}").as_bytes());
    format!("name/{}/{sum}", held.kind.path)
}

fn refused(kind: &'static Kind, refusal: Refusal) -> Denied {
    match refusal {
        Refusal::Conflict(key) if key.starts_with("name/") => {
            Denied::Taken(format!("{} with this Name already exists.", kind.name))
        }
        Refusal::Conflict(_) => Denied::Stale(kind),
        Refusal::TooLarge(what) => Denied::Bad(format!("the object is too large: {what}")),
        other => Denied::Store(other),
    }
}

/// Microseconds since 1970, later than `last`: a clock that was set back makes no object older.
fn moment_after(last: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX).max(last + 1)
}

/// A uuid that nobody can guess.
///
/// # Errors
/// The system gives no random numbers.
pub fn new_uuid(kind: &Kind) -> Result<String, Denied> {
    let mut bytes = [0_u8; 16];
    rand::fill(&mut bytes).map_err(|_| Denied::Bad("the system gives no random numbers".to_owned()))?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex(&bytes);
    Ok(format!(
        "{}-{}-{}-{}-{}-{}",
        kind.path,
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    ))
}
