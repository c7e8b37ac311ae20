//! Reading a document into typed sections without stopping at the first problem.
//!
//! Each section is declared once by `section!` ([`declare`]): its fields, defaults, ranges and docs. The same
//! declaration gives the type, the reader, the list of known keys and the reference table in
//! `docs/spec/configuration.md`. A value that cannot be read is reported and replaced by a filler, so
//! list positions stay as in the document and the reading goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::Problem;
use crate::suggest::nearest;

mod declare;
mod policy;
mod values;

pub(crate) use declare::{
    accessor, by_type, default_or_filler, default_or_none, name_if_required, section, some_or_none,
    text_serde, variants, words,
};

/// Collects the problems of one document and remembers on which line each path stands.
pub(crate) struct Reader {
    /// Whether it is noted where each value stands. Nobody asks for it where nothing is wrong, and it is half of the work.
    notes_places: bool,
    line_starts: Vec<usize>,
    lines: BTreeMap<String, u32>,
    marked: BTreeSet<String>,
    problems: Vec<Problem>,
    /// The range of the number that is read next, if its key has one.
    range: Option<RangeInclusive<i64>>,
}

impl Reader {
    pub(crate) fn new(text: &str, notes_places: bool) -> Self {
        let line_starts = std::iter::once(0)
            .chain(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1))
            .collect();
        Self {
            notes_places,
            line_starts,
            lines: BTreeMap::new(),
            marked: BTreeSet::new(),
            problems: Vec::new(),
            range: None,
        }
    }

    pub(crate) fn line_at(&self, offset: usize) -> u32 {
        u32::try_from(self.line_starts.partition_point(|start| *start <= offset)).unwrap_or(u32::MAX)
    }

    /// The line of `path`, or of the nearest place around it that stands in the document.
    pub(crate) fn line_of(&self, path: &str) -> Option<u32> {
        let mut path = path;
        loop {
            if let Some(line) = self.lines.get(path) {
                return Some(*line);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }

    pub(crate) fn place(&mut self, path: &str, offset: usize) {
        if !self.notes_places {
            return;
        }
        let line = self.line_at(offset);
        self.lines.insert(path.to_owned(), line);
    }

    /// Remembers where everything inside of a value stands, for what is read as a whole and judged later.
    fn place_within(&mut self, path: &str, value: &DeValue<'_>) {
        if !self.notes_places {
            return;
        }
        match value {
            DeValue::Table(table) => {
                for (key, value) in table.iter() {
                    let at = join(path, key.get_ref());
                    self.place(&at, key.span().start);
                    self.place_within(&at, value.get_ref());
                }
            }
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let at = format!("{path}[{index}]");
                    self.place(&at, item.span().start);
                    self.place_within(&at, item.get_ref());
                }
            }
            _ => {}
        }
    }

    /// Reports a problem; one place is reported once, so a follow-up does not hide the cause.
    pub(crate) fn report(&mut self, path: &str, reason: impl Into<String>, fix: impl Into<String>) {
        if self.marked.insert(path.to_owned()) {
            let line = self.line_of(path);
            self.problems.push(Problem {
                line,
                path: path.to_owned(),
                reason: reason.into(),
                fix: fix.into(),
            });
        }
    }

    pub(crate) fn report_line(&mut self, line: Option<u32>, path: &str, reason: String, fix: String) {
        self.problems.push(Problem { line, path: path.to_owned(), reason, fix });
    }

    /// Reports what serde found wrong in a section that the core declares.
    fn report_serde(&mut self, path: &str, form: &str, error: &toml::de::Error) {
        let reason = error.message().trim().replace('\n', "; ");
        // "unknown field `a`, expected one of `b`, `c`": the words between the ticks.
        let (found, known) = reason.split_once(", expected").unwrap_or((&reason, ""));
        let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        let near = found.split('`').nth(1).and_then(|typed| nearest(typed, known.iter().copied()));
        let fix = match near {
            Some(near) => format!("did you mean \"{}\"?", printable(near)),
            None if known.is_empty() => format!("write {form}; docs/spec/policy.md has every key"),
            None => format!("write one of {}", known.join(", ")),
        };
        if let Some(span) = error.span() {
            self.place(path, span.start);
        }
        self.report(path, printable(found), fix);
    }

    /// Whether this very place was already found wrong (its value is then only a filler).
    pub(crate) fn is_bad(&self, path: &str) -> bool {
        self.marked.contains(path)
    }

    /// Whether this place or one around it was found wrong.
    pub(crate) fn is_bad_around(&self, path: &str) -> bool {
        let mut path = path;
        loop {
            if self.is_bad(path) {
                return true;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return false,
            }
        }
    }

    /// Whether this place or one within it was found wrong.
    pub(crate) fn is_bad_within(&self, path: &str) -> bool {
        let within = |found: &String| {
            found.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.marked.range(path.to_owned()..).take_while(|found| found.starts_with(path)).any(within)
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    pub(crate) fn expected(&mut self, path: &str, form: &str, found: &DeValue<'_>) {
        let found = kind(found);
        self.report(path, format!("expected {form}, found {found}"), format!("write {form}"));
    }

    pub(crate) fn in_range<T: Number>(&mut self, path: &str, value: &T, range: &RangeInclusive<i64>) {
        let Some(number) = value.number() else { return };
        if !range.contains(&number) {
            let (low, high) = (range.start(), range.end());
            self.report(
                path,
                format!("{number} is outside {low}..{high}"),
                format!("set it to {low}..{high}"),
            );
        }
    }

    pub(crate) fn keeps(&mut self, path: &str, rule: Result<(), (String, String)>) {
        if let Err((reason, fix)) = rule {
            self.report(path, reason, fix);
        }
    }

    /// Reports keys that the section does not know; `also` are keys read by the caller.
    //= CFG-UNKNOWN-01
    pub(crate) fn unknown_keys(&mut self, path: &str, table: &DeTable<'_>, known: &[&str], also: &[&str]) {
        for (key, _) in table.iter() {
            let name: &str = key.get_ref();
            if known.contains(&name) || also.contains(&name) {
                continue;
            }
            let at = join(path, &printable(name));
            self.place(&at, key.span().start);
            let fix = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("remove it; known here: {}", known.join(", ")),
            };
            self.report(&at, "this key is not known here", fix);
        }
    }

    /// Reads one field of a section.
    pub(crate) fn field<T: Read>(
        &mut self,
        section: &str,
        table: &DeTable<'_>,
        name: &str,
        default: Option<T>,
        range: Option<RangeInclusive<i64>>,
    ) -> (String, T, bool) {
        let path = join(section, name);
        self.range = range;
        if let Some((key, value)) = table.get_key_value(name) {
            self.place(&path, key.span().start);
            let value = T::read(self, &path, value);
            self.range = None;
            return (path, value, true);
        }
        let value = match default {
            Some(value) => value,
            None => {
                self.report(&path, "this key is missing", format!("add {name} = ({})", T::FORM));
                T::filler()
            }
        };
        (path, value, false)
    }
}

/// A value that can stand in a document.
pub(crate) trait Read: Sized {
    /// What to write, in words: `a whole number`.
    const FORM: &'static str;
    /// Reads `value`, reports what is wrong with it and then gives [`Read::filler`].
    fn read(reader: &mut Reader, path: &str, value: &Spanned<DeValue<'_>>) -> Self;
    /// Stands where no readable value stood; never part of a configuration that runs.
    fn filler() -> Self;
}

/// A value whose range can be checked.
pub(crate) trait Number {
    fn number(&self) -> Option<i64>;
}

/// What the reference table says of one key.
#[derive(Clone, Debug)]
pub struct FieldDoc {
    /// The key.
    pub name: &'static str,
    /// What to write, in words.
    pub form: &'static str,
    /// The default as TOML, `required`, or empty where absence has a meaning of its own.
    pub default: String,
    /// The range, if it is a number with one.
    pub range: String,
    /// What it does.
    pub doc: String,
}

pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn kind(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(_) => "a text".to_owned(),
        DeValue::Integer(_) => "a whole number".to_owned(),
        DeValue::Float(_) => "a fraction".to_owned(),
        DeValue::Boolean(b) => b.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// A user's text as it may stand in a message: bounded, without control characters.
pub(crate) fn printable(text: &str) -> String {
    let mut out: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        out.push('…');
    }
    out
}

/// A table of known keys.
pub(crate) trait Section: Sized {
    const KEYS: &'static [&'static str];
    fn read_table(reader: &mut Reader, path: &str, table: &DeTable<'_>, also: &[&str]) -> Self;
    fn docs() -> Vec<FieldDoc>;
}

pub(crate) fn describe<T: serde::Serialize>(
    defaults: &T,
    required: &[&str],
    ranges: &[(&str, Option<RangeInclusive<i64>>)],
    docs: &[(&'static str, &'static str, &str)],
) -> Vec<FieldDoc> {
    let values = toml::Table::try_from(defaults).unwrap_or_default();
    docs.iter()
        .map(|(name, form, doc)| FieldDoc {
            name,
            form,
            default: if required.contains(name) {
                "required".to_owned()
            } else {
                values.get(*name).map(toml::Value::to_string).unwrap_or_default()
            },
            range: ranges
                .iter()
                .find(|(field, _)| field == name)
                .and_then(|(_, range)| range.as_ref())
                .map(|range| format!("{}..{}", range.start(), range.end()))
                .unwrap_or_default(),
            doc: doc.trim().to_owned(),
        })
        .collect()
}

/// Which of `words` stands at `path`.
pub(crate) fn word(
    reader: &mut Reader,
    path: &str,
    value: &Spanned<DeValue<'_>>,
    words: &[&str],
) -> Option<usize> {
    let Some(text) = value.get_ref().as_str() else {
        reader.expected(path, &format!("one of {}", words.join(", ")), value.get_ref());
        return None;
    };
    let found = words.iter().position(|word| *word == text);
    if found.is_none() {
        let fix = match nearest(text, words.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("write one of {}", words.join(", ")),
        };
        reader.report(path, format!("\"{}\" is no choice here", printable(text)), fix);
    }
    found
}
