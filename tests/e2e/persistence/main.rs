//! Persistence on real traffic: the same client, many connections, both workers.

mod countdown;
mod down;
mod forged;
mod keys;
mod stick;
mod v6;
