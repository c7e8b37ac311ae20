//! How service engines keep their persistence tables equal: who tells whom what, which statement holds, and how it is
//! found out that two tables differ.
//!
//! Nothing here owns a socket, a clock or an entry. A driver keeps one [`Engine`] and runs this loop:
//!
//! 1. wait until [`Engine::wake`] or until something happens;
//! 2. call [`Engine::handle`] with what happened and the tables ([`Shards`]);
//! 3. carry out each [`Output`].
//!
//! Entries live in `forebay_core::table`, once. The rules have ids in `docs/spec/objsync.md` (`SYNC-*`).
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod engine;
pub mod group;
pub mod limits;
pub mod merge;
pub mod shards;
pub mod slots;
pub mod values;
pub mod wire;

pub use engine::{
    Applied, Bounds, Engine, Event, Figures, How, Input, Output, PeerFigures, Settings, TableVerdict,
    Verdict, Why, apply, statement,
};
pub use merge::{Entry, Rule};
pub use shards::{Shards, Shared};
