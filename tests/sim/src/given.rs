//! What one that only reads had when the last engine ended: engines that start then must have it before they serve.

use std::collections::BTreeMap;

use forebay_core::table::{EntryView, KeyBytes, TableId};
use forebay_objsync::values::Item;

use crate::check::short;
use crate::ledger::{Place, Rank};
use crate::node::{Node, TABLES};
use crate::plan::SECOND;
use crate::slot;
use crate::values::share_of;
use crate::world::{Violation, World};

/// Milliseconds before its end from which an entry is not looked at: idle times are equal to 12 s, and each engine ends it by
/// its own clock.
const NEAR_MS: u64 = 20_000;

/// See the module.
#[derive(Debug)]
pub struct Left {
    at: u64,
    entries: BTreeMap<Place, (Rank, EntryView)>,
    values: Vec<(TableId, KeyBytes, Item)>,
}

impl Left {
    /// What is left, if nobody runs but the one that only reads.
    pub fn of(world: &World) -> Option<Self> {
        let mut nodes = world.nodes.values();
        let reader = nodes.next().filter(|node| node.slot.get() == world.plan.engines)?;
        let views = reader.tables.all(reader.now(world.at)).into_iter();
        let entries = views.filter_map(|(place, view)| Some((place, (reader.rank(place, world.at)?, view))));
        let values = reader.tables.values.all(0..=u64::MAX);
        let values = values.map(|(_, table, key, item)| (table, key, item.clone())).collect();
        Some(Self { at: world.at, entries: entries.collect(), values })
    }

    /// What an engine that has just joined lacks of it.
    //= SYNC-GIVE-01
    pub fn lacking(&self, world: &World, on: u8) -> Option<Violation> {
        let node = world.nodes.get(&on).filter(|_| on < world.plan.engines)?;
        // One that is not there is waited for 2 s, and nobody then.
        node.engine.peer(slot(world.plan.engines)).filter(|reader| reader.connected)?;
        let passed_ms = (world.at - self.at) / 1_000;
        let lives = |(place, (_, view)): &(&Place, &(Rank, EntryView))| {
            let whole = u64::from(TABLES[place.0].2) * SECOND / 1_000;
            view.record.tombstone || view.left_ms.unwrap_or(whole) > passed_ms + NEAR_MS
        };
        let lacked = |(place, (rank, _)): &(&Place, &(Rank, EntryView))| {
            node.rank(**place, world.at).is_none_or(|held| held < *rank)
        };
        let entry = self.entries.iter().filter(lives).find(lacked).map(|(place, (_, view))| {
            let held = node.tables.view(place.0, place.1, node.now(world.at));
            let held = held.map_or_else(|| "nothing".to_owned(), |view| short(&view.record));
            format!("{} was {}; held: {held}", place.1.to_ip(), short(&view.record))
        });
        let what = entry.or_else(|| {
            let value =
                self.values.iter().find(|(table, key, item)| lacks_value(node, world, *table, *key, item));
            value.map(|(_, key, item)| format!("value {key:?} was {item:?}"))
        })?;
        let what = format!("{on} serves and lacks what was left with one that only reads: {what}");
        Some(Violation { at: world.at, what })
    }
}

fn lacks_value(node: &Node, world: &World, table: TableId, key: KeyBytes, was: &Item) -> bool {
    let group = node.engine.group_time(node.now(world.at));
    let whole = node.tables.catalog.key(table, key);
    let held = node.tables.values.item(&whole, key, group);
    match was {
        Item::Bytes(was) if was.ends.0 > group.0 + NEAR_MS => {
            !matches!(&held, Some(Item::Bytes(now)) if (now.stamp, now.origin) >= (was.stamp, was.origin))
        }
        Item::Bytes(_) => false,
        Item::Counts(shares) => shares
            .iter()
            .filter(|share| share.ends.0 > group.0 + NEAR_MS)
            .any(|share| share_of(held.as_ref(), share) < share.n),
    }
}
