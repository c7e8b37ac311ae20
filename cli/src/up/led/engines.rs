//! Engines that join the Controller of `up`.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Controller, STATE_FOLDER, own_text, remove};
use crate::up::config::Seat;
use crate::up::engines::Engine;
use crate::up::process::Process;

/// Starts an engine for each seat. Each becomes a member anew, by a token of its own.
pub fn start(
    program: &Path,
    data: &Path,
    controller: &Controller,
    seats: &[Seat],
    workers: u16,
) -> Result<Vec<Engine>> {
    let mut api = controller.session()?;
    let mut engines = Vec::new();
    for seat in seats {
        let token = controller.token(&mut api)?;
        engines.push(one(program, data, controller, (*seat, workers), &token)?);
    }
    api.close();
    Ok(engines)
}

fn one(
    program: &Path,
    data: &Path,
    controller: &Controller,
    (seat, workers): (Seat, u16),
    token: &str,
) -> Result<Engine> {
    let folder = data.join(seat.name());
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    remove(&folder.join(STATE_FOLDER))?;
    write(&folder.join("own.toml"), &own_text(&seat, workers))?;
    write(&folder.join("token"), token)?;
    let log_before = folder.join("access.log").metadata().map_or(0, |log| log.len());
    let mut command = Command::new(program);
    command.args(["run", "--config", "own.toml", "--controller", &controller.door.to_string()]);
    command.args(["--state", STATE_FOLDER, "--name", &seat.name(), "--token-file", "token"]);
    command.arg("--share-addresses");
    let process = Process::start("forebay-se", command, &folder, false)?;
    Ok(Engine { seat, process, folder, log_before })
}

/// Writes a file that nobody else may read.
fn write(path: &Path, text: &str) -> Result<()> {
    // One that is there may have been made readable.
    let _ = std::fs::remove_file(path);
    let mut open = std::fs::OpenOptions::new();
    let made = open.write(true).create_new(true).mode(0o600).open(path);
    made.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}
