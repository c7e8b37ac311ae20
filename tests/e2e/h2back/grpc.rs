//! gRPC end to end, by grpc-go: its interoperability tests through the engine, failures of ours, deadlines, health.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use forebay_e2e::process::Process;
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Engine, Lab, Options, config};

/// Builds the server and the client from the pinned module beside this file; nothing to do if they are there.
fn peers() -> &'static (PathBuf, PathBuf) {
    static PEERS: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    PEERS.get_or_init(|| {
        let build = |name: &str, package: &str| {
            let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
            let built = Command::new("go")
                .args(["build", "-mod=readonly", "-buildvcs=false", "-o"])
                .arg(&program)
                .arg(package)
                .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("h2back/grpc"))
                .output()
                .expect("go is there (cargo xtask setup --install)");
            assert!(built.status.success(), "{name}: {}", String::from_utf8_lossy(&built.stderr));
            program
        };
        (build("grpc-server", "."), build("grpc-client", "google.golang.org/grpc/interop/client"))
    })
}

/// A server of grpc-go behind a service that speaks HTTP/2.
struct Grpc {
    server: Process,
    address: SocketAddr,
    engine: Engine,
    at: SocketAddr,
    lab: Lab,
}

impl Grpc {
    fn new(pool: &str, sections: &str) -> Grpc {
        let (program, _) = peers();
        let lab = Lab::new();
        let [address, at] = lab.addresses();
        let mut command = Command::new(program);
        command.arg(address.to_string());
        let server = Process::start("grpc-server", command, lab.folder());
        eventually("the server listens", secs(15), || TcpStream::connect(address).is_ok());
        let text = config::service_with("web", at, "http_profile = \"two\"")
            + "[[http_profile]]\nname = \"two\"\nhttp2 = true\n"
            + &config::pool(
                "web",
                &format!("enable_http2 = true\npassive_health_monitor = false\n{pool}"),
                &[address],
            )
            + sections;
        let engine = lab.engine_with(&text, Options { workers: 1, ..Options::default() });
        Grpc { server, address, engine, at, lab }
    }

    /// Runs a case of the client's.
    fn case(&self, name: &str, more: &[&str]) -> Output {
        let (_, client) = peers();
        Command::new(client)
            .args(["-server_host", &self.at.ip().to_string()])
            .args(["-server_port", &self.at.port().to_string(), "-test_case", name])
            .args(more)
            .output()
            .expect("the client starts")
    }

    /// What the client says of a case that has to fail.
    fn failed(&self, name: &str) -> String {
        let output = self.case(name, &[]);
        assert!(!output.status.success(), "{name}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

/// All cases but those that want others' credentials, the servers' own names, or reports of their load.
//= test GRPC-CARRY-01
#[test]
fn every_case_of_grpc_gos_interoperability_tests_passes_through_the_engine() {
    let grpc = Grpc::new("", "");
    for case in [
        "empty_unary",
        "large_unary",
        "client_streaming",
        "server_streaming",
        "ping_pong",
        "empty_stream",
        "timeout_on_sleeping_server",
        "cancel_after_begin",
        "cancel_after_first_response",
        "status_code_and_message",
        "special_status_message",
        "custom_metadata",
        "unimplemented_method",
        "unimplemented_service",
    ] {
        let output = grpc.case(case, &[]);
        assert!(output.status.success(), "{case}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let soak = ["-soak_iterations", "200", "-soak_overall_timeout_seconds", "60"];
    let output = grpc.case("rpc_soak", &soak);
    assert!(output.status.success(), "rpc_soak: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(grpc.engine.metric("forebay_server_http2_broken_total", &[]), 0.0);
    assert_eq!(grpc.engine.metric("forebay_server_connections_total", &[]), 1.0);
}

//= test GRPC-STATUS-01
#[test]
fn a_failure_of_ours_is_told_by_grpc_status() {
    let mut grpc = Grpc::new("", "");
    assert!(grpc.case("empty_unary", &[]).status.success());
    grpc.server.kill();
    let said = grpc.failed("empty_unary");
    assert!(said.contains("Unavailable"), "{said}");
    let lines = grpc.engine.log_lines(1, |line| line["response_code"] == 502);
    assert_eq!(lines[0]["uri_path"], "/grpc.testing.TestService/EmptyCall");
}

//= test GRPC-DEADLINE-01
#[test]
fn a_call_ends_at_its_deadline_although_nobody_else_ends_it() {
    let lab = Lab::new();
    let server = crate::server::Server::start(lab.address(), crate::server::Manner::default());
    let at = lab.address();
    let text = config::service_with("web", at, "http_profile = \"two\"")
        + "[[http_profile]]\nname = \"two\"\nhttp2 = true\n"
        + &config::pool("web", "enable_http2 = true\npassive_health_monitor = false", &[server.address]);
    let engine = lab.engine_with(&text, Options { workers: 1, ..Options::default() });
    let url = format!("http://{at}/hold");
    let output = Command::new(forebay_e2e::bin::foreign("curl", "curl"))
        .args(["--silent", "--show-error", "--include", "--http2-prior-knowledge", "--max-time", "60"])
        .args(["--header", "content-type: application/grpc", "--header", "grpc-timeout: 300m"])
        .args(["--data", "x", &url])
        .output()
        .expect("curl starts");
    let said = String::from_utf8_lossy(&output.stdout).to_lowercase();
    assert!(said.starts_with("http/2 200") && said.contains("grpc-status: 4"), "{said}");
    assert!(said.contains("content-type: application/grpc"), "{said}");
    assert_eq!(engine.metric("forebay_timeouts_total", &[("kind", "total")]), 1.0);
}

//= test HM-GRPC-01
//= test HM-GRPC-02
#[test]
fn a_server_is_up_while_its_health_service_says_so() {
    let monitor = |keys: &str| {
        format!(
            "[[health_monitor]]\nname = \"m\"\ntype = \"grpc\"\nsend_interval_s = 5\nreceive_timeout_s = 4\n\
             failed_checks = 1\nsuccessful_checks = 1\n{keys}"
        )
    };
    let grpc = Grpc::new("health_monitors = [\"m\"]", &monitor(""));
    grpc.engine.wait_for_server(grpc.address, true);
    assert!(grpc.case("empty_unary", &[]).status.success());
    grpc.server.signal(libc::SIGUSR1);
    grpc.engine.wait_for_server(grpc.address, false);
    let said = grpc.failed("empty_unary");
    assert!(said.contains("Unavailable"), "{said}");
    let why = grpc.engine.why(grpc.address);
    assert!(why.contains("gRPC health check: NOT_SERVING"), "{why}");
    grpc.server.signal(libc::SIGUSR2);
    grpc.engine.wait_for_server(grpc.address, true);
    drop(grpc);
    let known = Grpc::new("health_monitors = [\"m\"]", &monitor("service = \"known\"\n"));
    known.engine.wait_for_server(known.address, true);
    let unknown = Grpc::new("health_monitors = [\"m\"]", &monitor("service = \"unknown\"\n"));
    unknown.engine.wait_for_server(unknown.address, false);
    let why = unknown.engine.why(unknown.address);
    assert!(why.contains("NOT_FOUND"), "{why}");
    assert!(unknown.lab.folder().exists());
}
