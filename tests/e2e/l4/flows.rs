//! Flows of datagrams while things change: reloads, stops, workers that fail, a port that is taken.

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};

use forebay_e2e::wait::secs;
use forebay_e2e::{Engine, Lab, Network, Options, engine, eventually};
use serde_json::json;

use crate::udp::{Echo, ask, ask_patiently, client, ended, open, service};

const PATIENT: &str = "idle_timeout_ms = 60000";

/// The same under another name and address.
fn named(text: &str, name: &str) -> String {
    text.replace("\"dns\"", &format!("\"{name}\"")).replace("\"p\"", &format!("\"{name}\""))
}

//= test L4-UDP-05
#[test]
fn addresses_of_datagrams_come_and_go_and_flows_of_others_go_on() {
    let lab = Lab::new();
    let [stays, goes, comes] = lab.addresses();
    let (a, b) = (Echo::start(&lab, "a"), Echo::start(&lab, "b"));
    let two = [a.address, b.address];
    let other = |at| named(&service(at, PATIENT, "", &[b.address]), "other");
    let of = |algorithm: &str| service(stays, PATIENT, &format!("algorithm = \"{algorithm}\""), &two);
    let engine = lab.engine(&(of("round_robin") + &other(goes)));
    let clients: Vec<UdpSocket> = (0..12).map(|_| client(&lab, stays)).collect();
    let homes: Vec<String> = clients.iter().map(|client| ask(client, "?")).collect();
    let leaving: Vec<UdpSocket> = (0..6).map(|_| client(&lab, goes)).collect();
    for one in &leaving {
        assert_eq!(ask(one, "?"), "b?");
    }
    engine.load(&(of("least_connections") + &other(comes)));
    assert_eq!(ask_patiently(&client(&lab, comes), "?"), "b?");
    eventually("flows of the address that is gone end", secs(10), || ended(&engine, "gone") == 6.0);
    eventually("nobody listens there", secs(10), || {
        let _ = leaving[0].send(b"?");
        leaving[0].recv(&mut [0; 8]).is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    });
    for (client, home) in clients.iter().zip(&homes) {
        assert_eq!(&ask(client, "?"), home, "its flow goes on");
    }
    // Back again: no socket of before takes clients away that nobody would hear.
    engine.load(&(of("least_connections") + &other(goes)));
    for _ in 0..20 {
        assert_eq!(ask(&client(&lab, goes), "?"), "b?");
    }
    let gone = engine.log_lines(6, |line| {
        line["connection_state"] == "cut: its address is listened on no more"
            && line["client_dest_port"] == goes.port()
    });
    assert_eq!(gone.len(), 6);
    let own = |line: &serde_json::Value| line["client_dest_port"] == stays.port();
    assert!(!engine.log().iter().any(own), "no flow of the other address has ended");
}

//= test RELOAD-REMOVE-01
#[test]
fn flows_of_a_server_that_was_taken_out_are_cut_when_its_grace_is_over() {
    let lab = Lab::new();
    let at = lab.address();
    let (a, b) = (Echo::start(&lab, "a"), Echo::start(&lab, "b"));
    let pool = "algorithm = \"round_robin\"\ngraceful_disable_timeout_min = 0";
    let engine = lab.engine(&service(at, PATIENT, pool, &[a.address, b.address]));
    let clients: Vec<UdpSocket> = (0..8).map(|_| client(&lab, at)).collect();
    let homes: Vec<String> = clients.iter().map(|client| ask(client, "?")).collect();
    let at_a = homes.iter().filter(|home| *home == "a?").count();
    assert!(at_a > 0, "{homes:?}");
    engine.load(&service(at, PATIENT, pool, &[b.address]));
    eventually("flows to it are cut", secs(10), || ended(&engine, "cut") == at_a as f64);
    for client in &clients {
        assert_eq!(ask(client, "?"), "b?", "the next datagram begins a new flow, or the flow goes on");
    }
    assert_eq!(ended(&engine, "cut"), at_a as f64, "flows to the other server go on");
}

//= test L4-UDP-06
#[test]
fn a_stop_lets_flows_go_on_for_the_grace_takes_no_new_ones_and_then_cuts() {
    let lab = Lab::new();
    let at = lab.address();
    let a = Echo::start(&lab, "a");
    let options = Options { engine: "stop_grace_s = 12".into(), ..Options::default() };
    let mut engine = lab.engine_with(&service(at, PATIENT, "", &[a.address]), options);
    let clients: Vec<UdpSocket> = (0..8).map(|_| client(&lab, at)).collect();
    for client in &clients {
        assert_eq!(ask(client, "?"), "a?");
    }
    engine.process.signal(libc::SIGTERM);
    let dropped = || engine.metric("forebay_datagrams_dropped_total", &[("why", "stopping")]);
    eventually("nobody new is taken", secs(6), || {
        let _ = client(&lab, at).send(b"?");
        dropped() > 0.0
    });
    for client in &clients {
        assert_eq!(ask(client, "!"), "a!", "it goes on while the grace lasts");
    }
    let status = engine.process.wait(secs(30));
    assert_eq!(status.code(), Some(6), "the grace was over and flows were cut");
    let cut = engine.log_lines(8, |line| line["connection_state"] == "cut: the engine stopped");
    // Who came after the signal and before the engine had heard of it has a flow as well, of one datagram.
    let went_on = cut.iter().filter(|line| line["rx_bytes"] == 2).count();
    assert_eq!(went_on, clients.len(), "{cut:?}");
}

//= test L4-UDP-06
#[test]
fn a_stop_ends_at_once_when_no_flow_is_left() {
    let lab = Lab::new();
    let at = lab.address();
    let a = Echo::start(&lab, "a");
    let mut engine = lab.engine(&service(at, "answers_per_flow = 1", "", &[a.address]));
    assert_eq!(ask(&client(&lab, at), "?"), "a?");
    eventually("the flow has ended", secs(10), || open(&engine) == 0.0);
    assert_eq!(engine.process.end(secs(10)).code(), Some(0));
    // The kernel takes a ring apart after its process has ended, and lets go of the ring's sockets then.
    eventually("the port is free again", secs(5), || UdpSocket::bind(at).is_ok());
}

/// Clients until one has a flow at the given worker, which is in the middle of something else now.
fn clients_of_all_workers(lab: &Lab, engine: &Engine, at: std::net::SocketAddr) -> Vec<UdpSocket> {
    let clients: Vec<UdpSocket> = (0..24).map(|_| client(lab, at)).collect();
    for client in &clients {
        assert_eq!(ask(client, "?"), "a?");
    }
    for worker in ["0", "1"] {
        let of_worker = engine.metric("forebay_client_connections_total", &[("worker", worker)]);
        assert!(of_worker > 0.0, "the kernel gives worker {worker} nothing");
    }
    clients
}

//= test OBS-WORKER-01
#[test]
fn after_a_workers_panic_its_clients_are_served_anew_and_the_others_flows_go_on() {
    let lab = Lab::new();
    let at = lab.address();
    let a = Echo::start(&lab, "a");
    let options = Options { arguments: vec!["--allow-faults".into()], ..Options::default() };
    let engine = lab.engine_with(&service(at, PATIENT, "", &[a.address]), options);
    let clients = clients_of_all_workers(&lab, &engine, at);
    engine.admin(&json!({ "command": "fault", "worker": 0 }));
    eventually("the worker has panicked", secs(10), || {
        engine.metric("forebay_worker_panics_total", &[("worker", "0")]) == 1.0
    });
    for client in &clients {
        assert_eq!(ask_patiently(client, "?"), "a?");
    }
    let failed = ended(&engine, "worker_failed");
    assert!(failed > 0.0 && failed < 24.0, "{failed} flows were the worker's");
    assert_eq!(open(&engine), 24.0);
    let status = engine.ask(&["status"]);
    assert!(status.contains(" 0 of ") && status.contains(" client connections, 24 flows, "), "{status}");
}

//= test OBS-WORKER-02
#[test]
fn clients_of_a_worker_that_stands_still_are_served_by_another() {
    let lab = Lab::new();
    let at = lab.address();
    let a = Echo::start(&lab, "a");
    let options = Options { arguments: vec!["--allow-faults".into()], ..Options::default() };
    let engine = lab.engine_with(&service(at, PATIENT, "", &[a.address]), options);
    let clients = clients_of_all_workers(&lab, &engine, at);
    engine.admin(&json!({ "command": "fault", "worker": 0, "stall_ms": 12000 }));
    eventually("it is seen to stand still", secs(10), || {
        engine.metric("forebay_worker_stuck", &[("worker", "0")]) == 1.0
    });
    for client in &clients {
        assert_eq!(ask_patiently(client, "?"), "a?");
    }
    let stuck = engine.metric("forebay_worker_stuck", &[("worker", "0")]);
    eventually("it goes on", secs(20), || engine.metric("forebay_worker_stuck", &[("worker", "0")]) == 0.0);
    assert_eq!(stuck, 1.0, "they were served while it stood still");
    for client in &clients {
        assert_eq!(ask_patiently(client, "?"), "a?");
    }
}

/// What the kernel says of the datagrams that it threw away at the sockets of an address (IPv4) and of no peer.
fn thrown_away(of: &Engine, at: SocketAddr) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{}/net/udp", of.process.pid())).unwrap();
    let rows = text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let of_it = rows.filter(|row| row[1] == engine::hexadecimal(at) && row[2] == "00000000:0000");
    of_it.map(|row| row.last().unwrap().parse::<f64>().unwrap()).sum()
}

#[test]
fn datagrams_that_found_no_room_while_the_worker_stood_still_are_counted_as_the_kernel_did() {
    let lab = Lab::new();
    let at = lab.address();
    let a = Echo::start(&lab, "a");
    let options = Options { workers: 1, arguments: vec!["--allow-faults".into()], ..Options::default() };
    let engine = lab.engine_with(&service(at, PATIENT, "", &[a.address]), options);
    let sender = client(&lab, at);
    assert_eq!(ask(&sender, "?"), "a?");
    engine.admin(&json!({ "command": "fault", "worker": 0, "stall_ms": 6000 }));
    let datagram = [b'x'; 30_000];
    eventually("the queue is full", secs(10), || {
        for _ in 0..20 {
            client(&lab, at).send(&datagram).unwrap();
        }
        thrown_away(&engine, at) >= 10.0
    });
    let unread = || engine.metric("forebay_datagrams_dropped_total", &[("why", "unread")]);
    eventually("the engine has counted them", secs(20), || unread() == thrown_away(&engine, at));
    assert_eq!(ask_patiently(&client(&lab, at), "!"), "a!");
}

//= test OBS-BIND-01
#[test]
fn a_port_that_somebody_else_has_for_datagrams_is_refused() {
    let lab = Lab::new();
    let [at, taken] = lab.addresses();
    let a = Echo::start(&lab, "a");
    let _other = UdpSocket::bind(taken).unwrap();
    // Another engine would share the port.
    let _engine = lab.engine(&service(at, "", "", &[a.address]));
    for address in [at, taken] {
        refused(Engine::spawn(&lab, &service(address, "", "", &[a.address]), &Options::default()), address);
    }
    assert_eq!(ask(&client(&lab, at), "?"), "a?");
}

//= test L4-UDP-01
#[test]
fn flows_of_ipv6_clients_go_to_servers_of_either_family_and_are_logged_by_their_addresses() {
    let Some(network) = Network::own() else { return };
    let ip = |n: u16| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n);
    network.add((1..=9).map(|n| ip(n).into()));
    let lab = Lab::new();
    let at: SocketAddr = (ip(1), 5353).into();
    let (a, b) = (Echo::start_at((ip(2), 0).into(), "a"), Echo::start(&lab, "b"));
    let engine = lab.engine(&service(at, PATIENT, "algorithm = \"round_robin\"", &[a.address, b.address]));
    let clients: Vec<UdpSocket> = (3..=9)
        .map(|n| {
            let socket = UdpSocket::bind((ip(n), 0)).expect("a port");
            // Answers from anywhere else would not be taken.
            socket.connect(at).expect("an address");
            socket.set_read_timeout(Some(secs(10))).expect("a time-out above zero");
            socket
        })
        .collect();
    let homes: Vec<String> = clients.iter().map(|client| ask(client, "?")).collect();
    assert_eq!(homes.iter().collect::<BTreeSet<_>>().len(), 2, "both serve: {homes:?}");
    for (client, home) in clients.iter().zip(&homes) {
        assert_eq!(&ask(client, "?"), home);
    }
    assert_eq!(open(&engine), clients.len() as f64, "one flow each");
    drop(a);
    // The server's refusal comes by ICMPv6 and ends the flow.
    for client in &clients {
        assert_eq!(ask_patiently(client, "?"), "b?");
    }
    let refused = homes.iter().filter(|home| *home == "a?").count();
    let lines = engine.log_lines(refused, |line| line["server_ip"] == ip(2).to_string().as_str());
    let named: BTreeSet<&str> = lines.iter().filter_map(|line| line["client_ip"].as_str()).collect();
    let want: BTreeSet<String> = (3..=9).map(|n| ip(n).to_string()).collect();
    assert!(named.len() == refused && named.iter().all(|one| want.contains(*one)), "{named:?}");
}

//= test OBS-BIND-02
#[test]
fn engines_that_share_a_port_for_datagrams_get_clients_both_and_one_that_is_gone_leaves_them_to_the_other() {
    let lab = Lab::new();
    let at = lab.address();
    let (a, b) = (Echo::start(&lab, "a"), Echo::start(&lab, "b"));
    let shared = |server| {
        service(at, PATIENT, "", &[server]).replace("protocol = ", "shared_listener = true\nprotocol = ")
    };
    let _first = lab.engine(&shared(a.address));
    let mut second = lab.engine(&shared(b.address));
    let mut seen = BTreeSet::new();
    eventually("both engines answer", secs(15), || {
        seen.insert(ask(&client(&lab, at), "?"));
        seen.len() == 2
    });
    refused(Engine::spawn(&lab, &service(at, PATIENT, "", &[a.address]), &Options::default()), at);
    second.process.kill();
    // The kernel closes a killed process's sockets a moment later; until then they take their share.
    for _ in 0..20 {
        assert_eq!(ask_patiently(&client(&lab, at), "?"), "a?");
    }
}

/// An engine that cannot have a port for datagrams says who has it.
#[track_caller]
fn refused(mut engine: Engine, at: SocketAddr) {
    assert_eq!(engine.process.wait(secs(10)).code(), Some(1));
    let said = engine.process.printed();
    let reason = format!("cannot listen on {at} for datagrams: another process listens there");
    assert!(said.contains(&reason) && said.contains("ss -lunp"), "{said}");
}
