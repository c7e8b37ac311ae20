//! Placements in invented time: objects as a store has them, engines as they might be seen.

use std::collections::{BTreeMap, BTreeSet};

use forebay_core::place::{Admin, EngineState};
use serde_json::{Value, json};

use super::refusing_tests::refuse;
use super::*;
use crate::objects::{Catalogue, Held};
use crate::store::suite::Folder;
use crate::store::{Change, Embedded, Given, Listed, Refusal, Revision, Step, Store, Stored};

/// A second, in milliseconds.
pub(super) const SECOND: u64 = 1000;
pub(super) const VIP: &str = "1";

pub(super) fn put(objects: &mut Catalogue, kind: &str, uuid: &str, object: &Value, revision: u64) {
    let bytes = object.to_string().into_bytes();
    objects.put(Held::read(&format!("object/{kind}/{uuid}"), bytes, revision).expect("an object"));
}

/// A group, and services of their own addresses.
pub(super) struct Lab {
    objects: Catalogue,
    reader: Reader,
    pub units: BTreeMap<String, Unit>,
    pub seen: Vec<Seen>,
    pub now: u64,
    /// What an engine's machine keeps it from listening for: its uuid, and that of the virtual service.
    pub broken: BTreeSet<(String, String)>,
    events: Vec<Event>,
    revision: u64,
}

impl Lab {
    pub fn new(group: &Value, engines: usize, services: usize) -> Self {
        let mut lab = Lab {
            objects: Catalogue::default(),
            reader: Reader::default(),
            units: BTreeMap::new(),
            seen: (0..engines).map(engine).collect(),
            now: 1_000_000,
            broken: BTreeSet::new(),
            events: Vec::new(),
            revision: 0,
        };
        lab.group(group);
        for number in 0..services {
            lab.service(number, &json!({}));
        }
        lab
    }

    fn put(&mut self, kind: &str, uuid: &str, object: &Value) {
        self.revision += 1;
        put(&mut self.objects, kind, uuid, object, self.revision);
    }

    pub fn group(&mut self, group: &Value) {
        let mut object = json!({"name": "Default-Group", "cloud_ref": "/api/cloud/c"});
        for (name, value) in group.as_object().expect("an object") {
            object[name] = value.clone();
        }
        self.put("serviceenginegroup", "g", &object);
    }

    pub fn service(&mut self, number: usize, more: &Value) {
        let vip = json!([{"vip_id": VIP, "ip_address": {"addr": format!("10.0.0.{number}"), "type": "V4"}}]);
        self.put("vsvip", &format!("vip-{number}"), &json!({"name": format!("vip-{number}"), "vip": vip}));
        let mut object = json!({
            "name": format!("vs-{number}"), "vsvip_ref": format!("/api/vsvip/vip-{number}"),
            "tenant_ref": "/api/tenant/admin", "cloud_ref": "/api/cloud/c",
        });
        for (name, value) in more.as_object().expect("an object") {
            object[name] = value.clone();
        }
        self.put("virtualservice", &format!("vs-{number}"), &object);
    }

    /// The engines, as a look asks for them when its turn has come.
    fn looked(&self) -> impl FnOnce() -> Box<dyn FnOnce() -> Vec<Seen> + Send> {
        let seen = self.seen.clone();
        move || Box::new(move || seen)
    }

    fn world(&mut self) -> World {
        self.reader.read(&self.objects)
    }

    /// One look.
    pub fn step(&mut self) {
        let world = self.world();
        let mut machine = Machine::new(&mut self.units, &world, &self.seen, self.now);
        machine.step();
        let events = machine.events;
        self.events.extend(events);
    }

    /// Engines take what they have been told, and look again, until nothing changes.
    pub fn settle(&mut self) {
        for _ in 0..20 {
            let before = (self.units.clone(), self.seen.clone());
            self.step();
            self.obey();
            if before == (self.units.clone(), self.seen.clone()) {
                return;
            }
        }
        panic!("it does not come to rest: {:?}", self.units);
    }

    /// Engines that are there do what they have been told.
    pub fn obey(&mut self) {
        let world = self.world();
        let known = Known::new(self.units.clone(), world.into());
        for seen in self.seen.iter_mut().filter(|seen| seen.state == EngineState::Up) {
            let before = std::mem::take(&mut seen.services);
            refuse(&self.broken, &known, seen);
            for assigned in known.on(&seen.uuid).into_iter().filter(|has| !seen.left_out.contains(&has.vs)) {
                let connections = before.get(&assigned.vs).map_or(0, |told| told.connections);
                let told = Told { is_listening: assigned.accepts, is_up: true, connections };
                seen.services.insert(assigned.vs, told);
            }
        }
    }

    pub fn ask<T>(&mut self, with: impl FnOnce(&mut Machine<'_>) -> T) -> T {
        let world = self.world();
        let mut machine = Machine::new(&mut self.units, &world, &self.seen, self.now);
        let said = with(&mut machine);
        let events = machine.events;
        self.events.extend(events);
        said
    }

    pub fn on(&self, number: usize) -> Vec<(String, Phase)> {
        let unit = &self.units[&format!("vip-{number}")];
        unit.members.iter().map(|member| (member.engine.clone(), member.phase)).collect()
    }

    pub fn serving(&self, number: usize) -> Vec<String> {
        let on = self.on(number).into_iter();
        on.filter(|(_, phase)| *phase == Phase::Serving).map(|(engine, _)| engine).collect()
    }

    pub fn state(&self, number: usize) -> String {
        self.units[&format!("vip-{number}")].status().map(|status| status.state).unwrap_or_default()
    }

    pub fn told(&mut self) -> Vec<&'static str> {
        self.events.drain(..).map(|event| event.id).collect()
    }
}

pub(super) fn engine(number: usize) -> Seen {
    Seen {
        uuid: format!("se-{number}"),
        name: format!("se-{number}"),
        tenant: "admin".to_owned(),
        group: "g".to_owned(),
        state: EngineState::Up,
        admin: Admin::Enabled,
        is_forced: false,
        host: None,
        interfaces: vec!["10.0.0.0/16".parse().expect("a network")],
        routes: Vec::new(),
        problems: Vec::new(),
        has_tables: true,
        services: BTreeMap::new(),
        left_out: BTreeSet::new(),
        refused: BTreeMap::new(),
    }
}

//= test SCALE-OUT-01
//= test SCALE-STATE-01
#[test]
fn an_engine_more_takes_the_configuration_then_the_tables_and_then_clients() {
    let mut lab = Lab::new(&json!({}), 2, 1);
    lab.settle();
    assert_eq!(lab.serving(0), ["se-0"]);
    assert_eq!(lab.told(), ["VS_ADD_SE", "SE_SCALEOUT_READY", "VS_SE_HA_ACTIVE"]);
    lab.seen[1].has_tables = false;
    lab.ask(|machine| machine.scale_out("vs-0", VIP, None)).expect("there is one");
    assert_eq!(
        (lab.on(0)[1].1, lab.state(0).as_str()),
        (Phase::Configuring, "SCALEOUT_AWAITING_SE_PROGRAMMING")
    );
    lab.step();
    assert_eq!(lab.on(0)[1].1, Phase::Configuring, "it has not said that it has it");
    lab.obey();
    assert!(!lab.seen[1].services["vs-0"].is_listening, "it lets nobody in yet");
    lab.step();
    assert_eq!((lab.on(0)[1].1, lab.state(0).as_str()), (Phase::Completing, "SCALEOUT_WAIT_FOR_SE_READY"));
    lab.now += 59 * SECOND;
    lab.settle();
    assert_eq!(lab.on(0)[1].1, Phase::Completing);
    lab.seen[1].has_tables = true;
    lab.step();
    assert_eq!((lab.on(0)[1].1, lab.state(0).as_str()), (Phase::Opening, "SCALEOUT_AWAITING_SE_READY"));
    lab.step();
    assert_eq!(lab.on(0)[1].1, Phase::Opening, "it does not listen yet");
    lab.settle();
    assert_eq!(
        (lab.serving(0), lab.state(0).as_str()),
        (vec!["se-0".into(), "se-1".into()], "SCALEOUT_SUCCESS")
    );
    assert_eq!(lab.told(), ["VS_ADD_SE", "SE_SCALEOUT_READY", "VS_SCALEOUT_COMPLETE"]);
    let status = lab.units["vip-0"].status().expect("there was one");
    assert_eq!((status.began, status.ended), (1_000_000, Some(1_000_000 + 59 * SECOND)));
}

//= test SCALE-IN-01
#[test]
fn an_engine_that_leaves_lets_nobody_in_and_goes_when_it_is_empty_or_its_time_is_over() {
    let mut lab = Lab::new(&json!({"vs_scalein_timeout": 30}), 2, 1);
    lab.settle();
    for is_empty in [true, false] {
        lab.ask(|machine| machine.scale_out("vs-0", VIP, None)).expect("there is one");
        lab.settle();
        assert_eq!(lab.serving(0).len(), 2);
        let leaves = lab.serving(0)[0].clone();
        let at = lab.seen.iter().position(|seen| seen.uuid == leaves).expect("it is there");
        lab.seen[at].services.get_mut("vs-0").expect("it has it").connections = 3;
        lab.told();
        lab.ask(|machine| machine.scale_in("vs-0", VIP, None, true)).expect("another one serves");
        assert_eq!(lab.state(0), "SCALEIN_AWAITING_SE_PRE_RELEASE");
        lab.settle();
        assert!(!lab.seen[at].services["vs-0"].is_listening);
        assert_ne!(lab.on(0)[0].0, leaves, "another one is the primary");
        lab.now += 29 * SECOND;
        lab.settle();
        assert_eq!(lab.on(0).len(), 2, "clients are there still");
        if is_empty {
            lab.seen[at].services.get_mut("vs-0").expect("it has it").connections = 0;
        } else {
            let overdue = |lab: &mut Lab| {
                let known = Known::new(lab.units.clone(), lab.world().into());
                known.overdue(&lab.seen, lab.now)
            };
            assert!(overdue(&mut lab).is_empty());
            lab.now += SECOND;
            let one = overdue(&mut lab).pop_first().expect("its time is over");
            assert_eq!((&one.engine, one.vs.as_str(), one.until), (&leaves, "vs-0", lab.now));
            lab.settle();
            assert_eq!(lab.on(0).len(), 2, "it is asked to end them");
            lab.now += 5 * SECOND;
        }
        lab.settle();
        assert_eq!((lab.on(0).len(), lab.state(0).as_str()), (1, "SCALEIN_SUCCESS"));
        assert!(lab.seen[at].services.is_empty(), "it is gone there");
        assert_eq!(lab.told(), ["VS_SWITCHOVER", "VS_SCALEIN_COMPLETE"]);
    }
}

//= test SCALE-LIMIT-01
#[test]
fn the_least_the_most_and_the_last_engine_are_kept_and_said() {
    let mut lab = Lab::new(&json!({"min_scaleout_per_vs": 2, "max_scaleout_per_vs": 3}), 4, 1);
    let refused = |lab: &mut Lab, is_out: bool| {
        lab.ask(|machine| match is_out {
            true => machine.scale_out("vs-0", VIP, None),
            false => machine.scale_in("vs-0", VIP, None, false),
        })
        .expect_err("it is refused")
    };
    assert!(refused(&mut lab, true).contains("no engine yet"));
    lab.settle();
    assert_eq!(lab.serving(0).len(), 2);
    assert!(refused(&mut lab, false).contains("min_scaleout_per_vs of the group Default-Group is 2"));
    lab.ask(|machine| machine.scale_out("vs-0", VIP, None)).expect("three are allowed");
    let busy = refused(&mut lab, true);
    assert!(busy.contains("se-2 is at SCALEOUT_AWAITING_SE_PROGRAMMING"), "{busy}");
    lab.settle();
    assert!(refused(&mut lab, true).contains("max_scaleout_per_vs of the group Default-Group is 3"));
    // A lower least keeps the engines that there are: people have asked for them now.
    lab.group(&json!({"min_scaleout_per_vs": 1, "max_scaleout_per_vs": 2}));
    lab.settle();
    assert_eq!((lab.serving(0).len(), lab.units["vip-0"].factor), (3, 2));
    for left in [2, 1] {
        lab.ask(|machine| machine.scale_in("vs-0", VIP, None, false)).expect("more than one");
        lab.settle();
        assert_eq!(lab.serving(0).len(), left);
    }
    assert!(refused(&mut lab, false).contains("its last engine"));
    let other = lab.ask(|machine| machine.scale_out("vs-0", "7", None)).expect_err("no such address");
    assert!(other.contains("vip_id 7: the virtual service has 1"), "{other}");
    lab.seen[1].admin = Admin::Disabled;
    let named = lab.ask(|machine| machine.scale_out("vs-0", VIP, Some("se-1"))).expect_err("it is off");
    assert!(named.contains("se-1 cannot take it: it is disabled"), "{named}");
    lab.seen[2].interfaces.clear();
    lab.seen[3].state = EngineState::Silent;
    let all = refused(&mut lab, true);
    for why in [
        "se-1: it is disabled",
        "se-2: it has no interface in the network of 10.0.0.0",
        "se-3: it is not connected",
    ] {
        assert!(all.contains(why), "{all}");
    }
}

//= test SCALE-MIGRATE-01
#[test]
fn a_service_that_moves_is_served_by_the_new_engine_before_it_leaves_the_old_one() {
    let mut lab = Lab::new(&json!({}), 2, 1);
    lab.settle();
    lab.told();
    lab.seen[0].services.get_mut("vs-0").expect("it has it").connections = 1;
    lab.ask(|machine| machine.migrate("vs-0", VIP, None, Some("se-1"))).expect("it can");
    let mut states = Vec::new();
    for _ in 0..8 {
        lab.step();
        assert!(!lab.serving(0).is_empty(), "somebody serves at every moment: {:?}", lab.on(0));
        states.push(lab.state(0));
        lab.obey();
    }
    states.dedup();
    assert_eq!(
        states,
        [
            "MIGRATE_SCALEOUT_AWAITING_SE_PROGRAMMING",
            "MIGRATE_SCALEOUT_WAIT_FOR_SE_READY",
            "MIGRATE_SCALEOUT_AWAITING_SE_READY",
            "MIGRATE_SCALEIN_AWAITING_SE_PRE_RELEASE",
        ]
    );
    lab.now += 35 * SECOND;
    lab.settle();
    assert_eq!((lab.serving(0), lab.state(0).as_str()), (vec!["se-1".to_owned()], "MIGRATE_SUCCESS"));
    let told = lab.told();
    assert_eq!(
        (told.first(), told.last()),
        (Some(&"VS_MIGRATE_STARTED"), Some(&"VS_MIGRATE_COMPLETE")),
        "{told:?}"
    );
    assert_eq!(lab.units["vip-0"].factor, 0);
}

//= test SCALE-SWITCH-01
#[test]
fn another_engine_that_serves_becomes_the_primary() {
    let mut lab = Lab::new(&json!({"min_scaleout_per_vs": 2}), 3, 1);
    lab.settle();
    lab.told();
    lab.ask(|machine| machine.switch_over("vs-0", VIP, None)).expect("another one serves");
    assert_eq!((lab.serving(0), lab.told()), (vec!["se-1".into(), "se-0".into()], vec!["VS_SWITCHOVER"]));
    let not = |lab: &mut Lab, to| {
        lab.ask(|machine| machine.switch_over("vs-0", VIP, Some(to))).expect_err("not it")
    };
    assert!(not(&mut lab, "se-1").contains("primary already"));
    assert!(not(&mut lab, "se-2").contains("does not serve it"));
    lab.settle();
    assert_eq!(lab.serving(0), ["se-1", "se-0"], "it stays so");
}

//= test PLACE-LOST-01
#[test]
fn the_place_of_a_lost_engine_is_taken_and_of_a_silent_one_it_is_not() {
    let mut lab = Lab::new(&json!({}), 2, 3);
    lab.settle();
    assert!((0..3).all(|number| lab.serving(number) == ["se-0"]));
    lab.told();
    lab.seen[0].state = EngineState::Silent;
    lab.settle();
    assert!((0..3).all(|number| lab.serving(number) == ["se-0"]), "it may come back");
    lab.seen[0].state = EngineState::Lost;
    lab.settle();
    assert!((0..3).all(|number| lab.serving(number) == ["se-1"]), "{:?}", lab.units);
    let told = lab.told();
    assert!(told.contains(&"VS_REMOVED_SE") && told.contains(&"VS_ADD_SE"), "{told:?}");
    lab.seen[0].state = EngineState::Up;
    lab.settle();
    assert!((0..3).all(|number| lab.serving(number) == ["se-1"]), "who comes back takes nothing");
    // With nobody to take it, it waits, and goes on when its engine is back.
    lab.seen[1].state = EngineState::Lost;
    lab.seen[0].interfaces.clear();
    lab.told();
    lab.settle();
    assert_eq!(lab.on(0)[0].0, "se-1");
    assert_eq!(lab.told()[0], "VS_INITIAL_PLACEMENT_FAILED");
    assert!(
        lab.units["vip-0"].short[0].contains("se-0: it has no interface"),
        "{:?}",
        lab.units["vip-0"].short
    );
    assert!(!lab.units["vip-0"].is_whole);
    lab.seen[1].state = EngineState::Up;
    lab.settle();
    assert!(lab.units["vip-0"].is_whole && lab.units["vip-0"].short.is_empty());
}

//= test PLACE-DISABLE-01
#[test]
fn an_engine_that_is_disabled_is_left_when_others_serve_in_its_place() {
    let mut lab = Lab::new(&json!({}), 2, 1);
    lab.settle();
    lab.seen[0].services.get_mut("vs-0").expect("it has it").connections = 1;
    lab.seen[1].interfaces.clear();
    lab.seen[0].admin = Admin::Disabled;
    lab.settle();
    assert_eq!(lab.serving(0), ["se-0"], "nobody could take its place");
    lab.seen[1] = engine(1);
    lab.step();
    assert_eq!(lab.on(0)[0].1, Phase::Serving, "it serves until the other one does");
    lab.settle();
    assert_eq!(lab.serving(0), ["se-1"]);
    assert_eq!(lab.on(0).len(), 2, "its client has its time");
    lab.now += 35 * SECOND;
    lab.settle();
    assert_eq!(lab.on(0).len(), 1);
    // By force it goes whoever else is there.
    lab.seen[0].state = EngineState::Lost;
    lab.seen[1].admin = Admin::Disabled;
    lab.seen[1].is_forced = true;
    lab.settle();
    assert!(lab.serving(0).is_empty());
    lab.now += 30 * SECOND;
    lab.settle();
    assert!(lab.on(0).is_empty());
}

//= test PLACE-SCALE-02
#[test]
fn services_that_share_addresses_are_placed_as_one_and_those_that_are_off_not_at_all() {
    let mut lab = Lab::new(&json!({"max_vs_per_se": 3}), 2, 3);
    lab.service(1, &json!({"vsvip_ref": "/api/vsvip/vip-0"}));
    lab.service(2, &json!({"enabled": false}));
    lab.service(3, &json!({"type": "VS_TYPE_VH_CHILD", "vh_parent_vs_ref": "/api/virtualservice/vs-0"}));
    lab.settle();
    assert_eq!(lab.units.keys().collect::<Vec<_>>(), ["vip-0"]);
    assert_eq!(lab.seen[0].services.keys().collect::<Vec<_>>(), ["vs-0", "vs-1"]);
    let world = lab.world();
    assert_eq!((world.of["vs-1"].as_str(), world.of["vs-3"].as_str()), ("vip-0", "vip-0"));
    // On, it needs a place; off again, it keeps that.
    lab.service(2, &json!({}));
    lab.settle();
    assert_eq!(lab.serving(2), ["se-0"]);
    lab.service(2, &json!({"enabled": false}));
    lab.settle();
    assert_eq!(lab.serving(2), ["se-0"]);
    lab.objects.remove(&lab.objects.get("virtualservice", "vs-2").expect("it is there").id());
    lab.settle();
    assert_eq!(lab.units.keys().collect::<Vec<_>>(), ["vip-0"]);
    // A network that is named counts, and not the address: one by itself, one by its object.
    let subnet = json!({"ip_addr": {"addr": "10.7.0.0", "type": "V4"}, "mask": 16});
    let vip = json!([{"vip_id": VIP, "ip_address": {"addr": "192.0.2.1", "type": "V4"},
                      "placement_networks": [{"network_ref": "/api/network/n"}]}]);
    lab.put("network", "n", &json!({"name": "n", "configured_subnets": [{"prefix": subnet}]}));
    lab.put("vsvip", "vip-4", &json!({"name": "vip-4", "vip": vip}));
    lab.service(5, &json!({"vsvip_ref": "/api/vsvip/vip-4"}));
    lab.settle();
    assert!(lab.units["vip-4"].members.is_empty() && !lab.units["vip-4"].short.is_empty());
    lab.seen[1].interfaces.push("10.7.1.0/24".parse().expect("a network"));
    lab.settle();
    assert_eq!(lab.units["vip-4"].members[0].engine, "se-1");
}

//= test PLACE-LEGACY-01
#[test]
fn the_standby_engine_lets_clients_in_when_the_active_one_is_lost() {
    let mut lab = Lab::new(&json!({"ha_mode": "HA_MODE_LEGACY_ACTIVE_STANDBY"}), 2, 1);
    lab.settle();
    assert_eq!(lab.serving(0), ["se-0", "se-1"]);
    let listens = |lab: &Lab| [0, 1].map(|at: usize| lab.seen[at].services["vs-0"].is_listening);
    assert_eq!(listens(&lab), [true, false]);
    assert!(
        lab.ask(|machine| machine.scale_out("vs-0", VIP, None)).expect_err("no scale").contains("switchover")
    );
    lab.ask(|machine| machine.switch_over("vs-0", VIP, None)).expect("it stands by");
    lab.settle();
    assert_eq!(listens(&lab), [false, true]);
    lab.seen[1].state = EngineState::Lost;
    lab.settle();
    assert!(listens(&lab)[0]);
}

//= test PLACE-STORE-01
#[tokio::test]
async fn placements_outlive_the_process_and_a_start_moves_nothing() {
    let folder = Folder::new("placement");
    let store = Embedded::open(&folder.0.join("store")).expect("a store");
    let mut lab = Lab::new(&json!({}), 2, 200);
    lab.group(&json!({"max_vs_per_se": 1000}));
    let first = Placement::open(&store).await.expect("empty");
    let mut follows = first.follow();
    let step = async |placement: &Placement, lab: &Lab| {
        placement
            .step(&store, || placement.world(&lab.objects), lab.looked(), lab.now)
            .await
            .expect("written");
        let known = placement.known();
        (known.units.clone(), known.on("se-0").len())
    };
    let (units, on) = step(&first, &lab).await;
    assert_eq!((units.len(), on), (200, 200));
    assert!(follows.has_changed().expect("it lives"));
    let (_, page) =
        super::events::tests::found(&first.events, &store, &|event| event["event_id"] == "VS_ADD_SE").await;
    assert_eq!(page[0]["obj_type"], "VIRTUALSERVICE");
    lab.units = units.clone();
    lab.obey();
    step(&first, &lab).await;
    follows.mark_unchanged();
    let (units, _) = step(&first, &lab).await;
    assert!(!follows.has_changed().expect("it lives"), "nothing is new");
    let wish = Wish::ScaleOut { to: None };
    first
        .wish(&store, ("vs-7", VIP), &wish, &lab.seen, lab.now)
        .await
        .expect("written")
        .expect("there is one");
    let refused = first.wish(&store, ("vs-7", VIP), &wish, &lab.seen, lab.now).await.expect("read");
    assert!(refused.expect_err("it is busy").contains("se-1"));
    assert!(first.is_moving());
    drop(first);
    // At the start nobody is connected yet.
    let again = Placement::open(&store).await.expect("read");
    for seen in &mut lab.seen {
        seen.state = EngineState::Silent;
        seen.interfaces.clear();
        seen.services.clear();
    }
    let (after, _) = step(&again, &lab).await;
    assert_eq!(after.len(), 200);
    for (key, unit) in &units {
        let engines =
            |unit: &Unit| unit.members.iter().map(|member| member.engine.clone()).collect::<Vec<_>>();
        let mut expected = engines(unit);
        expected.extend((key == "vip-7").then(|| "se-1".to_owned()));
        assert_eq!(engines(&after[key]), expected, "{key}");
    }
}

/// A store whose disk has no room for events.
pub struct NoEvents(pub Embedded);

impl Store for NoEvents {
    fn get(&self, key: &str) -> Given<'_, Option<Stored>> {
        self.0.get(key)
    }

    fn list(&self, prefix: &str, after: Option<&str>, most: usize) -> Given<'_, Listed> {
        self.0.list(prefix, after, most)
    }

    fn commit(&self, step: Step) -> Given<'_, Revision> {
        if step.writes.iter().any(|(key, _)| key.starts_with("event/")) {
            return Box::pin(async { Err(Refusal::Unavailable("no room".to_owned())) });
        }
        self.0.commit(step)
    }

    fn changes(&self, since: Revision, most: usize) -> Given<'_, Vec<Change>> {
        self.0.changes(since, most)
    }

    fn backup(&self, file: &std::path::Path) -> Given<'_, ()> {
        self.0.backup(file)
    }
}

//= test PLACE-STORE-01
#[tokio::test]
async fn a_placement_that_is_written_is_told_even_if_its_event_is_not() {
    let folder = Folder::new("placement-told");
    let store = NoEvents(Embedded::open(&folder.0.join("store")).expect("a store"));
    let lab = Lab::new(&json!({}), 2, 1);
    let placement = Placement::open(&store).await.expect("empty");
    let follows = placement.follow();
    let done = placement.step(&store, || placement.world(&lab.objects), lab.looked(), lab.now).await;
    assert_eq!(done, Ok(()), "what was done is not called undone");
    assert_eq!(placement.known().units.len(), 1);
    assert!(follows.has_changed().expect("it lives"));
}
