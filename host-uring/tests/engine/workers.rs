//! Panics and stalls of workers in a running engine.

use crate::rig::{Engine, Origin, address, eventually, secs, service, through};

//= test OBS-WORKER-01
#[test]
fn after_a_worker_panics_every_new_request_is_served() {
    let (one, listen) = (Origin::start(), address());
    let engine = Engine::start("", &service("web", listen, "", &[one.address]));
    for round in 1..=3 {
        assert!(engine.ask(&["fault", "0"]).status.success());
        eventually("the panic is counted", secs(5), || {
            engine.metric("forebay_worker_panics_total", &["worker=\"0\""]) == f64::from(round)
        });
        for _ in 0..20 {
            assert!(through(listen, "/", "").is_some_and(|answer| answer.contains(" 200 ")));
        }
    }
    assert!(engine.said().contains("SE_WORKER_ENDED"));
    eventually("no connection is counted as open", secs(5), || {
        engine.metric("forebay_client_connections_open", &[]) == 0.0
    });
}

//= test OBS-WORKER-02
#[test]
fn while_a_worker_stands_still_another_one_serves_its_clients() {
    let (one, listen) = (Origin::start(), address());
    let engine = Engine::start("", &service("web", listen, "", &[one.address]));
    assert!(engine.ask(&["fault", "1", "--stall-ms", "4000"]).status.success());
    eventually("it is seen", secs(4), || engine.metric("forebay_worker_stuck", &["worker=\"1\""]) == 1.0);
    for _ in 0..30 {
        assert!(through(listen, "/", "").is_some_and(|answer| answer.contains(" 200 ")));
    }
    eventually("it goes on", secs(10), || engine.metric("forebay_worker_stuck", &[]) == 0.0);
    assert_eq!(engine.metric("forebay_worker_stalls_total", &["worker=\"1\""]), 1.0);
}

#[test]
fn faults_are_refused_unless_the_engine_was_started_for_them() {
    let listen = address();
    let folder = std::env::temp_dir().join(format!("forebay-nofault-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let document = format!(
        "version = 1\n[engine]\npersistence_mem_max_bytes = 1048576\nadmin_socket = \"a.sock\"\naccess_log = {{ path = \"off\" }}\n{}",
        service("web", listen, "", &[address()])
    );
    std::fs::write(folder.join("se.toml"), document).expect("written");
    let mut child = std::process::Command::new(crate::rig::PROGRAM)
        .args(["run", "--config", "se.toml"])
        .current_dir(&folder)
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    let ask = || {
        std::process::Command::new(crate::rig::PROGRAM)
            .args(["fault", "0", "--socket", "a.sock"])
            .current_dir(&folder)
            .output()
            .expect("it runs")
    };
    eventually("it refuses", secs(10), || ask().status.code() == Some(5));
    child.kill().expect("it is our child");
    child.wait().expect("it ends");
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
}
