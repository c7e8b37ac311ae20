//! The objects' own paths: `/api/<type>` and `/api/<type>/<uuid>`.

use std::sync::Arc;

use axum::http::Method;
use forebay_model::compile::{Engine, Input, Lookup, Placed, compile};
use forebay_model::kind::Scope;
use forebay_model::{Kind, Object, kind};
use serde_json::{Value, json as value};

use super::answer::{Answer, Judged, bad, empty, json};
use super::request::Asked;
use super::session::Who;
use super::{App, cluster, inventory};
use crate::objects::{Catalogue, Change, Held, Look, Objects, Query, shown};
use crate::placement::Seen;
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
            let joins = joins(app, &query, kind, &found.page)?;
            let results: Vec<Value> = found
                .page
                .iter()
                .map(|held| with_joined(app, asked, (&now, &look), held, joins.as_deref()))
                .collect();
            let mut list = value!({"count": found.count, "results": results});
            if let Some(page) = found.next {
                list["next"] = Value::from(next(asked, kind.path, page));
            }
            Ok(json(200, list))
        }
        Method::POST => {
            let mut sent = asked.object()?;
            // Clients that choose the uuid say it here.
            if let Some(uuid) = asked.header("slug") {
                sent.insert("uuid".to_owned(), Value::from(uuid));
            }
            let (held, is_tried) = done(app, asked, who, kind, Change::Create(&sent)).await?;
            let answer = json(201, Value::Object(shown(&app.objects.now(), &held, &look)));
            Ok(answer.warned(&judged(app, &held)).tried(is_tried))
        }
        _ => Err(not_allowed(asked)),
    }
}

/// The engines, where a query joins to objects how they are.
///
/// # Errors
/// Something else is to be joined.
//= API-JOIN-01
fn joins<S: Store>(
    app: &App<S>,
    query: &Query<'_>,
    kind: &Kind,
    page: &[Arc<Held>],
) -> Result<Option<Vec<Seen>>, Answer> {
    let Some(text) = query.get("join_subresources").filter(|text| !text.is_empty()) else { return Ok(None) };
    match text.split(',').map(str::trim).find(|name| *name != "runtime") {
        Some(other) => Err(bad(
            400,
            &format!("join_subresources: runtime can be joined, \"{other}\" cannot: leave it out"),
        )),
        None => Ok(Some(app.seen_for(kind, page.iter().map(|held| held.uuid.as_str())))),
    }
}

fn with_joined<S: Store>(
    app: &App<S>,
    asked: &Asked,
    (now, look): (&Catalogue, &Look),
    held: &Held,
    joins: Option<&[Seen]>,
) -> Value {
    let mut shown = shown(now, held, look);
    let runtime = joins.and_then(|seen| inventory::joined(app, asked, (now, &look.tenant), held, seen));
    shown.extend(runtime.map(|runtime| ("runtime".to_owned(), runtime)));
    Value::Object(shown)
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
    let (held, is_tried) = match asked.method {
        Method::GET => (held, false),
        Method::PUT => done(app, asked, who, kind, Change::Replace(&held.uuid, &asked.object()?)).await?,
        Method::PATCH => done(app, asked, who, kind, Change::Patch(&held.uuid, &asked.object()?)).await?,
        _ => return Err(not_allowed(asked)),
    };
    let answer = json(200, Value::Object(shown(&app.objects.now(), &held, look))).tried(is_tried);
    let advice =
        (kind.path == "cluster" && asked.method != Method::GET).then(|| cluster::advised(&held.object()));
    Ok(answer.advised(advice.flatten()))
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
    let (held, is_tried) = match asked.method {
        Method::GET => (app.objects.get(kind, uuid, &who.tenant)?, false),
        Method::PUT => done(app, asked, who, kind, Change::Replace(uuid, &asked.object()?)).await?,
        Method::PATCH => done(app, asked, who, kind, Change::Patch(uuid, &asked.object()?)).await?,
        Method::DELETE => {
            let (_, is_tried) = done(app, asked, who, kind, Change::Delete(uuid)).await?;
            return Ok(empty(204).tried(is_tried));
        }
        _ => return Err(not_allowed(asked)),
    };
    if asked.method == Method::GET {
        let joins = joins(app, &Query::new(&asked.query), kind, std::slice::from_ref(&held))?;
        let now = app.objects.now();
        return Ok(json(200, with_joined(app, asked, (&now, &look), &held, joins.as_deref())));
    }
    let judged = judged(app, &held);
    let answer = json(200, Value::Object(shown(&app.objects.now(), &held, &look)));
    Ok(answer.warned(&judged).tried(is_tried))
}

/// Makes a change, or tries it where that is asked for: then nothing is written and nothing is told. Says which of both.
//= API-DRY-01
async fn done<S: Store>(
    app: &App<S>,
    asked: &Asked,
    who: &Who,
    kind: &'static Kind,
    change: Change<'_>,
) -> Result<(Arc<Held>, bool), Answer> {
    let begins = match kind.path {
        "cluster" => cluster::judged(app, kind, change, &who.tenant).await?,
        _ => None,
    };
    if asked.is_dry_run()? {
        return Ok((app.objects.try_change(kind, change, &who.tenant).await?, true));
    }
    let held = app.objects.change(kind, change, &who.tenant).await?;
    let what = match change {
        Change::Create(_) | Change::Move(_) => "created",
        Change::Replace(..) => "replaced",
        Change::Patch(..) => "patched",
        Change::Delete(_) => "deleted",
    };
    tracing::info!(
        event = "CONTROLLER_OBJECT",
        user = who.user,
        kind = held.kind.path,
        uuid = held.uuid,
        "{what}"
    );
    if let Some(begins) = begins {
        let alone =
            "this Controller stays alone, although the object names others: mend that, and send it again";
        app.cluster.begin(&begins).map_err(|text| bad(503, &format!("{text}; {alone}")))?;
    }
    Ok((held, false))
}

/// All objects, with one as it is or would be.
pub(super) struct With<'a, S> {
    pub objects: &'a Objects<S>,
    pub held: &'a Held,
}

impl<S: Store> Lookup for With<'_, S> {
    fn get(&self, kind: &str, uuid: &str) -> Option<Object> {
        if kind == self.held.kind.path && uuid == self.held.uuid {
            return Some(self.objects.carried(self.held));
        }
        Lookup::get(self.objects, kind, uuid)
    }

    fn named(&self, kind: &str, name: &str) -> Option<(String, Object)> {
        Lookup::named(self.objects, kind, name)
    }
}

/// What there is to say of an object: fields that do nothing, and of a service what engines make of it.
pub fn judged<S: Store>(app: &App<S>, held: &Held) -> Judged {
    judged_by(held, family(app, held), &With { objects: &app.objects, held })
}

/// The same by these objects, and by whom it is served with.
pub(super) fn judged_by(held: &Held, placed: Placed, objects: &dyn Lookup) -> Judged {
    let mut judged = Judged {
        fields: forebay_model::fields::without_effect(held.kind.path, &held.object()),
        ..Judged::default()
    };
    if held.kind.path != "virtualservice" {
        return judged;
    }
    let parent = placed.service.clone();
    let input = Input { objects, engine: Engine::default(), services: vec![placed], ticket_keys: Vec::new() };
    match compile(&input) {
        Ok(mut compiled) => {
            // Of its brothers a child is told nothing.
            let is_told = |uuid: &String| [&held.uuid, &parent].contains(&uuid) || !is_child(held);
            let own = compiled.left_out.into_iter().filter(|(uuid, _)| is_told(uuid));
            judged.problems = own.flat_map(|(_, problems)| problems).collect();
            judged.idle = compiled.warnings.remove(&held.uuid).unwrap_or_default();
        }
        Err(problems) => judged.problems = problems,
    }
    judged
}

fn is_child(held: &Held) -> bool {
    held.object().get("type").and_then(Value::as_str) == Some("VS_TYPE_VH_CHILD")
}

/// A service as an engine has it: with the children that follow it, or with the parent that it follows.
pub(super) fn family<S: Store>(app: &App<S>, held: &Held) -> Placed {
    let (now, known) = (app.objects.now(), app.placement.known());
    let services = |of: &Held| {
        let id = of.id();
        let mut all = known.children(&of.uuid);
        // Those that were not looked at yet are the youngest.
        let by = now.referrers(&id).filter(|by| by.kind.path == "virtualservice" && !all.contains(&by.uuid));
        let new: Vec<String> = by.map(|by| by.uuid.clone()).collect();
        all.extend(new);
        all
    };
    let parent = held.refers.iter().filter(|_| is_child(held)).find(|id| id.kind == "virtualservice");
    match parent.and_then(|id| now.get(id.kind, &id.uuid)) {
        Some(parent) => {
            // It may be one that is tried, and not among them.
            let mut children = services(parent);
            children.push(held.uuid.clone());
            Placed { service: parent.uuid.clone(), children, ..Placed::default() }
        }
        None => Placed { service: held.uuid.clone(), children: services(held), ..Placed::default() },
    }
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
