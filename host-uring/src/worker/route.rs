//! A pool as it serves one virtual service, on one worker.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use forebay_core::id::{PoolId, ServerId, ServerIndex, VsId};
use forebay_core::lb::Pool;
use forebay_core::persist::Kind;
use forebay_core::retry::{RetryConfig, Statuses};
use forebay_core::table::TableId;
use forebay_snapshot::Protocol;

use super::generation::{Generation, Seat};
use super::queue::Queue;
use super::slots::Slot;
use crate::config::{Override, PoolIndex, Server, ServerShared, ServiceIndex, Tree};
use crate::l4::introduce;
use crate::metrics::{PoolMetrics, ServerMetrics};
use crate::persist::{Binding, Store};
use crate::rt::{NEVER, Now};
use crate::tls::Reach;
use crate::upstream::KeepRules;

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
    /// Its servers speak HTTP/2.
    pub http2: bool,
    /// Those that do not choose it in the TLS handshake are spoken to over HTTP/1.1.
    pub http2_fallback: bool,
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
    /// How it is reached by TLS, if it is.
    pub tls: Option<Rc<Reach>>,
    /// What this worker counts for it.
    pub counts: Arc<ServerMetrics>,
    /// When what is open at it is cut, and whether that was done.
    pub(super) cut_at: Cell<Now>,
    pub(super) was_cut: Cell<bool>,
    pub(super) held: Rc<Slot>,
    /// Its stay in the pool: the same in all configurations since it came, another one if it went and came back.
    tenure: u64,
}

impl Route {
    /// The service, by the same number in all configurations.
    pub fn service_id(&self) -> VsId {
        self.service_id
    }

    pub(super) fn new(
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
            Some(Kind::HttpCookie(c)) => {
                Some(Binding::new(core.vs, core.id, &c.name).by(tree.pool(pool_index).cookie_keys()))
            }
            _ => None,
        };
        let counts_connections = matches!(kind, Some(Kind::ClientIp(_)));
        let pool = tree.pool(pool_index);
        let config = &pool.config;
        let us = |ms: u32| u64::from(ms) * 1000;
        let introduces = introduce::version(config.send_proxy_protocol);
        // Over HTTP/2 the limit is one of requests.
        let requests_alone = limit == 0 || config.enable_http2;
        let mut built = Pool::new(core).expect("checked: the snapshot's own check covers the core's");
        built.started(tree.started);
        let mut built = built.for_worker(worker as u16, workers as u16);
        if let Some(before) = before {
            built.carry_over(&before.pool.borrow(), seat.now);
        }
        let known = |id: ServerId| Some(&before?.servers[before?.pool.borrow().index_of(id)?.at()]);
        // What is remembered of a server by the same files and settings goes on.
        //= TLS-SERVER-SESSION-01
        let speaks_the_same = before.is_none_or(|before| {
            (before.http2, before.http2_fallback) == (config.enable_http2, config.http2_fallback)
        });
        let reach = |server: &Server| {
            let back = pool.tls.as_ref()?.back();
            let old = known(server.id).and_then(|known| known.tls.clone());
            let new = || {
                let within: &[&str] = match tree.service(service).protocol {
                    //= H2BACK-TLS-01
                    Protocol::Http if config.http2_fallback => &["h2", "http/1.1"],
                    Protocol::Http if config.enable_http2 => &["h2"],
                    Protocol::Http => &["http/1.1"],
                    _ => &[],
                };
                let name = server.name.as_deref().and_then(|name| Some(name.rsplit_once(':')?.0));
                Rc::new(Reach::new(back, server.address.ip(), name, within))
            };
            Some(old.filter(|old| old.is_by(back) && speaks_the_same).unwrap_or_else(new))
        };
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
                    tenure: known(server.id).map_or_else(|| seat.slots.tenure(), |known| known.tenure),
                    address: server.address,
                    shared: server.shared.clone(),
                    limit,
                    tls: reach(server),
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
                idle_max: match (requests_alone, introduces) {
                    (true, None) => usize::from(config.connection_pool.idle_connections_max),
                    _ => 0,
                },
            },
            http2: config.enable_http2,
            http2_fallback: config.http2_fallback,
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

    /// Says whether it leads from this service to this pool.
    pub(super) fn leads(&self, service: VsId, pool: PoolId) -> bool {
        (self.service_id, self.pool_id) == (service, pool)
    }

    /// Says where new requests go that would have come here.
    pub(super) fn hand_over(&self, to: &Rc<Generation>) {
        let heir = to.route(self.service_id, self.pool_id);
        *self.heir.borrow_mut() = heir.map(|(at, _)| Heir { generation: Rc::downgrade(to), at });
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
            let cut_at = match server.shared.admin_override() {
                //= OBS-OVERRIDE-01
                Override::Disabled => Now(0),
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
