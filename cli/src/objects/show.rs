//! Objects as tables for people.

use forebay_model::{Kind, Object};
use serde_json::Value;

use crate::args::Output;

/// Columns of lists beside the name, for kinds of which some field says more than others.
const COLUMNS: &[(&str, &[&str])] = &[
    ("virtualservice", &["enabled", "vsvip_ref", "pool_ref", "pool_group_ref", "se_group_ref"]),
    ("pool", &["enabled", "lb_algorithm", "servers", "application_persistence_profile_ref"]),
    ("poolgroup", &["members"]),
    ("vsvip", &["vip"]),
    ("serviceengine", &["enable_state", "se_group_ref"]),
    ("serviceenginegroup", &["ha_mode", "algo", "min_scaleout_per_vs", "max_scaleout_per_vs", "use_objsync"]),
    ("healthmonitor", &["type", "send_interval", "receive_timeout"]),
    ("applicationpersistenceprofile", &["persistence_type", "server_hm_down_recovery"]),
    ("applicationprofile", &["type"]),
    ("networkprofile", &["profile"]),
    ("user", &["full_name", "is_superuser", "is_active"]),
    ("cloud", &["vtype"]),
];

/// The kinds of which lists say how each object is.
const STATED: [&str; 3] = ["virtualservice", "pool", "serviceengine"];

/// What a list for people asks for beside its filters.
//= CLI-STATE-01
pub fn joins(kind: &Kind, output: Output) -> &'static str {
    if output == Output::Text && STATED.contains(&kind.path) { "join_subresources=runtime&" } else { "" }
}

/// How an object is, in a word; of a Controller that does not say, nothing.
fn state(object: &Object) -> String {
    let state = object.get("runtime").and_then(|runtime| runtime["oper_status"]["state"].as_str());
    state.map_or_else(|| "-".to_owned(), |state| state.strip_prefix("OPER_").unwrap_or(state).to_owned())
}

/// Prints objects in the form that was asked for.
pub fn objects(kind: &'static Kind, all: &[Object], output: Output, is_list: bool) -> String {
    let as_value = || {
        let values = all.iter().cloned().map(Value::Object);
        if is_list {
            Value::Array(values.collect())
        } else {
            values.into_iter().next().unwrap_or(Value::Null)
        }
    };
    match output {
        Output::Json => as_value().to_string() + "\n",
        Output::Yaml => super::yaml::write(&as_value()),
        Output::Name => all.iter().map(|object| on_one_line(&name(object)) + "\n").collect(),
        Output::Text if is_list => list(kind, all),
        Output::Text => all.iter().map(|object| fields(&Value::Object(object.clone()))).collect(),
    }
}

/// What an object is called.
pub fn name(object: &Object) -> String {
    let text = |field: &str| object.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    text("name").or_else(|| text("username")).or_else(|| text("uuid")).unwrap_or("-").to_owned()
}

fn list(kind: &'static Kind, all: &[Object]) -> String {
    let own = COLUMNS.iter().find(|(path, _)| *path == kind.path).map_or(&[][..], |(_, columns)| *columns);
    let is_stated = STATED.contains(&kind.path);
    let front = |name: String, state: String| [Some(name), is_stated.then_some(state)].into_iter().flatten();
    let head = front("NAME".to_owned(), "STATE".to_owned()).chain(own.iter().map(|c| c.to_uppercase()));
    let mut rows = vec![head.collect()];
    for object in all {
        let cells = own.iter().map(|column| object.get(*column).map_or_else(|| "-".to_owned(), cell));
        rows.push(front(name(object), state(object)).chain(cells).collect::<Vec<String>>());
    }
    columns(&rows)
}

/// A value in few characters: the name behind a reference, the number of a list's entries.
pub fn cell(value: &Value) -> String {
    match value {
        Value::String(text) if text.contains("/api/") => {
            text.split_once('#').map_or(text.as_str(), |(_, name)| name).to_owned()
        }
        Value::String(text) => text.clone(),
        Value::Array(entries) => match entries.first() {
            Some(Value::String(_)) => entries.iter().map(cell).collect::<Vec<_>>().join(","),
            _ => entries.len().to_string(),
        },
        Value::Object(fields) => fields.get("type").map_or_else(|| "{…}".to_owned(), cell),
        other => other.to_string(),
    }
}

/// Rows with their columns one below the other, two spaces between.
pub fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|at| width(at).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            line.push_str(&on_one_line(cell));
            let pad = widths[at].saturating_sub(cell.chars().count()) + 2;
            line.extend(std::iter::repeat_n(' ', pad));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Without what a terminal would act on.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// The same, and without the end of a line: what stands in a row must not look like another one.
fn on_one_line(text: &str) -> String {
    printable(text).replace('\n', "\u{fffd}")
}

/// `| Field | Value |`: nested fields stand indented, entries of lists are counted from 1.
//= CLI-SHOW-01
pub fn fields(value: &Value) -> String {
    let mut rows = Vec::new();
    flatten(value, 0, &mut rows);
    let first = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max(5);
    let second = rows.iter().flat_map(|(_, value)| value.lines()).map(|line| line.chars().count()).max();
    let second = second.unwrap_or(0).max(5);
    let rule = format!("+-{}-+-{}-+\n", "-".repeat(first), "-".repeat(second));
    let mut out = rule.clone();
    out.push_str(&format!("| {:first$} | {:second$} |\n", "Field", "Value"));
    out.push_str(&rule);
    for (name, value) in &rows {
        let mut name = name.as_str();
        for line in value.lines().chain(std::iter::once("").filter(|_| value.is_empty())) {
            out.push_str(&format!("| {name:first$} | {:second$} |\n", printable(line)));
            name = "";
        }
    }
    out + &rule
}

fn flatten(value: &Value, depth: usize, rows: &mut Vec<(String, String)>) {
    let Value::Object(object) = value else { return };
    // The name first, as people look for it.
    let first = ["uuid", "name"].into_iter().filter_map(|name| object.get_key_value(name));
    let rest = object.iter().filter(|(name, _)| !matches!(name.as_str(), "uuid" | "name" | "url"));
    let pad = "  ".repeat(depth);
    for (name, value) in
        first.map(|(name, value)| (name.as_str(), value)).chain(rest.map(|(n, v)| (n.as_str(), v)))
    {
        match value {
            Value::Object(inner) if !inner.is_empty() => match address(inner) {
                Some(text) => rows.push((format!("{pad}{name}"), text)),
                None => {
                    rows.push((format!("{pad}{name}"), String::new()));
                    flatten(value, depth + 1, rows);
                }
            },
            Value::Array(entries) if !entries.is_empty() => {
                for (at, entry) in entries.iter().enumerate() {
                    let scalar = if entry.is_object() { String::new() } else { cell(entry) };
                    rows.push((format!("{pad}{name}[{}]", at + 1), scalar));
                    flatten(entry, depth + 1, rows);
                }
            }
            Value::Object(_) | Value::Array(_) => {}
            other => rows.push((format!("{pad}{name}"), cell(other))),
        }
    }
}

/// An address as people write it.
fn address(object: &Object) -> Option<String> {
    let text = |object: &Object| object.get("addr").and_then(Value::as_str).map(str::to_owned);
    match (object.get("type"), object.get("ip_addr"), object.get("mask")) {
        (Some(_), None, None) if object.len() == 2 => text(object),
        (None, Some(Value::Object(ip)), Some(mask)) if object.len() == 2 => {
            text(ip).map(|addr| format!("{addr}/{mask}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    //= test CLI-SHOW-01
    #[test]
    fn an_object_is_a_table_of_fields_and_values() {
        let shown = fields(&json!({
            "name": "web", "url": "https://x", "pool_ref": "https://c/api/pool/pool-1#p", "none": [],
            "servers": [{"ip": {"addr": "10.0.0.1", "type": "V4"}, "port": 80}], "profile": {"type": "X", "deep": {"a": true}},
        }));
        let wanted = "\
+----------------+----------+
| Field          | Value    |
+----------------+----------+
| name           | web      |
| pool_ref       | p        |
| profile        |          |
|   deep         |          |
|     a          | true     |
|   type         | X        |
| servers[1]     |          |
|   ip           | 10.0.0.1 |
|   port         | 80       |
+----------------+----------+
";
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").replace('-', "");
        assert_eq!(squeezed(&shown), squeezed(wanted), "{shown}");
        let widths: std::collections::BTreeSet<usize> =
            shown.lines().map(|line| line.chars().count()).collect();
        assert_eq!(widths.len(), 1, "{shown}");
    }

    #[test]
    fn what_a_terminal_would_act_on_is_not_printed() {
        assert_eq!(printable("a\u{1b}[2Jb"), "a\u{fffd}[2Jb");
        assert!(!fields(&json!({"name": "\u{1b}]0;x\u{7}"})).contains('\u{1b}'));
        let pool = forebay_model::kind("pool").expect("a kind");
        let object = json!({"name": "a\u{1b}[2J\nb"}).as_object().cloned().expect("an object");
        for output in [Output::Name, Output::Text] {
            let said = objects(pool, std::slice::from_ref(&object), output, true);
            assert!(!said.contains('\u{1b}'), "{said:?}");
            let lines = if output == Output::Name { 1 } else { 2 };
            assert_eq!(said.lines().count(), lines, "one line for each: {said:?}");
        }
    }
}
