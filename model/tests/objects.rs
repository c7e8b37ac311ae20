//! Objects as clients send them.

use forebay_model::{Object, Problem, check, kind, patch, shape};
use proptest::prelude::*;
use serde_json::{Value, json};

fn object(value: Value) -> Object {
    value.as_object().expect("an object").clone()
}

fn pool(value: Value) -> Result<Object, Vec<Problem>> {
    check(kind("pool").expect("a kind"), &object(value))
}

//= test API-FIELD-01
#[test]
fn everything_wrong_is_told_at_once_with_its_place_and_what_to_do() {
    let problems = pool(json!({
        "default_server_port": 70_000,
        "lb_algoritm": "LB_ALGORITHM_ROUND_ROBIN",
        "lb_algorithm": "LB_ALGORITHM_ROUND_ROBBIN",
        "enabled": "yes",
        "servers": [
            {"ip": {"addr": "10.0.0.1", "type": "V4"}, "ratio": 21},
            {"port": 80},
            7
        ],
        "health_monitor_refs": ["/api/pool/pool-1"],
        "graceful_disable_timeout": -2,
        "url": 5
    }))
    .expect_err("many mistakes");
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    for (path, word) in [
        ("default_server_port", "1 to 65535"),
        ("lb_algoritm", "did you mean \"lb_algorithm\"?"),
        ("lb_algorithm", "did you mean \"LB_ALGORITHM_ROUND_ROBIN\"?"),
        ("enabled", "put true or false there"),
        ("servers[0].ratio", "1 to 20"),
        ("servers[1].ip", "it is missing"),
        ("servers[2]", "it is a number"),
        ("health_monitor_refs[0]", "a healthmonitor belongs here"),
        ("graceful_disable_timeout", "-1, or 0, or 1 to 7200 min"),
        ("name", "it is missing"),
    ] {
        assert!(
            problems.iter().zip(&told).any(|(problem, told)| problem.path == path && told.contains(word)),
            "{path} and {word:?} in {told:#?}"
        );
    }
    assert_eq!(problems.len(), 10, "{told:#?}");
}

//= test API-FIELD-02
#[test]
fn defaults_stand_in_and_nothing_else_grows() {
    let made =
        pool(json!({"name": "p", "servers": [{"ip": {"addr": "10.0.0.1", "type": "V4"}}]})).expect("good");
    assert_eq!(made["lb_algorithm"], "LB_ALGORITHM_LEAST_CONNECTIONS");
    assert_eq!(made["servers"][0]["ratio"], 1);
    assert_eq!(made["conn_pool_properties"]["upstream_connpool_conn_idle_tmo"], 60_000);
    assert!(made.get("fail_action").is_none() && made["servers"][0].get("port").is_none());
    let same =
        pool(json!({"name": "p", "ignore_servers": true, "fail_action": null, "gslb_sp_enabled": true}));
    assert_eq!(same.expect("dropped without a word").len() + 1, made.len());
}

#[test]
fn rules_over_several_fields_name_the_place() {
    let problems = pool(json!({
        "name": "p",
        "lb_algorithm": "LB_ALGORITHM_CONSISTENT_HASH",
        "lb_algorithm_hash": "LB_ALGORITHM_CONSISTENT_HASH_CUSTOM_HEADER",
        "servers": [
            {"ip": {"addr": "10.0.0.1", "type": "V4"}, "port": 80},
            {"ip": {"addr": "10.0.0.1", "type": "V4"}}
        ]
    }))
    .expect_err("two rules");
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["lb_algorithm_consistent_hash_hdr", "servers[1]"]);
}

fn patched(object: &Object, change: Value) -> Result<Object, Vec<Problem>> {
    let pool = kind("pool").expect("a kind");
    patch::apply(pool, object, change.as_object().expect("an object")).and_then(|object| check(pool, &object))
}

//= test API-PATCH-01
#[test]
fn a_patch_adds_merges_replaces_and_deletes() {
    let server =
        |last: u8, port: u16| json!({"ip": {"addr": format!("10.0.0.{last}"), "type": "V4"}, "port": port});
    let made = pool(json!({"name": "p", "servers": [server(1, 80), server(2, 80)]})).expect("good");
    let count = |object: &Object| object["servers"].as_array().map_or(0, Vec::len);

    let mut again = server(2, 80);
    again["ratio"] = json!(7);
    let more =
        patched(&made, json!({"add": {"servers": [again, server(3, 80)], "default_server_port": 8080}}));
    let more = more.expect("good");
    assert_eq!(
        (count(&more), &more["servers"][1]["ratio"]),
        (3, &json!(7)),
        "the same server is not doubled"
    );
    assert_eq!(more["default_server_port"], 8080);

    let less = patched(
        &more,
        json!({"delete": {"servers": [{"ip": {"addr": "10.0.0.1"}}], "default_server_port": 0}}),
    );
    let less = less.expect("good");
    assert_eq!((count(&less), &less["default_server_port"]), (2, &json!(80)), "back to the default");

    let other = patched(&less, json!({"replace": {"servers": [server(9, 9)]}})).expect("good");
    assert_eq!(other["servers"][0]["ip"]["addr"], "10.0.0.9");

    let steps = json!({"json_patch": [
        {"op": "add", "path": "/servers", "value": [server(4, 80)]},
        {"op": "replace", "path": "/servers/0/ratio", "value": 5},
        {"op": "remove", "path": "/servers/1"},
        {"op": "add", "path": "/servers/-", "value": server(5, 80)}
    ]});
    let stepped = patched(&other, steps).expect("good");
    assert_eq!((count(&stepped), &stepped["servers"][0]["ratio"]), (2, &json!(5)));
    assert_eq!(stepped["servers"][1]["ip"]["addr"], "10.0.0.5");
}

//= test API-PATCH-02
#[test]
fn a_patch_of_the_most_entries_takes_no_longer_for_their_number() {
    let servers = |from: usize| -> Vec<Value> {
        let addresses = (from..from + 2500).map(|at| format!("10.1.{}.{}", at / 250, at % 250 + 1));
        addresses.map(|addr| json!({"ip": {"addr": addr, "type": "V4"}, "port": 80})).collect()
    };
    let made = pool(json!({"name": "p", "servers": servers(0)})).expect("good");
    let begin = busy();
    let both: Vec<Value> = servers(0).into_iter().chain(servers(2500)).collect();
    let full = patched(&made, json!({"add": {"servers": both}})).expect("as many as there may be");
    assert_eq!(full["servers"].as_array().map(Vec::len), Some(5000));
    let again = patched(&full, json!({"json_patch": [{"op": "add", "path": "/servers", "value": both}]}));
    assert_eq!(again.expect("the same ones")["servers"].as_array().map(Vec::len), Some(5000));
    let less = patched(&full, json!({"delete": {"servers": servers(0)}})).expect("good");
    assert_eq!(less["servers"].as_array().map(Vec::len), Some(2500));
    let took = busy() - begin;
    assert!(took < std::time::Duration::from_secs(2), "{took:?}");
}

/// The processor time of this thread: what else the machine does is not in it.
fn busy() -> std::time::Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells it");
    let first = told.split(' ').next().and_then(|nanoseconds| nanoseconds.parse().ok());
    std::time::Duration::from_nanos(first.expect("a number"))
}

#[test]
fn a_patch_that_means_nothing_is_refused() {
    let made = pool(json!({"name": "p"})).expect("good");
    for (change, path) in [
        (json!({}), ""),
        (json!({"merge": {"name": "q"}}), "merge"),
        (json!({"add": ["name"]}), "add"),
        (json!({"add": {"nme": "q"}}), "add.nme"),
        (json!({"delete": {"name": ""}}), "name"),
        (json!({"replace": {"enabled": 1}}), "enabled"),
        (json!({"json_patch": [{"op": "move", "path": "/name", "from": "/x"}]}), "json_patch[0]"),
        (json!({"json_patch": [{"op": "replace", "path": "/servers/0/ratio", "value": 2}]}), "json_patch[0]"),
        (json!({"json_patch": [{"op": "add", "path": "name", "value": 2}]}), "json_patch[0]"),
        (json!({"json_patch": [{"op": "add", "path": "/nme", "value": 2}]}), "nme"),
    ] {
        let problems = patched(&made, change.clone()).expect_err("a mistake");
        assert_eq!(problems[0].path, path, "{change}: {problems:?}");
    }
}

//= test API-FIELD-03
#[test]
fn a_secret_is_masked_and_kept_when_the_mask_comes_back() {
    let kind = kind("sslkeyandcertificate").expect("a kind");
    let mut object = object(json!({"name": "c", "key": "the key", "certificate": {"certificate": "pem"}}));
    let old = object.clone();
    shape::mask(kind, &mut object);
    assert_eq!(object["key"], "<sensitive>");
    assert!(!serde_json::to_string(&object).expect("text").contains("the key"));
    shape::keep_secrets(kind, &mut object, &old);
    assert_eq!(object, old);
    object.insert("key".to_owned(), json!("another"));
    shape::keep_secrets(kind, &mut object, &old);
    assert_eq!(object["key"], "another");
    shape::mask(kind, &mut object);
    shape::keep_secrets(kind, &mut object, &Object::new());
    assert!(object.get("key").is_none(), "a mask that stands for nothing is no secret");
}

/// What an object is after its mask was sent back in this form, and the places where a mask stood for nothing.
fn kept(path: &str, old: &Value, change: impl FnOnce(&mut Value)) -> (Value, Vec<String>) {
    let kind = kind(path).expect("a kind");
    let old = check(kind, &object(old.clone())).expect("it is right");
    let mut shown = old.clone();
    shape::mask(kind, &mut shown);
    let mut sent = Value::Object(shown);
    change(&mut sent);
    let mut new = check(kind, &object(sent)).expect("it is right");
    let lost = shape::keep_secrets(kind, &mut new, &old);
    assert!(!Value::Object(new.clone()).to_string().contains(shape::MASK), "no mask is left: {new:?}");
    (Value::Object(new), lost.into_iter().map(|problem| problem.path).collect())
}

//= test API-FIELD-03
#[test]
fn a_secret_stays_with_its_entry_and_is_not_lost_without_a_word() {
    let key = |name: &str| json!({"name": name, "aes_key": format!("of {name}")});
    let cookies = json!({
        "name": "p", "persistence_type": "PERSISTENCE_TYPE_HTTP_COOKIE",
        "http_cookie_persistence_profile": {"key": [key("a"), key("b"), key("c")]},
    });
    const AT: &str = "/http_cookie_persistence_profile/key";
    let path = "applicationpersistenceprofile";
    let entries = |whole: &mut Value, with: &dyn Fn(&mut Vec<Value>)| {
        with(whole.pointer_mut(AT).and_then(Value::as_array_mut).expect("a list"));
    };
    let with = |change: &dyn Fn(&mut Vec<Value>)| kept(path, &cookies, |sent| entries(sent, change));
    let (new, lost) = with(&|keys| keys.rotate_left(1));
    assert_eq!((&new.pointer(AT), lost.len()), (&Some(&json!([key("b"), key("c"), key("a")])), 0));
    let (new, lost) = with(&|keys| drop(keys.remove(0)));
    assert_eq!((&new.pointer(AT), lost.len()), (&Some(&json!([key("b"), key("c")])), 0));
    let (new, lost) = with(&|keys| keys[1]["name"] = json!("renamed"));
    assert_eq!(new.pointer(AT), Some(&json!([key("a"), {"name": "renamed"}, key("c")])));
    assert_eq!(lost, ["http_cookie_persistence_profile.key[1].aes_key"]);
    let (new, lost) = with(&|keys| keys[1] = key("renamed"));
    assert_eq!((&new.pointer(&format!("{AT}/1")), lost.len()), (&Some(&key("renamed")), 0));
}

//= test API-FIELD-03
#[test]
fn a_parameter_is_a_secret_where_it_is_marked_as_one() {
    let path = "certificatemanagementprofile";
    let one = |name: &str, is_sensitive: bool| json!({"name": name, "value": format!("of {name}"), "is_sensitive": is_sensitive, "is_dynamic": false});
    let old = json!({"name": "acme", "run_script_ref": "/api/alertscriptconfig/?name=acme",
                     "script_params": [one("user", false), one("password", true)]});
    let mut shown = object(old.clone());
    shape::mask(kind(path).expect("a kind"), &mut shown);
    assert_eq!(shown["script_params"][0]["value"], "of user");
    assert_eq!(shown["script_params"][1]["value"], "<sensitive>");
    let (new, lost) = kept(path, &old, |sent| {
        sent["script_params"].as_array_mut().expect("a list").reverse();
    });
    assert_eq!(new["script_params"], json!([one("password", true), one("user", false)]));
    assert!(lost.is_empty());
    // The mark goes with the value that it hid.
    let (new, lost) = kept(path, &old, |sent| sent["script_params"][1]["is_sensitive"] = json!(false));
    assert!(new["script_params"][1].get("value").is_none(), "{new}");
    assert_eq!(lost, ["script_params[1].value"]);
    let (new, lost) = kept(path, &old, |sent| sent["script_params"][1] = one("password", false));
    assert_eq!((&new["script_params"][1], lost.len()), (&one("password", false), 0));
}

//= test API-PATCH-02
#[test]
fn secrets_are_put_back_in_a_time_that_goes_with_the_number_of_entries() {
    let kind = kind("pool").expect("a kind");
    let servers = |order: &mut dyn Iterator<Item = u32>| {
        let servers: Vec<Value> = order
            .map(|n| json!({"ip": {"addr": format!("10.0.{}.{}", n / 250, n % 250), "type": "V4"}, "port": 80}))
            .collect();
        check(kind, &object(json!({"name": "p", "servers": servers}))).expect("a pool")
    };
    let (old, reversed) = (servers(&mut (0..5000)), servers(&mut (0..5000).rev()));
    // The best of several: what else the machine does is not looked at.
    let best = |new: &Object| {
        let took = |_| {
            let mut new = new.clone();
            let began = std::time::Instant::now();
            shape::keep_secrets(kind, &mut new, &old);
            began.elapsed()
        };
        (0..5).map(took).min().expect("some")
    };
    let (same, turned) = (best(&old), best(&reversed));
    assert!(turned < same * 20 + std::time::Duration::from_millis(20), "{same:?} and {turned:?}");
}

/// Any JSON, with the words of a pool now and then.
fn anything() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("name".to_owned()),
        Just("servers".to_owned()),
        Just("ip".to_owned()),
        Just("health_monitor_refs".to_owned()),
        Just("json_patch".to_owned()),
        Just("fail_action".to_owned()),
        ".{0,12}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "/api/pool/.{0,9}".prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(word.clone(), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_document_and_no_patch_makes_it_panic(document in anything(), change in anything()) {
        let kind = kind("pool").expect("a kind");
        let mut object = document.as_object().cloned().unwrap_or_default();
        if let Ok(good) = check(kind, &object) {
            prop_assert_eq!(check(kind, &good), Ok(good.clone()), "what is good stays as it is");
        }
        if let Some(change) = change.as_object() {
            let _ = patch::apply(kind, &object, change).map(|changed| check(kind, &changed));
        }
        shape::references(kind, &mut object, &mut |_, _, text| text.clear());
        shape::mask(kind, &mut object);
        shape::without_defaults(kind, &mut object);
    }
}
