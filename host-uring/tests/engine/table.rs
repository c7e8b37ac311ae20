//! The memory of the persistence tables.

use super::rig::*;

const MIB: u64 = 1 << 20;

//= test OBS-TABLE-01
#[test]
fn the_tables_memory_becomes_resident_after_the_start_and_an_event_says_so() {
    let (origin, web) = (Origin::start(), address());
    let sticky = "[[persistence]]\nname = \"sticky\"\ntype = \"client_ip\"\n";
    let services = service("web", web, "persistence = \"sticky\"", &[origin.address]) + sticky;
    let engine = Engine::start("", &services);
    let answer = through(web, "/", "").expect("it serves");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let all = engine.metric("forebay_persistence_memory_bytes", &[]);
    assert!(all > 15.0 * MIB as f64, "{all} bytes of a table of 16 MiB");
    eventually("all of it is resident", secs(20), || {
        engine.metric("forebay_persistence_memory_resident_bytes", &[]) == all
    });
    assert!(engine.metric("process_resident_memory_bytes", &[]) > all);
    eventually("it is told", secs(5), || engine.said().contains("TABLE_RESIDENT"));
    let said = engine.said();
    assert_eq!(said.matches("TABLE_RESIDENT").count(), 1, "{said}");
    assert!(said.contains(&format!("bytes={all}")), "{said}");
    assert!(said.find("SE_UP") < said.find("TABLE_RESIDENT"), "first it serves: {said}");
}

//= test OBS-TABLE-01
#[test]
fn an_engine_without_a_table_reserves_none_and_says_nothing_of_it() {
    let (origin, web) = (Origin::start(), address());
    let engine = Engine::start("", &service("web", web, "", &[origin.address]));
    assert!(through(web, "/", "").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")));
    assert_eq!(engine.metric("forebay_persistence_memory_bytes", &[]), 0.0);
    assert!(!engine.said().contains("TABLE_RESIDENT"), "{}", engine.said());
}
