//! What differs between two objects, line by line.

use forebay_model::shape::MASK;
use serde_json::Value;

/// The differences, as lines of text: `- path: value` of what is, `+ path: value` of what is to be.
///
/// What is a secret there cannot be compared: it counts as different unless its mask stands in the file as well.
pub fn lines(is: &Value, wanted: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", Some(is), Some(wanted), &mut lines);
    lines
}

fn compare(path: &str, is: Option<&Value>, wanted: Option<&Value>, lines: &mut Vec<String>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match (is, wanted) {
        (Some(Value::Object(is)), Some(Value::Object(wanted))) => {
            let names: std::collections::BTreeSet<&String> = is.keys().chain(wanted.keys()).collect();
            for name in names {
                compare(&below(name), is.get(name), wanted.get(name), lines);
            }
        }
        (Some(Value::Array(is)), Some(Value::Array(wanted))) => {
            for at in 0..is.len().max(wanted.len()) {
                compare(&format!("{path}[{at}]"), is.get(at), wanted.get(at), lines);
            }
        }
        // An empty list and none are one to the Controller.
        (Some(Value::Array(one)), None) | (None, Some(Value::Array(one))) if one.is_empty() => {}
        (is, wanted) if is == wanted => {}
        (is, wanted) => {
            if let Some(is) = is {
                lines.push(format!("- {path}: {is}"));
            }
            if let Some(wanted) = wanted {
                let secret = is.is_some_and(|is| is == MASK);
                let shown = if secret {
                    "(a secret, which cannot be compared)".to_owned()
                } else {
                    wanted.to_string()
                };
                lines.push(format!("+ {path}: {shown}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_differs_is_told() {
        let is = json!({"name": "p", "enabled": true, "servers": [{"port": 80}, {"port": 81}], "none": [], "key": MASK});
        let wanted = json!({"name": "p", "enabled": false, "servers": [{"port": 80}], "new": 1, "key": "k"});
        let told = lines(&is, &wanted);
        assert_eq!(
            told,
            [
                "- enabled: true",
                "+ enabled: false",
                "- key: \"<sensitive>\"",
                "+ key: (a secret, which cannot be compared)",
                "+ new: 1",
                "- servers[1]: {\"port\":81}",
            ]
        );
        assert!(lines(&is, &is).is_empty());
    }
}
