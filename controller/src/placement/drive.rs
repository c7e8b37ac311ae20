//! Who looks, and when: after each change of objects or engines, and from time to time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::leaving::end_overdue;
use crate::api::App;
use crate::store::Store;

/// The pause between two looks while something is under way, and between a change and the look at it: changes that come
/// together are looked at together.
const SOON: Duration = Duration::from_millis(100);
/// Of a processor a look at ten thousand services takes a tenth of a second: so often as long as a look took is paused.
const PAUSE: u32 = 2;
/// The pause between two looks while nothing is: an engine that has become silent is found by them.
const IDLE: Duration = Duration::from_secs(2);

/// Looks for ever.
pub async fn drive<S: Store + 'static>(app: Arc<App<S>>) {
    let mut objects = app.objects.follow();
    let mut engines = app.engines.follow();
    let mut asked = BTreeSet::new();
    loop {
        let began = Instant::now();
        if let Err(refusal) = app.place().await {
            tracing::warn!(event = "CONTROLLER_PLACEMENT_FAILED", %refusal, "placements stay as they are");
        }
        end_overdue(&app, &mut asked);
        tokio::time::sleep(SOON.max(began.elapsed() * PAUSE)).await;
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
