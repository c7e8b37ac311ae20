//! Which server of a pool: one file per algorithm, chosen through the table [`ALGORITHMS`].

mod algorithms;
mod config;
mod consistent_hash;
mod core_affinity;
mod fastest_response;
mod fewest_servers;
mod fewest_tasks;
mod gate;
mod group;
mod hash_key;
mod least_connections;
mod least_load;
mod lowest;
mod maglev;
mod pool;
mod random;
mod round_robin;
mod schedule;
mod server;

pub use algorithms::{ALGORITHMS, Algorithm, AlgorithmEntry, HashBy, Name, NotOffered, Scope, parse};
pub use config::{DisablePolicy, DisableType, FailAction, Grace, PoolConfig, QueueConfig, ServerConfig};
pub use group::{Bound, GroupChoice, GroupConfig, GroupMember, PoolGroup};
pub use hash_key::{HashKey, hash_key};
pub use maglev::Maglev;
pub use pool::Pool;
pub use server::{Health, ServerState};

pub(crate) use gate::Gate;

use crate::decide::Input;
use crate::id::ServerIndex;

/// Lets the pool's algorithm choose among the servers that the gate admits.
pub(crate) fn pick(pool: &mut Pool, input: &Input<'_>, gate: &Gate<'_>) -> Option<ServerIndex> {
    let picked = (pool.algorithm_name().entry().pick)(pool, input, gate);
    debug_assert!(picked.is_none_or(|at| gate.admits(pool, at)), "an algorithm picks admitted servers only");
    picked
}
