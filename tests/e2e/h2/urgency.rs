//! Priorities (RFC 9218) through the engine: who gets the room of a connection whose client is slow.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Engine, Lab, Options, Origin, config};

use crate::raw::{DATA, END, HEADERS, RESET, Raw, SETTINGS, WHOLE, WINDOW_UPDATE, block, frame};

/// What the client takes before it is known who got how much of it.
const BYTES: usize = 1 << 20;

/// Tries at most.
const TRIES: usize = 4;

/// What the client opens of the connection's window at once.
const STEP: usize = 16 << 10;

fn get(stream: u32, priority: &str) -> Vec<u8> {
    let fields = block("GET", "/bytes?n=100000000", &[("priority", priority)]);
    frame(HEADERS, END | WHOLE, stream, &fields)
}

/// How many bytes each of two streams got, by their priorities, of a connection's window that is opened bit by bit.
fn shares(raw: &mut Raw, first: u32, priorities: [&str; 2]) -> [usize; 2] {
    raw.send([get(first, priorities[0]), get(first + 2, priorities[1])].concat()).unwrap();
    let (mut got, mut all, mut closed, mut heads) = ([0, 0], 0, 0, 0);
    while all < BYTES {
        let frame = raw.next().unwrap();
        assert_ne!(frame.kind, RESET, "{frame:?}");
        if frame.kind == SETTINGS && frame.flags == 0 {
            raw.send(crate::raw::frame(SETTINGS, END, 0, &[])).unwrap();
        }
        let Some(got) = got.get_mut((frame.stream.wrapping_sub(first) / 2) as usize) else { continue };
        heads += usize::from(frame.kind == HEADERS);
        let count = if frame.kind == DATA { frame.payload.len() } else { 0 };
        (all, closed) = (all + count, closed + count);
        // The first window is for whoever has its answer first: it counts only for when both are there.
        if all > 128 << 10 {
            *got += count;
        }
        // Nothing is opened until both are there to want it.
        if heads == 2 && closed >= STEP {
            raw.send(crate::raw::frame(WINDOW_UPDATE, 0, 0, &(closed as u32).to_be_bytes())).unwrap();
            closed = 0;
        }
    }
    got
}

fn engine(lab: &Lab, at: SocketAddr, server: SocketAddr) -> Engine {
    let text = format!(
        "[[http_profile]]\nname = \"two\"\nhttp2 = true\n{}{}",
        config::service_with("web", at, "http_profile = \"two\""),
        config::pool("web", "", &[server]),
    );
    lab.engine_with(&text, Options { workers: 1, ..Options::default() })
}

//= test H2-PRIO-05
#[test]
fn the_more_urgent_stream_gets_the_room_of_a_slow_connection() {
    let lab = Lab::new();
    let demo = lab.demo("a");
    let [at] = lab.addresses();
    let _engine = engine(&lab, at, demo.address);
    for priorities in [["u=7", "u=0"], ["u=0", "u=7"], ["u=7, i", "u=0, i"], ["u=2", "u=3, i"]] {
        // A server that has not been given a core for a while cannot be waited for: some tries.
        let is_urgent = |got: &[usize; 2]| {
            let [more, less] = if priorities[0] < priorities[1] { *got } else { [got[1], got[0]] };
            less * 20 < more + less
        };
        let mut tries = Vec::new();
        while tries.len() < TRIES && !tries.last().is_some_and(is_urgent) {
            // The streams' own windows are large: what they share is the connection's.
            let mut raw = Raw::connect(at, &[(4, 1 << 30)]).unwrap();
            tries.push(shares(&mut raw, 1, priorities));
        }
        println!("{priorities:?}: {tries:?}");
        assert!(tries.last().is_some_and(is_urgent), "{priorities:?} got {tries:?}: more than a twentieth");
    }
    for priorities in [["u=3, i", "u=3, i"], ["u=0, i", "u=0, i"]] {
        let mut raw = Raw::connect(at, &[(4, 1 << 30)]).unwrap();
        let got = shares(&mut raw, 1, priorities);
        println!("{priorities:?}: {got:?}");
        assert!(got.iter().all(|part| part * 4 > got[0] + got[1]), "{priorities:?} got {got:?}: they share");
    }
}

//= test H2-PRIO-05
#[test]
fn an_urgent_stream_whose_server_is_silent_or_slow_starves_nobody() {
    let lab = Lab::new();
    let [at, server] = lab.addresses();
    let _server = Origin::start(server, |mut wire, _| {
        let head = wire.head()?;
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")?;
        wire.send([b'x'; 20_000])?;
        if head.starts_with("GET /silent ") {
            return wire.rest().map(|_| ());
        }
        let (piece, pause) =
            if head.starts_with("GET /slow ") { (100, ms(5)) } else { (10_000, Duration::ZERO) };
        loop {
            wire.send(vec![b'x'; piece])?;
            // Sleep: being slow is what this server does.
            std::thread::sleep(pause);
        }
    });
    let _engine = engine(&lab, at, server);
    for urgent in ["/silent", "/slow"] {
        let mut raw = Raw::connect(at, &[(4, 1 << 30)]).unwrap();
        raw.wire.deadline(Instant::now() + secs(60));
        let ask = |stream, path, priority| {
            frame(HEADERS, END | WHOLE, stream, &block("GET", path, &[("priority", priority)]))
        };
        raw.send(ask(1, urgent, "u=0")).unwrap();
        raw.find(|frame| frame.is(DATA, 1)).unwrap();
        raw.send(ask(3, "/", "u=7")).unwrap();
        let (mut got, mut closed) = ([0, 0], 0);
        while got[1] < BYTES {
            let frame = raw.next().unwrap();
            assert_ne!(frame.kind, RESET, "{frame:?}");
            if frame.kind == DATA {
                got[(frame.stream / 2) as usize] += frame.payload.len();
                closed += frame.payload.len();
            }
            if closed >= STEP {
                let open = (closed as u32).to_be_bytes();
                raw.send(crate::raw::frame(WINDOW_UPDATE, 0, 0, &open)).unwrap();
                closed = 0;
            }
        }
        println!("{urgent}: {got:?}");
    }
}
