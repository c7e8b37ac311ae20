//! Monitors against real servers: down, up, maintenance, traffic, one probe for two pools.

use std::sync::atomic::Ordering;

use crate::rig::{Engine, MONITOR, Origin, SILENT, address, eventually, secs, service, through};

//= test OBS-HEALTH-02
//= test OBS-EVENT-01
#[test]
fn a_server_that_fails_its_probes_gets_no_request_until_it_passes_again() {
    let (one, two, listen) = (Origin::start(), Origin::start(), address());
    let rest = service("web", listen, "health_monitors = [\"http\"]", &[one.address, two.address]) + MONITOR;
    let engine = Engine::start("", &rest);
    let label = format!("server=\"{}\"", one.address);
    assert_eq!(engine.metric("forebay_server_up", &[&label]), 1.0);
    one.answer(500);
    eventually("the failing server is down", secs(15), || {
        engine.metric("forebay_server_up", &[&label]) == 0.0
    });
    let said = engine.said();
    assert!(said.contains("SERVER_DOWN") && said.contains("status 500 is not expected"), "{said}");
    let before = engine.metric("forebay_server_connections_total", &[&label]);
    for _ in 0..50 {
        assert!(
            through(listen, "/", "").is_some_and(|answer| answer.contains(" 200 ")),
            "every request is served"
        );
    }
    assert_eq!(engine.metric("forebay_server_connections_total", &[&label]), before, "none went to it");
    one.answer(200);
    eventually("the server is up again", secs(15), || engine.metric("forebay_server_up", &[&label]) == 1.0);
    assert!(engine.metric("forebay_server_state_changes_total", &[&label]) >= 3.0);
    assert!(engine.said().contains("SERVER_UP"));
}

#[test]
fn a_server_in_maintenance_is_shown_as_such() {
    let (one, listen) = (Origin::start(), address());
    let monitor = MONITOR.to_owned() + "maintenance_codes = [503]\n";
    let engine = Engine::start(
        "",
        &(service("web", listen, "health_monitors = [\"http\"]", &[one.address]) + &monitor),
    );
    one.answer(503);
    eventually("maintenance is seen", secs(15), || {
        engine.json(&["servers"])["servers"][0]["state"] == "maintenance"
    });
    assert!(engine.said().contains("POOL_DOWN") && engine.said().contains("VS_DOWN"));
    let probes =
        |result: &str| engine.metric("forebay_health_probes_total", &[&format!("result=\"{result}\"")]);
    assert!(probes("maintenance") > 0.0);
    assert_eq!(probes("failed"), 0.0, "a server that announces a pause has not failed");
}

//= test OBS-HEALTH-01
#[test]
fn two_pools_that_send_the_same_monitor_to_a_server_probe_it_once() {
    let (one, both) = (Origin::start(), "health_monitors = [\"http\"]");
    let rest = service("a", address(), both, &[one.address])
        + &service("b", address(), both, &[one.address])
        + MONITOR;
    let engine = Engine::start("", &rest);
    eventually("a few probes", secs(15), || one.accepted.load(Ordering::Relaxed) >= 4);
    let passed = engine.metric("forebay_health_probes_total", &["pool=\"a\"", "passed"]);
    let probes = one.accepted.load(Ordering::Relaxed) as f64;
    // A probe may be under way between the two readings.
    assert!((probes - passed).abs() <= 1.0, "{probes} probes, {passed} counted for one pool");
    assert_eq!(engine.json(&["servers"])["servers"][1]["state"], "up", "the other pool knows as well");
}

#[test]
fn a_server_whose_traffic_fails_is_down_without_any_probe() {
    let (one, two, listen) = (Origin::start(), Origin::start(), address());
    let engine = Engine::start(
        "",
        &service("web", listen, "algorithm = \"round_robin\"", &[one.address, two.address]),
    );
    one.answer(SILENT);
    let label = format!("server=\"{}\"", one.address);
    eventually("traffic marks it down", secs(15), || {
        through(listen, "/", "");
        engine.metric("forebay_server_up", &[&label]) == 0.0
    });
    assert!(engine.said().contains("traffic:"), "{}", engine.said());
}

//= test HM-PASSIVE-04
#[test]
fn requests_that_make_every_server_hang_up_take_no_service_down() {
    let (one, two, listen) = (Origin::start(), Origin::start(), address());
    let engine = Engine::start(
        "",
        &service("web", listen, "algorithm = \"round_robin\"", &[one.address, two.address]),
    );
    one.answer(SILENT);
    two.answer(SILENT);
    let failed = || {
        [&one, &two]
            .map(|origin| engine.metric("forebay_server_up", &[&format!("server=\"{}\"", origin.address)]))
    };
    eventually("traffic marks one of them down", secs(15), || {
        through(listen, "/", "");
        failed().contains(&0.0)
    });
    // As many again as took the first one down, twice over.
    for _ in 0..30 {
        through(listen, "/", "");
    }
    // The passive monitor looks each 100 ms; the traffic above has been seen after two looks.
    std::thread::sleep(std::time::Duration::from_millis(300)); // Sleep: nothing is to happen.
    assert_eq!(failed().iter().sum::<f64>(), 1.0, "the last one stays up");
}
