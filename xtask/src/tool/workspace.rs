//! What `cargo metadata` says, in the few words that the checks need.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{process, tree};

/// A package, ours or foreign.
#[derive(Debug, Clone, Default)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub licence: Option<String>,
    /// Folder from the workspace's root; empty for foreign packages.
    pub folder: String,
    pub features: BTreeMap<String, Vec<String>>,
    /// Direct dependencies as declared.
    pub needs: Vec<Need>,
}

/// One direct dependency as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    pub package: String,
    pub kind: Kind,
    pub optional: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Normal,
    Dev,
    Build,
}

/// The workspace and everything it builds on this platform.
#[derive(Debug, Default)]
pub struct Workspace {
    pub members: Vec<Package>,
    pub foreign: Vec<Package>,
    pub target: PathBuf,
}

impl Workspace {
    /// Asks cargo.
    ///
    /// # Errors
    /// A manifest is wrong, or Cargo.lock is not up to date.
    pub fn load() -> Result<Self> {
        let host = host()?;
        let text = process::output(&mut process::cargo(&[
            "metadata",
            "--format-version=1",
            "--filter-platform",
            &host,
        ]))?;
        let value: Value = serde_json::from_str(&text).context("cargo metadata is not JSON")?;
        let mut workspace = Self::read(&value, &tree::root())?;
        // Metadata also resolves what an optional part of a dependency would need if somebody took it.
        let edges = ["tree", "--workspace", "--edges=normal,build,dev", "--prefix=none", "--format={p}"];
        let built = process::output(process::cargo(&edges).args(["--target", &host]))?;
        workspace.keep_only(&built);
        Ok(workspace)
    }

    /// Forgets foreign packages that no line of `built` begins with: name and version, as `cargo tree` writes them.
    fn keep_only(&mut self, built: &str) {
        let built: BTreeSet<(&str, &str)> = built
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(name, rest)| (name, rest.split(' ').next().unwrap_or_default().trim_start_matches('v')))
            .collect();
        self.foreign.retain(|p| built.contains(&(p.name.as_str(), p.version.as_str())));
    }

    /// Asks cargo about each package that stands in a workspace of its own.
    ///
    /// # Errors
    /// A manifest is wrong, or the lock file beside it is not up to date.
    pub fn load_all_apart(files: &[tree::File]) -> Result<Vec<Self>> {
        files.iter().filter(|f| stands_apart(f)).map(|f| Self::load_apart(&f.path)).collect()
    }

    /// Asks cargo about the package that stands in a workspace of its own at `manifest`. The packages of ours that it uses
    /// count as neither members nor foreign: they are looked at where they belong.
    ///
    /// # Errors
    /// The manifest is wrong, or the lock file beside it is not up to date.
    fn load_apart(manifest: &str) -> Result<Self> {
        let host = host()?;
        let words = ["metadata", "--format-version=1", "--locked", "--filter-platform", &host];
        let text = process::output(process::cargo(&words).args(["--manifest-path", manifest]))
            .with_context(|| format!("{manifest}: `cargo update --workspace` there renews its lock file"))?;
        let value: Value = serde_json::from_str(&text).context("cargo metadata is not JSON")?;
        let mut workspace = Self::read(&value, &tree::root())?;
        let packages = value["packages"].as_array().into_iter().flatten();
        let ours: BTreeSet<String> =
            packages.filter(|p| p["source"].is_null()).map(|p| self::text(&p["name"])).collect();
        workspace.foreign.retain(|p| !ours.contains(&p.name));
        Ok(workspace)
    }

    fn read(value: &Value, root: &Path) -> Result<Self> {
        let strings = |v: &Value| -> BTreeSet<String> {
            v.as_array().into_iter().flatten().filter_map(|s| s.as_str().map(str::to_owned)).collect()
        };
        let members = strings(&value["workspace_members"]);
        // With a platform filter only the resolved nodes are what is really built here.
        let built: BTreeSet<&str> = value["resolve"]["nodes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|n| n["id"].as_str())
            .collect();
        let mut workspace =
            Workspace { target: text(&value["target_directory"]).into(), ..Workspace::default() };
        for p in value["packages"].as_array().context("cargo metadata names no packages")? {
            let id = text(&p["id"]);
            let mut package = Package {
                name: text(&p["name"]),
                version: text(&p["version"]),
                licence: p["license"].as_str().map(str::to_owned),
                folder: String::new(),
                features: p["features"]
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(k, v)| (k.clone(), strings(v).into_iter().collect()))
                    .collect(),
                needs: p["dependencies"].as_array().into_iter().flatten().map(need).collect(),
            };
            if members.contains(&id) {
                let manifest = PathBuf::from(text(&p["manifest_path"]));
                let folder = manifest.parent().and_then(|f| f.strip_prefix(root).ok());
                package.folder =
                    folder.context("a member lies outside the workspace")?.to_string_lossy().into_owned();
                workspace.members.push(package);
            } else if built.contains(id.as_str()) {
                workspace.foreign.push(package);
            }
        }
        workspace.members.sort_by(|a, b| a.folder.cmp(&b.folder));
        Ok(workspace)
    }

    pub fn folder_of(&self, package: &str) -> Option<&str> {
        self.members.iter().find(|m| m.name == package).map(|m| m.folder.as_str())
    }
}

/// Whether this is the manifest of a package in a workspace of its own.
pub fn stands_apart(file: &tree::File) -> bool {
    let Ok(table) = file.text.parse::<toml::Table>() else { return false };
    file.path.ends_with("/Cargo.toml") && table.contains_key("workspace")
}

fn need(d: &Value) -> Need {
    Need {
        package: text(&d["name"]),
        kind: match d["kind"].as_str() {
            Some("dev") => Kind::Dev,
            Some("build") => Kind::Build,
            _ => Kind::Normal,
        },
        optional: d["optional"].as_bool().unwrap_or(false),
    }
}

fn text(v: &Value) -> String {
    v.as_str().unwrap_or_default().to_owned()
}

fn host() -> Result<String> {
    let out = process::output(std::process::Command::new("rustc").arg("-vV").current_dir(tree::root()))?;
    let line = out.lines().find_map(|l| l.strip_prefix("host: "));
    Ok(line.context("rustc -vV names no host")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_resolved_and_never_built_is_no_part_of_the_workspace() {
        let package = |name: &str, version: &str| Package {
            name: name.into(),
            version: version.into(),
            ..Package::default()
        };
        let foreign = vec![package("ring", "0.17.14"), package("syn", "2.0.1"), package("syn", "3.0.9")];
        let mut workspace = Workspace { foreign, ..Workspace::default() };
        workspace.keep_only("ours v0.1.0 (/a/folder)\nsyn v3.0.9 (*)\nserde_derive v1.0.0 (proc-macro)\n");
        let left: Vec<_> = workspace.foreign.iter().map(|p| (p.name.as_str(), p.version.as_str())).collect();
        assert_eq!(left, [("syn", "3.0.9")]);
    }
}
