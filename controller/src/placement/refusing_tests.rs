//! Services that an engine cannot have as its machine is, while others may.

use std::collections::BTreeSet;

use forebay_core::place::EngineState;
use serde_json::json;

use super::tests::{Lab, SECOND, VIP, engine};
use super::turns::{AGAIN, WITHIN_MS};
use super::*;

/// An engine says what it cannot listen for: of what it is to let clients in, and nothing else.
pub(super) fn refuse(broken: &BTreeSet<(String, String)>, known: &Known, seen: &mut Seen) {
    let before = std::mem::take(&mut seen.refused);
    seen.left_out.retain(|vs| !before.contains_key(vs));
    for has in known.on(&seen.uuid).into_iter().filter(|has| has.accepts) {
        if broken.contains(&(seen.uuid.clone(), has.vs.clone())) {
            seen.refused.insert(has.vs.clone(), "somebody else has the port".to_owned());
            seen.left_out.insert(has.vs);
        }
    }
}

impl Lab {
    fn breaks(&mut self, engine: &str, vs: &str) {
        self.broken.insert((engine.to_owned(), vs.to_owned()));
    }

    /// How often another engine was asked for the first service in so long.
    fn goes_on(&mut self, ms: u64) -> usize {
        let until = self.now + ms;
        let mut asked = 0;
        while self.now < until {
            let had = self.on(0).len();
            self.now += SECOND / 2;
            self.step();
            asked += usize::from(self.on(0).len() > had);
            self.obey();
        }
        asked
    }
}

//= test PLACE-REFUSED-01
#[test]
fn a_service_whose_port_another_program_has_is_served_by_an_engine_where_it_is_free() {
    let mut lab = Lab::new(&json!({}), 1, 1);
    lab.breaks("se-0", "vs-0");
    lab.settle();
    assert_eq!(lab.on(0), [("se-0".to_owned(), Phase::Opening)], "it stays where nobody else may have it");
    assert_eq!(lab.told(), ["VS_ADD_SE"], "nobody says that it is served");
    let known = Known::new(lab.units.clone(), std::sync::Arc::default());
    assert!(known.units["vip-0"].is_refused_by("se-0"));
    lab.seen.push(engine(1));
    lab.settle();
    assert_eq!(lab.on(0), [("se-1".to_owned(), Phase::Serving)]);
    let told = lab.told();
    assert_eq!(told.iter().filter(|event| **event == "SE_SCALEOUT_READY").count(), 1, "{told:?}");
    assert!(told.contains(&"VS_REMOVED_SE") && told.contains(&"VS_SE_HA_ACTIVE"), "{told:?}");
    // Nothing moves back, neither when the port is free.
    lab.broken.clear();
    assert_eq!(lab.goes_on(4000 * SECOND), 0);
    assert_eq!(lab.serving(0), ["se-1"]);
    assert!(lab.units["vip-0"].refused.is_empty(), "it is forgotten after an hour");
}

//= test PLACE-REFUSED-01
#[test]
fn an_engine_that_cannot_have_any_more_what_it_served_is_left_and_its_place_taken() {
    for scale in [1, 2] {
        let mut lab = Lab::new(&json!({"min_scaleout_per_vs": scale}), 3, 1);
        lab.settle();
        assert_eq!(lab.serving(0).len(), scale);
        // Its process was started anew, and the port had been taken meanwhile.
        lab.breaks("se-0", "vs-0");
        lab.settle();
        assert_eq!(lab.serving(0), [&["se-1"][..], &["se-1", "se-2"][..]][scale - 1]);
        assert_eq!(lab.on(0).len(), scale);
        // The one that is left is asked where another one cannot have it either, after its pause.
        lab.breaks("se-1", "vs-0");
        lab.breaks("se-2", "vs-0");
        lab.broken.remove(&("se-0".to_owned(), "vs-0".to_owned()));
        lab.goes_on(120 * SECOND);
        assert!(lab.serving(0).contains(&"se-0".to_owned()), "{:?}", lab.on(0));
    }
}

//= test PLACE-REFUSED-01
#[test]
fn a_service_that_no_engine_can_have_stays_where_it_is_and_others_are_asked_more_and_more_seldom() {
    let mut lab = Lab::new(&json!({}), 3, 1);
    for engine in ["se-0", "se-1", "se-2"] {
        lab.breaks(engine, "vs-0");
    }
    lab.settle();
    let first = lab.goes_on(60 * SECOND);
    assert!((2..=5).contains(&first), "{first} in a minute");
    lab.goes_on(1800 * SECOND);
    let later = lab.goes_on(600 * SECOND);
    assert!((1..=6).contains(&later), "{later} in ten minutes");
    let stays = || lab.on(0).iter().any(|(engine, _)| engine == "se-0");
    assert!(stays(), "{:?}", lab.on(0));
    // Where it was it is served as soon as that engine can have it.
    lab.broken.remove(&("se-0".to_owned(), "vs-0".to_owned()));
    lab.settle();
    assert_eq!(lab.serving(0), ["se-0"]);
    assert!(lab.told().contains(&"SE_SCALEOUT_READY"));
}

//= test PLACE-REFUSED-03
#[test]
fn what_is_tried_again_in_vain_is_told_once() {
    let mut lab = Lab::new(&json!({}), 3, 1);
    for engine in ["se-0", "se-1", "se-2"] {
        lab.breaks(engine, "vs-0");
    }
    lab.settle();
    lab.goes_on(30 * SECOND);
    lab.told();
    assert!(lab.goes_on(3600 * SECOND) > 3, "others are asked");
    assert_eq!(lab.told(), [""; 0]);
    lab.broken.remove(&("se-2".to_owned(), "vs-0".to_owned()));
    lab.goes_on(1200 * SECOND);
    assert_eq!(lab.serving(0), ["se-2"]);
    let told = lab.told();
    assert!(told.contains(&"SE_SCALEOUT_READY") && told.contains(&"VS_REMOVED_SE"), "{told:?}");
}

//= test PLACE-REFUSED-04
#[test]
fn of_many_services_that_no_engine_can_have_few_are_tried_at_a_time_and_each_has_its_turn() {
    const MANY: usize = 250;
    let mut lab = Lab::new(&json!({"max_vs_per_se": 1000}), 2, MANY);
    for number in 0..MANY {
        lab.breaks("se-0", &format!("vs-{number}"));
        lab.breaks("se-1", &format!("vs-{number}"));
    }
    let pause = 5 * SECOND;
    let mut begun = Vec::new();
    let mut goes_on = |lab: &mut Lab, ms: u64, is_over: &dyn Fn(&Lab) -> bool| {
        let until = lab.now + ms;
        while lab.now < until && !is_over(lab) {
            let had: Vec<usize> = (0..MANY).map(|number| lab.on(number).len()).collect();
            lab.now += pause;
            lab.step();
            let tries = (0..MANY).filter(|number| lab.on(*number).len() > had[*number]).count();
            begun.push(tries);
            lab.obey();
        }
    };
    lab.settle();
    goes_on(&mut lab, 1200 * SECOND, &|_| false);
    // Of the last one by its name another engine can have it now.
    lab.broken.remove(&("se-1".to_owned(), "vs-99".to_owned()));
    let before = lab.now;
    goes_on(&mut lab, 3600 * SECOND, &|lab| lab.serving(99) == ["se-1"]);
    assert_eq!(lab.serving(99), ["se-1"], "its turn does not come");
    let took_s = (lab.now - before) / SECOND;
    let within = usize::try_from(WITHIN_MS / pause).expect("some looks");
    // What was not tried yet was tried at once, before.
    let most = begun[within..].windows(within).map(|looks| looks.iter().sum::<usize>()).max();
    assert!(most.is_some_and(|most| (1..=AGAIN).contains(&most)), "{most:?} in 30 s, then after {took_s} s");
}

//= test PLACE-REFUSED-02
#[test]
fn people_may_have_engines_asked_at_once() {
    let mut lab = Lab::new(&json!({}), 2, 1);
    for engine in ["se-0", "se-1"] {
        lab.breaks(engine, "vs-0");
    }
    lab.settle();
    lab.step();
    assert_eq!(lab.on(0).len(), 1);
    let why = lab.ask(|machine| machine.scale_out("vs-0", VIP, None)).expect_err("it was asked");
    assert!(
        why.contains("se-1: it could not have the virtual service") && why.contains("has the port"),
        "{why}"
    );
    lab.broken.remove(&("se-1".to_owned(), "vs-0".to_owned()));
    lab.ask(|machine| machine.retry("vs-0"));
    lab.settle();
    assert_eq!(lab.serving(0), ["se-1"]);
    // One that is named is asked, and the wish ends with its answer.
    lab.ask(|machine| machine.scale_out("vs-0", VIP, Some("se-0"))).expect("it may try");
    lab.settle();
    assert_eq!((lab.serving(0), lab.state(0).as_str()), (vec!["se-1".to_owned()], "SCALEOUT_ERROR"));
    let why = lab.units["vip-0"].status().expect("it ended").reason;
    assert_eq!(why, ["se-0 cannot have it: somebody else has the port"]);
}

//= test PLACE-REFUSED-01
//= test SCALE-LEFT-OUT-01
#[test]
fn of_services_that_share_addresses_those_that_are_served_go_on_until_another_engine_has_all() {
    let mut lab = Lab::new(&json!({}), 1, 2);
    lab.service(1, &json!({"vsvip_ref": "/api/vsvip/vip-0"}));
    lab.breaks("se-0", "vs-1");
    lab.settle();
    assert_eq!(lab.serving(0), ["se-0"], "it has one of the two");
    let ready = lab.told().iter().filter(|event| **event == "SE_SCALEOUT_READY").count();
    assert_eq!(ready, 1, "and does not say so of the other one");
    // One that lacks the other of the two does not take them.
    lab.seen.push(engine(1));
    lab.breaks("se-1", "vs-0");
    lab.goes_on(10 * SECOND);
    assert_eq!(lab.serving(0)[0], "se-0");
    assert!(lab.seen[0].services["vs-0"].is_listening);
    lab.broken.remove(&("se-1".to_owned(), "vs-0".to_owned()));
    lab.goes_on(400 * SECOND);
    assert_eq!(lab.on(0), [("se-1".to_owned(), Phase::Serving)]);
}

//= test PLACE-REFUSED-01
#[test]
fn a_standby_engine_serves_where_the_active_one_cannot_and_they_do_not_take_turns() {
    let mut lab = Lab::new(&json!({"ha_mode": "HA_MODE_LEGACY_ACTIVE_STANDBY"}), 2, 1);
    lab.settle();
    assert_eq!(lab.serving(0), ["se-0", "se-1"]);
    lab.breaks("se-0", "vs-0");
    lab.settle();
    assert_eq!(lab.serving(0), ["se-1", "se-0"]);
    assert!(lab.seen[1].services["vs-0"].is_listening);
    lab.breaks("se-1", "vs-0");
    lab.told();
    let mut turns = 0;
    for _ in 0..600 {
        lab.now += SECOND;
        lab.step();
        lab.obey();
        turns += lab.told().iter().filter(|event| **event == "VS_SWITCHOVER").count();
    }
    assert!((1..=8).contains(&turns), "{turns} in ten minutes");
    lab.seen[1].state = EngineState::Lost;
    lab.broken.clear();
    lab.settle();
    assert_eq!(lab.serving(0), ["se-0"]);
}
