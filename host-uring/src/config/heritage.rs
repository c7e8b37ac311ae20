//! What a new configuration takes over from those that still live: everything that belongs to a thing and not to its
//! settings.
//!
//! A service, a pool and a server are the same thing as before if their ids are: names, and for a server its pool and
//! its address. Counts, limits in use, health and turns go on with the thing, also where its settings have changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_core::id::{PoolId, ServerId, VsId};

use super::{PoolShared, ServerShared, ServiceShared, Tree};

/// What may be taken over.
#[derive(Default)]
pub(super) struct Heritage {
    services: BTreeMap<VsId, Arc<ServiceShared>>,
    pools: BTreeMap<PoolId, Arc<PoolShared>>,
    servers: BTreeMap<(PoolId, ServerId), Arc<ServerShared>>,
}

impl Heritage {
    /// Of these configurations, the newest first. Older ones count too: a server that was taken out and comes back
    /// while requests of then are still open has them open.
    pub(super) fn of(living: &[Arc<Tree>]) -> Self {
        let mut this = Self::default();
        for tree in living {
            for service in &tree.services {
                this.services.entry(service.id).or_insert_with(|| Arc::clone(&service.shared));
            }
            for pool in &tree.pools {
                this.pools.entry(pool.id).or_insert_with(|| Arc::clone(&pool.shared));
            }
            for (pool, server) in tree.servers() {
                this.servers.entry((pool.id, server.id)).or_insert_with(|| Arc::clone(&server.shared));
            }
        }
        this
    }

    pub(super) fn service(&self, id: VsId) -> Arc<ServiceShared> {
        self.services.get(&id).cloned().unwrap_or_default()
    }

    pub(super) fn pool(&self, id: PoolId) -> Arc<PoolShared> {
        self.pools.get(&id).cloned().unwrap_or_default()
    }

    pub(super) fn server(
        &self,
        pool: PoolId,
        id: ServerId,
        new: impl FnOnce() -> ServerShared,
    ) -> Arc<ServerShared> {
        self.servers.get(&(pool, id)).cloned().unwrap_or_else(|| Arc::new(new()))
    }
}
