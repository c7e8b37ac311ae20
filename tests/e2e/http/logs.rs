//! The access log and the metrics tell what happened.

use std::collections::BTreeSet;
use std::process::Command;

use forebay_e2e::spec::log_fields;
use forebay_e2e::{Client, Lab, Options, Request, Scene, bin, config, eventually, pki, wait::secs, wire};
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
    let first_byte = ms(slow, "response_time_first_byte");
    assert!((110.0..=ms(slow, "total_time")).contains(&first_byte), "the server waited before it: {slow}");
    for trip in ["client_rtt", "server_rtt"] {
        assert!(lines.iter().any(|l| ms(l, trip) > 0.0), "the kernel knows {trip}");
    }
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
    // All that the parser lets pass: every visible byte, a tab, and those from 0x80 on.
    let visible = b"\"}{\\\t".iter().copied().chain(0x21..=0x7e).collect();
    // A few at a time: long texts are cut.
    let high: Vec<u8> = (0x80..=0xff).collect();
    let agents: Vec<Vec<u8>> = [visible].into_iter().chain(high.chunks(32).map(<[u8]>::to_vec)).collect();
    for agent in &agents {
        let mut request =
            b"GET /%0d%0a%22{'}|^[]`;%ff?a='}{%0a&b=\\ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".to_vec();
        request.extend([b"User-Agent: ", agent.as_slice(), b"\r\n\r\n"].concat());
        let answer = wire::exchange(scene.at, &request).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    scene.client().get("/after").unwrap();
    let lines = scene.engine.log_lines(6, |_| true);
    assert_eq!(lines.len(), 6, "one each: {lines:?}");
    assert!(lines.iter().any(|l| l["uri_path"] == "/after"), "{lines:?}");
    for agent in agents {
        // Each byte is the character of its number.
        let agent: String = agent.into_iter().map(char::from).collect();
        let odd = lines.iter().find(|l| l["user_agent"] == agent).unwrap_or_else(|| panic!("{lines:?}"));
        assert_eq!(odd["uri_path"], "/%0d%0a%22{'}|^[]`;%ff", "{odd}");
        assert_eq!(odd["uri_query"], "a='}{%0a&b=\\", "{odd}");
    }
}

#[test]
fn a_request_that_is_refused_has_a_line_that_says_why() {
    let scene = Scene::new("", "");
    for (n, refused) in
        ["GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}"]
            .into_iter()
            .enumerate()
    {
        let answer = wire::exchange(scene.at, refused).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{refused:?}: {answer}");
        let lines = scene.engine.log_lines(n + 1, |_| true);
        assert_eq!((lines.len(), lines[n]["response_code"].as_u64()), (n + 1, Some(400)), "{refused:?}");
        assert!(
            lines[n]["request_state"].as_str().is_some_and(|s| !["", "complete"].contains(&s)),
            "{refused:?}"
        );
        assert!(lines[n]["client_src_port"].as_u64().is_some_and(|port| port > 0), "{}", lines[n]);
    }
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
fn metrics_tell_how_long_and_how_much() {
    let scene = Scene::new("", "");
    let request =
        "POST /slow?ms=120 HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\nConnection: close\r\n\r\n";
    let sent = format!("{request}{}", "b".repeat(5000));
    let answer = wire::exchange(scene.at, &sent).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let of_web = [("virtual_service", "web")];
    eventually("the request is counted", secs(5), || {
        scene.engine.metric("forebay_request_duration_seconds_count", &of_web) == 1.0
    });
    // A page that is written while the request ends may have half of it; the next one has all.
    let page = scene.engine.page();
    let took = page.sum("forebay_request_duration_seconds_sum", &of_web);
    // Seconds: neither milliseconds nor microseconds would lie there.
    assert!((0.12..60.0).contains(&took), "{took}");
    let within = |le| page.sum("forebay_request_duration_seconds_bucket", &[of_web[0], ("le", le)]);
    assert_eq!((within("0.1"), within("+Inf")), (0.0, 1.0));
    assert_eq!(page.sum("forebay_client_received_bytes_total", &of_web), sent.len() as f64);
    assert_eq!(page.sum("forebay_client_sent_bytes_total", &of_web), answer.len() as f64);
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

/// The parts of a request's time.
const PARTS: [&str; 5] =
    ["client_rtt", "server_rtt", "app_response_time", "data_transfer_time", "queue_time"];

//= test OBS-LOG-03
#[test]
fn every_field_of_the_log_is_documented_and_has_the_unit_that_stands_there() {
    let one_at_a_time = "max_concurrent_connections_per_server = 1\nrequest_queue = { enabled = true }\n";
    let profile = config::persistence("p", "http_cookie", "");
    let lab = Lab::new();
    let server = lab.demo("a");
    let at = lab.address();
    let pool = config::pool("web", &format!("{one_at_a_time}persistence = \"p\""), &[server.address]);
    let rule = "[[virtual_service.rules]]\nname = \"shut\"\nwhen = { path = { equals = [\"/shut\"] } }\nthen = [{ respond = { status = 403 } }]\n\
                [[virtual_service.rules]]\nname = \"back\"\nwhen = { path = { equals = [\"/count\"] } }\nthen = [{ header = { add = [\"response\", \"x-back\", \"yes\"] } }]\n";
    // One whose clients speak TLS and show certificates, for the fields that only they have.
    pki::authority(lab.folder(), "ca");
    pki::certificate(lab.folder(), "app", "ca", pki::EC, "DNS:app.test", 2);
    pki::certificate(lab.folder(), "anna", "ca", pki::EC, "DNS:anna", 2);
    let clients = "[[pki_profile]]\nname = \"staff\"\nca_file = \"ca.pem\"\n";
    let secure = lab.address();
    let second = format!(
        "[[virtual_service]]\nname = \"secure\"\nlisten = [\"{secure}\"]\npool = \"web\"\ncertificates = [\"app\"]\nclient_certificate = {{ mode = \"request\", pki_profile = \"staff\" }}\n"
    );
    let certificate = pki::section("app");
    let text = [
        config::COOKIE_KEY,
        &config::service("web", at),
        rule,
        &second,
        &certificate,
        clients,
        &pool,
        &profile,
    ];
    let engine = lab.engine_with(&text.concat(), Options { workers: 1, ..Options::default() });

    let request = "POST /count?x=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n";
    let sent = format!("{request}{}", "b".repeat(1000));
    let answer = wire::exchange(at, &sent).unwrap();
    std::thread::scope(|scope| {
        // Two at once where one has room: the second waits for the first.
        for _ in 0..2 {
            scope.spawn(|| Client::new(at).get_once("/slow?ms=250").unwrap());
        }
    });
    wire::exchange(at, "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: none\r\n\r\n").unwrap();
    assert_eq!(Client::new(at).get_once("/shut").unwrap().status, 403);
    let curl = Command::new(bin::foreign("curl", "curl"))
        .args(["--silent", "--fail", "--max-time", "20", "--cacert", "ca.pem"])
        .args(["--cert", "anna.pem", "--key", "anna.key", "--resolve"])
        .args([
            &format!("app.test:{}:{}", secure.port(), secure.ip()),
            &format!("https://app.test:{}/tls", secure.port()),
        ])
        .current_dir(lab.folder())
        .status();
    assert!(curl.expect("curl starts").success());
    drop(server);
    assert_eq!(Client::new(at).get_once("/gone").unwrap().status, 502);

    // Not those of connections whose handshake came to nothing.
    let lines = engine.log_lines(7, |line| line.get("request_id").is_some());
    let seen: BTreeSet<String> = lines.iter().flat_map(|l| l.as_object().unwrap().keys().cloned()).collect();
    assert_eq!(
        seen,
        log_fields("One line of JSON for each request"),
        "what is written and what docs/spec/observability.md has"
    );

    let count = lines.iter().find(|l| l["uri_path"] == "/count").unwrap();
    assert_eq!(count["request_length"], sent.len(), "bytes, heads included: {count}");
    assert_eq!(count["response_length"], answer.len(), "bytes, heads included: {count}");
    assert_eq!((count["method"].as_str(), count["uri_query"].as_str()), (Some("POST"), Some("x=1")));
    for line in &lines {
        let sum: f64 = PARTS.iter().map(|part| ms(line, part)).sum();
        assert!((sum - ms(line, "total_time")).abs() <= 1.0, "the parts add up to the whole: {line}");
        let bad = line["response_code"].as_u64().unwrap() >= 500;
        assert_eq!(line["significant"].as_bool(), Some(bad), "{line}");
    }
    let over_tls = lines.iter().find(|l| l["uri_path"] == "/tls").unwrap();
    assert_eq!(
        (&over_tls["sni_hostname"], &over_tls["ssl_version"]),
        (&"app.test".into(), &"TLSv1.3".into())
    );
    for without in lines.iter().filter(|l| l["uri_path"] != "/tls") {
        assert!(without.get("ssl_version").is_none(), "{without}");
    }
    let refused = lines.iter().find(|l| l["response_code"] == 400).expect("what is refused has a line too");
    assert_ne!(refused["request_state"], "complete", "{refused}");
    assert_eq!(refused["client_dest_port"], at.port(), "{refused}");
    for half_read in ["method", "host", "uri_path", "uri_query", "user_agent"] {
        assert_eq!(refused[half_read], "", "{half_read}: {refused}");
    }
    for unknown in ["pool_name", "server_ip", "reason"] {
        assert!(refused.get(unknown).is_none(), "{unknown}: {refused}");
    }
    let slow: Vec<_> = lines.iter().filter(|l| l["uri_path"] == "/slow").collect();
    for line in &slow {
        // Milliseconds: neither seconds nor microseconds would lie there.
        assert!((240.0..5000.0).contains(&ms(line, "app_response_time")), "{line}");
    }
    let waited = slow.iter().map(|l| ms(l, "queue_time")).fold(0.0, f64::max);
    assert!((150.0..5000.0).contains(&waited), "one of them waited for the other: {slow:?}");
    let gone = lines.iter().find(|l| l["uri_path"] == "/gone").unwrap();
    assert!(gone["significance"].to_string().contains("the client got a 5xx"), "{gone}");
}
