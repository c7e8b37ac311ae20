//! Clocks that differ, and certificates that are renewed in time.

use std::fs;

use forebay_e2e::clock::{Clock, Moves};
use forebay_e2e::led::{Options, member, seen};
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Controller, Lab};

/// Seconds of a day.
const DAY: i64 = 86_400;

//= test CHAN-CLOCK-01
#[test]
fn engines_whose_clocks_are_ten_minutes_off_join_and_come_back() {
    let lab = Lab::new();
    let controller = Controller::start(&lab);
    for off in [-600, 600] {
        let folder = lab.folder().join(format!("clock{off}"));
        fs::create_dir(&folder).expect("room");
        let clock = Clock::new(&folder, Moves::WallClock);
        clock.set(off);
        let options = Options { env: clock.env(), ..Options::default() };
        let mut engine = member(&lab, &controller, &options);
        let uuid = engine.uuid();
        assert!(engine.process.end(secs(10)).success());
        engine.again(&lab, controller.engines, &options);
        eventually("it is back", secs(20), || {
            let seen = seen(&controller, &uuid);
            seen["up"] == true && seen["configuration"]["current"] == true
        });
    }
    // Two hours are too many: the Controller's certificate is of the future.
    let clock = Clock::new(lab.folder(), Moves::WallClock);
    let mut engine = member(&lab, &controller, &Options::default());
    assert!(engine.process.end(secs(10)).success());
    clock.set(-2 * 3600);
    engine.again(&lab, controller.engines, &Options { env: clock.env(), ..Options::default() });
    engine.says("CONTROLLER_LOST");
    assert_eq!(engine.said("CONTROLLER_REACHED"), 0);
    assert!(engine.process.ended().is_none(), "it serves on");
}

//= test CHAN-ENROLL-03
#[test]
fn an_engine_has_a_new_certificate_before_the_old_one_is_over() {
    let lab = Lab::new();
    let mut controller = Controller::start(&lab);
    let clock = Clock::new(lab.folder(), Moves::WallClock);
    let options = Options { env: clock.env(), ..Options::default() };
    let mut engine = member(&lab, &controller, &options);
    let uuid = engine.uuid();
    let first = fs::read(engine.state.join("engine.pem")).expect("it has one");
    assert_eq!(engine.said("SE_RENEWED"), 0);
    // Good for 397 days: at 300 less than a third is left, at 500 it is over.
    for (day, renews) in [(300, 1), (500, 0)] {
        assert!(engine.process.end(secs(10)).success());
        clock.set(day * DAY);
        controller.env = clock.env();
        controller.process.kill();
        controller.again(&lab);
        engine.again(&lab, controller.engines, &options);
        eventually("it is led", secs(20), || {
            let seen = seen(&controller, &uuid);
            seen["up"] == true && seen["configuration"]["current"] == true
        });
        assert_eq!(engine.said("SE_RENEWED"), renews, "day {day}");
    }
    let now = fs::read(engine.state.join("engine.pem")).expect("it has one");
    assert_ne!(now, first);
}
