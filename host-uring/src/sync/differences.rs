//! Where members keep other tables than this engine, in words.

use forebay_core::table::EngineSlot;
use forebay_objsync_tokio::Differences;

use crate::persist::Store;

/// Tables that an event names; of the rest it says how many they are.
const NAMED_MAX: usize = 8;

/// Says so in the log.
//= SYNC-TABLES-01
pub(super) fn say(slot: EngineSlot, how: &Differences, store: &Store) {
    let slot = slot.get();
    if how.count() == 0 {
        tracing::info!(event = "OBJSYNC_TABLES_AGREE", slot, "a member has the same tables again");
        return;
    }
    tracing::warn!(
        event = "OBJSYNC_TABLES_DIFFER",
        slot,
        "a member's configuration is another one: {}; what only one of them has is not shared, and entries end by the \
         time-out of each; load the same on all",
        in_words(how, store).join("; ")
    );
}

/// Each difference in a few words.
pub fn in_words(how: &Differences, store: &Store) -> Vec<String> {
    let named = |tables: &[u64], what: &str| {
        let names: Vec<String> =
            tables.iter().take(NAMED_MAX).filter_map(|name| store.table_in_words(*name)).collect();
        let more = tables.len() - names.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!tables.is_empty()).then(|| format!("{what}: {}{more}", names.join(", ")))
    };
    // Their names are known there alone.
    let there = (!how.there.is_empty()).then(|| format!("{} tables that it has alone", how.there.len()));
    [
        named(&how.otherwise, "another kind of keys or another time-out"),
        named(&how.servers, "other servers"),
        named(&how.here, "it lacks the table"),
        there,
    ]
    .into_iter()
    .flatten()
    .collect()
}
