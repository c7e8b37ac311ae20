//! Clients and servers written by others: redis, iperf3.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use forebay_e2e::wait::secs;
use forebay_e2e::{Lab, Process, bin, eventually};

use crate::tcp_service;

/// Runs a program to its end and gives what it printed.
#[track_caller]
fn run(command: &mut Command, input: &[u8]) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    child.stdin.take().expect("piped").write_all(input).expect("it reads");
    let done = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&done.stderr));
    text
}

fn listens(at: SocketAddr) {
    eventually(&format!("{at} listens"), secs(10), || TcpStream::connect(at).is_ok());
}

#[test]
fn redis_talks_pushes_and_pipes_through_it() {
    let lab = Lab::new();
    let [server, at] = lab.addresses();
    let mut command = Command::new(bin::foreign("redis-server", "redis-server"));
    command.args(["--bind", &server.ip().to_string(), "--port", &server.port().to_string()]);
    command.args(["--save", "", "--appendonly", "no"]).current_dir(lab.folder());
    let _redis = Process::start("redis", command, lab.folder());
    listens(server);
    let engine = lab.engine(&tcp_service("redis", at, "", &[server]));
    let cli = || {
        let mut command = Command::new(bin::foreign("redis-cli", "redis-tools"));
        command.args(["-h", &at.ip().to_string(), "-p", &at.port().to_string()]);
        command
    };
    assert_eq!(run(cli().args(["set", "a", "1"]), b"").trim(), "OK");
    assert_eq!(run(cli().args(["incrby", "a", "41"]), b"").trim(), "42");
    let big = vec![b'x'; 5 << 20];
    assert_eq!(run(cli().args(["-x", "set", "big"]), &big).trim(), "OK");
    assert_eq!(run(cli().args(["get", "big"]), b"").trim().len(), big.len());
    // The client ends its side when it has sent all, and reads the rest of the answers.
    let many: String = (0..20_000).map(|n| format!("SET k{n} {n}\r\n")).collect();
    let told = run(cli().arg("--pipe"), many.as_bytes());
    assert!(told.contains("errors: 0, replies: 20000"), "{told}");
    assert_eq!(run(cli().arg("dbsize"), b"").trim(), "20002");
    let lines = engine.log_lines(6, |line| line["rx_bytes"].as_u64() > Some(0));
    assert!(lines.iter().all(|line| line["protocol"] == "tcp" && line["server_dest_port"] == server.port()));
    assert!(lines.iter().any(|line| line["tx_bytes"].as_u64() > Some(5 << 20)), "{lines:?}");
}

#[test]
fn iperf3_measures_both_directions_through_it() {
    let lab = Lab::new();
    let [server, at] = lab.addresses();
    let mut command = Command::new(bin::foreign("iperf3", "iperf3"));
    command.args(["--server", "--bind", &server.ip().to_string(), "--port", &server.port().to_string()]);
    let _iperf = Process::start("iperf3", command, lab.folder());
    listens(server);
    let engine = lab.engine(&tcp_service("bulk", at, "", &[server]));
    for reverse in [false, true] {
        let mut command = Command::new(bin::foreign("iperf3", "iperf3"));
        command.args(["--client", &at.ip().to_string(), "--port", &at.port().to_string()]);
        command.args(["--time", "1", "--parallel", "3", "--json"]);
        if reverse {
            command.arg("--reverse");
        }
        // It serves one client at a time, and needs a moment after one.
        let mut text = String::new();
        eventually("iperf3 runs", secs(20), || {
            let done = command.output().expect("the program starts");
            text = String::from_utf8_lossy(&done.stdout).into_owned();
            done.status.success()
        });
        let report: serde_json::Value = serde_json::from_str(&text).expect("a report");
        let received = report["end"]["sum_received"]["bytes"].as_f64().unwrap_or_default();
        assert!(received > 10e6, "reverse {reverse}: {received} bytes\n{text}");
    }
    let busy =
        engine.log_lines(6, |line| line["rx_bytes"].as_u64().max(line["tx_bytes"].as_u64()) > Some(1 << 20));
    assert!(busy.iter().all(|line| line["server_dest_port"] == server.port()));
}
