//! `forebay up --once`: the report and the exit code.

use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use forebay_e2e::{Lab, bin};
use serde_json::Value;

/// A start of ports that other tests do not use.
fn port(lab: &Lab) -> u16 {
    10_000 + lab.address().port() % 20_000
}

fn once(lab: &Lab, port: u16, arguments: &[&str]) -> (Value, Output) {
    let done = Command::new(bin::path("forebay"))
        .args(["up", "--once", "--port", &port.to_string(), "--data"])
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
    assert!(number("moved_after_stop") > 0, "one server was stopped in the middle: {report}");
    assert_eq!(report["spread"].as_object().unwrap().len(), 3, "{report}");
    assert!(number("first_byte_ms") <= 1000, "{report}");
    assert!(report["p99_ms"].is_number(), "{report}");
    assert!(said.lines().last().unwrap().starts_with("good: "), "{said}");
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
