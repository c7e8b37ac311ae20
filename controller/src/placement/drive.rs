//! Who looks, and when: after each change of objects or engines, and from time to time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::leaving::end_overdue;
use crate::api::App;
use crate::store::Store;

/// The pause between two looks while something is under way, and between a change and the look at it: changes that come
/// together are looked at together.
const SOON: Duration = Duration::from_millis(100);
/// The pause between two looks while nothing is: an engine that has become silent is found by them.
const IDLE: Duration = Duration::from_secs(2);

/// Looks for ever.
pub async fn drive<S: Store + 'static>(app: Arc<App<S>>) {
    let mut objects = app.objects.follow();
    let mut engines = app.engines.follow();
    let mut asked = BTreeSet::new();
    loop {
        if let Err(refusal) = app.place().await {
            tracing::warn!(event = "CONTROLLER_PLACEMENT_FAILED", %refusal, "placements stay as they are");
        }
        end_overdue(&app, &mut asked);
        tokio::time::sleep(SOON).await;
        if app.placement.is_moving() {
            continue;
        }
        // Their senders live as long as the program.
        tokio::select! {
            _ = objects.changed() => {}
            _ = engines.changed() => {}
            () = tokio::time::sleep(IDLE) => {}
        }
    }
}
