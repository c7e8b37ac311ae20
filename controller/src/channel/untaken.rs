//! What engines could not take of their configurations, as it becomes known to people.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use forebay_wire::proto::Report;

use crate::api::{App, clock};
use crate::engines::Untaken;
use crate::placement::Event;
use crate::store::Store;

/// Services of one report that have an event of their own: what breaks at once for more of them has one cause.
const TOLD_MAX: usize = 100;

type All = BTreeMap<String, Untaken>;

/// It says so, or that there is nothing.
pub fn told_by(report: &Report) -> bool {
    report.whole || report.untaken.is_some()
}

/// What is known of this engine.
pub fn of<S: Store>(app: &App<S>, engine: &str) -> All {
    app.engines.get(engine).map(|engine| engine.untaken.clone()).unwrap_or_default()
}

/// Tells what is new since.
//= CHAN-PART-06
pub fn tell<S: Store + 'static>(app: &Arc<App<S>>, uuid: &str, before: &All) {
    let Some(engine) = app.engines.get(uuid) else { return };
    let now = &engine.untaken;
    if now == before {
        return;
    }
    // Of other services it has nothing to tell.
    let placed: BTreeSet<String> = app.placement.known().on(uuid).into_iter().map(|has| has.vs).collect();
    let mut events = Vec::new();
    for (vs, one) in now.iter().filter(|(vs, one)| placed.contains(*vs) && before.get(*vs) != Some(*one)) {
        let why = one.why.join("; ");
        let left_out = one.is_left_out;
        tracing::warn!(
            event = "ENGINE_SERVICE_REFUSED",
            engine = uuid,
            vs,
            left_out,
            why,
            "an engine could not take a service as it is"
        );
        let how =
            if left_out { "does not serve it" } else { "serves it as it was before, or without a part" };
        events.push(("VS_CONFIG_REFUSED", vs, format!("{} {how}: {why}", engine.name)));
    }
    for vs in before.keys().filter(|vs| placed.contains(*vs) && !now.contains_key(*vs)) {
        tracing::info!(
            event = "ENGINE_SERVICE_TAKEN",
            engine = uuid,
            vs,
            "an engine has taken a service as it is"
        );
        events.push(("VS_CONFIG_TAKEN", vs, format!("{} has it as it is", engine.name)));
    }
    let objects = app.objects.now();
    let told = events.into_iter().take(TOLD_MAX).filter_map(|(id, vs, text)| {
        let object = objects.get("virtualservice", vs)?.object();
        let word = |field: &str| object.get(field)?.as_str().map(str::to_owned);
        let name = word("name").unwrap_or_default();
        Some(Event {
            id,
            kind: "virtualservice",
            uuid: vs.clone(),
            text: format!("{name}: {text}"),
            name,
            tenant: word("tenant_ref")?.rsplit('/').next()?.to_owned(),
            details: None,
            related: vec![uuid.to_owned()],
        })
    });
    let told: Vec<Event> = told.collect();
    drop(objects);
    let app = Arc::clone(app);
    tokio::spawn(async move { app.placement.tell(&app.store, &told, clock()).await });
}
