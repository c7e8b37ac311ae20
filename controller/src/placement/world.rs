//! What the objects say about placement.
//!
//! What was read of an object is kept as long as it stays as it is: a look at ten thousand services reads those that changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use forebay_core::place::{Group, Ha, Spread, Vip};
use forebay_core::policy::Prefix;
use serde_json::Value;

use crate::objects::{self, Catalogue, Held, Id, default_group};
use crate::store::Revision;

/// Servers of a service that count where an engine is chosen: those after them stand in the same networks.
const SERVERS_MAX: usize = 32;

/// A virtual service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vs {
    /// Its uuid.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// The uuid of its tenant.
    pub tenant: String,
    /// It is on.
    pub is_enabled: bool,
    /// It is on, and lets traffic in.
    pub is_open: bool,
}

/// Virtual services that share their addresses: they are placed as one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// The uuid of their group of engines.
    pub group: String,
    /// Them; those that follow a parent are not among them.
    pub services: Vec<Vs>,
    /// The addresses.
    pub vips: Vec<Vip>,
    /// The names of the addresses.
    pub vip_ids: Vec<String>,
    /// Some servers.
    pub servers: Vec<IpAddr>,
    /// In a group of active and standby: the second engine serves it.
    pub is_second: bool,
}

/// The settings of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Its name.
    pub name: String,
    /// What the plan needs.
    pub group: Group,
    /// How long an engine may take to serve, milliseconds.
    pub scaleout_ms: u64,
    /// How long clients may go on at an engine that leaves, milliseconds.
    pub scalein_ms: u64,
    /// How long an engine's tables may take to be complete, milliseconds: then it serves without.
    pub ready_ms: u64,
}

/// What the objects say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    /// What is to be placed: by the uuid of the object that has the addresses.
    pub wanted: BTreeMap<String, Wanted>,
    /// Groups by their uuids.
    pub groups: BTreeMap<String, Arc<Settings>>,
    /// The keys of `wanted` by the uuids of their groups, in their order.
    pub by_group: BTreeMap<String, Vec<String>>,
    /// Under which key of `wanted` a virtual service is, children included.
    pub of: HashMap<String, String>,
    /// The children of each parent, by the parents' uuids.
    pub children: HashMap<String, Vec<String>>,
    /// The parent of each child.
    pub parents: HashMap<String, String>,
}

/// What was read before.
#[derive(Debug, Default)]
pub struct Reader {
    /// How many changes of the objects there had been; `None`: nothing was read.
    seen: Option<u64>,
    /// The services in the order of their names, and the name under which each stands there.
    found: BTreeMap<(String, String), Arc<Found>>,
    names: HashMap<String, String>,
    services: Kept<Service>,
    addresses: Kept<Addresses>,
    servers: Kept<Vec<IpAddr>>,
    groups: Kept<Settings>,
}

type Kept<T> = HashMap<String, (Revision, Arc<T>)>;

#[derive(Debug)]
struct Service {
    vs: Vs,
    vsvip: Option<String>,
    parent: Option<String>,
    group: Option<String>,
    pool: Option<String>,
    own: Addresses,
    is_second: bool,
}

#[derive(Clone, Debug, Default)]
struct Addresses {
    vips: Vec<Vip>,
    ids: Vec<String>,
}

impl World {
    /// What is placed on the engines of a group, in the order of the keys.
    pub fn of_group(&self, group: &str) -> impl Iterator<Item = (&String, &Wanted)> {
        let keys = self.by_group.get(group).into_iter().flatten();
        keys.filter_map(|key| self.wanted.get_key_value(key))
    }
}

/// What was gathered of the objects at a moment, of which a [`World`] is made: that takes longer, and needs them no more.
#[derive(Debug)]
pub struct Gathered {
    groups: Vec<(String, Arc<Settings>)>,
    services: Vec<Arc<Found>>,
    /// The group of services that name none, by their clouds.
    defaults: HashMap<String, String>,
}

/// A service with what it stands on.
#[derive(Debug)]
struct Found {
    service: Arc<Service>,
    cloud: String,
    vsvip: Option<Arc<Addresses>>,
    servers: Option<Arc<Vec<IpAddr>>>,
}

impl Reader {
    /// Reads the objects.
    pub fn read(&mut self, now: &Catalogue) -> World {
        self.gather(now).world()
    }

    /// Gathers what a world is made of. Of the services those are looked at whose objects have changed.
    //= PLACE-READ-01
    pub fn gather(&mut self, now: &Catalogue) -> Gathered {
        let changed = self.seen.and_then(|seen| now.changed_since(seen));
        match changed.map(|ids| ids.collect::<BTreeSet<&Id>>()) {
            Some(ids) => ids.into_iter().for_each(|id| self.follow(now, id)),
            None => self.all(now),
        }
        self.seen = Some(now.changed());
        let groups = now.all("serviceenginegroup");
        let groups = groups.map(|held| (held.uuid.clone(), keep(&mut self.groups, held, settings))).collect();
        let mut gathered = Gathered { groups, services: Vec::new(), defaults: HashMap::new() };
        for found in self.found.values() {
            if !gathered.defaults.contains_key(&found.cloud) {
                gathered.defaults.insert(found.cloud.clone(), default_group(now, &found.cloud));
            }
            gathered.services.push(Arc::clone(found));
        }
        gathered
    }

    /// Looks at every service.
    fn all(&mut self, now: &Catalogue) {
        self.found.clear();
        self.names.clear();
        self.services.retain(|uuid, _| now.get("virtualservice", uuid).is_some());
        self.addresses.retain(|uuid, _| now.get("vsvip", uuid).is_some());
        self.servers.retain(|uuid, _| now.get("pool", uuid).is_some());
        self.groups.retain(|uuid, _| now.get("serviceenginegroup", uuid).is_some());
        for held in now.all("virtualservice") {
            self.find(now, held);
        }
    }

    /// Looks at the services that stand on what has changed, and lets go of what is gone.
    fn follow(&mut self, now: &Catalogue, id: &Id) {
        let is_gone = now.get(id.kind, &id.uuid).is_none();
        match id.kind {
            "virtualservice" => {
                if let Some(name) = self.names.remove(&id.uuid) {
                    self.found.remove(&(name, id.uuid.clone()));
                }
                match now.get(id.kind, &id.uuid) {
                    Some(held) => self.find(now, held),
                    None => drop(self.services.remove(&id.uuid)),
                }
            }
            "vsvip" | "pool" => {
                if is_gone {
                    self.addresses.remove(&id.uuid);
                    self.servers.remove(&id.uuid);
                }
                for held in now.referrers(id).filter(|held| held.kind.path == "virtualservice") {
                    self.find(now, held);
                }
            }
            "ipaddrgroup" => {
                for pool in now.referrers(id).filter(|held| held.kind.path == "pool") {
                    self.follow(now, &pool.id());
                }
            }
            "network" => {
                for vsvip in now.referrers(id).filter(|held| held.kind.path == "vsvip") {
                    self.follow(now, &vsvip.id());
                }
            }
            "serviceenginegroup" if is_gone => drop(self.groups.remove(&id.uuid)),
            _ => {}
        }
    }

    /// Looks at what a service stands on.
    fn find(&mut self, now: &Catalogue, held: &Held) {
        let service = keep(&mut self.services, held, service);
        let vsvip = service.vsvip.as_ref().and_then(|uuid| now.get("vsvip", uuid)).map(|vsvip| {
            // Networks may be objects of their own: those are few, and are looked up again.
            match networks_of(&vsvip.refers).next() {
                Some(_) => Arc::new(with_networks(&vsvip.object(), now)),
                None => keep(&mut self.addresses, vsvip, |held| addresses(&held.object())),
            }
        });
        let pool = service.pool.as_ref().and_then(|uuid| now.get("pool", uuid));
        let servers = pool.map(|pool| match pool.refers.iter().any(|id| id.kind == "ipaddrgroup") {
            true => Arc::new(servers(now, &pool.object())),
            false => keep(&mut self.servers, pool, |held| servers(now, &held.object())),
        });
        let found = Found { service, cloud: held.cloud.clone(), vsvip, servers };
        // Its name may have changed with what it stands on.
        let before = self.names.insert(held.uuid.clone(), held.name.clone());
        if let Some(name) = before.filter(|name| *name != held.name) {
            self.found.remove(&(name, held.uuid.clone()));
        }
        self.found.insert((held.name.clone(), held.uuid.clone()), Arc::new(found));
    }
}

impl Gathered {
    /// What the objects say.
    pub fn world(self) -> World {
        let mut world = World { groups: self.groups.into_iter().collect(), ..World::default() };
        let mut children = Vec::new();
        for found in &self.services {
            let Found { service, cloud, vsvip, servers } = &**found;
            if let Some(parent) = &service.parent {
                children.push((service.vs.uuid.clone(), parent.clone()));
                continue;
            }
            let addresses = vsvip.as_deref().unwrap_or(&service.own);
            let key = service.vsvip.clone().unwrap_or_else(|| service.vs.uuid.clone());
            world.of.insert(service.vs.uuid.clone(), key.clone());
            let wanted = world.wanted.entry(key).or_default();
            // What is off says nothing of where the others are.
            let is_first = wanted.services.is_empty()
                || service.vs.is_enabled && !wanted.services.iter().any(|vs| vs.is_enabled);
            if is_first {
                let standard = || self.defaults.get(cloud).cloned().unwrap_or_default();
                wanted.group = service.group.clone().unwrap_or_else(standard);
                wanted.vips.clone_from(&addresses.vips);
                wanted.vip_ids.clone_from(&addresses.ids);
                wanted.is_second = service.is_second;
            }
            if let Some(found) = servers {
                let free = SERVERS_MAX.saturating_sub(wanted.servers.len());
                wanted.servers.extend(found.iter().take(free));
            }
            wanted.services.push(service.vs.clone());
        }
        for (child, parent) in children {
            if let Some(key) = world.of.get(&parent).cloned() {
                world.of.insert(child.clone(), key);
                world.children.entry(parent.clone()).or_default().push(child.clone());
                world.parents.insert(child, parent);
            }
        }
        for (key, wanted) in &world.wanted {
            world.by_group.entry(wanted.group.clone()).or_default().push(key.clone());
        }
        world
    }
}

fn keep<T>(kept: &mut Kept<T>, held: &Held, read: impl FnOnce(&Held) -> T) -> Arc<T> {
    if let Some((revision, value)) = kept.get(&held.uuid)
        && *revision == held.revision
    {
        return Arc::clone(value);
    }
    let value = Arc::new(read(held));
    kept.insert(held.uuid.clone(), (held.revision, Arc::clone(&value)));
    value
}

fn behind(value: Option<&Value>) -> Option<String> {
    let text = value?.as_str()?;
    text.rsplit('/').next().filter(|uuid| !uuid.is_empty()).map(str::to_owned)
}

fn flag(object: &forebay_model::Object, name: &str, or: bool) -> bool {
    object.get(name).and_then(Value::as_bool).unwrap_or(or)
}

fn service(held: &Held) -> Service {
    let object = held.object();
    let is_enabled = flag(&object, "enabled", true);
    let is_child = object.get("type").and_then(Value::as_str) == Some("VS_TYPE_VH_CHILD");
    Service {
        vs: Vs {
            uuid: held.uuid.clone(),
            name: held.name.clone(),
            tenant: held.tenant.clone(),
            is_enabled,
            is_open: is_enabled && flag(&object, "traffic_enabled", true),
        },
        vsvip: behind(object.get("vsvip_ref")),
        parent: behind(object.get("vh_parent_vs_ref")).filter(|_| is_child),
        group: behind(object.get("se_group_ref")),
        pool: behind(object.get("pool_ref")),
        own: addresses(&object),
        is_second: object.get("active_standby_se_tag").and_then(Value::as_str) == Some("ACTIVE_STANDBY_SE_2"),
    }
}

fn entries<'o>(object: &'o forebay_model::Object, name: &str) -> &'o [Value] {
    object.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice)
}

fn address(value: &Value) -> Option<IpAddr> {
    value["addr"].as_str()?.parse().ok()
}

fn prefix(value: &Value) -> Option<Prefix> {
    let (ip, mask) = (address(&value["ip_addr"])?, value["mask"].as_u64()?);
    format!("{ip}/{mask}").parse().ok()
}

fn addresses(object: &forebay_model::Object) -> Addresses {
    read_addresses(object, &|_| Vec::new())
}

fn networks_of(refers: &[Id]) -> impl Iterator<Item = &str> {
    refers.iter().filter(|id| id.kind == "network").map(|id| id.uuid.as_str())
}

fn with_networks(object: &forebay_model::Object, now: &Catalogue) -> Addresses {
    read_addresses(object, &|uuid| {
        let network = now.get("network", uuid).map(|held| held.object()).unwrap_or_default();
        entries(&network, "configured_subnets")
            .iter()
            .filter_map(|subnet| prefix(&subnet["prefix"]))
            .collect()
    })
}

fn read_addresses(object: &forebay_model::Object, subnets: &dyn Fn(&str) -> Vec<Prefix>) -> Addresses {
    let mut read = Addresses::default();
    for vip in entries(object, "vip") {
        read.ids.extend(vip["vip_id"].as_str().map(str::to_owned));
        if vip["enabled"] == false {
            continue;
        }
        let mut networks = Vec::new();
        for network in vip["placement_networks"].as_array().map_or(&[][..], Vec::as_slice) {
            let own: Vec<_> =
                ["subnet", "subnet6"].iter().filter_map(|name| prefix(&network[*name])).collect();
            match (own.is_empty(), behind(network.get("network_ref"))) {
                (true, Some(uuid)) => networks.extend(subnets(&uuid)),
                _ => networks.extend(own),
            }
        }
        for address in ["ip_address", "ip6_address"].iter().filter_map(|name| address(&vip[*name])) {
            read.vips.push(Vip { address, networks: networks.clone() });
        }
    }
    read
}

fn servers(now: &Catalogue, object: &forebay_model::Object) -> Vec<IpAddr> {
    let all = objects::servers(now, object);
    let all = all.iter().filter_map(|server| address(&server["ip"]));
    all.take(SERVERS_MAX).collect()
}

fn settings(held: &Held) -> Settings {
    let object = held.object();
    let number = |name: &str, or: u64| object.get(name).and_then(Value::as_u64).unwrap_or(or);
    let small = |name: &str, or: u64| u32::try_from(number(name, or)).unwrap_or(u32::MAX);
    let scale = |name: &str, or: u64| u16::try_from(number(name, or)).unwrap_or(u16::MAX);
    let word = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let ha = match word("ha_mode").as_str() {
        "HA_MODE_SHARED_PAIR" => Ha::Pair,
        "HA_MODE_LEGACY_ACTIVE_STANDBY" => {
            Ha::Legacy { shared_out: flag(&object, "distribute_load_active_standby", false) }
        }
        _ => Ha::Shared { buffer: small("buffer_se", 1) },
    };
    let spread = match word("algo").as_str() {
        "PLACEMENT_ALGO_DISTRIBUTED" => Spread::Distributed,
        _ => Spread::Packed,
    };
    Settings {
        name: held.name.clone(),
        group: Group {
            ha,
            spread,
            services_max: small("max_vs_per_se", 10),
            scale_min: scale("min_scaleout_per_vs", 1),
            scale_max: scale("max_scaleout_per_vs", 4),
            engines_min: small("min_se", 1),
            engines_max: small("max_se", 10),
            differing_hosts: flag(&object, "vs_host_redundancy", true),
        },
        scaleout_ms: number("vs_scaleout_timeout", 600) * 1000,
        scalein_ms: number("vs_scalein_timeout", 30) * 1000,
        ready_ms: (number("vs_se_scaleout_ready_timeout", 60)
            + number("vs_se_scaleout_additional_wait_time", 0))
            * 1000,
    }
}
