//! Round robin, smoothly by weight: per worker, or one turn for the whole service engine.
//!
//! Smooth means that a server of weight 3 among two of weight 1 gets A B A C A and not A A A B C.

use super::{Gate, Pool};
use crate::decide::Input;
use crate::id::ServerIndex;

pub(super) fn pick(pool: &mut Pool, input: &Input<'_>, gate: &Gate<'_>) -> Option<ServerIndex> {
    match pool.schedule() {
        Some(schedule) => schedule.pick(pool, input.ticket, gate),
        None => smooth(pool, gate),
    }
}

/// Each admitted server gains its weight; the one that has gained most is taken and pays the sum.
//= LB-RR-01
fn smooth(pool: &mut Pool, gate: &Gate<'_>) -> Option<ServerIndex> {
    let mut best: Option<(i64, ServerIndex)> = None;
    let mut sum = 0i64;
    for (i, s) in (0u16..).zip(&mut pool.servers) {
        let at = ServerIndex(i);
        if !gate.admits_server(s, at) {
            continue;
        }
        s.turn = clamp(s.turn + i64::from(s.weight));
        sum += i64::from(s.weight);
        if best.is_none_or(|(t, _)| s.turn > t) {
            best = Some((s.turn, at));
        }
    }
    let (_, at) = best?;
    pool.servers[at.at()].turn -= sum;
    Some(at)
}

/// Keeps a position within bounds that no undisturbed round reaches, so that servers which come and go
/// cannot save up turns for ever.
pub(super) fn clamp(turn: i64) -> i64 {
    const BOUND: i64 = 5_000 * 20 * 1_000;
    turn.clamp(-BOUND, BOUND)
}
