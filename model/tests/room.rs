//! What an engine has room for, and what becomes of what is too much.

mod world;

use forebay_model::check::{check, check_after};
use forebay_model::compile::compile;
use forebay_model::kind::kind;
use forebay_snapshot::limits::{COOKIE_KEYS_MAX, HOST_NAMES_MAX};
use serde_json::{Value, json};
use world::World;

/// Host names of one pool: half of what an engine looks up.
const HALF: usize = HOST_NAMES_MAX / 2;

/// Services by number, each with a pool of so many servers that are known by names, and further fields of that pool.
fn site(names: &[usize], of_pool: impl Fn(usize) -> Value) -> (World, Vec<String>) {
    let mut world = World::of(&json!({}));
    let mut services = Vec::new();
    for (at, count) in names.iter().enumerate() {
        let servers: Vec<Value> = (0..*count)
            .map(|n| json!({"ip": {"addr": "192.0.2.1", "type": "DNS"}, "hostname": format!("s{n}.v{at}.test"), "port": 80, "resolve_server_by_dns": true}))
            .collect();
        let mut pool = json!({"name": format!("p{at}"), "servers": servers});
        pool.as_object_mut().expect("one").extend(of_pool(at).as_object().cloned().unwrap_or_default());
        world.put("pool", &format!("pool-{at}"), &pool);
        let address = format!("198.51.{}.{}", at / 250, at % 250 + 1);
        let vip =
            json!({"name": "v", "vip": [{"vip_id": "1", "ip_address": {"addr": address, "type": "V4"}}]});
        world.put("vsvip", &format!("vsvip-{at}"), &vip);
        let uuid = format!("virtualservice-{at}");
        let service = json!({
            "name": uuid,
            "services": [{"port": 80}],
            "vsvip_ref": format!("/api/vsvip/vsvip-{at}"),
            "pool_ref": format!("/api/pool/pool-{at}"),
        });
        world.put("virtualservice", &uuid, &service);
        services.push(uuid);
    }
    (world, services)
}

//= test COMPILE-ROOM-01
#[test]
fn services_that_are_too_much_together_take_nobody_off_who_serves() {
    let half = HOST_NAMES_MAX / 2;
    for (names, fits) in [([half, half, 0], true), ([half, half, 1], false), ([half, half - 1, 2], false)] {
        let (world, services) = site(&names, |_| json!({}));
        let known: Vec<&str> = services.iter().map(String::as_str).collect();
        match compile(&world.input(&known)) {
            Ok(made) => assert!(fits && made.left_out.is_empty(), "{names:?}: {:?}", made.left_out),
            Err(problems) => {
                let text = problems.iter().map(ToString::to_string).collect::<String>();
                assert!(!fits && text.contains("host names"), "{names:?}: {text}");
            }
        }
    }
}

//= test COMPILE-SHARE-01
#[test]
fn a_pool_with_more_host_names_than_leave_room_for_others_is_refused_where_it_is_written() {
    let servers = |count: usize| -> Vec<Value> {
        (0..count).map(|n| json!({"ip": {"addr": format!("s{n}.test"), "type": "DNS"}, "port": 80})).collect()
    };
    let pool = |count: usize| {
        let pool = json!({"name": "p", "servers": servers(count)});
        check(kind("pool").expect("there is one"), pool.as_object().expect("one"))
    };
    assert!(pool(HALF).is_ok());
    let problems = pool(HALF + 1).expect_err("it is refused");
    assert!(problems[0].path == "servers" && problems[0].reason.contains("501"), "{problems:?}");
}

//= test COMPILE-SHARE-01
#[test]
fn a_pool_that_has_had_more_host_names_than_are_allowed_today_may_keep_them() {
    let pool = |count: usize| {
        let servers: Vec<Value> = (0..count)
            .map(|n| json!({"ip": {"addr": format!("s{n}.test"), "type": "DNS"}, "port": 80}))
            .collect();
        json!({"name": "p", "servers": servers}).as_object().cloned().expect("one")
    };
    let after = |had: usize, has: usize| {
        check_after(kind("pool").expect("there is one"), &pool(has), Some(&pool(had)))
    };
    for (had, has) in [(HALF + 200, HALF + 200), (HALF + 200, HALF + 1), (3, HALF), (HOST_NAMES_MAX, 1)] {
        assert!(after(had, has).is_ok(), "{had} {has}");
    }
    for (had, has, words) in [
        (
            HALF + 200,
            HALF + 201,
            "701 different host names, and 700 are the most that are looked up for it, as many as it had",
        ),
        (HALF, HALF + 1, "500 are the most that are looked up for a pool"),
        (HOST_NAMES_MAX + 1, HOST_NAMES_MAX + 1, "1000 are the most"),
    ] {
        let problems = after(had, has).expect_err("it is refused");
        assert!(problems[0].path == "servers" && problems[0].reason.contains(words), "{problems:?}");
    }
}

//= test CFG-COOKIE-01
//= test COMPILE-COOKIE-01
#[test]
fn each_service_of_an_engine_may_have_a_cookie_profile_and_rotated_keys_of_its_own() {
    const SERVICES: usize = 300;
    let refers = |at: usize| json!({"application_persistence_profile_ref": format!("/api/applicationpersistenceprofile/profile-{at}")});
    let (mut world, services) = site(&[1; SERVICES], refers);
    for at in 0..SERVICES {
        let key = |n: usize| {
            let mut state = (at * 2 + n) as u64 + 1;
            let mut byte = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56).to_le_bytes()[0]
            };
            let bytes: Vec<u8> = (0..32).map(|_| byte()).collect();
            json!({"name": format!("k{n}"), "aes_key": base64(&bytes)})
        };
        let profile = json!({
            "name": format!("profile-{at}"),
            "persistence_type": "PERSISTENCE_TYPE_HTTP_COOKIE",
            "http_cookie_persistence_profile": {"key": [key(0), key(1)]},
        });
        world.put("applicationpersistenceprofile", &format!("profile-{at}"), &profile);
    }
    let known: Vec<&str> = services.iter().map(String::as_str).collect();
    let made = world.compiled(&known);
    assert!(made.left_out.is_empty(), "{:?}", made.left_out.values().next());
    let keys = made.sections.keys().filter(|key| key.starts_with("cookie_key/")).count();
    assert!(keys == 2 * SERVICES && keys > COOKIE_KEYS_MAX, "{keys}");
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letters = bytes.chunks(3).map(|three| {
        let at = |n: usize| u32::from(three.get(n).copied().unwrap_or(0));
        let all = at(0) << 16 | at(1) << 8 | at(2);
        let letter = |n: u32| {
            if n as usize > three.len() {
                '='
            } else {
                char::from(LETTERS[(all >> (18 - 6 * n) & 63) as usize])
            }
        };
        (0..4).map(letter).collect::<String>()
    });
    letters.collect()
}

//= test COMPILE-PORT-02
#[test]
fn servers_at_each_of_many_ports_are_bounded_before_they_are_made() {
    let servers = |count: usize| -> Vec<Value> {
        let at =
            |n: usize| json!({"ip": {"addr": format!("10.0.{}.{}", n / 250, n % 250 + 1), "type": "V4"}});
        (0..count).map(at).collect()
    };
    for (ports, count, fits) in
        [(64, 1, true), (65, 1, false), (20, 1_000, true), (21, 1_000, false), (60_000, 5_000, false)]
    {
        let (mut world, services) = site(&[0], |_| json!({}));
        world.put(
            "pool",
            "pool-0",
            &json!({"name": "p0", "use_service_port": true, "servers": servers(count)}),
        );
        // Ranges of a thousand, as many as it takes.
        let entries: Vec<Value> = (1..=ports)
            .step_by(1_000)
            .map(|from| json!({"port": from, "port_range_end": (from + 999).min(ports)}))
            .collect();
        let service = json!({
            "name": services[0],
            "services": entries,
            "vsvip_ref": "/api/vsvip/vsvip-0",
            "pool_ref": "/api/pool/pool-0",
        });
        world.put("virtualservice", &services[0], &service);
        let made = compile(&world.input(&[&services[0]])).expect("what is too much is left out");
        assert_eq!(made.left_out.is_empty(), fits, "{ports} ports, {count} servers: {:?}", made.left_out);
        let why = format!("{:?}", made.left_out);
        assert!(fits || why.contains("use_service_port"), "{why}");
    }
}

//= test COMPILE-PORT-02
#[test]
fn addresses_of_a_group_count_as_servers_before_they_are_made() {
    for (count, ports, fits) in [(5_000, 1, true), (5_001, 1, false), (5_000, 4, true), (5_000, 5, false)] {
        let (mut world, services) = site(&[0], |_| json!({}));
        let addrs: Vec<Value> = (0..count)
            .map(|n| json!({"addr": format!("10.0.{}.{}", n / 250, n % 250 + 1), "type": "V4"}))
            .collect();
        world.put("ipaddrgroup", "group", &json!({"name": "g", "addrs": addrs}));
        let pool =
            json!({"name": "p0", "use_service_port": ports > 1, "ipaddrgroup_ref": "/api/ipaddrgroup/group"});
        world.put("pool", "pool-0", &pool);
        let service = json!({
            "name": services[0],
            "services": [{"port": 1, "port_range_end": ports}],
            "vsvip_ref": "/api/vsvip/vsvip-0",
            "pool_ref": "/api/pool/pool-0",
        });
        world.put("virtualservice", &services[0], &service);
        let made = compile(&world.input(&[&services[0]])).expect("what is too much is left out");
        assert_eq!(made.left_out.is_empty(), fits, "{count} at {ports} ports: {:?}", made.left_out);
    }
}
