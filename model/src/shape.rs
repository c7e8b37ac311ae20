//! What a client sees of an object, and what of it leads to others.

use serde_json::Value;

use crate::field::{Default, Field, Type};
use crate::kind::{Kind, Object, default_value, same_entry};

/// What stands in the place of a secret.
pub const MASK: &str = "<sensitive>";

/// Leaves out what is equal to its default.
pub fn without_defaults(kind: &'static Kind, object: &mut Object) {
    bare(&|| kind.all_fields(), object);
}

fn bare<F: Iterator<Item = &'static Field>>(fields: &dyn Fn() -> F, object: &mut Object) {
    for field in fields() {
        let Some(value) = object.get_mut(field.name) else { continue };
        within(&field.holds, value, &mut |message, held| bare(&|| message.iter(), held));
        let is_default = match field.default {
            Some(Default::Message) => value.as_object().is_some_and(Object::is_empty),
            Some(default) => *value == default_value(default),
            None => false,
        };
        if is_default {
            object.remove(field.name);
        }
    }
}

/// Puts [`MASK`] in the place of every secret.
pub fn mask(kind: &'static Kind, object: &mut Object) {
    secrets(kind, object, &mut |_, value| *value = Value::from(MASK));
}

/// Calls `with` with the name and the value of each secret.
pub fn secrets(kind: &'static Kind, object: &mut Object, with: &mut dyn FnMut(&'static str, &mut Value)) {
    secret(&|| kind.all_fields(), object, with);
}

fn secret<F: Iterator<Item = &'static Field>>(
    fields: &dyn Fn() -> F,
    object: &mut Object,
    with: &mut dyn FnMut(&'static str, &mut Value),
) {
    for field in fields() {
        let Some(value) = object.get_mut(field.name) else { continue };
        if field.is_secret {
            with(field.name, value);
        } else {
            within(&field.holds, value, &mut |message, held| secret(&|| message.iter(), held, with));
        }
    }
}

/// Puts the secrets of `old` where `new` has [`MASK`], as in what a client got, changed and sent back. A mask that stands
/// for nothing is taken out.
//= API-FIELD-03
pub fn keep_secrets(kind: &'static Kind, new: &mut Object, old: &Object) {
    kept(&|| kind.all_fields(), new, old);
}

fn kept<F: Iterator<Item = &'static Field>>(fields: &dyn Fn() -> F, new: &mut Object, old: &Object) {
    for field in fields() {
        let Some(value) = new.get_mut(field.name) else { continue };
        let before = old.get(field.name);
        if field.is_secret {
            if *value == MASK {
                match before {
                    Some(before) => *value = before.clone(),
                    None => {
                        new.remove(field.name);
                    }
                }
            }
            continue;
        }
        match (&field.holds, value) {
            (Type::Message(message), Value::Object(value)) => {
                let none = Object::new();
                kept(&|| message.fields.iter(), value, before.and_then(Value::as_object).unwrap_or(&none));
            }
            (Type::List(list), Value::Array(entries)) => {
                let Type::Message(message) = list.of else { continue };
                let before = before.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                for (at, entry) in entries.iter_mut().enumerate() {
                    // Without a key it is the entry at the same place; with one, that place goes first, as nothing keeps a
                    // list from having two of a key.
                    let here = before.get(at);
                    let same = match list.key {
                        [] => here,
                        _ => here
                            .filter(|here| same_entry(list, here, entry))
                            .or_else(|| before.iter().find(|before| same_entry(list, before, entry))),
                    };
                    let none = Object::new();
                    if let Value::Object(entry) = entry {
                        kept(
                            &|| message.fields.iter(),
                            entry,
                            same.and_then(Value::as_object).unwrap_or(&none),
                        );
                    }
                }
            }
            _ => {}
        }
    }
}

/// Calls `with` with the place of each reference, as in `servers[2].nw_ref`, the kind that it refers to, and its text,
/// which may be changed.
pub fn references(
    kind: &'static Kind,
    object: &mut Object,
    with: &mut dyn FnMut(&str, &'static str, &mut String),
) {
    referring(&|| kind.all_fields(), "", object, with);
}

fn referring<F: Iterator<Item = &'static Field>>(
    fields: &dyn Fn() -> F,
    path: &str,
    object: &mut Object,
    with: &mut dyn FnMut(&str, &'static str, &mut String),
) {
    for field in fields() {
        if let Some(value) = object.get_mut(field.name) {
            let dot = if path.is_empty() { "" } else { "." };
            referring_value(&field.holds, &format!("{path}{dot}{}", field.name), value, with);
        }
    }
}

fn referring_value(
    holds: &'static Type,
    path: &str,
    value: &mut Value,
    with: &mut dyn FnMut(&str, &'static str, &mut String),
) {
    match (holds, value) {
        (Type::Ref(kind), Value::String(text)) => with(path, kind, text),
        (Type::Message(message), Value::Object(held)) => {
            referring(&|| message.fields.iter(), path, held, with);
        }
        (Type::List(list), Value::Array(entries)) => {
            for (at, entry) in entries.iter_mut().enumerate() {
                referring_value(list.of, &format!("{path}[{at}]"), entry, with);
            }
        }
        _ => {}
    }
}

/// Calls `with` with each message that a value has directly within it.
fn within(holds: &'static Type, value: &mut Value, with: &mut dyn FnMut(&'static [Field], &mut Object)) {
    match (holds, value) {
        (Type::Message(message), Value::Object(held)) => with(message.fields, held),
        (Type::List(list), Value::Array(entries)) => {
            for entry in entries {
                within(list.of, entry, with);
            }
        }
        _ => {}
    }
}
