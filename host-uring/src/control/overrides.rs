//! What an operator decides about a server while the engine runs.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::State;
use super::refused::{Code, Refused, no_such};
use super::supervisor::{Order, Orders};
use crate::config::{Override, Pool, Server};
use crate::health::events::{say_pool, up_servers};

/// What is wanted of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Want {
    /// It serves.
    Enable,
    /// It ends well: nothing new, what is under way within the pool's grace.
    Drain,
    /// It is out at once.
    Disable,
    /// As the document says.
    Reset,
}

/// Who asks, as the socket knows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asker {
    /// The user.
    pub uid: Option<u32>,
    /// The process.
    pub pid: Option<i32>,
}

/// Carries it out on all workers, and says what the server was and is.
//= OBS-OVERRIDE-01
pub(super) fn set(
    state: &State,
    orders: &Orders,
    name: &str,
    want: Want,
    asker: Asker,
) -> Result<Value, Refused> {
    let tree = state.tree();
    let (pool, servers) = find(&tree, name)?;
    let to = match want {
        Want::Enable => Override::Enabled,
        Want::Drain => Override::Draining,
        Want::Disable => Override::Disabled,
        Want::Reset => Override::None,
    };
    let usable = up_servers(pool);
    let told: Vec<Value> = servers.iter().map(|server| decide(pool, server, to, asker)).collect();
    if told.iter().any(|one| one["was"] != one["override"]) {
        pool.shared.bump();
        orders.give(Order::PoolsChanged);
        say_pool(&tree, pool, usable);
    }
    let mut told = told;
    if let ([_], false) = (told.as_slice(), leads_by_name(name)) {
        return Ok(told.remove(0));
    }
    let sum = |key: &str| told.iter().filter_map(|one| one[key].as_u64()).sum::<u64>();
    Ok(json!({
        "pool": pool.name,
        "server": name.rsplit_once('/').map_or(name, |(_, server)| server),
        "override": to.word(),
        "enabled": servers.iter().all(|server| server.is_enabled()),
        "connections_open": sum("connections_open"),
        "requests_active": sum("requests_active"),
        "servers": told,
    }))
}

/// Decides about one server; what it was and is.
fn decide(pool: &Pool, server: &Server, to: Override, asker: Asker) -> Value {
    let was = server.shared.admin_override();
    if to != was {
        server.shared.set_override(to);
        tracing::warn!(
            event = "SERVER_OVERRIDE",
            pool = pool.name,
            server = %server.address,
            from = was.word().unwrap_or("none"),
            to = to.word().unwrap_or("none"),
            enabled = server.is_enabled(),
            uid = asker.uid,
            pid = asker.pid,
            "an operator has decided about a server"
        );
    }
    json!({
        "pool": pool.name,
        "server": server.address.to_string(),
        "was": was.word(),
        "override": to.word(),
        "enabled": server.is_enabled(),
        "enabled_in_document": server.config.enabled,
        "connections_open": server.shared.counts.sum(|counts| counts.connections.now()),
        "requests_active": server.shared.counts.sum(|counts| counts.active.now()),
    })
}

fn leads_by_name(name: &str) -> bool {
    let server =
        name.rsplit_once('/').and_then(|(_, server)| server.parse::<forebay_snapshot::ServerAddress>().ok());
    server.is_some_and(|server| server.name().is_some())
}

/// The server of a name like `pool/192.0.2.1:80`, or those that a host name of the pool leads to now; the port may be left
/// out where the pool has one server at the address.
fn find<'t>(tree: &'t crate::config::Tree, name: &str) -> Result<(&'t Pool, Vec<&'t Server>), Refused> {
    let usage = |reason: String| Refused::new(Code::Usage, reason, "write it like web/192.0.2.1:80");
    let Some((pool_name, server_name)) = name.rsplit_once('/') else {
        return Err(usage(format!("{name:?} names no pool and server")));
    };
    let Some(pool) = tree.pools.iter().find(|pool| pool.name == pool_name) else {
        return Err(no_such("pool", pool_name, tree.pools.iter().map(|pool| pool.name.as_str())));
    };
    let wanted: forebay_snapshot::ServerAddress =
        server_name.parse().map_err(|_| usage(format!("{server_name:?} is no address")))?;
    let found: Vec<&Server> = match wanted.name() {
        Some(name) => {
            let is_by_name = |server: &&Server| {
                server.config.address.name() == Some(name)
                    && wanted.port.is_none_or(|port| port == server.address.port())
            };
            pool.servers.iter().filter(is_by_name).collect()
        }
        None => pool.servers.iter().filter(|server| wanted.means(server.address)).collect(),
    };
    match found.as_slice() {
        [] => {
            let named = |server: &Server| server.config.address.name().map(str::to_owned);
            let known: Vec<String> = pool
                .servers
                .iter()
                .flat_map(|server| [Some(server.address.to_string()), named(server)])
                .flatten()
                .collect();
            Err(no_such("server", server_name, known.iter().map(String::as_str)))
        }
        [_] => Ok((pool, found)),
        _ if wanted.name().is_some() => Ok((pool, found)),
        _ => Err(usage(format!("{} servers of the pool are at {server_name}", found.len()))),
    }
}
