//! What happened, told to people and programs: a bounded list in the store.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::store::{Refusal, Step, Store};

/// The most events that are kept; the eldest go first. Some 5 MB.
pub const EVENTS_MAX: usize = 10_000;
/// Events of one step of the store: each may push an eldest one out.
const AT_ONCE: usize = 50;
const PREFIX: &str = "event/";

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its name, as in `VS_SCALEOUT_COMPLETE`.
    pub id: &'static str,
    /// The kind of the object, as in `virtualservice`.
    pub kind: &'static str,
    /// The object's uuid.
    pub uuid: String,
    /// The object's name.
    pub name: String,
    /// The uuid of the object's tenant.
    pub tenant: String,
    /// What happened, in a sentence.
    pub text: String,
    /// Other objects that have to do with it, by their uuids.
    pub related: Vec<String>,
}

impl Event {
    /// As the API shows it. `at` is milliseconds since 1970.
    pub fn shown(&self, at: u64) -> Value {
        json!({
            "event_id": self.id,
            "report_timestamp": at * 1000,
            "obj_type": self.kind.to_uppercase(),
            "obj_uuid": self.uuid,
            "obj_name": self.name,
            "tenant": self.tenant,
            "event_description": self.text,
            "related_uuids": self.related,
            "module": "VSMGR",
            "context": "EVENT_CONTEXT_SYSTEM",
            "internal": "EVENT_EXTERNAL",
        })
    }
}

/// The events that are kept.
#[derive(Debug, Default)]
pub struct Events {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// The number of the next one.
    next: u64,
    /// With their numbers, the newest last.
    list: VecDeque<(u64, Value)>,
}

fn key(number: u64) -> String {
    format!("{PREFIX}{number:020}")
}

impl Events {
    /// Those that the store has.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn open(store: &impl Store) -> Result<Self, Refusal> {
        let mut held = Held::default();
        let mut after: Option<String> = None;
        loop {
            let page = store.list(PREFIX, after.as_deref(), 500).await?;
            let Some((last, _)) = page.entries.last() else { break };
            after = Some(last.clone());
            for (key, stored) in page.entries {
                let number = key.strip_prefix(PREFIX).and_then(|number| number.parse::<u64>().ok());
                if let (Some(number), Ok(event)) = (number, serde_json::from_slice(&stored.value)) {
                    held.next = number + 1;
                    held.list.push_back((number, event));
                }
            }
        }
        Ok(Events { held: Mutex::new(held) })
    }

    /// Keeps events, and lets the eldest go. They are written after what they tell of: one that is lost between the two is
    /// a line less, and nothing else.
    ///
    /// # Errors
    /// Those of the store.
    //= EVENT-LIST-01
    pub async fn keep(&self, store: &impl Store, events: &[Event], at: u64) -> Result<(), Refusal> {
        for part in events.chunks(AT_ONCE) {
            let mut step = Step::default();
            {
                let mut held = self.held();
                for event in part {
                    tracing::info!(
                        event = "CONTROLLER_EVENT",
                        id = event.id,
                        uuid = event.uuid,
                        "{}",
                        event.text
                    );
                    let (number, shown) = (held.next, event.shown(at));
                    step = step.write(key(number), Some(shown.to_string().into_bytes()));
                    held.list.push_back((number, shown));
                    held.next += 1;
                    if held.list.len() > EVENTS_MAX
                        && let Some((old, _)) = held.list.pop_front()
                    {
                        step = step.write(key(old), None);
                    }
                }
            }
            store.commit(step).await?;
        }
        Ok(())
    }

    /// The events that fit, the newest first: how many there are, and those of one part of them.
    pub fn find(&self, fits: impl Fn(&Value) -> bool, skip: usize, most: usize) -> (usize, Vec<Value>) {
        let held = self.held();
        let mut all = held.list.iter().rev().map(|(_, event)| event).filter(|event| fits(event));
        let page: Vec<Value> = all.by_ref().skip(skip).take(most).cloned().collect();
        let rest = all.count();
        (skip + page.len() + rest, page)
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Embedded;
    use crate::store::suite::Folder;

    fn event(number: usize) -> Event {
        Event {
            id: "VS_SCALEOUT_COMPLETE",
            kind: "virtualservice",
            uuid: format!("virtualservice-{number}"),
            name: "a".to_owned(),
            tenant: "admin".to_owned(),
            text: "it has an engine more".to_owned(),
            related: Vec::new(),
        }
    }

    //= test EVENT-LIST-01
    #[tokio::test]
    async fn the_newest_events_are_kept_and_outlive_the_process() {
        let folder = Folder::new("events");
        let store = Embedded::open(&folder.0.join("store")).expect("a store");
        let events = Events::open(&store).await.expect("empty");
        let all: Vec<Event> = (0..EVENTS_MAX + 20).map(event).collect();
        events.keep(&store, &all, 5_000).await.expect("kept");
        let again = Events::open(&store).await.expect("read");
        for events in [&events, &again] {
            let (count, page) = events.find(|_| true, 1, 2);
            assert_eq!((count, page.len()), (EVENTS_MAX, 2));
            assert_eq!(page[0]["obj_uuid"], format!("virtualservice-{}", EVENTS_MAX + 18));
            assert_eq!(
                (&page[0]["report_timestamp"], &page[0]["event_id"]),
                (&json!(5_000_000), &json!("VS_SCALEOUT_COMPLETE"))
            );
            let (count, page) = events.find(|event| event["obj_uuid"] == "virtualservice-20", 0, 9);
            assert_eq!((count, page.len()), (1, 1));
            assert_eq!(events.find(|event| event["obj_uuid"] == "virtualservice-19", 0, 9).0, 0);
        }
        again.keep(&store, &[event(7)], 6_000).await.expect("kept");
        assert_eq!(again.find(|_| true, 0, 1).1[0]["obj_uuid"], "virtualservice-7");
    }
}
