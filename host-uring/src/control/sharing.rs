//! Tables that other engines have as well: from the start of the process to its end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use forebay_core::table::GroupMillis;
use forebay_objsync::Event;
use forebay_snapshot::Objsync;

use super::State;
use super::supervisor::{Order, Orders};
use crate::limits::STOP_NOW_S;
use crate::rt::clock;
use crate::sync;

/// Begins to share the tables. `anew`: no process before this one had them.
pub(super) fn share(
    state: &Arc<State>,
    way: sync::Way,
    floor: GroupMillis,
    anew: bool,
) -> anyhow::Result<()> {
    tokio::spawn(keep_snapshots(Arc::clone(state)));
    begin(state, &state.tree().objsync, way, floor, anew)
}

fn begin(
    state: &Arc<State>,
    objsync: &Objsync,
    way: sync::Way,
    floor: GroupMillis,
    anew: bool,
) -> anyhow::Result<()> {
    let heard = Arc::clone(state);
    let hear = Arc::new(move |event: Event| {
        if let Event::Joined { .. } = event {
            heard.set_joined();
        }
    });
    let store = Arc::clone(&state.running().store);
    match way {
        sync::Way::Members(mut settings) => {
            settings.tables_of_its_own = state.is_led();
            let secrets = sync::secrets(objsync).map_err(|why| anyhow!(why))?;
            let sync = sync::start(settings, &secrets, store, floor, state.protocol_max(), hear)?;
            state.set_sharing(sync::Sharing::Members(Arc::new(sync)));
        }
        sync::Way::Redis(place) => {
            let redis = sync::redis::start(objsync, place, anew, store, hear)?;
            state.set_sharing(sync::Sharing::Redis(Arc::new(redis)));
        }
    }
    Ok(())
}

/// From now on the tables are shared the other way; they stay as they are. What other engines have open is not known until
/// they have said it by that way.
///
/// # Errors
/// The other way cannot be had: they are shared as before.
//= SYNC-SWITCH-01
pub(super) async fn switch(
    state: &Arc<State>,
    before: &Objsync,
    after: &Objsync,
    way: sync::Way,
) -> Result<(), Vec<String>> {
    let Some(old) = state.sharing() else { return Ok(()) };
    let store = Arc::clone(&state.running().store);
    let ended = Arc::clone(&store);
    // It waits for what is to be told yet, and for locks.
    let end = move || {
        old.stop(Duration::from_secs(STOP_NOW_S));
        ended.stand_alone(clock::now);
    };
    tokio::task::spawn_blocking(end).await.map_err(|panic| vec![panic.to_string()])?;
    // It never goes back, whoever takes it from here.
    let floor = store.group_time(clock::now());
    let Err(why) = begin(state, after, way, floor, false) else {
        let use_objsync = after.use_objsync;
        tracing::info!(
            event = "OBJSYNC_SWITCHED",
            use_objsync,
            "the tables are shared the other way from now on"
        );
        return Ok(());
    };
    let mut problems = vec![format!("{why:#}")];
    let back = sync::way(before).and_then(|way| {
        let way = way.ok_or_else(|| vec!["the tables were shared with nobody".to_owned()])?;
        begin(state, before, way, floor, false).map_err(|why| vec![format!("{why:#}")])
    });
    if let Err(why) = back {
        problems.push(format!(
            "and they cannot be shared as before, so the engine shares them with nobody; start it anew: {}",
            why.join("; ")
        ));
    }
    Err(problems)
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
    if let Some(sharing) = state.sharing() {
        state.running().store.share_no_changes();
        sharing.stop(Duration::ZERO);
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
