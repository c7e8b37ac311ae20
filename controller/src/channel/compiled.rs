//! What each engine is to work by: the objects and its services, compiled.
//!
//! What was read of the objects is noted with each result, and only a change of that, of the engine's group or of its
//! services has it made again: the services that stand on what has changed alone, where the others do not mind. It is made
//! on threads of its own, so that nobody waits for it who asks the API.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::num::NonZero;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use forebay_model::Object;
use forebay_model::compile::{
    Engine as Described, Identity, Input, Lookup, Member, Outline, Placed, TicketKey, compile, compile_after,
};
use serde_json::Value;
use tokio::sync::{Semaphore, watch};

use super::{Compiled, Wanted};
use crate::api::{App, clock};
use crate::engines::{Engine, group_name};
use crate::mirror;
use crate::objects::{Catalogue, Id, Objects};
use crate::store::Store;

/// How often it is looked whether keys of session tickets are others by now.
const KEYS_LOOK: Duration = Duration::from_secs(60);
/// A document whose objects change while it is made is made so often, and then later.
const TRIES_MAX: usize = 5;
/// Objects that are looked at to find the services that stand on one: those of a thousand services. For what more stand on,
/// the whole is made.
const LOOKED_AT_MAX: usize = 4_000;
/// The kind of monitors.
const MONITOR: &str = "healthmonitor";
/// So much is read for few services; less is no reason to make the whole.
const READ_LEAST: usize = 500;

/// A service that an engine has.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Has {
    service: String,
    /// It lets clients in; if not, it stands ready, and what is open goes on.
    accepts: bool,
    /// On how many engines it is.
    engines: u32,
    /// Since when it has been placed.
    since: u64,
    /// The services that follow it, the eldest first.
    children: Vec<String>,
}

/// What was made for one engine, and what it was made of.
struct Made {
    /// How many changes of the objects there had been.
    seen: u64,
    moment: Moment,
    /// What was read: kind and uuid; an empty uuid stands for all of the kind.
    read: BTreeSet<(String, String)>,
    /// How much that was when the whole was made: of parts that were made since, what went is not known.
    read_whole: usize,
    described: Described,
    services: Vec<Has>,
    tickets: Vec<TicketKey>,
    outcome: Compiled,
    /// What is known of it beside; of what could not be made, nothing.
    outline: Outline,
    left_out: BTreeMap<String, Vec<String>>,
}

impl Made {
    /// Beside the objects it follows from the same.
    fn is_of(&self, now: &Now) -> bool {
        self.described == now.described && self.services == now.services && self.tickets == now.tickets
    }
}

/// What was made for an engine; one is made at a time.
type Slot = Arc<Mutex<Option<Made>>>;

/// Makes configurations, and makes them again when what they were made of has changed.
pub struct Maker<S> {
    app: Arc<App<S>>,
    made: Mutex<BTreeMap<String, Slot>>,
    told: watch::Sender<u64>,
    /// How often what is known of engines, and placements, have changed.
    seen: watch::Receiver<u64>,
    placed: watch::Receiver<u64>,
    /// Work for a processor each.
    places: Semaphore,
    itself: Weak<Self>,
}

/// By which it is seen that engines, services and keys of tickets cannot have changed: how often engines and placements had,
/// and the minute.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Moment {
    engines: u64,
    placed: u64,
    minute: u64,
}

/// What an engine's document follows from, beside the objects.
struct Now {
    moment: Moment,
    described: Described,
    services: Vec<Has>,
    tickets: Vec<TicketKey>,
}

impl<S: Store + 'static> Maker<S> {
    /// For these engines; tells of changes as long as it is used.
    pub fn new(app: Arc<App<S>>) -> Arc<Self> {
        let places = std::thread::available_parallelism().map_or(1, NonZero::get);
        let (seen, placed) = (app.engines.follow(), app.placement.follow());
        let maker = Arc::new_cyclic(|itself| Maker {
            app,
            seen,
            placed,
            made: Mutex::default(),
            told: watch::Sender::default(),
            places: Semaphore::new(places),
            itself: Weak::clone(itself),
        });
        let weak = Arc::downgrade(&maker);
        let (mut objects, mut engines, mut services) =
            (maker.app.objects.follow(), maker.app.engines.follow(), maker.app.placement.follow());
        tokio::spawn(async move {
            loop {
                let changed = tokio::select! {
                    changed = objects.changed() => changed,
                    changed = engines.changed() => changed,
                    changed = services.changed() => changed,
                    () = tokio::time::sleep(KEYS_LOOK) => Ok(()),
                };
                let Some(maker) = weak.upgrade().filter(|_| changed.is_ok()) else { return };
                maker.told.send_modify(|told| *told += 1);
            }
        });
        maker
    }

    fn described(&self, engine: &Engine) -> Described {
        let member = |engine: &Engine| {
            Some(Member { slot: engine.slot?, address: engine.address?, port: engine.sync_port })
        };
        let of_group = self.app.engines.of_group(&engine.group);
        Described {
            name: engine.name.clone(),
            group: engine.group.clone(),
            member: member(engine),
            peers: of_group.iter().filter_map(|peer| member(peer)).collect(),
            reader: mirror::reader(&self.app, engine, &of_group),
            // As the engine calls them in its folder.
            identity: Identity {
                group: group_name(&engine.group),
                ca_file: "authority.pem".to_owned(),
                certificate_file: "engine.pem".to_owned(),
                key_file: "engine.key".to_owned(),
                secret_file: "group.secret".to_owned(),
            },
            redis_address: engine.redis.clone(),
            shares_listeners: engine.shares_addresses,
        }
    }

    fn services(&self, engine: &str) -> Vec<Has> {
        let known = self.app.placement.known();
        let has = known.on(engine).into_iter().map(|assigned| {
            let engines = known.of(&assigned.vs).map_or(1, |(unit, _)| unit.staying().count());
            Has {
                children: known.children(&assigned.vs),
                service: assigned.vs,
                accepts: assigned.accepts,
                engines: u32::try_from(engines).unwrap_or(1).max(1),
                since: assigned.since,
            }
        });
        has.collect()
    }

    fn now(&self, uuid: &str) -> Option<Now> {
        let engine = self.app.engines.get(uuid)?;
        Some(Now {
            moment: self.moment(),
            described: self.described(&engine),
            services: self.services(uuid),
            tickets: self.tickets(&engine),
        })
    }

    fn slot(&self, uuid: &str) -> Slot {
        let mut all = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(uuid.to_owned()).or_default())
    }

    /// What this engine is to work by, if it is known that that is as before. Each change of an object has it asked for every
    /// engine: what is dear is looked at only where it may have changed.
    fn as_before(&self, uuid: &str) -> Option<Compiled> {
        let engine = self.app.engines.get(uuid)?;
        let (slot, moment) = (self.slot(uuid), self.moment());
        // Who is at work at it needs a while.
        let mut made = slot.try_lock().ok()?;
        let made = made.as_mut()?;
        // Which services it has is looked at on another thread: after each placement, for all engines.
        if made.moment.placed != moment.placed
            || made.moment.engines != moment.engines && made.described != self.described(&engine)
            || made.moment.minute != moment.minute && made.tickets != self.tickets(&engine)
        {
            return None;
        }
        let objects = self.app.objects.now();
        if !changed(made, &objects).is_some_and(|ids| ids.is_empty()) {
            return None;
        }
        (made.seen, made.moment) = (made.seen.max(objects.changed()), moment);
        Some(made.outcome.clone())
    }

    /// Before what is looked at afterwards.
    fn moment(&self) -> Moment {
        let (engines, placed) = (*self.seen.borrow(), *self.placed.borrow());
        Moment { engines, placed, minute: clock() / 60_000 }
    }

    fn tickets(&self, engine: &Engine) -> Vec<TicketKey> {
        self.app.objects.ticket_keys(&engine.group, clock() / 1000)
    }

    //= CHAN-MADE-01
    /// What this engine is to work by, and which of its services it cannot have.
    fn make(&self, uuid: &str) -> Compiled {
        let slot = self.slot(uuid);
        let mut made = slot.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..TRIES_MAX {
            let Some(now) = self.now(uuid) else { break };
            if let Some(made) = made.as_mut().filter(|made| made.is_of(&now)) {
                let objects = self.app.objects.now();
                if changed(made, &objects).is_some_and(|ids| ids.is_empty()) {
                    (made.seen, made.moment) = (made.seen.max(objects.changed()), now.moment);
                    return made.outcome.clone();
                }
            }
            let next = self.made(made.as_ref(), now);
            // Objects that changed meanwhile may have been read as they were together at no moment: a service must not be left
            // out for that.
            let is_so = changed(&next, &self.app.objects.now()).is_some_and(|ids| ids.is_empty());
            if is_so {
                let outcome = next.outcome.clone();
                *made = Some(next);
                return outcome;
            }
        }
        // So much changes that it is made later: each change has told of itself.
        match made.as_ref() {
            Some(made) => made.outcome.clone(),
            None => Err(vec!["there is no such engine, or its objects change too fast".to_owned()]),
        }
    }

    fn made(&self, before: Option<&Made>, now: Now) -> Made {
        let (seen, concerned) = {
            let objects = self.app.objects.now();
            (objects.changed(), before.and_then(|before| concerned(before, &now, &objects)))
        };
        let closed = now.services.iter().filter(|has| !has.accepts).map(|has| has.service.clone()).collect();
        let reads = Reads { objects: &self.app.objects, closed, read: RefCell::default() };
        let placed = now.services.iter().map(|has| Placed {
            service: has.service.clone(),
            vips: Vec::new(),
            engines: has.engines,
            since: has.since,
            children: has.children.clone(),
        });
        let input = Input {
            objects: &reads,
            engine: now.described.clone(),
            services: placed.collect(),
            ticket_keys: now.tickets.clone(),
        };
        let part = before.zip(concerned).and_then(|(before, concerned)| {
            let sections = before.outcome.as_ref().ok().filter(|_| before.left_out.is_empty())?;
            if before.read.len() > 2 * before.read_whole.max(READ_LEAST) {
                return None;
            }
            let after = |services: &BTreeSet<String>, monitors: &BTreeSet<String>| {
                compile_after(&input, sections, &before.outline, services, monitors)
            };
            let Concerned { mut services, monitors } = concerned;
            let part = after(&services, &monitors);
            if part.is_some() || monitors.is_empty() {
                return part;
            }
            {
                let objects = self.app.objects.now();
                let served = served(&now.services);
                for uuid in &monitors {
                    services.extend(above(&Id { kind: MONITOR, uuid: uuid.clone() }, &served, &objects)?);
                }
            }
            after(&services, &BTreeSet::new())
        });
        let mut read = reads.read.take();
        let (done, read_whole) = match part {
            Some(part) => {
                // What the others read stands as it was read.
                read.extend(before.iter().flat_map(|before| before.read.iter().cloned()));
                (Ok(part), before.map_or(0, |before| before.read_whole))
            }
            None => {
                let done = compile(&input);
                read = reads.read.take();
                let size = read.len();
                (done, size)
            }
        };
        let in_words = |problems: Vec<forebay_model::Problem>| -> Vec<String> {
            problems.iter().map(ToString::to_string).collect()
        };
        let (outcome, outline, left_out) = match done {
            Ok(made) => {
                let left_out = made.left_out.into_iter().map(|(uuid, why)| (uuid, in_words(why))).collect();
                (Ok(Arc::new(made.sections)), made.outline, left_out)
            }
            Err(problems) => (Err(in_words(problems)), Outline::default(), BTreeMap::new()),
        };
        // Where nothing of it is new, it is the same: nothing is compared further on.
        let outcome = match (before.map(|before| &before.outcome), outcome) {
            (Some(Ok(before)), Ok(after)) if *before == after => Ok(Arc::clone(before)),
            (_, outcome) => outcome,
        };
        Made {
            seen,
            moment: now.moment,
            read,
            read_whole,
            described: now.described,
            services: now.services,
            tickets: now.tickets,
            outcome,
            outline,
            left_out,
        }
    }
}

/// What has changed of what was read; `None`: that is not known any more.
fn changed<'c>(made: &Made, objects: &'c Catalogue) -> Option<BTreeSet<&'c Id>> {
    let ids = objects.changed_since(made.seen)?;
    let was_read = |id: &&Id| {
        made.read.contains(&(id.kind.to_owned(), id.uuid.clone()))
            || made.read.contains(&(id.kind.to_owned(), String::new()))
    };
    Some(ids.filter(was_read).collect())
}

/// What has to be made again.
struct Concerned {
    services: BTreeSet<String>,
    /// Monitors that others than these may stand on, by their uuids: it may be that nothing else follows of them.
    monitors: BTreeSet<String>,
}

/// The services of an engine by themselves and by their children.
fn served(services: &[Has]) -> BTreeMap<&str, &str> {
    let all = services.iter().flat_map(|has| {
        has.children.iter().chain([&has.service]).map(|uuid| (uuid.as_str(), has.service.as_str()))
    });
    all.collect()
}

/// The parts of the document that have to be made again; `None`: it may be any.
fn concerned(made: &Made, now: &Now, objects: &Catalogue) -> Option<Concerned> {
    // Members come and go beside the services.
    let shared = |described: &Described| (described.group.clone(), described.shares_listeners);
    if shared(&made.described) != shared(&now.described) {
        return None;
    }
    let (mut concerned, mut monitors) = (BTreeSet::new(), BTreeSet::new());
    let before: BTreeMap<&str, &Has> = made.services.iter().map(|has| (has.service.as_str(), has)).collect();
    let served = served(&now.services);
    for has in now.services.iter().filter(|has| before.get(has.service.as_str()) != Some(has)) {
        concerned.insert(has.service.clone());
    }
    for id in changed(made, objects)? {
        if made.read.contains(&(id.kind.to_owned(), String::new())) {
            return None;
        }
        // The engine's own parts are made each time.
        if id.kind == "serviceenginegroup" {
            continue;
        }
        if id.kind == MONITOR && objects.get(id.kind, &id.uuid).is_some() {
            monitors.insert(id.uuid.clone());
            continue;
        }
        concerned.extend(above(id, &served, objects)?);
    }
    Some(Concerned { services: concerned, monitors })
}

/// The services that stand on an object, however far above it; `None`: none of them, or most.
fn above(id: &Id, served: &BTreeMap<&str, &str>, objects: &Catalogue) -> Option<BTreeSet<String>> {
    let (mut open, mut seen, mut found) = (vec![id.clone()], BTreeSet::new(), BTreeSet::new());
    while let Some(id) = open.pop() {
        if seen.len() > LOOKED_AT_MAX {
            return None;
        }
        if !seen.insert(id.clone()) {
            continue;
        }
        if id.kind == "virtualservice" {
            found.extend(served.get(id.uuid.as_str()).map(|uuid| (*uuid).to_owned()));
        } else {
            open.extend(objects.referrers(&id).take(LOOKED_AT_MAX + 1).map(|held| held.id()));
        }
    }
    // What was gone from under a service before it was changed has nothing above it any more, and concerns nobody; what is
    // there and was read without being referred to is the engine's own.
    let is_there = objects.get(id.kind, &id.uuid).is_some();
    (!found.is_empty() || !is_there || id.kind == "virtualservice").then_some(found)
}

impl<S: Store + 'static> Wanted for Maker<S> {
    //= CHAN-MADE-02
    fn of<'a>(&'a self, engine: &'a str) -> Pin<Box<dyn Future<Output = Compiled> + Send + 'a>> {
        Box::pin(async move {
            if let Some(outcome) = self.as_before(engine) {
                return outcome;
            }
            let stops = || Err(vec!["the Controller stops".to_owned()]);
            let (Ok(_place), Some(itself)) = (self.places.acquire().await, self.itself.upgrade()) else {
                return stops();
            };
            let uuid = engine.to_owned();
            tokio::task::spawn_blocking(move || itself.make(&uuid)).await.unwrap_or_else(|_| stops())
        })
    }

    fn left_out(&self, engine: &str) -> BTreeMap<String, Vec<String>> {
        let slot = self.slot(engine);
        let made = slot.lock().unwrap_or_else(PoisonError::into_inner);
        made.as_ref().map(|made| made.left_out.clone()).unwrap_or_default()
    }

    fn follow(&self) -> watch::Receiver<u64> {
        self.told.subscribe()
    }
}

/// Objects as they are now, and what is read of them.
struct Reads<'o, S> {
    objects: &'o Objects<S>,
    /// Services that let nobody in on this engine, whatever their objects say.
    closed: BTreeSet<String>,
    read: RefCell<BTreeSet<(String, String)>>,
}

impl<S: Store> Lookup for Reads<'_, S> {
    fn get(&self, kind: &str, uuid: &str) -> Option<Object> {
        self.read.borrow_mut().insert((kind.to_owned(), uuid.to_owned()));
        let mut object = Lookup::get(self.objects, kind, uuid)?;
        if kind == "virtualservice" && self.closed.contains(uuid) {
            object.insert("enabled".to_owned(), Value::from(false));
        }
        Some(object)
    }

    fn named(&self, kind: &str, name: &str) -> Option<(String, Object)> {
        self.read.borrow_mut().insert((kind.to_owned(), String::new()));
        Lookup::named(self.objects, kind, name)
    }
}
