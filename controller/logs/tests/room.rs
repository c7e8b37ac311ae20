//! Who loses records where the room is full: whoever has the most of it, and nobody else.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forebay_logs::{Batch, Counts, Filter, Micros, Op, Search, Settings, Store, stamp};
use serde_json::{Value, json};

const HOUR: Micros = 3_600_000_000;
const MIB: u64 = 1 << 20;

/// A folder that goes with its test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("forebay-logs-room-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    fn bytes(&self) -> u64 {
        self.files().iter().map(|path| path.metadata().unwrap().len()).sum()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn open(folder: &Folder, bytes_max: u64) -> Store {
    Store::open(&folder.0, Settings { hours_max: 24, bytes_max }).unwrap()
}

/// The middle of the hour that is so many hours back: an hour that changes meanwhile changes nothing.
fn hour(back: i64) -> Micros {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as Micros;
    (now / HOUR - back) * HOUR
}

/// Record `nth`, which needs some 300 bytes: no two are alike.
fn record(service: &str, at: Micros, nth: u64) -> Value {
    let mut odd = nth.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ service.len() as u64;
    let mut text = String::new();
    for _ in 0..24 {
        odd ^= odd << 13;
        odd ^= odd >> 7;
        odd ^= odd << 17;
        text += &format!("{odd:016x}");
    }
    json!({
        "report_timestamp": stamp(at), "virtualservice": service, "service_engine": "se-1", "response_code": 200,
        "uri_path": format!("/{nth}"), "user_agent": text, "significant": nth.is_multiple_of(50),
    })
}

/// Offers records of owners, who are what stands before a service's `-`.
fn offer(store: &Store, records: &[Value]) {
    for some in records.chunks(250) {
        let lines = some.iter().map(|record| format!("{record}\n")).collect::<String>().into_bytes();
        let owner = |fields: &mut serde_json::Map<String, Value>| {
            Some(fields["virtualservice"].as_str()?.split('-').next()?.to_owned())
        };
        store.try_offer(Batch { lines, admit: Some(Box::new(owner)), ..Batch::default() }).unwrap();
        store.flush();
    }
}

/// The numbers of a service's records that are left, and whether they are significant, by time.
fn left(store: &Store, service: &str) -> Vec<(u64, bool)> {
    let filter = Filter { field: "virtualservice".to_owned(), op: Op::Eq, values: vec![service.to_owned()] };
    let within = Duration::from_secs(30);
    let mut search = Search {
        kind: None,
        filters: vec![filter],
        from: 0,
        to: hour(-2),
        before: None,
        limit: 10_000,
        within,
    };
    let mut all = Vec::new();
    loop {
        let found = store.search(&search).unwrap();
        for record in &found.records {
            let nth = record["uri_path"].as_str().unwrap()[1..].parse().unwrap();
            all.push((nth, record["significant"] == true));
        }
        match found.next {
            Some(next) => search.before = Some(next),
            None => break,
        }
    }
    all.sort_unstable();
    all
}

fn written(counts: Counts) -> u64 {
    assert_eq!((counts.lost_busy, counts.refused, counts.lost_failed, counts.lost_full), (0, 0, 0, 0));
    counts.written
}

/// What is offered in three hours: of each hundred records one of a quiet service, and one of a small one of the loud one's owner.
fn three_hours(each: u64) -> Vec<Value> {
    let service = |nth: u64| match nth % 100 {
        7 => "quiet-a",
        8 => "loud-small",
        _ => "loud-a",
    };
    (0..3 * each)
        .map(|nth| {
            let at = hour(3 - (nth / each) as i64) + (nth % each) as Micros * 10_000;
            record(service(nth), at, nth)
        })
        .collect()
}

//= test LOG-SHARE-01
#[test]
fn of_a_full_room_the_loudest_loses_its_oldest_and_nobody_else_any() {
    let folder = Folder::new("loud");
    let bytes_max = 6 * MIB;
    let all = three_hours(20_000);
    // Half way another process goes on, which has to know who has how much.
    let (first, second) = all.split_at(all.len() / 2);
    let store = open(&folder, bytes_max);
    offer(&store, first);
    let before = store.counts();
    assert!(before.trimmed > 0, "{before:?}");
    drop(store);
    let store = open(&folder, bytes_max);
    offer(&store, second);
    let counts = store.counts();
    assert_eq!(written(before) + written(counts), all.len() as u64, "whoever tells is written");
    for (service, of) in [("quiet-a", 7), ("loud-small", 8)] {
        let wanted: Vec<_> = (0..600).map(|nth| nth * 100 + of).map(|nth| (nth, nth % 50 == 0)).collect();
        assert_eq!(left(&store, service), wanted, "{service} has all that it told");
    }
    let loud = left(&store, "loud-a");
    let gone = before.trimmed + counts.trimmed;
    assert!((3_000..40_000).contains(&loud.len()), "{} are left", loud.len());
    assert!(gone > 0 && loud.len() as u64 + gone <= 58_800, "{} and {gone}", loud.len());
    // The newest are there, and of what is older those that deserve a look.
    assert_eq!(loud.last(), Some(&(59_999, false)));
    let plain: Vec<u64> = loud.iter().filter(|(_, is)| !is).map(|(nth, _)| *nth).collect();
    let since = plain[0];
    let wanted = (since..60_000).filter(|nth| nth % 50 != 0 && ![7, 8].contains(&(nth % 100)));
    assert_eq!(plain, wanted.collect::<Vec<_>>(), "none in the middle is missing");
    assert!(loud[0].1 && loud[0].0 + 1_000 < since, "{:?}, {since}", loud[0]);
    drop(store);
    assert!(folder.bytes() <= bytes_max, "{} bytes", folder.bytes());
    assert!(folder.bytes() > bytes_max / 2, "{} bytes", folder.bytes());
}

//= test LOG-SHARE-01
#[test]
fn who_is_alone_has_all_the_room_and_before_it_is_full_nothing_goes() {
    let folder = Folder::new("alone");
    let bytes_max = 8 * MIB;
    let store = open(&folder, bytes_max);
    let all: Vec<Value> =
        (0..40_000).map(|nth| record("one-a", hour(1) + nth as Micros * 10_000, nth)).collect();
    let mut held = 0;
    for some in all.chunks(4_000) {
        let before = store.counts().trimmed;
        offer(&store, some);
        let now = left(&store, "one-a").len() as u64;
        if store.counts().trimmed == 0 {
            assert_eq!(now, written(store.counts()), "nothing has gone");
            held = now;
        } else if before > 0 {
            // From then on it has as many as there is room for, the newest.
            assert!(now > held / 10 * 8, "{now} of {held} that once had room");
        }
    }
    let counts = store.counts();
    assert_eq!(written(counts), 40_000);
    assert!(counts.trimmed > 0 && held > 10_000, "{counts:?}, {held}");
    assert_eq!(left(&store, "one-a").last(), Some(&(39_999, false)));
}

//= test LOG-SHARE-01
#[test]
fn many_services_of_one_owner_take_nothing_from_another() {
    let folder = Folder::new("many");
    let store = open(&folder, 7 * MIB);
    // What one service of the crowd has is a hundredth of what the other one has.
    let of = |nth: u64| match nth % 4 {
        0 => "other-a".to_owned(),
        _ => format!("crowd-{}", nth % 301),
    };
    let all: Vec<Value> =
        (0..24_000).map(|nth| record(&of(nth), hour(1) + nth as Micros * 10_000, nth)).collect();
    offer(&store, &all);
    let counts = store.counts();
    assert_eq!(written(counts), 24_000);
    let own = left(&store, "other-a").len();
    // Six thousand need less than half of the room.
    assert!(counts.trimmed > 4_000 && own == 6_000, "{own} of 6000 are left, {counts:?}");
}

//= test LOG-SHARE-01
#[test]
fn hours_that_do_not_say_who_has_how_much_go_first_and_as_a_whole() {
    let folder = Folder::new("old");
    let store = open(&folder, 64 * MIB);
    let at = |back: i64, count: u64| -> Vec<Value> {
        (0..count).map(|nth| record("one-a", hour(back) + nth as Micros * 10_000, nth)).collect()
    };
    offer(&store, &at(3, 2_000));
    drop(store);
    // As a version before wrote it.
    let file = folder.files().into_iter().find(|path| path.extension().is_some_and(|e| e == "db")).unwrap();
    let db = rusqlite::Connection::open(&file).unwrap();
    db.execute_batch("DROP TABLE part; PRAGMA journal_mode = DELETE; PRAGMA auto_vacuum = NONE; VACUUM")
        .unwrap();
    drop(db);
    let store = open(&folder, 4 * MIB);
    assert_eq!(left(&store, "one-a").len(), 2_000, "it is found as ever");
    offer(&store, &at(1, 12_000));
    let counts = store.counts();
    assert!(!file.exists(), "{counts:?}");
    assert!(counts.hours_removed == 1 && counts.trimmed < 12_000, "{counts:?}");
}

//= test LOG-KEEP-04
#[test]
fn an_hour_that_is_damaged_keeps_no_room_from_being_made() {
    let folder = Folder::new("damaged");
    let store = open(&folder, 4 * MIB);
    let service = |nth: u64| if nth.is_multiple_of(3) { "quiet-a" } else { "loud-a" };
    let at = |back: i64, from: u64, count: u64| -> Vec<Value> {
        let one = |nth: u64| record(service(nth), hour(back) + nth as Micros * 10_000, nth);
        (from..from + count).map(one).collect()
    };
    offer(&store, &at(3, 0, 4_000));
    drop(store);
    let file = folder.files().into_iter().find(|path| path.extension().is_some_and(|e| e == "db")).unwrap();
    // What says who has how much stands at the front.
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[16 * 4_096..].fill(0);
    std::fs::write(&file, bytes).unwrap();
    let store = open(&folder, 4 * MIB);
    offer(&store, &at(1, 4_000, 16_000));
    let counts = store.counts();
    assert_eq!(written(counts), 16_000, "what comes is taken");
    assert!(counts.trimmed > 0 && !file.exists(), "{counts:?}");
    assert!(file.with_extension("damaged").exists(), "it is set aside");
    assert_eq!(left(&store, "loud-a").last(), Some(&(19_999, false)));
}
