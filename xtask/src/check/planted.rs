//! The list of planted faults, `tests/planted.toml`: each takes a feature out or reverses a rule and names
//! the test that must turn red. Here the list itself is checked; `cargo xtask planted` plants them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use super::Findings;
use crate::tool::rust;
use crate::tool::tree::File;
use crate::tool::workspace::Workspace;

/// Where the list stands.
pub const LIST: &str = "tests/planted.toml";

/// Where `cargo xtask planted` writes its result.
pub const RECORD: &str = "docs/acceptance/planted-faults.md";

/// Whose sections are to have a fault each.
const DEMANDS: &str = "docs/acceptance/first-slice.md";

/// One fault.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The page of `docs/spec` whose promise it breaks, or the part of the work that no page describes.
    pub area: String,
    /// What the fault does, as a sentence.
    pub what: String,
    pub file: String,
    pub old: String,
    pub new: String,
    pub package: String,
    /// The test that must fail, as libtest names it.
    pub test: String,
    /// The test target, where it is not the library's own tests; `bins` for those of a program.
    pub target: Option<String>,
}

pub fn read(text: &str) -> Result<Vec<Fault>> {
    let table: toml::Table = text.parse().context(LIST)?;
    let faults = table.get("fault").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    faults
        .iter()
        .enumerate()
        .map(|(n, f)| one(f).with_context(|| format!("{LIST}: fault {}", n + 1)))
        .collect()
}

/// The section of the demands that each area belongs to: the table `[sections]` of the list.
pub fn sections(text: &str) -> Result<BTreeMap<String, String>> {
    let table: toml::Table = text.parse().context(LIST)?;
    let sections = table.get("sections").and_then(toml::Value::as_table).cloned().unwrap_or_default();
    let text = |area: &str, section: toml::Value| {
        let section = section.as_str().map(str::to_owned);
        section.with_context(|| format!("{LIST}: the section of {area} is no text"))
    };
    sections.into_iter().map(|(area, section)| Ok((area.clone(), text(&area, section)?))).collect()
}

fn one(value: &toml::Value) -> Result<Fault> {
    let word = |key: &str| value.get(key).and_then(toml::Value::as_str).map(str::to_owned);
    let needed = |key: &str| word(key).with_context(|| format!("{key} is missing"));
    Ok(Fault {
        area: needed("area")?,
        what: needed("what")?,
        file: needed("file")?,
        old: needed("old")?,
        new: needed("new")?,
        package: needed("package")?,
        test: needed("test")?,
        target: word("target"),
    })
}

pub fn check(faults: &[Fault], workspace: &Workspace, files: &[File]) -> Findings {
    let mut findings = Findings::of("planted faults");
    findings.looked_at = faults.len();
    for fault in faults {
        let place = format!("{LIST}: {} ({})", fault.area, fault.what);
        match files.iter().find(|f| f.path == fault.file) {
            None => {
                findings.problem(&place, format!("there is no {}", fault.file), "name the file it moved to")
            }
            Some(file) => {
                let times = file.text.matches(&fault.old).count();
                if times != 1 {
                    findings.problem(
                        &place,
                        format!("`old` stands {times} times in {}", fault.file),
                        "it must stand there exactly once: follow the code",
                    );
                }
            }
        }
        if fault.old == fault.new {
            findings.problem(&place, "changes nothing", "`new` must differ from `old`");
        }
        match workspace.folder_of(&fault.package) {
            None => findings.problem(&place, format!("no package {}", fault.package), "name one of ours"),
            Some(folder) if !has_test(files, folder, fault) => {
                findings.problem(
                    &place,
                    format!("no test {} in {}", fault.test, target_of(folder, fault)),
                    "name the one that guards it, and its target",
                );
            }
            Some(_) => {}
        }
    }
    let areas: BTreeSet<&str> = faults.iter().map(|f| f.area.as_str()).collect();
    for area in files.iter().filter_map(|f| f.path.strip_prefix("docs/spec/")?.strip_suffix(".md")) {
        if !areas.contains(area) {
            findings.problem(LIST, format!("no fault for the area {area}"), "plant one whose test turns red");
        }
    }
    findings
}

fn target_of(folder: &str, fault: &Fault) -> String {
    match fault.target.as_deref() {
        None | Some("bins") => format!("{folder}/src"),
        Some(target) => format!("{folder}, target {target}"),
    }
}

/// Says whether the test stands in a file of the target that is run.
fn has_test(files: &[File], folder: &str, fault: &Fault) -> bool {
    let function = fault.test.rsplit("::").next().unwrap_or(&fault.test);
    let is_of_target = |path: &str| match fault.target.as_deref() {
        None | Some("bins") => path.starts_with("src/"),
        Some(target) => path.split('/').any(|part| part.strip_suffix(".rs").unwrap_or(part) == target),
    };
    let prefix = format!("{folder}/");
    let sources =
        files.iter().filter(|f| f.is("rs") && f.path.strip_prefix(&prefix).is_some_and(is_of_target));
    sources
        .filter(|f| f.text.contains(function))
        .any(|f| rust::test_functions(&rust::code_only(&f.text)).iter().any(|(_, name)| *name == function))
}

/// Each area belongs to a section of the demands, and each section has a fault.
pub fn check_sections(faults: &[Fault], sections: &BTreeMap<String, String>, files: &[File]) -> Findings {
    let mut findings = Findings::of("areas");
    findings.looked_at = sections.len();
    let demands = files.iter().find(|f| f.path == DEMANDS).map_or("", |f| f.text.as_str());
    let asked: BTreeSet<&str> = demands.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let mut shown = BTreeSet::new();
    for fault in faults {
        match sections.get(&fault.area) {
            Some(section) => {
                shown.insert(section.as_str());
            }
            None => findings.problem(
                format!("{LIST}: {} ({})", fault.area, fault.what),
                "the area belongs to no section",
                "name its section in [sections]",
            ),
        }
    }
    for (area, section) in sections.iter().filter(|(_, section)| !asked.contains(section.as_str())) {
        findings.problem(
            LIST,
            format!("{area} belongs to {section}, which is no section of {DEMANDS}"),
            "name it as it stands there",
        );
    }
    for section in asked.difference(&shown) {
        findings.problem(
            LIST,
            format!("no fault for the section {section}"),
            "plant one whose test turns red",
        );
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::workspace::Package;

    fn problems(list: &str) -> Vec<String> {
        let member = Package { name: "forebay-core".into(), folder: "core".into(), ..Package::default() };
        let workspace = Workspace { members: vec![member], ..Workspace::default() };
        let files = [
            File::new(
                "core/src/a.rs",
                "fn f() { one(); two(); two(); }\n#[test]\nfn it_turns_red() {}\n#[test]\n#[ignore = \"no\"]\nfn sleeps() {}\n",
            ),
            File::new("docs/spec/lb.md", "# LB\n"),
        ];
        let faults = read(list).expect("the list is well formed");
        check(&faults, &workspace, &files).problems.into_iter().map(|p| p.what).collect()
    }

    fn fault(old: &str, test: &str) -> String {
        format!(
            "[[fault]]\narea = \"lb\"\nwhat = \"w\"\nfile = \"core/src/a.rs\"\nold = \"{old}\"\nnew = \"\"\n\
             package = \"forebay-core\"\ntest = \"{test}\"\n"
        )
    }

    #[test]
    fn a_fault_that_still_applies_passes() {
        assert_eq!(problems(&fault("one();", "a::tests::it_turns_red")), [""; 0]);
    }

    #[test]
    fn a_fault_whose_code_is_gone_or_not_unique_is_refused() {
        assert_eq!(problems(&fault("three();", "it_turns_red")), ["`old` stands 0 times in core/src/a.rs"]);
        assert_eq!(problems(&fault("two();", "it_turns_red")), ["`old` stands 2 times in core/src/a.rs"]);
    }

    #[test]
    fn a_fault_whose_test_does_not_exist_is_refused() {
        assert_eq!(problems(&fault("one();", "it_flies")), ["no test it_flies in core/src"]);
        assert_eq!(problems(&fault("one();", "sleeps")), ["no test sleeps in core/src"]);
    }

    #[test]
    fn a_fault_whose_test_stands_in_another_target_is_refused() {
        let list = fault("one();", "it_turns_red") + "target = \"lb\"\n";
        assert_eq!(problems(&list), ["no test it_turns_red in core, target lb"]);
    }

    #[test]
    fn a_fault_that_changes_nothing_is_refused() {
        let same = fault("one();", "it_turns_red").replace("new = \"\"", "new = \"one();\"");
        assert_eq!(problems(&same), ["changes nothing"]);
    }

    #[test]
    fn an_area_without_a_fault_is_refused() {
        assert_eq!(problems(""), ["no fault for the area lb"]);
    }

    fn section_problems(head: &str) -> Vec<String> {
        let list = format!("{head}{}", fault("one();", "it_turns_red"));
        let files = [File::new(DEMANDS, "# Demands\n## Decisions\n## Cost\n")];
        let faults = read(&list).expect("the list is well formed");
        let sections = sections(&list).expect("and its sections");
        check_sections(&faults, &sections, &files).problems.into_iter().map(|p| p.what).collect()
    }

    #[test]
    fn a_section_of_the_demands_without_a_fault_is_refused() {
        let found = section_problems("[sections]\nlb = \"Decisions\"\ncost = \"Cost\"\n");
        assert_eq!(found, ["no fault for the section Cost"]);
    }

    #[test]
    fn an_area_of_no_section_or_of_one_that_nobody_asked_for_is_refused() {
        let found = section_problems("[sections]\nlb = \"Elsewhere\"\n");
        assert_eq!(found[0], format!("lb belongs to Elsewhere, which is no section of {DEMANDS}"));
        assert_eq!(section_problems("")[0], "the area belongs to no section");
        assert!(sections("[sections]\nlb = 1\n").is_err());
    }

    #[test]
    fn a_fault_without_a_test_is_not_well_formed() {
        assert!(read("[[fault]]\narea = \"lb\"\n").is_err());
    }
}
