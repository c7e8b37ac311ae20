//! Engines and Controllers that start without the other one.

use forebay_e2e::client::Client;
use forebay_e2e::led::{Options, member, seen};
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Controller, Lab, Origin};
use serde_json::json;

//= test CHAN-START-01
//= test CHAN-START-02
#[test]
fn an_engine_starts_without_its_controller_and_finds_it_again_without_loading_anything() {
    let lab = Lab::new();
    let mut controller = Controller::start(&lab);
    let mut engine = member(&lab, &controller, &Options::default());
    let uuid = engine.uuid();
    controller.process.kill();
    engine.says("CONTROLLER_LOST");
    assert!(engine.process.end(secs(10)).success());
    engine.again(&lab, controller.engines, &Options::default());
    let metrics = engine.metrics;
    let ready = || Client::new(metrics).get_once("/readyz").is_ok_and(|answer| answer.status == 200);
    eventually("it serves", secs(20), ready);
    controller.again(&lab);
    engine.says("CONTROLLER_REACHED");
    eventually("it has what it should have", secs(20), || {
        seen(&controller, &uuid)["configuration"]["current"] == true
    });
    assert_eq!(engine.said("CONFIG_LOADED"), 0, "the sum was the same");
}

//= test CHAN-START-01
//= test CHAN-START-02
//= test CHAN-KEEP-01
#[test]
fn a_service_made_by_the_api_serves_and_goes_on_when_its_controller_is_killed_and_its_engine_starts_anew() {
    let lab = Lab::new();
    let mut controller = Controller::start(&lab);
    let mut engine = member(&lab, &controller, &Options::default());
    let uuid = engine.uuid();
    let server = lab.address();
    let _origin = Origin::fixed(server, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let vip = lab.address();
    let admin = controller.admin();
    let make = |path: &str, object: serde_json::Value| {
        let (status, made) = admin.send("POST", &format!("/api/{path}"), &object);
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
    });
    make("virtualservice", service);
    let serves = || Client::new(vip).get_once("/").is_ok_and(|answer| answer.status == 200);
    eventually("the service serves", secs(20), serves);
    eventually("the Controller sees it", secs(20), || seen(&controller, &uuid)["services_up"] == 1);
    // Nobody is there to lead.
    controller.process.kill();
    engine.says("CONTROLLER_LOST");
    assert!(serves(), "it goes on");
    engine.process.kill();
    engine.again(&lab, controller.engines, &Options::default());
    eventually("it serves by what it kept", secs(20), serves);
    let loaded = engine.said("CONFIG_LOADED");
    controller.again(&lab);
    eventually("all is as it was", secs(20), || seen(&controller, &uuid)["configuration"]["current"] == true);
    assert_eq!(engine.said("CONFIG_LOADED"), loaded, "nothing was loaded for that");
    assert!(serves());
}

//= test CHAN-START-03
#[test]
fn an_engine_that_moved_cannot_start_by_what_it_kept_and_waits_for_what_fits() {
    let lab = Lab::new();
    let mut controller = Controller::start(&lab);
    let mut engine = member(&lab, &controller, &Options::default());
    let uuid = engine.uuid();
    assert!(engine.process.end(secs(10)).success());
    controller.process.kill();
    engine.moves(lab.address());
    engine.again(&lab, controller.engines, &Options::default());
    engine.says("CONFIG_UNFIT");
    assert!(engine.process.ended().is_none(), "it waits");
    controller.again(&lab);
    eventually("it has what fits", secs(20), || {
        let seen = seen(&controller, &uuid);
        seen["up"] == true && seen["configuration"]["current"] == true
    });
    engine.says("SE_UP");
}
