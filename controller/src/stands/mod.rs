//! How things stand, and that it has changed: engines, servers and their pools, services, Controllers.
//!
//! What was told of each thing last stands in the store, and is written with the events that tell of a change in one step: each
//! is told once, over new starts and by whoever comes to lead. Nothing waits to be told: what was not is found by the next
//! look, so that a flood costs no memory.

mod book;
mod event;
mod judged;
mod looking;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::Mutex;

use crate::api::App;
use crate::events::{Added, Ring, WRITES_MAX, moment, of_tenant};
use crate::store::{Refusal, STEP_BYTES_MAX, STEP_MAX, Step, Store};
use book::{Book, Told};
use looking::{Change, Memory};

/// The most events that are kept. Some 6 MB.
const EVENTS_MAX: usize = 10_000;
/// Where the store has them.
const EVENTS: &str = "stood/";
/// Events of one look: a flood is told over several, and others write to the store between two steps.
const LOOK_MAX: usize = 400;
/// Of these, what servers leave for services.
const SERVICES_MIN: usize = 100;
/// Events of one thing in one step, which has to write what was told of it as well.
const THING_MAX: usize = (STEP_MAX - 1) / WRITES_MAX;
/// Bytes of a step: half of what the store takes, so that whatever is added last has room.
const BYTES_MAX: usize = STEP_BYTES_MAX / 2;
/// Between a change and the look at it: changes that come together are looked at together.
const SOON: Duration = Duration::from_millis(200);
/// So often as long as a look took is paused: ten thousand services cost a tenth of a processor at most.
const PAUSE: u32 = 10;
/// The pause between two looks while nothing is heard: an engine that has become silent is found by them.
const IDLE: Duration = Duration::from_secs(2);

/// What was told of how things stand.
pub struct Stands {
    /// The events.
    pub events: Ring,
    state: Arc<Mutex<State>>,
}

/// What looks know of those before.
#[derive(Default)]
struct State {
    book: Book,
    memory: Memory,
}

impl Stands {
    /// What the store has.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn open(store: &impl Store) -> Result<Self, Refusal> {
        let events = Ring::open(store, EVENTS, EVENTS_MAX, of_tenant).await?;
        let state = State { book: Book::open(store).await?, memory: Memory::default() };
        Ok(Stands { events, state: Arc::new(Mutex::new(state)) })
    }
}

/// Looks for ever.
pub async fn drive<S: Store + 'static>(app: Arc<App<S>>) {
    let (mut objects, mut engines) = (app.objects.follow(), app.engines.follow());
    let mut placed = app.placement.follow();
    loop {
        let began = Instant::now();
        let is_more = match look(&app, began).await {
            Ok(is_more) => is_more,
            Err(refusal) => {
                tracing::warn!(event = "CONTROLLER_STATES_UNTOLD", %refusal, "what has changed is told later");
                false
            }
        };
        tokio::time::sleep(SOON.max(began.elapsed() * PAUSE)).await;
        if is_more {
            continue;
        }
        // Their senders live as long as the program.
        tokio::select! {
            _ = objects.changed() => {}
            _ = engines.changed() => {}
            _ = placed.changed() => {}
            () = tokio::time::sleep(IDLE) => {}
        }
    }
}

/// Looks once, and tells what has changed; `true`: there is more to tell.
///
/// # Errors
/// Those of the store: what was not written is told by a later look.
//= EVENT-STATE-01
//= EVENT-STATE-02
pub async fn look<S: Store + 'static>(app: &Arc<App<S>>, now: Instant) -> Result<bool, Refusal> {
    let mut state = Arc::clone(&app.standing.state).lock_owned().await;
    let looking = Arc::clone(app);
    let looked = tokio::task::spawn_blocking(move || {
        let State { book, memory } = &mut *state;
        let found = looking::look(&looking, book, memory, now);
        (state, found)
    });
    let (mut state, found) =
        looked.await.map_err(|error| Refusal::Unavailable(format!("a look at states: {error}")))?;
    let mut pending = Writing::default();
    for change in found.changes {
        if !pending.has_room(&change) {
            std::mem::take(&mut pending).done(app, &mut state.book).await?;
        }
        pending.add(&app.standing.events, &state.book, change);
    }
    pending.done(app, &mut state.book).await?;
    // All of it is told: the same is not looked at again.
    if !found.is_more {
        state.memory.settle(found.stamp);
    }
    Ok(found.is_more)
}

/// A step that is being put together.
#[derive(Default)]
struct Writing {
    step: Step,
    bytes: usize,
    things: Vec<(&'static str, String, Option<Told>)>,
    added: Vec<Added>,
}

impl Writing {
    fn has_room(&self, change: &Change) -> bool {
        self.step.writes.len() + 1 + change.events.len() * WRITES_MAX <= STEP_MAX && self.bytes < BYTES_MAX
    }

    fn add(&mut self, ring: &Ring, book: &Book, change: Change) {
        let Change { kind, uuid, after, events } = change;
        let key = book::key(kind, &uuid);
        let value = after.as_ref().map(Told::bytes);
        self.bytes += value.as_ref().map_or(0, Vec::len);
        let mut step = std::mem::take(&mut self.step);
        step = step.demand(key.clone(), book.revision(kind, &uuid)).write(key, value);
        for event in events {
            let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            tracing::info!(
                event = "CONTROLLER_EVENT",
                id = text("event_id"),
                uuid = text("obj_uuid"),
                "{}",
                text("event_description")
            );
            let (more, added) = ring.add(step, event, moment());
            step = more;
            self.added.push(added);
        }
        self.step = step;
        self.things.push((kind, uuid, after));
    }

    async fn done<S: Store>(self, app: &App<S>, book: &mut Book) -> Result<(), Refusal> {
        if self.things.is_empty() {
            return Ok(());
        }
        let refusal = match app.store.commit(self.step).await {
            Ok(revision) => {
                for (kind, uuid, after) in self.things {
                    book.set(kind, uuid, after.map(|told| (told, revision)));
                }
                return Ok(());
            }
            Err(refusal) => refusal,
        };
        // It may be there all the same: then its events are. Or another Controller was faster: what the store has counts.
        let events = &app.standing.events;
        let is_written = match (&refusal, self.added.first()) {
            (Refusal::Unknown(_), Some(first)) => events.has(&app.store, first).await?,
            _ => false,
        };
        for (kind, uuid, _) in self.things {
            let held = app.store.get(&book::key(kind, &uuid)).await?;
            book.set(kind, uuid, held.map(|held| (Told::read(&held.value), held.revision)));
        }
        if is_written {
            return Ok(());
        }
        self.added.into_iter().rev().for_each(|added| events.undo(added));
        Err(refusal)
    }
}
