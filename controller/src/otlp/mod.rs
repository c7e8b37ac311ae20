//! Metrics for a collector of OpenTelemetry: OTLP over HTTP, posted from time to time; and records of requests, as they come.

mod logs;
mod post;
mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_metrics::{Key, Kind, METRICS, STEPS};
pub use logs::drive as drive_logs;
pub use post::Collector;
use post::Poster;
use prost::Message;
use tokio::sync::mpsc;
use wire::{Export, Gauge, Metric, Number, Point, ResourceMetrics, ScopeMetrics, attribute, resource, scope};

use crate::api::{App, Minute, apdex_of, clock};
use crate::store::Store;

/// Engines have told of a stretch so long after its end.
const AFTER: u64 = 3_000;
/// Points of one request: half a megabyte or so.
const POINTS_MAX: usize = 2_000;
/// The same trouble is told again after so long.
const TOLD_AGAIN: Duration = Duration::from_secs(300);

/// Where to, and how often.
#[derive(Clone, Debug)]
pub struct Exported {
    /// Whom metrics are sent to.
    pub metrics: Option<Collector>,
    /// Whom records of requests and connections are sent to.
    pub logs: Option<Collector>,
    /// Seconds between two times that metrics are sent; each is about the time since the one before.
    pub every_s: u64,
}

/// Sends for ever. What a collector does not take is not sent again: the next time is about what came since.
//= MET-OTLP-01
pub async fn drive<S: Store + 'static>(app: Arc<App<S>>, collector: Collector, every_s: u64) {
    // In whole stretches, as engines tell.
    let mut poster = Poster::new(collector);
    let every = every_s.clamp(5, 300).div_ceil(5) * 5_000;
    let mut told: Option<Instant> = None;
    loop {
        // Until the end of a stretch, and until it was told of.
        let left = every - clock().saturating_sub(AFTER) % every;
        tokio::time::sleep(Duration::from_millis(left)).await;
        let stop = clock().saturating_sub(AFTER) / every * every;
        if let Err(why) = send(&app, &mut poster, stop, every).await
            && told.is_none_or(|told| told.elapsed() >= TOLD_AGAIN)
        {
            tracing::warn!(
                event = "METRICS_NOT_EXPORTED",
                collector = poster.host(),
                why,
                "metrics did not reach the collector"
            );
            told = Some(Instant::now());
        }
    }
}

/// Whose metrics they are.
struct Thing {
    key: Key,
    about: Vec<wire::KeyValue>,
    /// The durations that satisfy clients, and servers.
    apdex_ms: (u64, u64),
}

/// Sends what was counted in so many milliseconds before this moment.
async fn send<S: Store + 'static>(
    app: &Arc<App<S>>,
    poster: &mut Poster,
    stop: u64,
    every: u64,
) -> Result<(), String> {
    let broken = |panic: tokio::task::JoinError| panic.to_string();
    let reads = Arc::clone(app);
    // Thousands of profiles are read, and megabytes written, away from the thread that answers.
    let things = tokio::task::spawn_blocking(move || things(&reads)).await.map_err(broken)?;
    let keys: BTreeSet<Key> = things.iter().map(|thing| thing.key.clone()).collect();
    let minute = Minute::over(app, keys, stop, every / STEPS[0].0).await;
    let (say, mut made) = mpsc::channel(1);
    let making = tokio::task::spawn_blocking(move || make(&things, &minute, (stop, every), &say));
    while let Some(metrics) = made.recv().await {
        poster.post(posted(metrics)).await?;
    }
    making.await.map_err(broken)
}

fn things<S: Store>(app: &App<S>) -> Vec<Thing> {
    const KINDS: [(&str, Kind, &str); 3] = [
        ("virtualservice", Kind::Service, "virtual_service"),
        ("pool", Kind::Pool, "pool"),
        ("serviceengine", Kind::Engine, "service_engine"),
    ];
    let now = app.objects.now();
    let all = KINDS.iter().flat_map(|(path, of, word)| now.all(path).map(move |held| (held, *of, *word)));
    all.map(|(held, of, word)| {
        let tenant = now.get("tenant", &held.tenant).map_or(held.tenant.as_str(), |tenant| &tenant.name);
        let about = vec![
            attribute("forebay.type", word),
            attribute("forebay.uuid", &held.uuid),
            attribute("forebay.name", &held.name),
            attribute("forebay.tenant", tenant),
        ];
        Thing { key: Key::new(of, &held.uuid), about, apdex_ms: apdex_of(&now, held, of) }
    })
    .collect()
}

/// Makes what is posted, part by part, as long as somebody takes it.
fn make(things: &[Thing], minute: &Minute, (stop, every): (u64, u64), say: &mpsc::Sender<Vec<Metric>>) {
    let nanos = stop.saturating_mul(1_000_000);
    let (mut metrics, mut points) = (Vec::new(), 0);
    for metric in METRICS {
        let mut data_points = Vec::new();
        for Thing { key, about, apdex_ms } in things {
            // A service has the metrics of servers by way of its pools only.
            let is_own = metric.is_of(key.of) && (key.of != Kind::Service || !metric.is_of(Kind::Server));
            let Some(value) = minute.value(key, metric, *apdex_ms).filter(|_| is_own) else { continue };
            data_points.push(Point {
                start_time_unix_nano: nanos.saturating_sub(every * 1_000_000),
                time_unix_nano: nanos,
                value: Some(Number::AsDouble(value)),
                attributes: about.clone(),
            });
            points += 1;
            if points >= POINTS_MAX {
                metrics.push(named(metric, std::mem::take(&mut data_points)));
                if say.blocking_send(std::mem::take(&mut metrics)).is_err() {
                    return;
                }
                points = 0;
            }
        }
        if !data_points.is_empty() {
            metrics.push(named(metric, data_points));
        }
    }
    if !metrics.is_empty() {
        let _ = say.blocking_send(metrics);
    }
}

fn named(metric: &forebay_metrics::Metric, data_points: Vec<Point>) -> Metric {
    Metric {
        name: format!("forebay.{}", metric.id),
        description: metric.about.to_owned(),
        // Units of the protocol are those of UCUM.
        unit: match metric.units {
            "BITS_PER_SECOND" => "bit/s",
            "BYTES_PER_SECOND" => "By/s",
            "PER_SECOND" => "1/s",
            "MILLISECONDS" => "ms",
            "PERCENT" => "%",
            _ => "1",
        }
        .to_owned(),
        gauge: Some(Gauge { data_points }),
    }
}

fn posted(metrics: Vec<Metric>) -> Vec<u8> {
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope()), metrics }];
    Export { resource_metrics: vec![ResourceMetrics { resource: Some(resource()), scope_metrics }] }
        .encode_to_vec()
}
