//! A clock that a test moves: the process under test reads its time through libfaketime.
//!
//! Only what the process reads jumps. The kernel's own timers run on, so a jump ages what is stored
//! and does not fire timers early.

use std::path::{Path, PathBuf};

use crate::bin;

/// Which clocks a test moves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Moves {
    /// All of them: as if time had passed.
    AllClocks,
    /// Only the wall clock: as if somebody had set it.
    WallClock,
}

/// The clock of one process.
pub struct Clock {
    file: PathBuf,
    moves: Moves,
}

impl Clock {
    /// A clock that is not moved yet; its file lies in `folder`.
    pub fn new(folder: &Path, moves: Moves) -> Self {
        let clock = Self { file: folder.join("clock"), moves };
        clock.set(0);
        clock
    }

    /// Sets it to `seconds` after (or before) the true time.
    ///
    /// # Panics
    /// If its file cannot be written.
    pub fn set(&self, seconds: i64) {
        // Renamed into place, so that the process never reads a half-written file.
        let fresh = self.file.with_extension("new");
        std::fs::write(&fresh, format!("{seconds:+}\n")).expect("the lab's folder can be written");
        std::fs::rename(&fresh, &self.file).expect("the lab's folder can be written");
    }

    /// The environment that puts a process onto this clock.
    ///
    /// # Panics
    /// If libfaketime is not installed.
    pub fn env(&self) -> Vec<(String, String)> {
        bin::foreign("faketime", "faketime");
        let arch = std::env::consts::ARCH;
        let library = PathBuf::from(format!("/usr/lib/{arch}-linux-gnu/faketime/libfaketimeMT.so.1"));
        assert!(library.is_file(), "no {}: install it with `apt-get install faketime`", library.display());
        let file = self.file.to_string_lossy().into_owned();
        let mut env = vec![
            ("LD_PRELOAD".to_owned(), library.to_string_lossy().into_owned()),
            ("FAKETIME_TIMESTAMP_FILE".to_owned(), file),
            ("FAKETIME_NO_CACHE".to_owned(), "1".to_owned()),
        ];
        if self.moves == Moves::WallClock {
            env.push(("DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned()));
            env.push(("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned()));
        }
        env
    }
}
