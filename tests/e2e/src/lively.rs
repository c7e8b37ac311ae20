//! Clients that are there all the while: what must live through a change of the engine.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::Wire;
use crate::wait::ms;

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A WebSocket through the engine.
///
/// # Panics
/// If there is none.
pub fn websocket(at: SocketAddr) -> Wire {
    upgraded(Wire::connect(at).expect("it listens")).0
}

/// A WebSocket from an address, and the name of the server at its other end.
///
/// # Panics
/// If there is none.
pub fn websocket_from(from: IpAddr, at: SocketAddr) -> (Wire, String) {
    upgraded(Wire::connect_from(from, at).expect("it listens"))
}

/// Makes a connection a WebSocket, and says the name of the server at its other end.
///
/// # Panics
/// If it is refused.
pub fn upgraded(mut wire: Wire) -> (Wire, String) {
    wire.send(UPGRADE).expect("sent");
    let head = wire.head().expect("an answer");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let server = head.lines().find_map(|line| line.strip_prefix("X-Demo-Server: ")).expect("its name");
    (wire, server.to_owned())
}

/// Whether a text frame comes back.
pub fn echoes(wire: &mut Wire) -> bool {
    wire.send([0x81, 0x84, 0, 0, 0, 0, b'e', b'c', b'h', b'o']).is_ok()
        && wire.exactly(6).is_ok_and(|frame| frame == [0x81, 4, b'e', b'c', b'h', b'o'])
}

/// What clients have seen until the change is over.
#[derive(Default)]
pub struct Seen {
    is_over: AtomicBool,
    /// Requests that were answered.
    pub requests: AtomicU64,
}

impl Seen {
    /// Whether the clients may go.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Lets the clients go when what is returned goes, also when a look fails: otherwise they would go on for ever.
    pub fn until_dropped(&self) -> Over<'_> {
        Over(&self.is_over)
    }
}

/// Says that it is over when it goes.
pub struct Over<'s>(pub &'s AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends a frame now and then until it is over.
///
/// # Panics
/// If one does not come back.
pub fn chat(mut wire: Wire, seen: &Seen) {
    let mut echoed = 0;
    while !seen.is_over() {
        assert!(echoes(&mut wire), "the WebSocket was cut after {echoed} frames");
        echoed += 1;
        // Sleep: a person types no faster.
        std::thread::sleep(ms(20));
    }
    assert!(echoed > 20, "it lived through it: {echoed}");
}

/// Reads a long answer slowly until it is over, then to its end.
///
/// # Panics
/// If it does not come whole.
pub fn download(at: SocketAddr, seen: &Seen) {
    const BYTES: usize = 64 << 20;
    let mut wire = Wire::connect(at).expect("it listens");
    wire.send(format!("GET /bytes?n={BYTES} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
        .expect("sent");
    let head = wire.head().expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let mut read = 0;
    while !seen.is_over() {
        let more = (BYTES - read).min(16 << 10);
        read += wire.exactly(more).unwrap_or_else(|e| panic!("cut after {read} bytes: {e}")).len();
        // Sleep: the client is slow.
        std::thread::sleep(ms(10));
    }
    read += wire.rest().expect("the rest").len();
    assert_eq!(read, BYTES, "it got all of it");
}
