//! A full persistence table.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use forebay_e2e::wait::secs;
use forebay_e2e::{Client, Lab, Options, Origin, config, eventually};

//= test OBS-PERSIST-03
#[test]
fn a_full_table_drops_the_oldest_idle_entries_keeps_those_in_use_and_refuses_nobody() {
    let lab = Lab::new();
    let sessions = Arc::new(AtomicUsize::new(0));
    let count = sessions.clone();
    // Each answer starts a session of its own.
    let origin = Origin::answering(lab.address(), move |_| {
        let n = count.fetch_add(1, Ordering::SeqCst);
        Some(
            format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: SESSION=s{n}\r\n\r\nhi")
                .into_bytes(),
        )
    });
    let at = lab.address();
    let by_address = lab.address();
    let text = config::service("web", at)
        + &config::service("by_address", by_address)
        + &config::pool("by_address", "persistence = \"q\"", &[origin.address])
        + &config::persistence("q", "client_ip", "")
        + &config::pool("web", "persistence = \"p\"", &[origin.address])
        + &config::persistence("p", "app_cookie", "cookie_name = \"SESSION\"")
        // However long it takes to fill the table: the connection in use does not end meanwhile.
        + &config::profile("idle_timeout_ms = 3600000");
    let options = Options { engine: "persistence_mem_max_bytes = 1048576".into(), ..Options::default() };
    let engine = lab.engine_with(&text, options);
    // The oldest entries of all: of two addresses, of which one keeps a connection open.
    let [in_use, idle] = [1, 2].map(|n| lab.client_ip(n));
    let mut kept = Client::new(by_address).from(in_use);
    assert_eq!(kept.get("/").unwrap().status, 200);
    assert_eq!(Client::new(by_address).from(idle).get_once("/").unwrap().status, 200);
    let mut client = Client::new(at).without_jar();
    let evicted = || engine.metric("forebay_persistence_evictions_total", &[]);
    let entries = || engine.metric("forebay_persistence_entries", &[]);
    // Before it is full, and before anything is lost, it is told which pool fills it.
    let room = engine.metric("forebay_persistence_entries_max", &[]);
    while entries() < room * 0.91 {
        for _ in 0..20 {
            assert_eq!(client.get("/").unwrap().status, 200);
        }
        let made = sessions.load(Ordering::SeqCst) as f64;
        assert!(made < room * 2.0, "{made} sessions and {} entries of {room}", entries());
    }
    let told = || engine.process.printed();
    eventually("the event is told", secs(5), || told().contains("SE_PERSIST_TBL_HIGH"));
    let high = told().lines().find(|l| l.contains("SE_PERSIST_TBL_HIGH")).unwrap().to_owned();
    assert!(high.contains("pool=\"web\"") && high.contains("app_cookie"), "{high}");
    assert_eq!(evicted(), 0.0, "nothing is lost yet");
    assert!(!told().contains("TABLE_FULL"), "{}", told());
    // The full table's entries are exchanged for later ones, five times.
    while evicted() < 1.0 || evicted() < entries() * 5.0 {
        for _ in 0..1000 {
            let n = sessions.load(Ordering::SeqCst);
            assert!(n < 1_000_000, "a table of 1 MiB is not full after {n} sessions");
            let answer = client.get("/").unwrap_or_else(|e| panic!("session {n}: {e}"));
            assert_eq!(answer.status, 200, "session {n}");
        }
    }
    assert!(entries() > 1000.0, "{} entries", entries());
    let shows = |words: [&str; 2]| {
        let found = engine.ask(&["persistence", words[0], words[1], "--output", "json"]);
        found.contains(&origin.address.to_string())
    };
    let is_there = |n: usize| shows(["--cookie", &format!("s{n}")]);
    let made = sessions.load(Ordering::SeqCst);
    assert!(shows(["--client", &in_use.to_string()]), "an entry with an open connection stays");
    assert!(!shows(["--client", &idle.to_string()]), "its neighbour without one has gone");
    let early = (100..150).filter(|n| is_there(*n)).count();
    assert_eq!(early, 0, "of the fifty early sessions none is left");
    let late = (made - 50..made).filter(|n| is_there(*n)).count();
    assert_eq!(late, 50, "the latest fifty sessions are all there");
    assert_eq!(kept.get("/").unwrap().status, 200, "the connection was open all the while");
    eventually("the event is told", secs(5), || engine.process.printed().to_lowercase().contains("full"));
}
