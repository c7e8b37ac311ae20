//! What engines tell of requests and connections: kept in a folder beside the store, found by `/api/analytics/logs`.

use std::path::PathBuf;
use std::sync::Arc;

use forebay_logs::{Admit, Store as Kept};
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
}

/// Opens the folder.
///
/// # Errors
/// As a text that says what to do.
pub fn open(settings: &Settings) -> Result<Arc<Kept>, String> {
    crate::files::make_private(&settings.folder)?;
    let kept = forebay_logs::Settings { hours_max: settings.hours, bytes_max: settings.bytes };
    let opened = Kept::open(&settings.folder, kept);
    opened.map(Arc::new).map_err(|failure| format!("{failure}; logs of requests are kept there"))
}

/// Looks at each record of an engine before it is written: it is about a service that there is, and says of the engine what the
/// Controller knows.
//= LOG-TAKE-02
pub fn admit<S: Store + 'static>(app: &Arc<App<S>>, engine: &str) -> Admit {
    let (app, engine) = (Arc::clone(app), engine.to_owned());
    Box::new(move |fields: &mut Map<String, Value>| {
        // Behind the uuid stands which of the service's ports it was, and how a pool is used.
        let uuid = |name: &str| {
            let text = fields.get(name)?.as_str()?;
            Some(text.split('/').next().unwrap_or_default().to_owned())
        };
        let (Some(service), pool) = (uuid("virtualservice"), uuid("pool_name")) else { return false };
        let now = app.objects.now();
        if now.get("virtualservice", &service).is_none() {
            return false;
        }
        let name = |kind: &str, uuid: &str| now.get(kind, uuid).map(|held| held.name.clone());
        let (pool_name, engine_name) =
            (pool.as_deref().and_then(|pool| name("pool", pool)), name("serviceengine", &engine));
        drop(now);
        let mut set = |field: &str, value: Option<String>| {
            if let Some(value) = value {
                fields.insert(field.to_owned(), Value::from(value));
            }
        };
        set("virtualservice", Some(service));
        set("service_engine", Some(engine.clone()));
        set("service_engine_name", engine_name);
        set("pool_name", pool_name);
        set("pool", pool);
        true
    })
}
