//! The access log and the metrics tell what happened.

use std::process::Command;

use forebay_e2e::{Client, Lab, Request, Scene, bin, config, eventually, wait::secs};
use serde_json::Value;

fn ms(line: &Value, name: &str) -> f64 {
    line[name].as_f64().unwrap_or_else(|| panic!("no {name} in {line}"))
}

#[test]
fn each_request_has_one_line_with_server_timing_and_reason() {
    let profile = config::persistence("p", "http_cookie", "");
    let scene = Scene::new("algorithm = \"round_robin\"\npersistence = \"p\"", &profile);
    let mut client = scene.client();
    for n in 0..50 {
        client.send(&Request::get(&format!("/page?n={n}")).field("User-Agent: tester")).unwrap();
    }
    client.get("/slow?ms=120").unwrap();
    let lines = scene.engine.log_lines(51, |_| true);
    assert_eq!(lines.len(), 51);
    for line in &lines {
        assert_eq!(
            (line["virtualservice"].as_str(), line["response_code"].as_u64()),
            (Some("web"), Some(200)),
            "{line}"
        );
        let port = line["server_dest_port"].as_u64().unwrap() as u16;
        assert!(scene.servers.iter().any(|s| s.address.port() == port), "{line}");
        assert!(line["reason"].is_object(), "{line}");
        let parts = ["client_rtt", "server_rtt", "app_response_time", "data_transfer_time"];
        let sum: f64 = parts.iter().map(|p| ms(line, p)).sum();
        assert!((sum - ms(line, "total_time")).abs() <= 1.0, "the parts add up to the whole: {line}");
    }
    let slow = lines.iter().find(|l| l["uri_path"] == "/slow").unwrap();
    assert!(ms(slow, "app_response_time") >= 110.0, "{slow}");
    let first = lines.iter().find(|l| l["uri_query"] == "n=0").unwrap();
    let second = lines.iter().find(|l| l["uri_query"] == "n=1").unwrap();
    assert_eq!(
        (first["persistence_used"].as_bool(), second["persistence_used"].as_bool()),
        (Some(false), Some(true))
    );
}

#[test]
fn a_request_with_odd_bytes_cannot_break_the_log() {
    let scene = Scene::new("", "");
    let odd = Request::get("/%00%0d%0a\"'<script>").field("User-Agent: \"\\ \u{fc}\t{\"a\":1}");
    let _ = scene.client().send(&odd);
    scene.client().get("/after").unwrap();
    let lines = scene.engine.log_lines(1, |l| l["uri_path"] == "/after");
    assert_eq!(lines.len(), 1);
}

#[test]
fn metrics_count_what_clients_saw() {
    let scene = Scene::new("algorithm = \"round_robin\"", "");
    for n in 0..30 {
        let code = if n % 3 == 0 { 404 } else { 200 };
        scene.client().get_once(&format!("/status?code={code}")).unwrap();
    }
    let of_web = |class| [("virtual_service", "web"), ("class", class)];
    eventually("30 requests are counted", secs(5), || {
        let page = scene.engine.page();
        page.sum("forebay_responses_total", &of_web("2xx")) == 20.0
            && page.sum("forebay_responses_total", &of_web("4xx")) == 10.0
    });
    let page = Client::new(scene.engine.metrics).get_once("/metrics").unwrap();
    assert!(page.field("content-type").unwrap().starts_with("application/openmetrics-text"), "{page:?}");
    let text = page.text();
    assert!(text.ends_with("# EOF\n"), "OpenMetrics ends so");
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = ["_total", "_bucket", "_count", "_sum", "_created", "_info"]
            .iter()
            .find_map(|s| name.strip_suffix(s))
            .unwrap_or(name);
        assert!(text.contains(&format!("# HELP {family} ")), "no HELP for {name}");
    }
}

#[test]
fn check_prints_every_problem_with_path_and_remedy() {
    let lab = Lab::new();
    let file = lab.folder().join("broken.toml");
    let broken = "version = 1\n[engine]\nworkers = 0\n[[virtual_service]]\nname = \"web\"\nlisten = [\"nowhere\"]\npool = \"wbe\"\n[[pool]]\nname = \"web\"\nalgoritm = \"round_robin\"\n[[pool.server]]\naddress = \"127.0.0.1:9001\"\nratio = 99\n";
    std::fs::write(&file, broken).unwrap();
    let done =
        Command::new(bin::path("forebay-se")).arg("check").arg("--config").arg(&file).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    let text = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    for path in
        ["engine.workers", "virtual_service[0].listen", "virtual_service[0].pool", "algorithm", "ratio"]
    {
        assert!(text.contains(path), "{path} is not named:\n{text}");
    }
}
