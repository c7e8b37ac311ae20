//! What the admin socket answers about the tables that engines share, in the field names that clients know.
//!
//! There is no hub here: `hubuuid` is the engine that answers, `hubVersions` how often it has changed each table, and
//! `subStats` up to which of those changes each other member is known to be.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::State;
use super::answers::{self, Filter};
use super::refused::{Code, Refused, no_such};
use super::tables::{self, TableEntry};
use crate::config::{Pool, Tree};
use crate::persist::{SharedTable, Store};
use crate::rt::clock;
use crate::sync::redis::MirrorStatus;
use crate::sync::{PeerStatus, Reached, Sync, Verified, in_words, last_words};

/// What is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// How many keys each kind of table holds.
    Keyvalsummary,
    /// How far the other members are with each kind of table.
    Keyvalsummaryobjsync,
    /// A pool's state and its clients' entries.
    PoolInternal,
    /// How far the other members are with each pool's table.
    PoolObjsync,
    /// The other members: connections, lag, differences, bytes.
    ServiceengineObjsync,
}

/// Answers.
//= OBS-SYNC-01
pub(super) async fn show(state: &State, what: What, filter: &Filter) -> Result<Value, Refused> {
    let tree = state.tree();
    if let Some(name) = &filter.pool
        && !tree.pools.iter().any(|pool| pool.name == *name)
    {
        return Err(no_such("pool", name, tree.pools.iter().map(|pool| pool.name.as_str())));
    }
    if let Some(name) = &filter.service
        && !tree.services.iter().any(|service| service.name == *name)
    {
        let names = tree.services.iter().map(|service| service.name.as_str());
        return Err(no_such("virtual service", name, names));
    }
    match what {
        What::Keyvalsummary => Ok(keyval_summary(state, filter).await),
        What::Keyvalsummaryobjsync => keyval_progress(state, filter).await,
        What::PoolInternal => pool_internal(state, filter).await,
        What::PoolObjsync => pool_progress(state, filter).await,
        What::ServiceengineObjsync => members(state),
    }
}

/// Compares with every other member now.
//= OBS-SYNC-02
pub(super) async fn verify(state: &State) -> Result<Value, Refused> {
    let sync = shared(state)?;
    let verified = sync.verify().await.map_err(ended)?;
    let store = &state.running().store;
    let tables = store.shared_tables();
    let tree = state.tree();
    let peers: Vec<Value> = verified.iter().map(|one| peer_verdict(one, &tables, &tree, store)).collect();
    let any = |word: &str| peers.iter().any(|peer| peer["state"] == word);
    let result = ["differs", "unreachable", "partial"].into_iter().find(|word| any(word));
    let result = result.unwrap_or(if peers.is_empty() { "alone" } else { "equal" });
    Ok(json!({ "result": result, "se_uuid": tree.engine.name, "peers": peers }))
}

/// Lets the thread of object sync panic.
pub(super) async fn fail(state: &State) -> Result<Value, Refused> {
    shared(state)?.fail().await.map_err(ended)?;
    Ok(json!({}))
}

fn peer_verdict(one: &Verified, tables: &[SharedTable], tree: &Tree, store: &Store) -> Value {
    let Some(verdict) = &one.verdict else {
        return json!({ "seuuid": uuid(one.slot.get()), "state": "unreachable", "tables": [] });
    };
    let found: Vec<Value> = verdict
        .tables
        .iter()
        .map(|table| {
            let known = tables.iter().find(|known| known.name == table.table);
            json!({
                "virtual_service": known.map(|known| &tree.service(known.service).name),
                "pool": known.map(|known| &tree.pool(known.pool).name),
                "cells_differ": table.differing,
                "buckets": table.buckets,
                "cells_partial_here": table.partial_here,
                "cells_partial_there": table.partial_there,
            })
        })
        .collect();
    let partial = |table: &&forebay_objsync::TableVerdict| table.partial_here + table.partial_there > 0;
    let word = if verdict.differing() > 0 || one.differs.count() > 0 {
        "differs"
    } else if verdict.tables.iter().find(partial).is_some() {
        "partial"
    } else {
        "equal"
    };
    json!({ "seuuid": uuid(one.slot.get()), "state": word, "tables": found, "tables_differ": in_words(&one.differs, store) })
}

fn shared(state: &State) -> Result<Arc<Sync>, Refused> {
    if state.redis().is_some() {
        let fix = "set use_objsync = true, or look at show serviceengine-objsync";
        let reason = "the tables are shared by way of a Redis, where engines do not speak to one another";
        return Err(Refused::new(Code::Usage, reason, fix));
    }
    let fix = "set objsync.address and objsync.members, and start the engine anew";
    state.sync().ok_or_else(|| Refused::new(Code::Usage, "the tables are shared with nobody", fix))
}

fn ended(why: String) -> Refused {
    Refused::new(Code::Failed, why, "look at the engine's log")
}

/// What another member is called.
fn uuid(slot: u8) -> String {
    format!("slot-{slot}")
}

/// Every answer is of one process.
fn process() -> u32 {
    std::process::id()
}

/// The tables that a filter takes.
fn wanted(state: &State, tree: &Tree, filter: &Filter) -> Vec<SharedTable> {
    let is_wanted = |table: &SharedTable| {
        filter.pool.as_ref().is_none_or(|name| tree.pool(table.pool).name == *name)
            && filter.service.as_ref().is_none_or(|name| tree.service(table.service).name == *name)
    };
    state.running().store.shared_tables().into_iter().filter(is_wanted).collect()
}

/// How many entries a service has, by the kind of table.
async fn entries_of(tables: &dyn tables::Tables, service: &str) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for partition in 0..tables.partitions() {
        tables.entries(partition, &mut |entry| {
            if entry.virtual_service == service {
                *counts.entry(entry.kind).or_default() += 1;
            }
        });
        tokio::task::yield_now().await;
    }
    counts
}

/// Entries by the kind of table.
async fn keyval_summary(state: &State, filter: &Filter) -> Value {
    let tree = state.tree();
    let tables = wanted(state, &tree, filter);
    // Clients are counted by pool, which services may share.
    let of_service = match &filter.service {
        Some(service) => Some(entries_of(state.tables().as_ref(), service).await),
        None => None,
    };
    let clients = match of_service {
        None => tables::clients(state.tables().as_ref()).await,
        Some(_) => tables::Clients::new(),
    };
    let kinds: std::collections::BTreeSet<&str> = tables.iter().map(|table| table.kind).collect();
    let rows: Vec<Value> = kinds
        .into_iter()
        .map(|kind| {
            let of_kind: Vec<_> = tables.iter().filter(|table| table.kind == kind).collect();
            let by_pool: u64 = clients
                .iter()
                .filter(|((pool, _), _)| of_kind.iter().any(|table| table.pool == *pool))
                .map(|(_, count)| count)
                .sum();
            let entries = match &of_service {
                Some(counts) => counts.get(kind).copied().unwrap_or(0),
                None => by_pool,
            };
            json!({
                "se_uuid": tree.engine.name,
                "proc_id": process(),
                "kv_type": kind,
                "num_keyval_objs": entries,
                "keyval_handle_internal": of_kind.iter().map(|table| table.id.get()).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({ "keyvalsummary": rows })
}

/// How far members are, by the kind of table.
async fn keyval_progress(state: &State, filter: &Filter) -> Result<Value, Refused> {
    let reached = shared(state)?.reached().await.map_err(ended)?;
    let tables = wanted(state, &state.tree(), filter);
    let kinds: std::collections::BTreeSet<&str> = tables.iter().map(|table| table.kind).collect();
    let versions = |of: &dyn Fn(&SharedTable) -> u64| -> Vec<Value> {
        let sum = |kind: &str| tables.iter().filter(|table| table.kind == kind).map(of).sum::<u64>();
        kinds.iter().map(|kind| json!({ "keyType": kind, "version": sum(kind) })).collect()
    };
    Ok(json!({ "keyvalsummaryobjsync": [progress(&state.tree(), &reached, versions)] }))
}

/// How far members are, by pool.
async fn pool_progress(state: &State, filter: &Filter) -> Result<Value, Refused> {
    let reached = shared(state)?.reached().await.map_err(ended)?;
    let tree = state.tree();
    let tables = wanted(state, &tree, filter);
    let versions = |of: &dyn Fn(&SharedTable) -> u64| -> Vec<Value> {
        let row =
            |table: &SharedTable| json!({ "pooluuid": tree.pool(table.pool).name, "version": of(table) });
        tables.iter().map(row).collect()
    };
    Ok(json!({ "pool_objsync": [progress(&tree, &reached, versions)] }))
}

fn progress(
    tree: &Tree,
    reached: &Reached,
    versions: impl Fn(&dyn Fn(&SharedTable) -> u64) -> Vec<Value>,
) -> Value {
    let others: Vec<Value> = reached
        .others
        .iter()
        .map(|(slot, theirs)| {
            let at = |table: &SharedTable| theirs.get(&table.id).copied().unwrap_or(0);
            json!({ "seuuid": uuid(slot.get()), "versions": versions(&at) })
        })
        .collect();
    let own = |table: &SharedTable| reached.own.get(&table.id).copied().unwrap_or(0);
    json!({
        "se_uuid": tree.engine.name,
        "proc_id": process(),
        "hubuuid": tree.engine.name,
        "numSub": others.len(),
        "hubVersions": versions(&own),
        "subStats": others,
    })
}

/// The other members.
fn members(state: &State) -> Result<Value, Refused> {
    if let Some(redis) = state.redis() {
        return Ok(by_redis(&state.tree().engine.name, &redis.status()));
    }
    let sync = shared(state)?;
    let status = sync.view().status();
    let (has_failed, store) = (sync.has_failed(), Arc::clone(&state.running().store));
    let peers: Vec<Value> = status.peers.iter().map(|peer| member(peer, has_failed, &store)).collect();
    let figures = status.figures;
    let tree = state.tree();
    Ok(json!({
        "se_uuid": tree.engine.name,
        "proc_id": process(),
        "failed": has_failed,
        "use_objsync": true,
        "joined": status.joined,
        "complete": status.complete,
        "group_time_ms": status.group_ms,
        "listening": status.listening,
        "cpu_ms": status.busy_us / 1_000,
        "entries": {
            "told": figures.told, "repaired": figures.repaired, "applied": figures.applied,
            "unknown": figures.unknown, "refused": figures.refused,
        },
        "peers": peers,
    }))
}

/// The engine's Redis, where the tables are shared by way of it.
fn by_redis(engine: &str, redis: &MirrorStatus) -> Value {
    json!({
        "se_uuid": engine,
        "proc_id": process(),
        "use_objsync": false,
        "redis": redis.redis,
        "redis_connected": redis.connected,
        "trouble": redis.trouble,
        "joined": redis.joined,
        "complete": redis.complete,
        "cpu_ms": redis.busy_us / 1_000,
        "waiting": redis.waiting,
        "entries": {
            "told": redis.told, "applied": redis.applied, "unknown": redis.unknown, "refused": redis.refused,
        },
        "lost": redis.lost,
        "others": redis.others.iter().map(|slot| uuid(*slot)).collect::<Vec<_>>(),
    })
}

fn member(peer: &PeerStatus, has_failed: bool, store: &Store) -> Value {
    let figures = last_words(peer.figures.unwrap_or_default(), has_failed);
    let now = clock::now();
    let ago = |at: forebay_core::units::Now| now.since(at).0 / 1_000;
    json!({
        "seuuid": uuid(peer.slot.get()),
        "reads": peer.reads,
        "address": peer.address,
        "connected": figures.connected,
        "synced": figures.synced,
        "trouble": peer.trouble,
        "lag_entries": figures.behind,
        "lag_ms": figures.behind_since.map_or(0, ago),
        "cells_differ": figures.differing,
        "proven_ms_ago": figures.proven.map(ago),
        "comparisons": figures.rounds,
        "bytes_in": figures.bytes_in,
        "bytes_out": figures.bytes_out,
        "told": figures.told,
        "applied": figures.applied,
        "repaired": figures.repaired,
        "connections": peer.connections,
        "queued_bytes": peer.queued,
        "too_slow": peer.too_slow,
        "protocol": figures.protocol,
        "tables_differ": in_words(&peer.differs, store),
    })
}

/// Pools with the entries of their clients.
async fn pool_internal(state: &State, filter: &Filter) -> Result<Value, Refused> {
    let tree = state.tree();
    let (entries, matching) = answers::entries(state, filter).await?;
    let rows: Vec<Value> = tree
        .pools
        .iter()
        .filter(|pool| filter.pool.as_ref().is_none_or(|name| pool.name == *name))
        .map(|pool| pool_row(&tree, pool, &entries))
        .collect();
    Ok(json!({ "pool_internal": rows, "matching": matching }))
}

fn pool_row(tree: &Tree, pool: &Pool, entries: &[TableEntry]) -> Value {
    let of_pool: Vec<Value> = entries.iter().filter(|entry| entry.pool == pool.name).map(entry_row).collect();
    let usable = answers::usable(pool);
    json!({
        "se_uuid": tree.engine.name,
        "proc_id": process(),
        "pool": pool.name,
        "num_servers": pool.servers.len(),
        "oper_status": if usable > 0 { "OPER_UP" } else { "OPER_DOWN" },
        "num_persistence_objs": of_pool.len(),
        "persistence_entry": of_pool,
    })
}

/// Two clocks: how long ago the client was here, and anywhere in the group. What this engine knows of a client whose
/// connections are open elsewhere only is the group's clock.
fn entry_row(entry: &TableEntry) -> Value {
    let seconds = |ms: u64| ms as f64 / 1_000.0;
    let clocks = entry.clocks;
    let global = seconds(clocks.age_ms);
    let timeout = clocks.left_ms.map(|left| seconds(left + clocks.age_ms));
    let local = (!clocks.open_elsewhere || entry.open_connections > 0).then_some(global);
    let server = entry.server;
    json!({
        "client_ip": entry.key,
        "server_ip": server.map(|server| server.ip().to_string()),
        "port": server.map(|server| server.port()),
        "server_key": server.map(|server| server.to_string()),
        "ishub": clocks.own,
        "version": entry.version,
        "ref_count": clocks.engines,
        "total_conn_count": entry.open_connections,
        "in_progress_cnt": entry.open_connections,
        "local_age": local,
        "local_eol": local.and(clocks.left_ms).map(seconds),
        "local_timeout": timeout,
        "global_age": global,
        "global_eol": clocks.left_ms.map(seconds),
        "global_timeout": timeout,
    })
}
