//! What each field of the objects that engines carry out does: the one list of it, which [`crate::compile`] is tested by
//! and the page `docs/spec/fields.md` is made of.

mod page;
mod table;

use serde_json::Value;

use crate::field::{Default, Field, List, Type};
use crate::kind::{COMMON, Kind, Object, default_value, kind};

pub use page::page;

/// What a field does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// An engine acts on it: the keys of its document that follow from it.
    Engine(&'static str),
    /// The Controller acts on it, or people do.
    Elsewhere(&'static str),
    /// It is accepted, and a service with it is on no engine: without it, clients would come in that it keeps out.
    Refused,
    /// It is accepted and does nothing yet.
    Nothing,
}

/// The kinds that engines carry out.
pub fn kinds() -> impl Iterator<Item = &'static Kind> {
    table::EFFECTS.iter().filter_map(|(path, _)| kind(path))
}

/// What a field does: its kind, and its path, in which `[]` stands for any place of a list, as in `servers[].ip.addr`.
pub fn effect(kind: &str, path: &str) -> Effect {
    let Some((_, rows)) = table::EFFECTS.iter().find(|(known, _)| *known == kind) else {
        return Effect::Elsewhere("other objects");
    };
    // What is said of a message holds for its fields.
    let covers = |row: &str| {
        path.strip_prefix(row).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let own = rows.iter().copied().flatten().filter(|(row, _)| covers(row)).max_by_key(|(row, _)| row.len());
    match own {
        Some((_, effect)) => *effect,
        None if COMMON.iter().any(|field| covers(field.name)) => Effect::Elsewhere("the Controller"),
        None => Effect::Nothing,
    }
}

/// The rows of a kind's table.
pub fn rows(kind: &str) -> impl Iterator<Item = &'static str> {
    let own = table::EFFECTS.iter().filter(move |(known, _)| *known == kind);
    own.flat_map(|(_, rows)| rows.iter().copied().flatten()).map(|(path, _)| *path)
}

/// The paths of all fields of a kind that hold one value and that a client may set.
pub fn paths(kind: &'static Kind) -> Vec<String> {
    let mut out = Vec::new();
    for field in kind.all_fields() {
        leaves(field, String::new(), &mut out);
    }
    out.sort();
    out.dedup();
    out
}

fn leaves(field: &'static Field, at: String, out: &mut Vec<String>) {
    if field.is_read_only {
        return;
    }
    let at = if at.is_empty() { field.name.to_owned() } else { format!("{at}.{}", field.name) };
    of_type(&field.holds, at, out);
}

fn of_type(holds: &'static Type, at: String, out: &mut Vec<String>) {
    match holds {
        Type::Message(message) => message.fields.iter().for_each(|field| leaves(field, at.clone(), out)),
        Type::List(list) => of_type(list.of, format!("{at}[]"), out),
        _ => out.push(at),
    }
}

/// The fields of an object that its user has set to something else than the default, and that do nothing yet.
//= API-WARN-01
pub fn without_effect(path: &str, object: &Object) -> Vec<String> {
    let Some(kind) = kinds().find(|kind| kind.path == path) else { return Vec::new() };
    let mut out = Vec::new();
    for field in kind.all_fields() {
        idle(kind, field, object.get(field.name), "", "", &mut out);
    }
    out
}

fn idle(
    kind: &'static Kind,
    field: &'static Field,
    value: Option<&Value>,
    at: &str,
    shown: &str,
    out: &mut Vec<String>,
) {
    let Some(value) = value.filter(|_| !field.is_read_only) else { return };
    if field.default.is_some_and(|default| default != Default::Message && *value == default_value(default)) {
        return;
    }
    let join = |front: &str| {
        if front.is_empty() { field.name.to_owned() } else { format!("{front}.{}", field.name) }
    };
    idle_value(kind, &field.holds, value, &join(at), &join(shown), out);
}

fn idle_value(
    kind: &'static Kind,
    holds: &'static Type,
    value: &Value,
    at: &str,
    shown: &str,
    out: &mut Vec<String>,
) {
    match (holds, value) {
        (Type::Message(message), Value::Object(held)) => {
            for field in message.fields {
                idle(kind, field, held.get(field.name), at, shown, out);
            }
        }
        (Type::List(List { of, .. }), Value::Array(entries)) => {
            for (n, entry) in entries.iter().enumerate() {
                idle_value(kind, of, entry, &format!("{at}[]"), &format!("{shown}[{n}]"), out);
            }
        }
        _ if effect(kind.path, at) == Effect::Nothing => out.push(shown.to_owned()),
        _ => {}
    }
}
