//! Placements of services of which one cannot be carried out, and of engines that come while the others go.

use forebay_core::place::{Admin, EngineState};
use serde_json::json;

use super::tests::{Lab, SECOND, VIP, engine};
use super::*;

/// Two services at one address, of which no engine can carry out the second.
fn lab(engines: usize) -> Lab {
    let mut lab = Lab::new(&json!({}), engines, 2);
    lab.service(1, &json!({"vsvip_ref": "/api/vsvip/vip-0"}));
    for seen in &mut lab.seen {
        seen.left_out.insert("vs-1".to_owned());
    }
    lab.settle();
    lab
}

//= test SCALE-LEFT-OUT-01
#[test]
fn a_service_that_no_engine_can_carry_out_holds_up_none_that_shares_its_address() {
    let mut lab = lab(2);
    assert_eq!(lab.serving(0), ["se-0"]);
    lab.ask(|machine| machine.scale_out("vs-0", VIP, None)).expect("there is one");
    lab.settle();
    assert_eq!(lab.serving(0), ["se-0", "se-1"]);
    lab.ask(|machine| machine.scale_in("vs-0", VIP, Some("se-1"), false)).expect("another one serves");
    lab.settle();
    assert_eq!(lab.serving(0), ["se-0"]);
    // An engine that is to be left is left, and one that is lost is replaced.
    lab.seen[0].admin = Admin::Disabled;
    lab.settle();
    assert_eq!(lab.on(0), [("se-1".to_owned(), Phase::Serving)]);
    lab.seen[0] = engine(0);
    lab.seen[1].state = EngineState::Lost;
    lab.settle();
    assert_eq!(lab.on(0), [("se-0".to_owned(), Phase::Serving)]);
}

//= test SCALE-LEFT-OUT-01
#[test]
fn what_one_engine_alone_cannot_carry_out_stays_where_it_is_served() {
    for moves in [false, true] {
        let mut lab = Lab::new(&json!({}), 2, 2);
        lab.service(1, &json!({"vsvip_ref": "/api/vsvip/vip-0"}));
        lab.seen[1].left_out.insert("vs-1".to_owned());
        lab.settle();
        assert_eq!(lab.serving(0), ["se-0"]);
        if moves {
            lab.ask(|machine| machine.migrate("vs-0", VIP, Some("se-0"), Some("se-1"))).expect("it may try");
        } else {
            lab.seen[0].admin = Admin::Disabled;
        }
        lab.settle();
        assert_eq!(lab.serving(0), ["se-0"], "nobody else serves both");
        // Who is gone serves neither.
        lab.seen[0].state = EngineState::Lost;
        lab.settle();
        assert_eq!(lab.serving(0), ["se-1"]);
    }
}

//= test SCALE-ALONE-01
#[test]
fn an_engine_that_waits_for_others_opens_when_none_of_them_is_left() {
    for (has_it, force) in [(false, false), (true, false), (false, true)] {
        let mut lab = Lab::new(&json!({}), 2, 1);
        lab.settle();
        lab.seen[1].has_tables = false;
        lab.ask(|machine| machine.scale_out("vs-0", VIP, None)).expect("there is one");
        lab.step();
        if has_it {
            lab.obey();
            lab.step();
        }
        let waits = if has_it { Phase::Completing } else { Phase::Configuring };
        assert_eq!(lab.on(0)[1], ("se-1".to_owned(), waits));
        // One that is silent may come back.
        lab.seen[0].state = EngineState::Silent;
        lab.step();
        assert_eq!(lab.on(0)[1].1, waits);
        if force {
            (lab.seen[0].admin, lab.seen[0].is_forced) = (Admin::Disabled, true);
            lab.seen[0].state = EngineState::Up;
        } else {
            lab.seen[0].state = EngineState::Lost;
        }
        lab.step();
        lab.step();
        let is_open = |(engine, phase): &(String, Phase)| engine == "se-1" && *phase == Phase::Opening;
        assert!(lab.on(0).iter().any(is_open), "{:?}", lab.on(0));
        lab.now += SECOND;
        lab.settle();
        // The other one may come back to its place; the primary is this one.
        assert_eq!(lab.serving(0)[0], "se-1");
    }
}

//= test SCALE-OUT-01
#[test]
fn an_engine_whose_tables_do_not_get_complete_serves_without_after_its_time() {
    let mut lab = Lab::new(&json!({"vs_se_scaleout_ready_timeout": 20}), 2, 1);
    lab.settle();
    lab.seen[1].has_tables = false;
    lab.ask(|machine| machine.scale_out("vs-0", VIP, Some("se-1"))).expect("it can");
    lab.settle();
    lab.told();
    lab.now += 20 * SECOND - 1;
    lab.settle();
    assert_eq!(lab.serving(0), ["se-0"]);
    lab.now += 1;
    lab.settle();
    assert_eq!(lab.serving(0).len(), 2);
    assert!(lab.told().contains(&"SE_SCALEOUT_READY_TIMEDOUT"));
}

//= test SCALE-FAIL-01
#[test]
fn an_engine_that_does_not_come_to_serve_is_given_up_with_its_reason() {
    for is_lost in [true, false] {
        let mut lab = Lab::new(&json!({"vs_scaleout_timeout": 100}), 2, 1);
        lab.settle();
        lab.ask(|machine| machine.scale_out("vs-0", VIP, None)).expect("there is one");
        lab.seen[1].problems = vec!["10.0.0.0:80: somebody else listens there".to_owned()];
        lab.step();
        lab.told();
        if is_lost {
            lab.seen[1].state = EngineState::Lost;
        } else {
            lab.now += 100 * SECOND - 1;
            lab.step();
            assert_eq!(lab.on(0).len(), 2);
            lab.now += 1;
        }
        lab.step();
        assert_eq!((lab.on(0).len(), lab.state(0).as_str()), (1, "SCALEOUT_ERROR"));
        let why = lab.units["vip-0"].status().expect("it ended").reason;
        // What it says is of some service of it, which may be another tenant's.
        assert!(why[0].contains("(problems: 1, shown at /api/serviceengine/se-1/channel)"), "{why:?}");
        assert!(why[0].contains("se-1 ") && !why[0].contains("somebody else listens"), "{why:?}");
        assert_eq!(lab.told(), ["VS_SCALEOUT_FAILED"]);
        lab.settle();
        assert_eq!(lab.on(0).len(), 1, "it is not tried again by itself");
    }
}
