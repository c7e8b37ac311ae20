//! Sockets of the old process under the workers of the new one.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use forebay_e2e::lively::Over;
use forebay_e2e::wait::secs;
use forebay_e2e::{Client, Engine, Lab, Options, config, eventually};

use crate::{options, web};

/// Changes how many workers the next process has.
fn workers(engine: &Engine, before: u16, after: u16) {
    let text = std::fs::read_to_string(&engine.config).expect("its file");
    let changed = text.replace(&format!("workers = {before}\n"), &format!("workers = {after}\n"));
    assert_ne!(text, changed);
    std::fs::write(&engine.config, changed).expect("its file");
}

/// The listening sockets at an address, as the kernel numbers them.
fn listening(engine: &Engine, at: SocketAddr) -> BTreeSet<u64> {
    rows(engine, at).iter().filter_map(|cells| cells.get(9)?.parse().ok()).collect()
}

/// What the kernel's table says of the listening sockets at an address.
fn rows(engine: &Engine, at: SocketAddr) -> Vec<Vec<String>> {
    let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", engine.process.pid()))
        .expect("the kernel's list");
    let SocketAddr::V4(v4) = at else { panic!("a lab has IPv4 addresses") };
    let at = format!("{:08X}:{:04X}", u32::from_ne_bytes(v4.ip().octets()), v4.port());
    let cells = table.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    cells.filter(|cells| cells.len() > 9 && cells[1] == at && cells[3] == "0A").collect()
}

/// How many clients wait to be accepted at an address, as the kernel counts them.
fn waiting(engine: &Engine, at: SocketAddr) -> u64 {
    let rows = rows(engine, at);
    // A listening socket's receive queue is who waits.
    let waits = |cells: &Vec<String>| u64::from_str_radix(cells.get(4)?.split_once(':')?.1, 16).ok();
    rows.iter().filter_map(waits).sum()
}

//= test UPG-SOCKET-01
//= test UPG-SOCKET-02
#[test]
fn the_same_sockets_are_accepted_from_however_many_workers_there_are() {
    let lab = Lab::new();
    let a = lab.demo("a");
    let at = lab.address();
    let mut engine = lab.engine_with(&web(at, "", &[a.address]), Options { workers: 3, ..options() });
    let sockets = listening(&engine, at);
    assert_eq!(sockets.len(), 3);
    let mut before = 3;
    for after in [2, 5, 1, 3] {
        workers(&engine, before, after);
        let mut old = engine.upgrade(&options());
        assert_eq!(listening(&engine, at), sockets, "none is closed and none is new");
        // The kernel spreads clients over all sockets: with one that nobody accepts from, some would wait for ever.
        for _ in 0..60 {
            assert_eq!(Client::new(at).patience(secs(5)).get_once("/").expect("served").status, 200);
        }
        let page = engine.page();
        let rows = page.rows("forebay_worker_stuck", &[]).count();
        assert_eq!(rows, usize::from(after), "workers");
        assert_eq!(old.process.wait(secs(10)).code(), Some(0));
        before = after;
    }
}

//= test UPG-SOCKET-01
#[test]
fn whoever_waits_in_the_queue_of_a_worker_that_stands_still_is_served_by_the_new_process() {
    let lab = Lab::new();
    let a = lab.demo("a");
    let at = lab.address();
    let mut options = Options { arguments: vec!["--allow-faults".to_owned()], ..options() };
    options.engine += "\nstuck_worker_s = 60";
    let mut engine = lab.engine_with(&web(at, "", &[a.address]), options);
    const STALL: Duration = Duration::from_secs(40);
    let began = Instant::now();
    for worker in ["0", "1"] {
        engine.ask(&["fault", worker, "--stall-ms", &STALL.as_millis().to_string()]);
    }
    eventually("both workers stand still", secs(5), || {
        engine.process.printed().matches("a fault is planted in a worker").count() == 2
    });
    let mut clients: Vec<forebay_e2e::Wire> = (0..40)
        .map(|_| {
            let wire = TcpStream::connect(at)
                .and_then(forebay_e2e::Wire::from_stream)
                .expect("the kernel lets it in");
            let mut wire = wire;
            wire.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
            wire
        })
        .collect();
    eventually("all of them wait in the queues", secs(5), || waiting(&engine, at) == clients.len() as u64);
    let mut old = engine.upgrade(&crate::options());
    for wire in &mut clients {
        wire.patience(secs(5));
        let head = wire.head().expect("an answer, although its worker stands still");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    }
    assert!(began.elapsed() < STALL, "its workers still stand, so it is not they that have served");
    // It would wait for its workers.
    old.process.kill();
}

//= test UPG-SOCKET-01
//= test UPG-STOP-01
#[test]
fn whoever_waits_in_a_queue_is_served_by_a_new_process_that_is_told_to_stop_as_soon_as_it_serves() {
    let lab = Lab::new();
    let a = lab.demo("a");
    let at = lab.address();
    let mut options = Options { arguments: vec!["--allow-faults".to_owned()], ..options() };
    options.engine += "\nstuck_worker_s = 60";
    let mut old = lab.engine_with(&web(at, "", &[a.address]), options);
    for worker in ["0", "1"] {
        old.ask(&["fault", worker, "--stall-ms", "40000"]);
    }
    eventually("both workers stand still", secs(5), || {
        old.process.printed().matches("a fault is planted in a worker").count() == 2
    });
    let mut clients: Vec<forebay_e2e::Wire> = (0..40)
        .map(|_| {
            let mut wire = forebay_e2e::Wire::connect(at).expect("the kernel lets it in");
            wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
            wire
        })
        .collect();
    eventually("all of them wait in the queues", secs(5), || waiting(&old, at) == clients.len() as u64);
    let mut new = old.successor(&crate::options());
    eventually("it serves", secs(20), || old.process.printed().contains("UPGRADE_GIVEN"));
    new.process.signal(libc::SIGTERM);
    for wire in &mut clients {
        wire.patience(secs(10));
        let head = wire.head().expect("an answer, although it stops");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    }
    assert_eq!(new.process.wait(secs(10)).code(), Some(0));
    // It would wait for its workers.
    old.process.kill();
}

//= test UPG-SOCKET-03
#[test]
fn addresses_come_and_go_with_an_upgrade_and_nobody_in_a_queue_is_lost() {
    let lab = Lab::new();
    let a = lab.demo("a");
    let [stays, goes, comes] = lab.addresses();
    let both = |one, other| {
        config::service("web", stays)
            + &config::pool("web", "", &[a.address])
            + &format!("[[virtual_service]]\nname = \"{one}\"\nlisten = [\"{other}\"]\npool = \"web\"\n")
    };
    let mut engine = lab.engine(&both("goes", goes));
    let mut there = Client::new(goes);
    assert_eq!(there.get("/").expect("served").status, 200);
    engine.write(&both("comes", comes));
    let mut old = engine.upgrade(&options());
    // Its worker may not have heard of it yet.
    eventually("the kept connection has its answers, and learns which is its last", secs(5), || {
        let answer = there.get("/").expect("an answer");
        assert_eq!(answer.status, 200);
        answer.field("connection") == Some("close")
    });
    for at in [stays, comes] {
        assert_eq!(Client::new(at).get_once("/").expect("served").status, 200);
    }
    eventually("nobody listens there any more", secs(5), || TcpStream::connect(goes).is_err());
    assert_eq!(old.process.wait(secs(10)).code(), Some(0));
}

/// A server that sends back its name and what comes; it ends with the test.
fn udp_server(lab: &Lab, name: &'static str) -> SocketAddr {
    let socket = UdpSocket::bind((lab.ip(), 0)).expect("a port");
    let address = socket.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let mut bytes = [0; 2_048];
        while let Ok((len, from)) = socket.recv_from(&mut bytes) {
            let _ = socket.send_to(&[name.as_bytes(), &bytes[..len]].concat(), from);
        }
    });
    address
}

/// Clients of a service, each with an address of its own.
fn udp_clients(lab: &Lab, count: u32, at: SocketAddr) -> Vec<UdpSocket> {
    (1..=count)
        .map(|n| {
            let socket = UdpSocket::bind((lab.client_ip(n), 0)).expect("a port");
            socket.connect(at).expect("an address");
            socket.set_read_timeout(Some(secs(10))).expect("a time-out above zero");
            socket
        })
        .collect()
}

//= test UPG-SOCKET-01
//= test UPG-ORDER-02
#[test]
fn datagrams_that_are_sent_all_the_while_are_answered_through_upgrades() {
    let lab = Lab::new();
    let at = lab.address();
    let text = config::service_with("echo", at, "protocol = \"udp\"")
        + &config::pool("echo", "", &[udp_server(&lab, ""), udp_server(&lab, "")]);
    let mut options = Options { workers: 3, ..options() };
    // What a flow waits for is answered at once; the old process need not wait for its idle time.
    options.engine += "\nstop_grace_s = 1";
    let mut engine = Engine::spawn(&lab, &text, &options);
    eventually("it is ready", secs(15), || engine.get("/readyz") == Some(200));
    let clients = udp_clients(&lab, 12, at);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for client in &clients {
            scope.spawn(|| {
                let mut asked = 0_u32;
                while !is_over.load(Ordering::Relaxed) {
                    asked += 1;
                    client.send(&asked.to_le_bytes()).expect("sent");
                    let mut bytes = [0; 16];
                    let len = client.recv(&mut bytes).unwrap_or_else(|e| panic!("no answer to {asked}: {e}"));
                    assert_eq!(bytes[..len], asked.to_le_bytes());
                }
                assert!(asked > 20, "it went on: {asked}");
            });
        }
        // Also when an upgrade fails: otherwise the clients would go on for ever.
        let over = Over(&is_over);
        let mut before = 3;
        for after in [3, 2, 4] {
            if after != before {
                workers(&engine, before, after);
            }
            drop(engine.upgrade(&crate::options()));
            before = after;
        }
        drop(over);
    });
}

//= test UPG-SOCKET-01
//= test UPG-TABLE-01
#[test]
fn a_client_of_datagrams_that_its_table_knows_has_its_server_after_an_upgrade_as_well() {
    let lab = Lab::new();
    let at = lab.address();
    let servers = ["a", "b", "c"].map(|name| udp_server(&lab, name));
    let text = config::service_with("echo", at, "protocol = \"udp\"")
        + &config::pool("echo", "algorithm = \"round_robin\"\npersistence = \"p\"", &servers)
        + &config::persistence("p", "client_ip", "");
    let mut options = options();
    options.engine += "\nstop_grace_s = 1";
    let mut engine = Engine::spawn(&lab, &text, &options);
    eventually("it is ready", secs(15), || engine.get("/readyz") == Some(200));
    let clients = udp_clients(&lab, 24, at);
    let homes = || -> Vec<String> {
        let ask = |client: &UdpSocket| {
            client.send(b"?").expect("sent");
            let mut bytes = [0; 16];
            let len = client.recv(&mut bytes).expect("an answer");
            String::from_utf8_lossy(&bytes[..len]).into_owned()
        };
        clients.iter().map(ask).collect()
    };
    let before = homes();
    assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), 3, "{before:?}");
    let old = engine.upgrade(&crate::options());
    assert_eq!(homes(), before);
    let flows = engine.metric("forebay_client_connections_open", &[]);
    assert_eq!(flows, clients.len() as f64, "they are flows of the new process");
    drop(old);
}
