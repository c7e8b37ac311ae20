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
//! Another one for whole groups of engines: *which engine carries which service?* ([`place::plan`]).
//!
//! Invariants: no clock, no random numbers, no floats, no I/O; nothing hashed, encoded or compared as
//! `usize`; [`decide`] allocates nothing. The same inputs give the same bytes natively and in WebAssembly.
//!
//! ```
//! use forebay_core::id::{Endpoint, PoolId, VsId};
//! use forebay_core::lb::{Pool, PoolConfig, ServerConfig};
//! use forebay_core::persist::{self, Kind, Profile, ServerDown, Stored, client_ip::ClientIp};
//! use forebay_core::request::{ClientAddr, NoHttp};
//! use forebay_core::{Effect, Input, decide};
//!
//! let mut config = PoolConfig::new(VsId(1), PoolId(2));
//! for port in [9001, 9002] {
//!     config.servers.push(ServerConfig::new(Endpoint { ip: "10.0.0.7".parse()?, port }));
//! }
//! let profile = Profile { kind: Kind::ClientIp(ClientIp::default()), server_down: ServerDown::PickNewServer };
//! config.persistence = Some(profile.clone());
//! let mut pool = Pool::new(config).map_err(|problems| format!("{problems:?}"))?;
//!
//! // A client connects for the first time: the table knows nothing, so the algorithm chooses.
//! let client = ClientAddr::new("192.0.2.1".parse()?, 40_000);
//! let request = NoHttp { client, tls: None };
//! let found = persist::find(&profile, &request);
//! let key = Some(forebay_core::persist::TableKey::of_ip(client.ip));
//! let first = decide(&mut pool, &Input { found, key, stored: Stored::Nothing, ..Input::new(client) });
//! let Some(&Effect::Write { server, generation, .. }) = first.effects.iter().next() else { panic!() };
//!
//! // What was written leads it back.
//! let stored = Stored::Entry { server, generation };
//! let again = decide(&mut pool, &Input { found, key, stored, ..Input::new(client) });
//! assert_eq!(again.verdict, first.verdict);
//! assert_eq!(again.reason.to_string(), "chosen by persistence, algorithm least_connections, persistence client_ip key hit");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
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
pub mod place;
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
