//! `forebay down`: ends what `forebay up` runs, and removes what it has made.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::folder::{self, DataFolder, Removed};
use super::record::{Known, Record};
use crate::args::{Down, Output};
use crate::objects::show::printable;
use crate::objects::verbs::print;
use crate::sys::Held;

/// How long a run may take to end by itself: it gives each of its processes 5 s.
const END_WAIT: Duration = Duration::from_secs(45);
/// How long the system may take to end what was killed.
const KILL_WAIT: Duration = Duration::from_secs(10);
/// How long a run that begins may take to say who it is.
const RECORD_WAIT: Duration = Duration::from_secs(5);
/// Pause between two looks at that.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What was done.
#[derive(Default)]
struct Done {
    ended: Vec<Known>,
    freed: Vec<(String, String)>,
    files: Removed,
    /// Data folders that stay because that was asked for.
    left: Vec<PathBuf>,
    /// What could not be done.
    failed: Vec<String>,
}

/// Runs `forebay down`.
///
/// # Errors
/// Those of finding the folders.
//= CLI-DOWN-01
pub fn run(options: &Down, output: Output) -> Result<ExitCode> {
    let (place, folders) = match &options.data {
        Some(data) if folder::is_of_a_run(data) => (data.clone(), vec![data.canonicalize()?]),
        // Idempotent: what is not there was removed before.
        Some(data) if !data.exists() => (data.clone(), Vec::new()),
        Some(data) => bail!("{} is no data folder of `forebay up`: nothing in it is touched", data.display()),
        None => folder::of_runs()?,
    };
    let mut done = Done::default();
    for path in &folders {
        if let Err(error) = one(path, options.keep_data, &mut done) {
            done.failed.push(format!("{error:#}"));
        }
    }
    match output {
        Output::Json => print(&format!("{}\n", done.json())),
        _ => print(&printable(&done.text(&place, options.data.is_none()))),
    }
    for why in &done.failed {
        eprintln!("forebay: {why}");
    }
    Ok(if done.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn one(path: &Path, keep: bool, done: &mut Done) -> Result<()> {
    let claim = match DataFolder::of_earlier(path)? {
        Some(claim) => {
            // The run has ended, however: nothing of it is left, unless the system says otherwise.
            if let Some(record) = Record::read(path)? {
                ended(held(&record), Duration::ZERO, done)?;
            }
            claim
        }
        None => {
            stop(path, done)?;
            let taken = "another `forebay up` has taken it in the meantime: it stays";
            DataFolder::of_earlier(path)?.ok_or_else(|| anyhow::anyhow!("{}: {taken}", path.display()))?
        }
    };
    if keep {
        done.left.push(claim.path().to_owned());
        return Ok(());
    }
    claim.remove(&mut done.files)
}

/// Ends a run that goes on: it ends its engines, then its Controller, then its servers.
fn stop(path: &Path, done: &mut Done) -> Result<()> {
    let Some(record) = record_of_who_runs(path)? else {
        bail!(
            "{} is in use, and by whom it does not say: end that `forebay up` where it was started",
            path.display()
        );
    };
    let processes = held(&record);
    if let Some((_, up)) = processes.first() {
        up.signal(libc::SIGTERM)?;
        if !up.has_ended(END_WAIT) {
            up.signal(libc::SIGKILL)?;
        }
    }
    ended(processes, KILL_WAIT, done)?;
    done.freed.extend(record.addresses);
    Ok(())
}

/// What stands in the folder of a run, as soon as that has said who it is.
fn record_of_who_runs(path: &Path) -> Result<Option<Record>> {
    let give_up = Instant::now() + RECORD_WAIT;
    loop {
        let record = Record::read(path)?.filter(|record| {
            record.processes.first().is_some_and(|up| up.name == "up" && up.held().is_some())
        });
        if record.is_some() || Instant::now() > give_up {
            return Ok(record);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Those of its processes that are there.
fn held(record: &Record) -> Vec<(Known, Held)> {
    record.processes.iter().filter_map(|one| Some((one.clone(), one.held()?))).collect()
}

/// Waits until all of them have ended by themselves, and kills those that have not after this time.
fn ended(processes: Vec<(Known, Held)>, patience: Duration, done: &mut Done) -> Result<()> {
    for (known, process) in processes {
        if !process.has_ended(patience) {
            // It may have ended in between.
            let _ = process.signal(libc::SIGKILL);
            if !process.has_ended(KILL_WAIT) {
                bail!("{} (process {}) does not end", known.name, known.pid);
            }
        }
        done.ended.push(known);
    }
    Ok(())
}

impl Done {
    fn text(&self, place: &Path, is_default: bool) -> String {
        let mut lines = Vec::new();
        lines.extend(self.ended.iter().map(|one| format!("ended    {} (process {})", one.name, one.pid)));
        lines.extend(self.freed.iter().map(|(what, address)| format!("freed    {address} ({what})")));
        lines.extend(self.files.removed.iter().map(|path| format!("removed  {}", path.display())));
        let kept = |path: &PathBuf| format!("kept     {}: `forebay up` has not made it", path.display());
        lines.extend(self.files.kept.iter().map(kept));
        lines.extend(self.left.iter().map(|path| format!("kept     {}", path.display())));
        if lines.is_empty() && self.failed.is_empty() {
            lines
                .push(format!("nothing to remove: no `forebay up` has left anything in {}", place.display()));
            if is_default {
                lines.push("one that was started with --data DIR is named by --data DIR".to_owned());
            }
        }
        lines.into_iter().map(|line| line + "\n").collect()
    }

    fn json(&self) -> Value {
        let ended: Vec<Value> =
            self.ended.iter().map(|one| json!({ "name": one.name, "pid": one.pid })).collect();
        let freed: Vec<Value> =
            self.freed.iter().map(|(what, address)| json!({ "what": what, "address": address })).collect();
        // A name may be no text, and people may have made it.
        let text = |path: &PathBuf| path.display().to_string();
        let removed: Vec<String> = self.files.removed.iter().map(text).collect();
        let kept: Vec<String> = self.files.kept.iter().chain(&self.left).map(text).collect();
        json!({
            "ended": ended,
            "freed": freed,
            "removed": removed,
            "kept": kept,
            "failed": self.failed,
        })
    }
}
