//! A configuration in the form that the request path reads.
//!
//! A worker has one current [`Generation`]. A request takes it when it begins and keeps it to its end, so what it finds
//! half-way is what it began with.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use forebay_core::id::{GroupId, PoolId, ServerId, ServerIndex, VsId};
use forebay_core::lb::{GroupConfig, Pool, PoolGroup};
use forebay_core::persist::Kind;
use forebay_core::policy::{self, PolicyConfig};
use forebay_core::retry::{RetryConfig, Statuses};
use forebay_core::table::TableId;
use forebay_http::Limits;
use forebay_http::h1::write::{Forwarding, Policy};
use forebay_snapshot::profile::{ForwardedFor, Network};
use forebay_snapshot::{HttpProfile, Protocol};

use super::queue::Queue;
use super::slots::{Slot, Slots};
use crate::config::{self, PoolIndex, ServerShared, ServiceIndex, Tree, Wish};
use crate::control::Running;
use crate::http::limits::DRAIN_IDLE_US;
use crate::l4::introduce;
use crate::metrics::{PoolMetrics, ServerMetrics, ServiceMetrics};
use crate::persist::{Binding, Store};
use crate::rt::{NEVER, Now};
use crate::upstream::KeepRules;

/// One configuration, as one worker works by it.
pub struct Generation {
    /// Its number: the engine's first is 1.
    pub number: u64,
    /// The configuration.
    pub tree: Arc<Tree>,
    /// Cookie keys and persistence table of the process.
    pub store: Arc<Store>,
    /// By [`ServiceIndex`].
    pub services: Box<[Service]>,
    /// One for each service and pool that can serve it.
    pub routes: Box<[Route]>,
    /// By [`GroupIndex`](crate::config::GroupIndex): which pool's turn it is.
    pub groups: Box<[RefCell<PoolGroup>]>,
}

/// The worker that a generation is built for.
#[derive(Clone, Copy)]
pub(super) struct Seat<'w> {
    /// Its number.
    pub worker: usize,
    /// Of how many.
    pub workers: usize,
    /// The numbers of its servers.
    pub slots: &'w Slots,
    /// Now.
    pub now: Now,
}

impl Generation {
    /// Builds it; what a worker knows of services, pools and servers that were there `before` goes on.
    pub(super) fn new(running: &Running, before: Option<&Generation>, seat: Seat<'_>) -> Self {
        let (tree, store) = (running.tree.clone(), running.store.clone());
        let mut routes = Vec::new();
        let mut services = Vec::new();
        for place in 0..tree.services.len() {
            let place = ServiceIndex(place);
            let mut own = Vec::new();
            for pool in tree.pools_of(tree.service(place)) {
                own.push(routes.len());
                let old = before.and_then(|before| before.route(tree.service(place).id, tree.pool(*pool).id));
                routes.push(Route::new(&tree, &store, place, *pool, old.map(|(_, route)| route), seat));
            }
            let old =
                before.and_then(|before| before.services.iter().find(|s| s.id == tree.service(place).id));
            services.push(Service::new(&tree, place, own, old, seat));
        }
        let groups = tree
            .groups
            .iter()
            .map(|group| {
                let config = group.decision_config(&tree);
                // The turns of a group that is the same go on.
                let goes_on = before.and_then(|before| before.group(group.id, &config));
                let new =
                    || PoolGroup::new(&config).expect("checked: the snapshot's own check covers the core's");
                RefCell::new(goes_on.unwrap_or_else(new))
            })
            .collect();
        Generation {
            number: running.number,
            tree,
            store,
            services: services.into(),
            routes: routes.into(),
            groups,
        }
    }

    /// The route from a service to a pool, with its place.
    pub(super) fn route(&self, service: VsId, pool: PoolId) -> Option<(usize, &Route)> {
        let mut routes = self.routes.iter().enumerate();
        routes.find(|(_, route)| (route.service_id, route.pool_id) == (service, pool))
    }

    /// Says where requests go that begin from now on, to those that began with this configuration.
    pub(super) fn hand_over(&self, to: &Rc<Generation>) {
        for route in &self.routes {
            let heir = to.route(route.service_id, route.pool_id);
            *route.heir.borrow_mut() = heir.map(|(at, _)| Heir { generation: Rc::downgrade(to), at });
        }
    }

    /// The turns of a group, if it is configured like this.
    fn group(&self, id: GroupId, config: &GroupConfig) -> Option<PoolGroup> {
        let at = self.tree.group_by_id(id)?;
        let same = self.tree.groups[at.0].decision_config(&self.tree) == *config;
        same.then(|| self.groups[at.0].borrow().clone())
    }

    /// The service at `index`.
    pub fn service(&self, index: ServiceIndex) -> &Service {
        &self.services[index.0]
    }

    /// The configuration of a route's pool.
    pub fn pool_of(&self, route: &Route) -> &config::Pool {
        self.tree.pool(route.pool_index)
    }
}

/// Time-outs of a virtual service, microseconds; 0: none.
#[derive(Clone, Copy, Debug)]
pub struct TimeOuts {
    /// Connecting to a server.
    pub connect: u64,
    /// A request's head.
    pub header: u64,
    /// A body that stands still.
    pub body: u64,
    /// The head of an answer.
    pub response: u64,
    /// A kept connection's next request.
    pub idle: u64,
    /// A request as a whole.
    pub total: u64,
    /// An upgraded connection that stands still.
    pub upgraded: u64,
}

impl TimeOuts {
    /// For clients of an address that is gone: long enough for what is on its way to them.
    pub const LEAVING: Self = Self {
        connect: DRAIN_IDLE_US,
        header: DRAIN_IDLE_US,
        body: DRAIN_IDLE_US,
        response: DRAIN_IDLE_US,
        idle: DRAIN_IDLE_US,
        total: DRAIN_IDLE_US,
        upgraded: DRAIN_IDLE_US,
    };

    /// The moment `us` after `from`; never if `us` is 0.
    pub fn at(from: Now, us: u64) -> Now {
        if us == 0 { NEVER } else { Now(from.0.saturating_add(us)) }
    }
}

/// A virtual service.
pub struct Service {
    /// Identifies it over all configurations.
    pub id: VsId,
    /// Its place in the tree.
    pub index: ServiceIndex,
    /// Time-outs.
    pub time_outs: TimeOuts,
    /// Bounds of what clients send.
    pub limits: Limits,
    /// Bounds of what servers send: heads as large as the client's bound, bodies of any size.
    pub server_limits: Limits,
    /// What happens to forwarding fields of strangers.
    forwarding: Forwarding,
    /// What happens to those of a trusted proxy.
    forwarding_by_proxy: Forwarding,
    /// Senders who are believed.
    trusted_proxies: Vec<Network>,
    /// Our name in `Via`.
    pub via: Option<Vec<u8>>,
    /// Upgrades pass.
    pub websockets: bool,
    /// Requests on one connection; 0: no bound.
    pub requests_max: u32,
    /// What its clients speak.
    pub protocol: Protocol,
    /// Microseconds without a byte before a TCP connection ends.
    pub tcp_idle_us: u64,
    /// Its routes: places in [`Generation::routes`]; those of its own target first, then those that rules name.
    pub routes: Vec<usize>,
    /// Rate limits of its rules.
    pub policy_state: Rc<RefCell<policy::State>>,
    /// What this worker counts for it.
    pub counts: Arc<ServiceMetrics>,
    rules: Arc<PolicyConfig>,
}

/// A pool as it serves one virtual service, on this worker.
pub struct Route {
    /// The service.
    pub service: ServiceIndex,
    service_id: VsId,
    pool_id: PoolId,
    /// The pool's place in the tree.
    pub pool_index: PoolIndex,
    /// The decision core's pool.
    pub pool: RefCell<Pool>,
    /// Its servers, by [`ServerIndex`](forebay_core::id::ServerIndex).
    pub servers: Vec<RouteServer>,
    /// Requests that wait for one of them, by whatever configuration.
    pub queue: Rc<Queue>,
    /// How connections to them are kept.
    pub keep: KeepRules,
    /// The PROXY header that its servers want.
    pub introduces: Option<forebay_proxy_protocol::Version>,
    /// Which failed requests are sent again.
    pub retry: RetryConfig,
    /// How long a request may wait for a server, microseconds.
    pub queue_us: u64,
    /// The pool's table.
    pub table: Option<TableId>,
    /// What the pool's cookies are bound to.
    pub binding: Option<Binding>,
    /// A client's open connections keep its entry alive.
    pub counts_connections: bool,
    /// What this worker counts for the pool.
    pub counts: Arc<PoolMetrics>,
    generation: Cell<u32>,
    /// When the next server's grace is over.
    pub(super) next_cut: Cell<Now>,
    /// Where new requests of this service and pool go, once the configuration is no longer the current one.
    heir: RefCell<Option<Heir>>,
}

/// The route that took a route's place.
struct Heir {
    generation: Weak<Generation>,
    at: usize,
}

/// A server of a route.
pub struct RouteServer {
    /// Its place in per-server lists.
    pub slot: usize,
    /// Where it listens.
    pub address: std::net::SocketAddr,
    /// Its health, and its connections over all workers.
    pub shared: Arc<ServerShared>,
    /// Its connection limit; 0: none.
    pub limit: u32,
    /// What this worker counts for it.
    pub counts: Arc<ServerMetrics>,
    /// When what is open at it is cut, and whether that was done.
    pub(super) cut_at: Cell<Now>,
    pub(super) was_cut: Cell<bool>,
    pub(super) held: Rc<Slot>,
    /// Its stay in the pool: the same in all configurations since it came, another one if it went and came back.
    tenure: u64,
}

impl Service {
    fn new(
        tree: &Tree,
        index: ServiceIndex,
        routes: Vec<usize>,
        before: Option<&Service>,
        seat: Seat<'_>,
    ) -> Self {
        let config::Service { http, tcp, protocol, .. } = tree.service(index);
        let us = |ms: u32| u64::from(ms) * 1000;
        let limits = config::head_limits(http);
        let config = tree.service(index);
        // The same rules go on counting where they are.
        let counted =
            before.filter(|before| before.rules == config.rules).map(|before| before.policy_state.clone());
        let fresh = || Rc::new(RefCell::new(config.policy.state(seat.workers as u16)));
        Service {
            id: config.id,
            rules: config.rules.clone(),
            index,
            time_outs: TimeOuts {
                connect: us(match protocol {
                    Protocol::Http => http.connect_timeout_ms,
                    Protocol::Tcp | Protocol::Udp => tcp.connect_timeout_ms,
                }),
                header: us(http.header_timeout_ms),
                body: us(http.body_timeout_ms),
                response: us(http.response_timeout_ms),
                idle: us(http.idle_timeout_ms),
                total: us(http.total_timeout_ms),
                upgraded: us(http.upgraded_idle_timeout_ms),
            },
            limits,
            server_limits: Limits { body_bytes: u64::MAX, ..limits },
            forwarding: forwarding(http, false),
            forwarding_by_proxy: forwarding(http, true),
            trusted_proxies: http.trusted_proxies.clone(),
            via: (!http.via.is_empty()).then(|| http.via.clone().into_bytes()),
            websockets: http.websockets,
            requests_max: http.requests_per_connection_max,
            protocol: *protocol,
            tcp_idle_us: us(tcp.idle_timeout_ms),
            routes,
            policy_state: counted.unwrap_or_else(fresh),
            counts: config.shared.counts.of(seat.worker),
        }
    }
}

/// What happens to forwarding fields, of somebody who is believed or of a stranger: what a stranger says of scheme and port
/// is not believed, and what he says of addresses is treated alike in both fields that can hold it.
//= SE-FORWARD-01
fn forwarding(http: &HttpProfile, is_trusted: bool) -> Forwarding {
    let scheme = match (http.x_forwarded_proto, is_trusted) {
        (true, true) => Policy::Append,
        (true, false) => Policy::Replace,
        (false, _) => Policy::Keep,
    };
    Forwarding {
        x_forwarded_for: match http.x_forwarded_for {
            ForwardedFor::Append => Policy::Append,
            ForwardedFor::Replace => Policy::Replace,
            ForwardedFor::Keep => Policy::Keep,
            ForwardedFor::Remove => Policy::Remove,
        },
        x_forwarded_proto: scheme,
        x_forwarded_port: scheme,
        forwarded: match (http.forwarded, http.x_forwarded_for) {
            (true, ForwardedFor::Append | ForwardedFor::Keep) => Policy::Append,
            (true, ForwardedFor::Replace | ForwardedFor::Remove) => Policy::Replace,
            (false, ForwardedFor::Append) => Policy::Extend,
            (false, ForwardedFor::Keep) => Policy::Keep,
            (false, ForwardedFor::Replace | ForwardedFor::Remove) => Policy::Remove,
        },
    }
}

impl Service {
    /// What happens to the forwarding fields that `peer` sent.
    pub fn forwarding_of(&self, peer: IpAddr) -> Forwarding {
        match self.trusted_proxies.iter().any(|network| network.contains(peer)) {
            true => self.forwarding_by_proxy,
            false => self.forwarding,
        }
    }
}

impl Route {
    fn new(
        tree: &Tree,
        store: &Store,
        service: ServiceIndex,
        pool_index: PoolIndex,
        before: Option<&Route>,
        seat: Seat<'_>,
    ) -> Self {
        let Seat { worker, workers, .. } = seat;
        let core = tree.pool(pool_index).decision_config(tree.service(service));
        let limit = core.connections_max;
        let kind = core.persistence.as_ref().map(|profile| &profile.kind);
        let binding = match kind {
            Some(Kind::HttpCookie(c)) => Some(Binding::new(core.vs, core.id, &c.name)),
            _ => None,
        };
        let counts_connections = matches!(kind, Some(Kind::ClientIp(_)));
        let pool = tree.pool(pool_index);
        let config = &pool.config;
        let us = |ms: u32| u64::from(ms) * 1000;
        let introduces = introduce::version(config.send_proxy_protocol);
        let mut built = Pool::new(core).expect("checked: the snapshot's own check covers the core's");
        built.started(tree.started);
        let mut built = built.for_worker(worker as u16, workers as u16);
        if let Some(before) = before {
            built.carry_over(&before.pool.borrow(), seat.now);
        }
        let stays = |id: ServerId| Some(before?.servers[before?.pool.borrow().index_of(id)?.at()].tenure);
        Route {
            service,
            pool_index,
            service_id: tree.service(service).id,
            pool_id: pool.id,
            pool: RefCell::new(built),
            servers: pool
                .servers
                .iter()
                .map(|server| (server, seat.slots.of(&server.shared)))
                .map(|(server, slot)| RouteServer {
                    slot: slot.number(),
                    held: slot,
                    tenure: stays(server.id).unwrap_or_else(|| seat.slots.tenure()),
                    address: server.address,
                    shared: server.shared.clone(),
                    limit,
                    counts: server.shared.counts.of(worker),
                    cut_at: Cell::new(NEVER),
                    was_cut: Cell::new(false),
                })
                .collect(),
            queue: before.map(|before| before.queue.clone()).unwrap_or_default(),
            keep: KeepRules {
                idle_us: us(config.connection_pool.idle_ms),
                life_us: us(config.connection_pool.life_ms),
                reuse_max: config.connection_pool.reuse_max,
                // A limited server counts connections: an idle one here would keep others away from it.
                // One that was introduced as a client's is no other client's.
                idle_max: match (limit, introduces) {
                    (0, None) => usize::from(config.connection_pool.idle_connections_max),
                    _ => 0,
                },
            },
            introduces,
            retry: RetryConfig {
                retries_max: config.server_reselect.num_retries,
                retry_nonidempotent: config.server_reselect.retry_nonidempotent,
                statuses: match config.server_reselect.enabled {
                    true => (400..600)
                        .filter(|status| {
                            config.server_reselect.statuses.iter().any(|range| range.contains(*status))
                        })
                        .fold(Statuses::NONE, Statuses::with),
                    false => Statuses::NONE,
                },
            },
            queue_us: us(config.request_queue.timeout_ms),
            table: store.table(service, pool_index),
            binding,
            counts_connections,
            counts: pool.shared.counts.of(worker),
            generation: Cell::new(pool.shared.generation()),
            next_cut: Cell::new(NEVER),
            heir: RefCell::new(None),
        }
    }

    /// Tells the pool of what happens at a server, and also the one that new requests ask by now.
    pub fn tell_pool(&self, server: ServerIndex, tell: impl Fn(&mut Pool, ServerIndex)) {
        tell(&mut self.pool.borrow_mut(), server);
        let heir = self.heir.borrow();
        let Some(Heir { generation, at }) = &*heir else { return };
        let Some(generation) = generation.upgrade() else { return };
        let route = &generation.routes[*at];
        let id = self.pool.borrow().id_of(server);
        let there = route.pool.borrow().index_of(id);
        // What it knows of an earlier stay of the server it has forgotten.
        if let Some(there) = there
            && route.servers[there.at()].tenure == self.servers[server.at()].tenure
        {
            tell(&mut route.pool.borrow_mut(), there);
        }
    }

    /// Takes the servers' states over if one has changed since the last look.
    #[inline]
    pub fn follow_states(&self, tree: &Tree, now: Now) {
        let generation = tree.pool(self.pool_index).shared.generation();
        if generation != self.generation.get() {
            self.generation.set(generation);
            self.read_states(tree, now);
        }
    }

    pub(super) fn read_states(&self, tree: &Tree, now: Now) {
        let mut pool = self.pool.borrow_mut();
        tree.pool(self.pool_index).read_states(&mut pool, now);
        for (index, server) in pool.indices().zip(&self.servers) {
            let cut_at = match server.shared.wish() {
                //= OBS-WISH-01
                Wish::Disabled => Now(0),
                _ => pool.cut_at(index).unwrap_or(NEVER),
            };
            // A change that leaves the moment as it was (a flap of a disabled server) cuts nobody a second time.
            if server.cut_at.replace(cut_at) != cut_at {
                server.was_cut.set(false);
            }
        }
        self.find_next_cut();
    }

    pub(super) fn find_next_cut(&self) {
        let due = self.servers.iter().filter(|server| !server.was_cut.get());
        self.next_cut.set(due.map(|server| server.cut_at.get()).min().unwrap_or(NEVER));
    }
}
