//! Calls to etcd, of the few kinds that the Controller's store needs.
//!
//! `proto/etcd.proto` has the messages; the code of [`proto`] is generated from it. One connection at a time, to the first
//! member that answers; when it fails the next call goes to the next member. What a failure says of a write stands in
//! [`Failure`].

#![forbid(unsafe_code)]

mod client;
mod dial;
mod members;

/// The messages and the services, as `proto/etcd.proto` says.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod proto {
    include!(concat!(env!("CARGO_MANIFEST_DIR"), "/proto/etcd.generated"));
}

pub use client::{Client, Endpoints, Failure, MESSAGE_BYTES_MAX};
pub use dial::{Endpoint, Tls};
