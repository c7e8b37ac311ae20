//! The list of events in docs/spec/observability.md is what the code says, level by level.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

type Events = BTreeMap<String, BTreeSet<String>>;

/// Every `event = "…"` in the sources below `folder`, with the level of the line it is in.
fn in_code(folder: &Path, found: &mut Events) {
    for entry in std::fs::read_dir(folder).expect("the sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            in_code(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source");
            for (at, _) in text.match_indices("event = \"") {
                let name = text[at..].split('"').nth(1).expect("a name");
                let (_, call) = text[..at].rsplit_once("tracing::").expect("an event is traced");
                let level = call.split('!').next().expect("a level");
                found.entry(name.to_owned()).or_default().insert(level.to_owned());
            }
        }
    }
}

/// The rows of the table; two events in a row share its levels in their order.
fn in_the_list(page: &str) -> Events {
    let (_, rest) = page.split_once("\n## Events\n").expect("the section");
    let section = rest.split("\n## ").next().expect("its text");
    let mut found = Events::new();
    for row in section.lines().filter(|l| l.starts_with("| ") && !l.starts_with("| event ")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (names, levels): (Vec<_>, Vec<_>) =
            (cells[1].split(", ").collect(), cells[2].split(", ").collect());
        for (n, name) in names.iter().enumerate() {
            let levels = if names.len() == 1 { &levels[..] } else { &levels[n..=n] };
            let before = found.insert((*name).into(), levels.iter().map(|l| (*l).to_owned()).collect());
            assert!(before.is_none(), "{name} stands twice");
        }
    }
    found
}

//= test OBS-EVENT-01
#[test]
fn every_event_of_the_code_is_in_the_specification_with_its_level_and_no_other() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = Events::new();
    for sources in [
        "src",
        "../objsync/tokio/src",
        "../controller/src",
        "../controller/logs/src",
        "../controller/metrics/src",
    ] {
        in_code(&here.join(sources), &mut code);
    }
    assert!(code.len() > 15, "the sources are read: {code:?}");
    let page = std::fs::read_to_string(here.join("../docs/spec/observability.md")).expect("the page");
    assert_eq!(code, in_the_list(&page), "code, and what docs/spec/observability.md lists");
}
