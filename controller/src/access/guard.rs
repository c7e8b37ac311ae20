//! Nobody grants what they lack: who may write users and roles could otherwise become anybody.

use serde_json::Value;

use super::grant::{Access, Grant, entries};
use super::{Rights, Tenant};
use crate::objects::{Catalogue, Denied, Held};

/// Says whether a user or a role may be changed from what it is to what it will be; whatever else it is may be.
///
/// # Errors
/// It can do, or could then do, what the one who changes it cannot.
//= API-ROLE-04
pub fn may_grant(
    now: &Catalogue,
    tenant: &Tenant,
    before: Option<&Held>,
    after: Option<&Held>,
) -> Result<(), Denied> {
    let kind = before.or(after).map_or("", |held| held.kind.path);
    if kind == "user" {
        stays_an_administrator(before, after)?;
    }
    if tenant.rights.is_super() {
        return Ok(());
    }
    let rights = &tenant.rights;
    let is_less = match kind {
        "user" => [before, after].into_iter().flatten().all(|user| is_user_less(now, rights, user)),
        "role" => [before, after].into_iter().flatten().all(|role| is_role_less(now, rights, role)),
        _ => true,
    };
    if is_less {
        return Ok(());
    }
    Err(Denied::Forbidden(format!(
        "this {kind} may do what {} may not: nobody grants, changes or takes away more than they have",
        rights.user
    )))
}

/// The account `admin` is the way back in when all others are lost.
fn stays_an_administrator(before: Option<&Held>, after: Option<&Held>) -> Result<(), Denied> {
    let (Some(before), Some(after)) = (before, after) else { return Ok(()) };
    if !super::is_built_in(before) {
        return Ok(());
    }
    let object = after.object();
    let is_on = |name: &str| object.get(name).and_then(Value::as_bool) == Some(true);
    if after.name == before.name
        && after.tenant == before.tenant
        && is_on("is_active")
        && is_on("is_superuser")
    {
        return Ok(());
    }
    Err(Denied::Forbidden(
        "the user admin stays active and superuser, with its name: it is the way back in".to_owned(),
    ))
}

fn is_user_less(now: &Catalogue, rights: &Rights, user: &Held) -> bool {
    let object = user.object();
    if object.get("is_superuser").and_then(Value::as_bool) == Some(true) {
        return false;
    }
    entries(&object, "access").all(|entry| {
        let uuid =
            |name: &str| entry.get(name).and_then(Value::as_str).and_then(|text| text.rsplit('/').next());
        let place = match entry.get("all_tenants").and_then(Value::as_bool) {
            Some(true) => None,
            _ => Some(uuid("tenant_ref").unwrap_or_default()),
        };
        match uuid("role_ref").and_then(|role| now.get("role", role)) {
            Some(role) => covers(rights, &Grant::of(role), place),
            // It grants nothing.
            None => true,
        }
    })
}

/// A role as it is or will be, for each of its users where they have it, and for who could be given it.
fn is_role_less(now: &Catalogue, rights: &Rights, role: &Held) -> bool {
    let grant = Grant::of(role);
    if !covers_all(rights, &grant, Some(&role.tenant)) {
        return false;
    }
    now.referrers(&role.id()).filter(|by| by.kind.path == "user").all(|user| {
        let object = user.object();
        entries(&object, "access")
            .filter(|entry| {
                entry.get("role_ref").and_then(Value::as_str).is_some_and(|text| text.ends_with(&role.uuid))
            })
            .all(|entry| {
                let place =
                    entry.get("tenant_ref").and_then(Value::as_str).and_then(|t| t.rsplit('/').next());
                match entry.get("all_tenants").and_then(Value::as_bool) {
                    Some(true) => covers_all(rights, &grant, None),
                    _ => covers_all(rights, &grant, Some(place.unwrap_or_default())),
                }
            })
    })
}

/// Says whether a role grants nothing in a place (`None`: in all tenants) that these rights do not have there; one's own
/// role may be handed on.
fn covers(rights: &Rights, grant: &Grant, place: Option<&str>) -> bool {
    has_users(rights, place)
        && (own(rights, place).any(|own| own.role == grant.role) || covers_all(rights, grant, place))
}

fn covers_all(rights: &Rights, grant: &Grant, place: Option<&str>) -> bool {
    grant.all().filter(|(_, access)| *access > Access::None).all(|(resource, access)| {
        own(rights, place)
            .any(|own| own.access(resource) >= access && !own.is_filtered() && !own.is_partial(resource))
    })
}

fn has_users(rights: &Rights, place: Option<&str>) -> bool {
    own(rights, place).any(|own| own.access("PERMISSION_USER") == Access::Write)
}

fn own<'r>(rights: &'r Rights, place: Option<&str>) -> Box<dyn Iterator<Item = &'r Grant> + 'r> {
    match place {
        Some(place) => Box::new(rights.grants(place)),
        None => Box::new(rights.everywhere.iter()),
    }
}
