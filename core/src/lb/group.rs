//! Pool groups: which of several pools, by priority and ratio.
//!
//! The pools of the highest priority share the requests by ratio. A level falls through to the next lower one
//! when it has fewer usable servers than asked for; then both serve. A client that is bound to a pool of the
//! group (its cookie names it, or the table's entry does) stays there as long as that pool has a usable server, and
//! also without one while its own server serves it on or the policy keeps it there.

use alloc::format;
use alloc::vec::Vec;

use crate::id::PoolId;
use crate::limits::{GROUP_MEMBERS_MAX, GROUP_RATIO_MAX};
use crate::problem::Problem;

/// A pool group's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GroupConfig {
    /// The pools.
    pub members: Vec<GroupMember>,
    /// Usable servers below which the next priority level serves too; 0 counts as 1.
    pub servers_min: u32,
}

/// One pool of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GroupMember {
    /// The pool.
    pub pool: PoolId,
    /// Its share within its priority level, 1 to 1000; 0: no new clients.
    pub ratio: u16,
    /// The priority label; the higher number is used first.
    pub priority: u32,
}

/// The pool that a client is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The pool.
    pub pool: PoolId,
    /// Its own server keeps it whether or not the pool takes new clients
    /// ([`Pool::keeps`](super::Pool::keeps)).
    pub keeps: bool,
}

/// Why a pool of the group was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GroupChoice {
    /// The pool.
    pub pool: PoolId,
    /// The client was bound to it.
    pub bound: bool,
    /// Priority of the pool.
    pub priority: u32,
    /// How many priority levels above it have no usable server.
    pub fell_through: u16,
}

/// A pool group in one worker.
#[derive(Clone, Debug)]
pub struct PoolGroup {
    /// By falling priority.
    members: Vec<(GroupMember, i64)>,
    servers_min: u32,
}

impl PoolGroup {
    /// Builds a group.
    ///
    /// # Errors
    /// All problems of the configuration.
    pub fn new(config: &GroupConfig) -> Result<Self, Vec<Problem>> {
        let mut out = Vec::new();
        if config.members.is_empty() || config.members.len() > GROUP_MEMBERS_MAX {
            out.push(Problem::new(
                "member",
                format!("the group has {} pools", config.members.len()),
                format!("give it 1 to {GROUP_MEMBERS_MAX}"),
            ));
        }
        for (i, m) in config.members.iter().enumerate() {
            if m.ratio > GROUP_RATIO_MAX {
                out.push(Problem::new(
                    format!("member[{i}].ratio"),
                    format!("{} is too high", m.ratio),
                    format!("write 1 to {GROUP_RATIO_MAX}, or 0 for no new clients"),
                ));
            }
            if let Some(j) = config.members[..i].iter().position(|o| o.pool == m.pool) {
                out.push(Problem::new(
                    format!("member[{i}].pool"),
                    format!("member[{j}] is the same pool"),
                    "remove one of them",
                ));
            }
        }
        if !out.is_empty() {
            return Err(out);
        }
        let mut members: Vec<_> = config.members.iter().map(|m| (*m, 0)).collect();
        members.sort_by_key(|(m, _)| core::cmp::Reverse(m.priority));
        Ok(Self { members, servers_min: config.servers_min.max(1) })
    }

    /// Chooses a pool. `bound`: where the client is bound to; `usable`: how many servers of a pool
    /// take new clients ([`Pool::usable`](super::Pool::usable)).
    ///
    /// `None` if no pool of the group has a usable server and a ratio.
    //= LB-GROUP-01
    //= LB-GROUP-02
    //= LB-GROUP-03
    pub fn choose(&mut self, bound: Option<Bound>, usable: impl Fn(PoolId) -> u32) -> Option<GroupChoice> {
        let end = self.active(&usable);
        let fell_through = |priority: u32, members: &[(GroupMember, i64)]| {
            let mut levels = 0u16;
            let mut last = None;
            for (m, _) in members.iter().take_while(|(m, _)| m.priority > priority) {
                if last != Some(m.priority) {
                    last = Some(m.priority);
                    levels = levels.saturating_add(1);
                }
            }
            levels
        };
        let own = bound.filter(|b| b.keeps || usable(b.pool) > 0);
        let own = own.and_then(|b| self.members.iter().find(|(m, _)| m.pool == b.pool));
        if let Some((own, _)) = own.copied() {
            let fell_through = fell_through(own.priority, &self.members);
            return Some(GroupChoice { pool: own.pool, bound: true, priority: own.priority, fell_through });
        }
        let mut best: Option<(i64, usize)> = None;
        let mut sum = 0i64;
        for (i, (m, turn)) in self.members[..end].iter_mut().enumerate() {
            if m.ratio == 0 || usable(m.pool) == 0 {
                continue;
            }
            *turn += i64::from(m.ratio);
            sum += i64::from(m.ratio);
            if best.is_none_or(|(t, _)| *turn > t) {
                best = Some((*turn, i));
            }
        }
        let (_, at) = best?;
        self.members[at].1 -= sum;
        let m = self.members[at].0;
        let fell_through = fell_through(m.priority, &self.members);
        Some(GroupChoice { pool: m.pool, bound: false, priority: m.priority, fell_through })
    }

    /// How many members, from the top, serve now: whole levels, until enough servers are usable.
    fn active(&self, usable: &impl Fn(PoolId) -> u32) -> usize {
        let mut servers = 0u32;
        for (i, (m, _)) in self.members.iter().enumerate() {
            let level_begins = i == 0 || self.members[i - 1].0.priority != m.priority;
            if level_begins && servers >= self.servers_min {
                return i;
            }
            if m.ratio != 0 {
                servers = servers.saturating_add(usable(m.pool));
            }
        }
        self.members.len()
    }
}
