//! A configuration in the form that the request path reads.
//!
//! A worker has one current [`Generation`]. A request takes it when it begins and keeps it to its end, so what it finds
//! half-way is what it began with.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use forebay_core::id::{GroupId, PoolId, VsId};
use forebay_core::lb::{GroupConfig, PoolGroup};

use super::route::Route;
use super::service::Service;
use super::slots::Slots;
use crate::config::{self, ServiceIndex, Tree};
use crate::control::Running;
use crate::persist::Store;
use crate::rt::Now;
use crate::tls::Front;

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
        routes.find(|(_, route)| route.leads(service, pool))
    }

    /// Says where requests go that begin from now on, to those that began with this configuration.
    pub(super) fn hand_over(&self, to: &Rc<Generation>) {
        for route in &self.routes {
            route.hand_over(to);
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

    /// What a client of a service is served TLS with who asks for this host.
    pub fn front(&self, service: ServiceIndex, host: &str) -> Option<&Arc<Front>> {
        let at = self.tree.service(service).hosts.find(host.as_bytes());
        self.service(service).for_host(at).tls.as_ref()
    }

    /// The configuration of a route's pool.
    pub fn pool_of(&self, route: &Route) -> &config::Pool {
        self.tree.pool(route.pool_index)
    }
}
