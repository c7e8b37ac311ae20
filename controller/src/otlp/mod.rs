//! Metrics for a collector of OpenTelemetry: OTLP over HTTP, posted from time to time.

mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{Method, Request, Uri};
use forebay_metrics::{Key, Kind, METRICS, STEPS};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use wire::{Export, Gauge, Metric, Number, Point, Resource, ResourceMetrics, Scope, ScopeMetrics, attribute};

use crate::api::{App, Minute, apdex_of, clock};
use crate::store::Store;

/// Engines have told of a stretch so long after its end.
const AFTER: u64 = 3_000;
/// Points of one request: half a megabyte or so.
const POINTS_MAX: usize = 2_000;
/// The collector has so long to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same trouble is told again after so long.
const TOLD_AGAIN: Duration = Duration::from_secs(300);

/// Where to, and how often.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The collector.
    pub collector: Collector,
    /// Seconds between two times; each is about the time since the one before.
    pub every_s: u64,
}

/// Where a collector listens.
#[derive(Clone, Debug)]
pub struct Collector {
    host: String,
    port: u16,
    path: String,
}

impl std::str::FromStr for Collector {
    type Err = String;

    /// Reads `http://collector:4318/v1/metrics`; without a path it is that of the protocol.
    fn from_str(text: &str) -> Result<Self, String> {
        let refusal = |why: &str| format!("{why}; write it as http://collector:4318/v1/metrics");
        let uri: Uri = text.parse().map_err(|_| refusal("this is no address"))?;
        if uri.scheme_str() != Some("http") {
            return Err(refusal(
                "collectors are reached by http: put one on this machine that speaks TLS to others",
            ));
        }
        let host = uri.host().ok_or_else(|| refusal("there is no host in it"))?.to_owned();
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path == "/" { "/v1/metrics" } else { path };
        Ok(Collector { host, port: uri.port_u16().unwrap_or(4318), path: path.to_owned() })
    }
}

/// Sends for ever. What a collector does not take is not sent again: the next time is about what came since.
//= MET-OTLP-01
pub async fn drive<S: Store + 'static>(app: Arc<App<S>>, exported: Exported) {
    // In whole stretches, as engines tell.
    let every = exported.every_s.clamp(5, 300).div_ceil(5) * 5_000;
    let mut told: Option<Instant> = None;
    loop {
        // Until the end of a stretch, and until it was told of.
        let left = every - clock().saturating_sub(AFTER) % every;
        tokio::time::sleep(Duration::from_millis(left)).await;
        let stop = clock().saturating_sub(AFTER) / every * every;
        if let Err(why) = send(&app, &exported.collector, stop, every).await
            && told.is_none_or(|told| told.elapsed() >= TOLD_AGAIN)
        {
            tracing::warn!(
                event = "METRICS_NOT_EXPORTED",
                collector = exported.collector.host,
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
    collector: &Collector,
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
        post(collector, metrics).await?;
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

async fn post(collector: &Collector, metrics: Vec<Metric>) -> Result<(), String> {
    let scope = Scope { name: "forebay".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let resource = Resource { attributes: vec![attribute("service.name", "forebay-controller")] };
    let export = Export {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource),
            scope_metrics: vec![ScopeMetrics { scope: Some(scope), metrics }],
        }],
    };
    let sent = tokio::time::timeout(PATIENCE, request(collector, export.encode_to_vec())).await;
    sent.unwrap_or_else(|_| Err(format!("it did not answer within {} s", PATIENCE.as_secs())))
}

async fn request(collector: &Collector, content: Vec<u8>) -> Result<(), String> {
    let Collector { host, port, path } = collector;
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((plain, *port)).await.map_err(|error| text(&error))?;
    let (mut requests, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
    let driven = tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(HOST, format!("{host}:{port}"))
        .header(CONTENT_TYPE, "application/x-protobuf")
        .body(Body::from(content))
        .map_err(|error| text(&error))?;
    let answer = requests.send_request(request).await.map_err(|error| text(&error));
    driven.abort();
    match answer?.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!("it answered {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test MET-OTLP-01
    #[test]
    fn a_collector_is_named_by_its_address() {
        let read =
            |text: &str| text.parse::<Collector>().map(|it| format!("{} {} {}", it.host, it.port, it.path));
        assert_eq!(read("http://127.0.0.1:4318/v1/metrics"), Ok("127.0.0.1 4318 /v1/metrics".to_owned()));
        assert_eq!(read("http://collector"), Ok("collector 4318 /v1/metrics".to_owned()));
        assert_eq!(read("http://[::1]:80/x"), Ok("[::1] 80 /x".to_owned()));
        for text in ["collector:4318", "https://collector", "", "http://"] {
            assert!(read(text).is_err_and(|why| why.contains("http://collector:4318")), "{text}");
        }
    }
}
