//! The store as its users see it: what is offered is found, newest first, within bounds, whatever happens to the files.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use forebay_logs::{Batch, Filter, Found, Kind, Micros, Op, Refused, Search, Sent, Settings, Store};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const HOUR: Micros = 3_600_000_000;

/// A folder that goes with its test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("forebay-logs-{}-{nth}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn hours(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "db")).collect();
        files.sort();
        files
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const ROOMY: Settings = Settings { hours_max: 100, bytes_max: 1 << 32 };

fn now() -> Micros {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as Micros
}

fn stamp(at: Micros) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1000).unwrap().format(&Rfc3339).unwrap()
}

/// Record `nth` of a crowd: services, clients, codes and paths differ by it.
fn record(at: Micros, nth: usize) -> Value {
    let code = match nth % 100 {
        0 => 503,
        1..5 => 404,
        _ => 200,
    };
    json!({
        "report_timestamp": stamp(at), "virtualservice": format!("web-{}", nth % 3), "service_engine": "se-1", "pool_name": "p",
        "client_ip": format!("10.{}.{}.7", nth % 40, nth % 200), "client_src_port": 1024 + nth % 50_000, "method": "GET",
        "uri_path": format!("/shop/item-{}", nth % 1_000), "user_agent": format!("agent {}", nth % 7),
        "host": format!("a \"{}\"", ["b", "c"][nth % 2]), "response_code": code,
        "response_length": 1_000 + nth, "total_time": (nth % 500) as f64 / 10.0, "significant": code != 200,
        "significant_log": if code == 200 { json!([]) } else { json!(["ADF_RESPONSE_CODE_5XX", "ADF_OTHER"]) },
    })
}

fn lines(records: impl Iterator<Item = Value>) -> Vec<u8> {
    records.map(|record| format!("{record}\n")).collect::<String>().into_bytes()
}

/// A store with `count` records, a millisecond apart, the last one at `end`.
fn filled(folder: &Folder, count: usize, end: Micros) -> Store {
    let store = Store::open(&folder.0, ROOMY).unwrap();
    let all: Vec<_> = (0..count).map(|nth| record(end - (count - 1 - nth) as Micros * 1_000, nth)).collect();
    for some in all.chunks(1_000) {
        assert_eq!(store.offer(lines(some.iter().cloned())), Ok(()));
        store.flush();
    }
    assert_eq!(store.counts().written, count as u64);
    store
}

fn filter(field: &str, op: Op, value: &str) -> Filter {
    Filter { field: field.into(), op, values: vec![value.into()] }
}

fn asked(filters: Vec<Filter>, limit: usize) -> Search {
    let within = Duration::from_secs(30);
    Search { kind: None, filters, from: 0, to: now() + HOUR, before: None, limit, within }
}

fn numbers(found: &Found) -> Vec<i64> {
    found.records.iter().map(|record| record["response_length"].as_i64().unwrap() - 1_000).collect()
}

//= test LOG-FIND-01
//= test LOG-KEEP-01
#[test]
fn every_filter_finds_what_a_look_at_all_records_finds() {
    let folder = Folder::new();
    let end = now() - 1_000;
    let store = filled(&folder, 9_000, end);
    let first: std::net::Ipv4Addr = [10, 16, 0, 0].into();
    let in_network = move |r: &Value| {
        let ip: std::net::Ipv4Addr = r["client_ip"].as_str().unwrap().parse().unwrap();
        u32::from(ip) & 0xfff0_0000 == u32::from(first)
    };
    type Is<'i> = &'i dyn Fn(&Value) -> bool;
    let cases: [(Vec<Filter>, Is<'_>); 18] = [
        // Texts that stand in columns only, in numbers, in lists, and not plainly in JSON.
        (vec![filter("all", Op::Contains, "WEB-1")], &|r| r["virtualservice"] == "web-1"),
        (vec![filter("client_src_port", Op::Eq, "1029")], &|r| r["client_src_port"] == 1029),
        (vec![filter("significant_log", Op::Contains, "5xx")], &|r| r["response_code"] != 200),
        (vec![filter("host", Op::Eq, "a \"b\"")], &|r| r["host"] == "a \"b\""),
        (vec![], &|_| true),
        (vec![filter("virtualservice", Op::Eq, "web-1")], &|r| r["virtualservice"] == "web-1"),
        (vec![filter("virtualservice", Op::Ne, "web-1")], &|r| r["virtualservice"] != "web-1"),
        (vec![filter("virtualservice", Op::Contains, "B-2")], &|r| r["virtualservice"] == "web-2"),
        (vec![filter("virtualservice", Op::Eq, "nobody")], &|_| false),
        (vec![filter("response_code", Op::Ge, "404"), filter("response_code", Op::Lt, "500")], &|r| {
            r["response_code"] == 404
        }),
        (vec![filter("client_ip", Op::Eq, "10.20.0.0/12")], &in_network),
        (vec![filter("client_ip", Op::Ne, "10.20.0.0/12")], &|r| !in_network(r)),
        (vec![filter("uri_path", Op::Contains, "ITEM-77")], &|r| {
            r["uri_path"].as_str().unwrap().contains("item-77")
        }),
        (vec![filter("uri_path", Op::StartsWith, "/shop/item-9")], &|r| {
            r["uri_path"].as_str().unwrap().starts_with("/shop/item-9")
        }),
        (vec![filter("user_agent", Op::Eq, "agent 3")], &|r| r["user_agent"] == "agent 3"),
        (vec![filter("client_src_port", Op::Gt, "9000")], &|r| {
            r["client_src_port"].as_u64().unwrap() > 9_000
        }),
        (vec![filter("significant_log", Op::Eq, "ADF_OTHER")], &|r| r["response_code"] != 200),
        (vec![filter("all", Op::Contains, "agent 5"), filter("significant", Op::Eq, "true")], &|r| {
            r["user_agent"] == "agent 5" && r["significant"] == true
        }),
    ];
    for (filters, is_met) in cases {
        let wanted: Vec<i64> =
            (0..9_000).rev().filter(|nth| is_met(&record(end, *nth))).map(|nth| nth as i64).collect();
        let found = store.search(&asked(filters.clone(), 10_000)).unwrap();
        assert!(found.next.is_none() && found.damaged == 0);
        assert_eq!(numbers(&found), wanted, "{filters:?}");
        // In pages as well, each from where the one before stopped.
        let mut paged = Vec::new();
        let mut search = asked(filters, 997);
        while paged.len() < 20_000 {
            let found = store.search(&search).unwrap();
            paged.extend(numbers(&found));
            match found.next {
                Some(next) => search.before = Some(next),
                None => break,
            }
        }
        assert_eq!(paged, wanted);
    }
    let whole = store.search(&asked(vec![], 1)).unwrap().records.remove(0);
    assert_eq!(Value::Object(whole), record(end, 8_999), "as it came");
}

//= test LOG-FIND-03
#[test]
fn the_most_frequent_values_are_counted() {
    let folder = Folder::new();
    let store = filled(&folder, 6_000, now() - 1_000);
    for field in ["virtualservice", "user_agent", "response_code", "client_ip", "significant", "absent"] {
        let mut counts = std::collections::BTreeMap::<String, u64>::new();
        for nth in (0..6_000).filter(|nth| record(0, *nth)["response_code"] != 503) {
            *counts.entry(record(0, nth)[field].to_string()).or_default() += 1;
        }
        let mut wanted: Vec<_> = counts.into_iter().collect();
        wanted.sort_by_key(|(value, count)| (std::cmp::Reverse(*count), value.clone()));
        wanted.truncate(5);
        let top = store.top(&asked(vec![filter("response_code", Op::Ne, "503")], 5), field).unwrap();
        let got: Vec<_> = top.values.iter().map(|top| (top.value.to_string(), top.count)).collect();
        assert_eq!((got, top.records, top.others), (wanted, 5_940, 0), "{field}");
    }
}

//= test LOG-FIND-02
#[test]
fn who_has_no_time_is_told_how_far_it_came_and_goes_on_from_there() {
    let folder = Folder::new();
    let end = now() - 1_000;
    // Over an hour's border, too.
    let store = Store::open(&folder.0, ROOMY).unwrap();
    let count = 12_000;
    for some in (0..count).collect::<Vec<_>>().chunks(1_000) {
        let at = |nth: usize| end - (count - 1 - nth) as Micros * 700_000;
        store.offer(lines(some.iter().map(|nth| record(at(*nth), *nth)))).unwrap();
        store.flush();
    }
    assert!(folder.hours().len() > 1);
    // Every record has to be looked at, and none is what is looked for but the two of one path and agent.
    let filters = vec![filter("all", Op::Contains, "agent 3"), filter("uri_path", Op::Eq, "/shop/item-3")];
    let mut search = asked(filters, 100);
    let whole = numbers(&store.search(&search).unwrap());
    assert_eq!(whole.len(), (0..count).filter(|nth| nth % 1_000 == 3 && nth % 7 == 3).count());
    search.within = Duration::from_micros(300);
    let (mut answers, mut found, mut before) = (0, Vec::new(), None);
    while answers < 100_000 {
        answers += 1;
        let some = store.search(&search).unwrap();
        found.extend(numbers(&some));
        let Some(next) = some.next else { break };
        assert!(before.is_none_or(|before| next <= before), "it never goes back");
        // A machine that is slower than one slice in this time gets more of it.
        search.within = if before == Some(next) { search.within * 2 } else { Duration::from_micros(300) };
        before = Some(next);
        search.before = Some(next);
    }
    assert!(answers > 1, "the time was too short for all of it");
    assert_eq!(found, whole);
}

//= test LOG-KEEP-03
#[test]
fn the_oldest_hours_go_and_what_is_too_old_or_ahead_is_refused() {
    let folder = Folder::new();
    let now = now();
    let store = Store::open(&folder.0, Settings { hours_max: 3, bytes_max: 1 << 32 }).unwrap();
    let at = [now, now - HOUR, now - 2 * HOUR, now - 3 * HOUR, now - 90 * HOUR, now + 2 * HOUR];
    store.offer(lines(at.iter().map(|at| record(*at, 1)))).unwrap();
    store.offer(b"\nnonsense\n{}\n".to_vec()).unwrap();
    store.flush();
    let counts = store.counts();
    assert_eq!((counts.written, counts.refused), (3, 5), "{counts:?}");
    assert_eq!(folder.hours().len(), 3);
    drop(store);
    // With less room the next start lets the older ones go.
    let store = Store::open(&folder.0, Settings { hours_max: 1, bytes_max: 1 << 32 }).unwrap();
    store.flush();
    assert_eq!(folder.hours().len(), 1);
    assert_eq!(store.counts().hours_removed, 2);
    drop(store);
    // Room for nothing: the hour under way stays, loses what it has, and takes no more.
    let store = Store::open(&folder.0, Settings { hours_max: 3, bytes_max: 1 }).unwrap();
    let offered = 40;
    for nth in 0..offered {
        store.offer(lines(std::iter::once(record(now, nth)))).unwrap();
        store.flush();
    }
    let counts = store.counts();
    assert!(counts.written > 0 && counts.lost_full > 0, "{counts:?}");
    assert_eq!(counts.written + counts.lost_full, offered as u64);
    assert_eq!(
        store.search(&asked(vec![], 100)).unwrap().records.len() as u64,
        counts.written - counts.trimmed
    );
}

//= test LOG-KEEP-05
#[test]
fn who_keeps_records_until_they_are_written_hears_of_it_and_has_back_what_is_not_taken() {
    let folder = Folder::new();
    let store = Store::open(&folder.0, ROOMY).unwrap();
    let at = now();
    let batch = |count: usize| {
        let (say, heard) = std::sync::mpsc::channel();
        let batch = Batch {
            lines: lines((0..count).map(|nth| record(at, nth))),
            admit: Some(Box::new(|fields| (fields["response_code"] != 503).then(String::new))),
            done: Some(Box::new(move |is_written| {
                let _ = say.send(is_written);
            })),
            sent: None,
        };
        (batch, heard)
    };
    let (first, heard) = batch(1_000);
    store.try_offer(first).unwrap();
    assert_eq!(heard.recv_timeout(Duration::from_secs(20)), Ok(true));
    assert_eq!((store.counts().written, store.counts().refused), (990, 10));
    // What is not taken comes back as it was, is not counted, and nobody hears of it. The writer is held up until all were offered.
    let (go, holds) = std::sync::mpsc::channel::<()>();
    let admit = move |_: &mut _| {
        let _ = holds.recv_timeout(Duration::from_secs(60));
        None
    };
    let held =
        Batch { lines: lines([record(at, 1)].into_iter()), admit: Some(Box::new(admit)), ..Batch::default() };
    store.try_offer(held).unwrap();
    let mut back = Vec::new();
    for _ in 0..100 {
        let (next, heard) = batch(1_000);
        let length = next.lines.len();
        if let Err((refused, batch)) = store.try_offer(next) {
            assert_eq!((refused, batch.lines.len()), (Refused::Busy, length));
            back.push((batch, heard));
        }
    }
    assert!(!back.is_empty(), "a hundred batches at once are more than wait");
    drop(go);
    store.flush();
    let counts = store.counts();
    assert_eq!((counts.lost_busy, counts.written), (0, 990 * (101 - back.len() as u64)));
    let (batch, heard) = back.pop().unwrap();
    assert!(heard.try_recv().is_err());
    store.try_offer(batch).unwrap();
    assert_eq!(heard.recv_timeout(Duration::from_secs(20)), Ok(true));
}

//= test LOG-KEEP-05
#[test]
fn what_cannot_be_written_is_said() {
    let folder = Folder::new();
    let store = Store::open(&folder.0, ROOMY).unwrap();
    let at = now() - HOUR;
    // No file can be made there.
    std::fs::create_dir(folder.0.join(format!("hour-{:08}.db", at / HOUR))).unwrap();
    let (say, heard) = std::sync::mpsc::channel();
    let done = Some(Box::new(move |is_written| say.send(is_written).unwrap()) as forebay_logs::Done);
    let batch = Batch { lines: lines((0..10).map(|nth| record(at, nth))), done, ..Batch::default() };
    store.try_offer(batch).unwrap();
    assert_eq!(heard.recv_timeout(Duration::from_secs(20)), Ok(false));
    assert_eq!((store.counts().lost_failed, store.counts().written), (10, 0));
}

//= test LOG-KEEP-02
#[test]
fn a_writer_that_is_behind_loses_whole_batches_and_counts_them() {
    let folder = Folder::new();
    let store = Store::open(&folder.0, ROOMY).unwrap();
    let at = now();
    let batch = lines((0..1_000).map(|nth| record(at, nth)));
    let mut lost = 0;
    for _ in 0..100 {
        lost += u64::from(store.offer(batch.clone()) == Err(Refused::Busy)) * 1_000;
    }
    store.flush();
    let counts = store.counts();
    assert!(lost > 0, "a hundred batches at once are more than wait");
    assert_eq!((counts.lost_busy, counts.written), (lost, 100_000 - lost));
    assert_eq!(store.offer(vec![b' '; (1 << 20) + 1]), Err(Refused::TooLong));
    // Many of one microsecond are all there.
    let found = store.search(&asked(vec![filter("response_length", Op::Eq, "1007")], 10_000)).unwrap();
    assert_eq!(found.records.len() as u64, counts.written / 1_000);
}

//= test LOG-KEEP-04
#[test]
fn a_damaged_hour_is_told_set_aside_and_the_others_answer() {
    let folder = Folder::new();
    let now = now();
    let write = |store: &Store| {
        store.offer(lines([record(now - HOUR, 1), record(now, 2)].into_iter())).unwrap();
        store.flush();
    };
    let store = Store::open(&folder.0, ROOMY).unwrap();
    write(&store);
    drop(store);
    let newest = folder.hours().pop().unwrap();
    std::fs::write(&newest, [0x5a; 8_192]).unwrap();
    let store = Store::open(&folder.0, ROOMY).unwrap();
    let found = store.search(&asked(vec![], 10)).unwrap();
    assert_eq!((found.records.len(), found.damaged), (1, 1), "{found:?}");
    write(&store);
    assert_eq!(store.counts().lost_failed, 1, "the first one finds out");
    write(&store);
    let found = store.search(&asked(vec![], 10)).unwrap();
    assert_eq!((found.records.len(), found.damaged), (4, 0), "{found:?}");
    assert!(newest.with_extension("damaged").exists());
}

#[test]
fn connections_and_requests_are_told_apart_and_errors_say_what_is_wrong() {
    let folder = Folder::new();
    let store = Store::open(&folder.0, ROOMY).unwrap();
    let connection =
        json!({"report_timestamp": stamp(now()), "virtualservice": "tcp", "protocol": "tcp", "rx_bytes": 7});
    store.offer(lines([connection, record(now(), 1)].into_iter())).unwrap();
    store.flush();
    for (kind, name) in [(Kind::Connection, "tcp"), (Kind::Request, "web-1")] {
        let search = Search { kind: Some(kind), ..asked(vec![], 10) };
        let found = store.search(&search).unwrap();
        assert_eq!(found.records.len(), 1);
        assert_eq!(found.records[0]["virtualservice"], name);
    }
    let wrong =
        store.search(&asked(vec![filter("response_code", Op::Eq, "many")], 1)).unwrap_err().to_string();
    assert!(wrong.contains("response_code") && wrong.contains("many"), "{wrong}");
}

//= test LOG-ONCE-01
#[test]
fn a_batch_that_comes_again_to_a_new_process_is_there_once_in_each_of_its_hours() {
    let folder = Folder::new();
    let hour = now() / HOUR * HOUR;
    // Two hours, of which one is written when the process dies.
    let early: Vec<Value> = (0..5).map(|nth| record(hour - 1_000 - nth as Micros, nth)).collect();
    let late: Vec<Value> = (0..5).map(|nth| record(hour + nth as Micros, nth)).collect();
    let offer = |store: &Store, number: u64, records: Vec<Value>| {
        let sent = Sent { engine: "se-1".to_owned(), process: 7, number, oldest: number };
        let (say, heard) = std::sync::mpsc::channel();
        let done: forebay_logs::Done = Box::new(move |is_written| say.send(is_written).unwrap());
        let lines = lines(records.into_iter());
        let batch = Batch { lines, done: Some(done), sent: Some(sent), ..Batch::default() };
        store.try_offer(batch).expect("room");
        heard.recv().unwrap()
    };
    let all = || early.iter().chain(&late).cloned().collect::<Vec<_>>();
    let store = Store::open(&folder.0, ROOMY).unwrap();
    assert!(offer(&store, 3, late.clone()));
    drop(store);
    for _ in 0..2 {
        let store = Store::open(&folder.0, ROOMY).unwrap();
        assert!(offer(&store, 3, all()));
        assert!(offer(&store, 3, all()));
        let found = store.search(&asked(vec![], 100)).unwrap();
        assert_eq!(found.records.len(), 10);
    }
    let store = Store::open(&folder.0, ROOMY).unwrap();
    assert!(offer(&store, 4, late.clone()));
    assert_eq!(store.counts().written, 5, "the next one is new");
}

//= test LOG-KEEP-01
#[test]
fn records_of_two_microseconds_that_take_turns_hold_nobody_up() {
    let folder = Folder::new();
    let store = Store::open(&folder.0, ROOMY).unwrap();
    let (began, at) = (Instant::now(), now() - 1_000_000);
    for part in 0..40 {
        let some = (0..250).map(|nth| record(at + (nth % 2) as Micros, part * 250 + nth));
        assert_eq!(store.offer(lines(some)), Ok(()));
    }
    store.flush();
    assert_eq!(store.counts().written, 10_000);
    // A search for the next place of each would take minutes.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let found = store.search(&asked(vec![], 10_000)).unwrap();
    assert_eq!(found.records.len(), 10_000, "and none is lost");
}

//= test LOG-KEEP-04
#[test]
fn hours_that_were_set_aside_go_by_age_and_before_they_take_much_of_the_room() {
    let folder = Folder::new();
    let begun = now() / HOUR;
    let name = |hours: i64| folder.0.join(format!("hour-{:08}.damaged", begun + hours));
    let sizes = [(-30, 10), (-5, 700_000), (-4, 700_000), (-3, 200_000), (-2, 10)];
    for (hours, size) in sizes {
        std::fs::write(name(hours), vec![7; size]).unwrap();
    }
    let bytes_max = 8_000_000;
    let store = Store::open(&folder.0, Settings { hours_max: 24, bytes_max }).unwrap();
    store.flush();
    let left: Vec<_> = sizes.iter().filter(|(hours, _)| name(*hours).exists()).collect();
    assert_eq!(left, [&(-4, 700_000), &(-3, 200_000), &(-2, 10)]);
    // One that is large is kept if it is the newest, and does not take all.
    std::fs::write(name(-1), vec![7; 3_900_000]).unwrap();
    drop(store);
    Store::open(&folder.0, Settings { hours_max: 24, bytes_max }).unwrap().flush();
    assert!(name(-1).exists() && !name(-2).exists());
    std::fs::write(name(0), vec![7; 4_100_000]).unwrap();
    Store::open(&folder.0, Settings { hours_max: 24, bytes_max }).unwrap().flush();
    assert!(!name(-1).exists() && !name(0).exists());
}
