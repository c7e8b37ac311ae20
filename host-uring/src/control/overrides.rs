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
    let (pool, server) = find(&tree, name)?;
    let was = server.shared.admin_override();
    let to = match want {
        Want::Enable => Override::Enabled,
        Want::Drain => Override::Draining,
        Want::Disable => Override::Disabled,
        Want::Reset => Override::None,
    };
    if to != was {
        let usable = up_servers(pool);
        server.shared.set_override(to);
        pool.shared.bump();
        orders.give(Order::PoolsChanged);
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
        say_pool(&tree, pool, usable);
    }
    Ok(json!({
        "pool": pool.name,
        "server": server.address.to_string(),
        "was": was.word(),
        "override": to.word(),
        "enabled": server.is_enabled(),
        "enabled_in_document": server.config.enabled,
        "connections_open": server.shared.counts.sum(|counts| counts.connections.now()),
        "requests_active": server.shared.counts.sum(|counts| counts.active.now()),
    }))
}

/// The server of a name like `pool/192.0.2.1:80`; the port may be left out where the pool has one server at the address.
fn find<'t>(tree: &'t crate::config::Tree, name: &str) -> Result<(&'t Pool, &'t Server), Refused> {
    let usage = |reason: String| Refused::new(Code::Usage, reason, "write it like web/192.0.2.1:80");
    let Some((pool_name, server_name)) = name.rsplit_once('/') else {
        return Err(usage(format!("{name:?} names no pool and server")));
    };
    let Some(pool) = tree.pools.iter().find(|pool| pool.name == pool_name) else {
        return Err(no_such("pool", pool_name, tree.pools.iter().map(|pool| pool.name.as_str())));
    };
    let wanted: forebay_snapshot::ServerAddress =
        server_name.parse().map_err(|_| usage(format!("{server_name:?} is no address")))?;
    let is = |server: &&Server| wanted.means(server.address);
    let found: Vec<&Server> = pool.servers.iter().filter(is).collect();
    match found.as_slice() {
        [only] => Ok((pool, only)),
        [] => {
            let known: Vec<String> = pool.servers.iter().map(|server| server.address.to_string()).collect();
            Err(no_such("server", server_name, known.iter().map(String::as_str)))
        }
        _ => Err(usage(format!("{} servers of the pool are at {server_name}", found.len()))),
    }
}
