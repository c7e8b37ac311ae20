//! What systemd is told.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Engine, Lab, Options, Wire, config, eventually, system};

/// The span of the watchdog; a third of it is between two signs of life.
const SPAN_US: u64 = 600_000;

/// The service manager's end.
struct Manager(UnixDatagram);

impl Manager {
    /// The next message that comes within `wait`.
    fn hears(&self, wait: Duration) -> Option<String> {
        self.0.set_read_timeout(Some(wait.max(ms(1)))).expect("a time-out above zero");
        let mut buffer = [0; 512];
        let len = self.0.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..len]).into_owned())
    }

    /// Waits for a message that begins so.
    fn waits_for(&self, start: &str) -> String {
        let until = Instant::now() + secs(10);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let heard = self.hears(left).unwrap_or_else(|| panic!("no {start}"));
            if heard.starts_with(start) {
                return heard;
            }
        }
    }

    /// How long it is silent, at most `limit`.
    fn silence(&self, limit: Duration) -> Duration {
        let began = Instant::now();
        self.hears(limit);
        began.elapsed()
    }
}

fn start(name: &str, options: Options) -> (Lab, Manager, Engine) {
    let lab = Lab::new();
    lab.give_to_nobody();
    let path = lab.folder().join("manager.sock");
    let (socket, name) = if name.starts_with('@') {
        let name = format!("{name}{}", lab.ip());
        let address = SocketAddr::from_abstract_name(&name[1..]).expect("a name");
        (UnixDatagram::bind_addr(&address).expect("a name of our own"), name)
    } else {
        (UnixDatagram::bind(&path).expect("the lab's folder"), path.to_str().expect("a text").to_owned())
    };
    let manager = Manager(socket);
    let mut env = vec![("NOTIFY_SOCKET".to_owned(), name), ("WATCHDOG_USEC".to_owned(), SPAN_US.to_string())];
    env.extend(options.env);
    let text = config::service("web", lab.address()) + &config::pool("web", "", &[lab.address()]);
    let engine = Engine::spawn(&lab, &text, &Options { env, ..options });
    (lab, manager, engine)
}

//= test OBS-NOTIFY-01
#[test]
fn systemd_hears_when_the_engine_is_ready_reloads_and_stops() {
    // As root with another user to become: the manager's socket need not be open to that one.
    let options = Options { engine: "user = \"65534\"\ngroup = \"65534\"".to_owned(), ..Options::default() };
    let (_lab, manager, mut engine) = start("path", options);
    manager.waits_for("READY=1");
    assert_eq!(engine.get("/readyz"), Some(200), "ready is what it says");
    let before = system::monotonic_us();
    engine.process.signal(libc::SIGHUP);
    let reloading = manager.waits_for("RELOADING=1");
    let at = reloading.split_once("MONOTONIC_USEC=").and_then(|(_, us)| us.parse::<u64>().ok());
    assert!(at.is_some_and(|us| (before..=system::monotonic_us()).contains(&us)), "{before}: {reloading}");
    manager.waits_for("READY=1");
    engine.process.signal(libc::SIGTERM);
    manager.waits_for("STOPPING=1");
    assert_eq!(engine.process.wait(secs(10)).code(), Some(0));
}

//= test UPG-NOTIFY-01
#[test]
fn systemd_hears_which_process_serves_after_an_upgrade_and_is_never_told_of_a_stop() {
    let options = || Options::default();
    let (_lab, manager, mut engine) = start("path", options());
    manager.waits_for("READY=1");
    let path = manager.0.local_addr().expect("it is bound");
    let path = path.as_pathname().and_then(|path| path.to_str()).expect("a path").to_owned();
    let env = |pid: u32| {
        let name = ("NOTIFY_SOCKET".to_owned(), path.clone());
        vec![
            name,
            ("WATCHDOG_USEC".to_owned(), SPAN_US.to_string()),
            ("WATCHDOG_PID".to_owned(), pid.to_string()),
        ]
    };
    let mut old = engine.upgrade(&Options { env: env(engine.process.pid()), ..options() });
    let pid = format!("MAINPID={}", engine.process.pid());
    // Of both: which one is heard depends on whom the unit lets speak.
    let (mut told, mut stops) = (0, false);
    let until = Instant::now() + secs(10);
    while told < 2 && Instant::now() < until {
        let heard = manager.hears(secs(1)).unwrap_or_default();
        told += usize::from(heard == pid);
        stops |= heard.contains("STOPPING");
    }
    assert_eq!(told, 2);
    assert_eq!(old.process.wait(secs(10)).code(), Some(0));
    // The one that serves feeds the watchdog, although its environment was made for another one.
    manager.waits_for("WATCHDOG=1");
    while let Some(heard) = manager.hears(ms(1)) {
        stops |= heard.contains("STOPPING");
    }
    assert!(!stops, "the unit does not stop");
    assert_eq!(engine.process.end(secs(10)).code(), Some(0));
    manager.waits_for("STOPPING=1");
}

//= test OBS-NOTIFY-02
#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let pid = ("WATCHDOG_PID".to_owned(), std::process::id().to_string());
    let (_lab, manager, mut engine) = start("path", Options { env: vec![pid], ..Options::default() });
    manager.waits_for("READY=1");
    // Sleep: five times as long as from one sign of life to the next.
    std::thread::sleep(Duration::from_micros(SPAN_US / 3 * 5));
    engine.process.signal(libc::SIGTERM);
    let mut heard = String::new();
    while heard != "STOPPING=1" {
        heard = manager.hears(secs(10)).expect("that it stops");
        assert!(!heard.contains("WATCHDOG"), "{heard}");
    }
    assert_eq!(engine.process.wait(secs(10)).code(), Some(0));
}

//= test OBS-NOTIFY-02
#[test]
fn the_watchdog_is_fed_while_a_stop_waits_for_a_request_of_one_worker() {
    let (lab, manager, mut engine) = start("path", Options::default());
    manager.waits_for("READY=1");
    let [at, demo] = lab.addresses();
    let _server = lab.demo_at("a", demo);
    engine.load(&(config::service("web", at) + &config::pool("web", "", &[demo])));
    let mut client = Wire::connect(at).expect("it listens");
    client.send(b"GET /slow?ms=60000 HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    eventually("the request is at the server", secs(10), || {
        engine.metric("forebay_server_connections_open", &[]) == 1.0
    });
    engine.process.signal(libc::SIGTERM);
    manager.waits_for("STOPPING=1");
    // The other worker has nothing to do any more and ends.
    for _ in 0..8 {
        manager.waits_for("WATCHDOG=1");
    }
    engine.process.signal(libc::SIGTERM);
    assert_eq!(engine.process.wait(secs(10)).code(), Some(6), "the request was cut");
}

//= test OBS-NOTIFY-02
#[test]
fn the_watchdog_is_fed_only_while_every_worker_moves() {
    let options = Options { arguments: vec!["--allow-faults".to_owned()], ..Options::default() };
    let (_lab, manager, engine) = start("@forebay-e2e-", options);
    manager.waits_for("READY=1");
    for _ in 0..5 {
        manager.waits_for("WATCHDOG=1");
    }
    // One of two workers stands still for two seconds, which are three spans.
    engine.ask(&["fault", "0", "--stall-ms", "2500"]);
    let until = Instant::now() + ms(2500);
    let mut longest = Duration::ZERO;
    while Instant::now() < until {
        longest = longest.max(manager.silence(secs(5)));
    }
    assert!(longest > Duration::from_micros(2 * SPAN_US), "fed after {longest:?}");
    // It goes on, and so does the feeding.
    for _ in 0..3 {
        manager.waits_for("WATCHDOG=1");
    }
}
