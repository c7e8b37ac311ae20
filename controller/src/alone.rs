//! One Controller, whose objects are in a file of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use tokio::sync::watch;

use crate::api::App;
use crate::cluster::{Cluster, Guests, received};
use crate::sealed::Seal;
use crate::store::Embedded;
use crate::{api, counted, logs, notify, otlp, server, start};

/// How it is to run.
pub struct Settings {
    /// Where its files are.
    pub folder: PathBuf,
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Where engines come.
    pub listen_engines: SocketAddr,
    /// Engines report so often.
    pub heartbeat: Duration,
    /// What becomes of request logs.
    pub logs: logs::Settings,
    /// Collectors of OpenTelemetry.
    pub otlp: Option<otlp::Exported>,
    /// Versions of the protocol that engines may speak.
    pub speaks: (u32, u32),
}

/// Why it ended.
pub enum End {
    /// It was to stop.
    Stopped,
    /// The folder says now that it is one of several.
    BecomesOneOfSeveral,
}

/// A future that is compiled here, once, and not anew in each program that waits for it.
type Boxed<T> = Pin<Box<dyn Future<Output = T>>>;

/// Runs until `stop` ends or `becomes` says that it is one of several now.
///
/// # Errors
/// As a text that says what to do.
pub fn run(
    settings: Settings,
    store: Embedded,
    seal: Seal,
    cluster: Cluster,
    becomes: watch::Receiver<bool>,
    stop: Boxed<()>,
) -> Boxed<Result<End, String>> {
    Box::pin(serve(settings, store, seal, cluster, becomes, stop))
}

async fn serve(
    settings: Settings,
    store: Embedded,
    seal: Seal,
    cluster: Cluster,
    mut becomes: watch::Receiver<bool>,
    stop: Boxed<()>,
) -> Result<End, String> {
    let Settings { folder, listen, listen_engines, heartbeat, logs, otlp, speaks } = settings;
    let tls = server::certificate(&folder, listen)?;
    let begun = start::begin(store, seal, heartbeat, cluster, Some(logs::open(&logs)?)).await?;
    begun.keep_metrics(counted::open(&folder)?, &folder);
    if let Some(exported) = otlp {
        begun.export(exported);
    }
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .map_err(|error| format!("{listen}: {error}; choose another by --listen"))?;
    let at = listener.local_addr().map_err(|error| error.to_string())?;
    let door_at = begun.open_door(start::door(listen_engines).await?, speaks)?;
    println!("API: https://{at}");
    println!("certificate: {}", server::fingerprint(&folder)?);
    println!("engines: {door_at}");
    if let Some(password) = &begun.first {
        println!("user: admin");
        println!("password: {password} (shown this once)");
    }
    begun.open_socket(folder);
    let app = begun.app;
    let guests = Guests::default();
    let answer = move |request| answer(Arc::clone(&app), guests.clone(), request);
    // Who connects from now on waits in the socket's queue at worst.
    notify::ready();
    let told = becomes.clone();
    let stop = async move {
        tokio::select! {
            () = stop => notify::stopping(),
            _ = becomes.wait_for(|becomes| *becomes) => {}
        }
    };
    server::serve(answer, listener, tls, stop).await.map_err(|error| error.to_string())?;
    Ok(if *told.borrow() { End::BecomesOneOfSeveral } else { End::Stopped })
}

/// Answers a client whose whole request has found room.
async fn answer(app: Arc<App<Embedded>>, guests: Guests, request: Request) -> Response<Body> {
    match received(&guests, request).await {
        // The room is taken for as long as the content is worked at.
        Ok((head, content, _guest)) => api::serve(app, Request::from_parts(head, Body::from(content))).await,
        Err(answer) => answer,
    }
}
