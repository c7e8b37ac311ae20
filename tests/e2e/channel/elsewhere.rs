//! A service that one engine cannot have as its machine is, beside an engine that can.

use forebay_e2e::clock::{Clock, Moves};
use forebay_e2e::led::{Options, member, seen};
use forebay_e2e::pki::shown;
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Controller, Lab, Origin, origin, pki};
use serde_json::json;

use crate::judged::{made, pair, service};

//= test PLACE-REFUSED-01
#[test]
fn a_service_that_one_engine_cannot_have_is_served_by_the_other() {
    let lab = Lab::new();
    pki::authority(lab.folder(), "ca");
    let controller = Controller::start(&lab);
    let admin = controller.admin();
    // To this one's clock the certificate is of the future.
    let clock = Clock::new(lab.folder(), Moves::WallClock);
    clock.set(-300);
    let options = Options { arguments: vec!["--share-addresses".to_owned()], ..Options::default() };
    let behind = member(&lab, &controller, &Options { env: clock.env(), ..options.clone() });
    pki::certificate(lab.folder(), "now.test", "ca", pki::EC, "DNS:now.test", 2);
    let [at, server] = lab.addresses();
    let _server = Origin::fixed(server, origin::ok("one"));
    let key = made(&admin, "sslkeyandcertificate", pair(&lab, "now.test"));
    let tls = json!({
        "services": [{"port": at.port(), "enable_ssl": true}],
        "ssl_key_and_certificate_refs": [format!("/api/sslkeyandcertificate/{key}")],
    });
    let (uuid, _) = service(&admin, "new", (at, server), tls);
    let get = |what: &str| admin.get(&format!("/api/virtualservice/{uuid}/{what}")).1;
    let on = || get("runtime")["vip_summary"][0]["service_engine"].clone();
    eventually("it is left out, and stays where nobody else may have it", secs(20), || {
        let left_out = seen(&controller, &behind.uuid())["configuration"]["left_out"][&uuid].to_string();
        left_out.contains("not valid yet") && on()[0]["uuid"] == behind.uuid().as_str()
    });
    assert_eq!(get("runtime")["oper_status"]["state"], "OPER_DOWN");
    let ready = || {
        let (_, events) = admin.get("/api/analytics/logs?type=2&page_size=200");
        events.to_string().matches("SE_SCALEOUT_READY").count()
    };
    assert_eq!(ready(), 0, "nobody says that it is served");

    let right = member(&lab, &controller, &options);
    eventually("the other one serves it", secs(20), || shown(at).contains("now.test"));
    eventually("it alone has it", secs(20), || {
        let on = on();
        on.as_array().is_some_and(|all| all.len() == 1) && on[0]["uuid"] == right.uuid().as_str()
    });
    eventually("it is up", secs(20), || get("runtime")["oper_status"]["state"] == "OPER_UP");
    eventually("that is said", secs(20), || ready() > 0);
    let why = get("candidatesehostlist")["se"].to_string();
    assert!(why.contains("could not have the virtual service") && why.contains("not valid yet"), "{why}");
    // Where it could be had again, nothing moves back.
    clock.set(0);
    let (status, said) =
        admin.send("POST", &format!("/api/virtualservice/{uuid}/retryplacement"), &json!({}));
    assert_eq!(status, 200, "{said}");
    assert_eq!(on()[0]["uuid"], right.uuid().as_str());
    assert!(shown(at).contains("now.test"));
}
