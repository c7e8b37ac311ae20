//! A configuration that is loaded again while the engine serves.

mod addresses;
mod decisions;
mod keep;
mod load;
mod refused;
mod servers;

use std::net::SocketAddr;

use forebay_e2e::{Wire, config};

/// The service `web` at an address, in front of these servers; `pool` holds further keys of the pool.
fn web(at: SocketAddr, pool: &str, servers: &[SocketAddr]) -> String {
    config::service("web", at) + &config::pool("web", pool, servers)
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A WebSocket through the engine.
fn websocket(at: SocketAddr) -> Wire {
    websocket_with(at).0
}

/// A WebSocket through the engine, and the name of the server at its other end.
fn websocket_with(at: SocketAddr) -> (Wire, String) {
    let mut wire = Wire::connect(at).expect("it listens");
    wire.send(UPGRADE).expect("sent");
    let head = wire.head().expect("an answer");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let server = head.lines().find_map(|line| line.strip_prefix("X-Demo-Server: ")).expect("its name");
    (wire, server.to_owned())
}

/// Whether a text frame comes back.
fn echoes(wire: &mut Wire) -> bool {
    wire.send([0x81, 0x84, 0, 0, 0, 0, b'e', b'c', b'h', b'o']).is_ok()
        && wire.exactly(6).is_ok_and(|frame| frame == [0x81, 4, b'e', b'c', b'h', b'o'])
}
