//! Objects that are there from the beginning.

use forebay_model::{Kind, Object, builtin, kind};
use serde_json::{Value, json};

/// Those that have a key of their own.
const CERTIFICATES: [(&str, &str); 1] = [("System-Default-Cert", "forebay.test")];

/// All of them, each behind those that it refers to. Certificates are made anew: they count where none of the name is there.
///
/// # Errors
/// The system gives no random numbers for a key.
//= API-BUILTIN-01
pub fn all() -> Result<Vec<(&'static Kind, Object)>, String> {
    let mut all: Vec<(&'static Kind, Object)> = builtin::objects()
        .into_iter()
        .filter_map(|object| Some((kind(object.kind)?, object.document.as_object()?.clone())))
        .collect();
    for (_, object) in &mut all {
        let name = object.get("name").and_then(Value::as_str).unwrap_or_default();
        if let Some((_, host)) = CERTIFICATES.iter().find(|(known, _)| *known == name) {
            let made = rcgen::generate_simple_self_signed([(*host).to_owned()])
                .map_err(|error| error.to_string())?;
            object.insert("key".to_owned(), Value::from(made.signing_key.serialize_pem()));
            object.insert(
                "certificate".to_owned(),
                json!({"certificate": made.cert.pem(), "self_signed": true}),
            );
        }
    }
    Ok(all)
}
