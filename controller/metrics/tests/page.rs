//! The list of metrics in the documentation.

use std::fmt::Write;
use std::path::Path;

use forebay_metrics::{Kind, METRICS};

/// Made with `FOREBAY_BLESS=1`.
#[test]
fn the_page_lists_the_metrics_that_there_are() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec/metrics.md");
    let text = std::fs::read_to_string(&page).expect("the page");
    let (before, _) = text.split_once("\n## Metrics\n").expect("the page has the part");
    let mut made = format!("{before}\n## Metrics\n\n| name | unit | of | meaning |\n|---|---|---|---|\n");
    for metric in METRICS {
        let of = [(Kind::Service, "service"), (Kind::Server, "pool, server"), (Kind::Engine, "engine")];
        let of: Vec<&str> =
            of.into_iter().filter(|(kind, _)| metric.is_of(*kind)).map(|(_, word)| word).collect();
        let _ =
            writeln!(made, "| `{}` | {} | {} | {} |", metric.id, metric.units, of.join(", "), metric.about);
    }
    if std::env::var_os("FOREBAY_BLESS").is_some() {
        std::fs::write(&page, &made).expect("room");
    }
    assert!(made == text, "{} is not what the table says: make it with FOREBAY_BLESS=1", page.display());
}
