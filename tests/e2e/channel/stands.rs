//! What goes down and comes back is told by the Controller, once each, and raises alerts.

use forebay_e2e::controller::Curl;
use forebay_e2e::led::{Options, member};
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Controller, Lab, Origin, origin};
use serde_json::{Value, json};

use super::judged::made;

/// What was told of these, the oldest first: of which object, and the whole.
fn told(admin: &Curl, ids: &[&str]) -> Vec<(String, Value)> {
    let path = "/api/analytics/logs?type=2&orderby=report_timestamp&page_size=500";
    let (status, list) = admin.get(path);
    assert_eq!(status, 200, "{list}");
    let all = list["results"].as_array().expect("a list").iter();
    let asked = all.filter(|event| ids.iter().any(|id| event["event_id"] == *id));
    asked.map(|event| (event["event_id"].as_str().expect("a text").to_owned(), event.clone())).collect()
}

const THINGS: [&str; 8] =
    ["SE_UP", "SE_DOWN", "SERVER_UP", "SERVER_DOWN", "POOL_UP", "POOL_DOWN", "VS_UP", "VS_DOWN"];

//= test EVENT-STATE-01
//= test EVENT-STATE-02
//= test ALERT-RAISE-01
#[test]
fn what_goes_down_and_comes_back_is_told_once_by_real_engines_and_raises_alerts() {
    let lab = Lab::new();
    let mut controller = Controller::start_with(&lab, &["--engine-heartbeat", "1"]);
    let admin = controller.admin();
    let [server, vip] = lab.addresses();
    let origin = Origin::fixed(server, origin::ok("one"));
    let monitor = json!({
        "name": "quick", "type": "HEALTH_MONITOR_TCP", "send_interval": 2, "receive_timeout": 1,
        "successful_checks": 1, "failed_checks": 2,
    });
    let monitor = made(&admin, "healthmonitor", monitor);
    let ip = |at: std::net::SocketAddr| json!({"addr": at.ip().to_string(), "type": "V4"});
    let pool = json!({
        "name": "web", "servers": [{"ip": ip(server), "port": server.port()}],
        "health_monitor_refs": [format!("/api/healthmonitor/{monitor}")],
    });
    let pool = made(&admin, "pool", pool);
    let vsvip =
        made(&admin, "vsvip", json!({"name": "web", "vip": [{"vip_id": "1", "ip_address": ip(vip)}]}));
    let service = json!({
        "name": "web", "vsvip_ref": format!("/api/vsvip/{vsvip}"), "pool_ref": format!("/api/pool/{pool}"),
        "services": [{"port": vip.port()}],
    });
    let vs = made(&admin, "virtualservice", service);
    let rule = json!({
        "name": "down", "source": "EVENT_LOGS", "category": "REALTIME", "object_type": "VIRTUALSERVICE",
        "summary": "a service is down", "alert_rule": {"sys_event_rule": [{"event_id": "VS_DOWN"}]},
    });
    made(&admin, "alertconfig", rule);

    let mut engine = member(&lab, &controller, &Options::default());
    let uuid = engine.uuid();
    let ids = || told(&admin, &THINGS).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    eventually("all of it is up", secs(30), || ids().iter().any(|id| id == "VS_UP"));
    // What takes long to begin is told to be down before.
    let mut wanted = ids();
    for id in ["SE_UP", "POOL_UP", "VS_UP"] {
        assert_eq!(wanted.iter().filter(|told| *told == id).count(), 1, "{wanted:?}");
    }
    let sorted = |mut ids: Vec<String>| {
        ids.sort_unstable();
        ids
    };
    let is_told = |wanted: &[String]| {
        eventually("it is told", secs(30), || {
            let said = ids();
            assert!(said.len() <= wanted.len(), "more is told than happened: {said:?}");
            sorted(said) == sorted(wanted.to_vec())
        });
    };

    drop(origin);
    wanted.extend(["SERVER_DOWN", "POOL_DOWN", "VS_DOWN"].map(str::to_owned));
    is_told(&wanted);
    let (_, down) = told(&admin, &["VS_DOWN"]).pop().expect("one");
    let why = down["event_details"]["se_hm_vs_details"]["reason"].as_str().expect("a text");
    assert!(why.contains(&server.to_string()) && why.contains("refused"), "what the monitor said: {down}");
    assert_eq!((&down["obj_uuid"], &down["related_uuids"]), (&json!(vs), &json!([pool])), "{down}");
    let (_, lost) = told(&admin, &["SERVER_DOWN"]).remove(0);
    assert_eq!(lost["event_details"]["se_hm_pool_details"]["server"]["port"], server.port(), "{lost}");

    // Another process goes on where this one was.
    controller.process.kill();
    let _back = Origin::fixed(server, origin::ok("one"));
    controller.again(&lab);
    wanted.extend(["SERVER_UP", "POOL_UP", "VS_UP"].map(str::to_owned));
    is_told(&wanted);

    engine.process.kill();
    wanted.extend(["SE_DOWN", "VS_DOWN"].map(str::to_owned));
    is_told(&wanted);
    let (_, gone) = told(&admin, &["SE_DOWN"]).remove(0);
    assert_eq!((&gone["obj_uuid"], &gone["obj_type"]), (&json!(uuid), &json!("SERVICEENGINE")), "{gone}");
    engine.again(&lab, controller.engines, &Options::default());
    wanted.extend(["SE_UP", "VS_UP"].map(str::to_owned));
    is_told(&wanted);
    eventually("an alert is raised", secs(30), || {
        let (_, alerts) = admin.get("/api/alert?name=down");
        alerts["count"] == 1 && alerts["results"][0]["obj_uuid"] == json!(vs)
    });
}
