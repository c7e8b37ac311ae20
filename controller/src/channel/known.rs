//! Engines come and go with their objects.

use std::sync::Arc;

use crate::api::App;
use crate::store::Store;

/// Keeps the list of engines as the objects say, until dropped.
pub async fn keep_known<S: Store>(app: Arc<App<S>>) {
    let mut changes = app.objects.follow();
    loop {
        changes.mark_unchanged();
        let gone = app.engines.learn(&app.objects.now(), &app.members);
        for uuid in gone {
            tracing::info!(
                event = "ENGINE_DELETED",
                engine = uuid,
                "an engine is none any more: its certificate is good for nothing"
            );
            if let Err(refusal) = app.members.leave(&app.store, &uuid).await {
                tracing::warn!(engine = uuid, %refusal, "its slot stays taken until the Controller starts anew");
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}
