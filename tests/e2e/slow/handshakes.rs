//! TLS handshakes that are begun in crowds and never ended.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use forebay_e2e::pki::{self, EC};
use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Lab, Scene, Wire, bin, config, eventually, system};

use crate::{TRIES, healthy_p99, median, scene_with, warm};

/// Handshakes that begin at once.
const AT_ONCE: usize = 20;
/// Half a first message from so many.
const HALVES: usize = 3000;
/// What all attackers together may cost, in KiB.
const KIB_MAX: u64 = 64 << 10;

/// A scene that has a service of TLS beside the healthy client's: on the same worker, before the same servers.
fn scene() -> (MutexGuard<'static, ()>, Scene, SocketAddr) {
    let lab = Lab::new();
    pki::authority(lab.folder(), "ca");
    pki::certificate(lab.folder(), "app", "ca", EC, "DNS:app.test", 2);
    let at = lab.address();
    let keys = "certificates = [\"app\"]\ntls_profile = \"patient\"";
    let sections = config::service_with("tls", at, keys).replace("pool = \"tls\"", "pool = \"web\"")
        + &pki::section("app")
        + "[[tls_profile]]\nname = \"patient\"\nhandshake_timeout_ms = 120000\n";
    let (alone, scene) = scene_with(lab, &sections);
    (alone, scene, at)
}

/// A first message, as OpenSSL writes it: the server's answer to it needs a signature and keys, and it can be sent again.
fn first_message() -> Vec<u8> {
    let script = "import ssl; i, o = ssl.MemoryBIO(), ssl.MemoryBIO(); c = ssl.create_default_context()\n\
                  t = c.wrap_bio(i, o, server_hostname='app.test')\n\
                  try: t.do_handshake()\n\
                  except ssl.SSLWantReadError: print(o.read().hex())\n";
    let output = Command::new(bin::foreign("python3", "python3")).args(["-c", script]).output();
    let hex = String::from_utf8(output.expect("python3 starts").stdout).expect("text");
    let digits: Vec<u8> = hex.trim().chars().map(|c| c.to_digit(16).expect("a digit") as u8).collect();
    digits.as_chunks::<2>().0.iter().map(|[high, low]| 16 * high + low).collect()
}

/// From a first message to the answer, while nobody else wants anything.
fn answered_in(at: SocketAddr, hello: &[u8]) -> Duration {
    let mut wire = Wire::connect(at).expect("it listens");
    let began = Instant::now();
    wire.send(hello).expect("sent");
    wire.exactly(5).expect("an answer");
    began.elapsed()
}

//= test TLS-FAIR-02
#[test]
fn a_flood_of_handshakes_hardly_slows_others() {
    let (_alone, scene, at) = scene();
    let hello = first_message();
    warm(&scene);
    let one = median((0..21).map(|_| answered_in(at, &hello)).collect());
    let (mut quiet, mut attacked, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TRIES {
        quiet.push(healthy_p99(&scene));
        let stop = AtomicBool::new(false);
        let flood = || {
            system::pin_thread(0);
            // The healthy client shares this core, and what the attackers do there is not the engine's to answer for.
            system::step_back();
            let (began, mut count) = (Instant::now(), 0);
            while !stop.load(Ordering::Relaxed) {
                let mut wires: Vec<Wire> =
                    (0..AT_ONCE).map(|_| Wire::connect(at).expect("it listens")).collect();
                for wire in &mut wires {
                    wire.send(&hello).expect("sent");
                }
                for wire in &mut wires {
                    wire.exactly(5).expect("an answer");
                }
                count += wires.len();
                wires.into_iter().for_each(Wire::reset);
                // Sleep: the next crowd comes after this one.
                std::thread::sleep(ms(20));
            }
            count as f64 / began.elapsed().as_secs_f64()
        };
        std::thread::scope(|scope| {
            let flooding = scope.spawn(flood);
            std::thread::sleep(ms(100)); // Sleep: the flood is to be under way.
            attacked.push(healthy_p99(&scene));
            stop.store(true, Ordering::Relaxed);
            rates.push(flooding.join().expect("no panic"));
        });
    }
    println!(
        "healthy p99: {quiet:?} alone, {attacked:?} in a flood of {rates:.0?} handshakes a second, {AT_ONCE} at once, of {one:?} each"
    );
    let (quiet, attacked): (Duration, Duration) = (median(quiet), median(attacked));
    // Where requests are faster than handshakes, a request that comes in the midst of one waits for that. On a machine that
    // has other things to do as well some milliseconds say nothing.
    let floor = if std::env::var_os("FOREBAY_LONG").is_some() { Duration::ZERO } else { ms(5) };
    let most = (quiet * 2).max(quiet + 3 * one).max(floor);
    assert!(attacked <= most, "p99 {attacked:?} under attack, {quiet:?} without, {one:?} for a handshake");
    assert!(rates.iter().all(|rate| *rate > 20.0), "that is no flood: {rates:?}");
}

//= test TLS-HANDSHAKE-01
#[test]
fn thousands_of_half_handshakes_cost_little_and_hold_up_nobody() {
    let (_alone, scene, at) = scene();
    system::raise_file_limit();
    let hello = first_message();
    warm(&scene);
    let before = system::private_kib(scene.engine.process.pid());
    let wires: Vec<Wire> = (0..HALVES)
        .map(|_| {
            let mut wire = Wire::connect(at).expect("it listens");
            wire.send(&hello[..hello.len() / 2]).expect("sent");
            wire
        })
        .collect();
    // Behind all of them in the queue.
    let mut last = Wire::connect(at).expect("it listens");
    last.send(&hello).expect("sent");
    last.exactly(5).expect("an answer");
    let p99 = healthy_p99(&scene);
    let after = system::private_kib(scene.engine.process.pid());
    let cost = after.saturating_sub(before);
    println!("{HALVES} half handshakes: {cost} KiB, healthy p99 {p99:?}");
    assert!(cost <= KIB_MAX, "{cost} KiB");
    let gone = || {
        scene
            .engine
            .metric("forebay_tls_handshake_failures_total", &[("virtual_service", "tls"), ("why", "gone")])
    };
    drop(wires);
    eventually("each is counted as it leaves", secs(60), || gone() >= HALVES as f64);
}
