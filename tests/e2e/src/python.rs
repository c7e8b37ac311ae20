//! Python with pinned libraries of others, apart from the system's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::bin;

/// An interpreter that has what `requirements.txt` of this folder pins; it is made below `tmp` (the test's
/// `CARGO_TARGET_TMPDIR`) where it is not there or no longer fits.
///
/// # Panics
/// If it cannot be made.
pub fn interpreter(folder: &Path, tmp: &str) -> PathBuf {
    static MADE: Mutex<BTreeMap<PathBuf, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.entry(folder.to_owned()).or_insert_with(|| make(folder, Path::new(tmp))).clone()
}

fn make(folder: &Path, tmp: &Path) -> PathBuf {
    let wanted = folder.join("requirements.txt");
    let pins = std::fs::read_to_string(&wanted).expect("the list is there");
    let name = folder.file_name().expect("a folder of its own");
    let place = tmp.join("python").join(name);
    let (mark, python) = (place.join("made-of"), place.join("bin/python"));
    if std::fs::read_to_string(&mark).is_ok_and(|made_of| made_of == pins) && python.exists() {
        return python;
    }
    let _ = std::fs::remove_dir_all(&place);
    // The distribution's own interpreter: what it takes comes as a package.
    let system = [PathBuf::from("/usr/bin/python3"), bin::foreign("python3", "python3")];
    let system = system.iter().find(|program| program.exists()).expect("one of them");
    run(Command::new(system).args(["-m", "venv"]).arg(&place));
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    run(install.args(["--require-hashes", "--requirement"]).arg(&wanted));
    std::fs::write(&mark, pins).expect("its folder is there");
    python
}

fn run(command: &mut Command) {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?} (apt-get install python3-venv): {}\n{said}", out.status);
}

/// Where the files are that begin with `part` in the source package that `sources.txt` of this folder pins; `unpack.py`
/// beside it takes them out.
///
/// # Panics
/// If they cannot be had.
pub fn sources(folder: &Path, tmp: &str, part: &str) -> PathBuf {
    static TAKEN: Mutex<()> = Mutex::new(());
    let _turn = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let wanted = folder.join("sources.txt");
    let made_of = std::fs::read_to_string(&wanted).expect("the list is there") + part;
    let name = folder.file_name().expect("a folder of its own");
    let place = Path::new(tmp).join("sources").join(name);
    let mark = place.join("made-of");
    if std::fs::read_to_string(&mark).is_ok_and(|held| held == made_of) {
        return place;
    }
    let _ = std::fs::remove_dir_all(&place);
    std::fs::create_dir_all(&place).expect("a folder");
    let python = interpreter(folder, tmp);
    let mut get = Command::new(&python);
    get.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-binary",
        ":all:",
    ]);
    get.args(["--no-build-isolation", "--require-hashes", "--requirement"]).arg(&wanted);
    run(get.arg("--dest").arg(&place));
    run(Command::new(&python).current_dir(&place).arg(folder.join("unpack.py")).arg(part));
    std::fs::write(&mark, made_of).expect("its folder is there");
    place
}
