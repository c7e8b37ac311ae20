//! `/api/configuration/export` and `/import`: the objects as one document, for another Controller or for safe keeping.

use std::collections::{BTreeMap, HashMap};

use aws_lc_rs::rand;
use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use forebay_model::check::check_after;
use forebay_model::kind::Scope;
use forebay_model::reference::Reference;
use forebay_model::{Kind, Object, kinds, shape};
use serde_json::{Value, json as value};

use super::App;
use super::answer::{Answer, bad, json};
use super::request::Asked;
use super::session::Who;
use crate::events;
use crate::objects::{Denied, Held, Tenant};
use crate::sealed::Seal;
use crate::store::Store;

/// The form of the document.
const FORM: u64 = 1;
/// The shortest passphrase, bytes.
const PASSPHRASE_MIN: usize = 8;
/// Problems that are told at once.
const PROBLEMS_MAX: usize = 100;

/// All objects that the user sees, by kind. Without a passphrase secrets are masked; with one they are sealed by it, where the
/// user may write the object. Passwords of users stay here.
//= API-EXPORT-01
pub async fn export<S: Store>(app: &App<S>, asked: &Asked, who: &Who) -> Result<Answer, Answer> {
    let said = match asked.method {
        Method::GET => Object::new(),
        Method::POST if asked.content.is_empty() => Object::new(),
        Method::POST => asked.object()?,
        _ => return Err(bad(405, &format!("Method '{}' not allowed", asked.method))),
    };
    let mut salt = [0_u8; 16];
    rand::fill(&mut salt).map_err(|_| bad(503, "the system gives no random numbers"))?;
    let seal = seal(&said, salt.to_vec()).await?;
    let all = Tenant { is_all: true, ..who.tenant.clone() };
    let mut document = Object::new();
    let mut count = 0;
    {
        let now = app.objects.now();
        for kind in kinds() {
            let held: Vec<Value> = now
                .all(kind.path)
                .filter(|held| all.sees(held))
                .map(|held| shown(app, held, &all, seal.as_ref()).map(Value::Object))
                .collect::<Result<_, _>>()?;
            count += held.len();
            if !held.is_empty() {
                document.insert(kind.name.to_owned(), Value::Array(held));
            }
        }
    }
    document.insert(
        "META".to_owned(),
        value!({"form": FORM, "version": super::version(), "salt": STANDARD_NO_PAD.encode(salt)}),
    );
    let text = format!("{} exported {count} objects", who.user);
    let event = events::came("CONFIG_EXPORT", &text, &who.tenant.rights, None);
    app.objects.tell(event).await.map_err(|refusal| Answer::from(Denied::Store(refusal)))?;
    Ok(json(200, Value::Object(document)))
}

/// The seal that a passphrase makes, if there is one.
async fn seal(said: &Object, salt: Vec<u8>) -> Result<Option<Seal>, Answer> {
    let passphrase = match said.get("passphrase") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if (PASSPHRASE_MIN..=1024).contains(&text.len()) => text.clone(),
        Some(_) => {
            return Err(bad(400, &format!("passphrase: put a text of {PASSPHRASE_MIN} to 1024 bytes there")));
        }
    };
    let made = tokio::task::spawn_blocking(move || Seal::of_passphrase(&passphrase, &salt)).await;
    made.map_err(|error| error.to_string()).flatten().map(Some).map_err(|text| bad(503, &text))
}

fn shown<S: Store>(app: &App<S>, held: &Held, all: &Tenant, seal: Option<&Seal>) -> Result<Object, Answer> {
    let mut object = match seal.filter(|_| all.demand_write(Some(held), Some(held)).is_ok()) {
        None => {
            let mut object = held.object();
            shape::mask(held.kind, &mut object);
            object
        }
        Some(seal) => {
            let mut object = app.objects.opened(held);
            let mut failed = None;
            shape::secrets(held.kind, &mut object, &mut |field, value| match seal
                .seal(&held.uuid, field, value)
            {
                Ok(sealed) => *value = sealed,
                Err(text) => failed = Some(text),
            });
            if let Some(text) = failed {
                return Err(bad(503, text));
            }
            object
        }
    };
    if held.kind.path == "user" {
        object.remove("password");
    }
    object.remove("_last_modified");
    Ok(object)
}

/// An object of a document that is taken in.
struct Coming {
    kind: &'static Kind,
    /// What it is called in the document.
    old: String,
    object: Object,
}

/// Takes a document in: what has the uuid of an object here, or its name in the same tenant and cloud, takes its place; all
/// others are made. Everything is checked before anything is written.
//= API-IMPORT-01
pub async fn import<S: Store>(app: &App<S>, asked: &Asked, who: &Who) -> Result<Answer, Answer> {
    if asked.method != Method::POST {
        return Err(bad(405, &format!("Method '{}' not allowed", asked.method)));
    }
    let said = asked.object()?;
    let document = said.get("configuration").and_then(Value::as_object);
    let document = document.ok_or_else(|| bad(400, "configuration: put there what an export gave"))?;
    let meta = &document.get("META").cloned().unwrap_or_default();
    if meta["form"].as_u64() != Some(FORM) {
        return Err(bad(
            400,
            &format!("META.form: this version takes form {FORM}: export by a version that writes it"),
        ));
    }
    let salt = meta["salt"].as_str().and_then(|text| STANDARD_NO_PAD.decode(text).ok()).unwrap_or_default();
    let seal = seal(&said, salt).await?;
    let all = Tenant { is_all: true, ..who.tenant.clone() };
    let mut coming = read(document, seal.as_ref())?;
    let places = places(app, &all, &coming);
    for one in &mut coming {
        shape::references(one.kind, &mut one.object, &mut |_, kind, text| {
            if let Ok(Reference::Uuid(old)) = Reference::read(text, kind)
                && let Some(new) = places.get(&(kind, old))
            {
                *text = format!("/api/{kind}/{new}");
            }
        });
    }
    let (mut made, mut replaced) = (0, 0);
    // Each after what it refers to: as often as that brings any further.
    while !coming.is_empty() {
        let (before, mut later, mut problems) = (coming.len(), Vec::new(), Vec::new());
        for one in coming {
            let uuid = places.get(&(one.kind.path, one.old.clone())).cloned().unwrap_or_default();
            let held = app.objects.now().get(one.kind.path, &uuid).cloned();
            let is_there = held.is_some();
            let mut object = one.object.clone();
            // Which Controllers there are here is no part of what comes from elsewhere.
            //= CLUSTER-NODES-02
            if one.kind.path == "cluster" {
                let own = held.map(|held| held.object()).unwrap_or_default();
                for field in ["nodes", "virtual_ip", "virtual_ip6"] {
                    object.remove(field);
                    if let Some(value) = own.get(field) {
                        object.insert(field.to_owned(), value.clone());
                    }
                }
            }
            object.insert("uuid".to_owned(), Value::from(uuid.clone()));
            let done = match is_there {
                true => app.objects.replace(one.kind, &uuid, &object, &all).await,
                false => app.objects.take_in(one.kind, &object, &all).await,
            };
            match done {
                Ok(_) if is_there => replaced += 1,
                Ok(_) => made += 1,
                Err(denied) => {
                    if problems.len() < PROBLEMS_MAX {
                        problems.push(value!({"kind": one.kind.path, "uuid": one.old, "reason": Answer::from(denied).text()}));
                    }
                    later.push(one);
                }
            }
        }
        if later.len() == before {
            let text = format!(
                "{} of the objects were not taken in, {made} were made and {replaced} replaced; mend them and import again",
                later.len()
            );
            return Err(json(400, value!({"error": text, "problems": problems})));
        }
        coming = later;
    }
    tracing::info!(
        event = "CONTROLLER_IMPORT",
        user = who.user,
        made,
        replaced,
        "a configuration was taken in"
    );
    Ok(json(200, value!({"created": made, "replaced": replaced})))
}

/// Reads the document and checks each object of it.
fn read(document: &Object, seal: Option<&Seal>) -> Result<Vec<Coming>, Answer> {
    let by_name: BTreeMap<&str, &'static Kind> = kinds().map(|kind| (kind.name, kind)).collect();
    let (mut coming, mut problems) = (Vec::new(), Vec::new());
    for (name, objects) in document.iter().filter(|(name, _)| *name != "META") {
        let Some(kind) = by_name.get(name.as_str()).copied() else {
            problems.push(value!({"kind": name, "reason": "there is no such kind", "fix": "leave it out"}));
            continue;
        };
        for object in objects.as_array().into_iter().flatten() {
            let Some(mut object) = object.as_object().cloned() else { continue };
            let old = object.get("uuid").and_then(Value::as_str).unwrap_or_default().to_owned();
            let mut is_closed = false;
            shape::secrets(kind, &mut object, &mut |field, value| {
                if value.is_object() {
                    match seal.and_then(|seal| seal.unseal(&old, field, value)) {
                        Some(open) => *value = open,
                        None => is_closed = true,
                    }
                }
            });
            if is_closed {
                return Err(bad(400, "the passphrase does not open the secrets: send the one of the export"));
            }
            object.remove("_last_modified");
            let is_pair = kind.path == "sslkeyandcertificate";
            //= API-PAIR-01
            let pair = is_pair.then(|| crate::objects::misfit(&object, None)).flatten();
            for problem in
                check_after(kind, &object, Some(&object)).err().unwrap_or_default().into_iter().chain(pair)
            {
                problems.push(value!({
                    "kind": kind.path, "uuid": old, "path": problem.path, "reason": problem.reason, "fix": problem.fix
                }));
            }
            coming.push(Coming { kind, old, object });
        }
    }
    if problems.is_empty() {
        return Ok(coming);
    }
    problems.truncate(PROBLEMS_MAX);
    Err(json(
        400,
        value!({"error": "the configuration has mistakes, and nothing was written", "problems": problems}),
    ))
}

/// Which uuid each object will have here, by its kind and the uuid that it has in the document.
fn places<S: Store>(
    app: &App<S>,
    all: &Tenant,
    coming: &[Coming],
) -> HashMap<(&'static str, String), String> {
    let now = app.objects.now();
    let mut places: HashMap<(&'static str, String), String> = HashMap::new();
    // What others are named within goes first.
    let rank = |one: &&Coming| match one.kind.path {
        "tenant" => 0,
        "cloud" => 1,
        _ => 2,
    };
    let mut ordered: Vec<&Coming> = coming.iter().collect();
    ordered.sort_by_key(rank);
    for one in ordered {
        let text = |name: &str| one.object.get(name).and_then(Value::as_str).unwrap_or_default();
        let within = |field: &str, kind: &'static str| {
            let old = text(field).rsplit('/').next().unwrap_or_default().to_owned();
            places.get(&(kind, old.clone())).cloned().unwrap_or(old)
        };
        let (tenant, cloud) = (within("tenant_ref", "tenant"), within("cloud_ref", "cloud"));
        let is_same = |held: &Held| held.realm() == crate::objects::realm(one.kind, &tenant, &cloud);
        let found =
            now.get(one.kind.path, &one.old).map(|held| held.uuid.clone()).or_else(|| match one.kind.scope {
                Scope::Single => now.all(one.kind.path).next().map(|held| held.uuid.clone()),
                _ => now
                    .named(one.kind.path, text("name"))
                    .find(|held| is_same(held) && all.sees(held))
                    .map(|held| held.uuid.clone()),
            });
        places.insert((one.kind.path, one.old.clone()), found.unwrap_or_else(|| one.old.clone()));
    }
    places
}
