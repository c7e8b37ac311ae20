//! Changes to a part of an object.
//!
//! `{"add": {…}}`, `{"replace": {…}}` and `{"delete": {…}}` work on the fields of an object, one level deep, or several of
//! them together; `{"json_patch": [{"op", "path", "value"}]}` goes as deep as its path. What comes out is checked as a
//! whole document is.

use forebay_snapshot::Problem;
use serde_json::Value;

use crate::field::{Field, List, Type};
use crate::kind::{Kind, Object};
use crate::merge::{self, Refusal, Work};

/// The most operations of one json patch: each may copy a list.
const OPERATIONS_MAX: usize = 1000;

/// The object with the changes that `patch` asks for; not checked yet.
///
/// # Errors
/// An operation that there is not, a field that there is not, or a path that leads nowhere.
//= API-PATCH-01
//= API-PATCH-02
pub fn apply(kind: &'static Kind, object: &Object, patch: &Object) -> Result<Object, Vec<Problem>> {
    let mut object = object.clone();
    let mut work = Work::default();
    if patch.is_empty() {
        return Err(vec![problem("", "it asks for nothing", OPERATIONS)]);
    }
    for (operation, what) in patch {
        match (operation.as_str(), what) {
            ("json_patch", Value::Array(steps)) if steps.len() <= OPERATIONS_MAX => {
                for (at, step) in steps.iter().enumerate() {
                    json_step(kind, &mut object, step, &mut work).map_err(|(reason, fix)| {
                        vec![problem(&format!("json_patch[{at}]"), &reason, &fix)]
                    })?;
                }
            }
            ("json_patch", Value::Array(_)) => {
                return Err(vec![problem("json_patch", "too many operations", "use at most 1000")]);
            }
            ("add" | "replace" | "delete", Value::Object(fields)) => {
                for (name, value) in fields.iter().filter(|(name, _)| !kind.dropped.contains(&name.as_str()))
                {
                    let Some(field) = kind.field(name) else {
                        let shown: String = name.chars().take(64).flat_map(char::escape_default).collect();
                        return Err(vec![problem(
                            &format!("{operation}.{shown}"),
                            "there is no such field",
                            "name one of the object's own fields",
                        )]);
                    };
                    change(operation, &mut object, field, value, &mut work).map_err(|(reason, fix)| {
                        vec![problem(&format!("{operation}.{name}"), &reason, &fix)]
                    })?;
                }
            }
            _ => {
                let shown: String = operation.chars().take(64).flat_map(char::escape_default).collect();
                return Err(vec![problem(&shown, "there is no such operation", OPERATIONS)]);
            }
        }
    }
    Ok(object)
}

const OPERATIONS: &str =
    "use \"add\", \"replace\" or \"delete\" with an object of fields, or \"json_patch\" with a list";

fn problem(path: &str, reason: &str, fix: &str) -> Problem {
    Problem { line: None, path: path.to_owned(), reason: reason.to_owned(), fix: fix.to_owned() }
}

fn change(
    operation: &str,
    object: &mut Object,
    field: &'static Field,
    value: &Value,
    work: &mut Work,
) -> Result<(), Refusal> {
    match (operation, &field.holds, value) {
        ("add", Type::List(list), Value::Array(entries)) => add(list, object, field.name, entries, work)?,
        ("delete", Type::List(list), Value::Array(entries)) => {
            if let Some(Value::Array(held)) = object.get_mut(field.name) {
                merge::remove(list, held, entries, work)?;
                if held.is_empty() {
                    object.remove(field.name);
                }
            }
        }
        ("delete", ..) => {
            object.remove(field.name);
        }
        _ => {
            object.insert(field.name.to_owned(), value.clone());
        }
    }
    Ok(())
}

fn add(
    list: &List,
    object: &mut Object,
    name: &str,
    entries: &[Value],
    work: &mut Work,
) -> Result<(), Refusal> {
    match object.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
        Value::Array(held) => merge::add(list, held, entries, work),
        held => {
            *held = Value::Array(entries.to_vec());
            Ok(())
        }
    }
}

fn json_step(kind: &'static Kind, object: &mut Object, step: &Value, work: &mut Work) -> Result<(), Refusal> {
    let refuse = |reason: &str, fix: &str| Err((reason.to_owned(), fix.to_owned()));
    let part = |name: &str| step.get(name).and_then(Value::as_str);
    let (Some(operation), Some(path)) = (part("op"), part("path")) else {
        return refuse("it has no op or no path", "write {\"op\": …, \"path\": \"/field/0\", \"value\": …}");
    };
    if !matches!(operation, "add" | "replace" | "remove") {
        return refuse("there is no such op", "use add, replace or remove");
    }
    let value = step.get("value").cloned();
    if value.is_none() && operation != "remove" {
        return refuse("it has no value", "say what is to stand there");
    }
    let value = value.unwrap_or(Value::Null);
    let Some(path) = path.strip_prefix('/') else {
        return refuse("the path does not begin with /", "write it as /field, or /field/0/field");
    };
    let steps: Vec<String> = path.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect();
    // A list at the place of a list is meant entry by entry, as clients write it.
    if let ([name], "add", Value::Array(entries)) = (&steps[..], operation, &value)
        && let Some(Field { holds: Type::List(list), .. }) = kind.field(name)
    {
        return add(list, object, name, entries, work);
    }
    let nowhere =
        || ("the path leads nowhere".to_owned(), "name fields that are there, and entries from 0".to_owned());
    let (last, way) = steps.split_last().ok_or_else(nowhere)?;
    let mut whole = Value::Object(std::mem::take(object));
    let place = way.iter().try_fold(&mut whole, |place, step| match place {
        Value::Object(fields) => fields.get_mut(step),
        Value::Array(entries) => entries.get_mut(step.parse::<usize>().ok()?),
        _ => None,
    });
    let done = match place {
        Some(Value::Object(fields)) => match operation {
            "add" => {
                fields.insert(last.clone(), value);
                true
            }
            "replace" => fields.get_mut(last).map(|held| *held = value).is_some(),
            _ => fields.remove(last).is_some(),
        },
        Some(Value::Array(entries)) => match (operation, last.parse::<usize>()) {
            ("add", Ok(at)) if at <= entries.len() => {
                entries.insert(at, value);
                true
            }
            ("add", Err(_)) if last == "-" => {
                entries.push(value);
                true
            }
            ("replace", Ok(at)) => entries.get_mut(at).map(|held| *held = value).is_some(),
            ("remove", Ok(at)) if at < entries.len() => {
                entries.remove(at);
                true
            }
            _ => false,
        },
        _ => false,
    };
    if let Value::Object(fields) = whole {
        *object = fields;
    }
    if done { Ok(()) } else { Err(nowhere()) }
}
