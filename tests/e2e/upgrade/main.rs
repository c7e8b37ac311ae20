//! A new process that takes over from the one that serves.

mod clients;
mod command;
mod dies;
mod load;
mod memory;
mod others;
mod sockets;
mod speak;

use std::net::SocketAddr;

use forebay_e2e::{Options, config};

/// The service `web` at an address, in front of these servers; `pool` holds further keys of the pool.
fn web(at: SocketAddr, pool: &str, servers: &[SocketAddr]) -> String {
    config::service("web", at) + &config::pool("web", pool, servers)
}

/// Two workers and a small table.
fn options() -> Options {
    Options::default()
}
