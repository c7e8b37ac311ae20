//! HTTP without sockets: strict parsing, framing and serialising.
//!
//! Callers are drivers that own sockets and buffers (the service engine, health monitors, tests). This crate
//! never reads a clock, never performs I/O and allocates only to grow vectors that the caller keeps and reuses.
//!
//! Promise: whatever two parsers could read differently is refused, and what is accepted is written anew from
//! its meaning ([`h1::write`]), so that the next parser has nothing left to interpret. Rules have ids
//! ([`RuleId`]); `docs/spec/http1.md` says each in a sentence with its source.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::panic)]

extern crate alloc;

mod bytes;
pub mod grpc;
pub mod h1;
pub mod h2;
mod known;
mod limits;
mod rule;
mod span;

pub use known::Known;
pub use limits::Limits;
pub use rule::{Reject, RuleId};
pub use span::Span;
