//! A Controller with engines, and what is asked of it.

use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Controller, Lab};
use serde_json::{Value, json};

use crate::led::{Led, Options};

/// A token for an engine of the group for all.
pub fn token(controller: &Controller) -> String {
    let (status, made) = controller.admin().send("POST", "/api/se-token", &json!({}));
    assert_eq!(status, 201, "{made}");
    made["token"].as_str().expect("a text").to_owned()
}

/// An engine that is a member and has its configuration.
pub fn member(lab: &Lab, controller: &Controller, options: &Options) -> Led {
    let mut engine = Led::start(lab, controller.engines, &token(controller), options);
    engine.says("SE_ENROLLED");
    let uuid = engine.uuid();
    eventually("the engine is up and has its configuration", secs(20), || {
        let seen = seen(controller, &uuid);
        seen["up"] == true && seen["configuration"]["current"] == true
    });
    engine
}

/// How it stands with an engine.
pub fn seen(controller: &Controller, uuid: &str) -> Value {
    controller.admin().get(&format!("/api/serviceengine/{uuid}/channel")).1
}
