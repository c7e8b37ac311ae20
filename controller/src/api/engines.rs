//! Engines: tokens by which they become members, and what they are asked.

use std::time::{Duration, Instant};

use axum::http::Method;
use forebay_model::kind;
use forebay_model::reference::Reference;
use forebay_wire::Token;
use serde_json::{Value, json as value};

use super::App;
use super::answer::{Answer, bad, empty, json};
use super::others::Reader;
use super::request::{Asked, hours};
use super::session::Who;
use crate::channel::{Grant, end_token, make_token, tokens as all_tokens};
use crate::engines::KIND;
use crate::objects::{Denied, new_uuid};
use crate::store::{Refusal, Store};

/// How long an engine may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// `/api/se-token`: what an engine becomes a member by, once.
//= CHAN-TOKEN-02
pub async fn tokens<S: Store>(
    app: &App<S>,
    asked: &Asked,
    who: &Who,
    uuid: Option<&str>,
) -> Result<Answer, Answer> {
    let failed = |refusal| Answer::from(Denied::Store(refusal));
    match (&asked.method, uuid) {
        (&Method::POST, None) => {
            let said = if asked.content.is_empty() { serde_json::Map::new() } else { asked.object()? };
            let hours = hours(&said)?;
            let group = group(app, who, said.get("se_group_ref"))?;
            let kind = kind(KIND).ok_or_else(|| bad(500, "there is no kind of engines"))?;
            let engine = new_uuid(kind)?;
            let grant = Grant { group, tenant: who.tenant.uuid.clone(), engine };
            let made = make_token(&app.store, &grant, hours).await.map_err(failed)?;
            tracing::info!(
                event = "CONTROLLER_ENGINE_TOKEN",
                user = who.user,
                uuid = made.uuid,
                "a token was made"
            );
            let token = Token { secret: made.secret, authority: app.authority.certificate().to_vec() };
            Ok(json(
                201,
                value!({
                    "uuid": made.uuid,
                    "token": token.text(),
                    "expires_at": made.until,
                    "se_uuid": grant.engine,
                    "se_group_ref": format!("{}/api/serviceenginegroup/{}", asked.base(), grant.group),
                }),
            ))
        }
        (&Method::GET, None) => {
            let list = all_tokens(&app.store).await.map_err(failed)?;
            Ok(json(200, value!({"count": list.len(), "results": list})))
        }
        (&Method::DELETE, Some(uuid)) => match end_token(&app.store, uuid).await.map_err(failed)? {
            true => Ok(empty(204)),
            false => Err(bad(404, "there is no such token")),
        },
        (method, _) => Err(bad(405, &format!("Method '{method}' not allowed"))),
    }
}

/// The group that is named, or the one that there is for all.
fn group<S: Store>(app: &App<S>, who: &Who, named: Option<&Value>) -> Result<String, Answer> {
    const GROUP: &str = "serviceenginegroup";
    let now = app.objects.now();
    let named = match named {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.as_str()),
        Some(_) => return Err(bad(400, "se_group_ref: write /api/serviceenginegroup/<uuid>")),
    };
    let found = match named {
        None => now.named(GROUP, "Default-Group").find(|held| who.tenant.sees(held)).cloned(),
        Some(text) => match Reference::read(text, GROUP) {
            Ok(Reference::Uuid(uuid)) => now.get(GROUP, &uuid).filter(|held| who.tenant.sees(held)).cloned(),
            Ok(Reference::Name(name)) => now.named(GROUP, &name).find(|held| who.tenant.sees(held)).cloned(),
            Err(refusal) => {
                return Err(bad(400, &format!("se_group_ref: {}; {}", refusal.reason, refusal.fix)));
            }
        },
    };
    let found = found.ok_or_else(|| bad(404, "ServiceEngineGroup object not found!"))?;
    Ok(found.uuid.clone())
}

/// `/api/serviceengine/<uuid>/channel`: how it stands between the Controller and an engine.
//= CHAN-SEEN-01
//= CHAN-SEEN-02
pub fn channel<S: Store>(app: &App<S>, who: &Who, uuid: &str) -> Result<Answer, Answer> {
    let engine = seen(app, who, uuid)?;
    let now = Instant::now();
    let since = |then: Option<Instant>| then.map(|then| now.saturating_duration_since(then).as_secs());
    let objects = app.objects.now();
    let reader = Reader::new(&objects, &who.tenant);
    let (problems, more_problems) = reader.texts(app, &engine, &engine.problems);
    let (unmade, more_unmade) = reader.texts(app, &engine, &engine.unmade);
    let (left_out, more_left_out) = reader.services(engine.lacking());
    let (as_before, more_as_before) = reader.services(engine.as_before());
    let (interfaces, routes) = reader.networks(app, &engine);
    Ok(json(
        200,
        value!({
            "uuid": engine.uuid,
            "name": engine.name,
            "connected": engine.is_connected,
            "up": engine.is_up(now),
            "connected_s": since(engine.since.filter(|_| engine.is_connected)),
            "heard_s": since(engine.heard),
            "software": engine.software,
            "address": engine.address,
            "slot": engine.slot,
            "configuration": {
                "sent": engine.sent,
                "applied": engine.applied,
                "current": engine.is_current(),
                "problems": problems,
                "not_made": unmade,
                "left_out": left_out,
                "as_before": as_before,
                "with_next_start": engine.pending,
                "not_shown": {
                    "problems": more_problems,
                    "not_made": more_unmade,
                    "left_out": more_left_out,
                    "as_before": more_as_before,
                },
            },
            "tables_complete": engine.has_tables,
            "peers": engine.peers.iter().map(|peer| value!({
                "slot": peer.slot, "connected": peer.is_connected, "waiting": peer.waiting, "equal": peer.is_equal,
            })).collect::<Vec<_>>(),
            "machine": {
                "cores": engine.machine.cores,
                "memory_bytes": engine.machine.memory_bytes,
                "interfaces": interfaces,
                "routes": routes,
            },
            "services": engine.services.len(),
            "services_up": engine.services.values().filter(|service| service.is_up).count(),
            "servers": engine.servers.len(),
            "servers_up": engine.servers.values().filter(|server| server.state == "up").count(),
        }),
    ))
}

/// `/api/serviceengine/<uuid>/objsync`: what the engine itself says of the others. Its tables have views of their own, below the
/// service or the pool whose they are.
//= CHAN-SEEN-02
pub async fn objsync<S: Store>(app: &App<S>, asked: &Asked, who: &Who, uuid: &str) -> Result<Answer, Answer> {
    const WHAT: &str = "serviceengine_objsync";
    let engine = seen(app, who, uuid)?;
    if asked.query.iter().any(|(name, what)| name == "what" && what != WHAT) {
        return Err(bad(
            400,
            "what: an engine tells of the other members here; look for its tables below their service \
             (keyvalsummary, keyvalsummaryobjsync) or their pool (runtime/internal, persistence, objsync)",
        ));
    }
    let said = app.engines.ask(uuid, value!({"command": "show", "what": WHAT}), PATIENCE).await;
    let mut said = said.map_err(|why| bad(503, &why))?;
    match said["ok"].as_bool() {
        Some(true) => {
            let objects = app.objects.now();
            Reader::new(&objects, &who.tenant).members(app, &engine, &mut said["data"]);
            Ok(json(200, &said["data"]))
        }
        _ => Err(bad(409, said["error"]["reason"].as_str().unwrap_or("the engine does not say"))),
    }
}

fn seen<S: Store>(
    app: &App<S>,
    who: &Who,
    uuid: &str,
) -> Result<std::sync::Arc<crate::engines::Engine>, Answer> {
    let kind = kind(KIND).ok_or_else(|| bad(500, "there is no kind of engines"))?;
    app.objects.get(kind, uuid, &who.tenant)?;
    let engine = app.engines.get(uuid);
    engine.ok_or_else(|| {
        Answer::from(Denied::Store(Refusal::Unavailable("the engine is not known yet".to_owned())))
    })
}
