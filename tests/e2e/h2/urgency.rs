//! Priorities (RFC 9218) through the engine: who gets the room of a connection whose client is slow.

use forebay_e2e::{Lab, Options, config};

use crate::raw::{DATA, END, HEADERS, RESET, Raw, SETTINGS, WHOLE, WINDOW_UPDATE, block, frame};

/// What the client takes before it is known who got how much of it.
const BYTES: usize = 1 << 20;

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

//= test H2-PRIO-05
#[test]
fn the_more_urgent_stream_gets_the_room_of_a_slow_connection() {
    let lab = Lab::new();
    let demo = lab.demo("a");
    let [at] = lab.addresses();
    let text = format!(
        "[[http_profile]]\nname = \"two\"\nhttp2 = true\n{}{}",
        config::service_with("web", at, "http_profile = \"two\""),
        config::pool("web", "", &[demo.address]),
    );
    let _engine = lab.engine_with(&text, Options { workers: 1, ..Options::default() });
    for priorities in [["u=7", "u=0"], ["u=0", "u=7"]] {
        // The streams' own windows are large: what they share is the connection's.
        let mut raw = Raw::connect(at, &[(4, 1 << 30)]).unwrap();
        let got = shares(&mut raw, 1, priorities);
        println!("{priorities:?}: {got:?}");
        let [more, less] = if priorities[0] == "u=0" { got } else { [got[1], got[0]] };
        // Not all of it: what is still with the server of the urgent stream holds nobody back.
        assert!(more > less, "{priorities:?} got {got:?}");
    }
}
