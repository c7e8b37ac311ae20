//! Objects that are there from the beginning.

use forebay_model::{Kind, Object, kind};
use serde_json::json;

/// All of them, each behind those that it refers to.
pub fn all() -> impl Iterator<Item = (&'static Kind, Object)> {
    [
        ("tenant", json!({"uuid": "admin", "name": "admin"})),
        ("cloud", json!({"name": "Default-Cloud", "vtype": "CLOUD_NONE"})),
    ]
    .into_iter()
    .filter_map(|(path, object)| Some((kind(path)?, object.as_object()?.clone())))
}
