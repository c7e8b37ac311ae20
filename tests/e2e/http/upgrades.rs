//! Upgrades: only after the server's 101.

use forebay_e2e::client::read_answer;
use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Scene, Wire, origin};

use crate::Proxied;

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[test]
fn a_websocket_echoes_in_both_directions() {
    let scene = Scene::new("", "");
    let mut wire = Wire::connect(scene.at).unwrap();
    wire.send(UPGRADE).unwrap();
    let head = wire.head().unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    for n in 0..200_u8 {
        // A masked text frame of four bytes, mask zero.
        wire.send([0x81, 0x84, 0, 0, 0, 0, b'a', b'b', b'c', b'0' + n % 10]).unwrap();
        assert_eq!(wire.exactly(6).unwrap(), [0x81, 4, b'a', b'b', b'c', b'0' + n % 10]);
    }
    wire.send([0x88, 0x80, 0, 0, 0, 0]).unwrap();
    assert_eq!(wire.exactly(2).unwrap(), [0x88, 0]);
    assert!(wire.closes_within(secs(5)));
}

#[test]
fn a_refused_upgrade_opens_no_tunnel() {
    // The server answers 200; what the client sends next is a request, not tunnel bytes.
    let p = Proxied::one("", |_| Some(origin::ok("no")));
    let mut wire = Wire::connect(p.at).unwrap();
    wire.send(UPGRADE).unwrap();
    let (answer, _) = read_answer(&mut wire, false).unwrap();
    assert_eq!(answer.status, 200);
    wire.send("GET /second HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    match read_answer(&mut wire, false) {
        Ok((answer, _)) => assert_eq!(answer.status, 200),
        Err(_) => assert!(wire.closes_within(ms(100))),
    }
    each_is_a_request_of_ours(&p);
}

/// Nothing reached the server as bytes of a tunnel: each head is one that the engine wrote.
#[track_caller]
fn each_is_a_request_of_ours(p: &Proxied) {
    let heads = p.heads();
    assert!(!heads.is_empty());
    for head in heads {
        assert!(head.to_ascii_lowercase().contains("\r\nx-forwarded-for: "), "passed on unread: {head}");
    }
}

#[test]
fn bytes_sent_before_the_101_wait_for_it() {
    let p = Proxied::one("", |_| Some(origin::ok("no")));
    let mut wire = Wire::connect(p.at).unwrap();
    wire.send(format!("{UPGRADE}GET /early HTTP/1.1\r\nHost: x\r\nX: smuggled\r\n\r\n")).unwrap();
    let (answer, _) = read_answer(&mut wire, false).unwrap();
    assert_eq!(answer.status, 200);
    let _ = wire.closes_within(secs(1));
    each_is_a_request_of_ours(&p);
}

#[test]
fn h2c_is_not_passed_on() {
    let p = Proxied::one("", |_| Some(origin::ok("hi")));
    let mut wire = Wire::connect(p.at).unwrap();
    wire.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n").unwrap();
    let (answer, _) = read_answer(&mut wire, false).unwrap();
    assert_eq!(answer.status, 200);
    let head = p.heads().remove(0).to_ascii_lowercase();
    assert!(!head.contains("upgrade") && !head.contains("http2-settings"), "{head}");
}
