//! Records of requests and connections for a collector, as they are written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use forebay_logs::{Kind, Record, Store as Kept};
use prost::Message;
use serde_json::Value;
use tokio::sync::mpsc;

use super::TOLD_AGAIN;
use super::post::{Collector, Poster};
use super::wire::{
    AnyValue, ExportLogs, KeyValue, LogRecord, OneOf, ResourceLogs, ScopeLogs, resource, scope,
};

/// Records of one request: a megabyte or so.
const RECORDS_MAX: usize = 1_000;
/// Records that wait, a kilobyte each: those of half a second.
const WAITING_MAX: usize = 10_000;
/// So long is waited for more of them.
const TOGETHER: Duration = Duration::from_secs(1);
/// How often a request is tried, with a pause that doubles.
const TRIES: u32 = 3;
/// The first pause.
const PAUSE: Duration = Duration::from_secs(1);

/// Severities of the protocol: what deserves a look is a warning.
const SEVERITIES: [(i32, &str); 2] = [(9, "INFO"), (13, "WARN")];

/// Sends what is written from now on, for ever; what finds no place is lost, and said.
//= LOG-OTLP-01
pub async fn drive(kept: Arc<Kept>, collector: Collector) {
    let (say, mut written) = mpsc::channel::<Record>(WAITING_MAX);
    let lost = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&lost);
    kept.tap(Box::new(move |records: &[Record]| {
        let without = records.iter().filter(|record| say.try_send((*record).clone()).is_err()).count();
        counted.fetch_add(without as u64, Ordering::Relaxed);
    }));
    // The store ends by itself, and with it what is written.
    drop(kept);
    let mut poster = Poster::new(collector);
    let mut told: Option<(Instant, u64)> = None;
    while let Some(first) = written.recv().await {
        let mut records = vec![first];
        let until = tokio::time::Instant::now() + TOGETHER;
        while records.len() < RECORDS_MAX {
            let left = RECORDS_MAX - records.len();
            match tokio::time::timeout_at(until, written.recv_many(&mut records, left)).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        let count = records.len() as u64;
        // Some milliseconds, away from the thread that answers.
        let Ok(content) = tokio::task::spawn_blocking(move || made(&records)).await else { continue };
        let sent = send(&mut poster, &content).await;
        if sent.is_err() {
            lost.fetch_add(count, Ordering::Relaxed);
        }
        let is_due = told.is_none_or(|(at, _)| at.elapsed() >= TOLD_AGAIN);
        let lost = lost.load(Ordering::Relaxed);
        if is_due && lost > told.map_or(0, |(_, lost)| lost) {
            let why = sent.err().unwrap_or_else(|| "it is too slow for what is written".to_owned());
            tracing::warn!(
                event = "LOGS_NOT_EXPORTED",
                collector = poster.host(),
                lost,
                why,
                "records did not reach the collector"
            );
            told = Some((Instant::now(), lost));
        }
    }
}

async fn send(poster: &mut Poster, content: &[u8]) -> Result<(), String> {
    let mut pause = PAUSE;
    for _ in 1..TRIES {
        if poster.post(content.to_vec()).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    poster.post(content.to_vec()).await
}

/// What is posted of these.
fn made(records: &[Record]) -> Vec<u8> {
    let log_records = records.iter().map(one).collect();
    let scope_logs = vec![ScopeLogs { scope: Some(scope()), log_records }];
    ExportLogs { resource_logs: vec![ResourceLogs { resource: Some(resource()), scope_logs }] }
        .encode_to_vec()
}

fn one(record: &Record) -> LogRecord {
    let (severity_number, severity) = SEVERITIES[usize::from(record.significant)];
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let body = match record.kind {
        Kind::Request => {
            format!("{} {} {}", text(&record.method), text(&record.path), record.code.unwrap_or(0))
        }
        Kind::Connection => "connection".to_owned(),
    };
    let nanos = u64::try_from(record.at).unwrap_or(0).saturating_mul(1_000);
    let attributes = record.shown().into_iter().filter_map(|(name, value)| {
        let value = match value {
            Value::Null => return None,
            Value::Bool(is) => OneOf::Bool(is),
            Value::String(text) => OneOf::Text(text),
            Value::Number(number) => match number.as_i64() {
                Some(number) => OneOf::Number(number),
                None => OneOf::Real(number.as_f64().unwrap_or(f64::NAN)),
            },
            other => OneOf::Text(other.to_string()),
        };
        Some(KeyValue { key: format!("forebay.{name}"), value: Some(AnyValue { value: Some(value) }) })
    });
    LogRecord {
        time_unix_nano: nanos,
        observed_time_unix_nano: nanos,
        severity_number,
        severity_text: severity.to_owned(),
        body: Some(AnyValue { value: Some(OneOf::Text(body)) }),
        attributes: attributes.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test LOG-OTLP-01
    #[test]
    fn a_record_has_its_fields_as_attributes_of_their_types() {
        let line = r#"{"report_timestamp":"2026-11-22T13:48:22.5Z","virtualservice":"v","response_code":503,"method":"GET",
            "uri_path":"/a","total_time":1.5,"significant":true,"significance":["the client got a 5xx"],"significant_log":["ADF_RESPONSE_CODE_5XX"],"client_src_port":7}"#;
        let told = one(&Record::read(line.replace('\n', " ").as_bytes()).expect("a record"));
        assert_eq!((told.severity_number, told.time_unix_nano % 1_000_000_000), (13, 500_000_000));
        assert_eq!(told.body, Some(AnyValue { value: Some(OneOf::Text("GET /a 503".to_owned())) }));
        let of = |name: &str| {
            let found = told.attributes.iter().find(|one| one.key == name).and_then(|one| one.value.clone());
            found.and_then(|value| value.value)
        };
        assert_eq!(of("forebay.client_src_port"), Some(OneOf::Number(7)));
        assert_eq!(of("forebay.response_code"), Some(OneOf::Number(503)));
        assert_eq!(of("forebay.total_time"), Some(OneOf::Real(1.5)));
        assert_eq!(of("forebay.significant"), Some(OneOf::Bool(true)));
        let names = r#"["ADF_RESPONSE_CODE_5XX"]"#;
        assert_eq!(of("forebay.significant_log"), Some(OneOf::Text(names.to_owned())));
    }
}
