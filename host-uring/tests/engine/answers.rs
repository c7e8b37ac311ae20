//! What the admin socket answers: exact counts, filters, bounds.

use std::io::{Read, Write};

use serde_json::Value;

use crate::rig::{Engine, Origin, SILENT, address, eventually, secs, service, through};

const BY_ADDRESS: &str = "[[persistence]]\nname = \"ip\"\ntype = \"client_ip\"\n\
    [[http_profile]]\nname = \"default\"\ntrusted_proxies = [\"127.0.0.0/8\"]\n";

/// A request for a client that a proxy names.
fn from(service: std::net::SocketAddr, client: &str) {
    let answer = through(service, "/", &format!("X-Forwarded-For: {client}\r\n")).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

//= test OBS-PERSIST-01
#[test]
fn persistence_entries_are_filtered_by_pool_and_bounded_and_all_are_counted() {
    let (one, a, b) = (Origin::start(), address(), address());
    let rest = service("a", a, "persistence = \"ip\"", &[one.address])
        + &service("b", b, "persistence = \"ip\"", &[one.address])
        + BY_ADDRESS;
    let engine = Engine::start("", &rest);
    for n in 1..=5 {
        from(a, &format!("192.0.2.{n}"));
    }
    from(b, "192.0.2.1");
    let asked = |words: &[&str]| {
        let found = engine.json(&[&["persistence"], words].concat());
        let entries = found["entries"].as_array().expect("a list").clone();
        (entries, found["matching"].as_u64(), found["total"].as_u64())
    };
    let (entries, matching, total) = asked(&[]);
    assert_eq!((entries.len(), matching, total), (6, Some(6), Some(6)));
    let (entries, matching, total) = asked(&["--pool", "b"]);
    assert_eq!((entries.len(), matching, total), (1, Some(1), Some(6)));
    assert_eq!((&entries[0]["pool"], &entries[0]["key"]), (&"b".into(), &"192.0.2.1".into()));
    let (entries, matching, _) = asked(&["--pool", "a", "--limit", "2"]);
    assert_eq!((entries.len(), matching), (2, Some(5)));
    let (entries, matching, _) = asked(&["--client", "192.0.2.1", "--pool", "a"]);
    assert_eq!((entries.len(), matching), (1, Some(1)), "all filters hold at once");
}

#[test]
fn status_and_servers_count_errors_of_servers_and_failures_apart() {
    let (one, listen) = (Origin::start(), address());
    let engine = Engine::start("", &service("web", listen, "", &[one.address]));
    for status in [404, 500, 500] {
        one.answer(status);
        assert!(through(listen, "/", "").expect("an answer").starts_with(&format!("HTTP/1.1 {status} ")));
    }
    let server = || engine.json(&["servers"])["servers"][0].clone();
    let count = |of: &Value, name: &str| of[name].as_u64().unwrap_or_else(|| panic!("no {name} in {of}"));
    eventually("three answers are counted", secs(5), || count(&server(), "responses") == 3);
    let services = engine.json(&["status"])["virtual_services"].clone();
    assert_eq!((count(&services[0], "requests"), count(&services[0], "responses_5xx")), (3, 2));
    assert_eq!((count(&server(), "responses_5xx"), count(&server(), "failures")), (2, 0));
    // A server that takes requests and hangs up answers none of them.
    one.answer(SILENT);
    assert!(through(listen, "/", "").expect("an answer").starts_with("HTTP/1.1 502 "));
    eventually("the failure is counted", secs(5), || count(&server(), "failures") > 0);
    assert_eq!(count(&server(), "responses"), 3, "that was no answer");
}

//= test OBS-EXPLAIN-01
#[test]
fn explain_takes_no_turn_and_makes_and_renews_no_entry() {
    let (servers, listen) = ([Origin::start(), Origin::start(), Origin::start()], address());
    let addresses = servers.each_ref().map(|s| s.address);
    let pool = "persistence = \"ip\"\nalgorithm = \"round_robin\"\nround_robin_per_engine = true";
    let engine = Engine::start("", &(service("web", listen, pool, &addresses) + BY_ADDRESS));
    from(listen, "192.0.2.1");
    let entries = || engine.json(&["persistence"])["entries"].as_array().expect("a list").clone();
    eventually("the entry is idle", secs(10), || entries()[0]["idle_s"].as_u64() >= Some(2));
    let before = entries();
    let explained = |client: &str| {
        engine.json(&["explain", "/", "-H", &format!("X-Forwarded-For: {client}")])["server"].clone()
    };
    let known = before[0]["server"].clone();
    let first = explained("192.0.2.2");
    for _ in 0..10 {
        assert_eq!(explained("192.0.2.1"), known, "a client with an entry");
        assert_eq!(explained("192.0.2.2"), first, "a client whose turn it would be");
    }
    let after = entries();
    assert_eq!(after.len(), 1, "no entry was made: {after:?}");
    let of = |list: &[Value], name: &str| list[0][name].clone();
    for name in ["key", "server", "version", "open_connections"] {
        assert_eq!(of(&before, name), of(&after, name), "{name}");
    }
    assert!(of(&after, "idle_s").as_u64() >= of(&before, "idle_s").as_u64(), "not renewed: {after:?}");
    from(listen, "192.0.2.2");
    let made = entries().into_iter().find(|e| e["key"] == "192.0.2.2").expect("an entry");
    assert_eq!(made["server"], first, "the turn that was explained is still the next one");
}

//= test OBS-DRAIN-01
#[test]
fn servers_show_how_many_clients_remain_and_what_a_disabled_one_has_open() {
    let (origins, by_address, by_header) = ([Origin::start(), Origin::start()], address(), address());
    let addresses = origins.each_ref().map(|s| s.address);
    // One that keeps its connections.
    let keeps = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let leaving = keeps.local_addr().expect("bound");
    std::thread::spawn(move || {
        let (mut stream, _) = keeps.accept().expect("a connection");
        let mut head = [0; 4096];
        while stream.read(&mut head).is_ok_and(|n| n > 0) {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("sent");
        }
    });
    let ends = [leaving, addresses[1]];
    let named = format!("\"{leaving}\"");
    let pool = "persistence = \"to\"\nserver_disable = \"allow_persistent\"\n\
                graceful_disable_timeout_min = -1\nconnection_pool = { idle_ms = 2000 }";
    let rest = service("a", by_address, "persistence = \"ip\"\nalgorithm = \"round_robin\"", &addresses)
        + &service("b", by_header, pool, &ends)
            .replace(&named, &format!("{named}, enabled = false, header_value = \"one\""))
        + "[[persistence]]\nname = \"to\"\ntype = \"custom_header\"\nheader = \"X-To\"\n"
        + BY_ADDRESS;
    let engine = Engine::start("", &rest);
    for n in 1..=6 {
        from(by_address, &format!("192.0.2.{n}"));
    }
    let servers = |pool: &str| engine.json(&["servers", "--pool", pool])["servers"].clone();
    let bound = |pool: &str| [0, 1].map(|n| servers(pool)[n]["clients_bound"].clone());
    let all = bound("a").map(|n| n.as_u64().expect("a number"));
    assert_eq!((all[0] + all[1], all[0].min(all[1]) > 0), (6, true), "{all:?}");
    assert_eq!(bound("b"), [Value::Null, Value::Null], "these clients remember by themselves");
    // A client of the disabled server, and what remains open when it has gone.
    let answer = through(by_header, "/", "X-To: one\r\n").expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let open = || {
        let status = engine.json(&["status"]);
        let disabled = status["virtual_services"][1]["pools"][0]["disabled"].clone();
        assert_eq!(disabled[0]["server"], leaving.to_string());
        assert_eq!(disabled.as_array().map(Vec::len), Some(1), "{disabled}");
        assert_eq!(servers("b")[0]["enabled"], false);
        disabled[0]["connections_open"].as_u64()
    };
    assert_eq!(open(), Some(1));
    eventually("nothing remains", secs(10), || open() == Some(0));
}
