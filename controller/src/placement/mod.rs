//! Which engines have which services: planned by the core, kept in the store, changed in steps.
//!
//! A placement is that of all virtual services that share their addresses (a VsVip's, or one that has addresses of its own),
//! and has a key: the uuid of the object with the addresses. What the objects say ([`World`]) and what is seen of the engines
//! ([`Seen`]) goes into one pure step ([`Machine::step`]); what came out is written, and then told to who follows.

mod drive;
mod driver;
mod events;
mod leaving;
#[cfg(test)]
mod left_out_tests;
mod machine;
mod planning;
#[cfg(test)]
mod reach_tests;
mod refusing;
#[cfg(test)]
mod refusing_tests;
mod state;
#[cfg(test)]
mod tests;
mod turns;
mod wishes;
mod world;
#[cfg(test)]
mod world_tests;

pub use drive::drive;
pub use driver::{Assigned, Known, Placement, Reading, Wish, seen};
pub use events::{EVENTS_MAX, Event};
pub use machine::{Machine, accepts};
pub use planning::{Inputs, Judge, Place, Seen, Told, of};
pub use state::{Action, Member, Phase, Status, Unheld, Unit, Work};
pub use wishes::Refused;
pub use world::{Reader, Settings, Vs, Wanted, World};
