//! The tables: one file for kinds that belong together.
//!
//! Names, types, ranges and defaults are those of release 30.2.1 of the API's published documents, where they say so.

pub mod common;
mod pool;

use crate::kind::Kind;

/// Every kind.
pub(crate) static KINDS: &[&[&Kind]] = &[pool::KINDS];
