//! Members that were given different configurations, and what is said of it.

use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Engine, Options};

use crate::group::{Group, entries, ready, synced};
use crate::seen::{run, shown};

/// Two engines with these files, once they are in sync.
fn two(group: &Group, texts: [String; 2]) -> [Engine; 2] {
    let engines = texts.map(|text| Engine::spawn(&group.lab, &text, &Options::default()));
    engines.iter().for_each(ready);
    engines.iter().for_each(|engine| synced(engine, 1));
    engines
}

fn told(engine: &Engine, what: &str) {
    eventually(what, secs(20), || engine.process.printed().contains(what));
}

/// What a comparison ends with, and that it says why.
#[track_caller]
fn verify(engine: &Engine, code: i32, why: &str) {
    eventually(why, secs(20), || {
        let (ended, said) = run(engine, &["objsync", "verify"]);
        ended == code && said.contains(why)
    });
}

//= test SYNC-TABLES-01
//= test SYNC-UNTAKEN-01
//= test SYNC-ACKED-01
#[test]
fn a_pool_of_another_name_is_another_table_and_nobody_calls_that_equal_or_acknowledged() {
    let group = Group::new(2);
    let with = |slot| {
        let keys = "persistence_ack = \"peer\"\nsnapshot_interval_s";
        group.config(slot).replace("snapshot_interval_s", keys)
    };
    let renamed = with(1)
        .replace("pool = \"ip\"", "pool = \"web\"")
        .replace("[[pool]]\nname = \"ip\"", "[[pool]]\nname = \"web\"");
    assert!(renamed.matches("\"web\"").count() == 2, "{renamed}");
    let engines = two(&group, [with(0), renamed]);
    for client in 0..5 {
        group.by_address(0, client);
    }
    assert_eq!((entries(&engines[0]), entries(&engines[1])), (5, 0));
    let count = |what: &str| engines[0].metric(&format!("forebay_persistence_acknowledged{what}_total"), &[]);
    assert_eq!((count(""), count("_late")), (0.0, 5.0), "nobody else has these entries");
    verify(&engines[0], 1, "it lacks the table: pool ip of service ip");
    verify(&engines[1], 1, "it lacks the table: pool web of service ip");
    for engine in &engines {
        told(engine, "OBJSYNC_TABLES_DIFFER");
        assert_eq!(engine.metric("forebay_objsync_peer_tables_differing", &[]), 2.0);
    }
    engines[1].load(&with(1));
    eventually("they have the same again", secs(40), || entries(&engines[1]) == 5);
    engines.iter().for_each(|engine| verify(engine, 0, "equal"));
}

//= test SYNC-UNTAKEN-01
#[test]
fn entries_of_a_server_that_a_member_lacks_are_not_sent_to_it_again_and_again() {
    let group = Group::new(2);
    let with = |slot| {
        let keys = "reconcile_interval_s = 1\nsnapshot_interval_s";
        group.config(slot).replace("snapshot_interval_s", keys)
    };
    let missing = group.servers[3].address.to_string();
    let lacking = with(1).replace(&missing, "127.0.0.1:9");
    assert_ne!(lacking, with(1));
    let engines = two(&group, [with(0), lacking]);
    // Each worker takes the servers in turn, and clients come to either.
    let homes: Vec<String> = (0..16).map(|client| group.by_address(0, client)).collect();
    let others = homes.iter().filter(|home| *home != "d").count();
    assert!(others < homes.len(), "{homes:?}");
    eventually("the others are there", secs(10), || entries(&engines[1]) == others);
    let peer =
        |what: &str| shown(&engines[0], &["serviceengine-objsync"])["peers"][0][what].as_u64().unwrap();
    // What changed a moment ago is not compared; from then on it would be sent each time.
    let after = |rounds: u64| {
        let before = peer("comparisons");
        eventually("it is compared", secs(60), || peer("comparisons") >= before + rounds);
    };
    after(5);
    let before = peer("repaired");
    after(5);
    assert_eq!(peer("repaired"), before);
    engines.iter().for_each(|engine| verify(engine, 1, "other servers: pool ip of service ip"));
    engines.iter().for_each(|engine| told(engine, "OBJSYNC_TABLES_DIFFER"));
    engines[1].load(&with(1));
    eventually("now it takes them", secs(40), || entries(&engines[1]) == homes.len());
    engines.iter().for_each(|engine| verify(engine, 0, "equal"));
}

//= test OBS-SYNC-02
//= test SYNC-DIAL-02
#[test]
fn who_has_nobody_to_compare_with_is_not_equal_and_a_member_that_never_calls_is_missed() {
    let group = Group::new(2);
    let alone = group.config_with(0, &group.section(0, &[(0, group.port)], group.port));
    let engines = [Engine::spawn(&group.lab, &alone, &Options::default()), group.spawn(1)];
    engines.iter().for_each(ready);
    verify(&engines[0], 2, "nobody to compare with: objsync.members lists no other engine");
    verify(&engines[1], 2, "slot-0: unreachable");
    told(&engines[1], "it does not call; look whether it runs");
}
