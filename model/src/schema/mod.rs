//! The tables: one file for kinds that belong together.
//!
//! Names, types, ranges and defaults are those of release 30.2.1 of the API's published documents, where they say so.

mod account;
mod alert;
mod analyticsprofile;
mod applicationprofile;
mod cloud;
mod cloudproperties;
pub mod common;
mod dns;
mod dnspolicy;
mod engine;
mod engine_group;
mod groups;
mod gslb;
mod healthmonitor;
mod httppolicy;
mod httpprofile;
mod infra;
mod ipam;
mod matching;
mod microservice;
mod network;
mod networkpolicy;
mod networkprofile;
mod permission;
mod persistence;
mod pool;
mod properties;
mod rates;
mod rule;
mod scaling;
mod system;
mod tls;
mod virtualservice;
mod vsparts;
mod vsvip;

use crate::kind::Kind;

pub use permission::PERMISSIONS;
pub(crate) use pool::names_leave_room;

/// Every kind.
#[rustfmt::skip] // one line for each file
pub(crate) static KINDS: &[&[&Kind]] = &[
    account::KINDS,
    alert::KINDS,
    analyticsprofile::KINDS,
    applicationprofile::KINDS,
    cloud::KINDS,
    cloudproperties::KINDS,
    dnspolicy::KINDS,
    engine::KINDS,
    engine_group::KINDS,
    groups::KINDS,
    gslb::KINDS,
    healthmonitor::KINDS,
    httppolicy::KINDS,
    ipam::KINDS,
    microservice::KINDS,
    network::KINDS,
    networkpolicy::KINDS,
    networkprofile::KINDS,
    persistence::KINDS,
    pool::KINDS,
    properties::KINDS,
    scaling::KINDS,
    system::KINDS,
    tls::KINDS,
    virtualservice::KINDS,
    vsvip::KINDS,
];
