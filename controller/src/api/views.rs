//! What engines tell of what they do for an object, beside their tables: keys, balancing, monitors, connections, processors.

use forebay_metrics::{Key, Kind};
use serde_json::{Value, json as value};

use super::answer::Answer;
use super::health::Minute;
use super::logs::tell_missing;
use super::others::Reader;
use super::request::Asked;
use super::session::Who;
use super::tables::{at_once, failed, filter, listed, of_each};
use super::{App, runtime};
use crate::engines::Engine;
use crate::objects::Held;
use crate::store::Store;

/// What an engine used of its processors in the last minute.
const CPU: &str = "se_stats.avg_cpu_usage";

/// What is looked at.
#[derive(Clone, Copy)]
enum View {
    /// The entries by which clients of a service are known again.
    Keyval,
    /// What a pool's servers are chosen by.
    Algo,
    /// What a pool's monitors found.
    Hmon,
    /// Connections to a pool's servers.
    Connpool,
    /// Connections and flows of clients, by worker.
    Flowtablestat,
    /// What an engine has and uses.
    Cpu,
    /// Its interfaces.
    Interface,
}

/// What is asked for below an object; `None`: there is nothing of this name.
fn view(path: &str, rest: &[&str]) -> Option<View> {
    Some(match (path, rest) {
        ("virtualservice", ["keyval"]) => View::Keyval,
        ("pool", ["algo"]) => View::Algo,
        ("pool", ["hmon"]) => View::Hmon,
        ("pool", ["connpool"]) => View::Connpool,
        ("serviceengine", ["flowtablestat"]) => View::Flowtablestat,
        ("serviceengine", ["cpu"]) => View::Cpu,
        ("serviceengine", ["interface"]) => View::Interface,
        _ => return None,
    })
}

/// `/api/pool/<uuid>/hmon` and the like; `None`: there is nothing of this name.
//= VIEW-ENGINES-01
pub async fn of_engines<S: Store>(
    app: &App<S>,
    asked: &Asked,
    who: &Who,
    held: &Held,
    (path, rest): (&str, &[&str]),
) -> Option<Result<Value, Answer>> {
    let view = view(path, rest)?;
    Some(match path {
        "serviceengine" => Ok(of_engine(app, who, held, view).await),
        _ => of_object(app, asked, held, (path, view)).await,
    })
}

/// A row of each engine that has the object.
async fn of_object<S: Store>(
    app: &App<S>,
    asked: &Asked,
    held: &Held,
    (path, view): (&str, View),
) -> Result<Value, Answer> {
    let mut narrowed = filter(asked)?;
    narrowed["command"] = "persistence".into();
    let questions = of_each(app, path, &held.uuid).into_iter().map(|(engine, name)| {
        let mut request = value!({"command": "servers", "pool": name});
        if matches!(view, View::Keyval) {
            request.clone_from(&narrowed);
            request["service"] = name.into();
        }
        (engine, request)
    });
    let said = at_once(app, questions.collect()).await;
    let object = held.object();
    Ok(listed(said.iter().map(|(engine, said)| match said {
        Err(why) => failed(engine, why),
        Ok(data) => {
            let mut row = value!({"se_uuid": engine.uuid, "uuid": held.uuid});
            let (name, list, of): (_, _, fn(&Value) -> Value) = match view {
                View::Keyval => ("keyval_entries", &data["entries"], entry),
                View::Hmon => ("member_health_monitor", &data["servers"], monitored),
                View::Connpool => ("servers", &data["servers"], connections),
                // Of engines no list is asked for.
                View::Algo | View::Flowtablestat | View::Cpu | View::Interface => {
                    ("servers", &data["servers"], balanced)
                }
            };
            row[name] = list.as_array().map_or(&[][..], Vec::as_slice).iter().map(of).collect();
            match view {
                View::Keyval => row["num_keyval_objs"] = data["matching"].clone(),
                View::Algo => {
                    for field in ["lb_algorithm", "lb_algorithm_hash"] {
                        if let Some(word) = object.get(field) {
                            row[field] = word.clone();
                        }
                    }
                }
                View::Hmon => row["health_monitor_refs"] = object.get("health_monitor_refs").cloned().into(),
                View::Connpool | View::Flowtablestat | View::Cpu | View::Interface => {}
            }
            row
        }
    })))
}

/// What an engine tells of itself.
async fn of_engine<S: Store>(app: &App<S>, who: &Who, held: &Held, view: View) -> Value {
    let Some(engine) = app.engines.get(&held.uuid) else { return listed(std::iter::empty()) };
    if matches!(view, View::Interface) {
        return listed(interfaces(app, who, &engine).into_iter());
    }
    let said = at_once(app, vec![(engine, value!({"command": "status"}))]).await;
    let key = Key::new(Kind::Engine, &held.uuid);
    let minute = Minute::compared(app, [key.clone()].into()).await;
    let mut list = listed(said.iter().map(|(engine, said)| match (said, view) {
        (Err(why), _) => failed(engine, why),
        (Ok(status), View::Cpu) => value!({
            "se_uuid": engine.uuid,
            "num_cpus": engine.machine.cores,
            // Avi tells of memory in KiB.
            "total_memory": engine.machine.memory_bytes >> 10,
            "memory_resident_bytes": status["memory_resident_bytes"],
            "cpu_ms": status["cpu_ms"],
            "uptime_s": status["uptime_s"],
            "started": runtime::time(status["started_unix_s"].as_u64().unwrap_or(0).saturating_mul(1000)),
            "metrics": minute.metrics(&key, &[CPU]),
        }),
        (Ok(status), _) => value!({
            "se_uuid": engine.uuid,
            "connections_max": status["connections_max"],
            "workers": status["workers"],
        }),
    }));
    tell_missing(&mut list, &minute.missing);
    list
}

/// Its interfaces, without the addresses of services that the reader does not see.
fn interfaces<S: Store>(app: &App<S>, who: &Who, engine: &Engine) -> Vec<Value> {
    let now = app.objects.now();
    let (mut told, _) = Reader::new(&now, &who.tenant).networks(app, engine);
    for (row, interface) in told.iter_mut().zip(&engine.machine.interfaces) {
        row["se_uuid"] = engine.uuid.as_str().into();
        row["mtu"] = interface.mtu.into();
        row["is_loopback"] = interface.is_loopback.into();
    }
    told
}

/// A server by its address, with these of its fields.
fn server(told: &Value, fields: &[&str]) -> Value {
    let mut row = value!({"server": told["server"]});
    for field in fields {
        row[*field] = told[*field].clone();
    }
    row
}

fn balanced(told: &Value) -> Value {
    let fields = [
        "name",
        "enabled",
        "state",
        "ratio",
        "connections_open",
        "requests_active",
        "clients_bound",
        "response_time",
    ];
    server(told, &fields)
}

fn monitored(told: &Value) -> Value {
    let fields = [
        "name",
        "state",
        "why",
        "since_unix_s",
        "held_until_unix_s",
        "state_changes",
        "probes_passed",
        "probes_failed",
        "probes_maintenance",
        "probes_not_made",
    ];
    server(told, &fields)
}

fn connections(told: &Value) -> Value {
    let fields = ["connections_open", "requests_active", "requests_on_kept", "connect_failures", "aborts"];
    server(told, &fields)
}

/// An entry, as Avi tells of those of a table of keys.
fn entry(told: &Value) -> Value {
    value!({
        "key": told["key"],
        "val": told["server"],
        "kv_type": told["kind"],
        "pool_uuid": told["pool"].as_str().map(forebay_model::compile::uuid_of),
        "version": told["version"],
        "open_connections": told["open_connections"],
        "idle_s": told["idle_s"],
        "global_eol": told["expires_in_s"],
    })
}
