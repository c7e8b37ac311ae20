//! What each engine is to work by: the objects and its services, compiled.
//!
//! What was read of the objects is noted with each result, and only a change of that, of the engine's group or of its
//! services has it made again.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forebay_model::Object;
use forebay_model::compile::{
    Engine as Described, Identity, Input, Lookup, Member, Placed, TicketKey, compile,
};
use serde_json::Value;
use tokio::sync::watch;

use super::{Compiled, Wanted};
use crate::api::{App, clock};
use crate::engines::{Engine, group_name};
use crate::objects::Objects;
use crate::store::Store;

/// How often it is looked whether keys of session tickets are others by now.
const KEYS_LOOK: Duration = Duration::from_secs(60);

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
    /// What was read: kind and uuid; an empty uuid stands for all of the kind.
    read: BTreeSet<(String, String)>,
    described: Described,
    services: Vec<Has>,
    tickets: Vec<TicketKey>,
    outcome: Compiled,
    left_out: BTreeMap<String, Vec<String>>,
}

/// Makes configurations, and makes them again when what they were made of has changed.
pub struct Maker<S> {
    app: Arc<App<S>>,
    made: Mutex<BTreeMap<String, Made>>,
    told: watch::Sender<u64>,
}

impl<S: Store + 'static> Maker<S> {
    /// For these engines; tells of changes as long as it is used.
    pub fn new(app: Arc<App<S>>) -> Arc<Self> {
        let maker = Arc::new(Maker { app, made: Mutex::default(), told: watch::Sender::default() });
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
            // As the engine calls them in its folder.
            identity: Identity {
                group: group_name(&engine.group),
                ca_file: "authority.pem".to_owned(),
                certificate_file: "engine.pem".to_owned(),
                key_file: "engine.key".to_owned(),
                secret_file: "group.secret".to_owned(),
            },
            redis_address: None,
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

    fn is_as_before(
        &self,
        made: &Made,
        (described, services, tickets): (&Described, &[Has], &[TicketKey]),
    ) -> bool {
        if made.described != *described || made.services != services || made.tickets != tickets {
            return false;
        }
        let now = self.app.objects.now();
        now.changed_since(made.seen).is_some_and(|mut changed| {
            !changed.any(|id| {
                made.read.contains(&(id.kind.to_owned(), id.uuid.clone()))
                    || made.read.contains(&(id.kind.to_owned(), String::new()))
            })
        })
    }

    //= CHAN-MADE-01
    /// What this engine is to work by, and which of its services it cannot have.
    fn make(&self, uuid: &str) -> Compiled {
        let Some(engine) = self.app.engines.get(uuid) else {
            return Err(vec!["there is no such engine".to_owned()]);
        };
        let (described, services) = (self.described(&engine), self.services(uuid));
        let tickets = self.app.objects.ticket_keys(&engine.group, clock() / 1000);
        let mut all = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = all.get_mut(uuid)
            && self.is_as_before(made, (&described, &services, &tickets))
        {
            made.seen = made.seen.max(self.app.objects.now().changed());
            return made.outcome.clone();
        }
        let seen = self.app.objects.now().changed();
        let closed = services.iter().filter(|has| !has.accepts).map(|has| has.service.clone()).collect();
        let reads = Reads { objects: &self.app.objects, closed, read: RefCell::default() };
        let placed = services.iter().map(|has| Placed {
            service: has.service.clone(),
            vips: Vec::new(),
            engines: has.engines,
            since: has.since,
            children: has.children.clone(),
        });
        let input = Input {
            objects: &reads,
            engine: described.clone(),
            services: placed.collect(),
            ticket_keys: tickets.clone(),
        };
        let in_words = |problems: Vec<forebay_model::Problem>| -> Vec<String> {
            problems.iter().map(ToString::to_string).collect()
        };
        let (outcome, left_out) = match compile(&input) {
            Ok(made) => {
                let left_out = made.left_out.into_iter().map(|(uuid, why)| (uuid, in_words(why))).collect();
                (Ok(Arc::new(made.sections)), left_out)
            }
            Err(problems) => (Err(in_words(problems)), BTreeMap::new()),
        };
        // Where nothing of it is new, it is the same: nothing is compared further on.
        let outcome = match (all.get(uuid).map(|made| &made.outcome), outcome) {
            (Some(Ok(before)), Ok(after)) if *before == after => Ok(Arc::clone(before)),
            (_, outcome) => outcome,
        };
        let made = Made {
            seen,
            read: reads.read.into_inner(),
            described,
            services,
            tickets,
            outcome: outcome.clone(),
            left_out,
        };
        all.insert(uuid.to_owned(), made);
        outcome
    }
}

impl<S: Store + 'static> Wanted for Maker<S> {
    fn of<'a>(&'a self, engine: &'a str) -> Pin<Box<dyn Future<Output = Compiled> + Send + 'a>> {
        Box::pin(async move { self.make(engine) })
    }

    fn left_out(&self, engine: &str) -> BTreeMap<String, Vec<String>> {
        let all = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(engine).map(|made| made.left_out.clone()).unwrap_or_default()
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
