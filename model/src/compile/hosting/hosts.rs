//! Hosts in conditions of rules: a rule that is held to some, or held off them.

use std::collections::BTreeSet;

use forebay_snapshot::core_limits::MATCH_VALUES_MAX;
use toml::{Table, Value};

use super::super::cx::{Cx, Making};
use super::super::place::Held;
use super::super::table::Part;

/// Says whether a host is one of those that a name stands for.
pub(super) fn covers(name: &str, host: &str) -> bool {
    match name.strip_prefix('*') {
        Some(end) => host.len() > end.len() && host.ends_with(end),
        None => name == host,
    }
}

/// Where conditions on hosts are made, and for whom. A list that is longer than a condition may be becomes a group.
pub(super) struct Conditions<'c, 'a> {
    pub cx: &'c mut Cx<'a>,
    pub making: &'c mut Making,
    pub held: &'c Held,
    /// What groups are called.
    pub name: String,
}

impl Conditions<'_, '_> {
    /// The condition on these hosts.
    pub fn on<'h>(&mut self, hosts: impl Iterator<Item = &'h str>, is_not: bool) -> Value {
        let (globs, plain): (BTreeSet<&str>, BTreeSet<&str>) = hosts.partition(|host| host.starts_with('*'));
        let mut part = Part::default();
        if globs.len() + plain.len() > MATCH_VALUES_MAX && plain.len() > 1 {
            part.set_list("in_group", [self.group(&plain)]);
        } else {
            part.set_list("equals", plain);
        }
        part.set_list("glob", globs);
        part.set_if("not", is_not);
        part.into()
    }

    /// A group of these hosts.
    fn group(&mut self, hosts: &BTreeSet<&str>) -> String {
        let (mut number, mut name) = (0, self.name.clone());
        loop {
            let mut part = Part::named(&name);
            part.set_list("values", hosts.iter().copied());
            let key = format!("string_group/{name}");
            let is_free =
                self.cx.made.get(&key).is_none_or(|made| made.text == part.clone().one_of("string_group"));
            if is_free {
                self.cx.done(Making::new(key, self.held), part);
                self.making.needs("string_group", &name);
                return name;
            }
            number += 1;
            name = format!("{}/{number}", self.name);
        }
    }
}

/// Holds a rule to some hosts; `Some(false)`: it holds for none of them. `None`: nobody can tell.
pub(super) fn held_to(rule: &mut Table, hosts: &[&str], conditions: &mut Conditions<'_, '_>) -> Option<bool> {
    let when = rule.entry("when").or_insert_with(|| Table::new().into()).as_table_mut()?;
    let Some(by) = when.get("host").and_then(Value::as_table) else {
        when.insert("host".to_owned(), conditions.on(hosts.iter().copied(), false));
        return Some(true);
    };
    let left: Vec<String> = match equals(by) {
        Some(named) => named.into_iter().filter(|host| hosts.iter().any(|own| covers(own, host))).collect(),
        None => {
            let mut left = Vec::new();
            for host in hosts {
                if host.starts_with('*') {
                    return None;
                }
                if holds(by, host)? {
                    left.push((*host).to_owned());
                }
            }
            left
        }
    };
    let condition = conditions.on(left.iter().map(String::as_str), false);
    when.insert("host".to_owned(), condition);
    Some(!left.is_empty())
}

/// Says whether it can be told which of a rule's requests are for one of these hosts.
pub(super) fn can_be_held_off<'h>(rule: &Value, mut hosts: impl Iterator<Item = &'h str>) -> bool {
    let host = rule.get("when").and_then(|when| when.get("host")).and_then(Value::as_table);
    let Some(by) = host.filter(|by| equals(by).is_none()) else { return true };
    hosts.all(|host| !host.starts_with('*') && holds(by, host) == Some(false))
}

/// Holds a rule to all hosts but some, which [`can_be_held_off`]; false: it holds for no other.
pub(super) fn held_off(rule: &mut Table, hosts: &[&str], conditions: &mut Conditions<'_, '_>) -> bool {
    if hosts.is_empty() {
        return true;
    }
    let when = rule.entry("when").or_insert_with(|| Table::new().into()).as_table_mut();
    let Some(when) = when else { return true };
    let Some(by) = when.get("host").and_then(Value::as_table) else {
        when.insert("host".to_owned(), conditions.on(hosts.iter().copied(), true));
        return true;
    };
    let Some(named) = equals(by) else { return true };
    let left: Vec<String> =
        named.into_iter().filter(|host| !hosts.iter().any(|own| covers(own, host))).collect();
    let condition = conditions.on(left.iter().map(String::as_str), false);
    when.insert("host".to_owned(), condition);
    !left.is_empty()
}

/// The hosts of a condition that names them.
fn equals(by: &Table) -> Option<Vec<String>> {
    let list = by.get("equals").and_then(Value::as_array).filter(|_| by.len() == 1)?;
    Some(list.iter().filter_map(Value::as_str).map(str::to_ascii_lowercase).collect())
}

/// Whether a condition holds for a host; `None`: nobody can tell.
fn holds(by: &Table, host: &str) -> Option<bool> {
    let mut any = false;
    for (word, list) in by.iter().filter(|(word, _)| *word != "not") {
        for text in list.as_array()?.iter().filter_map(Value::as_str).map(str::to_ascii_lowercase) {
            any |= match word.as_str() {
                "equals" => host == text,
                "begins_with" => host.starts_with(&text),
                "ends_with" => host.ends_with(&text),
                "contains" => host.contains(&text),
                "glob" if text == "?*" => !host.is_empty(),
                _ => return None,
            };
        }
    }
    let is_not = by.get("not").and_then(Value::as_bool).unwrap_or(false);
    Some(any != is_not)
}
