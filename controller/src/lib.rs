//! The Controller: the objects of Avi's API, where they are kept, and who may do what with them.

#![forbid(unsafe_code)]

pub mod access;
pub mod accounts;
pub mod alerts;
pub mod alone;
pub mod api;
mod arrivals;
mod aside;
mod attempts;
pub mod backup;
pub mod channel;
mod clock;
pub mod cluster;
pub mod counted;
pub mod distributor;
pub mod engines;
pub mod events;
mod files;
mod hex;
pub mod local;
pub mod logs;
pub mod mirror;
pub mod notify;
pub mod objects;
pub mod otlp;
mod own;
pub mod parts;
pub mod placement;
pub mod reach;
pub mod sealed;
pub mod seeds;
pub mod server;
mod standing;
pub mod stands;
pub mod start;
pub mod store;
pub mod tokens;
