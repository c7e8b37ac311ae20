//! What a client sees of an object, and what of it leads to others.

use std::collections::{BTreeMap, VecDeque};

use forebay_snapshot::Problem;
use serde_json::Value;

use crate::check::PROBLEMS_MAX;
use crate::field::{Default, Field, List, Type};
use crate::kind::{Kind, Object, default_value};
use crate::merge;

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
        let is_secret = field.is_secret_in(object);
        let Some(value) = object.get_mut(field.name) else { continue };
        if is_secret {
            with(field.name, value);
        } else {
            within(&field.holds, value, &mut |message, held| secret(&|| message.iter(), held, with));
        }
    }
}

/// Puts the secrets of `old` where `new` has [`MASK`], as in what a client got, changed and sent back. A mask that stands
/// for nothing is taken out, and told.
//= API-FIELD-03
pub fn keep_secrets(kind: &'static Kind, new: &mut Object, old: &Object) -> Vec<Problem> {
    let mut keeper = Keeper { path: String::new(), problems: Vec::new() };
    keeper.fields(&|| kind.all_fields(), new, old);
    keeper.problems
}

/// Puts secrets back.
struct Keeper {
    /// Where it is, as in `key[2]`.
    path: String,
    problems: Vec<Problem>,
}

impl Keeper {
    fn below(&mut self, step: &str, with: impl FnOnce(&mut Self)) {
        let here = self.path.len();
        if here > 0 && !step.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(step);
        with(self);
        self.path.truncate(here);
    }

    fn lost(&mut self) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem {
                line: None,
                path: self.path.clone(),
                reason: format!("{MASK} stands for no secret that is there"),
                fix: "send the secret itself: what it belongs to is new, or is called otherwise than before"
                    .to_owned(),
            });
        }
    }

    fn fields<F: Iterator<Item = &'static Field>>(
        &mut self,
        fields: &dyn Fn() -> F,
        new: &mut Object,
        old: &Object,
    ) {
        let none = Object::new();
        for field in fields() {
            let is_secret = field.is_secret_in(new);
            let Some(value) = new.get_mut(field.name) else { continue };
            let before = old.get(field.name);
            if is_secret || field.secret_if.is_some() {
                if *value == MASK {
                    // Who makes it no secret any more has to say it: masks show nothing.
                    match before.filter(|_| is_secret) {
                        Some(before) => *value = before.clone(),
                        None => {
                            new.remove(field.name);
                            self.below(field.name, Self::lost);
                        }
                    }
                }
                continue;
            }
            self.below(field.name, |keeper| match (&field.holds, value) {
                (Type::Message(message), Value::Object(value)) => {
                    let before = before.and_then(Value::as_object).unwrap_or(&none);
                    keeper.fields(&|| message.fields.iter(), value, before);
                }
                (Type::List(list), Value::Array(entries)) => {
                    let before = before.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                    keeper.list(list, entries, before);
                }
                _ => {}
            });
        }
    }

    /// The place of each entry before: by the list's key; without one it is the entry that is equal but for its secrets, or,
    /// where there are as many as before, the one at the same place.
    fn list(&mut self, list: &'static List, entries: &mut [Value], before: &[Value]) {
        let Type::Message(message) = list.of else { return };
        if !has_secrets(message.fields) {
            return;
        }
        let masked = |entry: &Value| {
            let mut entry = entry.clone();
            if let (true, Value::Object(fields)) = (list.key.is_empty(), &mut entry) {
                secret(&|| message.fields.iter(), fields, &mut |_, value| *value = Value::from(MASK));
            }
            merge::key(list, &entry)
        };
        let mut places: BTreeMap<String, VecDeque<usize>> = BTreeMap::new();
        for (at, entry) in before.iter().enumerate() {
            places.entry(masked(entry)).or_default().push_back(at);
        }
        let is_as_long = entries.len() == before.len();
        let none = Object::new();
        for (at, entry) in entries.iter_mut().enumerate() {
            // Nothing keeps a list from having two of a key: they are taken in their order.
            let place = places.get_mut(&masked(entry)).and_then(|places| match places.len() {
                1 => places.front().copied(),
                _ => places.pop_front(),
            });
            let place = place.or_else(|| (list.key.is_empty() && is_as_long).then_some(at));
            let old = place.and_then(|place| before.get(place)?.as_object()).unwrap_or(&none);
            if let Value::Object(entry) = entry {
                self.below(&format!("[{at}]"), |keeper| {
                    keeper.fields(&|| message.fields.iter(), entry, old);
                });
            }
        }
    }
}

/// Says whether anything in such a message may be a secret.
fn has_secrets(fields: &'static [Field]) -> bool {
    fields.iter().any(|field| {
        let mut holds = &field.holds;
        while let Type::List(list) = holds {
            holds = list.of;
        }
        field.is_secret
            || field.secret_if.is_some()
            || matches!(holds, Type::Message(message) if has_secrets(message.fields))
    })
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
