//! Bodies of any size, in bounded memory.

use std::io::Write;
use std::sync::{Mutex, mpsc};

use forebay_e2e::client::read_answer;
use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Lab, Origin, Scene, Wire, config, eventually, long_or, origin, system};

/// Memory that a body in transit may cost, in KiB: a few buffers, never the body.
const GROWTH_KIB_MAX: u64 = 24 * 1024;

/// The same where the receiver is slow: what is held for it is small, and so is all that this may touch.
const SLOW_GROWTH_KIB_MAX: u64 = 1024;

/// Size of a large body: no count of its bytes fits into 32 bits.
const MIB: u64 = 4096;

/// Size of a body that is many times what may be held of it: a quarter of the large one in full.
fn long_mib() -> u64 {
    long_or(MIB / 4, 192)
}

#[test]
fn a_large_upload_passes_unchanged_in_bounded_memory() {
    let scene = Scene::new("", "");
    scene.client().get("/").unwrap();
    let before = system::written_kib(scene.engine.process.pid());
    for chunked in [false, true] {
        let wire = Wire::connect(scene.at).unwrap();
        let mut stream = wire.stream();
        let mib = if chunked { long_or(MIB, 512) } else { MIB };
        let total = mib << 20;
        let framing = if chunked {
            "Transfer-Encoding: chunked".to_owned()
        } else {
            format!("Content-Length: {total}")
        };
        write!(stream, "POST / HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n").unwrap();
        let block: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
        let mut most = 0;
        for n in 0..mib {
            if chunked {
                write!(stream, "{:x}\r\n", block.len()).unwrap();
            }
            stream.write_all(&block).unwrap();
            if chunked {
                stream.write_all(b"\r\n").unwrap();
            }
            if n % 16 == 0 {
                most = most.max(system::written_kib(scene.engine.process.pid()));
            }
        }
        if chunked {
            stream.write_all(b"0\r\n\r\n").unwrap();
        }
        let mut wire = wire;
        let (answer, _) = read_answer(&mut wire, false).unwrap();
        assert_eq!(answer.json()["body_bytes"], total);
        assert_eq!(answer.json()["body_checksum"], checksum(&block, mib));
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

/// Waits until the engine neither takes nor gives anything more.
fn standstill(scene: &Scene) {
    let moved = || {
        scene.engine.metric("forebay_server_received_bytes", &[])
            + scene.engine.metric("forebay_server_sent_bytes", &[])
    };
    let mut before = moved();
    eventually("nothing moves any more", secs(20), || {
        std::thread::sleep(ms(20)); // Sleep: a standstill is no movement over time.
        let now = moved();
        std::mem::replace(&mut before, now) == now
    });
}

//= test SE-BODY-02
#[test]
fn a_large_download_passes_unchanged_in_bounded_memory_however_slowly_it_is_read() {
    let scene = Scene::new("", "");
    scene.client().get("/bytes?n=1000000").unwrap();
    let before = system::written_kib(scene.engine.process.pid());
    for form in ["", "&chunked=1&chunk=60000"] {
        let total = long_mib() << 20;
        let mut wire = Wire::connect(scene.at).unwrap();
        wire.send(format!("GET /bytes?n={total}{form} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
            .unwrap();
        wire.head().unwrap();
        let mut most = 0;
        let mut left = total;
        let mut at = 0_u64;
        let mut pause_at = total;
        while left > 0 {
            // Read on only when all that can be on the way is there, and stands.
            if left <= pause_at {
                standstill(&scene);
                most = most.max(system::written_kib(scene.engine.process.pid()));
                pause_at = left.saturating_sub(6 << 20);
            }
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
        }
        println!("{before} KiB -> {most} KiB");
        assert!(most.saturating_sub(before) < SLOW_GROWTH_KIB_MAX, "{before} KiB -> {most} KiB");
    }
}

//= test SE-BODY-01
#[test]
fn a_large_upload_costs_hardly_any_memory_however_slowly_its_server_reads() {
    const SIP: u64 = 6 << 20;
    let total = long_mib() << 20;
    let (allow, allowed) = mpsc::channel::<u64>();
    let allowed = Mutex::new(allowed);
    let lab = Lab::new();
    let [at, server] = lab.addresses();
    let origin = Origin::start(server, move |mut wire, _| {
        wire.head()?;
        let allowed = allowed.lock().expect("one request");
        while let Ok(count) = allowed.recv() {
            let bytes = wire.exactly(count as usize)?;
            assert!(bytes.iter().all(|byte| *byte == b'u'), "bytes were changed");
        }
        wire.send(origin::ok("all of it"))
    });
    let text = config::service("web", at) + &config::pool("web", "", &[origin.address]);
    let scene = Scene { engine: lab.engine(&text), servers: Vec::new(), at, lab };
    let before = system::written_kib(scene.engine.process.pid());
    let mut wire = Wire::connect(at).unwrap();
    wire.send(format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {total}\r\n\r\n")).unwrap();
    let mut most = 0;
    std::thread::scope(|scope| {
        let mut stream = wire.stream();
        let block = vec![b'u'; 1 << 20];
        scope.spawn(move || (0..total >> 20).for_each(|_| stream.write_all(&block).unwrap()));
        let mut left = total;
        while left > 0 {
            standstill(&scene);
            most = most.max(system::written_kib(scene.engine.process.pid()));
            let sip = left.min(SIP);
            allow.send(sip).unwrap();
            left -= sip;
        }
        drop(allow);
    });
    let (answer, _) = read_answer(&mut wire, false).unwrap();
    assert_eq!((answer.status, answer.text()), (200, "all of it".to_owned()));
    println!("{before} KiB -> {most} KiB");
    assert!(most.saturating_sub(before) < SLOW_GROWTH_KIB_MAX, "{before} KiB -> {most} KiB");
}
