//! A peer that was lost and is back: what was written meanwhile.

mod bench;

use bench::{Bench, MS, SECOND};
use forebay_objsync::Input;
use forebay_objsync::wire::{Frame, split};

const WRITTEN: u32 = 200;

/// Two engines that lost each other for a while, and wrote: clients from 10,000 on the first one, from 20,000 on the other.
fn apart() -> Bench {
    let mut b = Bench::connected(2);
    for n in 0..1_000 {
        b.bind(n as u8 % 2, n, 1);
    }
    b.pass(8 * SECOND);
    b.cut(0, 1);
    b.pass(3 * SECOND);
    for n in 0..WRITTEN {
        b.bind(0, 10_000 + n, 2);
        b.bind(1, 20_000 + n, 3);
    }
    b.pass(SECOND);
    b
}

/// Lets them meet again, and counts frames that list entries and those that carry them until the tables are equal.
fn meet(b: &mut Bench) -> (usize, u64) {
    let repaired = |b: &Bench| b.nodes.values().map(|n| n.engine.figures().repaired).sum::<u64>();
    let (mut lists, before) = (0, repaired(b));
    b.connect(0, 1);
    for _ in 0..2_000 {
        b.pass(MS);
        let is_list = |bytes: &[u8]| {
            let (frame, _) = split(bytes).unwrap().unwrap();
            matches!(Frame::decode(frame), Ok(Frame::Lists(..)))
        };
        lists += b.under_way.iter().filter(|(at, .., bytes)| *at == b.at + b.takes && is_list(bytes)).count();
    }
    for n in 0..WRITTEN {
        assert_eq!((b.server(1, 10_000 + n), b.server(0, 20_000 + n)), (Some(2), Some(3)), "{n}");
    }
    assert!(b.is_synced(0, 1) && b.is_synced(1, 0));
    (lists, repaired(b) - before)
}

//= test SYNC-RESUME-01
#[test]
fn who_is_back_is_told_what_was_written_meanwhile_and_nothing_is_left_to_compare() {
    let mut b = apart();
    b.connect(0, 1);
    // There and back: who it is, and what was written.
    b.pass(5 * MS);
    assert_eq!((b.server(1, 10_000), b.server(0, 20_000)), (Some(2), Some(3)));
    let mut b = apart();
    assert_eq!(meet(&mut b), (0, u64::from(2 * WRITTEN)));
}

//= test SYNC-RESUME-01
#[test]
fn what_was_written_before_a_short_loss_is_not_told_again() {
    let mut b = Bench::connected(2);
    for n in 0..1_000 {
        b.bind(0, n, 1);
    }
    b.pass(8 * SECOND);
    for _ in 0..5 {
        b.cut(0, 1);
        b.pass(100 * MS);
        b.connect(0, 1);
        b.pass(SECOND);
    }
    assert!(b.is_synced(0, 1));
    let repaired: u64 = b.nodes.values().map(|n| n.engine.figures().repaired).sum();
    assert_eq!(repaired, 0);
}

//= test SYNC-RESUME-01
#[test]
fn who_was_restarted_is_compared_with_and_gets_all() {
    let mut b = apart();
    b.start(1, 2, Default::default());
    b.connect(0, 1);
    b.pass(3 * SECOND);
    assert!((0..1_000).all(|n| b.server(1, n) == Some(1)));
    assert!((0..WRITTEN).all(|n| b.server(1, 10_000 + n) == Some(2)));
}

//= test SYNC-SLOT-01
#[test]
fn who_stood_still_takes_nothing_for_used_that_ended_elsewhere_meanwhile() {
    // Either leads the comparison; it reads what had come meanwhile, or looks at its clock first; they meet at once, or later.
    for case in 0..8 {
        let (still, other) = if case & 1 == 0 { (0, 1) } else { (1, 0) };
        let mut b = Bench::connected(2);
        for n in [1, 2] {
            b.bind(other, n, 1);
            b.open(other, n);
        }
        b.pass(2 * SECOND);
        let node = b.nodes.remove(&still).unwrap();
        b.takes = 1_000 * SECOND;
        b.close(other, 1);
        b.pass(100 * SECOND);
        b.sweep();
        let used = |b: &mut Bench, on| [1, 2].map(|n| b.server(on, n));
        assert_eq!(used(&mut b, other), [None, Some(1)]);
        b.nodes.insert(still, node);
        b.takes = MS;
        let now = b.at;
        b.under_way.iter_mut().for_each(|(at, ..)| *at = now);
        assert!(!b.under_way.is_empty());
        if case & 2 != 0 {
            b.input(still, Input::Tick);
        }
        b.pass(MS);
        b.cut(0, 1);
        if case & 4 != 0 {
            b.pass(6 * SECOND);
        }
        b.connect(0, 1);
        b.pass(3 * SECOND);
        b.sweep();
        assert_eq!(used(&mut b, still), [None, Some(1)], "{case}");
        assert_eq!(used(&mut b, other), [None, Some(1)], "{case}");
    }
}
