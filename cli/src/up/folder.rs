//! The data folder of one run: the only thing that stays when `up` ends.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Folders tried before giving up: runs beside one another on one machine.
const RUNS_MAX: u32 = 100;

/// A folder that no other running `up` uses. The claim ends with the process, however it ends.
pub struct DataFolder {
    path: PathBuf,
    _claim: File,
}

impl DataFolder {
    /// Claims `wanted`, or the first free one of `up`, `up-2`, `up-3` … below the user's state folder.
    pub fn claim(wanted: Option<&Path>) -> Result<Self> {
        if let Some(path) = wanted {
            let claimed = try_claim(path)?;
            return claimed.with_context(|| format!("{} is in use by another `forebay up`", path.display()));
        }
        let base = state_folder()?.join("forebay");
        for n in 1..=RUNS_MAX {
            let name = if n == 1 { "up".to_owned() } else { format!("up-{n}") };
            if let Some(folder) = try_claim(&base.join(name))? {
                return Ok(folder);
            }
        }
        bail!("{RUNS_MAX} runs of `forebay up` use {}; name another folder with --data", base.display())
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn try_claim(path: &Path) -> Result<Option<DataFolder>> {
    fs::create_dir_all(path).with_context(|| format!("cannot make the data folder {}", path.display()))?;
    let path = path.canonicalize().with_context(|| format!("{}", path.display()))?;
    let lock = path.join("lock");
    let claim = File::create(&lock).with_context(|| format!("cannot write {}", lock.display()))?;
    match claim.try_lock() {
        Ok(()) => Ok(Some(DataFolder { path, _claim: claim })),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(e)) => Err(e).with_context(|| format!("cannot lock {}", lock.display())),
    }
}

fn state_folder() -> Result<PathBuf> {
    if let Some(state) = std::env::var_os("XDG_STATE_HOME").filter(|s| Path::new(s).is_absolute()) {
        return Ok(state.into());
    }
    let home = std::env::var_os("HOME").context("neither XDG_STATE_HOME nor HOME is set; use --data DIR")?;
    Ok(Path::new(&home).join(".local/state"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_claimed_once_at_a_time() {
        let base = std::env::temp_dir().join(format!("forebay-folder-{}", std::process::id()));
        let first = DataFolder::claim(Some(&base)).unwrap();
        let second = DataFolder::claim(Some(&base));
        assert!(second.err().unwrap().to_string().contains("in use"));
        drop(first);
        DataFolder::claim(Some(&base)).unwrap();
        fs::remove_dir_all(&base).unwrap();
    }
}
