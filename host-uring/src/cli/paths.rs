//! Paths in a configuration.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use forebay_host_uring::tls::ClientProfile;
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
        Some(Problem {
            line: line_with(text, path),
            path: format!("engine.{key}"),
            reason: format!("{path:?} is this configuration: the engine would write into it"),
            fix: "name another file".to_owned(),
        })
    };
    written.into_iter().filter_map(of).collect()
}

/// Files of authorities that cannot be used: the engine would not start with them.
//= CFG-PATH-03
pub fn no_authorities(config: &Path, text: &str, snapshot: &Snapshot) -> Vec<Problem> {
    let of = |(n, monitor): (usize, &HealthMonitor)| {
        let HealthMonitor::Https(HttpsMonitor { ca_file: Some(path), .. }) = monitor else { return None };
        let reason = ClientProfile::new(Some(from_folder_of(config, path))).config().err()?;
        Some(Problem {
            line: line_with(text, path),
            path: format!("health_monitor[{n}].ca_file"),
            reason,
            fix: "name a file with certificates of authorities (PEM) that the engine's user may read"
                .to_owned(),
        })
    };
    snapshot.health_monitor.iter().enumerate().filter_map(of).collect()
}

/// The first line that says `path`: only a document that is right is asked, so that is the one.
fn line_with(text: &str, path: &str) -> Option<u32> {
    let at = text.lines().position(|line| line.contains(path) && !line.trim_start().starts_with('#'))?;
    u32::try_from(at + 1).ok()
}

/// Whether both lead to one file, whatever links they go through.
fn is_same_file(one: &Path, other: &Path) -> bool {
    match (one.metadata(), other.metadata()) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}
