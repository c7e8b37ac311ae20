//! `forebay up --once`: the report and the exit code.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use forebay_e2e::wait::secs;
use forebay_e2e::{Lab, Origin, bin, eventually, origin};
use serde_json::Value;

/// A start of ports that other tests do not use.
/// Sixteen ports in a row that no other lab is given, below those that the kernel gives to connections.
fn port(lab: &Lab) -> u16 {
    let [_, lab, high, low] = lab.ip().octets().map(u16::from);
    10_000 + (lab * 31 + high * 11 + low * 7) % 1_200 * 16
}

fn once(lab: &Lab, port: u16, arguments: &[&str]) -> (Value, Output) {
    let done = Command::new(bin::path("forebay"))
        .args(["up", "--files", "--once", "--port", &port.to_string(), "--data"])
        .arg(lab.folder().join("data"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(text.lines().count(), 1, "one line on standard output: {text}\n{said}");
    (serde_json::from_str(&text).unwrap(), done)
}

#[test]
fn it_reports_no_error_and_no_broken_stickiness_and_ends_well() {
    let lab = Lab::new();
    let (report, done) = once(&lab, port(&lab), &[]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{report}\n{said}");
    let number = |name: &str| report[name].as_u64().unwrap_or_else(|| panic!("no {name} in {report}"));
    assert!(number("clients") >= 200, "{report}");
    assert_eq!(number("requests"), 20 * number("clients"));
    assert_eq!((number("errors"), number("sticky_violations")), (0, 0), "{report}");
    assert!(number("workers_used") >= 2, "{report}");
    assert_eq!(report["killed"], "se-2", "one of two engines was killed: {report}");
    // Sixteen threads send one request at a time; each meets the engine that dies once for each of its workers at most.
    assert!((1..=16 * (number("workers") + 1)).contains(&number("cut")), "{report}");
    assert!(number("moved_after_stop") > 0, "one server was stopped in the middle: {report}");
    assert_eq!(report["spread"].as_object().unwrap().len(), 3, "{report}");
    assert!((1..=4000).contains(&number("first_byte_ms")), "certificates, two engines, one table: {report}");
    let ms = |name: &str| report[name].as_f64().unwrap_or_else(|| panic!("no {name} in {report}"));
    assert!(0.0 < ms("p50_ms") && ms("p50_ms") <= ms("p99_ms"), "{report}");
    assert!(said.lines().last().unwrap().starts_with("good: "), "{said}");
    let (connections, by_address) = clients_in_the_log(&lab);
    let (requests, clients) = (number("requests"), number("clients"));
    // An engine that is killed takes the last lines of its log with it.
    assert!(connections >= requests / 5, "a new connection for each four requests: {connections}");
    assert!(connections < requests / 2, "most requests go over kept connections: {connections}");
    assert_eq!(by_address, clients / 4, "who is known by address has one of its own");
}

/// The client connections in the log, and the addresses of clients of the service that knows them by address.
fn clients_in_the_log(lab: &Lab) -> (u64, u64) {
    let (mut connections, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    let of = |engine: &str| {
        std::fs::read_to_string(lab.folder().join(format!("data/{engine}/access.log"))).unwrap()
    };
    let (first, second) = (of("se-1"), of("se-2"));
    // The last line of an engine that was killed may be torn.
    let lines = first.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
    let killed = second.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
    for line in lines.chain(killed) {
        let ip = line["client_ip"].as_str().unwrap().to_owned();
        // 127.0.0.1 looks whether the services answer yet.
        if ip == "127.0.0.1" {
            continue;
        }
        if line["virtualservice"] == "address" {
            addresses.insert(ip.clone());
        }
        connections.insert((ip, line["client_src_port"].as_u64(), line["client_dest_port"].as_u64()));
    }
    (connections.len() as u64, addresses.len() as u64)
}

#[test]
fn taken_ports_are_passed_over_and_said() {
    let lab = Lab::new();
    let wanted = port(&lab);
    let taken = TcpListener::bind(("127.0.0.1", wanted)).unwrap();
    let (report, done) = once(&lab, wanted, &["--clients", "40"]);
    assert!(done.status.success(), "{report}");
    assert!(String::from_utf8_lossy(&done.stderr).contains(&format!("port {wanted} is taken")));
    drop(taken);
}

#[test]
fn who_listens_at_another_address_on_the_port_of_a_service_is_not_taken_for_an_engine() {
    let lab = Lab::new();
    let wanted = port(&lab);
    let [elsewhere] = lab.addresses::<1>().map(|address| address.ip());
    assert_ne!(elsewhere, std::net::Ipv4Addr::LOCALHOST);
    let others: Vec<TcpListener> =
        (0..4).map(|n| TcpListener::bind((elsewhere, wanted + n)).expect("the lab's own address")).collect();
    let (report, done) = once(&lab, wanted, &["--clients", "40"]);
    assert!(done.status.success(), "{report}\n{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(report["killed"], "se-2", "{report}");
    drop(others);
}

#[test]
fn two_at_the_same_time_do_not_disturb_each_other() {
    let labs = [Lab::new(), Lab::new()];
    std::thread::scope(|scope| {
        let runs: Vec<_> =
            labs.iter().map(|lab| scope.spawn(move || once(lab, 38_080, &["--clients", "80"]))).collect();
        for run in runs {
            let (report, done) = run.join().expect("its assertions hold");
            assert!(done.status.success(), "{report}\n{}", String::from_utf8_lossy(&done.stderr));
        }
    });
}

#[test]
fn servers_of_ones_own_take_the_place_of_the_demo_servers() {
    let lab = Lab::new();
    let [a, b] = lab.demos(["mine-1", "mine-2"]);
    let (report, done) = once(
        &lab,
        port(&lab),
        &["--clients", "80", "--server", &a.address.to_string(), "--server", &b.address.to_string()],
    );
    assert!(done.status.success(), "{report}\n{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(report["sticky_violations"], 0);
    assert!(report["stopped"].is_null(), "nobody stops servers that are not ours");
}

/// Runs it in front of one server; returns its report and the human line.
fn once_before(lab: &Lab, server: &Origin, arguments: &[&str]) -> (Value, String, Option<i32>) {
    let server = server.address.to_string();
    let arguments: Vec<&str> = ["--server", &server].into_iter().chain(arguments.iter().copied()).collect();
    let (report, done) = once(lab, port(lab), &arguments);
    let said = String::from_utf8_lossy(&done.stderr).lines().last().unwrap_or_default().to_owned();
    (report, said, done.status.code())
}

#[test]
fn answers_of_5xx_are_failed_requests_and_it_exits_with_1() {
    let lab = Lab::new();
    let count = AtomicUsize::new(0);
    let sometimes = Origin::answering(lab.address(), move |_| {
        let n = count.fetch_add(1, Ordering::SeqCst);
        let bad = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_vec();
        Some(if n % 100 == 99 { bad } else { origin::ok("fine") })
    });
    let (report, said, code) = once_before(&lab, &sometimes, &["--clients", "40"]);
    assert_eq!(code, Some(1), "{report}\n{said}");
    assert_eq!((&report["ok"], &report["requests"]), (&Value::Bool(false), &Value::from(800)), "{report}");
    assert!((7..=9).contains(&report["errors"].as_u64().unwrap()), "each hundredth fails: {report}");
    assert!(report["error_examples"][0].as_str().unwrap().contains("status 500"), "{report}");
    assert!(said.starts_with("BAD: "), "{said}");
}

#[test]
fn answers_that_break_off_are_failed_requests_and_it_exits_with_1() {
    let lab = Lab::new();
    let count = AtomicUsize::new(0);
    let torn = Origin::start(lab.address(), move |mut wire, _| {
        loop {
            wire.head()?;
            let n = count.fetch_add(1, Ordering::SeqCst);
            if n % 100 == 99 {
                return wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it");
            }
            wire.send(origin::ok("fine"))?;
        }
    });
    let (report, said, code) = once_before(&lab, &torn, &["--clients", "40"]);
    assert_eq!(code, Some(1), "{report}\n{said}");
    assert!((7..=9).contains(&report["errors"].as_u64().unwrap()), "each hundredth fails: {report}");
    assert_eq!(report["sticky_violations"], 0, "{report}");
}

#[test]
fn clients_that_lose_their_server_broke_their_stickiness_and_it_exits_with_1() {
    let lab = Lab::new();
    let mut servers = lab.demos(["mine-1", "mine-2"]);
    let addresses = servers.each_ref().map(|s| s.address.to_string());
    let log = lab.folder().join("data/se-1/access.log");
    let (report, done) = std::thread::scope(|scope| {
        let (lab, [a, b]) = (&lab, &addresses);
        let run = scope.spawn(move || {
            once(lab, port(lab), &["--clients", "80", "--requests", "200", "--server", a, "--server", b])
        });
        // A server that nobody announced as stopped goes away in the middle of the load.
        eventually("a part of the load is through", secs(30), || {
            std::fs::metadata(&log).is_ok_and(|l| l.len() > 1 << 19)
        });
        servers[1].process.kill();
        run.join().expect("its assertions hold")
    });
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(1), "{report}\n{said}");
    assert_eq!(report["ok"], false, "{report}");
    assert!(report["sticky_violations"].as_u64().unwrap() >= 10, "half of 60 clients moved: {report}");
    assert!(said.lines().last().unwrap().starts_with("BAD: "), "{said}");
}

#[test]
fn a_second_run_in_the_same_folder_judges_its_own_requests_only() {
    let lab = Lab::new();
    let server = Origin::fixed(lab.address(), origin::ok("fine"));
    for round in 0..2 {
        let (report, said, code) = once_before(&lab, &server, &["--clients", "16"]);
        assert_eq!(code, Some(0), "round {round}: {report}\n{said}");
        assert_eq!(report["requests"], 320, "{report}");
    }
}

/// Runs `up --once` where it is to fail before any load; returns what it says and its exit code.
fn refused(lab: &Lab, arguments: &[&str]) -> (String, Option<i32>) {
    let done = Command::new(bin::path("forebay"))
        .args(["up", "--files", "--once", "--port", &port(lab).to_string(), "--data"])
        .arg(lab.folder().join("data"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(done.stdout.is_empty(), "no report of a load that was not sent");
    (String::from_utf8_lossy(&done.stderr).into_owned(), done.status.code())
}

#[test]
fn servers_that_nobody_can_reach_are_named_with_what_to_do() {
    let lab = Lab::new();
    let [gone] = lab.addresses::<1>().map(|a| a.to_string());
    let (said, code) = refused(&lab, &["--server", &gone]);
    assert_eq!(code, Some(6), "{said}");
    assert!(said.contains(&format!("waiting for a server to come up: {gone}")), "{said}");
    assert!(said.contains(&format!("not up within 20 s: {gone}; each must accept TCP")), "{said}");
    for (server, why) in [
        ("nohost", "write it as host:port"),
        ("host:0", "write it as host:port"),
        ("no-such-name.invalid:80", "the name has no address"),
    ] {
        let (said, code) = refused(&lab, &["--server", server]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&format!("--server {server}: {why}")), "{said}");
    }
    let (said, code) = refused(&lab, &["--server", &gone, "--server", &gone]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("name each once"), "{said}");
}

#[test]
fn one_server_of_two_is_enough_and_the_other_is_named() {
    let lab = Lab::new();
    let server = Origin::fixed(lab.address(), origin::ok("fine"));
    let gone = lab.address().to_string();
    let began = std::time::Instant::now();
    let arguments = ["--clients", "16", "--server", &server.address.to_string(), "--server", &gone];
    let (report, done) = once(&lab, port(&lab), &arguments);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{report}\n{said}");
    assert!(said.contains(&format!("not up, going on without: {gone}")), "{said}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}
