//! Priorities (RFC 9218) through the engine: who gets the room of a connection whose client is slow.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Engine, Lab, Options, Origin, Wire, config, system};

use crate::raw::{DATA, END, HEADERS, RESET, Raw, SETTINGS, WHOLE, WINDOW_UPDATE, block, frame};

/// What the client takes before it is known who got how much of it.
const BYTES: usize = 1 << 20;

/// What one of two streams of one urgency may have before the other has its first byte.
const BEGIN_MAX: usize = 16 << 20;

/// Tries at most.
const TRIES: usize = 4;

/// What the client opens of the connection's window at once.
const STEP: usize = 16 << 10;

/// How long a slow client does nothing when it has taken as much.
const PAUSE: Duration = ms(200);

/// How often.
const TURNS: usize = 75;

/// The first of them that counts for who gets how much.
const FIRST: usize = 20;

/// How many turns a stream that others outrank may be silent for: a second is five, and room comes a turn later. What a
/// slow socket has taken, and what waits for it, goes before: twelve turns more, and the kernel says late that there is room.
const SILENT_MAX: [usize; 2] = [20, 40];

fn get(stream: u32, priority: &str) -> Vec<u8> {
    let fields = block("GET", "/bytes?n=100000000", &[("priority", priority)]);
    frame(HEADERS, END | WHOLE, stream, &fields)
}

/// How many bytes each of two streams got, by their priorities, of a connection's window that is opened bit by bit.
///
/// Streams of one urgency count from when both have had something: a server that is not given a core sends nothing meanwhile, and
/// the room goes to who has what to send. That must come to pass within [`BEGIN_MAX`].
fn shares(raw: &mut Raw, first: u32, priorities: [&str; 2]) -> [usize; 2] {
    raw.send([get(first, priorities[0]), get(first + 2, priorities[1])].concat()).unwrap();
    let are_equal = priorities[0] == priorities[1];
    let (mut got, mut all, mut early, mut closed, mut heads) = ([0, 0], 0, 0, 0, 0);
    let mut begun = [!are_equal; 2];
    while all < BYTES {
        let frame = raw.next().unwrap();
        assert_ne!(frame.kind, RESET, "{frame:?}");
        if frame.kind == SETTINGS && frame.flags == 0 {
            raw.send(crate::raw::frame(SETTINGS, END, 0, &[])).unwrap();
        }
        let stream = (frame.stream.wrapping_sub(first) / 2) as usize;
        let Some(got) = got.get_mut(stream) else { continue };
        heads += usize::from(frame.kind == HEADERS);
        let count = if frame.kind == DATA { frame.payload.len() } else { 0 };
        closed += count;
        if begun == [true; 2] {
            all += count;
        } else {
            begun[stream] |= count > 0;
            early += count;
            assert!(
                early < BEGIN_MAX,
                "{priorities:?}: one stream has had {early} bytes and the other nothing"
            );
        }
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
    engine_with(lab, at, server, "")
}

fn engine_with(lab: &Lab, at: SocketAddr, server: SocketAddr, profile: &str) -> Engine {
    let text = format!(
        "[[http_profile]]\nname = \"two\"\nhttp2 = true\n{profile}\n{}{}",
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

/// How a slow client takes what comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slow {
    /// It opens so much of the connection's window with so much time between.
    Window,
    /// It reads so much with so much time between, from a socket that takes little.
    Socket,
}

/// A slow client with two streams that are endless: how much each got, and the longest time of silence of the second one,
/// in turns of the client, of which there were `turns`.
fn silence(at: SocketAddr, slow: Slow, priorities: [&str; 2], turns: usize) -> ([usize; 2], usize) {
    let stream = match slow {
        Slow::Window => std::net::TcpStream::connect(at),
        Slow::Socket => system::connect_by_ethernet(at),
    };
    let mut raw = Raw::begin(Wire::from_stream(stream.unwrap()).unwrap(), &[(4, 1 << 30)]).unwrap();
    if slow == Slow::Socket {
        raw.send(frame(WINDOW_UPDATE, 0, 0, &0x7000_0000_u32.to_be_bytes())).unwrap();
    }
    raw.send([get(1, priorities[0]), get(3, priorities[1])].concat()).unwrap();
    let (mut got, mut turn, mut last, mut longest, mut taken) = ([0, 0], 0, 0, 0, 0);
    while turn < turns {
        let came = raw.next().unwrap();
        assert_ne!(came.kind, RESET, "{slow:?} {priorities:?}: {came:?} in turn {turn}");
        if came.kind == SETTINGS && came.flags == 0 {
            raw.send(frame(SETTINGS, END, 0, &[])).unwrap();
        }
        if came.kind != DATA {
            continue;
        }
        // What comes before the client was seen to be slow says nothing.
        got[(came.stream / 2) as usize] += if turn < FIRST { 0 } else { came.payload.len() };
        taken += came.payload.len();
        if came.stream == 3 {
            longest = longest.max(turn - last);
            last = turn;
        }
        if taken >= STEP {
            // Sleep: being slow is what this client does.
            std::thread::sleep(PAUSE);
            if slow == Slow::Window {
                raw.send(frame(WINDOW_UPDATE, 0, 0, &(taken as u32).to_be_bytes())).unwrap();
            }
            (taken, turn) = (0, turn + 1);
        }
    }
    (got, longest.max(turns - last))
}

//= test H2-PRIO-05
#[test]
fn what_is_less_urgent_gets_a_piece_each_second_of_a_slow_client() {
    let lab = Lab::new();
    let demo = lab.demo("a");
    let [at] = lab.addresses();
    let _engine = engine(&lab, at, demo.address);
    std::thread::scope(|scope| {
        for slow in [Slow::Window, Slow::Socket] {
            for priorities in [["u=0", "u=7"], ["u=3", "u=3"]] {
                scope.spawn(move || {
                    let (got, longest) = silence(at, slow, priorities, TURNS);
                    println!("{slow:?} {priorities:?}: {got:?}, silent for {longest} turns of {TURNS}");
                    assert!(
                        longest <= SILENT_MAX[slow as usize],
                        "{slow:?} {priorities:?}: {got:?}, silent for {longest} turns"
                    );
                    assert!(
                        got[1] * 20 < got[0] + got[1],
                        "{slow:?} {priorities:?}: {got:?}, a piece is small"
                    );
                });
            }
        }
    });
}

//= test H2-PRIO-06
#[test]
fn a_stream_that_we_hold_is_not_given_up_for_its_client() {
    let lab = Lab::new();
    let demo = lab.demo("a");
    let [at] = lab.addresses();
    let engine = engine_with(&lab, at, demo.address, "body_timeout_ms = 400");
    let mut raw = Raw::connect(at, &[(4, 1 << 30)]).unwrap();
    raw.wire.deadline(Instant::now() + secs(60));
    raw.send([get(1, "u=0"), get(3, "u=7")].concat()).unwrap();
    let (began, mut closed) = (Instant::now(), 0);
    while began.elapsed() < ms(2500) {
        let frame = raw.next().unwrap();
        assert_ne!(frame.kind, RESET, "{frame:?} after {:?}", began.elapsed());
        closed += if frame.kind == DATA { frame.payload.len() } else { 0 };
        if closed >= STEP {
            // Sleep: otherwise all of both would be there too soon.
            std::thread::sleep(ms(2));
            raw.send(crate::raw::frame(WINDOW_UPDATE, 0, 0, &(closed as u32).to_be_bytes())).unwrap();
            closed = 0;
        }
    }
    // Who takes nothing any more is given up in time.
    let mut resets = 0;
    while resets < 2 {
        resets += usize::from(raw.next().unwrap().kind == RESET);
    }
    assert_eq!(engine.metric("forebay_timeouts_total", &[("kind", "body")]), 2.0);
}
