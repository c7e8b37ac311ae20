//! Paths in a configuration.

use std::path::{Path, PathBuf};

use forebay_snapshot::Snapshot;

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
}
