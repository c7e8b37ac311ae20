//! What engines count, as the Controller shows it.

use std::cell::Cell;
use std::path::Path;
use std::process::Command;

use forebay_e2e::client::Client;
use forebay_e2e::led::{Options, member, seen};
use forebay_e2e::process::Process;
use forebay_e2e::wait::{eventually, eventually_some, secs};
use forebay_e2e::{Controller, Lab, Origin, pki, python};
use serde_json::{Value, json};

/// The sum of a series' points.
fn sum(controller: &Controller, path: &str, metric: &str) -> f64 {
    let path = format!("/api/analytics/metrics/{path}?metric_id={metric}&step=300&limit=3");
    let (status, said) = controller.admin().get(&path);
    assert_eq!(status, 200, "{said}");
    said["series"][0]["header"]["statistics"]["sum"].as_f64().expect("a number")
}

/// A collector that prints what it reads by OpenTelemetry's own messages.
fn collector(lab: &Lab, name: &str, at: std::net::SocketAddr, files: &[&str]) -> Process {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("channel/otlp");
    let mut command = Command::new(python::interpreter(&folder, env!("CARGO_TARGET_TMPDIR")));
    command.env("PYTHONDONTWRITEBYTECODE", "1").arg(folder.join("receive.py"));
    command.arg(at.ip().to_string()).arg(at.port().to_string());
    command.args(files.iter().map(|file| lab.folder().join(file)));
    Process::start(name, command, lab.folder()).brief()
}

//= test MET-SEND-01
//= test MET-SEND-03
//= test MET-SEND-04
//= test MET-ONCE-01
//= test MET-API-01
//= test MET-NOW-01
#[test]
fn each_request_is_counted_once_over_new_starts_of_the_controller_and_of_the_engine() {
    let lab = Lab::new();
    let at = lab.address();
    // Metrics in clear text, records over TLS to one that shows its address by an authority of its own.
    let metrics = collector(&lab, "collector-metrics", at, &[]);
    let secured = lab.address();
    pki::authority(lab.folder(), "ca");
    pki::certificate(lab.folder(), "collector", "ca", pki::EC, &format!("IP:{}", secured.ip()), 30);
    let logs = collector(&lab, "collector-logs", secured, &["collector.pem", "collector.key"]);
    let export = [
        "--otlp-metrics",
        &format!("http://{at}"),
        "--otlp-seconds",
        "5",
        "--otlp-logs",
        &format!("https://{secured}"),
        "--otlp-authorities",
        &lab.folder().join("ca.pem").display().to_string(),
    ];
    let mut controller = Controller::start_with(&lab, &export);
    let mut engine = member(&lab, &controller, &Options::default());
    let uuid = engine.uuid();
    let server = lab.address();
    let _origin = Origin::fixed(server, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let vip = lab.address();
    let make = |path: &str, object: Value| {
        let (status, made) = controller.admin().send("POST", &format!("/api/{path}"), &object);
        assert_eq!(status, 201, "{made}");
        made["uuid"].as_str().expect("a uuid").to_owned()
    };
    let ip = |of: std::net::SocketAddr| json!({"addr": of.ip().to_string(), "type": "V4"});
    let pool = make("pool", json!({"name": "p", "servers": [{"ip": ip(server), "port": server.port()}]}));
    let addresses = make("vsvip", json!({"name": "v", "vip": [{"vip_id": "1", "ip_address": ip(vip)}]}));
    let service = json!({
        "name": "s",
        "vsvip_ref": format!("/api/vsvip/{addresses}"),
        "pool_ref": format!("/api/pool/{pool}"),
        "services": [{"port": vip.port()}],
        "analytics_policy": {"full_client_logs": {"enabled": true, "duration": 0, "throttle": 0}},
    });
    let vs = make("virtualservice", service);
    // All answers, and those that came from the server.
    let (answered, served) = (Cell::new(0.0), Cell::new(0.0));
    let get = || {
        let answer = Client::new(vip).get_once("/").ok().map(|answer| answer.status == 200);
        answered.set(answered.get() + f64::from(u8::from(answer.is_some())));
        served.set(served.get() + f64::from(u8::from(answer == Some(true))));
        answer == Some(true)
    };
    let some = |count: usize| (0..count).for_each(|_| assert!(get(), "it serves"));
    eventually("the service serves", secs(20), get);
    some(50);
    let path = format!("virtualservice/{vs}");
    let told = |controller: &Controller| {
        eventually("the sum of the series is what was answered", secs(20), || {
            let sum = sum(controller, &path, "l7_client.sum_total_responses");
            assert!(sum <= answered.get(), "{sum} of {}", answered.get());
            (sum - answered.get()).abs() < 0.5
        });
    };
    told(&controller);
    //= test MET-OTLP-01
    let point = eventually_some("the collector has what was answered", secs(30), || {
        let points = metrics.printed();
        let mut points = points.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        points.find(|point| {
            let is_it = point["name"] == "forebay.l7_client.sum_total_responses"
                && point["attributes"]["forebay.uuid"] == vs.as_str();
            is_it && point["value"].as_f64() > Some(0.0)
        })
    });
    assert!(point["value"].as_f64() <= Some(answered.get()), "{point}");
    for (field, wanted) in [
        ("path", json!("/v1/metrics")),
        ("type", json!("application/x-protobuf")),
        ("seconds", json!(5.0)),
        ("unit", json!("1")),
        ("of", json!({"service.name": "forebay-controller"})),
        (
            "attributes",
            json!({"forebay.type": "virtual_service", "forebay.uuid": vs, "forebay.name": "s", "forebay.tenant": "admin"}),
        ),
    ] {
        assert_eq!(point[field], wanted, "{point}");
    }
    //= test LOG-OTLP-01
    //= test MET-OTLP-02
    let record = eventually_some("the collector has what was told", secs(30), || {
        let records = logs.printed();
        let mut records = records.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        records.find(|record| record["attributes"]["forebay.virtualservice"] == vs.as_str())
    });
    assert_eq!(
        record["record"],
        format!("GET / {}", record["attributes"]["forebay.response_code"]),
        "{record}"
    );
    assert_eq!(record["attributes"]["forebay.service_engine"], uuid.as_str(), "{record}");
    // What takes time on the network, and what the Controller itself takes.
    //= test MET-RTT-01
    //= test MET-OWN-01
    for (path, ids) in [
        (path.as_str(), "l4_client.avg_total_rtt,l4_server.avg_total_rtt"),
        (
            "controller/controller",
            "controller_stats.avg_cpu_usage,controller_stats.avg_mem_usage,controller_stats.avg_disk_usage",
        ),
    ] {
        eventually("there are values", secs(20), || {
            let (status, said) = controller
                .admin()
                .get(&format!("/api/analytics/metrics/{path}?metric_id={ids}&step=300&limit=3"));
            assert_eq!(status, 200, "{said}");
            let all = said["series"].as_array().expect("series");
            all.iter().all(|one| {
                let most = one["header"]["statistics"]["max"].as_f64().expect("a number");
                // Of a machine that stands still for a moment a time is long.
                most > 0.0 && (path != "controller/controller" || most <= 100.0)
            })
        });
    }
    // What was told and not acknowledged, and what is counted while nobody listens.
    some(30);
    controller.process.kill();
    engine.says("CONTROLLER_LOST");
    some(20);
    controller.again(&lab);
    told(&controller);
    // The last ones before a stop, and those of another process.
    some(10);
    assert!(engine.process.end(secs(10)).success());
    told(&controller);
    engine.again(&lab, controller.engines, &Options::default());
    eventually("the service serves again", secs(20), get);
    eventually("the engine is there", secs(20), || seen(&controller, &uuid)["up"] == true);
    some(5);
    assert!(engine.process.end(secs(10)).success());
    told(&controller);
    let request = |id: &str, of: &str, more: Value| {
        let mut request = json!({"id": id, "entity_uuid": of, "step": 300, "limit": 3});
        request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        request
    };
    let requests = json!({"metric_requests": [
        request("pool", &pool, json!({"metric_id": "l7_server.sum_total_responses"})),
        request("server", &pool, json!({"metric_id": "l7_server.sum_total_responses", "server": server.to_string()})),
        request("of engine", &vs, json!({"metric_id": "l7_server.sum_total_responses", "serviceengine_uuid": uuid})),
        request("engine", &uuid, json!({"metric_id": "se_stats.max_open_conns,se_stats.avg_mem_usage"})),
        request("latency", &vs, json!({"metric_id": "l7_client.p99_client_txn_latency,l7_client.apdexr"})),
    ]});
    let (status, said) = controller.admin().send("POST", "/api/analytics/metrics/collection", &requests);
    assert_eq!(status, 200, "{said}");
    let of = |id: &str, nth: usize, what: &str| {
        said["series"][id][nth]["header"]["statistics"][what].as_f64().expect("a number")
    };
    for id in ["pool", "server", "of engine"] {
        assert!((of(id, 0, "sum") - served.get()).abs() < 0.5, "{id}: {said}");
    }
    assert!(of("engine", 1, "max") > 0.0, "{said}");
    assert!(of("latency", 0, "max") > 0.0 && of("latency", 1, "mean") > 0.5, "{said}");
}
