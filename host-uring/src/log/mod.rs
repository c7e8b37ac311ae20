//! The access log: one JSON object a line for each request, or connection that is passed on unread.
//!
//! A worker formats a record into its own ring ([`Sink::push`]): no lock, no wait, no allocation in steady
//! state; a record that does not fit is dropped and counted. A thread of the control side writes the rings out.

mod connection;
mod json;
mod reason;
mod record;
mod ring;
mod writer;

pub use connection::ConnectionRecord;
pub use reason::write as write_reason;
pub use record::{AccessRecord, Line, Timing};
pub use ring::{Drain, Sink, ring};
pub use writer::{LogCounts, Target, Writer};
