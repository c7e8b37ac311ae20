//! One look: what stands otherwise than it was told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_core::place::EngineState;
use forebay_model::{Object, compile};

use super::book::{Book, Told};
use super::event::{of_engine, of_leader, of_node, of_peer, of_pool, of_server, of_service};
use super::judged::{self, OfEngine, OfPool, Settings};
use super::{LOOK_MAX, SERVICES_MIN, THING_MAX};
use crate::api::{App, Look};
use crate::cluster::Neighbour;
use crate::engines::{Engine, KIND as ENGINE};
use crate::objects::{Catalogue, Held, Id};
use crate::placement::{Seen, seen};
use crate::store::{Revision, Store};

const SERVICE: &str = "virtualservice";
const POOL: &str = "pool";
const CLUSTER: &str = "cluster";
/// What has never been up is told to be down when it has stood so for so long: what begins takes its time.
const BEGINNING: Duration = Duration::from_secs(10);

/// What of a thing was told otherwise.
pub struct Change {
    /// The kind of its object.
    pub kind: &'static str,
    /// Its uuid.
    pub uuid: String,
    /// What is told of it now; `None`: it is not there any more.
    pub after: Option<Told>,
    /// What is told.
    pub events: Vec<Object>,
}

/// What a look found.
pub struct Found {
    /// In the order in which it is to be told.
    pub changes: Vec<Change>,
    /// There is more.
    pub is_more: bool,
    /// What was looked at.
    pub stamp: Stamp,
}

/// By what pools stand: while it is the same they stand as before.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    engines: Vec<(String, bool, u64, usize)>,
    objects: u64,
}

/// What is kept between looks.
#[derive(Default)]
pub struct Memory {
    settings: HashMap<String, (Revision, Arc<Settings>)>,
    /// Why pools are down.
    whys: BTreeMap<String, String>,
    /// Since when things that were never up are down, by kind, uuid and part.
    since: BTreeMap<(&'static str, String, String), Instant>,
    stamp: Option<Stamp>,
    /// How many changes of the objects were looked at.
    changed: u64,
}

impl Memory {
    /// What was looked at is told.
    pub fn settle(&mut self, stamp: Stamp) {
        self.stamp = Some(stamp);
    }

    /// Reads pools that have changed.
    fn read(&mut self, pools: Vec<Arc<Held>>) {
        let mut before = std::mem::take(&mut self.settings);
        for held in pools {
            let known = before.remove(&held.uuid).filter(|(revision, _)| *revision == held.revision);
            let settings = known.unwrap_or_else(|| (held.revision, Arc::new(Settings::of(&held))));
            self.settings.insert(held.uuid.clone(), settings);
        }
    }
}

/// Looks at everything.
pub fn look<S: Store + 'static>(app: &App<S>, book: &Book, memory: &mut Memory, now: Instant) -> Found {
    let engines = app.engines.all();
    let seen: Vec<Seen> = engines
        .iter()
        .map(|engine| seen(engine, app.began, now, |name| Some(compile::uuid_of(name))))
        .collect();
    let (pools, stamp) = pools(app, memory, &engines, &seen, now);
    let of_engines = judged::engines(&engines, &seen);
    // What engines tell is noted without a copy from here on.
    drop(engines);
    let known = app.placement.known();
    let services: Vec<(String, (bool, Vec<String>))> = {
        let mut all: Vec<&String> = known.world.of.keys().collect();
        all.sort_unstable();
        let of = |uuid: &String| {
            let stands = Look::of(app, &known, uuid, &seen).stands()?;
            let told = book.get(SERVICE, uuid).and_then(|told| told.up);
            (told != Some(stands.0)).then(|| (uuid.clone(), stands))
        };
        all.into_iter().filter_map(of).collect()
    };
    let pools = pools.map(|mut pools| {
        pools.retain(|uuid, pool| is_news(book.get(POOL, uuid), pool));
        pools
    });
    // What is told already is left out by now: while the objects are read here, nobody writes any.
    let names: HashMap<String, String> = seen.into_iter().map(|seen| (seen.uuid, seen.name)).collect();
    let objects = app.objects.now();
    let mut looking = Looking {
        objects: &objects,
        book,
        names: &names,
        whys: &memory.whys,
        before: std::mem::take(&mut memory.since),
        since: BTreeMap::new(),
        now,
        left: LOOK_MAX,
        is_more: false,
        changes: Vec::new(),
    };
    looking.engines(of_engines);
    if let Some(pools) = &pools {
        looking.pools(pools);
    }
    looking.services(services);
    looking.controllers(&app.cluster.all());
    looking.gone(memory.changed);
    let Looking { since, changes, is_more, .. } = looking;
    memory.since = since;
    if !is_more {
        memory.changed = objects.changed();
    }
    Found { changes, is_more, stamp }
}

/// How pools stand; `None`: as at the last look, or that is not known now.
fn pools<S: Store>(
    app: &App<S>,
    memory: &mut Memory,
    engines: &[Arc<Engine>],
    seen: &[Seen],
    now: Instant,
) -> (Option<BTreeMap<String, OfPool>>, Stamp) {
    let both = || engines.iter().zip(seen);
    let of = |(engine, seen): (&Arc<Engine>, &Seen)| {
        let configured = engine.configured.as_ref().map_or(0, |sections| Arc::as_ptr(sections).addr());
        (engine.uuid.clone(), seen.state == EngineState::Lost, engine.reports, configured)
    };
    let held: Option<Vec<Arc<Held>>>;
    let stamp;
    {
        let objects = app.objects.now();
        let known = memory.stamp.as_ref().map(|stamp| stamp.objects);
        let since = known.and_then(|known| objects.changed_since(known));
        let is_news = since.is_none_or(|mut changed| changed.any(|id| id.kind == POOL));
        stamp = Stamp {
            engines: both().map(of).collect(),
            objects: known.filter(|_| !is_news).unwrap_or_else(|| objects.changed()),
        };
        held = is_news.then(|| objects.all(POOL).map(Arc::clone).collect());
    }
    if let Some(held) = held {
        memory.read(held);
    }
    let is_early = both().any(|(engine, seen)| judged::is_about_to_tell(engine, seen, (app.began, now)));
    if is_early || memory.stamp.as_ref() == Some(&stamp) {
        // Of what was not looked at nothing is settled.
        let stamp = memory.stamp.take().unwrap_or_default();
        return (None, stamp);
    }
    let settings: HashMap<String, Arc<Settings>> =
        memory.settings.iter().map(|(uuid, (_, settings))| (uuid.clone(), Arc::clone(settings))).collect();
    let pools = judged::pools(engines, seen, &settings);
    let down = pools.iter().filter(|(_, pool)| pool.up == Some(false));
    memory.whys = down.map(|(uuid, pool)| (uuid.clone(), pool.why())).collect();
    (Some(pools), stamp)
}

/// Says whether a pool stands otherwise than was told.
fn is_news(told: Option<&Told>, pool: &OfPool) -> bool {
    let none = Told::default();
    let told = told.unwrap_or(&none);
    pool.up.is_some() && pool.up != told.up
        || pool.servers.iter().any(|(address, (up, _))| *up == Some(told.down.contains(address)))
        || told.down.iter().any(|address| !pool.servers.contains_key(address))
}

struct Looking<'l> {
    objects: &'l Catalogue,
    book: &'l Book,
    /// Of engines, by their uuids.
    names: &'l HashMap<String, String>,
    whys: &'l BTreeMap<String, String>,
    before: BTreeMap<(&'static str, String, String), Instant>,
    since: BTreeMap<(&'static str, String, String), Instant>,
    now: Instant,
    /// Events that this look may still tell.
    left: usize,
    is_more: bool,
    changes: Vec<Change>,
}

impl<'l> Looking<'l> {
    fn told(&self, kind: &str, uuid: &str) -> Told {
        self.book.get(kind, uuid).cloned().unwrap_or_default()
    }

    /// Room for one event more than so many.
    fn has_room(&mut self, events: usize) -> bool {
        let has_room = self.left > events;
        self.is_more |= !has_room;
        has_room
    }

    fn change(&mut self, kind: &'static str, uuid: &str, after: Told, events: Vec<Object>) {
        if self.book.get(kind, uuid) != Some(&after) && (after != Told::default() || !events.is_empty()) {
            self.left -= events.len().min(self.left);
            self.changes.push(Change { kind, uuid: uuid.to_owned(), after: Some(after), events });
        }
    }

    /// Whether it has been so for long enough to be told, of what was never otherwise.
    fn has_stood(&mut self, kind: &'static str, uuid: &str, part: &str) -> bool {
        let key = (kind, uuid.to_owned(), part.to_owned());
        let since = self.before.get(&key).copied().unwrap_or(self.now);
        self.since.insert(key, since);
        self.now.saturating_duration_since(since) >= BEGINNING
    }

    fn engines(&mut self, all: Vec<OfEngine>) {
        for one in all {
            let Some(held) = self.objects.get(ENGINE, &one.uuid) else { continue };
            let (mut after, mut events) = (self.told(ENGINE, &one.uuid), Vec::new());
            if let Some(up) = one.up.filter(|up| after.up != Some(*up))
                && self.has_room(0)
            {
                events.push(of_engine(held, up, one.patience));
                after.up = Some(up);
            }
            if let Some(peers) = one.peers {
                after.peers.retain(|peer, _| peers.iter().any(|(now, _)| now == peer));
                for (peer, is_connected) in peers {
                    let known = after.peers.get(&peer).copied();
                    let is_due = match (known, is_connected) {
                        (Some(known), now) => known != now,
                        (None, true) => {
                            after.peers.insert(peer, true);
                            continue;
                        }
                        (None, false) => self.has_stood(ENGINE, &one.uuid, &peer),
                    };
                    if is_due && self.has_room(events.len()) && events.len() < THING_MAX {
                        let name = self.names.get(&peer).unwrap_or(&peer);
                        events.push(of_peer(held, (&peer, name), is_connected));
                        after.peers.insert(peer, is_connected);
                    }
                }
            }
            self.change(ENGINE, &one.uuid, after, events);
        }
    }

    fn pools(&mut self, all: &BTreeMap<String, OfPool>) {
        for (uuid, pool) in all {
            let Some(held) = self.objects.get(POOL, uuid) else { continue };
            let (mut after, mut events) = (self.told(POOL, uuid), Vec::new());
            // What is not told of any more is no server of it.
            after.down.retain(|address| pool.servers.contains_key(address));
            let mut is_all = true;
            for (address, (up, why)) in &pool.servers {
                let Some(up) = up.filter(|up| *up == after.down.contains(address)) else { continue };
                if events.len() == THING_MAX {
                    self.change(POOL, uuid, after.clone(), std::mem::take(&mut events));
                }
                is_all = self.has_room(events.len() + SERVICES_MIN);
                if !is_all {
                    break;
                }
                events.push(of_server(held, pool, (address, up, why)));
                match up {
                    true => after.down.remove(address),
                    false => after.down.insert(address.clone()),
                };
            }
            if events.len() == THING_MAX {
                self.change(POOL, uuid, after.clone(), std::mem::take(&mut events));
            }
            // It follows from them, and is told behind them.
            if let Some(up) = pool.up.filter(|up| is_all && after.up != Some(*up))
                && self.has_room(events.len() + SERVICES_MIN)
            {
                let related = self.services_of(held);
                events.push(of_pool(held, pool, up, related));
                after.up = Some(up);
            }
            self.change(POOL, uuid, after, events);
        }
    }

    fn services(&mut self, all: Vec<(String, (bool, Vec<String>))>) {
        for (uuid, (up, why)) in all {
            let mut after = self.told(SERVICE, &uuid);
            let is_due = match after.up {
                Some(told) => told != up,
                None => up || self.has_stood(SERVICE, &uuid, ""),
            };
            let Some(held) = self.objects.get(SERVICE, &uuid).filter(|_| is_due) else { continue };
            if !self.has_room(0) {
                return;
            }
            let mut why = why;
            let pools = self.pools_of(held);
            for pool in &pools {
                if let Some(told) = self.whys.get(&pool.uuid).filter(|told| !up && !told.is_empty()) {
                    why.push(format!("pool {}: {told}", pool.name));
                }
            }
            let related = pools.into_iter().map(|pool| pool.uuid.clone()).collect();
            let event = of_service(held, up, &why.join("; "), related);
            after.up = Some(up);
            self.change(SERVICE, &uuid, after, vec![event]);
        }
    }

    //= EVENT-STATE-04
    fn controllers(&mut self, all: &[Neighbour]) {
        // A Controller alone says where it is, and not where engines find it.
        let leader = all.iter().find(|one| one.leads && one.engines.is_some());
        let Some((leader, held)) = leader.zip(self.objects.all(CLUSTER).next()) else { return };
        let before = self.told(CLUSTER, &held.uuid);
        let (mut after, mut events) = (before.clone(), Vec::new());
        if before.leader != leader.name && self.has_room(0) {
            if before.nodes.len() > 1 {
                events.push(of_leader(held, &leader.name, &before.leader));
            }
            after.leader.clone_from(&leader.name);
        }
        for one in all {
            let is_there = one.since.is_some();
            let known = before.nodes.get(&one.name).copied();
            let is_told = match known {
                Some(known) => known != is_there,
                None => is_there && !before.nodes.is_empty(),
            };
            if is_told {
                if !self.has_room(events.len()) {
                    break;
                }
                events.push(of_node(held, &one.name, Some(one), is_there));
            }
            after.nodes.insert(one.name.clone(), is_there);
        }
        for (name, was_there) in &before.nodes {
            if all.iter().any(|one| one.name == *name) {
                continue;
            }
            // The only one there was has another name where there are several.
            if *was_there && before.nodes.len() > 1 {
                if !self.has_room(events.len()) {
                    break;
                }
                events.push(of_node(held, name, None, false));
            }
            after.nodes.remove(name);
        }
        let uuid = held.uuid.clone();
        self.change(CLUSTER, &uuid, after, events);
    }

    /// Of what is not there any more, and was so many changes ago, nothing is kept.
    fn gone(&mut self, seen: u64) {
        let (objects, book) = (self.objects, self.book);
        let mut gone = |kind: &'static str, uuid: &String| {
            if objects.get(kind, uuid).is_none() && book.get(kind, uuid).is_some() {
                self.changes.push(Change { kind, uuid: uuid.clone(), after: None, events: Vec::new() });
            }
        };
        match objects.changed_since(seen).filter(|_| seen > 0) {
            Some(changed) => {
                let changed: BTreeSet<&Id> = changed.collect();
                changed.into_iter().for_each(|id| gone(id.kind, &id.uuid));
            }
            None => book.things().for_each(|(kind, uuid)| gone(kind, uuid)),
        }
    }

    /// The pools of a service, those of its groups of pools too.
    fn pools_of(&self, held: &Held) -> Vec<&'l Held> {
        let objects = self.objects;
        let groups = held.refers.iter().filter(|id| id.kind == "poolgroup");
        let groups = groups.filter_map(|id| objects.get("poolgroup", &id.uuid));
        let all = held.refers.iter().chain(groups.flat_map(|group| &group.refers));
        let uuids: BTreeSet<&str> = all.filter(|id| id.kind == POOL).map(|id| id.uuid.as_str()).collect();
        uuids.into_iter().filter_map(|uuid| objects.get(POOL, uuid).map(Arc::as_ref)).collect()
    }

    /// The services of a pool.
    fn services_of(&self, held: &Held) -> Vec<String> {
        let id = held.id();
        let users = self.objects.referrers(&id);
        users.filter(|user| user.kind.path == SERVICE).map(|user| user.uuid.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use serde_json::{Value, json};

    use super::*;

    fn node(last: u8, leads: bool, is_there: bool) -> Neighbour {
        let at = SocketAddr::from(([192, 0, 2, last], 8443));
        let since = is_there.then_some(1);
        Neighbour {
            name: format!("n{last}"),
            address: at.ip(),
            engines: Some(at),
            controllers: None,
            leads,
            since,
        }
    }

    //= test EVENT-STATE-04
    #[test]
    fn controllers_that_come_and_go_and_who_leads_are_told_once() {
        let mut objects = Catalogue::default();
        let bytes = json!({"name": "cluster-0-1"}).to_string().into_bytes();
        objects.put(Held::read("object/cluster/cluster-1", bytes, 1).expect("an object"));
        let mut book = Book::default();
        let mut look = |all: &[Neighbour]| -> Vec<String> {
            let mut looking = Looking {
                objects: &objects,
                book: &book,
                names: &HashMap::new(),
                whys: &BTreeMap::new(),
                before: BTreeMap::new(),
                since: BTreeMap::new(),
                now: Instant::now(),
                left: LOOK_MAX,
                is_more: false,
                changes: Vec::new(),
            };
            looking.controllers(all);
            let mut told = Vec::new();
            for change in looking.changes {
                let of = |event: &Object| {
                    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    let node = &event["event_details"].as_object().and_then(|all| all.values().next());
                    let node = node.map(|part| text(&part["node_name"])).unwrap_or_default();
                    format!("{} {node}", text(&event["event_id"]))
                };
                told.extend(change.events.iter().map(of));
                book.set(change.kind, change.uuid, change.after.map(|after| (after, 1)));
            }
            told
        };
        let none: [&str; 0] = [];
        // One alone is no cluster, and as long as nobody has looked only the one that leads is known.
        assert_eq!(look(&[Neighbour { engines: None, ..node(1, true, true) }]), none);
        assert_eq!(look(&[node(1, true, true), node(2, false, false), node(3, false, true)]), none);
        let joined = [node(1, true, true), node(2, false, true), node(3, false, true)];
        assert_eq!(look(&joined), ["CONTROLLER_NODE_JOINED n2"]);
        assert_eq!(look(&joined), none);
        // Another one leads; then who led is not heard any more.
        let led = [node(1, false, true), node(2, true, true), node(3, false, true)];
        assert_eq!(look(&led), ["CONTROLLER_LEADER_FAILOVER "]);
        let lost = [node(1, false, false), node(2, true, true), node(3, false, true)];
        assert_eq!(look(&lost), ["CONTROLLER_NODE_LEFT n1"]);
        assert_eq!(look(&lost), none);
        assert_eq!(look(&led), ["CONTROLLER_NODE_JOINED n1"]);
        // It is none of them any more, and another one is.
        let other = [node(2, true, true), node(3, false, true), node(4, false, true)];
        assert_eq!(look(&other), ["CONTROLLER_NODE_JOINED n4", "CONTROLLER_NODE_LEFT n1"]);
        assert_eq!(look(&other), none);
    }
}
