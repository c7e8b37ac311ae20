//! Engines that share their tables, and what goes wrong between them: links, processes, clocks, what is full, strangers, a
//! hostile member.

mod acks;
mod bounds;
mod cable;
mod clocks;
mod common;
mod full;
#[path = "../objsync/group.rs"]
mod group;
mod impostor;
mod kills;
mod links;
mod machines;
mod memory;
mod port;
mod power;
mod processes;
mod reader;
mod releases;
