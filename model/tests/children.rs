//! Children that cannot be carried out, and what becomes of their parents.

mod world;

use std::collections::BTreeMap;

use forebay_model::compile::{Compiled, compile};
use serde_json::{Value, json};
use world::World;

const PARENT: &str = "virtualservice-1";

/// A parent with these rules, and no child yet.
fn parent(kind: &str, rules: &Value) -> Value {
    json!({
        "vsvip": {"vsvip-1": {"vip": [{"vip_id": "1", "ip_address": {"addr": "192.0.2.10", "type": "V4"}}]}},
        "pool": {
            "pool-parent": {"servers": [{"ip": {"addr": "10.0.0.1", "type": "V4"}}]},
            "pool-child": {"servers": [{"ip": {"addr": "10.0.0.2", "type": "V4"}}]},
        },
        "httppolicyset": {"httppolicyset-parent": {"http_security_policy": {"rules": rules}}},
        "virtualservice": {PARENT: {
            "type": "VS_TYPE_VH_PARENT", "vh_type": kind, "vsvip_ref": "/api/vsvip/vsvip-1",
            "services": [{"port": 80}], "pool_ref": "/api/pool/pool-parent",
            "http_policies": [{"index": 1, "http_policy_set_ref": "/api/httppolicyset/httppolicyset-parent"}],
        }},
    })
}

fn child(objects: &mut Value, name: &str, more: &Value) {
    let mut child = json!({
        "type": "VS_TYPE_VH_CHILD", "vh_type": "VS_TYPE_VH_ENHANCED", "pool_ref": "/api/pool/pool-child",
        "vh_parent_vs_ref": format!("/api/virtualservice/{PARENT}"),
    });
    for (name, value) in more.as_object().expect("fields") {
        child[name] = value.clone();
    }
    objects["virtualservice"][name] = child;
}

fn rules(compiled: &Compiled) -> Vec<toml::Value> {
    let document: toml::Table = compiled.document().parse().expect("it is a document");
    document["virtual_service"][0]["rules"].as_array().expect("it has rules").clone()
}

/// Where requests for a host go by the first rule that names it: the rule's pool.
fn pool_of(compiled: &Compiled, host: &str) -> Option<String> {
    let document: toml::Table = compiled.document().parse().expect("it is a document");
    let groups: BTreeMap<String, toml::Value> = document
        .get("string_group")
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten()
        .map(|group| (group["name"].as_str().expect("a name").to_owned(), group["values"].clone()))
        .collect();
    let has = |list: Option<&toml::Value>| {
        list.and_then(toml::Value::as_array)
            .is_some_and(|list| list.iter().any(|one| one.as_str() == Some(host)))
    };
    rules(compiled).into_iter().find_map(|rule| {
        let pool = rule["then"].get(0)?.get("pool")?.as_str()?.to_owned();
        let by = rule.get("when")?.get("host")?;
        let named = by.get("in_group").and_then(|names| names.get(0)).and_then(toml::Value::as_str);
        (has(by.get("equals")) || named.is_some_and(|name| has(groups.get(name)))).then_some(pool)
    })
}

fn rule(name: &str, criteria: &str, value: &str) -> Value {
    json!({"index": 1, "name": name, "enable": true, "action": {"action": "HTTP_SECURITY_ACTION_CLOSE_CONN"},
        "match": {"host_hdr": {"match_criteria": criteria, "value": [value]}}})
}

//= test COMPILE-CHILD-02
#[test]
fn a_child_that_cannot_be_told_apart_is_left_out_and_its_parent_goes_on() {
    let mut objects = parent("VS_TYPE_VH_ENHANCED", &json!([rule("old", "HDR_BEGINS_WITH", "shop")]));
    child(&mut objects, "virtualservice-blog", &json!({"vh_domain_name": ["blog.example"]}));
    child(&mut objects, "virtualservice-off", &json!({"vh_domain_name": ["shop.off"], "enabled": false}));
    child(&mut objects, "virtualservice-shop", &json!({"vh_domain_name": ["shop.example"]}));
    child(&mut objects, "virtualservice-wild", &json!({"vh_domain_name": ["*.example"]}));
    let compiled = World::of(&objects).compiled(&[PARENT]);
    let left_out: Vec<&String> = compiled.left_out.keys().collect();
    assert_eq!(left_out, ["virtualservice-shop", "virtualservice-wild"]);
    let why = compiled.left_out["virtualservice-shop"][0].to_string();
    assert!(why.contains("1/security/1 old") && why.contains("HDR_EQUALS"), "{why}");
    assert_eq!(pool_of(&compiled, "blog.example").as_deref(), Some("pool-child"));
    let closed = format!("{PARENT}/virtualservice-shop/none");
    assert_eq!(pool_of(&compiled, "shop.example"), Some(closed), "not its parent's either");
    // Its parent's rule holds as it did.
    let last = rules(&compiled).pop().expect("there are some");
    assert_eq!(last["when"]["host"].to_string(), r#"{ begins_with = ["shop"] }"#);
}

//= test COMPILE-CHILD-02
#[test]
fn where_there_is_no_room_for_all_children_the_younger_ones_go_without() {
    let own = json!([rule("old", "HDR_EQUALS", "old.example")]);
    let mut objects = parent("VS_TYPE_VH_ENHANCED", &own);
    let names: Vec<String> = (0..300).map(|number| format!("virtualservice-c{number:03}")).collect();
    for (number, name) in names.iter().enumerate() {
        child(&mut objects, name, &json!({"vh_domain_name": [format!("{number}.example")]}));
    }
    let world = World::of(&objects);
    let compiled = world.compiled(&[PARENT]);
    // 256, less what is kept free and the parent's own.
    assert!(compiled.left_out.keys().eq(&names[252..]), "{:?}", compiled.left_out.keys());
    let why = compiled.left_out[&names[299]][0].to_string();
    assert!(why.contains("it needs 1 rules of its parent, which has 0 left of 253"), "{why}");
    assert_eq!(rules(&compiled).len(), 254);
    assert_eq!(pool_of(&compiled, "251.example").as_deref(), Some("pool-child"));
    let closed = format!("{PARENT}/closed/none");
    assert_eq!(pool_of(&compiled, "252.example").as_deref(), Some(&*closed));
    assert_eq!(pool_of(&compiled, "299.example").as_deref(), Some(&*closed));
    // It goes by age, which their uuids do not say.
    let mut input = world.input(&[PARENT]);
    input.services[0].children.reverse();
    let compiled = compile(&input).expect("it compiles");
    assert!(compiled.left_out.keys().eq(&names[..48]), "{:?}", compiled.left_out.keys());
}

//= test COMPILE-CHILD-02
#[test]
fn as_many_hosts_as_a_child_may_have_are_one_rule() {
    let mut objects = parent("VS_TYPE_VH_ENHANCED", &json!([rule("old", "HDR_EQUALS", "7.example")]));
    objects["httppolicyset"]["httppolicyset-parent"]["http_security_policy"]["rules"][0]["match"] =
        json!({"path": {"match_criteria": "BEGINS_WITH", "match_str": ["/admin/"]}});
    let hosts: Vec<String> = (0..1024).map(|number| format!("{number}.example")).collect();
    child(&mut objects, "virtualservice-many", &json!({"vh_domain_name": hosts}));
    let compiled = World::of(&objects).compiled(&[PARENT]);
    assert!(compiled.left_out.is_empty(), "{:?}", compiled.left_out);
    assert_eq!(rules(&compiled).len(), 2);
    assert_eq!(pool_of(&compiled, "1023.example").as_deref(), Some("pool-child"));
    let last = rules(&compiled).pop().expect("there are some");
    assert_eq!(
        last["when"]["host"].to_string(),
        r#"{ in_group = ["virtualservice-1/children"], not = true }"#
    );
}

//= test COMPILE-CHILD-02
#[test]
fn what_an_engine_would_refuse_of_a_child_leaves_out_that_child() {
    let mut objects = parent("VS_TYPE_VH_ENHANCED", &json!([]));
    child(&mut objects, "virtualservice-good", &json!({"vh_domain_name": ["good.example"]}));
    let by = |path: &str| json!([{"path": [{"match_criteria": "EQUALS", "match_str": [path]}], "host": "shop.example"}]);
    child(&mut objects, "virtualservice-odd", &json!({"vh_matches": by("no/slash")}));
    child(&mut objects, "virtualservice-shop", &json!({"vh_matches": by("/shop")}));
    let long = format!("*.{}.example", "a".repeat(200));
    child(&mut objects, "virtualservice-long", &json!({"vh_domain_name": [long]}));
    let compiled = World::of(&objects).compiled(&[PARENT]);
    let left_out: Vec<&String> = compiled.left_out.keys().collect();
    assert_eq!(left_out, ["virtualservice-long", "virtualservice-odd"], "{:?}", compiled.left_out);
    assert!(
        compiled.left_out["virtualservice-odd"][0].reason.contains("no/slash"),
        "{:?}",
        compiled.left_out
    );
    assert_eq!(pool_of(&compiled, "good.example").as_deref(), Some("pool-child"));
    assert_eq!(pool_of(&compiled, "shop.example").as_deref(), Some("pool-child"));
}
