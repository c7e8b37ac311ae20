//! What changed between two states of an object, field by field.

use forebay_model::{Kind, Object, shape};
use serde_json::{Value, json};

/// The most fields of one difference.
const FIELDS_MAX: usize = 32;
/// The longest value that is told whole, bytes of its JSON.
const VALUE_BYTES_MAX: usize = 256;
/// Fields that change with every write.
const ALWAYS: &[&str] = &["_last_modified"];
/// Stands behind the mask of a secret while two states are compared: no text of a client has it there.
const BEHIND: char = '\u{0}';

/// The fields that differ: `field`, `old` and `new`, of which one is left out where there was or is nothing. Secrets are
/// masked; that one has changed is told.
//= API-AUDIT-01
pub fn diff(kind: &'static Kind, before: Option<&Object>, after: Option<&Object>) -> Vec<Value> {
    let marked = |object: Option<&Object>| {
        let mut object = object.cloned().unwrap_or_default();
        // A seal is never the same twice, so it stands for the secret.
        shape::secrets(kind, &mut object, &mut |_, value| {
            *value = Value::from(format!("{}{BEHIND}{value}", shape::MASK));
        });
        Value::Object(object)
    };
    let mut found = Found { fields: Vec::new(), more: 0 };
    found.compare("", Some(&marked(before)), Some(&marked(after)));
    if found.more > 0 {
        found.fields.push(json!({"field": format!("and {} more", found.more)}));
    }
    found.fields
}

struct Found {
    fields: Vec<Value>,
    more: usize,
}

impl Found {
    fn compare(&mut self, path: &str, old: Option<&Value>, new: Option<&Value>) {
        match (old, new) {
            (old, new) if old == new => {}
            (Some(Value::Object(old)), Some(Value::Object(new))) => {
                let dot = if path.is_empty() { "" } else { "." };
                let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
                for name in names {
                    if !(path.is_empty() && ALWAYS.contains(&name.as_str())) {
                        self.compare(&format!("{path}{dot}{name}"), old.get(name), new.get(name));
                    }
                }
            }
            (Some(Value::Array(old)), Some(Value::Array(new))) => self.compare_lists(path, old, new),
            (old, new) => self.tell(path, old, new),
        }
    }

    /// What is equal at both ends is left out, so that an entry put in the middle is one difference.
    fn compare_lists(&mut self, path: &str, old: &[Value], new: &[Value]) {
        let front = old.iter().zip(new).take_while(|(old, new)| old == new).count();
        let back = old[front..].iter().rev().zip(new[front..].iter().rev());
        let back = back.take_while(|(old, new)| old == new).count();
        let (old, new) = (&old[front..old.len() - back], &new[front..new.len() - back]);
        for at in 0..old.len().max(new.len()) {
            self.compare(&format!("{path}[{}]", front + at), old.get(at), new.get(at));
        }
    }

    fn tell(&mut self, path: &str, old: Option<&Value>, new: Option<&Value>) {
        if self.fields.len() >= FIELDS_MAX {
            self.more += 1;
            return;
        }
        let mut field = json!({"field": path});
        for (name, value) in [("old", old), ("new", new)] {
            if let Some(value) = value {
                field[name] = shown(value);
            }
        }
        self.fields.push(field);
    }
}

fn shown(value: &Value) -> Value {
    let mut value = value.clone();
    unmark(&mut value);
    let text = value.to_string();
    if text.len() <= VALUE_BYTES_MAX {
        return value;
    }
    let mut end = VALUE_BYTES_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Value::from(format!("{}… ({} bytes)", &text[..end], text.len()))
}

fn unmark(value: &mut Value) {
    match value {
        Value::String(text) if text.starts_with(shape::MASK) => {
            if let Some(at) = text.find(BEHIND) {
                text.truncate(at);
            }
        }
        Value::Array(entries) => entries.iter_mut().for_each(unmark),
        Value::Object(fields) => fields.values_mut().for_each(unmark),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use forebay_model::kind;

    use super::*;

    fn object(value: Value) -> Object {
        value.as_object().expect("an object").clone()
    }

    //= test API-AUDIT-01
    #[test]
    fn a_difference_names_fields_and_no_secret() {
        let pool = kind("pool").expect("a kind");
        let servers = |names: &[&str]| -> Value {
            names.iter().map(|name| json!({"ip": {"addr": name, "type": "V4"}, "ratio": 1})).collect()
        };
        let old = object(
            json!({"name": "p", "enabled": true, "servers": servers(&["a", "b", "c"]), "_last_modified": "1"}),
        );
        let mut new = object(
            json!({"name": "p", "enabled": false, "servers": servers(&["a", "x", "b", "c"]), "_last_modified": "2"}),
        );
        new.insert("description".to_owned(), json!("é".repeat(1000)));
        let told = diff(pool, Some(&old), Some(&new));
        let fields: Vec<&str> = told.iter().filter_map(|field| field["field"].as_str()).collect();
        assert_eq!(fields, ["description", "enabled", "servers[1]"], "{told:?}");
        assert_eq!(told[1], json!({"field": "enabled", "old": true, "new": false}));
        assert_eq!((&told[2]["new"]["ip"]["addr"], told[2].get("old")), (&json!("x"), None));
        assert!(
            told[0]["new"].as_str().is_some_and(|text| text.len() < 600 && text.ends_with("(2002 bytes)"))
        );

        let certificate = kind("sslkeyandcertificate").expect("a kind");
        let with = |seal: &str| object(json!({"name": "c", "key": {"sealed": seal}}));
        let told = diff(certificate, Some(&with("abc")), Some(&with("xyz")));
        assert_eq!(told, [json!({"field": "key", "old": "<sensitive>", "new": "<sensitive>"})]);
        assert_eq!(diff(certificate, Some(&with("abc")), Some(&with("abc"))), [] as [Value; 0]);
        let told = json!(diff(certificate, None, Some(&with("abc")))).to_string();
        assert!(!told.contains("abc") && !told.contains("u0000"), "{told}");
    }

    #[test]
    fn a_large_difference_is_cut() {
        let group = kind("stringgroup").expect("a kind");
        let many: Object = (0..200).map(|number| (format!("f{number}"), json!(number))).collect();
        let told = diff(group, None, Some(&many));
        assert_eq!(told.len(), FIELDS_MAX + 1);
        assert_eq!(told[FIELDS_MAX]["field"], "and 168 more");
    }
}
