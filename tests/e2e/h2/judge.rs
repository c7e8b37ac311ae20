//! Other people's judges: h2spec, and the clients of nghttp2 and curl.

use std::path::{Path, PathBuf};
use std::process::Command;

use forebay_http::h2::Config;

use crate::server::Server;

/// Builds h2spec from the pinned module beside this file; nothing to do if it is there.
pub fn h2spec() -> PathBuf {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("h2/judges");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("h2spec");
    let built = Command::new("go")
        .args(["build", "-mod=readonly", "-buildvcs=false", "-o"])
        .arg(&program)
        .arg("github.com/summerwind/h2spec/cmd/h2spec")
        .current_dir(module)
        .output()
        .expect("go is there (cargo xtask setup --install)");
    assert!(built.status.success(), "h2spec: {}", String::from_utf8_lossy(&built.stderr));
    program
}

/// What a program prints that must not fail.
pub fn text(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output().expect(program);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        out.status.success(),
        "{program} {args:?}: {}\n{text}\n{}",
        out.status,
        String::from_utf8_lossy(&out.stderr)
    );
    text
}

#[test]
fn h2spec_finds_nothing_in_its_145_cases() {
    let program = h2spec();
    let server = Server::start(Config::default());
    let port = server.address.port().to_string();
    // Seconds to wait for an answer that must come, on a busy machine; two cases wait for one that must not.
    let said = text(program.to_str().unwrap(), &["-h", "127.0.0.1", "-p", &port, "-o", "5"]);
    let last = said.lines().rev().find(|line| line.contains("tests,")).unwrap_or("").trim();
    println!("h2spec: {last}");
    assert_eq!(last, "145 tests, 145 passed, 0 skipped, 0 failed", "{said}");
}

#[test]
fn h2load_gets_every_answer_over_many_streams() {
    let server = Server::start(Config::default());
    let address = format!("http://{}/bytes/1000", server.address);
    let said = text("h2load", &["-n", "20000", "-c", "8", "-m", "32", &address]);
    let there = "20000 total, 20000 started, 20000 done, 20000 succeeded, 0 failed, 0 errored, 0 timeout";
    assert!(said.contains(there), "{said}");
    assert!(said.contains("status codes: 20000 2xx"), "{said}");
    // Small windows of the client: 2^8 - 1 bytes a stream, 2^12 - 1 the connection.
    let said = text("h2load", &["-n", "500", "-c", "2", "-m", "8", "-w", "8", "-W", "12", &address]);
    assert!(said.contains("500 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
}

#[test]
fn nghttp_reads_trailers_and_interim_responses_and_curl_gets_its_upload_back() {
    let server = Server::start(Config::default());
    let said = text("nghttp", &["-v", "--no-dep", &format!("http://{}/trailers", server.address)]);
    for there in [":status: 200", "hello from a thin server", "grpc-status: 0"] {
        assert!(said.contains(there), "{there}: {said}");
    }
    let said = text("nghttp", &["-v", &format!("http://{}/hint", server.address)]);
    for there in [":status: 103", "link: </a.css>; rel=preload", ":status: 200"] {
        assert!(said.contains(there), "{there}: {said}");
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (up, down) = (folder.join("h2-up"), folder.join("h2-down"));
    let content: Vec<u8> = (0..3_000_000u32).map(|n| (n / 7) as u8).collect();
    std::fs::write(&up, &content).unwrap();
    let data = format!("@{}", up.display());
    let url = format!("http://{}/echo", server.address);
    let (silent, prior) = ("--silent", "--http2-prior-knowledge");
    let code = "%{http_version} %{http_code}";
    let args = [silent, prior, "--data-binary", &data, "--output", down.to_str().unwrap(), "-w", code, &url];
    assert_eq!(text("curl", &args), "2 200");
    assert!(std::fs::read(&down).unwrap() == content, "the upload came back changed");
}
