//! Events of servers, pools and services.

use crate::config::{HealthState, Pool, Server, Tree};

/// Servers of the pool that are up and enabled.
pub(crate) fn up_servers(pool: &Pool) -> usize {
    pool.servers.iter().filter(|s| s.is_enabled() && s.shared.state() == HealthState::Up).count()
}

/// Says that a server's state has changed.
//= OBS-EVENT-01
pub(super) fn say(
    pool: &Pool,
    server: &Server,
    from: HealthState,
    to: HealthState,
    why: &str,
    held_until: Option<u64>,
) {
    let name = server.name.as_deref();
    let (pool, server, from, to) = (&pool.name, server.address, from.word(), to.word());
    if to == HealthState::Up.word() {
        tracing::info!(event = "SERVER_UP", pool, %server, name, from, to, why, "server state changed");
    } else {
        tracing::warn!(event = "SERVER_DOWN", pool, %server, name, from, to, why, held_until, "server state changed");
    }
}

/// Says that the pool has lost its last server, or has one again, and which services that concerns; `before`: how many
/// were up.
//= OBS-EVENT-01
pub(crate) fn say_pool(tree: &Tree, pool: &Pool, before: usize) {
    let now = up_servers(pool);
    let services =
        tree.services.iter().filter(|s| tree.pools_of(s).iter().any(|i| std::ptr::eq(tree.pool(*i), pool)));
    if now == 0 && before > 0 {
        tracing::warn!(event = "POOL_DOWN", pool = pool.name, "no server of the pool is up");
        for service in services.filter(|s| tree.pools_of(s).iter().all(|i| up_servers(tree.pool(*i)) == 0)) {
            tracing::warn!(
                event = "VS_DOWN",
                virtual_service = service.name,
                "no server of the service is up"
            );
        }
    } else if now > 0 && before == 0 {
        tracing::info!(
            event = "POOL_UP",
            pool = pool.name,
            servers_up = now,
            "the pool has a server that is up"
        );
        for service in services.filter(|s| {
            tree.pools_of(s)
                .iter()
                .all(|i| std::ptr::eq(tree.pool(*i), pool) || up_servers(tree.pool(*i)) == 0)
        }) {
            tracing::info!(
                event = "VS_UP",
                virtual_service = service.name,
                "the service has a server that is up"
            );
        }
    }
}
