//! The Controller: the objects of Avi's API, where they are kept, and who may do what with them.

#![forbid(unsafe_code)]

pub mod accounts;
pub mod api;
pub mod engines;
mod files;
pub mod objects;
pub mod sealed;
pub mod seeds;
pub mod server;
pub mod store;
pub mod tokens;
