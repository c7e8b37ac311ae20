//! Manifests: a sentence of reason beside each direct dependency, versions once in the workspace, no
//! empty crates. A package in a workspace of its own (the guided fuzzer) takes nothing from ours: its foreign versions are
//! exact, and its reasons stand beside them all the same.

use super::Findings;
use crate::tool::rust;
use crate::tool::tree::File;
use crate::tool::workspace::{Workspace, stands_apart};

/// A crate with fewer lines of code than this is a promise, not a crate.
const CODE_LINES_MIN: usize = 10;

pub fn check(workspace: &Workspace, files: &[File]) -> Findings {
    let mut findings = Findings::of("manifests");
    for member in &workspace.members {
        let path = format!("{}/Cargo.toml", member.folder);
        if let Some(file) = files.iter().find(|f| f.path == path) {
            findings.looked_at += 1;
            manifest(&mut findings, file, Versions::InTheWorkspace);
            used(&mut findings, file, files);
        }
        not_empty(&mut findings, workspace, &member.folder, files);
    }
    for file in files.iter().filter(|f| stands_apart(f)) {
        findings.looked_at += 1;
        manifest(&mut findings, file, Versions::Exact);
        used(&mut findings, file, files);
    }
    findings
}

/// Where a manifest's versions stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Versions {
    /// Once for all, in the root's manifest.
    InTheWorkspace,
    /// In the manifest itself, because nothing can be taken from the workspace.
    Exact,
}

fn manifest(findings: &mut Findings, file: &File, versions: Versions) {
    let mut in_dependencies = false;
    let mut before = "";
    for (number, line) in file.text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            in_dependencies = line.trim_matches(['[', ']']).ends_with("dependencies");
        } else if in_dependencies && !line.is_empty() && !line.starts_with('#') && line.contains('=') {
            let place = format!("{}:{}", file.path, number + 1);
            let (entry, reason) = split_comment(line);
            let reason = reason.or_else(|| before.strip_prefix('#'));
            if reason.is_none_or(|r| r.trim().len() < 5) {
                findings.problem(&place, "a dependency without a reason", "say in a comment what it is for");
            }
            if versions == Versions::Exact {
                if !entry.contains("path = ") && !entry.contains("\"=") {
                    findings.problem(
                        &place,
                        "a version that is not exact, outside the workspace",
                        "write `=` and the whole version",
                    );
                }
            } else if !entry.contains("workspace = true") {
                findings.problem(
                    &place,
                    "a version outside the workspace",
                    "enter it in [workspace.dependencies] and take it by `workspace = true`",
                );
            }
        }
        before = line;
    }
}

/// A dependency that no file names is a cost without a use.
fn used(findings: &mut Findings, manifest: &File, files: &[File]) {
    let folder = manifest.path.trim_end_matches("Cargo.toml");
    let Ok(table) = manifest.text.parse::<toml::Table>() else {
        return findings.problem(&manifest.path, "is not TOML", "cargo says where");
    };
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let Some(names) = table.get(section).and_then(toml::Value::as_table) else { continue };
        for name in names.keys() {
            let word = name.replace('-', "_");
            let named = files.iter().any(|f| {
                f.is("rs")
                    && f.path.starts_with(folder)
                    && f.text.contains(&word)
                    // Comments count: an example in the documentation is a use.
                    && rust::without_strings(&f.text).contains(&word)
            });
            if !named {
                findings.problem(&manifest.path, format!("{name} is not used"), "take it out");
            }
        }
    }
}

/// Splits at the `#` that is not inside quotes.
fn split_comment(line: &str) -> (&str, Option<&str>) {
    let mut quoted = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '#' if !quoted => return (&line[..at], Some(&line[at + 1..])),
            _ => {}
        }
    }
    (line, None)
}

fn not_empty(findings: &mut Findings, workspace: &Workspace, folder: &str, files: &[File]) {
    let prefix = format!("{folder}/");
    let inner: Vec<String> = workspace
        .members
        .iter()
        .filter(|m| m.folder.starts_with(&prefix))
        .map(|m| format!("{}/", m.folder))
        .collect();
    let lines: usize = files
        .iter()
        .filter(|f| f.is("rs") && f.path.starts_with(&prefix))
        .filter(|f| !inner.iter().any(|other| f.path.starts_with(other)))
        .map(|f| rust::code_only(&f.text).lines().filter(|line| !line.trim().is_empty()).count())
        .sum();
    if lines < CODE_LINES_MIN {
        findings.problem(
            folder,
            format!("an empty crate ({lines} lines of code)"),
            "a folder appears with its first working code",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::workspace::Package;

    fn problems(manifest: &str, code: &str) -> Vec<String> {
        let member = Package { name: "forebay-core".into(), folder: "core".into(), ..Package::default() };
        let workspace = Workspace { members: vec![member], ..Workspace::default() };
        let files = [File::new("core/Cargo.toml", manifest), File::new("core/src/lib.rs", code)];
        check(&workspace, &files).problems.into_iter().map(|p| p.what).collect()
    }

    const CODE: &str = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n";

    #[test]
    fn a_reason_beside_or_above_a_dependency_passes() {
        let manifest =
            "[dependencies]\na.workspace = true # for this\n# for that\nb = { workspace = true }\n";
        assert_eq!(problems(manifest, &format!("use a; use b;\n{CODE}")), Vec::<String>::new());
    }

    #[test]
    fn a_dependency_without_a_reason_is_refused() {
        assert_eq!(
            problems("[dev-dependencies]\na.workspace = true\n", CODE),
            ["a dependency without a reason"]
        );
    }

    #[test]
    fn a_version_outside_the_workspace_is_refused() {
        assert_eq!(
            problems("[dependencies]\na = \"1\" # for this\n", CODE),
            ["a version outside the workspace"]
        );
    }

    #[test]
    fn a_package_in_a_workspace_of_its_own_pins_its_versions_and_gives_its_reasons() {
        let apart = |dependency: &str| {
            let manifest = format!(
                "[workspace]\n[package]\n[dependencies]\nours = {{ path = \"..\" }} # the targets\n{dependency}\n"
            );
            let files = [
                File::new("tests/fuzz/guided/Cargo.toml", &manifest),
                File::new("tests/fuzz/guided/src/main.rs", "use ours; use wide;"),
            ];
            check(&Workspace::default(), &files).problems.into_iter().map(|p| p.what).collect::<Vec<_>>()
        };
        assert_eq!(apart("wide = \"=0.4.13\" # mutates"), [""; 0]);
        assert_eq!(apart("wide = \"=0.4.13\""), ["a dependency without a reason"]);
        assert_eq!(apart("wide = \"0.4\" # mutates"), ["a version that is not exact, outside the workspace"]);
        assert_eq!(apart("tall = \"=1.0.0\" # grows"), ["tall is not used"]);
    }

    #[test]
    fn the_repositorys_own_packages_that_stand_apart_are_found() {
        let files = crate::tool::tree::read_all(&crate::tool::tree::root()).unwrap();
        let found: Vec<&str> = files.iter().filter(|f| stands_apart(f)).map(|f| f.path.as_str()).collect();
        assert_eq!(found, ["tests/fuzz/guided/Cargo.toml"]);
    }

    #[test]
    fn a_dependency_that_no_file_names_is_refused() {
        let manifest = "[dependencies]\nwide-ring.workspace = true # for this\n";
        assert_eq!(problems(manifest, CODE), ["wide-ring is not used"]);
        assert_eq!(problems(manifest, &format!("use wide_ring::Ring;\n{CODE}")), [""; 0]);
    }

    #[test]
    fn a_crate_of_comments_is_empty() {
        assert_eq!(problems("", "//! Much\n//! to\n//! come.\n"), ["an empty crate (0 lines of code)"]);
    }
}
