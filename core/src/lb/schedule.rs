//! The order of round robin for a whole service engine: a fixed list that a shared ticket walks.

use alloc::vec::Vec;

use super::{Gate, Pool, ServerConfig};
use crate::hash;
use crate::id::ServerIndex;

/// Each server stands in the list as often as its ratio (divided by what all ratios have in common) says, its
/// places spread evenly.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    list: Vec<ServerIndex>,
}

impl Schedule {
    pub fn new(servers: &[ServerConfig]) -> Self {
        let common = servers.iter().fold(0u32, |a, s| gcd(a, u32::from(s.ratio))).max(1);
        // Place k of n stands at (2k + 1) / 2n of the round; compared as integers over the common
        // denominator of all ratios up to 20.
        const ROUND: u64 = 232_792_560;
        let mut places: Vec<(u64, ServerIndex)> = Vec::new();
        for (i, s) in (0u16..).zip(servers) {
            let n = u64::from(u32::from(s.ratio) / common);
            for k in 0..n {
                places.push(((2 * k + 1) * ROUND / (2 * n), ServerIndex(i)));
            }
        }
        places.sort_unstable();
        Self { list: places.into_iter().map(|p| p.1).collect() }
    }

    /// The server whose turn `ticket` is, or the next one that may serve. A starting server lets part of its
    /// turns pass.
    //= LB-RR-02
    pub fn pick(&self, pool: &Pool, ticket: u64, gate: &Gate<'_>) -> Option<ServerIndex> {
        let len = self.list.len() as u64;
        if len == 0 {
            return None;
        }
        let start = (ticket % len) as usize;
        let turns = self.list[start..].iter().chain(&self.list[..start]).copied();
        let mut starting = None;
        for at in turns {
            if gate.admits(pool, at) {
                let share = hash::reduce(hash::mix64(ticket), 1_000);
                if share < u32::from(pool.servers[at.at()].ramp_milli) {
                    return Some(at);
                }
                starting = starting.or(Some(at));
            }
        }
        starting
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
