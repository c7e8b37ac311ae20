//! How things stand by what engines tell: each of them is up where any engine says so, and down where all that tell of it say so.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_core::place::EngineState;
use forebay_model::compile::uuid_of;
use serde_json::Value;

use crate::engines::Engine;
use crate::objects::{Held, port};
use crate::placement::Seen;

/// An engine.
pub struct OfEngine {
    /// Its uuid.
    pub uuid: String,
    /// It is there; `None`: that is not known, or it never was.
    pub up: Option<bool>,
    /// It counts as gone when nothing was heard of it for longer than this.
    pub patience: Duration,
    /// The others with which it shares tables, and whether it is connected with them; `None`: it has not told.
    pub peers: Option<Vec<(String, bool)>>,
}

/// How engines stand; each is seen as the one at its place.
pub fn engines(engines: &[Arc<Engine>], seen: &[Seen]) -> Vec<OfEngine> {
    let slot = |engine: &Arc<Engine>| Some(((engine.group.clone(), engine.slot?), engine.uuid.clone()));
    let slots: HashMap<(String, u8), String> = engines.iter().filter_map(slot).collect();
    let of = |(engine, seen): (&Arc<Engine>, &Seen)| {
        let peers = engine.peers.iter().filter_map(|peer| {
            Some((slots.get(&(engine.group.clone(), peer.slot))?.clone(), peer.is_connected))
        });
        OfEngine {
            uuid: engine.uuid.clone(),
            up: match seen.state {
                EngineState::Up => Some(true),
                EngineState::Lost => engine.slot.map(|_| false),
                EngineState::Silent => None,
            },
            patience: engine.patience,
            peers: (seen.state == EngineState::Up && engine.reports > 0).then(|| peers.collect()),
        }
    };
    engines.iter().zip(seen).map(of).collect()
}

/// Says whether an engine has yet to tell how things are with it: others alone would let them seem worse. One that never does is
/// waited for as long as for one that is silent.
pub fn is_about_to_tell(engine: &Engine, seen: &Seen, (began, now): (Instant, Instant)) -> bool {
    // What it works by is compared first; it tells of nothing else.
    let has_told = engine.reports > 0
        && !engine.is_telling
        && engine.configured.as_ref().is_none_or(|sections| !sections.is_empty());
    let since = engine.since.unwrap_or(began);
    !has_told
        && seen.state != EngineState::Lost
        && engine.slot.is_some()
        && now.saturating_duration_since(since) <= engine.patience
}

/// A pool and its servers, by their addresses.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct OfPool {
    /// A server of it is up that is enabled; `None`: that is not known, or it is off.
    pub up: Option<bool>,
    /// Whether they are up, and why not. Those that are off are not among them.
    pub servers: BTreeMap<String, (Option<bool>, String)>,
}

impl OfPool {
    /// Servers that are up, and all that are told of.
    pub fn counts(&self) -> (usize, usize) {
        let up = self.servers.values().filter(|(up, _)| *up == Some(true)).count();
        (up, self.servers.len())
    }

    /// What was said of a server that is down.
    pub fn why(&self) -> String {
        let down = self.servers.iter().find(|(_, (up, why))| *up == Some(false) && !why.is_empty());
        down.map(|(address, (_, why))| format!("{address}: {why}")).unwrap_or_default()
    }
}

/// What the object of a pool says beside.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settings {
    is_off: bool,
    /// The addresses of servers that are off.
    off: BTreeSet<String>,
}

impl Settings {
    /// Of this pool.
    pub fn of(held: &Held) -> Self {
        let object = held.object();
        let default = port(&object);
        let servers = object.get("servers").and_then(Value::as_array).into_iter().flatten();
        let off = servers.filter(|server| server["enabled"] == false);
        Settings {
            is_off: object.get("enabled") == Some(&Value::Bool(false)),
            off: off.map(|server| address(server, default)).collect(),
        }
    }
}

/// The address and port of a server, as engines tell of it.
pub fn address(server: &Value, default: u64) -> String {
    let ip = server["ip"]["addr"].as_str().unwrap_or_default().to_ascii_lowercase();
    let port = server["port"].as_u64().filter(|port| *port > 0).unwrap_or(default);
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// How pools stand, by their uuids; of engines that are lost nothing is known.
pub fn pools(
    engines: &[Arc<Engine>],
    seen: &[Seen],
    settings: &HashMap<String, Arc<Settings>>,
) -> BTreeMap<String, OfPool> {
    let mut all: BTreeMap<String, OfPool> = BTreeMap::new();
    let there = engines.iter().zip(seen).filter(|(_, seen)| seen.state != EngineState::Lost);
    for (engine, _) in there {
        // One after the other, in the order of their pools: what is the same for a pool is looked up once.
        let mut told = engine.servers.iter().peekable();
        while let Some(((name, _), _)) = told.peek() {
            let (name, uuid) = (name.as_str(), uuid_of(name));
            let own = std::iter::from_fn(|| told.next_if(|((pool, _), _)| pool == name));
            let known = settings.get(uuid);
            let is_to_have =
                engine.configured.as_ref().is_none_or(|has| has.contains_key(&format!("pool/{name}")));
            if !is_to_have || known.is_none() {
                own.for_each(drop);
                continue;
            }
            let pool = all.entry(uuid.to_owned()).or_default();
            for ((_, address), server) in own {
                if known.is_some_and(|known| known.is_off || known.off.contains(address)) {
                    continue;
                }
                let (up, why) = pool.servers.entry(address.clone()).or_insert((Some(false), String::new()));
                match (server.state.as_str(), *up) {
                    ("up", _) => *up = Some(true),
                    ("checking", Some(false)) => *up = None,
                    _ => {}
                }
                if why.is_empty() && server.state != "up" {
                    why.clone_from(&server.why);
                }
            }
        }
    }
    for pool in all.values_mut() {
        let is = |wanted: Option<bool>| pool.servers.values().any(|(up, _)| *up == wanted);
        pool.up = match (is(Some(true)), is(None), is(Some(false))) {
            (true, ..) => Some(true),
            (_, false, true) => Some(false),
            _ => None,
        };
    }
    all
}
