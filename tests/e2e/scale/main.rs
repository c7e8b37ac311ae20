//! Services that come to engines, move among them and leave them: a Controller, engines and clients, each a process or a
//! thread of its own.
//!
//! The engines share their addresses (`--share-addresses`): the kernel shares clients out among those that listen, as a
//! router would among machines, so that no client needs to know who serves.

mod clients;
mod legacy;
mod mirror;
mod site;
mod story;
mod views;
