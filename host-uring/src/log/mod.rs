//! The access log: one JSON object a line for each request, or connection that is passed on unread.
//!
//! A worker formats a record into its own ring ([`Sink::push`]): no lock, no wait, no allocation in steady
//! state; a record that does not fit is dropped and counted. A thread of the control side writes the rings out. Where a
//! Controller leads the engine, what it is told of goes into a second ring of the worker ([`Telling`]).

mod choosing;
mod connection;
mod json;
mod reason;
mod record;
mod ring;
mod telling;
#[cfg(test)]
mod words_tests;
mod writer;

pub use connection::ConnectionRecord;
pub use reason::write as write_reason;
pub use record::{AccessRecord, Line, Timing};
pub use ring::{Drain, Sink, ring};
pub use telling::{Telling, ToldCounts};
pub use writer::{LogCounts, Target, Writer};
