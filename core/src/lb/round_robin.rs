//! Round robin, smoothly by weight: per worker, or one turn for the whole service engine.
//!
//! Smooth means that a server of weight 3 among two of weight 1 gets A B A C A and not A A A B C.

use super::server::Server;
use super::{Gate, Pool};
use crate::decide::Input;
use crate::id::ServerIndex;
use crate::limits::WORKER_STEPS_MAX;

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

/// Lets worker `index` of `workers` begin at its own place of the round: a few requests on each worker would
/// otherwise all meet the first servers of the list.
//= LB-RR-03
pub(super) fn advance(servers: &mut [Server], index: u16, workers: u16) {
    let n = servers.len().min(WORKER_STEPS_MAX);
    let steps = n * usize::from(index) / usize::from(workers.max(1));
    let sum: i64 = servers.iter().map(|s| i64::from(s.ratio) * 1_000).sum();
    for _ in 0..steps {
        for s in servers.iter_mut() {
            s.turn += i64::from(s.ratio) * 1_000;
        }
        // The first of those that gained most, as in a decision.
        if let Some(next) = servers.iter_mut().rev().max_by_key(|s| s.turn) {
            next.turn -= sum;
        }
    }
}

/// Keeps a position within bounds that no undisturbed round reaches, so that servers which come and go
/// cannot save up turns for ever.
pub(super) fn clamp(turn: i64) -> i64 {
    const BOUND: i64 = 5_000 * 20 * 1_000;
    turn.clamp(-BOUND, BOUND)
}
