//! Fastest response: average time to first byte, times the requests that are open, for the weight.
//!
//! The open requests count because all workers see the same fast server at once; without them it would be
//! flooded. An average that is not fed halves every 8.4 seconds, so a server that was slow once is tried
//! again. A server without an average counts as the pool's fastest.

use super::server::Server;
use super::{Gate, Pool};
use crate::decide::Input;
use crate::id::ServerIndex;
use crate::units::Now;

/// Half-life of an average that is not fed: 2^23 microseconds, so that no division is needed.
const HALF_LIFE_LOG2: u32 = 23;

//= LB-FR-01
pub(super) fn pick(pool: &mut Pool, _input: &Input<'_>, gate: &Gate<'_>) -> Option<ServerIndex> {
    let now = pool.now();
    // Unknown counts as the fastest known.
    let floor =
        pool.servers.iter().filter(|s| s.refuses.is_none()).filter_map(|s| known(s, now)).min().unwrap_or(1);
    super::lowest::lowest(pool, gate, |_, s| {
        let time = known(s, now).unwrap_or(floor);
        Some(u64::from(time) * (u64::from(s.total()) + 1))
    })
}

//= LB-FR-02
fn known(s: &Server, now: Now) -> Option<u32> {
    if s.response_us == 0 {
        return None;
    }
    let halvings = (now.since(s.response_at).0 >> HALF_LIFE_LOG2).min(31);
    Some((s.response_us >> halvings).max(1))
}
