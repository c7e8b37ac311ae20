//! Engines that share their tables by way of a Redis beside each and a distributor between these: real redis-server
//! processes, and what goes wrong with them.

mod faults;
#[path = "../objsync/group.rs"]
#[allow(dead_code, reason = "engines that speak to one another need more")]
mod group;
mod redis;
mod shares;
mod switch;
mod wiring;
