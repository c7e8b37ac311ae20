//! WebSockets of a Go library, straight and through the engine: both ends must see the same. The cases stand in Go
//! beside this file.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Lab, Origin, Process, config, pki};
use serde_json::Value;

/// Asked for were 40.
const CASES_MIN: usize = 130;

/// Builds the judge from the pinned module beside this file; nothing to do if it is there.
fn program() -> PathBuf {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("judges/websocket");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("websocketjudge");
    let built = Command::new("go")
        .args(["build", "-mod=readonly", "-buildvcs=false", "-o"])
        .args([&program, Path::new(".")])
        .current_dir(module)
        .output()
        .expect("go is there (cargo xtask setup --install)");
    assert!(built.status.success(), "the judge: {}", String::from_utf8_lossy(&built.stderr));
    program
}

/// A server of the judge, in a lab with certificates.
struct Scene {
    server: SocketAddr,
    program: PathBuf,
    _process: Process,
    lab: Lab,
}

impl Scene {
    fn new() -> Self {
        let (lab, program) = (Lab::new(), program());
        pki::authority(lab.folder(), "ca");
        pki::certificate(lab.folder(), "app", "ca", pki::EC, "DNS:app.test", 2);
        let server = lab.address();
        let mut command = Command::new(&program);
        command.args(["serve", &server.to_string()]);
        let process = Process::start("websockets", command, lab.folder());
        eventually("the server of WebSockets listens", secs(10), || TcpStream::connect(server).is_ok());
        Self { server, program, _process: process, lab }
    }

    /// What is seen of each case on each way.
    fn judged(&self, ways: &[String]) -> Vec<Value> {
        let mut command = Command::new(&self.program);
        command.args(["run", &self.server.to_string(), "ca.pem"]).args(ways);
        let out = command.current_dir(self.lab.folder()).output().expect("the judge starts");
        assert!(out.status.success(), "the judge: {}", String::from_utf8_lossy(&out.stderr));
        let text = String::from_utf8(out.stdout).expect("text");
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}

#[test]
fn websockets_are_the_same_through_the_engine_as_without_it() {
    let scene = Scene::new();
    let [plain, secured] = scene.lab.addresses();
    let text = config::service("plain", plain)
        + &config::service_with("secured", secured, "certificates = [\"app\"]")
        + &config::pool("plain", "", &[scene.server])
        + &config::pool("secured", "", &[scene.server])
        + &pki::section("app");
    let engine = scene.lab.engine(&text);
    let seen = scene.judged(&[format!("ws://{plain}"), format!("wss://{secured}")]);
    let bad: Vec<String> = seen.iter().filter(|case| case["ok"] != true).map(told).collect();
    println!("{} cases of WebSockets, each over ws and wss; {} differ", seen.len() / 2, bad.len());
    assert!(bad.is_empty(), "{} of {}:\n{}", bad.len(), seen.len(), bad.join("\n"));
    assert!(seen.len() >= 2 * CASES_MIN, "{} cases", seen.len());
    eventually("every tunnel is closed", secs(20), || {
        engine.metric("forebay_client_connections_open", &[]) == 0.0
    });
}

fn told(case: &Value) -> String {
    let word = |key: &str| case[key].as_str().unwrap_or_default().to_owned();
    let (name, via, want) = (word("name"), word("via"), word("want"));
    format!("{name} over {via}, wanted {want}:\n  straight: {}\n  through:  {}", word("direct"), word("saw"))
}

#[test]
fn the_judge_of_websockets_finds_each_case_behind_a_proxy_that_is_no_good() {
    let scene = Scene::new();
    let server = scene.server;
    // It passes everything on, but for what comes behind the first hundred bytes of an answer.
    let proxy = Origin::start(scene.lab.address(), move |mut wire, _| {
        let mut there = TcpStream::connect(server)?;
        let head = wire.head()?;
        there.write_all(head.as_bytes())?;
        let mut answer = [0; 100];
        there.read_exact(&mut answer)?;
        wire.send(answer)
    });
    let seen = scene.judged(&[format!("ws://{}", proxy.address)]);
    assert!(seen.len() >= CASES_MIN, "{} cases", seen.len());
    let content: Vec<String> = seen.iter().filter(|case| case["ok"] == true).map(told).collect();
    assert!(content.is_empty(), "content with it:\n{}", content.join("\n"));
}
