//! Clients of a virtual service that has left this engine: what they have under way is ended when their time is over.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::State;
use super::mailbox::Cuts;
use super::refused::{Code, Refused, no_such};
use super::supervisor::{Order, Orders};
use crate::config::ServiceIndex;

/// How long workers may take; one that stands still does it when it goes on.
const PATIENCE: Duration = Duration::from_secs(2);
/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Ends what is under way for clients of a service, with all parts of it (`web`, `web/tls`), and says how much that was.
//= SE-CUT-03
pub(super) async fn close(state: &State, orders: &Orders, name: &str) -> Result<Value, Refused> {
    let tree = state.tree();
    let is_part = |service: &str| {
        service.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let all = (0..).map(ServiceIndex).zip(&tree.services);
    let found: Vec<_> = all.filter(|(_, service)| is_part(&service.name)).collect();
    if found.is_empty() {
        return Err(no_such(
            "virtual_service",
            name,
            tree.services.iter().map(|service| service.name.as_str()),
        ));
    }
    let lets_in = |at: ServiceIndex| tree.listeners.iter().any(|listener| listener.service == at);
    if let Some((_, open)) = found.iter().find(|(at, _)| lets_in(*at)) {
        let reason = format!("{} lets clients in: who is cut would come again", open.name);
        return Err(Refused::new(Code::Usage, reason, "switch it off first (enabled = false)"));
    }
    let services = found.iter().map(|(_, service)| service.id).collect();
    let cuts = Arc::new(Cuts { services, ..Cuts::default() });
    let (to, told) = oneshot::channel();
    orders.give_surely(Order::CutServices(Arc::clone(&cuts), to)).await;
    let workers = told.await.unwrap_or(0);
    let until = Instant::now() + PATIENCE;
    while cuts.done.load(Ordering::Acquire) < workers && Instant::now() < until {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let cut = cuts.cut.load(Ordering::Acquire);
    tracing::warn!(
        event = "SERVICE_CLIENTS_CUT",
        service = name,
        cut,
        "the time of a service's clients is over"
    );
    Ok(json!({ "service": name, "cut": cut, "all_workers": cuts.done.load(Ordering::Acquire) >= workers }))
}
