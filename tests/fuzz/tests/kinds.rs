//! The corpora of object sync have every type of frame, so that a search begins with all of them and need not find the newest
//! ones by chance.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use forebay_core::table::{Class, EngineSlot, GroupMillis, KeyBytes, Version};
use forebay_fuzz::sync::taken;
use forebay_objsync::Entry;
use forebay_objsync::values::{Item, Share, Written};
use forebay_objsync::wire::{Cells, Found, Frame, Head, Held, Listing, Packer, Step, Sums, split};

/// Types of frames: 6 is none, and 1 is said before an input of `sync_member` begins.
const KINDS: std::ops::RangeInclusive<u8> = 1..=17;

const GROUP_MS: u64 = 1_800_000_000_000;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

fn inputs(target: &str) -> Vec<Vec<u8>> {
    let all = std::fs::read_dir(corpus(target)).unwrap();
    all.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
}

type Said<'a> = Box<dyn Fn(Head) -> Frame<'a> + 'a>;

/// What a member could say: each frame with its number, what it states of the tables of the simulation.
fn conversation() -> Vec<u8> {
    let origin = EngineSlot::new(0).unwrap();
    let ends = GroupMillis(GROUP_MS + 60_000);
    let stamp = (GROUP_MS + 7) << 16;
    let key = |n| KeyBytes::of_ip([192, 0, 2, n].into());
    let mut packer = Packer::new(11);
    packer.push(Entry {
        key: key(9),
        server: 5,
        class: Class::default(),
        version: Version { birth: 30_000_000, switches: 0, stamp, origin },
        tombstone: false,
        lasting: false,
        open: 1,
        age_ms: 0,
    });
    let written = |value| Item::Bytes(Written { stamp, origin, ends, value });
    let counts = Item::Counts(vec![Share { origin, began: stamp, n: 3, ends }]);
    let held = || {
        let bytes = vec![(key(7), written(Some(b"value".to_vec()))), (key(8), written(None))];
        vec![Held { table: 33, items: bytes }, Held { table: 44, items: vec![(key(7), counts.clone())] }]
    };
    let step = Step { round: 1, fresh: true, range: 0 };
    let list = || {
        vec![Listing { table: 11, cells: vec![(5, 1)], partial: vec![5], shorts: &[1, 2, 3, 4, 5, 6, 7, 8] }]
    };
    let found = || vec![Found { table: 11, differing: 1, partial: 1, buckets: vec![0] }];
    let frames: Vec<Said<'_>> = vec![
        Box::new(Frame::Ack),
        Box::new(|head| Frame::Changes(head, vec![packer.pack()])),
        Box::new(|head| Frame::Values(head, true, held())),
        Box::new(|head| Frame::Values(head, false, held())),
        Box::new(|head| Frame::Repair(head, vec![packer.pack()])),
        Box::new(move |head| Frame::Sums(head, step, vec![Sums { table: 11, groups: vec![(0, [7; 16])] }])),
        Box::new(move |head| {
            Frame::Cells(head, step, vec![Cells { table: 11, groups: 1, cells: vec![(5, [8; 16])] }])
        }),
        Box::new(move |head| Frame::Lists(head, step, list())),
        Box::new(move |head| Frame::Want(head, step, list(), vec![(11, vec![5])])),
        Box::new(move |head| Frame::RoundEnd(head, 1, found())),
        Box::new(move |head| Frame::RoundDone(head, 1, found())),
        Box::new(Frame::Again),
        Box::new(Frame::Look),
        Box::new(|head| Frame::Untaken(head, 11, true, vec![key(1)])),
        Box::new(Frame::Give),
        Box::new(Frame::Leave),
    ];
    let mut number = 0;
    let mut bytes = Vec::new();
    for frame in &frames {
        let clock = GroupMillis(GROUP_MS + 1);
        let unnumbered = Head { clock, number: 0, ack: 0 };
        let is_numbered = !matches!(
            frame(unnumbered),
            Frame::Ack(_) | Frame::Untaken(..) | Frame::Give(_) | Frame::Leave(_)
        );
        number += u64::from(is_numbered);
        let head = Head { number: if is_numbered { number } else { 0 }, ..unnumbered };
        bytes.extend(frame(head).encode());
    }
    bytes
}

/// `FOREBAY_BLESS` writes the inputs.
//= test SYNC-WIRE-01
#[test]
fn the_corpora_of_object_sync_have_every_type_of_frame() {
    if std::env::var_os("FOREBAY_BLESS").is_some() {
        std::fs::write(corpus("sync_frames").join("every-type"), conversation()).unwrap();
        // Who leads, the three protocols, and whether the engine serves already.
        for which in [0, 1, 2, 3, 4, 5, 16, 17] {
            let input = [&[which], &conversation()[..]].concat();
            std::fs::write(corpus("sync_member").join(format!("every-type-{which}")), input).unwrap();
        }
    }
    let mut read: BTreeSet<u8> = BTreeSet::new();
    for input in inputs("sync_frames") {
        let mut rest = &input[..];
        while let Ok(Some((frame, taken))) = split(rest) {
            read.extend(frame.first().filter(|_| Frame::decode(frame).is_ok()));
            rest = &rest[taken..];
        }
    }
    let all: Vec<u8> = KINDS.filter(|kind| *kind != 6).collect();
    assert_eq!(read.into_iter().collect::<Vec<_>>(), all, "types of frames that the corpus has");
    for leads in [true, false] {
        let mut seen: BTreeMap<u8, usize> = BTreeMap::new();
        for input in inputs("sync_member").iter().filter(|i| i.first().is_some_and(|w| (w & 1 == 0) == leads))
        {
            taken(input).into_iter().for_each(|(kind, n)| *seen.entry(kind).or_default() += n);
        }
        println!("taken where the member {}: {seen:?}", if leads { "leads" } else { "follows" });
        assert!(all[1..].iter().all(|kind| seen.contains_key(kind)), "of {:?}: {seen:?}", &all[1..]);
    }
}
