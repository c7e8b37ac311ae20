//! HTTP between clients and servers.
//!
//! The life of a client connection is in [`client`], of a request in [`exchange`]; [`choose`] asks the decision
//! core, [`send`], [`receive`] and [`tunnel`] move bytes, [`record`] tells what happened.

pub mod answer;
pub mod buffer;
pub mod choose;
pub mod client;
mod connect;
pub mod conversation;
pub mod date;
pub mod early;
mod exchange;
pub(crate) mod flush;
pub mod gather;
pub mod h2;
pub mod identity;
pub mod limits;
pub mod mover;
pub(crate) mod place;
pub mod receive;
pub mod record;
mod refuse;
pub(crate) mod room;
pub mod send;
mod silence;
pub mod spare;
pub mod steer;
pub mod strict;
pub mod tunnel;
pub mod view;
pub mod wait;
pub mod work;
