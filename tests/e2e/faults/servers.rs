//! Servers that die, hang, or flap.

use std::io::ErrorKind;
use std::time::Instant;

use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Client, Lab, Options, Origin, Request, Scene, Wire, config, eventually, system};

/// Round robin is exact within one worker: three requests meet three servers.
fn one_worker() -> Scene {
    let options = Options { workers: 1, ..Options::default() };
    Scene::with(Lab::new(), "algorithm = \"round_robin\"", "", options)
}

#[test]
fn a_server_killed_in_the_middle_of_a_request_costs_no_get() {
    let mut scene = one_worker();
    let at = scene.at;
    // Three requests, one with each server, each taking two seconds.
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(move || {
                    Client::new(at).get_once("/slow?ms=1500").map(|a| (a.status, a.server().to_owned()))
                })
            })
            .collect();
        eventually("each server has a request", secs(5), || {
            scene.engine.metric("forebay_server_requests_active", &[]) >= 3.0
        });
        let began = Instant::now();
        scene.server("a").process.kill();
        for answer in asking {
            let (status, server) = answer.join().expect("a client does not panic").unwrap();
            assert_eq!(status, 200);
            assert_ne!(server, "a");
        }
        assert!(began.elapsed() < secs(8), "{:?}", began.elapsed());
    });
    super::is_well(&mut scene);
}

#[test]
fn a_server_killed_in_the_middle_of_a_post_is_a_502() {
    let mut scene = one_worker();
    let at = scene.at;
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(move || Client::new(at).send(&Request::post("/slow?ms=1500", "order").last()))
            })
            .collect();
        eventually("each server has a request", secs(5), || {
            scene.engine.metric("forebay_server_requests_active", &[]) >= 3.0
        });
        scene.server("a").process.kill();
        let statuses: Vec<u16> = asking
            .into_iter()
            .map(|a| a.join().expect("a client does not panic").map_or(0, |a| a.status))
            .collect();
        assert_eq!(statuses.iter().filter(|s| **s == 200).count(), 2, "{statuses:?}");
        assert!(statuses.contains(&502), "{statuses:?}");
    });
    super::is_well(&mut scene);
}

#[test]
fn a_server_killed_in_the_middle_of_an_answer_cuts_that_answer_only() {
    let mut scene = one_worker();
    let mut wires: Vec<Wire> = (0..3)
        .map(|_| {
            let mut wire = Wire::connect(scene.at).unwrap();
            wire.send("GET /bytes?n=200000000 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            wire.head().unwrap();
            wire.exactly(100_000).unwrap();
            wire
        })
        .collect();
    scene.server("b").process.kill();
    let mut cut = 0;
    for wire in &mut wires {
        let began = Instant::now();
        let mut got = 100_000_u64;
        while let Ok(bytes) = wire.exactly(100_000) {
            got += bytes.len() as u64;
            if got == 200_000_000 {
                break;
            }
        }
        assert!(began.elapsed() < secs(20), "{:?}", began.elapsed());
        cut += usize::from(got < 200_000_000);
    }
    assert_eq!(cut, 1, "one server, one answer");
    super::is_well(&mut scene);
}

#[test]
fn with_all_servers_down_every_client_hears_so_at_once_and_service_returns_by_itself() {
    let pool = "algorithm = \"round_robin\"\nhealth_monitors = [\"m\"]\nfail_action = { action = \"local_response\", status = 503 }";
    let mut scene = Scene::new(pool, &config::monitor("m"));
    let addresses = ["a", "b", "c"].map(|name| {
        scene.server(name).process.kill();
        scene.server(name).address
    });
    // At first by failed connections, then by health checks: never a hang, never a wrong answer.
    let began = Instant::now();
    let mut asked = 0;
    while began.elapsed() < secs(5) {
        let one = Instant::now();
        let answer = scene.client().get_once("/").unwrap();
        assert!([502, 503].contains(&answer.status), "{}", answer.status);
        assert!(one.elapsed() < secs(2), "{:?}", one.elapsed());
        asked += 1;
    }
    assert!(asked > 50);
    for address in addresses {
        scene.engine.wait_for_server(address, false);
    }
    *scene.server("c") = scene.lab.demo_at("c", addresses[2]);
    eventually("the service is back", secs(10), || {
        scene.client().get_once("/").is_ok_and(|a| a.server() == "c")
    });
    super::is_well(&mut scene);
}

#[test]
fn thousands_of_connections_to_a_server_that_never_answers_all_end_at_their_time_out() {
    let files = system::raise_file_limit();
    // Two descriptors of each connection are in this process, two in the engine.
    let count = 9_000.min((files as usize - 200) / 2);
    let lab = Lab::new();
    let silent = Origin::silent(lab.address());
    let at = lab.address();
    let time_out = secs(3);
    let text = config::service("web", at)
        + &config::pool("web", "passive_health_monitor = false", &[silent.address])
        + &config::profile("response_timeout_ms = 3000\nheader_timeout_ms = 60000");
    let mut engine = lab.engine(&text);
    let mut wires: Vec<(Wire, Instant)> = (0..count)
        .map(|n| {
            let mut wire = Wire::connect(at).unwrap_or_else(|e| panic!("connection {n}: {e}"));
            wire.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            (wire, Instant::now())
        })
        .collect();
    // The last ones are looked at shortly before their time, the others by the engine's own log.
    let last = wires.last().expect("there are some").1;
    std::thread::sleep((time_out - ms(300)).saturating_sub(last.elapsed())); // Sleep: a lower bound is the subject.
    let too_early = wires.iter_mut().rev().take(50).filter(|(wire, sent)| {
        wire.stream().set_nonblocking(true).unwrap();
        let is_waiting = wire.stream().peek(&mut [0]).is_err_and(|e| e.kind() == ErrorKind::WouldBlock);
        wire.stream().set_nonblocking(false).unwrap();
        !is_waiting && sent.elapsed() < time_out
    });
    assert_eq!(too_early.count(), 0, "connections with an answer or an end before their time");
    eventually("all requests are with the server", secs(60), || silent.accepted() >= count);
    let began = Instant::now();
    for (n, (wire, _)) in wires.iter_mut().enumerate() {
        let left = secs(20).saturating_sub(began.elapsed()).max(ms(1));
        assert!(wire.closes_within(left), "connection {n} of {count} is still open");
        let text = String::from_utf8_lossy(wire.ahead()).into_owned();
        assert!(text.starts_with("HTTP/1.1 504 "), "connection {n}: {text:?}");
    }
    drop(wires);
    assert!(engine.process.ended().is_none());
    assert_eq!(engine.metric("forebay_timeouts_total", &[("kind", "response")]), count as f64);
    let shortest = engine
        .log_lines(count, |l| l["response_code"] == 504)
        .iter()
        .map(|l| l["total_time"].as_f64().expect("milliseconds"))
        .fold(f64::INFINITY, f64::min);
    assert!(shortest >= time_out.as_millis() as f64, "one ended after {shortest} ms");
    eventually("nothing is left over", secs(10), || {
        engine.metric("forebay_server_requests_active", &[]) == 0.0
    });
}
