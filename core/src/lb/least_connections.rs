//! Least connections: the fewest open connections for the weight; ties take turns.

use super::lowest::lowest;
use super::{Gate, Pool};
use crate::decide::Input;
use crate::id::ServerIndex;

//= LB-LC-01
pub(super) fn pick(pool: &mut Pool, _input: &Input<'_>, gate: &Gate<'_>) -> Option<ServerIndex> {
    lowest(pool, gate, |_, s| Some(u64::from(s.total())))
}
