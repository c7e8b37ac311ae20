//! Paths in a configuration.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use forebay_snapshot::health::HttpsMonitor;
use forebay_snapshot::{HealthMonitor, Problem, Snapshot};

/// A path of a configuration as this process finds it: a relative one counts from the configuration's folder.
//= OBS-CONFIG-01
pub fn from_folder_of(config: &Path, path: &str) -> PathBuf {
    config.parent().map_or_else(|| PathBuf::from(path), |folder| folder.join(path))
}

/// Makes all paths of a configuration such that the engine finds them wherever it was started.
pub fn settle(config: &Path, snapshot: &mut Snapshot) {
    let settle = |path: &mut String| {
        // A folder whose name is no text stays as it was given: then the engine must be started there.
        if let Some(settled) = from_folder_of(config, path).to_str() {
            *path = settled.to_owned();
        }
    };
    let engine = &mut snapshot.engine;
    settle(&mut engine.admin_socket);
    if !matches!(engine.access_log.path.as_str(), "-" | "off") {
        settle(&mut engine.access_log.path);
    }
    for monitor in &mut snapshot.health_monitor {
        if let HealthMonitor::Https(HttpsMonitor { ca_file: Some(path), .. }) = monitor {
            settle(path);
        }
    }
}

/// What the engine would write over its own configuration.
//= CFG-PATH-02
pub fn on_itself(config: &Path, text: &str, snapshot: &Snapshot) -> Vec<Problem> {
    let engine = &snapshot.engine;
    let log = Some(&engine.access_log.path).filter(|path| !matches!(path.as_str(), "-" | "off"));
    let written = [("access_log.path", log), ("admin_socket", Some(&engine.admin_socket))];
    let of = |(key, path): (&str, Option<&String>)| {
        let path = path.filter(|path| is_same_file(config, &from_folder_of(config, path)))?;
        // Only a document that is right gets here, so the line with the text is the one.
        let line =
            text.lines().position(|line| line.contains(path.as_str()) && !line.trim_start().starts_with('#'));
        Some(Problem {
            line: line.and_then(|at| u32::try_from(at + 1).ok()),
            path: format!("engine.{key}"),
            reason: format!("{path:?} is this configuration: the engine would write into it"),
            fix: "name another file".to_owned(),
        })
    };
    written.into_iter().filter_map(of).collect()
}

/// Whether both lead to one file, whatever links they go through.
fn is_same_file(one: &Path, other: &Path) -> bool {
    match (one.metadata(), other.metadata()) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}
