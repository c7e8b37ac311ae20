//! Bodies of any size, in bounded memory.

use std::io::Write;

use forebay_e2e::client::read_answer;
use forebay_e2e::{Scene, Wire, long_or, system};

/// Memory that a body in transit may cost, in KiB: a few buffers, never the body.
const GROWTH_KIB_MAX: u64 = 24 * 1024;

fn mib() -> u64 {
    long_or(4096, 192)
}

#[test]
fn a_large_upload_passes_unchanged_in_bounded_memory() {
    let scene = Scene::new("", "");
    scene.client().get("/").unwrap();
    let before = system::private_kib(scene.engine.process.pid());
    for chunked in [false, true] {
        let wire = Wire::connect(scene.at).unwrap();
        let mut stream = wire.stream();
        let total = mib() << 20;
        let framing = if chunked {
            "Transfer-Encoding: chunked".to_owned()
        } else {
            format!("Content-Length: {total}")
        };
        write!(stream, "POST / HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n").unwrap();
        let block: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
        let mut most = 0;
        for n in 0..mib() {
            if chunked {
                write!(stream, "{:x}\r\n", block.len()).unwrap();
            }
            stream.write_all(&block).unwrap();
            if chunked {
                stream.write_all(b"\r\n").unwrap();
            }
            if n % 16 == 0 {
                most = most.max(system::private_kib(scene.engine.process.pid()));
            }
        }
        if chunked {
            stream.write_all(b"0\r\n\r\n").unwrap();
        }
        let mut wire = wire;
        let (answer, _) = read_answer(&mut wire, false).unwrap();
        assert_eq!(answer.json()["body_bytes"], total);
        assert_eq!(answer.json()["body_checksum"], checksum(&block, mib()));
        assert!(most.saturating_sub(before) < GROWTH_KIB_MAX, "{before} KiB -> {most} KiB");
    }
}

/// FNV-1a of the block, repeated.
fn checksum(block: &[u8], times: u64) -> String {
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    for _ in 0..times {
        for byte in block {
            sum = (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{sum:016x}")
}

#[test]
fn a_large_download_passes_unchanged_in_bounded_memory_however_slowly_it_is_read() {
    let scene = Scene::new("", "");
    scene.client().get("/").unwrap();
    let before = system::private_kib(scene.engine.process.pid());
    for form in ["", "&chunked=1&chunk=60000"] {
        let total = (mib() << 20) / 4;
        let mut wire = Wire::connect(scene.at).unwrap();
        wire.send(format!("GET /bytes?n={total}{form} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
            .unwrap();
        wire.head().unwrap();
        let mut most = 0;
        let mut left = total;
        let mut at = 0_u64;
        while left > 0 {
            let take = if form.is_empty() {
                left.min(1 << 16) as usize
            } else {
                let line = String::from_utf8(wire.until(b"\r\n").unwrap()).unwrap();
                usize::from_str_radix(line.trim_end(), 16).unwrap()
            };
            let bytes = wire.exactly(take).unwrap();
            for byte in &bytes {
                assert_eq!(*byte, b'a' + (at % 26) as u8, "byte {at}");
                at += 1;
            }
            if !form.is_empty() {
                assert_eq!(wire.exactly(2).unwrap(), b"\r\n");
            }
            left -= take as u64;
            if left % (1 << 22) < 1 << 16 {
                most = most.max(system::private_kib(scene.engine.process.pid()));
            }
        }
        assert!(most.saturating_sub(before) < GROWTH_KIB_MAX, "{before} KiB -> {most} KiB");
    }
}
