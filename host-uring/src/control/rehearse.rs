//! What tests and measurements do to the persistence tables of an engine that was started for them.
//!
//! Entries are written and looked up by the calls that a worker makes, so that what is measured is what clients get.

use std::net::IpAddr;

use forebay_core::persist::TableKey;
use forebay_core::table::KeyBytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::State;
use super::refused::{Code, Refused, no_such};
use crate::rt::clock;

/// What is to be done with a pool whose clients are bound by their addresses; one of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Deed {
    /// Bind these clients to the pool's first server.
    Write(Vec<IpAddr>),
    /// Say to which server a client is bound.
    Look(IpAddr),
    /// Say how many entries the engine has.
    Count,
    /// Change the server of a client's entry and nothing else of it, and tell nobody.
    FlipServer(IpAddr),
    /// Change one bit of a client's open set, and tell nobody.
    FlipBit(IpAddr),
    /// Let the thread of object sync panic.
    Panic,
}

/// Does it.
pub(super) fn carry_out(state: &State, pool: &str, deed: &Deed) -> Result<Value, Refused> {
    let running = state.running();
    let (tree, store) = (&running.tree, &running.store);
    let index = tree.pools.iter().position(|p| p.name == pool).map(crate::config::PoolIndex);
    let index = index.ok_or_else(|| no_such("pool", pool, tree.pools.iter().map(|p| p.name.as_str())))?;
    let table = (0..tree.services.len()).find_map(|n| store.table(crate::config::ServiceIndex(n), index));
    let table = table.ok_or_else(|| {
        Refused::new(Code::Usage, format!("pool {pool} remembers no clients"), "give it a persistence")
    })?;
    let servers: Vec<_> = tree.pool(index).servers.iter().map(|server| server.id).collect();
    let no_server = || Refused::new(Code::Usage, format!("pool {pool} has too few servers"), "add one");
    let key = |ip: &IpAddr| store.key(table, TableKey(KeyBytes::of_ip(*ip).0));
    let now = clock::now();
    match deed {
        Deed::Write(clients) => {
            let server = *servers.first().ok_or_else(no_server)?;
            let bound = clients.iter().filter(|ip| store.put(&key(ip), server, false, now).is_some()).count();
            Ok(json!({ "bound": bound }))
        }
        Deed::Look(client) => {
            let server = store.get(&key(client), now);
            let place = server.and_then(|id| servers.iter().position(|one| *one == id));
            Ok(json!({ "found": server.is_some(), "server": place }))
        }
        Deed::Count => Ok(json!({ "entries": state.table_view().entries })),
        Deed::FlipServer(client) => {
            let key = key(client);
            let now_at = store.get(&key, now).ok_or_else(|| unbound(client))?;
            let other = servers.iter().find(|id| **id != now_at).ok_or_else(no_server)?;
            flipped(store.flip_server(&key, *other, now), client)
        }
        Deed::FlipBit(client) => flipped(store.flip_bit(&key(client), now), client),
        Deed::Panic => Err(Refused::new(Code::Usage, "it is not done to a table", "ask for it alone")),
    }
}

fn flipped(done: bool, client: &IpAddr) -> Result<Value, Refused> {
    if done { Ok(json!({ "flipped": client })) } else { Err(unbound(client)) }
}

fn unbound(client: &IpAddr) -> Refused {
    Refused::new(Code::NotFound, format!("{client} is bound to no server"), "bind it first")
}
