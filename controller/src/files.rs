//! Files that are for the Controller alone.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Makes a new file that nobody else may read, not even for a moment.
///
/// # Errors
/// Those of the system; the file is there already.
pub fn create_private(file: &Path) -> io::Result<File> {
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)
}

/// Writes a new file that nobody else may read.
///
/// # Errors
/// Those of the system; the file is there already.
pub fn write_private(file: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = create_private(file)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Makes a folder that nobody else may look into, if it is not there.
///
/// # Errors
/// Those of the system, with the folder's name.
pub fn make_private(folder: &Path) -> Result<(), String> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| format!("{}: {error}", folder.display()))
}
