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

/// Writes a new file that nobody else may read; it is there after a power cut as well.
///
/// # Errors
/// Those of the system; the file is there already.
pub fn write_private(file: &Path, content: &[u8]) -> io::Result<()> {
    let mut made = create_private(file)?;
    made.write_all(content)?;
    made.sync_all()?;
    keep_names(file)
}

/// Gives a file another name, which it has after a power cut as well.
///
/// # Errors
/// Those of the system.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    keep_names(to)
}

/// Has the folder of a file on disk: what is in a file survives a power cut by its own, its name does not.
///
/// # Errors
/// Those of the system.
pub fn keep_names(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Makes a folder that nobody else may look into, if it is not there.
///
/// # Errors
/// Those of the system, with the folder's name.
pub fn make_private(folder: &Path) -> Result<(), String> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| format!("{}: {error}", folder.display()))
}
