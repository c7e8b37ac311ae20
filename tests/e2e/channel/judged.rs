//! What only an engine can judge costs the service that it is in, and no other.

use std::net::{SocketAddr, TcpListener};

use forebay_e2e::client::Client;
use forebay_e2e::controller::Curl;
use forebay_e2e::led::{Options, member, seen};
use forebay_e2e::pki::shown;
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Controller, Lab, Origin, origin, pki};
use serde_json::{Value, json};

pub fn made(who: &Curl, kind: &str, object: Value) -> String {
    let (status, made) = who.send("POST", &format!("/api/{kind}"), &object);
    assert_eq!(status, 201, "{made}");
    made["uuid"].as_str().expect("a uuid").to_owned()
}

fn ip(of: SocketAddr) -> Value {
    json!({"addr": of.ip().to_string(), "type": "V4"})
}

/// A service with a pool of one server.
pub fn service(
    who: &Curl,
    name: &str,
    (vip, server): (SocketAddr, SocketAddr),
    more: Value,
) -> (String, String) {
    let pool =
        made(who, "pool", json!({"name": name, "servers": [{"ip": ip(server), "port": server.port()}]}));
    let vsvip = made(who, "vsvip", json!({"name": name, "vip": [{"vip_id": "1", "ip_address": ip(vip)}]}));
    let mut document = json!({
        "name": name,
        "vsvip_ref": format!("/api/vsvip/{vsvip}"),
        "pool_ref": format!("/api/pool/{pool}"),
        "services": [{"port": vip.port()}],
    });
    document.as_object_mut().expect("one").extend(more.as_object().cloned().unwrap_or_default());
    (made(who, "virtualservice", document), pool)
}

fn says(at: SocketAddr, text: &str) -> bool {
    Client::new(at).get_once("/").is_ok_and(|answer| answer.body == text.as_bytes())
}

pub fn pair(lab: &Lab, name: &str) -> Value {
    let read =
        |end: &str| std::fs::read_to_string(lab.folder().join(format!("{name}.{end}"))).expect("a file");
    json!({
        "name": "pair", "type": "SSL_CERTIFICATE_TYPE_VIRTUALSERVICE",
        "certificate": {"certificate": read("pem")}, "key": read("key"),
    })
}

//= test CHAN-PART-01
//= test CHAN-PART-04
//= test CHAN-PART-05
//= test CHAN-PART-06
//= test TLS-CHECK-05
#[test]
fn what_an_engine_alone_can_judge_of_one_service_keeps_no_change_of_another_away() {
    let lab = Lab::new();
    pki::authority(lab.folder(), "ca");
    for (name, days) in [("first.test", 2), ("stale.test", -1), ("second.test", 2)] {
        pki::certificate(lab.folder(), name, "ca", pki::EC, &format!("DNS:{name}"), days);
    }
    let mut controller = Controller::start(&lab);
    let admin = controller.admin();
    assert_eq!(admin.send("POST", "/api/tenant", &json!({"name": "other"})).0, 201);
    let other = controller.admin().with(&["--header", "X-Avi-Tenant: other"]);
    let [one, two, plain, taken] = lab.addresses();
    // An address is one tenant's.
    let elsewhere = Lab::new();
    let secure = elsewhere.address();
    let _one = Origin::fixed(one, origin::ok("one"));
    let _two = Origin::fixed(two, origin::ok("two"));
    let key = made(&other, "sslkeyandcertificate", pair(&lab, "stale.test"));
    let tls = json!({
        "services": [{"port": secure.port(), "enable_ssl": true}],
        "ssl_key_and_certificate_refs": [format!("/api/sslkeyandcertificate/{key}")],
    });
    let (theirs, _) = service(&other, "secure", (secure, one), tls);
    let (_, pool) = service(&admin, "plain", (plain, one), json!({}));
    let holder = TcpListener::bind(taken).expect("it is free");
    let (third, _) = service(&admin, "third", (taken, one), json!({}));

    // Its first configuration has one bad service: a port that another program has. What has expired is shown.
    let mut engine = member(&lab, &controller, &Options::default());
    let uuid = engine.uuid();
    eventually("the good ones serve", secs(20), || {
        shown(secure).contains("stale.test") && says(plain, "one")
    });
    let held = |what: &str| seen(&controller, &uuid)["configuration"][what].clone();
    eventually("it is left out", secs(20), || {
        let left_out = held("left_out");
        left_out[&third].to_string().contains("another process listens there") && left_out[&theirs].is_null()
    });

    // Where another one is shown by now, one that is over does not take its place.
    let path = format!("/api/sslkeyandcertificate/{key}");
    let shows = |name: &str| {
        let (status, answer) = other.send("PUT", &path, &pair(&lab, name));
        assert_eq!(status, 200, "{answer}");
    };
    shows("first.test");
    eventually("it is renewed", secs(20), || shown(secure).contains("first.test"));
    shows("stale.test");
    eventually("the Controller has heard of it", secs(20), || {
        held("as_before")[&theirs].to_string().contains("expired")
    });
    let servers = json!({"name": "plain", "servers": [{"ip": ip(two), "port": two.port()}]});
    assert_eq!(admin.send("PUT", &format!("/api/pool/{pool}"), &servers).0, 200);
    eventually("another's change is there", secs(20), || says(plain, "two"));
    assert!(shown(secure).contains("first.test"), "it is as it was");
    eventually("all else is taken", secs(20), || held("current") == true);
    let (_, runtime) = other.get(&format!("/api/virtualservice/{theirs}/runtime"));
    let state = &runtime["oper_status"];
    assert!(state["state"] == "OPER_UP" && state["reason"].to_string().contains("expired"), "{runtime}");
    eventually("its tenant is told", secs(20), || {
        other.get("/api/analytics/logs?type=2&page_size=100").1.to_string().contains("VS_CONFIG_REFUSED")
    });

    // It starts in the same way, without its Controller, and finds the port free after a while.
    controller.process.kill();
    engine.process.kill();
    engine.again(&lab, controller.engines, &Options::default());
    eventually("it serves", secs(20), || says(plain, "two"));
    assert!(shown(secure).contains("first.test"), "also over a start");
    assert!(!says(taken, "one"));
    drop(holder);
    eventually("it has the port", secs(40), || says(taken, "one"));
    engine.says("CONFIG_TAKEN_IN_PART");

    controller.again(&lab);
    eventually("what it lacks is known again", secs(20), || {
        let seen = seen(&controller, &uuid);
        let configuration = &seen["configuration"];
        configuration["current"] == true
            && configuration["left_out"] == json!({})
            && configuration["as_before"][&theirs].is_array()
    });
    shows("second.test");
    eventually("what is mended arrives", secs(20), || shown(secure).contains("second.test"));
    eventually("nothing is lacking", secs(20), || {
        seen(&controller, &uuid)["configuration"]["as_before"] == json!({})
    });
}
