//! What a field of an object may hold.
//!
//! The tables in [`crate::schema`] are written with the functions here; checks, defaults, references, patches,
//! masking and the API's document are all read off those tables.

/// The longest text that a field takes unless its table says otherwise, bytes: names, addresses, short expressions.
pub const TEXT_BYTES_MAX: usize = 4096;

/// A field of an object or a message.
#[derive(Debug)]
pub struct Field {
    /// Its name on the wire.
    pub name: &'static str,
    /// What it holds.
    pub holds: Type,
    /// What stands there where its user said nothing; `None`: it stays absent.
    pub default: Option<Default>,
    /// An object without it is refused.
    pub is_required: bool,
    /// Set by the Controller: what clients send of it is dropped, so that they may send back what they got.
    pub is_read_only: bool,
    /// Taken, kept sealed, and never given out.
    pub is_secret: bool,
    /// The flag beside it that makes it a secret where it is on.
    pub secret_if: Option<&'static str>,
    /// The unit of a number, as in `s` or `min`; empty: none.
    pub unit: &'static str,
}

/// What a field holds.
#[derive(Debug)]
pub enum Type {
    /// Text of at most so many bytes.
    Text(usize),
    /// `true` or `false`.
    Flag,
    /// A whole number from one of these ranges, both ends included.
    Int(&'static [(i64, i64)]),
    /// Any finite number.
    Number,
    /// One of these names.
    Enum(&'static [&'static str]),
    /// A reference to an object of this kind.
    Ref(&'static str),
    /// Fields of its own.
    Message(&'static Message),
    /// A list.
    List(List),
}

/// A list of things of one type.
#[derive(Debug)]
pub struct List {
    /// What each entry holds.
    pub of: &'static Type,
    /// The most entries.
    pub most: usize,
    /// The fields by which two entries are the same one for a patch; empty: all that they hold.
    pub key: &'static [&'static str],
}

/// A group of fields within an object.
#[derive(Debug)]
pub struct Message {
    /// Its name in the API's document.
    pub name: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
}

/// What stands in a field where its user said nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// A flag.
    Flag(bool),
    /// A whole number.
    Int(i64),
    /// A text or a name of an enumeration.
    Text(&'static str),
    /// A message with the defaults of its own fields.
    Message,
}

impl Field {
    const fn new(name: &'static str, holds: Type) -> Self {
        Field {
            name,
            holds,
            default: None,
            is_required: false,
            is_read_only: false,
            is_secret: false,
            secret_if: None,
            unit: "",
        }
    }

    /// An object without it is refused.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.is_required = true;
        self
    }

    /// See [`Field::is_read_only`].
    #[must_use]
    pub const fn read_only(mut self) -> Self {
        self.is_read_only = true;
        self
    }

    /// See [`Field::is_secret`].
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }

    /// See [`Field::secret_if`].
    #[must_use]
    pub const fn secret_if(mut self, flag: &'static str) -> Self {
        self.secret_if = Some(flag);
        self
    }

    /// Says whether it is a secret in this object.
    pub fn is_secret_in(&self, object: &serde_json::Map<String, serde_json::Value>) -> bool {
        let is_on = |flag| object.get(flag).and_then(serde_json::Value::as_bool) == Some(true);
        self.is_secret || self.secret_if.is_some_and(is_on)
    }

    /// With this unit.
    #[must_use]
    pub const fn unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    /// With this default.
    #[must_use]
    pub const fn or(mut self, default: Default) -> Self {
        self.default = Some(default);
        self
    }

    /// With this number for a default.
    #[must_use]
    pub const fn or_int(self, default: i64) -> Self {
        self.or(Default::Int(default))
    }

    /// With this text for a default.
    #[must_use]
    pub const fn or_text(self, default: &'static str) -> Self {
        self.or(Default::Text(default))
    }

    /// On unless switched off.
    #[must_use]
    pub const fn or_true(self) -> Self {
        self.or(Default::Flag(true))
    }

    /// Off, and shown so.
    #[must_use]
    pub const fn or_false(self) -> Self {
        self.or(Default::Flag(false))
    }
}

/// Short text.
pub const fn text(name: &'static str) -> Field {
    Field::new(name, Type::Text(TEXT_BYTES_MAX))
}

/// Text of at most `most` bytes.
pub const fn long_text(name: &'static str, most: usize) -> Field {
    Field::new(name, Type::Text(most))
}

/// A flag.
pub const fn flag(name: &'static str) -> Field {
    Field::new(name, Type::Flag)
}

/// A whole number from 0 to 4,294,967,295.
pub const fn count(name: &'static str) -> Field {
    int(name, &[(0, u32::MAX as i64)])
}

/// A whole number from one of these ranges, both ends included; the special values (0: none, -1: for ever) stand first.
pub const fn int(name: &'static str, allowed: &'static [(i64, i64)]) -> Field {
    Field::new(name, Type::Int(allowed))
}

/// Any finite number.
pub const fn number(name: &'static str) -> Field {
    Field::new(name, Type::Number)
}

/// One of these names.
pub const fn one_of(name: &'static str, names: &'static [&'static str]) -> Field {
    Field::new(name, Type::Enum(names))
}

/// A reference to an object of this kind.
pub const fn refers(name: &'static str, kind: &'static str) -> Field {
    Field::new(name, Type::Ref(kind))
}

/// A group of fields.
pub const fn message(name: &'static str, message: &'static Message) -> Field {
    Field::new(name, Type::Message(message))
}

/// At most `most` of these.
pub const fn list(name: &'static str, of: &'static Type, most: usize) -> Field {
    Field::new(name, Type::List(List { of, most, key: &[] }))
}

/// At most `most` of these messages; a patch takes two for the same one if these fields are equal.
pub const fn keyed(
    name: &'static str,
    of: &'static Type,
    most: usize,
    key: &'static [&'static str],
) -> Field {
    Field::new(name, Type::List(List { of, most, key }))
}

/// Short text, as an entry of a list.
pub const TEXT: Type = Type::Text(TEXT_BYTES_MAX);
