//! Objects one at a time.

use forebay_e2e::wait::{eventually, secs};
use serde_json::{Value, json};

use crate::User;

//= test CLI-ERROR-01
//= test CLI-SET-01
//= test CLI-VALUE-01
//= test CLI-DRY-01
//= test CLI-WARN-01
//= test CLI-STATE-01
#[test]
fn objects_are_made_looked_at_changed_and_deleted_by_name() {
    let user = User::at_home();
    user.run(&["pool", "create", "web", "servers=10.0.0.1:80", "colour=red"]).says(2, "no field \"colour\"");
    let dry = user.run(&["pool", "create", "web", "servers=10.0.0.1:80", "--dry-run"]);
    dry.says(0, "+ servers: ");
    user.run(&["pool", "get", "web"]).says(3, "forebay pool list");
    user.run(&["pool", "create", "web", "servers=10.0.0.1:80,10.0.0.2:80", "lb_algorithm=round_robin"])
        .says(0, "pool web created");
    user.run(&["pool", "create", "web"]).says(4, "forebay pool set web");
    user.run(&[
        "vip",
        "create",
        "web",
        r#"vip=[{"vip_id": "1", "ip_address": {"addr": "10.1.0.1", "type": "V4"}}]"#,
    ])
    .says(0, "created");
    user.run(&["vs", "create", "web", "services=80", "pool_ref=web", "vsvip_ref=web"]).says(0, "created");
    let idle = r#"warning: engines do without: pool "web": request_queue_enabled:"#;
    user.run(&["pool", "set", "web", "request_queue_enabled=on"]).says(0, "changed");
    user.run(&["vs", "set", "web", "enabled=off"]).says(0, idle);
    user.run(&["vs", "get", "web"]).says(0, r#"warning: pool "web": request_queue_enabled:"#);
    user.run(&["pool", "set", "web", "request_queue_enabled-"]).says(0, "changed");
    let quiet = user.run(&["vs", "set", "web", "enabled=on"]);
    assert!(quiet.code == 0 && !quiet.err.contains("warning"), "{}", quiet.err);
    user.run(&["vs", "create", "other", "services=80", "pool_ref=none"]).says(2, "Pool object not found!");
    user.run(&["pool", "delete", "web"]).says(4, "referred by");
    // A dry run is judged by the Controller: what it would refuse is refused, and nothing is done.
    user.run(&["pool", "create", "web", "--dry-run"])
        .says(4, "already exists")
        .says(4, "forebay pool set web");
    user.run(&["vs", "create", "other", "services=80", "pool_ref=none", "--dry-run"])
        .says(2, "Pool object not found!");
    user.run(&["pool", "delete", "web", "--dry-run"]).says(4, "referred by");
    user.run(&["vs", "delete", "web", "--dry-run"]).says(0, "would be deleted");
    user.run(&["vs", "get", "web", "-o", "name"]).says(0, "web");

    user.run(&["pool", "set", "web", "servers+=10.0.0.3:80", "servers[0].ratio=5", "default_server_port=0"])
        .says(2, "default_server_port: 0 is not allowed");
    let dry = user.run(&["pool", "set", "web", "enabled=off", "--dry-run"]);
    assert_eq!((dry.code, dry.out.as_str()), (0, "- enabled: true\n+ enabled: false\n"), "{}", dry.err);
    user.run(&["pool", "set", "web", "servers+=10.0.0.3:80", "servers[0].ratio=5"])
        .says(0, "pool web changed");
    let seen: Value =
        serde_json::from_str(&user.run(&["pool", "get", "web", "-o", "json"]).out).expect("JSON");
    assert_eq!(seen["servers"].as_array().map(Vec::len), Some(3), "{seen}");
    assert_eq!((&seen["servers"][0]["ratio"], &seen["enabled"]), (&json!(5), &json!(true)));
    user.run(&["pool", "get", "web"]).says(0, "| lb_algorithm").says(0, "LB_ALGORITHM_ROUND_ROBIN");
    user.run(&["pool", "get", "web", "-o", "yaml"]).says(0, "lb_algorithm: LB_ALGORITHM_ROUND_ROBIN");

    let list = user.run(&["vs", "list"]);
    let rows: Vec<&str> = list.out.lines().collect();
    assert!(rows.len() == 2 && rows[0].starts_with("NAME") && rows[1].starts_with("web"), "{}", list.out);
    assert_eq!(rows[0].split_whitespace().nth(1), Some("STATE"), "{}", list.out);
    eventually("it is placed, and there is no engine for it", secs(20), || {
        user.run(&["vs", "list"]).out.lines().any(|row| row.split_whitespace().nth(1) == Some("RESOURCES"))
    });
    user.run(&["pool", "list"]).says(0, "UNUSED");
    let bare: Value = serde_json::from_str(&user.run(&["vs", "list", "-o", "json"]).out).expect("JSON");
    assert_eq!(bare[0]["runtime"], Value::Null, "what is for programs is the objects alone");
    let names = user.run(&["applicationprofile", "list", "--where", "name.contains=System-H", "-o", "name"]);
    assert_eq!(names.out, "System-HTTP\n", "{}", names.err);
    user.run(&["poool", "list"]).says(2, "pool");
    user.run(&["vs", "fields", "services"]).says(0, "enable_ssl");
    user.run(&["kinds"]).says(0, "virtualservice");
    user.run(&["--tenant", "nobody's", "pool", "list"]).says(5, "does not exist");

    for (kind, name) in [("vs", "web"), ("vip", "web"), ("pool", "web")] {
        user.run(&[kind, "delete", name]).says(0, "deleted");
    }
    user.run(&["pool", "delete", "web"]).says(3, "no pool named");
    let named = user.run(&["pool", "get", "\u{1b}[2Jx"]);
    named.says(3, "no pool named").says(3, "[2Jx");
    assert!(!named.err.contains('\u{1b}'), "a terminal acts on it: {:?}", named.err);
}

//= test CLI-TOKEN-01
#[test]
fn a_token_for_an_engine_stands_alone_and_what_to_type_beside_it() {
    let user = User::at_home();
    let made = user.run(&["se", "token", "--group", "Default-Group", "--hours", "2"]);
    made.says(0, "forebay-se run --controller ");
    assert!(made.out.lines().count() == 1 && made.out.trim().len() > 32, "{}", made.out);
    let made: Value = serde_json::from_str(&user.run(&["se", "token", "-o", "json"]).out).expect("JSON");
    assert!(
        made["se_group_ref"].as_str().is_some_and(|group| group.contains("serviceenginegroup-")),
        "{made}"
    );
    user.run(&["se", "token", "--group", "none"]).says(3, "no serviceenginegroup named");
    user.run(&["se", "list"]).says(0, "NAME");
}

//= test CLI-PORTS-01
#[test]
fn a_change_of_the_port_says_what_must_be_open() {
    let user = User::at_home();
    user.run(&["seg", "set", "Default-Group", "max_scaleout_per_vs=3"]).says(0, "changed");
    let done = user.run(&["seg", "set", "Default-Group", "objsync_port=9002"]);
    done.says(0, "TCP port 9002 instead of 9001").says(0, "every two service engines of the group");
    for (name, addr) in [("se-1", "10.9.0.1"), ("se-2", "10.9.0.2")] {
        let vnic = json!({
            "mac_address": "x", "vnic_networks": [
                {"mode": "STATIC", "ip": {"ip_addr": {"addr": addr, "type": "V4"}, "mask": 24}}
            ]
        });
        let vnic = format!("mgmt_vnic={vnic}");
        user.run(&["se", "create", name, &vnic, "se_group_ref=Default-Group"]).says(0, "created");
    }
    let done = user.run(&["seg", "set", "Default-Group", "objsync_port=9003"]);
    done.says(0, "TCP port 9003 instead of 9002").says(0, "10.9.0.1 (se-1)").says(0, "10.9.0.2 (se-2)");
    let same = user.run(&["seg", "set", "Default-Group", "objsync_port=9003"]);
    assert!(!same.err.contains("TCP port"), "{}", same.err);
}
