//! What rules over several fields have in common.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use crate::Problem;
use crate::kind::Object;

/// One problem, at this place.
pub fn problem(path: impl Into<String>, reason: impl Into<String>, fix: impl Into<String>) -> Problem {
    Problem { line: None, path: path.into(), reason: reason.into(), fix: fix.into() }
}

/// The text in this field; empty where there is none.
pub fn text<'o>(object: &'o Object, name: &str) -> &'o str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The number in this field, if there is one.
pub fn number(object: &Object, name: &str) -> Option<i64> {
    object.get(name).and_then(Value::as_i64)
}

/// Says whether this flag is on.
pub fn is_on(object: &Object, name: &str) -> bool {
    object.get(name).and_then(Value::as_bool).unwrap_or(false)
}

/// The messages in this list, each with its place in it.
pub fn entries<'o>(object: &'o Object, name: &str) -> impl Iterator<Item = (usize, &'o Object)> {
    let list = object.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    list.iter().enumerate().filter_map(|(at, entry)| Some((at, entry.as_object()?)))
}

/// The message in this field, if it is there.
pub fn part<'o>(object: &'o Object, name: &str) -> Option<&'o Object> {
    object.get(name).and_then(Value::as_object)
}

/// Finds two entries of `list` that say the same in the field `name`.
pub fn once(object: &Object, path: &str, list: &str, name: &str, problems: &mut Vec<Problem>) {
    let mut seen = std::collections::BTreeMap::new();
    for (at, entry) in entries(object, list) {
        let Some(value) = entry.get(name) else { continue };
        if let Some(first) = seen.insert(value.to_string(), at) {
            problems.push(problem(
                format!("{path}{list}[{at}].{name}"),
                format!("{list}[{first}] has the same"),
                "give each its own",
            ));
        }
    }
}

/// Finds a message that belongs to another type than the one that the field `kind_field` names: for each message, the types
/// that have it.
pub fn belongs(
    object: &Object,
    path: &str,
    type_field: &str,
    parts: &[(&str, &[&str])],
    problems: &mut Vec<Problem>,
) {
    let chosen = text(object, type_field);
    for (name, types) in parts {
        if object.contains_key(*name) && !types.contains(&chosen) {
            problems.push(problem(
                format!("{path}{name}"),
                format!("it says nothing for {chosen}"),
                format!("leave it out, or set {type_field} to {}", types.join(" or ")),
            ));
        }
    }
}

/// Finds a lower bound that is above the upper one.
pub fn in_order(object: &Object, low: &str, high: &str, problems: &mut Vec<Problem>) {
    if let (Some(least), Some(most)) = (number(object, low), number(object, high))
        && least > most
    {
        problems.push(problem(
            low,
            format!("{least} is above {high}, which is {most}"),
            format!("put at most {most} there, or raise {high}"),
        ));
    }
}

/// Finds addresses that are none, prefixes longer than their addresses and ranges that end before they begin, wherever
/// they stand.
pub fn addresses(object: &Object, problems: &mut Vec<Problem>) {
    let mut path = String::new();
    for (name, value) in object {
        walk(&mut path, name, value, problems);
    }
}

fn walk(path: &mut String, step: &str, value: &Value, problems: &mut Vec<Problem>) {
    let here = path.len();
    if here > 0 && !step.starts_with('[') {
        path.push('.');
    }
    path.push_str(step);
    match value {
        Value::Object(fields) => {
            before(path, fields, problems);
            for (name, value) in fields {
                walk(path, name, value, problems);
            }
        }
        Value::Array(values) => {
            for (at, value) in values.iter().enumerate() {
                walk(path, &format!("[{at}]"), value, problems);
            }
        }
        _ => {}
    }
    path.truncate(here);
}

fn before(path: &str, fields: &Object, problems: &mut Vec<Problem>) {
    if let (Some(addr), Some(kind)) =
        (fields.get("addr").and_then(Value::as_str), fields.get("type").and_then(Value::as_str))
    {
        let (is_good, what) = match kind {
            "V4" => (addr.parse::<Ipv4Addr>().is_ok(), "an IPv4 address, as in 10.1.2.3"),
            "V6" => (addr.parse::<Ipv6Addr>().is_ok(), "an IPv6 address, as in 2001:db8::1"),
            _ => (!addr.is_empty(), "a name that DNS knows"),
        };
        if !is_good {
            let shown: String = addr.chars().take(64).flat_map(char::escape_default).collect();
            problems.push(problem(
                format!("{path}.addr"),
                format!("\"{shown}\" is no address of type {kind}"),
                format!("put {what} there, or set the type to V4, V6 or DNS"),
            ));
        }
    }
    let address = |name: &str| fields.get(name)?.get("addr")?.as_str()?.parse::<IpAddr>().ok();
    if let (Some(IpAddr::V4(_)), Some(33..)) = (address("ip_addr"), number(fields, "mask")) {
        problems.push(problem(
            format!("{path}.mask"),
            "an IPv4 address has 32 bits",
            "put a whole number there: 0 to 32",
        ));
    }
    if let (Some(begin), Some(end)) = (address("begin"), address("end"))
        && (begin.is_ipv4() != end.is_ipv4() || begin > end)
    {
        problems.push(problem(
            format!("{path}.end"),
            "the range ends before it begins",
            "name an address of the same family at or behind the first",
        ));
    }
}
