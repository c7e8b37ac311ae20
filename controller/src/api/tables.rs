//! What engines say of their tables: every engine that has the object is asked at once, and its answer is a row.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use forebay_model::compile::uuid_of;
use forebay_model::kind;
use forebay_model::reference::Reference;
use serde_json::{Value, json as value};

use super::App;
use super::answer::{Answer, bad};
use super::request::Asked;
use super::session::Who;
use crate::engines::Engine;
use crate::objects::{Denied, Held};
use crate::store::Store;

/// How long an engine may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Entries of one engine, where the client says nothing, and at most.
const ENTRIES: (u64, u64) = (100, 10_000);

/// What is asked for below an object, as engines call it; `None`: there is nothing of this name.
fn view(path: &str, rest: &[&str]) -> Option<&'static str> {
    Some(match (path, rest) {
        ("virtualservice", ["keyvalsummary"]) => "keyvalsummary",
        ("virtualservice", ["keyvalsummaryobjsync"]) => "keyvalsummaryobjsync",
        ("pool", ["runtime", "internal"] | ["persistence"]) => "pool_internal",
        ("pool", ["objsync"]) => "pool_objsync",
        _ => return None,
    })
}

/// `/api/virtualservice/<uuid>/keyvalsummary` and the like; `None`: there is nothing of this name.
//= VIEW-TABLES-01
pub async fn of_tables<S: Store>(
    app: &App<S>,
    asked: &Asked,
    who: &Who,
    held: &Held,
    (path, rest): (&str, &[&str]),
) -> Option<Result<Value, Answer>> {
    let what = view(path, rest)?;
    Some(rows_of(app, asked, (who, held), (path, what), rest == ["persistence"]).await)
}

async fn rows_of<S: Store>(
    app: &App<S>,
    asked: &Asked,
    (who, held): (&Who, &Held),
    (path, what): (&str, &str),
    is_short: bool,
) -> Result<Value, Answer> {
    let filter = filter(asked)?;
    let service = match asked.query.iter().rev().find(|(name, _)| name == "vs_ref") {
        Some((_, text)) if path == "pool" => Some(service(app, who, text)?),
        _ => None,
    };
    let mut questions = Vec::new();
    for (engine, name) in of_each(app, path, &held.uuid) {
        let mut filter = filter.clone();
        filter[if path == "pool" { "pool" } else { "service" }] = Value::from(name);
        // An engine knows a service by its listeners, each with a name of its own.
        let listeners = service.as_ref().map(|uuid| listeners(&engine, uuid));
        match listeners {
            None => questions.push((engine, filter)),
            Some(listeners) => questions.extend(listeners.into_iter().map(|listener| {
                let mut filter = filter.clone();
                filter["service"] = listener.into();
                (Arc::clone(&engine), filter)
            })),
        }
    }
    let ask = |filter| value!({"command": "show", "what": what, "filter": filter});
    let questions = questions.into_iter().map(|(engine, filter)| (engine, ask(filter))).collect();
    let mut all: Vec<Value> = Vec::new();
    for (engine, said) in at_once(app, questions).await {
        let rows = match said {
            Ok(data) => rows(app, &engine, &data, what),
            Err(why) => vec![failed(&engine, &why)],
        };
        for row in rows {
            let is_same = |other: &&mut Value| {
                service.is_some()
                    && ["se_uuid", "pool", "error"].iter().all(|name| other[*name] == row[*name])
            };
            match all.iter_mut().find(is_same) {
                Some(other) => add(other, row),
                None => all.push(row),
            }
        }
    }
    if is_short {
        all.iter_mut().filter(|row| row["error"].is_null()).for_each(|row| *row = entries(row));
    }
    Ok(listed(all.into_iter()))
}

/// The uuid of the service that a reference leads to.
//= VIEW-TABLES-02
fn service<S: Store>(app: &App<S>, who: &Who, text: &str) -> Result<String, Answer> {
    let kind = kind("virtualservice").ok_or_else(|| bad(500, "there is no kind of services"))?;
    let uuid = match Reference::read(text, kind.path) {
        Ok(Reference::Uuid(uuid)) => uuid,
        Ok(Reference::Name(name)) => {
            let now = app.objects.now();
            let held = now.named(kind.path, &name).find(|held| who.tenant.sees(held));
            held.map(|held| held.uuid.clone()).ok_or(Denied::Missing(kind))?
        }
        Err(refusal) => return Err(bad(400, &format!("vs_ref: {}; {}", refusal.reason, refusal.fix))),
    };
    Ok(app.objects.get(kind, &uuid, &who.tenant)?.uuid.clone())
}

/// What an engine calls a service: a name for each kind of its listeners.
fn listeners(engine: &Engine, uuid: &str) -> Vec<String> {
    engine.services.keys().filter(|name| uuid_of(name) == uuid).cloned().collect()
}

/// Adds what an engine tells of one more listener.
fn add(row: &mut Value, more: Value) {
    let Value::Object(more) = more else { return };
    for (name, more) in more {
        match (name.as_str(), &mut row[name.as_str()], more) {
            ("num_persistence_objs", count, more) => {
                *count = (count.as_u64().unwrap_or(0) + more.as_u64().unwrap_or(0)).into();
            }
            ("subStats", Value::Array(others), Value::Array(more)) => {
                for one in more {
                    match others.iter_mut().find(|other| other["seuuid"] == one["seuuid"]) {
                        Some(other) => add(other, one),
                        None => others.push(one),
                    }
                }
            }
            (_, Value::Array(list), Value::Array(more)) => list.extend(more),
            _ => {}
        }
    }
}

/// As lists are answered.
pub(super) fn listed(rows: impl Iterator<Item = Value>) -> Value {
    let rows: Vec<Value> = rows.collect();
    value!({"count": rows.len(), "results": rows})
}

/// The row of an engine that does not answer.
pub(super) fn failed(engine: &Engine, why: &str) -> Value {
    value!({"se_uuid": engine.uuid, "error": why})
}

/// What each engine that is connected calls an object: a service, or a pool, which is several ones where services speak several
/// languages.
pub(super) fn of_each<S: Store>(app: &App<S>, path: &str, uuid: &str) -> Vec<(Arc<Engine>, String)> {
    let mut found = Vec::new();
    for engine in app.engines.all().into_iter().filter(|engine| engine.is_connected) {
        let mut names: Vec<String> = match path {
            "pool" => engine.servers.keys().map(|(pool, _)| pool).cloned().collect(),
            _ => engine.services.keys().cloned().collect(),
        };
        names.retain(|name| uuid_of(name) == uuid);
        names.dedup();
        found.extend(names.into_iter().map(|name| (Arc::clone(&engine), name)));
    }
    found
}

/// Asks engines, all at once; gives what each answers, or why it does not.
pub(super) async fn at_once<S: Store>(
    app: &App<S>,
    questions: Vec<(Arc<Engine>, Value)>,
) -> Vec<(Arc<Engine>, Result<Value, String>)> {
    let mut asking: Vec<Pin<Box<dyn Future<Output = _> + Send + '_>>> = Vec::new();
    for (engine, request) in questions {
        asking.push(Box::pin(async move {
            let said = match app.engines.ask(&engine.uuid, request, PATIENCE).await {
                Ok(mut said) if said["ok"] == true => Ok(said["data"].take()),
                Ok(said) => {
                    Err(said["error"]["reason"].as_str().unwrap_or("the engine does not say").to_owned())
                }
                Err(why) => Err(why),
            };
            (engine, said)
        }));
    }
    all(asking).await
}

/// Filters by the names that clients know, as engines know them.
pub(super) fn filter(asked: &Asked) -> Result<Value, Answer> {
    let mut filter = value!({"limit": ENTRIES.0});
    let mut port = None;
    for (name, text) in &asked.query {
        match name.as_str() {
            "persistence_ip" => filter["client"] = text.as_str().into(),
            "persistence_cookie" => filter["cookie"] = text.as_str().into(),
            "server_ip" => filter["server"] = text.as_str().into(),
            "server_port" => port = Some(text),
            "page_size" => {
                let number = text.parse::<u64>().ok().filter(|number| *number > 0);
                let number = number.ok_or_else(|| bad(400, "page_size: put a whole number from 1 there"))?;
                filter["limit"] = number.min(ENTRIES.1).into();
            }
            //= VIEW-TABLES-02
            "persistence_end_ip" | "persistence_mask" | "server_end_ip" | "server_mask" => {
                let one = if name.starts_with("server") { "server_ip" } else { "persistence_ip" };
                return Err(bad(
                    400,
                    &format!("{name}: ranges are not looked up; name one address by {one}"),
                ));
            }
            _ => {}
        }
    }
    if let Some(port) = port {
        let Some(ip) = filter["server"].as_str() else {
            return Err(bad(400, "server_port: say server_ip as well"));
        };
        let at = if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
        filter["server"] = at.into();
    }
    Ok(filter)
}

/// An engine's rows. A pool has the entries that it has, however few of them are listed.
fn rows<S: Store>(app: &App<S>, engine: &Engine, data: &Value, what: &str) -> Vec<Value> {
    let mut rows = data[what].as_array().cloned().unwrap_or_default();
    rows.iter_mut().for_each(|row| named(app, engine, row));
    if let ([row], true) = (&mut rows[..], data["matching"].is_u64()) {
        row["num_persistence_objs"] = data["matching"].clone();
    }
    rows
}

/// The entries of a pool alone.
fn entries(row: &Value) -> Value {
    value!({"uuid": row["pool"], "se_uuid": row["se_uuid"], "persistence_entry": row["persistence_entry"]})
}

/// Engines and pools by their uuids, where an engine tells of them by names and slots.
fn named<S: Store>(app: &App<S>, engine: &Engine, row: &mut Value) {
    match row {
        Value::Array(list) => list.iter_mut().for_each(|part| named(app, engine, part)),
        Value::Object(fields) => {
            for (name, part) in fields {
                match (name.as_str(), part.as_str()) {
                    ("se_uuid" | "hubuuid", Some(_)) => *part = engine.uuid.as_str().into(),
                    ("pool" | "pooluuid", Some(text)) => *part = uuid_of(text).to_owned().into(),
                    ("seuuid", Some(text)) => {
                        let slot = text.strip_prefix("slot-").and_then(|slot| slot.parse::<u8>().ok());
                        let group = app.engines.of_group(&engine.group);
                        let other = slot.and_then(|slot| group.iter().find(|one| one.slot == Some(slot)));
                        if let Some(other) = other {
                            *part = other.uuid.as_str().into();
                        }
                    }
                    _ => named(app, engine, part),
                }
            }
        }
        _ => {}
    }
}

/// Waits for all of them at once; each has its own time-out.
async fn all<T>(mut asking: Vec<Pin<Box<dyn Future<Output = T> + Send + '_>>>) -> Vec<T> {
    let mut done: Vec<Option<T>> = asking.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (asking, done) in asking.iter_mut().zip(&mut done).filter(|(_, done)| done.is_none()) {
            if let Poll::Ready(answer) = asking.as_mut().poll(cx) {
                *done = Some(answer);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}
