//! What people type for the value of a field, by the field's own table.

use forebay_model::field::{Field, List, Message, Type};
use forebay_model::reference::Reference;
use serde_json::{Map, Value, json};

use crate::api::{Failure, escaped, usage};

/// The value that a text stands for in a field.
///
/// Texts are taken as they are; a name of an enumeration may be its end only, in any case (`round_robin`); a reference may
/// be the other object's name; a list is comma-separated or JSON; an address is written as such, a server as
/// `address:port`; any other group of fields is JSON.
///
/// # Errors
/// It is no such value.
//= CLI-VALUE-01
pub fn value(field: &'static str, holds: &'static Type, text: &str) -> Result<Value, Failure> {
    let wrong = |what: &str| {
        let shown: String = text.chars().take(64).flat_map(char::escape_default).collect();
        usage(format!("{field}: \"{shown}\" is {what}"))
    };
    match holds {
        Type::Text(_) => Ok(Value::from(text)),
        Type::Flag => match text.to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" => Ok(Value::from(true)),
            "false" | "off" | "no" => Ok(Value::from(false)),
            _ => Err(wrong("neither true nor false")),
        },
        Type::Int(_) => text.parse::<i64>().map(Value::from).map_err(|_| wrong("no whole number")),
        Type::Number => {
            let number = text.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
            number.map(Value::Number).ok_or_else(|| wrong("no number"))
        }
        Type::Enum(names) => enumerated(names, text).map(Value::from).ok_or_else(|| {
            let failure = wrong(&format!("none of {}", names.join(", ")));
            match forebay_snapshot::nearest(&text.to_ascii_uppercase(), names.iter().copied()) {
                Some(near) => failure.next(format!("did you mean {near}?")),
                None => failure,
            }
        }),
        Type::Ref(kind) => Ok(Value::from(reference(kind, text))),
        Type::Message(message) => {
            if text.trim_start().starts_with('{') {
                return serde_json::from_str(text).map_err(|error| wrong(&format!("no JSON: {error}")));
            }
            short(message, text)
                .ok_or_else(|| wrong(&format!("no {}; write it as JSON: {{…}}", message.name)))
        }
        Type::List(list) => {
            if text.trim_start().starts_with('[') {
                return serde_json::from_str(text).map_err(|error| wrong(&format!("no JSON: {error}")));
            }
            entries(field, list, text).map(Value::Array)
        }
    }
}

/// The entries of a list, with commas between.
fn entries(field: &'static str, list: &'static List, text: &str) -> Result<Vec<Value>, Failure> {
    if text.trim_start().starts_with('{') {
        return value(field, list.of, text).map(|entry| vec![entry]);
    }
    text.split(',').filter(|part| !part.is_empty()).map(|part| value(field, list.of, part.trim())).collect()
}

/// A name of an enumeration by all of it or by its end, if just one ends so.
fn enumerated(names: &'static [&'static str], text: &str) -> Option<&'static str> {
    let upper = text.to_ascii_uppercase().replace('-', "_");
    if let Some(name) = names.iter().find(|name| name.eq_ignore_ascii_case(&upper)) {
        return Some(name);
    }
    let end = format!("_{upper}");
    let mut fits = names.iter().filter(|name| name.ends_with(&end));
    match (fits.next(), fits.next()) {
        (Some(name), None) => Some(name),
        _ => None,
    }
}

/// A reference to the object of this name; what has the form of a reference or a uuid stays as it is.
pub fn reference(kind: &'static str, text: &str) -> String {
    let is_whole = text.starts_with("/api/") || text.starts_with("https://") || text.starts_with("http://");
    let is_uuid = forebay_model::kind(kind).is_some_and(|kind| crate::api::is_uuid_of(kind, text));
    if is_whole && Reference::read(text, kind).is_ok() || is_uuid {
        return text.to_owned();
    }
    format!("/api/{kind}?name={}", escaped(text))
}

/// Groups of fields that have a short form.
fn short(message: &'static Message, text: &str) -> Option<Value> {
    match message.name {
        "IpAddr" => Some(address(text)),
        "IpAddrPrefix" => {
            let (addr, mask) = text.split_once('/')?;
            Some(json!({"ip_addr": address(addr), "mask": mask.parse::<u8>().ok()?}))
        }
        "Server" => {
            let (host, port) = match text.rsplit_once(':') {
                Some((host, port)) if !host.contains(':') || host.starts_with('[') => {
                    (host, Some(port.parse::<u16>().ok()?))
                }
                _ => (text, None),
            };
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let mut server = Map::new();
            server.insert("ip".to_owned(), address(host));
            server.extend(port.map(|port| ("port".to_owned(), Value::from(port))));
            Some(Value::Object(server))
        }
        "Service" => Some(json!({"port": text.parse::<u16>().ok()?})),
        _ => None,
    }
}

fn address(text: &str) -> Value {
    let kind = match text.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(_)) => "V4",
        Ok(std::net::IpAddr::V6(_)) => "V6",
        Err(_) => "DNS",
    };
    json!({"addr": text, "type": kind})
}

/// What to write for a field, in few words.
pub fn wanted(holds: &Type) -> String {
    match holds {
        Type::Text(_) => "TEXT".to_owned(),
        Type::Flag => "true|false".to_owned(),
        Type::Int(allowed) => {
            let ranges: Vec<String> = allowed
                .iter()
                .map(|(low, high)| if low == high { low.to_string() } else { format!("{low}..{high}") })
                .collect();
            ranges.join(" or ")
        }
        Type::Number => "NUMBER".to_owned(),
        Type::Enum(names) => names.join("|"),
        Type::Ref(kind) => format!("name of a {kind}"),
        Type::Message(message) => format!("{{{}}}", message.name),
        Type::List(list) => format!("list of {}", wanted(list.of)),
    }
}

/// The field of this name among these.
///
/// # Errors
/// There is none; the nearest is named.
pub fn field_of(
    fields: &mut dyn Iterator<Item = &'static Field>,
    name: &str,
    of: &str,
) -> Result<&'static Field, Failure> {
    let all: Vec<&'static Field> = fields.collect();
    all.iter().find(|field| field.name == name).copied().ok_or_else(|| {
        let shown: String = name.chars().take(64).flat_map(char::escape_default).collect();
        let failure = usage(format!("{of} has no field \"{shown}\""));
        match forebay_snapshot::nearest(name, all.iter().map(|field| field.name)) {
            Some(near) => failure.next(format!("did you mean {near}?")),
            None => failure,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str, field: &'static str, text: &str) -> Result<Value, Failure> {
        let kind = forebay_model::kind(kind).expect("a kind");
        value(field, &kind.field(field).expect(field).holds, text)
    }

    //= test CLI-VALUE-01
    #[test]
    fn values_are_typed_in_short() {
        for (kind, field, text, wanted) in [
            ("pool", "lb_algorithm", "round_robin", json!("LB_ALGORITHM_ROUND_ROBIN")),
            ("pool", "lb_algorithm", "round-robin", json!("LB_ALGORITHM_ROUND_ROBIN")),
            ("pool", "lb_algorithm", "LB_ALGORITHM_RANDOM", json!("LB_ALGORITHM_RANDOM")),
            ("pool", "enabled", "off", json!(false)),
            ("pool", "graceful_disable_timeout", "-1", json!(-1)),
            ("pool", "vrf_ref", "a b&c", json!("/api/vrfcontext?name=a%20b%26c")),
            ("pool", "vrf_ref", "/api/vrfcontext?name=x", json!("/api/vrfcontext?name=x")),
            (
                "pool",
                "health_monitor_refs",
                "a,b",
                json!(["/api/healthmonitor?name=a", "/api/healthmonitor?name=b"]),
            ),
            (
                "pool",
                "servers",
                "10.0.0.1:80,[::1]:81,web",
                json!([
                    {"ip": {"addr": "10.0.0.1", "type": "V4"}, "port": 80},
                    {"ip": {"addr": "::1", "type": "V6"}, "port": 81},
                    {"ip": {"addr": "web", "type": "DNS"}}
                ]),
            ),
            ("pool", "servers", r#"{"ip": 1}"#, json!([{"ip": 1}])),
            ("virtualservice", "services", "80,443", json!([{"port": 80}, {"port": 443}])),
            ("pool", "description", "true", json!("true")),
        ] {
            assert_eq!(of(kind, field, text).expect(text), wanted, "{field}={text}");
        }
        for (kind, field, text) in [
            ("pool", "enabled", "maybe"),
            ("pool", "default_server_port", "http"),
            ("pool", "lb_algorithm", "robin_round"),
            ("pool", "servers", "10.0.0.1:99999"),
            ("pool", "fail_action", "x"),
            ("pool", "fail_action", "{"),
        ] {
            let failure = of(kind, field, text).expect_err(text);
            assert!(failure.what.contains(field) && failure.what.contains(text), "{failure}");
        }
        // Two names end so: neither is taken for the other.
        assert_eq!(enumerated(&["TCP_PROXY", "UDP_PROXY"], "proxy"), None);
        assert_eq!(enumerated(&["TCP_PROXY", "UDP_PROXY"], "udp-proxy"), Some("UDP_PROXY"));
    }
}
