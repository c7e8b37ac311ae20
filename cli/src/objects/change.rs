//! Changes as they are typed: `field=value`, `field.part=value`, `list+=entry`, `list-=entry`, `list[0].part=value`, `field-`.

use forebay_model::field::{Field, Type};
use forebay_model::{Kind, Object};
use serde_json::{Map, Value};

use super::words::{field_of, value};
use crate::api::{Failure, usage};

/// What is done at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Set,
    Add,
    Remove,
    Unset,
}

/// Makes a change that was typed.
///
/// # Errors
/// It names no field, or no value of it.
//= CLI-SET-01
pub fn apply(kind: &'static Kind, object: &mut Object, typed: &str) -> Result<(), Failure> {
    let (path, operation, text) = split(typed)?;
    let mut steps = path.split('.').peekable();
    let mut fields: Vec<&'static Field> = kind.all_fields().collect();
    let mut of = kind.path;
    let mut place = object;
    while let Some(step) = steps.next() {
        let (name, index) = indexed(step)?;
        let field = field_of(&mut fields.iter().copied(), name, of)?;
        if field.is_read_only {
            return Err(usage(format!("{path}: the Controller alone sets this field")));
        }
        let is_last = steps.peek().is_none();
        if is_last && index.is_none() {
            return finish(place, field, operation, text);
        }
        let (holds, slot) = match index {
            None => (&field.holds, place.entry(field.name).or_insert_with(|| Value::Object(Map::new()))),
            Some(index) => {
                let Type::List(list) = &field.holds else {
                    return Err(usage(format!("{path}: {} is no list", field.name)));
                };
                let entries = place.get_mut(field.name).and_then(Value::as_array_mut);
                let length = entries.as_ref().map_or(0, |entries| entries.len());
                if is_last && operation == Operation::Unset && index < length {
                    if let Some(entries) = entries {
                        entries.remove(index);
                    }
                    return Ok(());
                }
                let slot = entries.and_then(|entries| entries.get_mut(index)).ok_or_else(|| {
                    usage(format!("{path}: {} has {length} entries, and they are counted from 0", field.name))
                })?;
                (list.of, slot)
            }
        };
        if is_last {
            *slot = value(field.name, holds, text)?;
            return Ok(());
        }
        let (Type::Message(message), Value::Object(inner)) = (holds, slot) else {
            return Err(usage(format!("{path}: {} has no fields of its own", field.name)));
        };
        fields = message.fields.iter().collect();
        of = message.name;
        place = inner;
    }
    Err(usage(format!("{path}: name a field")))
}

fn finish(
    place: &mut Object,
    field: &'static Field,
    operation: Operation,
    text: &str,
) -> Result<(), Failure> {
    match operation {
        Operation::Unset => {
            place.remove(field.name);
        }
        Operation::Set => {
            place.insert(field.name.to_owned(), value(field.name, &field.holds, text)?);
        }
        Operation::Add | Operation::Remove => {
            let Type::List(_) = field.holds else {
                return Err(usage(format!(
                    "{}: it is no list, so nothing can be added or removed",
                    field.name
                )));
            };
            let Value::Array(typed) = value(field.name, &field.holds, text)? else { return Ok(()) };
            let held = place.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
            let Value::Array(held) = held else { return Ok(()) };
            for entry in typed {
                let known = held.iter().position(|held| is_part(&entry, held));
                match (operation, known) {
                    (Operation::Add, None) => held.push(entry),
                    (Operation::Remove, Some(at)) => {
                        held.remove(at);
                    }
                    (Operation::Remove, None) => {
                        return Err(Failure::new(
                            crate::api::Kind::NotFound,
                            format!("{}: there is no entry {text}", field.name),
                        ));
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(())
}

/// Says whether `held` has all that `part` says.
fn is_part(part: &Value, held: &Value) -> bool {
    match (part, held) {
        (Value::Object(part), Value::Object(held)) => {
            part.iter().all(|(name, value)| held.get(name).is_some_and(|held| is_part(value, held)))
        }
        _ => part == held,
    }
}

/// Path, operation and value of what was typed.
fn split(typed: &str) -> Result<(&str, Operation, &str), Failure> {
    if let Some((front, text)) = typed.split_once('=') {
        return Ok(match front.as_bytes().last() {
            Some(b'+') => (&front[..front.len() - 1], Operation::Add, text),
            Some(b'-') => (&front[..front.len() - 1], Operation::Remove, text),
            _ => (front, Operation::Set, text),
        });
    }
    match typed.strip_suffix('-') {
        Some(path) if !path.is_empty() => Ok((path, Operation::Unset, "")),
        _ => {
            let shown: String = typed.chars().take(64).flat_map(char::escape_default).collect();
            Err(usage(format!(
                "\"{shown}\" is no change: write FIELD=VALUE, LIST+=ENTRY, LIST-=ENTRY or FIELD-"
            )))
        }
    }
}

/// Name and index of a step, as in `servers[2]`.
fn indexed(step: &str) -> Result<(&str, Option<usize>), Failure> {
    match step.split_once('[') {
        None => Ok((step, None)),
        Some((name, rest)) => {
            let index = rest.strip_suffix(']').and_then(|index| index.parse().ok());
            let index = index.ok_or_else(|| usage(format!("{step}: write LIST[NUMBER]")))?;
            Ok((name, Some(index)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn changed(kind: &str, from: Value, typed: &[&str]) -> Result<Value, Failure> {
        let Value::Object(mut object) = from else { panic!("an object") };
        for typed in typed {
            apply(forebay_model::kind(kind).expect("a kind"), &mut object, typed)?;
        }
        Ok(Value::Object(object))
    }

    //= test CLI-SET-01
    #[test]
    fn fields_are_changed_as_they_are_typed() {
        let pool = changed(
            "pool",
            json!({"name": "p", "enabled": false}),
            &[
                "lb_algorithm=random",
                "servers+=10.0.0.1:80",
                "servers+=10.0.0.2:80",
                "servers[1].ratio=5",
                "enabled-",
            ],
        );
        let wanted = json!({
            "name": "p", "lb_algorithm": "LB_ALGORITHM_RANDOM", "servers": [
                {"ip": {"addr": "10.0.0.1", "type": "V4"}, "port": 80},
                {"ip": {"addr": "10.0.0.2", "type": "V4"}, "port": 80, "ratio": 5}
            ]
        });
        assert_eq!(pool.expect("a pool"), wanted);
        let less = changed("pool", wanted.clone(), &["servers-=10.0.0.1:80", "servers+=10.0.0.2:80"]);
        assert_eq!(less.expect("a pool")["servers"].as_array().map(Vec::len), Some(1));
        let none = changed("pool", wanted, &["servers[0]-", "servers[0]-"]);
        assert_eq!(none.expect("a pool")["servers"], json!([]));
        let nested = changed("applicationprofile", json!({}), &["http_profile.keepalive_timeout=5000"]);
        assert_eq!(nested.expect("a profile"), json!({"http_profile": {"keepalive_timeout": 5000}}));
    }

    #[test]
    fn what_is_no_change_says_what_to_write() {
        for (typed, said) in [
            ("lb_algoritm=random", "lb_algorithm"),
            ("enabled", "FIELD=VALUE"),
            ("enabled+=true", "no list"),
            ("servers[0].ratio=1", "0 entries"),
            ("servers[x].ratio=1", "LIST[NUMBER]"),
            ("name.x=1", "no fields"),
            ("enabled[0]=1", "no list"),
            ("servers-=10.0.0.1", "no entry"),
            ("_last_modified=1", "alone"),
            ("=1", "no field"),
        ] {
            let failure = changed("pool", json!({"name": "p"}), &[typed]).expect_err(typed);
            assert!(failure.to_string().contains(said), "{typed}: {failure}");
        }
    }
}
