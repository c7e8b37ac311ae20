//! The API: what a request asks for, and what it gets.

mod account;
mod alerts;
mod answer;
mod below;
mod best;
mod certificate;
mod cluster;
mod configuration;
mod engines;
mod events;
mod gate;
mod health;
mod idle;
mod inventory;
mod logs;
mod look;
mod metrics;
mod objects;
mod others;
mod penalty;
mod prometheus;
mod request;
mod runtime;
mod scale;
#[cfg(test)]
mod scale_tests;
mod seen;
mod session;
mod tables;
mod views;

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::http::{Method, Request, Response};

use crate::accounts::Accounts;
use crate::alerts::Alerts;
use crate::channel::Authority;
use crate::cluster::Cluster;
use crate::counted::Counted;
use crate::distributor::Distributors;
use crate::engines::{Engines, Members};
use crate::mirror::Mirrors;
use crate::objects::Objects;
use crate::placement::Placement;
use crate::stands::Stands;
use crate::store::{Store, wrote};
use answer::{Answer, bad, json};
pub(crate) use health::Minute;
pub use idle::Idle;
pub(crate) use logs::filters;
pub(crate) use look::Look;
pub(crate) use metrics::{apdex_of, told_until};
pub(crate) use others::refused;
pub use penalty::Remembered;
use request::{Asked, read};
pub use request::{CONTENT_BYTES_MAX, Peer, host_of, whole};
pub(crate) use runtime::clock;

/// All that answers need.
pub struct App<S> {
    /// The store: accounts stand in it beside the objects.
    pub store: S,
    /// The objects.
    pub objects: Objects<S>,
    /// Who may come in.
    pub accounts: Accounts,
    /// The engines that are known.
    pub engines: Engines,
    /// Which of them have which services.
    pub placement: Placement,
    /// When this Controller began to wait for engines.
    pub began: Instant,
    /// Their places in their groups.
    pub members: Members,
    /// Who signs their certificates.
    pub authority: Authority,
    /// What they tell of requests and connections; `None`: nobody keeps it.
    pub logs: Option<Arc<forebay_logs::Store>>,
    /// What they count.
    pub counted: Counted,
    /// What was to be told of when it happens.
    pub alerts: Alerts,
    /// How things stand, as far as it was told.
    pub standing: Stands,
    /// The Controllers of this store.
    pub cluster: Cluster,
    /// What engines do without of services, for who asks again.
    pub idle: Idle,
    /// What is read of the tables that engines share.
    pub mirrors: Mirrors,
    /// What is copied between Redises.
    pub distributors: Distributors,
}

/// Beside an answer to a request by which something was written, or may have been.
#[derive(Clone, Copy, Debug)]
pub struct Wrote;

/// Answers one request.
pub async fn serve<S: Store + 'static>(app: Arc<App<S>>, request: Request<Body>) -> Response<Body> {
    let asked = match read(request).await {
        Ok(asked) => asked,
        Err(answer) => return answer.finish(),
    };
    // In a task of its own: what was begun is carried through when its client goes away in the middle. Else what the store has
    // taken by then would be missing in memory.
    //= API-WRITE-01
    let done = tokio::spawn(async move {
        let (answer, has_written) = wrote::noted(route(&app, &asked)).await;
        let mut answer = answer.unwrap_or_else(|answer| answer).finish();
        if has_written {
            answer.extensions_mut().insert(Wrote);
        }
        answer
    });
    done.await.unwrap_or_else(|_| bad(500, "the Controller made a mistake: see its log").finish())
}

async fn route<S: Store>(app: &App<S>, asked: &Asked) -> Result<Answer, Answer> {
    let steps: Vec<&str> = asked.steps.iter().map(String::as_str).collect();
    match (&asked.method, &steps[..]) {
        (&Method::POST, ["login"]) => return session::login(app, asked).await,
        (&Method::GET, ["api", "cluster", "status"]) => {
            return Ok(json(200, cluster::status(&app.cluster.all())));
        }
        _ => {}
    }
    let who = session::who(app, asked).await?;
    //= API-VERSION-01
    let wanted = asked.header(forebay_model::version::HEADER);
    forebay_model::version::Version::asked(wanted).map_err(|problem| bad(400, &problem.to_string()))?;
    gate::pass(app, &who, &asked.method, &steps)?;
    gate::is_tried(asked, &steps)?;
    match (&asked.method, &steps[..]) {
        (&Method::POST, ["logout"]) => Ok(session::logout(app, asked)),
        (&Method::GET, ["api", "initial-data"]) => Ok(json(200, serde_json::json!({"version": version()}))),
        (&Method::GET, ["api", "openapi.json"]) => Ok(json(200, forebay_model::openapi::document())),
        (&Method::GET, ["api", "cluster", "version"]) => Ok(json(200, version())),
        (&Method::GET, ["api", "cluster", "runtime"]) => Ok(json(200, cluster::runtime(&app.cluster.all()))),
        (&Method::POST, ["api", "cluster", "token"]) => cluster::token(app, asked, &who).await,
        (_, ["api", "user-token"]) => session::tokens(app, asked, &who, None).await,
        (_, ["api", "user-token", uuid]) => session::tokens(app, asked, &who, Some(uuid)).await,
        (_, ["api", "configuration", "export"]) => configuration::export(app, asked, &who).await,
        (_, ["api", "configuration", "import"]) => configuration::import(app, asked, &who).await,
        (_, ["api", "useraccount"]) => account::own(app, asked, &who).await,
        (&Method::GET, ["api", "analytics", "logs"]) => logs::list(app, asked, &who).await,
        (_, ["api", "analytics", "metrics" | "metric_id", ..]) => {
            metrics::answer(app, asked, &who, &steps[2..]).await
        }
        (_, ["api", "analytics", "healthscore", rest @ ..]) => health::answer(app, asked, &who, rest).await,
        (_, ["api", "analytics", "prometheus-metrics", path]) => {
            prometheus::answer(app, asked, &who, path).await
        }
        (_, ["api", "alert"]) => alerts::answer(app, asked, &who, None).await,
        (_, ["api", "alert", uuid]) => alerts::answer(app, asked, &who, Some(uuid)).await,
        (_, ["api", "se-token"]) => engines::tokens(app, asked, &who, None).await,
        (_, ["api", "se-token", uuid]) => engines::tokens(app, asked, &who, Some(uuid)).await,
        (&Method::GET, ["api", "serviceengine", uuid, "channel"]) => engines::channel(app, &who, uuid),
        (&Method::GET, ["api", "serviceengine", uuid, "objsync"]) => {
            engines::objsync(app, asked, &who, uuid).await
        }
        (_, ["api", path]) => match inventory::all(app, asked, &who, path).await {
            Some(answer) => answer,
            None => objects::all(app, asked, &who, path).await,
        },
        (_, ["api", path, uuid]) => match inventory::one_of(app, asked, &who, (path, uuid)).await {
            Some(answer) => answer,
            None => objects::one(app, asked, &who, path, uuid).await,
        },
        (_, ["api", path, uuid, rest @ ..]) => below::object(app, asked, &who, (path, uuid), rest).await,
        _ => Err(bad(404, "there is nothing at this path")),
    }
}

fn version() -> serde_json::Value {
    serde_json::json!({"Version": forebay_model::version::OURS.to_string(), "Product": "forebay", "build": env!("CARGO_PKG_VERSION")})
}
