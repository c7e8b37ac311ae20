//! What traffic alone says about a server, and what it takes to come back.

use forebay_core::units::Now;
use forebay_health::{
    Action, Attempt, Excerpt, Failure, Outcome, PassiveRule, ServerHealth, State, Timing, Traffic, limits,
};

const S: u64 = 1_000_000;

fn failed(failed: u32) -> Traffic {
    Traffic { ok: 0, failed, status_5xx: 0 }
}

/// The monitors that are to be asked at `now`, with the attempts.
fn asked(health: &mut ServerHealth, now: u64) -> Vec<(usize, Attempt)> {
    std::iter::from_fn(|| health.handle_timeout(Now(now)))
        .map(|action| match action {
            Action::Start { monitor, attempt } => (monitor, attempt),
            Action::Abandon { monitor, .. } => panic!("monitor {monitor} has no answer"),
        })
        .collect()
}

//= test HM-PASSIVE-01
#[test]
fn failures_of_an_hour_ago_do_not_count() {
    let mut health = ServerHealth::new(&[], PassiveRule::default(), 1, Now(0));
    health.handle_traffic(Now(S), failed(2));
    health.handle_traffic(Now(3_600 * S), failed(1));
    assert_eq!(health.state(), State::Up);
    health.handle_traffic(Now(3_604 * S), failed(2));
    assert_eq!(health.state(), State::Down, "three within ten seconds");
}

//= test HM-PASSIVE-01
#[test]
fn an_answer_with_a_5xx_was_tried_like_any_other() {
    for (count_5xx, ok, failed, status_5xx, down) in [
        (true, 3, 0, 3, false),
        (true, 3, 0, 4, true),
        (true, 4, 1, 3, false),
        (true, 3, 1, 3, true),
        (false, 0, 3, 3, false),
        (false, 0, 3, 2, true),
    ] {
        let rule = PassiveRule { count_5xx, ..PassiveRule::default() };
        let mut health = ServerHealth::new(&[], rule, 1, Now(0));
        health.handle_traffic(Now(1), Traffic { ok, failed, status_5xx });
        let seen = format!("{ok} good, {failed} failed, {status_5xx} with 5xx, counted: {count_5xx}");
        assert_eq!(health.state() == State::Down, down, "{seen}");
    }
}

//= test HM-PASSIVE-02
#[test]
fn one_monitor_of_two_does_not_bring_a_server_back_that_traffic_marked_down() {
    let monitors = [Timing::default(); 2];
    let mut health = ServerHealth::new(&monitors, PassiveRule::default(), 1, Now(0));
    for now in 0..4 {
        for (monitor, attempt) in asked(&mut health, now) {
            health.handle_result(Now(now), monitor, attempt, Outcome::Pass);
        }
    }
    assert_eq!(health.state(), State::Up);
    health.handle_traffic(Now(5), failed(3));
    let mut answers = [0; 2];
    for now in 6..12 {
        for (monitor, attempt) in asked(&mut health, now) {
            answers[monitor] += 1;
            let outcome = match monitor {
                0 => Outcome::Pass,
                // One failure: too few to make the monitor itself say down.
                _ => Outcome::Fail(Failure::Closed(Excerpt::default())),
            };
            health.handle_result(Now(now), monitor, attempt, outcome);
        }
        assert_eq!(health.state(), State::Down, "at {now}, after {answers:?} answers");
    }
    assert!(answers[0] >= 2 && answers[1] >= 1, "both were asked at once: {answers:?}");
    // Both pass from here on; the intervals come round.
    for now in (1..60).map(|second| second * S) {
        for (monitor, attempt) in asked(&mut health, now) {
            health.handle_result(Now(now), monitor, attempt, Outcome::Pass);
        }
    }
    assert_eq!(health.state(), State::Up);
}

#[test]
fn events_that_nobody_takes_do_not_pile_up() {
    let mut health = ServerHealth::new(&[], PassiveRule::default(), 1, Now(0));
    let mut now = 0;
    for flap in 0..1_000 {
        health.handle_traffic(Now(now), failed(3));
        assert_eq!(health.state(), State::Down, "flap {flap}");
        now = health.poll_timeout().expect("it is tried again").0;
        assert_eq!(health.handle_timeout(Now(now)), None);
        assert_eq!(health.state(), State::Up, "flap {flap}");
    }
    let kept: Vec<_> = std::iter::from_fn(|| health.poll_event()).collect();
    assert_eq!(kept.len(), limits::EVENTS_MAX);
    assert_eq!(kept.last().map(|event| (event.at, event.to)), Some((Now(now), State::Up)), "the newest stay");
}
