//! Least load: bytes exchanged lately for the weight. One large download counts more than ten small answers.
//!
//! What was exchanged counts half after 4.2 seconds. Ties (an idle pool) take turns.

use super::lowest::lowest;
use super::server::Server;
use super::{Gate, Pool};
use crate::decide::Input;
use crate::id::ServerIndex;
use crate::units::Now;

/// Half-life of traffic: 2^22 microseconds, so that no division is needed.
const HALF_LIFE_LOG2: u32 = 22;
/// Loads above this count alike; below it, a load times a part of a half-life fits in 64 bits.
const LOAD_MAX: u64 = 1 << 40;

//= LB-LL-01
pub(super) fn pick(pool: &mut Pool, _input: &Input<'_>, gate: &Gate<'_>) -> Option<ServerIndex> {
    let now = pool.now();
    // A request that is open will bring bytes: count it as a small answer until they come.
    lowest(pool, gate, |_, s| Some(decayed(s, now).saturating_add(u64::from(s.total()) * 1_024)))
}

/// The load at `now`: whole half-lives are shifts, the rest of one is a straight line.
pub(super) fn decayed(s: &Server, now: Now) -> u64 {
    let passed = now.since(s.load_at).0;
    let halvings = passed >> HALF_LIFE_LOG2;
    if halvings >= 64 {
        return 0;
    }
    let load = s.load.min(LOAD_MAX) >> halvings;
    let rest = passed & ((1 << HALF_LIFE_LOG2) - 1);
    load - ((load * rest) >> (HALF_LIFE_LOG2 + 1))
}
