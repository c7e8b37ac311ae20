//! Events of servers, pools and services.

use crate::config::{HealthState, Pool, Server, Service, Tree};

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
    say_pool_went(pool, before, now);
    let services =
        tree.services.iter().filter(|s| tree.pools_of(s).iter().any(|i| std::ptr::eq(tree.pool(*i), pool)));
    for service in services {
        let others = tree.pools_of(service).iter().map(|i| tree.pool(*i)).filter(|p| !std::ptr::eq(*p, pool));
        let others: usize = others.map(up_servers).sum();
        say_service_went(service, others + before, others + now);
    }
}

/// Says which pools and services of both configurations the later one has taken the last server from, or given one.
//= OBS-EVENT-01
pub(crate) fn say_reload(before: &Tree, after: &Tree) {
    for pool in &after.pools {
        if let Some(was) = before.pools.iter().find(|was| was.name == pool.name) {
            say_pool_went(pool, up_servers(was), up_servers(pool));
        }
    }
    let up = |tree: &Tree, service: &Service| -> usize {
        tree.pools_of(service).iter().map(|i| up_servers(tree.pool(*i))).sum()
    };
    for service in &after.services {
        if let Some(was) = before.services.iter().find(|was| was.name == service.name) {
            say_service_went(service, up(before, was), up(after, service));
        }
    }
}

fn say_pool_went(pool: &Pool, before: usize, now: usize) {
    let pool = &pool.name;
    if now == 0 && before > 0 {
        tracing::warn!(event = "POOL_DOWN", pool, "no server of the pool is up");
    } else if now > 0 && before == 0 {
        tracing::info!(event = "POOL_UP", pool, servers_up = now, "the pool has a server that is up");
    }
}

fn say_service_went(service: &Service, before: usize, now: usize) {
    let virtual_service = &service.name;
    if now == 0 && before > 0 {
        tracing::warn!(event = "VS_DOWN", virtual_service, "no server of the service is up");
    } else if now > 0 && before == 0 {
        tracing::info!(event = "VS_UP", virtual_service, "the service has a server that is up");
    }
}
