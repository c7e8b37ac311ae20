//! Whose clock is followed.

mod bench;

use bench::{Bench, MS, SECOND, key};
use forebay_core::table::{Class, GroupMillis, Version, Write};
use forebay_objsync::limits::CLOCK_MAX;
use forebay_objsync::wire::{Frame, Head, Packer, Step};
use forebay_objsync::{Bounds, Entry, Event, Input, Output, Why};
use forebay_sim::slot;

const DAY_MS: i64 = 86_400_000;

/// Engines with these clocks, in milliseconds off, that have not heard of one another.
fn apart(walls: &[i64]) -> Bench {
    let mut b = Bench::new(0, Bounds::default());
    for (n, wall) in (0..).zip(walls) {
        b.wall_off = *wall;
        b.start(n, walls.len() as u8, Bounds::default());
    }
    b.pass(31 * SECOND);
    assert!(b.nodes.values().all(|n| n.engine.joined()), "whoever is alone waits no longer");
    b.said.clear();
    b
}

impl Bench {
    /// The group's time on an engine, in milliseconds from that of the first one's wall clock.
    fn off(&self, on: u8) -> i64 {
        let time = |n: u8| self.nodes[&n].engine.group_time(self.nodes[&n].now(self.at)).0 as i64;
        time(on) - time(0)
    }

    /// Connects again whatever was ended.
    fn again(&mut self, times: u32) {
        for _ in 0..times {
            self.pass(SECOND);
            let ended: Vec<(u8, u8)> = (self.said.iter())
                .filter_map(
                    |(on, out)| if let Output::Close(peer, _) = out { Some((*on, peer.get())) } else { None },
                )
                .collect();
            self.said.retain(|(_, out)| !matches!(out, Output::Close(..)));
            for (a, b) in ended {
                self.cut(a, b);
                self.connect(a, b);
            }
        }
    }
}

//= test SYNC-TIME-02
#[test]
fn one_clock_that_is_a_day_ahead_moves_nobody_and_comes_back_to_the_others() {
    let mut b = apart(&[0, 200, DAY_MS]);
    b.bind(2, 1, 3);
    b.connect(0, 1);
    b.pass(2 * SECOND);
    b.bind(0, 1, 4);
    b.connect(0, 2);
    b.pass(SECOND);
    assert!(b.said.contains(&(0, Output::Close(slot(2), Why::Clock))) || b.off(2).abs() < 1_000);
    b.connect(1, 2);
    b.again(5);
    let back = |e: &Event| matches!(e, Event::WentBack(by) if by.abs_diff(DAY_MS as u64) < 60_000);
    assert!(b.heard(2).iter().any(back), "{:?}", b.said);
    let ahead = |e: &Event| matches!(e, Event::Ahead(peer, by) if *peer == slot(2) && *by > 86_000_000);
    assert!(b.heard(0).iter().any(ahead) && !b.heard(0).iter().any(|e| matches!(e, Event::Stepped(..))));
    assert!((0..3).all(|n| b.off(n).abs() < 1_000));
    // What was bound by the wrong clock does not hold against everybody for a day.
    b.pass(15 * SECOND);
    let minute = b.nodes[&0].engine.group_time(b.nodes[&0].now(b.at)).0 / 60_000;
    for n in 0..3 {
        let record = b.view(n, 1).unwrap().record;
        assert!(u64::from(record.version.birth) <= minute, "{n}: {record:?}");
        assert_eq!(b.server(n, 1), b.server(0, 1));
    }
}

//= test SYNC-TIME-02
#[test]
fn of_two_engines_one_with_a_wild_clock_moves_the_other_by_nothing_and_comes_back_to_it() {
    let now = 1_800_000_000_000;
    for wild in [DAY_MS, CLOCK_MAX as i64 - now - 60_000] {
        let mut b = apart(&[0, wild]);
        b.bind(0, 1, 4);
        b.connect(0, 1);
        b.again(5);
        let ahead = |e: &Event| matches!(e, Event::Ahead(peer, by) if *peer == slot(1) && *by > 86_000_000);
        assert!(b.heard(0).iter().any(ahead), "{:?}", b.said);
        assert!(!b.heard(0).iter().any(|e| matches!(e, Event::Stepped(..))), "{:?}", b.said);
        let off = b.nodes[&0].engine.group_time(b.nodes[&0].now(b.at)).0.abs_diff(now as u64 + b.at / MS);
        assert!(off < 1_000, "{off}");
        assert!(b.heard(1).iter().any(|e| matches!(e, Event::WentBack(_))), "{:?}", b.said);
        b.pass(2 * SECOND);
        assert!(b.off(1).abs() < 1_000 && b.is_synced(0, 1) && b.is_synced(1, 0));
        // Its place is taken by one that is right: nothing stays of it.
        b.cut(0, 1);
        b.wall_off = 500;
        b.start(1, 2, Bounds::default());
        b.connect(0, 1);
        b.pass(3 * SECOND);
        assert!(b.is_synced(0, 1) && b.is_synced(1, 0), "{:?}", b.said);
        assert_eq!(b.server(1, 1), b.server(0, 1));
    }
}

//= test SYNC-TIME-02
#[test]
fn of_two_engines_one_that_is_hours_behind_takes_the_other_back_once_and_what_both_wrote_is_kept() {
    let hours = 3 * 3_600_000;
    let mut b = apart(&[0, -hours]);
    b.bind(0, 1, 4);
    b.bind(1, 2, 3);
    b.connect(0, 1);
    b.again(3);
    b.pass(2 * SECOND);
    let back = |e: &&Event| matches!(e, Event::WentBack(by) if by.abs_diff(hours as u64) < 60_000);
    assert_eq!(b.heard(0).iter().filter(back).count(), 1, "{:?}", b.said);
    assert!(b.off(1).abs() < 1_000 && b.is_synced(0, 1) && b.is_synced(1, 0));
    for n in 0..2 {
        assert_eq!((b.server(n, 1), b.server(n, 2)), (Some(4), Some(3)));
    }
    // What is written from now on counts from now on, also by a worker that did not know yet.
    b.bind(0, 3, 2);
    let (now, early) = (b.nodes[&0].now(b.at), b.nodes[&0].engine.group_time(b.nodes[&0].now(b.at)));
    let node = b.nodes.get_mut(&0).unwrap();
    let server = node.tables.catalog.server(1);
    let (partition, catalog, late) = node.tables.at(0, key(4));
    let late_time = GroupMillis(early.0 + hours as u64);
    partition.put(catalog, &late, Write::first(server), now, late_time).unwrap();
    let id = node.tables.id(0);
    b.input(0, Input::Changed(id, key(4), None));
    b.pass(SECOND);
    for n in 0..2 {
        assert_eq!((b.server(n, 3), b.server(n, 4)), (Some(2), Some(1)));
        for client in 1..5 {
            let version = b.view(n, client).unwrap().record.version;
            assert!(version.stamp >> 16 <= early.0 + 1_000, "{version:?}");
        }
    }
    // Who says so again and again does not make the whole table be read each time.
    let time = |b: &Bench| b.nodes[&0].engine.group_time(b.nodes[&0].now(b.at)).0;
    let before = time(&b);
    for step in 1..20 {
        let clock = GroupMillis(before - step * 4_000_000);
        b.input(0, Input::Frame(slot(1), &Frame::Ack(Head { number: 0, ack: 0, clock }).encode()[4..]));
    }
    assert_eq!(time(&b), before, "not twice in ten seconds");
}

//= test SYNC-TIME-03
#[test]
fn what_an_engine_took_before_it_knew_the_time_is_not_later_than_others_take_of_it() {
    let ahead = 4_000_000;
    let mut b = apart(&[0, ahead]);
    b.bind(1, 1, 3);
    b.pass(SECOND);
    b.wall_off = 0;
    for n in 0..2 {
        b.input(n, Input::Members(0b111));
    }
    b.start(2, 3, Bounds::default());
    b.connect(0, 2);
    b.connect(1, 2);
    b.pass(600 * MS);
    assert!(b.nodes[&2].engine.joined() && b.off(2).abs() < 1_000);
    assert_eq!(b.server(2, 1), Some(3), "it was told before it had joined");
    b.cut(1, 2);
    b.pass(20 * SECOND);
    assert_eq!(b.server(0, 1), Some(3), "{:?}", b.nodes[&0].engine.figures());
}

//= test SYNC-TIME-02
#[test]
fn small_steps_of_one_member_end_a_day_beyond_the_own_wall_clock() {
    let mut b = Bench::connected(2);
    let time = |b: &Bench| b.nodes[&0].engine.group_time(b.nodes[&0].now(b.at)).0;
    let before = time(&b);
    for step in 1..60 {
        let head = Head { number: 0, ack: 0, clock: GroupMillis(before + step * 3_000_000) };
        b.input(0, Input::Frame(slot(1), &Frame::Ack(head).encode()[4..]));
    }
    assert!(time(&b) > before + 80_000_000, "it follows at first");
    assert!(time(&b) < before + DAY_MS as u64 + 60_000, "{}", time(&b) - before);
    assert!(b.heard(0).iter().any(|e| matches!(e, Event::Ahead(..))));
}

//= test SYNC-WIRE-01
#[test]
fn a_comparison_with_the_last_of_all_numbers_is_one_like_others() {
    let mut b = Bench::connected(2);
    b.bind(0, 9, 1);
    b.pass(MS / 2);
    let (_, _, _, bytes) =
        b.under_way.iter().find(|(_, from, _, f)| *from == 0 && f[4] == 3).cloned().unwrap();
    let Ok(Frame::Changes(head, _)) = Frame::decode(&bytes[4..]) else { panic!("{bytes:?}") };
    let step = Step { round: u32::MAX, fresh: false, range: 0 };
    b.input(1, Input::Frame(slot(0), &Frame::Sums(head, step, Vec::new()).encode()[4..]));
    let head = Head { number: head.number + 1, ..head };
    b.input(1, Input::Frame(slot(0), &Frame::Look(head).encode()[4..]));
    assert!(!b.said.iter().any(|(_, out)| matches!(out, Output::Close(..))), "{:?}", b.said);
}

/// What that one writes would not be taken: the two must not take one another for equal meanwhile.
//= test SYNC-TIME-02
//= test SYNC-READER-02
#[test]
fn who_only_reads_ends_the_connection_with_one_that_is_hours_ahead_until_that_agrees() {
    let mut b = Bench::new(0, Bounds::default());
    b.readers = 0b100;
    for (n, wall) in [(0, DAY_MS / 12), (1, 0), (2, 0)] {
        b.wall_off = wall;
        b.start(n, 2, Bounds::default());
    }
    b.pass(31 * SECOND);
    b.bind(0, 7, 3);
    b.open(0, 7);
    b.connect(1, 2);
    b.connect(0, 2);
    b.pass(SECOND);
    assert!(b.said.contains(&(2, Output::Close(slot(0), Why::Clock))), "{:?}", b.said);
    assert!(!b.is_synced(2, 0) && b.is_synced(2, 1));
    b.connect(0, 1);
    b.again(5);
    assert!(b.heard(0).iter().any(|e| matches!(e, Event::WentBack(_))), "{:?}", b.said);
    assert_eq!(b.view(2, 7).map(|view| view.record.open), Some(1));
}

//= test SYNC-TIME-02
#[test]
fn who_is_a_day_behind_most_follows_them() {
    let mut b = apart(&[DAY_MS, DAY_MS + 300, 0]);
    b.connect(0, 1);
    b.pass(2 * SECOND);
    b.connect(0, 2);
    b.connect(1, 2);
    b.again(4);
    assert!(
        b.heard(2).iter().any(|e| matches!(e, Event::Stepped(_, by) if *by > 86_000_000)),
        "{:?}",
        b.said
    );
    assert!(b.off(2).abs() < 1_000 && b.is_synced(2, 0) && b.is_synced(2, 1));
}

//= test SYNC-TIME-01
#[test]
fn an_engine_that_starts_takes_the_time_of_the_middle_one_of_its_peers() {
    let mut b = apart(&[0, 40_000, DAY_MS]);
    b.wall_off = -5_000_000;
    b.start(3, 4, Bounds::default());
    for peer in [2, 0, 1] {
        b.input(peer, Input::Members(0b1111));
        b.connect(peer, 3);
    }
    b.pass(500 * MS);
    assert!(b.nodes[&3].engine.joined());
    assert_eq!(b.heard(3).first(), Some(&Event::Joined { complete: true }));
    let wall = 1_800_000_000_000 + b.at / MS;
    let off = b.nodes[&3].engine.group_time(b.nodes[&3].now(b.at)).0.abs_diff(wall);
    assert!((39_000..41_000).contains(&off), "{off}");
}

//= test SYNC-TIME-03
#[test]
fn an_entry_that_was_made_tomorrow_is_not_taken() {
    let mut b = Bench::connected(2);
    let now = b.nodes[&0].engine.group_time(b.nodes[&0].now(b.at)).0;
    let entry = |n: u32, at: u64, birth: u64| Entry {
        key: key(n),
        server: 1,
        class: Class::default(),
        version: Version { birth: (birth / 60_000) as u32, switches: 0, stamp: at << 16, origin: slot(0) },
        tombstone: false,
        lasting: false,
        open: 0,
        age_ms: 0,
    };
    let day = DAY_MS as u64;
    let mut packer = Packer::new(11);
    for (n, stamp, birth) in [(1, now + day, now), (2, now, now + day), (3, now + 60_000, now)] {
        packer.push(entry(n, stamp, birth));
    }
    // The connection goes on with the next number.
    b.bind(0, 9, 1);
    b.pass(MS / 2);
    let (_, _, _, bytes) =
        b.under_way.iter().find(|(_, from, _, f)| *from == 0 && f[4] == 3).cloned().unwrap();
    let Ok(Frame::Changes(head, _)) = Frame::decode(&bytes[4..]) else { panic!("{bytes:?}") };
    let head = Head { number: head.number, ..head };
    b.input(1, Input::Frame(slot(0), &Frame::Changes(head, vec![packer.pack()]).encode()[4..]));
    assert_eq!((b.server(1, 1), b.server(1, 2), b.server(1, 3)), (None, None, Some(1)));
    assert_eq!(b.nodes[&1].engine.figures().ahead, 2);
}
