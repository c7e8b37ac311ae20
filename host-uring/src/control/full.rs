//! Says when the persistence table fills up, and when it is full.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::tables::clients;
use super::{State, Tables};
use crate::limits::{TABLE_FULL_TELL_S, TABLE_HIGH_OVER_PERCENT, TABLE_HIGH_PERCENT, TABLE_LOOK_MS};

/// Looks at the table now and then, and warns before it is full and while entries have to go before their time or
/// find no room.
//= OBS-PERSIST-02
//= OBS-PERSIST-03
pub async fn watch(state: Arc<State>) {
    let mut level = Level::default();
    let mut look = tokio::time::interval(Duration::from_millis(TABLE_LOOK_MS));
    let (mut evictions, mut refusals) = (Teller::default(), Teller::default());
    loop {
        look.tick().await;
        let running = state.running();
        let (tables, tree) = (running.store.as_ref(), &running.tree);
        let (view, now) = (tables.view(), Instant::now());
        if level.tells(view.entries, view.capacity, now) {
            let mut pools = BTreeMap::new();
            for ((pool, _), clients) in clients(tables).await {
                *pools.entry(pool).or_insert(0_u64) += clients;
            }
            if let Some((pool, entries)) = pools.into_iter().max_by_key(|(_, entries)| *entries) {
                let pool = tree.pool(pool);
                tracing::warn!(
                    event = "SE_PERSIST_TBL_HIGH",
                    pool = pool.name,
                    r#type = pool.persistence.as_ref().map(|p| p.type_word()),
                    entries,
                    entries_of_all_pools = view.entries,
                    room = view.capacity,
                    "the persistence table is nearly full, most of it by this pool; raise engine.memory_gib or \
                     engine.persistence_mem_max_bytes, or shorten the time-outs of persistence"
                );
            }
        }
        if evictions.tells(view.evicted, now) {
            tracing::warn!(
                event = "TABLE_FULL",
                entries = view.entries,
                room = view.capacity,
                evicted = view.evicted,
                "the persistence table is full: the entries idle for longest go before their time; raise \
                 engine.memory_gib or engine.persistence_mem_max_bytes, or shorten the time-outs of persistence"
            );
        }
        if refusals.tells(view.refused, now) {
            tracing::warn!(
                event = "TABLE_REFUSES",
                entries = view.entries,
                room = view.capacity,
                refused = view.refused,
                "the persistence table is full of clients with open connections: new clients are served, but \
                 not remembered; raise engine.memory_gib or engine.persistence_mem_max_bytes"
            );
        }
    }
}

/// When a table that fills up is worth a line: once above the mark, again only after it was well below it, and not
/// more often than once in a while.
#[derive(Default)]
struct Level {
    high: bool,
    told: Option<Instant>,
}

impl Level {
    fn tells(&mut self, entries: u64, room: u64, now: Instant) -> bool {
        let percent = entries * 100 / room.max(1);
        if percent < TABLE_HIGH_OVER_PERCENT {
            self.high = false;
        }
        let pause = Duration::from_secs(TABLE_FULL_TELL_S);
        let rises =
            !self.high && percent >= TABLE_HIGH_PERCENT && self.told.is_none_or(|at| now - at >= pause);
        if rises {
            (self.high, self.told) = (true, Some(now));
        }
        rises
    }
}

/// When a count that grows is worth a line.
#[derive(Default)]
struct Teller {
    seen: u64,
    told: Option<Instant>,
}

impl Teller {
    /// Whether the count has grown since the last look, and nothing was told of it for a while.
    fn tells(&mut self, count: u64, now: Instant) -> bool {
        let more = count > std::mem::replace(&mut self.seen, count);
        let pause = Duration::from_secs(TABLE_FULL_TELL_S);
        let tells = more && self.told.is_none_or(|at| now - at >= pause);
        if tells {
            self.told = Some(now);
        }
        tells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test OBS-PERSIST-03
    #[test]
    fn a_table_that_fills_up_is_told_once_until_it_was_well_below_the_mark() {
        let (mut level, start, again) = (Level::default(), Instant::now(), TABLE_FULL_TELL_S);
        let looks =
            [(899, 0), (900, 1), (1000, 2), (850, 3), (900, again + 1), (799, again + 2), (900, again + 3)];
        let told = looks.map(|(entries, s)| level.tells(entries, 1000, start + Duration::from_secs(s)));
        assert_eq!(told, [false, true, false, false, false, false, true]);
        let soon = [(0, again + 4), (950, again + 5), (950, 2 * again + 3)];
        let told = soon.map(|(entries, s)| level.tells(entries, 1000, start + Duration::from_secs(s)));
        assert_eq!(told, [false, false, true], "not more often than once in a while");
        assert!(!Level::default().tells(0, 0, start), "no table");
    }

    //= test OBS-PERSIST-02
    #[test]
    fn a_count_that_grows_is_told_at_once_and_then_once_in_a_while() {
        let (mut teller, start) = (Teller::default(), Instant::now());
        let told: Vec<bool> =
            [(0, 0), (3, 1), (3, 2), (9, 3), (9, TABLE_FULL_TELL_S + 2), (10, TABLE_FULL_TELL_S + 3)]
                .into_iter()
                .map(|(count, s)| teller.tells(count, start + Duration::from_secs(s)))
                .collect();
        assert_eq!(told, [false, true, false, false, false, true]);
    }
}
