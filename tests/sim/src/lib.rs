//! Engines that share their tables, on a network that fails, in virtual time.
//!
//! A run follows from its seed alone. `cargo run --profile gate -p forebay-sim -- 17` runs seed 17 and tells what happens;
//! `-- --from 0 --count 1000` runs a thousand and says which break a promise.
#![forbid(unsafe_code)]

mod bulk;
mod check;
mod given;
mod ledger;
mod net;
mod node;
mod plan;
mod rng;
mod values;
mod world;

pub use bulk::{Bulk, Cost};
pub use node::{Node, SERVERS, Snapshot, Start, TABLES, Tables, VALUES};
pub use plan::{Fault, Plan, Planned};
pub use world::{Summary, Violation, World, slot};
