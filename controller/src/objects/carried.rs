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

    /// The object as engines carry it out.
    pub fn carried(&self, held: &Held) -> Object {
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

#[cfg(test)]
mod tests {
    use forebay_model::kind;

    use super::*;
    use crate::objects::Tenant;
    use crate::sealed::Seal;
    use crate::store::Embedded;

    //= test COMPILE-COOKIE-01
    #[tokio::test]
    async fn a_profile_without_a_key_has_the_same_one_whenever_it_is_carried_out() {
        let folder = std::env::temp_dir().join(format!("forebay-carried-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let kind = kind("applicationpersistenceprofile").expect("a kind");
        let document = |name: &str, inner: Value| {
            let whole = json!({"name": name, "persistence_type": "PERSISTENCE_TYPE_HTTP_COOKIE",
                "http_cookie_persistence_profile": inner});
            whole.as_object().expect("an object").clone()
        };
        let opened = || async {
            let store = Embedded::open(&folder.join("store")).expect("a store");
            Objects::open(store, Seal::open(&folder.join("key")).expect("a key")).await.expect("objects")
        };
        let key = |objects: &Objects<Embedded>, uuid: &str| {
            let object = Lookup::get(objects, kind.path, uuid).expect("it is there");
            object["http_cookie_persistence_profile"]["key"].clone()
        };
        let objects = opened().await;
        let tenant = Tenant::admin();
        let seeds = crate::seeds::all().expect("seeds").into_iter().filter(|(kind, _)| kind.path == "tenant");
        objects.seed(seeds).await.expect("the first tenant");
        let mut made = Vec::new();
        let own = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let keys = json!({"key": [{"name": "k", "aes_key": own}], "encryption_key": "opens-all"});
        for (name, inner) in [("a", json!({})), ("b", json!({})), ("c", keys)] {
            let held = objects.create(kind, &document(name, inner), &tenant).await.expect("it is right");
            assert_eq!(held.object().get("persistence_type"), Some(&json!("PERSISTENCE_TYPE_HTTP_COOKIE")));
            made.push((held.uuid.clone(), key(&objects, &held.uuid)));
        }
        assert_eq!(made[2].1, json!([{"name": "k", "aes_key": own}]), "who has a key keeps it");
        assert_ne!(made[0].1, made[1].1, "each profile has its own");
        let derived = made[0].1[0]["aes_key"].as_str().expect("a key");
        assert_eq!(STANDARD.decode(derived).expect("base64").len(), 32);
        let tickets = objects.ticket_keys("g", 1_000_000_000);
        drop(objects);
        // The same after a new start, and in nothing that the store or a client has.
        let objects = opened().await;
        for (uuid, before) in &made {
            assert_eq!(key(&objects, uuid), *before);
        }
        let held = objects.now().get(kind.path, &made[0].0).cloned().expect("it is there");
        assert!(!String::from_utf8_lossy(&held.bytes).contains("aes_key"));
        assert_eq!(objects.ticket_keys("g", 1_000_000_000), tickets);
        // What a user set is sealed in the store, and open for whoever carries it out.
        let held = objects.now().get(kind.path, &made[2].0).cloned().expect("it is there");
        let stored = String::from_utf8_lossy(&held.bytes);
        assert!(
            stored.contains("aes_key") && !stored.contains(own) && !stored.contains("opens-all"),
            "{stored}"
        );
        let object = Lookup::get(&objects, kind.path, &made[2].0).expect("it is there");
        assert_eq!(object["http_cookie_persistence_profile"]["encryption_key"], "opens-all");
        // Who seals next is known before it seals, and who sealed opens afterwards.
        let later = objects.ticket_keys("g", 1_000_000_000 + TICKET_KEY_S);
        assert!(tickets.contains(&later[0]) && later.contains(&tickets[0]) && later[0] != tickets[0]);
        assert!(!tickets.iter().any(|key| objects.ticket_keys("h", 1_000_000_000).contains(key)));
        std::fs::remove_dir_all(&folder).expect("the folder");
    }
}
