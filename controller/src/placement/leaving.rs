//! Clients of an engine that was left: when their time is over the engine is asked to end what they have under way, and people
//! are told how much that was.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use forebay_core::place::EngineState;
use forebay_model::compile::uuid_of;
use serde_json::json;

use super::driver::Known;
use super::events::Event;
use super::planning::{Seen, of};
use super::state::Phase;
use crate::api::{App, clock};
use crate::store::Store;

/// How long an engine may take to end what is open when its clients' time is over, milliseconds: then it is left all the same.
pub(super) const CLOSING_MS: u64 = 5_000;
/// How long it is waited for its answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// A virtual service that has left an engine, whose clients there have had their time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Overdue {
    /// The engine's uuid.
    pub engine: String,
    /// The virtual service's.
    pub vs: String,
    /// Until when they had time, milliseconds since 1970.
    pub until: u64,
}

impl Known {
    /// Somebody's time to leave is over: else nobody need look at what engines tell.
    fn is_overdue(&self, now: u64) -> bool {
        let mut members = self.units.values().flat_map(|unit| &unit.members);
        members.any(|member| matches!(member.phase, Phase::Leaving { until } if now >= until))
    }

    /// Clients whose time is over and that are still there.
    pub(super) fn overdue(&self, seen: &[Seen], now: u64) -> BTreeSet<Overdue> {
        let mut all = BTreeSet::new();
        for (key, unit) in &self.units {
            for member in &unit.members {
                let Phase::Leaving { until } = member.phase else { continue };
                let Some((wanted, _)) = of(&self.world, key).filter(|_| now >= until) else { continue };
                let engine = seen.iter().find(|seen| seen.uuid == member.engine);
                let Some(engine) = engine.filter(|engine| engine.state == EngineState::Up) else { continue };
                let has_clients =
                    |uuid: &String| engine.services.get(uuid).is_some_and(|told| told.connections > 0);
                let left = wanted.services.iter().map(|vs| &vs.uuid).filter(|uuid| has_clients(uuid));
                all.extend(left.map(|vs| Overdue { engine: member.engine.clone(), vs: vs.clone(), until }));
            }
        }
        all
    }
}

/// Asks engines to end what their clients have under way though their time is over: each is asked once.
//= SCALE-IN-02
pub(super) fn end_overdue<S: Store + 'static>(app: &Arc<App<S>>, asked: &mut BTreeSet<Overdue>) {
    if !app.placement.is_moving() {
        asked.clear();
        return;
    }
    let (known, now) = (app.placement.known(), clock());
    let overdue = if known.is_overdue(now) { known.overdue(&app.seen(), now) } else { BTreeSet::new() };
    asked.retain(|one| overdue.contains(one));
    for one in overdue {
        if asked.insert(one.clone()) {
            let app = Arc::clone(app);
            tokio::spawn(async move { end(&app, &one).await });
        }
    }
}

async fn end<S: Store>(app: &App<S>, overdue: &Overdue) {
    let Overdue { engine, vs, .. } = overdue;
    let request = json!({"command": "close", "service": vs});
    let why = match app.engines.ask(engine, request, PATIENCE).await {
        Ok(said) if said["ok"] == true => {
            let cut = said["data"]["cut"].as_u64().unwrap_or(0);
            // Who hears that it is done finds the event.
            tell(app, overdue, cut).await;
            app.engines.emptied(engine, |name| uuid_of(name) == vs);
            return;
        }
        Ok(said) => said["error"]["reason"].as_str().unwrap_or("the engine does not say").to_owned(),
        Err(why) => why,
    };
    // An engine of an older version does not know the question: what is open there ends with the service.
    tracing::warn!(
        event = "CONTROLLER_CLIENTS_NOT_CUT",
        engine,
        vs,
        why,
        "an engine is left with clients on it"
    );
}

async fn tell<S: Store>(app: &App<S>, overdue: &Overdue, cut: u64) {
    if cut == 0 {
        return;
    }
    let known = app.placement.known();
    let Some((wanted, settings)) = known.world.of.get(&overdue.vs).and_then(|key| of(&known.world, key))
    else {
        return;
    };
    let Some(vs) = wanted.services.iter().find(|vs| vs.uuid == overdue.vs) else { return };
    let engine =
        app.engines.get(&overdue.engine).map_or_else(|| overdue.engine.clone(), |engine| engine.name.clone());
    let event = Event {
        id: "SE_VS_DEL_FLOWS_DISRUPTED",
        kind: "virtualservice",
        uuid: vs.uuid.clone(),
        name: vs.name.clone(),
        tenant: vs.tenant.clone(),
        text: format!(
            "{}: {cut} connections and requests on {engine} were cut, vs_scalein_timeout ({} s) was over",
            vs.name,
            settings.scalein_ms / 1000
        ),
        details: Some((
            "se_vs_del_flows_disrupted",
            json!({"deleted_vs_name": vs.name, "num_vs_flows_disrupted": cut, "reporting_se_name": engine}),
        )),
        related: vec![overdue.engine.clone()],
    };
    app.placement.tell(&app.store, &[event], clock()).await;
}
