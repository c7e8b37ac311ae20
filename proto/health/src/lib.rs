//! When to probe, what counts as success, when a server's state flips.
//!
//! Nothing here owns a socket or a clock. A driver keeps one [`ServerHealth`] per server and runs this loop:
//!
//! 1. wait until [`ServerHealth::poll_timeout`] or until something arrives;
//! 2. call [`ServerHealth::handle_timeout`] until it returns `None`; each [`Action::Start`] is a probe to
//!    run beside the others, each [`Action::Abandon`] one whose time is up and whose socket is to be closed;
//! 3. feed what a probe receives to a [`verdict::Evaluator`] (ping: to [`ping::is_reply`], a command:
//!    to [`verdict::command::Evaluator`]) and its [`Outcome`] to [`ServerHealth::handle_result`]; feed what the data plane saw to [`ServerHealth::handle_traffic`];
//! 4. take [`ServerHealth::poll_event`] until it returns `None`, and publish [`ServerHealth::state`].
//!
//! The rules have ids in `docs/spec/health.md` (`HM-*`).
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod damping;
pub mod jitter;
pub mod limits;
pub mod monitor;
pub mod passive;
pub mod ping;
pub mod probe;
pub mod server;
pub mod verdict;

pub use monitor::{External, Grpc, Http, Kind, Monitor, Problem, StatusSet, Tcp, Timing, Udp};
pub use passive::{Passive, PassiveRule, Traffic};
pub use probe::{Attempt, Outcome, Probe, ProbeState};
pub use server::{Action, Event, ServerHealth, State, Why};
pub use verdict::{End, Evaluator, Excerpt, Exit, Failure, Verdict};
