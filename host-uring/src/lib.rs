//! The service engine: thread per core on io_uring.
//!
//! One control thread ([`control`]) reads the configuration, binds the listening sockets, starts the
//! workers and starts them anew when they panic, probes the servers ([`health`]), and serves metrics and
//! the admin socket. Workers carry the traffic. The two meet in four places, none of which makes a worker wait:
//! the immutable [`config::Tree`] with its atomics ([`config::ServerShared`]), each worker's
//! [`metrics::WorkerMetrics`], its [`log::Sink`], and its mailbox ([`control::mailbox`]).

pub mod config;
pub mod control;
pub mod fault;
pub mod health;
pub mod http;
pub mod l4;
pub mod limits;
pub mod listen;
pub mod log;
pub mod metrics;
pub mod persist;
pub mod rt;
pub mod sync;
pub mod tls;
pub mod upstream;
pub mod worker;
