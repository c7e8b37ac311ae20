//! What a member of a group sends, as one that is broken or hostile would.

use std::collections::BTreeMap;

use forebay_core::table::{EngineSlot, GroupMillis, Hasher, KeyBytes, Write};
use forebay_core::units::{Micros, Now};
use forebay_objsync::limits::{CLOCK_MAX, JOIN_LATEST_MS, PROTOCOL, PROTOCOL_MIN, PROTOCOL_READERS};
use forebay_objsync::wire::{Frame, Hello, split};
use forebay_objsync::{Bounds, Engine, Input, Output, Settings};
use forebay_sim::Tables;

/// A server as the inputs of the corpus name it, as they name the tables of the simulation.
const SERVER: u64 = 5;
const GROUP: u64 = 77;
const NOW: Now = Now(1_000_000_000);
const WALL: GroupMillis = GroupMillis(1_800_000_000_000);
/// Bytes that an answer may be for each byte that came, and for each frame: sums of all groups of a range.
const ANSWER_TIMES: usize = 64;
const ANSWER_EACH: usize = 256 << 10;

/// Bytes of a connection: each frame is read or refused, and is the same after it was written and read again.
pub fn frames(input: &[u8]) {
    let mut rest = input;
    while let Ok(Some((frame, taken))) = split(rest) {
        same_again(frame);
        rest = &rest[taken..];
    }
    // And as the body of a frame, so that no search has to find its length.
    same_again(input);
}

/// Bytes of a member that has introduced itself: the engine reads or refuses them, answers within bounds, and goes on
/// serving its own table and its other peer.
pub fn member(input: &[u8]) {
    converse(input, |_| {});
}

/// How many frames of each type an engine takes of an input of [`member`]: neither skipped nor taken for repeated, and read to
/// their end.
pub fn taken(input: &[u8]) -> BTreeMap<u8, usize> {
    let mut kinds = BTreeMap::new();
    converse(input, |kind| *kinds.entry(kind).or_default() += 1);
    kinds
}

/// What the first byte says: whether the member leads, which protocol it speaks, whether it only reads; and whether the engine
/// serves already, so that it knows the group's time.
struct Which {
    leads: bool,
    protocol: u16,
    reads: bool,
    serves: bool,
}

impl Which {
    fn of(byte: u8) -> Self {
        let protocol = PROTOCOL.saturating_sub(u16::from(byte >> 1 & 3)).max(PROTOCOL_MIN);
        let reads = byte & 8 != 0 && protocol >= PROTOCOL_READERS;
        Self { leads: byte & 1 == 0, protocol, reads, serves: byte & 16 != 0 }
    }
}

fn converse(input: &[u8], mut each: impl FnMut(u8)) {
    let Some((which, input)) = input.split_first() else { return };
    let Which { leads, protocol, reads, serves } = Which::of(*which);
    // Who has the lower slot leads comparisons: both sides of them.
    let (enemy, friend) = if leads { (slot(0), slot(2)) } else { (slot(2), slot(0)) };
    let mut world = World::new(if reads { 1 << enemy.get() } else { 0 });
    if serves {
        world.now = world.now.after(Micros::from_millis(JOIN_LATEST_MS));
        world.give(Input::Tick);
    }
    for (peer, protocol, features) in [(enemy, protocol, u64::from(reads)), (friend, PROTOCOL_MIN, 0)] {
        world.give(Input::Up(peer));
        world.frame(peer, &hello(peer, protocol, features));
    }
    let key = KeyBytes::of_ip([192, 0, 2, 1].into());
    world.write(key);
    let before = world.engine.group_time(world.now);
    let mut rest = input;
    let mut answered = 0;
    let mut frames = 0;
    // A length that cannot be ends the connection, as it would for the reader of a socket.
    while let Ok(Some((frame, taken))) = split(rest) {
        let passed = |world: &World| world.engine.figures().skipped + world.engine.figures().repeated;
        let before = passed(&world);
        let (bytes, closed) = world.told(enemy, frame);
        answered += bytes;
        frames += 1;
        if closed {
            break;
        }
        if passed(&world) == before {
            frame.first().into_iter().for_each(|kind| each(*kind));
        }
        rest = &rest[taken..];
        world.now = world.now.after(Micros::from_millis(1));
    }
    assert!(
        answered <= ANSWER_TIMES * input.len() + ANSWER_EACH * (frames + 1),
        "{answered} bytes were sent for {} in {frames} frames",
        input.len()
    );
    let after = world.engine.group_time(world.now);
    assert!(after >= before, "the group's time went back");
    assert!(after.0 <= CLOCK_MAX.max(before.0) + 60_000, "the group's time is {after:?}");
    // What this engine changes goes on to whoever is left.
    let other = KeyBytes::of_ip([192, 0, 2, 2].into());
    world.write(other);
    world.now = world.now.after(Micros::from_millis(5));
    let sent = world.give(Input::Tick);
    assert!(
        sent.iter().any(|o| matches!(o, Output::Send(to, _) if *to == friend)),
        "the other peer hears nothing any more: {sent:?}"
    );
}

/// A frame that can be read is the same after it was written and read again.
fn same_again(bytes: &[u8]) {
    let Ok(frame) = Frame::decode(bytes) else { return };
    if let Frame::Changes(_, packs) | Frame::Repair(_, packs) = &frame {
        for pack in packs {
            assert!(pack.entries().count() == pack.len() && pack.len() <= bytes.len());
        }
    }
    let written = frame.encode();
    let (again, taken) = split(&written).expect("a length that may be").expect("a whole frame");
    assert_eq!(taken, written.len());
    assert_eq!(Frame::decode(again), Ok(frame));
}

fn slot(n: u8) -> EngineSlot {
    EngineSlot::new(n).expect("a slot")
}

fn hello(from: EngineSlot, protocol: u16, features: u64) -> Vec<u8> {
    let (boot, clock) = (u64::from(from.get()) + 10, GroupMillis(WALL.0 + 1));
    let protocol_min = PROTOCOL_MIN;
    Frame::Hello(Hello { protocol, protocol_min, features, slot: from, boot, group: GROUP, clock }).encode()
}

/// One engine, slot 1, with a small table.
struct World {
    engine: Engine,
    tables: Tables,
    now: Now,
}

impl World {
    fn new(readers: u64) -> Self {
        let settings = Settings {
            me: slot(1),
            boot: 1,
            group: GROUP,
            sums: Hasher::new(*b"sums are secret!"),
            members: 0b111 & !readers,
            readers,
            wall: WALL,
            floor: GroupMillis(0),
            bounds: Bounds { dirty: 64, window: 64 << 10, slice: 1, ..Bounds::default() },
        };
        let mut tables = Tables::new(1_000, slot(1), NOW);
        tables.catalog.server(SERVER);
        Self { engine: Engine::new(settings, NOW), tables, now: NOW }
    }

    fn give(&mut self, input: Input<'_>) -> Vec<Output> {
        self.engine.handle(input, &mut self.tables, self.now)
    }

    fn frame(&mut self, from: EngineSlot, bytes: &[u8]) {
        let (frame, _) = split(bytes).expect("a length that may be").expect("a whole frame");
        self.told(from, frame);
    }

    /// Bytes that are sent for a frame, and whether it ended the connection.
    fn told(&mut self, from: EngineSlot, frame: &[u8]) -> (usize, bool) {
        let out = self.give(Input::Frame(from, frame));
        let sent = out.iter().map(|o| if let Output::Send(_, bytes) = o { bytes.len() } else { 0 }).sum();
        (sent, out.iter().any(|o| matches!(o, Output::Close(whom, _) if *whom == from)))
    }

    /// A worker binds a client.
    fn write(&mut self, key: KeyBytes) {
        let (now, group, id) = (self.now, self.engine.group_time(self.now), self.tables.id(0));
        let server = self.tables.catalog.slot_of(SERVER).expect("a server of the catalog");
        let (partition, catalog, at) = self.tables.at(0, key);
        partition.put(catalog, &at, Write::first(server), now, group).expect("there is room");
        self.give(Input::Changed(id, key, None));
    }
}
