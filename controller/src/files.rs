//! Files that are for the Controller alone.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
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
