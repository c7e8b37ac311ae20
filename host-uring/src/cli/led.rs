//! An engine that is led by a Controller: `run --controller`.

use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use forebay_host_uring::control::Start;
use forebay_host_uring::control::channel::{self, Local, Settings};
use forebay_host_uring::fault::{Fault, Unfit};
use forebay_snapshot::engine::ProcessLog;
use forebay_snapshot::{Problem, Snapshot};

use super::args::Led;
use super::{Failure, engine, exit, paths, process_log, read, started, told};

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
        Ok(()) => serve(settings, start),
        Err(error) => not_started(&error),
    }
}

fn not_started(error: &anyhow::Error) -> ExitCode {
    tracing::error!(event = "SE_FAILED", "not started");
    Failure::new(exit::FAILED, format!("{error:#}"), "").tell()
}

/// Runs the engine. What keeps it from starting costs the services that it is in, and not the others.
//= CHAN-PART-04
fn serve(settings: Settings, start: Start) -> ExitCode {
    let document = settings.folder.document();
    let settings = Arc::new(settings);
    let start = Start { controller: Some(Arc::clone(&settings)), ..start };
    let mut faults = Vec::new();
    loop {
        let error = match started(&document, start.clone()) {
            Ok(code) => return code,
            Err(error) => error,
        };
        // Who takes over starts by what another process runs by.
        let Some(unfit) = error.downcast_ref::<Unfit>().filter(|_| !start.take_over) else {
            return not_started(&error);
        };
        faults.push(unfit.0.clone());
        let judge = |text: &str| judged(&document, text);
        let next = channel::held_back(&settings, &faults, &judge)
            .and_then(|kept| kept.map(|kept| write(&settings, &kept)).transpose());
        match next {
            Ok(Some(())) => {}
            Ok(None) => return not_started(&error),
            Err(error) => return not_started(&error),
        }
    }
}

fn judged(document: &Path, text: &str) -> Vec<Fault> {
    let (misfits, files) = match super::judge(document, text) {
        Ok(_) => return Vec::new(),
        Err(problems) => problems,
    };
    misfits.iter().map(Fault::from).chain(files.iter().map(Fault::of_file)).collect()
}

fn write(settings: &Settings, kept: &channel::Kept) -> anyhow::Result<()> {
    let text = channel::document(kept, settings).map_err(anyhow::Error::msg)?;
    let written = settings.folder.write(&settings.folder.document(), text.as_bytes());
    written.with_context(|| format!("--state: {} cannot be written", settings.folder.document().display()))
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
    settings.folder.make()?;
    channel::join(settings, token)?;
    // What is wrong with a document is said of the one that would be there.
    let path = settings.folder.document();
    let judge = |text: &str| judged(&path, text);
    let kept = channel::first(settings, &judge)?;
    write(settings, &kept)
}

/// What the machine is called.
fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}
