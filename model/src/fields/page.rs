//! The page of all fields.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Effect, effect, kinds, paths};

/// The page `docs/spec/fields.md`.
pub fn page() -> String {
    let mut page = String::from(
        "# What each field does\n\n\
         Made of `model/src/fields/table.rs` (`FOREBAY_BLESS=1 cargo test --profile gate -p forebay-model --test effects`). For each\n\
         kind of object that engines carry out: the fields that change an engine's document, with the keys that follow from them\n\
         ([configuration.md](configuration.md)); those that the Controller acts on, or people; those that no engine can do and that\n\
         keep a service off all engines, because without them clients would come in; and those that are accepted and do nothing yet:\n\
         who sets one of these to another value than its default is told in the header `X-Forebay-Warning`. What a field with `*`\n\
         does is seen with traffic through an engine: `model/src/fields/seen.txt`, which `tests/e2e/compiled` writes.\n",
    );
    for kind in kinds() {
        let _ = write!(page, "\n## {}\n\n", kind.path);
        let mut rows = Vec::new();
        let mut elsewhere: BTreeSet<String> = BTreeSet::new();
        let mut refused: BTreeSet<String> = BTreeSet::new();
        let mut nothing: BTreeSet<String> = BTreeSet::new();
        for path in paths(kind) {
            match effect(kind.path, &path) {
                Effect::Engine(keys) => rows.push((path, keys)),
                Effect::Elsewhere(_) => drop(elsewhere.insert(short(kind.path, &path))),
                Effect::Refused => drop(refused.insert(short(kind.path, &path))),
                Effect::Nothing => drop(nothing.insert(short(kind.path, &path))),
            }
        }
        if !rows.is_empty() {
            page.push_str("| field | becomes |\n|---|---|\n");
            for (path, keys) in rows {
                let keys: Vec<String> = keys.split(", ").map(|key| format!("`{key}`")).collect();
                let mark = if is_seen(kind.path, &path) { " *" } else { "" };
                let _ = writeln!(page, "| `{path}`{mark} | {} |", keys.join(", "));
            }
            page.push('\n');
        }
        for (what, list) in [
            ("Elsewhere", elsewhere),
            ("Keeps the service off all engines", refused),
            ("Nothing yet", nothing),
        ] {
            if !list.is_empty() {
                let list: Vec<String> = list.iter().map(|path| format!("`{path}`")).collect();
                let _ = write!(page, "{what}: {}.\n\n", list.join(", "));
            }
        }
        page.truncate(page.trim_end().len());
        page.push('\n');
    }
    page
}

/// Fields whose effect is seen with traffic, a kind and a path in each line.
const SEEN: &str = include_str!("seen.txt");

fn is_seen(kind: &str, path: &str) -> bool {
    SEEN.lines().any(|line| line.split_once(' ') == Some((kind, path)))
}

/// The path as far as all that is within it does the same.
fn short(kind: &str, path: &str) -> String {
    let own = effect(kind, path);
    let all: Vec<String> = super::kinds().find(|one| one.path == kind).map(paths).unwrap_or_default();
    let mut end = 0;
    loop {
        let next = path[end..].find(['.', '[']).map_or(path.len(), |at| end + at);
        let front = &path[..next];
        let within = |other: &&String| {
            other.strip_prefix(front).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        if next == path.len() || all.iter().filter(within).all(|other| effect(kind, other) == own) {
            return front.to_owned();
        }
        end = next + 1;
    }
}
