//! Reading a document into typed sections without stopping at the first problem.
//!
//! Each section is declared once by [`section!`]: its fields, defaults, ranges and docs. The same
//! declaration gives the type, the reader, the list of known keys and the reference table in
//! `docs/spec/configuration.md`. A value that cannot be read is reported and replaced by a filler, so
//! list positions stay as in the document and the reading goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::Problem;
use crate::secret::{Secret, SecretProblem};
use crate::suggest::nearest;

/// Collects the problems of one document and remembers on which line each path stands.
pub(crate) struct Reader {
    line_starts: Vec<usize>,
    lines: BTreeMap<String, u32>,
    marked: BTreeSet<String>,
    problems: Vec<Problem>,
}

impl Reader {
    pub(crate) fn new(text: &str) -> Self {
        let line_starts = std::iter::once(0)
            .chain(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1))
            .collect();
        Self { line_starts, lines: BTreeMap::new(), marked: BTreeSet::new(), problems: Vec::new() }
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
        let line = self.line_at(offset);
        self.lines.insert(path.to_owned(), line);
    }

    /// Remembers where everything inside of a value stands, for what is read as a whole and judged later.
    fn place_within(&mut self, path: &str, value: &DeValue<'_>) {
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
    fn report_serde(&mut self, path: &str, error: &toml::de::Error) {
        let reason = error.message().trim().replace('\n', "; ");
        // "unknown field `a`, expected one of `b`, `c`": the words between the ticks.
        let (found, known) = reason.split_once(", expected").unwrap_or((&reason, ""));
        let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        let near = found.split('`').nth(1).and_then(|typed| nearest(typed, known.iter().copied()));
        let fix = match near {
            Some(near) => format!("did you mean \"{}\"?", printable(near)),
            None if known.is_empty() => "see the rules in docs/spec/configuration.md".to_owned(),
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
    ) -> (String, T, bool) {
        let path = join(section, name);
        if let Some((key, value)) = table.get_key_value(name) {
            self.place(&path, key.span().start);
            let value = T::read(self, &path, value);
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

macro_rules! read_numbers {
    ($($ty:ty),*) => {$(
        impl Read for $ty {
            const FORM: &'static str = "a whole number";
            fn read(reader: &mut Reader, path: &str, value: &Spanned<DeValue<'_>>) -> Self {
                let DeValue::Integer(number) = value.get_ref() else {
                    reader.expected(path, Self::FORM, value.get_ref());
                    return 0;
                };
                let digits = number.as_str().replace('_', "");
                match <$ty>::from_str_radix(&digits, number.radix()) {
                    Ok(number) => number,
                    Err(_) => {
                        let (low, high) = (<$ty>::MIN, <$ty>::MAX);
                        let shown = printable(number.as_str());
                        reader.report(path, format!("{shown} is outside {low}..{high}"), format!("set it to {low}..{high}"));
                        0
                    }
                }
            }
            fn filler() -> Self { 0 }
        }
        impl Number for $ty {
            fn number(&self) -> Option<i64> { i64::try_from(*self).ok().or(Some(i64::MAX)) }
        }
    )*};
}
read_numbers!(u8, u16, u32, u64, i32, i64);

impl<T: Number> Number for Option<T> {
    fn number(&self) -> Option<i64> {
        self.as_ref().and_then(Number::number)
    }
}

impl Read for bool {
    const FORM: &'static str = "true or false";
    fn read(reader: &mut Reader, path: &str, value: &Spanned<DeValue<'_>>) -> Self {
        value.get_ref().as_bool().unwrap_or_else(|| {
            reader.expected(path, Self::FORM, value.get_ref());
            false
        })
    }
    fn filler() -> Self {
        false
    }
}

impl Read for String {
    const FORM: &'static str = "a text";
    fn read(reader: &mut Reader, path: &str, value: &Spanned<DeValue<'_>>) -> Self {
        match value.get_ref().as_str() {
            Some(text) => text.to_owned(),
            None => {
                reader.expected(path, Self::FORM, value.get_ref());
                Self::new()
            }
        }
    }
    fn filler() -> Self {
        Self::new()
    }
}

impl<T: Read> Read for Option<T> {
    const FORM: &'static str = T::FORM;
    fn read(reader: &mut Reader, path: &str, value: &Spanned<DeValue<'_>>) -> Self {
        Some(T::read(reader, path, value))
    }
    fn filler() -> Self {
        None
    }
}

impl<T: Read> Read for Vec<T> {
    const FORM: &'static str = "a list";
    fn read(reader: &mut Reader, path: &str, value: &Spanned<DeValue<'_>>) -> Self {
        let Some(items) = value.get_ref().as_array() else {
            reader.expected(path, Self::FORM, value.get_ref());
            return Self::new();
        };
        if items.len() > crate::limits::LIST_ITEMS_MAX {
            let (got, max) = (items.len(), crate::limits::LIST_ITEMS_MAX);
            reader.report(path, format!("{got} items, at most {max} are taken"), "split the configuration");
            return Self::new();
        }
        let mut out = Self::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let at = format!("{path}[{index}]");
            reader.place(&at, item.span().start);
            out.push(T::read(reader, &at, item));
        }
        out
    }
    fn filler() -> Self {
        Self::new()
    }
}

/// Values that have a text form of their own.
macro_rules! read_parsed {
    ($($ty:ty, $form:literal, $example:literal, $filler:expr;)*) => {$(
        impl Read for $ty {
            const FORM: &'static str = $form;
            fn read(reader: &mut Reader, path: &str, value: &Spanned<DeValue<'_>>) -> Self {
                let Some(text) = value.get_ref().as_str() else {
                    reader.expected(path, Self::FORM, value.get_ref());
                    return Self::filler();
                };
                match text.parse() {
                    Ok(parsed) => parsed,
                    Err(_) => {
                        let shown = printable(text);
                        reader.report(path, format!("\"{shown}\" is not {}", $form), format!("write it like {}", $example));
                        Self::filler()
                    }
                }
            }
            fn filler() -> Self { $filler }
        }
    )*};
}
read_parsed! {
    SocketAddr, "an IP address with a port", "\"192.0.2.1:8080\" or \"[2001:db8::1]:8080\"", SocketAddr::from(([0, 0, 0, 0], 0));
    IpAddr, "an IP address", "\"192.0.2.1\" or \"2001:db8::1\"", IpAddr::from([0, 0, 0, 0]);
    crate::pool::ServerAddress, "an IP address with or without a port (names are not resolved)", "\"192.0.2.1:8080\", \"192.0.2.1\" or \"[2001:db8::1]:8080\"", crate::pool::ServerAddress::unset();
    crate::profile::Network, "an address range", "\"192.0.2.0/24\" or \"2001:db8::/32\"", crate::profile::Network::unset();
    crate::health::StatusRange, "a range of status codes", "\"2xx\", \"200\" or \"200-299\"", crate::health::StatusRange::SUCCESS;
}

/// Sections that the decision core declares: read by serde, so the first problem of each is found, at its line.
macro_rules! read_by_serde {
    ($($ty:ty, $form:literal, $filler:expr;)*) => {$(
        impl Read for $ty {
            const FORM: &'static str = $form;
            fn read(reader: &mut Reader, path: &str, value: &Spanned<DeValue<'_>>) -> Self {
                reader.place_within(path, value.get_ref());
                let form = toml::de::ValueDeserializer::from(value.clone());
                match <$ty as serde::Deserialize>::deserialize(form) {
                    Ok(read) => read,
                    Err(error) => {
                        reader.report_serde(path, &error);
                        Self::filler()
                    }
                }
            }
            fn filler() -> Self { $filler }
        }
    )*};
}
read_by_serde! {
    forebay_core::policy::Rule, "a rule (below)", forebay_core::policy::Rule {
        name: String::new(), enabled: false, when: forebay_core::policy::Match::default(), then: Vec::new(),
    };
    forebay_core::policy::StringGroup, "a table with name and values", forebay_core::policy::StringGroup {
        name: String::new(), values: Vec::new(),
    };
    forebay_core::policy::AddressGroup, "a table with name and prefixes", forebay_core::policy::AddressGroup {
        name: String::new(), prefixes: Vec::new(),
    };
}

impl<const N: usize> Read for Secret<N> {
    const FORM: &'static str = "a key in base64";
    //= CFG-SECRET-01
    fn read(reader: &mut Reader, path: &str, value: &Spanned<DeValue<'_>>) -> Self {
        let Some(text) = value.get_ref().as_str() else {
            reader.expected(path, Self::FORM, value.get_ref());
            return Self::filler();
        };
        Self::parse(text).unwrap_or_else(|problem: SecretProblem| {
            reader.report(
                path,
                problem.to_string(),
                format!("make one with: head -c {N} /dev/urandom | base64"),
            );
            Self::filler()
        })
    }
    fn filler() -> Self {
        Self::new([0; N])
    }
}

/// Declares a section of the document: fields with type, default (none: required), range or rule, and doc.
macro_rules! section {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[doc = $doc:literal])+ $field:ident : $ty:ty $(= $default:expr)? $(, in $range:expr)? $(, is $rule:path)? ; )*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $( $(#[doc = $doc])+ pub $field: $ty, )* }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $crate::read::default_or_filler!($ty $(, $default)?), )* }
            }
        }

        impl $crate::read::Section for $name {
            const KEYS: &'static [&'static str] = &[$(stringify!($field)),*];

            fn read_table(
                reader: &mut $crate::read::Reader,
                path: &str,
                table: &toml::de::DeTable<'_>,
                also: &[&str],
            ) -> Self {
                reader.unknown_keys(path, table, Self::KEYS, also);
                $(
                    let (at, $field, given) =
                        reader.field::<$ty>(path, table, stringify!($field), $crate::read::default_or_none!($($default)?));
                    if given && !reader.is_bad(&at) {
                        $( reader.in_range(&at, &$field, &$range); )?
                        $( reader.keeps(&at, $rule(&$field)); )?
                    }
                )*
                Self { $($field),* }
            }

            fn docs() -> Vec<$crate::read::FieldDoc> {
                let required: &[&str] = &[$( $crate::read::name_if_required!($field $(, $default)?) ),*];
                let ranges: &[(&str, Option<core::ops::RangeInclusive<i64>>)] =
                    &[$( (stringify!($field), $crate::read::some_or_none!($($range)?)) ),*];
                let docs: &[(&'static str, &'static str, &str)] =
                    &[$( (stringify!($field), <$ty as $crate::read::Read>::FORM, concat!($($doc),+)) ),*];
                $crate::read::describe(&Self::default(), required, ranges, docs)
            }
        }

        impl $crate::read::Read for $name {
            const FORM: &'static str = "a table";
            fn read(reader: &mut $crate::read::Reader, path: &str, value: &toml::Spanned<toml::de::DeValue<'_>>) -> Self {
                match value.get_ref().as_table() {
                    Some(table) => <Self as $crate::read::Section>::read_table(reader, path, table, &[]),
                    None => {
                        reader.expected(path, Self::FORM, value.get_ref());
                        Self::default()
                    }
                }
            }
            fn filler() -> Self { Self::default() }
        }
    )*};
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

/// Declares a choice between words.
macro_rules! words {
    ($(
        $(#[$meta:meta])*
        pub enum $name:ident { $( $(#[doc = $doc:literal])+ $variant:ident = $word:literal, )+ }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name { $( $(#[doc = $doc])+ #[serde(rename = $word)] $variant, )+ }

        impl $name {
            /// All choices, each with its word in the document.
            pub const ALL: &'static [(Self, &'static str)] = &[$((Self::$variant, $word)),+];

            /// The word in the document.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result { f.write_str(self.word()) }
        }

        impl $crate::read::Read for $name {
            const FORM: &'static str = concat!("one of", $(" ", $word),+);
            fn read(reader: &mut $crate::read::Reader, path: &str, value: &toml::Spanned<toml::de::DeValue<'_>>) -> Self {
                let words: Vec<&str> = Self::ALL.iter().map(|(_, word)| *word).collect();
                match $crate::read::word(reader, path, value, &words) {
                    Some(index) => Self::ALL[index].0,
                    None => <Self as $crate::read::Read>::filler(),
                }
            }
            fn filler() -> Self { Self::ALL[0].0 }
        }
    )*};
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

/// Declares a choice of sections by the key `type`.
macro_rules! by_type {
    (
        $(#[$meta:meta])*
        pub enum $name:ident $variants:tt
        common { $( $(#[doc = $fdoc:literal])+ $field:ident : $fty:ty; )* }
    ) => {
        $crate::read::variants!($(#[$meta])* $name $variants);
        impl $name {
            $( $(#[doc = $fdoc])+ pub fn $field(&self) -> &$fty { $crate::read::accessor!(self $field $variants) } )*
        }
    };
}

macro_rules! accessor {
    ($self:ident $field:ident { $( $(#[doc = $doc:literal])+ $variant:ident($section:ty) = $word:literal, )+ }) => {
        match $self { $(Self::$variant(section) => &section.$field),+ }
    };
}

macro_rules! variants {
    ($(#[$meta:meta])* $name:ident { $( $(#[doc = $doc:literal])+ $variant:ident($section:ty) = $word:literal, )+ }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "type")]
        pub enum $name { $( $(#[doc = $doc])+ #[serde(rename = $word)] $variant($section), )+ }

        impl $name {
            /// The words that `type` takes.
            pub const TYPES: &'static [&'static str] = &[$($word),+];

            /// The word of this one's type.
            pub fn type_word(&self) -> &'static str {
                match self { $(Self::$variant(_) => $word),+ }
            }
            pub(crate) fn docs() -> Vec<(&'static str, Vec<$crate::read::FieldDoc>)> {
                vec![$(($word, <$section as $crate::read::Section>::docs())),+]
            }
        }

        impl $crate::read::Read for $name {
            const FORM: &'static str = "a table";
            fn read(reader: &mut $crate::read::Reader, path: &str, value: &toml::Spanned<toml::de::DeValue<'_>>) -> Self {
                let Some(table) = value.get_ref().as_table() else {
                    reader.expected(path, Self::FORM, value.get_ref());
                    return Self::filler();
                };
                let at = $crate::read::join(path, "type");
                let Some((key, value)) = table.get_key_value("type") else {
                    reader.report(&at, "this key is missing", format!("add type = one of {}", Self::TYPES.join(", ")));
                    return Self::filler();
                };
                reader.place(&at, key.span().start);
                let Some(index) = $crate::read::word(reader, &at, value, Self::TYPES) else {
                    return Self::filler();
                };
                $( if Self::TYPES[index] == $word {
                    return Self::$variant(<$section as $crate::read::Section>::read_table(reader, path, table, &["type"]));
                } )+
                Self::filler()
            }
            #[allow(unreachable_code, reason = "the first of several variants is the filler")]
            fn filler() -> Self { $( return Self::$variant(Default::default()); )+ }
        }
    };
}

/// Serde for types that have a text form.
macro_rules! text_serde {
    ($ty:ty) => {
        impl serde::Serialize for $ty {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $ty {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(|problem| serde::de::Error::custom(format!("{problem:?}")))
            }
        }
    };
}

macro_rules! default_or_filler {
    ($ty:ty) => {
        <$ty as $crate::read::Read>::filler()
    };
    ($ty:ty, $default:expr) => {
        $default
    };
}
macro_rules! default_or_none {
    () => {
        None
    };
    ($default:expr) => {
        Some($default)
    };
}
macro_rules! name_if_required {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident, $default:expr) => {
        ""
    };
}
macro_rules! some_or_none {
    () => {
        None
    };
    ($range:expr) => {
        Some($range)
    };
}
pub(crate) use {
    accessor, by_type, default_or_filler, default_or_none, name_if_required, section, some_or_none,
    text_serde, variants, words,
};
