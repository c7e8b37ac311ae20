//! Many entries of a patch against many of a list, without a look at each pair of them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::Value;

use crate::field::List;

/// Why not, and what to do.
pub(crate) type Refusal = (String, String);

/// What entries of one patch are compared by, bytes in all: a third of a second.
const WORK_MAX: usize = 64 << 20;
/// Different sets of fields by which one list of a patch names entries that go.
const SHAPES_MAX: usize = 16;
/// Fields by which one entry that goes is named: no entry of a list has as many.
const PARTS_MAX: usize = 256;

/// How much one patch has been compared so far.
#[derive(Debug, Default)]
pub(crate) struct Work(usize);

impl Work {
    fn add(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.0 = self.0.saturating_add(bytes);
        match self.0 {
            0..=WORK_MAX => Ok(()),
            _ => Err(("it is too much for one patch".to_owned(), "send it in several parts".to_owned())),
        }
    }
}

fn fits(list: &List, entries: &[Value]) -> Result<(), Refusal> {
    match entries.len() {
        count if count > list.most => {
            Err((format!("it has {count} entries"), format!("send {} at most", list.most)))
        }
        _ => Ok(()),
    }
}

/// What two entries have in common exactly if they are the same one for a patch: the fields of the list's key, or all that
/// they hold. JSON on one line: its lines keep apart what stands in them.
pub(crate) fn key(list: &List, entry: &Value) -> String {
    match entry {
        Value::Object(fields) if !list.key.is_empty() => {
            let mut key = String::from("key");
            for name in list.key {
                key.push('\n');
                if let Some(value) = fields.get(*name) {
                    let _ = write!(key, "{value}");
                }
            }
            key
        }
        _ => entry.to_string(),
    }
}

/// Appends entries; one that is there already takes over what the new one says.
pub(crate) fn add(
    list: &List,
    held: &mut Vec<Value>,
    entries: &[Value],
    work: &mut Work,
) -> Result<(), Refusal> {
    fits(list, entries)?;
    let mut places = BTreeMap::new();
    for (place, entry) in held.iter().enumerate() {
        let key = key(list, entry);
        work.add(key.len())?;
        places.entry(key).or_insert(place);
    }
    for entry in entries {
        let key = key(list, entry);
        work.add(key.len())?;
        match places.entry(key) {
            Entry::Occupied(place) => {
                if let (Some(Value::Object(held)), Value::Object(fields)) =
                    (held.get_mut(*place.get()), entry)
                {
                    held.extend(fields.iter().map(|(name, value)| (name.clone(), value.clone())));
                }
            }
            Entry::Vacant(free) => {
                free.insert(held.len());
                held.push(entry.clone());
            }
        }
    }
    Ok(())
}

/// A field that an entry says something about, by its way; whether there is more than that it is there, with nothing in it.
type Part<'v> = (Vec<&'v str>, bool);

/// Takes out the entries that have all that one of `entries` says.
pub(crate) fn remove(
    list: &List,
    held: &mut Vec<Value>,
    entries: &[Value],
    work: &mut Work,
) -> Result<(), Refusal> {
    fits(list, entries)?;
    let mut shapes: BTreeMap<Vec<Part>, BTreeSet<String>> = BTreeMap::new();
    for entry in entries {
        let mut shape = Vec::new();
        parts(entry, &mut Vec::new(), &mut shape)?;
        let text = text(&shape, entry).unwrap_or_default();
        work.add(text.len() + shape.len())?;
        shapes.entry(shape).or_default().insert(text);
        if shapes.len() > SHAPES_MAX {
            return Err((
                format!("it names entries by more than {SHAPES_MAX} sets of fields"),
                "name all of them by the same fields".to_owned(),
            ));
        }
    }
    let mut done = Ok(());
    held.retain(|held| {
        let is_named = done.is_ok()
            && shapes.iter().any(|(shape, texts)| {
                let text = text(shape, held);
                done = work.add(text.as_ref().map_or(0, String::len) + 1);
                text.is_some_and(|text| texts.contains(&text))
            });
        !is_named
    });
    done
}

fn parts<'v>(value: &'v Value, way: &mut Vec<&'v str>, found: &mut Vec<Part<'v>>) -> Result<(), Refusal> {
    if found.len() >= PARTS_MAX {
        return Err((
            format!("it names an entry by more than {PARTS_MAX} fields"),
            "name it by fewer".to_owned(),
        ));
    }
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                way.push(name);
                parts(value, way, found)?;
                way.pop();
            }
        }
        _ => found.push((way.clone(), !value.is_object())),
    }
    Ok(())
}

/// What an entry says of these parts; `None`: it has not all of them.
fn text(shape: &[Part], entry: &Value) -> Option<String> {
    let mut text = String::new();
    for (way, is_more) in shape {
        let at = way.iter().try_fold(entry, |at, name| at.as_object()?.get(*name))?;
        if *is_more {
            let _ = writeln!(text, "{at}");
        } else if !at.is_object() {
            return None;
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::field::Type;
    use crate::kind;

    fn servers() -> &'static List {
        let pool = kind("pool").expect("a kind");
        match &pool.field("servers").expect("a field").holds {
            Type::List(list) => list,
            other => panic!("{other:?}"),
        }
    }

    /// As the rule says it, pair by pair.
    fn is_part(part: &Value, held: &Value) -> bool {
        match (part, held) {
            (Value::Object(part), Value::Object(held)) => {
                part.iter().all(|(name, value)| held.get(name).is_some_and(|held| is_part(value, held)))
            }
            _ => part == held,
        }
    }

    //= test API-PATCH-01
    #[test]
    fn what_goes_is_what_has_all_that_is_said() {
        let values = [
            json!(null),
            json!(1),
            json!("1"),
            json!({}),
            json!([]),
            json!([{"a": 1}]),
            json!({"a": 1}),
            json!({"a": null}),
            json!({"a": {}}),
            json!({"a": {"b": 1}}),
            json!({"a": {"b": 1, "c": 2}}),
            json!({"a": {"b": 2}, "d": [1]}),
            json!({"d": [1]}),
            json!({"d": [1, 2]}),
            json!({"a\nb": 1}),
        ];
        for first in &values {
            for second in &values {
                let mut held = values.to_vec();
                let named = [first.clone(), second.clone()];
                remove(servers(), &mut held, &named, &mut Work::default()).expect("little");
                let mut wanted = values.to_vec();
                wanted.retain(|held| !named.iter().any(|part| is_part(part, held)));
                assert_eq!(held, wanted, "{named:?}");
            }
        }
    }

    //= test API-PATCH-02
    #[test]
    fn a_patch_that_is_too_much_is_refused_before_it_is_done() {
        let some = |count: usize| (0..count).map(|port| json!({"port": port})).collect::<Vec<_>>();
        let list = servers();
        let many = some(list.most + 1);
        let mut work = Work::default();
        for refusal in
            [add(list, &mut Vec::new(), &many, &mut work), remove(list, &mut Vec::new(), &many, &mut work)]
        {
            assert_eq!(refusal.expect_err("one too many").1, format!("send {} at most", list.most));
        }
        let wide: Value = (0..=PARTS_MAX).map(|name| (name.to_string(), json!(1))).collect();
        let shapes: Vec<Value> = (0..=SHAPES_MAX).map(|name| json!({name.to_string(): 1})).collect();
        assert!(remove(list, &mut some(1), &[wide], &mut work).is_err());
        assert!(remove(list, &mut some(1), &shapes, &mut work).is_err());
        let long = [json!({"ip": "x".repeat(1 << 20)})];
        let done = (0..200).map(|_| add(list, &mut long.to_vec(), &long, &mut work));
        assert!(done.filter(Result::is_ok).count() < 40, "as much as a patch may compare");
    }
}
