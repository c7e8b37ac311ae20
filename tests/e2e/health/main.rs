//! Health monitors on real servers.

mod commands;
mod datagrams;
mod ping;
mod secure;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Client, Engine, Lab, Origin, Scene, config, eventually, long_or, origin};

/// A monitor section of this type with these keys, looking every two seconds.
fn monitor(kind: &str, keys: &str) -> String {
    format!(
        "[[health_monitor]]\nname = \"m\"\ntype = \"{kind}\"\nsend_interval_s = 2\nreceive_timeout_s = 1\nfailed_checks = 2\nsuccessful_checks = 2\n{keys}\n"
    )
}

/// One service in front of one scripted server whose `/health` says what `health` says.
fn with_health(
    monitor: &str,
    health: impl Fn() -> Vec<u8> + Send + Sync + 'static,
) -> (Lab, Origin, Engine, SocketAddr) {
    let lab = Lab::new();
    let origin = Origin::answering(lab.address(), move |head| {
        Some(if head.starts_with("GET /health") { health() } else { origin::ok("hi") })
    });
    let at = lab.address();
    let text = config::service("web", at)
        + &config::pool(
            "web",
            "health_monitors = [\"m\"]\npassive_health_monitor = false",
            &[origin.address],
        )
        + monitor;
    let engine = lab.engine(&text);
    (lab, origin, engine, at)
}

fn answer(status: u16, body: &str) -> Vec<u8> {
    format!("HTTP/1.0 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

//= test HM-QUICK-01
#[test]
fn a_new_server_whose_first_probe_fails_is_known_within_seconds_whatever_the_interval() {
    let probes = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&probes);
    let began = Instant::now();
    let monitor = monitor("http", "request = \"GET /health HTTP/1.0\"")
        .replace("send_interval_s = 2", "send_interval_s = 30");
    let (_lab, origin, engine, at) = with_health(&monitor, move || {
        answer(if count.fetch_add(1, Ordering::SeqCst) == 0 { 500 } else { 200 }, "")
    });
    engine.wait_for_server(origin.address, true);
    assert!(began.elapsed() < secs(10), "{:?}", began.elapsed());
    assert_eq!(Client::new(at).get_once("/").unwrap().status, 200);
    assert_eq!(probes.load(Ordering::SeqCst), 3, "one that failed and two that passed");
}

#[test]
fn a_server_that_fails_its_checks_goes_out_and_comes_back() {
    let good = Arc::new(AtomicBool::new(true));
    let says = Arc::clone(&good);
    let (_lab, origin, engine, _) =
        with_health(&monitor("http", "request = \"GET /health HTTP/1.0\""), move || {
            answer(if says.load(Ordering::SeqCst) { 200 } else { 500 }, "")
        });
    engine.wait_for_server(origin.address, true);
    good.store(false, Ordering::SeqCst);
    let began = Instant::now();
    engine.wait_for_server(origin.address, false);
    // Two checks, two seconds apart; the first may be almost two seconds away.
    assert!(began.elapsed() < secs(8), "{:?}", began.elapsed());
    assert!(began.elapsed() >= ms(1500), "one failed check is not two: {:?}", began.elapsed());
    good.store(true, Ordering::SeqCst);
    engine.wait_for_server(origin.address, true);
}

#[test]
fn a_monitor_judges_by_status_and_by_text() {
    for (keys, status, body, state) in [
        ("", 204, "", "up"),
        ("", 404, "", "down"),
        ("statuses = [\"404\"]", 404, "", "up"),
        ("body_match = \"all good\"", 200, "it is all good here", "up"),
        ("body_match = \"all good\"", 200, "it is bad", "down"),
        ("", 503, "", "down"),
        ("maintenance_codes = [503]", 503, "", "maintenance"),
        ("maintenance_match = \"back soon\"", 200, "we are back soon", "maintenance"),
        ("maintenance_match = \"back soon\"", 200, "we are here", "up"),
    ] {
        let monitor = monitor("http", &format!("request = \"GET /health HTTP/1.0\"\n{keys}"));
        let (_lab, origin, engine, _) = with_health(&monitor, move || answer(status, body));
        engine.wait_for_state(origin.address, state);
    }
}

#[test]
fn a_tcp_monitor_sees_whether_anybody_listens() {
    let mut scene = Scene::new("algorithm = \"round_robin\"\nhealth_monitors = [\"m\"]", &monitor("tcp", ""));
    let address = scene.server("b").address;
    scene.engine.wait_for_server(address, true);
    scene.server("b").process.kill();
    scene.engine.wait_for_server(address, false);
    for _ in 0..12 {
        assert_ne!(scene.client().get_once("/").unwrap().server(), "b");
    }
}

#[test]
fn a_new_server_is_probed_at_once_and_not_after_an_interval() {
    let slow = monitor("http", "request = \"GET /health HTTP/1.0\"")
        .replace("send_interval_s = 2", "send_interval_s = 30");
    let probes = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&probes);
    let (_lab, origin, engine, _) = with_health(&slow, move || {
        count.fetch_add(1, Ordering::SeqCst);
        answer(500, "")
    });
    let began = Instant::now();
    engine.wait_for_server(origin.address, false);
    assert!(began.elapsed() < secs(10), "{:?}", began.elapsed());
    assert!(probes.load(Ordering::SeqCst) >= 1);
    let (_lab, origin, engine, _) = with_health(&slow, || answer(200, ""));
    let began = Instant::now();
    engine.wait_for_server(origin.address, true);
    assert!(began.elapsed() < secs(10), "two successes do not wait for two intervals: {:?}", began.elapsed());
}

#[test]
fn a_silent_server_fails_its_checks_by_time() {
    let lab = Lab::new();
    let silent = Origin::silent(lab.address());
    let at = lab.address();
    let text = config::service("web", at)
        + &config::pool("web", "health_monitors = [\"m\"]", &[silent.address])
        + &monitor("http", "request = \"GET /health HTTP/1.0\"");
    let engine = lab.engine(&text);
    // It begins as one that is being checked, which is not up either.
    engine.wait_for_state(silent.address, "down");
    let label = silent.address.to_string();
    let failed = engine.metric("forebay_health_probes_total", &[("server", &label), ("result", "failed")]);
    assert!(failed >= 2.0, "{failed} probes failed");
}

//= test HM-PASSIVE-01
#[test]
fn answers_of_every_class_below_500_count_as_good_traffic() {
    const GOOD: usize = 60;
    let lab = Lab::new();
    let odd = Origin::answering(lab.address(), |head| match head.split(' ').nth(1) {
        Some("/gone") => Some(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()),
        Some("/moved") => Some(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n".to_vec()),
        _ => None,
    });
    let good = Origin::fixed(lab.address(), origin::ok("good"));
    let at = lab.address();
    let text = config::service("web", at)
        + &config::pool("web", "algorithm = \"round_robin\"", &[odd.address, good.address]);
    let engine = lab.engine(&text);
    for n in 0..2 * GOOD {
        // Two by two, so that the turns of the round give the server both.
        let path = if n / 2 % 2 == 0 { "/gone" } else { "/moved" };
        Client::new(at).get_once(path).unwrap();
    }
    let asked = odd.heads().len();
    assert!(asked >= GOOD - 1, "{asked} of {} requests", 2 * GOOD);
    // It fails everything from here on, and is out when that is more than half of what it was asked.
    eventually("it is seen to fail", secs(15), || {
        // All at once: what is older than ten seconds no longer counts.
        for _ in 0..2 * GOOD + 4 {
            Client::new(at).get_once("/").unwrap();
        }
        engine.metric("forebay_server_up", &[("server", &odd.address.to_string())]) == 0.0
    });
    let servers: serde_json::Value =
        serde_json::from_str(&engine.ask(&["servers", "--output", "json"])).expect("JSON");
    let list = servers["servers"].as_array().expect("servers");
    let line = list.iter().find(|s| s["server"] == odd.address.to_string().as_str()).expect("the server");
    let why = line["why"].as_str().unwrap_or_default();
    let numbers: Vec<usize> = why.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert!(
        matches!(numbers[..], [failed, tried] if tried - failed == asked),
        "{asked} good ones, and {why:?}"
    );
}

#[test]
fn traffic_alone_shows_that_a_server_fails() {
    let lab = Lab::new();
    let bad = Origin::answering(lab.address(), |_| None);
    let good = Origin::fixed(lab.address(), origin::ok("good"));
    let at = lab.address();
    let text = config::service("web", at)
        + &config::pool("web", "algorithm = \"round_robin\"", &[bad.address, good.address]);
    let engine = lab.engine(&text);
    eventually("fifty requests in a row leave the failing server alone", secs(15), || {
        let before = bad.accepted();
        for n in 0..50 {
            let answer = Client::new(at).get_once("/").unwrap_or_else(|e| panic!("request {n}: {e}"));
            assert_eq!(answer.text(), "good");
        }
        bad.accepted() == before
    });
    engine.wait_for_server(bad.address, false);
}

#[test]
fn a_server_that_flaps_every_second_costs_no_request_and_is_held_down() {
    let mut scene =
        Scene::new("algorithm = \"round_robin\"\nhealth_monitors = [\"m\"]", &config::monitor("m"));
    let address = scene.server("b").address;
    scene.engine.wait_for_server(address, true);
    let began = Instant::now();
    let whole = secs(long_or(120, 12));
    let (mut sent, mut swaps) = (0, 0);
    let mut alive = true;
    while began.elapsed() < whole {
        let answer =
            scene.client().get_once("/").unwrap_or_else(|e| panic!("after {:?}: {e}", began.elapsed()));
        assert_eq!(answer.status, 200, "after {:?}", began.elapsed());
        sent += 1;
        if began.elapsed() > ms(500) * (swaps + 1) {
            swaps += 1;
            alive = !alive;
            if alive {
                *scene.server("b") = scene.lab.demo_at("b", address);
            } else {
                scene.server("b").process.kill();
            }
        }
    }
    assert!(sent > 100 && swaps >= 20, "{sent} requests, {swaps} swaps");
    let label = address.to_string();
    let changes = scene.engine.metric("forebay_server_state_changes_total", &[("server", &label)]);
    // Up at the start, down at least once; each further change costs the server another hold.
    assert!((2.0..=f64::from(swaps) / 3.0).contains(&changes), "{changes} changes of state in {swaps} swaps");
    if !alive {
        *scene.server("b") = scene.lab.demo_at("b", address);
    }
    eventually("it is taken back once it stays up", secs(90), || {
        scene.client().get_once("/").is_ok_and(|a| a.server() == "b")
    });
}
