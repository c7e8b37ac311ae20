//! Large answers: what of them goes through the worker's pipe, and that nothing else changes by it.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::OnceLock;

use forebay_e2e::wait::secs;
use forebay_e2e::{Origin, Wire, eventually};

use crate::Proxied;

const BYTES: usize = 104 << 20;
const CHUNK: usize = 1 << 20;

/// Bytes that differ from place to place.
fn body() -> &'static [u8] {
    static BODY: OnceLock<Vec<u8>> = OnceLock::new();
    let byte = |at: usize| (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0];
    BODY.get_or_init(|| (0..BYTES).map(byte).collect())
}

/// A server that says the same in different frames, whole and not.
fn server(at: SocketAddr) -> Origin {
    Origin::start(at, |mut wire, _| {
        loop {
            let head = wire.head()?;
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let length = |n: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {n}\r\n\r\n");
            match path.as_str() {
                "/chunked" => {
                    wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                    for chunk in body().chunks(CHUNK) {
                        wire.send(format!("{:x}\r\n", chunk.len()))?;
                        wire.send(chunk)?;
                        wire.send("\r\n")?;
                    }
                    wire.send("0\r\n\r\n")?;
                }
                "/close" | "/reset" => {
                    wire.send("HTTP/1.1 200 OK\r\n\r\n")?;
                    wire.send(body())?;
                    if path == "/reset" {
                        wire.reset();
                    }
                    return Ok(());
                }
                "/short" => {
                    wire.send(length(BYTES + 1))?;
                    return wire.send(body());
                }
                "/long" => {
                    wire.send(length(BYTES - 9))?;
                    wire.send(body())?;
                }
                _ => {
                    wire.send(length(BYTES))?;
                    wire.send(body())?;
                }
            }
        }
    })
}

fn proxied() -> Proxied {
    Proxied::new::<1>("", "", |_, at| server(at))
}

fn moved(proxied: &Proxied) -> f64 {
    proxied.engine.metric("forebay_moved_bytes_total", &[])
}

fn ask(proxied: &Proxied, path: &str, version: &str) -> Wire {
    let mut wire = Wire::connect(proxied.at).unwrap();
    wire.send(format!("GET {path} HTTP/{version}\r\nHost: x\r\n\r\n")).unwrap();
    assert!(wire.head().unwrap().starts_with("HTTP/1.1 200 "));
    wire
}

//= test SE-MOVE-04
#[test]
fn a_hundred_megabytes_arrive_whole_in_any_frame_and_mostly_uncopied() {
    let proxied = proxied();
    let mut client = proxied.client();
    let mut before = 0.0;
    for path in ["/length", "/length", "/chunked", "/close", "/length"] {
        let answer = client.get(path).unwrap();
        assert!(answer.body == body(), "{path}: {} bytes of {BYTES}", answer.body.len());
        let now = moved(&proxied);
        assert_eq!(
            now > before + CHUNK as f64,
            path == "/length",
            "{path}: {before}, then {now} bytes moved"
        );
        before = now;
    }
    let mut old = ask(&proxied, "/close", "1.0");
    assert!(old.rest().unwrap() == body());
    assert!(moved(&proxied) > before + CHUNK as f64, "content until the close needs no frame");
    for counted in ["forebay_client_sent_bytes_total", "forebay_server_received_bytes_total"] {
        // An answer is counted when it has ended, which its client may see first.
        let times = || proxied.engine.metric(counted, &[]) / BYTES as f64;
        eventually("all six answers are counted", secs(10), || times() >= 6.0);
        assert!(times() < 6.01, "{counted} is {} answers", times());
    }
}

//= test SE-MOVE-04
#[test]
fn an_answer_that_is_cut_or_too_long_is_so_although_it_was_moved() {
    let proxied = proxied();
    let mut short = ask(&proxied, "/short", "1.1");
    match short.rest() {
        Ok(came) => assert!(came == body(), "all that there was, and then the close"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    let mut client = proxied.client();
    let answer = client.get("/long").unwrap();
    assert!(answer.body == body()[..BYTES - 9], "{} bytes", answer.body.len());
    assert!(client.get("/length").unwrap().body == body(), "what was too much is part of nothing");
    let mut reset = ask(&proxied, "/reset", "1.0");
    let error = reset.rest().expect_err("a reset must not pass for the end of the content");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(moved(&proxied) > CHUNK as f64);
    let aborts = proxied.engine.metric("forebay_server_aborts_total", &[]);
    assert_eq!(aborts, 2.0, "those that ended too soon");
}

//= test SE-MOVE-03
#[test]
fn a_client_that_leaves_in_the_middle_costs_nobody_else_a_byte() {
    let proxied = proxied();
    for _ in 0..4 {
        let mut leaves = ask(&proxied, "/length", "1.1");
        leaves.exactly(4 * CHUNK).unwrap();
        leaves.reset();
        assert!(proxied.client().get("/length").unwrap().body == body());
    }
    let aborts = || proxied.engine.metric("forebay_client_aborts_total", &[]);
    eventually("each of them is counted", secs(10), || aborts() == 4.0);
}
