//! Objects, and the document that an engine gets for them.
//!
//! Each case of `tests/compile` is what a user made (`.json`) and the document with what was said of it (`.toml`).
//! `FOREBAY_BLESS=1` writes the documents anew; read the difference before committing.

mod world;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use forebay_model::Problem;
use forebay_model::compile::{Compiled, Member, TicketKey, compile, uuid_of};
use serde_json::{Value, json};
use world::World;

/// How many cases there are: one that gets lost is missed.
const CASES: usize = 17;

fn told(compiled: &Compiled) -> String {
    let mut text = String::new();
    let idle: BTreeSet<Problem> = compiled.warnings.values().flatten().cloned().collect();
    let idle: Vec<Problem> = idle.into_iter().collect();
    for (what, problems) in [("does nothing", &idle)]
        .into_iter()
        .chain(compiled.left_out.iter().map(|(uuid, problems)| (uuid.as_str(), problems)))
    {
        for problem in problems {
            let _ = writeln!(text, "# {what}: {problem}");
        }
    }
    text + &compiled.document()
}

//= test COMPILE-PURE-01
//= test COMPILE-WHOLE-01
//= test COMPILE-GUARD-01
//= test COMPILE-COOKIE-01
//= test COMPILE-NETWORK-01
//= test COMPILE-RULES-01
//= test COMPILE-TLS-01
//= test COMPILE-OBJSYNC-01
//= test COMPILE-LIMIT-01
//= test COMPILE-CHILD-01
//= test COMPILE-PERSIST-01
//= test COMPILE-PORT-01
#[test]
fn what_users_make_becomes_what_engines_take() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile");
    let mut wrong = Vec::new();
    let mut cases = 0;
    for entry in fs::read_dir(&folder).expect("the folder of cases") {
        let case = entry.expect("an entry").path();
        if case.extension().is_none_or(|ext| ext != "json") {
            continue;
        }
        cases += 1;
        let text = fs::read_to_string(&case).expect("a case");
        let objects: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{case:?}: {error}"));
        let services = objects["virtualservice"].as_object().expect("services").iter();
        let placed = services.filter(|(_, service)| service["type"] != "VS_TYPE_VH_CHILD");
        let services: Vec<&str> = placed.map(|(uuid, _)| uuid.as_str()).collect();
        let world = World::of(&objects);
        let compiled = world.compiled(&services);
        forebay_snapshot::check(&compiled.document()).unwrap_or_else(|why| panic!("{case:?}: {why:#?}"));
        let backwards: Vec<&str> = services.iter().rev().copied().collect();
        assert_eq!(world.compiled(&backwards).sections, compiled.sections, "{case:?}: the order counts");
        let got = told(&compiled);
        let list = case.with_extension("toml");
        if std::env::var_os("FOREBAY_BLESS").is_some() {
            fs::write(&list, &got).expect("the document is written");
        }
        let want = fs::read_to_string(&list).unwrap_or_default();
        if got != want {
            wrong.push(format!("{}\n--- got\n{got}--- want\n{want}", case.display()));
        }
    }
    assert_eq!(cases, CASES, "a case was added or is gone");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn two_services() -> Value {
    json!({
        "vsvip": {
            "vsvip-1": {"vip": [{"vip_id": "1", "ip_address": {"addr": "192.0.2.10", "type": "V4"}}]},
            "vsvip-2": {"vip": [{"vip_id": "1", "ip_address": {"addr": "192.0.2.10", "type": "V4"}}]},
        },
        "pool": {"pool-1": {"servers": [{"ip": {"addr": "10.0.0.1", "type": "V4"}}]}},
        "virtualservice": {
            "virtualservice-1": {
                "services": [{"port": 80}], "vsvip_ref": "/api/vsvip/vsvip-1", "pool_ref": "/api/pool/pool-1"},
            "virtualservice-2": {
                "services": [{"port": 80}], "vsvip_ref": "/api/vsvip/vsvip-2", "pool_ref": "/api/pool/pool-1"},
        },
    })
}

//= test COMPILE-WHOLE-01
#[test]
fn of_two_services_that_want_one_address_one_is_left_out_and_says_why() {
    let world = World::of(&two_services());
    let compiled = world.compiled(&["virtualservice-1", "virtualservice-2"]);
    assert!(compiled.sections.contains_key("virtual_service/virtualservice-1"));
    assert!(!compiled.sections.contains_key("virtual_service/virtualservice-2"));
    let problems = &compiled.left_out["virtualservice-2"];
    assert!(problems[0].path.contains("virtualservice-2") && problems[0].reason.contains("192.0.2.10:80"));
    // A uuid is chosen by who makes the service: that it comes first in their order says nothing.
    let mut input = world.input(&["virtualservice-1", "virtualservice-2"]);
    (input.services[0].since, input.services[1].since) = (9, 8);
    let younger = compile(&input).expect("it compiles").left_out;
    assert!(younger.keys().eq(["virtualservice-1"]), "{younger:?}");
    let why = younger["virtualservice-1"][0].to_string();
    assert!(why.contains("192.0.2.10:80") && !why.contains("virtualservice-2"), "{why}");
    // What is gone from the engine, or never was, is another's business.
    let alone = world.compiled(&["virtualservice-2", "virtualservice-none"]);
    assert!(alone.left_out.keys().eq(["virtualservice-none"]), "{:?}", alone.left_out);
}

//= test COMPILE-PROBE-01
#[test]
fn content_that_is_too_long_for_a_probe_leaves_no_service_out() {
    let told = |bytes: usize| {
        let mut objects = two_services();
        let probe = json!({"http_request": "POST /", "http_request_body": "x".repeat(bytes)});
        objects["healthmonitor"] =
            json!({"healthmonitor-1": {"type": "HEALTH_MONITOR_HTTP", "http_monitor": probe}});
        objects["pool"]["pool-1"]["health_monitor_refs"] = json!(["/api/healthmonitor/healthmonitor-1"]);
        let compiled = World::of(&objects).compiled(&["virtualservice-1"]);
        assert!(compiled.left_out.is_empty(), "{:?}", compiled.left_out);
        let warned =
            compiled.warnings.values().flatten().any(|told| told.path.ends_with("http_request_body"));
        (compiled.sections.values().any(|section| section.to_string().contains("xxx")), warned)
    };
    assert_eq!((told(900), told(1_100)), ((true, false), (false, true)));
}

//= test COMPILE-PEM-01
#[test]
fn what_is_no_pem_leaves_out_its_own_services_alone() {
    const GOOD: [&str; 2] = [
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n",
    ];
    let left_out = |certificate: &str, key: &str| {
        let mut objects = two_services();
        objects["sslkeyandcertificate"] =
            json!({"sslkeyandcertificate-1": {"certificate": {"certificate": certificate}, "key": key}});
        objects["vsvip"]["vsvip-2"]["vip"][0]["ip_address"]["addr"] = json!("192.0.2.11");
        let secured = &mut objects["virtualservice"]["virtualservice-1"];
        secured["services"] = json!([{"port": 443, "enable_ssl": true}]);
        secured["ssl_key_and_certificate_refs"] = json!(["/api/sslkeyandcertificate/sslkeyandcertificate-1"]);
        let compiled = World::of(&objects).compiled(&["virtualservice-1", "virtualservice-2"]);
        assert!(compiled.sections.contains_key("virtual_service/virtualservice-2"));
        let problems = compiled.left_out.get("virtualservice-1").cloned().unwrap_or_default();
        problems.into_iter().map(|problem| problem.path).collect::<Vec<String>>()
    };
    assert!(left_out(GOOD[0], GOOD[1]).is_empty());
    let cut = GOOD[0].replace("-----END", "");
    for certificate in
        ["mine", GOOD[1], &*cut, "-----BEGIN CERTIFICATE-----\n%%\n-----END CERTIFICATE-----\n"]
    {
        let problems = left_out(certificate, GOOD[1]);
        assert!(problems.len() == 1 && problems[0].ends_with("certificate.certificate"), "{problems:?}");
    }
    let problems = left_out(GOOD[0], GOOD[0]);
    assert!(problems.len() == 1 && problems[0].ends_with("key"), "{problems:?}");
}

#[test]
fn an_engine_without_services_has_a_document_too() {
    let world = World::of(&json!({}));
    let compiled = world.compiled(&[]);
    assert!(forebay_snapshot::check(&compiled.document()).is_ok());
    assert_eq!(uuid_of("pool-1/tcp"), "pool-1");
    assert_eq!(uuid_of("pool-1"), "pool-1");
}

//= test COMPILE-OBJSYNC-01
#[test]
fn a_mirror_is_a_member_that_reads_and_a_redis_takes_the_place_of_members() {
    let group =
        |on: bool| json!({"serviceenginegroup": {"serviceenginegroup-Default-Group": {"use_objsync": on}}});
    let (shares, asks) = (World::of(&group(true)), World::of(&group(false)));
    let mut input = shares.input(&[]);
    input.engine.reader =
        Some(Member { slot: 63, address: "192.0.2.9".parse().expect("an address"), port: None });
    let made = compile(&input).expect("it compiles");
    let objsync = forebay_snapshot::check(&made.document()).expect("it is right").objsync;
    let reads: Vec<(u8, bool)> = objsync.others().map(|other| (other.slot, other.reads)).collect();
    assert_eq!(reads, [(7, false), (63, true)]);
    let mut input = asks.input(&[]);
    assert!(
        !compile(&input).expect("it compiles").sections.contains_key("objsync/objsync"),
        "it has no Redis"
    );
    input.engine.redis_address = Some("/run/redis.sock".to_owned());
    let made = compile(&input).expect("it compiles");
    let objsync = forebay_snapshot::check(&made.document()).expect("it is right").objsync;
    assert!(objsync.is_legacy() && objsync.slot == 3 && objsync.others().count() == 0);
}

//= test COMPILE-SECRET-01
#[test]
fn no_key_is_shown_where_it_is_not_needed() {
    let secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlYzE=";
    let mut objects = two_services();
    objects["sslkeyandcertificate"] = json!({"sslkeyandcertificate-1": {
        "certificate": {"certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
        "key": format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n")}});
    objects["applicationpersistenceprofile"] = json!({"applicationpersistenceprofile-1": {
        "persistence_type": "PERSISTENCE_TYPE_HTTP_COOKIE",
        "http_cookie_persistence_profile": {"key": [{"name": "k", "aes_key": secret}, {"name": "bad", "aes_key": "secret-and-bad"}]}}});
    objects["pool"]["pool-1"]["application_persistence_profile_ref"] =
        json!("/api/applicationpersistenceprofile/applicationpersistenceprofile-1");
    objects["virtualservice"]["virtualservice-1"]["services"] = json!([{"port": 443, "enable_ssl": true}]);
    objects["virtualservice"]["virtualservice-1"]["ssl_key_and_certificate_refs"] =
        json!(["/api/sslkeyandcertificate/sslkeyandcertificate-1"]);
    let world = World::of(&objects);
    let mut input = world.input(&["virtualservice-1", "virtualservice-2"]);
    input.ticket_keys = vec![TicketKey { name: "t".to_owned(), key: [7; 32] }];
    let compiled = compile(&input).expect("it compiles");
    assert_eq!(compiled.left_out.len(), 2, "a key that is none leaves its services out");
    let shown = format!("{compiled:?} {:?}", input.ticket_keys);
    assert!(
        !shown.contains(secret) && !shown.contains("secret-and-bad") && !shown.contains("7, 7"),
        "{shown}"
    );
    assert!(shown.contains("key[1].aes_key"), "{shown}");
}
