//! What engines tell of requests and connections, as people find it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use forebay_e2e::client::{Client, Request};
use forebay_e2e::led::{Led, Options, member};
use forebay_e2e::metrics::Page;
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Controller, Demo, Lab};
use serde_json::{Value, json};

/// Everything is told, and nothing is throttled.
fn all() -> Value {
    json!({"significant_log_throttle": 0, "full_client_logs": {"enabled": true, "duration": 0, "throttle": 0}})
}

/// A Controller, an engine, and what it serves. The lab comes last: what lives in it goes first.
struct Site {
    controller: Controller,
    engine: Led,
    server: Demo,
    lab: Lab,
}

impl Site {
    fn new() -> Self {
        let lab = Lab::new();
        let controller = Controller::start_with(&lab, &["--engine-heartbeat", "1"]);
        let engine = member(&lab, &controller, &Options::default());
        let server = lab.demo("a");
        Site { controller, engine, server, lab }
    }

    fn make(&self, path: &str, object: &Value) -> String {
        let (status, made) = self.controller.admin().send("POST", &format!("/api/{path}"), object);
        assert_eq!(status, 201, "{made}");
        made["uuid"].as_str().expect("a uuid").to_owned()
    }

    /// A service of one server; gives its uuid, and where it is.
    fn service(&self, name: &str, server: SocketAddr, more: &Value) -> (String, SocketAddr) {
        let ip = |of: SocketAddr| json!({"addr": of.ip().to_string(), "type": "V4"});
        let at = self.lab.address();
        let servers = json!([{"ip": ip(server), "port": server.port()}]);
        let pool = self.make("pool", &json!({"name": format!("{name}-pool"), "servers": servers}));
        let vip = json!([{"vip_id": "1", "ip_address": ip(at)}]);
        let addresses = self.make("vsvip", &json!({"name": name, "vip": vip}));
        let mut service = json!({
            "name": name, "vsvip_ref": format!("/api/vsvip/{addresses}"), "pool_ref": format!("/api/pool/{pool}"),
            "services": [{"port": at.port()}], "analytics_policy": all(),
        });
        let more = more.as_object().cloned().unwrap_or_default();
        service.as_object_mut().expect("fields").extend(more);
        (self.make("virtualservice", &service), at)
    }

    /// Asks for logs of a service.
    fn logs(&self, service: &str, query: &str) -> Value {
        let path = format!("/api/analytics/logs?virtualservice={service}&{query}");
        let (status, said) = self.controller.admin().get(&path);
        assert_eq!(status, 200, "{path}: {said}");
        said
    }

    /// The paths of all requests that it knows of, and how many records each has.
    fn records(&self, service: &str) -> BTreeMap<String, u64> {
        let said = self.logs(service, "type=1&nf=true&groupby=uri_path&page_size=1000");
        let groups = said["results"].as_array().cloned().unwrap_or_default();
        let one = |group: &Value| Some((group["uri_path"].as_str()?.to_owned(), group["count"].as_u64()?));
        groups.iter().filter_map(one).collect()
    }

    /// The paths alone.
    fn paths(&self, service: &str) -> BTreeSet<String> {
        self.records(service).into_keys().collect()
    }

    fn answers(at: SocketAddr) {
        eventually("it answers", secs(20), || {
            Client::new(at).get_once("/ready").is_ok_and(|answer| answer.status == 200)
        });
    }
}

fn ask(at: SocketAddr, target: &str) -> u16 {
    let request = Request::get(target)
        .field("Cookie: session=s3cret-cookie")
        .field("Authorization: Bearer s3cret-token")
        .field("User-Agent: curious/1.0");
    Client::new(at).send(&request.last()).map_or(0, |answer| answer.status)
}

//= test LOG-TAKE-01
//= test LOG-TAKE-02
//= test LOG-SEE-01
//= test LOG-SEE-02
//= test LOG-ADF-01
//= test COMPILE-LOGS-01
//= test OBS-CLIENT-01
#[test]
fn requests_and_connections_are_told_and_found_by_what_they_are() {
    let site = Site::new();
    let (web, at) = site.service("web", site.server.address, &json!({}));
    let nobody = site.lab.address();
    let significant = json!({"analytics_policy": {"full_client_logs": {"enabled": false}}});
    let (broken, broken_at) = site.service("broken", nobody, &significant);
    let profile = json!({"application_profile_ref": "/api/applicationprofile?name=System-L4-Application"});
    let (bytes, bytes_at) = site.service("bytes", site.server.address, &profile);
    Site::answers(at);
    Site::answers(bytes_at);
    for nth in 0..5 {
        assert_eq!(ask(at, &format!("/shop/{nth}?colour=red")), 200);
    }
    eventually("the broken one listens", secs(20), || TcpStream::connect(broken_at).is_ok());
    assert_ne!(ask(broken_at, "/x"), 200);

    let shop = "type=1&nf=true&filter=sw(uri_path,/shop/)";
    eventually("five are found", secs(10), || site.logs(&web, shop)["count"] == 5);
    let found = site.logs(&web, &format!("{shop}&filter=eq(uri_path,/shop/3)&filter=co(user_agent,CURIOUS)"));
    let record = &found["results"][0];
    let uuid = site.engine.uuid();
    for (field, wanted) in [
        ("virtualservice", web.as_str()),
        ("service_engine", &uuid),
        ("service_engine_name", site.engine.name()),
        ("pool_name", "web-pool"),
        ("method", "GET"),
        ("uri_query", "colour=red"),
        ("server_ip", &site.server.address.ip().to_string()),
    ] {
        assert_eq!(record[field], wanted, "{field}: {record}");
    }
    assert_eq!((&found["count"], &record["response_code"]), (&1.into(), &200.into()), "{found}");
    assert!(!record.to_string().contains("s3cret"), "{record}");
    // As Avi's own: significant ones alone, unless others are asked for.
    assert_eq!(site.logs(&web, "type=1")["count"], 0);
    eventually("what failed is found", secs(10), || {
        let found = site.logs(&broken, "type=1&filter=eq(uri_path,/x)");
        found["count"] == 1
            && found["results"][0]["significance"].as_array().is_some_and(|why| !why.is_empty())
    });
    // By the names that Avi's clients look for.
    let named = site.logs(&broken, "type=1&filter=co(significant_log,ADF_SERVER_CONN_SETUP_REFUSED)");
    let record = &named["results"][0];
    assert!(named["count"].as_u64() >= Some(1) && record["adf"] == true, "{named}");
    assert!(record["significant_log"].to_string().contains("ADF_RESPONSE_CODE_5XX"), "{named}");
    assert_eq!(site.logs(&web, shop)["results"][0]["adf"], false);
    let page = site.logs(&web, &format!("{shop}&page_size=2&orderby=-uri_path"));
    assert_eq!((&page["results"][0]["uri_path"], &page["count"]), (&"/shop/4".into(), &5.into()), "{page}");
    eventually("connections are found", secs(10), || {
        let found = site.logs(&bytes, "nf=true");
        found["count"].as_u64() >= Some(1) && found["results"][0]["protocol"] == "tcp"
    });
    assert_eq!(site.logs(&bytes, "type=1&nf=true")["count"], 0, "no request is known of a service of bytes");
    let (status, said) = site.controller.nobody().get(&format!("/api/analytics/logs?virtualservice={web}"));
    assert_eq!(status, 401, "{said}");
}

//= test OBS-CLIENT-03
//= test LOG-TAKE-01
//= test LOG-ONCE-01
//= test LOG-SEND-01
#[test]
fn a_controller_that_stands_still_or_is_killed_costs_no_request_and_no_record() {
    let mut site = Site::new();
    let (web, at) = site.service("web", site.server.address, &json!({}));
    Site::answers(at);
    let mut wanted = BTreeSet::from(["/ready".to_owned()]);
    let mut some = |what: &str| {
        let mut slowest = 0;
        for nth in 0..150 {
            let (path, began) = (format!("/{what}/{nth}"), Instant::now());
            assert_eq!(ask(at, &path), 200, "{path}");
            slowest = slowest.max(began.elapsed().as_millis());
            wanted.insert(path);
        }
        assert!(slowest < 5_000, "{what}: {slowest} ms");
        wanted.clone()
    };
    let before = some("before");
    eventually("all are found", secs(10), || site.paths(&web) == before);
    site.controller.process.signal(libc::SIGSTOP);
    some("still");
    site.controller.process.signal(libc::SIGCONT);
    let dead = some("stirred");
    eventually("all are found", secs(10), || site.paths(&web) == dead);
    // Some of what was told last may be on its way.
    some("last");
    site.controller.process.kill();
    let all = some("dead");
    site.controller.again(&site.lab);
    eventually("all are found", secs(20), || site.paths(&web) == all);
    let told = |result: &str| {
        let page = Page::read(site.engine.metrics).expect("metrics");
        page.sum("forebay_client_log_records_total", &[("result", result)])
    };
    eventually("all are answered for", secs(10), || told("told") >= 751.0);
    for result in ["lost", "dropped", "throttled"] {
        assert_eq!(told(result), 0.0, "{result}");
    }
    // The engine stops before it would have told by itself.
    assert_eq!(ask(at, "/farewell"), 200);
    assert!(site.engine.process.end(secs(10)).success());
    let mut records = site.records(&web);
    assert_eq!(records.remove("/farewell"), Some(1));
    // While the first request is waited for there may be several.
    records.remove("/ready");
    let twice: Vec<_> = records.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}
