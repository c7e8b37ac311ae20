//! An engine that is led by a Controller: `run --controller`.

use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use forebay_host_uring::control::Start;
use forebay_host_uring::control::channel::{self, Local, Settings};
use forebay_snapshot::engine::ProcessLog;
use forebay_snapshot::{Problem, Snapshot};

use super::args::Led;
use super::{Failure, engine, exit, paths, process_log, read, told};

/// Runs an engine by its file, or by what a Controller says.
pub fn run(config: Option<&Path>, led: Led, start: Start) -> ExitCode {
    let Led {
        controller: controllers,
        state: Some(state),
        token_file,
        name,
        share_addresses,
        channel_protocol,
    } = led
    else {
        // The arguments demand one of the two.
        let usage = ExitCode::from(exit::USAGE);
        return config.map_or(usage, |config| engine(config, start));
    };
    let (local, log) = match config.map(own_word).transpose() {
        Ok(said) => said.unwrap_or_default(),
        Err(code) => return code,
    };
    let mut settings = Settings::new(controllers, state, local);
    settings.name = name.unwrap_or_else(host_name);
    settings.shares_addresses = share_addresses;
    settings.protocol = channel_protocol.unwrap_or(settings.protocol);
    // The first one that is set counts, and there is something to tell before the document is there.
    process_log(&log);
    match prepared(&settings, token_file.as_deref()) {
        Ok(()) => {
            let document = settings.folder.document();
            engine(&document, Start { controller: Some(Arc::new(settings)), ..start })
        }
        Err(error) => {
            tracing::error!(event = "SE_FAILED", "not started");
            Failure::new(exit::FAILED, format!("{error:#}"), "").tell()
        }
    }
}

/// What the engine says for itself, and how it tells of itself.
fn own_word(config: &Path) -> Result<(Local, ProcessLog), ExitCode> {
    let failed = |problems: Vec<Problem>| {
        for problem in &problems {
            eprintln!("{}", told(config, problem));
        }
        ExitCode::from(exit::FAILED)
    };
    let text = read(config)?;
    let mut snapshot = judged_alone(config, &text).map_err(failed)?;
    // What is settled here goes into a document in another folder.
    let settled = std::path::absolute(config).unwrap_or_else(|_| config.to_owned());
    paths::settle(&settled, &mut snapshot);
    let folder = settled.parent().unwrap_or(&settled);
    let local = Local::of(&text, &snapshot).map_err(failed)?.from_folder(folder);
    Ok((local, snapshot.engine.process_log))
}

/// Judges the file without `[objsync]`: what belongs to an address comes from the Controller.
//= CHAN-LOCAL-01
fn judged_alone(config: &Path, text: &str) -> Result<Snapshot, Vec<Problem>> {
    let mut table: toml::Table = toml::from_str(text).unwrap_or_default();
    let Some(sharing) = table.remove("objsync") else {
        return super::judged(config, text);
    };
    let mut problems = Vec::new();
    let mut unfit = |key: &str, fix: &str| {
        problems.push(Problem {
            line: None,
            path: format!("objsync.{key}"),
            reason: format!("this is no {key} that other engines could reach"),
            fix: fix.to_owned(),
        });
    };
    let is_address = |value: &toml::Value| value.as_str().is_some_and(|text| text.parse::<IpAddr>().is_ok());
    if sharing.get("address").is_some_and(|value| !is_address(value)) {
        unfit("address", "write an IP address of this machine, as text");
    }
    let is_port = |value: &toml::Value| value.as_integer().is_some_and(|port| (1..=65_535).contains(&port));
    if sharing.get("port").is_some_and(|value| !is_port(value)) {
        unfit("port", "write a number from 1 to 65535");
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    super::judged(config, &table.to_string()).map_err(|mut problems| {
        // They would count in another text.
        problems.iter_mut().for_each(|problem| problem.line = None);
        problems
    })
}

/// The folder has all that the engine starts with.
//= CHAN-START-01
fn prepared(settings: &Settings, token: Option<&Path>) -> anyhow::Result<()> {
    use anyhow::Context;
    settings.folder.make()?;
    channel::join(settings, token)?;
    // What is wrong with a document is said of the one that would be there.
    let path = settings.folder.document();
    let judge = |text: &str| match super::judged(&path, text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    };
    let kept = channel::first(settings, &judge)?;
    let text = channel::document(&kept, settings).map_err(anyhow::Error::msg)?;
    let written = settings.folder.write(&path, text.as_bytes());
    written.with_context(|| format!("--state: {} cannot be written", path.display()))
}

/// What the machine is called.
fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}
