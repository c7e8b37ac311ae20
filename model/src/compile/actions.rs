//! What rules do, as actions of the engine.

use toml::Value;

use super::cx::{Cx, Making};
use super::place::Held;
use super::policy::Scope;
use super::pool::{self, PoolKey};
use super::rates;
use super::table::Part;
use super::view::View;

/// Whose rule, and where it stands in it.
type Place<'p> = (&'p Held, &'p str);

const NOT_YET: &str = "no engine can do it, and the rule is not what it says without";
const OFF: &str = "leave it out, or switch the rule off";

/// The status that a name ends with.
pub(super) fn status(name: &str) -> Option<i64> {
    name.rsplit('_').next()?.parse().ok()
}

/// What a rule of a security policy does; nothing: it lets pass, and there is nothing behind it. `is_last`: no rule follows.
pub(super) fn security(
    making: &mut Making,
    (held, path): Place<'_>,
    rule: View<'_>,
    is_last: bool,
) -> Vec<Value> {
    let by = rule.part("action");
    let at = format!("{path}.action");
    match by.text("action") {
        "HTTP_SECURITY_ACTION_CLOSE_CONN" => vec![Value::from("close")],
        "HTTP_SECURITY_ACTION_SEND_RESPONSE" => vec![answer(by, None)],
        "HTTP_SECURITY_ACTION_REDIRECT_TO_HTTPS" => {
            if by.int("https_port") != Some(443) {
                let reason = "a redirect to another port than 443 has to name the host";
                making.wrong(held, &format!("{at}.https_port"), reason, "put 443 there");
            }
            vec![
                Part::default()
                    .with("redirect", Part::default().with("status", 302).with("scheme", "https"))
                    .into(),
            ]
        }
        "HTTP_SECURITY_ACTION_RATE_LIMIT" => {
            let profile = by.part("rate_profile");
            if profile.is_on("per_uri_path") {
                making.wrong(held, &format!("{at}.rate_profile.per_uri_path"), NOT_YET, OFF);
            }
            let at = format!("{at}.rate_profile");
            rates::profile(making, held, &at, profile, profile.is_on("per_client_ip")).into_iter().collect()
        }
        "HTTP_SECURITY_ACTION_ALLOW" => {
            if !is_last {
                let reason = "rules behind it would be asked all the same";
                let fix = "leave out in the rules behind it those that this one lets pass";
                making.wrong(held, &format!("{at}.action"), reason, fix);
            }
            Vec::new()
        }
        _ => {
            if by.has("action") {
                making.wrong(held, &format!("{at}.action"), NOT_YET, OFF);
            }
            Vec::new()
        }
    }
}

/// An answer from here.
fn answer(by: View<'_>, other: Option<i64>) -> Value {
    let file = by.part("file");
    let mut part = Part::default();
    part.set("status", other.or_else(|| status(by.text("status_code"))).unwrap_or(403));
    part.set_some("content_type", file.some_text("content_type"));
    part.set_some("body", file.some_text("file_content"));
    Part::default().with("respond", part).into()
}

/// What a rule of a request policy does.
pub(super) fn request(
    cx: &mut Cx<'_>,
    making: &mut Making,
    (held, path): Place<'_>,
    rule: View<'_>,
    scope: &Scope<'_>,
) -> Vec<Value> {
    let mut then = headers(making, (held, path), rule, "request");
    if let Some(by) = rule.some_part("rewrite_url_action") {
        then.extend(rewrite(making, (held, &format!("{path}.rewrite_url_action")), by));
    }
    if let Some(by) = rule.some_part("switching_action") {
        then.extend(switch(cx, making, (held, &format!("{path}.switching_action")), by, scope));
    }
    if let Some(by) = rule.some_part("redirect_action") {
        then.push(redirect(making, (held, &format!("{path}.redirect_action")), by));
    }
    then
}

/// What a rule of a response policy does: it is decided with the request.
pub(super) fn response(making: &mut Making, (held, path): Place<'_>, rule: View<'_>) -> Vec<Value> {
    if rule.has("loc_hdr_action") {
        making.wrong(held, &format!("{path}.loc_hdr_action"), NOT_YET, OFF);
    }
    headers(making, (held, path), rule, "response")
}

fn headers(making: &mut Making, (held, path): Place<'_>, rule: View<'_>, on: &str) -> Vec<Value> {
    let mut then = Vec::new();
    for (at, by) in rule.entries("hdr_action") {
        let at = format!("{path}.hdr_action[{at}]");
        let header = by.part("hdr");
        let name = header.text("name");
        if by.has("cookie") || name.is_empty() {
            making.wrong(held, &format!("{at}.cookie"), "no engine edits single cookies", OFF);
            continue;
        }
        let value = header.part("value");
        let edit: (&str, Vec<&str>) = match by.text("action") {
            "HTTP_REMOVE_HDR" => ("remove", vec![on, name]),
            action => {
                if value.has("var") {
                    making.wrong(held, &format!("{at}.hdr.value.var"), "no engine writes variables", OFF);
                }
                let word = if action == "HTTP_ADD_HDR" { "add" } else { "set" };
                (word, vec![on, name, value.text("val")])
            }
        };
        let mut part = Part::default();
        part.set_list(edit.0, edit.1);
        then.push(Part::default().with("header", part).into());
    }
    then
}

/// A text made of parts of an address: the text, if there is no part of the request in it; the outer `None` is a problem,
/// the inner one the request's own.
#[expect(clippy::option_option, reason = "what cannot be said and what stays are two things")]
fn made_of(by: View<'_>, own: &str, between: &str) -> Option<Option<String>> {
    let tokens: Vec<View<'_>> = by.entries("tokens").map(|(_, token)| token).collect();
    if let [token] = tokens[..]
        && token.text("type") == own
        && token.int("start_index").unwrap_or(0) == 0
        && token.int("end_index").is_none_or(|end| end == 65_535)
    {
        return Some(None);
    }
    let texts: Option<Vec<&str>> = tokens.iter().map(|token| plain(*token)).collect();
    texts.filter(|texts| !texts.is_empty()).map(|texts| Some(texts.join(between)))
}

/// The text of a part that is one.
fn plain(token: View<'_>) -> Option<&str> {
    (token.text("type") == "URI_TOKEN_TYPE_STRING").then(|| token.text("str_value").trim_matches('/'))
}

fn redirect(making: &mut Making, (held, path): Place<'_>, by: View<'_>) -> Value {
    let scheme = by.text("protocol").to_ascii_lowercase();
    let usual = if scheme == "https" { 443 } else { 80 };
    let port = by.int("port").filter(|port| *port != usual);
    let mut part = Part::default();
    part.set_some("status", status(by.text("status_code")));
    part.set("scheme", scheme);
    let host = by.some_part("host").map(|host| made_of(host, "URI_TOKEN_TYPE_HOST", "."));
    match (host, port) {
        (Some(Some(Some(host))), None) => part.set("host", host),
        (Some(Some(Some(host))), Some(port)) => part.set("host", format!("{host}:{port}")),
        (None | Some(Some(None)), None) => {}
        (Some(None), _) => making.wrong(held, &format!("{path}.host"), NOT_YET, "write the host as one text"),
        (_, Some(_)) => {
            let reason = "a redirect to another port than the usual one has to name the host";
            making.wrong(held, &format!("{path}.port"), reason, "name the host in host");
        }
    }
    match by.some_part("path").map(|path| made_of(path, "URI_TOKEN_TYPE_PATH", "/")) {
        Some(Some(Some(to))) => part.set("path", format!("/{to}")),
        Some(None) => making.wrong(held, &format!("{path}.path"), NOT_YET, "write the path as one text"),
        _ => {}
    }
    if by.some_text("add_string").is_some() {
        making.wrong(held, &format!("{path}.add_string"), NOT_YET, OFF);
    }
    part.set("keep_query", by.is_on("keep_query"));
    Part::default().with("redirect", part).into()
}

fn rewrite(making: &mut Making, (held, path): Place<'_>, by: View<'_>) -> Vec<Value> {
    let mut then = Vec::new();
    if by.has("host_hdr") {
        making.wrong(held, &format!("{path}.host_hdr"), NOT_YET, OFF);
    }
    match by.some_part("path").map(|to| made_of(to, "URI_TOKEN_TYPE_PATH", "/")) {
        Some(Some(Some(to))) => then.push(Part::default().with("set_path", format!("/{to}")).into()),
        Some(None) => making.wrong(held, &format!("{path}.path"), NOT_YET, "write the path as one text"),
        _ => {}
    }
    if let Some(query) = by.some_part("query") {
        match (query.is_on("keep_query"), query.text("add_string")) {
            (true, "") => {}
            (false, text) => then.push(Part::default().with("set_query", text).into()),
            (true, _) => making.wrong(held, &format!("{path}.query.add_string"), NOT_YET, OFF),
        }
    }
    then
}

fn switch(
    cx: &mut Cx<'_>,
    making: &mut Making,
    (held, path): Place<'_>,
    by: View<'_>,
    scope: &Scope<'_>,
) -> Option<Value> {
    if by.has("server") {
        making.wrong(held, &format!("{path}.server"), NOT_YET, "give the server a pool of its own");
    }
    match by.text("action") {
        "HTTP_SWITCHING_SELECT_POOL" => {
            let uuid = by.refers("pool_ref")?;
            cx.follow(making, held, &format!("{path}.pool_ref"), "pool", &uuid)?;
            let key = PoolKey::of(cx, "pool", uuid, scope.listener);
            making.needs("pool", &key.name());
            let action = Part::default().with("pool", key.name());
            pool::used(cx, key, scope.sessions, scope.engines);
            Some(action.into())
        }
        "HTTP_SWITCHING_SELECT_POOLGROUP" => {
            let uuid = by.refers("pool_group_ref")?;
            let group = cx.follow(making, held, &format!("{path}.pool_group_ref"), "poolgroup", &uuid)?;
            let key = PoolKey::of(cx, "poolgroup", uuid, scope.listener);
            match pool::group(cx, making, &group, &key, scope.sessions, scope.engines) {
                Some(name) => Some(Part::default().with("pool_group", name).into()),
                None => {
                    let name = pool::nothing(cx, making, held, &scope.listener.name);
                    Some(Part::default().with("pool", name).into())
                }
            }
        }
        _ => Some(answer(by, by.int("other_status_code"))),
    }
}
