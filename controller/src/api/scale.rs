//! What people ask of a virtual service's engines, and how that stands.

use axum::http::Method;
use forebay_core::place::Reach;
use forebay_model::Object;
use forebay_model::reference::Reference;
use serde_json::{Value, json as value};

use super::App;
use super::answer::{Answer, bad, json};
use super::request::Asked;
use super::runtime::{clock, scale_status};
use super::session::Who;
use crate::objects::{Denied, Held, Tenant};
use crate::placement::{Inputs, Unit, Wish, of};
use crate::store::Store;

/// `/api/virtualservice/<uuid>/<what>`, where `what` is done; `None`: it is nothing that can be done.
//= SCALE-API-01
pub async fn act<S: Store>(
    app: &App<S>,
    asked: &Asked,
    who: &Who,
    held: &Held,
    what: &str,
) -> Option<Result<Answer, Answer>> {
    if !matches!(what, "scaleout" | "scalein" | "migrate" | "switchover" | "retryplacement" | "resync") {
        return None;
    }
    if asked.method != Method::POST {
        return Some(Err(bad(405, &format!("Method '{}' not allowed", asked.method))));
    }
    Some(wish(app, asked, who, held, what).await)
}

async fn wish<S: Store>(
    app: &App<S>,
    asked: &Asked,
    who: &Who,
    held: &Held,
    what: &str,
) -> Result<Answer, Answer> {
    let failed = |refusal| Answer::from(Denied::Store(refusal));
    let said = if asked.content.is_empty() { Object::new() } else { asked.object()? };
    app.place().await.map_err(failed)?;
    let vip = text(&said, "vip_id")?;
    let engine = |name: &str| named(app, &said, name, &who.tenant);
    for (name, set) in [("to_new_se", Value::Bool(true)), ("admin_down", Value::Bool(true))] {
        if said.get(name) == Some(&set) {
            return Err(bad(
                400,
                &format!("{name}: this Controller makes and ends no engines; leave it out"),
            ));
        }
    }
    if said.get("to_host_ref").is_some_and(|host| !host.is_null()) {
        return Err(bad(400, "to_host_ref: hosts are not known; name an engine by to_se_ref"));
    }
    let wish = match what {
        "scaleout" => Wish::ScaleOut { to: engine("to_se_ref")? },
        "scalein" => Wish::ScaleIn {
            from: engine("from_se_ref")?,
            primary: said.get("scalein_primary") == Some(&Value::Bool(true)),
        },
        "migrate" => Wish::Migrate { from: engine("from_se_ref")?, to: engine("to_se_ref")? },
        "switchover" => Wish::SwitchOver { to: engine("se_uuid")? },
        "retryplacement" => {
            let done =
                app.placement.wish(&app.store, (&held.uuid, ""), &Wish::Retry, &app.seen(), clock()).await;
            done.map_err(failed)?.map_err(|refused| bad(400, &refused))?;
            app.place().await.map_err(failed)?;
            return Ok(answer(app, held));
        }
        // The look that was just taken is all there is to it.
        _ => return Ok(answer(app, held)),
    };
    let vip = vip.ok_or_else(|| bad(400, "vip_id: name the address of the virtual service, as in \"1\""))?;
    let seen = app.seen();
    let done = app.placement.wish(&app.store, (&held.uuid, &vip), &wish, &seen, clock());
    done.await.map_err(failed)?.map_err(|refused| bad(400, &refused))?;
    tracing::info!(event = "CONTROLLER_SCALE", user = who.user, uuid = held.uuid, vip, "{what}");
    Ok(answer(app, held))
}

fn answer<S: Store>(app: &App<S>, held: &Held) -> Answer {
    let known = app.placement.known();
    let status = known.of(&held.uuid).and_then(|(unit, _)| Some(scale_status(app, unit, &unit.status()?)));
    json(200, value!({"uuid": held.uuid, "name": held.name, "scale_status": status}))
}

fn text(said: &Object, name: &str) -> Result<Option<String>, Answer> {
    match said.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(bad(400, &format!("{name}: put a text there"))),
    }
}

/// The engine that a reference leads to.
fn named<S: Store>(
    app: &App<S>,
    said: &Object,
    name: &str,
    tenant: &Tenant,
) -> Result<Option<String>, Answer> {
    let Some(text) = text(said, name)? else { return Ok(None) };
    let now = app.objects.now();
    let found = match Reference::read(&text, "serviceengine") {
        Ok(Reference::Uuid(uuid)) => now.get("serviceengine", &uuid).cloned(),
        Ok(Reference::Name(name)) => {
            now.named("serviceengine", &name).find(|held| tenant.sees(held)).cloned()
        }
        Err(_) => None,
    };
    let found = found.filter(|held| tenant.sees(held));
    found.map(|held| Some(held.uuid.clone())).ok_or_else(|| bad(400, "ServiceEngine object not found!"))
}

/// `/api/virtualservice/<uuid>/<what>`, where `what` is shown; `None`: there is nothing of this name.
pub fn show<S: Store>(app: &App<S>, asked: &Asked, held: &Held, what: &str) -> Option<Value> {
    match what {
        "scaleoutstatus" => Some(status(app, held)),
        "placement" => Some(placement(app, asked, held)),
        "candidatesehostlist" => Some(candidates(app, asked, held)),
        _ => None,
    }
}

/// How what was asked for last stands.
//= SCALE-STATE-01
fn status<S: Store>(app: &App<S>, held: &Held) -> Value {
    let known = app.placement.known();
    let vips = ids(app, held);
    let of = known.of(&held.uuid);
    let shown = |vip: &String| {
        let (unit, _) = of?;
        Some(value!({
            "vip_id": vip,
            "num_se_requested": unit.wanted,
            "num_se_assigned": unit.staying().count(),
            "scale_status": unit.status().map(|status| scale_status(app, unit, &status)),
        }))
    };
    let all: Vec<Value> = vips.iter().filter_map(shown).collect();
    value!({"uuid": held.uuid, "name": held.name, "vip_scaleout_status": all})
}

/// The names of a virtual service's addresses.
pub fn ids<S: Store>(app: &App<S>, held: &Held) -> Vec<String> {
    let known = app.placement.known();
    let key = known.world.of.get(&held.uuid);
    let wanted = key.and_then(|key| known.world.wanted.get(key));
    wanted.map(|wanted| wanted.vip_ids.clone()).unwrap_or_default()
}

fn placement<S: Store>(app: &App<S>, asked: &Asked, held: &Held) -> Value {
    let known = app.placement.known();
    let none = Unit::default();
    let unit = known.of(&held.uuid).map_or(&none, |(unit, _)| unit);
    let engines: Vec<Value> = unit
        .members
        .iter()
        .enumerate()
        .map(|(at, member)| {
            value!({
                "se_ref": app.engine_ref(asked, &member.engine),
                "name": app.engine_name(&member.engine),
                "is_primary": at == 0,
                "state": format!("{:?}", member.phase).split(' ').next().unwrap_or_default().to_uppercase(),
            })
        })
        .collect();
    let vips: Vec<Value> = ids(app, held)
        .iter()
        .map(|vip| {
            value!({
                "vip_id": vip,
                "num_se_requested": unit.wanted,
                "num_se_assigned": unit.staying().count(),
                "service_engines": engines,
                "reason": unit.short,
            })
        })
        .collect();
    value!({"uuid": held.uuid, "name": held.name, "vip_placement": vips})
}

/// The engines that could take it, best first, and why the others could not.
//= PLACE-REASON-01
fn candidates<S: Store>(app: &App<S>, asked: &Asked, held: &Held) -> Value {
    let known = app.placement.known();
    let seen = app.seen();
    let found = known.world.of.get(&held.uuid).and_then(|key| {
        let (wanted, settings) = of(&known.world, key)?;
        let inputs = Inputs::new(&wanted.group, settings, &known.world, &known.units, &seen, clock());
        let judge = inputs.judge();
        let judged = judge.of(key);
        let why = judge.reasons(key);
        let all: Vec<Value> = judged
            .iter()
            .map(|found| {
                let (seen, candidate) = found;
                let (fits, why) = match candidate.fit {
                    Ok(Reach::Interface) => {
                        (true, "it has interfaces in the networks of its addresses".to_owned())
                    }
                    Ok(Reach::Route) => (true, "it has routes to its addresses".to_owned()),
                    Err(_) => (false, judge.why(key, found).unwrap_or_default()),
                };
                value!({
                    "se_ref": app.engine_ref(asked, &seen.uuid),
                    "name": seen.name,
                    "is_candidate": fits,
                    "reason": why,
                })
            })
            .collect();
        let fit: Vec<Value> =
            all.iter().filter(|one| one["is_candidate"] == true).map(|one| one["se_ref"].clone()).collect();
        Some(value!({"can_spawn_new_se": false, "se_refs": fit, "se": all, "reason": why}))
    });
    found.unwrap_or_else(|| value!({"can_spawn_new_se": false, "se_refs": [], "se": [], "reason": []}))
}
