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

#[test]
fn a_log_folder_that_appears_later_is_used_from_then_on() {
    let (one, listen) = (Origin::start(), address());
    let engine = Engine::start(
        "access_log = { path = \"logs/access.log\" }",
        &service("web", listen, "", &[one.address]),
    );
    through(listen, "/", "").expect("an answer");
    eventually("a line is lost", secs(5), || {
        engine.metric("forebay_access_log_lines_total", &["lost"]) == 1.0
    });
    std::fs::create_dir(engine.folder.join("logs")).expect("a folder");
    eventually("a line is written", secs(10), || {
        through(listen, "/", "").expect("an answer");
        engine.metric("forebay_access_log_lines_total", &["written"]) >= 1.0
    });
    assert!(engine.access_log("logs/access.log").lines().all(|l| serde_json::from_str::<Value>(l).is_ok()));
    assert!(engine.said().contains("the access log is written again"));
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
