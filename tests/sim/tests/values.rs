//! Values that are no servers, between a few engines.

mod bench;

use bench::{Bench, MS, SECOND, key};
use forebay_core::table::GroupMillis;
use forebay_objsync::{Bounds, Input, Output};
use forebay_sim::slot;

fn group(b: &Bench, on: u8) -> GroupMillis {
    b.nodes[&on].engine.group_time(b.nodes[&on].now(b.at))
}

/// Writes bytes under a key on one engine, which is told.
fn write(b: &mut Bench, on: u8, n: u32, value: &[u8], ticket: Option<u64>) {
    let time = group(b, on);
    let node = b.nodes.get_mut(&on).unwrap();
    let id = node.tables.value_id(0);
    let whole = node.tables.catalog.key(id, key(n));
    node.tables.values.write(slot(on), &whole, key(n), Some(value), time).unwrap();
    b.input(on, Input::Changed(id, key(n), ticket));
}

/// Counts one more; the engine is told if `tell`.
fn count(b: &mut Bench, on: u8, n: u32, tell: bool) {
    let time = group(b, on);
    let node = b.nodes.get_mut(&on).unwrap();
    let id = node.tables.value_id(1);
    let whole = node.tables.catalog.key(id, key(n));
    node.tables.values.add(slot(on), &whole, key(n), 1, time).unwrap();
    if tell {
        b.input(on, Input::Changed(id, key(n), None));
    }
}

fn held(b: &Bench, on: u8, n: u32) -> (Option<Vec<u8>>, u64) {
    let time = group(b, on);
    let tables = &b.nodes[&on].tables;
    let whole = |table: usize| tables.catalog.key(tables.value_id(table), key(n));
    let bytes = tables.values.get(&whole(0), key(n), time).map(<[u8]>::to_vec);
    (bytes, tables.values.sum(&whole(1), key(n), time))
}

/// What the engine keeps under a key from now on lives for so long.
fn lives(b: &mut Bench, on: u8, life_ms: u64) {
    let node = b.nodes.get_mut(&on).unwrap();
    let id = node.tables.value_id(0);
    node.tables.values.define(id, life_ms);
}

//= test SYNC-VALUE-01
#[test]
fn what_was_replaced_does_not_come_back_when_its_successor_has_ended() {
    let mut b = Bench::connected(3);
    lives(&mut b, 1, 20_000);
    for n in [1, 2] {
        write(&mut b, 0, n, b"before", None);
    }
    b.pass(3 * SECOND);
    // The third one does not hear what takes its place: a write of one who heard of it, and one of one who did not.
    b.cut(0, 2);
    b.cut(1, 2);
    write(&mut b, 1, 1, b"after", None);
    b.cut(0, 1);
    write(&mut b, 0, 3, b"before", None);
    b.pass(SECOND);
    write(&mut b, 1, 3, b"after", None);
    b.pass(SECOND);
    b.connect(0, 2);
    b.pass(3 * SECOND);
    assert_eq!(held(&b, 2, 3).0, Some(b"before".to_vec()));
    b.cut(0, 2);
    b.connect(0, 1);
    b.pass(40 * SECOND);
    b.connect(0, 2);
    b.connect(1, 2);
    b.pass(12 * SECOND);
    for on in 0..3 {
        for n in [1, 3] {
            assert_eq!(held(&b, on, n).0, Some(b"after".to_vec()), "{n} on {on}");
        }
        assert_eq!(held(&b, on, 2).0, Some(b"before".to_vec()), "nobody has replaced it");
    }
    b.pass(80 * SECOND);
    assert!((0..3).all(|on| [1, 2, 3].iter().all(|n| held(&b, on, *n).0.is_none())), "all has ended");
}

//= test SYNC-VALUE-02
#[test]
fn values_are_told_and_compared_and_an_earlier_release_is_told_nothing_of_them() {
    let mut b = Bench::new(0, Bounds::default());
    for (n, speaks) in [(0, 3), (1, 2), (2, 3)] {
        b.speaks = speaks;
        b.start(n, 3, Bounds::default());
    }
    b.connect_all();
    b.pass(3 * SECOND);
    b.said.clear();
    write(&mut b, 0, 1, b"one", Some(7));
    b.bind(0, 2, 3);
    for _ in 0..5 {
        count(&mut b, 0, 1, true);
        count(&mut b, 2, 1, true);
    }
    b.pass(5 * MS);
    assert_eq!((held(&b, 2, 1), held(&b, 0, 1)), ((Some(b"one".to_vec()), 10), (Some(b"one".to_vec()), 10)));
    assert_eq!((held(&b, 1, 1), b.server(1, 2)), ((None, 0), Some(3)), "all else it is told");
    assert_eq!(b.said, [(0, Output::Acknowledged { ticket: 7, by: slot(2) })]);
    // What nobody was told of is found by comparing.
    count(&mut b, 0, 1, false);
    b.cut(0, 2);
    for n in 0..300 {
        write(&mut b, 0, n, &[7; 3_000], None);
        count(&mut b, 2, n, true);
    }
    b.connect(0, 2);
    b.pass(12 * SECOND);
    assert!((0..300).all(|n| held(&b, 2, n) == held(&b, 0, n) && held(&b, 2, n).0.is_some()));
    assert_eq!(held(&b, 2, 1).1, 12);
    assert_eq!(held(&b, 1, 1), (None, 0));
    for (on, peer) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
        let peer = b.nodes[&on].engine.peer(slot(peer)).unwrap();
        assert!(peer.synced && peer.differing == 0, "{on}: {peer:?}");
    }
    // And in peace that costs nothing.
    let repaired = |b: &Bench| [0, 1, 2].map(|n| b.nodes[&n].engine.figures().repaired);
    let before = repaired(&b);
    b.pass(21 * SECOND);
    assert_eq!(repaired(&b), before);
}
