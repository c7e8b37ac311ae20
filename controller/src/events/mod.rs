//! What has happened: every write with what it changed, and who came in.
//!
//! An event of a write is in the store with the write or not at all. Events stand in rings, each of so many: who tries
//! passwords cannot push out who changed what. Within a ring each user, or each tenant, has a share: who does much pushes out
//! the own events.

mod diff;
mod ring;

use std::net::IpAddr;

use forebay_model::{Kind, Object};
use serde_json::{Map, Value, json};

pub use diff::diff;
pub use ring::{Added, Ring, WRITES_MAX, Wanted, moment, page, page_so_far};

use crate::access::{Rights, labels};

/// The share of a write or of a log-in: that of its user. All who did not come in have one together: names are for free.
pub fn of_user(event: &Map<String, Value>) -> (&str, &str) {
    let came = event.get("event_details").map(|details| &details["config_user_login_details"]["status"]);
    match event.get("user").and_then(Value::as_str) {
        Some(user) if came.is_none_or(|status| status != "SYSERR_FAILURE") => (user, ""),
        _ => ("", ""),
    }
}

/// The share of what happened to an object: that of its tenant, and in it that of the object, or of the server of a pool.
pub fn of_tenant(event: &Map<String, Value>) -> (&str, &str) {
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
    let server =
        event.get("event_details").map(|details| &details["se_hm_pool_details"]["server"]["description"]);
    (text("tenant"), server.and_then(Value::as_str).unwrap_or_else(|| text("obj_uuid")))
}

/// The event of a write of an object: what it was, and what it is.
pub fn written(
    kind: &'static Kind,
    uuid: &str,
    by: &Rights,
    before: Option<&Object>,
    after: Option<&Object>,
) -> Map<String, Value> {
    let (id, details, verb) = match (before, after) {
        (None, _) => ("CONFIG_CREATE", "config_create_details", "created"),
        (Some(_), Some(_)) => ("CONFIG_UPDATE", "config_update_details", "changed"),
        (Some(_), None) => ("CONFIG_DELETE", "config_delete_details", "deleted"),
    };
    let held = after.or(before);
    let text = |name: &str| held.and_then(|held| held.get(name)?.as_str()).unwrap_or_default();
    let name = if text("name").is_empty() { uuid } else { text("name") };
    let tenant = text("tenant_ref").rsplit('/').next().unwrap_or_default().to_owned();
    let mut event = about(id, &format!("{} {name} was {verb} by {}", kind.name, by.user), by);
    let with = json!({
        "obj_type": kind.path.to_uppercase(),
        "obj_name": name,
        "obj_uuid": uuid,
        "tenant": tenant,
        "labels": held.map(labels).unwrap_or_default(),
        "event_details": {details: {
            "resource_type": kind.path, "resource_name": name, "user": by.user, "client": client(by.from),
            "status": "SYSERR_SUCCESS", "diff": diff(kind, before, after),
        }},
    });
    event.extend(with.as_object().cloned().unwrap_or_default());
    event
}

/// The event of somebody who came in, or did not, or whose password changed.
pub fn came(id: &str, text: &str, by: &Rights, error: Option<&str>) -> Map<String, Value> {
    let mut event = about(id, text, by);
    let mut details = json!({
        "user": by.user, "client_ip": client(by.from), "local": true,
        "status": if error.is_some() { "SYSERR_FAILURE" } else { "SYSERR_SUCCESS" },
    });
    if let Some(error) = error {
        details["error_message"] = Value::from(error);
    }
    let with = json!({
        "obj_type": "USER", "obj_name": by.user, "obj_uuid": by.uuid, "tenant": crate::access::ADMIN, "labels": [],
        "event_details": {"config_user_login_details": details},
    });
    event.extend(with.as_object().cloned().unwrap_or_default());
    event
}

fn about(id: &str, text: &str, by: &Rights) -> Map<String, Value> {
    let event = json!({
        "event_id": id, "event_description": text, "module": "CONFIG", "internal": "EVENT_EXTERNAL",
        "context": "EVENT_CONTEXT_CONFIG", "event_pages": ["EVENT_PAGE_AUDIT", "EVENT_PAGE_ALL"],
        "user": by.user,
    });
    event.as_object().cloned().unwrap_or_default()
}

fn client(from: Option<IpAddr>) -> String {
    from.map_or("local".to_owned(), |from| from.to_string())
}
