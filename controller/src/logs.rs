//! What engines tell of requests and connections: kept in a folder beside the store, found by `/api/analytics/logs`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use forebay_logs::{Admit, Store as Kept};
use forebay_wire::significance::{self, Ended};
use serde_json::{Map, Value};

use crate::api::App;
use crate::store::Store;

/// The folder within a Controller's own.
pub const FOLDER: &str = "logs";

/// How much is kept, and where.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder.
    pub folder: PathBuf,
    /// Hours, the one under way beside them.
    pub hours: u32,
    /// Bytes of all.
    pub bytes: u64,
    /// Where hours that are over are put as files of Parquet; `None`: nowhere.
    pub export: Option<PathBuf>,
}

/// Hours that are over are looked for this often.
const EXPORT_EVERY: Duration = Duration::from_secs(60);
/// The store may end meanwhile: that is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Opens the folder.
///
/// # Errors
/// As a text that says what to do.
pub fn open(settings: &Settings) -> Result<Arc<Kept>, String> {
    crate::files::make_private(&settings.folder)?;
    let kept = forebay_logs::Settings { hours_max: settings.hours, bytes_max: settings.bytes };
    let opened = Kept::open(&settings.folder, kept).map(Arc::new);
    let opened = opened.map_err(|failure| format!("{failure}; logs of requests are kept there"))?;
    if let Some(to) = settings.export.clone() {
        std::fs::create_dir_all(&to)
            .map_err(|error| format!("--logs-export {}: {error}; name another folder", to.display()))?;
        let (store, from) = (Arc::downgrade(&opened), settings.folder.clone());
        let thread = std::thread::Builder::new().name("logs-export".to_owned());
        thread
            .spawn(move || keep_exporting(&store, &from, &to))
            .map_err(|error| format!("no thread: {error}"))?;
    }
    Ok(opened)
}

/// Exports hours that are over, beside what is written and searched, until the store is gone.
//= LOG-EXPORT-01
fn keep_exporting(store: &Weak<Kept>, from: &Path, to: &Path) {
    let (mut due, mut told) = (Instant::now(), String::new());
    while store.strong_count() > 0 {
        if Instant::now() >= due {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let now = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
            match forebay_logs::export(from, to, now) {
                Ok(made) => {
                    for file in made {
                        tracing::info!(event = "CONTROLLER_LOG_EXPORTED", file = %file.display(), "an hour of logs is exported");
                    }
                    told.clear();
                }
                Err(failure) if failure.to_string() != told => {
                    told = failure.to_string();
                    tracing::error!(event = "CONTROLLER_LOG_UNEXPORTED", %failure, "an hour of logs is not exported: it is tried again");
                }
                Err(_) => {}
            }
            due = Instant::now() + EXPORT_EVERY;
        }
        // Sleep: hours pass.
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Puts in why a record deserves a look, by the names that clients look for.
//= LOG-ADF-01
fn mark(fields: &mut Map<String, Value>) {
    let significant = fields.get("significant") == Some(&Value::Bool(true));
    fields.insert("adf".to_owned(), significant.into());
    if !significant {
        return;
    }
    let said = fields.get("significance").and_then(Value::as_array);
    let said = said.into_iter().flatten().filter_map(Value::as_str);
    let state = ["request_state", "connection_state"].iter().find_map(|name| fields.get(*name)?.as_str());
    let code = fields.get("response_code").and_then(Value::as_u64);
    let names = significance::names(said, Ended { code, state: state.unwrap_or_default() });
    fields.insert("significant_log".to_owned(), names.into());
}

/// Looks at each record of an engine before it is written: it is about a service that there is and that the engine was
/// given, and says of the engine what the Controller knows. It counts to the room of its service's tenant.
//= LOG-TAKE-02
pub fn admit<S: Store + 'static>(app: &Arc<App<S>>, engine: &str) -> Admit {
    let given = app.engines.get(engine).map(|engine| Arc::clone(&engine.given)).unwrap_or_default();
    let (app, engine) = (Arc::clone(app), engine.to_owned());
    Box::new(move |fields: &mut Map<String, Value>| {
        // Behind the uuid stands which of the service's ports it was, and how a pool is used.
        let uuid = |name: &str| {
            let text = fields.get(name)?.as_str()?;
            Some(text.split('/').next().unwrap_or_default().to_owned())
        };
        let (Some(service), pool) = (uuid("virtualservice"), uuid("pool_name")) else { return None };
        let now = app.objects.now();
        let owner = now.get("virtualservice", &service).map(|held| held.tenant.clone())?;
        if !given.may_tell_of(&service, Instant::now()) {
            return None;
        }
        let name = |kind: &str, uuid: &str| now.get(kind, uuid).map(|held| held.name.clone());
        // Of a pool that the engine does not have it says nothing; one that is gone since has its uuid as a name.
        let pool = pool.filter(|pool| given.may_tell_of(pool, Instant::now()));
        let pool_name = pool.as_ref().map(|pool| name("pool", pool).unwrap_or_else(|| pool.clone()));
        let engine_name = name("serviceengine", &engine);
        drop(now);
        fields.remove("pool_name");
        let mut set = |field: &str, value: Option<String>| {
            if let Some(value) = value {
                fields.insert(field.to_owned(), Value::from(value));
            }
        };
        set("virtualservice", Some(service.clone()));
        set("service_engine", Some(engine.clone()));
        set("service_engine_name", engine_name);
        set("pool_name", pool_name);
        set("pool", pool);
        mark(fields);
        app.alerts.watch.see(&service, &owner, fields);
        Some(owner)
    })
}
