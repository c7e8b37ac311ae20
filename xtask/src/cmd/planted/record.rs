//! The page that says of each planted fault at which commit its test was seen red.

use std::collections::BTreeMap;

use crate::check::planted::Fault;

/// What a fault is known by: its area and what it does.
pub(super) type Key = (String, String);

pub(super) fn key(fault: &Fault) -> Key {
    (fault.area.clone(), fault.what.clone())
}

const NOT_YET: &str = "not yet";

/// The commits at which faults were seen red, of a page that [`text`] wrote.
pub(super) fn read(page: &str) -> BTreeMap<Key, String> {
    let rows = page.lines().filter(|line| line.starts_with("| ")).skip(1);
    rows.filter_map(|row| {
        let mut cells = row.trim_matches('|').split(" | ").map(str::trim);
        let key = (cells.next()?.to_owned(), cells.next()?.to_owned());
        let commit = cells.nth(1)?.trim_matches('`');
        (commit != NOT_YET).then(|| (key, commit.to_owned()))
    })
    .collect()
}

/// The page: a row for each fault of the list.
pub(super) fn text(list: &[Fault], seen: &BTreeMap<Key, String>) -> String {
    let red = list.iter().filter(|fault| seen.contains_key(&key(fault))).count();
    let mut text = format!(
        "# Planted faults\n\n\
         Written by `cargo xtask planted`: each fault of `tests/planted.toml` is put into a copy of the tree, and its\n\
         test, green before, must turn red. The gate checks on every change that each fault still applies and that its\n\
         test exists. {red} of {} were seen red, each at the commit that its row names; a `+` behind it: with changes that\n\
         were not committed yet.\n\n\
         | area | fault | test | seen red at |\n|---|---|---|---|\n",
        list.len()
    );
    for fault in list {
        let seen = seen.get(&key(fault)).map_or_else(|| NOT_YET.to_owned(), |commit| format!("`{commit}`"));
        let Fault { area, what, package, test, .. } = fault;
        text.push_str(&format!("| {area} | {what} | `{package}` {test} | {seen} |\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_reads_back_and_keeps_what_an_earlier_run_saw() {
        let fault = |what: &str| Fault {
            area: "lb".into(),
            what: what.into(),
            file: "core/src/a.rs".into(),
            old: "a".into(),
            new: "b".into(),
            package: "forebay-core".into(),
            test: "a::tests::turns_are_taken".into(),
            target: None,
        };
        let list = [fault("turns are not taken"), fault("turns are taken twice")];
        let seen = BTreeMap::from([(key(&list[0]), "0123abc+".to_owned())]);
        let page = text(&list, &seen);
        assert_eq!(read(&page), seen);
        assert!(page.contains("1 of 2 were seen red"));
        assert!(page.ends_with(
            "| lb | turns are taken twice | `forebay-core` a::tests::turns_are_taken | not yet |\n"
        ));
        assert!(read("").is_empty());
    }
}
