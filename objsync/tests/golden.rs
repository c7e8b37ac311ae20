//! Frames of each protocol, byte by byte: what an engine of another release reads.

use std::fmt::Write;

use forebay_core::table::{Class, EngineSlot, GroupMillis, KeyBytes, Version};
use forebay_objsync::Entry;
use forebay_objsync::values::{Item, Share, Written};
use forebay_objsync::wire::{
    Bad, Cells, Found, Frame, Head, Held, Hello, Listing, Pack, Packer, Step, Sums, split,
};
use proptest::prelude::*;

fn slot(n: u8) -> EngineSlot {
    EngineSlot::new(n).unwrap()
}

fn entry(n: u8) -> Entry {
    Entry {
        key: KeyBytes::of_ip([192, 0, 2, n].into()),
        server: 0xfeed,
        class: Class::default(),
        version: Version {
            birth: 30_000_000 + u32::from(n),
            switches: 0,
            stamp: (1_800_000_000_000 + u64::from(n)) << 16,
            origin: slot(3),
        },
        tombstone: false,
        lasting: false,
        open: 0b1000,
        age_ms: 0,
    }
}

fn text() -> Entry {
    Entry {
        key: KeyBytes(*b"a-cookie\0\0\0\0\0\0\0\x08"),
        server: 0,
        class: Class::new(2).unwrap(),
        tombstone: true,
        open: 0,
        age_ms: 90_125,
        ..entry(1)
    }
}

const HEAD: Head = Head { clock: GroupMillis(1_800_000_000_007), number: 9, ack: 4 };

fn frames(packer: &Packer) -> Vec<(&'static str, Frame<'_>)> {
    let hello = Hello {
        protocol: 1,
        protocol_min: 1,
        features: 0,
        slot: slot(3),
        boot: 77,
        group: 5,
        clock: GroupMillis(0),
    };
    let step = Step { round: 2, fresh: true, range: 63 };
    let sums = vec![Sums { table: 11, groups: vec![(63, [7; 16])] }];
    let cells = vec![Cells { table: 11, groups: 1 << 63, cells: vec![(1_023, [8; 16])] }];
    let listing = |shorts| Listing { table: 11, cells: vec![(5, 1), (9, 0)], partial: vec![9], shorts };
    let lists = vec![listing(&[1, 2, 3, 4, 5, 6, 7, 8])];
    let found = vec![Found { table: 11, differing: 300, partial: 1, buckets: vec![4_095] }];
    vec![
        ("hello", Frame::Hello(hello)),
        ("ack", Frame::Ack(HEAD)),
        ("changes", Frame::Changes(HEAD, vec![packer.pack()])),
        ("sums", Frame::Sums(HEAD, step, sums)),
        ("cells", Frame::Cells(HEAD, step, cells)),
        ("repair", Frame::Repair(HEAD, vec![packer.pack()])),
        ("round end", Frame::RoundEnd(HEAD, 2, found.clone())),
        ("round done", Frame::RoundDone(HEAD, 2, found)),
        ("again", Frame::Again(HEAD)),
        ("lists", Frame::Lists(HEAD, step, lists.clone())),
        ("want", Frame::Want(HEAD, step, lists, vec![(11, vec![5])])),
        ("look", Frame::Look(HEAD)),
    ]
}

fn packer() -> Packer {
    let mut packer = Packer::new(11);
    for entry in [entry(1), entry(2), text()] {
        packer.push(entry);
    }
    packer
}

//= test SYNC-WIRE-03
#[test]
fn the_bytes_of_every_frame_of_protocol_1_stay_as_they_are() {
    let packer = packer();
    let frames = frames(&packer);
    assert!(frames.iter().all(|(_, frame)| frame.since() == 1));
    assert_eq!(
        hex(frames),
        include_str!("golden/protocol-1.txt"),
        "frames are frozen: a change is a new protocol number"
    );
}

//= test SYNC-WIRE-03
#[test]
fn the_bytes_of_every_frame_that_protocol_2_has_besides_stay_as_they_are() {
    let leave = Frame::Leave(HEAD);
    assert_eq!(leave.since(), 2);
    assert_eq!(hex(vec![("leave", leave)]), include_str!("golden/protocol-2.txt"));
}

//= test SYNC-WIRE-03
#[test]
fn the_bytes_of_what_needs_no_protocol_of_its_own_stay_as_they_are() {
    let untaken = Frame::Untaken(HEAD, 11, true, vec![KeyBytes([7; 16])]);
    assert_eq!(untaken.since(), 1);
    let bytes = "1c0000000f87a0f1c2b13409040b0101";
    assert_eq!(hex(vec![("untaken", untaken)]), format!("untaken: {bytes}{}\n", "07".repeat(16)));
    let give = Frame::Give(HEAD);
    assert_eq!(give.since(), 3, "there is nobody to ask before");
    assert_eq!(hex(vec![("give", give)]), "give: 090000001187a0f1c2b1340904\n");
}

fn values() -> Vec<Held> {
    let ends = GroupMillis(1_800_000_060_007);
    let stamp = 1_800_000_000_007 << 16;
    let share = |n| Share { origin: slot(n), began: stamp + u64::from(n), n: 300, ends };
    let written = |value| Item::Bytes(Written { stamp, origin: slot(3), ends, value });
    let key = |n| KeyBytes([n; 16]);
    vec![
        Held { table: 33, items: vec![(key(7), written(Some(b"value".to_vec()))), (key(8), written(None))] },
        Held { table: 44, items: vec![(key(9), Item::Counts(vec![share(2), share(3)]))] },
    ]
}

//= test SYNC-WIRE-03
#[test]
fn the_bytes_of_every_frame_that_protocol_3_has_besides_stay_as_they_are() {
    let reads = Hello {
        protocol: 3,
        protocol_min: 1,
        features: Hello::READS,
        slot: slot(3),
        boot: 77,
        group: 5,
        clock: GroupMillis(0),
    };
    let values = |live| Frame::Values(HEAD, live, values());
    assert_eq!(values(true).since(), 3);
    let frames = vec![("reads", Frame::Hello(reads)), ("values", values(true)), ("lacked", values(false))];
    assert_eq!(hex(frames), include_str!("golden/protocol-3.txt"));
}

//= test SYNC-VALUE-01
#[test]
fn values_that_cannot_be_are_refused() {
    let ends = GroupMillis(1_800_000_060_007);
    let stamp = 1_800_000_000_007 << 16;
    let share = |n| Share { origin: slot(n), began: stamp, n: 300, ends };
    let read = |item| {
        let held = vec![Held { table: 33, items: vec![(KeyBytes([7; 16]), item)] }];
        let bytes = Frame::Values(HEAD, true, held).encode();
        Frame::decode(&bytes[4..]).map(|_| ())
    };
    let written = |length, ends| {
        let value = Some(vec![1; length]);
        Item::Bytes(Written { stamp, origin: slot(3), ends, value })
    };
    assert_eq!(read(written(4_096, ends)), Ok(()));
    assert_eq!(read(written(4_097, ends)), Err(Bad::Body(16)), "too long");
    assert_eq!(read(written(1, GroupMillis(u64::MAX))), Err(Bad::Body(16)), "it would never end");
    assert_eq!(read(Item::Counts(vec![share(2), share(3)])), Ok(()));
    assert_eq!(read(Item::Counts(vec![share(3), share(2)])), Err(Bad::Body(16)), "not in order");
    assert_eq!(read(Item::Counts(vec![share(3), share(3)])), Err(Bad::Body(16)), "one twice");
    let many = (0..129).map(|n| Share { began: stamp + n, ..share(3) }).collect();
    assert_eq!(read(Item::Counts(many)), Err(Bad::Body(16)), "too many");
}

fn hex(frames: Vec<(&'static str, Frame<'_>)>) -> String {
    let mut found = String::new();
    for (name, frame) in frames {
        let bytes = frame.encode();
        let (inside, taken) = split(&bytes).unwrap().unwrap();
        assert_eq!((taken, Frame::decode(inside)), (bytes.len(), Ok(frame)), "{name}");
        let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        writeln!(found, "{name}: {hex}").unwrap();
    }
    found
}

#[test]
fn entries_come_out_as_they_went_in() {
    let packer = packer();
    let pack = packer.pack();
    let entries: Vec<_> = pack.entries().map(Option::unwrap).collect();
    assert_eq!(entries, [entry(1), entry(2), text()]);
}

//= test SYNC-WIRE-04
#[test]
fn an_idle_client_of_the_last_half_hour_costs_less_than_20_bytes_in_bulk() {
    let mut packer = Packer::new(11);
    let many = 2_000u32;
    for n in 0..many {
        let [_, b, c, d] = n.wrapping_mul(0x9e37_79b9).to_be_bytes();
        let stamp = (1_800_000_000_000 + u64::from(n) * 900) << 16;
        let version = Version { birth: 30_000_000 + n * 900 / 60_000, stamp, ..entry(1).version };
        let server = 0x1234_5678_9abc_def0 + u64::from(n % 16);
        let key = KeyBytes::of_ip([10, b, c, d].into());
        packer.push(Entry { key, server, version, open: 0, age_ms: u64::from(n) * 100, ..entry(1) });
    }
    let bytes = Frame::Changes(HEAD, vec![packer.pack()]).encode().len();
    assert!(bytes <= 20 * many as usize, "{bytes} bytes for {many} entries");
    assert!(bytes <= 3 * packer.bytes() && bytes * 2 >= packer.bytes(), "{bytes}, not {}", packer.bytes());
}

//= test SYNC-WIRE-01
#[test]
fn a_length_beyond_the_bound_is_refused_before_anything_is_kept() {
    assert_eq!(split(&u32::MAX.to_le_bytes()), Err(Bad::Length(u32::MAX as usize)));
    assert_eq!(split(&[0; 4]), Err(Bad::Length(0)));
    assert_eq!(split(&[9, 0, 0]), Ok(None));
    assert_eq!(split(&[2, 0, 0, 0, 1]), Ok(None));
    assert_eq!(Frame::decode(&[]), Err(Bad::Length(0)));
    assert_eq!(Frame::decode(&[200, 1, 2]), Err(Bad::Unknown(200)));
    // A list of 2^60 entries in a few bytes.
    assert_eq!(Frame::decode(&[3, 0, 1, 0, 255, 255, 255, 255, 255, 255, 255, 255, 15]), Err(Bad::Body(3)));
}

//= test SYNC-WIRE-06
#[test]
fn sums_of_too_many_tables_or_of_one_twice_are_refused_and_every_answer_fits_into_a_frame() {
    let step = Step { round: 2, fresh: true, range: 63 };
    let sums = |tables: &[u64]| {
        let of = |table: &u64| Sums { table: *table, groups: Vec::new() };
        Frame::Sums(HEAD, step, tables.iter().map(of).collect()).encode()
    };
    let cells = |tables: &[u64]| {
        let all = || (0..1_024).map(|cell| (cell, [255; 16])).collect();
        let of = |table: &u64| Cells { table: *table, groups: u64::MAX, cells: all() };
        Frame::Cells(HEAD, step, tables.iter().map(of).collect()).encode()
    };
    let most: Vec<u64> = (0..48).map(|n| u64::MAX - n).collect();
    let more: Vec<u64> = (0..49).collect();
    for form in [&sums as &dyn Fn(&[u64]) -> Vec<u8>, &cells] {
        let whole = form(&most);
        let (frame, length) = split(&whole).expect("it is short enough").expect("whole");
        assert!(length == whole.len() && Frame::decode(frame).is_ok());
        for wrong in [&more[..], &[1, 2, 1]] {
            assert!(matches!(Frame::decode(&form(wrong)[4..]), Err(Bad::Body(_))), "{} tables", wrong.len());
        }
    }
}

fn cases() -> u32 {
    if std::env::var_os("FOREBAY_LONG").is_some() { 1_000_000 } else { 20_000 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    //= test SYNC-WIRE-01
    #[test]
    fn no_bytes_make_the_reader_panic(kind in 0u8..18, body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut frame = vec![kind];
        frame.extend(body);
        if let Ok(Frame::Changes(_, packs) | Frame::Repair(_, packs)) = Frame::decode(&frame) {
            for pack in packs {
                pack.entries().for_each(drop);
            }
        }
    }

    //= test SYNC-WIRE-01
    #[test]
    fn frames_that_were_damaged_are_read_or_refused(
        which in 0usize..12,
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
    ) {
        let packer = packer();
        let mut bytes = frames(&packer)[which].1.encode();
        for (at, to) in changes {
            let at = 5 + at % (bytes.len() - 5);
            bytes[at] = to;
        }
        match Frame::decode(&bytes[4..]) {
            Ok(Frame::Changes(_, packs) | Frame::Repair(_, packs)) => {
                packs.iter().flat_map(Pack::entries).for_each(drop);
            }
            Ok(Frame::Lists(_, step, lists) | Frame::Want(_, step, lists, _)) => {
                let listed: usize = lists.iter().flat_map(Listing::by_cell).map(|(_, shorts)| shorts.len()).sum();
                prop_assert!(step.range < 64 && listed <= bytes.len() / 8);
            }
            _ => {}
        }
    }
}
