//! Engines that share their tables, and what goes wrong between them: links, processes, clocks, what is full, strangers, a
//! hostile member.

mod acks;
mod bounds;
mod clocks;
mod full;
#[path = "../objsync/group.rs"]
mod group;
mod kills;
mod links;
mod machines;
mod port;
mod processes;
