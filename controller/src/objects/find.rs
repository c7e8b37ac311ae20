//! Which objects a client asks for.

use std::sync::Arc;

use forebay_model::kind::Scope;
use forebay_model::reference::Reference;
use forebay_model::{Kind, kind, shape};
use serde_json::Value;

use super::catalogue::{Catalogue, Held, Id};
use super::{ADMIN, Denied, Tenant};

/// The most objects of one answer.
pub const PAGE_MAX: usize = 200;
/// Objects of one answer, where the client says nothing.
pub const PAGE: usize = 25;

/// Items that narrow lists elsewhere, and of which nobody says how: who sends one must not take all for what is left.
const UNKNOWN: [&str; 2] = ["exclude", "limit_by"];

/// The object that a reference leads to: by its uuid, or by its name, in the tenant's own objects first and then in those
/// for everybody; in this cloud, if it is known.
pub(super) fn target(
    now: &Catalogue,
    text: &str,
    kind: &'static str,
    tenant: &Tenant,
    cloud: &str,
) -> Option<Arc<Held>> {
    match Reference::read(text, kind).ok()? {
        Reference::Uuid(uuid) => now.get(kind, &uuid).filter(|held| tenant.may_refer(held)).cloned(),
        Reference::Name(name) => {
            let fits = |held: &&Arc<Held>| {
                tenant.may_refer(held)
                    && (cloud.is_empty() || held.kind.scope != Scope::Cloud || held.cloud == cloud)
            };
            let own = now.named(kind, &name).filter(fits).find(|held| held.tenant == tenant.uuid);
            own.or_else(|| {
                now.named(kind, &name).filter(fits).find(|held| held.tenant == ADMIN || tenant.is_all)
            })
            .cloned()
        }
    }
}

/// What a client asks for of a kind: pairs of its query, unescaped.
#[derive(Debug, Default)]
pub struct Query<'q> {
    pairs: &'q [(String, String)],
}

/// A part of what was found.
#[derive(Debug)]
pub struct Found {
    /// How many there are over all pages.
    pub count: usize,
    /// Those of this page.
    pub page: Vec<Arc<Held>>,
    /// The number of the next page, if there is one.
    pub next: Option<usize>,
}

impl<'q> Query<'q> {
    /// Of these pairs.
    pub fn new(pairs: &'q [(String, String)]) -> Self {
        Query { pairs }
    }

    /// The last value of an item.
    pub fn get(&self, name: &str) -> Option<&'q str> {
        self.pairs.iter().rev().find(|(item, _)| item == name).map(|(_, value)| value.as_str())
    }

    /// Says whether an item is there and does not say no; items without a value count.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !matches!(value, "false" | "False" | "0"))
    }

    /// The objects of a kind that a tenant sees and that fit.
    ///
    /// # Errors
    /// A page that there cannot be.
    //= API-LIST-01
    pub fn find(&self, now: &Catalogue, kind: &'static Kind, tenant: &Tenant) -> Result<Found, Denied> {
        let number = |name: &str, low: usize, high: usize, or: usize| match self.get(name) {
            None | Some("") => Ok(or),
            Some(text) => match text.parse::<usize>() {
                Ok(number) if number >= low => Ok(number.min(high)),
                _ => Err(Denied::Bad(format!("{name}: put a whole number from {low} there"))),
            },
        };
        //= API-LIST-02
        if let Some(name) = UNKNOWN.into_iter().find(|name| self.get(name).is_some()) {
            return Err(Denied::Bad(format!(
                "{name}: what it leaves out is documented nowhere, and nothing is left out here: leave it away, and use name.in, \
                 uuid.in, search, page_size"
            )));
        }
        // More than the most is asked for by old clients: they get the most, and the address of the next page.
        let size = number("page_size", 1, PAGE_MAX, PAGE)?;
        let page = number("page", 1, usize::MAX, 1)?;
        let fits = Fits::new(self, now)?;
        let exact = self.get("name");
        let mut all: Vec<&Arc<Held>> = match exact {
            Some(name) => now
                .named(kind.path, name)
                .filter(|held| tenant.sees(held) && fits.all(now, held, tenant))
                .collect(),
            None => {
                now.all(kind.path).filter(|held| tenant.sees(held) && fits.all(now, held, tenant)).collect()
            }
        };
        match self.get("sort") {
            Some("-name") => all.reverse(),
            Some("_last_modified" | "-_last_modified") => {
                all.sort_by_key(|held| held.revision);
                if self.get("sort").is_some_and(|sort| sort.starts_with('-')) {
                    all.reverse();
                }
            }
            _ => {}
        }
        let count = all.len();
        let begin = (page - 1).saturating_mul(size).min(count);
        let end = (begin + size).min(count);
        let next = (end < count).then(|| page + 1);
        Ok(Found { count, page: all[begin..end].iter().copied().cloned().collect(), next })
    }
}

/// What an object must be.
struct Fits<'q> {
    contains: Option<&'q str>,
    contains_any_case: Option<String>,
    names: Option<Vec<&'q str>>,
    uuids: Option<Vec<&'q str>>,
    cloud: Option<String>,
    /// Fields that must be equal.
    equal: Vec<(&'static str, Value)>,
    label: (Option<&'q str>, Option<&'q str>),
    /// A text that some field must have in it.
    search: Option<(Option<&'q str>, String, bool)>,
    refers_to: Option<Id>,
    referred_by: Option<Id>,
}

impl<'q> Fits<'q> {
    fn new(query: &Query<'q>, now: &Catalogue) -> Result<Self, Denied> {
        let list = |name: &str| query.get(name).map(|names| names.split(',').collect::<Vec<_>>());
        let cloud = match (query.get("cloud_ref.name").or(query.get("cloud")), query.get("cloud_ref.uuid")) {
            // A cloud that there is not has no objects.
            (Some(name), _) => {
                Some(now.named("cloud", name).next().map_or("-".to_owned(), |cloud| cloud.uuid.clone()))
            }
            (None, uuid) => uuid.or(query.get("cloud_uuid")).map(str::to_owned),
        };
        let mut equal = Vec::new();
        for name in ["created_by", "username"] {
            equal.extend(query.get(name).map(|value| (name, Value::from(value))));
        }
        match query.get("enabled") {
            None | Some("") => {}
            Some("true" | "True") => equal.push(("enabled", Value::from(true))),
            Some("false" | "False") => equal.push(("enabled", Value::from(false))),
            Some(_) => return Err(Denied::Bad("enabled: put true or false there".to_owned())),
        }
        let search =
            query.get("search").map(|text| (text, true)).or(query.get("isearch").map(|text| (text, false)));
        Ok(Fits {
            contains: query.get("name.contains"),
            contains_any_case: query.get("name.icontains").map(str::to_lowercase),
            names: list("name.in"),
            uuids: list("uuid.in").or_else(|| list("uuid")),
            cloud,
            equal,
            label: (query.get("label_key"), query.get("label_value")),
            search: search.map(|(text, exact)| {
                let inner = text.strip_prefix('(').and_then(|text| text.strip_suffix(')'));
                let (field, text) = inner
                    .and_then(|inner| inner.split_once(','))
                    .map_or((None, text), |(field, text)| (Some(field.trim()), text.trim()));
                (field, if exact { text.to_owned() } else { text.to_lowercase() }, exact)
            }),
            refers_to: query.get("refers_to").map(id).transpose()?,
            referred_by: query.get("referred_by").map(id).transpose()?,
        })
    }

    fn all(&self, now: &Catalogue, held: &Held, tenant: &Tenant) -> bool {
        let one_of =
            |list: &Option<Vec<&str>>, own: &str| list.as_ref().is_none_or(|list| list.contains(&own));
        if !one_of(&self.names, &held.name)
            || !one_of(&self.uuids, &held.uuid)
            || self.contains.is_some_and(|part| !held.name.contains(part))
            || self
                .contains_any_case
                .as_ref()
                .is_some_and(|part| !held.name.to_lowercase().contains(part.as_str()))
            || self
                .cloud
                .as_ref()
                .is_some_and(|cloud| held.cloud != *cloud && held.kind.scope == Scope::Cloud)
            || self.refers_to.as_ref().is_some_and(|target| !held.refers.contains(target))
        {
            return false;
        }
        if let Some(by) = &self.referred_by
            && now.get(by.kind, &by.uuid).is_none_or(|by| !tenant.sees(by) || !by.refers.contains(&held.id()))
        {
            return false;
        }
        if self.equal.is_empty() && self.label.0.is_none() && self.search.is_none() {
            return true;
        }
        if self.search.as_ref().is_some_and(|search| !may_have_text(&held.bytes, search)) {
            return false;
        }
        let mut object = held.object();
        if self.search.is_some() {
            // Who could look for parts of what is sealed would find it out, piece by piece.
            shape::mask(held.kind, &mut object);
        }
        self.equal.iter().all(|(name, value)| object.get(*name) == Some(value))
            && self.label.0.is_none_or(|key| has_label(object.get("markers"), key, self.label.1))
            && self.search.as_ref().is_none_or(|(field, text, exact)| match field {
                Some(field) => object.get(*field).is_some_and(|value| has_text(value, text, *exact)),
                None => object.values().any(|value| has_text(value, text, *exact)),
            })
    }
}

fn has_label(markers: Option<&Value>, key: &str, value: Option<&str>) -> bool {
    let markers = markers.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    markers.iter().any(|marker| {
        let values = marker.get("values").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        marker.get("key").and_then(Value::as_str) == Some(key)
            && value.is_none_or(|value| values.iter().any(|held| held == value))
    })
}

/// What is not in an object's JSON is in none of its fields: most need not be read for a search.
fn may_have_text(json: &[u8], (_, text, exact): &(Option<&str>, String, bool)) -> bool {
    let written = Value::from(text.as_str()).to_string();
    let inner = &written[1..written.len() - 1];
    std::str::from_utf8(json)
        .is_ok_and(|json| if *exact { json.contains(inner) } else { json.to_lowercase().contains(inner) })
}

fn has_text(value: &Value, text: &str, exact: bool) -> bool {
    match value {
        Value::String(held) if exact => held.contains(text),
        Value::String(held) => held.to_lowercase().contains(text),
        Value::Array(entries) => entries.iter().any(|entry| has_text(entry, text, exact)),
        Value::Object(fields) => fields.values().any(|field| has_text(field, text, exact)),
        _ => false,
    }
}

/// Reads `<type>:<uuid>`.
fn id(text: &str) -> Result<Id, Denied> {
    let (path, uuid) = text.split_once(':').unwrap_or((text, ""));
    match kind(path) {
        Some(kind) if !uuid.is_empty() => Ok(Id { kind: kind.path, uuid: uuid.to_owned() }),
        _ => Err(Denied::Bad("refers_to and referred_by: write <type>:<uuid>".to_owned())),
    }
}
