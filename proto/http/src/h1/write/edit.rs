//! Changes to fields, from rules and from the engine.

use core::fmt;

use crate::h1::fields::Field;
use crate::{Known, bytes};

/// One change to the fields of a message. Framing, `Connection` and `Host` cannot be changed this way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldEdit<'a> {
    /// Leaves out all lines of this name.
    Remove {
        /// The name, in any case.
        name: &'a [u8],
    },
    /// Writes one line in place of all lines of this name.
    Set {
        /// The name, written in this case.
        name: &'a [u8],
        /// The value.
        value: &'a [u8],
    },
    /// Writes a line and leaves those of the same name.
    Add {
        /// The name, written in this case.
        name: &'a [u8],
        /// The value.
        value: &'a [u8],
    },
}

/// An edit that would break the message; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadEdit {
    /// A name is not a token, or belongs to framing or to the connection.
    Name,
    /// A value has control bytes or blanks at its ends.
    Value,
    /// The new target has bytes that no target has, or does not begin with `/`.
    Target,
    /// The new host has bytes that no host has.
    Host,
}

impl fmt::Display for BadEdit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadEdit::Name => "field name of an edit is not a token or belongs to framing",
            BadEdit::Value => "field value of an edit has control bytes or blanks at its ends",
            BadEdit::Target => "request target of an edit is not a path with visible ASCII only",
            BadEdit::Host => "host of an edit is not a host name or address",
        })
    }
}

impl core::error::Error for BadEdit {}

impl<'a> FieldEdit<'a> {
    fn name(&self) -> &'a [u8] {
        match self {
            FieldEdit::Remove { name } | FieldEdit::Set { name, .. } | FieldEdit::Add { name, .. } => name,
        }
    }

    fn value(&self) -> Option<&'a [u8]> {
        match self {
            FieldEdit::Remove { .. } => None,
            FieldEdit::Set { value, .. } | FieldEdit::Add { value, .. } => Some(value),
        }
    }
}

/// Checks all edits before the first byte is written.
//= H1-EDIT-01
pub(super) fn check(edits: &[FieldEdit<'_>]) -> Result<(), BadEdit> {
    for edit in edits {
        let known = Known::of(edit.name());
        let framing = known.is_hop_by_hop() || matches!(known, Known::ContentLength | Known::Host);
        if !bytes::is_token(edit.name()) || framing {
            return Err(BadEdit::Name);
        }
        if edit.value().is_some_and(|v| !bytes::is_field_value(v)) {
            return Err(BadEdit::Value);
        }
    }
    Ok(())
}

/// Says whether many servers take two names for one: they compare them in any case, and take `_` for `-`.
fn is_alike(one: &[u8], other: &[u8]) -> bool {
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| plain(*a) == plain(*b))
}

/// Says whether an edit takes the place of lines of this name.
#[inline]
fn take(edits: &[FieldEdit<'_>], line: &[u8]) -> bool {
    edits.iter().any(|edit| match edit {
        FieldEdit::Add { .. } => false,
        FieldEdit::Remove { name } | FieldEdit::Set { name, .. } => is_alike(line, name),
    })
}

/// Says whether an edit takes the place of this line.
//= H1-EDIT-02
#[inline]
pub(super) fn covers(edits: &[FieldEdit<'_>], field: &Field, buf: &[u8]) -> bool {
    take(edits, field.name.of(buf))
}

/// Says whether an edit decides about a field that the engine would write by itself.
pub(super) fn decides(edits: &[FieldEdit<'_>], known: Known) -> bool {
    edits.iter().any(|edit| !matches!(edit, FieldEdit::Add { .. }) && Known::of(edit.name()) == known)
}

/// Writes the lines that edits add, but for those that a later one replaces or removes.
//= H1-EDIT-03
pub(super) fn write(edits: &[FieldEdit<'_>], out: &mut alloc::vec::Vec<u8>) {
    let mut rest = edits;
    while let [edit, later @ ..] = rest {
        if let Some(value) = edit.value().filter(|_| !take(later, edit.name())) {
            super::line(out, edit.name(), value);
        }
        rest = later;
    }
}
