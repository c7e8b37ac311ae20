//! Reading header blocks.

use alloc::vec::Vec;

use super::kind::Kind;
use super::table::{Line as Entry, Table};
use super::{fixed, huffman, integer};
use crate::h2::error::Rule;
use crate::{Known, Span};

/// A field line, written into the caller's buffer as `name: value` CRLF; of a pseudo-header field only the value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub name: Span,
    pub value: Span,
    pub known: Known,
    pub kind: Kind,
    /// The sender forbids everybody to put it into a table.
    pub never_indexed: bool,
    /// Bytes of name and value and 32 (RFC 9113 6.5.2), also where nothing was written.
    pub cost: usize,
}

/// One direction's table.
#[derive(Debug)]
pub(crate) struct Decoder {
    table: Table,
    /// What we announced and the peer knows: size updates stay below.
    bound: usize,
    /// The peer knows a bound below the table's size: its next block begins with an update.
    owed: bool,
}

/// The size of tables before settings say another (RFC 9113 6.5.2).
pub(crate) const TABLE_DEFAULT: usize = 4096;

/// Where the reading of one block stands.
#[derive(Default)]
pub(crate) struct Cursor {
    at: usize,
    begun: bool,
}

/// How a line is represented.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Literal {
    Indexed,
    Plain,
    Never,
}

impl Decoder {
    /// Takes tables of the size that counts before any settings do.
    pub(crate) fn new() -> Decoder {
        Decoder { table: Table::new(TABLE_DEFAULT), bound: TABLE_DEFAULT, owed: false }
    }

    /// The peer has acknowledged our bound.
    pub(crate) fn announced(&mut self, bound: usize) {
        self.bound = bound;
        self.owed = self.table.max() > bound;
    }

    pub(crate) fn memory(&self) -> usize {
        self.table.memory()
    }

    #[cfg(test)]
    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// Reads the next line of `block` into `buf`; none at its end. With `skip` nothing is written that the table
    /// does not need: the lines of a message that is refused cost next to nothing.
    ///
    /// # Errors
    /// The block cannot be read; both tables may differ from now on, so the connection has to end.
    pub(crate) fn next(
        &mut self,
        block: &[u8],
        cursor: &mut Cursor,
        skip: bool,
        buf: &mut Vec<u8>,
    ) -> Result<Option<Line>, Rule> {
        loop {
            let Some(&first) = block.get(cursor.at) else { return Ok(None) };
            let at = &mut cursor.at;
            let line = if first & 0xe0 == 0x20 {
                //= H2-HPACK-04
                if cursor.begun {
                    return Err(Rule::TableUpdateLate);
                }
                let max = number(block, at, 5)?;
                //= H2-HPACK-07
                if max > self.bound {
                    return Err(Rule::TableUpdateLarge);
                }
                self.table.resize(max);
                self.owed = false;
                continue;
            } else if self.owed {
                //= H2-HPACK-08
                return Err(Rule::TableUpdateMissing);
            } else if first & 0x80 != 0 {
                let index = number(block, at, 7)?;
                self.indexed(index, skip, buf)?
            } else if first & 0x40 != 0 {
                self.literal(block, at, 6, Literal::Indexed, skip, buf)?
            } else {
                let kind = if first & 0x10 != 0 { Literal::Never } else { Literal::Plain };
                self.literal(block, at, 4, kind, skip, buf)?
            };
            cursor.begun = true;
            return Ok(Some(line));
        }
    }

    /// Returns the parts of an entry by its index.
    //= H2-HPACK-05
    fn entry(&self, index: usize) -> Result<Entry<'_>, Rule> {
        let nth = index.checked_sub(1).ok_or(Rule::TableIndex)?;
        if let (Some((name, value)), Some((known, kind))) = (fixed::ENTRIES.get(nth), fixed::meaning(nth)) {
            return Ok(Entry { name: name.as_bytes(), value: value.as_bytes(), known, kind });
        }
        self.table.get(nth - fixed::COUNT).ok_or(Rule::TableIndex)
    }

    fn indexed(&self, index: usize, skip: bool, buf: &mut Vec<u8>) -> Result<Line, Rule> {
        let Entry { name, value, known, kind } = self.entry(index)?;
        let cost = name.len() + value.len() + super::table::ENTRY_COST;
        let (mut name_at, mut value_at) = (Span::default(), Span::default());
        if !skip {
            name_at = begin(name, kind, buf);
            value_at = put(value, buf);
            finish(kind, buf);
        }
        Ok(Line { name: name_at, value: value_at, known, kind, never_indexed: false, cost })
    }

    fn literal(
        &mut self,
        block: &[u8],
        at: &mut usize,
        prefix: u32,
        how: Literal,
        skip: bool,
        buf: &mut Vec<u8>,
    ) -> Result<Line, Rule> {
        let start = buf.len();
        let index = number(block, at, prefix)?;
        let skip = skip && how != Literal::Indexed;
        let (known, kind, name_at, name_len);
        if index == 0 {
            // The name's bytes are needed to judge it, and stay: what a pseudo-header field leaves is in nobody's way.
            name_at = string(block, at, buf)?;
            (known, kind) = Kind::of_name(name_at.of(buf));
            buf.extend_from_slice(b": ");
            name_len = name_at.len();
        } else {
            let Entry { name, known: k, kind: entry_kind, .. } = self.entry(index)?;
            // The value is another: only what the name is stays.
            let of_name = if entry_kind == Kind::BadValue { Kind::of_name(name).1 } else { entry_kind };
            (known, kind, name_len) = (k, of_name, name.len());
            name_at = if skip {
                Span::default()
            } else if how == Literal::Indexed {
                // The table wants the name, also where nobody else does.
                let span = put(name, buf);
                buf.extend_from_slice(b": ");
                span
            } else {
                begin(name, kind, buf)
            };
        }
        let value_at = string(block, at, buf)?;
        let kind = kind.with_value(value_at.of(buf));
        let cost = name_len + value_at.len() + super::table::ENTRY_COST;
        if how == Literal::Indexed {
            self.table.add(name_at.of(buf), value_at.of(buf), 0, known, kind);
        }
        if skip {
            buf.truncate(start);
        } else {
            finish(kind, buf);
        }
        Ok(Line { name: name_at, value: value_at, known, kind, never_indexed: how == Literal::Never, cost })
    }
}

fn put(bytes: &[u8], buf: &mut Vec<u8>) -> Span {
    let start = buf.len();
    buf.extend_from_slice(bytes);
    Span::new(start, buf.len())
}

/// Writes the name and the colon, if it has one to show.
fn begin(name: &[u8], kind: Kind, buf: &mut Vec<u8>) -> Span {
    match kind {
        Kind::Plain | Kind::Lookalike | Kind::BadName | Kind::BadValue => {
            let span = put(name, buf);
            buf.extend_from_slice(b": ");
            span
        }
        _ => Span::new(buf.len(), buf.len()),
    }
}

fn finish(kind: Kind, buf: &mut Vec<u8>) {
    if matches!(kind, Kind::Plain | Kind::Lookalike) {
        buf.extend_from_slice(b"\r\n");
    }
}

fn number(block: &[u8], at: &mut usize, prefix: u32) -> Result<usize, Rule> {
    integer::decode(block, at, prefix).ok_or(Rule::Integer)
}

/// Reads a string literal (RFC 7541 5.2).
//= H2-HPACK-09
fn string(block: &[u8], at: &mut usize, buf: &mut Vec<u8>) -> Result<Span, Rule> {
    let coded = block.get(*at).is_some_and(|b| b & 0x80 != 0);
    let len = number(block, at, 7)?;
    let text = block.get(*at..).and_then(|rest| rest.get(..len)).ok_or(Rule::StringCut)?;
    *at += len;
    if !coded {
        return Ok(put(text, buf));
    }
    let start = buf.len();
    huffman::decode(text, buf).map_err(|_| Rule::HuffmanPadding)?;
    Ok(Span::new(start, buf.len()))
}
