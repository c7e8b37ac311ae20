//! A worker that panics, and one that stands still.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Client, Engine, Lab, Options, Scene, eventually, eventually_some};
use serde_json::{Value, json};

/// The lines of the log in which this worker says that it accepts connections.
pub fn started(engine: &Engine, worker: usize) -> Vec<String> {
    let says = format!("a worker accepts connections worker={worker} ");
    // A refusal of io_uring is said in the same place, with other words.
    let or_says = format!("event=\"SE_IO_URING_REFUSED\" worker={worker} ");
    let printed = engine.process.printed();
    printed.lines().filter(|l| l.contains(&says) || l.contains(&or_says)).map(str::to_owned).collect()
}

/// The time of day of a line of the log, in microseconds.
fn time_of(line: &str) -> u64 {
    // As in 2026-11-21T10:24:48.896215Z
    let at = |from: usize, to: usize| line[from..to].parse::<u64>().unwrap_or_else(|e| panic!("{e}: {line}"));
    ((at(11, 13) * 60 + at(14, 16)) * 60 + at(17, 19)) * 1_000_000 + at(20, 26)
}

/// From one time of day to a later one, also past midnight.
fn between(from: u64, to: u64) -> Duration {
    const DAY: u64 = 86_400_000_000;
    Duration::from_micros((to + DAY - from % DAY) % DAY)
}

fn scene() -> Scene {
    let options = Options { arguments: vec!["--allow-faults".into()], ..Options::default() };
    Scene::with(Lab::new(), "algorithm = \"round_robin\"", "", options)
}

/// One connection that each worker serves, found by the access log.
fn one_client_each(scene: &Scene) -> [Client; 2] {
    let mut found: [Option<Client>; 2] = [None, None];
    for n in 0..100 {
        let mut client = scene.client();
        client.get(&format!("/who?n={n}")).unwrap();
        let query = format!("n={n}");
        let line = scene.engine.log_lines(1, |l| l["uri_query"] == query.as_str()).remove(0);
        let worker = line["vcpu_id"].as_u64().unwrap() as usize;
        found[worker].get_or_insert(client);
        if let [Some(_), Some(_)] = &found {
            return found.map(|c| c.expect("both are there"));
        }
    }
    panic!("a hundred connections and only one worker");
}

#[test]
fn a_panicking_worker_loses_its_connections_only_and_is_back_within_a_second() {
    let mut scene = scene();
    let [mut of_first, mut of_second] = one_client_each(&scene);
    let asked = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
    let done = scene.engine.admin(&json!({ "command": "fault", "worker": 0 }));
    assert_eq!(done["error"], Value::Null, "{done}");
    eventually("the connection dies with its worker", secs(2), || of_first.get("/").is_err());
    assert_eq!(of_second.get("/").unwrap().status, 200, "the other worker's connection lives on");
    // New connections may come to either worker's socket: none is refused, and all are served soon.
    for n in 0..40 {
        let answer = scene.client().get_once("/").unwrap_or_else(|e| panic!("connection {n}: {e}"));
        assert_eq!(answer.status, 200);
    }
    let again = eventually_some("the engine says that the worker accepts again", secs(5), || {
        started(&scene.engine, 0).into_iter().nth(1)
    });
    let away = between(asked, time_of(&again));
    assert!(away <= secs(1), "from the fault to the new worker: {away:?}");
    eventually("the worker serves again", secs(5), || {
        scene.client().get_once("/back").is_ok()
            && scene.engine.log().iter().any(|l| l["uri_path"] == "/back" && l["vcpu_id"] == 0)
    });
    assert!(scene.engine.metric("forebay_worker_panics_total", &[]) >= 1.0);
    assert!(scene.engine.process.ended().is_none());
}

#[test]
fn while_a_worker_stands_still_others_accept_for_it() {
    let mut scene = scene();
    let [mut of_first, mut of_second] = one_client_each(&scene);
    let done = scene.engine.admin(&json!({ "command": "fault", "worker": 0, "stall_ms": 6000 }));
    assert_eq!(done["error"], Value::Null, "{done}");
    let began = Instant::now();
    eventually("the engine says which worker stands still", secs(4), || {
        scene.engine.metric("forebay_worker_stuck", &[("worker", "0")]) == 1.0
    });
    for n in 0..60 {
        let answer =
            scene.client().patience(secs(3)).get_once("/").unwrap_or_else(|e| panic!("connection {n}: {e}"));
        assert_eq!(answer.status, 200);
    }
    assert!(began.elapsed() < ms(5800), "all were served while it stood still: {:?}", began.elapsed());
    assert_eq!(of_second.get("/").unwrap().status, 200);
    assert_eq!(of_first.get("/").unwrap().status, 200, "its own connections go on afterwards");
    eventually("the engine says that it goes on", secs(5), || {
        scene.engine.metric("forebay_worker_stuck", &[("worker", "0")]) == 0.0
    });
    super::is_well(&mut scene);
}

#[test]
fn a_stand_in_that_panics_is_followed_by_another_worker() {
    let options = Options { arguments: vec!["--allow-faults".into()], workers: 3, ..Options::default() };
    let scene = Scene::with(Lab::new(), "algorithm = \"round_robin\"", "", options);
    let done = scene.engine.admin(&json!({ "command": "fault", "worker": 0, "stall_ms": 8000 }));
    assert_eq!(done["error"], Value::Null, "{done}");
    let began = Instant::now();
    let stand_in = eventually_some("the engine says who stands in", secs(4), || {
        let printed = scene.engine.process.printed();
        let line = printed.lines().find(|l| l.contains("SE_WORKER_STAND_IN"))?.to_owned();
        line.split("stand_in=").nth(1)?.split(' ').next()?.parse::<u64>().ok()
    });
    let done = scene.engine.admin(&json!({ "command": "fault", "worker": stand_in }));
    assert_eq!(done["error"], Value::Null, "{done}");
    eventually("the stand-in panics", secs(2), || {
        scene.engine.metric("forebay_worker_panics_total", &[]) == 1.0
    });
    for n in 0..60 {
        let answer =
            scene.client().patience(secs(3)).get_once("/").unwrap_or_else(|e| panic!("connection {n}: {e}"));
        assert_eq!(answer.status, 200);
    }
    assert!(began.elapsed() < ms(7800), "all were served while it stood still: {:?}", began.elapsed());
    eventually("the engine says that it goes on", secs(8), || {
        scene.engine.metric("forebay_worker_stuck", &[]) == 0.0
    });
    for _ in 0..30 {
        assert_eq!(scene.client().patience(secs(3)).get_once("/").unwrap().status, 200);
    }
}

#[test]
fn faults_cannot_be_asked_for_in_ordinary_operation() {
    let mut scene = Scene::new("", "");
    let refused = scene.engine.admin(&json!({ "command": "fault", "worker": 0 }));
    assert!(refused.to_string().contains("--allow-faults"), "{refused}");
    super::is_well(&mut scene);
}
