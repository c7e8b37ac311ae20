//! A document of which a part is made anew is the document that is made as a whole.

mod world;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use forebay_model::Object;
use forebay_model::compile::{Compiled, Input, Lookup, TicketKey, compile, compile_after};
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
    let part = compile_after(&input, &before.sections, &before.outline, &changed, &BTreeSet::new())?;
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
fn a_service_that_goes_leaves_what_it_shared_to_those_that_stay() {
    let mut world = world();
    let services = all(SERVICES);
    let sessions = json!({"persistence_type": "PERSISTENCE_TYPE_TLS"});
    world.put("applicationpersistenceprofile", "applicationpersistenceprofile-1", &sessions);
    let mut kept = pool("10.0.0.5");
    kept["application_persistence_profile_ref"] =
        json!("/api/applicationpersistenceprofile/applicationpersistenceprofile-1");
    world.put("pool", "pool-05", &kept);
    let mut secured = service(5, "pool-05");
    secured["services"] = json!([{"port": 443, "enable_ssl": true}]);
    secured["ssl_key_and_certificate_refs"] = json!(["/api/sslkeyandcertificate/sslkeyandcertificate-1"]);
    world.put("virtualservice", &name(5), &secured);
    // Clients of this one have no sessions, so that nobody is kept by them.
    world.put("virtualservice", &name(6), &service(6, "pool-05"));
    let before = made(&world, &services);
    assert!(!before.sections["pool/pool-05"].contains("persistence"));
    let without: Vec<String> = services.iter().filter(|uuid| **uuid != name(6)).cloned().collect();
    let part = after(&world, &without, &before, &[]).expect("a part is enough");
    assert!(part.sections["pool/pool-05"].contains("persistence"));
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

//= test COMPILE-AGAIN-01
#[test]
fn one_key_by_two_names_is_judged_over_the_whole() {
    let services = all(SERVICES);
    let mut world = world();
    let profile = |name: &str, key: usize| {
        let aes = format!("{key}AECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
        json!({"persistence_type": "PERSISTENCE_TYPE_HTTP_COOKIE",
               "http_cookie_persistence_profile": {"key": [{"name": name, "aes_key": aes}]}})
    };
    for number in [3, 4] {
        let uuid = format!("applicationpersistenceprofile-{number}");
        world.put("applicationpersistenceprofile", &uuid, &profile(&format!("k{number}"), number));
        let mut kept = pool(&format!("10.0.0.{}", 10 + number));
        kept["application_persistence_profile_ref"] =
            json!(format!("/api/applicationpersistenceprofile/{uuid}"));
        world.put("pool", &format!("pool-{number:02}"), &kept);
    }
    let before = made(&world, &services);
    let keys = before.sections.keys().filter(|key| key.starts_with("cookie_key/")).count();
    assert_eq!((keys, before.left_out.len()), (2, 0));
    // Another key under the name that it has: good by itself, and that of a profile which nobody has touched.
    world.put("applicationpersistenceprofile", "applicationpersistenceprofile-3", &profile("k3", 4));
    assert!(after(&world, &services, &before, &[name(3)]).is_none());
}

/// Numbers by which objects are made and changed; the same seed has the same ones.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % u64::try_from(bound).expect("small")).expect("smaller")
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn of(&mut self, kind: &str, count: usize) -> String {
        format!("/api/{kind}/{kind}-{:02}", self.below(count))
    }
}

/// Objects of each kind that are there, and that many services may stand on.
const SHARED: usize = 4;
/// Services of a site that changes.
const SITE: usize = 20;
/// Pools: some services share one, some have several by their groups and rules.
const POOLS: usize = 24;
/// Of the services the last ones are children of the first one.
const CHILDREN: usize = 2;

/// An object of this kind and number as it might be.
fn any(random: &mut Random, kind: &str, number: usize) -> Value {
    match kind {
        "pool" => any_pool(random),
        "poolgroup" => {
            let members: BTreeSet<String> = (0..=random.below(3)).map(|_| random.of("pool", POOLS)).collect();
            let members: Vec<Value> =
                members.iter().map(|pool| json!({"pool_ref": pool, "ratio": 2})).collect();
            json!({"members": members})
        }
        "vsvip" => {
            // Two that want one address are rare.
            let host = if random.one_in(80) { random.below(SITE) } else { number };
            vsvip(&format!("192.0.2.{}", 10 + host))
        }
        "healthmonitor" => {
            let every = 5 + random.below(20);
            match random.below(12) {
                0 => json!({"type": "HEALTH_MONITOR_DNS", "dns_monitor": {"query_name": "a.example"}}),
                1..4 => json!({"type": "HEALTH_MONITOR_HTTP", "send_interval": every,
                    "http_monitor": {"http_request": "GET / HTTP/1.0", "http_response_code": ["HTTP_2XX"]}}),
                _ => json!({"type": "HEALTH_MONITOR_TCP", "send_interval": every}),
            }
        }
        "applicationpersistenceprofile" => match random.below(3) {
            0 => json!({"persistence_type": "PERSISTENCE_TYPE_TLS"}),
            1 => {
                json!({"persistence_type": "PERSISTENCE_TYPE_HTTP_COOKIE", "http_cookie_persistence_profile": {
                "key": [{"name": format!("k{number}"), "aes_key": format!("{number}AECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")}]}})
            }
            _ => json!({"persistence_type": "PERSISTENCE_TYPE_CLIENT_IP_ADDRESS",
                "ip_persistence_profile": {"ip_persistent_timeout": 1 + random.below(9)}}),
        },
        "applicationprofile" => json!({"type": "APPLICATION_PROFILE_TYPE_HTTP",
            "http_profile": {"client_max_header_size": 4 + random.below(20), "x_forwarded_proto_enabled": random.one_in(2)}}),
        "stringgroup" => {
            let words =
                (0..=random.below(3)).map(|word| json!({"key": format!("/w{word}-{}", random.below(9))}));
            json!({"type": "SG_TYPE_STRING", "kv": words.collect::<Vec<_>>()})
        }
        "httppolicyset" => {
            let paths = match random.below(2) {
                0 => {
                    json!({"match_criteria": "BEGINS_WITH", "match_str": [format!("/p{}", random.below(9))]})
                }
                _ => {
                    json!({"match_criteria": "BEGINS_WITH", "string_group_refs": [random.of("stringgroup", SHARED)]})
                }
            };
            let to = match random.below(3) {
                0 => {
                    json!({"action": "HTTP_SWITCHING_SELECT_POOLGROUP", "pool_group_ref": random.of("poolgroup", SHARED)})
                }
                _ => json!({"action": "HTTP_SWITCHING_SELECT_POOL", "pool_ref": random.of("pool", POOLS)}),
            };
            json!({"http_request_policy": {"rules": [
                {"index": 1, "name": "r", "enable": true, "match": {"path": paths}, "switching_action": to}]}})
        }
        _ => any_service(random, number),
    }
}

fn any_pool(random: &mut Random) -> Value {
    let address = match random.below(200) {
        // A listener of the engine's own: requests might come back.
        0 => format!("192.0.2.{}", 10 + random.below(SITE)),
        _ => format!("10.0.{}.{}", random.below(4), 1 + random.below(250)),
    };
    let mut made = pool(&address);
    made["health_monitor_refs"] = json!([random.of("healthmonitor", SHARED)]);
    made["servers"][0]["port"] = json!(80);
    if random.one_in(3) {
        made["application_persistence_profile_ref"] =
            json!(random.of("applicationpersistenceprofile", SHARED));
    }
    if random.one_in(4) {
        made["max_concurrent_connections_per_server"] = json!(10 * (1 + random.below(9)));
    }
    if random.one_in(200) {
        made["servers"] = json!([{"ip": {"addr": "a.example.com", "type": "DNS"}, "port": 80}]);
    }
    made
}

fn any_service(random: &mut Random, number: usize) -> Value {
    let mut made = service(number, "pool-00");
    let own = format!("/api/pool/pool-{number:02}");
    made["pool_ref"] = json!(if random.one_in(10) { random.of("pool", POOLS) } else { own });
    if random.one_in(10) {
        made["pool_group_ref"] = json!(random.of("poolgroup", SHARED));
        made.as_object_mut().expect("an object").remove("pool_ref");
    }
    if random.one_in(3) {
        made["application_profile_ref"] = json!(random.of("applicationprofile", SHARED));
    }
    if random.one_in(6) {
        made["http_policies"] =
            json!([{"index": 1, "http_policy_set_ref": random.of("httppolicyset", SHARED)}]);
    }
    if random.one_in(3) {
        made["services"] = json!([{"port": 80}, {"port": 443, "enable_ssl": true}]);
        made["ssl_key_and_certificate_refs"] = json!(["/api/sslkeyandcertificate/sslkeyandcertificate-1"]);
    }
    // What no engine can do leaves the service out, or does nothing.
    if random.one_in(200) {
        made["waf_policy_ref"] = json!("/api/wafpolicy/wafpolicy-1");
    }
    made["enabled"] = json!(!random.one_in(10));
    if number == 0 {
        made["type"] = json!("VS_TYPE_VH_PARENT");
        made["vh_type"] = json!("VS_TYPE_VH_ENHANCED");
    } else if number >= SITE - CHILDREN {
        for name in ["services", "vsvip_ref", "ssl_key_and_certificate_refs"] {
            made.as_object_mut().expect("an object").remove(name);
        }
        made["type"] = json!("VS_TYPE_VH_CHILD");
        made["vh_type"] = json!("VS_TYPE_VH_ENHANCED");
        made["vh_parent_vs_ref"] = json!(format!("/api/virtualservice/{}", name(0)));
        made["vh_domain_name"] = json!([format!("h{number}-{}.example", random.below(4))]);
    }
    made
}

/// Kinds with how many there are of each, and how often one is changed.
const KINDS: [(&str, usize, usize); 9] = [
    ("pool", POOLS, 8),
    ("virtualservice", SITE, 6),
    ("vsvip", SITE, 2),
    ("poolgroup", SHARED, 2),
    ("httppolicyset", SHARED, 2),
    ("stringgroup", SHARED, 1),
    ("healthmonitor", SHARED, 1),
    ("applicationprofile", SHARED, 1),
    ("applicationpersistenceprofile", SHARED, 1),
];

fn refers_to(value: &Value, at: &str) -> bool {
    match value {
        Value::String(text) => text == at,
        Value::Array(all) => all.iter().any(|one| refers_to(one, at)),
        Value::Object(all) => all.values().any(|one| refers_to(one, at)),
        _ => false,
    }
}

/// The services that stand on an object, however far below them it is; of a child, its parent.
fn dependants(world: &World, kind: &str, uuid: &str) -> BTreeSet<String> {
    let (mut open, mut seen) = (vec![(kind.to_owned(), uuid.to_owned())], BTreeSet::new());
    let mut found = BTreeSet::new();
    while let Some(at) = open.pop() {
        if !seen.insert(at.clone()) {
            continue;
        }
        if at.0 == "virtualservice" {
            let parent = world.0.get(&at).and_then(|object| object.get("vh_parent_vs_ref")?.as_str());
            found.insert(parent.and_then(|at| at.rsplit('/').next()).unwrap_or(&at.1).to_owned());
            continue;
        }
        let reference = format!("/api/{}/{}", at.0, at.1);
        let above =
            world.0.iter().filter(|(_, object)| object.values().any(|value| refers_to(value, &reference)));
        open.extend(above.map(|(id, _)| id.clone()));
    }
    found
}

/// Objects that say which services were read.
struct Noted<'w>(&'w World, RefCell<BTreeSet<String>>);

impl Lookup for Noted<'_> {
    fn get(&self, kind: &str, uuid: &str) -> Option<Object> {
        if kind == "virtualservice" {
            self.1.borrow_mut().insert(uuid.to_owned());
        }
        self.0.get(kind, uuid)
    }

    fn named(&self, kind: &str, name: &str) -> Option<(String, Object)> {
        self.0.named(kind, name)
    }
}

/// Those of the services that the whole document shares a pool with, and those that share one with these, and so on.
fn sharing(made: &[&Compiled], first: &BTreeSet<String>, all: &[String]) -> BTreeSet<String> {
    let mut found = first.clone();
    loop {
        let more: Vec<String> = all
            .iter()
            .filter(|uuid| !found.contains(*uuid))
            .filter(|uuid| {
                let meets = |made: &&Compiled| {
                    let pools: BTreeSet<&String> = made.outline.pools(uuid).collect();
                    found.iter().any(|other| made.outline.pools(other).any(|key| pools.contains(key)))
                };
                made.iter().any(meets)
            })
            .cloned()
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

/// A site that changes at random, from its beginning on. Gives how often a part was enough, and how often it was not.
fn changes(seed: u64, steps: usize) -> (usize, usize) {
    let mut random = Random(seed);
    let mut world = world();
    for (kind, count, _) in KINDS.iter().rev() {
        for number in 0..*count {
            let object = any(&mut random, kind, number);
            world.put(kind, &format!("{kind}-{number:02}"), &object);
        }
    }
    let parents: Vec<String> = all(SITE - CHILDREN);
    let mut placed = parents.clone();
    let mut before = made(&world, &placed);
    let (mut parts, mut wholes) = (0, 0);
    for step in 0..steps {
        let (mut changed, mut monitors) = (BTreeSet::new(), BTreeSet::new());
        for _ in 0..=random.below(3) {
            if random.one_in(8) {
                // A service comes or goes.
                let which = parents[random.below(parents.len())].clone();
                match placed.iter().position(|uuid| *uuid == which) {
                    Some(at) if placed.len() > 4 => drop(placed.remove(at)),
                    Some(_) => {}
                    None => placed.push(which),
                }
                continue;
            }
            let mut weight = random.below(KINDS.iter().map(|(_, _, often)| often).sum());
            let chosen = KINDS.iter().find(|(_, _, often)| match weight.checked_sub(*often) {
                Some(rest) => {
                    weight = rest;
                    false
                }
                None => true,
            });
            let (kind, count, _) = chosen.expect("it is below the sum");
            let number = random.below(*count);
            let object = any(&mut random, kind, number);
            let uuid = format!("{kind}-{number:02}");
            world.put(kind, &uuid, &object);
            // Of a monitor that nobody in the document has nothing need be made.
            match *kind {
                "healthmonitor" if before.sections.contains_key(&format!("health_monitor/{uuid}")) => {
                    monitors.insert(uuid);
                }
                _ => changed.extend(dependants(&world, kind, &uuid)),
            }
        }
        let services: Vec<&str> = placed.iter().map(String::as_str).collect();
        let noted = Noted(&world, RefCell::default());
        let input = Input { objects: &noted, ticket_keys: vec![tickets()], ..world.input(&services) };
        let changed: BTreeSet<String> = changed.into_iter().filter(|uuid| placed.contains(uuid)).collect();
        let part = compile_after(&input, &before.sections, &before.outline, &changed, &monitors);
        let read = noted.1.take();
        let whole = made(&world, &placed);
        match part.filter(|_| before.left_out.is_empty()) {
            Some(part) => {
                let at = format!("seed {seed}, step {step}");
                assert_eq!(part.sections, whole.sections, "{at}");
                assert_eq!((&part.warnings, &part.left_out), (&whole.warnings, &whole.left_out), "{at}");
                assert_eq!(part.outline, whole.outline, "{at}");
                // What was read is what has changed, what is new, and what shares a pool with these now or did before.
                let mut first = changed;
                first.extend(placed.iter().filter(|uuid| !before.outline.has(uuid)).cloned());
                let gone = parents.iter().filter(|uuid| !placed.contains(uuid) && before.outline.has(uuid));
                first.extend(gone.cloned());
                let mut may = sharing(&[&before, &whole], &first, &parents);
                may.extend(
                    (SITE - CHILDREN..SITE).filter(|_| may.contains(&name(0))).map(name).collect::<Vec<_>>(),
                );
                assert!(read.is_subset(&may), "{at}: {read:?} were read, and {may:?} are concerned");
                parts += 1;
            }
            None => wholes += 1,
        }
        before = whole;
    }
    (parts, wholes)
}

//= test COMPILE-AGAIN-01
#[test]
fn whatever_changes_in_whatever_order_the_parts_are_the_whole() {
    let seeds = if std::env::var_os("FOREBAY_LONG").is_some() { 400 } else { 12 };
    let (mut parts, mut wholes) = (0, 0);
    for seed in 0..seeds {
        let (some, others) = changes(seed, 24);
        (parts, wholes) = (parts + some, wholes + others);
    }
    println!("{parts} times a part was enough, {wholes} times it was not");
    assert!(parts * 3 > wholes, "parts are seldom enough: {parts} of {}", parts + wholes);
}
