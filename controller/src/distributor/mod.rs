//! The distributor of groups whose engines share tables by way of a Redis beside each (`use_objsync` is false): what
//! `forebay-se distribute` does, within the Controller that leads. It reaches each Redis by way of its engine, so what is said to it
//! travels as safely as all else that engines and the Controller say to each other.

mod ways;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use forebay_core::table::EngineSlot;
use forebay_objsync_tokio::legacy::{Place, Relay, relay};
use tokio::task::JoinHandle;
use tracing::Instrument;

use crate::api::App;
use crate::aside::Aside;
use crate::engines::{Engine, group_name};
use crate::store::Store;
use ways::By;
pub use ways::Ways;

/// How often it is looked whether all is distributed that should be.
const LOOK: Duration = Duration::from_secs(1);
/// Pause after a change: engines tell of something all the time.
const REST: Duration = Duration::from_millis(100);

/// What distributors have of engines, and for which groups there are some.
#[derive(Default)]
pub struct Distributors {
    /// The ways that engines have opened.
    pub ways: Arc<Ways>,
    running: RwLock<BTreeMap<String, Vec<u8>>>,
}

impl Distributors {
    /// The slots between whose Redises entries of this group are copied.
    pub fn of(&self, group: &str) -> Vec<u8> {
        self.running.read().unwrap_or_else(PoisonError::into_inner).get(group).cloned().unwrap_or_default()
    }
}

/// One group's.
struct Running {
    engines: Vec<(u8, String)>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whether an engine works by a configuration in which a Redis is beside it.
fn has_redis(engine: &Engine) -> bool {
    let sections = engine.configured.as_ref();
    let text = sections.and_then(|sections| sections.get("objsync/objsync"));
    text.is_some_and(|text| text.lines().any(|line| line == "use_objsync = false"))
}

/// Distributes in each group that is to be, until dropped.
//= LEGACY-LED-01
pub async fn drive<S: Store>(app: Arc<App<S>>) {
    // Where it is done; there is none before there is something to do.
    let mut aside = None;
    let mut all: BTreeMap<String, Running> = BTreeMap::new();
    let mut engines = app.engines.follow();
    loop {
        engines.mark_unchanged();
        let mut wanted: BTreeMap<String, Vec<(u8, String)>> = BTreeMap::new();
        for engine in app.engines.all() {
            if let Some(slot) = engine.slot.filter(|_| has_redis(&engine)) {
                wanted.entry(engine.group.clone()).or_default().push((slot, engine.uuid.clone()));
            }
        }
        all.retain(|group, running| {
            wanted.get(group).is_some_and(|engines| *engines == running.engines)
                && !running.task.is_finished()
        });
        for (group, engines) in wanted {
            if all.contains_key(&group) {
                continue;
            }
            if aside.is_none() {
                aside = Aside::start("distributors").inspect_err(|why| failed(why)).ok();
            }
            if let Some(aside) = &aside {
                let running = begin(aside, &app.distributors.ways, &group, engines);
                all.insert(group, running);
            }
        }
        let slots = |running: &Running| running.engines.iter().map(|(slot, _)| *slot).collect();
        *app.distributors.running.write().unwrap_or_else(PoisonError::into_inner) =
            all.iter().map(|(group, running)| (group.clone(), slots(running))).collect();
        let changed = tokio::select! {
            changed = engines.changed() => changed,
            () = tokio::time::sleep(LOOK) => Ok(()),
        };
        if changed.is_err() {
            return;
        }
        tokio::time::sleep(REST).await;
    }
}

fn failed(why: &str) {
    tracing::warn!(
        event = "DISTRIBUTOR_FAILED",
        why,
        "nothing is copied between the engines' Redises for now"
    );
}

/// It knows nothing that it could not read again (LEGACY-DISTRIBUTE-01), so it begins anew where the engines are others.
fn begin(aside: &Aside, ways: &Arc<Ways>, group: &str, engines: Vec<(u8, String)>) -> Running {
    let place = |(slot, uuid): &(u8, String)| {
        let by = Arc::new(By::new(Arc::clone(ways), uuid.clone(), aside.budget()));
        Some((EngineSlot::new(*slot)?, Place::by(&format!("beside {uuid}"), by)))
    };
    let places = engines.iter().filter_map(place).collect();
    let span = tracing::info_span!("distributor", group);
    let relayed = relay(Relay { group: group_name(group), engines: places });
    Running { engines, task: aside.spawn(relayed.instrument(span)) }
}
