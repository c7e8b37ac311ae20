//! When probes run and when the state of a server flips.

use forebay_core::units::Now;
use forebay_health::{
    Action, Attempt, Event, Excerpt, Failure, Outcome, PassiveRule, Probe, ProbeState, ServerHealth, State,
    Timing, Traffic, Why, probe::Due,
};
use proptest::prelude::*;

const S: u64 = 1_000_000;

fn failure() -> Outcome {
    Outcome::Fail(Failure::Closed(Excerpt::default()))
}

fn maintenance() -> Outcome {
    Outcome::Maintenance(Excerpt::default())
}

/// Runs one server on virtual time: each probe takes `answer_us` and ends as `judge` says.
struct Lab<F> {
    health: ServerHealth,
    now: u64,
    answer_us: u64,
    running: Vec<(u64, usize, Attempt)>,
    starts: Vec<(u64, usize)>,
    events: Vec<Event>,
    judge: F,
}

impl<F: FnMut(u64, usize) -> Outcome> Lab<F> {
    fn new(monitors: &[Timing], seed: u64, judge: F) -> Self {
        let health = ServerHealth::new(monitors, PassiveRule::default(), seed, Now(0));
        let (running, starts, events) = Default::default();
        let mut lab = Self { health, now: 0, answer_us: 1_000, running, starts, events, judge };
        lab.step();
        lab
    }

    fn step(&mut self) {
        let now = self.now;
        while let Some(at) = self.running.iter().position(|running| running.0 <= now) {
            let (_, monitor, attempt) = self.running.swap_remove(at);
            let outcome = (self.judge)(now, monitor);
            self.health.handle_result(Now(now), monitor, attempt, outcome);
        }
        while let Some(action) = self.health.handle_timeout(Now(now)) {
            match action {
                Action::Start { monitor, attempt } => {
                    assert!(!self.running.iter().any(|running| running.1 == monitor), "two probes at once");
                    self.starts.push((now, monitor));
                    self.running.push((now + self.answer_us, monitor, attempt));
                }
                Action::Abandon { monitor, attempt } => {
                    self.running.retain(|running| (running.1, running.2) != (monitor, attempt));
                    let outcome = Outcome::Fail(Failure::TimedOut(Excerpt::default()));
                    self.health.handle_result(Now(now), monitor, attempt, outcome);
                }
            }
        }
        while let Some(event) = self.health.poll_event() {
            assert_ne!(event.from, event.to, "an event is a change");
            self.events.push(event);
        }
    }

    fn run_until(&mut self, end: u64) {
        loop {
            let answers = self.running.iter().map(|running| running.0);
            let next = answers.chain(self.health.poll_timeout().map(|at| at.0)).min();
            match next {
                Some(at) if at <= end => {
                    self.now = self.now.max(at);
                    self.step();
                }
                _ => {
                    self.now = end;
                    return self.step();
                }
            }
        }
    }

    fn went(&self, to: State) -> usize {
        self.events.iter().filter(|event| event.to == to).count()
    }
}

//= test HM-QUICK-01
#[test]
fn a_new_server_is_up_after_its_successful_checks_without_waiting_for_the_interval() {
    let timing = Timing { successful_checks: 5, ..Timing::default() };
    let mut lab = Lab::new(&[timing], 7, |_, _| Outcome::Pass);
    lab.run_until(4_999);
    assert_eq!(lab.health.state(), State::Checking);
    lab.run_until(5_000);
    assert_eq!(lab.health.state(), State::Up);
    assert_eq!(lab.starts.len(), 5);
}

//= test HM-QUICK-01
#[test]
fn a_new_server_that_fails_is_not_hammered() {
    let mut lab = Lab::new(&[Timing::default()], 7, |_, _| failure());
    lab.run_until(60 * S);
    assert!(lab.starts.len() <= 7, "{:?}", lab.starts);
    assert_eq!(lab.health.state(), State::Down);
}

//= test HM-QUICK-01
#[test]
fn a_new_server_whose_first_probe_fails_is_asked_again_after_a_second_until_its_first_verdict() {
    let mut lab =
        Lab::new(&[Timing::default()], 7, |at, _| if at < S / 2 { failure() } else { Outcome::Pass });
    lab.run_until(3 * S);
    assert_eq!(lab.health.state(), State::Up, "{:?}", lab.starts);
    let mut dead = Lab::new(&[Timing::default()], 7, |_, _| failure());
    dead.run_until(2 * S);
    assert_eq!(dead.health.state(), State::Down, "{:?}", dead.starts);
    // The verdict has fallen: by the interval from now on, whatever it is.
    dead.run_until(30 * S);
    let late: Vec<u64> = dead.starts.windows(2).skip(1).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(!late.is_empty() && late.iter().all(|gap| *gap >= 9 * S), "{late:?}");
}

//= test HM-QUICK-01
#[test]
fn a_new_server_that_cannot_make_up_its_mind_is_not_hammered() {
    let timing = Timing { successful_checks: 2, failed_checks: 2, ..Timing::default() };
    let mut n = 0;
    let mut lab = Lab::new(&[timing], 7, move |_, _| {
        n += 1;
        if n % 2 == 0 { failure() } else { Outcome::Pass }
    });
    lab.run_until(100 * S);
    assert_eq!(lab.health.state(), State::Checking);
    assert!(lab.starts.len() <= 8 + 11, "{:?}", lab.starts);
}

//= test HM-QUICK-02
#[test]
fn without_quick_start_the_first_probe_waits_for_its_place_in_the_interval() {
    let timing = Timing { quick_start: false, ..Timing::default() };
    let firsts: Vec<u64> = (0..1_000)
        .map(|seed| {
            let mut lab = Lab::new(&[timing], seed, |_, _| Outcome::Pass);
            lab.run_until(10 * S);
            lab.starts[0].0
        })
        .collect();
    // 1,000 probes over 10 s: each second gets its share.
    for second in 0..10 {
        let share = firsts.iter().filter(|at| **at / S == second).count();
        assert!((60..=140).contains(&share), "second {second}: {share} of 1,000");
    }
}

//= test HM-SPREAD-01
#[test]
fn probes_that_began_together_drift_apart() {
    let mut late = Vec::new();
    for seed in 0..200 {
        let mut lab = Lab::new(&[Timing::default()], seed, |_, _| Outcome::Pass);
        lab.run_until(600 * S);
        late.push(lab.starts.last().expect("it was probed").0 % S / 100_000);
    }
    for tenth in 0..10 {
        let share = late.iter().filter(|at| **at == tenth).count();
        assert!(share <= 50, "{share} of 200 probes fall into the same 100 ms");
    }
}

//= test HM-COUNT-01
//= test HM-COUNT-02
#[test]
fn one_failure_changes_nothing_and_two_in_a_row_mark_the_server_down() {
    let mut n = 0;
    let mut lab = Lab::new(&[Timing::default()], 1, move |_, _| {
        n += 1;
        // Up after 2; single failures at 4 and 6; two in a row at 8 and 9; up again after 11.
        if matches!(n, 4 | 6 | 8 | 9) { failure() } else { Outcome::Pass }
    });
    let changes = [(4, State::Up), (6, State::Up), (9, State::Down), (11, State::Up)];
    lab.run_until(S);
    assert_eq!(lab.health.state(), State::Up);
    for (probe, state) in changes {
        while lab.starts.len() < probe {
            lab.run_until(lab.now + S);
        }
        lab.run_until(lab.now + S);
        assert_eq!(lab.health.state(), state, "after probe {probe}");
    }
    assert_eq!(lab.events.len(), 3);
}

//= test HM-TIME-02
#[test]
fn a_server_that_never_answers_goes_down_by_the_receive_timeout() {
    let mut lab = Lab::new(&[Timing::default()], 1, |_, _| Outcome::Pass);
    lab.run_until(S);
    lab.answer_us = u64::MAX / 2;
    lab.run_until(30 * S);
    assert_eq!(lab.health.state(), State::Down);
    assert!(matches!(
        lab.events.last(),
        Some(Event { why: Why::Failed { failure: Failure::TimedOut(_), .. }, .. })
    ));
}

//= test HM-TIME-02
#[test]
fn a_probe_that_the_driver_lost_counts_as_failed_and_the_schedule_goes_on() {
    let mut health = ServerHealth::new(&[Timing::default()], PassiveRule::default(), 1, Now(0));
    let mut starts = 0;
    for tenth in 0..1_000 {
        while let Some(action) = health.handle_timeout(Now(tenth * S / 10)) {
            starts += u32::from(matches!(action, Action::Start { .. }));
        }
    }
    assert!((9..=11).contains(&starts), "{starts} probes in 100 s");
    assert_eq!(health.state(), State::Down);
}

//= test HM-TIME-02
#[test]
fn the_result_of_an_attempt_that_is_over_is_ignored() {
    let timing = Timing { successful_checks: 1, failed_checks: 1, ..Timing::default() };
    let mut health = ServerHealth::new(&[timing], PassiveRule::default(), 1, Now(0));
    let Some(Action::Start { monitor, attempt }) = health.handle_timeout(Now(0)) else {
        panic!("quick start")
    };
    assert!(matches!(health.handle_timeout(Now(4 * S)), Some(Action::Abandon { .. })));
    health.handle_result(Now(4 * S), monitor, attempt, failure());
    health.handle_result(Now(4 * S + 1), monitor, attempt, Outcome::Pass);
    assert_eq!(health.state(), State::Down);
}

//= test HM-COMBINE-01
#[test]
fn every_monitor_must_pass() {
    let mut lab = Lab::new(&[Timing::default(), Timing::default()], 1, |now, monitor| {
        if monitor == 1 && (40 * S..80 * S).contains(&now) { failure() } else { Outcome::Pass }
    });
    lab.run_until(39 * S);
    assert_eq!(lab.health.state(), State::Up);
    lab.run_until(70 * S);
    assert_eq!(lab.health.state(), State::Down);
    assert!(matches!(lab.events.last(), Some(Event { why: Why::Failed { monitor: 1, .. }, .. })));
    lab.run_until(110 * S);
    assert_eq!(lab.health.state(), State::Up);
}

//= test HM-COMBINE-01
#[test]
fn a_server_without_monitors_is_up_at_once_and_says_why() {
    let lab = Lab::new(&[], 1, |_, _| Outcome::Pass);
    assert_eq!(lab.health.state(), State::Up);
    assert!(matches!(lab.events[..], [Event { from: State::Checking, why: Why::Unmonitored, .. }]));
    assert_eq!(lab.health.poll_timeout(), None);
}

//= test HM-MAINT-02
#[test]
fn one_maintenance_answer_is_enough_and_successes_end_it() {
    let mut lab = Lab::new(&[Timing::default()], 1, |now, _| {
        if (20 * S..50 * S).contains(&now) { maintenance() } else { Outcome::Pass }
    });
    lab.run_until(32 * S);
    assert_eq!(lab.health.state(), State::Maintenance);
    assert_eq!(lab.went(State::Down), 0, "maintenance is not a failure");
    lab.run_until(80 * S);
    assert_eq!(lab.health.state(), State::Up);
}

//= test HM-PASSIVE-01
#[test]
fn traffic_marks_a_server_down_by_count_and_share_together() {
    for (traffic, down) in [
        (Traffic { ok: 0, failed: 2, status_5xx: 0 }, false),
        (Traffic { ok: 0, failed: 3, status_5xx: 0 }, true),
        (Traffic { ok: 3, failed: 3, status_5xx: 0 }, false),
        (Traffic { ok: 2, failed: 3, status_5xx: 0 }, true),
        (Traffic { ok: 0, failed: 0, status_5xx: 100 }, false),
    ] {
        let mut lab = Lab::new(&[], 1, |_, _| Outcome::Pass);
        lab.health.handle_traffic(Now(1), traffic);
        assert_eq!(lab.health.state() == State::Down, down, "{traffic:?}");
    }
    let rule = PassiveRule { count_5xx: true, ..PassiveRule::default() };
    let mut health = ServerHealth::new(&[], rule, 1, Now(0));
    health.handle_traffic(Now(1), Traffic { ok: 0, failed: 0, status_5xx: 3 });
    assert_eq!(health.state(), State::Down);
}

//= test HM-PASSIVE-01
#[test]
fn failures_spread_over_more_than_the_window_do_not_add_up() {
    let mut lab = Lab::new(&[], 1, |_, _| Outcome::Pass);
    for n in 0..100 {
        lab.health.handle_traffic(Now(n * 6 * S), Traffic { ok: 0, failed: 1, status_5xx: 0 });
        assert_eq!(lab.health.state(), State::Up, "failure {n}");
    }
}

//= test HM-PASSIVE-02
#[test]
fn a_server_that_traffic_marked_down_is_probed_at_once_and_returns_when_confirmed() {
    let mut lab = Lab::new(&[Timing::default()], 1, |_, _| Outcome::Pass);
    lab.run_until(13 * S);
    let before = lab.starts.len();
    lab.health.handle_traffic(Now(13 * S), Traffic { ok: 0, failed: 3, status_5xx: 0 });
    assert_eq!(lab.health.state(), State::Down);
    lab.run_until(13 * S + 10_000);
    assert_eq!(lab.starts.len(), before + 2, "probed in sequence");
    assert_eq!(lab.health.state(), State::Up);
    assert!(lab.events.iter().any(|event| event.why == Why::Traffic { failures: 3, tried: 3 }));
}

//= test HM-PASSIVE-03
#[test]
fn without_a_monitor_a_tripped_server_is_tried_again_after_2_4_8_to_60_seconds() {
    let mut lab = Lab::new(&[], 1, |_, _| Outcome::Pass);
    let mut waits = Vec::new();
    for _ in 0..8 {
        lab.health.handle_traffic(Now(lab.now), Traffic { ok: 0, failed: 3, status_5xx: 0 });
        assert_eq!(lab.health.state(), State::Down);
        let until = lab.health.poll_timeout().expect("it is tried again");
        waits.push((until.0 - lab.now) / S);
        lab.run_until(until.0);
        assert_eq!(lab.health.state(), State::Up);
    }
    assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60, 60]);
    lab.run_until(lab.now + 61 * S);
    lab.health.handle_traffic(Now(lab.now), Traffic { ok: 0, failed: 3, status_5xx: 0 });
    assert_eq!(
        lab.health.poll_timeout().expect("tried again").0 - lab.now,
        2 * S,
        "a quiet minute resets it"
    );
}

//= test HM-FLAP-01
#[test]
fn a_server_that_flaps_is_held_and_the_event_says_until_when() {
    let timing = Timing {
        send_interval_s: 2,
        receive_timeout_s: 1,
        successful_checks: 1,
        failed_checks: 1,
        quick_start: true,
    };
    let mut lab =
        Lab::new(
            &[timing],
            1,
            |now, _| if (now / (5 * S)).is_multiple_of(2) { Outcome::Pass } else { failure() },
        );
    lab.run_until(3_600 * S);
    let holds: Vec<u64> =
        lab.events.iter().filter_map(|e| Some((e.held_until?.0 - e.at.0) / S)).take(7).collect();
    assert_eq!(holds, [10, 20, 40, 80, 160, 300, 300]);
    assert!(lab.went(State::Up) <= 3 + 5 + 12, "{} times up in an hour", lab.went(State::Up));
}

//= test HM-FLAP-02
#[test]
fn a_repaired_server_is_back_within_the_longest_hold_and_is_forgiven() {
    let timing = Timing {
        send_interval_s: 2,
        receive_timeout_s: 1,
        successful_checks: 1,
        failed_checks: 1,
        quick_start: true,
    };
    let mut lab = Lab::new(&[timing], 1, |now, _| {
        let flapping = now < 1_800 * S && now / (5 * S) % 2 == 1;
        if flapping || now / S == 3_000 || now / S == 3_001 || now / S == 3_002 {
            failure()
        } else {
            Outcome::Pass
        }
    });
    lab.run_until(1_800 * S + 303 * S);
    assert_eq!(lab.health.state(), State::Up);
    lab.run_until(3_100 * S);
    let last_down = lab.events.iter().rfind(|event| event.to == State::Down).expect("it failed at 3,000 s");
    assert!(last_down.at.0 >= 3_000 * S);
    assert_eq!(last_down.held_until, None, "15 minutes up forgave all of it");
    assert_eq!(lab.health.state(), State::Up);
}

fn any_timing() -> impl Strategy<Value = Timing> {
    (2_u32..30, 1_u8..5, 1_u8..5, any::<bool>()).prop_map(|(interval, failed, successful, quick_start)| {
        Timing {
            send_interval_s: interval,
            receive_timeout_s: interval - 1,
            failed_checks: failed,
            successful_checks: successful,
            quick_start,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    //= test HM-COUNT-01
    //= test HM-COUNT-02
    //= test HM-MAINT-02
    #[test]
    fn one_monitor_agrees_with_counting_by_hand(
        timing in any_timing(),
        seed in any::<u64>(),
        outcomes in prop::collection::vec(0_u8..8, 1..120),
    ) {
        let mut probe = Probe::new(timing, seed, Now(0));
        let mut expected = ProbeState::Checking;
        let (mut passes, mut failures) = (0, 0);
        for outcome in outcomes {
            let now = probe.poll_timeout();
            let Some(Due::Start(attempt)) = probe.handle_timeout(now) else { panic!("it is due") };
            let outcome = match outcome {
                0..=3 => {
                    (passes, failures) = (passes + 1, 0);
                    if passes >= timing.successful_checks { expected = ProbeState::Up }
                    Outcome::Pass
                }
                4..=6 => {
                    (passes, failures) = (0, failures + 1);
                    if failures >= timing.failed_checks { expected = ProbeState::Down }
                    failure()
                }
                _ => {
                    (passes, failures) = (0, 0);
                    expected = ProbeState::Maintenance;
                    maintenance()
                }
            };
            prop_assert!(probe.handle_result(now, attempt, &outcome));
            prop_assert_eq!(probe.state(), expected);
        }
    }

    //= test HM-SPREAD-01
    //= test HM-TIME-02
    #[test]
    fn probes_keep_their_interval_within_the_jitter_and_never_overlap(
        timing in any_timing(),
        seed in any::<u64>(),
        answer_us in 0_u64..2_000_000,
        outcomes in prop::collection::vec(0_u8..8, 1..50),
    ) {
        let mut n = 0;
        let mut lab = Lab::new(&[timing], seed, move |_, _| {
            n += 1;
            if outcomes[n % outcomes.len()] < 4 { Outcome::Pass } else { failure() }
        });
        lab.answer_us = answer_us;
        lab.run_until(400 * S);
        let interval = u64::from(timing.send_interval_s) * S;
        // A new server is asked in quick succession until its first verdict, and so often at most.
        let quick_attempts = match timing.quick_start {
            true => 2 * (usize::from(timing.successful_checks) + usize::from(timing.failed_checks)),
            false => 0,
        };
        let verdict = lab.events.first().map_or(u64::MAX, |event| event.at.0);
        for (n, pair) in lab.starts.windows(2).enumerate() {
            let gap = pair[1].0 - pair[0].0;
            if n < quick_attempts && pair[0].0 <= verdict {
                continue;
            }
            prop_assert!(gap * 100 >= interval * 95 && gap * 100 <= interval * 105 + 100, "{} of {}", gap, interval);
        }
    }

    //= test HM-FLAP-01
    #[test]
    fn no_server_comes_up_more_often_than_once_a_minute_beyond_its_free_flaps(
        seed in any::<u64>(),
        pattern in prop::collection::vec(any::<bool>(), 1..64),
    ) {
        let timing = Timing { send_interval_s: 1, receive_timeout_s: 1, successful_checks: 1, failed_checks: 1, quick_start: true };
        let mut n = 0;
        let mut lab = Lab::new(&[timing], seed, move |_, _| {
            n += 1;
            if pattern[n % pattern.len()] { Outcome::Pass } else { failure() }
        });
        lab.run_until(3_600 * S);
        let most = 3_600 / 60 + 1 + 3;
        prop_assert!(lab.went(State::Up) <= most, "{} times up", lab.went(State::Up));
    }
}
