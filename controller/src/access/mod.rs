//! Who may do what: each look at an object and each write goes through [`Tenant`].
//!
//! A user has roles, each in one tenant or in all of them. What no role grants is denied; what may not be seen is answered
//! as what there is not.

mod grant;
mod guard;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use forebay_model::kind::Scope;
use forebay_model::{Kind, builtin};
use serde_json::Value;

use grant::Grant;
pub(crate) use grant::entries;
pub use grant::{Access, Labels, labels};
pub use guard::may_grant;

use crate::objects::{Catalogue, Denied, Held};

/// The tenant of everything that says nothing else.
pub const ADMIN: &str = "admin";

/// Kinds whose objects in `admin` serve all tenants: what services stand on.
const SHARED: &[&str] =
    &["cloud", "serviceenginegroup", "serviceengine", "network", "vrfcontext", "ipamdnsproviderprofile"];

/// Kinds and names of what is there from the first start.
static BUILT_IN: LazyLock<BTreeSet<(&'static str, String)>> = LazyLock::new(|| {
    builtin::objects().into_iter().map(|object| (object.kind, object.name().to_owned())).collect()
});

/// Says whether an object was made by nobody.
pub fn is_built_in(held: &Held) -> bool {
    held.tenant == ADMIN && BUILT_IN.contains(&(held.kind.path, held.name.clone()))
}

/// Says whether an object is seen from every tenant.
fn is_shared(held: &Held) -> bool {
    held.realm().0.is_empty()
        || held.tenant == ADMIN && (SHARED.contains(&held.kind.path) || is_built_in(held))
}

/// What a user may do, and where.
#[derive(Debug)]
pub struct Rights {
    /// What the user comes in as.
    pub user: String,
    /// The uuid of the user's object; empty: the product itself.
    pub uuid: String,
    /// From where the request came; `None`: from the product itself.
    pub from: Option<IpAddr>,
    is_super: bool,
    everywhere: Vec<Grant>,
    within: BTreeMap<String, Vec<Grant>>,
}

impl Rights {
    /// Those of a user.
    pub fn of(now: &Catalogue, user: &Held, login: &str, from: IpAddr) -> Self {
        let object = user.object();
        let (mut everywhere, mut within) = (Vec::new(), BTreeMap::<_, Vec<_>>::new());
        for entry in entries(&object, "access") {
            let uuid = |name: &str| {
                entry
                    .get(name)
                    .and_then(Value::as_str)
                    .and_then(|text| text.rsplit('/').next())
                    .unwrap_or_default()
            };
            let Some(role) = now.get("role", uuid("role_ref")) else { continue };
            if entry.get("all_tenants").and_then(Value::as_bool) == Some(true) {
                everywhere.push(Grant::of(role));
            } else if !uuid("tenant_ref").is_empty() {
                within.entry(uuid("tenant_ref").to_owned()).or_default().push(Grant::of(role));
            }
        }
        let is_super = object.get("is_superuser").and_then(Value::as_bool).unwrap_or(false);
        Rights {
            user: login.to_owned(),
            uuid: user.uuid.clone(),
            from: Some(from),
            is_super,
            everywhere,
            within,
        }
    }

    /// Those of somebody who did not come in.
    pub fn nobody(user: &str, from: IpAddr) -> Self {
        let user = user.chars().take(128).collect();
        Rights { user, from: Some(from), is_super: false, ..Rights::all() }
    }

    /// All of them: those of the product itself.
    fn all() -> Self {
        Rights {
            user: "system".to_owned(),
            uuid: String::new(),
            from: None,
            is_super: true,
            everywhere: Vec::new(),
            within: BTreeMap::new(),
        }
    }

    /// The same user in what anybody may do, as with the own account.
    fn raised(&self) -> Self {
        Rights { user: self.user.clone(), uuid: self.uuid.clone(), from: self.from, ..Rights::all() }
    }

    /// Says whether there is anything that no role has to grant.
    pub fn is_super(&self) -> bool {
        self.is_super
    }

    /// Says whether the user has a role in a tenant.
    pub fn has_part_in(&self, tenant: &str) -> bool {
        self.is_super || !self.everywhere.is_empty() || self.within.contains_key(tenant)
    }

    /// The first tenant in which the user has a role of its own.
    pub fn first_tenant(&self) -> Option<&str> {
        self.within.keys().next().map(String::as_str)
    }

    fn grants<'r>(&'r self, tenant: &str) -> impl Iterator<Item = &'r Grant> + use<'r> {
        self.everywhere.iter().chain(self.within.get(tenant).into_iter().flatten())
    }

    fn all_grants(&self) -> impl Iterator<Item = &Grant> {
        self.everywhere.iter().chain(self.within.values().flatten())
    }
}

/// As whom something is asked for: the tenant, and what the user may do.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Its uuid.
    pub uuid: String,
    /// All tenants are meant.
    pub is_all: bool,
    /// What the user may do.
    pub rights: Arc<Rights>,
}

impl Tenant {
    /// The product itself, in the tenant of the administrators: it may do everything.
    pub fn admin() -> Self {
        Tenant { uuid: ADMIN.to_owned(), is_all: false, rights: Arc::new(Rights::all()) }
    }

    /// The product itself at the bidding of this user, in all tenants: for what needs no role.
    pub fn raised(&self) -> Self {
        Tenant { uuid: self.uuid.clone(), is_all: true, rights: Arc::new(self.rights.raised()) }
    }

    /// The roles that count for a look at an object; none if its tenant is another one.
    fn in_play<'t>(&'t self, tenant: &'t str, is_shared: bool) -> Box<dyn Iterator<Item = &'t Grant> + 't> {
        match (self.is_all, is_shared) {
            (true, true) => Box::new(self.rights.all_grants()),
            (true, false) => Box::new(self.rights.grants(tenant)),
            (false, _) if is_shared || tenant == self.uuid => Box::new(self.rights.grants(&self.uuid)),
            (false, _) => Box::new(std::iter::empty()),
        }
    }

    /// Says whether it may look at an object: its own, those of the whole system, and those that are for everybody.
    //= API-TENANT-01
    pub fn sees(&self, held: &Held) -> bool {
        let is_shared = is_shared(held);
        if self.rights.is_super {
            return self.is_all || is_shared || held.tenant == self.uuid;
        }
        let resource = held.kind.permission;
        match held.kind.path {
            "tenant" if !self.rights.has_part_in(&held.uuid) => return false,
            "user" => return self.sees_user(held),
            _ => {}
        }
        let mut wanted = None;
        self.in_play(&held.tenant, is_shared).filter(|grant| grant.access(resource) >= Access::Read).any(
            |grant| {
                // What was there from the start carries nobody's labels.
                !grant.is_filtered()
                    || is_built_in(held)
                    || held.realm().0.is_empty()
                    || grant.covers(wanted.get_or_insert_with(|| labels(&held.object())))
            },
        )
    }

    /// A user is seen by who sees users in a tenant in which that one has a role.
    fn sees_user(&self, held: &Held) -> bool {
        if held.uuid == self.rights.uuid {
            return true;
        }
        let sees = |grant: &Grant| grant.access(held.kind.permission) >= Access::Read;
        if self.rights.everywhere.iter().any(sees) {
            return true;
        }
        let object = held.object();
        entries(&object, "access").any(|entry| {
            let tenant =
                entry.get("tenant_ref").and_then(Value::as_str).and_then(|text| text.rsplit('/').next());
            tenant.is_some_and(|tenant| {
                (self.is_all || tenant == self.uuid) && self.rights.grants(tenant).any(sees)
            })
        })
    }

    /// Says whether another object may name this one: what is seen, one's own tenant, and what everybody knows.
    pub fn may_refer(&self, held: &Held) -> bool {
        let is_own_tenant = held.kind.path == "tenant" && self.rights.has_part_in(&held.uuid);
        is_own_tenant || is_built_in(held) || self.sees(held)
    }

    /// Says whether what happened to an object that may be gone is told.
    pub fn hears_of(&self, kind: &Kind, tenant: &str, labels: &Labels) -> bool {
        if self.rights.is_super {
            return self.is_all || tenant == self.uuid;
        }
        self.in_play(tenant, false)
            .any(|grant| grant.access(kind.permission) >= Access::Read && grant.covers(labels))
    }

    /// Says whether there is anything that this user could hear of.
    pub fn hears_of_anything(&self) -> bool {
        let reads = |grant: &Grant| grant.all().any(|(_, access)| access >= Access::Read);
        self.rights.is_super
            || match self.is_all {
                true => self.rights.all_grants().any(reads),
                false => self.rights.grants(&self.uuid).any(reads),
            }
    }

    /// Says whether all there is of a resource may be read, in every tenant.
    pub fn reads_everywhere(&self, resource: &str) -> bool {
        let reads = |grant: &Grant| grant.access(resource) >= Access::Read && !grant.is_filtered();
        self.rights.is_super || self.rights.everywhere.iter().any(reads)
    }

    /// Says whether some role goes so far for a resource, whatever its labels.
    ///
    /// # Errors
    /// None does.
    //= API-ROLE-01
    pub fn demand(&self, resource: &str, access: Access) -> Result<(), Denied> {
        let grants = |grant: &Grant| grant.access(resource) >= access;
        let is_so = match self.is_all {
            _ if self.rights.is_super => true,
            true => self.rights.all_grants().any(grants),
            false => self.rights.grants(&self.uuid).any(grants),
        };
        if is_so { Ok(()) } else { Err(self.lacks(resource, access, &self.uuid)) }
    }

    /// Says whether a role in the tenant `admin`, or one in all tenants, goes so far: for what is nobody's own.
    ///
    /// # Errors
    /// None does.
    pub fn demand_system(&self, resource: &str, access: Access) -> Result<(), Denied> {
        let is_so = self.rights.is_super
            || self
                .rights
                .grants(ADMIN)
                .any(|grant| grant.access(resource) >= access && !grant.is_filtered());
        if is_so { Ok(()) } else { Err(self.lacks(resource, access, ADMIN)) }
    }

    /// Says whether an object may be changed from what it is to what it will be.
    ///
    /// # Errors
    /// What is missing.
    pub fn demand_write(&self, before: Option<&Held>, after: Option<&Held>) -> Result<(), Denied> {
        if let Some(before) = before
            && !self.is_all
            && before.tenant != self.uuid
        {
            return Err(Denied::Forbidden(format!(
                "{} {} belongs to the tenant {}: ask as that tenant (X-Avi-Tenant)",
                before.kind.name, before.name, before.tenant
            )));
        }
        if self.rights.is_super {
            return Ok(());
        }
        let (old, new) = (before.map(Held::object), after.map(Held::object));
        for held in [before, after].into_iter().flatten() {
            let resource = held.kind.permission;
            // What is the whole system's is changed by who may do so in `admin`; a user by who may in the tenant asked as.
            let place = match held.kind.scope {
                _ if held.kind.path == "user" => self.uuid.as_str(),
                Scope::System | Scope::Single => ADMIN,
                _ => held.tenant.as_str(),
            };
            let mut writing =
                self.rights.grants(place).filter(|grant| grant.access(resource) == Access::Write).peekable();
            if writing.peek().is_none() {
                return Err(self.lacks(resource, Access::Write, place));
            }
            let covered = |object: &Option<forebay_model::Object>, grant: &Grant| {
                object.as_ref().is_none_or(|object| grant.covers(&labels(object)))
            };
            let fits = writing.any(|grant| {
                covered(&old, grant)
                    && covered(&new, grant)
                    && grant.allows(resource, old.as_ref(), new.as_ref())
            });
            if !fits {
                return Err(Denied::Forbidden(format!(
                    "the roles of {} in the tenant {place} allow {resource} for some labels or fields only, and this is \
                     outside of them",
                    self.rights.user
                )));
            }
        }
        Ok(())
    }

    /// Says whether a role lets the user maintain an object: one in the object's own tenant, whose labels it fits.
    //= API-ROLE-05
    pub fn maintains(&self, held: &Held) -> bool {
        if !self.is_all && held.tenant != self.uuid {
            return false;
        }
        let resource = format!("{}_MAINTENANCE", held.kind.permission);
        let labels = labels(&held.object());
        self.rights.is_super
            || self
                .rights
                .grants(&held.tenant)
                .any(|grant| grant.access(&resource) == Access::Write && grant.covers(&labels))
    }

    fn lacks(&self, resource: &str, access: Access, place: &str) -> Denied {
        Denied::Forbidden(format!(
            "no role of {} in the tenant {place} has {} to {resource}",
            self.rights.user,
            access.name()
        ))
    }
}
