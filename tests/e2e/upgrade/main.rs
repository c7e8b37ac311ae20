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

use forebay_e2e::{Options, Wire, config};

/// The service `web` at an address, in front of these servers; `pool` holds further keys of the pool.
fn web(at: SocketAddr, pool: &str, servers: &[SocketAddr]) -> String {
    config::service("web", at) + &config::pool("web", pool, servers)
}

/// Two workers and a small table.
fn options() -> Options {
    Options::default()
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A WebSocket through the engine.
fn websocket(at: SocketAddr) -> Wire {
    let mut wire = Wire::connect(at).expect("it listens");
    wire.send(UPGRADE).expect("sent");
    let head = wire.head().expect("an answer");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    wire
}

/// Whether a text frame comes back.
fn echoes(wire: &mut Wire) -> bool {
    wire.send([0x81, 0x84, 0, 0, 0, 0, b'e', b'c', b'h', b'o']).is_ok()
        && wire.exactly(6).is_ok_and(|frame| frame == [0x81, 4, b'e', b'c', b'h', b'o'])
}
