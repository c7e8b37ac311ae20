//! `/api/analytics/metrics/…`: series of what engines count.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::Method;
use forebay_metrics::{Ask, Key, Kind, METRICS, Metric, Range, STEPS, Tally, find, near};
use forebay_model::kind;
use serde_json::{Value, json as value};

use super::answer::{Answer, bad, json, text};
use super::events::micros;
use super::logs::tell_missing;
use super::request::Asked;
use super::session::Who;
use super::{App, inventory, runtime};
use crate::counted::READERS;
use crate::objects::{Catalogue, Held, Query};
use crate::own;
use crate::parts::{Missing, Remote};
use crate::store::Store;

/// Points of a series, where the client says nothing, and at most.
const POINTS: (u64, u64) = (72, 1_000);
/// Slots that one request reads at most, over all that it asks for.
const SLOTS_MAX: u64 = 20_000;
/// Values that one answer has at most, points times metrics over all that it asks for: each takes a kilobyte while it is made.
const VALUES_MAX: u64 = 100_000;
/// Metrics of one request, and requests of a collection.
const ASKED_MAX: usize = 200;
/// A slot counts as told so long after its end, in milliseconds: engines tell at its end.
const TOLD_MS: u64 = 2_000;
/// Seconds of a point, where the client says nothing.
const STEP: u64 = 300;

/// Metrics that clients ask for, and that nobody counts yet.
const UNCOUNTED: [&str; 1] = ["healthscore.health_score_value"];

/// What series are asked for.
struct Wanted {
    target: Target,
    metrics: Vec<&'static Metric>,
    /// What is known by name only.
    uncounted: Vec<&'static str>,
    engine: Option<String>,
    level: usize,
    /// How many slots of the level a point is.
    slots: u64,
    start: u64,
    stop: u64,
    limit: u64,
    is_padded: bool,
}

/// Whose series they are.
struct Target {
    kind: Kind,
    entity: &'static str,
    uuid: String,
    name: String,
    /// Whose counts are those of clients or of an engine, and whose are those of servers.
    own: Vec<Key>,
    servers: Vec<Key>,
    /// Apdex of clients and of servers.
    apdex_ms: (u64, u64),
}

/// One point: when it begins, what was counted, in how many milliseconds.
type Point = (u64, Option<Tally>, u64);

/// Answers for a path below `analytics`.
//= MET-API-01
pub async fn answer<S: Store>(
    app: &App<S>,
    asked: &Asked,
    who: &Who,
    steps: &[&str],
) -> Result<Answer, Answer> {
    match (&asked.method, steps) {
        (&Method::GET, ["metric_id"]) => Ok(json(200, list())),
        (&Method::GET, ["metrics", path, uuid]) => one(app, asked, who, path, uuid).await,
        (&Method::POST, ["metrics", "collection"]) => collection(app, asked, who).await,
        (_, ["metrics", "collection"] | ["metrics", _, _] | ["metric_id"]) => {
            Err(bad(405, &format!("Method '{}' not allowed", asked.method)))
        }
        _ => Err(bad(404, "there is nothing at this path")),
    }
}

/// Every metric.
fn list() -> Value {
    let one = |metric: &Metric| {
        let types: Vec<&str> = [
            ("virtualservice", Kind::Service),
            ("pool", Kind::Pool),
            ("serviceengine", Kind::Engine),
            ("controller", Kind::Controller),
        ]
        .into_iter()
        .filter(|(_, kind)| metric.is_of(*kind))
        .map(|(name, _)| name)
        .collect();
        value!({"metric_id": metric.id, "metric_units": metric.units, "description": metric.about, "entity_types": types})
    };
    value!({"count": METRICS.len(), "results": METRICS.iter().map(one).collect::<Vec<_>>()})
}

async fn one<S: Store>(
    app: &App<S>,
    asked: &Asked,
    who: &Who,
    path: &str,
    uuid: &str,
) -> Result<Answer, Answer> {
    let query = Query::new(&asked.query);
    // Some clients name each metric by itself.
    let ids: Vec<&str> =
        asked.query.iter().filter(|(name, _)| name == "metric_id").map(|(_, id)| id.as_str()).collect();
    let get = |name: &str| match name {
        "metric_id" => Some(ids.join(",")),
        _ => query.get(name).map(str::to_owned),
    };
    let target = target(app, who, Some(path), uuid, &get)?;
    let wanted = read(target, &get)?;
    let mut answer = value!({
        "entity_uuid": wanted.target.uuid,
        "metric_id": ids.join(","),
        "metric_entity": wanted.target.entity,
        "limit": wanted.limit,
        "step": wanted.step() / 1_000,
        "start": moment(wanted.start),
        "stop": moment(wanted.stop),
        "url": format!("{}/api/analytics/metrics/{path}/{uuid}", asked.base()),
    });
    if let Some(warning) = wanted.warning() {
        answer["warning"] = Value::from(warning);
    }
    let whole = move |mut series: Vec<Value>, missing: &[Missing]| {
        answer["series"] = series.pop().unwrap_or_else(|| value!([]));
        tell_missing(&mut answer, missing);
        answer
    };
    series(app, vec![wanted], whole).await
}

async fn collection<S: Store>(app: &App<S>, asked: &Asked, who: &Who) -> Result<Answer, Answer> {
    let said = asked.object()?;
    let requests = said.get("metric_requests").and_then(Value::as_array).ok_or_else(|| {
        bad(400, "metric_requests: put a list there, such as [{\"id\": \"a\", \"entity_uuid\": \"virtualservice-…\", \"metric_id\": \"l4_client.avg_bandwidth\"}]")
    })?;
    if requests.len() > ASKED_MAX {
        return Err(bad(400, &format!("metric_requests: at most {ASKED_MAX} of them")));
    }
    let (mut ids, mut all) = (Vec::new(), Vec::new());
    let (mut found, mut warnings) = (serde_json::Map::new(), serde_json::Map::new());
    for request in requests {
        let get = |name: &str| match request.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        };
        let uuid = get("entity_uuid").ok_or_else(|| {
            bad(400, "metric_requests.entity_uuid: name the object whose metrics are wanted")
        })?;
        let id = get("id").unwrap_or_else(|| uuid.clone());
        // What is wrong with one, or is not seen, which is as if it were not there, is told of that one alone.
        //= MET-WARN-01
        match target(app, who, None, &uuid, &get).and_then(|target| read(target, &get)) {
            Ok(wanted) => {
                if let Some(warning) = wanted.warning() {
                    warnings.insert(id.clone(), Value::from(warning));
                }
                all.push(wanted);
                ids.push(id);
            }
            Err(refused) => {
                warnings.insert(id.clone(), Value::from(refused.text()));
                found.insert(id, value!([]));
            }
        }
    }
    let whole = move |series: Vec<Value>, missing: &[Missing]| {
        found.extend(ids.into_iter().zip(series));
        let mut answer = serde_json::Map::from_iter([("series".to_owned(), Value::Object(found))]);
        if !warnings.is_empty() {
            answer.insert("warnings".to_owned(), Value::Object(warnings));
        }
        let mut answer = Value::Object(answer);
        tell_missing(&mut answer, missing);
        answer
    };
    series(app, all, whole).await
}

/// The object that is meant, if the user sees it.
//= MET-API-02
fn target<S: Store>(
    app: &App<S>,
    who: &Who,
    path: Option<&str>,
    uuid: &str,
    get: &dyn Fn(&str) -> Option<String>,
) -> Result<Target, Answer> {
    const KINDS: [(&str, Kind, &str); 3] = [
        ("virtualservice", Kind::Service, "VSERVER_METRICS_ENTITY"),
        ("pool", Kind::Pool, "SERVER_METRICS_ENTITY"),
        ("serviceengine", Kind::Engine, "SE_METRICS_ENTITY"),
    ];
    let nothing = || {
        bad(
            404,
            "metrics are those of a virtualservice, a pool, a serviceengine or the controller that there is",
        )
    };
    if let Some(target) = of_controller(app, who, path, uuid) {
        return target;
    }
    let is_meant = |name: &str| path.is_none_or(|path| path == name);
    let mut refusal = nothing();
    for (name, of, entity) in KINDS.into_iter().filter(|(name, ..)| is_meant(name)) {
        let kind = kind(name).ok_or_else(nothing)?;
        let held = match app.objects.get(kind, uuid, &who.tenant) {
            Ok(held) => held,
            Err(denied) => {
                if path.is_some() {
                    refusal = denied.into();
                }
                continue;
            }
        };
        who.tenant.demand(kind.permission, crate::access::Access::Read)?;
        return of_object(&app.objects.now(), &held, of, entity, get);
    }
    Err(refusal)
}

/// The Controller itself, by the uuid of the cluster or the name under which its series are kept: it is seen by who may read that.
//= MET-OWN-01
fn of_controller<S: Store>(
    app: &App<S>,
    who: &Who,
    path: Option<&str>,
    uuid: &str,
) -> Option<Result<Target, Answer>> {
    if path.is_some_and(|path| path != "controller") {
        return None;
    }
    let cluster = app.objects.now().all("cluster").next().map(|held| (held.uuid.clone(), held.name.clone()));
    let (own, name) = cluster.unwrap_or_default();
    if uuid != own && uuid != own::NAME {
        return None;
    }
    if let Err(denied) = who.tenant.demand("PERMISSION_CONTROLLER", crate::access::Access::Read) {
        return Some(Err(denied.into()));
    }
    Some(Ok(Target {
        kind: Kind::Controller,
        entity: "CONTROLLER_METRICS_ENTITY",
        uuid: uuid.to_owned(),
        name,
        own: vec![Key::new(Kind::Controller, own::NAME)],
        servers: Vec::new(),
        apdex_ms: (0, 0),
    }))
}

fn of_object(
    now: &Catalogue,
    held: &Held,
    of: Kind,
    entity: &'static str,
    get: &dyn Fn(&str) -> Option<String>,
) -> Result<Target, Answer> {
    let own = vec![Key::new(of, &held.uuid)];
    let mut pools: Vec<String> = match of {
        Kind::Service => inventory::pools(now, held).into_iter().map(|id| id.uuid).collect(),
        Kind::Pool => vec![held.uuid.clone()],
        Kind::Engine | Kind::Server | Kind::Controller => Vec::new(),
    };
    if let Some(pool) = get("pool_uuid").filter(|pool| !pool.is_empty() && pool != "*") {
        pools.retain(|known| *known == pool);
        if pools.is_empty() {
            return Err(bad(400, "pool_uuid: this pool is none of the virtual service"));
        }
    }
    let server = get("server").or_else(|| get("obj_id")).filter(|server| !server.is_empty() && server != "*");
    let servers = match server {
        Some(server) => pools.iter().map(|pool| Key::server(pool, &server)).collect(),
        None => pools.iter().map(|pool| Key::new(Kind::Pool, pool)).collect(),
    };
    let apdex_ms = apdex_of(now, held, of);
    Ok(Target { kind: of, entity, uuid: held.uuid.clone(), name: held.name.clone(), own, servers, apdex_ms })
}

/// The durations that satisfy, by the analytics profile: of clients and of servers, in milliseconds.
//= MET-APDEX-01
pub fn apdex_of(now: &Catalogue, held: &Held, of: Kind) -> (u64, u64) {
    let profile = |held: &Held| {
        let id = held.refers.iter().find(|id| id.kind == "analyticsprofile")?;
        Some(now.get(id.kind, &id.uuid)?.object())
    };
    let profile = match of {
        Kind::Service => profile(held),
        // Its own, else that of the service: of a pool that several services use that of the first one.
        Kind::Pool => profile(held).or_else(|| {
            now.referrers(&held.id()).find(|by| by.kind.path == "virtualservice").and_then(|by| profile(by))
        }),
        Kind::Engine | Kind::Server | Kind::Controller => None,
    };
    let number = |name: &str, or: u64| {
        profile.as_ref().and_then(|profile| profile.get(name)?.as_u64()).filter(|ms| *ms > 0).unwrap_or(or)
    };
    (number("apdex_response_threshold", 500), number("apdex_server_response_threshold", 400))
}

/// Reads what is asked for.
//= MET-NAME-01
//= MET-NOW-01
fn read(target: Target, get: &dyn Fn(&str) -> Option<String>) -> Result<Wanted, Answer> {
    let text = |name: &str| get(name).filter(|text| !text.is_empty());
    let number = |name: &str, or: u64| match text(name) {
        None => Ok(or),
        Some(text) => text
            .parse::<u64>()
            .ok()
            .filter(|number| *number >= 1)
            .ok_or_else(|| bad(400, &format!("{name}: put a whole number from 1 there"))),
    };
    let ids = text("metric_id").ok_or_else(|| {
        bad(
            400,
            "metric_id: name one or more, with commas between them; GET /api/analytics/metric_id lists all",
        )
    })?;
    let ids: Vec<&str> = ids.split(',').map(str::trim).filter(|id| !id.is_empty()).collect();
    if ids.len() > ASKED_MAX {
        return Err(bad(400, &format!("metric_id: at most {ASKED_MAX} of them")));
    }
    // Who names one twice gets it once.
    let mut once = BTreeSet::new();
    let ids: Vec<&str> = ids.into_iter().filter(|id| once.insert(*id)).collect();
    //= MET-WARN-01
    let known = |id: &&str| UNCOUNTED.into_iter().find(|known| known == id);
    let uncounted: Vec<&'static str> = ids.iter().filter_map(known).collect();
    let ids = ids.iter().filter(|id| known(id).is_none());
    let named = |id: &&str| match find(id) {
        None => Err(unknown(id)),
        Some(metric) if !metric.is_of(target.kind) => {
            Err(bad(400, &format!("metric_id: {} is no metric of a {}", metric.id, target.word())))
        }
        Some(metric) => Ok(metric),
    };
    let metrics = ids.map(named).collect::<Result<Vec<_>, _>>()?;
    let step = number("step", STEP)?.saturating_mul(1_000);
    let level = (0..STEPS.len()).rev().find(|level| step.is_multiple_of(STEPS[*level].0));
    let level = level.ok_or_else(|| {
        bad(400, "step: there are points of 5, 300, 3600 and 86400 seconds, and of multiples of these")
    })?;
    let limit = number("limit", POINTS.0)?.min(POINTS.1);
    let told = told_until();
    let moment = |name: &str| match text(name) {
        None => Ok(None),
        Some(text) => match text.parse::<u64>() {
            Ok(seconds) => Ok(Some(seconds.saturating_mul(1_000))),
            Err(_) => micros(&text).map(|micros| Some(micros / 1_000)).ok_or_else(|| {
                bad(400, &format!("{name}: write it as 2026-01-31T23:59:59, or in seconds since 1970"))
            }),
        },
    };
    let stop = moment("stop")?.map_or(told, |stop| stop.min(told));
    let end = stop.div_ceil(step);
    let first = moment("start")?.map_or(0, |start| start.div_ceil(step));
    let first = first.max(end.saturating_sub(limit)).min(end);
    let is_on = |text: String| !matches!(text.to_lowercase().as_str(), "false" | "0");
    Ok(Wanted {
        metrics,
        uncounted,
        engine: text("serviceengine_uuid").filter(|uuid| uuid != "*"),
        level,
        slots: step / STEPS[level].0,
        start: first * step,
        stop,
        limit,
        is_padded: text("pad_missing_data").is_none_or(is_on),
        target,
    })
}

/// There is no such metric, but near ones.
//= MET-NAME-01
pub fn unknown(id: &str) -> Answer {
    let near = near(id).join(", ");
    bad(
        400,
        &format!(
            "metric_id: there is no {id:.80}; did you mean {near}? GET /api/analytics/metric_id lists all"
        ),
    )
}

/// Until when engines have told what they counted, if they could.
pub fn told_until() -> u64 {
    let step = STEPS[0].0;
    runtime::clock().saturating_sub(TOLD_MS) / step * step
}

/// As Avi's API has moments.
pub fn moment(at: u64) -> String {
    runtime::time(at).replace(' ', "T") + "+00:00"
}

impl Target {
    fn word(&self) -> &'static str {
        match self.kind {
            Kind::Service => "virtual service",
            Kind::Pool => "pool",
            Kind::Server => "server",
            Kind::Engine => "service engine",
            Kind::Controller => "Controller",
        }
    }
}

impl Wanted {
    fn step(&self) -> u64 {
        self.slots * STEPS[self.level].0
    }

    fn points(&self) -> u64 {
        (self.stop.div_ceil(self.step()) * self.step() - self.start) / self.step()
    }

    /// What is read for it: what its own things counted, and servers, each as far as a metric is made of it.
    fn asks(&self) -> impl Iterator<Item = Ask> {
        let step = self.step();
        let (first, end) = (self.start / step, self.stop.div_ceil(step));
        let range = Range { level: self.level, first: first * self.slots, end: end * self.slots };
        let of = move |is_own: bool| {
            let is_wanted = self.metrics.iter().any(|metric| is_of_own(metric) == is_own);
            let keys = if is_own { &self.target.own } else { &self.target.servers };
            is_wanted.then(|| Ask { keys: keys.clone(), engine: self.engine.clone(), range })
        };
        [true, false].into_iter().filter_map(of)
    }

    /// The points of these slots.
    fn points_of(&self, slots: &[Option<Tally>]) -> Vec<Point> {
        let step = self.step();
        let (first, end) = (self.start / step, self.stop.div_ceil(step));
        let size = usize::try_from(self.slots).unwrap_or(usize::MAX);
        let point = |(at, slots): (u64, &[Option<Tally>])| {
            let begin = at * step;
            let mut told = slots.iter().flatten();
            let all = told.next().cloned().map(|first| {
                told.fold(first, |mut all, slot| {
                    all.then(slot);
                    all
                })
            });
            (begin, all, (begin + step).min(self.stop).saturating_sub(begin))
        };
        (first..end).zip(slots.chunks(size)).map(point).collect()
    }

    /// Made of what was read as [`Wanted::asks`] says, of which it takes its own.
    fn shown(&self, read: &mut impl Iterator<Item = Vec<Option<Tally>>>) -> Value {
        let mut points = |is_own: bool| {
            let is_wanted = self.metrics.iter().any(|metric| is_of_own(metric) == is_own);
            let slots = if is_wanted { read.next() } else { None };
            self.points_of(&slots.unwrap_or_default())
        };
        let (own, servers) = (points(true), points(false));
        let one = |metric: &&Metric| match is_of_own(metric) {
            true => self.one(metric, &own, self.target.apdex_ms.0),
            false => self.one(metric, &servers, self.target.apdex_ms.1),
        };
        let mut all: Vec<Value> = self.metrics.iter().map(one).collect();
        all.extend(self.uncounted.iter().map(|id| {
            value!({"header": {"name": id, "entity_uuid": self.target.uuid, "entity_name": self.target.name}, "data": []})
        }));
        Value::Array(all)
    }

    /// What has no points, in words.
    fn warning(&self) -> Option<String> {
        let ids = self.uncounted.join(", ");
        (!ids.is_empty()).then(|| format!("not counted yet, so there are no points: {ids}"))
    }

    //= MET-API-01
    //= MET-GAP-01
    fn one(&self, metric: &Metric, points: &[Point], apdex_ms: u64) -> Value {
        let of = |(begin, tally, length): &Point| {
            (*begin, tally.as_ref().and_then(|tally| metric.value(tally, *length, apdex_ms)))
        };
        let values: Vec<(u64, Option<f64>)> = points.iter().map(of).collect();
        let data: Vec<Value> = values
            .iter()
            .filter_map(|(begin, found)| match found {
                Some(found) => Some(value!({"timestamp": moment(*begin), "value": found})),
                None if self.is_padded => {
                    Some(value!({"timestamp": moment(*begin), "value": 0.0, "is_null": true}))
                }
                None => None,
            })
            .collect();
        let found: Vec<f64> = values.iter().filter_map(|(_, found)| *found).collect();
        let sum: f64 = found.iter().sum();
        let least = found.iter().copied().reduce(f64::min).unwrap_or(0.0);
        let most = found.iter().copied().reduce(f64::max).unwrap_or(0.0);
        let mean = if found.is_empty() { 0.0 } else { sum / found.len() as f64 };
        value!({
            "header": {
                "name": metric.id,
                "units": metric.units,
                "metric_description": metric.about,
                "entity_uuid": self.target.uuid,
                "entity_name": self.target.name,
                "obj_id_type": "METRICS_OBJ_TYPE_NONE",
                "statistics": {"min": least, "max": most, "mean": mean, "sum": sum, "num_samples": found.len()},
            },
            "data": data,
        })
    }
}

/// Says whether it is made of what the thing itself counted, and not of its servers.
fn is_of_own(metric: &Metric) -> bool {
    !metric.is_of(Kind::Server)
}

/// Reads series and makes a text of them, away from the thread that answers.
//= MET-BOUND-01
async fn series<S: Store>(
    app: &App<S>,
    wanted: Vec<Wanted>,
    whole: impl FnOnce(Vec<Value>, &[Missing]) -> Value + Send + 'static,
) -> Result<Answer, Answer> {
    let sum = |of: fn(&Wanted) -> u64| wanted.iter().map(of).fold(0, u64::saturating_add);
    let slots = sum(|wanted| wanted.points().saturating_mul(wanted.slots));
    let values = sum(|wanted| wanted.points().saturating_mul(wanted.metrics.len() as u64));
    if slots > SLOTS_MAX || values > VALUES_MAX {
        return Err(bad(
            400,
            "limit: this reads too much at once; ask for fewer points or metrics, or by larger steps",
        ));
    }
    let kept = app.counted.series().map(Arc::clone);
    let kept =
        kept.ok_or_else(|| bad(503, "this Controller keeps no metrics: it has no folder of its own"))?;
    let _turn = READERS.acquire().await.map_err(|_| bad(503, "the Controller stops"))?;
    let asks = wanted.iter().flat_map(Wanted::asks).collect();
    let read = Remote { own: kept, cluster: &app.cluster }.read(asks).await;
    let (read, missing) = read.map_err(|failure| {
        tracing::error!(event = "METRICS_NOT_READ", %failure, "series cannot be read");
        bad(503, "series cannot be read: see the log of the Controller")
    })?;
    let made = tokio::task::spawn_blocking(move || {
        let mut read = read.into_iter();
        let all = wanted.iter().map(|wanted| wanted.shown(&mut read)).collect();
        whole(all, &missing).to_string()
    });
    let page = made.await.map_err(|_| bad(500, "the Controller made a mistake: see its log"))?;
    Ok(text(200, page, "application/json"))
}
