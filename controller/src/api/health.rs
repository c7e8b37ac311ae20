//! How well things are: what they counted in the last minute, and the score that is made of it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use axum::http::Method;
use forebay_metrics::{Key, Kind, Metric, Range, STEPS, Tally, find};
use forebay_model::kind;
use forebay_wire::tally::{engine, server, service};
use serde_json::{Value, json as value};

use super::answer::{Answer, bad, json};
use super::logs::tell_missing;
use super::metrics::{apdex_of, moment, told_until};
use super::request::Asked;
use super::session::Who;
use super::{App, inventory, penalty, runtime};
use crate::counted::READERS;
use crate::objects::{Catalogue, Held, Tenant};
use crate::parts::{Missing, Remote};
use crate::store::Store;

/// Slots of five seconds that count: the last minute.
const SLOTS: u64 = 12;
/// Of a resource of which so much is used, in percent, nothing is taken off.
const EASY: f64 = 80.0;
/// What is taken off when all of a resource is used.
const PENALTY_MAX: f64 = 25.0;

/// What things counted in the last minute.
#[derive(Default)]
pub struct Minute {
    tallies: HashMap<Key, Tally>,
    /// What is unusual of services, in words.
    unusual: HashMap<Key, Vec<String>>,
    length: u64,
    stop: u64,
    /// Controllers whose part is missing.
    pub missing: Vec<Missing>,
}

impl Minute {
    /// Reads it, away from the thread that answers. Where nothing is kept, nothing was counted.
    pub async fn read<S: Store>(app: &App<S>, keys: BTreeSet<Key>) -> Self {
        Self::of_slots(app, keys, told_until(), SLOTS, false).await
    }

    /// The same, and what is unusual of the services among them.
    pub async fn compared<S: Store>(app: &App<S>, keys: BTreeSet<Key>) -> Self {
        Self::of_slots(app, keys, told_until(), SLOTS, true).await
    }

    /// The same of so many slots before this moment.
    pub async fn over<S: Store>(app: &App<S>, keys: BTreeSet<Key>, stop: u64, slots: u64) -> Self {
        Self::of_slots(app, keys, stop, slots, false).await
    }

    async fn of_slots<S: Store>(
        app: &App<S>,
        keys: BTreeSet<Key>,
        stop: u64,
        slots: u64,
        compares: bool,
    ) -> Self {
        let range = Range::of(0, 0, stop, slots);
        let Some(series) = app.counted.series().map(Arc::clone) else { return Minute::default() };
        let keys: Vec<Key> = keys.into_iter().collect();
        // They are not closed.
        let Ok(_turn) = READERS.acquire().await else { return Minute::default() };
        let read = async {
            let services: Vec<Key> =
                keys.iter().filter(|key| compares && key.of == Kind::Service).cloned().collect();
            let remote = Remote { own: Arc::clone(&series), cluster: &app.cluster };
            let (found, mut missing) = remote.totals(keys.clone(), range).await?;
            let remote = Remote { own: series, cluster: &app.cluster };
            let (unusual, more) = app.counted.remembered.unusual(remote, services, stop).await?;
            missing.extend(more);
            missing.sort();
            missing.dedup();
            Ok::<_, forebay_metrics::Failure>((found, unusual, missing))
        };
        match read.await {
            Ok((found, unusual, missing)) => {
                let tallies = keys.into_iter().zip(found).filter_map(|(key, tally)| Some((key, tally?)));
                let length = slots * STEPS[0].0;
                Minute { tallies: tallies.collect(), unusual, length, stop, missing }
            }
            Err(failure) => {
                tracing::error!(event = "METRICS_NOT_READ", %failure, "series cannot be read");
                Minute::default()
            }
        }
    }

    fn of(&self, key: &Key) -> Option<&Tally> {
        self.tallies.get(key)
    }

    fn together<'k>(&self, keys: impl Iterator<Item = Key> + 'k) -> Tally {
        let mut all = Tally::default();
        keys.filter_map(|key| self.tallies.get(&key)).for_each(|tally| all.beside(tally));
        all
    }

    /// A metric of a thing, where it has any; Apdex by these durations of clients and of servers.
    pub fn value(&self, key: &Key, metric: &Metric, apdex_ms: (u64, u64)) -> Option<f64> {
        let apdex_ms = if metric.is_of(Kind::Server) { apdex_ms.1 } else { apdex_ms.0 };
        metric.value(self.of(key)?, self.length.max(1), apdex_ms)
    }

    /// Values as inventories have them; 0 where nothing was counted.
    //= MET-INVENTORY-01
    pub fn metrics(&self, key: &Key, ids: &[&str]) -> Value {
        let none = Tally::default();
        let tally = self.of(key).unwrap_or(&none);
        let one = |id: &&str| {
            let metric = find(id)?;
            let found = metric.value(tally, self.length.max(1), 500).unwrap_or(0.0);
            let header = value!({"name": metric.id, "units": metric.units, "entity_uuid": key.uuid});
            let data = value!({"timestamp": moment(self.stop), "value": found});
            Some((metric.id.to_owned(), value!({"header": header, "data": data})))
        };
        Value::Object(ids.iter().filter_map(one).collect())
    }
}

/// Whose counts say how an object is.
pub fn keys<S: Store>(app: &App<S>, now: &Catalogue, held: &Held) -> BTreeSet<Key> {
    match held.kind.path {
        "virtualservice" => {
            let pools = inventory::pools(now, held);
            let engines = engines_of(app, &held.uuid);
            pools
                .iter()
                .map(|id| Key::new(Kind::Pool, &id.uuid))
                .chain(engines.iter().map(|uuid| Key::new(Kind::Engine, uuid)))
                .chain([Key::new(Kind::Service, &held.uuid)])
                .collect()
        }
        "pool" => BTreeSet::from([Key::new(Kind::Pool, &held.uuid)]),
        "serviceengine" => BTreeSet::from([Key::new(Kind::Engine, &held.uuid)]),
        _ => BTreeSet::new(),
    }
}

fn engines_of<S: Store>(app: &App<S>, vs: &str) -> Vec<String> {
    let known = app.placement.known();
    known
        .of(vs)
        .map_or_else(Vec::new, |(unit, _)| unit.members.iter().map(|member| member.engine.clone()).collect())
}

/// A score with its parts, and why it is not 100.
pub struct Score {
    performance: f64,
    resources: f64,
    anomaly: f64,
    security: f64,
    why: Vec<String>,
}

impl Score {
    fn whole(&self) -> f64 {
        (self.performance - self.resources - self.anomaly - self.security).max(0.0)
    }

    /// As inventories have it.
    pub fn shown(&self) -> Value {
        let round = |score: f64| (score.round() as i64).clamp(0, 100);
        value!({
            "health_score": round(self.whole()),
            "performance_score": round(self.performance),
            "resources_penalty": round(self.resources),
            "anomaly_penalty": round(self.anomaly),
            "security_penalty": round(self.security),
            "reason": self.why,
        })
    }
}

/// The score of a virtual service, a pool or an engine, of its state, its servers and the last minute.
//= SCALE-HEALTH-01
//= MET-HEALTH-01
pub fn score<S: Store>(
    app: &App<S>,
    now: &Catalogue,
    held: &Held,
    runtime: &Value,
    minute: &Minute,
    tenant: &Tenant,
) -> Score {
    let mut score = Score { performance: 0.0, resources: 0.0, anomaly: 0.0, security: 0.0, why: Vec::new() };
    if runtime["oper_status"]["state"] != "OPER_UP" {
        score.why.push("it is not up".to_owned());
        return score;
    }
    score.performance = 100.0;
    let own: Vec<String> = match held.kind.path {
        "virtualservice" => {
            let pools = inventory::pools(now, held);
            let pools = pools.iter().filter_map(|id| now.get(id.kind, &id.uuid));
            servers(pools.map(|held| runtime::of_pool(app, now, held)), &mut score);
            let tally = minute.of(&Key::new(Kind::Service, &held.uuid)).cloned().unwrap_or_default();
            answers(&tally, service::RESPONSES, apdex_of(now, held, Kind::Service).0, &mut score);
            let key = Key::new(Kind::Service, &held.uuid);
            let unusual = minute.unusual.get(&key).map_or(&[][..], Vec::as_slice);
            score.anomaly = penalty::anomaly(now, held, unusual.len());
            score.why.extend_from_slice(unusual);
            let seconds = i64::try_from(runtime::clock() / 1_000).unwrap_or(i64::MAX);
            score.security =
                penalty::security(&app.counted.remembered, now, held, tenant, seconds, &mut score.why);
            engines_of(app, &held.uuid)
        }
        "pool" => {
            servers(std::iter::once(runtime.clone()), &mut score);
            let tally = minute.together(std::iter::once(Key::new(Kind::Pool, &held.uuid)));
            answers(&tally, server::RESPONSES, apdex_of(now, held, Kind::Pool).1, &mut score);
            Vec::new()
        }
        _ => vec![held.uuid.clone()],
    };
    // Who may not read engines is told what is short, and not where.
    //= MET-HEALTH-02
    let sees = |uuid: &str| now.get("serviceengine", uuid).is_some_and(|engine| tenant.sees(engine));
    let most = if own.is_empty() { 0.0 } else { penalty::resources_max(now, held, PENALTY_MAX) };
    for uuid in own {
        let name = if sees(&uuid) { app.engine_name(&uuid) } else { "an engine".to_owned() };
        if let Some(tally) = minute.of(&Key::new(Kind::Engine, &uuid)) {
            resources(tally, &name, most, &mut score);
        }
    }
    score
}

/// The share of servers that are up, of how these pools are.
fn servers(pools: impl Iterator<Item = Value>, score: &mut Score) {
    let number = |of: &Value, name: &str| of[name].as_u64().unwrap_or(0);
    let (mut enabled, mut up) = (0, 0);
    for pool in pools {
        enabled += number(&pool, "num_servers_enabled");
        up += number(&pool, "num_servers_up");
    }
    if up < enabled {
        score.performance *= up as f64 / enabled as f64;
        score.why.push(format!("{up} of {enabled} servers are up"));
    }
}

/// How fast and how well was answered; who asked for what there is not has no bad server.
fn answers(tally: &Tally, responses: usize, apdex_ms: u64, score: &mut Score) {
    let all = (1..5).map(|class| tally.sum(responses + class)).fold(0, u64::saturating_add);
    if all == 0 {
        return;
    }
    let failed = tally.sum(responses + 4) as f64 / all as f64;
    if failed > 0.0 {
        score.performance *= 1.0 - failed;
        score.why.push(format!("{:.1} % of the answers are of class 5xx", failed * 100.0));
    }
    if let Some(apdex) = forebay_metrics::apdex(&tally.durations, apdex_ms).filter(|apdex| *apdex < 1.0) {
        score.performance *= apdex;
        score.why.push(format!("Apdex of the last minute is {apdex:.2} ({apdex_ms} ms satisfy)"));
    }
}

/// What an engine has too little of.
fn resources(tally: &Tally, name: &str, most: f64, score: &mut Score) {
    let kinds = [
        ("processor", engine::CPU_MS, engine::CORE_MS),
        ("memory", engine::MEMORY_MS, engine::MEMORY_MAX_MS),
        ("connections", engine::OPEN_MS, engine::OPEN_MAX_MS),
    ];
    for (what, used, whole) in kinds {
        let whole = tally.sum(whole);
        if whole == 0 {
            continue;
        }
        let percent = tally.sum(used) as f64 * 100.0 / whole as f64;
        let penalty = ((percent - EASY) / (100.0 - EASY) * most).max(0.0).min(most);
        if penalty > 0.0 {
            score.why.push(format!("{name}: {percent:.0} % of its {what} is used"));
            score.resources = score.resources.max(penalty);
        }
    }
}

/// `/api/analytics/healthscore/<type>/<uuid>`.
//= MET-HEALTH-02
pub async fn answer<S: Store>(
    app: &App<S>,
    asked: &Asked,
    who: &Who,
    steps: &[&str],
) -> Result<Answer, Answer> {
    let [path @ ("virtualservice" | "pool" | "serviceengine"), uuid] = steps else {
        return Err(bad(404, "health scores are those of a virtualservice, a pool or a serviceengine"));
    };
    if asked.method != Method::GET {
        return Err(bad(405, &format!("Method '{}' not allowed", asked.method)));
    }
    let kind = kind(path).ok_or_else(|| bad(404, "there is nothing at this path"))?;
    who.tenant.demand(kind.permission, crate::access::Access::Read)?;
    let held = app.objects.get(kind, uuid, &who.tenant)?;
    let keys = keys(app, &app.objects.now(), &held);
    let minute = Minute::compared(app, keys).await;
    let now = app.objects.now();
    let seen = app.seen_for(kind, std::iter::once(&*held.uuid));
    let runtime = inventory::runtime_of(app, asked, (&now, &who.tenant), &held, &seen);
    let score = score(app, &now, &held, &runtime, &minute, &who.tenant);
    let shown = score.shown();
    let state = &runtime["oper_status"]["state"];
    let mut performance = value!({"value": shown["performance_score"]});
    performance[format!("{path}_performance")] = value!({"oper_state": state});
    let data = value!({
        "timestamp": moment(told_until()),
        "value": shown["health_score"],
        "performance_score": performance,
        "resources_penalty": {"value": shown["resources_penalty"]},
        "anomaly_penalty": {"value": shown["anomaly_penalty"]},
        "security_penalty": {"value": shown["security_penalty"]},
        "reason": shown["reason"],
    });
    let header = value!({"name": "health_score", "units": "METRIC_COUNT", "entity_uuid": held.uuid});
    let mut answer = value!({
        "entity_uuid": held.uuid,
        "step": SLOTS * STEPS[0].0 / 1_000,
        "limit": 1,
        "url": format!("{}/api/analytics/healthscore/{path}/{uuid}", asked.base()),
        "series": [{"header": header, "data": [data]}],
    });
    tell_missing(&mut answer, &minute.missing);
    Ok(json(200, answer))
}
