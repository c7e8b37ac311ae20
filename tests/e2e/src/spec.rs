//! What the documents say, for comparison with what programs do.

use std::collections::BTreeSet;

/// The fields of access log lines in docs/spec/observability.md: of the table behind the paragraph that begins so.
///
/// # Panics
/// If there is no such table.
pub fn log_fields(of: &str) -> BTreeSet<String> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/observability.md");
    let text = std::fs::read_to_string(file).expect("the page is there");
    let behind = text.split_once(of).expect("the paragraph is there").1;
    let rows = behind.lines().skip_while(|l| !l.starts_with('|')).take_while(|l| l.starts_with('|')).skip(2);
    let names = rows.filter_map(|l| l.strip_prefix("| ")?.split(" |").next());
    names.flat_map(|n| n.split([',', '+', '=']).map(|name| name.trim().to_owned())).collect()
}
