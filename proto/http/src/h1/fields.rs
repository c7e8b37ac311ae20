//! Field lines: the grammar shared by heads and trailer sections.

use alloc::vec::Vec;

use crate::{Known, RuleId, Span, bytes};

/// One field line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name, a token in the case it came in.
    pub name: Span,
    /// Its value without blanks around it.
    pub value: Span,
    /// What the name means to us.
    pub known: Known,
    /// Never forwarded: concerns this connection only, is named by `Connection`, or looks like a known name
    /// but for `_`.
    pub drop: bool,
    /// The sender forbids compressing it together with others: no table of HTTP/2 takes it.
    pub sensitive: bool,
    /// Written as `Name: value` CRLF, so that copying it is the same as writing it anew.
    pub(crate) canonical: bool,
}

/// The field lines of a message in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    pub(crate) list: Vec<Field>,
}

impl Fields {
    /// Returns all lines.
    pub fn iter(&self) -> core::slice::Iter<'_, Field> {
        self.list.iter()
    }

    /// Returns the number of lines.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Says whether there is no line.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the values of all lines called `known`, in order.
    pub fn known<'b>(
        &self,
        buf: &'b [u8],
        known: Known,
    ) -> impl Iterator<Item = &'b [u8]> + Clone + use<'_, 'b> {
        self.list.iter().filter(move |f| f.known == known).map(move |f| f.value.of(buf))
    }

    /// Returns the value of the first line called `known`.
    pub fn get<'b>(&self, buf: &'b [u8], known: Known) -> Option<&'b [u8]> {
        self.list.iter().find(|f| f.known == known).map(|f| f.value.of(buf))
    }

    /// Returns the values of all lines with this name, whatever its case.
    pub fn named<'b>(&self, buf: &'b [u8], name: &[u8]) -> impl Iterator<Item = &'b [u8]> {
        let known = Known::of(name);
        self.list
            .iter()
            .filter(move |f| {
                f.known == known && (known != Known::Other || f.name.of(buf).eq_ignore_ascii_case(name))
            })
            .map(move |f| f.value.of(buf))
    }
}

/// Where the scan of field lines stands; survives between calls so that no byte is scanned twice.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FieldScan {
    part: Part,
    line: usize,
    name_end: usize,
    value: usize,
    at: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Name,
    Blank,
    Value,
}

/// Bounds of one section.
#[derive(Clone, Copy)]
pub(crate) struct FieldBounds {
    pub field_bytes: usize,
    pub fields: usize,
}

/// What a scan found.
pub(crate) enum Scanned {
    NeedMore,
    /// The section ended; content begins here.
    End(usize),
}

impl FieldScan {
    pub(crate) fn start(at: usize) -> FieldScan {
        FieldScan { part: Part::Name, line: at, name_end: at, value: at, at }
    }

    /// Reads lines until the empty line. `window` holds the section's beginning and is never longer than the
    /// section may be.
    //= H1-FIELD-01
    //= H1-FIELD-02
    //= H1-FIELD-03
    //= H1-FIELD-04
    //= H1-FIELD-05
    //= H1-FIELD-07
    //= H1-LINE-01
    //= H1-LINE-02
    pub(crate) fn run(
        &mut self,
        window: &[u8],
        bounds: FieldBounds,
        fields: &mut Fields,
    ) -> Result<Scanned, RuleId> {
        loop {
            let cap = self.line.saturating_add(bounds.field_bytes);
            let line = window.get(..cap.min(window.len())).unwrap_or(window);
            if self.part == Part::Name {
                let at = bytes::skip(line, self.at, bytes::TOKEN);
                self.at = at;
                let Some(&b) = line.get(at) else { return self.stopped(line, cap) };
                match b {
                    b':' if at > self.line => {}
                    b'\r' if at == self.line => {
                        return match window.get(at + 1) {
                            None => Ok(Scanned::NeedMore),
                            Some(b'\n') => Ok(Scanned::End(at + 2)),
                            Some(_) => Err(RuleId::BareCr),
                        };
                    }
                    b' ' | b'\t' if at == self.line => return Err(RuleId::FieldFold),
                    b' ' | b'\t' => return Err(RuleId::FieldColon),
                    b'\n' => return Err(RuleId::BareLf),
                    b'\r' => return Err(RuleId::FieldNoColon),
                    _ => return Err(RuleId::FieldName),
                }
                if fields.list.len() >= bounds.fields {
                    return Err(RuleId::FieldCount);
                }
                self.name_end = at;
                self.at = at + 1;
                self.part = Part::Blank;
            }
            if self.part == Part::Blank {
                while let Some(b' ' | b'\t') = line.get(self.at) {
                    self.at += 1;
                }
                if self.at == line.len() {
                    return self.stopped(line, cap);
                }
                self.value = self.at;
                self.part = Part::Value;
            }
            let end = loop {
                let at = bytes::find_control(line, self.at);
                self.at = at;
                match line.get(at) {
                    None => return self.stopped(line, cap),
                    Some(b'\t') => self.at = at + 1,
                    Some(b'\r') => match window.get(at + 1) {
                        None => return Ok(Scanned::NeedMore),
                        Some(b'\n') => break at,
                        Some(_) => return Err(RuleId::BareCr),
                    },
                    Some(b'\n') => return Err(RuleId::BareLf),
                    Some(_) => return Err(RuleId::FieldValue),
                }
            };
            fields.list.push(self.field(window, end));
            *self = FieldScan::start(end + 2);
        }
    }

    //= H1-FIELD-06
    fn stopped(&self, line: &[u8], cap: usize) -> Result<Scanned, RuleId> {
        if line.len() >= cap { Err(RuleId::FieldLength) } else { Ok(Scanned::NeedMore) }
    }

    #[inline]
    fn field(&self, window: &[u8], line_end: usize) -> Field {
        let mut end = line_end;
        while end > self.value && matches!(window[end - 1], b' ' | b'\t') {
            end -= 1;
        }
        let name = &window[self.line..self.name_end];
        let known = Known::of(name);
        Field {
            name: Span::new(self.line, self.name_end),
            value: Span::new(self.value, end),
            known,
            drop: known.is_hop_by_hop() || (known == Known::Other && is_lookalike(name)),
            sensitive: false,
            canonical: self.value == self.name_end + 2
                && window[self.name_end + 1] == b' '
                && end == line_end,
        }
    }
}

/// Says whether a name turns into one we act upon when a CGI-like server reads `_` and `-` alike.
//= H1-FIELD-09
pub(crate) fn is_lookalike(name: &[u8]) -> bool {
    memchr::memchr(b'_', name).is_some() && {
        let known = Known::lookalike(name);
        known.is_hop_by_hop() || known.is_protected()
    }
}
