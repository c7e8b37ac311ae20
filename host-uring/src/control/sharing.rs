//! Tables that other engines have as well: from the start of the process to its end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use forebay_core::table::GroupMillis;
use forebay_objsync::Event;

use super::State;
use super::supervisor::{Order, Orders};
use crate::limits::STOP_NOW_S;
use crate::sync;

/// Begins to share the tables. `anew`: no process before this one had them.
pub(super) fn share(
    state: &Arc<State>,
    way: sync::Way,
    floor: GroupMillis,
    anew: bool,
) -> anyhow::Result<()> {
    let objsync = &state.tree().objsync;
    let heard = Arc::clone(state);
    let hear = Arc::new(move |event: Event| {
        if let Event::Joined { .. } = event {
            heard.set_joined();
        }
    });
    let store = Arc::clone(&state.running().store);
    match way {
        sync::Way::Members(settings) => {
            let secrets = sync::secrets(objsync).map_err(|why| anyhow!(why))?;
            tokio::spawn(keep_snapshots(Arc::clone(state)));
            state.set_sync(sync::start(settings, &secrets, store, floor, hear)?);
        }
        sync::Way::Redis(place) => state.set_redis(sync::redis::start(objsync, place, anew, store, hear)?),
    }
    Ok(())
}

/// Writes the tables to disk now and then, and once more when the engine stops; a process that another one has taken over
/// from leaves that to it.
//= SYNC-DISK-01
async fn keep_snapshots(state: Arc<State>) {
    loop {
        let Some(place) = sync::place_of_snapshots(&state.tree().objsync) else {
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        tokio::time::sleep(place.every).await;
        if state.is_given() {
            return;
        }
        if state.has_joined() {
            let store = Arc::clone(&state.running().store);
            // It waits for a disk.
            let _ = tokio::task::spawn_blocking(move || place.write(&store)).await;
        }
    }
}

/// The engine listens once its tables are complete, or were waited for long enough.
//= SYNC-JOIN-02
pub(super) fn begin_once_joined(state: &Arc<State>, orders: &Orders) {
    let (state, orders) = (Arc::clone(state), orders.clone());
    tokio::spawn(async move {
        state.until_joined().await;
        orders.give_surely(Order::Begin).await;
    });
}

/// Another process has this one's place among the members from now on.
//= SYNC-UPGRADE-01
pub(super) fn give_up(state: &State) {
    if let Some(sync) = state.sync() {
        state.running().store.share_no_changes();
        sync.stop(Duration::ZERO);
    }
    if let Some(redis) = state.redis() {
        state.running().store.share_no_changes();
        redis.stop(Duration::ZERO);
    }
}

/// The process ends: its connections with members first, then its tables go to disk.
//= SYNC-DISK-01
pub(super) fn end(state: &State) {
    if let Some(redis) = state.redis() {
        let limit = if state.is_given() { Duration::ZERO } else { Duration::from_secs(STOP_NOW_S) };
        redis.stop(limit);
        state.running().store.share_no_changes();
    }
    let Some(sync) = state.sync() else { return };
    state.running().store.share_no_changes();
    sync.stop(Duration::from_secs(STOP_NOW_S));
    if let Some(place) = sync::place_of_snapshots(&state.tree().objsync)
        && state.has_joined()
        && !state.is_given()
    {
        place.write(&state.running().store);
    }
}
