//! UDP services: flows, their ends, what becomes of refusals and floods.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use forebay_e2e::spec::log_fields;
use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Engine, Lab, Options, config, eventually};

/// A server that answers each datagram with its name and what came.
pub(crate) struct Echo {
    pub(crate) address: SocketAddr,
    ends: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Echo {
    pub(crate) fn start(lab: &Lab, name: &'static str) -> Self {
        Self::start_at((lab.ip(), 0).into(), name)
    }

    pub(crate) fn start_at(at: SocketAddr, name: &'static str) -> Self {
        let socket = UdpSocket::bind(at).unwrap();
        let address = socket.local_addr().unwrap();
        socket.set_read_timeout(Some(ms(50))).unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let told = ends.clone();
        let thread = std::thread::spawn(move || {
            let mut bytes = [0; 65_535];
            while !told.load(Ordering::Relaxed) {
                if let Ok((len, from)) = socket.recv_from(&mut bytes) {
                    let _ = socket.send_to(&[name.as_bytes(), &bytes[..len]].concat(), from);
                }
            }
        });
        Self { address, ends, thread: Some(thread) }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // From here on nobody listens there.
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// A UDP service before a pool of its name.
pub(crate) fn service(at: SocketAddr, profile: &str, pool: &str, servers: &[SocketAddr]) -> String {
    config::service_with("dns", at, "protocol = \"udp\"\nudp_profile = \"p\"")
        + &config::pool("dns", pool, servers)
        + &format!("[[udp_profile]]\nname = \"p\"\n{profile}\n")
}

/// A client with an address of its own, which takes answers from the service alone.
pub(crate) fn client(lab: &Lab, at: SocketAddr) -> UdpSocket {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let socket = UdpSocket::bind((lab.client_ip(NUMBER.fetch_add(1, Ordering::Relaxed)), 0)).unwrap();
    socket.connect(at).unwrap();
    socket.set_read_timeout(Some(secs(10))).unwrap();
    socket
}

#[track_caller]
pub(crate) fn ask(client: &UdpSocket, what: &str) -> String {
    client.send(what.as_bytes()).unwrap();
    answer(client).unwrap_or_else(|| panic!("no answer to {what:.20?}"))
}

/// The next answer; `None`: none comes in time.
fn answer(client: &UdpSocket) -> Option<String> {
    let mut bytes = [0; 65_535];
    let len = client.recv(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes[..len]).into_owned())
}

/// Asks again until an answer comes, as clients of UDP do.
pub(crate) fn ask_patiently(client: &UdpSocket, what: &str) -> String {
    client.set_read_timeout(Some(ms(200))).unwrap();
    let mut said = None;
    eventually("an answer", secs(20), || {
        // A socket that was refused says so with the next call.
        let _ = client.send(what.as_bytes());
        said = answer(client);
        said.is_some()
    });
    said.unwrap_or_default()
}

pub(crate) fn open(engine: &Engine) -> f64 {
    engine.metric("forebay_client_connections_open", &[])
}

pub(crate) fn ended(engine: &Engine, how: &str) -> f64 {
    engine.metric("forebay_connections_ended_total", &[("end", how)])
}

//= test L4-UDP-01
//= test L4-UDP-02
//= test L4-LOG-01
#[test]
fn a_flow_stays_with_its_server_and_ends_when_it_is_silent() {
    for env in [vec![], vec![("FOREBAY_NO_IO_URING".to_owned(), "1".to_owned())]] {
        let lab = Lab::new();
        let at = lab.address();
        let (a, b) = (Echo::start(&lab, "a"), Echo::start(&lab, "b"));
        let text =
            service(at, "idle_timeout_ms = 8000", "algorithm = \"round_robin\"", &[a.address, b.address]);
        let engine = lab.engine_with(&text, Options { env, ..Options::default() });
        let clients: Vec<UdpSocket> = (0..20).map(|_| client(&lab, at)).collect();
        let homes: Vec<String> = clients.iter().map(|client| ask(client, "?")).collect();
        assert_eq!(homes.iter().collect::<BTreeSet<_>>().len(), 2, "both serve: {homes:?}");
        let big = "x".repeat(60_000);
        for (client, home) in clients.iter().zip(&homes) {
            for _ in 0..3 {
                assert_eq!(&ask(client, "?"), home);
            }
            assert!(ask(client, &big) == home.replace('?', &big), "a large one passes whole");
        }
        assert!(open(&engine) > 0.0);
        eventually("silent flows end", secs(30), || open(&engine) == 0.0);
        let lines = engine.log_lines(20, |line| line["protocol"] == "udp");
        assert_eq!(lines.len(), 20, "one line for each flow");
        let of_flows = log_fields("A connection of a TCP service has one line");
        for line in &lines {
            assert_eq!(line["connection_state"], "idle: nothing moved for too long");
            assert_eq!((line["rx_bytes"].as_u64(), line["tx_bytes"].as_u64()), (Some(60_004), Some(60_009)));
            assert_eq!(line["significant"], false);
            let fields: BTreeSet<String> = line.as_object().unwrap().keys().cloned().collect();
            assert_eq!(fields, of_flows, "docs/spec/observability.md");
        }
        assert_eq!(engine.metric("forebay_server_requests_active", &[]), 0.0);
        assert_eq!(engine.metric("forebay_client_received_datagrams_total", &[]), 100.0);
        assert_eq!(engine.metric("forebay_client_sent_datagrams_total", &[]), 100.0);
    }
}

//= test L4-UDP-02
#[test]
fn a_service_of_one_answer_ends_its_flows_with_it() {
    let lab = Lab::new();
    let at = lab.address();
    let a = Echo::start(&lab, "a");
    let engine = lab.engine(&service(at, "idle_timeout_ms = 60000\nanswers_per_flow = 1", "", &[a.address]));
    let one = client(&lab, at);
    for n in 0..50 {
        assert_eq!(ask(&one, &n.to_string()), format!("a{n}"));
    }
    eventually("every flow has ended", secs(10), || open(&engine) == 0.0);
    assert_eq!(ended(&engine, "whole"), 50.0);
}

//= test L4-UDP-01
#[test]
fn persistence_by_client_address_holds_for_all_ports_of_a_client() {
    let lab = Lab::new();
    let at = lab.address();
    let echoes = [Echo::start(&lab, "a"), Echo::start(&lab, "b"), Echo::start(&lab, "c")];
    let servers: Vec<SocketAddr> = echoes.iter().map(|echo| echo.address).collect();
    let pool = "algorithm = \"round_robin\"\npersistence = \"by_ip\"";
    let text = service(at, "answers_per_flow = 1", pool, &servers)
        + "[[persistence]]\nname = \"by_ip\"\ntype = \"client_ip\"\n";
    let _engine = lab.engine(&text);
    let mut homes = BTreeSet::new();
    for n in 1..=9 {
        let from = |_| {
            let socket = UdpSocket::bind((lab.client_ip(0x4000 + n), 0)).unwrap();
            socket.connect(at).unwrap();
            socket.set_read_timeout(Some(secs(10))).unwrap();
            ask(&socket, "")
        };
        let said: BTreeSet<String> = (0..8).map(from).collect();
        assert_eq!(said.len(), 1, "client {n} is on one server");
        homes.extend(said);
    }
    assert_eq!(homes.len(), 3, "all servers have clients");
}

//= test L4-UDP-04
#[test]
fn a_server_that_nobody_listens_at_is_passed_over_charged_and_taken_out() {
    let lab = Lab::new();
    let [at, dead] = lab.addresses();
    let a = Echo::start(&lab, "a");
    let pool = "algorithm = \"consistent_hash\"\nhash_by = \"source_ip\"";
    let engine = lab.engine(&service(at, "", pool, &[dead, a.address]));
    let of_dead = [("server", &*dead.to_string())];
    let failures = || engine.metric("forebay_server_connect_failures_total", &of_dead);
    // Clients until one belongs there: it is refused once and not again, although the server counts as one that serves.
    eventually("a client belongs to the dead server", secs(20), || {
        assert_eq!(ask_patiently(&client(&lab, at), "?"), "a?");
        failures() > 0.0
    });
    assert_eq!(failures(), 1.0);
    assert_eq!(engine.metric("forebay_server_up", &of_dead), 1.0);
    assert_eq!(ended(&engine, "server_failed"), 1.0);
    eventually("the dead server is out", secs(20), || {
        let _ = client(&lab, at).send(b"?");
        engine.metric("forebay_server_up", &of_dead) == 0.0
    });
    assert_eq!(ask(&client(&lab, at), "?"), "a?");
}

//= test L4-UDP-04
#[test]
fn flows_of_a_server_that_goes_away_move_on_with_their_next_datagram() {
    let lab = Lab::new();
    let at = lab.address();
    let (a, b) = (Echo::start(&lab, "a"), Echo::start(&lab, "b"));
    let text = service(at, "idle_timeout_ms = 60000", "algorithm = \"round_robin\"", &[a.address, b.address]);
    let _engine = lab.engine(&text);
    let clients: Vec<UdpSocket> = (0..8).map(|_| client(&lab, at)).collect();
    let homes: Vec<String> = clients.iter().map(|client| ask(client, "?")).collect();
    for server in ["a?", "b?"] {
        assert!(homes.iter().any(|home| home == server), "there is a flow at each server: {homes:?}");
    }
    drop(a);
    for (client, home) in clients.iter().zip(&homes) {
        match home.as_str() {
            "b?" => assert_eq!(ask(client, "?"), "b?", "it goes on"),
            _ => assert_eq!(ask_patiently(client, "?"), "b?"),
        }
    }
}

//= test L4-UDP-03
#[test]
fn a_flood_of_forged_senders_displaces_itself_and_nobody_who_talks() {
    let lab = Lab::new();
    let [at, web] = lab.addresses();
    let a = Echo::start(&lab, "a");
    let demo = lab.demo("web");
    // Few files make few places: half of them are for flows.
    let options =
        Options { workers: 1, under: vec!["prlimit".into(), "--nofile=600".into()], ..Options::default() };
    let text = service(at, "idle_timeout_ms = 60000", "", &[a.address])
        + &config::service("web", web)
        + &config::pool("web", "", &[demo.address]);
    let engine = lab.engine_with(&text, options);
    let places = engine.metric("forebay_client_connections_max", &[]);
    let talking: Vec<UdpSocket> = (0..20).map(|_| client(&lab, at)).collect();
    for one in &talking {
        for _ in 0..2 {
            assert_eq!(ask(one, "?"), "a?");
        }
    }
    // Every datagram of another sender; nobody reads the answers.
    let resident = || engine.metric("process_resident_memory_bytes", &[]);
    let before = resident();
    let mut sent = 0_u32;
    let began = Instant::now();
    while sent < 20_000 && began.elapsed() < secs(20) {
        for _ in 0..100 {
            let one = UdpSocket::bind((lab.client_ip(0x8000 + sent % 0x4000), 0)).unwrap();
            let _ = one.send_to(b"flood", at);
            sent += 1;
        }
        if sent.is_multiple_of(1_000) {
            // In the middle of it others are served, known and new ones.
            assert_eq!(ask_patiently(&talking[sent as usize / 1_000 % 20], "?"), "a?");
            assert_eq!(ask_patiently(&client(&lab, at), "!"), "a!");
        }
    }
    // A turn's worth of datagrams may have displaced flows whose tasks have not run yet.
    assert!(open(&engine) <= places + 64.0, "flows have half of {places} places, and take half a one each");
    let evicted = ended(&engine, "evicted");
    assert!(evicted > places, "{evicted} evicted of {sent}");
    for one in &talking {
        assert_eq!(ask_patiently(one, "?"), "a?");
    }
    let of_talking = |line: &serde_json::Value| {
        talking.iter().any(|one| line["client_src_port"] == one.local_addr().unwrap().port())
            && line["client_ip"]
                .as_str()
                .is_some_and(|ip| talking.iter().any(|one| one.local_addr().unwrap().ip().to_string() == ip))
    };
    assert!(!engine.log().iter().any(of_talking), "none of them has ended");
    let answer = forebay_e2e::Client::new(web).get_once("/").unwrap();
    assert_eq!(answer.status, 200, "the other half of the places is for others");
    let grown = resident() - before;
    assert!(grown < 24e6, "{grown} bytes more after {sent} senders");
}

//= test L4-UDP-03
#[test]
fn when_all_flows_talk_a_new_one_is_dropped_and_counted() {
    let lab = Lab::new();
    let at = lab.address();
    let a = Echo::start(&lab, "a");
    let options =
        Options { workers: 1, under: vec!["prlimit".into(), "--nofile=300".into()], ..Options::default() };
    let engine = lab.engine_with(&service(at, "idle_timeout_ms = 60000", "", &[a.address]), options);
    // Half of the places, half a one for each.
    let most = engine.metric("forebay_client_connections_max", &[]) as usize;
    let talking: Vec<UdpSocket> = (0..most).map(|_| client(&lab, at)).collect();
    for one in &talking {
        for _ in 0..2 {
            assert_eq!(ask(one, "?"), "a?");
        }
    }
    let late = client(&lab, at);
    late.send(b"?").unwrap();
    eventually("it is counted", secs(10), || {
        engine.metric("forebay_datagrams_dropped_total", &[("why", "flows")]) == 1.0
    });
    assert_eq!(open(&engine), most as f64);
    assert_eq!(ask(&talking[0], "?"), "a?");
}
