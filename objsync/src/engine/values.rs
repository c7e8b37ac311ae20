//! Values that are no servers: told, taken, compared.

use alloc::vec::Vec;

use forebay_core::table::{EngineSlot, GroupMillis, KeyBytes, TableId};
use forebay_core::units::Now;

use super::live::shared;
use super::peer::Reply;
use super::sums::{Keys, Places};
use super::{Engine, Why};
use crate::limits::{AHEAD_MAX_MS, BATCH_BYTES, NEAR_END_MS, PROTOCOL_VALUES, VALUES_A_STEP};
use crate::merge::Rule;
use crate::shards::{Shards, Shared};
use crate::values::Item;
use crate::wire::{Frame, Held};

/// Bytes of an item in a frame, about.
const ITEM_BYTES: usize = 48;

/// Items of one table on their way into a frame.
pub(super) struct Holder {
    held: Held,
    pub bytes: usize,
}

impl Holder {
    pub(super) fn new(table: u64) -> Self {
        Self { held: Held { table, items: Vec::new() }, bytes: 0 }
    }

    pub(super) fn push(&mut self, key: KeyBytes, item: Item) {
        self.bytes += ITEM_BYTES
            + match &item {
                Item::Bytes(written) => written.value.as_ref().map_or(0, Vec::len),
                Item::Counts(shares) => shares.len() * ITEM_BYTES / 2,
            };
        self.held.items.push((key, item));
    }

    pub(super) fn len(&self) -> usize {
        self.held.items.len()
    }

    pub(super) fn held(self) -> Held {
        self.held
    }
}

impl Engine {
    /// The tables that a peer and this engine compare.
    //= SYNC-VALUE-02
    pub(super) fn tables_with<S: Shards>(&mut self, with: EngineSlot, shards: &S) -> Vec<Shared> {
        let knows = self.session(with).is_some_and(|session| session.protocol >= PROTOCOL_VALUES);
        shards.tables().iter().filter(|table| knows || !table.rule.is_value()).copied().collect()
    }

    /// The time by which values have ended or not.
    pub(super) fn value_time(&self, with: EngineSlot, now: Now) -> GroupMillis {
        self.time_with(with, now).map_or_else(|| self.clock.read(now), GroupMillis)
    }

    /// Values of a peer; see [`Engine::arrive`].
    pub(super) fn arrive_values<S: Shards>(
        &mut self,
        from: EngineSlot,
        live: bool,
        all: Vec<Held>,
        shards: &mut S,
        now: Now,
    ) -> Result<(), Why> {
        let (only_reads, follows) = (self.only_reads(), self.follows(from));
        let says_nothing = self.says_nothing(from);
        let group = self.value_time(from, now);
        for Held { table: name, items } in all {
            let Some(table) = shared(shards, name).filter(|table| table.rule.is_value()) else {
                self.figures.unknown += items.len() as u64;
                self.tell_untaken(from, name, true, items.into_iter().map(|(key, _)| key).collect(), now);
                continue;
            };
            let (mut answers, mut untaken) = (Vec::new(), Vec::new());
            for (bytes, item) in items {
                if matches!(item, Item::Bytes(_)) != (table.rule == Rule::Bytes) {
                    return Err(Why::Nonsense);
                }
                //= SYNC-TIME-03
                if self.clock.known() && item.made() > group.0.saturating_add(AHEAD_MAX_MS) {
                    self.figures.ahead += 1;
                    untaken.push(bytes);
                    continue;
                }
                self.latest_taken = self.latest_taken.max(item.made());
                let taken = shards.with_values(|values, catalog| {
                    let key = catalog.key(table.id, bytes);
                    let follows = follows && !live;
                    let became = if follows {
                        values.follow(&key, bytes, &item, group)
                    } else {
                        values.take(&key, bytes, &item, group)
                    };
                    (key.hash(), became)
                });
                let Some((hash, Ok(became))) = taken else {
                    self.figures.refused += 1;
                    untaken.push(bytes);
                    continue;
                };
                self.figures.applied += u64::from(became.changed);
                if let Some(session) = self.session(from) {
                    session.sum.applied += u64::from(became.changed);
                }
                if live {
                    self.recent.touch(hash);
                }
                match became.answer && !says_nothing {
                    true if live && !only_reads => self.tell(from, (table.id, bytes), now),
                    true => answers.push(bytes),
                    false => {}
                }
            }
            if live {
                self.tell_untaken(from, name, false, untaken, now);
            }
            if let Some(session) = self.session(from).filter(|_| !answers.is_empty()) {
                session.replies.push(Reply::Keys(table.id, answers));
            }
        }
        Ok(())
    }

    /// What is held of keys, as it is now.
    pub(super) fn items_of<S: Shards>(
        shards: &mut S,
        table: TableId,
        keys: &[KeyBytes],
        group: GroupMillis,
    ) -> Vec<(KeyBytes, Item)> {
        let items = shards.with_values(|values, catalog| {
            let items = keys
                .iter()
                .filter_map(|key| Some((*key, values.item(&catalog.key(table, *key), *key, group)?)));
            items.collect()
        });
        items.unwrap_or_default()
    }

    /// Sends a peer some of the values that it lacks; the rest waits for room.
    pub(super) fn repair_values<S: Shards>(
        &mut self,
        to: EngineSlot,
        table: &Shared,
        mut keys: Vec<KeyBytes>,
        shards: &mut S,
        now: Now,
    ) {
        let rest = keys.split_off(keys.len().min(VALUES_A_STEP));
        let items = Self::items_of(shards, table.id, &keys, self.value_time(to, now));
        self.figures.repaired += items.len() as u64;
        let clock = self.told_clock(now);
        let Some((session, out)) = self.session_of(to) else { return };
        if !rest.is_empty() {
            session.replies.push_rest(Reply::Keys(table.id, rest));
        }
        session.sum.repaired += items.len() as u64;
        let mut holder = Holder::new(table.name);
        let mut items = items.into_iter().peekable();
        while let Some((key, item)) = items.next() {
            holder.push(key, item);
            if holder.bytes >= BATCH_BYTES || items.peek().is_none() {
                let held = core::mem::replace(&mut holder, Holder::new(table.name)).held();
                session.send(to, clock, now, out, |head| Frame::Values(head, false, Vec::from([held])));
            }
        }
    }

    /// All keys of a table of values in a part of the hash space.
    pub(super) fn keys_in<S: Shards>(
        &self,
        shards: &mut S,
        table: TableId,
        part: core::ops::RangeInclusive<u64>,
        group: GroupMillis,
    ) -> Vec<KeyBytes> {
        let keys = shards.with_values(|values, _| {
            let inside = values.all(part).filter(|(_, id, ..)| *id == table);
            inside.filter_map(|(.., key, item)| item.alive(group).map(|_| key)).collect()
        });
        keys.unwrap_or_default()
    }
}

/// What is compared of the values of a range.
pub(super) struct Compared {
    pub hash: u64,
    pub place: u16,
    pub key: KeyBytes,
    pub term: u128,
}

/// The values of a part of the hash space that do not end soon, as sums take them in.
//= SYNC-VALUE-02
pub(super) fn compared<S: Shards>(
    keys: &Keys,
    shards: &mut S,
    part: core::ops::RangeInclusive<u64>,
    places: &Places,
    group: GroupMillis,
) -> Vec<Compared> {
    let all = shards.with_values(|values, _| {
        let inside = values.all(part).filter_map(|(hash, id, key, item)| {
            let (place, term) = (places.of_table(id)?, term_of(keys, hash, item, group)?);
            Some(Compared { hash, place, key, term })
        });
        inside.collect()
    });
    all.unwrap_or_default()
}

fn term_of(keys: &Keys, hash: u64, item: &Item, group: GroupMillis) -> Option<u128> {
    // Each engine ends it by its own reading of the group's time.
    let is_near = |stamp: u64, ends: GroupMillis| {
        let life = ends.0.saturating_sub(stamp >> 16);
        ends.0.saturating_sub(group.0) < NEAR_END_MS.min(life / 4).max(1)
    };
    match item {
        Item::Bytes(written) => {
            let value = keys.of_bytes(written.value.as_deref().unwrap_or_default());
            let marks = u64::from(written.origin.get()) | u64::from(written.value.is_none()) << 8;
            let words = [written.stamp, marks, written.ends.0, value as u64, (value >> 64) as u64];
            (!is_near(written.stamp, written.ends)).then(|| keys.term(hash, words))
        }
        Item::Counts(shares) => {
            let far = shares.iter().filter(|share| !is_near(share.began, share.ends));
            let terms = far.map(|share| {
                // Sums of shares must differ where two shares exchange what they hold.
                let hash = keys.of_share(hash, share.began, share.origin);
                keys.term(hash, [share.began, u64::from(share.origin.get()), share.ends.0, share.n, 1])
            });
            terms.reduce(u128::wrapping_add)
        }
    }
}
