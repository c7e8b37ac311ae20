//! Garbage on every port.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use forebay_e2e::wait::secs;
use forebay_e2e::{Scene, Wire, system, wire};

/// Bytes that look random and are the same in every run.
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n)
            .map(|_| {
                self.0 ^= self.0 << 13;
                self.0 ^= self.0 >> 7;
                self.0 ^= self.0 << 17;
                (self.0 >> 32) as u8
            })
            .collect()
    }
}

/// Things that are not HTTP/1.1, and the beginnings of things that are.
fn garbage(noise: &mut Noise, n: usize) -> Vec<u8> {
    let mut bytes = match n % 8 {
        0 => Vec::new(),
        1 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        2 => vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3],
        3 => b"GET ".to_vec(),
        4 => b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n".to_vec(),
        5 => b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
        6 => b"\r\n\r\n\r\n".to_vec(),
        _ => b"{\"command\":".to_vec(),
    };
    bytes.extend(noise.bytes(1 + n * 37 % 3000));
    if n.is_multiple_of(3) {
        bytes.extend(b"\r\n\r\n");
    }
    bytes
}

#[test]
fn garbage_on_every_port_harms_nobody() {
    let mut scene = Scene::new("", "");
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let socket = scene.engine.config.with_extension("sock");
    for n in 0..20_000 {
        let bytes = garbage(&mut noise, n);
        for port in [scene.at, scene.engine.metrics] {
            let mut wire = Wire::connect(port).unwrap();
            // It may close before all is sent: that is an answer as well.
            let _ = wire.send(&bytes);
            wire.finish();
            wire.patience(secs(3));
            let _ = wire.more();
        }
        if let Ok(mut admin) = UnixStream::connect(&socket) {
            let _ = admin.set_read_timeout(Some(Duration::from_secs(3)));
            let _ = admin.write_all(&bytes);
            let _ = admin.shutdown(std::net::Shutdown::Write);
            let _ = admin.read(&mut [0; 4096]);
        }
        if n.is_multiple_of(100) {
            assert_eq!(scene.client().get_once("/").unwrap().status, 200, "after {n} pieces of garbage");
        }
    }
    super::is_well(&mut scene);
    assert_eq!(scene.engine.get("/metrics"), Some(200));
    scene.engine.ask(&["status"]);
}

#[test]
fn an_endless_head_is_cut_at_the_limit() {
    let mut scene = Scene::new("", "");
    let mut wire = Wire::connect(scene.at).unwrap();
    wire.send("GET / HTTP/1.1\r\nHost: x\r\nA: ").unwrap();
    let before = system::private_kib(scene.engine.process.pid());
    let began = Instant::now();
    // What comes after the refusal may be read and thrown away for a while, so that the client sees it.
    while wire.send([b'x'; 4096]).is_ok() {
        assert!(began.elapsed() < secs(10), "one field is taken for ever");
    }
    let after = system::private_kib(scene.engine.process.pid());
    assert!(after.saturating_sub(before) < 4096, "it is not kept: {before} -> {after} KiB");
    super::is_well(&mut scene);
}

#[test]
fn an_endless_chunk_extension_or_trailer_is_cut() {
    let mut scene = Scene::new("", "");
    for start in ["3;", "0\r\n"] {
        let mut wire = Wire::connect(scene.at).unwrap();
        wire.send(format!("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{start}"))
            .unwrap();
        let began = Instant::now();
        let part = if start == "3;" { "x".repeat(4096) } else { "A: b\r\n".repeat(700) };
        while wire.send(&part).is_ok() {
            assert!(began.elapsed() < secs(10), "what follows {start:?} is taken for ever");
        }
    }
    super::is_well(&mut scene);
}

#[test]
fn a_client_that_resets_at_any_moment_harms_nobody() {
    let mut scene = Scene::new("", "");
    let whole = b"POST /bytes?n=300000 HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789";
    for n in 0..whole.len() {
        let mut wire = Wire::connect(scene.at).unwrap();
        wire.send(&whole[..n]).unwrap();
        wire.reset();
        let mut wire = Wire::connect(scene.at).unwrap();
        wire.send(whole).unwrap();
        let _ = wire.exactly(n * 1000);
        wire.reset();
    }
    super::is_well(&mut scene);
    let answer =
        wire::exchange(scene.at, "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    assert!(answer.ends_with("ok\n"));
}
