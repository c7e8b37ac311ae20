//! Links and paths in documents: what they lead to exists.

use super::Findings;
use crate::tool::tree::File;

/// Documents whose quoted paths must exist. Decisions and acceptance rows may name what is gone.
const PATHS_HOLD: &[&str] = &["README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/performance.md"];

/// How a path begins that can only be ours.
const OURS: &[&str] = &[
    "core/",
    "proto/",
    "model/",
    "host-uring/",
    "host-native/",
    "cli/",
    "tests/",
    "xtask/",
    "docs/",
    "wit/",
    "wasm/",
];

/// Checks every link inside the repository, and every quoted path in the documents that describe it as it is.
pub fn check(files: &[File]) -> Findings {
    let mut findings = Findings::of("links and paths");
    for file in files.iter().filter(|f| f.is("md")) {
        for (number, line) in unfenced(&file.text) {
            let place = format!("{}:{}", file.path, number + 1);
            for link in links(line).filter(|l| !l.contains("://") && !l.starts_with("mailto:")) {
                findings.looked_at += 1;
                if let Some(why) = broken(link, &file.path, files) {
                    findings.problem(&place, format!("links to {link}"), why);
                }
            }
            if PATHS_HOLD.contains(&file.path.as_str()) {
                for path in quoted(line).filter(|word| OURS.iter().any(|o| word.starts_with(o))) {
                    findings.looked_at += 1;
                    let path = path.split("::").next().unwrap_or(path).trim_end_matches('/');
                    if !path.contains(['*', '<', '{', ' ']) && !exists(path, files) {
                        findings.problem(&place, format!("names {path}"), "there is no such file or folder");
                    }
                }
            }
        }
    }
    findings
}

/// Lines outside ``` blocks, numbered from 0.
fn unfenced(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

fn exists(path: &str, files: &[File]) -> bool {
    files
        .iter()
        .any(|f| f.path == path || f.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')))
}

/// What is wrong with a link, if anything is.
pub fn broken(link: &str, document: &str, files: &[File]) -> Option<&'static str> {
    let (path, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = resolve(document, path);
    let Some(file) = files.iter().find(|f| f.path == target) else {
        let folder = heading.is_empty() && exists(&target, files);
        return (!folder).then_some("there is no such document");
    };
    let found = heading.is_empty()
        || file
            .text
            .lines()
            .any(|line| line.starts_with('#') && anchor(line.trim_start_matches('#')) == heading);
    (!found).then_some("the document has no such heading")
}

/// The path of a link, from the folder of the document that holds it.
fn resolve(document: &str, path: &str) -> String {
    let mut parts: Vec<&str> = document.split('/').collect();
    if !path.is_empty() {
        parts.pop();
    }
    for part in path.split('/') {
        match part {
            ".." => _ = parts.pop(),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// A heading as it stands after the `#` of a link.
fn anchor(heading: &str) -> String {
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}

/// What stands between back-ticks.
pub fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The targets of a text's links.
pub fn links(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("](").filter_map(|(at, _)| {
        let rest = &text[at + 2..];
        rest.find(')').map(|end| &rest[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let files = [
            File::new("docs/architecture.md", text),
            File::new("docs/adr/0001.md", "# One\n## Why\n"),
            File::new("core/src/lib.rs", ""),
        ];
        check(&files).problems.into_iter().map(|p| p.what).collect()
    }

    #[test]
    fn links_to_documents_headings_and_folders_pass() {
        assert_eq!(problems("[a](adr/0001.md) [b](adr/0001.md#why) [c](adr) [d](https://x.org/)"), [""; 0]);
    }

    #[test]
    fn a_broken_link_is_refused() {
        assert_eq!(problems("[a](adr/0002.md)"), ["links to adr/0002.md"]);
        assert_eq!(problems("[a](adr/0001.md#how)"), ["links to adr/0001.md#how"]);
    }

    #[test]
    fn a_path_that_does_not_exist_is_refused() {
        assert_eq!(problems("`core/src/lib.rs` and `core/src/`"), [""; 0]);
        assert_eq!(problems("`core/src/gone.rs`"), ["names core/src/gone.rs"]);
        assert_eq!(problems("```\n`core/src/gone.rs`\n```"), [""; 0]);
    }
}
