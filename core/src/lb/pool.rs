//! A pool as one worker sees it: configuration, and what it has learned.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::schedule::Schedule;
use super::server::{Cold, Health, Server, ServerState};
use super::{Algorithm, DisableType, FailAction, Gate, Maglev, Name, PoolConfig};
use crate::id::{Endpoint, PoolId, ServerId, ServerIndex, SiteId, VsId};
use crate::limits::RAMP_START_MILLI;
use crate::persist::{Profile, ServerDown};
use crate::problem::Problem;
use crate::reason::SkipWhy;
use crate::units::{Micros, Now};

/// A pool in one worker.
///
/// Build it once and clone it for the other workers ([`Pool::for_worker`]): configuration and hash table are
/// shared, state is not. It allocates when it is built and never again.
#[derive(Clone, Debug)]
pub struct Pool {
    pub(crate) servers: Vec<Server>,
    /// What only changes of state read, apart: decisions walk a shorter list.
    cold: Vec<Cold>,
    plan: Arc<Plan>,
    algorithm: Name,
    /// Open connections of all servers, this worker's and others'.
    pub(crate) total_open: u64,
    /// Weight of all servers that take new clients.
    pub(crate) weight_sum: u64,
    pub(crate) some_refuse: bool,
    pub(crate) some_limited: bool,
    pub(crate) ratio_max: u8,
    pub(crate) worker: u16,
    pub(crate) workers: u16,
    /// When ramps or drain times change next.
    refresh_at: Now,
    now: Now,
    sites_up: Vec<(SiteId, bool)>,
}

/// What does not change while the pool lives.
#[derive(Debug)]
struct Plan {
    config: PoolConfig,
    by_id: Vec<(ServerId, ServerIndex)>,
    by_header: Vec<(Vec<u8>, ServerIndex)>,
    maglev: Option<Maglev>,
    schedule: Option<Schedule>,
}

impl Pool {
    /// Builds a pool. Servers begin as healthy and fully started, enabled as configured.
    ///
    /// # Errors
    /// All problems of the configuration.
    pub fn new(config: PoolConfig) -> Result<Self, Vec<Problem>> {
        let problems = config.check();
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut by_id = Vec::with_capacity(config.servers.len());
        let mut by_header = Vec::new();
        let mut servers = Vec::with_capacity(config.servers.len());
        let mut cold = Vec::with_capacity(config.servers.len());
        for (i, s) in (0u16..).zip(&config.servers) {
            let id = ServerId::of(s.endpoint);
            by_id.push((id, ServerIndex(i)));
            if !s.header_value.is_empty() {
                by_header.push((s.header_value.clone(), ServerIndex(i)));
            }
            let limit = if s.connections_max != 0 { s.connections_max } else { config.connections_max };
            servers.push(Server::new(s.ratio, limit));
            cold.push(Cold {
                id,
                endpoint: s.endpoint,
                state: ServerState { health: Health::Up, enabled: s.enabled },
                left_at: Now(0),
                ramp_from: None,
            });
        }
        by_id.sort_unstable();
        by_header.sort_unstable();
        let maglev = match config.algorithm {
            Algorithm::ConsistentHash { ignore_server_port, .. } => {
                Some(Maglev::of_servers(&config.servers, ignore_server_port))
            }
            _ => None,
        };
        let schedule = match config.algorithm {
            Algorithm::RoundRobin { per_se: true } => Some(Schedule::new(&config.servers)),
            _ => None,
        };
        let sites_up = match config.persistence.as_ref().map(|p| &p.kind) {
            Some(crate::persist::Kind::GslbSite(c)) => c.remote.iter().map(|s| (*s, true)).collect(),
            _ => Vec::new(),
        };
        let mut pool = Self {
            some_limited: servers.iter().any(|s| s.limit != 0),
            ratio_max: servers.iter().map(|s| s.ratio).max().unwrap_or(0),
            servers,
            cold,
            algorithm: config.algorithm.name(),
            plan: Arc::new(Plan { config, by_id, by_header, maglev, schedule }),
            total_open: 0,
            weight_sum: 0,
            some_refuse: false,
            worker: 0,
            workers: 1,
            refresh_at: Now::NEVER,
            now: Now(0),
            sites_up,
        };
        pool.seat(0, 1);
        pool.recompute(Now(0));
        Ok(pool)
    }

    /// Returns this pool for worker `index` of `count`, with the servers' states and no connections.
    pub fn for_worker(&self, index: u16, count: u16) -> Self {
        let mut pool = self.clone();
        pool.seat(index, count.max(1));
        pool.total_open = 0;
        for s in &mut pool.servers {
            (s.open, s.elsewhere, s.turn) = (0, 0, 0);
        }
        super::round_robin::advance(&mut pool.servers, index, pool.workers);
        pool
    }

    /// Says when the host began to serve. A server that is disabled by the configuration was disabled then:
    /// its grace counts from there. Give the same moment for all workers, and for one that is started anew.
    //= LB-DRAIN-06
    pub fn started(&mut self, now: Now) {
        for c in self.cold.iter_mut().filter(|c| !c.state.enabled) {
            c.left_at = now;
        }
        self.recompute(now);
    }

    /// Takes over what `old`, the same worker's pool before a change of the configuration, knows of the
    /// servers that are in both. Servers that are new start slowly from `now`.
    //= LB-RELOAD-01
    pub fn carry_over(&mut self, old: &Self, now: Now) {
        let ramp = self.ramps();
        let mut came_up = false;
        self.total_open = 0;
        for (s, c) in self.servers.iter_mut().zip(&mut self.cold) {
            match old.index_of(c.id) {
                Some(at) => {
                    let configured = c.state.enabled;
                    let (limit, ratio) = (s.limit, s.ratio);
                    *s = Server { limit, ratio, ..old.servers[at.at()].clone() };
                    *c = old.cold[at.at()].clone();
                    if c.state.enabled != configured {
                        Self::transition(s, c, ServerState { enabled: configured, ..c.state }, now, ramp);
                        came_up |= c.state == ServerState::UP;
                    }
                }
                None => {
                    c.ramp_from = ramp.then_some(now);
                    came_up = true;
                }
            }
            self.total_open += u64::from(s.total());
        }
        for (site, up) in &mut self.sites_up {
            if let Some((_, was)) = old.sites_up.iter().find(|(s, _)| s == site) {
                *up = *was;
            }
        }
        if came_up {
            self.forget_sent();
        }
        self.seat(old.worker, old.workers);
        self.recompute(now);
    }

    /// Counts a connection that was opened to the server. Call it when the connection is wanted, not when it
    /// is established: a burst must not pass a limit.
    pub fn connection_opened(&mut self, at: ServerIndex) {
        if let Some(s) = self.servers.get_mut(at.at()) {
            s.open = s.open.saturating_add(1);
            s.since_report = s.since_report.saturating_add(1);
            self.total_open = self.total_open.saturating_add(1);
        }
    }

    /// Counts a connection to the server that has ended.
    pub fn connection_closed(&mut self, at: ServerIndex) {
        if let Some(s) = self.servers.get_mut(at.at()) {
            debug_assert!(s.open > 0, "a connection closes once");
            if s.open > 0 {
                s.open -= 1;
                self.total_open = self.total_open.saturating_sub(1);
            }
        }
    }

    /// Sets how many connections the other workers have open to the server.
    pub fn set_open_elsewhere(&mut self, at: ServerIndex, open: u32) {
        if let Some(s) = self.servers.get_mut(at.at()) {
            let before = s.total();
            s.elsewhere = open;
            self.total_open = self.total_open.saturating_sub(u64::from(before)) + u64::from(s.total());
        }
    }

    /// Feeds the server's time to first byte: an average in which each answer counts an eighth.
    //= LB-FR-01
    pub fn response_time(&mut self, at: ServerIndex, time: Micros) {
        let now = self.now;
        if let Some(s) = self.servers.get_mut(at.at()) {
            let time = u32::try_from(time.0).unwrap_or(u32::MAX).max(1);
            s.response_us = match s.response_us {
                0 => time,
                old => {
                    let mixed = (u64::from(old) * 7 + u64::from(time)) / 8;
                    u32::try_from(mixed).unwrap_or(u32::MAX).max(1)
                }
            };
            s.response_at = now;
            if s.response_best_us == 0 || s.response_us < s.response_best_us {
                s.response_best_us = s.response_us;
            }
        }
    }

    /// Counts bytes exchanged with the server at `now`, for least load.
    pub fn transferred(&mut self, at: ServerIndex, bytes: u64, now: Now) {
        if let Some(s) = self.servers.get_mut(at.at()) {
            s.load = super::least_load::decayed(s, now).saturating_add(bytes);
            s.load_at = now;
        }
    }

    /// Sets the server's own report of its tasks, for fewest tasks.
    pub fn set_tasks(&mut self, at: ServerIndex, tasks: u32) {
        if let Some(s) = self.servers.get_mut(at.at()) {
            s.tasks = tasks;
            s.since_report = 0;
        }
    }

    /// Sets the server's state at `now`. A server that becomes able to serve starts slowly.
    pub fn set_state(&mut self, at: ServerIndex, state: ServerState, now: Now) {
        let ramp = self.ramps();
        if let (Some(s), Some(c)) = (self.servers.get_mut(at.at()), self.cold.get_mut(at.at())) {
            let came_up = c.state != state && state == ServerState::UP;
            Self::transition(s, c, state, now, ramp);
            if came_up {
                self.forget_sent();
            }
            self.recompute(now);
        }
    }

    /// Counts what is sent for fewest tasks from here on: next to a server that was away, whose count stood
    /// still, all others would look loaded, and it alone would be chosen until it has caught up.
    //= LB-FT-02
    fn forget_sent(&mut self) {
        for s in &mut self.servers {
            s.since_report = 0;
        }
    }

    /// Sets whether another site of the global service is up.
    pub fn set_site(&mut self, site: SiteId, up: bool) {
        if let Some(s) = self.sites_up.iter_mut().find(|s| s.0 == site) {
            s.1 = up;
        }
    }

    fn ramps(&self) -> bool {
        self.plan.config.ramp.0 != 0
    }

    fn transition(s: &mut Server, c: &mut Cold, state: ServerState, now: Now, ramp: bool) {
        let before = c.state;
        if before == state {
            return;
        }
        c.state = state;
        if state == ServerState::UP {
            //= LB-SLOW-02
            c.ramp_from = ramp.then_some(now);
            s.response_us = 0;
        //= LB-DRAIN-05
        } else if before == ServerState::UP || before.enabled != state.enabled {
            c.left_at = now;
            c.ramp_from = None;
        }
    }

    /// Takes a worker's seat: core affinity depends on it.
    fn seat(&mut self, worker: u16, workers: u16) {
        (self.worker, self.workers) = (worker, workers);
        let Algorithm::CoreAffinity { nonaffinity } = self.plan.config.algorithm else { return };
        let servers = self.servers.len() as u32;
        for (i, s) in (0u32..).zip(&mut self.servers) {
            let (worker, workers) = (u32::from(worker), u32::from(workers));
            s.mine = super::core_affinity::shares(i, servers, worker, workers, u32::from(nonaffinity));
        }
    }

    /// Brings ramps and drain times up to `now`.
    #[inline]
    pub(crate) fn refresh(&mut self, now: Now) {
        self.now = now;
        if now >= self.refresh_at {
            self.recompute(now);
        }
    }

    //= LB-SLOW-01
    //= LB-DRAIN-01
    fn recompute(&mut self, now: Now) {
        self.now = now;
        let ramp = self.plan.config.ramp.micros();
        let disable = self.plan.config.disable;
        let mut next = Now::NEVER;
        self.weight_sum = 0;
        self.some_refuse = false;
        for (s, c) in self.servers.iter_mut().zip(&mut self.cold) {
            s.ramp_milli = 1_000;
            if let Some(from) = c.ramp_from {
                let passed = now.since(from);
                if passed >= ramp {
                    c.ramp_from = None;
                } else {
                    let whole = u64::from(1_000 - RAMP_START_MILLI);
                    let milli = u64::from(RAMP_START_MILLI) + passed.0 * whole / ramp.0;
                    s.ramp_milli = milli as u16;
                    next = next.min(now.after(Micros((ramp.0 / whole).max(1))));
                }
            }
            //= LB-WEIGHT-01
            s.weight = u32::from(s.ratio) * u32::from(s.ramp_milli);
            s.refuses = match c.state {
                ServerState { enabled: false, health: Health::Up } => {
                    let ends = disable.grace.micros().map(|g| c.left_at.after(g));
                    let over = ends.is_some_and(|e| now >= e);
                    if let (Some(e), false) = (ends, over) {
                        next = next.min(e);
                    }
                    match disable.kind {
                        DisableType::AllowNewConnectionIfPersistencePresent if !over => {
                            Some(SkipWhy::Draining)
                        }
                        _ => Some(SkipWhy::Disabled),
                    }
                }
                //= LB-DRAIN-04
                ServerState { enabled: false, .. } => Some(SkipWhy::Disabled),
                ServerState { health: Health::Down, .. } => Some(SkipWhy::Down),
                ServerState { health: Health::Maintenance, .. } => Some(SkipWhy::Maintenance),
                ServerState { health: Health::Up, .. } => None,
            };
            s.room = 0;
            if s.refuses.is_none() && s.weight != 0 {
                self.weight_sum += u64::from(s.weight);
                s.room = if s.limit == 0 { u32::MAX } else { s.limit };
            }
            self.some_refuse |= s.refuses.is_some() || s.ratio == 0;
        }
        self.refresh_at = next;
    }
}

/// Questions.
impl Pool {
    /// The configuration that the pool was built from.
    pub fn config(&self) -> &PoolConfig {
        &self.plan.config
    }
    /// The virtual service.
    pub fn vs(&self) -> VsId {
        self.plan.config.vs
    }
    /// The pool.
    pub fn id(&self) -> PoolId {
        self.plan.config.id
    }
    /// The algorithm's name.
    pub fn algorithm_name(&self) -> Name {
        self.algorithm
    }
    /// The persistence profile.
    pub fn profile(&self) -> Option<&Profile> {
        self.plan.config.persistence.as_ref()
    }
    /// The server-down policy; the default where the pool has no profile.
    pub fn server_down(&self) -> ServerDown {
        self.profile().map_or(ServerDown::default(), |p| p.server_down)
    }
    /// What happens when no server may serve.
    pub fn fail_action(&self) -> &FailAction {
        &self.plan.config.fail_action
    }
    /// How many servers the pool has.
    pub fn len(&self) -> usize {
        self.servers.len()
    }
    /// True without servers.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }
    /// All indices, in the user's order.
    pub fn indices(&self) -> impl Iterator<Item = ServerIndex> + use<> {
        (0..self.servers.len() as u16).map(ServerIndex)
    }
    /// How many servers take new clients, limits aside: what a pool group asks.
    pub fn usable(&self) -> u32 {
        self.servers.iter().filter(|s| s.refuses.is_none() && s.weight != 0).count() as u32
    }
    /// True if a client that is bound to the server at `at` belongs there whether or not the pool takes new clients:
    /// the server serves it on, or the policy sends it nowhere else.
    ///
    /// # Panics
    /// If the pool has no such index.
    //= LB-GROUP-03
    pub fn keeps(&self, at: ServerIndex) -> bool {
        self.server_down() != ServerDown::PickNewServer
            || Gate::new(&[], &[]).refuses_bound(self, at).is_none()
    }
    /// The server's stable id.
    ///
    /// # Panics
    /// If the pool has no such index.
    pub fn id_of(&self, at: ServerIndex) -> ServerId {
        self.cold[at.at()].id
    }
    /// Where the server listens.
    ///
    /// # Panics
    /// If the pool has no such index.
    pub fn endpoint(&self, at: ServerIndex) -> Endpoint {
        self.cold[at.at()].endpoint
    }
    /// The place of the server with this id.
    pub fn index_of(&self, id: ServerId) -> Option<ServerIndex> {
        let list = &self.plan.by_id;
        list.binary_search_by_key(&id, |e| e.0).ok().map(|i| list[i].1)
    }
    /// The place of the server at exactly this address and port.
    pub fn index_of_endpoint(&self, endpoint: Endpoint) -> Option<ServerIndex> {
        let at = self.index_of(ServerId::of(endpoint))?;
        let there = self.cold[at.at()].endpoint;
        (crate::id::ip_bytes(there.ip) == crate::id::ip_bytes(endpoint.ip) && there.port == endpoint.port)
            .then_some(at)
    }
    /// The server's state as it was last set.
    ///
    /// # Panics
    /// If the pool has no such index.
    pub fn state(&self, at: ServerIndex) -> ServerState {
        self.cold[at.at()].state
    }
    /// Open connections of this worker to the server: while it drains, the clients that remain.
    ///
    /// # Panics
    /// If the pool has no such index.
    pub fn open(&self, at: ServerIndex) -> u32 {
        self.servers[at.at()].open
    }
    /// The server's connection limit; 0: none.
    ///
    /// # Panics
    /// If the pool has no such index.
    pub fn limit(&self, at: ServerIndex) -> u32 {
        self.servers[at.at()].limit
    }
    /// True if the server has no room by what this worker knows.
    ///
    /// # Panics
    /// If the pool has no such index.
    pub fn at_limit(&self, at: ServerIndex) -> bool {
        self.servers[at.at()].at_limit()
    }
    /// The server's present weight: 1000 per ratio point, less while it starts.
    ///
    /// # Panics
    /// If the pool has no such index.
    pub fn weight_milli(&self, at: ServerIndex) -> u32 {
        self.servers[at.at()].weight
    }
    /// When the server's open connections are to be cut: after the graceful time of a disabled or failed
    /// server. `None`: they may go on.
    ///
    /// # Panics
    /// If the pool has no such index.
    //= LB-DRAIN-03
    pub fn cut_at(&self, at: ServerIndex) -> Option<Now> {
        let c = &self.cold[at.at()];
        let grace = match c.state {
            ServerState { enabled: false, .. } => self.plan.config.disable.grace,
            ServerState { health: Health::Up, .. } => return None,
            _ => self.plan.config.down_grace,
        };
        grace.micros().map(|g| c.left_at.after(g))
    }

    pub(crate) fn queue_has_room(&self, queued: u32) -> Option<bool> {
        self.plan.config.queue.map(|q| queued < q.depth)
    }
    pub(crate) fn server_of_header(&self, value: &[u8]) -> Option<ServerIndex> {
        let list = &self.plan.by_header;
        list.binary_search_by(|e| e.0[..].cmp(value)).ok().map(|i| list[i].1)
    }
    pub(crate) fn site_is_up(&self, site: SiteId) -> bool {
        self.sites_up.iter().any(|(s, up)| *s == site && *up)
    }
    pub(crate) fn hash_slot(&self, hash: u64) -> Option<ServerIndex> {
        self.plan.maglev.as_ref()?.get(hash)
    }
    pub(crate) fn schedule(&self) -> Option<&Schedule> {
        self.plan.schedule.as_ref()
    }
    pub(crate) fn now(&self) -> Now {
        self.now
    }
}
