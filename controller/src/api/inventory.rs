//! `/api/<type>-inventory`: objects beside how they are.

use std::collections::BTreeSet;

use axum::http::Method;
use forebay_model::{Kind, kind};
use serde_json::{Value, json as value};

use super::App;
use super::answer::{Answer, bad, json};
use super::best::{of_cloud, of_pools, of_vip};
use super::health::{self, Minute};
use super::others::Reader;
use super::request::Asked;
use super::runtime::{of_engine, of_group, of_pool, of_service, on_engine, state};
use super::session::Who;
use crate::objects::{Catalogue, Held, Id, Look, Query, Tenant, shown};
use crate::placement::Seen;
use crate::store::Store;

/// The kinds that have one.
const KINDS: [&str; 9] = [
    "virtualservice",
    "pool",
    "poolgroup",
    "serviceengine",
    "serviceenginegroup",
    "vsvip",
    "cloud",
    "network",
    "gslbservice",
];
/// Those of which `/runtime` tells how they are, and so does what is joined to an object.
const JOINED: [&str; 4] = ["virtualservice", "pool", "serviceengine", "serviceenginegroup"];
/// The metrics that entries have.
pub const METRICS: [(&str, forebay_metrics::Kind, &[&str]); 3] = [
    (
        "virtualservice",
        forebay_metrics::Kind::Service,
        &[
            "l4_client.avg_bandwidth",
            "l4_client.avg_complete_conns",
            "l4_client.max_open_conns",
            "l7_client.avg_complete_responses",
        ],
    ),
    (
        "pool",
        forebay_metrics::Kind::Pool,
        &["l4_server.avg_bandwidth", "l4_server.avg_complete_conns", "l7_server.avg_complete_responses"],
    ),
    (
        "serviceengine",
        forebay_metrics::Kind::Engine,
        &["se_if.avg_bandwidth", "se_stats.avg_cpu_usage", "se_stats.avg_connections"],
    ),
];

/// Answers where `path` is that of an inventory.
//= SCALE-API-03
pub async fn all<S: Store>(
    app: &App<S>,
    asked: &Asked,
    who: &Who,
    path: &str,
) -> Option<Result<Answer, Answer>> {
    let path = path.strip_suffix("-inventory").filter(|path| KINDS.contains(path))?;
    let kind = kind(path)?;
    Some(match asked.method {
        Method::GET => list(app, asked, who, kind).await,
        _ => Err(bad(405, &format!("Method '{}' not allowed", asked.method))),
    })
}

/// Answers where `path` is that of an inventory: its entry of one object.
pub async fn one_of<S: Store>(
    app: &App<S>,
    asked: &Asked,
    who: &Who,
    (path, uuid): (&str, &str),
) -> Option<Result<Answer, Answer>> {
    let path = path.strip_suffix("-inventory").filter(|path| KINDS.contains(path))?;
    let kind = kind(path)?;
    if asked.method != Method::GET {
        return Some(Err(bad(405, &format!("Method '{}' not allowed", asked.method))));
    }
    let held = match app.objects.get(kind, uuid, &who.tenant) {
        Ok(held) => held,
        Err(denied) => return Some(Err(denied.into())),
    };
    let look = Look::of(&Query::new(&asked.query), asked.base(), &who.tenant);
    let keys = health::keys(app, &app.objects.now(), &held);
    let minute = Minute::compared(app, keys).await;
    let seen = app.seen_for(kind, std::iter::once(held.uuid.as_str()));
    let mut entry = one(app, asked, &app.objects.now(), &held, &look, &seen, &minute);
    entry["alert"] = super::alerts::counted(&app.alerts.all(), &held.uuid);
    super::logs::tell_missing(&mut entry, &minute.missing);
    Some(Ok(json(200, entry)))
}

/// How an object is, as a query joins it to the object; `None`: that is not told of its kind.
//= API-JOIN-01
pub fn joined<S: Store>(
    app: &App<S>,
    asked: &Asked,
    (now, tenant): (&Catalogue, &Tenant),
    held: &Held,
    seen: &[Seen],
) -> Option<Value> {
    JOINED.contains(&held.kind.path).then(|| runtime_of(app, asked, (now, tenant), held, seen))
}

async fn list<S: Store>(
    app: &App<S>,
    asked: &Asked,
    who: &Who,
    kind: &'static Kind,
) -> Result<Answer, Answer> {
    let query = Query::new(&asked.query);
    let look = Look::of(&query, asked.base(), &who.tenant);
    let (found, keys) = {
        let now = app.objects.now();
        let found = query.find(&now, kind, &who.tenant)?;
        let keys = found.page.iter().flat_map(|held| health::keys(app, &now, held)).collect();
        (found, keys)
    };
    let seen = app.seen_for(kind, found.page.iter().map(|held| held.uuid.as_str()));
    let minute = Minute::compared(app, keys).await;
    let alerts = app.alerts.all();
    let now = app.objects.now();
    let results: Vec<Value> = found
        .page
        .iter()
        .map(|held| {
            let mut entry = one(app, asked, &now, held, &look, &seen, &minute);
            entry["alert"] = super::alerts::counted(&alerts, &held.uuid);
            entry
        })
        .collect();
    let mut list = value!({"count": found.count, "results": results});
    super::logs::tell_missing(&mut list, &minute.missing);
    if let Some(page) = found.next {
        list["next"] = Value::from(super::objects::next(asked, &format!("{}-inventory", kind.path), page));
    }
    Ok(json(200, list))
}

fn one<S: Store>(
    app: &App<S>,
    asked: &Asked,
    now: &Catalogue,
    held: &Held,
    look: &Look,
    seen: &[Seen],
    minute: &Minute,
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
        }
        "pool" => {
            entry["virtualservices"] = value!(references(users(now, held)));
        }
        "serviceengine" => {
            let has: BTreeSet<Id> = on_engine(app, &held.uuid).into_iter().collect();
            entry["virtualservices"] = value!(references(has));
        }
        "poolgroup" => {
            entry["pools"] = value!(references(refers("pool")));
            entry["virtualservices"] = value!(references(referrers(now, held, "virtualservice")));
        }
        "vsvip" => {
            entry["virtualservices"] = value!(references(referrers(now, held, "virtualservice")));
        }
        "cloud" => {
            let groups = referrers(now, held, "serviceenginegroup");
            entry["serviceenginegroups"] = value!(references(groups));
            entry["status"] = of_cloud(held);
        }
        "network" => entry["vsvips"] = value!(references(referrers(now, held, "vsvip"))),
        "serviceenginegroup" => {
            entry["serviceengines"] = value!(references(referrers(now, held, "serviceengine")));
        }
        _ => {}
    }
    entry["runtime"] = runtime_of(app, asked, (now, &look.tenant), held, seen);
    if let Some((_, of, metrics)) = METRICS.iter().find(|(path, ..)| *path == held.kind.path) {
        entry["health_score"] =
            health::score(app, now, held, &entry["runtime"], minute, &look.tenant).shown();
        entry["metrics"] = minute.metrics(&forebay_metrics::Key::new(*of, &held.uuid), metrics);
    }
    entry
}

/// How an object of a kind that has an inventory is, for this reader.
pub fn runtime_of<S: Store>(
    app: &App<S>,
    asked: &Asked,
    (now, tenant): (&Catalogue, &Tenant),
    held: &Held,
    seen: &[Seen],
) -> Value {
    match held.kind.path {
        "virtualservice" => of_service(app, asked, held, seen),
        "pool" => of_pool(app, now, held),
        "serviceengine" => of_engine(app, &Reader::new(now, tenant), held, seen),
        "serviceenginegroup" => of_group(app, held, seen),
        "poolgroup" => of_pools(app, now, tenant, held),
        "vsvip" => {
            // Why another tenant's service is down is nobody else's.
            let id = held.id();
            let services =
                now.referrers(&id).filter(|by| by.kind.path == "virtualservice" && tenant.sees(by));
            of_vip(services.map(|service| of_service(app, asked, service, seen)))
        }
        "cloud" => of_cloud(held),
        "gslbservice" => {
            let none = ["no engine answers for it: GSLB is not there yet".to_owned()];
            value!({"oper_status": state("OPER_UNUSED", &none, 0)})
        }
        // What is said of a network is all that there is to it.
        _ => value!({}),
    }
}

/// The objects of a kind that refer to this one.
fn referrers(now: &Catalogue, held: &Held, path: &str) -> BTreeSet<Id> {
    now.referrers(&held.id()).filter(|by| by.kind.path == path).map(|by| by.id()).collect()
}

/// The pools that a virtual service leads to, by itself or by a pool group.
pub fn pools(now: &Catalogue, held: &Held) -> BTreeSet<Id> {
    let groups = held.refers.iter().filter(|id| id.kind == "poolgroup");
    let members = groups.filter_map(|id| now.get(id.kind, &id.uuid)).flat_map(|group| &group.refers);
    held.refers.iter().chain(members).filter(|id| id.kind == "pool").cloned().collect()
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
