//! Licences and duplicate versions, by the lists in `deny.toml` (the form that cargo-deny reads, so
//! that either can be used; this one needs no installation).

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use super::Findings;
use crate::tool::workspace::{Package, Workspace};

/// The part of `deny.toml` that is checked.
#[derive(Debug, Default)]
pub struct Lists {
    licences: BTreeSet<String>,
    /// Licences that one package may have beside.
    exceptions: BTreeMap<String, BTreeSet<String>>,
    /// `name@version`, with the reason for a second version.
    duplicates: BTreeMap<String, String>,
    banned: BTreeMap<String, String>,
}

impl Lists {
    pub fn read(text: &str) -> Result<Self> {
        let table: toml::Table = text.parse().context("deny.toml")?;
        let list = |section: &str, key: &str| -> Vec<toml::Value> {
            table
                .get(section)
                .and_then(|s| s.get(key))
                .and_then(toml::Value::as_array)
                .cloned()
                .unwrap_or_default()
        };
        let reasons = |key: &str| -> Result<BTreeMap<String, String>> {
            list("bans", key)
                .iter()
                .map(|entry| {
                    let word = |k: &str| entry.get(k).and_then(toml::Value::as_str).map(str::to_owned);
                    let name = word("crate").context("deny.toml: an entry of [bans] names no crate")?;
                    let reason =
                        word("reason").with_context(|| format!("deny.toml: {name} has no reason"))?;
                    Ok((name, reason))
                })
                .collect()
        };
        let texts = |v: Option<&toml::Value>| -> BTreeSet<String> {
            let texts = v.and_then(toml::Value::as_array).into_iter().flatten();
            texts.filter_map(|v| v.as_str().map(str::to_owned)).collect()
        };
        let exceptions = list("licenses", "exceptions")
            .into_iter()
            .filter_map(|entry| Some((entry.get("crate")?.as_str()?.to_owned(), texts(entry.get("allow")))));
        Ok(Lists {
            exceptions: exceptions.collect(),
            licences: list("licenses", "allow")
                .iter()
                .filter_map(|v| v.as_str())
                .map(str::to_owned)
                .collect(),
            duplicates: reasons("skip")?,
            banned: reasons("deny")?,
        })
    }
}

/// Looks at what the workspace builds and at what each package builds that stands `apart`, in a workspace of its own: every
/// licence and ban counts, second versions within one build.
pub fn check(workspace: &Workspace, apart: &[Workspace], lists: &Lists) -> Findings {
    let mut findings = Findings::of("foreign packages");
    let mut used = BTreeSet::new();
    for build in std::iter::once(workspace).chain(apart) {
        one_build(&mut findings, &build.foreign, lists, &mut used);
    }
    for entry in lists.duplicates.keys().filter(|e| !used.contains(*e)) {
        findings.problem("deny.toml", format!("{entry} is no duplicate any more"), "remove the entry");
    }
    findings.notes.push(format!("{} second versions allowed with a reason", used.len()));
    findings
}

fn one_build(findings: &mut Findings, foreign: &[Package], lists: &Lists, used: &mut BTreeSet<String>) {
    findings.looked_at += foreign.len();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in foreign {
        let place = format!("{} {}", package.name, package.version);
        let mut allowed = lists.licences.clone();
        allowed.extend(lists.exceptions.get(&package.name).into_iter().flatten().cloned());
        match &package.licence {
            None => findings.problem(place, "states no licence", "ask its authors, or do without it"),
            Some(l) if !accepted(l, &allowed) => findings.problem(
                place,
                format!("its licence is {l}"),
                "choose another crate, or enter the licence in deny.toml if Apache-2.0 code may use it",
            ),
            Some(_) => {}
        }
        if let Some(reason) = lists.banned.get(&package.name) {
            findings.problem(&package.name, "is banned", reason.clone());
        }
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    for (name, versions) in versions.iter().filter(|(_, v)| v.len() > 1) {
        let mut single = 0;
        for version in versions {
            let entry = lists.duplicates.keys().find(|e| matches(e, name, version));
            match entry {
                Some(entry) => _ = used.insert(entry.clone()),
                None => single += 1,
            }
        }
        if single > 1 {
            findings.problem(
                *name,
                format!("is built in {} versions: {}", versions.len(), join(versions)),
                "unify them, or enter all but one in deny.toml under [bans] skip with the reason",
            );
        }
    }
}

fn join(versions: &BTreeSet<&str>) -> String {
    versions.iter().copied().collect::<Vec<_>>().join(", ")
}

/// Whether an entry `name@1.2` covers this version.
fn matches(entry: &str, name: &str, version: &str) -> bool {
    match entry.split_once('@') {
        Some((n, v)) => n == name && (version == v || version.starts_with(&format!("{v}."))),
        None => entry == name,
    }
}

/// Whether an SPDX expression can be fulfilled by allowed licences alone. `/` is the old form of OR.
fn accepted(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let ok = any(&words, &mut at, allowed);
    ok && at == words.len()
}

fn any(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut ok = all(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        ok |= all(words, at, allowed);
    }
    ok
}

fn all(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut ok = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        ok &= one(words, at, allowed);
    }
    ok
}

fn one(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let ok = any(words, at, allowed);
        let closed = words.get(*at) == Some(&")");
        *at += 1;
        return ok && closed;
    }
    if words.get(*at) == Some(&"WITH") {
        let with = format!("{word} WITH {}", words.get(*at + 1).unwrap_or(&""));
        *at += 2;
        return allowed.contains(&with);
    }
    allowed.contains(*word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(extra: &str) -> Lists {
        let text = format!("[licenses]\nallow = [\"MIT\", \"Apache-2.0\", \"ISC\"]\n[bans]\n{extra}");
        Lists::read(&text).expect("the list is well formed")
    }

    fn build(packages: &[(&str, &str, &str)]) -> Workspace {
        let packages = packages.iter().map(|(name, version, licence)| Package {
            name: (*name).into(),
            version: (*version).into(),
            licence: Some((*licence).into()),
            ..Package::default()
        });
        Workspace { foreign: packages.collect(), ..Workspace::default() }
    }

    fn problems(packages: &[(&str, &str, &str)], lists: &Lists) -> Vec<String> {
        check(&build(packages), &[], lists).problems.into_iter().map(|p| p.what).collect()
    }

    #[test]
    fn what_stands_apart_is_looked_at_too_and_its_versions_are_its_own() {
        let apart = [build(&[("ring", "0.7.1", "MIT"), ("fuzzer", "1.0.0", "MIT AND NCSA")])];
        let ours = build(&[("ring", "0.6.4", "MIT")]);
        let found = |lists: &Lists| -> Vec<String> {
            check(&ours, &apart, lists).problems.into_iter().map(|p| p.what).collect()
        };
        assert_eq!(found(&lists("")), ["its licence is MIT AND NCSA"]);
        let allowed =
            "[licenses]\nallow = [\"MIT\"]\nexceptions = [{ crate = \"fuzzer\", allow = [\"NCSA\"] }]";
        assert_eq!(found(&Lists::read(allowed).unwrap()), [""; 0]);
        let of_another = allowed.replace("\"fuzzer\"", "\"another\"");
        assert_eq!(found(&Lists::read(&of_another).unwrap()), ["its licence is MIT AND NCSA"]);
    }

    #[test]
    fn an_expression_is_accepted_if_one_choice_is_allowed_throughout() {
        let allowed = lists("").licences;
        for good in ["MIT", "GPL-3.0 OR MIT", "MIT/Unlicense", "ISC AND (GPL-2.0 OR Apache-2.0)"] {
            assert!(accepted(good, &allowed), "{good}");
        }
        for bad in
            ["GPL-3.0", "MIT AND GPL-3.0", "Apache-2.0 WITH Something", "", "(MIT", "ISC AND (GPL-2.0)"]
        {
            assert!(!accepted(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn a_licence_outside_the_list_is_refused() {
        assert_eq!(problems(&[("a", "1.0.0", "GPL-3.0")], &lists("")), ["its licence is GPL-3.0"]);
    }

    #[test]
    fn a_second_version_needs_a_reason() {
        let twice = [("ring", "0.6.4", "MIT"), ("ring", "0.7.1", "MIT")];
        assert_eq!(problems(&twice, &lists("")), ["is built in 2 versions: 0.6.4, 0.7.1"]);
        let skip = "skip = [{ crate = \"ring@0.6\", reason = \"the runtime's\" }]";
        assert_eq!(problems(&twice, &lists(skip)), [""; 0]);
    }

    #[test]
    fn an_entry_that_no_longer_applies_is_refused() {
        let skip = "skip = [{ crate = \"ring@0.6\", reason = \"the runtime's\" }]";
        assert_eq!(
            problems(&[("ring", "0.7.1", "MIT")], &lists(skip)),
            ["ring@0.6 is no duplicate any more"]
        );
    }

    #[test]
    fn an_entry_without_a_reason_is_refused() {
        assert!(Lists::read("[bans]\nskip = [{ crate = \"ring@0.6\" }]").is_err());
    }
}
