//! Everything that is wrong with a document, at once.

use forebay_snapshot::{Problem, nearest};
use serde_json::Value;

use crate::field::{Default, Field, List, Type};
use crate::kind::{Kind, Object, default_value};
use crate::reference::Reference;

/// The most problems that one answer tells of: who made more mistakes has one in how the document was made.
pub const PROBLEMS_MAX: usize = 100;

/// Checks what a client sent as the whole of an object, and gives it with the defaults of its kind.
///
/// What clients may only read is left out, and so is a field that is `null`.
///
/// # Errors
/// All that is wrong, at most [`PROBLEMS_MAX`]; at least one.
pub fn check(kind: &'static Kind, sent: &Object) -> Result<Object, Vec<Problem>> {
    check_after(kind, sent, None)
}

/// The same of an object that has been there, as `before` was: what is bounded so that there is room for others may stay as
/// much as it was before there was that bound.
///
/// # Errors
/// Those of [`check`].
//= API-FIELD-01
pub fn check_after(
    kind: &'static Kind,
    sent: &Object,
    before: Option<&Object>,
) -> Result<Object, Vec<Problem>> {
    let mut reader = Reader { problems: Vec::new(), path: String::new() };
    let object = reader.fields(&|| kind.all_fields(), sent, kind.dropped);
    if reader.problems.is_empty() {
        for rule in kind.rules {
            rule(&object, &mut reader.problems);
        }
        if kind.path == "pool" {
            reader.problems.extend(crate::schema::names_leave_room(&object, before));
        }
    }
    if reader.problems.is_empty() { Ok(object) } else { Err(reader.problems) }
}

struct Reader {
    problems: Vec<Problem>,
    /// Where we are, as in `servers[3].ip`.
    path: String,
}

impl Reader {
    fn wrong(&mut self, reason: impl Into<String>, fix: impl Into<String>) {
        if self.problems.len() < PROBLEMS_MAX {
            let path = self.path.clone();
            self.problems.push(Problem { line: None, path, reason: reason.into(), fix: fix.into() });
        }
    }

    /// Does `with` one step further down.
    fn below<T>(&mut self, step: &str, with: impl FnOnce(&mut Self) -> T) -> T {
        let here = self.path.len();
        if here > 0 && !step.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(step);
        let value = with(self);
        self.path.truncate(here);
        value
    }

    fn fields<F: Iterator<Item = &'static Field>>(
        &mut self,
        fields: &dyn Fn() -> F,
        sent: &Object,
        dropped: &[&str],
    ) -> Object {
        let mut object = Object::new();
        for (name, value) in sent {
            let Some(field) = fields().find(|field| field.name == name) else {
                if !dropped.contains(&name.as_str()) {
                    self.unknown(name, fields().map(|field| field.name));
                }
                continue;
            };
            //= API-FIELD-02
            if field.is_read_only || value.is_null() {
                continue;
            }
            if let Some(value) =
                self.below(field.name, |reader| reader.value(&field.holds, field.unit, value))
            {
                object.insert(field.name.to_owned(), value);
            }
        }
        for field in fields() {
            if object.contains_key(field.name) {
                continue;
            }
            if let Some(default) = field.default {
                let value = match (&field.holds, default) {
                    (Type::Message(message), Default::Message) => {
                        let empty = Object::new();
                        Value::Object(self.below(field.name, |reader| {
                            reader.fields(&|| message.fields.iter(), &empty, &[])
                        }))
                    }
                    _ => default_value(default),
                };
                object.insert(field.name.to_owned(), value);
            } else if field.is_required && sent.get(field.name).is_none_or(Value::is_null) {
                self.below(field.name, |reader| {
                    reader.wrong("it is missing", wanted(&field.holds, field.unit))
                });
            }
        }
        object
    }

    fn unknown<'k>(&mut self, name: &str, known: impl Iterator<Item = &'k str>) {
        let fix = match nearest(name, known) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "leave it out".to_owned(),
        };
        // Names are shown as far as any of ours is long.
        let shown: String = name.chars().take(64).flat_map(char::escape_default).collect();
        self.below(&shown, |reader| reader.wrong("there is no such field", fix));
    }

    fn value(&mut self, holds: &'static Type, unit: &str, sent: &Value) -> Option<Value> {
        match (holds, sent) {
            (Type::Text(most), Value::String(text)) => {
                if text.len() > *most {
                    self.wrong(format!("it has {} bytes", text.len()), format!("use at most {most}"));
                    return None;
                }
            }
            (Type::Flag, Value::Bool(_)) | (Type::Number, Value::Number(_)) => {}
            (Type::Int(allowed), Value::Number(number)) => {
                let fits = |number: i64| allowed.iter().any(|(low, high)| (*low..=*high).contains(&number));
                if !number.as_i64().is_some_and(fits) {
                    self.wrong(format!("{number} is not allowed"), wanted(holds, unit));
                    return None;
                }
            }
            (Type::Enum(names), Value::String(name)) => {
                if !names.contains(&name.as_str()) {
                    let shown: String = name.chars().take(64).flat_map(char::escape_default).collect();
                    let fix = match nearest(name, names.iter().copied()) {
                        Some(near) => format!("did you mean \"{near}\"?"),
                        None => wanted(holds, unit),
                    };
                    self.wrong(format!("\"{shown}\" is not allowed"), fix);
                    return None;
                }
            }
            (Type::Ref(kind), Value::String(text)) => {
                if let Err(refusal) = Reference::read(text, kind) {
                    self.wrong(refusal.reason, refusal.fix);
                    return None;
                }
            }
            (Type::Message(message), Value::Object(sent)) => {
                return Some(Value::Object(self.fields(&|| message.fields.iter(), sent, &[])));
            }
            (Type::List(list), Value::Array(sent)) => return self.list(list, unit, sent),
            (_, sent) => {
                self.wrong(format!("it is {}", form(sent)), wanted(holds, unit));
                return None;
            }
        }
        Some(sent.clone())
    }

    fn list(&mut self, list: &'static List, unit: &str, sent: &[Value]) -> Option<Value> {
        if sent.len() > list.most {
            self.wrong(format!("it has {} entries", sent.len()), format!("use at most {}", list.most));
            return None;
        }
        let mut entries = Vec::with_capacity(sent.len());
        for (at, entry) in sent.iter().enumerate() {
            entries.extend(self.below(&format!("[{at}]"), |reader| reader.value(list.of, unit, entry)));
        }
        Some(Value::Array(entries))
    }
}

/// What a person would call this form of JSON.
fn form(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// What to put there.
fn wanted(holds: &Type, unit: &str) -> String {
    let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
    match holds {
        Type::Text(_) => "put a text there".to_owned(),
        Type::Flag => "put true or false there".to_owned(),
        Type::Number => format!("put a number{unit} there"),
        Type::Int(allowed) => {
            let ranges: Vec<String> = allowed
                .iter()
                .map(|(low, high)| if low == high { low.to_string() } else { format!("{low} to {high}") })
                .collect();
            format!("put a whole number there: {}{unit}", ranges.join(", or "))
        }
        Type::Enum(names) => format!("use one of {}", names.join(", ")),
        Type::Ref(kind) => format!("name a {kind}: /api/{kind}/<uuid> or /api/{kind}?name=<name>"),
        Type::Message(message) => format!("put an object there ({})", message.name),
        Type::List(_) => "put a list there".to_owned(),
    }
}
