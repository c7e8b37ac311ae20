//! How the control thread looks at the persistence tables, which the workers' side owns.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use forebay_core::id::ServerId;
use serde::Serialize;

use crate::config::PoolIndex;
use crate::metrics::page::TableView;

/// How many clients the tables bind to each server of a pool.
pub type Clients = BTreeMap<(PoolIndex, ServerId), u64>;

/// Counts the clients of all tables, partition by partition, so that neither a worker nor this thread's other
/// duties wait for the whole walk.
//= OBS-DRAIN-01
pub async fn clients(tables: &dyn Tables) -> Clients {
    let mut clients = Clients::new();
    for partition in 0..tables.partitions() {
        tables.count(partition, &mut clients);
        tokio::task::yield_now().await;
    }
    clients
}

/// The persistence tables as the control thread may see them.
///
/// An implementation takes one partition's lock at a time and holds it for a copy of that partition only, so
/// a look never stops a worker for longer than one of its own operations on a full bucket walk.
pub trait Tables: Send + Sync {
    /// Counts, without a walk.
    fn view(&self) -> TableView;

    /// Makes up to `bytes` more of the tables' memory resident, without a lock; `false` if none is left.
    fn touch_more(&self, bytes: u64) -> bool;

    /// How many partitions there are.
    fn partitions(&self) -> usize;

    /// How the key of an application cookie of this value reads in [`TableEntry::key`].
    fn cookie_key(&self, value: &str) -> String;

    /// Whether a table remembers the clients of the pool. Those that keep a cookie of ours, or name their server in
    /// a header, are remembered nowhere.
    fn keeps(&self, pool: PoolIndex) -> bool;

    /// Adds the clients that one partition binds; the lock is held for a slice of its buckets at a time.
    fn count(&self, partition: usize, clients: &mut Clients);

    /// Calls `each` for the entries of one partition.
    fn entries(&self, partition: usize, each: &mut dyn FnMut(TableEntry));
}

/// One entry of a persistence table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableEntry {
    /// The virtual service.
    pub virtual_service: String,
    /// The pool.
    pub pool: String,
    /// The kind of persistence: `client_ip`, `app_cookie`.
    pub kind: &'static str,
    /// The client's address, or the cookie's value where it is short enough to be kept, else its hash in hex.
    pub key: String,
    /// The server, `None` if it is no longer in the pool.
    pub server: Option<SocketAddr>,
    /// How often the entry has moved to another server.
    pub version: u64,
    /// Connections of the client that are open.
    pub open_connections: u64,
    /// Seconds since the last use.
    pub idle_s: u64,
    /// Seconds until it expires if nothing happens; `None` while connections are open.
    pub expires_in_s: Option<u64>,
    /// What the group knows of it.
    #[serde(skip)]
    pub clocks: Clocks,
}

/// What a group of engines knows of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    /// Milliseconds since the client's last use of any engine; 0 while connections are open.
    pub age_ms: u64,
    /// Milliseconds until it ends; `None` while connections are open anywhere, or if it never ends.
    pub left_ms: Option<u64>,
    /// Engines on which connections of the client are open.
    pub engines: u32,
    /// Another engine than this one is among them.
    pub open_elsewhere: bool,
    /// This engine has bound the client.
    pub own: bool,
}
