//! A full persistence table.

use std::sync::atomic::{AtomicUsize, Ordering};

use forebay_e2e::wait::secs;
use forebay_e2e::{Client, Lab, Options, Origin, config, eventually, long_or};

#[test]
fn a_full_table_drops_the_oldest_idle_entry_and_refuses_nobody() {
    let lab = Lab::new();
    let sessions = AtomicUsize::new(0);
    // Each answer starts a session of its own.
    let origin = Origin::answering(lab.address(), move |_| {
        let n = sessions.fetch_add(1, Ordering::SeqCst);
        Some(
            format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: SESSION=s{n}\r\n\r\nhi")
                .into_bytes(),
        )
    });
    let at = lab.address();
    let text = config::service("web", at)
        + &config::pool("web", "persistence = \"p\"", &[origin.address])
        + &config::persistence("p", "app_cookie", "cookie_name = \"SESSION\"");
    let options = Options { engine: "persistence_mem_max_bytes = 1048576".into(), ..Options::default() };
    let engine = lab.engine_with(&text, options);
    let mut client = Client::new(at).without_jar();
    let evicted = || engine.metric("forebay_persistence_evictions_total", &[]);
    let mut sent = 0;
    while sent < 100_000 && (sent % 1000 != 0 || evicted() == 0.0) {
        let answer = client.get("/").unwrap_or_else(|e| panic!("session {sent}: {e}"));
        assert_eq!(answer.status, 200, "session {sent}");
        sent += 1;
    }
    assert!(evicted() > 0.0, "a table of 1 MiB is not full after {sent} sessions");
    for n in 0..long_or(200_000, 3_000) {
        assert_eq!(client.get("/").unwrap().status, 200, "session {n} of a full table");
    }
    let entries = engine.metric("forebay_persistence_entries", &[]);
    assert!(entries > 1000.0 && entries < f64::from(sent) + 1.0, "{entries} entries");
    eventually("the event is told", secs(5), || engine.process.printed().to_lowercase().contains("full"));
}
