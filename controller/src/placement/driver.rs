//! The placements of this Controller: where they are kept, and who is told of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use forebay_core::place::{Admin, EngineState};
use forebay_core::policy::Prefix;
use tokio::sync::watch;

use super::events::{EVENTS_MAX, Event, PREFIX as EVENTS, keep};
use super::machine::{Machine, accepts};
use super::planning::{Seen, Told, of};
use super::state::{Phase, Unit};
use super::wishes::Refused;
use super::world::{Gathered, Reader, Settings, World};
use crate::engines::Engine;
use crate::events::{Ring, of_tenant};
use crate::objects::Catalogue;
use crate::store::{Pages, Refusal, Revision, STEP_MAX, Step, Store};

const PREFIX: &str = "placement/";

/// A virtual service on an engine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Assigned {
    /// Its uuid.
    pub vs: String,
    /// It lets clients in; if not, what is open goes on, and nothing new begins.
    pub accepts: bool,
    /// It is the service's primary.
    pub is_primary: bool,
    /// Since when it has been placed, milliseconds since 1970.
    pub since: u64,
}

/// What people can ask for. Engines are named by their uuids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// An engine more.
    ScaleOut {
        /// This one.
        to: Option<String>,
    },
    /// An engine less.
    ScaleIn {
        /// This one.
        from: Option<String>,
        /// The primary.
        primary: bool,
    },
    /// Another engine.
    Migrate {
        /// In the place of this one.
        from: Option<String>,
        /// This one.
        to: Option<String>,
    },
    /// Another primary.
    SwitchOver {
        /// This one.
        to: Option<String>,
    },
    /// That engines which could not have it are asked again at once.
    Retry,
}

/// What is known of placements at a moment; it does not change.
#[derive(Debug, Default)]
pub struct Known {
    /// Placements by their keys.
    pub units: BTreeMap<String, Unit>,
    /// What the objects said.
    pub world: Arc<World>,
    /// Which placements an engine has, and where it stands in each; made when somebody asks first.
    by_engine: OnceLock<HashMap<String, Vec<(String, usize)>>>,
}

impl Known {
    /// These placements of these objects.
    pub fn new(units: BTreeMap<String, Unit>, world: Arc<World>) -> Self {
        Known { units, world, by_engine: OnceLock::new() }
    }

    fn by_engine(&self) -> &HashMap<String, Vec<(String, usize)>> {
        self.by_engine.get_or_init(|| {
            let mut all: HashMap<String, Vec<(String, usize)>> = HashMap::new();
            for (key, unit) in &self.units {
                for (at, member) in unit.members.iter().enumerate() {
                    all.entry(member.engine.clone()).or_default().push((key.clone(), at));
                }
            }
            all
        })
    }

    /// The placement of a virtual service, with its group's settings.
    pub fn of(&self, vs: &str) -> Option<(&Unit, &Settings)> {
        let key = self.world.of.get(vs)?;
        Some((self.units.get(key)?, of(&self.world, key)?.1))
    }

    /// The children of a virtual service, the eldest first.
    pub fn children(&self, vs: &str) -> Vec<String> {
        let mut children = self.world.children.get(vs).cloned().unwrap_or_default();
        let since = self.of(vs).map(|(unit, _)| &unit.since);
        children.sort_by_cached_key(|uuid| {
            (since.and_then(|since| since.get(uuid)).copied().unwrap_or(u64::MAX), uuid.clone())
        });
        children
    }

    /// What an engine has, in the order of the virtual services' uuids; those that follow a parent are with it.
    pub fn on(&self, engine: &str) -> Vec<Assigned> {
        let mut all = Vec::new();
        for (key, at) in self.by_engine().get(engine).into_iter().flatten() {
            let (Some(unit), at) = (self.units.get(key), *at) else { continue };
            let Some((wanted, settings)) = of(&self.world, key) else { continue };
            all.extend(wanted.services.iter().map(|vs| Assigned {
                vs: vs.uuid.clone(),
                accepts: accepts(unit, settings, at),
                is_primary: at == 0,
                since: unit.since.get(&vs.uuid).copied().unwrap_or(0),
            }));
        }
        all.sort();
        all
    }
}

/// What is to be known next, and how it differs from what is.
struct Next {
    known: Known,
    /// What is to be written, by its key; `None`: it goes.
    changes: Vec<(String, Option<Vec<u8>>)>,
    /// It is what is known already.
    is_same: bool,
    /// Some engine has something else.
    is_new: bool,
}

impl Next {
    fn new(before: &Known, known: Known) -> Result<Self, Refusal> {
        let mut changes: Vec<(String, Option<Vec<u8>>)> = Vec::new();
        for (key, unit) in &known.units {
            if before.units.get(key) != Some(unit) {
                let value =
                    serde_json::to_vec(unit).map_err(|error| Refusal::Unavailable(error.to_string()))?;
                changes.push((key.clone(), Some(value)));
            }
        }
        let gone = before.units.keys().filter(|key| !known.units.contains_key(*key));
        changes.extend(gone.map(|key| (key.clone(), None)));
        let is_same_world = Arc::ptr_eq(&before.world, &known.world);
        let is_new =
            !changes.is_empty() || !is_same_world && services(&before.world) != services(&known.world);
        Ok(Next { is_same: changes.is_empty() && is_same_world, is_new, changes, known })
    }
}

/// What the objects said at a moment.
pub struct Reading {
    /// How many of their changes there had been.
    changed: u64,
    of: Of,
}

enum Of {
    World(Arc<World>),
    Gathered(Gathered),
}

impl Reading {
    fn world(self) -> Arc<World> {
        match self.of {
            Of::World(world) => world,
            Of::Gathered(gathered) => Arc::new(gathered.world()),
        }
    }
}

/// The placements.
pub struct Placement {
    known: Mutex<Arc<Known>>,
    /// What was read of the objects, and at which of their changes.
    reader: Mutex<(Reader, u64, Arc<World>)>,
    /// Revisions of what is written, by key.
    written: tokio::sync::Mutex<BTreeMap<String, Revision>>,
    told: watch::Sender<u64>,
    /// What happened.
    pub events: Ring,
}

impl Placement {
    /// Reads what the store has.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn open(store: &impl Store) -> Result<Self, Refusal> {
        let mut known = Known::default();
        let mut written = BTreeMap::new();
        let mut pages = Pages::of(store, PREFIX);
        while let Some(page) = pages.next().await? {
            for (key, stored) in page {
                let Ok(unit) = serde_json::from_slice::<Unit>(&stored.value) else {
                    tracing::warn!(event = "CONTROLLER_PLACEMENT_UNKNOWN", key, "it is placed anew");
                    continue;
                };
                let name = key.strip_prefix(PREFIX).unwrap_or_default().to_owned();
                written.insert(name.clone(), stored.revision);
                known.units.insert(name, unit);
            }
        }
        Ok(Placement {
            known: Mutex::new(Arc::new(known)),
            reader: Mutex::new((Reader::default(), u64::MAX, Arc::default())),
            written: tokio::sync::Mutex::new(written),
            told: watch::Sender::new(0),
            events: Ring::open(store, EVENTS, EVENTS_MAX, of_tenant).await?,
        })
    }

    /// What is known now.
    pub fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells of every change of what engines have.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.told.subscribe()
    }

    /// What the objects say, gathered anew if they have changed.
    pub fn world(&self, objects: &Catalogue) -> Reading {
        let mut held = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = objects.changed();
        if held.1 == changed {
            return Reading { changed, of: Of::World(Arc::clone(&held.2)) };
        }
        Reading { changed, of: Of::Gathered(held.0.gather(objects)) }
    }

    /// Does what is to be done now: `now` is milliseconds since 1970. A look at ten thousand services takes a while, on a thread
    /// of its own, on which `seen` is called as well: who asks the API does not wait for it.
    ///
    /// # Errors
    /// Those of the store: nothing has changed then.
    //= PLACE-ASIDE-01
    pub async fn step<S: Store, L>(
        &self,
        store: &S,
        objects: impl FnOnce() -> Reading,
        engines: impl FnOnce() -> L,
        now: u64,
    ) -> Result<(), Refusal>
    where
        L: FnOnce() -> Vec<Seen> + Send + 'static,
    {
        let mut written = self.written.lock().await;
        // Of one moment, and of this one: who waits for somebody's commit would take all engines for lost.
        let (reading, known, seen) = (objects(), self.known(), engines());
        let changed = reading.changed;
        let look = tokio::task::spawn_blocking(move || {
            // First: while somebody holds what engines tell, a note of it is a copy.
            let seen = seen();
            let (world, mut units) = (reading.world(), known.units.clone());
            let mut machine = Machine::new(&mut units, &world, &seen, now);
            machine.step();
            let events = machine.events;
            Next::new(&known, Known::new(units, world)).map(|next| (next, events))
        });
        let look = look.await.map_err(|error| Refusal::Unavailable(format!("a look at placements: {error}")));
        let (next, events) = look??;
        {
            let mut held = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
            (held.1, held.2) = (changed, Arc::clone(&next.known.world));
        }
        self.keep(store, &mut written, next, &events, now).await
    }

    /// Does what a person asks for; an error of the first kind is for that person.
    ///
    /// # Errors
    /// Why not; or those of the store.
    pub async fn wish<S: Store>(
        &self,
        store: &S,
        (vs, vip): (&str, &str),
        wish: &Wish,
        seen: &[Seen],
        now: u64,
    ) -> Result<Result<(), Refused>, Refusal> {
        let mut written = self.written.lock().await;
        let known = self.known();
        let mut units = known.units.clone();
        let mut machine = Machine::new(&mut units, &known.world, seen, now);
        let done = match wish {
            Wish::ScaleOut { to } => machine.scale_out(vs, vip, to.as_deref()),
            Wish::ScaleIn { from, primary } => machine.scale_in(vs, vip, from.as_deref(), *primary),
            Wish::Migrate { from, to } => machine.migrate(vs, vip, from.as_deref(), to.as_deref()),
            Wish::SwitchOver { to } => machine.switch_over(vs, vip, to.as_deref()),
            Wish::Retry => {
                machine.retry(vs);
                Ok(())
            }
        };
        if let Err(refused) = done {
            return Ok(Err(refused));
        }
        let events = machine.events;
        let next = Next::new(&known, Known::new(units, known.world.clone()))?;
        self.keep(store, &mut written, next, &events, now).await?;
        Ok(Ok(()))
    }

    /// Writes what has changed, then shows it: nobody is told of what a crash could take back.
    //= PLACE-STORE-01
    async fn keep<S: Store>(
        &self,
        store: &S,
        written: &mut BTreeMap<String, Revision>,
        next: Next,
        events: &[Event],
        now: u64,
    ) -> Result<(), Refusal> {
        let Next { known: next, changes, is_same, is_new } = next;
        for part in changes.chunks(STEP_MAX) {
            let mut step = Step::default();
            for (key, value) in part {
                let at = format!("{PREFIX}{key}");
                step = step.demand(at.clone(), written.get(key).copied()).write(at, value.clone());
            }
            let revision = store.commit(step).await?;
            for (key, value) in part {
                match value {
                    Some(_) => written.insert(key.clone(), revision),
                    None => written.remove(key),
                };
            }
        }
        if !is_same {
            let before = {
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::replace(&mut *known, Arc::new(next))
            };
            // What ten thousand services were takes milliseconds to be let go of.
            tokio::task::spawn_blocking(move || drop(before));
        }
        if is_new {
            self.told.send_modify(|told| *told += 1);
        }
        self.tell(store, events, now).await;
        Ok(())
    }

    /// Tells what happened. It is done: who asked for it, and the engines, must not hear otherwise because of a line in a list.
    pub(crate) async fn tell<S: Store>(&self, store: &S, events: &[Event], now: u64) {
        if let Err(refusal) = keep(&self.events, store, events, now).await {
            tracing::warn!(event = "CONTROLLER_EVENT_LOST", %refusal, "events of a placement are not kept");
        }
    }

    /// Says whether time alone may change something: then a step is due soon.
    pub fn is_moving(&self) -> bool {
        let known = self.known();
        known.units.values().any(|unit| {
            unit.work.is_some()
                || unit
                    .members
                    .iter()
                    .any(|member| member.phase != Phase::Serving && !unit.is_refused_by(&member.engine))
        })
    }
}

/// Which virtual services there are, by placement or, if they follow one, by parent.
fn services(world: &World) -> BTreeSet<(&str, &str)> {
    let all = world.wanted.iter();
    let all =
        all.flat_map(|(key, wanted)| wanted.services.iter().map(move |vs| (key.as_str(), vs.uuid.as_str())));
    all.chain(world.parents.iter().map(|(child, parent)| (parent.as_str(), child.as_str()))).collect()
}

/// An engine as placement sees it. `began` is when this Controller started: an engine has its time from then on to come back.
/// `uuid_of` gives the uuid of the virtual service that an engine tells of by a name; `None`: nobody wants to know of it.
//= PLACE-LOST-01
pub fn seen<'n>(
    engine: &'n Engine,
    began: Instant,
    now: Instant,
    uuid_of: impl Fn(&'n str) -> Option<&'n str>,
) -> Seen {
    let is_known = engine.slot.is_some();
    let state = if engine.is_connected && engine.is_up(now) {
        EngineState::Up
    } else if engine.is_up(now) || is_known && now.saturating_duration_since(began) <= engine.patience {
        EngineState::Silent
    } else {
        EngineState::Lost
    };
    let (admin, is_forced) = match engine.enable_state.as_str() {
        "SE_STATE_DISABLED_FOR_PLACEMENT" => (Admin::NothingNew, false),
        "SE_STATE_DISABLED" | "SE_STATE_DISABLED_WITH_SCALEIN" | "SE_STATE_DISABLED_FORCE_WITH_MIGRATE" => {
            (Admin::Disabled, false)
        }
        "SE_STATE_DISABLED_FORCE" | "SE_STATE_DISABLED_NO_TRAFFIC" => (Admin::Disabled, true),
        _ => (Admin::Enabled, false),
    };
    let interfaces = engine.machine.interfaces.iter().filter(|interface| interface.is_up);
    let networks = interfaces.flat_map(|interface| &interface.addresses);
    let prefix = |(ip, bits): &(std::net::IpAddr, u8)| Prefix::new(*ip, *bits);
    // One of several kinds of ports is several services of the engine's document.
    let mut services: BTreeMap<String, Told> = BTreeMap::new();
    for (name, told) in engine.services.iter().filter(|(name, _)| engine.is_to_have(name)) {
        let part = Told { is_listening: told.is_listening, is_up: told.is_up, connections: told.connections };
        let Some(uuid) = uuid_of(name) else { continue };
        let sum = services.entry(uuid.to_owned()).or_insert(Told { connections: 0, ..part });
        sum.is_listening &= part.is_listening;
        sum.is_up &= part.is_up;
        sum.connections += part.connections;
    }
    Seen {
        uuid: engine.uuid.clone(),
        name: engine.name.clone(),
        tenant: engine.tenant.clone(),
        group: engine.group.clone(),
        state,
        admin,
        is_forced,
        host: None,
        interfaces: networks.filter_map(prefix).collect(),
        routes: engine.machine.routes.iter().filter_map(prefix).collect(),
        problems: engine.problems.clone(),
        has_tables: engine.has_tables,
        services,
        left_out: engine.lacking().map(|(uuid, _)| uuid.clone()).collect(),
        refused: engine.refused().map(|(uuid, why)| (uuid.clone(), why.clone())).collect(),
    }
}
