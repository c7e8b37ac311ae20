//! TLS that is passed on unread, to the server that has the name.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use forebay_e2e::pki::{self, EC};
use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Engine, Lab, Process, Wire, bin, config, eventually};

use crate::{alone, nginx};

/// Three servers, each with its own certificate, behind one address that passes TLS on.
struct Passed {
    engine: Engine,
    _nginx: Process,
    /// Other names go to `rest`.
    at: SocketAddr,
    /// Other names are refused.
    strict: SocketAddr,
    lab: Lab,
}

fn passed(pool: &str) -> Passed {
    let lab = Lab::new();
    pki::authority(lab.folder(), "ca");
    for (name, names) in
        [("one", "DNS:one.test"), ("wild", "DNS:*.wild.test"), ("rest", "DNS:rest.test,DNS:other.test")]
    {
        pki::certificate(lab.folder(), name, "ca", EC, names, 2);
    }
    let [one, wild, rest, at, strict] = lab.addresses();
    let proxy = if pool.is_empty() { "" } else { "proxy_protocol;" };
    let of = |name: &str| format!("{proxy} ssl_certificate {name}.pem; ssl_certificate_key {name}.key;");
    let nginx = nginx(&lab, &[(one, &of("one")), (wild, &of("wild")), (rest, &of("rest"))]);
    let routes = "protocol = \"tcp\"\nsni_routes = [{ names = [\"one.test\"], pool = \"one\" }, { names = [\"*.wild.test\"], pool_group = \"wild\" }]";
    let text = format!(
        "[[virtual_service]]\nname = \"pass\"\nlisten = [\"{at}\"]\npool = \"rest\"\n{routes}\n\
         [[virtual_service]]\nname = \"strict\"\nlisten = [\"{strict}\"]\ntls_profile = \"quick\"\n{routes}\n\
         [[tls_profile]]\nname = \"quick\"\nhandshake_timeout_ms = 1500\n\
         [[pool_group]]\nname = \"wild\"\nmember = [{{ pool = \"wild\" }}]\n"
    ) + &config::pool("one", pool, &[one])
        + &config::pool("wild", pool, &[wild])
        + &config::pool("rest", pool, &[rest]);
    Passed { engine: lab.engine_with(&text, alone()), _nginx: nginx, at, strict, lab }
}

impl Passed {
    /// What curl gets at `at` as a client of `name`, whose certificate it judges.
    fn curl(&self, at: SocketAddr, name: &str, more: &[&str]) -> Output {
        let mut command = Command::new(bin::foreign("curl", "curl"));
        command.args(["--silent", "--show-error", "--fail", "--max-time", "20", "--cacert", "ca.pem"]);
        command.args(["--resolve", &format!("{name}:{}:{}", at.port(), at.ip())]);
        command.args(more).arg(format!("https://{name}:{}/", at.port()));
        command.current_dir(self.lab.folder()).output().expect("curl starts")
    }

    /// Clients' first messages so far that came to this.
    fn heard(&self, service: &str, outcome: &str) -> f64 {
        self.engine.metric("forebay_tls_hellos_total", &[("virtual_service", service), ("outcome", outcome)])
    }
}

//= test TLS-PASS-01
//= test TLS-PASS-03
#[test]
fn a_client_reaches_the_server_that_has_its_name_and_judges_it_itself() {
    let scene = passed("");
    for version in ["--tlsv1.2", "--tlsv1.3"] {
        let max = if version == "--tlsv1.2" { "1.2" } else { "1.3" };
        for name in ["one.test", "a.wild.test", "B.Wild.test", "rest.test"] {
            let Output { status, stdout, stderr } = scene.curl(scene.at, name, &[version, "--tls-max", max]);
            let said = String::from_utf8_lossy(&stdout).to_lowercase();
            assert!(status.success(), "{name}: {}", String::from_utf8_lossy(&stderr));
            assert!(said.contains(&format!("<{}>", name.to_lowercase())), "{name}: {said}");
        }
    }
    assert_eq!((scene.heard("pass", "named"), scene.heard("pass", "other_name")), (6.0, 2.0));
    // Nobody has the name: an alert says so, and where others are taken in, the server decides.
    let refused = scene.curl(scene.strict, "rest.test", &[]);
    let said = String::from_utf8_lossy(&refused.stderr).to_lowercase();
    assert!(!refused.status.success() && said.contains("unrecognized name"), "{said}");
    assert_eq!(scene.heard("strict", "refused"), 1.0);
    // A client that names nobody.
    let mut command = Command::new(bin::foreign("openssl", "openssl"));
    command.args(["s_client", "-noservername", "-connect", &scene.at.to_string()]);
    let shown = command.stdin(Stdio::null()).output().expect("openssl starts");
    assert!(String::from_utf8_lossy(&shown.stdout).contains("CN = rest"), "the server of all others");
    assert_eq!(scene.heard("pass", "no_name"), 1.0);
    let lines = scene.engine.log_lines(6, |line| {
        line["sni_hostname"].as_str().is_some_and(|n| n.ends_with("wild.test") || n == "one.test")
    });
    assert!(lines.iter().all(|line| line["pool_name"] == "one" || line["pool_name"] == "wild"), "{lines:?}");
}

//= test TLS-PASS-03
#[test]
fn large_content_passes_and_the_clients_address_goes_before_all_else() {
    let scene = passed("send_proxy_protocol = \"v2\"");
    let content = vec![b'x'; 8 << 20];
    std::fs::write(scene.lab.folder().join("large"), &content).expect("the lab's folder");
    let url = |path: &str| format!("https://one.test:{}/{path}", scene.at.port());
    let resolve = format!("one.test:{}:{}", scene.at.port(), scene.at.ip());
    let client = scene.lab.client_ip(1).to_string();
    let curl = |more: &[&str]| {
        let mut command = Command::new(bin::foreign("curl", "curl"));
        command.args(["--silent", "--show-error", "--fail", "--max-time", "30", "--cacert", "ca.pem"]);
        command.args(["--resolve", &resolve, "--interface", &client]).args(more);
        let Output { status, stdout, stderr } =
            command.current_dir(scene.lab.folder()).output().expect("curl starts");
        assert!(status.success(), "{more:?}: {}", String::from_utf8_lossy(&stderr));
        stdout
    };
    curl(&["--upload-file", "large", &url("files/large")]);
    assert!(curl(&[&url("files/large")]) == content, "what comes back is what was sent");
    let said = String::from_utf8_lossy(&curl(&[&url("")])).into_owned();
    assert!(said.contains(&format!("<{client}>")), "{said}");
    let moved = scene.engine.metric("forebay_moved_bytes_total", &[]);
    assert!(moved > 4e6, "{moved} bytes went uncopied");
}

/// A ClientHello for this name, as a client of TLS 1.2 makes it.
fn hello(name: &str) -> Vec<u8> {
    let len = name.len() as u16;
    let sni = [
        &[0, 0][..],
        &(len + 5).to_be_bytes(),
        &(len + 3).to_be_bytes(),
        &[0],
        &len.to_be_bytes(),
        name.as_bytes(),
    ]
    .concat();
    let parts: [&[u8]; 5] = [
        &[3, 3],
        &[7; 32],
        &[0, 0, 4, 0xc0, 0x2b, 0xc0, 0x2f, 1, 0],
        &(sni.len() as u16).to_be_bytes(),
        &sni,
    ];
    let content = parts.concat();
    let message = [&[1], &(content.len() as u32).to_be_bytes()[1..], &content].concat();
    [&[22, 3, 1], &(message.len() as u16).to_be_bytes()[..], &message].concat()
}

//= test TLS-PASS-02
#[test]
fn what_is_no_first_message_reaches_no_server_and_says_why() {
    let scene = passed("");
    let twice = {
        let mut bytes = hello("one.test");
        let extension = bytes[bytes.len() - 17..].to_vec();
        bytes.extend(&extension);
        for at in [3, 7, 52] {
            let grown = u16::from_be_bytes([bytes[at], bytes[at + 1]]) + 17;
            bytes[at..at + 2].copy_from_slice(&grown.to_be_bytes());
        }
        bytes
    };
    for (bytes, outcome, words) in [
        (b"GET / HTTP/1.1\r\nHost: one.test\r\n\r\n".to_vec(), "no_tls", "no TLS"),
        (b"\x16\x03\x01\x3f\xff\x01\x00\x40\x01".to_vec(), "too_long", "too long"),
        (twice, "malformed", "name"),
        (hello("one.test")[..40].to_vec(), "late", "in time"),
    ] {
        let (service, at) = if outcome == "late" { ("strict", scene.strict) } else { ("pass", scene.at) };
        let mut wire = Wire::connect(at).expect("it listens");
        wire.send(&bytes).expect("room");
        assert!(wire.closes_within(secs(10)), "{outcome}");
        eventually(outcome, secs(10), || scene.heard(service, outcome) == 1.0);
        let fits =
            |line: &serde_json::Value| line["connection_state"].as_str().is_some_and(|s| s.contains(words));
        scene.engine.log_lines(1, fits);
    }
    let mut wire = Wire::connect(scene.at).expect("it listens");
    wire.send(&hello("one.test")[..40]).expect("room");
    drop(wire);
    eventually("gone", secs(10), || scene.heard("pass", "gone") == 1.0);
    let unbegun = scene.heard("pass", "unbegun");
    drop(Wire::connect(scene.at).expect("it listens"));
    eventually("unbegun", secs(10), || scene.heard("pass", "unbegun") > unbegun);
    assert!(scene.engine.log().iter().all(|line| line["connection_state"] != "it ended without a byte"));
    let opened: f64 = ["one", "wild", "rest"]
        .iter()
        .map(|pool| scene.engine.metric("forebay_pool_requests_total", &[("pool", pool)]))
        .sum();
    assert_eq!(opened, 0.0, "a server was asked for");
    // Piece by piece it is whole in the end, and its server answers.
    let mut wire = Wire::connect(scene.at).expect("it listens");
    wire.patience(secs(10));
    for piece in hello("one.test").chunks(7) {
        wire.stream().write_all(piece).expect("room");
        // Sleep: so that each piece is a segment of its own; whether it is changes nothing but what is tested.
        std::thread::sleep(ms(1));
    }
    let first = wire.exactly(3).expect("the server's answer");
    assert!(first[0] == 22 || first[0] == 21, "a record of TLS: {first:?}");
    eventually("it was heard", secs(10), || scene.heard("pass", "named") == 1.0);
}
