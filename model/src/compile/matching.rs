//! What requests are matched by, as conditions of the engine's rules.

use toml::Value;

use super::cx::{Cx, Making};
use super::networks::Networks;
use super::place::Held;
use super::service::Listener;
use super::table::Part;
use super::view::View;

/// Fields of a match that no engine can judge. A rule that has one would apply to more requests than it says.
const UNJUDGED: &[&str] =
    &["version", "bot_detection_result", "geo_matches", "ip_reputation_type", "tls_fingerprint_match"];
/// The same of matches on answers: rules are asked before there is one.
const OF_ANSWERS: &[&str] = &["version", "rsp_hdrs", "loc_hdr", "status"];

/// The conditions of a rule; `None`: it never holds for these ports.
pub(super) fn when(
    cx: &Cx<'_>,
    making: &mut Making,
    (held, path): (&Held, &str),
    by: View<'_>,
    listener: &Listener,
    is_of_answers: bool,
) -> Option<Part> {
    let unjudged = if is_of_answers { OF_ANSWERS } else { UNJUDGED };
    for name in unjudged.iter().filter(|name| by.has(name)) {
        let reason = "no engine can judge it, and without it the rule would hold for more than it says";
        making.wrong(held, &format!("{path}.{name}"), reason, "leave it out, or switch the rule off");
    }
    if let Some(ports) = by.some_part("vs_port")
        && !of_ports(making, held, &format!("{path}.vs_port"), ports, listener)
    {
        return None;
    }
    if let Some(protocol) = by.some_part("protocol") {
        let is_named = (protocol.text("protocols") == "HTTPS") == listener.is_secured;
        if is_named == (protocol.text("match_criteria") == "IS_NOT_IN") {
            return None;
        }
    }
    let mut when = Part::default();
    if let Some(client) = client(cx, making, (held, path), by)? {
        when.set("client", client);
    }
    if let Some(host) = by.some_part("host_hdr") {
        when.set_some("host", host_text(making, held, &format!("{path}.host_hdr"), host));
    }
    for name in ["path", "query"] {
        if let Some(text) = by.some_part(name) {
            when.set_some(name, compared(cx, making, held, &format!("{path}.{name}"), text));
        }
    }
    if let Some(method) = by.some_part("method") {
        if method.text("match_criteria") == "IS_NOT_IN" {
            let reason = "no engine can match all methods but some";
            making.wrong(held, &format!("{path}.method"), reason, "name the methods that match");
        }
        when.set_list("method", method.texts("methods").map(|name| name.trim_start_matches("HTTP_METHOD_")));
    }
    let mut fields = Vec::new();
    for (at, header) in by.entries("hdrs") {
        let at = format!("{path}.hdrs[{at}]");
        let name = header.text("hdr").to_ascii_lowercase();
        let groups = values(cx, making, held, &at, header, "value");
        fields.push(Value::from(field(&name, header, groups)));
    }
    when.set_list("header", fields);
    if let Some(cookie) = by.some_part("cookie") {
        let value = cookie.some_text("value").map(str::to_owned).into_iter().collect();
        when.set_list("cookie", [Value::from(field(cookie.text("name"), cookie, value))]);
    }
    Some(when)
}

/// Says whether the ports are those that a match names: all of them, as a rule holds for all or for none.
pub(super) fn of_ports(
    making: &mut Making,
    held: &Held,
    path: &str,
    by: View<'_>,
    listener: &Listener,
) -> bool {
    let named: Vec<i64> = by.ints("ports").collect();
    let is_named = |port: &&u16| named.contains(&i64::from(**port));
    let count = listener.ports.iter().filter(is_named).count();
    if count != 0 && count != listener.ports.len() {
        let reason = "it names some of the ports that are served alike, and not all of them";
        let fix = "name all of them, or give the others a profile or a pool of their own";
        making.wrong(held, path, reason, fix);
    }
    (count != 0) != (by.text("match_criteria") == "IS_NOT_IN")
}

/// The condition on the client; the outer `None`: there is no such client.
#[expect(clippy::option_option, reason = "no condition and no client are two things")]
fn client(
    cx: &Cx<'_>,
    making: &mut Making,
    (held, path): (&Held, &str),
    by: View<'_>,
) -> Option<Option<Part>> {
    let mut found: Option<Networks> = None;
    let named: Vec<&str> = ["client_ip", "source_ip"].into_iter().filter(|name| by.has(name)).collect();
    // One that names who does not match is said as it stands: all others are many networks.
    let turned = named.len() == 1 && by.part(named[0]).text("match_criteria") == "IS_NOT_IN";
    for name in &named {
        let by = by.part(name);
        let names = Networks::matched(cx, making, held, &format!("{path}.{name}"), by);
        found = Some(match found {
            // Those of both.
            Some(first) => first.without(&Networks::all().without(&names)),
            None => names,
        });
    }
    match found {
        Some(none) if none.is_empty() => None,
        Some(some) if !some.are_all() => {
            let some = if turned { Networks::all().without(&some) } else { some };
            let mut part = Part::default();
            part.set_list("within", some.prefixes());
            part.set_if("not", turned);
            Some(Some(part))
        }
        _ => Some(None),
    }
}

/// What is compared, and how: the word of the engine's conditions, and whether it is turned around.
fn criterion(criteria: &str) -> Option<(&'static str, bool)> {
    let plain = criteria.trim_start_matches("HDR_").trim_start_matches("QUERY_MATCH_");
    Some(match plain {
        "BEGINS_WITH" => ("begins_with", false),
        "DOES_NOT_BEGIN_WITH" => ("begins_with", true),
        "CONTAINS" => ("contains", false),
        "DOES_NOT_CONTAIN" => ("contains", true),
        "ENDS_WITH" => ("ends_with", false),
        "DOES_NOT_END_WITH" => ("ends_with", true),
        "EQUALS" => ("equals", false),
        "DOES_NOT_EQUAL" => ("equals", true),
        _ => return None,
    })
}

fn text(by: View<'_>, word: &str, is_not: bool, values: Vec<String>) -> Part {
    let mut part = Part::default();
    part.set_list(word, values);
    part.set_if("not", is_not);
    part.set_if("ignore_case", by.text("match_case") == "INSENSITIVE");
    part
}

/// The texts that a match names, and those of its groups.
fn values(cx: &Cx<'_>, making: &mut Making, held: &Held, path: &str, by: View<'_>, own: &str) -> Vec<String> {
    let mut values: Vec<String> = by.texts(own).map(str::to_owned).collect();
    for (at, uuid) in by.references("string_group_refs").into_iter().enumerate() {
        let field = format!("{path}.string_group_refs[{at}]");
        let Some(group) = cx.follow(making, held, &field, "stringgroup", &uuid) else { continue };
        values.extend(group.view().entries("kv").map(|(_, entry)| entry.text("key").to_owned()));
    }
    values
}

/// A condition on the path or the query.
pub(super) fn compared(
    cx: &Cx<'_>,
    making: &mut Making,
    held: &Held,
    path: &str,
    by: View<'_>,
) -> Option<Part> {
    let criteria = by.text("match_criteria");
    match criteria {
        "QUERY_MATCH_EXISTS" => return Some(text(by, "glob", false, vec!["?*".to_owned()])),
        "QUERY_MATCH_DOES_NOT_EXIST" => return Some(text(by, "glob", true, vec!["?*".to_owned()])),
        _ => {}
    }
    let Some((word, is_not)) = criterion(criteria) else {
        let fix = "compare by the beginning, the end or a part of the text";
        making.wrong(held, &format!("{path}.match_criteria"), "no engine has regular expressions", fix);
        return None;
    };
    let values = values(cx, making, held, path, by, "match_str");
    Some(text(by, word, is_not, values))
}

/// A condition on the host.
fn host_text(making: &mut Making, held: &Held, path: &str, by: View<'_>) -> Option<Part> {
    let values: Vec<String> = by.texts("value").map(str::to_owned).collect();
    match (by.text("match_criteria"), criterion(by.text("match_criteria"))) {
        ("HDR_EXISTS", _) => Some(text(by, "glob", false, vec!["?*".to_owned()])),
        ("HDR_DOES_NOT_EXIST", _) => Some(text(by, "glob", true, vec!["?*".to_owned()])),
        (_, Some((word, is_not))) => {
            // A host has no case anyway.
            let mut part = Part::default();
            part.set_list(word, values);
            part.set_if("not", is_not);
            Some(part)
        }
        _ => {
            making.wrong(held, path, "no engine can compare so", "compare by a part of the text");
            None
        }
    }
}

/// A condition on a header or a cookie.
fn field(name: &str, by: View<'_>, values: Vec<String>) -> Part {
    let part = Part::default().with("name", name);
    match (by.text("match_criteria"), criterion(by.text("match_criteria"))) {
        ("HDR_DOES_NOT_EXIST", _) => part.with("absent", true),
        (_, Some((word, is_not))) => part.with("value", text(by, word, is_not, values)),
        _ => part,
    }
}
