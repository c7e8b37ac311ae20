//! Object sync over TCP and TLS: what `forebay_objsync` has none of, namely sockets, certificates, timers and queues.
//!
//! A [`Driver`] is one future that a host runs on a thread of its own. It listens on the management address, calls the
//! members with a higher slot, and is called by those with a lower one; lets in nobody but members, each known by its
//! address and its certificate; gives frames to the engine and sends what the engine says. What it drives is the host's:
//! [`Host`] has the tables, the clock, and what workers have changed.
#![forbid(unsafe_code)]

mod dial;
mod door;
mod driver;
mod given;
mod host;
mod identity;
pub mod legacy;
mod limits;
mod link;
mod peer;
mod rest;
mod secrets;
mod settings;
mod status;
mod tables;
mod words;

pub use driver::Driver;
pub use given::Catalogue;
pub use host::{Command, Handle, Host, Verified, Work};
pub use identity::{Identity, Unfit};
pub use secrets::Secrets;
pub use settings::{Member, Settings, open_ports};
pub use status::{PeerStatus, Refusals, Status, View};
pub use tables::{Differences, Table};
pub use words::cannot_listen;
