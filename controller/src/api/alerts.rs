//! `/api/alert`: what was raised.

use std::sync::Arc;

use axum::http::Method;
use forebay_model::kind;
use serde_json::{Value, json as value};

use super::App;
use super::answer::{Answer, bad, empty, json, number};
use super::request::Asked;
use super::session::Who;
use crate::access::Access;
use crate::objects::{Denied, Query};
use crate::store::Store;

/// Who may read which.
const PERMISSION: &str = "PERMISSION_ALERT";
/// Alerts of a page, where the client says nothing, and at most.
const PAGE: (usize, usize) = (25, 200);

/// The list, or one of them.
//= ALERT-API-01
pub async fn answer<S: Store>(
    app: &App<S>,
    asked: &Asked,
    who: &Who,
    uuid: Option<&str>,
) -> Result<Answer, Answer> {
    let access = if asked.method == Method::GET { Access::Read } else { Access::Write };
    who.tenant.demand(PERMISSION, access)?;
    let seen: Vec<Arc<Value>> = app.alerts.all().into_iter().filter(|alert| is_seen(who, alert)).collect();
    let shown = |alert: &Value| {
        let mut alert = alert.clone();
        if let Some(fields) = alert.as_object_mut() {
            fields.remove("labels");
        }
        alert["url"] =
            Value::from(format!("{}/api/alert/{}", asked.base(), alert["uuid"].as_str().unwrap_or_default()));
        for (name, path) in [("alert_config_ref", "alertconfig"), ("tenant_ref", "tenant")] {
            let uuid = match path {
                "tenant" => alert["tenant"].as_str().unwrap_or_default().to_owned(),
                _ => alert["alert_config"].as_str().unwrap_or_default().to_owned(),
            };
            alert[name] = Value::from(format!("{}/api/{path}/{uuid}", asked.base()));
        }
        alert
    };
    let Some(uuid) = uuid else {
        if asked.method != Method::GET {
            return Err(bad(405, &format!("Method '{}' not allowed", asked.method)));
        }
        let query = Query::new(&asked.query);
        let number = |name: &str, or| number(name, query.get(name), or);
        let (size, page) = (number("page_size", PAGE.0)?.min(PAGE.1), number("page", 1)?);
        let is_meant = |alert: &&Arc<Value>| {
            ["obj_uuid", "level", "name", "obj_name"].iter().all(|name| {
                query.get(name).filter(|text| !text.is_empty()).is_none_or(|text| alert[*name] == text)
            })
        };
        let found: Vec<&Arc<Value>> = seen.iter().filter(is_meant).collect();
        let begin = (page - 1).saturating_mul(size);
        let results: Vec<Value> = found.iter().skip(begin).take(size).map(|alert| shown(alert)).collect();
        let mut list = value!({"count": found.len(), "results": results});
        if begin.saturating_add(size) < found.len() {
            list["next"] = Value::from(super::objects::next(asked, "alert", page + 1));
        }
        return Ok(json(200, list));
    };
    let found =
        seen.iter().find(|alert| alert["uuid"] == uuid).ok_or_else(|| bad(404, "Alert object not found!"))?;
    match asked.method {
        Method::GET => Ok(json(200, shown(found))),
        Method::DELETE => {
            let done = app.alerts.remove(&app.store, uuid).await;
            done.map_err(|refusal| Answer::from(Denied::Store(refusal)))?;
            Ok(empty(204))
        }
        _ => Err(bad(405, &format!("Method '{}' not allowed", asked.method))),
    }
}

/// Who may not see an object of this kind and tenant hears of none of its alerts.
fn is_seen(who: &Who, alert: &Value) -> bool {
    let tenant = alert["tenant"].as_str().unwrap_or_default();
    let path = alert["obj_type"].as_str().unwrap_or_default().to_lowercase();
    let labels: Vec<(String, Vec<String>)> =
        serde_json::from_value(alert["labels"].clone()).unwrap_or_default();
    kind(&path).is_some_and(|kind| who.tenant.hears_of(kind, tenant, &labels))
}

/// How many there are of an object, as inventories have it.
pub fn counted(alerts: &[Arc<Value>], uuid: &str) -> Value {
    let of = |level: &str| {
        alerts.iter().filter(|alert| alert["obj_uuid"] == uuid && alert["level"] == level).count()
    };
    let (low, medium, high) = (of("ALERT_LOW"), of("ALERT_MEDIUM"), of("ALERT_HIGH"));
    let level = match (high, medium, low) {
        (1.., ..) => "ALERT_HIGH",
        (_, 1.., _) => "ALERT_MEDIUM",
        (_, _, 1..) => "ALERT_LOW",
        _ => "",
    };
    let mut shown = value!({"low": low, "medium": medium, "high": high});
    if !level.is_empty() {
        shown["level"] = Value::from(level);
    }
    shown
}
