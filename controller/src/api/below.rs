//! What stands below an object's own path: `/api/<type>/<uuid>/…`.

use axum::http::Method;
use forebay_model::kind;
use serde_json::Value;

use super::answer::{Answer, bad, json};
use super::others::Reader;
use super::request::Asked;
use super::session::Who;
use super::{App, best, idle, runtime, scale, tables, views};
use crate::store::Store;

/// Answers for a path below an object.
pub async fn object<S: Store>(
    app: &App<S>,
    asked: &Asked,
    who: &Who,
    (path, uuid): (&str, &str),
    rest: &[&str],
) -> Result<Answer, Answer> {
    let nothing = || bad(404, "there is nothing at this path");
    let kind = kind(path).ok_or_else(nothing)?;
    let held = app.objects.get(kind, uuid, &who.tenant)?;
    if let ("virtualservice", [what]) = (path, rest)
        && let Some(answer) = scale::act(app, asked, who, &held, what).await
    {
        return answer;
    }
    if asked.method == Method::GET
        && let Some(told) = tables::of_tables(app, asked, who, &held, (path, rest)).await
    {
        return told.map(|told| json(200, &told));
    }
    if asked.method == Method::GET
        && let Some(told) = views::of_engines(app, asked, who, &held, (path, rest)).await
    {
        return told.map(|told| json(200, &told));
    }
    let shown = match (path, rest) {
        ("virtualservice", ["runtime"]) => {
            let mut shown = runtime::of_service(
                app,
                asked,
                &held,
                &app.seen_for(held.kind, std::iter::once(&*held.uuid)),
            );
            //= API-WARN-03
            let idle = idle::of(app, &held);
            if !idle.is_empty() {
                shown["warnings"] = Value::from(idle);
            }
            shown
        }
        ("virtualservice", ["runtime", "detail" | "internal"]) => {
            runtime::detail_of_service(app, asked, &held)
        }
        ("virtualservice", [what] | [what @ "placement", "summary" | "detail" | "status"])
        | ("virtualservice", [what @ "scaleoutstatus", "detail"]) => {
            scale::show(app, asked, &held, what).ok_or_else(nothing)?
        }
        ("pool", ["runtime"]) => runtime::of_pool(app, &app.objects.now(), &held),
        ("pool", ["runtime", "server"] | ["runtime", "server", "detail"]) => {
            runtime::servers_of_pool(app, &app.objects.now(), &held)
        }
        ("serviceengine", ["runtime"]) => {
            let now = app.objects.now();
            runtime::of_engine(app, &Reader::new(&now, &who.tenant), &held, &app.seen())
        }
        ("cloud", ["status"]) => best::of_cloud(&held),
        ("serviceenginegroup", ["runtime"]) => runtime::of_group(app, &held, &app.seen()),
        ("serviceenginegroup", ["mirror"]) => app.mirrors.show(&held.uuid),
        _ => return Err(nothing()),
    };
    match asked.method {
        Method::GET => Ok(json(200, shown)),
        _ => Err(bad(405, &format!("Method '{}' not allowed", asked.method))),
    }
}
