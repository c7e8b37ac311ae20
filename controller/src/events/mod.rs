//! What has happened: every write with what it changed, and who came in.
//!
//! An event of a write is in the store with the write or not at all. Events stand in rings, each of so many: who tries
//! passwords cannot push out who changed what.

mod diff;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use forebay_model::{Kind, Object};
use serde_json::{Map, Value, json};

pub use diff::diff;

use crate::access::{Rights, labels};
use crate::store::{Pages, Refusal, Step, Store};

/// Events of one answer of the store.
const CHUNK: usize = 256;

/// The most writes that an event puts into a step: its own, and those that take older ones away.
pub const WRITES_MAX: usize = 3;

/// A bounded row of events.
#[derive(Debug)]
pub struct Ring {
    prefix: &'static str,
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The moments of its events, microseconds since 1970, oldest first; no two are equal.
    moments: VecDeque<u64>,
    last: u64,
}

/// What an event did to its ring, so that it can be taken back.
#[derive(Debug)]
pub struct Added {
    moment: u64,
    gone: Vec<u64>,
}

impl Ring {
    /// What the store has of it.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn open(store: &impl Store, prefix: &'static str, most: usize) -> Result<Self, Refusal> {
        let mut moments = VecDeque::new();
        let mut pages = Pages::of(store, prefix);
        while let Some(page) = pages.next().await? {
            moments.extend(page.iter().filter_map(|(key, _)| key.strip_prefix(prefix)?.parse::<u64>().ok()));
        }
        let last = moments.back().copied().unwrap_or(0);
        Ok(Ring { prefix, most, state: Mutex::new(State { moments, last }) })
    }

    fn key(&self, moment: u64) -> String {
        format!("{}{moment:020}", self.prefix)
    }

    /// Puts an event of this moment, microseconds since 1970, into a step, in [`WRITES_MAX`] writes at most; the oldest one
    /// goes with it where there are too many.
    //= API-AUDIT-02
    pub fn add(&self, mut step: Step, mut event: Map<String, Value>, now: u64) -> (Step, Added) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let moment = now.max(state.last + 1);
        state.last = moment;
        state.moments.push_back(moment);
        let mut gone = Vec::new();
        // A ring that was longer once gets shorter by one with each event.
        while state.moments.len() > self.most && gone.len() + 1 < WRITES_MAX {
            gone.extend(state.moments.pop_front());
        }
        event.insert("report_timestamp".to_owned(), Value::from(moment));
        step = step.write(self.key(moment), Some(Value::Object(event).to_string().into_bytes()));
        for moment in &gone {
            step = step.write(self.key(*moment), None);
        }
        (step, Added { moment, gone })
    }

    /// The step was not made.
    pub fn undo(&self, added: Added) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.moments.retain(|moment| *moment != added.moment);
        for moment in added.gone.into_iter().rev() {
            state.moments.push_front(moment);
        }
    }

    /// Makes a step together with an event.
    ///
    /// # Errors
    /// Those of the store: then there is no event either.
    pub async fn commit(
        &self,
        store: &impl Store,
        step: Step,
        event: Map<String, Value>,
    ) -> Result<u64, Refusal> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (step, added) = self.add(step, event, u64::try_from(now.as_micros()).unwrap_or(u64::MAX));
        let done = store.commit(step).await;
        if done.is_err() {
            self.undo(added);
        }
        done
    }

    /// All events between two moments that `wanted` takes, the newest first.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn read(
        &self,
        store: &impl Store,
        between: (u64, u64),
        wanted: &(dyn Fn(&Value) -> bool + Sync),
        into: &mut Vec<Value>,
    ) -> Result<(), Refusal> {
        let moments: Vec<u64> = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.moments.iter().copied().filter(|moment| (between.0..=between.1).contains(moment)).collect()
        };
        for chunk in moments.rchunks(CHUNK) {
            let (Some(first), Some(last)) = (chunk.first(), chunk.last()) else { continue };
            let before = self.key(first.saturating_sub(1));
            let page = store.list(self.prefix, Some(&before), chunk.len()).await?;
            let end = self.key(*last);
            for (_, stored) in page.entries.into_iter().rev().filter(|(key, _)| *key <= end) {
                if let Ok(event) = serde_json::from_slice::<Value>(&stored.value)
                    && wanted(&event)
                {
                    into.push(event);
                }
            }
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Embedded;
    use crate::store::suite::Folder;

    fn event(number: u64) -> Map<String, Value> {
        json!({"number": number}).as_object().cloned().expect("an object")
    }

    fn numbers(events: &[Value]) -> Vec<u64> {
        events.iter().filter_map(|event| event["number"].as_u64()).collect()
    }

    //= test API-AUDIT-02
    #[tokio::test]
    async fn a_ring_keeps_the_newest_and_what_was_refused_is_no_event() {
        let folder = Folder::new("ring");
        let store = Embedded::open(&folder.0.join("store")).expect("new");
        let ring = Ring::open(&store, "audit/", 300).await.expect("readable");
        for number in 0..340 {
            let step = Step::default().write("x", Some(vec![1]));
            ring.commit(&store, step, event(number)).await.expect("room");
        }
        let step = Step::default().demand("x", None).write("y", Some(vec![1]));
        ring.commit(&store, step, event(9999)).await.expect_err("a demand that is not met");
        let all = |ring: Ring| {
            let store = store.clone();
            async move {
                let mut found = Vec::new();
                ring.read(&store, (0, u64::MAX), &|_| true, &mut found).await.expect("readable");
                numbers(&found)
            }
        };
        let wanted: Vec<u64> = (40..340).rev().collect();
        assert_eq!(all(ring).await, wanted, "the newest first, and no more than the most");
        let again = Ring::open(&store, "audit/", 300).await.expect("readable");
        assert_eq!(all(again).await, wanted, "and the same when it is opened again");
        assert_eq!(store.list("audit/", None, 1000).await.expect("readable").entries.len(), 300);
        let shorter = Ring::open(&store, "audit/", 10).await.expect("readable");
        for number in 340..700 {
            shorter.commit(&store, Step::default(), event(number)).await.expect("room");
        }
        assert_eq!(store.list("audit/", None, 1000).await.expect("readable").entries.len(), 10);
    }
}
