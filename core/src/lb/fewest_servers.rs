//! Fewest servers: the first of the list that has room, so that the last ones idle and can be released.
//!
//! A server has no room if its average response time is above the configured bound or, without one, above
//! twice its own best while it has open requests. If none has room, least connections chooses.

use super::server::Server;
use super::{Algorithm, Gate, Pool, least_connections};
use crate::decide::Input;
use crate::id::ServerIndex;

//= LB-FS-01
pub(super) fn pick(pool: &mut Pool, input: &Input<'_>, gate: &Gate<'_>) -> Option<ServerIndex> {
    let bound = match pool.config().algorithm {
        Algorithm::FewestServers { time_to_first_byte_max } => time_to_first_byte_max.0,
        _ => 0,
    };
    for (i, s) in (0u16..).zip(&pool.servers) {
        let at = ServerIndex(i);
        if gate.admits_server(s, at) && has_room(s, bound) {
            return Some(at);
        }
    }
    least_connections::pick(pool, input, gate)
}

//= LB-FS-02
fn has_room(s: &Server, bound: u64) -> bool {
    let time = u64::from(s.response_us);
    match bound {
        // An idle server answers its next request as fast as it can: its average is history.
        0 => s.total() == 0 || time <= 2 * u64::from(s.response_best_us),
        bound => s.total() == 0 || time <= bound,
    }
}
