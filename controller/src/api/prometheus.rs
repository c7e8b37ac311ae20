//! `/api/analytics/prometheus-metrics/<type>`: the last minute of all objects of a kind, for Prometheus.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use axum::http::Method;
use forebay_metrics::{Key, Kind, Metric, Of, find};
use forebay_model::kind;

use super::App;
use super::answer::{Answer, bad, text};
use super::health::Minute;
use super::inventory::METRICS;
use super::metrics::{apdex_of, unknown};
use super::request::Asked;
use super::session::Who;
use crate::objects::{Held, Tenant};
use crate::store::Store;

/// Samples of one page: some 40 MB.
const SAMPLES_MAX: usize = 200_000;

/// The page: of the tenants in `tenant` (names, with commas), else of the tenant of the request; of the objects in
/// `entity_name`, else of all; the metrics in `metric_id`, else those of the inventory.
//= MET-PROM-01
pub async fn answer<S: Store>(app: &App<S>, asked: &Asked, who: &Who, path: &str) -> Result<Answer, Answer> {
    let found = METRICS.iter().find(|(name, ..)| *name == path);
    let (path, of, usual) =
        found.ok_or_else(|| bad(404, "there are pages of virtualservice, pool and serviceengine"))?;
    if asked.method != Method::GET {
        return Err(bad(405, &format!("Method '{}' not allowed", asked.method)));
    }
    let kind = kind(path).ok_or_else(|| bad(404, "there is nothing at this path"))?;
    let words = |name: &str| -> Vec<&str> {
        let all = asked.query.iter().filter(|(item, _)| item == name).flat_map(|(_, words)| words.split(','));
        all.map(str::trim).filter(|word| !word.is_empty()).collect()
    };
    let (tenants, names, mut ids) = (words("tenant"), words("entity_name"), words("metric_id"));
    let tenant = match tenants.is_empty() {
        true => who.tenant.clone(),
        false => Tenant { is_all: true, ..who.tenant.clone() },
    };
    tenant.demand(kind.permission, crate::access::Access::Read)?;
    if ids.is_empty() {
        ids.extend(usual.iter());
    }
    let metrics: Vec<&'static Metric> =
        ids.iter().map(|id| find(id).ok_or_else(|| unknown(id))).collect::<Result<_, _>>()?;
    // One kind's page is asked for what other kinds have as well: they have it there.
    let metrics: Vec<&'static Metric> =
        metrics.into_iter().filter(|metric| metric.is_of(*of) && is_own(metric, *of)).collect();
    let held: Vec<std::sync::Arc<Held>> = {
        let now = app.objects.now();
        let name_of =
            |held: &Held| now.get("tenant", &held.tenant).map_or("", |tenant| &tenant.name).to_owned();
        let is_meant = |held: &Held| {
            tenant.sees(held)
                && (tenants.is_empty() || tenants.contains(&name_of(held).as_str()))
                && (names.is_empty() || names.contains(&held.name.as_str()))
        };
        now.all(path).filter(|held| is_meant(held)).cloned().collect()
    };
    if held.len() * metrics.len() > SAMPLES_MAX {
        return Err(bad(
            400,
            &format!(
                "this would be {} samples, and {SAMPLES_MAX} are the most; name fewer by metric_id, entity_name or tenant",
                held.len() * metrics.len()
            ),
        ));
    }
    let keys: BTreeSet<Key> = held.iter().map(|held| Key::new(*of, &held.uuid)).collect();
    let minute = Minute::read(app, keys).await;
    let has_apdex = metrics.iter().any(|metric| matches!(metric.of, Of::Apdex));
    let shown: Vec<Shown> = {
        let now = app.objects.now();
        let tenant =
            |held: &Held| now.get("tenant", &held.tenant).map_or(&held.tenant, |tenant| &tenant.name).clone();
        let apdex = |held: &Held| if has_apdex { apdex_of(&now, held, *of) } else { (0, 0) };
        held.into_iter().map(|held| Shown { tenant: tenant(&held), apdex: apdex(&held), held }).collect()
    };
    // Megabytes of text are made away from the thread that answers.
    let (path, of): (&'static str, Kind) = (path, *of);
    let made = tokio::task::spawn_blocking(move || page(path, of, &metrics, &shown, &minute));
    let page = made.await.map_err(|_| bad(500, "the Controller made a mistake: see its log"))?;
    Ok(text(200, page, "text/plain; version=0.0.4; charset=utf-8"))
}

/// An object of the page.
struct Shown {
    held: std::sync::Arc<Held>,
    /// The name of its tenant.
    tenant: String,
    /// The durations that satisfy, where they are asked for.
    apdex: (u64, u64),
}

fn page(path: &str, of: Kind, metrics: &[&Metric], all: &[Shown], minute: &Minute) -> String {
    let mut page = String::new();
    for metric in metrics {
        let name = format!("avi_{}", metric.id.replace('.', "_"));
        // Writing to a text cannot fail.
        let _ = writeln!(page, "# HELP {name} {}\n# TYPE {name} gauge", metric.about);
        for Shown { held, tenant, apdex } in all {
            let Some(found) = minute.value(&Key::new(of, &held.uuid), metric, *apdex) else { continue };
            let _ = writeln!(
                page,
                "{name}{{name=\"{}\",uuid=\"{}\",tenant=\"{}\",entity_type=\"{path}\",units=\"{}\"}} {found}",
                escaped(&held.name),
                escaped(&held.uuid),
                escaped(tenant),
                metric.units,
            );
        }
    }
    for missing in &minute.missing {
        let _ = writeln!(page, "# {missing}");
    }
    let _ = writeln!(page, "# {} of {path}", all.len());
    page
}

/// A virtual service has the metrics of servers by way of its pools only.
fn is_own(metric: &Metric, of: Kind) -> bool {
    use forebay_metrics::Entity;
    match of {
        Kind::Service => metric.entity == Entity::Client,
        Kind::Pool | Kind::Server => metric.entity == Entity::Server,
        Kind::Engine => metric.entity == Entity::Engine,
        Kind::Controller => metric.entity == Entity::Controller,
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
