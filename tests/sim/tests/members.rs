//! Who belongs to the group: engines that leave it, engines that only read, and one that only asks.

mod bench;

use bench::{Bench, MS, SECOND, key};
use forebay_core::table::WriteKind;
use forebay_objsync::wire::{Frame, Head, Hello, Listing, Step};
use forebay_objsync::{Bounds, Event, Input, Output, Shards, Why};
use forebay_sim::slot;

/// Two engines that know of a third one, which only reads; all connected.
fn read_by(engines: u8) -> Bench {
    let mut b = Bench::new(0, Bounds::default());
    b.readers = 1 << engines;
    for n in 0..=engines {
        b.start(n, engines, Bounds::default());
    }
    b.connect_all();
    b.pass(3 * SECOND);
    b
}

//= test SYNC-SLOT-02
#[test]
fn who_is_no_member_any_more_has_nothing_open_before_that_is_said() {
    let mut b = Bench::connected(3);
    b.bind(2, 1, 1);
    b.open(2, 1);
    b.pass(SECOND);
    assert_eq!(b.view(0, 1).unwrap().record.open, 0b100);
    b.said.clear();
    b.input(0, Input::Members(0b011));
    let cleared = Output::Event(Event::Cleared(slot(2)));
    assert_eq!(b.said, [(0, Output::Close(slot(2), Why::Stranger)), (0, cleared)]);
    assert_eq!(b.view(0, 1).unwrap().record.open, 0);
    b.said.clear();
    b.input(0, Input::Up(slot(2)));
    assert_eq!(b.said, [(0, Output::Close(slot(2), Why::Stranger))]);
    // The other one still has it, and does not tell of what a third has open.
    b.pass(12 * SECOND);
    assert_eq!((b.view(0, 1).unwrap().record.open, b.view(1, 1).unwrap().record.open), (0, 0b100));
}

//= test SYNC-READER-01
#[test]
fn who_only_reads_has_all_that_the_others_have_and_tells_nothing() {
    // Its place may be below those of the members: then it leads the comparisons.
    for reader in [2, 0] {
        let mut b = Bench::new(0, Bounds::default());
        b.readers = 1 << reader;
        for n in 0..3 {
            b.start(n, 3, Bounds::default());
        }
        let members: Vec<u8> = (0..3).filter(|n| *n != reader).collect();
        for n in 0..50 {
            b.bind(members[n as usize % 2], n, 3);
        }
        b.connect_all();
        b.pass(3 * SECOND);
        assert!((0..50).all(|n| b.server(reader, n) == Some(3)), "what there was");
        // Nobody served before, so it was asked for what it had.
        let given = b.nodes[&reader].engine.figures().repaired;
        b.bind(members[0], 60, 2);
        b.open(members[0], 60);
        b.pass(SECOND);
        assert_eq!(
            (b.server(reader, 60), b.view(reader, 60).unwrap().record.open),
            (Some(2), 1 << members[0])
        );
        // Whatever it has of its own stays there.
        b.bind(reader, 61, 4);
        b.flip(reader, 7, 1);
        b.pass(25 * SECOND);
        assert_eq!(members.iter().filter_map(|n| b.server(*n, 61)).count(), 0);
        assert!((0..3).all(|on| b.server(on, 7) == Some(3)), "and is mended");
        for on in &members {
            let peer = b.nodes[on].engine.peer(slot(reader)).unwrap();
            assert!(peer.reads && peer.synced && peer.applied == 0, "{peer:?}");
        }
        let figures = b.nodes[&reader].engine.figures();
        assert_eq!((figures.told, figures.repaired), (0, given));
    }
}

//= test SYNC-READER-01
#[test]
fn entries_of_one_that_only_reads_end_the_connection() {
    let mut b = read_by(2);
    b.bind(0, 1, 1);
    b.pass(MS / 4);
    let find = |b: &Bench| b.under_way.iter().find(|(_, from, _, f)| *from == 0 && f[4] == 3).cloned();
    let (.., bytes) = find(&b).expect("a frame of changes is under way");
    let Ok(Frame::Changes(head, packs)) = Frame::decode(&bytes[4..]) else { panic!("{bytes:?}") };
    let number = 1_000;
    for frame in [Frame::Changes(Head { number, ..head }, packs.clone()), Frame::Repair(head, packs.clone())]
    {
        b.said.clear();
        b.input(1, Input::Up(slot(2)));
        let hello = Hello {
            protocol: 3,
            protocol_min: 1,
            features: Hello::READS,
            slot: slot(2),
            boot: 9,
            group: 77,
            clock: head.clock,
        };
        b.input(1, Input::Frame(slot(2), &Frame::Hello(hello).encode()[4..]));
        let head = Head { number: 1, ack: 0, ..head };
        let frame = match frame {
            Frame::Changes(_, packs) => Frame::Changes(head, packs),
            _ => Frame::Repair(head, packs.clone()),
        };
        b.input(1, Input::Frame(slot(2), &frame.encode()[4..]));
        assert_eq!(b.said, [(1, Output::Close(slot(2), Why::Nonsense))]);
    }
}

//= test SYNC-READER-01
//= test SYNC-WIRE-05
#[test]
fn both_sides_agree_on_who_only_reads_and_speak_protocol_3() {
    let said = |knows: u64, is: u64, speaks: u16| {
        let mut b = Bench::new(0, Bounds::default());
        b.speaks = speaks;
        b.readers = knows;
        b.start(0, 2, Bounds::default());
        b.speaks = 3;
        b.readers = is;
        b.start(1, 2, Bounds::default());
        b.connect(0, 1);
        b.pass(10 * MS);
        let ends = b.said.iter().filter_map(|(on, said)| match said {
            Output::Close(_, why) => Some((*on, *why)),
            _ => None,
        });
        ends.collect::<Vec<_>>()
    };
    assert_eq!(said(0b10, 0b10, 3), []);
    assert_eq!(said(0b00, 0b10, 3)[0].1, Why::Stranger);
    assert_eq!(said(0b10, 0b00, 3)[0].1, Why::Stranger);
    assert!(said(0b10, 0b10, 2).iter().all(|(_, why)| *why == Why::Protocol || *why == Why::Stranger));
    assert!(!said(0b10, 0b10, 2).is_empty(), "an earlier release takes it for a member");
}

//= test SYNC-READER-02
#[test]
fn nobody_waits_for_one_that_only_reads() {
    let mut b = Bench::new(0, Bounds::default());
    b.readers = 0b100;
    for n in 0..2 {
        b.start(n, 2, Bounds::default());
    }
    b.connect(0, 1);
    b.pass(5 * SECOND / 2);
    assert_eq!(b.heard(0), [Event::Joined { complete: true }], "it has not come, and is not missed");
    // Removals are forgotten while it is away. An hour of comparisons is none of this test.
    b.nodes.values_mut().for_each(|node| node.engine.compare_every(1_000_000));
    b.bind(0, 1, 1);
    b.pass(SECOND);
    b.remove(0, 1);
    for _ in 0..400 {
        b.pass(10 * SECOND);
        b.sweep();
    }
    assert!(b.view(0, 1).is_none());
    // It has an entry, and nobody is told that there is one more who has it.
    b.start(2, 2, Bounds::default());
    b.connect(0, 2);
    b.pass(2 * SECOND);
    b.cut(0, 1);
    b.said.clear();
    b.put(0, 7, 2, WriteKind::First);
    b.changed(0, 7, Some(99));
    b.pass(2 * SECOND);
    assert_eq!(b.server(2, 7), Some(2));
    assert!(!b.said.iter().any(|(_, said)| matches!(said, Output::Acknowledged { .. })), "{:?}", b.said);
    // Nor is its clock followed.
    let head = Head {
        clock: forebay_core::table::GroupMillis(
            b.nodes[&0].engine.group_time(b.nodes[&0].now(b.at)).0 + 600_000,
        ),
        number: 0,
        ack: 0,
    };
    b.input(0, Input::Frame(slot(2), &Frame::Ack(head).encode()[4..]));
    assert!(!b.heard(0).iter().any(|event| matches!(event, Event::Stepped(..))));
}

//= test SYNC-READER-02
#[test]
fn who_only_reads_lets_go_of_what_an_engine_took_with_it() {
    let mut b = read_by(2);
    b.bind(0, 7, 3);
    b.pass(SECOND);
    b.cut(0, 1);
    b.put(0, 7, 4, WriteKind::Move);
    b.changed(0, 7, None);
    b.pass(SECOND);
    assert_eq!((b.server(1, 7), b.server(2, 7)), (Some(3), Some(4)));
    // It ends, and comes back with nothing.
    b.cut(0, 2);
    b.start(0, 2, Bounds::default());
    b.connect(0, 1);
    b.connect(0, 2);
    b.pass(25 * SECOND);
    assert_eq!((b.server(0, 7), b.server(1, 7), b.server(2, 7)), (Some(3), Some(3), Some(3)));
}

//= test SYNC-OWED-01
#[test]
fn who_asks_for_more_and_more_and_takes_nothing_is_cut_off() {
    let bounds = Bounds { window: 10_000, owed: 200_000, ..Bounds::default() };
    let mut b = Bench::new(2, bounds);
    b.connect_all();
    b.pass(3 * SECOND);
    for n in 0..1_000 {
        b.bind(1, n, 1);
    }
    b.pass(5 * SECOND);
    b.cut(0, 1);
    b.input(1, Input::Up(slot(0)));
    let clock = b.nodes[&1].engine.group_time(b.nodes[&1].now(b.at));
    let hello = Hello { protocol: 2, protocol_min: 1, features: 0, slot: slot(0), boot: 9, group: 77, clock };
    b.input(1, Input::Frame(slot(0), &Frame::Hello(hello).encode()[4..]));
    b.said.clear();
    // It has nothing, it says, again and again, and acknowledges nothing of what it is sent.
    let mut most = 0;
    let mut ended = None;
    for number in 1..20_000u64 {
        let step = Step { round: 1, fresh: true, range: (number % 64) as u8 };
        let cells = (0..1_024).map(|cell| (cell, 0)).collect();
        let list = Listing { table: 11, cells, partial: vec![0], shorts: &[] };
        let frame = Frame::Lists(Head { clock, number, ack: 0 }, step, vec![list]).encode();
        b.input(1, Input::Frame(slot(0), &frame[4..]));
        most = most.max(b.nodes[&1].engine.peer(slot(0)).unwrap().owed);
        if let Some((_, Output::Close(_, why))) =
            b.said.iter().find(|(_, said)| matches!(said, Output::Close(..)))
        {
            ended = Some(*why);
            break;
        }
    }
    assert_eq!((ended, b.nodes[&1].engine.figures().owed), (Some(Why::Owed), 1));
    assert!(most <= 220_000, "{most}");
    // A sound peer that comes next has everything.
    b.under_way.clear();
    b.start(0, 2, bounds);
    b.connect(0, 1);
    b.pass(5 * SECOND);
    let has = (0..1_000).filter(|n| b.server(0, *n) == Some(1)).count();
    assert_eq!(has, 1_000, "{:?}", b.said);
}

//= test SYNC-TRUST-01
#[test]
fn what_fails_a_second_time_while_the_first_is_mended_is_not_taken_for_right() {
    let mut b = Bench::new(0, Bounds::default());
    b.entries = 300;
    for n in 0..2 {
        b.start(n, 2, Bounds::default());
    }
    b.connect_all();
    b.pass(3 * SECOND);
    for n in 0..200 {
        b.bind((n % 2) as u8, n, 3);
    }
    b.pass(10 * MS);
    // Two of one partition, in different parts of it; the first comes first in each comparison.
    let node = b.nodes.get_mut(&0).unwrap();
    let geometry = node.tables.geometry();
    let mut places: Vec<(u32, u64, u32)> = (0..200)
        .map(|n| {
            let hash = node.tables.at(0, key(n)).2.hash();
            (geometry.route_hash(hash), ((hash >> 58) + 64 - 37) % 64, n)
        })
        .collect();
    places.sort_unstable();
    let of_one = places.chunk_by(|a, b| a.0 == b.0).next().expect("there are some");
    // The first is compared soon after the beginning, half a second at least, and the second long after it.
    let (_, early, first) =
        *of_one.iter().find(|(_, order, _)| *order >= 4).expect("a small table has few partitions");
    let (_, late, second) = of_one[of_one.len() - 1];
    assert!(early + 20 < late, "a small table has few partitions");
    // They must not end meanwhile.
    [first, second].into_iter().for_each(|n| b.open(1, n));
    b.pass(6 * SECOND);
    let rounds = |b: &Bench| b.nodes[&0].engine.peer(slot(1)).unwrap().rounds;
    b.flip(0, first, 1);
    while b.server(0, first) != Some(3) {
        b.pass(20 * MS);
    }
    let before = rounds(&b);
    while rounds(&b) == before {
        b.pass(20 * MS);
    }
    b.flip(0, second, 1);
    b.pass(45 * SECOND);
    for on in 0..2 {
        assert_eq!((b.server(on, first), b.server(on, second)), (Some(3), Some(3)), "engine {on}");
    }
    let node = b.nodes.get_mut(&0).unwrap();
    let table = node.tables.id(0);
    let sound = |n| node.tables.with(n, |p, catalog| p.mismatches(catalog, table).is_empty());
    assert!((0..geometry.partitions()).all(sound), "and all is trusted again");
}

//= test SYNC-ROUND-01
#[test]
fn an_engine_that_joins_is_sent_most_entries_once_however_many_members_it_has() {
    let entries = 2_000u32;
    let mut sent = [0; 2];
    let mut bytes = [0; 2];
    for (peers, (sent, bytes)) in [1, 3].into_iter().zip(sent.iter_mut().zip(&mut bytes)) {
        let mut b = Bench::connected(peers + 1);
        b.cut_off(peers);
        for n in 0..entries {
            b.bind(0, n, 1);
        }
        b.pass(5 * SECOND);
        let repaired = |b: &Bench| (0..peers).map(|n| b.nodes[&n].engine.figures().repaired).sum::<u64>();
        let before = repaired(&b);
        b.start(peers, peers + 1, Bounds::default());
        for n in 0..peers {
            b.connect(n, peers);
        }
        b.pass(3 * SECOND);
        assert!((0..entries).all(|n| b.server(peers, n) == Some(1)));
        *sent = repaired(&b) - before;
        let came = |n: u8| b.nodes[&peers].engine.peer(slot(n)).unwrap().bytes_in;
        *bytes = (0..peers).map(came).sum::<u64>();
    }
    println!("{sent:?} entries, {bytes:?} bytes from one member and from three");
    assert_eq!(sent[0], u64::from(entries));
    assert!(sent[1] * 10 <= u64::from(entries) * 13, "{sent:?}");
}

//= test SYNC-RENEW-01
#[test]
fn with_other_tables_than_before_nothing_counts_as_refused() {
    let mut b = Bench::connected(2);
    b.put(0, 7, 90, WriteKind::First);
    b.changed(0, 7, None);
    b.pass(5 * SECOND);
    assert_eq!(b.server(1, 7), None, "it does not know the server");
    b.nodes.get_mut(&1).unwrap().tables.catalog.server(90);
    b.input(0, Input::Renewed);
    b.pass(15 * SECOND);
    assert!(b.server(1, 7).is_some());
}
