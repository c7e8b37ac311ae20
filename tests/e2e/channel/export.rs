//! Hours that are over, as another database reads them.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use forebay_e2e::{Lab, python};
use forebay_logs::{Settings, Store, export, stamp};
use serde_json::{Value, json};

const HOUR: i64 = 3_600_000_000;
/// More than two groups of rows.
const RECORDS: i64 = 40_000;

fn record(at: i64, nth: i64) -> String {
    let mut record = json!({
        "report_timestamp": stamp(at), "virtualservice": format!("virtualservice-{}", nth % 3), "pool_name": "caf\u{e9}",
        "service_engine": "se", "client_ip": format!("10.0.{}.1", nth % 250), "method": "GET",
        "uri_path": format!("/p/{nth}"), "response_code": if nth % 100 == 0 { 503 } else { 200 },
        "response_length": nth, "total_time": f64::from(i32::try_from(nth).expect("few")) / 4.0,
        "significant": nth % 100 == 0, "user_agent": format!("agent {}", nth % 5),
    });
    // Some are connections: they lack what requests have.
    if nth % 10 == 9 {
        let fields = record.as_object_mut().expect("fields");
        for field in ["method", "uri_path", "response_code", "response_length"] {
            fields.remove(field);
        }
        fields.insert("server_ip".to_owned(), "2001:db8::1".into());
    }
    record.to_string() + "\n"
}

//= test LOG-EXPORT-01
#[test]
fn an_hour_that_is_over_becomes_a_file_that_another_database_reads_whole() {
    let lab = Lab::new();
    let (from, to) = (lab.folder().join("logs"), lab.folder().join("parquet"));
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let now = i64::try_from(since.as_micros()).expect("not yet");
    let begin = (now / HOUR - 2) * HOUR;
    let store = Store::open(&from, Settings { hours_max: 24, bytes_max: 1 << 30 }).expect("a store");
    let all: Vec<String> = (0..RECORDS).map(|nth| record(begin + nth * 1_000, nth)).collect();
    for some in all.chunks(1_000) {
        store.offer(some.concat().into_bytes()).expect("room");
        store.flush();
    }
    store.offer(record(now, 0).into_bytes()).expect("room");
    store.flush();
    let made = export(&from, &to, now).expect("made");
    assert_eq!(made.len(), 1, "the hour under way is none: {made:?}");
    assert_eq!(export(&from, &to, now).expect("made").len(), 0, "it is there already");
    let ask = |query: &str| ask(&made[0], query);
    let figures = "SELECT count(*), sum(response_length), count(method), min(epoch_us(report_timestamp)), \
                   max(epoch_us(report_timestamp)), sum(CAST(significant AS INT)), max(total_time) FROM $file";
    let requests = (0..RECORDS).filter(|nth| nth % 10 != 9);
    let total: i64 = requests.clone().sum();
    let last = begin + (RECORDS - 1) * 1_000;
    assert_eq!(
        ask(figures),
        json!([[RECORDS, total, requests.count(), begin, last, RECORDS / 100, 9_999.75]])
    );
    let one = "SELECT type, virtualservice, pool_name, client_ip, server_ip, uri_path, response_code, \
               fields::JSON->>'user_agent' FROM $file WHERE epoch_us(report_timestamp) = ";
    let third = ask(&format!("{one}{}", begin + 30_003 * 1_000));
    let wanted =
        json!([["request", "virtualservice-0", "caf\u{e9}", "10.0.3.1", null, "/p/30003", 200, "agent 3"]]);
    assert_eq!(third, wanted);
    let ninth = ask(&format!("{one}{}", begin + 9_000));
    let wanted = json!([[
        "connection",
        "virtualservice-0",
        "caf\u{e9}",
        "10.0.9.1",
        "2001:db8::1",
        null,
        null,
        "agent 4"
    ]]);
    assert_eq!(ninth, wanted);
    let bytes = std::fs::metadata(&made[0]).expect("it is there").len();
    println!("{} bytes a record", bytes / RECORDS.unsigned_abs());
}

fn ask(file: &Path, query: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("channel/duckdb");
    let mut command = Command::new(python::interpreter(&folder, env!("CARGO_TARGET_TMPDIR")));
    let out = command.arg(folder.join("ask.py")).arg(file).arg(query).output().expect("it starts");
    assert!(out.status.success(), "{query}: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("JSON")
}
