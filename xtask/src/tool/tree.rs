//! The repository's text files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Folders that hold no source of ours.
const SKIPPED: &[&str] = &["target", ".git", ".forebay", "node_modules", "__pycache__", ".venv"];

/// A text file: its path from the root, with `/`, and what stands in it.
#[derive(Debug, Clone)]
pub struct File {
    pub path: String,
    pub text: String,
}

impl File {
    #[cfg(test)]
    pub fn new(path: &str, text: &str) -> Self {
        File { path: path.into(), text: text.into() }
    }

    pub fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|e| e == extension)
    }
}

/// The workspace's root folder. `cargo xtask` may be called from any folder inside.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask is a folder of the workspace").to_path_buf()
}

/// Reads all text files below `root`, in order of their paths; files that are not UTF-8 are left out.
pub fn read_all(root: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    each(root, &mut |path, entry| {
        if entry.file_name() != "Cargo.lock"
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            files.push(File { path, text });
        }
        Ok(())
    })?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Files below `root`, text or not, of more than `bytes`: their paths and sizes.
pub fn larger_than(root: &Path, bytes: u64) -> Result<Vec<(String, u64)>> {
    let mut large = Vec::new();
    each(root, &mut |path, entry| {
        let size = entry.metadata().with_context(|| format!("looking at {path}"))?.len();
        if size > bytes {
            large.push((path, size));
        }
        Ok(())
    })?;
    large.sort();
    Ok(large)
}

/// Shows `see` each file below `root`, with its path from there.
fn each(root: &Path, see: &mut dyn FnMut(String, &fs::DirEntry) -> Result<()>) -> Result<()> {
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let entry = entry?;
            let name = entry.file_name();
            let kind = entry.file_type()?;
            if kind.is_dir() {
                if !SKIPPED.iter().any(|s| name == *s) {
                    folders.push(entry.path());
                }
            } else if kind.is_file() && name != ".git" {
                // In a second work tree `.git` is a file.
                let path = entry.path();
                let path = path.strip_prefix(root).expect("found below the root");
                see(path.to_string_lossy().replace('\\', "/"), &entry)?;
            }
        }
    }
    Ok(())
}

/// A path for people: from the root where it lies below it.
pub fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_files_are_found_whatever_is_in_them_but_not_what_is_built() {
        let root = std::env::temp_dir().join(format!("forebay-tree-{}", std::process::id()));
        for (path, bytes) in [("a/data.wal", 11), ("a/small", 10), ("target/b", 12)] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![0xff; bytes]).unwrap();
        }
        let found = larger_than(&root, 10).unwrap();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, [("a/data.wal".to_owned(), 11)]);
    }
}
