//! Clients and servers written by others: redis, iperf3.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use forebay_e2e::wait::secs;
use forebay_e2e::{Lab, Process, bin, eventually};

use crate::{tcp_service, udp};

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
            // Being told to come again may count as success.
            done.status.success() && !text.contains("the server is busy")
        });
        let report: serde_json::Value = serde_json::from_str(&text).expect("a report");
        let received = report["end"]["sum_received"]["bytes"].as_f64().unwrap_or_default();
        assert!(received > 10e6, "reverse {reverse}: {received} bytes\n{text}");
    }
    let busy =
        engine.log_lines(6, |line| line["rx_bytes"].as_u64().max(line["tx_bytes"].as_u64()) > Some(1 << 20));
    assert!(busy.iter().all(|line| line["server_dest_port"] == server.port()));
}

#[test]
fn dig_asks_a_name_server_of_others_through_it() {
    let lab = Lab::new();
    let [server, at] = lab.addresses();
    let mut command = Command::new(bin::foreign("dnsmasq", "dnsmasq-base"));
    command.args([
        "--keep-in-foreground",
        "--no-resolv",
        "--no-hosts",
        "--conf-file=/dev/null",
        "--pid-file=",
    ]);
    command.args(["--bind-interfaces", "--user=root", "--address=/forebay.test/192.0.2.77"]);
    command.arg(format!("--listen-address={}", server.ip())).arg(format!("--port={}", server.port()));
    let _dnsmasq = Process::start("dnsmasq", command, lab.folder());
    let dig = |at: SocketAddr| {
        let mut command = Command::new(bin::foreign("dig", "bind9-dnsutils"));
        command.arg(format!("@{}", at.ip())).args(["-p", &at.port().to_string()]);
        command.args(["+short", "+tries=3", "+time=5", "www.forebay.test"]);
        let done = command.output().expect("the program starts");
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    };
    eventually("the name server answers", secs(20), || dig(server) == "192.0.2.77");
    let engine = lab.engine(&udp::service(at, "answers_per_flow = 1", "", &[server]));
    for _ in 0..20 {
        assert_eq!(dig(at), "192.0.2.77");
    }
    let lines = engine.log_lines(20, |line| line["connection_state"] == "complete");
    assert!(lines.iter().all(|line| line["server_dest_port"] == server.port()));
}

//= test L4-UDP-01
#[test]
fn iperf3_sends_datagrams_both_ways_through_it_beside_its_tcp_connection() {
    let lab = Lab::new();
    let [server, at] = lab.addresses();
    let mut command = Command::new(bin::foreign("iperf3", "iperf3"));
    command.args(["--server", "--bind", &server.ip().to_string(), "--port", &server.port().to_string()]);
    let _iperf = Process::start("iperf3", command, lab.folder());
    listens(server);
    // What it says of a run goes by TCP to the same port.
    let engine =
        lab.engine(&(tcp_service("control", at, "", &[server]) + &udp::service(at, "", "", &[server])));
    for reverse in [false, true] {
        let mut command = Command::new(bin::foreign("iperf3", "iperf3"));
        command.args(["--client", &at.ip().to_string(), "--port", &at.port().to_string()]);
        command.args(["--udp", "--bitrate", "5M", "--length", "1200", "--time", "2", "--json"]);
        if reverse {
            command.arg("--reverse");
        }
        // It serves one client at a time, and needs a moment after one; a machine that is busy elsewhere loses some.
        eventually(&format!("most of 1,000 datagrams arrive, reverse {reverse}"), secs(60), || {
            let done = command.output().expect("the program starts");
            let report: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap_or_default();
            let sum = &report["end"]["sum"];
            let (sent, lost) = (sum["packets"].as_f64(), sum["lost_packets"].as_f64());
            done.status.success() && sent > Some(500.0) && lost < sent.map(|sent| sent / 2.0)
        });
    }
    assert!(engine.metric("forebay_client_received_datagrams_total", &[]) > 250.0);
    assert!(engine.metric("forebay_client_sent_datagrams_total", &[]) > 250.0);
}
