//! What a client is given of an object.

use forebay_model::reference::Reference;
use forebay_model::{Object, shape};
use serde_json::Value;

use super::Tenant;
use super::catalogue::{Catalogue, Held};
use super::find::Query;

/// How a client wants to see objects.
#[derive(Debug)]
pub struct Look {
    /// The front of every address, as in `https://controller:8443`.
    pub base: String,
    /// As whom: names of what is not seen are not told.
    pub tenant: Tenant,
    /// Each reference ends with the name of what it leads to.
    pub names: bool,
    /// What is equal to its default is left out.
    pub bare: bool,
    /// These fields only.
    pub fields: Option<Vec<String>>,
}

impl Look {
    /// As a query says.
    pub fn of(query: &Query<'_>, base: String, tenant: &Tenant) -> Self {
        Look {
            base,
            tenant: tenant.clone(),
            names: query.is_on("include_name"),
            bare: query.is_on("skip_default"),
            fields: query.get("fields").map(|fields| fields.split(',').map(str::to_owned).collect()),
        }
    }
}

/// The object as a client sees it: addresses are absolute, secrets are masked.
pub fn shown(now: &Catalogue, held: &Held, look: &Look) -> Object {
    let mut object = held.object();
    shape::mask(held.kind, &mut object);
    if look.bare {
        shape::without_defaults(held.kind, &mut object);
    }
    shape::references(held.kind, &mut object, &mut |_, kind, text| {
        let Ok(Reference::Uuid(uuid)) = Reference::read(text, kind) else { return };
        let target = now.get(kind, &uuid).filter(|target| look.names && look.tenant.may_refer(target));
        let name = target.map(|target| target.name.as_str());
        *text = address(&look.base, kind, &uuid, name);
    });
    let name = Some(held.name.as_str()).filter(|_| look.names);
    object.insert("url".to_owned(), Value::from(address(&look.base, held.kind.path, &held.uuid, name)));
    if let Some(fields) = &look.fields {
        object.retain(|name, _| {
            matches!(name.as_str(), "name" | "url" | "uuid") || fields.iter().any(|field| field == name)
        });
    }
    object
}

fn address(base: &str, kind: &str, uuid: &str, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{base}/api/{kind}/{uuid}#{name}"),
        None => format!("{base}/api/{kind}/{uuid}"),
    }
}
