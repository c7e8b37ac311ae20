//! Engines that have lost everything get it back from one that only reads.

mod bench;

use bench::{Bench, SECOND};
use forebay_core::table::WriteKind;
use forebay_objsync::{Bounds, Event, Input, Output, Why};
use forebay_sim::slot;

/// So many engines in sync with one that only reads, which has the highest place, or the lowest.
fn read_by(engines: u8, reader: u8) -> (Bench, Vec<u8>) {
    let mut b = Bench::new(0, Bounds::default());
    b.readers = 1 << reader;
    let members: Vec<u8> = (0..=engines).filter(|n| *n != reader).collect();
    for n in 0..=engines {
        b.start(n, engines + 1, Bounds::default());
    }
    b.connect_all();
    b.pass(4 * SECOND);
    b.said.clear();
    (b, members)
}

/// These processes end, and others start that know nothing.
fn lose(b: &mut Bench, members: &[u8], engines: u8) {
    for n in members {
        b.cut_off(*n);
        b.nodes.remove(n);
    }
    b.pass(8 * SECOND);
    for n in members {
        b.start(*n, engines + 1, Bounds::default());
    }
}

//= test SYNC-GIVE-01
#[test]
fn who_only_reads_gives_what_it_has_to_engines_that_have_lost_everything() {
    for (engines, reader) in [(2, 2), (2, 0), (1, 1), (1, 0)] {
        let (mut b, members) = read_by(engines, reader);
        // The group's time is ten minutes ahead of the clocks of engines that start anew.
        b.wall_off = -600_000;
        for n in 0..100 {
            b.bind(members[n as usize % members.len()], n, 1 + u64::from(n) % 3);
        }
        b.pass(SECOND);
        b.open(members[0], 0);
        b.remove(members[0], 5);
        b.pass(10 * SECOND);
        lose(&mut b, &members, engines);
        // One begins with what was on its disk: it is older, and the reader does not follow it.
        b.put(members[0], 7, 4, WriteKind::First);
        b.connect_all();
        b.pass(4 * SECOND);
        let time = |n: u8| b.nodes[&n].engine.group_time(b.nodes[&n].now(b.at)).0;
        assert!(members.iter().all(|n| time(*n) >= time(reader)), "what is written now is later than that");
        for on in &members {
            assert!(
                b.heard(*on).contains(&Event::Joined { complete: true }),
                "{engines} {reader} {:?}",
                b.said
            );
            for n in (0..100).filter(|n| *n != 5 && *n != 7) {
                let view = b.view(*on, n).unwrap_or_else(|| panic!("{n} is missing on {on}"));
                let idle = view.record.age_ms;
                assert_eq!((view.record.server.0, view.record.open), (1 + n % 3, 0));
                // What was open counts as closed 5 s after its engine was lost.
                let least = if n == 0 { 6_000 } else { 11_000 };
                assert!(idle > least, "{n} has become younger: {idle} ms");
            }
            assert!(b.view(*on, 5).is_some_and(|view| view.record.tombstone), "a removal as well");
        }
        // From then on it is one as before: what it alone has is its own.
        b.said.clear();
        b.put(reader, 200, 2, WriteKind::First);
        b.pass(25 * SECOND);
        assert!(members.iter().all(|on| b.view(*on, 200).is_none()));
        assert!(!b.said.iter().any(|(_, said)| matches!(said, Output::Close(..))), "{:?}", b.said);
    }
}

//= test SYNC-GIVE-01
#[test]
fn who_hears_one_that_serves_takes_nothing_of_one_that_only_reads() {
    let (mut b, _) = read_by(2, 2);
    b.bind(0, 1, 1);
    b.pass(SECOND);
    // It has what nobody else has: the engine that wrote it is gone, or it missed a removal.
    b.put(2, 9, 2, WriteKind::First);
    b.cut_off(1);
    b.nodes.remove(&1);
    b.pass(8 * SECOND);
    b.start(1, 3, Bounds::default());
    b.connect_all();
    b.pass(12 * SECOND);
    assert!(b.heard(1).contains(&Event::Joined { complete: true }));
    assert_eq!((b.server(1, 1), b.server(1, 9), b.server(0, 9)), (Some(1), None, None));
}

//= test SYNC-GIVE-01
#[test]
fn who_joins_beside_one_that_is_given_all_has_it_before_it_serves() {
    // Just before nobody is waited for any more one of them has somebody to ask.
    for ms in (1_500..1_700).step_by(20) {
        let (mut b, members) = read_by(2, 2);
        b.bind(0, 1, 1);
        b.pass(SECOND);
        lose(&mut b, &members, 2);
        b.takes = 5 * SECOND / 1_000;
        b.connect(0, 1);
        b.pass(ms * SECOND / 1_000);
        b.connect(0, 2);
        let until = b.at + 30 * SECOND;
        while b.heard(0).is_empty() || b.heard(1).is_empty() {
            b.pass(SECOND / 1_000);
            assert!(b.at < until, "they serve one day");
            // Who joins before the other hears nobody who has anything.
            if !b.heard(1).is_empty() && !b.heard(0).is_empty() {
                assert_eq!(b.server(1, 1), Some(1), "{ms}");
            }
        }
    }
}

//= test SYNC-GIVE-01
#[test]
fn who_asks_one_that_has_nothing_hears_its_time_all_the_same() {
    let (mut b, members) = read_by(1, 1);
    let time = |b: &Bench, n: u8| b.nodes[&n].engine.group_time(b.nodes[&n].now(b.at)).0;
    b.wall_off = -600_000;
    lose(&mut b, &members, 1);
    let before = time(&b, 1);
    b.connect(0, 1);
    b.pass(4 * SECOND);
    assert!(b.nodes[&0].engine.joined() && time(&b, 0) + 10 >= before + 4_000, "{before} {}", time(&b, 0));
}

//= test SYNC-GIVE-01
#[test]
fn one_that_is_away_or_does_not_understand_keeps_nobody_from_serving() {
    let (mut b, members) = read_by(2, 2);
    b.bind(0, 1, 1);
    b.pass(SECOND);
    lose(&mut b, &members, 2);
    b.connect(0, 1);
    b.pass(SECOND);
    assert!(b.heard(0).is_empty(), "it may be there in a moment");
    b.pass(SECOND + SECOND / 2);
    assert_eq!(b.heard(0), [Event::Joined { complete: true }]);
    // An earlier release skips what it is asked.
    lose(&mut b, &members, 2);
    b.said.clear();
    b.connect_all();
    let until = b.at + 4 * SECOND;
    while b.at < until {
        b.pass(SECOND / 1_000);
        b.under_way.retain(|(.., frame)| frame[4] != 17);
    }
    assert!(b.heard(0).contains(&Event::Joined { complete: true }), "{:?}", b.said);
    assert_eq!(b.server(0, 1), None);
    assert!(!b.said.iter().any(|(_, said)| matches!(said, Output::Close(..))), "{:?}", b.said);
}

//= test SYNC-READER-01
#[test]
fn changes_of_one_that_only_reads_end_the_connection_also_where_it_was_asked() {
    let (mut b, members) = read_by(1, 1);
    b.bind(0, 1, 1);
    b.pass(SECOND);
    lose(&mut b, &members, 1);
    b.connect(0, 1);
    let is_repair = |b: &Bench| b.under_way.iter().position(|(_, from, _, f)| *from == 1 && f[4] == 7);
    while is_repair(&b).is_none() {
        b.pass(SECOND / 1_000);
        assert!(b.at < 60 * SECOND, "it gives what it has");
    }
    let at = is_repair(&b).unwrap();
    let mut frame = b.under_way[at].3.clone();
    // The same bytes as a change, of which one that only reads has none.
    frame[4] = 3;
    b.input(0, Input::Frame(slot(1), &frame[4..]));
    assert!(b.said.contains(&(0, Output::Close(slot(1), Why::Nonsense))), "{:?}", b.said);
}
