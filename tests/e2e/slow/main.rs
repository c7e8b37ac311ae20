//! Slow clients: what they cost others, and what they cost in memory.
//!
//! The engine has one core, attackers and the healthy client the other. One test at a time: the figures
//! are times.

mod handshakes;
mod stalled;

use std::io::Read;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Client, Engine, Lab, Options, Scene, Wire, bin, config, eventually, system};

/// Attackers at a time.
const ATTACKERS: usize = 200;
/// What a slow connection may cost, in KiB.
const KIB_PER_CONNECTION_MAX: f64 = 20.0;
/// Tries of which the median counts.
const TRIES: usize = 3;

/// Bytes in 100 ms below which the attackers together are slow: what they read, ten times over.
const TRICKLE: f64 = (ATTACKERS * READ.sip) as f64 / 2.5 * 10.0;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A kind of slow client: what it sends at first, and what it sends or reads now and then.
struct Slow {
    first: &'static str,
    drip: &'static str,
    /// Bytes to read at a time; with 0 the client has the usual window and reads nothing.
    sip: usize,
}

const HEAD: Slow =
    Slow { first: "GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: slow\r\n", drip: "A: b\r\n", sip: 0 };
const BODY: Slow = Slow {
    first: "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n0123456789",
    drip: "0123456789",
    sip: 0,
};
const READ: Slow = Slow {
    first: "GET /bytes?n=50000000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    drip: "",
    sip: 400,
};

impl Slow {
    fn connect(&self, scene: &Scene) -> Wire {
        let mut wire = Wire::connect(scene.at).unwrap();
        if self.sip > 0 {
            system::smallest_receive_buffer(wire.stream().as_raw_fd());
            // One that has nothing to read does not keep the others waiting.
            wire.patience(ms(1));
        }
        wire.send(self.first).unwrap();
        wire
    }

    /// One turn of being slow. Gives the bytes that were read. The engine may cut the connection: that is its right.
    fn turn(&self, wire: &mut Wire) -> usize {
        if !self.drip.is_empty() {
            let _ = wire.send(self.drip);
        }
        if self.sip == 0 {
            return 0;
        }
        wire.stream().read(&mut vec![0; self.sip]).unwrap_or(0)
    }
}

fn scene() -> (MutexGuard<'static, ()>, Scene) {
    scene_with(Lab::new(), "")
}

fn scene_with(lab: Lab, sections: &str) -> (MutexGuard<'static, ()>, Scene) {
    let alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let cores = system::cores();
    assert!(cores >= 2, "attackers and engine need a core each");
    let taskset = bin::foreign("taskset", "util-linux").to_string_lossy().into_owned();
    let under = vec![taskset, "--cpu-list".into(), (cores - 1).to_string()];
    let options = Options { workers: 1, under, ..Options::default() };
    let patient = config::profile("header_timeout_ms = 600000\nbody_timeout_ms = 600000");
    system::pin_thread(0);
    (alone, Scene::with(lab, "", &(sections.to_owned() + &patient), options))
}

/// Waits until the engine sends clients hardly anything more: slow readers have had what their sockets hold, and get
/// what they read. Before that they are ordinary downloads that share the engine fairly.
fn standstill(scene: &Scene) {
    let sent = || scene.engine.metric("forebay_client_sent_bytes", &[("virtual_service", "web")]);
    let mut before = sent();
    eventually("the slow clients' downloads stand still", secs(120), || {
        std::thread::sleep(ms(100)); // Sleep: a rate is measured over time.
        let now = sent();
        now - std::mem::replace(&mut before, now) <= TRICKLE
    });
}

/// The time that 99 % of a healthy client's requests stay below.
fn healthy_p99(scene: &Scene) -> Duration {
    let mut times = healthy(scene, 10_000);
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

/// Has what is made at first use made, and what is to go back go back.
fn warm(scene: &Scene) {
    healthy(scene, 2_500);
}

/// The times of so many requests of a healthy client.
fn healthy(scene: &Scene, count: usize) -> Vec<Duration> {
    let mut client = Client::new(scene.at);
    (0..count)
        .map(|n| {
            let began = Instant::now();
            let answer = client.get("/health").unwrap_or_else(|e| panic!("healthy request {n}: {e}"));
            assert_eq!(answer.status, 200);
            began.elapsed()
        })
        .collect()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[track_caller]
fn healthy_clients_hardly_notice(kind: &Slow) {
    let (_alone, scene) = scene();
    warm(&scene);
    let (mut quiet, mut attacked) = (Vec::new(), Vec::new());
    for _ in 0..TRIES {
        quiet.push(healthy_p99(&scene));
        let (stop, sipped) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            let mut wires: Vec<Wire> = (0..ATTACKERS).map(|_| kind.connect(&scene)).collect();
            let (stop, sipped) = (&stop, &sipped);
            scope.spawn(move || {
                system::pin_thread(0);
                while !stop.load(Ordering::Relaxed) {
                    for wire in &mut wires {
                        sipped.fetch_add(kind.turn(wire), Ordering::Relaxed);
                    }
                    // Sleep: being slow is what an attacker does. Not so busy that the attackers' own work
                    // takes the core from the healthy client, which shares it.
                    std::thread::sleep(ms(250));
                }
            });
            standstill(&scene);
            let before = sipped.load(Ordering::Relaxed);
            attacked.push(healthy_p99(&scene));
            let read = sipped.load(Ordering::Relaxed) - before;
            stop.store(true, Ordering::Relaxed);
            assert!(kind.sip == 0 || read > 0, "the slow readers do read while the others are timed");
        });
    }
    let (quiet, attacked) = (median(quiet), median(attacked));
    println!("healthy p99: {quiet:?} alone, {attacked:?} among {ATTACKERS} slow clients");
    assert!(attacked <= quiet * 2, "p99 {attacked:?} under attack, {quiet:?} without");
}

#[track_caller]
fn costs_little_memory(kind: &Slow) {
    let (_alone, scene) = scene();
    // Large heads have a bound together, which is another test's subject.
    let count = if kind.first.len() > 8192 { 800 } else { 4000 };
    system::raise_file_limit();
    // Everything that is made at first use is made now, at the width of this attack's start.
    drop((0..50).map(|_| kind.connect(&scene)).collect::<Vec<_>>());
    warm(&scene);
    let open =
        |engine: &Engine| engine.metric("forebay_client_connections_open", &[("virtual_service", "web")]);
    eventually("the first ones are gone", secs(60), || open(&scene.engine) <= 2.0);
    let before = system::private_kib(scene.engine.process.pid());
    let wires: Vec<Wire> = (0..count).map(|_| kind.connect(&scene)).collect();
    eventually("all of them are being served", secs(20), || open(&scene.engine) >= count as f64);
    standstill(&scene);
    warm(&scene);
    let after = system::private_kib(scene.engine.process.pid());
    let each = after.saturating_sub(before) as f64 / count as f64;
    println!("{each:.1} KiB for each of {count} slow connections ({before} -> {after} KiB)");
    // A head's own bytes cannot be sent on before its end.
    let kept = (kind.first.len() / 1024) as f64;
    assert!(each <= kept + KIB_PER_CONNECTION_MAX, "{each:.1} KiB each");
    drop(wires);
}

#[test]
fn slow_heads_do_not_slow_others() {
    healthy_clients_hardly_notice(&HEAD);
}

#[test]
fn slow_bodies_do_not_slow_others() {
    healthy_clients_hardly_notice(&BODY);
}

#[test]
fn slow_readers_do_not_slow_others() {
    healthy_clients_hardly_notice(&READ);
}

#[test]
fn a_slow_head_costs_little_memory() {
    costs_little_memory(&HEAD);
}

//= test SE-HEAD-01
#[test]
fn a_slow_large_head_costs_little_more_memory_than_what_came_of_it() {
    let fields: String = (0..11).map(|n| format!("X-{n}: {}\r\n", "v".repeat(3_700))).collect();
    costs_little_memory(&Slow { first: format!("{}{fields}", HEAD.first).leak(), ..HEAD });
}

#[test]
fn a_slow_body_costs_little_memory() {
    costs_little_memory(&BODY);
}

#[test]
fn a_slow_reader_costs_little_memory() {
    costs_little_memory(&READ);
}

//= test SE-IDLE-02
#[test]
fn memory_that_a_crowd_needed_goes_back_when_all_of_it_is_idle() {
    const CROWD: usize = 800;
    /// What an idle connection costs, and a little for its server's.
    const KIB_EACH: u64 = 2;
    /// What is kept for the next burst.
    const KIB_KEPT: u64 = 4096;
    let (_alone, scene) = scene();
    system::raise_file_limit();
    warm(&scene);
    let before = system::written_kib(scene.engine.process.pid());
    let mut wires: Vec<Wire> = (0..CROWD).map(|_| Wire::connect(scene.at).unwrap()).collect();
    for wire in &mut wires {
        wire.send("GET /slow?ms=4000 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    }
    let mut busy = 0;
    for wire in &mut wires {
        assert!(wire.head().unwrap().starts_with("HTTP/1.1 200 "));
        busy = busy.max(system::written_kib(scene.engine.process.pid()));
    }
    let bound = before + KIB_KEPT + KIB_EACH * CROWD as u64;
    assert!(busy > bound, "{before} KiB before, {busy} busy: this crowd needs nothing that could go back");
    let now = || system::written_kib(scene.engine.process.pid());
    eventually("what the crowd needed is given back", secs(20), || now() <= bound);
    println!("{before} KiB before, {busy} with {CROWD} requests under way, {} when they are idle", now());
    drop(wires);
}
