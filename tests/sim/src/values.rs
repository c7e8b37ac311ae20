//! Values that are no servers: what engines write and count, and what must be left of it in the end.

use std::collections::{BTreeMap, BTreeSet};

use forebay_core::table::{EngineSlot, GroupMillis, KeyBytes};
use forebay_objsync::Input;
use forebay_objsync::limits::PROTOCOL_VALUES;
use forebay_objsync::values::{Item, Share, Written};

use crate::node::{Node, VALUES};
use crate::world::{Violation, World};

/// Tickets of values have this bit, those of entries not.
pub const TICKET: u64 = 1 << 63;

/// Milliseconds of group time before its end from which a value is not looked at: every engine reads that time a little
/// differently.
const NEAR_MS: u64 = 3_000;

/// Something that an engine wrote, or counted in one share.
#[derive(Clone, Debug)]
struct Said {
    place: (usize, KeyBytes),
    item: Item,
    by: u64,
    held_by: BTreeSet<u64>,
}

/// All that engines wrote.
#[derive(Debug, Default)]
pub struct ValueLedger {
    said: Vec<Said>,
    /// How often two engines had counted under one key when all was looked at.
    pub shared: usize,
}

impl ValueLedger {
    /// A peer has it.
    pub fn acknowledged(&mut self, ticket: u64, by: u64) {
        self.said[(ticket & !TICKET) as usize].held_by.insert(by);
    }

    /// The time of an engine went back: what it wrote later is not as it was written.
    pub fn went_back(&mut self, boot: u64, to: GroupMillis) {
        let is_later = |item: &Item| match item {
            Item::Bytes(written) => written.stamp >> 16 > to.0,
            Item::Counts(shares) => shares.iter().any(|share| share.began >> 16 > to.0),
        };
        for said in self.said.iter_mut().filter(|said| said.by == boot && is_later(&said.item)) {
            said.by = 0;
            said.held_by.clear();
        }
    }
}

/// One engine writes, removes or counts.
pub fn write(world: &mut World, on: u8, what: u64, key: u64, n: u64) {
    let at = world.at;
    let Some(node) = world.nodes.get_mut(&on) else { return };
    if node.speaks < PROTOCOL_VALUES || !node.engine.joined() {
        return;
    }
    let group = node.engine.group_time(node.now(at));
    let table = usize::from(what >= 5);
    let bytes = KeyBytes([key as u8; 16]);
    let id = node.tables.value_id(table);
    let whole = node.tables.catalog.key(id, bytes);
    let (slot, boot) = (node.slot, node.boot);
    let values = &mut node.tables.values;
    let text = n.to_string();
    let done = match what {
        0 => values.write(slot, &whole, bytes, None, group).is_ok(),
        1..5 => values.write(slot, &whole, bytes, Some(text.as_bytes()), group).is_ok(),
        _ => values.add(slot, &whole, bytes, n % 7 + 1, group).is_ok(),
    };
    assert!(done, "there is room for few values");
    let item = values.item(&whole, bytes, group).expect("it was just written");
    let item = match item {
        Item::Counts(shares) => {
            Item::Counts(shares.into_iter().filter(|share| share.origin == slot).collect())
        }
        bytes => bytes,
    };
    let ticket = world.values.said.len() as u64 | TICKET;
    world.say(|| format!("{on} has of value {key} of {table}: {item:?}"));
    world.values.said.push(Said { place: (table, bytes), item, by: boot, held_by: BTreeSet::new() });
    world.handle(on, Input::Changed(id, bytes, Some(ticket)));
}

fn all_of(node: &Node, group: GroupMillis) -> BTreeMap<(usize, KeyBytes), Item> {
    let all = node.tables.values.all(0..=u64::MAX);
    let table = |id| (0..VALUES.len()).find(|n| node.tables.value_id(*n) == id).expect("only those");
    let alive = |item: &Item| item.alive(GroupMillis(group.0 + NEAR_MS));
    all.filter_map(|(_, id, key, item)| Some(((table(id), key), alive(item)?))).collect()
}

/// How much of a share is counted.
pub fn share_of(item: Option<&Item>, share: &Share) -> u64 {
    let Some(Item::Counts(shares)) = item else { return 0 };
    shares.iter().find(|s| (s.origin, s.began) == (share.origin, share.began)).map_or(0, |s| s.n)
}

/// When all is healed.
//= SYNC-SIM-01
pub fn at_the_end(world: &mut World) -> Result<(), Violation> {
    let at = world.at;
    let broken = |what: String| Err(Violation { at, what });
    let nodes: Vec<&Node> = world.nodes.values().filter(|n| n.speaks >= PROTOCOL_VALUES).collect();
    // What is about to end for the one whose clock is ahead is looked at on nobody.
    let Some(group) = nodes.iter().map(|n| n.engine.group_time(n.now(at))).max() else { return Ok(()) };
    let engines = world.plan.engines;
    let tables: Vec<(u8, _)> = nodes.iter().map(|n| (n.slot.get(), all_of(n, group))).collect();
    let Some((first, ours)) = tables.first() else { return Ok(()) };
    for (other, theirs) in &tables[1..] {
        // What only reads may still have what was lost with an engine.
        let same = |place: &(usize, KeyBytes)| ours.get(place) == theirs.get(place);
        let all = ours.keys().chain(theirs.keys().filter(|_| *other < engines));
        if let Some(place) = all.into_iter().find(|place| !same(place)) {
            return broken(format!(
                "value {place:?} differs: {first}: {:?}; {other}: {:?}",
                ours.get(place),
                theirs.get(place)
            ));
        }
    }
    let alive: BTreeSet<u64> = nodes.iter().filter(|n| n.slot.get() < engines).map(|n| n.boot).collect();
    for said in &world.values.said {
        let holds = alive.contains(&said.by) || said.held_by.iter().any(|by| alive.contains(by));
        let held = ours.get(&said.place);
        match &said.item {
            Item::Bytes(wrote) if holds && wrote.ends.0 > group.0 + NEAR_MS => {
                let order = |w: &Written| (w.stamp, w.origin);
                let kept = matches!(held, Some(Item::Bytes(now)) if order(now) >= order(wrote));
                if !kept {
                    return broken(format!("value {:?} is lost: {wrote:?}; held: {held:?}", said.place));
                }
            }
            Item::Counts(shares) => {
                for share in shares.iter().filter(|s| holds && s.ends.0 > group.0 + NEAR_MS) {
                    if share_of(held, share) < share.n {
                        return broken(format!(
                            "counts of {:?} are lost: {share:?}; held: {held:?}",
                            said.place
                        ));
                    }
                }
            }
            Item::Bytes(_) => {}
        }
    }
    // And nothing is counted that nobody has counted: of each share the most that its engine ever said.
    let mut counted: BTreeMap<(KeyBytes, EngineSlot, u64), u64> = BTreeMap::new();
    for said in &world.values.said {
        if let Item::Counts(shares) = &said.item {
            for share in shares {
                let most = counted.entry((said.place.1, share.origin, share.began)).or_default();
                *most = share.n.max(*most);
            }
        }
    }
    for ((table, key), item) in ours {
        let Item::Counts(shares) = item else { continue };
        world.values.shared += usize::from(shares.len() > 1);
        let most = |s: &Share| counted.get(&(*key, s.origin, s.began)).copied().unwrap_or(0);
        if let Some(share) = shares.iter().find(|share| share.n > most(share)) {
            return broken(format!("counts of {:?} grew by themselves: {share:?}", (table, key)));
        }
        let sum: u64 = shares.iter().map(|share| share.n).sum();
        for node in &nodes {
            let whole = node.tables.catalog.key(node.tables.value_id(1), *key);
            let told = node.tables.values.sum(&whole, *key, GroupMillis(group.0 + NEAR_MS));
            if told != sum {
                return broken(format!("{} counts {told} under {key:?}, not {sum}", node.slot.get()));
            }
        }
    }
    Ok(())
}
