//! A document of which a part is made anew is the document that is made as a whole.

mod world;

use std::collections::{BTreeMap, BTreeSet};

use forebay_model::compile::{Compiled, TicketKey, compile, compile_after};
use serde_json::{Value, json};
use world::World;

/// Services, of which each has an address and a pool of its own.
const SERVICES: usize = 12;

fn name(service: usize) -> String {
    format!("virtualservice-{service:02}")
}

fn service(number: usize, pool: &str) -> Value {
    json!({
        "services": [{"port": 80}],
        "vsvip_ref": format!("/api/vsvip/vsvip-{number:02}"),
        "pool_ref": format!("/api/pool/{pool}"),
    })
}

fn pool(server: &str) -> Value {
    json!({
        "health_monitor_refs": ["/api/healthmonitor/healthmonitor-1"],
        "servers": [{"ip": {"addr": server, "type": "V4"}, "port": 8080}],
    })
}

fn vsvip(address: &str) -> Value {
    json!({"vip": [{"vip_id": "1", "ip_address": {"addr": address, "type": "V4"}}]})
}

fn world() -> World {
    let mut world = World::of(&json!({}));
    world.put("healthmonitor", "healthmonitor-1", &json!({"type": "HEALTH_MONITOR_TCP"}));
    let pair = json!({
        "certificate": {"certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
        "key": "-----BEGIN PRIVATE KEY-----\nc2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlYzE=\n-----END PRIVATE KEY-----\n",
    });
    world.put("sslkeyandcertificate", "sslkeyandcertificate-1", &pair);
    for number in 0..SERVICES {
        world.put("vsvip", &format!("vsvip-{number:02}"), &vsvip(&format!("192.0.2.{}", 10 + number)));
        world.put("pool", &format!("pool-{number:02}"), &pool(&format!("10.0.0.{}", 10 + number)));
        world.put("virtualservice", &name(number), &service(number, &format!("pool-{number:02}")));
    }
    world
}

fn all(count: usize) -> Vec<String> {
    (0..count).map(name).collect()
}

fn tickets() -> TicketKey {
    let mut key = [0; 32];
    (1_u8..).zip(&mut key).for_each(|(n, byte)| *byte = n.wrapping_mul(37));
    TicketKey { name: "t1".to_owned(), key }
}

/// What is made of a part, if anything is; whatever it is, it is the whole.
fn after(world: &World, services: &[String], before: &Compiled, changed: &[String]) -> Option<Compiled> {
    let services: Vec<&str> = services.iter().map(String::as_str).collect();
    let mut input = world.input(&services);
    input.ticket_keys = vec![tickets()];
    let changed: BTreeSet<String> = changed.iter().cloned().collect();
    let whole = compile(&input).expect("it compiles");
    let part = compile_after(&input, &before.sections, &before.outline, &changed)?;
    let texts = |made: &Compiled| -> BTreeMap<String, String> { made.sections.clone() };
    assert_eq!(texts(&part), texts(&whole), "the document");
    assert_eq!((&part.warnings, &part.left_out), (&whole.warnings, &whole.left_out));
    assert_eq!(part.outline, whole.outline, "what is known of it for the next time");
    Some(part)
}

fn made(world: &World, services: &[String]) -> Compiled {
    let services: Vec<&str> = services.iter().map(String::as_str).collect();
    let mut input = world.input(&services);
    input.ticket_keys = vec![tickets()];
    compile(&input).expect("it compiles")
}

//= test COMPILE-AGAIN-01
#[test]
fn what_a_change_concerns_is_made_and_stands_in_the_whole() {
    let mut world = world();
    let services = all(SERVICES);
    let mut before = made(&world, &services);
    // A server of one pool.
    world.put("pool", "pool-03", &pool("10.0.9.9"));
    before = after(&world, &services, &before, &[name(3)]).expect("a part is enough");
    assert!(before.sections["pool/pool-03"].contains("10.0.9.9"));
    // Another address, with TLS from now on, and what does nothing.
    let mut secured = service(5, "pool-05");
    secured["services"] = json!([{"port": 443, "enable_ssl": true}]);
    secured["ssl_key_and_certificate_refs"] = json!(["/api/sslkeyandcertificate/sslkeyandcertificate-1"]);
    world.put("virtualservice", &name(5), &secured);
    before = after(&world, &services, &before, &[name(5)]).expect("a part is enough");
    assert!(before.sections.keys().any(|key| key.starts_with("ticket_key/")), "its clients get tickets");
    // Who stays has tickets still, who was made anew has none.
    world.put("pool", "pool-03", &pool("10.0.9.8"));
    before = after(&world, &services, &before, &[name(3)]).expect("a part is enough");
    // And when nobody has any, there are no keys.
    world.put("virtualservice", &name(5), &service(5, "pool-05"));
    before = after(&world, &services, &before, &[name(5)]).expect("a part is enough");
    assert!(!before.sections.keys().any(|key| key.starts_with("ticket_key/")));
    // Services come and go.
    before = after(&world, &all(SERVICES - 2), &before, &[]).expect("a part is enough");
    assert!(!before.sections.contains_key("pool/pool-11"));
    before = after(&world, &services, &before, &[]).expect("a part is enough");
    // Two share a pool from now on: what is made of it follows from both.
    let mut waits = pool("10.0.0.77");
    waits["max_concurrent_connections_per_server"] = json!(100);
    world.put("pool", "pool-00", &waits);
    before = after(&world, &services, &before, &[name(0)]).expect("a part is enough");
    world.put("virtualservice", &name(1), &service(1, "pool-00"));
    assert!(after(&world, &services, &before, &[name(1)]).is_none(), "the other one is concerned too");
    before = after(&world, &services, &before, &[name(0), name(1)]).expect("a part is enough");
    world.put("pool", "pool-00", &pool("10.0.0.78"));
    before = after(&world, &services, &before, &[name(1)]).expect("who shares it is found");
    let without: Vec<String> = services.iter().filter(|uuid| **uuid != name(1)).cloned().collect();
    after(&world, &without, &before, &[]).expect("a part is enough");
}

//= test COMPILE-AGAIN-01
#[test]
fn what_might_not_fit_together_is_judged_over_the_whole() {
    let services = all(SERVICES);
    let first = world();
    let before = made(&first, &services);
    assert!(first.compiled(&["virtualservice-03"]).left_out.is_empty());
    let refused = |change: &dyn Fn(&mut World), why: &str| {
        let mut world = first.clone();
        change(&mut world);
        assert!(after(&world, &services, &before, &[name(3)]).is_none(), "{why}");
    };
    let twice = |world: &mut World| world.put("vsvip", "vsvip-03", &vsvip("192.0.2.15"));
    refused(&twice, "an address that another one has");
    let mut back = pool("192.0.2.15");
    back["servers"][0]["port"] = json!(80);
    refused(&|world| world.put("pool", "pool-03", &back), "a server that is another service of the engine");
    refused(
        &|world| {
            let mut named = pool("10.0.0.3");
            named["servers"] = json!([{"ip": {"addr": "a.example.com", "type": "DNS"}, "port": 80}]);
            world.put("pool", "pool-03", &named);
        },
        "a server with a host name",
    );
    refused(
        &|world| {
            world.0.remove(&("pool".to_owned(), "pool-03".to_owned()));
        },
        "a service that cannot be carried out",
    );
    let many: Vec<String> = (0..7).map(name).collect();
    assert!(after(&first, &services, &before, &many).is_none(), "where most are concerned");
}
