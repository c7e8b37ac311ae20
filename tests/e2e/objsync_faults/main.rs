//! Engines that share their tables, and what goes wrong between them: links, processes, strangers, a hostile member.

#[path = "../objsync/group.rs"]
mod group;
mod links;
mod machines;
mod port;
mod processes;
