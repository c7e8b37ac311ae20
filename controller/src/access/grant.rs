//! A role as it is asked: what it lets its users do with one object.

use std::collections::BTreeMap;

use forebay_model::Object;
use serde_json::{Map, Value};

use crate::objects::Held;

/// How far a privilege goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Nothing, not even to know of it.
    None,
    /// To look.
    Read,
    /// To look and to change.
    Write,
}

impl Access {
    /// As roles write it.
    pub fn name(self) -> &'static str {
        match self {
            Access::None => "NO_ACCESS",
            Access::Read => "READ_ACCESS",
            Access::Write => "WRITE_ACCESS",
        }
    }
}

/// What a role says about one resource.
#[derive(Debug)]
struct Privilege {
    access: Access,
    part: Option<Part>,
}

/// The part of an object that may be written.
#[derive(Debug)]
struct Part {
    /// Ways to fields; a list on the way stands for each of its entries.
    ways: Vec<&'static [&'static str]>,
    /// These may not, and all others may.
    is_all_but: bool,
}

/// A role, for one of its users.
#[derive(Debug)]
pub struct Grant {
    /// The role's uuid.
    pub role: String,
    privileges: BTreeMap<String, Privilege>,
    filters: Vec<Filter>,
    /// Whether filters let pass what has no label.
    is_open: bool,
}

/// One condition on an object's labels.
#[derive(Debug)]
struct Filter {
    key: String,
    values: Vec<String>,
    is_glob: bool,
    is_not: bool,
}

/// The labels of an object.
pub type Labels = [(String, Vec<String>)];

impl Grant {
    /// Of a role as it is kept.
    pub fn of(role: &Held) -> Self {
        let object = role.object();
        let privileges = entries(&object, "privileges")
            .filter_map(|entry| {
                let access = match entry.get("type")?.as_str()? {
                    "WRITE_ACCESS" => Access::Write,
                    "READ_ACCESS" => Access::Read,
                    _ => Access::None,
                };
                let part = entry.get("subresource").and_then(Value::as_object).and_then(Part::of);
                Some((entry.get("resource")?.as_str()?.to_owned(), Privilege { access, part }))
            })
            .collect();
        let filters = entries(&object, "filters").filter_map(Filter::of).collect();
        let is_open = object.get("allow_unlabelled_access").and_then(Value::as_bool).unwrap_or(true);
        Grant { role: role.uuid.clone(), privileges, filters, is_open }
    }

    /// How far it goes for a resource. What it does not name it does not grant.
    //= API-ROLE-01
    pub fn access(&self, resource: &str) -> Access {
        self.privileges.get(resource).map_or(Access::None, |privilege| privilege.access)
    }

    /// The resources that it names, and how far it goes for each.
    pub fn all(&self) -> impl Iterator<Item = (&str, Access)> {
        self.privileges.iter().map(|(resource, privilege)| (resource.as_str(), privilege.access))
    }

    /// Says whether it looks at labels.
    pub fn is_filtered(&self) -> bool {
        !self.filters.is_empty()
    }

    /// Says whether a resource is granted in part only.
    pub fn is_partial(&self, resource: &str) -> bool {
        self.privileges.get(resource).is_some_and(|privilege| privilege.part.is_some())
    }

    /// Says whether it is about an object with these labels.
    //= API-ROLE-02
    pub fn covers(&self, labels: &Labels) -> bool {
        match (self.filters.is_empty(), labels.is_empty()) {
            (true, _) => true,
            (false, true) => self.is_open,
            (false, false) => self.filters.iter().all(|filter| filter.passes(labels)),
        }
    }

    /// Says whether a resource's object may be changed in this way; `None`: there is or will be none.
    //= API-ROLE-03
    pub fn allows(&self, resource: &str, before: Option<&Object>, after: Option<&Object>) -> bool {
        match self.privileges.get(resource) {
            Some(Privilege { access: Access::Write, part: None }) => true,
            Some(Privilege { access: Access::Write, part: Some(part) }) => {
                before.zip(after).is_some_and(|(before, after)| part.allows(before, after))
            }
            _ => false,
        }
    }
}

impl Part {
    /// `None`: nothing is narrowed.
    fn of(entry: &Map<String, Value>) -> Option<Self> {
        let ways: Vec<_> = entry
            .get("subresources")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|name| way(name.as_str()?))
            .collect();
        let is_all_but = entry.get("exclude_subresources").and_then(Value::as_bool).unwrap_or(false);
        (!ways.is_empty()).then_some(Part { ways, is_all_but })
    }

    fn allows(&self, before: &Object, after: &Object) -> bool {
        let (mut before, mut after) = (before.clone(), after.clone());
        for object in [&mut before, &mut after] {
            object.remove("_last_modified");
        }
        let (mut before, mut after) = (Value::Object(before), Value::Object(after));
        if self.is_all_but {
            self.ways.iter().all(|way| picked(&before, way) == picked(&after, way))
        } else {
            for way in &self.ways {
                take_out(&mut before, way);
                take_out(&mut after, way);
            }
            before == after
        }
    }
}

/// The fields that a subresource stands for.
fn way(subresource: &str) -> Option<&'static [&'static str]> {
    Some(match subresource {
        "SUBRESOURCE_POOL_ENABLED"
        | "SUBRESOURCE_VIRTUALSERVICE_ENABLED"
        | "SUBRESOURCE_GSLBSERVICE_ENABLED" => &["enabled"],
        "SUBRESOURCE_POOL_SERVERS" => &["servers"],
        "SUBRESOURCE_POOL_SERVER_ENABLED" => &["servers", "enabled"],
        "SUBRESOURCE_VIRTUALSERVICE_AUTO_ALLOCATE_FLOATING_IP" => &["vip", "auto_allocate_floating_ip"],
        "SUBRESOURCE_GSLBSERVICE_GROUPS" => &["groups"],
        "SUBRESOURCE_GSLBSERVICE_GROUP_ENABLED" => &["groups", "enabled"],
        "SUBRESOURCE_GSLBSERVICE_GROUP_MEMBERS" => &["groups", "members"],
        "SUBRESOURCE_GSLBSERVICE_GROUP_MEMBER_ENABLED" => &["groups", "members", "enabled"],
        _ => return None,
    })
}

fn take_out(value: &mut Value, way: &[&str]) {
    match (value, way) {
        (Value::Array(entries), _) => entries.iter_mut().for_each(|entry| take_out(entry, way)),
        (Value::Object(fields), [last]) => {
            fields.remove(*last);
        }
        (Value::Object(fields), [first, rest @ ..]) => {
            if let Some(inner) = fields.get_mut(*first) {
                take_out(inner, rest);
            }
        }
        _ => {}
    }
}

fn picked(value: &Value, way: &[&str]) -> Value {
    match (value, way) {
        (_, []) => value.clone(),
        (Value::Array(entries), _) => entries.iter().map(|entry| picked(entry, way)).collect(),
        (Value::Object(fields), [first, rest @ ..]) => {
            fields.get(*first).map_or(Value::Null, |inner| picked(inner, rest))
        }
        _ => Value::Null,
    }
}

impl Filter {
    /// `None`: it is switched off.
    fn of(entry: &Map<String, Value>) -> Option<Self> {
        if entry.get("enabled").and_then(Value::as_bool) == Some(false) {
            return None;
        }
        let label = entry.get("match_label")?;
        let values = label.get("values").and_then(Value::as_array).into_iter().flatten();
        let operation = entry.get("match_operation").and_then(Value::as_str).unwrap_or_default();
        Some(Filter {
            key: label.get("key")?.as_str()?.to_owned(),
            values: values.filter_map(|value| value.as_str().map(str::to_owned)).collect(),
            is_glob: operation.contains("GLOB"),
            is_not: operation.contains("DOES_NOT"),
        })
    }

    /// One of its values is enough; without any the key is.
    fn passes(&self, labels: &Labels) -> bool {
        let is_there = labels.iter().filter(|(key, _)| *key == self.key).any(|(_, held)| {
            self.values.is_empty()
                || held.iter().any(|held| {
                    self.values.iter().any(|wanted| match self.is_glob {
                        true => fits(wanted.as_bytes(), held.as_bytes()),
                        false => wanted == held,
                    })
                })
        });
        is_there != self.is_not
    }
}

/// Says whether a text has the form of a pattern: `*` stands for any text, `?` for one byte. Takes no more steps than the
/// product of both lengths.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen, mut star) = (0, 0, None);
    while seen < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[seen] => {
                at += 1;
                seen += 1;
            }
            _ => match star {
                Some((before, from)) => {
                    star = Some((before, from + 1));
                    at = before + 1;
                    seen = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// The labels of an object.
pub fn labels(object: &Object) -> Vec<(String, Vec<String>)> {
    entries(object, "markers")
        .filter_map(|marker| {
            let values = marker.get("values").and_then(Value::as_array).into_iter().flatten();
            let values = values.filter_map(|value| value.as_str().map(str::to_owned)).collect();
            Some((marker.get("key")?.as_str()?.to_owned(), values))
        })
        .collect()
}

/// The entries of a list of messages.
pub fn entries<'o>(object: &'o Object, name: &str) -> impl Iterator<Item = &'o Map<String, Value>> {
    object.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn grant(role: &Value) -> Grant {
        let held = Held::read("object/role/role-1", role.to_string().into_bytes(), 1).expect("a role");
        Grant::of(&held)
    }

    fn object(value: Value) -> Object {
        value.as_object().expect("an object").clone()
    }

    //= test API-ROLE-02
    #[test]
    fn labels_narrow_a_role() {
        let with = |filters: Value, open: bool| {
            grant(&json!({"name": "r", "filters": filters, "allow_unlabelled_access": open}))
        };
        let label =
            |key: &str, values: &[&str]| (key.to_owned(), values.iter().map(|v| (*v).to_owned()).collect());
        let team = |operation: &str, values: Value| json!({"match_label": {"key": "team", "values": values}, "match_operation": operation, "enabled": true});
        let (red, blue, none) = ([label("team", &["red"])], [label("team", &["blue", "x"])], []);
        let other = [label("zone", &["red"])];
        for (operation, values, wanted) in [
            ("ROLE_FILTER_EQUALS", json!(["red"]), [true, false, false]),
            ("ROLE_FILTER_EQUALS", json!(["red", "x"]), [true, true, false]),
            ("ROLE_FILTER_EQUALS", json!([]), [true, true, false]),
            ("ROLE_FILTER_DOES_NOT_EQUAL", json!(["red"]), [false, true, true]),
            ("ROLE_FILTER_GLOB_MATCH", json!(["r*"]), [true, false, false]),
            ("ROLE_FILTER_GLOB_MATCH", json!(["*l?e"]), [false, true, false]),
            ("ROLE_FILTER_GLOB_DOES_NOT_MATCH", json!(["?"]), [true, false, true]),
        ] {
            let role = with(json!([team(operation, values.clone())]), true);
            let saw = [role.covers(&red), role.covers(&blue), role.covers(&other)];
            assert_eq!(saw, wanted, "{operation} {values}");
        }
        let equals = team("ROLE_FILTER_EQUALS", json!(["red"]));
        assert!(with(json!([equals]), true).covers(&none) && !with(json!([equals]), false).covers(&none));
        assert!(with(json!([]), false).covers(&none), "without filters labels mean nothing");
        let two = json!([equals, {"match_label": {"key": "zone"}}]);
        assert!(!with(two.clone(), true).covers(&red), "each of several must pass");
        assert!(with(two, true).covers(&[label("team", &["red"]), label("zone", &["a"])]));
        let mut off = equals;
        off["enabled"] = json!(false);
        assert!(with(json!([off]), true).covers(&blue));
    }

    //= test API-ROLE-03
    #[test]
    fn a_subresource_narrows_what_may_be_written() {
        let with = |subresource: Value| {
            grant(&json!({"name": "r", "privileges": [
                {"resource": "PERMISSION_POOL", "type": "WRITE_ACCESS", "subresource": subresource}]}))
        };
        let pool = object(json!({"name": "p", "enabled": true, "servers": [{"ip": "a", "enabled": true}]}));
        let with_field = |name: &str, value: Value| {
            let mut changed = pool.clone();
            changed.insert(name.to_owned(), value);
            changed.insert("_last_modified".to_owned(), json!("2"));
            changed
        };
        let off = with_field("servers", json!([{"ip": "a", "enabled": false}]));
        let more = with_field("servers", json!([{"ip": "a", "enabled": true}, {"ip": "b", "enabled": true}]));
        let renamed = with_field("name", json!("q"));
        for (subresource, wanted) in [
            (json!({"subresources": ["SUBRESOURCE_POOL_SERVER_ENABLED"]}), [true, false, false]),
            (json!({"subresources": ["SUBRESOURCE_POOL_SERVERS"]}), [true, true, false]),
            (
                json!({"subresources": ["SUBRESOURCE_POOL_SERVERS"], "exclude_subresources": true}),
                [false, false, true],
            ),
            (json!({}), [true, true, true]),
        ] {
            let role = with(subresource.clone());
            let saw =
                [&off, &more, &renamed].map(|after| role.allows("PERMISSION_POOL", Some(&pool), Some(after)));
            assert_eq!(saw, wanted, "{subresource}");
            let is_whole = subresource == json!({});
            assert_eq!(role.allows("PERMISSION_POOL", None, Some(&pool)), is_whole, "making one is more");
            assert_eq!(role.allows("PERMISSION_POOL", Some(&pool), None), is_whole, "and so is deleting one");
        }
    }

    #[test]
    fn a_long_pattern_takes_no_time() {
        let pattern = "*a".repeat(2000);
        let text = "b".repeat(4000);
        let begin = std::time::Instant::now();
        assert!(!fits(pattern.as_bytes(), text.as_bytes()));
        assert!(fits(b"*", b"") && fits(b"a*c", b"abbc") && !fits(b"a?c", b"ac"));
        assert!(begin.elapsed() < std::time::Duration::from_secs(2));
    }
}
