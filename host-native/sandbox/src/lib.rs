//! The one wasmtime embedding, without a runtime inside.
//!
//! A [`Sandbox`] compiles components; a [`Decider`] is an instance of one, owned by one thread and reused from call
//! to call. Every call has a time and a memory limit. A guest that traps, runs too long or wants too much memory
//! loses its instance: the next call finds a new one, and the host goes on. No call waits for anything but the
//! guest's own code, so any runtime, or none, can drive it.
//!
//! ```
//! use forebay_core::{Input, id::{PoolId, VsId}, lb::{PoolConfig, ServerConfig}, request::ClientAddr, units::Now};
//! use forebay_sandbox::{Budget, CORE_COMPONENT, Decider, Sandbox, wit::Verdict};
//!
//! let core = Sandbox::new()?.load(CORE_COMPONENT)?;
//! let mut decider = Decider::new(&core, Budget { call_ms: 1_000, ..Budget::default() })?;
//! let server = std::net::SocketAddr::from(([192, 0, 2, 7], 80));
//! let config = PoolConfig {
//!     servers: vec![ServerConfig::new(server.into())],
//!     ..PoolConfig::new(VsId(1), PoolId(1))
//! };
//! let pool = decider.pool(&config, Now(0))?;
//! let client = ClientAddr::new([198, 51, 100, 1].into(), 40_000);
//! let decision = decider.pick(&pool, &Input::new(client))?;
//! assert_eq!(decision.verdict, Verdict::Server(0));
//! # Ok::<(), forebay_sandbox::Error>(())
//! ```

mod bindings;
mod convert;
mod decider;
mod engine;
mod errors;
mod guest;
pub mod limits;
mod planner;

pub use decider::{CORE_COMPONENT, Decider, PoolHandle};
pub use engine::{Loaded, Sandbox};
pub use errors::{Error, GuestError};
pub use guest::Budget;

/// The contract's types, as `wit/core` defines them.
pub mod wit {
    pub use crate::bindings::exports::forebay::core::types::*;
    pub use crate::convert::decision;
}

/// The contract's types of plans, as `wit/core` defines them.
pub mod planning {
    pub use crate::bindings::exports::forebay::core::planner::*;
    pub use crate::planner::{candidate, plan};
}
