//! The access log of a running engine: rotation, a full disk, what is in it.

use serde_json::Value;

use crate::rig::{Engine, Origin, address, eventually, secs, service, through};

//= test OBS-LOG-03
//= test OBS-LOG-05
#[test]
fn each_request_is_a_line_of_json_and_a_renamed_log_goes_on_in_a_new_file() {
    let (one, listen) = (Origin::start(), address());
    let engine = Engine::start("", &service("web", listen, "", &[one.address]));
    through(listen, "/first?a=1", "User-Agent: \"quoted\\\r\n").expect("an answer");
    eventually("the first line", secs(5), || engine.access_log("access.log").contains("/first"));
    std::fs::rename(engine.folder.join("access.log"), engine.folder.join("access.log.1")).expect("renamed");
    engine.signal(libc::SIGHUP);
    eventually("a line in the new file", secs(5), || {
        through(listen, "/second", "").expect("an answer");
        engine.access_log("access.log").contains("/second")
    });
    let old = engine.access_log("access.log.1");
    let line: Value = serde_json::from_str(old.lines().next().expect("a line")).expect("JSON");
    assert_eq!(line["virtualservice"], "web");
    assert_eq!((&line["uri_path"], &line["uri_query"]), (&"/first".into(), &"a=1".into()));
    assert_eq!(line["user_agent"], "\"quoted\\");
    assert_eq!(line["response_code"], 200);
    assert_eq!(line["server_dest_port"], one.address.port());
    assert_eq!(line["reason"]["chosen_by"], "algorithm");
    let ms = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{name} is no number: {line}"));
    let parts = ms("client_rtt") + ms("server_rtt") + ms("app_response_time") + ms("data_transfer_time");
    assert!((parts - ms("total_time")).abs() <= 1.0, "{line}");
}

//= test OBS-LOG-04
#[test]
fn a_full_disk_costs_log_lines_and_no_request() {
    let (one, listen) = (Origin::start(), address());
    let engine =
        Engine::start("access_log = { path = \"/dev/full\" }", &service("web", listen, "", &[one.address]));
    for _ in 0..20 {
        assert!(through(listen, "/", "").is_some_and(|answer| answer.contains(" 200 ")));
    }
    let lost = "forebay_access_log_lines_total";
    eventually("twenty lines are lost and counted", secs(5), || engine.metric(lost, &["lost"]) == 20.0);
    assert_eq!(engine.metric(lost, &["written"]), 0.0);
    let said = engine.said();
    assert_eq!(said.matches("the access log cannot be written").count(), 1, "said once a minute: {said}");
}

//= test OBS-LOG-08
#[test]
fn a_log_whose_folder_is_gone_at_a_hangup_is_told_at_once_and_used_when_it_is_back() {
    let (one, listen) = (Origin::start(), address());
    let rest = service("web", listen, "", &[one.address]);
    let logs = std::env::temp_dir().join(format!("forebay-logs-{}", std::process::id()));
    std::fs::create_dir_all(&logs).expect("a folder");
    let path = logs.join("access.log");
    let engine = Engine::start(&format!("access_log = {{ path = \"{}\" }}", path.display()), &rest);
    let away = logs.with_extension("away");
    std::fs::rename(&logs, &away).expect("the folder is there");
    engine.signal(libc::SIGHUP);
    eventually("it is told before any request came", secs(5), || {
        engine.said().contains("the access log cannot be written")
    });
    through(listen, "/", "").expect("an answer");
    eventually("a line is lost", secs(5), || {
        engine.metric("forebay_access_log_lines_total", &["lost"]) == 1.0
    });
    std::fs::create_dir(&logs).expect("a folder");
    eventually("a line is written", secs(10), || {
        through(listen, "/", "").expect("an answer");
        engine.metric("forebay_access_log_lines_total", &["written"]) >= 1.0
    });
    let written = std::fs::read_to_string(&path).expect("the log");
    assert!(written.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{written}");
    eventually("it says so", secs(5), || engine.said().contains("the access log is written again"));
    for folder in [logs, away] {
        std::fs::remove_dir_all(folder).expect("the folder is ours");
    }
}

//= test OBS-LOG-08
#[test]
fn a_log_that_cannot_be_opened_refuses_the_start() {
    let rest = service("web", address(), "", &[address()]);
    let mut engine = Engine::spawn("access_log = { path = \"nowhere/access.log\" }", &rest, &[]);
    assert_eq!(engine.ended(secs(10)), Some(1));
    let said = engine.said();
    assert!(said.contains("engine.access_log.path: ") && said.contains("nowhere/access.log"), "{said}");
}

//= test OBS-LOG-07
#[test]
fn a_request_that_the_stop_cuts_has_its_line() {
    let (listen, server) = (address(), address());
    let silent = std::net::TcpListener::bind(server).expect("the address is free");
    let mut engine = Engine::start("stop_grace_s = 0", &service("web", listen, "", &[server]));
    let client = std::thread::spawn(move || through(listen, "/waits?a=1", ""));
    let (server_side, _) = silent.accept().expect("the request comes");
    eventually("it is under way", secs(5), || engine.metric("forebay_server_requests_active", &[]) == 1.0);
    engine.signal(libc::SIGTERM);
    assert_eq!(engine.ended(secs(10)), Some(6), "a connection was cut");
    drop(server_side);
    assert_eq!(client.join().expect("no panic"), None);
    let log = engine.access_log("access.log");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let [line] = &lines[..] else { panic!("one line is wanted: {log}") };
    assert_eq!((&line["uri_path"], &line["uri_query"]), (&"/waits".into(), &"a=1".into()));
    assert_eq!(line["request_state"], "cut: the engine stopped");
    assert_eq!(line["server_dest_port"], server.port());
    assert_eq!(line["response_code"], 0);
}

#[test]
fn the_process_log_is_json_when_asked() {
    let (one, listen) = (Origin::start(), address());
    let engine =
        Engine::start("process_log = { format = \"json\" }", &service("web", listen, "", &[one.address]));
    let said = engine.said();
    assert!(said.lines().count() >= 3);
    for line in said.lines() {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(value["level"].is_string() && value["message"].is_string(), "{line}");
    }
}
