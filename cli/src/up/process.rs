//! Child processes that end with us.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::sys;

/// How long a child may take to end on SIGTERM before it is killed.
const END_WAIT: Duration = Duration::from_secs(5);

/// A running child; dropping it ends it.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` in `folder`, its standard error (and, unless piped, output) going to `NAME.log` there.
    pub fn start(name: &str, mut command: Command, folder: &Path, piped: bool) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command.current_dir(folder).stdin(Stdio::null()).stderr(file.try_clone()?);
        command.stdout(if piped { Stdio::piped() } else { Stdio::from(file) });
        sys::tie_to_us(&mut command);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// The first line of a piped standard output.
    pub fn first_line(&mut self) -> Result<String> {
        let out = self.child.stdout.take().context("standard output is not piped")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        if line.is_empty() {
            bail!("{} ended at once: {}", self.name, self.last_words());
        }
        Ok(line.trim_end().to_owned())
    }

    /// The lines of a piped standard output up to the one that begins so.
    pub fn lines_until(&mut self, last: &str) -> Result<Vec<String>> {
        let out = self.child.stdout.take().context("standard output is not piped")?;
        let mut out = BufReader::new(out);
        let mut lines: Vec<String> = Vec::new();
        while lines.last().is_none_or(|line| !line.starts_with(last)) {
            let mut line = String::new();
            out.read_line(&mut line)?;
            if line.is_empty() {
                bail!("{} ended at once: {}", self.name, self.last_words());
            }
            lines.push(line.trim_end().to_owned());
        }
        // It may say more, and nobody is to be told that nobody listens.
        self.child.stdout = Some(out.into_inner());
        Ok(lines)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails, with the end of its log, if it has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status}): {}", self.name, self.last_words()),
        }
    }

    /// Kills it, without a chance to say good-bye to anyone.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end, without waiting for it.
    pub fn ask_to_end(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            sys::terminate(&self.child);
        }
    }

    /// Asks it to end, and kills it if it does not.
    pub fn end(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        sys::terminate(&self.child);
        let give_up = Instant::now() + END_WAIT;
        while Instant::now() < give_up {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.kill();
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(8)..].join("\n  ");
        format!("{}:\n  {tail}", self.log.display())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
