//! A configuration that is loaded again while the engine serves.

mod addresses;
mod decisions;
mod keep;
mod load;
mod refused;
mod secured;
mod servers;

use std::net::SocketAddr;

use forebay_e2e::config;

/// The service `web` at an address, in front of these servers; `pool` holds further keys of the pool.
fn web(at: SocketAddr, pool: &str, servers: &[SocketAddr]) -> String {
    config::service("web", at) + &config::pool("web", pool, servers)
}
