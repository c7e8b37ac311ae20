//! What a look costs where there are many services. Steps are counted; `FOREBAY_LONG` prints the time of the figures that
//! the product is made for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use forebay_controller::objects::{Catalogue, Held};
use forebay_controller::placement::{Machine, Reader, Seen, Unit};
use forebay_core::place::{Admin, EngineState};
use serde_json::json;

/// The time that this thread had a core, which other programs of the machine do not change.
fn on_core() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0))
}

fn catalogue(services: usize, most: usize) -> Catalogue {
    let mut objects = Catalogue::default();
    let mut put = |kind: &str, uuid: &str, object: serde_json::Value| {
        let bytes = object.to_string().into_bytes();
        objects.put(Held::read(&format!("object/{kind}/{uuid}"), bytes, 1).expect("an object"));
    };
    put("serviceenginegroup", "g", json!({"name": "Default-Group", "max_vs_per_se": most, "max_se": 64}));
    for number in 0..services {
        let address = format!("10.{}.{}.{}", 1 + number / 60_000, number / 250 % 250, 1 + number % 250);
        let vip = json!([{"vip_id": "1", "ip_address": {"addr": address, "type": "V4"}}]);
        put("vsvip", &format!("vip-{number}"), json!({"name": format!("vip-{number}"), "vip": vip}));
        let vsvip = format!("/api/vsvip/vip-{number}");
        put(
            "virtualservice",
            &format!("vs-{number}"),
            json!({"name": format!("vs-{number}"), "vsvip_ref": vsvip}),
        );
    }
    objects
}

fn engines(count: usize) -> Vec<Seen> {
    let engine = |number: usize| Seen {
        uuid: format!("se-{number:02}"),
        name: format!("se-{number:02}"),
        tenant: "admin".to_owned(),
        group: "g".to_owned(),
        state: EngineState::Up,
        // One has room, and nobody may use it.
        admin: if number == 0 { Admin::Disabled } else { Admin::Enabled },
        is_forced: false,
        host: None,
        interfaces: vec!["10.0.0.0/8".parse().expect("a network")],
        routes: Vec::new(),
        problems: Vec::new(),
        has_tables: true,
        services: BTreeMap::new(),
        left_out: BTreeSet::new(),
        refused: BTreeMap::new(),
    };
    (0..count).map(engine).collect()
}

/// Places, and looks once more; gives the placements and how often all services were looked at to say who could take one.
fn look(services: usize, seen: &[Seen], most: usize) -> (BTreeMap<String, Unit>, usize) {
    let objects = catalogue(services, most);
    let world = Reader::default().read(&objects);
    let mut units = BTreeMap::new();
    let mut judged = 0;
    for turn in ["first", "second"] {
        let began = on_core();
        let mut machine = Machine::new(&mut units, &world, seen, 1_000_000);
        machine.step();
        judged += machine.judged;
        let took = on_core().saturating_sub(began);
        println!("{services} services, {} engines, {most} an engine, the {turn} look: {took:?}", seen.len());
    }
    (units, judged)
}

//= test PLACE-REASON-01
#[test]
fn many_services_without_an_engine_cost_one_look_at_all_of_them() {
    let seen = engines(9);
    let (units, judges) = look(400, &seen, 10);
    assert_eq!(judges, 2, "one for each look");
    let short: Vec<&Unit> = units.values().filter(|unit| !unit.short.is_empty()).collect();
    assert_eq!((units.len(), short.len()), (400, 320));
    let (explained, counted): (Vec<&Unit>, Vec<&Unit>) = short.iter().partition(|unit| unit.short.len() == 9);
    assert_eq!((explained.len(), counted.len()), (100, 220));
    assert!(
        explained[0].short.iter().any(|line| line.starts_with("se-04: it has 10")),
        "{:?}",
        explained[0].short
    );
    let words = ["engines that are disabled: 1", "engines that have as many as max_vs_per_se allows: 8"];
    assert!(counted.iter().all(|unit| unit.short == words), "{:?}", counted[0].short);
}

#[test]
fn the_time_of_a_look_at_ten_thousand_services() {
    if std::env::var_os("FOREBAY_LONG").is_none() {
        return;
    }
    look(10_000, &engines(65), 200);
    look(10_000, &engines(65), 10);
    look(10_000, &[], 10);
}
