//! An object or a part of one, read by its table: where its user said nothing, the table's default stands.

use serde_json::Value;

use crate::field::{Default, Field, Type};
use crate::kind::{Kind, Object};
use crate::reference::Reference;

/// An object or a part of one.
#[derive(Clone, Copy)]
pub(super) struct View<'o> {
    object: Option<&'o Object>,
    of: Of,
}

#[derive(Clone, Copy)]
enum Of {
    Kind(&'static Kind),
    Fields(&'static [Field]),
}

impl<'o> View<'o> {
    /// The whole object.
    pub fn of(kind: &'static Kind, object: &'o Object) -> Self {
        View { object: Some(object), of: Of::Kind(kind) }
    }

    fn field(&self, name: &str) -> Option<&'static Field> {
        let found = match self.of {
            Of::Kind(kind) => kind.field(name),
            Of::Fields(fields) => fields.iter().find(|field| field.name == name),
        };
        debug_assert!(found.is_some(), "no table has the field {name}");
        found
    }

    fn value(&self, name: &str) -> Option<&'o Value> {
        self.object?.get(name).filter(|value| !value.is_null())
    }

    /// Says whether its user, or a default, put something there.
    pub fn has(&self, name: &str) -> bool {
        debug_assert!(self.field(name).is_some());
        self.value(name).is_some()
    }

    /// The text there; empty where there is none.
    pub fn text(&self, name: &str) -> &'o str {
        match (self.value(name), self.field(name).and_then(|field| field.default)) {
            (Some(value), _) => value.as_str().unwrap_or_default(),
            (None, Some(Default::Text(text))) => text,
            _ => "",
        }
    }

    /// The text there; `None` where there is none, or an empty one.
    pub fn some_text(&self, name: &str) -> Option<&'o str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// The number there, if there is one.
    pub fn int(&self, name: &str) -> Option<i64> {
        match (self.value(name), self.field(name).and_then(|field| field.default)) {
            (Some(value), _) => value.as_i64(),
            (None, Some(Default::Int(number))) => Some(number),
            _ => None,
        }
    }

    /// Says whether the flag is on.
    pub fn is_on(&self, name: &str) -> bool {
        match (self.value(name), self.field(name).and_then(|field| field.default)) {
            (Some(value), _) => value.as_bool().unwrap_or(false),
            (None, Some(Default::Flag(on))) => on,
            _ => false,
        }
    }

    /// The message there; an empty one, with its defaults, where there is none.
    pub fn part(&self, name: &str) -> View<'o> {
        let fields = match self.field(name).map(|field| &field.holds) {
            Some(Type::Message(message)) => message.fields,
            _ => &[],
        };
        View { object: self.value(name).and_then(Value::as_object), of: Of::Fields(fields) }
    }

    /// The message there, if there is one.
    pub fn some_part(&self, name: &str) -> Option<View<'o>> {
        self.has(name).then(|| self.part(name))
    }

    /// The messages of a list, each with its place in it.
    pub fn entries(&self, name: &str) -> impl Iterator<Item = (usize, View<'o>)> + use<'o> {
        let fields: &'static [Field] = match self.field(name).map(|field| &field.holds) {
            Some(Type::List(list)) => match list.of {
                Type::Message(message) => message.fields,
                _ => &[],
            },
            _ => &[],
        };
        let list = self.value(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let view = move |entry: &'o Value| View { object: entry.as_object(), of: Of::Fields(fields) };
        list.iter().enumerate().map(move |(at, entry)| (at, view(entry)))
    }

    /// The texts of a list.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = &'o str> + use<'o> {
        self.list(name).iter().filter_map(Value::as_str)
    }

    /// The numbers of a list.
    pub fn ints(&self, name: &str) -> impl Iterator<Item = i64> + use<'o> {
        self.list(name).iter().filter_map(Value::as_i64)
    }

    fn list(&self, name: &str) -> &'o [Value] {
        debug_assert!(self.field(name).is_some());
        self.value(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice)
    }

    /// The uuid that a reference there names. Names were replaced when the object was kept.
    pub fn refers(&self, name: &str) -> Option<String> {
        let kind = match self.field(name).map(|field| &field.holds) {
            Some(Type::Ref(kind)) => kind,
            _ => return None,
        };
        uuid(self.text(name), kind)
    }

    /// The uuids that a list of references names.
    pub fn references(&self, name: &str) -> Vec<String> {
        let kind = match self.field(name).map(|field| &field.holds) {
            Some(Type::List(list)) => match list.of {
                Type::Ref(kind) => kind,
                _ => return Vec::new(),
            },
            _ => return Vec::new(),
        };
        self.texts(name).filter_map(|text| uuid(text, kind)).collect()
    }

    /// The address of a message that has one.
    pub fn address(&self, name: &str) -> Option<&'o str> {
        self.some_part(name)?.some_text("addr")
    }
}

fn uuid(text: &str, kind: &str) -> Option<String> {
    match Reference::read(text, kind).ok()? {
        Reference::Uuid(uuid) => Some(uuid),
        Reference::Name(_) => None,
    }
}
