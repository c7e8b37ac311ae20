//! One hash over everything that the component is built from.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::build::{CONFIG, GUEST};

/// Files and folders that the guest is built from.
const ROOTS: &[&str] = &[
    "core/Cargo.toml",
    "core/src",
    "core/component/Cargo.toml",
    "core/component/src",
    "wit/core",
    "rust-toolchain.toml",
];

/// Returns the hash, in hexadecimal.
///
/// Of the lock file only the packages that the guest is built from count: the rest changes daily and changes
/// nothing here.
//= COMP-BUILD-02
pub fn digest(cargo: &Path) -> Result<String> {
    let mut files = Vec::new();
    for root in ROOTS {
        collect(Path::new(root), &mut files)?;
    }
    files.sort();
    let mut all = Sha256::new();
    let mut add = |name: &str, bytes: &[u8]| {
        // Lengths first: two files can never be mistaken for one.
        all.update((name.len() as u64).to_le_bytes());
        all.update(name);
        all.update((bytes.len() as u64).to_le_bytes());
        all.update(bytes);
    };
    for file in files {
        add(&file.to_string_lossy(), &fs::read(&file).with_context(|| file.display().to_string())?);
    }
    add("build", CONFIG.join("\n").as_bytes());
    for package in packages(cargo)? {
        add("package", package.as_bytes());
    }
    Ok(all.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path).with_context(|| path.display().to_string())? {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}

/// Name, version, features and checksum of every package that takes part, code generators included.
fn packages(cargo: &Path) -> Result<BTreeSet<String>> {
    let mut command = Command::new(cargo);
    command.args(["tree", "--locked", "--package", GUEST, "--edges", "normal,build", "--no-dedupe"]);
    command.args(["--prefix", "none", "--format", "{p} [{f}]"]);
    let out = command.output().with_context(|| cargo.display().to_string())?;
    if !out.status.success() {
        bail!("cargo tree: {}", String::from_utf8_lossy(&out.stderr));
    }
    let lock = fs::read_to_string("Cargo.lock").context("Cargo.lock")?;
    let text = String::from_utf8(out.stdout).context("cargo tree")?;
    Ok(text.lines().filter(|line| !line.is_empty()).map(|line| described(line, &lock)).collect())
}

/// A line of `cargo tree` without the path of a workspace member, with the checksum of a foreign package.
fn described(line: &str, lock: &str) -> String {
    let mut words = line.split(' ');
    let name = words.next().unwrap_or("");
    let version = words.next().unwrap_or("").trim_start_matches('v');
    let features = line.rsplit_once('[').map_or("", |(_, features)| features);
    let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
    let checksum = lock
        .split("[[package]]")
        .find(|package| package.contains(&entry))
        .and_then(|package| package.lines().find(|line| line.starts_with("checksum = ")))
        .unwrap_or("ours");
    format!("{name} {version} [{features} {checksum}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"00\"\n\n[[package]]\n\
                        name = \"ours\"\nversion = \"0.1.0\"\n";

    #[test]
    fn a_package_counts_by_version_features_and_checksum_but_not_by_path() {
        assert_eq!(described("a v1.0.0 [alloc]", LOCK), "a 1.0.0 [alloc] checksum = \"00\"");
        let here = described("ours v0.1.0 (/here/ours) []", LOCK);
        assert_eq!(here, described("ours v0.1.0 (/there/ours) []", LOCK));
        assert_ne!(described("a v1.0.0 []", LOCK), described("a v1.0.0 [std]", LOCK));
    }
}
