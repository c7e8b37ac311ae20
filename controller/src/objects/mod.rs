//! What is done with objects, whoever asks: the API, the console, the command line.

mod carried;
mod catalogue;
mod find;
mod show;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use forebay_model::reference::is_uuid;
use forebay_model::{Kind, Object, Problem, builtin, check, kind, patch, shape};
use serde_json::Value;

pub use catalogue::{Catalogue, Held, Id, key, realm};
pub use find::{Found, Query};
pub use show::{Look, shown};

use crate::sealed::Seal;
use crate::store::{Refusal, Step, Store};

/// The tenant of everything that says nothing else; its objects are seen by all.
pub const ADMIN: &str = "admin";

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
        let mut after: Option<String> = None;
        loop {
            let page = store.list("object/", after.as_deref(), 500).await?;
            let Some((last, _)) = page.entries.last() else { break };
            after = Some(last.clone());
            for (key, stored) in page.entries {
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
        let (changed, _) = tokio::sync::watch::channel(catalogue.changed());
        Ok(Objects {
            store,
            seal,
            catalogue: RwLock::new(catalogue),
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

    /// An object with its secrets open, for whoever carries it out; what does not open is left out.
    pub fn opened(&self, held: &Held) -> Object {
        let mut object = held.object();
        shape::secrets(held.kind, &mut object, &mut |field, value| {
            *value = self.seal.unseal(&held.uuid, field, value).unwrap_or(Value::Null);
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

    /// Makes an object.
    ///
    /// # Errors
    /// Why not.
    pub async fn create(
        &self,
        kind: &'static Kind,
        sent: &Object,
        tenant: &Tenant,
    ) -> Result<Arc<Held>, Denied> {
        let object = check(kind, sent)?;
        let _turn = self.writing.lock().await;
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

    /// Puts a whole object in the place of what it was.
    ///
    /// # Errors
    /// Why not.
    //= API-STALE-01
    pub async fn replace(
        &self,
        kind: &'static Kind,
        uuid: &str,
        sent: &Object,
        tenant: &Tenant,
    ) -> Result<Arc<Held>, Denied> {
        let _turn = self.writing.lock().await;
        let before = self.writable(kind, uuid, tenant)?;
        let old = before.object();
        if let Some(seen) = sent.get("_last_modified").and_then(Value::as_str)
            && old.get("_last_modified").and_then(Value::as_str) != Some(seen)
        {
            return Err(Denied::Stale(kind));
        }
        let object = check(kind, sent)?;
        self.write(kind, uuid, object, tenant, Some(&before)).await
    }

    /// Changes parts of an object.
    ///
    /// # Errors
    /// Why not.
    pub async fn patch(
        &self,
        kind: &'static Kind,
        uuid: &str,
        change: &Object,
        tenant: &Tenant,
    ) -> Result<Arc<Held>, Denied> {
        let _turn = self.writing.lock().await;
        let before = self.writable(kind, uuid, tenant)?;
        // What is sealed is no text that a table allows; the mask is, and has it come back.
        let mut old = before.object();
        shape::mask(kind, &mut old);
        let changed = patch::apply(kind, &old, change)?;
        let object = check(kind, &changed)?;
        self.write(kind, uuid, object, tenant, Some(&before)).await
    }

    /// Takes an object away.
    ///
    /// # Errors
    /// Why not.
    //= API-DELETE-01
    pub async fn delete(&self, kind: &'static Kind, uuid: &str, tenant: &Tenant) -> Result<(), Denied> {
        let _turn = self.writing.lock().await;
        let held = self.writable(kind, uuid, tenant)?;
        if builtin::is_built_in(kind.path, &held.name) && held.tenant == ADMIN {
            return Err(Denied::InUse(format!(
                "Cannot delete system default object {} {}",
                kind.name, held.name
            )));
        }
        let referrers: Vec<String> = {
            let now = self.now();
            now.referrers(&held.id()).take(20).map(|by| format!("'{} {}'", by.kind.name, by.name)).collect()
        };
        if !referrers.is_empty() {
            let by = referrers.join(", ");
            return Err(Denied::InUse(format!("Cannot delete, object is referred by: [{by}]")));
        }
        let step = Step::default()
            .demand(held.key(), Some(held.revision))
            .write(held.key(), None)
            .write(name_key(&held), None);
        self.store.commit(step).await.map_err(|refusal| refused(kind, refusal))?;
        self.change(|catalogue| catalogue.remove(&held.id()));
        Ok(())
    }

    fn writable(&self, kind: &'static Kind, uuid: &str, tenant: &Tenant) -> Result<Arc<Held>, Denied> {
        let held = self.get(kind, uuid, tenant)?;
        if tenant.owns(&held) { Ok(held) } else { Err(Denied::Missing(kind)) }
    }

    /// Tells of changes: how many there were so far. Which they were, the catalogue knows ([`Catalogue::changed_since`]).
    pub fn follow(&self) -> tokio::sync::watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// What seals secrets, those too that are in no object.
    pub fn seal(&self) -> &Seal {
        &self.seal
    }

    fn change(&self, with: impl FnOnce(&mut Catalogue)) {
        let changed = {
            let mut catalogue = self.catalogue.write().unwrap_or_else(PoisonError::into_inner);
            with(&mut catalogue);
            catalogue.changed()
        };
        self.changed.send_replace(changed);
    }

    /// Resolves the references of a checked object and writes it.
    async fn write(
        &self,
        kind: &'static Kind,
        uuid: &str,
        mut object: Object,
        tenant: &Tenant,
        before: Option<&Held>,
    ) -> Result<Arc<Held>, Denied> {
        self.belong(kind, &mut object, tenant, before)?;
        self.resolve(kind, uuid, &mut object, tenant)?;
        object.insert("uuid".to_owned(), Value::from(uuid));
        let mut failed = None;
        shape::secrets(kind, &mut object, &mut |field, value| {
            if value != shape::MASK {
                match self.seal.seal(uuid, field, value) {
                    Ok(sealed) => *value = sealed,
                    Err(text) => failed = Some(text),
                }
            }
        });
        if let Some(text) = failed {
            return Err(Denied::Store(Refusal::Unavailable(text.to_owned())));
        }
        shape::keep_secrets(kind, &mut object, &before.map(Held::object).unwrap_or_default());
        let last = before.and_then(|before| before.object().get("_last_modified")?.as_str()?.parse().ok());
        object.insert("_last_modified".to_owned(), Value::from(moment_after(last.unwrap_or(0)).to_string()));
        let bytes = serde_json::to_vec(&object).map_err(|error| Denied::Bad(error.to_string()))?;
        let Some(mut held) = Held::read(&key(kind, uuid), bytes, 0) else {
            return Err(Denied::Bad(format!("{} is no object", kind.name)));
        };
        self.is_free(&held)?;
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
        held.revision = self.store.commit(step).await.map_err(|refusal| refused(kind, refusal))?;
        let id = held.id();
        self.change(|catalogue| catalogue.put(held));
        self.now().get(id.kind, &id.uuid).cloned().ok_or(Denied::Missing(kind))
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
    ) -> Result<(), Denied> {
        let itself = format!("/api/{}/{uuid}", kind.path);
        let now = self.now();
        let cloud = object.get("cloud_ref").and_then(Value::as_str).map(str::to_owned);
        let cloud = cloud.as_deref().and_then(|text| find::target(&now, text, "cloud", tenant, ""));
        let cloud = cloud.map_or(String::new(), |cloud| cloud.uuid.clone());
        let mut problems = Vec::new();
        shape::references(kind, object, &mut |path, target, text| match find::target(
            &now, text, target, tenant, &cloud,
        ) {
            _ if *text == itself => {}
            Some(found) => *text = format!("/api/{target}/{}", found.uuid),
            None => problems.push(Problem {
                line: None,
                path: path.to_owned(),
                reason: format!("{} object not found!", kind_name(target)),
                fix: format!("make the {target} first, or name one that there is"),
            }),
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
        Ok(())
    }
}

/// As whom something is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its uuid.
    pub uuid: String,
    /// All tenants are meant.
    pub is_all: bool,
}

impl Tenant {
    /// The tenant of the administrators.
    pub fn admin() -> Self {
        Tenant { uuid: ADMIN.to_owned(), is_all: false }
    }

    /// Says whether it may look at an object: its own, those of the whole system, and those that are for everybody.
    pub fn sees(&self, held: &Held) -> bool {
        self.is_all || held.tenant == self.uuid || held.tenant == ADMIN || held.realm().0.is_empty()
    }

    /// Says whether it may change an object.
    pub fn owns(&self, held: &Held) -> bool {
        self.is_all || held.tenant == self.uuid
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
    let sum = digest(&SHA256, format!("{tenant}\0{cloud}\0{name}").as_bytes());
    let hex: String = sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("name/{}/{hex}", held.kind.path)
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
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
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
