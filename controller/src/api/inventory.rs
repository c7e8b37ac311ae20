//! `/api/<type>-inventory`: objects beside how they are.

use std::collections::BTreeSet;

use axum::http::Method;
use forebay_model::{Kind, kind};
use serde_json::{Value, json as value};

use super::App;
use super::answer::{Answer, bad, json};
use super::request::Asked;
use super::runtime::{of_engine, of_group, of_pool, of_service, on_engine};
use super::session::Who;
use crate::objects::{Catalogue, Held, Id, Look, Query, shown};
use crate::placement::Seen;
use crate::store::Store;

/// The kinds that have one.
const KINDS: [&str; 4] = ["virtualservice", "pool", "serviceengine", "serviceenginegroup"];

/// Answers where `path` is that of an inventory.
//= SCALE-API-03
pub fn all<S: Store>(app: &App<S>, asked: &Asked, who: &Who, path: &str) -> Option<Result<Answer, Answer>> {
    let path = path.strip_suffix("-inventory").filter(|path| KINDS.contains(path))?;
    let kind = kind(path)?;
    Some(match asked.method {
        Method::GET => list(app, asked, who, kind),
        _ => Err(bad(405, &format!("Method '{}' not allowed", asked.method))),
    })
}

fn list<S: Store>(app: &App<S>, asked: &Asked, who: &Who, kind: &'static Kind) -> Result<Answer, Answer> {
    let query = Query::new(&asked.query);
    let look = Look::of(&query, asked.base(), &who.tenant);
    let seen = app.seen();
    let now = app.objects.now();
    let found = query.find(&now, kind, &who.tenant)?;
    let results: Vec<Value> =
        found.page.iter().map(|held| one(app, asked, &now, held, &look, &seen)).collect();
    let mut list = value!({"count": found.count, "results": results});
    if let Some(page) = found.next {
        list["next"] = Value::from(super::objects::next(asked, &format!("{}-inventory", kind.path), page));
    }
    Ok(json(200, &list))
}

fn one<S: Store>(
    app: &App<S>,
    asked: &Asked,
    now: &Catalogue,
    held: &Held,
    look: &Look,
    seen: &[Seen],
) -> Value {
    let config = shown(now, held, look);
    // What the reader may not see is not there, whatever leads to it.
    //= API-ROLE-01
    let references = |ids: BTreeSet<Id>| -> Vec<String> {
        let address = |id: &Id| {
            let held = now.get(id.kind, &id.uuid).filter(|held| look.tenant.sees(held))?;
            let name = if look.names { format!("#{}", held.name) } else { String::new() };
            Some(format!("{}/api/{}/{}{name}", look.base, id.kind, id.uuid))
        };
        ids.iter().filter_map(address).collect()
    };
    let refers =
        |path: &str| held.refers.iter().filter(|id| id.kind == path).cloned().collect::<BTreeSet<Id>>();
    let mut entry = value!({"uuid": held.uuid, "url": config["url"], "config": config});
    match held.kind.path {
        "virtualservice" => {
            // The addresses stand in the VsVip: readers of an inventory look for them here.
            let vsvip = refers("vsvip").into_iter().next().and_then(|id| now.get(id.kind, &id.uuid));
            let vsvip = vsvip.filter(|vsvip| look.tenant.sees(vsvip));
            if let Some(vip) = vsvip.and_then(|vsvip| vsvip.object().get("vip").cloned()) {
                entry["config"]["vip"] = vip;
            }
            entry["pools"] = value!(references(refers("pool")));
            entry["poolgroups"] = value!(references(refers("poolgroup")));
            entry["runtime"] = of_service(app, asked, held, seen);
            entry["health_score"] = health(app, now, &pools(now, held), &entry["runtime"]);
        }
        "pool" => {
            entry["virtualservices"] = value!(references(users(now, held)));
            entry["runtime"] = of_pool(app, held);
            entry["health_score"] = health(app, now, &BTreeSet::from([held.id()]), &entry["runtime"]);
        }
        "serviceengine" => {
            let has: BTreeSet<Id> = on_engine(app, &held.uuid).into_iter().collect();
            entry["virtualservices"] = value!(references(has));
            entry["runtime"] = of_engine(app, held, seen);
        }
        _ => {
            let id = held.id();
            let engines = now.referrers(&id).filter(|by| by.kind.path == "serviceengine").map(|by| by.id());
            entry["serviceengines"] = value!(references(engines.collect()));
            entry["runtime"] = of_group(app, held, seen);
        }
    }
    entry
}

/// The pools that a virtual service leads to, by itself or by a pool group.
fn pools(now: &Catalogue, held: &Held) -> BTreeSet<Id> {
    let groups = held.refers.iter().filter(|id| id.kind == "poolgroup");
    let members = groups.filter_map(|id| now.get(id.kind, &id.uuid)).flat_map(|group| &group.refers);
    held.refers.iter().chain(members).filter(|id| id.kind == "pool").cloned().collect()
}

/// How well something is, 0 to 100: what is up has the share of its servers that are, what is not up has nothing. How fast
/// it answers does not count yet, and nothing is taken off for what is unusual.
//= SCALE-HEALTH-01
fn health<S: Store>(app: &App<S>, now: &Catalogue, pools: &BTreeSet<Id>, runtime: &Value) -> Value {
    let number = |of: &Value, name: &str| of[name].as_u64().unwrap_or(0);
    let (mut enabled, mut up) = (0, 0);
    for held in pools.iter().filter_map(|id| now.get(id.kind, &id.uuid)) {
        let pool = of_pool(app, held);
        enabled += number(&pool, "num_servers_enabled");
        up += number(&pool, "num_servers_up");
    }
    let is_up = runtime["oper_status"]["state"] == "OPER_UP";
    let score = (up * 100).checked_div(enabled).unwrap_or(100);
    let score = if is_up { score } else { 0 };
    value!({"health_score": score, "performance_score": score, "resources_penalty": 0, "anomaly_penalty": 0, "security_penalty": 0})
}

/// The virtual services that lead to a pool, by themselves or by a pool group.
fn users(now: &Catalogue, held: &Held) -> BTreeSet<Id> {
    let mut all = BTreeSet::new();
    for by in now.referrers(&held.id()) {
        match by.kind.path {
            "virtualservice" => {
                all.insert(by.id());
            }
            "poolgroup" => {
                let id = by.id();
                let services = now.referrers(&id).filter(|by| by.kind.path == "virtualservice");
                all.extend(services.map(|by| by.id()));
            }
            _ => {}
        }
    }
    all
}
