//! What happened, told to people and programs: a bounded list in the store.

use forebay_model::Object;
use serde_json::{Value, json};

use crate::events::{Ring, WRITES_MAX, moment};
use crate::store::{Refusal, STEP_MAX, Step, Store};

/// The most events that are kept; the eldest go first. Some 5 MB.
pub const EVENTS_MAX: usize = 10_000;
/// Where the store has them.
pub const PREFIX: &str = "event/";

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
    /// The part of `event_details` that has more of it, and its fields.
    pub details: Option<(&'static str, Value)>,
    /// Other objects that have to do with it, by their uuids.
    pub related: Vec<String>,
}

impl Event {
    /// As the API shows it.
    fn shown(&self) -> Object {
        let mut shown = json!({
            "event_id": self.id,
            "obj_type": self.kind.to_uppercase(),
            "obj_uuid": self.uuid,
            "obj_name": self.name,
            "tenant": self.tenant,
            "event_description": self.text,
            "related_uuids": self.related,
            "module": "VSMGR",
            "context": "EVENT_CONTEXT_SYSTEM",
            "internal": "EVENT_EXTERNAL",
        });
        if let Some((name, details)) = &self.details {
            shown["event_details"] = json!({*name: details});
        }
        shown.as_object().cloned().unwrap_or_default()
    }
}

/// Keeps events, and lets the eldest go. They are written after what they tell of: one that is lost between the two is a line
/// less, and nothing else. `at` is when it happened, in milliseconds since 1970: the moment of an event is that at which it
/// comes to the list, where who follows it looks for what is new. Events of one moment are told in their order.
///
/// # Errors
/// Those of the store: those that it did not take are not kept.
//= EVENT-LIST-01
pub async fn keep(ring: &Ring, store: &impl Store, events: &[Event], at: u64) -> Result<(), Refusal> {
    for part in events.chunks(STEP_MAX / WRITES_MAX) {
        let mut step = Step::default();
        let mut all = Vec::new();
        for event in part {
            tracing::info!(event = "CONTROLLER_EVENT", id = event.id, uuid = event.uuid, "{}", event.text);
            let (more, added) = ring.add(step, event.shown(), at.saturating_mul(1000).max(moment()));
            step = more;
            all.push(added);
        }
        if let Err(refusal) = store.commit(step).await {
            all.into_iter().rev().for_each(|added| ring.undo(added));
            return Err(refusal);
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::NoEvents;
    use super::*;
    use crate::events::{Wanted, of_tenant, page};
    use crate::store::Embedded;
    use crate::store::suite::Folder;

    /// A moment that our clock comes to in a hundred years, in milliseconds.
    const LATER: u64 = 5_000_000_000_000;

    /// How many events of a ring fit, and these, the newest first.
    pub async fn found(
        ring: &Ring,
        store: &Embedded,
        fits: &(dyn Fn(&Value) -> bool + Sync),
    ) -> (usize, Vec<Value>) {
        let wanted =
            Wanted { between: (0, u64::MAX), is_oldest_first: false, fits, skip: 0, most: usize::MAX };
        page(&[ring], store, &wanted).await.expect("readable")
    }

    fn event(number: usize) -> Event {
        Event {
            id: "VS_SCALEOUT_COMPLETE",
            kind: "virtualservice",
            uuid: format!("virtualservice-{number}"),
            name: "a".to_owned(),
            tenant: "admin".to_owned(),
            text: "it has an engine more".to_owned(),
            details: None,
            related: Vec::new(),
        }
    }

    //= test EVENT-LIST-01
    #[tokio::test]
    async fn the_newest_events_are_kept_and_outlive_the_process() {
        let folder = Folder::new("events");
        let store = Embedded::open(&folder.0.join("store")).expect("a store");
        let open = || Ring::open(&store, PREFIX, EVENTS_MAX, of_tenant);
        let find = async |ring: &Ring, uuid: &str| {
            found(ring, &store, &|event| uuid.is_empty() || event["obj_uuid"] == uuid).await
        };
        let events = open().await.expect("empty");
        let all: Vec<Event> = (0..EVENTS_MAX + 20).map(event).collect();
        keep(&events, &store, &all, LATER).await.expect("kept");
        let again = open().await.expect("read");
        for events in [&events, &again] {
            let (count, page) = find(events, "").await;
            assert_eq!(count, EVENTS_MAX);
            assert_eq!(page[1]["obj_uuid"], format!("virtualservice-{}", EVENTS_MAX + 18));
            assert_eq!(
                (&page[1]["report_timestamp"], &page[1]["event_id"]),
                (&json!(LATER * 1_000 + EVENTS_MAX as u64 + 18), &json!("VS_SCALEOUT_COMPLETE"))
            );
            assert_eq!(find(events, "virtualservice-20").await.0, 1);
            assert_eq!(find(events, "virtualservice-19").await.0, 0);
        }
        keep(&again, &store, &[event(7)], LATER + 1_000).await.expect("kept");
        assert_eq!(find(&again, "").await.1[0]["obj_uuid"], "virtualservice-7");
        // What the store did not take is not there, and what it would have pushed out still is.
        let before = find(&again, "").await;
        keep(&again, &NoEvents(store.clone()), &[event(8), event(9)], LATER + 2_000)
            .await
            .expect_err("no room");
        assert!(find(&again, "").await == before);
        keep(&again, &store, &[event(10)], LATER + 3_000).await.expect("kept");
        let (count, page) = find(&again, "").await;
        assert_eq!((count, &page[0]["obj_uuid"]), (EVENTS_MAX, &json!("virtualservice-10")));
        let held = store.list(PREFIX, None, 2 * EVENTS_MAX).await.expect("readable").entries.len();
        assert_eq!(held, EVENTS_MAX, "nothing stays behind");
    }

    //= test ALERT-ONCE-01
    #[tokio::test]
    async fn the_moment_of_an_event_is_that_at_which_it_comes_to_the_list() {
        let folder = Folder::new("events-late");
        let store = Embedded::open(&folder.0.join("store")).expect("a store");
        let ring = Ring::open(&store, PREFIX, EVENTS_MAX, of_tenant).await.expect("empty");
        let began = moment();
        // Its step began long ago: the store let it wait.
        keep(&ring, &store, &[event(1)], began / 1_000 - 9_000).await.expect("kept");
        let (_, page) = found(&ring, &store, &|_| true).await;
        assert!(page[0]["report_timestamp"].as_u64() >= Some(began), "{page:?}");
    }
}
