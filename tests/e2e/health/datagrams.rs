//! Monitors by UDP on real sockets.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Engine, Lab, config};

use crate::monitor;

/// A UDP service that says `answer` to every datagram; `None`: nothing.
struct Service {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Vec<u8>>>>,
}

impl Service {
    fn start(address: SocketAddr, answer: impl Fn() -> Option<&'static str> + Send + 'static) -> Self {
        let socket = UdpSocket::bind(address).expect("a free port");
        socket.set_read_timeout(Some(ms(20))).expect("a time-out above zero");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = Vec::new();
            let mut buffer = [0; 2048];
            while !stopped.load(Ordering::SeqCst) {
                let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
                seen.push(buffer[..len].to_vec());
                if let Some(answer) = answer() {
                    socket.send_to(answer.as_bytes(), from).expect("an answer is sent");
                }
            }
            seen
        });
        Self { address, stop, thread: Some(thread) }
    }

    /// Ends it, and returns what it was sent.
    fn end(&mut self) -> Vec<Vec<u8>> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().map(|thread| thread.join().expect("no panic")).unwrap_or_default()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.end();
    }
}

fn engine(lab: &Lab, server: SocketAddr, keys: &str) -> Engine {
    let text = config::service("web", lab.address())
        + &config::pool("web", "health_monitors = [\"m\"]\npassive_health_monitor = false", &[server])
        + &monitor("udp", keys);
    lab.engine(&text)
}

//= test HM-UDP-01
#[test]
fn a_port_that_nobody_listens_on_is_down_at_once_and_silence_is_not() {
    let lab = Lab::new();
    let mut silent = Service::start(lab.address(), || None);
    let engine = engine(&lab, silent.address, "send = \"hello\"");
    engine.wait_for_server(silent.address, true);
    let seen = silent.end();
    assert!(seen.len() >= 2 && seen.iter().all(|datagram| datagram == b"hello"), "{seen:?}");
    let began = Instant::now();
    engine.wait_for_server(silent.address, false);
    assert!(began.elapsed() < secs(8), "{:?}", began.elapsed());
    let why = engine.why(silent.address);
    assert!(why.contains("nobody listens on the port (ICMP)"), "{why}");
}

//= test HM-UDP-02
//= test HM-UDP-03
#[test]
fn the_text_of_an_answer_decides() {
    let lab = Lab::new();
    let good = Arc::new(AtomicBool::new(true));
    let says = Arc::clone(&good);
    let service =
        Service::start(lab.address(), move || Some(if says.load(Ordering::SeqCst) { "pong" } else { "bad" }));
    let keys = "send = \"ping\"\nexpect = \"pong\"\nmaintenance_match = \"soon\"";
    let engine = engine(&lab, service.address, keys);
    engine.wait_for_server(service.address, true);
    good.store(false, Ordering::SeqCst);
    engine.wait_for_state(service.address, "down");
    let why = engine.why(service.address);
    assert!(why.contains("the expected text is not in the first 2 KB: \"bad\""), "{why}");
    good.store(true, Ordering::SeqCst);
    engine.wait_for_server(service.address, true);
    let resting = Service::start(lab.address(), || Some("back soon"));
    let engine = self::engine(&lab, resting.address, keys);
    engine.wait_for_state(resting.address, "maintenance");
}
