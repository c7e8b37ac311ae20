//! What engines say of their tables: every engine that has the object is asked at once, and its answer is a row.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use forebay_model::compile::uuid_of;
use serde_json::{Value, json as value};

use super::App;
use super::answer::{Answer, bad};
use super::request::Asked;
use crate::engines::Engine;
use crate::objects::Held;
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
    held: &Held,
    (path, rest): (&str, &[&str]),
) -> Option<Result<Value, Answer>> {
    let what = view(path, rest)?;
    let filter = match filter(asked) {
        Ok(filter) => filter,
        Err(answer) => return Some(Err(answer)),
    };
    let mut asking: Vec<Pin<Box<dyn Future<Output = Vec<Value>> + Send + '_>>> = Vec::new();
    for engine in app.engines.all().into_iter().filter(|engine| engine.is_connected) {
        let names = match path {
            "pool" => pools(&engine, &held.uuid),
            _ => engine.services.keys().filter(|name| uuid_of(name) == held.uuid).cloned().collect(),
        };
        for name in names {
            let mut filter = filter.clone();
            filter[if path == "pool" { "pool" } else { "service" }] = Value::from(name);
            let (engine, is_short) = (engine.clone(), rest == ["persistence"]);
            asking.push(Box::pin(async move {
                let request = value!({"command": "show", "what": what, "filter": filter});
                rows(app, &engine, what, is_short, app.engines.ask(&engine.uuid, request, PATIENCE).await)
            }));
        }
    }
    let rows: Vec<Value> = all(asking).await.into_iter().flatten().collect();
    Some(Ok(value!({"count": rows.len(), "results": rows})))
}

/// What engines call a pool: it is several of them where services speak several languages.
fn pools(engine: &Engine, uuid: &str) -> Vec<String> {
    let mut names: Vec<String> =
        engine.servers.keys().map(|(pool, _)| pool).filter(|pool| uuid_of(pool) == uuid).cloned().collect();
    names.dedup();
    names
}

/// Filters by the names that clients know, as engines know them.
fn filter(asked: &Asked) -> Result<Value, Answer> {
    let mut filter = value!({"limit": ENTRIES.0});
    let mut port = None;
    for (name, text) in &asked.query {
        match name.as_str() {
            "vs_ref" => {
                let uuid = text.split(['#', '?']).next().unwrap_or_default();
                filter["service"] = uuid.rsplit('/').next().unwrap_or_default().into();
            }
            "persistence_ip" => filter["client"] = text.as_str().into(),
            "persistence_cookie" => filter["cookie"] = text.as_str().into(),
            "server_ip" => filter["server"] = text.as_str().into(),
            "server_port" => port = Some(text),
            "page_size" => {
                let number = text.parse::<u64>().ok().filter(|number| *number > 0);
                let number = number.ok_or_else(|| bad(400, "page_size: put a whole number from 1 there"))?;
                filter["limit"] = number.min(ENTRIES.1).into();
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

/// An engine's rows; one that does not answer has a row that says why.
fn rows<S: Store>(
    app: &App<S>,
    engine: &Engine,
    what: &str,
    is_short: bool,
    said: Result<Value, String>,
) -> Vec<Value> {
    let why = match said {
        Ok(said) if said["ok"] == true => {
            let mut rows = said["data"][what].as_array().cloned().unwrap_or_default();
            rows.iter_mut().for_each(|row| named(app, engine, row));
            return if is_short { rows.iter().map(entries).collect() } else { rows };
        }
        Ok(said) => said["error"]["reason"].as_str().unwrap_or("the engine does not say").to_owned(),
        Err(why) => why,
    };
    vec![value!({"se_uuid": engine.uuid, "error": why})]
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
