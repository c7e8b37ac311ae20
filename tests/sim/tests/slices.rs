//! Comparisons that are read a slice at a time.

mod bench;

use bench::{Bench, MS, SECOND};
use forebay_core::table::WriteKind;
use forebay_objsync::limits::{PROTOCOL, WAITING_BYTES};
use forebay_objsync::wire::{Frame, Head, Hello, Step, Sums, split};
use forebay_objsync::{Bounds, Input, Output};
use forebay_sim::slot;

/// Two engines that are in sync and read as little at once as they can.
fn bench() -> Bench {
    let mut b = Bench::new(2, Bounds { slice: 1, ..Bounds::default() });
    b.connect_all();
    for n in 0..300 {
        b.bind(0, n, 1);
    }
    b.pass(8 * SECOND);
    assert!(b.is_synced(0, 1) && b.is_synced(1, 0));
    // From now on they compare when they are asked to.
    b.nodes.values_mut().for_each(|node| node.engine.compare_every(3_600_000));
    b.pass(12 * SECOND);
    b
}

/// What an engine has said that is under way, frame by frame.
fn said(b: &Bench, by: u8) -> String {
    let of = |bytes: &[u8]| match Frame::decode(split(bytes).unwrap().unwrap().0).unwrap() {
        Frame::Changes(..) => 'c',
        Frame::Sums(..) => 'S',
        Frame::Cells(..) => 'C',
        _ => '-',
    };
    b.under_way.iter().filter(|(_, from, ..)| *from == by).map(|(.., bytes)| of(bytes)).collect()
}

//= test SYNC-SLICE-01
#[test]
fn what_changes_while_a_range_is_read_is_told_before_the_range_has_been_read() {
    let mut b = bench();
    assert!(b.under_way.is_empty());
    b.takes = 500 * MS;
    b.input(0, Input::Verify);
    assert_eq!(said(&b, 0), "", "a quarter has been read");
    b.bind(0, 1_000, 2);
    b.input(0, Input::Tick);
    assert_eq!(said(&b, 0), "c", "two quarters");
    b.input(0, Input::Tick);
    b.input(0, Input::Tick);
    assert_eq!(said(&b, 0), "cS");
    // And so with who answers.
    let frames = std::mem::take(&mut b.under_way);
    for (_, from, to, bytes) in &frames {
        b.deliver(*from, *to, bytes);
    }
    assert!(!said(&b, 1).contains('C'), "a quarter has been read");
    b.bind(1, 1_001, 3);
    b.input(1, Input::Tick);
    assert!(said(&b, 1).contains('c') && !said(&b, 1).contains('C'), "{}", said(&b, 1));
    b.input(1, Input::Tick);
    b.input(1, Input::Tick);
    assert!(said(&b, 1).ends_with('C'), "{}", said(&b, 1));
    b.takes = MS;
    b.pass(5 * SECOND);
    assert_eq!((b.server(1, 1_000), b.server(0, 1_001)), (Some(2), Some(3)));
}

//= test SYNC-SLICE-01
#[test]
fn what_differs_is_found_in_whichever_slice_it_is_and_what_is_equal_is_called_so() {
    let mut b = bench();
    b.input(0, Input::Verify);
    b.pass(3 * SECOND);
    let verified = |b: &Bench| b.said.contains(&(0, Output::Verified(slot(1))));
    assert!(verified(&b));
    let differing = |b: &Bench| {
        b.nodes[&0]
            .engine
            .verdict(slot(1))
            .expect("there was a comparison")
            .tables
            .iter()
            .map(|t| t.differing)
            .sum::<u32>()
    };
    assert_eq!(differing(&b), 0);
    // Nobody is told of these.
    for n in 2_000..2_100 {
        b.put(0, n, 4, WriteKind::First);
    }
    b.pass(5 * SECOND);
    b.said.clear();
    b.input(0, Input::Verify);
    b.pass(3 * SECOND);
    assert!(verified(&b) && differing(&b) >= 90, "{}", differing(&b));
    assert!((2_000..2_100).all(|n| b.server(1, n) == Some(4)));
}

//= test SYNC-SLICE-01
#[test]
fn who_asks_faster_than_slices_are_read_costs_no_memory_without_end() {
    let mut b = bench();
    b.cut(0, 1);
    b.input(1, Input::Up(slot(0)));
    let clock = b.nodes[&1].engine.group_time(b.nodes[&1].now(b.at));
    let hello =
        Hello { protocol: PROTOCOL, protocol_min: 1, features: 0, slot: slot(0), boot: 9, group: 77, clock };
    b.input(1, Input::Frame(slot(0), &Frame::Hello(hello).encode()[4..]));
    let groups: Vec<_> = (0..64).map(|group| (group, [1; 16])).collect();
    let mut most = 0;
    for number in 1..8_000u64 {
        let step = Step { round: number as u32, fresh: false, range: (number % 64) as u8 };
        let sums = vec![Sums { table: 11, groups: groups.clone() }];
        let frame = Frame::Sums(Head { clock, number, ack: 0 }, step, sums).encode();
        b.input(1, Input::Frame(slot(0), &frame[4..]));
        b.under_way.clear();
        most = most.max(b.nodes[&1].engine.peer(slot(0)).expect("it is there").asked);
    }
    assert!(most > WAITING_BYTES && most < WAITING_BYTES + 4_096, "{most}");
}
