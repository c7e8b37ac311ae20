//! Fewest tasks: what the server says of itself through its health monitor, plus what we sent it since.

use super::lowest::lowest;
use super::{Gate, Pool};
use crate::decide::Input;
use crate::id::ServerIndex;

//= LB-FT-01
pub(super) fn pick(pool: &mut Pool, _input: &Input<'_>, gate: &Gate<'_>) -> Option<ServerIndex> {
    lowest(pool, gate, |_, s| Some(u64::from(s.tasks) + u64::from(s.since_report)))
}
