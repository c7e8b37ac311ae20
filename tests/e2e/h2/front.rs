//! The service engine's clients over HTTP/2: curl and h2load, by prior knowledge and by ALPN.

use std::net::SocketAddr;
use std::process::Command;

use forebay_e2e::pki::{self, EC};
use forebay_e2e::{Demo, Engine, Lab, Options, Origin, bin, config};

use crate::raw::{DATA, END, RESET, Raw, get};

const PROFILE: &str = "[[http_profile]]\nname = \"two\"\nhttp2 = true\n";

/// A service in clear text and one over TLS before the same two servers, with a cookie.
pub struct Fronts {
    pub engine: Engine,
    _servers: [Demo; 2],
    pub clear: SocketAddr,
    pub secured: SocketAddr,
    pub lab: Lab,
}

pub fn fronts() -> Fronts {
    let lab = Lab::new();
    pki::authority(lab.folder(), "ca");
    pki::certificate(lab.folder(), "app", "ca", EC, "DNS:app.test", 2);
    let servers = lab.demos(["a", "b"]);
    let [clear, secured] = lab.addresses();
    let addresses = servers.each_ref().map(|server| server.address);
    let pool = |name| config::pool(name, "algorithm = \"round_robin\"\npersistence = \"p\"", &addresses);
    let text = format!(
        "{}{PROFILE}{}{}{}{}{}{}",
        config::COOKIE_KEY,
        config::service_with("clear", clear, "http_profile = \"two\""),
        config::service_with("secured", secured, "http_profile = \"two\"\ncertificates = [\"app\"]"),
        pool("clear"),
        pool("secured"),
        pki::section("app"),
        config::persistence("p", "http_cookie", "cookie_name = \"STICKY\""),
    );
    let engine = lab.engine_with(&text, Options { workers: 1, ..Options::default() });
    Fronts { engine, _servers: servers, clear, secured, lab }
}

impl Fronts {
    /// curl's answer over HTTP/2; a path is given as `/path`.
    #[track_caller]
    fn curl(&self, tls: bool, arguments: &[&str]) -> String {
        let at = if tls { self.secured } else { self.clear };
        let scheme = if tls { "https" } else { "http" };
        let mut command = Command::new(bin::foreign("curl", "curl"));
        command.args(["--silent", "--show-error", "--max-time", "60", "--cacert", "ca.pem"]);
        command.arg(if tls { "--http2" } else { "--http2-prior-knowledge" });
        command.args(["--resolve", &format!("app.test:{}:{}", at.port(), at.ip())]);
        for argument in arguments {
            match argument.strip_prefix('/') {
                Some(path) => command.arg(format!("{scheme}://app.test:{}/{path}", at.port())),
                None => command.arg(argument),
            };
        }
        let output = command.current_dir(self.lab.folder()).output().expect("curl starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}\n{said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }
}

//= test H2-HOST-01
//= test H2-HOST-02
#[test]
fn curl_gets_posts_and_keeps_its_cookie_by_prior_knowledge_and_by_alpn() {
    let scene = fronts();
    std::fs::write(scene.lab.folder().join("file"), vec![7; 3 << 20]).expect("the folder");
    for tls in [false, true] {
        let curl = |arguments: &[&str]| scene.curl(tls, arguments);
        let echo = curl(&["--data", "a=b", "/form"]);
        assert!(echo.contains("\"body_bytes\":3"), "{echo}");
        let echo = curl(&["--upload-file", "file", "/put"]);
        assert!(echo.contains("\"body_bytes\":3145728"), "{echo}");
        let echo = curl(&["--upload-file", "-", "/put"]);
        assert!(echo.contains("\"body_bytes\":0"), "{echo}");
        assert_eq!(curl(&["/bytes?n=5000000"]).len(), 5_000_000);
        assert_eq!(curl(&["/bytes?n=1000000&chunked=1"]).len(), 1_000_000);
        let head = curl(&["--head", "/health"]);
        assert!(head.starts_with("HTTP/2 200"), "{head}");
        assert!(head.contains("set-cookie: STICKY="), "{head}");
        let jar = if tls { "secured" } else { "clear" };
        let jar = ["--cookie", jar, "--cookie-jar", jar, "--write-out", "%header{x-demo-server}", "/health"];
        let once = curl(&jar);
        assert!((0..6).all(|_| curl(&jar) == once), "the cookie led elsewhere");
        let name = if tls { "secured" } else { "clear" };
        // Who only looks whether somebody listens makes no handshake, and is told as well.
        let of_request =
            |line: &serde_json::Value| line["virtualservice"] == name && line["method"].is_string();
        let lines = scene.engine.log_lines(13, of_request);
        assert!(lines.iter().all(|line| line["http_version"] == "2.0"), "{lines:?}");
    }
}

//= test H2-HOST-02
#[test]
fn many_streams_of_a_few_connections_are_answered_and_counted_as_a_few_connections() {
    let scene = fronts();
    let mut command = Command::new(bin::foreign("h2load", "nghttp2-client"));
    command.args(["-n", "600", "-c", "3", "-m", "20"]).arg(format!("http://{}/health", scene.clear));
    let output = command.output().expect("h2load starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("600 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    let lines = scene.engine.log_lines(600, |line| line["virtualservice"] == "clear");
    let ports = lines.iter().filter_map(|line| line["client_src_port"].as_u64());
    assert_eq!(ports.collect::<std::collections::BTreeSet<_>>().len(), 3);
    let servers = lines.iter().filter_map(|line| line["server_dest_port"].as_u64());
    assert_eq!(servers.collect::<std::collections::BTreeSet<_>>().len(), 2, "each stream is balanced");
}

//= test H2-HOST-03
#[test]
fn a_cut_answer_resets_its_stream_and_the_connection_serves_the_next() {
    let lab = Lab::new();
    pki::authority(lab.folder(), "ca");
    pki::certificate(lab.folder(), "app", "ca", EC, "DNS:app.test", 2);
    let [at, server] = lab.addresses();
    let _server = Origin::start(server, |mut wire, _| {
        let head = wire.head()?;
        wire.send(match head.starts_with("GET /cut ") {
            true => b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart".to_vec(),
            false => b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nwhole".to_vec(),
        })
    });
    let text = format!(
        "{PROFILE}{}{}{}",
        config::service_with("web", at, "http_profile = \"two\"\ncertificates = [\"app\"]"),
        config::pool("web", "", &[server]),
        pki::section("app"),
    );
    let engine = lab.engine_with(&text, Options { workers: 1, ..Options::default() });
    let output = Command::new(bin::foreign("curl", "curl"))
        // Over TLS: curl 7.88 cannot use a connection of prior knowledge twice.
        .args(["--silent", "--max-time", "60", "--http2", "--insecure"])
        .args(["--write-out", "%{exitcode} %{num_connects}\\n"])
        .args(["--output", "cut", &format!("https://{at}/cut")])
        .args(["--output", "whole", &format!("https://{at}/whole")])
        .current_dir(lab.folder())
        .output()
        .expect("curl starts");
    // 92: an error of one stream.
    assert_eq!(String::from_utf8_lossy(&output.stdout), "92 1\n0 0\n");
    assert_eq!(std::fs::read(lab.folder().join("whole")).expect("a file"), b"whole");
    let cut = engine.log_lines(1, |line| line["uri_path"] == "/cut");
    assert_eq!(cut[0]["request_state"], "the server closed the connection in the middle of the answer");
}

//= test H2-HOST-03
#[test]
fn a_cut_answer_ends_with_a_reset_and_never_as_if_it_were_whole() {
    let lab = Lab::new();
    let [at, server] = lab.addresses();
    let _server = Origin::start(server, |mut wire, _| {
        let head = wire.head()?;
        wire.send(match head.split(' ').nth(1) {
            Some("/length") => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello",
            Some("/between-chunks") => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            Some("/in-a-chunk") => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello",
            _ => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        })
    });
    let text = format!(
        "{PROFILE}{}{}",
        config::service_with("web", at, "http_profile = \"two\""),
        config::pool("web", "", &[server]),
    );
    let _engine = lab.engine_with(&text, Options { workers: 1, ..Options::default() });
    let mut raw = Raw::connect(at, &[]).expect("the engine listens");
    let paths = ["/length", "/between-chunks", "/in-a-chunk", "/whole"];
    for (stream, path) in (1..).step_by(2).zip(paths) {
        raw.send(get(stream, path)).expect("it is heard");
        let mut came = Vec::new();
        let last = loop {
            let frame = raw.next().unwrap_or_else(|e| panic!("{path}: {e}"));
            if frame.is(DATA, stream) {
                came.extend_from_slice(&frame.payload);
            }
            if frame.is(RESET, stream) || (frame.stream == stream && frame.flags & END != 0) {
                break frame;
            }
        };
        assert_eq!(String::from_utf8_lossy(&came), "hello", "{path}");
        match path {
            "/whole" => assert_eq!(last.kind, DATA),
            // INTERNAL_ERROR.
            _ => assert_eq!((last.kind, last.payload), (RESET, vec![0, 0, 0, 2]), "{path}"),
        }
    }
}
