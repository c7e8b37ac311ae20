//! One search over several stores: whatever the division of records, the answer is that of one store with all of them.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forebay_logs::{
    Cursor, Filter, Kind, Line, Micros, Op, Part, Search, Settings, Store, merged, merged_top, stamp,
};
use serde_json::json;

const HOUR: Micros = 3_600_000_000;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        Folder(std::env::temp_dir().join(format!("forebay-logs-parts-{}-{name}", std::process::id())))
    }

    fn store(&self) -> Store {
        Store::open(&self.0, Settings { hours_max: 100, bytes_max: 1 << 32 }).expect("room")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_micros()).expect("not yet")
}

/// The next number below `of`, the same in each run.
fn next(seed: &mut u64, of: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % of
}

/// Records of which several have one microsecond, each of its own.
fn records(seed: &mut u64, count: u64, end: Micros) -> Vec<String> {
    let one = |nth: u64| {
        let at = end - Micros::try_from(next(seed, count / 3)).expect("small") * 700_000;
        json!({
            "report_timestamp": stamp(at), "virtualservice": "web", "response_code": 200 + nth % 3,
            "uri_path": format!("/p/{}", next(seed, 20)), "total_time": 0.1 + nth as f64 / 7.0 % 3.0,
            "client_src_port": nth, "significant": nth.is_multiple_of(5),
        })
        .to_string()
    };
    (0..count).map(one).collect()
}

fn fill(store: &Store, records: &[String]) {
    let before = store.counts().written;
    store.offer((records.join("\n") + "\n").into_bytes()).expect("room");
    store.flush();
    assert_eq!(store.counts().written - before, records.len() as u64);
}

fn search(limit: usize) -> Search {
    let codes = vec!["200".to_owned(), "201".to_owned()];
    let filters = vec![
        Filter { field: "virtualservice".to_owned(), op: Op::Eq, values: vec!["web".to_owned()] },
        Filter { field: "response_code".to_owned(), op: Op::Eq, values: codes },
    ];
    let (kind, within) = (Some(Kind::Request), Duration::from_secs(30));
    Search { kind, filters, from: 0, to: now() + HOUR, before: None, limit, within }
}

fn parts(stores: &[Store], after: Option<Cursor>, limit: usize) -> Vec<Part> {
    let (before, more) = after.map_or((None, 0), |after| (Some(after.asked().0), after.asked().1));
    stores.iter().map(|store| store.part(&search(limit + more), before).expect("readable")).collect()
}

/// All that is found, page by page; each page but the last is full.
fn pages(stores: &[Store], size: usize) -> Vec<Line> {
    let (mut all, mut after): (Vec<Line>, Option<Cursor>) = (Vec::new(), None);
    loop {
        let page = merged(parts(stores, after, size), after, size);
        assert_eq!(page.counted, None);
        assert!(page.next.is_none() || page.lines.len() == size, "{} of {size}", page.lines.len());
        all.extend(page.lines);
        match page.next {
            // As clients send it.
            Some(next) => after = Some(next.to_string().parse().expect("as it was written")),
            None => return all,
        }
    }
}

//= test LOG-SEVERAL-01
//= test LOG-SEVERAL-02
#[test]
fn whatever_the_division_of_records_the_answer_is_that_of_one_store_with_all_of_them() {
    let mut seed = 7;
    let all = records(&mut seed, 240, now() - 1_000_000);
    let whole = Folder::new("whole");
    let one = [whole.store()];
    fill(&one[0], &all);
    let wanted = pages(&one, 1_000);
    let is_found = |record: &&String| !record.contains("\"response_code\":202");
    assert_eq!(wanted.len(), all.iter().filter(is_found).count(), "all that there are");
    assert!(wanted.is_sorted_by(|a, b| a.at >= b.at));
    let top = one[0].top(&search(5), "uri_path").expect("readable");
    for (round, stores) in [1, 2, 3, 5].into_iter().enumerate() {
        let folders: Vec<Folder> = (0..stores).map(|nth| Folder::new(&format!("{round}-{nth}"))).collect();
        // By chance, and in the last round by who led when.
        let mut divided = vec![Vec::new(); stores];
        for (nth, record) in all.iter().enumerate() {
            let to = match round {
                3 => nth * stores / all.len(),
                _ => usize::try_from(next(&mut seed, stores as u64)).expect("small"),
            };
            divided[to].push(record.clone());
        }
        let stores: Vec<Store> = folders.iter().map(Folder::store).collect();
        for (store, records) in stores.iter().zip(&divided) {
            fill(store, records);
        }
        let groups = stores.iter().map(|store| store.groups(&search(5), "uri_path").expect("readable"));
        let groups = merged_top(groups.collect(), 5);
        assert_eq!((groups.values, groups.records), (top.values.clone(), top.records), "{round}");
        for size in [1, 7, 1_000] {
            assert_eq!(pages(&stores, size), wanted, "{round} by {size}");
        }
        let first = merged(parts(&stores, None, 10), None, 10);
        assert_eq!(first.count, wanted.len() as u64);
    }
}

//= test LOG-SEVERAL-01
#[test]
fn a_record_that_several_stores_have_is_shown_once_wherever_pages_end() {
    let mut seed = 10;
    let all = records(&mut seed, 210, now() - 1_000_000);
    let folders = ["a", "b", "c"].map(|name| Folder::new(&format!("twice-{name}")));
    let stores = [folders[0].store(), folders[1].store(), folders[2].store()];
    // What was sent again when another one came to lead, in whatever order it comes there.
    fill(&stores[0], &all[..200]);
    let mut again = all[120..210].to_vec();
    again.reverse();
    fill(&stores[1], &again);
    fill(&stores[2], &all[150..160]);
    let whole = Folder::new("twice-whole");
    let one = [whole.store()];
    fill(&one[0], &all);
    let wanted = pages(&one, 1_000);
    for size in [1, 3, 64] {
        assert_eq!(pages(&stores, size), wanted, "by {size}");
    }
    // Two that say the same in one store are two, and that another one has one of them does not make them three.
    fill(&stores[0], &[all[0].clone(), all[0].clone()]);
    fill(&stores[2], &all[..1]);
    assert_eq!(pages(&stores, 1).len(), wanted.len() + 2, "it was there once before");
}
