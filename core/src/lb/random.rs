//! Random, two choices: two servers drawn by ratio, then the one with fewer connections for its weight.

use super::{Gate, Pool};
use crate::decide::Input;
use crate::hash::Draw;
use crate::id::ServerIndex;
use crate::limits::{RANDOM_DRAWS_MAX, RATIO_MAX};

//= LB-RND-01
pub(super) fn pick(pool: &mut Pool, input: &Input<'_>, gate: &Gate<'_>) -> Option<ServerIndex> {
    let mut draw = Draw::new(input.seed);
    let first = one(pool, gate, &mut draw, None)?;
    let Some(second) = one(pool, gate, &mut draw, Some(first)) else { return Some(first) };
    let (a, b) = (&pool.servers[first.at()], &pool.servers[second.at()]);
    let (left, right) =
        (u64::from(a.total()) * u64::from(b.weight), u64::from(b.total()) * u64::from(a.weight));
    Some(if right < left { second } else { first })
}

/// Draws servers until one is admitted and wins the toss for its weight; after a bounded number of draws the
/// first admitted one from a random place on.
fn one(pool: &Pool, gate: &Gate<'_>, draw: &mut Draw, not: Option<ServerIndex>) -> Option<ServerIndex> {
    let n = u32::try_from(pool.servers.len()).ok().filter(|n| *n != 0)?;
    let weight_max = u32::from(pool.ratio_max.clamp(1, RATIO_MAX)) * 1_000;
    for _ in 0..RANDOM_DRAWS_MAX {
        let at = ServerIndex(draw.below(n) as u16);
        let toss = draw.below(weight_max);
        if Some(at) != not && toss < pool.servers[at.at()].weight && gate.admits(pool, at) {
            return Some(at);
        }
    }
    let start = draw.below(n);
    (0..n)
        .map(|i| ServerIndex(((start + i) % n) as u16))
        .find(|at| Some(*at) != not && gate.admits(pool, *at))
}
