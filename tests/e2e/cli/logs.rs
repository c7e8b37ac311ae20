//! Requests of a service, from the command line.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc;

use forebay_e2e::Client;
use forebay_e2e::led::{Options, member};
use forebay_e2e::wait::{eventually, secs};

use crate::User;

//= test CLI-LOGS-01
#[test]
fn requests_are_shown_filtered_counted_and_followed() {
    let user = User::at_home();
    let _engine = member(&user.lab, &user.controller, &Options::default());
    let (server, at) = (user.lab.demo("a"), user.lab.address());
    user.run(&["logs", "web"]).says(3, "forebay virtualservice list");
    user.run(&["pool", "create", "web", &format!("servers={}", server.address)]).says(0, "created");
    let vip = format!(r#"vip=[{{"vip_id": "1", "ip_address": {{"addr": "{}", "type": "V4"}}}}]"#, at.ip());
    user.run(&["vip", "create", "web", &vip]).says(0, "created");
    let all = r#"analytics_policy={"full_client_logs": {"enabled": true, "duration": 0, "throttle": 0}}"#;
    let port = format!("services={}", at.port());
    user.run(&["vs", "create", "web", &port, "pool_ref=web", "vsvip_ref=web", all]).says(0, "created");
    let ask = |path: &str| Client::new(at).get_once(path).is_ok_and(|answer| answer.status == 200);
    eventually("it serves", secs(20), || ask("/"));
    assert!(ask("/shop/1") && ask("/shop/2"));
    eventually("both are shown", secs(10), || {
        let out = user.run(&["logs", "web", "-f", "uri_path^/shop/"]).out;
        out.lines().count() == 2 && out.contains("/shop/1  200") && out.contains("/shop/2  200")
    });
    let rows = user.run(&["logs", "web", "-f", "uri_path=/shop/2", "-o", "json"]).out;
    let record: serde_json::Value = serde_json::from_str(&rows).expect("one JSON document");
    assert_eq!(record["uri_path"], "/shop/2");
    user.run(&["logs", "web", "--top", "response_code"]).says(0, "RESPONSE_CODE").says(0, "200");
    user.run(&["logs", "web", "--significant"]).says(0, "");
    user.run(&["logs", "web", "-f", "nonsense"]).says(2, "response_code>=500");
    user.run(&["logs", "web", "-f", "response_code>many"]).says(2, "many");

    let mut command = user.command(&["logs", "web", "--follow", "-f", "uri_path^/later/"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let out = BufReader::new(child.stdout.take().expect("a pipe"));
    let (say, heard) = mpsc::channel();
    std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
    for nth in 0..2 {
        assert!(ask(&format!("/later/{nth}")));
        let line = heard.recv_timeout(secs(20)).expect("a line");
        assert!(line.contains(&format!("/later/{nth}  200")), "nothing is printed twice: {line}");
    }
    child.kill().expect("it runs");
    child.wait().expect("it was ours");
}
