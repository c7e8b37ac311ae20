//! Consistent hash: the same key, the same server, on every worker and every service engine.
//!
//! The table holds all configured servers, up or down. A key whose server may not serve goes on to the slot
//! of its next hash, so a server that goes down moves its own keys only, spread over all others, and gets
//! exactly them back. A starting server gets a growing part of its keys. With a load bound, a server whose
//! open connections are above its share passes keys on as well.

use super::{Algorithm, Gate, Pool};
use crate::decide::{Input, hash_of};
use crate::hash;
use crate::id::ServerIndex;
use crate::limits::HASH_PROBES_MAX;

//= LB-CH-01
//= LB-CH-02
pub(super) fn pick(pool: &mut Pool, input: &Input<'_>, gate: &Gate<'_>) -> Option<ServerIndex> {
    let bound = match pool.config().algorithm {
        Algorithm::ConsistentHash { load_max_percent, .. } => load_max_percent,
        _ => 0,
    };
    let key = hash_of(input);
    let mut hash = key;
    for _ in 0..HASH_PROBES_MAX {
        let at = pool.hash_slot(hash)?;
        if gate.admits(pool, at) && has_started(pool, at, key) && below_bound(pool, at, bound) {
            return Some(at);
        }
        hash = hash::mix64(hash);
    }
    // Most servers are out: search all, from a place that the key decides, first with the bound, then without.
    let n = u32::try_from(pool.servers.len()).ok().filter(|n| *n != 0)?;
    let start = hash::reduce(hash, n);
    let all = || (0..n).map(move |i| ServerIndex(((start + i) % n) as u16));
    all()
        .find(|at| gate.admits(pool, *at) && below_bound(pool, *at, bound))
        .or_else(|| all().find(|at| gate.admits(pool, *at)))
}

/// A starting server takes the keys whose second hash lies below its ramp: the set only grows.
//= LB-CH-06
fn has_started(pool: &Pool, at: ServerIndex, key: u64) -> bool {
    let ramp = u32::from(pool.servers[at.at()].ramp_milli);
    ramp == 1_000 || hash::reduce(hash::mix64(!key), 1_000) < ramp
}

/// True if one more connection keeps the server within `percent` of its share of all open connections.
//= LB-CH-03
fn below_bound(pool: &Pool, at: ServerIndex, percent: u16) -> bool {
    if percent == 0 {
        return true;
    }
    let s = &pool.servers[at.at()];
    let share = u128::from(percent) * u128::from(pool.total_open + 1) * u128::from(s.weight);
    u128::from(s.total()) * 100 * u128::from(pool.weight_sum.max(1)) < share
}
