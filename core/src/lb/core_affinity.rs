//! Core affinity: each worker uses its own share of the servers, by least connections.
//!
//! With at least as many servers as workers, server i is used by the `nonaffinity` workers from worker i
//! (modulo their number) on; with fewer, worker w uses the `nonaffinity` servers from server w (modulo their
//! number) on. So every worker has a server and every server a worker. If no server of the share may serve,
//! all are asked.

use super::lowest::lowest;
use super::server::Server;
use super::{Gate, Pool, least_connections};
use crate::decide::Input;
use crate::id::ServerIndex;

//= LB-CA-01
pub(super) fn pick(pool: &mut Pool, input: &Input<'_>, gate: &Gate<'_>) -> Option<ServerIndex> {
    let cost = |_, s: &Server| s.mine.then(|| u64::from(s.total()));
    //= LB-CA-02
    lowest(pool, gate, cost).or_else(|| least_connections::pick(pool, input, gate))
}

/// True if `worker` uses `server`.
pub(super) fn shares(server: u32, servers: u32, worker: u32, workers: u32, nonaffinity: u32) -> bool {
    if servers >= workers {
        (worker + workers - server % workers) % workers < nonaffinity
    } else {
        (server + servers - worker % servers) % servers < nonaffinity
    }
}
