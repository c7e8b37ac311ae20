//! Kinds of objects.

use forebay_snapshot::Problem;
use serde_json::{Map, Value};

use crate::field::{Default, Field, Message, TEXT, Type};
use crate::field::{count, keyed, list, long_text, message, refers, text};
use crate::schema;

/// The JSON form of an object.
pub type Object = Map<String, Value>;

/// A rule over several fields of an object: adds what is wrong to the problems.
pub type Rule = fn(&Object, &mut Vec<Problem>);

/// A kind of objects: its table.
#[derive(Debug)]
pub struct Kind {
    /// What stands behind `/api/`, as in `pool`; the front of its objects' uuids as well.
    pub path: &'static str,
    /// Its name in texts, as in `Pool`.
    pub name: &'static str,
    /// The resource of roles that stands for it, as in `PERMISSION_POOL`.
    pub permission: &'static str,
    /// Within what names are unique, and who sees it.
    pub scope: Scope,
    /// Its fields beside [`COMMON`].
    pub fields: &'static [Field],
    /// Names that clients send although there is no such field: dropped without a word.
    pub dropped: &'static [&'static str],
    /// Rules over several fields.
    pub rules: &'static [Rule],
}

/// Where an object belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// To the whole system; one name for each.
    System,
    /// There is just one, without a uuid in its path.
    Single,
    /// To a tenant.
    Tenant,
    /// To a tenant and a cloud.
    Cloud,
}

/// A label by which roles are narrowed.
pub(crate) static MARKER: Message =
    Message { name: "RoleFilterMatchLabel", fields: &[text("key").required(), list("values", &TEXT, 128)] };

static ATTRIBUTES: Message =
    Message { name: "ConfigPbAttributes", fields: &[count("version").or_int(1).read_only()] };

/// The fields that every object has.
pub static COMMON: &[Field] = &[
    text("uuid"),
    text("url").read_only(),
    text("_last_modified").read_only(),
    refers("tenant_ref", "tenant"),
    message("configpb_attributes", &ATTRIBUTES),
    keyed("markers", &Type::Message(&MARKER), 64, &["key"]),
    text("created_by"),
    long_text("description", 16 * 1024),
];

impl Kind {
    /// All its fields.
    pub fn all_fields(&self) -> impl Iterator<Item = &'static Field> + use<> {
        // A kind's own table goes first: it may bound a common field more closely.
        self.fields.iter().chain(COMMON)
    }

    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.all_fields().find(|field| field.name == name)
    }
}

/// The kind of this path, as in `pool`.
pub fn kind(path: &str) -> Option<&'static Kind> {
    kinds().find(|kind| kind.path == path)
}

/// Every kind, in the order of the document.
pub fn kinds() -> impl Iterator<Item = &'static Kind> {
    schema::KINDS.iter().copied().flatten().copied()
}

/// What a default looks like in an object.
pub(crate) fn default_value(default: Default) -> Value {
    match default {
        Default::Flag(on) => Value::Bool(on),
        Default::Int(number) => Value::from(number),
        Default::Text(text) => Value::from(text),
        Default::Message => Value::Object(Map::new()),
    }
}
