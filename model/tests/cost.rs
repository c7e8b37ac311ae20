//! What it costs to compile an engine of a site with ten thousand services and a hundred thousand servers on 64 engines.
//!
//! Objects that are read are counted; times are printed.

mod world;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use forebay_model::Object;
use forebay_model::compile::{Input, Lookup, compile, compile_after};
use serde_json::{Value, json};
use world::World;

/// Services of one engine, and servers of one service.
const SERVICES: usize = 157;
const SERVERS: usize = 10;

/// The time that this thread had a core, which other programs of the machine do not change.
fn on_core() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// Objects that say how often each was read.
struct Counted<'w> {
    world: &'w World,
    read: RefCell<BTreeMap<(String, String), usize>>,
}

impl Lookup for Counted<'_> {
    fn get(&self, kind: &str, uuid: &str) -> Option<Object> {
        *self.read.borrow_mut().entry((kind.to_owned(), uuid.to_owned())).or_default() += 1;
        self.world.get(kind, uuid)
    }

    fn named(&self, kind: &str, name: &str) -> Option<(String, Object)> {
        *self.read.borrow_mut().entry((kind.to_owned(), format!("named {name}"))).or_default() += 1;
        self.world.named(kind, name)
    }
}

fn site() -> (World, Vec<String>) {
    let (mut vips, mut pools, mut services) = (json!({}), json!({}), json!({}));
    let mut names = Vec::new();
    for number in 0..SERVICES {
        let address = |host: usize| json!({"addr": format!("10.{host}.{}.{}", number / 250, 1 + number % 250), "type": "V4"});
        let name = format!("virtualservice-{number:05}");
        vips[format!("vsvip-{number}")] = json!({"vip": [{"vip_id": "1", "ip_address": address(0)}]});
        let servers: Vec<Value> =
            (1..=SERVERS).map(|host| json!({"ip": address(host), "port": 8080})).collect();
        pools[format!("pool-{number}")] =
            json!({"servers": servers, "health_monitor_refs": ["/api/healthmonitor?name=System-HTTP"]});
        services[&name] = json!({
            "services": [{"port": 80}, {"port": 443, "enable_ssl": true}],
            "application_profile_ref": "/api/applicationprofile/applicationprofile-shared",
            "vsvip_ref": format!("/api/vsvip/vsvip-{number}"), "pool_ref": format!("/api/pool/pool-{number}"),
            "ssl_key_and_certificate_refs": ["/api/sslkeyandcertificate/sslkeyandcertificate-shared"]});
        names.push(name);
    }
    let objects = json!({"vsvip": vips, "pool": pools, "virtualservice": services,
        "applicationprofile": {"applicationprofile-shared": {"type": "APPLICATION_PROFILE_TYPE_HTTP"}},
        "sslkeyandcertificate": {"sslkeyandcertificate-shared": {
            "certificate": {"certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
            "key": "-----BEGIN PRIVATE KEY-----\nc2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlYzE=\n-----END PRIVATE KEY-----\n"}},
    });
    (World::of(&objects), names)
}

//= test COMPILE-COST-01
#[test]
fn an_object_is_read_once_however_many_services_stand_on_it() {
    let (world, names) = site();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let objects = Counted { world: &world, read: RefCell::default() };
    let began = on_core();
    let compiled = compile(&Input { objects: &objects, ..world.input(&names) }).expect("it compiles");
    println!("{SERVICES} services, {SERVERS} servers each: {:?}", on_core().saturating_sub(began));
    assert!(compiled.left_out.is_empty(), "{:?}", compiled.left_out);
    let text = compiled.document();
    let began = on_core();
    assert!(forebay_snapshot::check(&text).is_ok());
    println!("of that the engine's own check of {} bytes: {:?}", text.len(), on_core().saturating_sub(began));
    // One service has changed.
    let (input, changed) = (world.input(&names), BTreeSet::from([names[7].to_owned()]));
    let began = on_core();
    let again = compile_after(&input, &compiled.sections, &compiled.outline, &changed, &BTreeSet::new())
        .expect("a part is enough");
    println!("where one of them has changed: {:?}", on_core().saturating_sub(began));
    assert!(again == compiled, "nothing is another");
    let read = objects.read.into_inner();
    let often: Vec<_> = read.iter().filter(|(_, count)| **count > 1).collect();
    assert!(often.is_empty(), "{often:?}");
    assert!(read.len() > 3 * SERVICES, "{}", read.len());
    assert!(world.compiled(&names[..1]).left_out.is_empty());
}
