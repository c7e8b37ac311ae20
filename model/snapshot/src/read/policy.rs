//! What the decision core declares: rules and the groups that they name.
//!
//! serde reads them, each condition and each action by itself, so that one that is wrong hides no other.

use forebay_core::policy::{
    Action, AddressGroup, ClientMatch, FieldMatch, Match, Rule, StringGroup, TextMatch,
};
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Read, Reader, join};

/// Forms, for messages; `docs/spec/policy.md` has them in full.
const RULE: &str = "a table with name, when and then";
const WHEN: &str = "a table of conditions, as in { path = { begins_with = [\"/a/\"] } }";
const TEXT: &str = "a table such as { equals = [\"a\"] }";
const FIELD: &str = "a table such as { name = \"x-a\", value = { equals = [\"1\"] } }";
const FIELDS: &str = "a list such as [{ name = \"x-a\", value = { equals = [\"1\"] } }]";
const METHODS: &str = "a list such as [\"GET\", \"HEAD\"]";
const CLIENT: &str = "a table such as { within = [\"192.0.2.0/24\"] }";
const THEN: &str = "a list of actions, as in [{ pool = \"web\" }]";
const ACTION: &str = "an action such as { pool = \"web\" } or \"close\"";

type Value<'d> = Spanned<DeValue<'d>>;

/// Reads a value as the core declares it.
fn part<T: DeserializeOwned>(reader: &mut Reader, path: &str, form: &str, value: &Value<'_>) -> Option<T> {
    reader.place_within(path, value.get_ref());
    match T::deserialize(toml::de::ValueDeserializer::from(value.clone())) {
        Ok(read) => Some(read),
        Err(error) => {
            reader.report_serde(path, form, &error);
            None
        }
    }
}

/// As [`part`], of a value that has to be a table: serde would take a list for one, key by key.
fn table_part<T: DeserializeOwned>(
    reader: &mut Reader,
    path: &str,
    form: &str,
    value: &Value<'_>,
) -> Option<T> {
    table(reader, path, form, value)?;
    part(reader, path, form, value)
}

fn table<'v, 'd>(
    reader: &mut Reader,
    path: &str,
    form: &str,
    value: &'v Value<'d>,
) -> Option<&'v DeTable<'d>> {
    let table = value.get_ref().as_table();
    if table.is_none() {
        reader.expected(path, form, value.get_ref());
    }
    table
}

/// The items of a list, each with its path.
fn items<T>(
    reader: &mut Reader,
    path: &str,
    form: &str,
    value: &Value<'_>,
    read: impl Fn(&mut Reader, &str, &Value<'_>) -> T,
) -> Vec<T> {
    let Some(list) = value.get_ref().as_array() else {
        reader.expected(path, form, value.get_ref());
        return Vec::new();
    };
    let mut out = Vec::with_capacity(list.len());
    for (index, item) in list.iter().enumerate() {
        let at = format!("{path}[{index}]");
        reader.place(&at, item.span().start);
        out.push(read(reader, &at, item));
    }
    out
}

fn unread() -> Rule {
    Rule { name: String::new(), enabled: false, when: Match::default(), then: Vec::new() }
}

impl Read for Rule {
    const FORM: &'static str = "a rule (below)";
    //= CFG-RULE-02
    fn read(reader: &mut Reader, path: &str, value: &Value<'_>) -> Self {
        let Some(keys) = table(reader, path, RULE, value) else { return unread() };
        reader.unknown_keys(path, keys, &["name", "enabled", "when", "then"], &[]);
        let (_, name, _) = reader.field::<String>(path, keys, "name", None, None);
        let (_, enabled, _) = reader.field::<bool>(path, keys, "enabled", Some(true), None);
        let mut rule = Self { name, enabled, ..unread() };
        if let Some((key, value)) = keys.get_key_value("when") {
            let at = join(path, "when");
            reader.place(&at, key.span().start);
            rule.when = conditions(reader, &at, value);
        }
        let at = join(path, "then");
        match keys.get_key_value("then") {
            Some((key, value)) => {
                reader.place(&at, key.span().start);
                rule.then = items(reader, &at, THEN, value, |reader, at, value| {
                    // What stands for one that cannot be read keeps the others in their places.
                    part(reader, at, ACTION, value).unwrap_or(Action::Close)
                });
            }
            None => reader.report(&at, "this key is missing", format!("add then = ({THEN})")),
        }
        rule
    }
    fn filler() -> Self {
        unread()
    }
}

fn conditions(reader: &mut Reader, path: &str, value: &Value<'_>) -> Match {
    let mut when = Match::default();
    let Some(keys) = table(reader, path, WHEN, value) else { return when };
    let known = ["host", "path", "method", "query", "header", "cookie", "client"];
    reader.unknown_keys(path, keys, &known, &[]);
    for (key, value) in keys.iter() {
        let name: &str = key.get_ref();
        let at = join(path, name);
        if known.contains(&name) {
            reader.place(&at, key.span().start);
        }
        let field = |reader: &mut Reader, at: &str, value: &Value<'_>| table_part(reader, at, FIELD, value);
        match name {
            "host" => when.host = table_part::<TextMatch>(reader, &at, TEXT, value),
            "path" => when.path = table_part::<TextMatch>(reader, &at, TEXT, value),
            "query" => when.query = table_part::<TextMatch>(reader, &at, TEXT, value),
            "method" => when.method = part(reader, &at, METHODS, value),
            "client" => when.client = table_part::<ClientMatch>(reader, &at, CLIENT, value),
            "header" => {
                let list: Vec<Option<FieldMatch>> = items(reader, &at, FIELDS, value, field);
                when.header = list.into_iter().map(|read| read.unwrap_or_else(unread_field)).collect();
            }
            "cookie" => {
                let list: Vec<Option<FieldMatch>> = items(reader, &at, FIELDS, value, field);
                when.cookie = list.into_iter().map(|read| read.unwrap_or_else(unread_field)).collect();
            }
            _ => {}
        }
    }
    when
}

fn unread_field() -> FieldMatch {
    FieldMatch { name: "unread".to_owned(), value: None, absent: false }
}

impl Read for StringGroup {
    const FORM: &'static str = "a table with name and values";
    fn read(reader: &mut Reader, path: &str, value: &Value<'_>) -> Self {
        table_part(reader, path, Self::FORM, value).unwrap_or_else(Self::filler)
    }
    fn filler() -> Self {
        Self { name: String::new(), values: Vec::new() }
    }
}

impl Read for AddressGroup {
    const FORM: &'static str = "a table with name and prefixes";
    fn read(reader: &mut Reader, path: &str, value: &Value<'_>) -> Self {
        table_part(reader, path, Self::FORM, value).unwrap_or_else(Self::filler)
    }
    fn filler() -> Self {
        Self { name: String::new(), prefixes: Vec::new() }
    }
}
