//! Clients of the API that are slow at everything, and take all places that they get.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use forebay_e2e::controller::Curl;
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Controller, Lab, bin, system};

/// Opens connections of each slow kind from an address, as many as it is let have, says how many, and when all of them were
/// closed by the other side: those without a handshake, those that are silent behind it, with
/// half a preface of HTTP/2, with half a head, with a head and a drop of content each second.
const SLOW: &str = r#"
import socket, ssl, sys, time
host, port, own, each, wanted = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5:]
context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
def connect(tls):
    s = socket.create_connection((host, port), timeout=5, source_address=(own, 0))
    return context.wrap_socket(s) if tls else s
kinds = {
    'handshake': (False, b'\x16\x03\x01'),
    'silent': (True, b''),
    'preface': (True, b'PRI * HTTP/2.0'),
    'head': (True, b'GET /api/cluster/status HTTP/1.1\r\nHost: x\r\nA: '),
    'content': (True, b'POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{'),
}
began, open_ones, refused = time.monotonic(), [], 0
for kind in wanted:
    tls, first = kinds[kind]
    for _ in range(each):
        try:
            s = connect(tls); s.settimeout(0.02)
            try: s.sendall(first)
            except TimeoutError: pass
            open_ones.append((kind, s))
        except OSError: refused += 1
print('open', len(open_ones), refused, flush=True)
last = {}
while open_ones:
    left = []
    for kind, s in open_ones:
        try:
            if kind == 'content': s.sendall(b'x')
            s.settimeout(0.001)
            if not s.recv(4096): raise ConnectionError
            left.append((kind, s))
        except (TimeoutError, ssl.SSLWantReadError, ssl.SSLWantWriteError): left.append((kind, s))
        except OSError: last[kind] = time.monotonic() - began
    open_ones = left
    time.sleep(0.5)
print('closed', ' '.join(f'{kind}={seconds:.0f}' for kind, seconds in last.items()), flush=True)
"#;

/// The time that most of some requests take.
fn median(at: SocketAddr) -> Duration {
    let mut times: Vec<Duration> = (0..9)
        .map(|_| {
            let began = Instant::now();
            let (status, _) = Curl::at(at).get("/api/cluster/status");
            assert_eq!(status, 200);
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// The script at work.
struct Slow {
    process: Child,
    lines: Box<dyn Iterator<Item = String>>,
    /// Connections that it has, and those that it was refused.
    open: usize,
    refused: usize,
}

impl Slow {
    fn start(lab: &Lab, at: SocketAddr, own: &str, each: usize, kinds: &[&str]) -> Self {
        let script = lab.folder().join("slow.py");
        std::fs::write(&script, SLOW).expect("the lab's folder");
        let mut command = Command::new(bin::foreign("python3", "python3"));
        let (ip, port) = (at.ip().to_string(), at.port().to_string());
        command.arg(&script).args([&ip, &port, own, &each.to_string()]).args(kinds);
        let mut process = command.stdout(Stdio::piped()).spawn().expect("python3 starts");
        let output = process.stdout.take().expect("a pipe");
        let mut lines = Box::new(BufReader::new(output).lines().map_while(Result::ok));
        let said = lines.next().expect("it says what it has");
        let counts: Vec<usize> = said.split(' ').skip(1).map(|n| n.parse().expect("a number")).collect();
        assert_eq!(counts.iter().sum::<usize>(), each * kinds.len(), "{said}");
        Slow { process, lines, open: counts[0], refused: counts[1] }
    }

    /// Waits until all are closed; seconds until the last of each kind was.
    fn ends(mut self, of: &[(&str, u64, u64)]) {
        let ended = self.lines.next().expect("it says when they were closed");
        println!("{ended} s");
        for (kind, least, most) in of {
            let seconds = ended.split(' ').find_map(|part| part.strip_prefix(&format!("{kind}=")));
            let seconds: u64 = seconds.unwrap_or_else(|| panic!("{kind}: {ended}")).parse().expect("seconds");
            assert!((*least..=*most).contains(&seconds), "{kind}: {ended}");
        }
        assert!(self.process.wait().expect("it ends").success());
    }
}

//= test API-SLOW-01
#[test]
fn who_is_slow_at_all_that_he_gets_keeps_nobody_out_and_is_shown_the_door() {
    let lab = Lab::new();
    let controller = Controller::start(&lab);
    let at = controller.address;
    let (quiet, before) = (median(at), system::private_kib(controller.process.pid()));
    let kinds = ["handshake", "silent", "preface", "head", "content"];
    let slow = Slow::start(&lab, at, "127.0.0.9", 80, &kinds);
    // The first ones may have been shown out before the last came.
    assert!(slow.refused >= 20, "an address has 250 places at most, of 400: {} refused", slow.refused);
    let others = median(at);
    let cost = system::private_kib(controller.process.pid()).saturating_sub(before);
    println!("{} slow clients; others wait {others:?}, before {quiet:?}; {cost} KiB", slow.open);
    assert!(others < (quiet * 3).max(secs(2)), "{others:?}, and {quiet:?} before");
    // Each holds a head at most, and what TLS takes.
    assert!(cost < 250 * 200, "{cost} KiB for {} slow clients", slow.open);
    // Ten seconds from the last one's beginning, thirty for content; where something else is done as well, some more.
    let soon = [("handshake", 8, 60), ("silent", 8, 60), ("preface", 8, 60), ("head", 8, 60)];
    slow.ends(&soon);
    eventually("the address is let in again", secs(10), || {
        let own = Curl::at(at).with(&["--interface", "127.0.0.9"]);
        own.get("/api/cluster/status").0 == 200
    });
}

//= test API-SLOW-01
#[test]
fn content_that_comes_drop_by_drop_is_waited_for_half_a_minute_and_takes_a_bounded_room() {
    let lab = Lab::new();
    let controller = Controller::start(&lab);
    let at = controller.address;
    let slow = Slow::start(&lab, at, "127.0.0.9", 100, &["content"]);
    assert_eq!(slow.refused, 0, "an address has 250 places");
    // 64 requests of one client are under way at most.
    let own = Curl::at(at).with(&["--interface", "127.0.0.9"]);
    eventually("one more is told to come again", secs(20), || own.get("/api/cluster/status").0 == 503);
    assert_eq!(Curl::at(at).get("/api/cluster/status").0, 200, "another client is served");
    // Those that were told so at once have their connections for a minute yet.
    slow.ends(&[("content", 25, 110)]);
}

//= test CHAN-SLOW-01
#[test]
fn strangers_at_the_engines_door_have_a_part_of_the_places_and_little_time() {
    let lab = Lab::new();
    let controller = Controller::start(&lab);
    let slow = Slow::start(&lab, controller.engines, "127.0.0.9", 150, &["handshake", "silent"]);
    assert!(slow.refused >= 10, "an address has 200 places at most, of 300: {} refused", slow.refused);
    let other = Slow::start(&lab, controller.engines, "127.0.0.10", 5, &["silent"]);
    assert_eq!(other.refused, 0, "another one is let in");
    slow.ends(&[("handshake", 4, 60), ("silent", 8, 60)]);
    other.ends(&[("silent", 8, 60)]);
}
