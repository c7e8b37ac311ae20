//! Least load: bytes exchanged lately for the weight. One large download counts more than ten small answers.
//!
//! What was exchanged counts half after four seconds. Ties (an idle pool) take turns.

use super::lowest::lowest;
use super::server::Server;
use super::{Gate, Pool};
use crate::decide::Input;
use crate::id::ServerIndex;
use crate::units::Now;

const HALF_LIFE_US: u64 = 4_000_000;

//= LB-LL-01
pub(super) fn pick(pool: &mut Pool, _input: &Input<'_>, gate: &Gate<'_>) -> Option<ServerIndex> {
    let now = pool.now();
    // A request that is open will bring bytes: count it as a small answer until they come.
    lowest(pool, gate, |_, s| Some(decayed(s, now).saturating_add(u64::from(s.total()) * 1_024)))
}

/// The load at `now`: whole half-lives are shifts, the rest of one is a straight line.
pub(super) fn decayed(s: &Server, now: Now) -> u64 {
    let passed = now.since(s.load_at).0;
    let halvings = passed / HALF_LIFE_US;
    if halvings >= 64 {
        return 0;
    }
    let load = s.load >> halvings;
    let rest = passed % HALF_LIFE_US;
    let gone = (u128::from(load) * u128::from(rest) / u128::from(2 * HALF_LIFE_US)) as u64;
    load - gone
}
