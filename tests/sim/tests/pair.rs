//! Two or three engines and the frames between them, rule by rule.

mod bench;

use bench::{Bench, MS, SECOND, key};
use forebay_core::table::{Record, WriteKind};
use forebay_objsync::wire::{Frame, Head};
use forebay_objsync::{Bounds, Event, Input, Output, Shards, Why};
use forebay_sim::slot;

//= test SYNC-TELL-01
#[test]
fn a_key_that_changes_often_is_told_once_and_as_it_is_then() {
    let mut b = Bench::connected(3);
    b.bind(0, 1, 1);
    b.put(0, 1, 2, WriteKind::Move);
    b.changed(0, 1, None);
    b.put(0, 1, 3, WriteKind::Move);
    b.changed(0, 1, None);
    b.pass(3 * MS);
    assert_eq!((b.server(1, 1), b.server(2, 1)), (Some(3), Some(3)));
    assert_eq!(b.nodes[&0].engine.figures().told, 2, "once to each");
}

//= test SYNC-RENEW-01
#[test]
fn an_engine_that_gets_a_table_late_gets_what_was_written_a_moment_before() {
    for (late, other) in [(0, 1), (1, 0)] {
        let mut b = Bench::connected(2);
        let tables = std::mem::take(&mut b.nodes.get_mut(&late).expect("it is there").tables.shared);
        b.bind(other, 1, 3);
        b.changed(other, 1, None);
        b.pass(SECOND);
        b.nodes.get_mut(&late).expect("it is there").tables.shared = tables;
        assert_eq!(b.server(late, 1), None, "it was told before there was a place for it");
        // As a driver does that hears of another engine's tables.
        b.nodes.get_mut(&other).expect("it is there").engine.offer_again(slot(late));
        b.input(late, Input::Renewed);
        b.pass(SECOND / 5);
        assert!(b.is_synced(0, 1) && b.is_synced(1, 0));
        assert_eq!(b.server(late, 1), Some(3));
    }
}

//= test SYNC-JOIN-01
#[test]
fn engines_without_tables_are_compared_and_one_that_has_some_joins_them() {
    let mut b = Bench::new(2, Bounds::default());
    let tables = std::mem::take(&mut b.nodes.get_mut(&0).expect("it is there").tables.shared);
    b.nodes.get_mut(&1).expect("it is there").tables.shared.clear();
    b.connect_all();
    b.pass(SECOND);
    assert!((0..2).all(|n| b.nodes[&n].engine.joined()), "nobody waits for what nobody has");
    assert!(b.is_synced(0, 1) && b.is_synced(1, 0));
    // A service comes to both.
    for n in 0..2 {
        b.nodes.get_mut(&n).expect("it is there").tables.shared.clone_from(&tables);
    }
    b.bind(0, 1, 3);
    b.changed(0, 1, None);
    b.pass(SECOND);
    assert_eq!(b.server(1, 1), Some(3));
}

//= test SYNC-DIRTY-01
#[test]
fn what_is_too_much_for_a_peer_that_does_not_answer_is_found_by_comparing() {
    let mut b = Bench::new(2, Bounds { dirty: 4, window: 300, ..Bounds::default() });
    b.connect_all();
    b.pass(3 * SECOND);
    b.takes = 400 * MS;
    for n in 0..100 {
        b.bind(0, n, u64::from(n % 5));
        b.pass(2 * MS);
        let waiting = b.nodes[&0].engine.peer(slot(1)).unwrap();
        assert!(waiting.waiting <= 4 && waiting.in_flight <= 1_000, "{waiting:?}");
    }
    assert!(b.heard(0).contains(&Event::Overflowed(slot(1))));
    b.takes = MS;
    b.pass(10 * SECOND);
    assert!((0..100).all(|n| b.server(1, n) == Some(n % 5)));
    assert!(b.is_synced(0, 1) && b.is_synced(1, 0));
}

//= test SYNC-ACK-01
#[test]
fn what_is_acknowledged_has_been_applied() {
    let mut b = Bench::connected(2);
    b.said.clear();
    b.put(0, 7, 2, WriteKind::First);
    b.changed(0, 7, Some(99));
    let mut seen = false;
    for _ in 0..60 {
        let told = b.said.contains(&(0, Output::Acknowledged { ticket: 99, by: slot(1) }));
        assert!(!told || b.server(1, 7) == Some(2), "acknowledged before it was there");
        seen |= told;
        b.pass(100);
    }
    assert!(seen);
}

//= test SYNC-UNTAKEN-01
//= test SYNC-ACK-01
#[test]
fn what_a_peer_cannot_take_is_not_acknowledged_and_not_sent_again_until_it_can() {
    let mut b = Bench::connected(2);
    b.said.clear();
    // Servers that the other one does not know, both ways.
    for (on, n, server) in [(0, 7, 90), (1, 8, 91), (0, 9, 2)] {
        b.put(on, n, server, WriteKind::First);
        b.changed(on, n, Some(u64::from(n)));
    }
    b.pass(5 * SECOND);
    assert_eq!(b.said, [(0, Output::Acknowledged { ticket: 9, by: slot(1) })]);
    let repaired = |b: &Bench| [0, 1].map(|n: u8| b.nodes[&n].engine.figures().repaired);
    let before = repaired(&b);
    b.pass(22 * SECOND);
    assert_eq!(repaired(&b), before);
    assert_eq!((b.server(1, 7), b.server(0, 8), b.server(1, 9)), (None, None, Some(2)));
    for (on, server) in [(1, 90), (0, 91)] {
        b.nodes.get_mut(&on).unwrap().tables.catalog.server(server);
        b.nodes.get_mut(&(1 - on)).unwrap().engine.offer_again(slot(on));
    }
    b.pass(15 * SECOND);
    assert!(b.server(1, 7).is_some() && b.server(0, 8).is_some(), "it can now");
}

//= test SYNC-ORDER-01
#[test]
fn a_frame_that_comes_twice_is_applied_once_and_a_gap_ends_the_connection() {
    let mut b = Bench::connected(2);
    b.bind(0, 1, 1);
    b.pass(MS / 4);
    let find =
        |b: &Bench| b.under_way.iter().find(|(_, from, to, f)| (*from, *to) == (0, 1) && f[4] == 3).cloned();
    let (_, _, _, first) = find(&b).expect("a frame of changes is under way");
    b.pass(10 * MS);
    b.put(1, 1, 4, WriteKind::Move);
    b.deliver(0, 1, &first);
    assert_eq!(b.nodes[&1].engine.figures().repeated, 1);
    assert_eq!(b.server(1, 1), Some(4));
    b.bind(0, 2, 1);
    b.pass(MS / 4);
    b.under_way.retain(|(_, from, ..)| *from != 0);
    b.bind(0, 3, 1);
    b.said.clear();
    b.pass(10 * MS);
    assert_eq!(b.said, [(1, Output::Close(slot(0), Why::Nonsense))]);
}

//= test SYNC-ANSWER-01
#[test]
fn who_tells_what_is_not_the_last_word_gets_the_last_word() {
    let mut b = Bench::connected(2);
    b.put(1, 1, 4, WriteKind::First);
    b.put(1, 1, 3, WriteKind::Move);
    // Engine 0 has not heard of that.
    b.bind(0, 1, 1);
    b.pass(5 * MS);
    assert_eq!((b.server(0, 1), b.server(1, 1)), (Some(3), Some(3)));
}

//= test SYNC-SLOT-01
#[test]
fn what_an_engine_had_open_counts_as_closed_when_it_is_gone_or_comes_back_as_another() {
    let mut b = Bench::connected(2);
    b.bind(1, 1, 1);
    b.open(1, 1);
    b.pass(20 * SECOND);
    assert_eq!(b.view(0, 1).unwrap().record.open, 0b10);
    b.cut(0, 1);
    b.pass(4 * SECOND);
    assert_eq!(b.view(0, 1).unwrap().record.open, 0b10, "it may be back soon");
    b.pass(SECOND + MS);
    let record = b.view(0, 1).unwrap().record;
    assert!(record.open == 0 && record.age_ms < 1_000, "{record:?}");
    b.connect(0, 1);
    b.pass(SECOND);
    assert_eq!(b.view(0, 1).unwrap().record.open, 0b10, "it has it still");
    b.cut(0, 1);
    b.start(1, 2, Bounds::default());
    b.connect(0, 1);
    b.pass(3 * MS);
    assert_eq!(b.view(0, 1).unwrap().record.open, 0);
}

//= test SYNC-JOIN-01
#[test]
fn an_engine_waits_for_its_tables_and_not_for_ever() {
    let mut b = Bench::new(0, Bounds::default());
    b.start(0, 3, Bounds::default());
    b.start(1, 3, Bounds::default());
    b.connect(0, 1);
    b.pass(9 * SECOND);
    assert!(!b.nodes[&0].engine.joined(), "a member is missing");
    b.pass(2 * SECOND);
    assert!(b.nodes[&0].engine.joined());
    assert_eq!(b.heard(0), [Event::Joined { complete: false }]);
    b.bind(0, 1, 1);
    b.start(2, 3, Bounds::default());
    b.connect(0, 2);
    b.connect(1, 2);
    b.pass(SECOND);
    assert!(b.nodes[&2].engine.joined() && b.heard(2) == [Event::Joined { complete: true }]);
    assert_eq!(b.server(2, 1), Some(1), "joined means that the tables are there");
}

//= test SYNC-HOLD-01
#[test]
fn nothing_ends_before_a_peer_that_is_back_has_said_what_it_has_open() {
    let mut b = Bench::connected(2);
    b.bind(1, 1, 1);
    b.open(1, 1);
    b.bind(0, 2, 1);
    b.pass(SECOND);
    b.cut(0, 1);
    b.pass(6 * SECOND + 59 * SECOND);
    assert_eq!(b.view(0, 1).unwrap().record.open, 0, "it counts down since a minute, nearly");
    b.takes = 2 * SECOND;
    b.connect(0, 1);
    b.pass(3 * SECOND);
    b.sweep();
    assert!(!b.is_synced(0, 1));
    assert_eq!(b.server(0, 1), Some(1), "its minute is over, and it is held");
    b.takes = MS;
    b.pass(6 * SECOND);
    b.sweep();
    assert_eq!(b.view(0, 1).unwrap().record.open, 0b10);
    assert_eq!(b.server(0, 2), None, "what nobody has open ends after that");
}

//= test SYNC-HOLD-01
#[test]
fn a_peer_that_comes_and_goes_holds_entries_for_half_a_minute_and_no_longer() {
    let mut b = Bench::connected(2);
    b.bind(0, 2, 1);
    b.pass(SECOND);
    b.cut(0, 1);
    b.pass(50 * SECOND);
    // Whatever is said arrives too late.
    b.takes = 20 * SECOND;
    for n in 0..12 {
        b.connect(0, 1);
        b.pass(3 * SECOND);
        b.sweep();
        assert!(!b.is_synced(0, 1));
        if n == 4 {
            assert_eq!(b.server(0, 2), Some(1), "its minute is over, and it is held");
        }
        if n == 11 {
            assert_eq!(b.server(0, 2), None, "not for ever");
        }
        b.pass(SECOND);
        b.cut(0, 1);
        b.pass(SECOND);
    }
}

//= test SYNC-TOMBSTONE-01
#[test]
fn a_removal_is_remembered_while_a_member_is_away_that_may_not_know_of_it() {
    let mut b = Bench::connected(2);
    b.bind(0, 1, 1);
    b.pass(SECOND);
    b.open(1, 1);
    b.pass(SECOND);
    b.cut(0, 1);
    b.remove(0, 1);
    for _ in 0..400 {
        b.pass(10 * SECOND);
        b.sweep();
    }
    assert!(b.view(0, 1).unwrap().record.tombstone, "after more than an hour");
    assert_eq!(b.server(1, 1), Some(1));
    b.connect(0, 1);
    b.pass(5 * SECOND);
    assert_eq!((b.server(0, 1), b.server(1, 1)), (None, None));
}

//= test SYNC-ROUND-01
//= test SYNC-STATEMENT-01
#[test]
fn tables_that_grew_apart_become_equal_and_what_is_equal_costs_little() {
    let mut b = Bench::connected(2);
    for n in 0..1_000 {
        b.bind(0, n, 1);
    }
    b.pass(SECOND);
    b.open(0, 5);
    b.pass(SECOND);
    b.cut(0, 1);
    b.bind(0, 2_000, 2);
    b.bind(1, 2_001, 3);
    // Closed while nobody hears of it.
    b.close(0, 5);
    b.pass(SECOND);
    b.connect(0, 1);
    b.pass(2 * SECOND);
    assert_eq!((b.server(1, 2_000), b.server(0, 2_001)), (Some(2), Some(3)));
    assert_eq!(b.view(1, 5).unwrap().record.open, 0);
    let peer = b.nodes[&0].engine.peer(slot(1)).unwrap();
    assert!(peer.synced && peer.differing == 0 && peer.proven.is_some());
    let (a, c) = (b.nodes[&0].engine.figures(), b.nodes[&1].engine.figures());
    assert!(a.repaired + c.repaired <= 3, "{a:?} {c:?}");
}

//= test SYNC-SETTLED-01
#[test]
fn what_was_used_while_nobody_heard_of_it_is_young_everywhere_afterwards() {
    let mut b = Bench::connected(2);
    b.bind(0, 1, 1);
    b.pass(SECOND);
    b.cut(0, 1);
    b.pass(45 * SECOND);
    // A connection that came and went: the version is what it was.
    b.open(1, 1);
    b.close(1, 1);
    b.connect(0, 1);
    b.pass(SECOND);
    let record = b.view(0, 1).unwrap().record;
    assert!(record.open == 0 && record.age_ms < 2_000, "{record:?}");
}

//= test SYNC-SUM-01
#[test]
fn a_value_that_differs_under_one_version_is_found_and_mended() {
    let mut b = Bench::connected(2);
    b.bind(0, 1, 3);
    b.pass(5 * SECOND);
    let view = b.view(1, 1).unwrap();
    let node = b.nodes.get_mut(&1).unwrap();
    let now = node.now(b.at);
    let server = node.tables.catalog.server(4);
    let (partition, catalog, at) = node.tables.at(0, key(1));
    partition.restore(catalog, &at, &Record { server, ..view.record }, now).unwrap();
    assert_eq!(b.server(1, 1), Some(4));
    b.pass(25 * SECOND);
    assert_eq!((b.server(0, 1), b.server(1, 1)), (Some(3), Some(3)));
}

//= test SYNC-LEAVE-01
//= test SYNC-WIRE-02
//= test SYNC-WIRE-05
#[test]
fn who_stops_on_purpose_has_nothing_open_at_once_for_those_that_understand_it() {
    for speaks in [1, 2] {
        let mut b = Bench::new(1, Bounds::default());
        b.speaks = speaks;
        b.start(1, 2, Bounds::default());
        b.speaks = 2;
        b.start(0, 2, Bounds::default());
        b.connect(0, 1);
        b.pass(3 * SECOND);
        let spoken = |b: &Bench, on: u8| b.nodes[&on].engine.peer(slot(1 - on)).unwrap().protocol;
        assert!(b.is_synced(0, 1) && b.is_synced(1, 0), "engines of two releases share their tables");
        assert_eq!((spoken(&b, 0), spoken(&b, 1)), (speaks, speaks));
        b.bind(0, 1, 3);
        b.open(0, 1);
        b.pass(SECOND);
        assert_eq!(b.view(1, 1).unwrap().record.open, 1);
        b.bind(0, 2, 3);
        b.input(0, Input::Leave);
        b.pass(10 * MS);
        assert_eq!(b.view(1, 1).unwrap().record.open, u64::from(speaks == 1));
        assert_eq!(b.server(1, 2), Some(3), "what waited was told before");
        b.cut(0, 1);
        b.pass(6 * SECOND);
        assert_eq!(b.view(1, 1).unwrap().record.open, 0);
        // One that does not know the frame is not told, and skips it where it comes all the same.
        b.start(0, 2, Bounds::default());
        b.connect(0, 1);
        b.pass(SECOND);
        let head = Head { clock: b.nodes[&0].engine.group_time(b.nodes[&0].now(b.at)), number: 0, ack: 0 };
        b.input(1, Input::Frame(slot(0), &Frame::Leave(head).encode()[4..]));
        assert_eq!(b.nodes[&1].engine.figures().skipped, u64::from(speaks == 1));
        assert!(b.is_synced(1, 0));
    }
}

//= test SYNC-WIRE-05
#[test]
fn an_upgrade_one_by_one_from_one_protocol_to_the_next_loses_no_entry() {
    let mut b = Bench::new(0, Bounds::default());
    b.speaks = 1;
    for n in 0..3 {
        b.start(n, 3, Bounds::default());
    }
    b.connect_all();
    b.pass(3 * SECOND);
    for n in 0..300 {
        b.bind((n % 3) as u8, n, n as u64 % 5);
    }
    b.pass(2 * SECOND);
    b.speaks = 2;
    for upgraded in 0..3u8 {
        b.input(upgraded, Input::Leave);
        b.pass(10 * MS);
        for peer in (0..3).filter(|n| *n != upgraded) {
            b.cut(upgraded, peer);
        }
        // Its clients go to the others meanwhile.
        let other = (upgraded + 1) % 3;
        for n in 0..20 {
            b.bind(other, 1_000 + 20 * u32::from(upgraded) + n, 1);
        }
        b.pass(SECOND);
        b.start(upgraded, 3, Bounds::default());
        for peer in (0..3).filter(|n| *n != upgraded) {
            b.connect(upgraded, peer);
        }
        b.pass(2 * SECOND);
        assert!(b.nodes[&upgraded].engine.joined());
    }
    for on in 0..3 {
        for n in 0..300 {
            assert_eq!(b.server(on, n), Some(n % 5), "{on} has lost {n}");
        }
        assert!((1_000..1_060).all(|n| b.server(on, n) == Some(1)));
        for peer in (0..3).filter(|n| *n != on) {
            assert_eq!(b.nodes[&on].engine.peer(slot(peer)).unwrap().protocol, 2);
        }
    }
}

//= test SYNC-TRUST-01
//= test TBL-DIGEST-03
#[test]
fn what_failing_memory_changed_is_loaded_from_a_peer_whichever_value_is_the_lower_one() {
    for (engines, flipped, value) in [(2, 0, 1), (2, 0, 4), (2, 1, 1), (2, 1, 4), (3, 1, 0), (3, 2, 4)] {
        let mut b = Bench::connected(engines);
        for n in 0..60 {
            b.bind((n % u32::from(engines)) as u8, n, 3);
        }
        b.pass(SECOND);
        b.open(0, 9);
        b.pass(5 * SECOND);
        b.flip(flipped, 7, value);
        b.flip_open(flipped, 8, 1 << (1 - flipped.min(1)));
        // What is written meanwhile is not lost by it.
        for n in [10, 11] {
            b.put(flipped, n, 2, WriteKind::Move);
            b.changed(flipped, n, None);
        }
        b.pass(25 * SECOND);
        for on in 0..engines {
            assert_eq!(b.server(on, 7), Some(3), "engine {on} of {engines}, {flipped} had {value}");
            assert_eq!((b.server(on, 10), b.server(on, 11)), (Some(2), Some(2)));
            assert_eq!(b.view(on, 8).unwrap().record.open, 0);
            assert_eq!(b.view(on, 9).unwrap().record.open, 1);
            let told = |e: &Event| matches!(e, Event::Distrusted { table: 11, .. });
            assert_eq!(b.heard(on).iter().any(told), on == flipped);
        }
        b.pass(10 * SECOND);
        for node in b.nodes.values_mut() {
            let table = node.tables.id(0);
            let partitions = node.tables.geometry().partitions();
            let sound = |n| node.tables.with(n, |p, catalog| p.mismatches(catalog, table).is_empty());
            assert!((0..partitions).all(sound), "and it is trusted again");
        }
        assert!(
            (0..engines).all(|on| b.nodes[&on].engine.peer(slot((on + 1) % engines)).unwrap().differing == 0)
        );
    }
}

//= test SYNC-SETTLED-01
#[test]
fn what_is_on_its_way_is_not_taken_for_a_difference() {
    let mut b = Bench::connected(2);
    b.pass(3 * SECOND);
    b.takes = SECOND;
    for n in 0..200 {
        b.bind(0, n, 1);
        b.pass(100 * MS);
    }
    b.pass(3 * SECOND);
    assert_eq!((0..2).map(|n| b.nodes[&n].engine.figures().repaired).sum::<u64>(), 0);
    assert!((0..200).all(|n| b.server(1, n) == Some(1)));
}

//= test SYNC-WIRE-02
#[test]
fn a_frame_of_an_unknown_type_is_skipped_and_one_that_cannot_be_read_ends_the_connection() {
    let mut b = Bench::connected(2);
    b.said.clear();
    b.input(1, Input::Frame(slot(0), &[200, 1, 2, 3]));
    assert_eq!((b.nodes[&1].engine.figures().skipped, b.said.len()), (1, 0));
    b.bind(0, 1, 1);
    b.pass(5 * MS);
    assert_eq!(b.server(1, 1), Some(1));
    b.input(1, Input::Frame(slot(0), &[3, 255, 255]));
    assert!(matches!(b.said[..], [(1, Output::Close(_, Why::Bad(_)))]), "{:?}", b.said);
}

//= test SYNC-TIME-01
#[test]
fn strangers_and_who_speaks_no_common_protocol_or_a_time_that_cannot_be_are_refused() {
    let mut b = Bench::new(2, Bounds::default());
    b.input(0, Input::Up(slot(9)));
    assert_eq!(b.said, [(0, Output::Close(slot(9), Why::Stranger))]);
    b.connect(0, 1);
    let (_, _, _, bytes) = b.under_way.iter().find(|(_, from, ..)| *from == 1).cloned().unwrap();
    let Ok(Frame::Hello(hello)) = Frame::decode(&bytes[4..]) else { panic!("{bytes:?}") };
    let never = forebay_core::table::GroupMillis(u64::MAX);
    for (other, why) in [
        (forebay_objsync::wire::Hello { clock: never, ..hello }, Why::Nonsense),
        (forebay_objsync::wire::Hello { group: 1, ..hello }, Why::Group),
        (forebay_objsync::wire::Hello { slot: slot(2), ..hello }, Why::Stranger),
        (forebay_objsync::wire::Hello { protocol: 9, protocol_min: 9, ..hello }, Why::Protocol),
    ] {
        b.said.clear();
        b.input(0, Input::Up(slot(1)));
        b.input(0, Input::Frame(slot(1), &Frame::Hello(other).encode()[4..]));
        assert_eq!(b.said, [(0, Output::Close(slot(1), why))]);
    }
}

//= test SYNC-ANSWER-01
#[test]
fn who_thought_that_a_peer_had_it_open_still_says_when_it_was_used_here_last() {
    let mut b = Bench::connected(2);
    b.bind(0, 1, 1);
    b.pass(SECOND);
    b.open(0, 1);
    b.open(1, 1);
    b.pass(SECOND);
    b.cut(0, 1);
    b.close(0, 1);
    b.pass(4 * SECOND);
    b.close(1, 1);
    assert_eq!(b.view(1, 1).unwrap().record.open, 0b01, "it has not heard that 0 has closed it");
    b.connect(0, 1);
    b.pass(SECOND);
    for on in 0..2 {
        let record = b.view(on, 1).unwrap().record;
        assert!(record.open == 0 && record.age_ms <= 1_125, "{on}: {record:?}");
    }
}

//= test SYNC-AGE-01
#[test]
fn of_two_that_close_at_once_and_take_it_for_open_on_each_other_a_third_learns_when_that_was() {
    let mut b = Bench::connected(3);
    b.bind(1, 1, 1);
    b.open(1, 1);
    b.pass(SECOND);
    b.open(2, 1);
    b.pass(20 * SECOND);
    for on in 1..3 {
        b.close(on, 1);
        b.changed(on, 1, None);
    }
    b.pass(SECOND);
    for on in 0..3 {
        let record = b.view(on, 1).unwrap().record;
        assert!(record.open == 0 && record.age_ms <= 1_500, "{on}: {record:?}");
    }
}

//= test SYNC-AGE-01
#[test]
fn a_connection_that_only_a_third_believes_in_renews_nothing() {
    let mut b = Bench::connected(3);
    b.bind(2, 1, 1);
    b.pass(SECOND);
    b.open(2, 1);
    b.pass(SECOND);
    b.cut(0, 1);
    b.cut(0, 2);
    b.close(2, 1);
    b.changed(2, 1, None);
    b.pass(3 * SECOND);
    assert_eq!(b.view(0, 1).unwrap().record.open, 0b100, "it has not heard of the end");
    b.connect(0, 1);
    b.pass(SECOND);
    assert!(b.is_synced(0, 1) && b.is_synced(1, 0));
    let record = b.view(1, 1).unwrap().record;
    assert!(record.open == 0 && record.age_ms >= 3_500, "{record:?}");
}

//= test SYNC-ANSWER-01
#[test]
fn who_is_told_that_it_has_open_what_has_ended_on_it_says_that_it_has_not() {
    let mut b = Bench::connected(2);
    b.bind(1, 1, 1);
    b.open(1, 1);
    b.pass(SECOND);
    // The other one stands still, and learns of nothing.
    b.input(1, Input::Down(slot(0)));
    b.under_way.clear();
    b.close(1, 1);
    b.at += 70 * SECOND;
    b.sweep();
    assert!(b.view(1, 1).is_none());
    b.connect(0, 1);
    b.pass(3 * SECOND);
    assert!(b.is_synced(0, 1) && b.view(0, 1).is_none_or(|view| view.record.open == 0), "{:?}", b.view(0, 1));
}
