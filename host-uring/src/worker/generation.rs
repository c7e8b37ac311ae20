//! A configuration in the form that the request path reads.
//!
//! A worker has one current [`Generation`]. A request takes it when it begins and keeps it to its end, so what it finds
//! half-way is what it began with.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::sync::Arc;

use forebay_core::lb::{Pool, PoolGroup};
use forebay_core::persist::Kind;
use forebay_core::policy;
use forebay_core::retry::{RetryConfig, Statuses};
use forebay_core::table::TableId;
use forebay_http::Limits;
use forebay_http::h1::write::{Forwarding, Policy};
use forebay_snapshot::profile::{ForwardedFor, Network};
use forebay_snapshot::{HttpProfile, Protocol};

use super::queue::Queue;
use crate::config::{self, PoolIndex, ServerShared, ServiceIndex, Tree};
use crate::l4::introduce;
use crate::metrics::{PoolMetrics, ServerMetrics, ServiceMetrics};
use crate::persist::{Binding, Store};
use crate::rt::{NEVER, Now};
use crate::upstream::KeepRules;

/// One configuration, as one worker works by it.
pub struct Generation {
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

impl Generation {
    /// Builds it for `worker` of `workers`.
    pub fn new(tree: Arc<Tree>, store: Arc<Store>, worker: usize, workers: usize) -> Self {
        let mut routes = Vec::new();
        let mut services = Vec::new();
        for place in 0..tree.services.len() {
            let place = ServiceIndex(place);
            let mut own = Vec::new();
            for pool in tree.pools_of(tree.service(place)) {
                own.push(routes.len());
                routes.push(Route::new(&tree, &store, place, *pool, worker, workers));
            }
            services.push(Service::new(&tree, place, own, worker, workers));
        }
        let groups = tree
            .groups
            .iter()
            .map(|group| {
                let group = PoolGroup::new(&group.decision_config(&tree));
                RefCell::new(group.expect("checked: the snapshot's own check covers the core's"))
            })
            .collect();
        Generation { tree, store, services: services.into(), routes: routes.into(), groups }
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
    /// The moment `us` after `from`; never if `us` is 0.
    pub fn at(from: Now, us: u64) -> Now {
        if us == 0 { NEVER } else { Now(from.0.saturating_add(us)) }
    }
}

/// A virtual service.
pub struct Service {
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
    pub policy_state: RefCell<policy::State>,
    /// What this worker counts for it.
    pub counts: Arc<ServiceMetrics>,
}

/// A pool as it serves one virtual service, on this worker.
pub struct Route {
    /// The service.
    pub service: ServiceIndex,
    /// The pool's place in the tree.
    pub pool_index: PoolIndex,
    /// The decision core's pool.
    pub pool: RefCell<Pool>,
    /// Its servers, by [`ServerIndex`](forebay_core::id::ServerIndex).
    pub servers: Vec<RouteServer>,
    /// Requests that wait for one of them.
    pub queue: Queue,
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
}

impl Service {
    fn new(tree: &Tree, index: ServiceIndex, routes: Vec<usize>, worker: usize, workers: usize) -> Self {
        let config::Service { http, tcp, protocol, .. } = tree.service(index);
        let us = |ms: u32| u64::from(ms) * 1000;
        let limits = config::head_limits(http);
        Service {
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
            policy_state: RefCell::new(tree.service(index).policy.state(workers as u16)),
            counts: tree.service(index).shared.counts.of(worker),
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
        worker: usize,
        workers: usize,
    ) -> Self {
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
        Route {
            service,
            pool_index,
            pool: RefCell::new(built.for_worker(worker as u16, workers as u16)),
            servers: pool
                .servers
                .iter()
                .map(|server| RouteServer {
                    slot: server.slot,
                    address: server.address,
                    shared: server.shared.clone(),
                    limit,
                    counts: server.shared.counts.of(worker),
                    cut_at: Cell::new(NEVER),
                    was_cut: Cell::new(false),
                })
                .collect(),
            queue: Queue::default(),
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
            let cut_at = pool.cut_at(index).unwrap_or(NEVER);
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
