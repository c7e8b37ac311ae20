//! Bodies that the other side does not read, up and down: what such a connection costs in memory.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};

use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Lab, config, eventually, system};

use crate::{KIB_PER_CONNECTION_MAX, scene_with, warm};

/// Bytes that each connection must have passed on before it counts as stalled: more than a large buffer, so that
/// whoever holds what it reads has read enough to hold much.
const PASSED_ON_MIN: usize = 100_000;

const UPLOAD: &str = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n";
const WEBSOCKET: &str = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// A server that reads a head and then nothing more; to an upgrade it says 101.
struct Stalling {
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Stalling {
    fn start(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        system::segments_of_ethernet(listener.as_raw_fd());
        // The kernel has two GB for all of TCP here, and resets some when they are used up: what waits should be in the
        // engine's sockets, not in ours.
        system::smallest_receive_buffer(listener.as_raw_fd());
        let streams = Arc::new(Mutex::new(Vec::new()));
        let accepted = Arc::clone(&streams);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if !matches!(stream.read(&mut byte), Ok(1)) {
                        break;
                    }
                    head.push(byte[0]);
                }
                if head.starts_with(b"GET ") {
                    let _ = stream.write_all(
                        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
                    );
                }
                stream.set_nonblocking(true).unwrap();
                accepted.lock().expect("no holder panics").push(stream);
            }
        });
        Stalling { streams }
    }

    /// Says to everybody as much as is taken, if `both_ways`.
    fn fill(&self, both_ways: bool) -> usize {
        let streams = self.streams.lock().expect("no holder panics");
        if both_ways { streams.iter().map(fill).sum() } else { 0 }
    }
}

/// Writes until no more is taken.
fn fill(mut stream: &TcpStream) -> usize {
    let block = [b'x'; 16 * 1024];
    let mut total = 0;
    while let Ok(count) = stream.write(&block) {
        total += count;
    }
    total
}

#[track_caller]
fn costs_little_memory_stalled(request: &str, both_ways: bool) {
    system::raise_file_limit();
    let lab = Lab::new();
    let [at, server] = lab.addresses();
    let server_side = Stalling::start(server);
    let sections = config::service("stalled", at) + &config::pool("stalled", "", &[server]);
    let (_alone, scene) = scene_with(lab, &sections);
    let count = 800;
    let stall = |count: usize| {
        let clients: Vec<TcpStream> = (0..count)
            .map(|_| {
                let mut client = system::connect_by_ethernet(at).unwrap();
                client.write_all(request.as_bytes()).unwrap();
                client.set_nonblocking(true).unwrap();
                client
            })
            .collect();
        let sent = |total: &mut (usize, usize)| {
            let moved = (clients.iter().map(fill).sum::<usize>(), server_side.fill(both_ways));
            *total = (total.0 + moved.0, total.1 + moved.1);
            moved.0 + moved.1
        };
        let mut total = (0, 0);
        eventually("nothing moves any more", secs(60), || {
            let quiet = sent(&mut total) == 0 && {
                std::thread::sleep(ms(200)); // Sleep: what was taken on the way has arrived by then.
                sent(&mut total) == 0
            };
            quiet && total.0 > PASSED_ON_MIN * count && (!both_ways || total.1 > PASSED_ON_MIN * count)
        });
        clients
    };
    // Everything that is made at first use is made now, at the width of this attack's start.
    drop(stall(50));
    warm(&scene);
    let open = || scene.engine.metric("forebay_client_connections_open", &[("virtual_service", "stalled")]);
    server_side.streams.lock().expect("no holder panics").clear();
    eventually("the first ones are gone", secs(60), || open() == 0.0);
    let before = system::private_kib(scene.engine.process.pid());
    let clients = stall(count);
    eventually("all of them are being served", secs(60), || open() == count as f64);
    warm(&scene);
    let after = system::private_kib(scene.engine.process.pid());
    let each = after.saturating_sub(before) as f64 / count as f64;
    println!("{each:.1} KiB for each of {count} stalled connections ({before} -> {after} KiB)");
    assert!(each <= KIB_PER_CONNECTION_MAX, "{each:.1} KiB each");
    drop(clients);
}

//= test SE-BODY-01
#[test]
fn a_stalled_upload_costs_little_memory() {
    costs_little_memory_stalled(UPLOAD, false);
}

//= test SE-TUNNEL-02
#[test]
fn a_websocket_stalled_both_ways_costs_little_memory() {
    costs_little_memory_stalled(WEBSOCKET, true);
}
