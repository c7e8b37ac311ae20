//! Child processes that end with their test, and show their log if it fails.

use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How long a process may take to end on SIGTERM.
const END_WAIT: Duration = Duration::from_secs(5);
/// Lines of a log that a failing test shows.
const LOG_LINES: usize = 60;

/// A process of ours.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Whether it is killed where nobody asks it to end.
    is_brief: bool,
}

impl Process {
    /// Starts `command` with its output going to `NAME.log` in `folder`. It dies with the thread that
    /// starts it, so start it from the test's own thread.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(name: &str, mut command: Command, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).expect("a log in the lab's folder");
        command.current_dir(folder).stdin(Stdio::null()).process_group(0);
        command.stdout(file.try_clone().expect("a second handle")).stderr(file);
        // SAFETY: prctl is async-signal-safe, and nothing else runs between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let child = command.spawn().unwrap_or_else(|e| panic!("{name} does not start: {e}: {command:?}"));
        Self { name: name.to_owned(), child, log, is_brief: false }
    }

    /// Kills it and what it started once its test is over, where the test does not ask it to end: a program that ends in good
    /// order takes up to a second, and nobody looks any more.
    #[must_use]
    pub fn brief(mut self) -> Self {
        self.is_brief = true;
        self
    }

    /// Takes back what [`Process::brief`] said: how it ends matters to others.
    pub fn ends_in_good_order(&mut self) {
        self.is_brief = false;
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: a system call without memory; the child is not waited for yet, so its id is its own.
        unsafe { libc::kill(self.pid() as libc::pid_t, signal) };
    }

    /// Kills it, as a crash would, and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(libc::SIGKILL);
        let _ = self.child.wait();
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours")
    }

    /// Asks it to end and returns how it did.
    ///
    /// # Panics
    /// If it does not end within `limit`.
    pub fn end(&mut self, limit: Duration) -> ExitStatus {
        self.signal(libc::SIGTERM);
        self.wait(limit)
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it does not end within `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(began.elapsed() < limit, "{} does not end within {limit:?}", self.name);
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// All that it printed so far.
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            // A crash is worth a line even if the test does not look.
            if status.signal().is_some_and(|s| s != libc::SIGKILL && s != libc::SIGTERM) {
                eprintln!("{} ended by {status}", self.name);
            }
        } else if self.is_brief {
            // SAFETY: a system call without memory; the child, not waited for yet, leads a group of its own.
            unsafe { libc::kill(-(self.pid() as libc::pid_t), libc::SIGKILL) };
            let _ = self.child.wait();
        } else {
            self.signal(libc::SIGTERM);
            let began = Instant::now();
            while began.elapsed() < END_WAIT && matches!(self.child.try_wait(), Ok(None)) {
                std::thread::sleep(LOOK_EVERY);
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            let text = self.printed();
            let lines: Vec<&str> = text.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
            eprintln!("---- {} printed ({} lines):\n{}", self.name, lines.len(), tail.join("\n"));
        }
    }
}
