//! When an entry begins, is extended and ends.

use super::*;

//= test TBL-OPEN-02
#[test]
fn the_countdown_starts_when_the_last_of_overlapping_connections_closes() {
    let mut b = Bench::small();
    b.put(b.own, 1, 0).unwrap();
    assert!(b.open(b.own, 1).unwrap().first);
    b.pass(8_000);
    assert!(!b.open(b.own, 1).unwrap().first);
    b.pass(8_000);
    assert_eq!(b.close(b.own, 1), Some(Closed { last_here: false, last: false }));
    b.pass(500_000);
    assert_eq!(b.get(b.own, 1), Some(b.servers[0]));
    assert_eq!(b.sweep().expired, 0);
    assert_eq!(b.close(b.own, 1), Some(Closed { last_here: true, last: true }));
    b.pass(9_999);
    assert_eq!(b.get(b.own, 1), Some(b.servers[0]));
    b.pass(251);
    assert_eq!(b.get(b.own, 1), None);
}

//= test TBL-OPEN-03
#[test]
fn the_countdown_waits_for_connections_on_other_engines() {
    let mut b = Bench::small();
    b.put(b.shared, 1, 0).unwrap();
    b.open(b.shared, 1);
    assert!(b.elsewhere(b.shared, 1, 9, true));
    assert_eq!(b.close(b.shared, 1), Some(Closed { last_here: true, last: false }));
    b.pass(100_000);
    assert_eq!((b.get(b.shared, 1), b.sweep().expired), (Some(b.servers[0]), 0));
    assert!(b.elsewhere(b.shared, 1, 9, false));
    b.pass(9_999);
    assert!(b.get(b.shared, 1).is_some());
    b.pass(251);
    assert!(b.get(b.shared, 1).is_none());
    assert!(!b.elsewhere(b.shared, 2, 9, true), "an unknown key");
    b.verify();
}

//= test TBL-OPEN-02
#[test]
fn what_has_ended_elsewhere_long_ago_is_idle_since_then_or_since_a_later_use_here() {
    let mut b = Bench::small();
    for n in [1, 2] {
        b.put(b.shared, n, 0).unwrap();
        assert!(b.elsewhere(b.shared, n, 9, true));
    }
    b.open(b.shared, 2);
    b.pass(3_000);
    let since = b.now;
    b.close(b.shared, 2);
    b.pass(4_000);
    let engine = EngineSlot::new(9).unwrap();
    for (n, since) in [(1, since), (2, Now(0))] {
        let key = b.key(b.shared, n);
        assert!(b.part.open_elsewhere(&b.catalog, &key, engine, Some(since), b.now));
    }
    b.pass(5_999);
    assert!(b.get(b.shared, 1).is_some() && b.get(b.shared, 2).is_some());
    b.pass(251);
    assert!(b.get(b.shared, 1).is_none() && b.get(b.shared, 2).is_none());
    b.verify();
}

#[test]
fn nobody_but_this_engine_says_what_is_open_here() {
    let mut b = Bench::small();
    b.put(b.shared, 1, 0).unwrap();
    b.open(b.shared, 1);
    assert!(b.elsewhere(b.shared, 1, 0, false));
    assert_eq!(b.entry(b.shared, 1).unwrap().record.open, 1);
}

//= test TBL-OPEN-01
#[test]
fn opening_what_is_not_there_counts_nothing() {
    let mut b = Bench::small();
    assert_eq!((b.open(b.own, 1), b.close(b.own, 1)), (None, None));
    b.put(b.own, 1, 0).unwrap();
    assert_eq!(b.close(b.own, 1), None);
    b.pass(10_251);
    assert_eq!(b.open(b.own, 1), None, "over, though not swept");
}

//= test TBL-OPEN-01
#[test]
fn connections_beyond_the_inline_count_are_counted_too() {
    let mut b = Bench::small();
    b.put(b.own, 1, 0).unwrap();
    let many = limits::OPEN_INLINE_MAX + 3;
    for _ in 0..many {
        b.open(b.own, 1);
    }
    assert_eq!(b.entry(b.own, 1).unwrap().connections, many);
    for i in 0..many {
        let last = i == many - 1;
        assert_eq!(b.close(b.own, 1), Some(Closed { last_here: last, last }), "{i}");
    }
    assert_eq!((b.close(b.own, 1), b.part.stats().held), (None, 0));
}

//= test TBL-EXPIRY-01, TBL-GET-01
#[test]
fn an_entry_never_ends_early_and_at_most_a_quarter_second_late() {
    for offset in 0..40u64 {
        let mut b = Bench::small();
        b.now = Now(b.now.0 + offset * 6_250);
        b.put(b.own, 1, 0).unwrap();
        b.pass(10_000);
        assert!(b.get(b.own, 1).is_some(), "early at {offset}");
        assert_eq!(b.sweep().expired, 0);
        b.pass(250);
        assert!(b.get(b.own, 1).is_none(), "late at {offset}");
        assert_eq!(b.sweep().expired, 1);
    }
}

//= test TBL-GET-01
#[test]
fn a_look_up_is_right_though_the_hand_never_came_by() {
    let mut b = Bench::small();
    b.put(b.own, 1, 0).unwrap();
    b.pass(3_600_000);
    assert_eq!(b.get(b.own, 1), None);
    b.put(b.own, 1, 2).unwrap();
    assert_eq!(b.get(b.own, 1), Some(b.servers[2]));
}

//= test TBL-GET-01
#[test]
fn a_look_up_is_right_whenever_the_hand_came_by() {
    for gap in (500..15_000).step_by(500) {
        let mut b = Bench::small();
        b.put(b.own, 1, 0).unwrap();
        let mut passed = 0;
        while passed <= 12_000 {
            let alive = passed <= 10_000;
            assert_eq!(b.get(b.own, 1).is_some(), alive, "{passed} ms, hand every {gap} ms");
            b.pass(500);
            passed += 500;
            if passed % gap == 0 && passed <= 10_000 {
                b.sweep();
            }
        }
    }
}

//= test TBL-EXPIRY-02
#[test]
fn the_hand_takes_its_turn_in_slices() {
    let mut b = Bench::small();
    for n in 0..15 {
        b.put(b.own, n, 0).unwrap();
    }
    b.pass(20_000);
    let (mut slices, mut expired) = (0, 0);
    loop {
        let swept = b.part.sweep(&b.catalog, b.now, 3);
        (slices, expired) = (slices + 1, expired + swept.expired);
        assert!(swept.expired <= 9);
        if swept.turn_done {
            break;
        }
    }
    assert_eq!((slices, expired), (b.geometry.buckets().div_ceil(3), 15));
    assert_eq!(b.part.stats().entries, 0);
}

//= test TBL-TOUCH-01
#[test]
fn a_touch_starts_the_countdown_over() {
    let mut b = Bench::small();
    b.put(b.own, 1, 3).unwrap();
    for _ in 0..10 {
        b.pass(9_000);
        assert_eq!(b.touch(b.own, 1), Some(b.servers[3]));
    }
    b.pass(10_251);
    assert_eq!(b.touch(b.own, 1), None);
}

#[test]
fn each_entry_lives_as_long_as_its_class_says() {
    let mut b = Bench::small();
    for class in 0..3 {
        let write = Write { class: Class::new(class).unwrap(), ..Write::first(b.servers[0]) };
        b.write(b.own, u32::from(class), write).unwrap();
    }
    let write = Write { class: Class::new(9).unwrap(), ..Write::first(b.servers[0]) };
    b.write(b.own, 9, write).unwrap();
    b.pass(10_251);
    let alive = |b: &Bench| [0, 1, 2, 9].map(|n| b.get(b.own, n).is_some());
    assert_eq!(alive(&b), [false, true, true, false]);
    b.pass(60_000);
    assert_eq!(alive(&b), [false, false, true, false]);
    b.sweep();
    for _ in 0..40 {
        b.pass(1_000 * 3_600 * 24 * 365);
        b.sweep();
    }
    assert_eq!(alive(&b), [false, false, true, false], "after 40 years");
    assert_eq!(b.entry(b.own, 2).unwrap().left_ms, None);
}

#[test]
fn a_life_of_zero_ends_with_the_last_connection() {
    let mut b = Bench::small();
    let settings = TableSettings { name: 8, lives: vec![Lifetime::For(Seconds(0))], synced: false };
    let table = b.catalog.define(&settings).unwrap();
    b.part.adopt(&b.catalog, b.now);
    b.put(table, 1, 0).unwrap();
    b.open(table, 1);
    b.pass(50_000);
    assert!(b.get(table, 1).is_some());
    b.close(table, 1);
    b.pass(250);
    assert_eq!(b.get(table, 1), None);
}

#[test]
fn a_thread_whose_clock_reading_is_older_ends_nothing() {
    let mut b = Bench::small();
    let earlier = b.now;
    b.pass(1_000);
    b.put(b.own, 1, 0).unwrap();
    let key = b.key(b.own, 1);
    assert_eq!(b.part.get(&b.catalog, &key, earlier), Some(b.servers[0]));
    assert_eq!(b.part.sweep(&b.catalog, earlier, u32::MAX).expired, 0);
    assert_eq!(b.get(b.own, 1), Some(b.servers[0]));
}

#[test]
fn the_first_choice_holds_and_a_move_replaces_it() {
    let mut b = Bench::small();
    assert_eq!(b.put(b.own, 1, 0).unwrap().outcome, Outcome::Created);
    assert_eq!(b.put(b.own, 1, 1).unwrap().outcome, Outcome::Held(b.servers[0]));
    let moved = Write::moved(b.servers[2]);
    assert_eq!(b.write(b.own, 1, moved).unwrap().outcome, Outcome::Replaced(b.servers[0]));
    assert_eq!(b.write(b.own, 1, moved).unwrap().outcome, Outcome::Same);
    assert_eq!(b.get(b.own, 1), Some(b.servers[2]));
    b.pass(10_251);
    assert_eq!(b.put(b.own, 1, 1).unwrap().outcome, Outcome::Created);
}

//= test TBL-REMOVE-01
#[test]
fn a_removed_entry_keeps_counting_the_connections_that_are_open() {
    let mut b = Bench::small();
    b.put(b.own, 1, 0).unwrap();
    b.open(b.own, 1);
    b.open(b.own, 1);
    assert_eq!(b.remove(b.own, 1), Some(b.servers[0]));
    assert_eq!((b.get(b.own, 1), b.remove(b.own, 1)), (None, None));
    b.put(b.own, 1, 1).unwrap();
    b.close(b.own, 1);
    b.pass(60_000);
    assert_eq!(b.get(b.own, 1), Some(b.servers[1]), "one connection is still open");
    b.remove(b.own, 1);
    b.close(b.own, 1);
    assert_eq!(b.part.stats().entries, 0, "nothing to remember");
}
