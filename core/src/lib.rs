//! Every choice the product makes, as functions of explicit inputs.
//!
//! One question is answered here: *which server, and what must be remembered?* The hosts (the io_uring
//! service engine, the WASM component, the simulator) own sockets, clocks, randomness, locks and keys, and
//! ask in three steps:
//!
//! 1. [`persist::find`] reads the request and says by what the client may be known ([`persist::Found`]).
//! 2. The host opens a sealed cookie, or looks the key up in its table: [`persist::Stored`].
//! 3. [`decide`] takes the [`lb::Pool`] and an [`Input`], and returns a [`Decision`]: the verdict, the
//!    [`Effect`]s that the host has to carry out, and the [`Reason`] that is logged with the request.
//!
//! Invariants: no clock, no random numbers, no floats, no I/O; nothing hashed, encoded or compared as
//! `usize`; [`decide`] allocates nothing. The same inputs give the same bytes natively and in WebAssembly.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod decide;
mod effect;
pub mod hash;
pub mod id;
pub mod lb;
pub mod limits;
pub mod persist;
pub mod policy;
mod problem;
mod reason;
pub mod request;
pub mod retry;
pub mod table;
#[cfg(feature = "testing")]
pub mod testing;
pub mod units;

pub use decide::{Decision, Input, Refusal, Verdict, decide};
pub use effect::{Effect, Effects};
pub use problem::Problem;
pub use reason::{ChosenBy, KeyOutcome, PolicyApplied, Reason, SkipWhy, Skipped};
