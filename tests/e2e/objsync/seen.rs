//! What is seen of shared tables: who is how far, what differs, and what a comparison says.

use std::process::Command;

use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Client, Engine, Options, bin, config};
use serde_json::{Value, json};

use crate::group::{Group, entries, ready, synced};

/// Runs a command against an engine: its exit code, and what it printed.
pub fn run(engine: &Engine, words: &[&str]) -> (i32, String) {
    let mut command = Command::new(bin::path("forebay-se"));
    let socket = engine.config.with_extension("sock");
    let done = command.args(words).arg("--socket").arg(socket).output().expect("forebay-se starts");
    let printed = [done.stdout, done.stderr].concat();
    (done.status.code().expect("it ends by itself"), String::from_utf8_lossy(&printed).into_owned())
}

/// What `forebay-se show` says in JSON.
pub fn shown(engine: &Engine, words: &[&str]) -> Value {
    let (code, printed) = run(engine, &[&["show"], words, &["--output", "json"]].concat());
    assert_eq!(code, 0, "{printed}");
    serde_json::from_str(&printed).expect("JSON")
}

fn flip(engine: &Engine, what: &str, client: &str) {
    let deed = json!({ "command": "objsync_debug", "pool": "ip", "deed": { what: client } });
    let answer = engine.admin(&deed);
    assert_eq!(answer["ok"], true, "{answer}");
}

fn verified(engine: &Engine) -> i32 {
    run(engine, &["objsync", "verify"]).0
}

//= test OBS-SYNC-02
#[test]
fn a_value_and_a_bit_that_changed_in_memory_alone_are_found_told_and_repaired() {
    let group = Group::new(2);
    let engines = group.start_with(&["--allow-faults"]);
    for n in 0..20 {
        group.by_address(0, n);
    }
    eventually("every entry is on both engines", secs(10), || entries(&engines[1]) == 20);
    for (slot, engine) in engines.iter().enumerate() {
        let key = "reconcile_interval_s = 3\nsnapshot_interval_s";
        engine.load(&group.config(slot).replace("snapshot_interval_s", key));
        eventually("nothing differs", secs(20), || verified(engine) == 0);
    }
    let differing = |engine: &Engine| engine.metric("forebay_objsync_peer_cells_differing", &[]);
    for (place, what) in ["flip_server", "flip_bit"].into_iter().enumerate() {
        let client = group.lab.client_ip(place as u32).to_string();
        // A moment ago its connection closed, which is on its way for 2 s and more.
        eventually("the entry counts as settled", secs(20), || {
            flip(&engines[1], what, &client);
            let (code, said) = run(&engines[0], &["objsync", "verify"]);
            let named =
                said.contains("slot-1: differs\n  pool ip of service ip: 1 cells differ, in buckets ");
            assert_eq!(code == 1, named, "{what}: {said}");
            code == 1
        });
        eventually("the metric tells", secs(15), || {
            differing(&engines[0]) > 0.0 || verified(&engines[0]) == 0
        });
        eventually("what differed is repaired", secs(20), || {
            engines.iter().all(|engine| verified(engine) == 0)
        });
        // Which of two values of one version holds is settled by the values.
        let both = [0, 1].map(|slot| group.by_address(slot, place as u32));
        assert_eq!(both[0], both[1], "{what}");
    }
    // Nobody asks: a comparison that comes to the part finds it, which is within an interval, and a whole one that finds
    // nothing says that it is over, which is within two more. What is told may still be of the one before.
    eventually("the metric tells that it is over", secs(15), || differing(&engines[0]) == 0.0);
    for n in 7..9 {
        let client = group.lab.client_ip(n).to_string();
        flip(&engines[1], "flip_server", &client);
        eventually("the metric tells without being asked", secs(15), || differing(&engines[0]) > 0.0);
        eventually("and that it is over", secs(20), || differing(&engines[0]) == 0.0);
        assert_eq!(group.by_address(0, n), group.by_address(1, n));
    }
}

//= test SYNC-PANIC-01
#[test]
fn an_engine_whose_object_sync_has_panicked_says_so_serves_on_and_is_configured() {
    let group = Group::new(2);
    let engines = group.start_with(&["--allow-faults"]);
    // A client that stays is known to be open on the other engine.
    let mut stays = Client::new(group.vips[1][0]).from(group.lab.client_ip(5)).without_jar();
    let home = stays.get("/").expect("an answer").server().to_owned();
    let open_elsewhere = || {
        let client = group.lab.client_ip(5).to_string();
        let answer = shown(&engines[0], &["pool-internal", "--filter", &format!("client={client}")]);
        let pools = answer["pool_internal"].as_array().unwrap();
        let pool = pools.iter().find(|pool| pool["pool"] == "ip").unwrap();
        pool["persistence_entry"][0]["ref_count"].as_u64()
    };
    eventually("the entry is there and open", secs(10), || open_elsewhere() == Some(1));
    let panics = |engine: &Engine| {
        engine.admin(&json!({ "command": "objsync_debug", "pool": "ip", "deed": "panic" }))["ok"] == true
    };
    assert!(panics(&engines[0]));
    let failed = |engine: &Engine| engine.metric("forebay_objsync_failed", &[]);
    eventually("the metric tells", secs(10), || failed(&engines[0]) == 1.0);
    assert_eq!(engines[0].metric("forebay_objsync_peer_connected", &[]), 0.0);
    assert!(engines[0].process.printed().contains("OBJSYNC_FAILED"));
    eventually("what the other had open counts as closed", secs(10), || open_elsewhere() == Some(0));
    let status = shown(&engines[0], &["serviceengine-objsync"]);
    assert_eq!(
        (&status["failed"], &status["peers"][0]["connected"]),
        (&json!(true), &json!(false)),
        "{status}"
    );
    assert_eq!(group.by_address(0, 5), home, "it serves, by what it had");
    engines[0].write(&group.config(0).replace("cookie_name = \"JSESSIONID\"", "cookie_name = \"OTHER\""));
    let answer = engines[0].reload();
    assert_eq!(answer["data"]["outcome"], "loaded", "{answer}");
    assert_eq!(engines[0].get("/readyz"), Some(200));
    eventually("the other engine lost it", secs(10), || {
        engines[1].metric("forebay_objsync_peer_connected", &[]) == 0.0
    });
    assert_eq!(failed(&engines[1]), 0.0);
}

//= test SYNC-PANIC-01
#[test]
fn an_engine_whose_object_sync_panics_before_the_tables_are_complete_serves_at_once() {
    let group = Group::new(2);
    let options = Options { arguments: vec!["--allow-faults".to_owned()], ..Options::default() };
    let engine = Engine::spawn(&group.lab, &group.config(0), &options);
    eventually("it answers commands", secs(20), || engine.config.with_extension("sock").exists());
    let answer = engine.admin(&json!({ "command": "objsync_debug", "pool": "ip", "deed": "panic" }));
    assert_eq!(answer["ok"], true, "{answer}");
    // Else it would wait for ten seconds.
    ready(&engine);
    assert!(!engine.process.printed().contains("OBJSYNC_JOINED"), "{}", engine.process.printed());
    group.by_address(0, 1);
}

#[test]
fn an_engine_that_was_not_started_for_tests_takes_no_flipped_values() {
    let group = Group::new(1);
    let engine = group.start().remove(0);
    group.by_address(0, 1);
    let deed = json!({ "flip_server": group.lab.client_ip(1).to_string() });
    let answer = engine.admin(&json!({ "command": "objsync_debug", "pool": "ip", "deed": deed }));
    assert_eq!((&answer["ok"], &answer["error"]["code"]), (&json!(false), &json!("not_allowed")), "{answer}");
}

//= test OBS-SYNC-01
#[test]
fn commands_show_who_is_how_far_and_both_clocks_of_an_entry() {
    let group = Group::new(2);
    let engines = group.start();
    for n in 0..10 {
        group.by_address(0, n);
    }
    // One client stays.
    let mut stays = Client::new(group.vips[0][0]).from(group.lab.client_ip(3)).without_jar();
    stays.get("/").expect("an answer");
    eventually("every entry is on both engines", secs(10), || entries(&engines[1]) == 10);
    let version = |row: &Value, list: &str| {
        row[list].as_array().unwrap().iter().find(|one| one["pooluuid"] == "ip").unwrap()["version"]
            .as_u64()
            .unwrap()
    };
    eventually("the other engine has all changes", secs(10), || {
        let answer = shown(&engines[0], &["pool-objsync", "--filter", "pool=ip"]);
        let row = &answer["pool_objsync"][0];
        assert_eq!(
            (&row["numSub"], &row["subStats"][0]["seuuid"]),
            (&json!(1), &json!("slot-1")),
            "{answer}"
        );
        let ours = version(row, "hubVersions");
        ours >= 10 && version(&row["subStats"][0], "versions") == ours
    });
    let answer = shown(&engines[1], &["keyvalsummary"]);
    let kinds = answer["keyvalsummary"].as_array().unwrap();
    let by_address = kinds.iter().find(|row| row["kv_type"] == "client_ip").unwrap();
    assert_eq!(by_address["num_keyval_objs"], 10, "{answer}");
    let answer = shown(&engines[0], &["keyvalsummaryobjsync"]);
    let row = &answer["keyvalsummaryobjsync"][0];
    assert!(row["hubuuid"].is_string() && row["hubVersions"][0]["keyType"].is_string(), "{answer}");
    let address = group.lab.client_ip(3).to_string();
    let entry = |engine: &Engine| {
        let answer = shown(engine, &["pool-internal", "--filter", &format!("client={address}")]);
        assert_eq!(answer["matching"], 1, "{answer}");
        let pools = answer["pool_internal"].as_array().unwrap();
        pools.iter().find(|pool| pool["pool"] == "ip").unwrap()["persistence_entry"][0].clone()
    };
    let here = entry(&engines[0]);
    assert_eq!(
        (&here["local_age"], &here["ref_count"], &here["ishub"]),
        (&json!(0.0), &json!(1), &json!(true)),
        "{here}"
    );
    eventually("the other engine knows that it is open", secs(5), || {
        let there = entry(&engines[1]);
        assert_eq!((&there["local_age"], &there["ishub"]), (&Value::Null, &json!(false)), "{there}");
        there["global_age"] == 0.0 && there["ref_count"] == 1 && there["global_eol"].is_null()
    });
    let peers = shown(&engines[0], &["serviceengine-objsync"])["peers"].clone();
    assert_eq!((&peers[0]["connected"], &peers[0]["synced"]), (&json!(true), &json!(true)), "{peers}");
    // The forms for people have the same.
    let (code, said) = run(&engines[0], &["show", "pool-internal", "--filter", "pool=ip"]);
    assert!(code == 0 && said.contains(&address) && said.contains("10 entries match"), "{said}");
    for what in ["keyvalsummary", "keyvalsummaryobjsync", "pool-objsync", "serviceengine-objsync"] {
        let (code, said) = run(&engines[0], &["show", what]);
        assert!(code == 0 && said.lines().count() >= 2, "{what}: {said}");
    }
    let (code, said) = run(&engines[0], &["show", "pool-objsync", "--filter", "pool=none"]);
    assert!(code == 3 && said.contains("ip"), "{said}");
}

//= test OBS-SYNC-02
#[test]
fn a_member_that_is_gone_is_told_at_once_and_nothing_can_be_compared_with_it() {
    let group = Group::new(2);
    let mut engines = group.start();
    eventually("nothing differs", secs(20), || verified(&engines[0]) == 0);
    engines[1].process.kill();
    eventually("the event tells", secs(10), || engines[0].process.printed().contains("SE_OBJSYNC_PEER_DOWN"));
    eventually("and so does the metric", secs(5), || {
        engines[0].metric("forebay_objsync_peer_connected", &[]) == 0.0
    });
    let (code, said) = run(&engines[0], &["objsync", "verify"]);
    assert_eq!((code, said.as_str()), (2, "slot-1: unreachable\nunreachable\n"));
}

//= test SYNC-ROUND-01
#[test]
fn how_often_tables_are_compared_changes_with_the_configuration() {
    let group = Group::new(2);
    let engines = group.start();
    // The engine in the lower slot leads.
    let every = |seconds: u8| {
        let key = format!("reconcile_interval_s = {seconds}\nsnapshot_interval_s");
        engines[0].load(&group.config(0).replace("snapshot_interval_s", &key));
    };
    let rounds =
        || shown(&engines[0], &["serviceengine-objsync"])["peers"][0]["comparisons"].as_u64().unwrap();
    every(120);
    // Whatever was under way is over once, and then a round takes two minutes.
    every(1);
    let before = rounds();
    eventually("several comparisons in less time than one would have taken", secs(60), || {
        rounds() >= before + 6
    });
}

//= test SYNC-TABLES-01
#[test]
fn entries_of_a_table_that_one_member_alone_has_are_counted_and_left() {
    let group = Group::new(2);
    let text = group.config(1);
    // The engine in slot 1 has the service for addresses alone.
    let servers: Vec<_> = group.servers.iter().map(|server| server.address).collect();
    let less = group.section(1, &[(0, group.port), (1, group.port)], group.port)
        + &config::service("ip", group.vips[1][0])
        + &config::pool("ip", "algorithm = \"round_robin\"\npersistence = \"ip\"", &servers)
        + &config::persistence("ip", "client_ip", "");
    let engines = [group.spawn(0), Engine::spawn(&group.lab, &less, &Options::default())];
    engines.iter().for_each(ready);
    engines.iter().for_each(|engine| synced(engine, 1));
    for n in 0..5 {
        group.by_address(0, n);
        Client::new(group.vips[0][1]).get_once("/login").expect("an answer");
    }
    eventually("what both have is on both", secs(10), || entries(&engines[1]) == 5);
    let unknown = || shown(&engines[1], &["serviceengine-objsync"])["entries"]["unknown"].as_u64().unwrap();
    eventually("the rest is counted", secs(10), || unknown() >= 5);
    eventually("and the difference is named", secs(20), || {
        let (code, said) = run(&engines[0], &["objsync", "verify"]);
        code == 1 && said.contains("it lacks the table: pool cookie of service cookie")
    });
    assert_eq!((entries(&engines[0]), entries(&engines[1])), (10, 5));
    assert_eq!(engines[1].metric("forebay_objsync_peer_connected", &[]), 1.0);
    // Once the other one has the service, it has its clients.
    engines[1].load(&text);
    eventually("and has all", secs(40), || entries(&engines[1]) == 10);
    eventually("nothing differs any more", secs(20), || verified(&engines[0]) == 0);
    assert!(engines[0].process.printed().contains("OBJSYNC_TABLES_AGREE"));
}
