//! YAML, of which JSON is a part: written from values, and read with the line of each place.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Value};

/// Lists and groups within one another: what the API takes is never as deep.
const DEPTH_MAX: usize = 64;

/// A document, and where its parts stand.
#[derive(Debug)]
pub struct Read {
    /// Its content.
    pub value: Value,
    /// The line, from 1, of each part by its path, as in `pool[0].servers[1].ip`.
    pub lines: BTreeMap<String, usize>,
}

/// Reads every document of a text.
///
/// # Errors
/// Line and reason.
pub fn read(text: &str) -> Result<Vec<Read>, (usize, String)> {
    let mut parser = Parser::new_from_str(text);
    let mut documents = Vec::new();
    loop {
        let (event, span) = next(&mut parser)?;
        match event {
            Event::StreamEnd => return Ok(documents),
            Event::DocumentStart(_) => {
                let mut lines = BTreeMap::new();
                let first = next(&mut parser)?;
                let value = node(&mut parser, first, "", 0, &mut lines)?;
                documents.push(Read { value, lines });
            }
            Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
            _ => return Err((span.start.line(), "this makes no sense here".to_owned())),
        }
    }
}

type Source<'t> = Parser<'t, saphyr_parser::StrInput<'t>>;

fn next<'t>(parser: &mut Source<'t>) -> Result<(Event<'t>, Span), (usize, String)> {
    match parser.next() {
        Some(Ok(event)) => Ok(event),
        Some(Err(error)) => Err((error.marker().line(), error.info().to_owned())),
        None => Ok((Event::StreamEnd, Span::default())),
    }
}

fn node(
    parser: &mut Source<'_>,
    (event, span): (Event<'_>, Span),
    path: &str,
    depth: usize,
    lines: &mut BTreeMap<String, usize>,
) -> Result<Value, (usize, String)> {
    let line = span.start.line();
    if depth > DEPTH_MAX {
        return Err((line, format!("lists and groups stand more than {DEPTH_MAX} within one another")));
    }
    lines.insert(path.to_owned(), line);
    match event {
        Event::Scalar(text, style, 0, None) => Ok(scalar(&text, style)),
        Event::SequenceStart(0, None) => {
            let mut entries = Vec::new();
            loop {
                let inner = next(parser)?;
                if matches!(inner.0, Event::SequenceEnd) {
                    return Ok(Value::Array(entries));
                }
                let path = format!("{path}[{}]", entries.len());
                entries.push(node(parser, inner, &path, depth + 1, lines)?);
            }
        }
        Event::MappingStart(0, None) => {
            let mut fields = Map::new();
            loop {
                let (key, span) = next(parser)?;
                let line = span.start.line();
                let name = match key {
                    Event::MappingEnd => return Ok(Value::Object(fields)),
                    Event::Scalar(name, _, 0, None) => name.into_owned(),
                    _ => return Err((line, "the name of a field must be a text".to_owned())),
                };
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let inner = next(parser)?;
                let value = node(parser, inner, &path, depth + 1, lines)?;
                lines.insert(path, line);
                if fields.insert(name.clone(), value).is_some() {
                    return Err((line, format!("{name} stands there twice")));
                }
            }
        }
        Event::StreamEnd | Event::DocumentEnd => Err((line, "it ends too early".to_owned())),
        _ => Err((line, "anchors, aliases and tags mean nothing here: write it out".to_owned())),
    }
}

/// What a plain text means by the core schema.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::from(text);
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::from(true),
        "false" | "False" | "FALSE" => return Value::from(false),
        _ => {}
    }
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
        && text.bytes().any(|byte| byte.is_ascii_digit());
    if is_number {
        if let Ok(number) = text.parse::<i64>() {
            return Value::from(number);
        }
        if let Some(number) = text.parse::<f64>().ok().and_then(serde_json::Number::from_f64) {
            return Value::Number(number);
        }
    }
    Value::from(text)
}

/// A value as YAML, with a line end behind it.
pub fn write(value: &Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

fn block(value: &Value, indent: usize, out: &mut String) {
    let pad = |out: &mut String| out.extend(std::iter::repeat_n(' ', indent));
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (at, (name, value)) in fields.iter().enumerate() {
                if at > 0 {
                    pad(out);
                }
                out.push_str(&text(name));
                out.push(':');
                inner(value, indent + 2, out);
            }
        }
        Value::Array(entries) if !entries.is_empty() => {
            for (at, entry) in entries.iter().enumerate() {
                if at > 0 {
                    pad(out);
                }
                out.push_str("- ");
                block(entry, indent + 2, out);
            }
        }
        Value::String(held) => {
            out.push_str(&text(held));
            out.push('\n');
        }
        other => {
            out.push_str(&other.to_string());
            out.push('\n');
        }
    }
}

/// What stands behind `name:`.
fn inner(value: &Value, indent: usize, out: &mut String) {
    let is_block = match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(entries) => !entries.is_empty(),
        _ => false,
    };
    if is_block {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', indent));
    } else {
        out.push(' ');
    }
    block(value, indent, out);
}

/// A text as it is if it can mean nothing else, and in quotes otherwise.
fn text(held: &str) -> String {
    let is_plain = held.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'/' || byte == b'_')
        && held.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" _./?=&%@+-:".contains(&byte))
        && !held.contains(": ")
        && !held.ends_with([':', ' '])
        && matches!(scalar(held, ScalarStyle::Plain), Value::String(_))
        // What older readers take for flags.
        && !matches!(held.to_ascii_lowercase().as_str(), "yes" | "no" | "on" | "off" | "y" | "n");
    if is_plain { held.to_owned() } else { Value::from(held).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    //= test CLI-EXPORT-01
    #[test]
    fn what_is_written_is_read_again() {
        for value in [
            json!({}),
            json!([]),
            json!({"a": {"b": [1, [2, [3]], {"c": []}], "d": {}}, "e f": "x: y", "": null}),
            json!({"texts": ["true", "no", "1", "-", "- a", "a #b", "a: b", "x:", " x", "", "~", "0x1f", "1e3", ".5",
                "a\nb\n", "tab\there", "\u{7f}\u{85}\u{2028}é😀", "'", "\"", "{", "[x]", "&a", "*a", "!t", "%x", "@x", "`x"]}),
            json!([[{"a": 1, "b": 2}], [], {"c": [{"d": "e"}]}]),
            json!({"n": [0, -1, 1.5, 9_007_199_254_740_993_i64, true, false, null]}),
        ] {
            let written = write(&value);
            let read = read(&written).unwrap_or_else(|error| panic!("{written}: {error:?}"));
            assert_eq!(read[0].value, value, "{written}");
            let as_json = super::read(&value.to_string()).expect("JSON is YAML");
            assert_eq!(as_json[0].value, value);
        }
    }

    #[test]
    fn each_place_has_its_line_and_each_mistake_too() {
        let text = "# pools\npool:\n- name: a\n  servers:\n  - ip: {addr: x}\n---\nvsvip: []\n";
        let read = super::read(text).expect("two documents");
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].lines["pool[0].servers[0].ip.addr"], 5);
        assert_eq!(read[0].lines["pool[0].name"], 3);
        for (text, line) in [
            ("a: 1\na: 2\n", 2),
            ("a: &x 1\n", 1),
            ("a: 1\nb: [1, 2\nc: 3\n", 3),
            ("a: !tag 1\n", 1),
            ("? [a]\n: 1\n", 1),
        ] {
            let (at, reason) = super::read(text).expect_err(text);
            assert!(at.abs_diff(line) <= 1, "{text}: line {at}, {reason}");
        }
        assert!(super::read(&"[".repeat(1000)).is_err());
    }
}
