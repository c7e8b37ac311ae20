//! Attacks on the service engine over HTTP/2: each is cut with its code, costs little memory, and is hardly noticed by
//! others; servers never see more than they are to.
//!
//! The engine has one core, everybody else the other one. Attackers flood by the healthy client's count of requests, so that
//! an attack weighs the same however slow the machine is: twice in each turn of 300, some 40 times a second on a quiet one.

mod raw;

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use forebay_e2e::beside::{self, p99};
use forebay_e2e::wait::{Gate, secs};
use forebay_e2e::{Demo, Engine, Lab, Options, bin, config, eventually, system};

use raw::{
    DATA, END, Frame, GOAWAY, HEADERS, PING, RESET, Raw, SETTINGS, WHOLE, WINDOW_UPDATE, block, frame, get,
};

const CONTINUATION: u8 = 9;
const CALM: u32 = 11;
const CANCEL: u32 = 8;
const INTERNAL: u32 = 2;
/// What one server of the attacked pool may have at once.
const SERVER_MAX: usize = 48;
/// Requests of the healthy client in one turn.
const HEALTHY: usize = 300;
/// How many of them were made when each attacker begins.
const ATTACKS_AT: [usize; 2] = [50, 150];
/// How many times as long as without it the slowest hundredth of requests may take beside an attack.
const RATIO_MAX: f64 = 2.0;
/// A tail below this is good whatever it was before: it is what another program's single turn costs on a full machine.
const NOTABLE: Duration = Duration::from_millis(5);

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Takes connections and requests, never answers, and knows how many it had at once.
struct Hole {
    address: SocketAddr,
    most: Arc<AtomicUsize>,
}

impl Hole {
    fn start(address: SocketAddr) -> Hole {
        let listener = TcpListener::bind(address).unwrap();
        let most = Arc::new(AtomicUsize::new(0));
        let seen = most.clone();
        std::thread::spawn(move || {
            // It shares the healthy client's core, and looks at all its connections for each that comes: not the engine's work.
            system::step_back();
            let mut open: Vec<TcpStream> = Vec::new();
            while let Ok((stream, _)) = listener.accept() {
                stream.set_nonblocking(true).unwrap();
                open.push(stream);
                // The engine closes one before it opens the next: what it has closed is known here.
                open.retain(|stream| {
                    let mut stream = stream;
                    loop {
                        match stream.read(&mut [0; 4096]) {
                            Ok(0) => return false,
                            Ok(_) => {}
                            Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
                        }
                    }
                });
                seen.fetch_max(open.len(), Ordering::SeqCst);
            }
        });
        Hole { address, most }
    }
}

struct Scene {
    engine: Engine,
    _healthy: Demo,
    hole: Hole,
    at: SocketAddr,
    _lab: Lab,
    _alone: MutexGuard<'static, ()>,
}

fn scene(profile: &str) -> Scene {
    let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let cores = system::cores();
    assert!(cores >= 2, "attackers and engine need a core each");
    system::pin_thread(0);
    let lab = Lab::new();
    let healthy = lab.demo("healthy");
    let [at, hole] = lab.addresses();
    let hole = Hole::start(hole);
    let rule = "[[virtual_service.rules]]\nname = \"hole\"\nwhen = { path = { begins_with = [\"/hole\"] } }\n\
                then = [{ pool = \"hole\" }]\n";
    let text = format!(
        "[[http_profile]]\nname = \"two\"\nhttp2 = true\n{profile}\n{}{rule}{}{}",
        config::service_with("web", at, "http_profile = \"two\""),
        config::pool("web", "", &[healthy.address]),
        config::pool(
            "hole",
            &format!("max_concurrent_connections_per_server = {SERVER_MAX}"),
            &[hole.address]
        ),
    );
    let taskset = bin::foreign("taskset", "util-linux").to_string_lossy().into_owned();
    let under = vec![taskset, "--cpu-list".into(), (cores - 1).to_string()];
    let engine = lab.engine_with(&text, Options { workers: 1, under, ..Options::default() });
    Scene { engine, _healthy: healthy, hole, at, _lab: lab, _alone: alone }
}

/// How long each of a healthy client's requests takes, over HTTP/2 as well.
fn healthy(at: SocketAddr) -> Vec<Duration> {
    healthy_with(at, &[])
}

/// Opens gates when it is dropped: nobody waits for a client that has failed.
struct Opens<'g>(&'g [(usize, Gate)]);

impl Drop for Opens<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|(_, gate)| gate.open());
    }
}

/// The same; opens each gate when so many requests were made.
fn healthy_with(at: SocketAddr, gates: &[(usize, Gate)]) -> Vec<Duration> {
    let _all = Opens(gates);
    let mut raw = Raw::connect(at, &[]).unwrap();
    (0..HEALTHY as u32)
        .map(|nth| {
            gates
                .iter()
                .filter(|(begins_at, _)| *begins_at == nth as usize)
                .for_each(|(_, gate)| gate.open());
            let stream = 1 + 2 * nth;
            let began = Instant::now();
            raw.send(get(stream, "/bytes?n=10")).unwrap();
            let end = raw
                .find(|frame| frame.is(RESET, stream) || (frame.stream == stream && frame.flags & END != 0));
            assert_ne!(end.unwrap_or_else(|e| panic!("healthy request {nth}: {e}")).kind, RESET);
            began.elapsed()
        })
        .collect()
}

/// What became of one flood.
struct Cut {
    code: Option<u32>,
    after: Duration,
    frames: usize,
}

/// Floods one connection until it is cut; `frames` gives what is sent next, and how many frames that are.
fn flood(at: SocketAddr, begin: &[u8], frames: &mut dyn FnMut(u32) -> (Vec<u8>, usize)) -> Cut {
    let mut raw = Raw::connect(at, &[]).unwrap();
    let reader = raw.wire.stream().try_clone().and_then(forebay_e2e::Wire::from_stream);
    let mut reader = Raw { wire: reader.unwrap() };
    raw.wire.stream().set_write_timeout(Some(secs(3))).unwrap();
    raw.send(begin).unwrap();
    let began = Instant::now();
    let told = std::thread::spawn(move || {
        let mut code = None;
        while let Ok(Frame { kind, payload, .. }) = reader.next() {
            if kind == GOAWAY {
                code = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
                break;
            }
        }
        (code, began.elapsed())
    });
    let mut sent = 0;
    for round in 0.. {
        if told.is_finished() || began.elapsed() > secs(5) {
            break;
        }
        let (bytes, count) = frames(round);
        if raw.send(bytes).is_err() {
            break;
        }
        sent += count;
    }
    let _ = raw.wire.stream().shutdown(std::net::Shutdown::Write);
    let (code, after) = told.join().unwrap();
    Cut { code, after, frames: sent }
}

/// One attack: what opens a connection for it, and what is repeated.
struct Attack {
    name: &'static str,
    begin: fn() -> Vec<u8>,
    frames: fn(u32) -> (Vec<u8>, usize),
}

const BATCH: u32 = 50;

fn batch(round: u32, each: impl Fn(u32) -> Vec<u8>, frames: usize) -> (Vec<u8>, usize) {
    let nths = round * BATCH..(round + 1) * BATCH;
    (nths.flat_map(each).collect(), frames * BATCH as usize)
}

fn open_post(path: &str) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &block("POST", path, &[]))
}

/// A block whose fields name one large entry of the table again and again.
fn bomb(stream: u32, is_first: bool) -> Vec<u8> {
    let mut bytes = block("GET", "/", &[]);
    if is_first {
        // With indexing; 3,900 bytes: 127 + 3,773.
        bytes.extend_from_slice(&[0x40, 1, b'x', 127]);
        bytes.extend_from_slice(&[0x80 | (3773 % 128) as u8, (3773 / 128) as u8]);
        bytes.extend_from_slice(&[b'y'; 3900]);
    }
    bytes.extend_from_slice(&[0x80 | 62; 12_000]);
    frame(HEADERS, END | WHOLE, stream, &bytes)
}

const ATTACKS: [Attack; 11] = [
    Attack {
        name: "rapid reset",
        begin: Vec::new,
        frames: |round| {
            let each =
                |n| [get(1 + 2 * n, "/hole"), frame(RESET, 0, 1 + 2 * n, &CANCEL.to_be_bytes())].concat();
            batch(round, each, 2)
        },
    },
    Attack {
        name: "made you reset",
        begin: Vec::new,
        frames: |round| {
            let each = |n| [get(1 + 2 * n, "/hole"), frame(WINDOW_UPDATE, 0, 1 + 2 * n, &[0; 4])].concat();
            batch(round, each, 2)
        },
    },
    Attack {
        name: "stream exhaustion",
        begin: Vec::new,
        frames: |round| batch(round, |n| get(1 + 2 * n, "/hole"), 1),
    },
    Attack {
        name: "CONTINUATION flood",
        begin: || frame(HEADERS, 0, 1, &block("GET", "/", &[])),
        frames: |round| batch(round, |_| frame(CONTINUATION, 0, 1, &[]), 1),
    },
    Attack {
        name: "CONTINUATION flood of fields",
        begin: || frame(HEADERS, 0, 1, &block("GET", "/", &[])),
        frames: |_| {
            (frame(CONTINUATION, 0, 1, &[&[0, 1, b'a', 127, 0xf1, 0x7d][..], &[b'a'; 16_240]].concat()), 1)
        },
    },
    Attack { name: "HPACK bomb", begin: Vec::new, frames: |round| (bomb(1 + 2 * round, round == 0), 1) },
    Attack {
        name: "SETTINGS flood",
        begin: Vec::new,
        frames: |round| batch(round, |_| frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]), 1),
    },
    Attack {
        name: "PING flood",
        begin: Vec::new,
        frames: |round| batch(round, |_| frame(PING, 0, 0, &[7; 8]), 1),
    },
    Attack {
        name: "empty DATA flood",
        begin: || open_post("/hole"),
        frames: |round| batch(round, |_| frame(DATA, 0, 1, &[]), 1),
    },
    Attack {
        name: "WINDOW_UPDATE flood",
        begin: || open_post("/hole"),
        frames: |round| batch(round, |_| frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]), 1),
    },
    Attack {
        name: "flood of unknown frames",
        begin: Vec::new,
        frames: |round| batch(round, |_| frame(0xbe, 0, 0, &[0; 8]), 1),
    },
];

/// What came of all connections of one attack.
#[derive(Default)]
struct Seen {
    cuts: u32,
    latest: Duration,
    most: usize,
    largest_kib: u64,
}

impl Attack {
    /// Times a turn of healthy requests while the attackers flood.
    fn beside(&self, scene: &Scene, seen: &mut Seen) -> Vec<Duration> {
        let gates = ATTACKS_AT.map(|begins_at| (begins_at, Gate::default()));
        let flooding = &|gate: Gate| {
            // The healthy client shares this core, and what the attackers do there is not the engine's to answer for.
            system::step_back();
            gate.pass();
            flood(scene.at, &(self.begin)(), &mut |round| (self.frames)(round))
        };
        std::thread::scope(|scope| {
            let attackers = gates.clone().map(|(_, gate)| scope.spawn(move || flooding(gate)));
            let times = healthy_with(scene.at, &gates);
            seen.largest_kib = seen.largest_kib.max(system::private_kib(scene.engine.process.pid()));
            for attacker in attackers {
                let Cut { code, after, frames } = attacker.join().unwrap();
                assert_eq!(code, Some(CALM), "{}: {frames} frames, {after:?}", self.name);
                seen.latest = seen.latest.max(after);
                seen.most = seen.most.max(frames);
                seen.cuts += 1;
            }
            times
        })
    }
}

//= test H2-HOST-07
#[test]
fn each_flood_is_cut_with_its_code_and_healthy_clients_hardly_notice() {
    let scene = scene("");
    healthy(scene.at);
    let before = system::private_kib(scene.engine.process.pid());
    let cuts_before = || scene.engine.metric("forebay_http2_connections_cut_total", &[]);
    let mut slow = Vec::new();
    for attack in &ATTACKS {
        let cut_before = cuts_before();
        let mut seen = Seen::default();
        let beside = || attack.beside(&scene, &mut seen);
        let verdict = beside::at_most(RATIO_MAX, NOTABLE, || healthy(scene.at), beside);
        let Seen { cuts, latest, most, largest_kib } = seen;
        let grown = largest_kib.saturating_sub(before);
        let beside::Tails { quiet, beside } = verdict.median;
        let stall = verdict.stall;
        println!(
            "{:<30} cut {cuts:>3} times, at the latest after {latest:>8.1?} ({most} frames written); healthy p99 {quiet:.1?} \
             alone, {beside:.1?} beside it, ratios {:.2?}, slowest of {HEALTHY} {:.1?} and {:.1?}; {grown} KiB more",
            attack.name, verdict.tries, stall.quiet, stall.beside
        );
        assert!(cuts > 0, "{}", attack.name);
        assert!(latest < secs(1) || most < 1_000, "{}: {latest:?}, {most} frames", attack.name);
        assert!(grown < 64 << 10, "{}: {grown} KiB", attack.name);
        assert!(cuts_before() >= cut_before + f64::from(cuts), "{}: each is counted", attack.name);
        if !verdict.good {
            slow.push((attack.name, verdict));
        }
    }
    let hole = scene.hole.most.load(Ordering::SeqCst);
    println!("at most {hole} requests at the attacked server at once, of {SERVER_MAX}");
    assert!(hole <= SERVER_MAX && hole > 0, "{hole}");
    assert!(slow.is_empty(), "healthy clients waited more than {RATIO_MAX} times as long: {slow:?}");
}

//= test H2-HOST-08
#[test]
fn clients_that_open_no_window_are_cut_in_time_and_cost_little() {
    const CONNECTIONS: usize = 20;
    const STREAMS: u32 = 100;
    let scene = scene("body_timeout_ms = 6000");
    healthy(scene.at);
    let quiet = p99(healthy(scene.at));
    let before = system::private_kib(scene.engine.process.pid());
    // Half of them open no window at all, the others never read what comes.
    let mut crowd: Vec<Raw> = (0..CONNECTIONS)
        .map(|nth| {
            let window = if nth % 2 == 0 { 0 } else { i32::MAX as u32 };
            let mut raw = Raw::connect(scene.at, &[(4, window)]).unwrap();
            if nth % 2 == 1 {
                system::smallest_receive_buffer(std::os::fd::AsRawFd::as_raw_fd(raw.wire.stream()));
                raw.send(frame(WINDOW_UPDATE, 0, 0, &0x7000_0000_u32.to_be_bytes())).unwrap();
            }
            for stream in 0..STREAMS {
                raw.send(get(1 + 2 * stream, "/bytes?n=1000000")).unwrap();
            }
            raw
        })
        .collect();
    let sizes = || system::private_kib(scene.engine.process.pid());
    let mut largest = sizes();
    let attacked = p99(healthy(scene.at));
    largest = largest.max(sizes());
    let grown = largest.saturating_sub(before);
    println!(
        "{CONNECTIONS} connections of {STREAMS} streams that take nothing: {grown} KiB; healthy p99 {quiet:.1?} alone, \
         {attacked:.1?} beside them"
    );
    assert!(grown < 64 << 10, "{grown} KiB");
    // Streams without a window are reset one by one; a connection that takes nothing ends as a whole.
    for _ in 0..STREAMS {
        assert_eq!(crowd[0].find(|frame| frame.kind == RESET).unwrap().word(0), INTERNAL);
    }
    crowd[0].heard().unwrap();
    // That their streams have timed out is not enough: the socket has to be closed, and with what it holds. A look takes
    // the error away.
    let mut cut = [false; CONNECTIONS];
    eventually("each that reads nothing is cut as a whole", secs(30), || {
        for (raw, cut) in crowd.iter().zip(&mut cut).skip(1).step_by(2) {
            *cut |= raw.wire.stream().take_error().unwrap().is_some();
        }
        cut.iter().filter(|cut| **cut).count() == CONNECTIONS / 2
    });
    let late = f64::from(STREAMS + 1) * (CONNECTIONS / 2) as f64;
    eventually("all of them are over", secs(30), || {
        scene.engine.metric("forebay_timeouts_total", &[("kind", "body")]) >= late
    });
    drop(crowd);
    eventually("their memory is given back", secs(30), || sizes().saturating_sub(before) < 16 << 10);
}
