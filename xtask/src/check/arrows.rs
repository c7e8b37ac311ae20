//! The dependency rule: which folder may depend on which, and who may use the dependencies that
//! shape a program (runtimes, the sandbox). Any other arrow fails.

use std::collections::BTreeMap;

use super::Findings;
use crate::tool::workspace::{Kind, Package, Workspace};

/// Folder, and the folders of ours that it may depend on directly. The picture is in
/// `docs/architecture.md`; a new folder or arrow changes both.
const ARROWS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("core/component", &["core"]),
    ("proto/http", &[]),
    ("proto/health", &["core"]),
    ("proto/proxy", &[]),
    ("proto/tls", &[]),
    ("objsync", &["core"]),
    ("objsync/tokio", &["core", "objsync"]),
    ("model", &["model/snapshot"]),
    ("controller/logs", &[]),
    (
        "controller",
        &[
            "controller/etcd",
            "controller/logs",
            "controller/metrics",
            "core",
            "model",
            "model/wire",
            "objsync",
            "objsync/tokio",
        ],
    ),
    ("controller/metrics", &["model/wire"]),
    ("controller/etcd", &[]),
    ("model/snapshot", &["core"]),
    ("model/wire", &[]),
    ("host-native/sandbox", &["core"]),
    (
        "host-uring",
        &[
            "core",
            "proto/http",
            "proto/health",
            "proto/proxy",
            "proto/tls",
            "objsync",
            "objsync/tokio",
            "model/snapshot",
            "model/wire",
        ],
    ),
    // Until `model` exists the command line writes an SE's configuration itself.
    ("cli", &["model", "model/snapshot"]),
    ("tests/e2e", ANY),
    ("tests/fuzz", ANY),
    ("tests/bench", ANY),
    ("tests/sim", ANY),
    ("xtask", ANY),
    ("xtask/componentize", &[]),
];

const ANY: &[&str] = &["*"];

/// Crates whose code must run anywhere: also in a sandbox, a simulator, a browser.
pub const PURE: &[&str] = &["core", "proto/http", "proto/health", "proto/proxy", "proto/tls", "objsync"];

/// All that a pure crate takes from outside (its tests may take more).
const PURE_EXTERNALS: &[(&str, &[&str])] =
    // postcard: only by the feature `testing`, whose outcomes are compared as bytes.
    &[
        ("core", &["bytemuck", "serde", "siphasher", "postcard"]),
        ("proto/http", &["memchr"]),
        ("proto/health", &[]),
        ("proto/proxy", &[]),
        ("proto/tls", &[]),
        // Frames are postcard.
        ("objsync", &["postcard", "serde"]),
    ];

/// Foreign crates that shape whoever takes them, and the only folders that may.
const RESERVED: &[(&str, &[&str])] = &[
    ("monoio", &["host-uring"]),
    ("io-uring", &["host-uring"]),
    ("tokio", &["host-uring", "objsync/tokio", "controller", "controller/etcd"]),
    ("wasmtime", &["host-native/sandbox"]),
    ("aws-lc-rs", &["host-uring", "controller", "cli"]),
];

/// Checks all members' direct dependencies.
pub fn check(workspace: &Workspace) -> Findings {
    let mut findings = Findings::of("arrows");
    for member in &workspace.members {
        let Some((_, allowed)) = ARROWS.iter().find(|(folder, _)| *folder == member.folder) else {
            findings.problem(
                &member.folder,
                "the dependency rule does not know this folder",
                "enter it with its arrows in xtask/src/check/arrows.rs and docs/architecture.md",
            );
            continue;
        };
        for need in &member.needs {
            findings.looked_at += 1;
            match workspace.folder_of(&need.package) {
                Some(to) => ours(&mut findings, &member.folder, to, allowed),
                None => foreign(&mut findings, member, &need.package, need.kind),
            }
        }
    }
    findings
}

/// An arrow that nobody uses is a permission that nobody decided on.
pub fn unused(workspace: &Workspace) -> Findings {
    let mut findings = Findings::default();
    for member in &workspace.members {
        let (_, allowed) = ARROWS.iter().find(|(folder, _)| *folder == member.folder).unwrap_or(&("", ANY));
        let uses = |to: &str| member.needs.iter().any(|n| workspace.folder_of(&n.package) == Some(to));
        for to in allowed.iter().filter(|to| **to != ANY[0] && !uses(to)) {
            findings.problem(
                format!("{} -> {to}", member.folder),
                "is allowed and not used",
                "take it out of xtask/src/check/arrows.rs and docs/architecture.md; it returns with its first use",
            );
        }
    }
    findings
}

fn ours(findings: &mut Findings, from: &str, to: &str, allowed: &[&str]) {
    if allowed != ANY && !allowed.contains(&to) {
        let list = if allowed.is_empty() { "nothing of ours".to_owned() } else { allowed.join(", ") };
        findings.problem(
            format!("{from} -> {to}"),
            format!("{from} may depend on {list} only"),
            "move the code to where both may reach it, or change the rule in docs/architecture.md first",
        );
    }
}

fn foreign(findings: &mut Findings, member: &Package, package: &str, kind: Kind) {
    let folder = member.folder.as_str();
    let harness = folder.starts_with("tests/") || folder == "xtask";
    if let Some((_, owners)) = RESERVED.iter().find(|(name, _)| *name == package)
        && !harness
        && !owners.contains(&folder)
    {
        findings.problem(
            format!("{folder} -> {package}"),
            format!("{package} belongs to {} only", owners.join(", ")),
            "use it through that crate's seam",
        );
    }
    if let Some((_, allowed)) = PURE_EXTERNALS.iter().find(|(name, _)| *name == folder)
        && kind != Kind::Dev
        && !allowed.contains(&package)
    {
        findings.problem(
            format!("{folder} -> {package}"),
            "a pure crate takes only what is listed for it",
            "do without, or enter it in xtask/src/check/arrows.rs with a decision in docs/adr",
        );
    }
}

/// The arrows between our folders as lines of text, dependencies of tests left out.
pub fn graph(workspace: &Workspace) -> String {
    let mut lines = BTreeMap::new();
    for member in &workspace.members {
        let mut to: Vec<&str> = member
            .needs
            .iter()
            .filter(|need| need.kind == Kind::Normal)
            .filter_map(|need| workspace.folder_of(&need.package))
            .collect();
        to.sort_unstable();
        lines.insert(member.folder.as_str(), to);
    }
    let width = lines.keys().map(|k| k.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (from, to) in lines {
        let to = if to.is_empty() { "-".to_owned() } else { to.join(", ") };
        text.push_str(&format!("{from:width$} -> {to}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::workspace::Need;

    fn member(folder: &str, needs: &[(&str, Kind)]) -> Package {
        Package {
            name: format!("forebay-{folder}"),
            folder: folder.into(),
            needs: needs
                .iter()
                .map(|(package, kind)| Need { package: (*package).into(), kind: *kind, optional: false })
                .collect(),
            ..Package::default()
        }
    }

    fn problems(members: Vec<Package>) -> Vec<String> {
        let workspace = Workspace { members, ..Workspace::default() };
        check(&workspace).problems.into_iter().map(|p| p.place).collect()
    }

    #[test]
    fn the_arrows_of_the_picture_pass() {
        let core = member("core", &[("serde", Kind::Normal)]);
        let http = member("proto/http", &[("bolero", Kind::Dev)]);
        let host = member("host-uring", &[("forebay-proto/http", Kind::Normal), ("monoio", Kind::Normal)]);
        assert_eq!(problems(vec![core, http, host]), Vec::<String>::new());
    }

    #[test]
    fn an_arrow_from_core_to_a_host_is_refused() {
        let core = member("core", &[("forebay-host-uring", Kind::Normal)]);
        assert_eq!(problems(vec![core, member("host-uring", &[])]), ["core -> host-uring"]);
    }

    #[test]
    fn an_arrow_that_is_allowed_and_not_used_is_named() {
        let members = |needs: &[(&str, Kind)]| {
            let members = vec![member("core", &[]), member("proto/http", &[]), member("proto/health", needs)];
            let found = unused(&Workspace { members, ..Workspace::default() });
            found.problems.into_iter().map(|p| p.place).collect::<Vec<_>>()
        };
        assert_eq!(members(&[("forebay-core", Kind::Normal)]), [""; 0]);
        assert_eq!(members(&[("forebay-proto/http", Kind::Normal)]), ["proto/health -> core"]);
    }

    #[test]
    fn an_arrow_to_tests_is_refused_even_for_tests_of_the_product() {
        let cli = member("cli", &[("forebay-tests/e2e", Kind::Dev)]);
        assert_eq!(problems(vec![cli, member("tests/e2e", &[])]), ["cli -> tests/e2e"]);
    }

    #[test]
    fn a_runtime_outside_its_host_is_refused() {
        assert_eq!(
            problems(vec![member("host-native/sandbox", &[("tokio", Kind::Normal)])]),
            ["host-native/sandbox -> tokio"]
        );
    }

    #[test]
    fn an_unlisted_dependency_of_a_pure_crate_is_refused() {
        assert_eq!(problems(vec![member("proto/http", &[("rand", Kind::Normal)])]), ["proto/http -> rand"]);
    }

    #[test]
    fn a_folder_without_a_rule_is_refused() {
        assert_eq!(problems(vec![member("surprise", &[])]), ["surprise"]);
    }
}
