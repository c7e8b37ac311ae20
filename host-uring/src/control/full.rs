//! Says when the persistence table is full.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Tables;
use crate::limits::{TABLE_FULL_TELL_S, TABLE_LOOK_MS};

/// Looks at the table now and then, and warns while entries have to go before their time or find no room.
//= OBS-PERSIST-02
pub async fn watch(tables: Arc<dyn Tables>) {
    let mut look = tokio::time::interval(Duration::from_millis(TABLE_LOOK_MS));
    let (mut evictions, mut refusals) = (Teller::default(), Teller::default());
    loop {
        look.tick().await;
        let (view, now) = (tables.view(), Instant::now());
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
