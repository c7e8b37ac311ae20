//! Services that pass bytes on unread, with real processes on both sides.

mod bulk;
mod flows;
mod foreign;
mod proxies;
mod tcp;
mod udp;

use std::net::SocketAddr;

use forebay_e2e::config;

/// A TCP service before a pool of its name.
fn tcp_service(name: &str, at: SocketAddr, pool: &str, servers: &[SocketAddr]) -> String {
    config::service_with(name, at, "protocol = \"tcp\"") + &config::pool(name, pool, servers)
}
