//! The objects of `up`, made as a user would make them.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Controller, ip};
use crate::api::Api;
use crate::up::config::{CHAIN_FILE, KEY_FILE, Plan, Service, Stick};

/// The name of everything that all services share.
const SHARED: &str = "up";

/// Makes the services, with all that they refer to.
pub fn make(controller: &mut Controller, plan: &Plan, data: &Path) -> Result<()> {
    let mut api = controller.session()?;
    create(&mut api, "healthmonitor", &monitor(plan.demo))?;
    let vip = plan.services.first().context("there are services")?.address;
    create(&mut api, "vsvip", &json!({"name": SHARED, "vip": [{"vip_id": "1", "ip_address": ip(vip)}]}))?;
    let pem = |file: &str| {
        let file = data.join(file);
        std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    };
    let certificate =
        json!({"name": SHARED, "certificate": {"certificate": pem(CHAIN_FILE)?}, "key": pem(KEY_FILE)?});
    create(&mut api, "sslkeyandcertificate", &certificate)?;
    for service in &plan.services {
        create(&mut api, "pool", &pool(service, plan))?;
        let document = virtual_service(service.name, service.name, json!({"port": service.address.port()}));
        let uuid = create(&mut api, "virtualservice", &document)?;
        controller.services.insert(service.name, uuid);
    }
    let entry = json!({"port": plan.secure.port(), "enable_ssl": true, "enable_http2": true});
    let mut secure = virtual_service("https", plan.services[0].name, entry);
    create(&mut api, "applicationprofile", &told_of_tls())?;
    secure["application_profile_ref"] = named("applicationprofile", SHARED).into();
    secure["ssl_key_and_certificate_refs"] = json!([named("sslkeyandcertificate", SHARED)]);
    create(&mut api, "virtualservice", &secure)?;
    api.close();
    Ok(())
}

fn create(api: &mut Api, kind: &str, object: &Value) -> Result<String> {
    let made = api.ask("POST", &format!("/api/{kind}"), Some(object));
    let made = made.with_context(|| format!("the {kind} {} could not be made", object["name"]))?;
    made["uuid"].as_str().map(str::to_owned).with_context(|| format!("a {kind} without a uuid"))
}

/// A reference by name.
fn named(kind: &str, name: &str) -> String {
    format!("/api/{kind}?name={name}")
}

fn monitor(demo: bool) -> Value {
    let mut monitor = json!({
        "name": SHARED, "send_interval": 2, "receive_timeout": 1, "failed_checks": 2, "successful_checks": 1,
    });
    if demo {
        monitor["type"] = "HEALTH_MONITOR_HTTP".into();
        monitor["http_monitor"] =
            json!({"http_request": "GET /health HTTP/1.0", "http_response_code": ["HTTP_2XX"]});
    } else {
        monitor["type"] = "HEALTH_MONITOR_TCP".into();
    }
    monitor
}

/// Servers hear by which protocol a client came.
fn told_of_tls() -> Value {
    json!({
        "name": SHARED,
        "type": "APPLICATION_PROFILE_TYPE_HTTP",
        "http_profile": {"x_forwarded_proto_enabled": true},
    })
}

fn pool(service: &Service, plan: &Plan) -> Value {
    let server = |(name, address): &(String, std::net::SocketAddr)| json!({"ip": ip(*address), "port": address.port(), "description": name});
    let sorry = "no server is up; see the pool's runtime and the log\n";
    let mut pool = json!({
        "name": service.name,
        "health_monitor_refs": [named("healthmonitor", SHARED)],
        "connection_ramp_duration": 0,
        "servers": plan.servers.iter().map(server).collect::<Vec<_>>(),
        "fail_action": {"type": "FAIL_ACTION_HTTP_LOCAL_RSP", "local_rsp": {
            "status_code": "FAIL_HTTP_STATUS_CODE_503",
            "file": {"content_type": "text/plain", "file_content": sorry},
        }},
    });
    let profile = match service.stick {
        Stick::Cookie => "System-Persistence-Http-Cookie",
        Stick::Address => "System-Persistence-Client-IP",
        Stick::Session => "System-Persistence-App-Cookie",
        Stick::None => {
            pool["lb_algorithm"] = "LB_ALGORITHM_ROUND_ROBIN".into();
            return pool;
        }
    };
    pool["application_persistence_profile_ref"] = named("applicationpersistenceprofile", profile).into();
    pool
}

fn virtual_service(name: &str, pool: &str, entry: Value) -> Value {
    json!({
        "name": name,
        "vsvip_ref": named("vsvip", SHARED),
        "pool_ref": named("pool", pool),
        "services": [entry],
    })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn every_object_is_one_that_the_tables_take() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let check = |kind: &str, object: &Value| {
            let kind = forebay_model::kind(kind).expect("a kind");
            let object = object.as_object().expect("an object");
            forebay_model::check(kind, object).unwrap_or_else(|problems| panic!("{problems:?} {object:?}"));
        };
        for demo in [true, false] {
            let services: Vec<Service> = Stick::ALL
                .into_iter()
                .zip(8080..)
                .map(|((name, stick), port)| Service { name, stick, address: address(port) })
                .collect();
            let plan = Plan {
                services: services.clone(),
                servers: vec![("one".into(), address(9001))],
                demo,
                secure: address(8084),
                seats: Vec::new(),
                workers: 2,
                cookie_key: String::new(),
            };
            check("healthmonitor", &monitor(demo));
            check("applicationprofile", &told_of_tls());
            for service in &services {
                check("pool", &pool(service, &plan));
                check("virtualservice", &virtual_service(service.name, service.name, json!({"port": 80})));
            }
        }
    }
}
