//! Says when the persistence table is full.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Tables;
use crate::limits::{TABLE_FULL_TELL_S, TABLE_LOOK_MS};

/// Looks at the table now and then, and warns while entries have to go before their time.
pub async fn watch(tables: Arc<dyn Tables>) {
    let mut look = tokio::time::interval(Duration::from_millis(TABLE_LOOK_MS));
    let mut evicted = 0;
    let mut told: Option<Instant> = None;
    loop {
        look.tick().await;
        let view = tables.view();
        let more = view.evicted > std::mem::replace(&mut evicted, view.evicted);
        if more && told.is_none_or(|at| at.elapsed() >= Duration::from_secs(TABLE_FULL_TELL_S)) {
            told = Some(Instant::now());
            tracing::warn!(
                event = "TABLE_FULL",
                entries = view.entries,
                room = view.capacity,
                evicted = view.evicted,
                "the persistence table is full: the entries idle for longest go before their time; raise \
                 engine.memory_gib or engine.persistence_mem_max_bytes, or shorten the time-outs of persistence"
            );
        }
    }
}
