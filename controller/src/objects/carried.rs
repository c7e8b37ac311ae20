//! Objects as engines carry them out: with their secrets, and with the keys that nobody gave them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use forebay_model::Object;
use forebay_model::compile::{Lookup, TicketKey};
use serde_json::{Value, json};

use super::{ADMIN, Held, Objects};
use crate::store::Store;

/// Seconds after which tickets are sealed by another key.
const TICKET_KEY_S: u64 = 12 * 3600;
/// Keys before the one that seals which open still: sessions live a day unless a profile says otherwise.
const TICKET_KEYS_BEFORE: u64 = 2;

impl<S: Store> Objects<S> {
    /// Keys of session tickets for the engines of a group, the one that seals first: the same wherever and whenever they are
    /// asked for. The one that will seal next is among them, so that no engine meets a ticket that it cannot open.
    pub fn ticket_keys(&self, group: &str, unix_s: u64) -> Vec<TicketKey> {
        let now = unix_s / TICKET_KEY_S;
        let turns = [now, now + 1].into_iter().chain((now.saturating_sub(TICKET_KEYS_BEFORE)..now).rev());
        turns
            .map(|turn| TicketKey {
                name: format!("t{turn:x}"),
                key: self.seal.derived(&format!("session tickets\0{group}\0{turn}")),
            })
            .collect()
    }

    fn carried(&self, held: &Held) -> Object {
        let mut object = self.opened(held);
        //= COMPILE-COOKIE-01
        if object.get("persistence_type").and_then(Value::as_str) == Some("PERSISTENCE_TYPE_HTTP_COOKIE") {
            let profile = object.entry("http_cookie_persistence_profile").or_insert_with(|| json!({}));
            let has_key = profile.get("key").and_then(Value::as_array).is_some_and(|keys| !keys.is_empty());
            if let Some(profile) = profile.as_object_mut().filter(|_| !has_key) {
                let key = STANDARD.encode(self.seal.derived(&format!("persistence cookies\0{}", held.uuid)));
                profile.insert("key".to_owned(), json!([{"name": "derived", "aes_key": key}]));
            }
        }
        object
    }
}

impl<S: Store> Lookup for Objects<S> {
    fn get(&self, kind: &str, uuid: &str) -> Option<Object> {
        let held = self.now().get(kind, uuid).cloned()?;
        Some(self.carried(&held))
    }

    fn named(&self, kind: &str, name: &str) -> Option<(String, Object)> {
        let held = {
            let now = self.now();
            let of_all = |held: &&std::sync::Arc<Held>| held.tenant == ADMIN || held.tenant.is_empty();
            match name {
                "" => now.all(kind).next().cloned(),
                name => now.named(kind, name).find(of_all).cloned(),
            }
        };
        let held = held?;
        Some((held.uuid.clone(), self.carried(&held)))
    }
}
