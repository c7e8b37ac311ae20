//! One of the two processes dies, or gives up, in the middle of it.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use forebay_e2e::lively::{Over, echoes, websocket};
use forebay_e2e::wait::secs;
use forebay_e2e::{Client, Engine, Lab, config, eventually};
use serde_json::json;

use crate::speak::Speaker;
use crate::{options, web};

/// Everything goes on as before: the service, the metrics, the admin socket, and the next upgrade.
fn goes_on(engine: &Engine, at: SocketAddr, server: &str) {
    for _ in 0..8 {
        let answer = Client::new(at).get_once("/").expect("served");
        assert_eq!((answer.status, answer.server()), (200, server));
    }
    assert_eq!(engine.get("/readyz"), Some(200));
    assert!(engine.ask(&["status"]).contains("web"));
}

/// A pool whose server never answers its monitor: whoever does not know it yet waits some seconds for it.
fn slow_to_know(lab: &Lab) -> (TcpListener, String) {
    let silent = TcpListener::bind((lab.ip(), 0)).expect("a port");
    let at = silent.local_addr().expect("it is bound");
    let monitor = "[[health_monitor]]\nname = \"silence\"\ntype = \"http\"\nrequest = \"GET / HTTP/1.0\"\nsend_interval_s = 60\nreceive_timeout_s = 50\n";
    let text = config::service("slow", lab.address())
        + &config::pool("slow", "health_monitors = [\"silence\"]", &[at])
        + monitor;
    (silent, text)
}

//= test UPG-ORDER-01
#[test]
fn whoever_asks_and_goes_away_at_any_step_leaves_the_old_process_as_it_was() {
    let lab = Lab::new();
    let a = lab.demo("a");
    let at = lab.address();
    let mut engine = lab.engine(&web(at, "", &[a.address]));
    let mut chat = websocket(at);
    let mut kept = Client::new(at);
    assert_eq!(kept.get("/").expect("served").status, 200);
    for (step, last) in
        ["", "hello", "welcome", "copied", "ready", "go", "taken", "yours"].into_iter().enumerate()
    {
        let failed = engine.process.printed().matches("UPGRADE_FAILED").count();
        let mut new = Speaker::new(&engine);
        if step > 0 {
            new.hello();
        }
        if step > 1 {
            new.waits_for("welcome");
        }
        if step > 2 {
            new.waits_for("copied");
        }
        if step > 3 {
            new.say(&json!({ "say": "ready" }));
        }
        if step > 4 {
            // Now nobody accepts, until the old one learns that the new one is gone.
            new.waits_for("go");
        }
        if step > 5 {
            new.say(&json!({ "say": "taken", "listeners": [at], "datagrams": [] }));
        }
        if step > 6 {
            // It may serve, and has not said that it does.
            new.waits_for("yours");
        }
        drop(new);
        if step > 0 {
            eventually(&format!("it is given up after {last:?}"), secs(10), || {
                engine.process.printed().matches("UPGRADE_FAILED").count() > failed
            });
        }
        goes_on(&engine, at, "a");
        let answer = kept.get("/").expect("the kept connection is kept");
        assert_eq!(answer.field("connection"), None, "and goes on");
        assert!(echoes(&mut chat), "after {last:?}");
    }
    let old = engine.upgrade(&options());
    goes_on(&engine, at, "a");
    assert!(echoes(&mut chat), "the old process serves it");
    drop(old);
}

//= test UPG-ORDER-01
#[test]
fn an_old_process_that_is_stopped_while_the_other_one_does_not_say_that_it_serves_hears_it_no_more() {
    let lab = Lab::new();
    let a = lab.demo("a");
    let at = lab.address();
    let mut engine = lab.engine(&web(at, "", &[a.address]));
    let mut new = Speaker::new(&engine);
    new.hello();
    new.waits_for("copied");
    new.say(&json!({ "say": "ready" }));
    new.waits_for("go");
    new.say(&json!({ "say": "taken", "listeners": [at], "datagrams": [] }));
    new.waits_for("yours");
    engine.process.signal(libc::SIGTERM);
    assert_eq!(new.waits_for("refused")["reason"], "this process stops");
    // Too late: it is told why, and cannot say it any more.
    assert!(new.is_unheard(&json!({ "say": "serving" })));
    assert_eq!(engine.process.wait(secs(10)).code(), Some(0));
}

//= test UPG-ORDER-01
#[test]
fn a_new_process_that_is_killed_or_stopped_before_it_is_ready_costs_nothing() {
    let lab = Lab::new();
    let a = lab.demo("a");
    let at = lab.address();
    let text = web(at, "", &[a.address]);
    let mut engine = lab.engine(&text);
    let mut chat = websocket(at);
    let (_silent, more) = slow_to_know(&lab);
    engine.write(&(text.clone() + &more));
    for (line, signal) in [
        ("UPGRADE_BEGUN", libc::SIGKILL),
        ("UPGRADE_TABLES", libc::SIGKILL),
        ("UPGRADE_TABLES", libc::SIGTERM),
    ] {
        let failed = engine.process.printed().matches("UPGRADE_FAILED").count();
        let mut new = engine.successor(&options());
        eventually(line, secs(10), || new.process.printed().contains(line));
        goes_on(&engine, at, "a");
        new.process.signal(signal);
        let status = new.process.wait(secs(10));
        assert_ne!(status.code(), Some(0), "nothing came of it");
        eventually("the old process learns of it", secs(10), || {
            engine.process.printed().matches("UPGRADE_FAILED").count() > failed
        });
        goes_on(&engine, at, "a");
        assert!(echoes(&mut chat));
    }
    assert_eq!(engine.metric("forebay_worker_panics_total", &[]), 0.0);
    engine.write(&text);
    drop(engine.upgrade(&options()));
    goes_on(&engine, at, "a");
}

//= test UPG-ALONE-01
#[test]
fn a_new_process_goes_on_alone_when_the_old_one_is_killed_in_the_middle() {
    let lab = Lab::new();
    let [a, b] = lab.demos(["a", "b"]);
    let at = lab.address();
    let text = web(at, "persistence = \"ip\"", &[a.address, b.address])
        + &config::persistence("ip", "client_ip", "");
    let mut engine = lab.engine(&text);
    let client = |n| Client::new(at).from(lab.client_ip(n)).without_jar();
    let bound: Vec<String> =
        (1..20).map(|n| client(n).get_once("/").expect("served").server().to_owned()).collect();
    let (_silent, more) = slow_to_know(&lab);
    engine.write(&(text + &more));
    let new = engine.successor(&options());
    eventually("the tables are there", secs(10), || new.process.printed().contains("UPGRADE_TABLES"));
    engine.process.kill();
    // Whoever comes in between waits in the queue of a socket that is still open.
    for (n, server) in (1..20).zip(&bound) {
        assert_eq!(client(n).get_once("/").expect("nobody is refused").server(), server);
    }
    assert!(new.process.printed().contains("UPGRADE_ALONE"));
    assert!(new.ask(&["status"]).contains("web"));
    eventually("it is ready", secs(10), || new.get("/readyz") == Some(200));
}

//= test UPG-ALONE-01
#[test]
fn a_third_process_goes_on_alone_when_the_second_is_killed_while_the_first_still_serves_a_client() {
    let lab = Lab::new();
    let a = lab.demo("a");
    let at = lab.address();
    let text = web(at, "", &[a.address]);
    let mut engine = lab.engine(&text);
    let mut chat = websocket(at);
    let first = engine.upgrade(&options());
    let (_silent, more) = slow_to_know(&lab);
    engine.write(&(text + &more));
    let third = engine.successor(&options());
    eventually("the tables are there", secs(10), || third.process.printed().contains("UPGRADE_TABLES"));
    engine.process.kill();
    assert_eq!(Client::new(at).get_once("/").expect("nobody is refused").status, 200);
    assert!(third.process.printed().contains("UPGRADE_ALONE"), "{}", third.process.printed());
    assert!(echoes(&mut chat), "the first process serves it still");
    drop(first);
}

//= test UPG-ORDER-02
#[test]
fn clients_wait_for_a_new_process_that_stands_still_no_longer_than_they_may() {
    let lab = Lab::new();
    let a = lab.demo("a");
    let at = lab.address();
    let engine = lab.engine(&web(at, "", &[a.address]));
    let mut new = Speaker::new(&engine);
    new.hello();
    new.waits_for("copied");
    new.say(&json!({ "say": "ready" }));
    new.waits_for("go");
    let began = Instant::now();
    assert_eq!(Client::new(at).patience(secs(10)).get_once("/").expect("served").status, 200);
    assert!(began.elapsed() < secs(4), "{:?}", began.elapsed());
    assert_eq!(new.waits_for("refused")["reason"], "the new process does not say that it has all");
    goes_on(&engine, at, "a");
}

//= test UPG-STOP-01
#[test]
fn an_old_process_is_stopped_although_entries_change_all_the_while_and_the_other_one_is_slow() {
    let lab = Lab::new();
    let a = lab.demo("a");
    let at = lab.address();
    let text = web(at, "persistence = \"ip\"", &[a.address]) + &config::persistence("ip", "client_ip", "");
    let mut engine = lab.engine(&text);
    let mut new = Speaker::new(&engine);
    new.hello();
    new.waits_for("copied");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for n in 1..=4 {
            let from = lab.client_ip(n);
            let is_over = &is_over;
            scope.spawn(move || {
                let mut client = Client::new(at).from(from).without_jar();
                while !is_over.load(Ordering::Relaxed) {
                    if client.get_once("/").is_err() {
                        // It has stopped, as it should.
                        return;
                    }
                }
            });
        }
        let over = Over(&is_over);
        // Each frame takes longer than the next change.
        let mut hears = || new.hears_slowly(Duration::from_millis(50));
        for _ in 0..5 {
            assert_eq!(hears()["say"], "entries");
        }
        engine.process.signal(libc::SIGTERM);
        let told = Instant::now();
        let refused = loop {
            let said = hears();
            if said["say"] == "refused" {
                break said;
            }
            assert!(told.elapsed() < secs(8), "it does not stop");
        };
        drop(over);
        assert_eq!(refused["reason"], "this process stops");
    });
    assert_eq!(engine.process.wait(secs(10)).code(), Some(0));
}

//= test UPG-STOP-01
#[test]
fn an_old_process_that_is_stopped_in_the_middle_stops_and_the_new_one_gives_up() {
    let lab = Lab::new();
    let a = lab.demo("a");
    let at = lab.address();
    let text = web(at, "", &[a.address]);
    let mut engine = lab.engine(&text);
    let (_silent, more) = slow_to_know(&lab);
    engine.write(&(text.clone() + &more));
    let mut new = engine.successor(&options());
    eventually("the tables are there", secs(10), || new.process.printed().contains("UPGRADE_TABLES"));
    assert_eq!(engine.process.end(secs(10)).code(), Some(0));
    assert_eq!(new.process.wait(secs(10)).code(), Some(1));
    assert!(new.process.printed().contains("this process stops"), "{}", new.process.printed());
    // Nothing is left behind: a start of the usual kind has its addresses and sockets.
    let again = lab.engine(&text);
    goes_on(&again, at, "a");
}

//= test UPG-STOP-01
#[test]
fn an_old_process_whose_clients_never_leave_cuts_them_when_the_grace_is_over() {
    let lab = Lab::new();
    let a = lab.demo("a");
    let at = lab.address();
    let mut options = options();
    options.engine += "\nstop_grace_s = 1";
    let mut engine = lab.engine_with(&web(at, "", &[a.address]), options);
    let mut chat = websocket(at);
    let mut old = engine.upgrade(&crate::options());
    assert!(echoes(&mut chat));
    assert_eq!(old.process.wait(secs(10)).code(), Some(6), "one was cut");
    assert!(old.process.printed().contains("connections_cut=1"), "{}", old.process.printed());
    assert!(!echoes(&mut chat));
    goes_on(&engine, at, "a");
}

//= test UPG-PROTOCOL-01
#[test]
fn silent_callers_keep_nobody_from_taking_over() {
    let lab = Lab::new();
    let a = lab.demo("a");
    let at = lab.address();
    let mut engine = lab.engine(&web(at, "", &[a.address]));
    let failed = |result| engine.metric("forebay_takeovers_failed_total", &[("result", result)]);
    // As many as are heard at a time, and some more, which are told so at once.
    let mut silent: Vec<Speaker> = (0..8).map(|_| Speaker::new(&engine)).collect();
    let began = Instant::now();
    let said: Vec<_> = silent.iter_mut().rev().map(|one| one.hears().expect("a reason")).collect();
    let too_many =
        said.iter().filter(|one| one["reason"].to_string().contains("too many ask at once")).count();
    // Who comes late, on a machine that does something else too, finds a place that is free again.
    assert!(too_many <= 4, "{said:?}");
    assert!(said.iter().all(|one| one["say"] == "refused"), "{said:?}");
    // A place is free again in two seconds; the step that others have, in which they must act, is five.
    assert!(began.elapsed() < secs(5), "{:?}", began.elapsed());
    eventually("they are counted", secs(5), || failed("refused") == (8 - too_many) as f64);
    assert_eq!(failed("failed"), 0.0, "nobody was given to");
    let mut new = Speaker::new(&engine);
    new.hello();
    new.waits_for("welcome");
    drop(new);
    eventually("that one was given to", secs(10), || failed("failed") == 1.0);
    drop(engine.upgrade(&options()));
    goes_on(&engine, at, "a");
}
