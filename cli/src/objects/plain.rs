//! An object as it stands in a file: references by name, and nothing in it that is the Controller's alone.

use forebay_model::field::{Field, Type};
use forebay_model::{Kind, Object, shape};
use serde_json::Value;

use super::words::reference;
use crate::api::escaped;

/// Takes out what the Controller alone sets, and writes references by name where their names are told.
pub fn plain(kind: &'static Kind, object: &mut Object) {
    object.remove("uuid");
    without_read_only(&|| kind.all_fields(), object);
    shape::references(kind, object, &mut |_, target, text| *text = by_name(target, text));
}

/// A reference by name, if the name stands behind `#`.
fn by_name(kind: &'static str, text: &str) -> String {
    match text.split_once('#') {
        Some((_, name)) if !name.is_empty() => format!("/api/{kind}?name={}", escaped(name)),
        // The one object whose uuid is its name.
        None if kind == "tenant" && text == "/api/tenant/admin" => "/api/tenant?name=admin".to_owned(),
        _ => reference(kind, text),
    }
}

fn without_read_only<F: Iterator<Item = &'static Field>>(fields: &dyn Fn() -> F, object: &mut Object) {
    for field in fields() {
        if field.is_read_only {
            object.remove(field.name);
            continue;
        }
        match (&field.holds, object.get_mut(field.name)) {
            (Type::Message(message), Some(Value::Object(inner))) => {
                without_read_only(&|| message.fields.iter(), inner);
            }
            (Type::List(list), Some(Value::Array(entries))) => {
                let Type::Message(message) = list.of else { continue };
                for entry in entries {
                    if let Value::Object(inner) = entry {
                        without_read_only(&|| message.fields.iter(), inner);
                    }
                }
            }
            _ => {}
        }
    }
}

/// The name that a reference says; `None` if it is by uuid.
pub fn name_in(kind: &str, text: &str) -> Option<String> {
    match forebay_model::reference::Reference::read(text, kind).ok()? {
        forebay_model::reference::Reference::Name(name) => Some(name),
        forebay_model::reference::Reference::Uuid(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_got_becomes_what_stands_in_a_file() {
        let kind = forebay_model::kind("pool").expect("a kind");
        let mut pool = json!({
            "uuid": "pool-1", "url": "https://c/api/pool/pool-1#web", "_last_modified": "1", "name": "web",
            "cloud_ref": "https://c/api/cloud/cloud-1#Default-Cloud", "vrf_ref": "a b",
            "servers": [{"ip": {"addr": "10.0.0.1", "type": "V4"}, "nw_ref": "https://c/api/vimgrnwruntime/n-1#a+b"}]
        });
        plain(kind, pool.as_object_mut().expect("an object"));
        let wanted = json!({
            "name": "web", "cloud_ref": "/api/cloud?name=Default-Cloud", "vrf_ref": "/api/vrfcontext?name=a%20b",
            "servers": [{"ip": {"addr": "10.0.0.1", "type": "V4"}, "nw_ref": "/api/vimgrnwruntime?name=a%2Bb"}]
        });
        assert_eq!(pool, wanted);
        assert_eq!(name_in("network", "/api/network?name=a%2Bb").as_deref(), Some("a+b"));
    }
}
