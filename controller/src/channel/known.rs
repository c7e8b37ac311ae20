//! Engines come and go with their objects.

use std::sync::Arc;

use crate::api::App;
use crate::engines::KIND;
use crate::store::Store;

/// Keeps the list of engines as the objects say, until dropped.
pub async fn keep_known<S: Store>(app: Arc<App<S>>) {
    let mut changes = app.objects.follow();
    let mut seen = None;
    loop {
        changes.mark_unchanged();
        let gone = {
            let now = app.objects.now();
            // Of ten thousand changes one is of an engine.
            let since = seen.and_then(|seen| now.changed_since(seen));
            let is_news = since.is_none_or(|mut changed| changed.any(|id| id.kind == KIND));
            seen = Some(now.changed());
            if is_news { app.engines.learn(&now, &app.members) } else { Vec::new() }
        };
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
