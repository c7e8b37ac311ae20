//! Feature sets: each is built alone, because a build of the whole workspace unites them and hides a
//! crate that only compiles because another one asked for a feature.

use super::arrows::PURE;
use crate::tool::workspace::{Package, Workspace};

/// Folders whose packages are what users get: they are built alone, each with what it alone asks of others.
const SHIPPED: &[&str] = &["host-uring", "controller", "cli"];

/// Arguments for cargo that select one package with one set of its features.
#[derive(Debug, PartialEq, Eq)]
pub struct Set {
    pub package: String,
    pub args: Vec<String>,
    /// The crate has no clock, randomness, input or output.
    pub pure: bool,
    /// Somebody builds this package in this way. The others (tests, tools, parts of a program) are only ever built with
    /// what uses them; to build each alone makes most foreign crates anew with other features.
    pub real: bool,
}

/// Every package by itself: default features, none, each alone, all.
pub fn sets(workspace: &Workspace) -> Vec<Set> {
    workspace.members.iter().flat_map(of_package).collect()
}

fn of_package(package: &Package) -> Vec<Set> {
    let set = |args: &[&str]| Set {
        package: package.name.clone(),
        args: args.iter().map(|a| (*a).to_owned()).collect(),
        pure: PURE.contains(&package.folder.as_str()),
        real: !package.features.is_empty()
            || PURE.iter().chain(SHIPPED).any(|folder| *folder == package.folder),
    };
    let mut sets = vec![set(&[])];
    // Cargo lists an optional dependency that is a feature of its own among them.
    let names: Vec<&str> = package.features.keys().map(String::as_str).filter(|n| *n != "default").collect();
    if package.features.contains_key("default") {
        sets.push(set(&["--no-default-features"]));
    }
    for name in &names {
        sets.push(set(&["--no-default-features", "--features", name]));
    }
    if names.len() > 1 {
        sets.push(set(&["--all-features"]));
    }
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(features: &[(&str, &[&str])]) -> Package {
        Package {
            name: "p".into(),
            features: features
                .iter()
                .map(|(k, v)| ((*k).to_owned(), v.iter().map(|s| (*s).to_owned()).collect()))
                .collect(),
            ..Package::default()
        }
    }

    fn shown(package: &Package) -> Vec<String> {
        of_package(package).iter().map(|s| s.args.join(" ")).collect()
    }

    #[test]
    fn each_feature_is_built_alone_and_all_together() {
        let p = package(&[("default", &["a"]), ("a", &[]), ("b", &[])]);
        assert_eq!(
            shown(&p),
            [
                "",
                "--no-default-features",
                "--no-default-features --features a",
                "--no-default-features --features b",
                "--all-features"
            ]
        );
    }

    #[test]
    fn what_users_get_what_is_pure_and_what_has_features_is_always_built_alone() {
        let real = |folder: &str, features: &[(&str, &[&str])]| {
            of_package(&Package { folder: folder.into(), ..package(features) }).iter().all(|set| set.real)
        };
        assert!(PURE.iter().chain(SHIPPED).all(|folder| real(folder, &[])));
        assert!(real("model", &[("a", &[])]) && !real("model", &[]));
        let manifest = |folder: &&&str| crate::tool::tree::root().join(folder).join("Cargo.toml").exists();
        assert!(PURE.iter().chain(SHIPPED).all(|folder| manifest(&folder)), "they are there");
    }

    #[test]
    fn a_package_without_features_is_built_once_by_itself() {
        assert_eq!(shown(&package(&[])), [""]);
    }
}
