//! The running configuration: a snapshot with its references resolved.
//!
//! A [`Tree`] never changes. Workers and the control thread share it; what does change while it runs
//! (a server's health, its count of connections where that is limited) lies in [`ServerShared`] and
//! [`PoolShared`].

mod decide;
mod heritage;
mod hosts;
mod names;
mod reach;
mod secure;
mod shared;
mod sni;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use forebay_core::id::{Endpoint, GroupId, PoolId, ServerId, VsId};
use forebay_core::policy::{Action, Edit, Names, On, Policy, PolicyConfig, Rule};
use forebay_core::units::Now;
use forebay_snapshot::profile::{TcpProfile, UdpProfile};
use forebay_snapshot::service::{ClientLogs, ProxyProtocol};
use forebay_snapshot::tls::ClientCertificateHeaders;
use forebay_snapshot::{
    CookieKey, Engine, HealthMonitor, HttpProfile, Objsync, Persistence, Protocol, Snapshot,
};

use crate::rt::clock;
use heritage::Heritage;
use names::Placed;

pub use decide::{fail_action, head_limits};
pub use hosts::Hosts;
pub use names::{Addresses, Unplaced};
pub use reach::Reencrypted;
pub use secure::Secure;
pub use shared::{HealthState, Override, PoolShared, ServerShared, ServiceShared};
pub use sni::Sni;

/// A service engine's configuration with its references resolved; indexes below refer to its lists.
#[derive(Debug)]
pub struct Tree {
    /// The engine as a process.
    pub engine: Engine,
    /// How the engine shares its tables.
    pub objsync: Objsync,
    /// Addresses to listen on, each with its service.
    pub listeners: Vec<Listener>,
    /// Virtual services; [`ServiceIndex`] points in here.
    pub services: Vec<Service>,
    /// Pools; [`PoolIndex`] points in here.
    pub pools: Vec<Pool>,
    /// Pool groups; [`GroupIndex`] points in here.
    pub groups: Vec<Group>,
    /// Ways to probe a server.
    pub monitors: Vec<HealthMonitor>,
    /// Keys of persistence cookies: the first seals, all open.
    pub cookie_keys: Vec<CookieKey>,
    /// Servers of all pools together: the length of per-server lists indexed by [`Server::slot`].
    pub server_slots: usize,
    /// When the engine took this configuration: what its disabled servers' grace counts from, on all workers
    /// and on those that are started anew.
    pub started: Now,
}

/// Place in [`Tree::services`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceIndex(pub usize);

/// Place in [`Tree::pools`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolIndex(pub usize);

/// Place in [`Tree::groups`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupIndex(pub usize);

/// What comes to an address; the same port may be listened on for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Connections of TCP.
    Stream,
    /// Datagrams of UDP.
    Datagrams,
}

impl Transport {
    /// What services of a protocol take.
    pub fn of(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Http | Protocol::Tcp => Transport::Stream,
            Protocol::Udp => Transport::Datagrams,
        }
    }
}

/// An address that is listened on.
#[derive(Clone, Copy, Debug)]
pub struct Listener {
    /// The address.
    pub address: SocketAddr,
    /// What comes there.
    pub transport: Transport,
    /// The service behind it.
    pub service: ServiceIndex,
}

/// A virtual service.
#[derive(Debug)]
pub struct Service {
    /// Identifies it in cookies and tables; derived from the name, so the same on every engine.
    pub id: VsId,
    /// As whose clients its own are known: by its own name, or one that it shares with other services.
    pub keeps_as: VsId,
    /// Its name.
    pub name: String,
    /// What serves it.
    pub target: Target,
    /// All pools that may serve it: those of its target first, then those that its rules name.
    pub pools: Vec<PoolIndex>,
    /// Its rules, compiled; empty if it has none.
    pub policy: Policy,
    /// The places of its rules that edit fields of answers, by their names.
    pub answer_rules: BTreeMap<String, usize>,
    /// Its rules as they were compiled.
    pub rules: Arc<PolicyConfig>,
    /// Other engines may listen on its addresses too.
    pub shared_listener: bool,
    /// What its clients speak.
    pub protocol: Protocol,
    /// What its clients are to be served TLS with; `None`: they speak none.
    pub tls: Option<Secure>,
    /// Which of its hosts have profiles of their own.
    pub hosts: Hosts,
    /// Where its clients go by the name that their TLS asks for, which is passed on; `None`: it reads no TLS.
    pub sni: Option<Sni>,
    /// Fields that tell servers who a client is.
    pub identity: ClientCertificateHeaders,
    /// Whose connections begin with a header of the PROXY protocol.
    pub proxy_protocol: ProxyProtocol,
    /// Which of its requests and connections the Controller is told of.
    pub client_logs: ClientLogs,
    /// Time-outs, limits, header habits.
    pub http: HttpProfile,
    /// Time-outs of a TCP service.
    pub tcp: TcpProfile,
    /// Bounds of a UDP service.
    pub udp: UdpProfile,
    /// What changes while it runs.
    pub shared: Arc<ServiceShared>,
}

/// What serves a virtual service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// One pool.
    Pool(PoolIndex),
    /// A pool group.
    Group(GroupIndex),
}

/// A pool.
#[derive(Debug)]
pub struct Pool {
    /// Identifies it in cookies and tables; derived from the name.
    pub id: PoolId,
    /// Its name.
    pub name: String,
    /// Its section of the document.
    pub config: forebay_snapshot::Pool,
    /// How its servers are reached by TLS; `None`: in clear text.
    pub tls: Option<Reencrypted>,
    /// What keeps a client on its server.
    pub persistence: Option<Persistence>,
    /// Its servers, in the document's order; the addresses of a name in their own.
    pub servers: Vec<Server>,
    /// The slot of the first of them, or of the one that would be.
    pub first_slot: usize,
    /// What the document or a name server calls a server of the pool, and is none.
    pub unplaced: Vec<Unplaced>,
    /// What changes while it runs.
    pub shared: Arc<PoolShared>,
}

/// A server of a pool.
#[derive(Debug)]
pub struct Server {
    /// Identifies it in cookies and tables: a fixed hash of its address.
    pub id: ServerId,
    /// Where it listens.
    pub address: SocketAddr,
    /// The host name and port that led to the address; `None`: the document says the address itself.
    pub name: Option<Arc<str>>,
    /// Its section of the document.
    pub config: forebay_snapshot::Server,
    /// Its place in lists of all servers of all pools ([`Tree::server_slots`] long).
    pub slot: usize,
    /// What changes while it runs.
    pub shared: Arc<ServerShared>,
}

/// A pool group.
#[derive(Debug)]
pub struct Group {
    /// Identifies it in rules; derived from the name.
    pub id: GroupId,
    /// Its name.
    pub name: String,
    /// Its section of the document.
    pub config: forebay_snapshot::PoolGroup,
    /// The pools of its members, in the document's order.
    pub pools: Vec<PoolIndex>,
}

impl Tree {
    /// Resolves a snapshot that [`forebay_snapshot::check`] gave.
    ///
    /// Invariant: every reference of such a snapshot names something, so nothing is left out here.
    pub fn build(snapshot: Snapshot) -> Self {
        Self::after(snapshot, &[], &Addresses::default())
    }

    /// Resolves a snapshot that comes after the `living` configurations, the newest first: what is in one of them too
    /// keeps its counts, its limits in use and its health. `names` says where host names lead.
    //= RELOAD-KEEP-01
    pub fn after(snapshot: Snapshot, living: &[Arc<Tree>], names: &Addresses) -> Self {
        let heritage = Heritage::of(living);
        let own = names::own_addresses(&snapshot);
        let Snapshot {
            engine,
            objsync,
            virtual_service,
            pool,
            pool_group,
            persistence,
            cookie_key,
            http_profile,
            tcp_profile,
            udp_profile,
            health_monitor,
            certificate,
            tls_profile,
            pki_profile,
            ticket_key,
            string_group,
            address_group,
            // They lie beside the document by now.
            file: _,
            version: _,
        } = snapshot;
        let mut slots = 0..;
        let mut pools: Vec<Pool> = Vec::with_capacity(pool.len());
        for config in pool {
            let id = PoolId(name_id(&config.name));
            let (placed, unplaced) = names::place(&config, names, &own);
            let first_slot = slots.start;
            let server = |(placed, slot)| Server::build(placed, slot, &config, &heritage);
            pools.push(Pool {
                id,
                name: config.name.clone(),
                tls: reach::wanted(&config, &certificate, &tls_profile).map(Reencrypted::wants),
                persistence: config
                    .persistence
                    .as_ref()
                    .and_then(|name| persistence.iter().find(|p| p.name() == name).cloned()),
                servers: placed.into_iter().zip(&mut slots).map(server).collect(),
                first_slot,
                unplaced,
                shared: heritage.pool(id),
                config,
            });
        }
        let by_name: BTreeMap<&str, PoolIndex> =
            pools.iter().enumerate().map(|(i, pool)| (pool.name.as_str(), PoolIndex(i))).collect();
        let groups: Vec<Group> = pool_group
            .into_iter()
            .map(|config| Group {
                id: GroupId(name_id(&config.name)),
                name: config.name.clone(),
                pools: config.member.iter().filter_map(|m| by_name.get(m.pool.as_str()).copied()).collect(),
                config,
            })
            .collect();
        let mut listeners = Vec::new();
        let mut services = Vec::new();
        for vs in virtual_service {
            let resolve = |pool: Option<&str>, group: Option<&str>| {
                let pool = pool.and_then(|name| by_name.get(name)).map(|i| Target::Pool(*i));
                let group = group.and_then(|name| groups.iter().position(|g| g.name == name));
                pool.or(group.map(|i| Target::Group(GroupIndex(i))))
            };
            let others = resolve(vs.pool.as_deref(), vs.pool_group.as_deref());
            let first_message =
                tls_profile.iter().find(|p| p.name == vs.tls_profile).cloned().unwrap_or_default();
            let hello_us = u64::from(first_message.handshake_timeout_ms) * 1000;
            let sni = Sni::of(&vs, others, hello_us, resolve);
            let target = others
                .or_else(|| sni.as_ref()?.targets().next())
                .expect("checked: a service names what serves it");
            let http = http_profile.iter().find(|p| p.name == vs.http_profile).cloned().unwrap_or_default();
            let tcp = tcp_profile.iter().find(|p| p.name == vs.tcp_profile).cloned().unwrap_or_default();
            let udp = udp_profile.iter().find(|p| p.name == vs.udp_profile).cloned().unwrap_or_default();
            let tls = |profile: &str| {
                let documents = (&*certificate, &*tls_profile, &*pki_profile, &*ticket_key);
                secure::wanted(&vs, profile, documents, http.http2).map(Secure::wants)
            };
            let hosts = Hosts::of(&vs, &http_profile, tls);
            let tls = tls(&vs.tls_profile);
            let service = ServiceIndex(services.len());
            let transport = Transport::of(vs.protocol);
            //= RELOAD-STANDBY-01
            let at = vs.listen.iter().filter(|_| vs.enabled);
            listeners.extend(at.map(|address| Listener { address: *address, transport, service }));
            let rules = Arc::new(vs.policy(&string_group, &address_group));
            let policy = compile(&rules, &by_name, &groups);
            let pools_of = |target: Target| match target {
                Target::Pool(index) => vec![index],
                Target::Group(index) => groups[index.0].pools.clone(),
            };
            let named = vs.rules.iter().flat_map(|rule| &rule.then).flat_map(|action| match action {
                Action::Pool(name) => by_name.get(name.as_str()).copied().into_iter().collect(),
                Action::PoolGroup(name) => {
                    groups.iter().find(|g| g.name == *name).map(|g| g.pools.clone()).unwrap_or_default()
                }
                _ => Vec::new(),
            });
            let routed = sni.iter().flat_map(Sni::targets).flat_map(pools_of);
            let mut pools = pools_of(target);
            for pool in named.chain(routed) {
                if !pools.contains(&pool) {
                    pools.push(pool);
                }
            }
            let id = VsId(name_id(&vs.name));
            services.push(Service {
                id,
                keeps_as: vs.persistence_name.as_deref().map_or(id, |name| VsId(name_id(name))),
                name: vs.name,
                target,
                pools,
                answer_rules: answer_rules(&vs.rules, &policy),
                policy,
                rules,
                shared_listener: vs.shared_listener,
                protocol: vs.protocol,
                identity: vs.client_certificate.headers,
                tls,
                hosts,
                sni,
                proxy_protocol: vs.proxy_protocol,
                client_logs: vs.client_logs,
                http,
                tcp,
                udp,
                shared: heritage.service(id),
            });
        }
        let server_slots = pools.iter().map(|pool| pool.servers.len()).sum();
        Self {
            engine,
            objsync,
            listeners,
            services,
            pools,
            groups,
            cookie_keys: cookie_key,
            monitors: health_monitor,
            server_slots,
            started: clock::now(),
        }
    }

    /// Closes what a worker had open that has panicked. Only between its end and its new start: then there is no
    /// other writer.
    pub fn settle_after_panic(&self, worker: usize) {
        for service in &self.services {
            service.shared.counts.of(worker).connections.settle();
        }
        for (_, server) in self.servers() {
            let counts = server.shared.counts.of(worker);
            counts.connections.settle();
            counts.active.settle();
        }
    }

    /// The pool with this id, as rules and cookies name it.
    pub fn pool_by_id(&self, id: PoolId) -> Option<PoolIndex> {
        self.pools.iter().position(|pool| pool.id == id).map(PoolIndex)
    }

    /// The pool group with this id, as rules name it.
    pub fn group_by_id(&self, id: GroupId) -> Option<GroupIndex> {
        self.groups.iter().position(|group| group.id == id).map(GroupIndex)
    }

    /// The service at `index`.
    pub fn service(&self, index: ServiceIndex) -> &Service {
        &self.services[index.0]
    }

    /// The pool at `index`.
    pub fn pool(&self, index: PoolIndex) -> &Pool {
        &self.pools[index.0]
    }

    /// The pools that may serve `service`: those of its target first, then those that its rules name.
    pub fn pools_of<'t>(&'t self, service: &'t Service) -> &'t [PoolIndex] {
        &service.pools
    }

    /// The server at a slot, with its pool.
    pub fn server_at(&self, slot: usize) -> Option<(&Pool, &Server)> {
        let after = self.pools.partition_point(|pool| pool.first_slot <= slot);
        let pool = self.pools.get(after.checked_sub(1)?)?;
        Some((pool, pool.servers.get(slot.checked_sub(pool.first_slot)?)?))
    }

    /// All servers with their pools, in the order of [`Server::slot`].
    pub fn servers(&self) -> impl Iterator<Item = (&Pool, &Server)> {
        self.pools.iter().flat_map(|pool| pool.servers.iter().map(move |server| (pool, server)))
    }
}

impl Server {
    /// Says whether it is to serve: as the operator wants, else as the document says.
    pub fn is_enabled(&self) -> bool {
        match self.shared.admin_override() {
            Override::None => self.config.enabled,
            Override::Enabled => true,
            Override::Draining | Override::Disabled => false,
        }
    }

    fn build(placed: Placed<'_>, slot: usize, pool: &forebay_snapshot::Pool, heritage: &Heritage) -> Self {
        let Placed { config, address, name } = placed;
        let state = if pool.health_monitors.is_empty() { HealthState::Up } else { HealthState::Checking };
        let id = ServerId::of(Endpoint::from(address));
        let new = || ServerShared::new(state);
        Self {
            id,
            address,
            name,
            config: config.clone(),
            slot,
            shared: heritage.server(PoolId(name_id(&pool.name)), id, new),
        }
    }
}

fn compile(rules: &PolicyConfig, pools: &BTreeMap<&str, PoolIndex>, groups: &[Group]) -> Policy {
    let pool = |name: &str| pools.contains_key(name).then(|| PoolId(name_id(name)));
    let group = |name: &str| groups.iter().find(|g| g.name == name).map(|g| g.id);
    Policy::new(rules, &Names { pool: &pool, group: &group })
        .expect("checked: the same rules compiled before")
}

/// Which rules edit fields of answers.
fn answer_rules(rules: &[Rule], policy: &Policy) -> BTreeMap<String, usize> {
    let edits = |action: &Action| {
        matches!(
            action,
            Action::Header(
                Edit::Add(On::Response, ..) | Edit::Set(On::Response, ..) | Edit::Remove(On::Response, _)
            )
        )
    };
    let named = |name: &str| rules.iter().any(|rule| rule.name == name && rule.then.iter().any(edits));
    let names = (0..rules.len()).filter_map(|at| Some((policy.name_of(at)?, at)));
    names.filter(|(name, _)| named(name)).map(|(name, at)| (name.to_owned(), at)).collect()
}

/// Derives an id from a name: 32 bits of FNV-1a, which the check keeps free of collisions within a document.
pub fn name_id(name: &str) -> u32 {
    forebay_snapshot::name_id(name)
}
