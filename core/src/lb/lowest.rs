//! The lowest cost for the weight, ties in turn: what most algorithms share.

use super::server::Server;
use super::{Gate, Pool, round_robin};
use crate::id::ServerIndex;

/// Costs above this count alike; below it, a cost times a weight fits in 64 bits.
const COST_MAX: u64 = 1 << 48;

/// Returns the admitted server with the lowest cost for its weight.
///
/// Ties are shared out by smooth weighted round robin, so that an idle pool is used evenly.
#[inline]
pub(super) fn lowest(
    pool: &mut Pool,
    gate: &Gate<'_>,
    cost: impl Fn(ServerIndex, &Server) -> Option<u64>,
) -> Option<ServerIndex> {
    let mut best: Option<(u64, u64)> = None;
    let mut ties = 0u32;
    let mut first = ServerIndex(0);
    for (i, s) in (0u16..).zip(&pool.servers) {
        let at = ServerIndex(i);
        if !gate.admits_server(s, at) {
            continue;
        }
        let Some(c) = cost(at, s) else { continue };
        let (c, w) = (c.min(COST_MAX), u64::from(s.weight));
        let order = best.map_or(core::cmp::Ordering::Less, |(bc, bw)| (c * bw).cmp(&(bc * w)));
        match order {
            core::cmp::Ordering::Less => {
                best = Some((c, w));
                ties = 1;
                first = at;
            }
            core::cmp::Ordering::Equal => ties += 1,
            core::cmp::Ordering::Greater => {}
        }
    }
    let (c, w) = best?;
    if ties == 1 {
        return Some(first);
    }
    //= LB-LC-02
    let mut turn: Option<(i64, ServerIndex)> = None;
    let mut sum = 0i64;
    for (i, s) in (0u16..).zip(&mut pool.servers) {
        let at = ServerIndex(i);
        if !gate.admits_server(s, at) {
            continue;
        }
        let Some(mine) = cost(at, s) else { continue };
        if mine.min(COST_MAX) * w != c * u64::from(s.weight) {
            continue;
        }
        s.turn = round_robin::clamp(s.turn + i64::from(s.weight));
        sum += i64::from(s.weight);
        if turn.is_none_or(|(t, _)| s.turn > t) {
            turn = Some((s.turn, at));
        }
    }
    let (_, at) = turn?;
    pool.servers[at.at()].turn -= sum;
    Some(at)
}
