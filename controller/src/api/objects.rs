//! The objects' own paths: `/api/<type>` and `/api/<type>/<uuid>`.

use axum::http::Method;
use forebay_model::compile::{Engine, Input, Placed, compile};
use forebay_model::kind::Scope;
use forebay_model::{Kind, Problem, kind};
use serde_json::{Value, json as value};

use super::App;
use super::answer::{Answer, bad, empty, json};
use super::request::Asked;
use super::session::Who;
use crate::objects::{Held, Look, Query, shown};
use crate::store::Store;

/// `/api/<type>`.
//= API-CLIENT-01
//= API-CLIENT-02
//= API-CLIENT-03
pub async fn all<S: Store>(app: &App<S>, asked: &Asked, who: &Who, path: &str) -> Result<Answer, Answer> {
    let kind = known(path)?;
    let query = Query::new(&asked.query);
    let look = Look::of(&query, asked.base(), &who.tenant);
    if kind.scope == Scope::Single {
        return single(app, asked, who, kind, &look).await;
    }
    match asked.method {
        Method::GET => {
            let now = app.objects.now();
            let found = query.find(&now, kind, &who.tenant)?;
            let results: Vec<Value> =
                found.page.iter().map(|held| Value::Object(shown(&now, held, &look))).collect();
            let mut list = value!({"count": found.count, "results": results});
            if let Some(page) = found.next {
                list["next"] = Value::from(next(asked, kind.path, page));
            }
            Ok(json(200, &list))
        }
        Method::POST => {
            let mut sent = asked.object()?;
            // Clients that choose the uuid say it here.
            if let Some(uuid) = asked.header("slug") {
                sent.insert("uuid".to_owned(), Value::from(uuid));
            }
            let held = app.objects.create(kind, &sent, &who.tenant).await?;
            told(who, "created", &held);
            let (idle, problems) = judged(app, &held);
            Ok(json(201, &Value::Object(shown(&app.objects.now(), &held, &look))).warned(idle, &problems))
        }
        _ => Err(not_allowed(asked)),
    }
}

/// `/api/<type>` of a kind of which there is one object: it stands there itself.
async fn single<S: Store>(
    app: &App<S>,
    asked: &Asked,
    who: &Who,
    kind: &'static Kind,
    look: &Look,
) -> Result<Answer, Answer> {
    let found = app.objects.now().all(kind.path).next().cloned();
    let held = found.ok_or_else(|| bad(404, &format!("{} object not found!", kind.name)))?;
    let held = match asked.method {
        Method::GET => held,
        Method::PUT => {
            let held = app.objects.replace(kind, &held.uuid, &asked.object()?, &who.tenant).await?;
            told(who, "replaced", &held);
            held
        }
        Method::PATCH => {
            let held = app.objects.patch(kind, &held.uuid, &asked.object()?, &who.tenant).await?;
            told(who, "patched", &held);
            held
        }
        _ => return Err(not_allowed(asked)),
    };
    Ok(json(200, &Value::Object(shown(&app.objects.now(), &held, look))))
}

/// `/api/<type>/<uuid>`.
pub async fn one<S: Store>(
    app: &App<S>,
    asked: &Asked,
    who: &Who,
    path: &str,
    uuid: &str,
) -> Result<Answer, Answer> {
    let kind = known(path)?;
    let look = Look::of(&Query::new(&asked.query), asked.base(), &who.tenant);
    let held = match asked.method {
        Method::GET => app.objects.get(kind, uuid, &who.tenant)?,
        Method::PUT => {
            let held = app.objects.replace(kind, uuid, &asked.object()?, &who.tenant).await?;
            told(who, "replaced", &held);
            held
        }
        Method::PATCH => {
            let held = app.objects.patch(kind, uuid, &asked.object()?, &who.tenant).await?;
            told(who, "patched", &held);
            held
        }
        Method::DELETE => {
            app.objects.delete(kind, uuid, &who.tenant).await?;
            tracing::info!(event = "CONTROLLER_OBJECT", user = who.user, kind = kind.path, uuid, "deleted");
            return Ok(empty(204));
        }
        _ => return Err(not_allowed(asked)),
    };
    let (idle, problems) =
        if asked.method == Method::GET { (Vec::new(), Vec::new()) } else { judged(app, &held) };
    Ok(json(200, &Value::Object(shown(&app.objects.now(), &held, &look))).warned(idle, &problems))
}

/// The fields of an object that were set and do nothing yet; and of a service what keeps it off all engines.
fn judged<S: Store>(app: &App<S>, held: &Held) -> (Vec<String>, Vec<Problem>) {
    let idle = forebay_model::fields::without_effect(held.kind.path, &held.object());
    if held.kind.path != "virtualservice" {
        return (idle, Vec::new());
    }
    let input = Input {
        objects: &app.objects,
        engine: Engine::default(),
        services: vec![Placed { service: held.uuid.clone(), ..Placed::default() }],
        ticket_keys: Vec::new(),
    };
    let problems = match compile(&input) {
        Ok(compiled) => compiled.left_out.into_values().flatten().collect(),
        Err(problems) => problems,
    };
    (idle, problems)
}

fn told(who: &Who, what: &str, held: &Held) {
    tracing::info!(
        event = "CONTROLLER_OBJECT",
        user = who.user,
        kind = held.kind.path,
        uuid = held.uuid,
        "{what}"
    );
}

fn known(path: &str) -> Result<&'static Kind, Answer> {
    kind(path).ok_or_else(|| bad(404, "there is no such type of object"))
}

fn not_allowed(asked: &Asked) -> Answer {
    bad(405, &format!("Method '{}' not allowed", asked.method))
}

/// The address of a page, with all that was asked for.
pub fn next(asked: &Asked, path: &str, page: usize) -> String {
    let mut address = format!("{}/api/{path}?", asked.base());
    for (name, value) in asked.query.iter().filter(|(name, _)| name != "page") {
        address.push_str(&format!("{}={}&", escaped(name), escaped(value)));
    }
    address + &format!("page={page}")
}

pub(super) fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() || b"-_.~,:".contains(&byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
