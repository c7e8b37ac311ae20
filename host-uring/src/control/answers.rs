//! What the admin socket answers about the engine, its servers and its persistence entries.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::State;
use super::names::Book;
use super::refused::{Code, Refused, no_such};
use super::tables::{self, Clients, TableEntry, Tables};
use crate::config::{HealthState, Pool, PoolIndex, Server};
use crate::limits::ADMIN_ENTRIES_MAX;
use crate::metrics::page::VERSION;
use crate::metrics::{Counter, HistogramSum, Process};

/// Which persistence entries are wanted; all conditions that are given must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// The client's address, as it stands in the entry.
    pub client: Option<String>,
    /// The value of the application's cookie.
    pub cookie: Option<String>,
    /// The server: an address, with or without a port.
    pub server: Option<String>,
    /// The pool's name.
    pub pool: Option<String>,
    /// The virtual service's name.
    pub service: Option<String>,
    /// Entries to list; the rest is counted.
    pub limit: Option<usize>,
}

/// The engine, its services and pools.
pub(super) fn status(state: &State) -> Value {
    let tree = &state.tree();
    let supervised = state.supervised().clone();
    let process = Process::read();
    let services: Vec<Value> = tree
        .services
        .iter()
        .enumerate()
        .map(|(index, service)| {
            let listen: Vec<String> = tree
                .listeners
                .iter()
                .filter(|l| l.service.0 == index)
                .map(|l| l.address.to_string())
                .collect();
            let pools: Vec<Value> =
                tree.pools_of(service).iter().map(|pool| pool_line(tree.pool(*pool), &state.names)).collect();
            let up = tree.pools_of(service).iter().any(|pool| usable(tree.pool(*pool)) > 0);
            let counts = &service.shared.counts;
            json!({
                "name": service.name,
                "state": if up { "up" } else { "down" },
                "listen": listen,
                "requests": counts.sum(|s| s.requests.get()),
                "responses_5xx": counts.sum(|s| s.responses[4].get()),
                "connections_open": counts.sum(|s| s.connections.now()),
                "duration": latency_with_buckets(&counts.histogram(|s| &s.duration)),
                "pools": pools,
            })
        })
        .collect();
    let workers: Vec<Value> = supervised
        .iter()
        .enumerate()
        .map(|(index, worker)| {
            let metrics = &state.workers[index];
            json!({
                "worker": index,
                "stuck": worker.is_stuck,
                "panics": worker.panics,
                "connections_open": metrics.connections.now(),
                "flows_open": metrics.flows.now(),
                "requests": tree.services.iter().map(|s| s.shared.counts.of(index).requests.get()).sum::<u64>(),
            })
        })
        .collect();
    let log = state.log_counts();
    let table = state.table_view();
    let reload = state.reloads.view(state.running().number, &state.workers);
    json!({
        "engine": tree.engine.name,
        "version": VERSION,
        "ready": state.is_ready(),
        "uptime_s": state.uptime_ms() / 1_000,
        "started_unix_s": state.started_unix_s(),
        "workers": workers,
        "memory_resident_bytes": process.resident_bytes,
        "cpu_ms": process.cpu_ms,
        "open_files": process.open_files,
        "connections_max": state.sizes.connections_max,
        "connections_bound_by": state.sizes.bound_by.word(),
        "persistence_entries": table.entries,
        "persistence_entries_max": table.capacity,
        "access_log": { "written": log.written, "dropped": log.dropped, "lost": log.lost },
        "configuration": {
            "generation": reload.generation,
            "generations_live": reload.live,
            "last_reload_unix_s": reload.last_unix_s,
            "last_reload_problems": state.reloads.problems(),
        },
        "virtual_services": services,
    })
}

pub(super) fn usable(pool: &Pool) -> usize {
    pool.servers.iter().filter(|s| s.is_enabled() && s.shared.state() == HealthState::Up).count()
}

fn pool_line(pool: &Pool, names: &Book) -> Value {
    let down: Vec<Value> =
        pool.servers
            .iter()
            .filter(|s| s.shared.state() != HealthState::Up)
            .take(8)
            .map(|s| {
                let report = s.shared.report();
                json!({ "server": shown(s), "state": report.state.word(), "why": report.why })
            })
            .chain(unresolved(pool).map(
                |name| json!({ "server": name, "state": HealthState::Down.word(), "why": names.why(name) }),
            ))
            .collect();
    let open = |s: &Server| s.shared.counts.sum(|c| c.connections.now());
    let disabled: Vec<Value> = pool
        .servers
        .iter()
        .filter(|s| !s.is_enabled())
        .take(8)
        .map(|s| json!({ "server": shown(s), "connections_open": open(s) }))
        .collect();
    json!({
        "name": pool.name,
        "algorithm": pool.config.algorithm.word(),
        "persistence": pool.persistence.as_ref().map(|p| p.type_word()),
        "servers": pool.servers.len() + unresolved(pool).count(),
        "servers_up": usable(pool),
        "not_up": down,
        "disabled": disabled,
    })
}

/// A server as people know it: its address, and the name that led there.
pub(super) fn shown(server: &Server) -> String {
    match &server.name {
        Some(name) => format!("{} ({name})", server.address),
        None => server.address.to_string(),
    }
}

/// The names among a pool's servers that lead nowhere.
//= NAME-LOST-02
pub(super) fn unresolved(pool: &Pool) -> impl Iterator<Item = &str> {
    pool.unplaced.iter().filter(|one| one.address.is_none()).map(|one| one.name.as_str())
}

fn latency(sum: &HistogramSum) -> Value {
    json!({
        "count": sum.count(),
        "p50_us": sum.percentile_us(50),
        "p95_us": sum.percentile_us(95),
        "p99_us": sum.percentile_us(99),
    })
}

/// With the counts by bucket, so that who looks twice knows what was between.
fn latency_with_buckets(sum: &HistogramSum) -> Value {
    let mut latency = latency(sum);
    latency["buckets"] = json!(sum.buckets);
    latency
}

/// Servers, each with its state and why.
pub(super) async fn servers(state: &State, pool: Option<&str>) -> Result<Value, Refused> {
    let running = state.running();
    let tree = &running.tree;
    if let Some(name) = pool
        && !tree.pools.iter().any(|p| p.name == name)
    {
        return Err(no_such("pool", name, tree.pools.iter().map(|p| p.name.as_str())));
    }
    let wanted = |p: &Pool| pool.is_none_or(|name| p.name == name);
    let pools = || (0..).map(PoolIndex).zip(&tree.pools).filter(|(_, p)| wanted(p));
    let keeps = |index| running.store.keeps(index);
    let clients = match pools().any(|(index, _)| keeps(index)) {
        true => tables::clients(running.store.as_ref()).await,
        false => Clients::new(),
    };
    let nowhere = pools().flat_map(|(_, p)| unresolved(p).map(move |name| (p, name)));
    let nowhere = nowhere.map(|(p, name)| {
        json!({
            "pool": p.name, "server": name, "name": name, "enabled": true,
            "state": HealthState::Down.word(), "why": state.names.why(name),
        })
    });
    let list: Vec<Value> = pools()
        .flat_map(|(index, p)| p.servers.iter().map(move |server| (index, p, server)))
        .map(|(index, p, server)| {
            let bound = clients.get(&(index, server.id)).copied().unwrap_or(0);
            server_line(p, server, keeps(index).then_some(bound))
        })
        .chain(nowhere)
        .collect();
    Ok(json!({ "servers": list }))
}

//= OBS-DRAIN-01
fn server_line(pool: &Pool, server: &Server, clients_bound: Option<u64>) -> Value {
    let report = server.shared.report().clone();
    let counts = &server.shared.counts;
    let count = |of: fn(&crate::metrics::ServerMetrics) -> u64| counts.sum(of);
    json!({
        "pool": pool.name,
        "server": server.address.to_string(),
        "name": server.name.as_deref(),
        "enabled": server.is_enabled(),
        "override": server.shared.admin_override().word(),
        "state": report.state.word(),
        "since_unix_s": report.since_unix_s,
        "why": report.why,
        "held_until_unix_s": report.held_until_unix_s,
        "state_changes": report.changes,
        "probes_passed": report.probes_passed,
        "probes_failed": report.probes_failed,
        "probes_maintenance": report.probes_maintenance,
        "probes_not_made": report.probes_not_made,
        "ratio": server.config.ratio,
        "connections_open": count(|s| s.connections.now()),
        "requests_active": count(|s| s.active.now()),
        "clients_bound": clients_bound,
        "persistence": pool.persistence.as_ref().map(|p| p.type_word()),
        "responses": count(|s| s.responses.iter().map(Counter::get).sum()),
        "responses_5xx": count(|s| s.responses[4].get()),
        "requests_on_kept": count(|s| s.reused.get()),
        "connect_failures": count(|s| s.connect_failures.get()),
        "aborts": count(|s| s.aborts.get()),
        "failures": count(|s| s.connect_failures.get() + s.aborts.get()),
        "response_time": latency(&counts.histogram(|s| &s.response_time)),
    })
}

/// Entries of the persistence tables, partition by partition, so that neither a worker nor this thread's other
/// duties wait for the whole walk.
//= OBS-PERSIST-01
pub(super) async fn persistence(state: &State, filter: &Filter) -> Result<Value, Refused> {
    let (entries, matching) = entries(state, filter).await?;
    let view = state.table_view();
    Ok(json!({
        "entries": entries,
        "matching": matching,
        "total": view.entries,
        "capacity": view.capacity,
    }))
}

/// The entries that a filter takes, up to its limit, and how many it takes in all.
pub(super) async fn entries(state: &State, filter: &Filter) -> Result<(Vec<TableEntry>, u64), Refused> {
    let running = state.running();
    let (tables, tree): (&dyn Tables, _) = (running.store.as_ref(), &running.tree);
    if let Some(name) = &filter.pool
        && !tree.pools.iter().any(|p| p.name == *name)
    {
        return Err(no_such("pool", name, tree.pools.iter().map(|p| p.name.as_str())));
    }
    let wanted = Wanted::new(filter, tables)?;
    let limit = filter.limit.unwrap_or(100).min(ADMIN_ENTRIES_MAX);
    let mut entries = Vec::new();
    let mut matching = 0_u64;
    for partition in 0..tables.partitions() {
        tables.entries(partition, &mut |entry| {
            if wanted.takes(&entry) {
                matching += 1;
                if entries.len() < limit {
                    entries.push(entry);
                }
            }
        });
        tokio::task::yield_now().await;
    }
    Ok((entries, matching))
}

struct Wanted<'f> {
    key: Option<String>,
    kind: Option<&'static str>,
    pool: Option<&'f str>,
    service: Option<&'f str>,
    server: Option<forebay_snapshot::ServerAddress>,
}

impl<'f> Wanted<'f> {
    fn new(filter: &'f Filter, tables: &dyn Tables) -> Result<Self, Refused> {
        let (key, kind) = match (&filter.client, &filter.cookie) {
            (Some(_), Some(_)) => {
                return Err(Refused::new(
                    Code::Usage,
                    "an entry has a client or a cookie, not both",
                    "give one of the two",
                ));
            }
            (Some(client), None) => {
                let ip: std::net::IpAddr = client.parse().map_err(|_| {
                    Refused::new(
                        Code::Usage,
                        format!("{client:?} is no IP address"),
                        "write it like 192.0.2.1",
                    )
                })?;
                (Some(ip.to_string()), Some("client_ip"))
            }
            (None, Some(cookie)) => (Some(tables.cookie_key(cookie)), Some("app_cookie")),
            (None, None) => (None, None),
        };
        let server = filter.server.as_deref().map(str::parse).transpose().map_err(|_| {
            Refused::new(Code::Usage, "the server is no address", "write it like 192.0.2.1 or 192.0.2.1:80")
        })?;
        let (pool, service) = (filter.pool.as_deref(), filter.service.as_deref());
        Ok(Self { key, kind, pool, service, server })
    }

    fn takes(&self, entry: &TableEntry) -> bool {
        let server = |wanted: &forebay_snapshot::ServerAddress| {
            entry.server.is_some_and(|s: SocketAddr| wanted.means(s))
        };
        self.key.as_ref().is_none_or(|key| entry.key == *key)
            && self.kind.is_none_or(|kind| entry.kind == kind)
            && self.pool.is_none_or(|pool| entry.pool == pool)
            && self.service.is_none_or(|service| entry.virtual_service == service)
            && self.server.as_ref().is_none_or(server)
    }
}
