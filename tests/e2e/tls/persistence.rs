//! A client that comes again with its session comes to its server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use forebay_e2e::pki;
use forebay_e2e::wait::secs;
use forebay_e2e::{Demo, Engine, Lab, Options, config};

use crate::resumption::key;
use crate::visitors::{Visit, Visitors};
use crate::{app, python};

/// Both versions by tickets, and TLS 1.2 by session ID.
const HOWS: [&str; 3] = ["1.2", "1.3", "1.2-id"];

/// In another order than that in which they came first: a round robin that begins anew leads each elsewhere.
const AGAIN: [usize; 3] = [1, 0, 2];

const POOL: &str = "algorithm = \"round_robin\"\nround_robin_per_engine = true\npersistence = \"session\"";

struct Scene {
    servers: [Demo; 3],
    at: SocketAddr,
    lab: Lab,
}

impl Scene {
    fn new() -> Self {
        let lab = Lab::new();
        app(&lab);
        let servers = lab.demos(["a", "b", "c"]);
        Scene { servers, at: lab.address(), lab }
    }

    /// A service with these keys at an address, and further sections.
    fn text_at(&self, at: SocketAddr, keys: &str, pool: &str, profile: &str, sections: &str) -> String {
        config::service_with("web", at, &format!("certificates = [\"app\"]\n{keys}"))
            + &config::pool("web", &format!("{POOL}\n{pool}"), &self.servers.each_ref().map(|s| s.address))
            + &config::persistence("session", "tls", profile)
            + &pki::section("app")
            + sections
    }

    fn text(&self, keys: &str, sections: &str) -> String {
        self.text_at(self.at, keys, "", "", sections)
    }

    fn engine(&self, text: &str) -> Engine {
        self.lab.engine_with(text, Options::default())
    }
}

fn resumed(server: &str) -> Visit {
    Visit { is_resumed: true, server: server.to_owned() }
}

/// Comes for the first time; gives the server.
#[track_caller]
fn first(visitors: &mut Visitors, client: &str, how: &str, at: SocketAddr) -> String {
    let visit = visitors.go(client, how, at);
    assert!(!visit.is_resumed, "{client} over {how}");
    visit.server
}

//= test PERS-TLS-02
//= test PERS-TLS-03
//= test TLS-ID-01
#[test]
fn a_client_stays_with_its_server_over_renewed_sessions_of_each_version() {
    for (service, keys) in [("http", ""), ("tcp", "protocol = \"tcp\"")] {
        let scene = Scene::new();
        let engine = scene.engine(&scene.text(keys, ""));
        let mut visitors = Visitors::start(&scene.lab);
        for how in HOWS {
            let homes: Vec<(String, String)> = (0..6)
                .map(|n| format!("{service}{n}{how}"))
                .map(|name| (first(&mut visitors, &name, how, scene.at), name))
                .map(|(home, name)| (name, home))
                .collect();
            let met: BTreeSet<&String> = homes.iter().map(|(_, home)| home).collect();
            assert_eq!(met.len(), 3, "new clients are shared out: {homes:?}");
            for (name, home) in &homes {
                for round in 0..3 {
                    assert_eq!(visitors.go(name, how, scene.at), resumed(home), "{name}, {round}");
                }
                let both = visitors.at_once(name, how, &[scene.at, scene.at]);
                assert_eq!(both, [resumed(home), resumed(home)], "{name}: two at once");
                assert_eq!(visitors.go(name, how, scene.at), resumed(home), "{name}: after two at once");
            }
        }
        let lines = engine.log_lines(7 * 6 * HOWS.len(), |_| true);
        let kept = lines.iter().filter(|line| line["persistence_used"] == true);
        assert_eq!(kept.count(), 6 * 6 * HOWS.len(), "all but the first visits");
        let entry = engine.ask(&["persistence", "--output", "json"]);
        assert!(entry.contains("\"tls\""), "{entry}");
        let by_id = engine.metric("forebay_tls_sessions_by_id", &[("virtual_service", "web")]);
        assert!(by_id >= 6.0, "{by_id}");
    }
}

//= test PERS-TLS-06
//= test PERS-TLS-04
#[test]
fn a_client_stays_with_its_server_after_new_keys_a_reload_and_an_upgrade() {
    let scene = Scene::new();
    let (old, new) = (key("old", "A"), key("new", "B"));
    let mut engine = scene.engine(&scene.text("", &old));
    let mut visitors = Visitors::start(&scene.lab);
    let homes = HOWS.map(|how| first(&mut visitors, how, how, scene.at));
    assert!(homes[0] != homes[1], "a new process would lead each to the other's server: {homes:?}");
    let mut all_stay = |when: &str, with_ids: bool| {
        for (how, home) in AGAIN.map(|n| (HOWS[n], &homes[n])) {
            let visit = visitors.go(how, how, scene.at);
            if !with_ids && how.ends_with("-id") {
                assert!(!visit.is_resumed, "{when}: another process knows no session by ID");
            } else {
                assert_eq!(visit, resumed(home), "{how}, {when}");
            }
        }
    };
    all_stay("with the first key", true);
    engine.load(&scene.text("", &format!("{new}{old}")));
    all_stay("with a new key before the old one", true);
    engine.load(&scene.text("", &new));
    // What the clients have by now is sealed by the new key; a session by ID stands as the old one sealed it.
    all_stay("without the old key", false);
    pki::certificate(scene.lab.folder(), "app", "ca", pki::EC, "DNS:app.test", 2);
    engine.reload();
    let mut old = engine.upgrade(&Options::default());
    all_stay("in another process", false);
    assert_eq!(old.process.wait(secs(20)).code(), Some(0));
}

//= test TLS-TICKET-05
//= test TLS-ID-02
#[test]
fn keys_that_an_engine_made_go_over_to_the_next_process() {
    let scene = Scene::new();
    let mut engine = scene.engine(&scene.text("", ""));
    let mut visitors = Visitors::start(&scene.lab);
    let homes = HOWS.map(|how| first(&mut visitors, how, how, scene.at));
    assert!(homes[0] != homes[1], "a new process would lead each to the other's server: {homes:?}");
    for round in 0..2 {
        let mut old = engine.upgrade(&Options::default());
        for (how, home) in AGAIN.map(|n| (HOWS[n], &homes[n])) {
            let visit = visitors.go(how, how, scene.at);
            if how.ends_with("-id") {
                assert!(!visit.is_resumed, "another process knows no session by ID");
            } else {
                assert_eq!(visit, resumed(home), "{how} after {round} other upgrades");
            }
        }
        assert_eq!(old.process.wait(secs(20)).code(), Some(0));
    }
}

//= test PERS-TLS-02
#[test]
fn who_makes_a_whole_handshake_is_a_new_client_although_its_session_was_opened() {
    let scene = Scene::new();
    pki::certificate(scene.lab.folder(), "app", "ca", pki::EC, "DNS:app.test,DNS:other.test", 2);
    let engine = scene.engine(&scene.text("", ""));
    let entries = || engine.metric("forebay_persistence_entries", &[]);
    let mut visitors = Visitors::start(&scene.lab);
    for (n, how) in HOWS.iter().enumerate() {
        let home = first(&mut visitors, how, how, scene.at);
        assert_eq!(visitors.go(how, how, scene.at), resumed(&home), "{how}: its session is good");
        assert_eq!(entries(), (2 * n + 1) as f64, "{how}: one client");
        // The session opens, and is not gone on with: it was made for another name.
        let visit = visitors.go(how, &format!("{how}@other.test"), scene.at);
        assert!(!visit.is_resumed && visit.server != home, "{how}: {visit:?} after {home}");
        assert_eq!(entries(), (2 * n + 2) as f64, "{how}: another client");
        let visit = visitors.go(how, &format!("{how}@other.test"), scene.at);
        assert!(visit.is_resumed, "{how}: the new session is good where it was made");
    }
}

//= test PERS-TLS-02
#[test]
fn another_engine_with_the_same_keys_knows_the_client_and_binds_it_itself() {
    let scene = Scene::new();
    let elsewhere = scene.lab.address();
    let keys = key("old", "A");
    let _here = scene.engine(&scene.text("", &keys));
    let there = scene.engine(&scene.text_at(elsewhere, "", "", "", &keys));
    let mut visitors = Visitors::start(&scene.lab);
    for how in ["1.2", "1.3"] {
        let home = first(&mut visitors, how, how, scene.at);
        let away = visitors.go(how, how, elsewhere);
        assert!(away.is_resumed, "{how}: the keys are shared");
        for _ in 0..3 {
            assert_eq!(visitors.go(how, how, elsewhere), resumed(&away.server), "{how}: its own table");
            assert_eq!(visitors.go(how, how, scene.at), resumed(&home), "{how}: the id is the same here");
        }
    }
    let entries = there.metric("forebay_persistence_entries", &[]);
    assert_eq!(entries, 2.0, "one for each client");
}

//= test PERS-DOWN-02
//= test PERS-DOWN-03
#[test]
fn a_client_whose_server_is_down_is_served_as_the_policy_says() {
    for (policy, then) in [("pick_new_server", "another"), ("abort_connection", "-")] {
        let mut scene = Scene::new();
        let profile = format!("server_down = \"{policy}\"");
        let monitor = config::monitor("m");
        let text = scene.text_at(scene.at, "", "health_monitors = [\"m\"]", &profile, &monitor);
        let engine = scene.engine(&text);
        for server in &scene.servers {
            engine.wait_for_server(server.address, true);
        }
        let mut visitors = Visitors::start(&scene.lab);
        for how in HOWS {
            let home = first(&mut visitors, how, how, scene.at);
            let server = scene.servers.iter_mut().find(|server| server.name == home).expect("one of them");
            let at = server.address;
            server.process.kill();
            engine.wait_for_server(at, false);
            let visit = visitors.go(how, how, scene.at);
            assert!(visit.is_resumed, "{how}: {policy}");
            if then == "another" {
                assert!(visit.server != home && visit.server != "-", "{how}: {visit:?}");
                assert_eq!(visitors.go(how, how, scene.at), visit, "{how}: moved once, then stays");
            } else {
                assert_eq!(visit.server, "-", "{how}");
            }
            *server = scene.lab.demo_at(&home, at);
            engine.wait_for_server(at, true);
            let home_again = if then == "another" { visit.server } else { home };
            assert_eq!(visitors.go(how, how, scene.at), resumed(&home_again), "{how}: {policy}");
        }
    }
}

/// Words of a Python program: clients `c0` to `c5` come four times each over HTTP/2, with two requests side by side on each
/// connection, whose path is the client's name; prints which of their connections went on with a session.
const STREAMS: &str = "def frame(kind, flags, stream, load=b''): return len(load).to_bytes(3, 'big') + bytes([kind, flags]) + stream.to_bytes(4, 'big') + load\n\
def visit(c, session, path):\n\
\x20   t = c.wrap_socket(at(), server_hostname='app.test', session=session)\n\
\x20   assert t.selected_alpn_protocol() == 'h2'\n\
\x20   head = b'\\x82\\x87\\x04' + bytes([len(path)]) + path + b'\\x41\\x01x'\n\
\x20   t.sendall(b'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n' + frame(4, 0, 0) + frame(1, 5, 1, head) + frame(1, 5, 3, head))\n\
\x20   got, ended = b'', set()\n\
\x20   while len(ended) < 2:\n\
\x20       while len(got) < 9 or len(got) < 9 + int.from_bytes(got[:3], 'big'):\n\
\x20           more = t.recv(65536)\n\
\x20           assert more, 'it ended'\n\
\x20           got += more\n\
\x20       stream = int.from_bytes(got[5:9], 'big')\n\
\x20       assert got[3] not in (3, 7), got[:20]\n\
\x20       if got[3] in (0, 1) and got[4] & 1: ended.add(stream)\n\
\x20       got = got[9 + int.from_bytes(got[:3], 'big'):]\n\
\x20   return t\n\
for v in [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]:\n\
\x20   for n in range(6):\n\
\x20       c, session = context(minimum_version=v, maximum_version=v), None\n\
\x20       c.set_alpn_protocols(['h2'])\n\
\x20       for _ in range(4):\n\
\x20           t = visit(c, session, f'/c{n}-{int(v)}'.encode())\n\
\x20           print(int(t.session_reused), end='')\n\
\x20           session = t.session\n\
\x20           t.close()\n\
\x20       print()\n";

//= test PERS-TLS-02
//= test PERS-TLS-03
#[test]
fn every_stream_of_a_client_of_http2_goes_to_its_server_over_renewed_sessions() {
    let scene = Scene::new();
    let engine = scene.engine(&scene.text("", &config::profile("http2 = true")));
    let said = python(&scene.lab, scene.at, STREAMS);
    assert_eq!(said, "0111\n".repeat(12), "each connection but the first goes on with a session");
    let lines = engine.log_lines(12 * 8, |line| line["http_version"] == "2.0");
    let mut homes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in &lines {
        homes.entry(line["uri_path"].to_string()).or_default().push(line["server_dest_port"].to_string());
    }
    assert_eq!(homes.len(), 12);
    let mut met = BTreeSet::new();
    for (client, servers) in &homes {
        assert!(
            servers.len() == 8 && servers.iter().all(|server| *server == servers[0]),
            "{client}: {servers:?}"
        );
        met.insert(&servers[0]);
    }
    assert_eq!(met.len(), 3, "new clients are shared out: {homes:?}");
}
