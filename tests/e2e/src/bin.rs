//! Finds the programs under test, and refuses stale ones.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Path of a program under test, for example `forebay-se`.
///
/// # Panics
/// If it is not built or older than one of its sources, with the command that builds it.
pub fn path(name: &str) -> PathBuf {
    let program = folder().join(name);
    let build = "cargo build --profile gate -p forebay -p forebay-host-uring -p forebay-controller -p forebay-xtask (cargo xtask test does it by itself)";
    let Ok(built) = std::fs::metadata(&program).and_then(|m| m.modified()) else {
        panic!("no {}: run {build}", program.display());
    };
    if let Some(newer) = newer_source(&program, built) {
        panic!("{} is older than {}: run {build}", program.display(), newer.display());
    }
    program
}

/// Folder of the programs: `FOREBAY_BIN_DIR`, or where cargo puts programs of the test's own profile.
fn folder() -> PathBuf {
    if let Some(named) = std::env::var_os("FOREBAY_BIN_DIR") {
        return named.into();
    }
    let own = std::env::current_exe().expect("a test has a path");
    let deps = own.parent().expect("a file has a folder");
    if deps.ends_with("deps") {
        deps.parent().expect("deps has a parent").to_owned()
    } else {
        deps.to_owned()
    }
}

/// Cargo writes beside each program which sources went into it.
fn newer_source(program: &Path, built: SystemTime) -> Option<PathBuf> {
    let listed = std::fs::read_to_string(program.with_extension("d")).ok()?;
    let (_, sources) = listed.split_once(": ")?;
    sources
        .replace("\\ ", "\u{0}")
        .split_whitespace()
        .map(|s| PathBuf::from(s.replace('\u{0}', " ")))
        .find(|s| std::fs::metadata(s).and_then(|m| m.modified()).is_ok_and(|t| t > built))
}

/// Path of a foreign program that the system has, for example `curl`.
///
/// # Panics
/// If it is missing, with the Debian package to install. A gate that skips what it cannot run is no gate.
pub fn foreign(name: &str, package: &str) -> PathBuf {
    let places = std::env::var_os("PATH").unwrap_or_default();
    let all = std::env::split_paths(&places).chain(["/usr/sbin".into(), "/usr/bin".into()]);
    let found = all.map(|p| p.join(name)).find(|p| p.is_file());
    found.unwrap_or_else(|| panic!("no {name}: install it with `apt-get install {package}`"))
}
