//! Objects as small as they can be, for documents and tests.

use serde_json::Value;

use crate::check::check;
use crate::field::{Field, Type};
use crate::kind::{Kind, Object};

/// The least that the API takes for an object of a kind. References are of the form `/api/<kind>/<kind>-1`.
pub fn least(kind: &'static Kind) -> Object {
    let mut object = fields(&mut kind.all_fields());
    // What a rule over several fields asks for besides.
    for problem in check(kind, &object).err().unwrap_or_default() {
        if let Some(field) = kind.field(&problem.path) {
            object.insert(problem.path, some(&field.holds));
        }
    }
    object
}

fn fields(fields: &mut dyn Iterator<Item = &'static Field>) -> Object {
    fields
        .filter(|field| field.is_required && field.default.is_none() && !field.is_read_only)
        .map(|field| (field.name.to_owned(), some(&field.holds)))
        .collect()
}

fn some(holds: &'static Type) -> Value {
    match holds {
        Type::Text(_) => Value::from("x"),
        Type::Flag => Value::from(true),
        // The special values stand first.
        Type::Int(allowed) => Value::from(allowed.last().map_or(0, |(low, _)| *low)),
        Type::Number => Value::from(0.5),
        Type::Enum(names) => Value::from(names.first().copied().unwrap_or_default()),
        Type::Ref(kind) => Value::from(format!("/api/{kind}/{kind}-1")),
        Type::Message(message) => Value::Object(fields(&mut message.fields.iter())),
        Type::List(list) => Value::Array(vec![some(list.of)]),
    }
}
