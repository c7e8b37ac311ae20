//! The data folder of one run: the only thing that stays when `up` ends.
//!
//! What `up` writes has names that others use as well (`pki`, `https.key`), so that it works only in a folder that
//! carries its mark, was empty, or is its own by its place; and what it cannot use there any more is set aside.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::config::{CHAIN_FILE, KEY_FILE, PKI_FOLDER};
use super::{detach, led, record};

/// Folders tried before giving up: runs beside one another on one machine.
const RUNS_MAX: u32 = 100;
/// The file that says that a folder is one of `up`, and by which a run claims it.
const MARK: &str = "forebay-up.lock";
/// Files of one name that are set aside before somebody has to look.
const ASIDE_MAX: u32 = 100;
/// Names that are told of what stands in a folder that is not ours.
const NAMED_MAX: usize = 5;

/// A folder that no other running `up` uses. The claim ends with the process, however it ends.
pub struct DataFolder {
    path: PathBuf,
    _claim: File,
}

impl DataFolder {
    /// Claims `wanted`, or the first free one of `up`, `up-2`, `up-3` … below the user's state folder. Fails where
    /// `wanted` holds something and no run has made it.
    pub fn claim(wanted: Option<&Path>) -> Result<Self> {
        if let Some(path) = wanted {
            refuse_a_folder_of_others(path)?;
            let claimed = try_claim(path)?;
            return claimed.with_context(|| format!("{} is in use by another `forebay up`", path.display()));
        }
        let base = base()?;
        for name in names() {
            if let Some(folder) = try_claim(&base.join(name))? {
                return Ok(folder);
            }
        }
        bail!("{RUNS_MAX} runs of `forebay up` use {}; name another folder with --data", base.display())
    }

    /// Claims the folder of an earlier run; `None`: a run has it. It is to be there.
    ///
    /// # Errors
    /// Those of the system.
    pub fn of_earlier(path: &Path) -> Result<Option<Self>> {
        try_claim(path)
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes what runs have made here, and the folder if nothing else stands in it.
    ///
    /// # Errors
    /// Those of the system, at the first thing that cannot be removed; `gone` has what is removed by then.
    //= CLI-DOWN-02
    pub fn remove(self, gone: &mut Removed) -> Result<()> {
        let entries =
            fs::read_dir(&self.path).with_context(|| format!("cannot read {}", self.path.display()))?;
        let mut paths: Vec<PathBuf> =
            entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
        paths.sort();
        let kept_before = gone.kept.len();
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        for path in paths.into_iter().filter(|path| name(path).is_none_or(|name| name != MARK)) {
            if name(&path).is_some_and(|name| is_ours(&name)) {
                removed(&path)?;
                gone.removed.push(path);
            } else {
                gone.kept.push(path);
            }
        }
        if gone.kept.len() > kept_before {
            return Ok(());
        }
        removed(&self.path.join(MARK))?;
        fs::remove_dir(&self.path).with_context(|| format!("cannot remove {}", self.path.display()))?;
        gone.removed.push(self.path);
        Ok(())
    }
}

/// What became of the files of runs.
#[derive(Debug, Default)]
pub struct Removed {
    /// What is there no more.
    pub removed: Vec<PathBuf>,
    /// What no run has made.
    pub kept: Vec<PathBuf>,
}

/// The folders below the user's state folder that runs have made.
///
/// # Errors
/// There is no state folder.
pub fn of_runs() -> Result<(PathBuf, Vec<PathBuf>)> {
    let base = base()?;
    let found = names().map(|name| base.join(name)).filter(|path| is_of_a_run(path)).collect();
    Ok((base, found))
}

/// Says whether a run has made this folder.
pub fn is_of_a_run(path: &Path) -> bool {
    path.join(MARK).is_file()
}

fn base() -> Result<PathBuf> {
    Ok(state_folder()?.join("forebay"))
}

/// The names of runs that name no folder.
fn names() -> impl Iterator<Item = String> {
    (1..=RUNS_MAX).map(|n| if n == 1 { "up".to_owned() } else { format!("up-{n}") })
}

/// Says whether `up` makes something of this name, or tells people to.
fn is_ours(name: &str) -> bool {
    let numbered = |front: &str, end: &str| {
        let number = name.strip_prefix(front).and_then(|rest| rest.strip_suffix(end));
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let fixed = [CHAIN_FILE, KEY_FILE, PKI_FOLDER, led::FOLDER, led::LOG_FILE, detach::LOG_FILE];
    fixed.contains(&name)
        || record::FILES.contains(&name)
        // Where the lines to try keep their cookies.
        || ["jar", "app"].contains(&name)
        || numbered("se-", "")
        || numbered("demo-", ".log")
}

fn removed(path: &Path) -> Result<()> {
    let what = path.symlink_metadata();
    let done =
        what.and_then(|what| if what.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) });
    match done {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn try_claim(path: &Path) -> Result<Option<DataFolder>> {
    fs::create_dir_all(path).with_context(|| format!("cannot make the data folder {}", path.display()))?;
    let path = path.canonicalize().with_context(|| format!("{}", path.display()))?;
    let lock = path.join(MARK);
    let mut open = fs::OpenOptions::new();
    let claim = open.write(true).create(true).truncate(false).open(&lock);
    let claim = claim.with_context(|| format!("cannot write {}", lock.display()))?;
    match claim.try_lock() {
        // Who removes a folder does it with the claim: what was opened before may be no file of the folder any more.
        Ok(()) if !is_same(&claim, &lock) => Ok(None),
        Ok(()) => Ok(Some(DataFolder { path, _claim: claim })),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(e)) => Err(e).with_context(|| format!("cannot lock {}", lock.display())),
    }
}

fn is_same(open: &File, path: &Path) -> bool {
    let which = |of: fs::Metadata| (of.dev(), of.ino());
    open.metadata().is_ok_and(|open| path.metadata().is_ok_and(|there| which(open) == which(there)))
}

fn refuse_a_folder_of_others(path: &Path) -> Result<()> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let mut names: Vec<String> =
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<Result<_>>()?;
    // Looked for after the list was read: a run that begins here at the same moment writes it first.
    if names.is_empty() || path.join(MARK).is_file() {
        return Ok(());
    }
    names.sort();
    let more = if names.len() > NAMED_MAX { " …" } else { "" };
    names.truncate(NAMED_MAX);
    bail!(
        "{} holds what no `forebay up` has made: {}{more}; name a folder with --data that is empty or not there yet, \
         or leave --data out",
        path.display(),
        names.join(", ")
    )
}

/// Gives a file or folder that cannot be used any more another name, if it is there: whoever put it there may want it
/// still. Returns what is to be said about it.
pub fn set_aside(path: &Path) -> Result<Option<String>> {
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    if !is_there(path) {
        return Ok(None);
    }
    let named = |n: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".old-{n}"));
        PathBuf::from(name)
    };
    let Some(kept) = (1..=ASIDE_MAX).map(named).find(|kept| !is_there(kept)) else {
        bail!("{ASIDE_MAX} old ones of {} are there; remove what is not needed", path.display())
    };
    fs::rename(path, &kept).with_context(|| format!("cannot rename {}", path.display()))?;
    Ok(Some(format!("{} is made anew; what was there is {}", path.display(), kept.display())))
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

    /// A folder of a test, which goes with it.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("forebay-folder-{name}-{}", std::process::id())))
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_folder_is_claimed_once_at_a_time() {
        let place = Place::new("claim");
        let base = &place.0;
        let first = DataFolder::claim(Some(base)).unwrap();
        fs::write(base.join("demo-1.log"), "of a run").unwrap();
        let second = DataFolder::claim(Some(base));
        assert!(second.err().unwrap().to_string().contains("in use"));
        drop(first);
        DataFolder::claim(Some(base)).unwrap();
    }

    #[test]
    fn a_folder_that_holds_what_no_run_has_made_is_left_as_it_is() {
        let place = Place::new("theirs");
        let base = &place.0;
        fs::create_dir_all(base.join("pki")).unwrap();
        for file in ["pki/ca.key", "https.key", "lock"] {
            fs::write(base.join(file), "theirs").unwrap();
        }
        let refused = DataFolder::claim(Some(base)).err().unwrap().to_string();
        assert!(
            refused.contains("https.key, lock, pki; name a folder with --data that is empty"),
            "{refused}"
        );
        let names = fs::read_dir(base).unwrap().count();
        assert_eq!(names, 3, "nothing was made in it");
        assert_eq!(fs::read_to_string(base.join("lock")).unwrap(), "theirs");
        fs::remove_dir_all(base).unwrap();
        fs::create_dir_all(base).unwrap();
        DataFolder::claim(Some(base)).expect("an empty one is nobody's");
    }

    //= test CLI-DOWN-02
    #[test]
    fn what_runs_have_made_is_removed_and_all_else_stays() {
        let place = Place::new("remove");
        let base = &place.0;
        let elsewhere = Place::new("elsewhere");
        fs::create_dir_all(&elsewhere.0).unwrap();
        fs::write(elsewhere.0.join("theirs"), "1").unwrap();
        let folder = DataFolder::claim(Some(base)).unwrap();
        for name in ["se-1/state", "controller", "pki"] {
            fs::create_dir_all(base.join(name)).unwrap();
        }
        std::os::unix::fs::symlink(&elsewhere.0, base.join("se-2")).unwrap();
        for name in ["se-1/state/x", "https.pem", "https.key", "demo-1.log", "notes.txt", "pki.old-1", "se-x"]
        {
            fs::write(base.join(name), name).unwrap();
        }
        let mut gone = Removed::default();
        folder.remove(&mut gone).unwrap();
        let names = |paths: &[PathBuf]| -> Vec<String> {
            paths.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names(&gone.kept), ["notes.txt", "pki.old-1", "se-x"]);
        assert_eq!(
            names(&gone.removed),
            ["controller", "demo-1.log", "https.key", "https.pem", "pki", "se-1", "se-2"]
        );
        assert!(elsewhere.0.join("theirs").is_file(), "where a link leads to nothing is removed");
        for name in ["notes.txt", "pki.old-1", "se-x"] {
            fs::remove_file(base.join(name)).unwrap();
        }
        let again = DataFolder::claim(Some(base)).expect("it is still one of runs");
        again.remove(&mut gone).unwrap();
        assert!(!base.exists());
    }

    #[test]
    fn what_cannot_be_used_any_more_is_kept_under_another_name() {
        let place = Place::new("aside");
        let folder = place.0.join("pki");
        assert_eq!(set_aside(&folder).unwrap(), None, "there is none");
        for round in 1..=2 {
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("ca.key"), format!("{round}")).unwrap();
            let said = set_aside(&folder).unwrap().expect("it is told");
            assert!(said.contains(&format!("pki.old-{round}")), "{said}");
            assert!(!folder.exists());
        }
        for round in 1..=2 {
            let kept = place.0.join(format!("pki.old-{round}/ca.key"));
            assert_eq!(fs::read_to_string(kept).unwrap(), round.to_string());
        }
    }
}
