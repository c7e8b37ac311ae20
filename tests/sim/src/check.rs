//! What must hold, while it runs and in the end.

use std::collections::BTreeMap;

use forebay_core::table::{EngineSlot, EntryView, Record};
use forebay_objsync::limits::PROTOCOL_READERS;
use forebay_objsync::values::Item;
use forebay_objsync::wire::Frame;
use forebay_objsync::{Rule, wire};

use crate::ledger::{Place, rank};
use crate::node::{EPOCH_MS, Node, Snapshot, TABLES};
use crate::plan::SECOND;
use crate::world::{Violation, World, slot};

/// Microseconds for which two engines must have heard each other undisturbed before they are held to what they know.
const CLEAN: u64 = 4 * SECOND;
/// By how much engines may differ about how long something was not used: they compare it coarsely, in steps of 12 s.
const AGES_DIFFER: u64 = 13 * SECOND;

/// Microseconds past its time-out that an entry may be used: an engine that is gone is noticed, entries are held while a
/// peer that came back is compared with, and both may follow on one another.
const LATE: u64 = 60 * SECOND;

/// Entries of one key, in a line.
fn all_of(views: &[(u8, Option<&EntryView>)]) -> String {
    let one = |(slot, view): &(u8, Option<&EntryView>)| match view {
        Some(view) => format!("{slot}: {}", short(&view.record)),
        None => format!("{slot}: none"),
    };
    views.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// A record, as short as can be.
pub fn short(record: &Record) -> String {
    let Record { server, version: v, tombstone, lasting, open, age_ms, .. } = record;
    let kind = if *tombstone { "removed" } else { "lives" };
    let lasting = if *lasting { " lasting" } else { "" };
    let (stamp, origin) = (v.stamp as f64 / 65_536.0 - EPOCH_MS as f64, v.origin.get());
    format!(
        "{kind}{lasting} at {} (birth {} switches {} stamp {stamp:.3} by {origin}) open {open:b} idle {age_ms}",
        server.0, v.birth, v.switches
    )
}

fn violation(world: &World, what: String) -> Violation {
    Violation { at: world.at, what }
}

/// Every second.
pub fn now(world: &mut World) -> Result<(), Violation> {
    let at = world.at;
    if let Some(broken) = world.broken.take() {
        return Err(broken);
    }
    watch(world);
    for node in world.nodes.values_mut() {
        let time = node.engine.group_time(node.now(at));
        // Who only reads stamps nothing, and takes the time that the others have.
        if time < node.group && node.slot.get() < world.plan.engines {
            let what =
                format!("group time of {} stepped back from {:?} to {time:?}", node.slot.get(), node.group);
            return Err(Violation { at, what });
        }
        node.group = time;
    }
    let slots: Vec<u8> = world.nodes.keys().copied().collect();
    for a in 0..world.plan.processes() {
        for b in (0..world.plan.processes()).filter(|b| *b != a) {
            let agree = |x: u8, y: u8| {
                world.nodes.get(&x).and_then(|n| n.engine.peer(slot(y))).is_some_and(|p| p.synced)
            };
            let well = world.is_awake(a)
                && world.is_awake(b)
                && world.net.is_quick(a, b)
                && agree(a, b)
                && agree(b, a);
            if well {
                world.clean.entry((a, b)).or_insert(at);
            } else {
                world.clean.remove(&(a, b));
            }
        }
    }
    for a in slots.iter().copied() {
        let long = |b: &u8| world.clean.get(&(a, *b)).is_some_and(|since| at - since >= CLEAN);
        let clean: Vec<u8> = slots.iter().copied().filter(long).collect();
        if !clean.is_empty() {
            let known = world.nodes[&a].tables.all(world.nodes[&a].now(at));
            clean.iter().try_for_each(|b| open_bits(world, &known, a, *b))?;
        }
    }
    Ok(())
}

/// What an engine begins with from disk has not become younger by that: while the process was away nobody used it.
//= SYNC-SIM-01
pub fn begins(world: &World, slot: u8, snapshot: &Snapshot) -> Result<(), Violation> {
    let node = &world.nodes[&slot];
    let away = (world.at - snapshot.at) / 1_000;
    let held = snapshot.ages();
    for (place, view) in node.tables.all(node.now(world.at)) {
        let idle = held.get(&place).map_or(0, |age| age + away);
        if !view.record.tombstone && idle > view.record.age_ms + LATE / 1_000 {
            let ip = place.1.to_ip();
            let what = format!("{slot} begins with {ip}, unused for {idle} ms, as {}", short(&view.record));
            return Err(violation(world, what));
        }
    }
    Ok(())
}

/// What every engine holds of the client that is watched, and what it has open.
fn watch(world: &World) {
    let Some(key) = world.watched else { return };
    for (table, node) in (0..TABLES.len()).flat_map(|table| world.nodes.values().map(move |n| (table, n))) {
        let view = node.tables.view(table, key, node.now(world.at));
        let open = node.open.get(&(table, key)).map_or(0, Vec::len);
        if view.is_some() || open > 0 {
            let held = view.map_or("nothing".into(), |view| short(&view.record));
            world.say(|| format!("  table {table} on {}: {held}; {open} connections", node.slot.get()));
        }
    }
}

/// What `b` has open `a` knows of, and nothing that it has not.
fn open_bits(world: &World, known: &BTreeMap<Place, EntryView>, a: u8, b: u8) -> Result<(), Violation> {
    let other = &world.nodes[&b];
    let bit = 1u64 << b;
    for (place, since) in &other.open {
        let long = since.first().is_some_and(|since| world.at - since >= CLEAN);
        let view = known.get(place);
        if long && view.is_none_or(|view| view.record.open & bit == 0) {
            let ip = place.1.to_ip();
            return Err(violation(
                world,
                format!(
                    "{a} does not know that {b} has {ip} open: {}",
                    view.map_or_else(String::new, |v| short(&v.record))
                ),
            ));
        }
    }
    for place in known.iter().filter(|(_, view)| view.record.open & bit != 0).map(|(place, _)| place) {
        let open = other.open.get(place).is_some_and(|since| !since.is_empty());
        let lately = other.closed.get(place).is_some_and(|closed| world.at - closed < CLEAN);
        if !open && !lately {
            let ip = place.1.to_ip();
            return Err(violation(world, format!("{a} holds {ip} open for {b}, which has closed it")));
        }
    }
    Ok(())
}

/// When a slot is given to another engine: nobody takes anything for open on it.
//= SYNC-SLOT-02
pub fn given(world: &World, slot: EngineSlot) -> Result<(), Violation> {
    let bit = 1u64 << slot.get();
    for (b, node) in world.nodes.iter().filter(|(b, _)| **b != slot.get() && **b < world.plan.engines) {
        let known = node.tables.all(node.now(world.at));
        let open = known.iter().find(|(_, view)| view.record.open & bit != 0);
        let heard = node.engine.peer(slot).is_some_and(|peer| peer.connected);
        if heard || open.is_some() {
            let what = open.map_or("is connected with it".to_owned(), |(place, _)| {
                format!("takes {} for open on it", place.1.to_ip())
            });
            return Err(violation(world, format!("slot {} is given away while {b} {what}", slot.get())));
        }
    }
    Ok(())
}

/// Before a client is sent to the server of its entry.
pub fn before_use(world: &mut World, on: u8, place: Place) -> Result<(), Violation> {
    let at = world.at;
    let open_somewhere = world.open_places().contains(&place);
    let last = world.ledger.last_use(place);
    let life = u64::from(TABLES[place.0].2) * SECOND;
    let Some(node) = world.nodes.get_mut(&on) else { return Ok(()) };
    let now = node.now(at);
    let (partition, catalog, key) = node.tables.at(place.0, place.1);
    let found = partition.get(catalog, &key, now);
    let removed = partition.entry(catalog, &key, now).is_some_and(|view| view.record.tombstone);
    let ip = place.1.to_ip();
    if found.is_some() && !open_somewhere && at - last > life + LATE {
        let idle = (at - last) / SECOND;
        return Err(violation(
            world,
            format!("{on} sends {ip} to its server after {idle} s without any use"),
        ));
    }
    if found.is_none() && !removed {
        for (b, other) in &world.nodes {
            let since = other.open.get(&place).and_then(|since| since.first());
            let clean = *b == on || world.clean.get(&(on, *b)).is_some_and(|since| at - since >= CLEAN);
            if clean && since.is_some_and(|since| at - since >= CLEAN) {
                return Err(violation(world, format!("{ip} ended on {on} while {b} had it open")));
            }
        }
    }
    Ok(())
}

/// Whether a frame belongs to what it costs to mend a difference: lists, what is wanted of them, and what is sent.
pub fn mends(bytes: &[u8]) -> bool {
    // As golden bytes hold them: repair, lists, want; values by what they say of themselves.
    match bytes.get(4) {
        Some(7 | 11 | 12) => true,
        Some(16) => matches!(wire::Frame::decode(&bytes[4..]), Ok(Frame::Values(_, live, _)) if !live),
        _ => false,
    }
}

/// How many keys end, or come so near their end that they are not compared, in so many microseconds: two engines may find
/// them different for a moment.
pub fn changing(world: &World, micros: u64) -> u64 {
    // Idle times differ by 12 s at most, and so near its end nothing is compared.
    let soon = micros / 1_000 + 26_000;
    let mut keys = std::collections::BTreeSet::new();
    for node in world.nodes.values() {
        let now = node.now(world.at);
        for (place, view) in node.tables.all(now) {
            let removed_lately = view.record.tombstone && view.record.age_ms < 40_000;
            if removed_lately || view.left_ms.is_some_and(|left| left < soon) {
                keys.insert(place);
            }
        }
        let group = node.engine.group_time(now);
        let all = node.tables.values.all(0..=u64::MAX);
        for (_, _, key, item) in all {
            let ends = match item {
                Item::Bytes(written) => Some(written.ends),
                Item::Counts(shares) => shares.iter().map(|share| share.ends).min(),
            };
            if ends.is_some_and(|ends| ends.0 < group.0 + soon) {
                keys.insert((TABLES.len(), key));
            }
        }
    }
    keys.len() as u64
}

/// While nothing differs comparisons send sums, and nothing else; each key that ends may cost a few frames.
//= SYNC-ROUND-01
pub fn quiet(world: &World, changing: u64) -> Result<(), Violation> {
    let engines = |(a, b): &(u8, u8)| *a.max(b) < world.plan.engines;
    let loud = world.mending.iter().find(|(pair, frames)| engines(pair) && **frames > 4 * changing);
    loud.map_or(Ok(()), |((a, b), frames)| {
        let what = format!("{a} and {b} are equal and mend with {frames} frames, while {changing} keys end");
        Err(violation(world, what))
    })
}

/// How many comparisons each two have ended that speak with one another.
pub fn compared(world: &World) -> BTreeMap<(u8, u8), u64> {
    let mut ended = BTreeMap::new();
    for (a, node) in &world.nodes {
        for b in world.nodes.keys().filter(|b| *b != a) {
            if let Some(peer) = node.engine.peer(slot(*b)).filter(|peer| peer.connected) {
                let most: &mut u64 = ended.entry((*a.min(b), *a.max(b))).or_default();
                *most = peer.rounds.max(*most);
            }
        }
    }
    ended
}

/// Each two end comparisons, whatever these find: one that never ended would find nothing.
pub fn goes_on(world: &World, before: &BTreeMap<(u8, u8), u64>) -> Result<(), Violation> {
    let now = compared(world);
    let stands = before.iter().find(|(pair, ended)| now.get(pair).is_none_or(|now| now <= ended));
    stands.map_or(Ok(()), |((a, b), ended)| {
        Err(violation(world, format!("{a} and {b} have ended no comparison after the first {ended}")))
    })
}

/// Of how many keys one engine has something of which the other has nothing.
fn keeps_more(world: &World, one: u8, other: u8) -> usize {
    let [one, other] = [one, other].map(|n| &world.nodes[&n]);
    let known = other.tables.all(other.now(world.at));
    let values = |node: &Node| {
        let all = node.tables.values.all(0..=u64::MAX);
        all.map(|(_, table, key, _)| (table, key)).collect::<std::collections::BTreeSet<_>>()
    };
    let entries = one.tables.all(one.now(world.at));
    entries.keys().filter(|place| !known.contains_key(place)).count()
        + values(one).difference(&values(other)).count()
}

/// What who only reads cannot know: where engines of an earlier protocol, which does not speak with it, have connections, or had
/// some lately. Each engine is believed about its own connections only, so that such an entry ends there earlier.
fn untold(world: &World) -> std::collections::BTreeSet<Place> {
    let lately = |(place, closed): (&Place, &u64)| {
        let life = u64::from(TABLES[place.0].2) * SECOND;
        (world.at - closed < life + LATE).then_some(*place)
    };
    let open = |(place, since): (&Place, &Vec<u64>)| (!since.is_empty()).then_some(*place);
    let old = world.nodes.values().filter(|node| node.speaks < PROTOCOL_READERS);
    old.flat_map(|n| n.open.iter().filter_map(open).chain(n.closed.iter().filter_map(lately))).collect()
}

/// When all is healed and nobody has done anything for a while. Gives the number of entries.
//= SYNC-SIM-01
pub fn at_the_end(world: &mut World) -> Result<usize, Violation> {
    let at = world.at;
    if world.nodes.len() != usize::from(world.plan.processes()) {
        return Err(violation(world, format!("only {} engines run", world.nodes.len())));
    }
    let untold = untold(world);
    for (a, node) in &world.nodes {
        for b in world.nodes.keys().filter(|b| *b != a) {
            // Who only reads is not spoken with by an earlier protocol.
            let read = *a.max(b) >= world.plan.engines;
            if read && node.speaks.min(world.nodes[b].speaks) < PROTOCOL_READERS {
                continue;
            }
            let peer = node.engine.peer(slot(*b)).filter(|p| p.connected && p.synced);
            let Some(peer) = peer else {
                return Err(violation(world, format!("{a} is not in sync with {b}")));
            };
            let proven = peer.proven.map_or(0, |now| now.0 - node.mono);
            // What was lost with an engine who only reads keeps, and what it cannot know ends there earlier: each comparison
            // finds that, and nothing else.
            let known = if read { keeps_more(world, *a.max(b), *a.min(b)) + untold.len() } else { 0 };
            let is_explained = known > 0 && peer.differing as usize <= known;
            if at - proven.min(at) > 35 * SECOND && !is_explained || peer.waiting > 0 {
                return Err(violation(world, format!("{a} has not proven that it equals {b}: {peer:?}")));
            }
        }
    }
    let mut tables: Vec<_> = world.nodes.values().map(|n| (n.slot.get(), n.tables.all(n.now(at)))).collect();
    // What only reads may still have what was lost with an engine, and has all that the others have.
    let is_told =
        tables.iter().any(|(n, _)| *n < world.plan.engines && world.nodes[n].speaks >= PROTOCOL_READERS);
    let read = tables.split_off(usize::from(world.plan.engines)).pop().filter(|_| is_told);
    let places: std::collections::BTreeSet<Place> =
        tables.iter().flat_map(|(_, t)| t.keys().copied()).collect();
    for place in &places {
        let ip = place.1.to_ip();
        let views: Vec<_> = tables.iter().map(|(slot, table)| (*slot, table.get(place))).collect();
        let there = views.iter().filter_map(|(_, view)| *view);
        // Each engine ends an entry by its own clock, and its hand comes by, and may leave a tombstone, in 10 s.
        // Idle times are equal to 12 s: where it has ended on one engine, others may have so much left.
        let gone = |view: &Option<&EntryView>| view.is_none_or(|view| view.record.tombstone);
        let read_gone = read.as_ref().is_some_and(|(_, table)| gone(&table.get(place)));
        let left_most =
            if views.iter().any(|(_, view)| gone(view)) || read_gone { AGES_DIFFER / 1_000 } else { 3_000 };
        let ends = |view: &EntryView| view.left_ms.is_some_and(|left| left < left_most);
        let ended = |view: &EntryView| view.record.tombstone && view.record.age_ms < AGES_DIFFER / 1_000;
        if there.clone().all(|view| ends(view) || ended(view)) {
            continue;
        }
        // Who was told of it by somebody who took it for open longer than it was keeps it a while longer; nobody is to be
        // sent to it for long, which is looked at when clients come. Where it has ended already it left a tombstone.
        let first = there.clone().find(|view| !view.record.tombstone);
        let one = there.clone().all(|v| {
            first.is_some_and(|first| {
                let (own, other) = (&v.record, &first.record);
                match own.tombstone {
                    true => {
                        (own.version.stamp, own.version.origin) == (other.version.stamp, other.version.origin)
                    }
                    false => (own.version, own.server) == (other.version, other.server),
                }
            })
        });
        let life = u64::from(TABLES[place.0].2) * SECOND;
        if one && !world.open_places().contains(place) && at > world.ledger.last_use(*place) + life {
            continue;
        }
        for (slot, view) in &views {
            let Some(view) = view else {
                return Err(violation(
                    world,
                    format!("table {}: {slot} lacks {ip}: {}", place.0, all_of(&views)),
                ));
            };
            let of = |r: &forebay_core::table::Record| {
                (r.version, r.tombstone, r.open, if r.tombstone { 0 } else { r.server.0 })
            };
            let first = views.iter().find_map(|(_, view)| *view).expect("somebody has it");
            // Ages are compared as coarsely when connections come back.
            let ages = view.record.age_ms.abs_diff(first.record.age_ms);
            if of(&view.record) != of(&first.record) || !view.record.tombstone && ages > AGES_DIFFER / 1_000 {
                return Err(violation(world, format!("table {}: {ip} differs: {}", place.0, all_of(&views))));
            }
            let open = (world.nodes.iter())
                .filter(|(_, n)| n.open.get(place).is_some_and(|since| !since.is_empty()))
                .fold(0u64, |bits, (n, _)| bits | 1 << n);
            if view.record.open != open {
                return Err(violation(
                    world,
                    format!("{ip} is open on {open:b}, {slot} says {:b}", view.record.open),
                ));
            }
            if let Some((reader, table)) = read.as_ref().filter(|_| !untold.contains(place)) {
                let read = table.get(place);
                // Of two removals of one life it may have that which the engines have lost: they are as strong.
                let life = |r: &forebay_core::table::Record| (r.version.birth, r.version.switches, r.open);
                let same = |read: &forebay_core::table::Record| match read.tombstone && view.record.tombstone
                {
                    true => life(read) == life(&view.record),
                    false => of(read) == of(&view.record),
                };
                if read.is_none_or(|read| !same(&read.record)) {
                    let views = [(*reader, read), (*slot, Some(*view))];
                    return Err(violation(
                        world,
                        format!("table {}: {ip} is read: {}", place.0, all_of(&views)),
                    ));
                }
            }
        }
    }
    world.note_all_open();
    let (first, table) = &tables[0];
    for write in world.ledger.required(at) {
        let rule = TABLES[write.place.0].1;
        let ip = write.place.1.to_ip();
        let Some(view) = table.get(&write.place) else {
            let ends = u64::from(TABLES[write.place.0].2) * SECOND;
            let last = world.ledger.last_use_of(&write, true);
            // It may have ended by the idle time that another engine knew.
            let ended = at - last + AGES_DIFFER > ends;
            if rule == Rule::Last && world.ledger.was_removed(&write) || ended && !write.record.tombstone {
                continue;
            }
            return Err(violation(
                world,
                format!(
                    "table {}: {ip} is lost: {} of {} s",
                    write.place.0,
                    short(&write.record),
                    write.at as f64 / 1e6
                ),
            ));
        };
        // A life that began over a tombstone leaves one that is as strong.
        let (v, w) = (view.record.version, write.record.version);
        let removed = view.record.tombstone && write.record.tombstone;
        if removed && (v.birth, v.switches) == (w.birth, w.switches) {
            continue;
        }
        // It ended, where nobody could know that it was in use elsewhere, and left this tombstone.
        if view.record.tombstone && (v.stamp, v.origin) == (w.stamp, w.origin) {
            continue;
        }
        let server = world.nodes[first].tables.catalog.name_of(view.record.server).unwrap_or(0);
        if rank(rule, &view.record, server) < rank(rule, &write.record, write.server) {
            let what = format!(
                "table {}: {ip}: acknowledged at {} s: {}; held: {}",
                write.place.0,
                write.at as f64 / 1e6,
                short(&write.record),
                short(&view.record)
            );
            return Err(violation(world, what));
        }
    }
    Ok(places.len())
}
