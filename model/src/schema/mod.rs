//! The tables: one file for kinds that belong together.
//!
//! Names, types, ranges and defaults are those of release 30.2.1 of the API's published documents, where they say so.

mod account;
mod alert;
mod cloud;
pub mod common;
mod engine;
mod engine_group;
mod gslb;
mod infra;
mod ipam;
mod network;
mod permission;
mod pool;
mod properties;
mod scaling;
mod system;
mod tls;

use crate::kind::Kind;

pub use permission::PERMISSIONS;

/// Every kind.
#[rustfmt::skip] // one line for each file
pub(crate) static KINDS: &[&[&Kind]] = &[
    account::KINDS,
    alert::KINDS,
    cloud::KINDS,
    engine::KINDS,
    engine_group::KINDS,
    gslb::KINDS,
    ipam::KINDS,
    network::KINDS,
    pool::KINDS,
    properties::KINDS,
    scaling::KINDS,
    system::KINDS,
    tls::KINDS,
];
