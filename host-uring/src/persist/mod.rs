//! What is remembered of clients: sealed in their cookies, or in the engine's table.
//!
//! The decision core says what to look up and what to remember; here are the keys, the locks and the memory.

pub mod cookie;
mod desk;
mod feed;
mod flip;
pub mod found;
mod journal;
mod look;
pub mod moving;
mod opened;
mod shared;
pub mod store;
mod wanted;
mod write;

pub use cookie::{Binding, Sealer};
pub use desk::{Desk, sit};
pub use feed::{TICKET_DESK, tickets};
pub use found::{Remembered, bound_to};
pub use shared::{SharedTable, SharedTables};
pub use store::{Place, Store, StoreProblem};
