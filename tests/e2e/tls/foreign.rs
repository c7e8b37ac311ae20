//! Sessions and persistence by clients that keep their sessions by themselves: OpenSSL's own, curl, Go.

use std::path::Path;
use std::process::{Command, Output};

use crate::attacks::typed;
use crate::{Secured, secured};

const ROUNDS: usize = 4;

fn scene() -> Secured {
    let pool = "algorithm = \"round_robin\"\nround_robin_per_engine = true\npersistence = \"session\"";
    secured("", pool, "[[persistence]]\nname = \"session\"\ntype = \"tls\"\n")
}

/// How many sessions of this version were gone on with.
fn resumed(scene: &Secured, version: &str) -> f64 {
    let labels = [("virtual_service", "web"), ("version", version), ("kind", "resumed")];
    scene.engine.metric("forebay_tls_handshakes_total", &labels)
}

#[track_caller]
fn all_one(servers: &[String]) {
    assert_eq!(servers.len(), ROUNDS, "{servers:?}");
    assert!(!servers[0].is_empty() && servers.iter().all(|server| *server == servers[0]), "{servers:?}");
}

//= test PERS-TLS-02
#[test]
fn openssl_comes_back_to_its_server_with_the_session_that_it_wrote_to_a_file() {
    let scene = scene();
    let ask = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for version in ["1.2", "1.3"] {
        let words = format!("-tls{} -ign_eof -sess_out session", version.replace('.', "_"));
        let visit = |words: &str| {
            let said = typed(&scene, words, ask);
            let heads = said.to_ascii_lowercase();
            let line = heads.lines().find_map(|line| line.strip_prefix("x-demo-server: "));
            (line.unwrap_or_else(|| panic!("{said}")).trim().to_owned(), said.contains("Reused, "))
        };
        let (home, is_resumed) = visit(&words);
        assert!(!is_resumed);
        for _ in 0..3 {
            assert_eq!(visit(&format!("{words} -sess_in session")), (home.clone(), true), "{version}");
        }
        // The next new client, as all servers take turns.
        assert_ne!(visit(&words).0, home);
    }
}

//= test PERS-TLS-02
#[test]
fn curl_comes_back_to_its_server_with_each_new_connection() {
    let scene = scene();
    for (version, most) in [("1.2", "1.2"), ("1.3", "1.3")] {
        let mut words =
            vec!["--http1.1", "--tls-max", most, "-H", "Connection: close", "-w", "%header{x-demo-server}\n"];
        for _ in 0..ROUNDS {
            words.extend(["-o", "null", "/"]);
        }
        let servers: Vec<String> = scene.curl(&words).lines().map(str::to_owned).collect();
        all_one(&servers);
        assert_eq!(resumed(&scene, version), ROUNDS as f64 - 1.0);
    }
}

//= test PERS-TLS-02
#[test]
fn a_client_in_go_comes_back_to_its_server_with_each_new_connection() {
    let scene = scene();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tls/visitor/main.go");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("visitor");
    let built = Command::new("go").args(["build", "-o"]).arg(&program).arg(source).output();
    let built = built.expect("go is there (cargo xtask setup --install)");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    for version in ["1.2", "1.3"] {
        let Output { status, stdout, stderr } = Command::new(&program)
            .args([&scene.at.to_string(), "ca.pem", version, &ROUNDS.to_string()])
            .current_dir(scene.lab.folder())
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&stdout).into_owned();
        assert!(status.success(), "{said}{}", String::from_utf8_lossy(&stderr));
        let visits: Vec<(&str, &str)> = said.lines().filter_map(|line| line.split_once(' ')).collect();
        all_one(&visits.iter().map(|(_, server)| (*server).to_owned()).collect::<Vec<_>>());
        assert!(visits[1..].iter().all(|(how, _)| *how == "resumed"), "{version}: {said}");
    }
}
