//! `forebay up --detach`: it goes on in the background, and who has started it waits until it is ready.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::sys;

/// What it prints from then on, in the data folder.
pub const LOG_FILE: &str = "up.log";
/// Set for the one that goes on.
const BACKGROUND: &str = "FOREBAY_UP_BACKGROUND";
/// What it prints last before it goes on by itself; no text has it.
const READY: u8 = 0;

/// Says whether this is the one that goes on.
pub fn is_background() -> bool {
    std::env::var_os(BACKGROUND).as_deref() == Some(OsStr::new("1"))
}

/// Starts it anew in the background, with the same arguments, and passes on what it says until it is ready, or has ended.
///
/// # Errors
/// Those of the system.
//= CLI-UP-01
pub fn start() -> Result<ExitCode> {
    let own = std::env::current_exe().context("own path")?;
    let mut command = Command::new(own);
    command.args(std::env::args_os().skip(1)).env(BACKGROUND, "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    sys::apart_from_terminal(&mut command);
    let mut child = command.spawn().context("cannot start it in the background")?;
    let errors = child.stderr.take().context("standard error is not piped")?;
    let out = child.stdout.take().context("standard output is not piped")?;
    // Both end when it prints elsewhere, or ends itself.
    let errors = std::thread::spawn(move || pass_on(errors, &mut std::io::stderr()));
    let is_ready = pass_on(out, &mut std::io::stdout());
    // A thread of ours that panicked has passed on nothing more.
    let _ = errors.join();
    if is_ready? {
        return Ok(ExitCode::SUCCESS);
    }
    let code = child.wait()?.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}

/// Says whether it came to the mark.
fn pass_on(mut from: impl Read, to: &mut impl Write) -> Result<bool> {
    let (mut piece, mut is_ready) = ([0; 4096], false);
    loop {
        let count = from.read(&mut piece)?;
        let Some(text) = piece.get(..count).filter(|text| !text.is_empty()) else { return Ok(is_ready) };
        is_ready |= text.contains(&READY);
        let text: Vec<u8> = text.iter().copied().filter(|byte| *byte != READY).collect();
        to.write_all(&text)?;
        to.flush()?;
    }
}

/// It is ready: from now on it prints into a file of its data folder.
///
/// # Errors
/// Those of the system; also that nobody waits any more.
pub fn go_on(folder: &Path) -> Result<()> {
    let log = folder.join(LOG_FILE);
    let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut out = std::io::stdout();
    out.write_all(&[READY]).and_then(|()| out.flush()).context("nobody waits for it any more")?;
    sys::print_into(&file).with_context(|| format!("cannot print into {}", log.display()))
}
