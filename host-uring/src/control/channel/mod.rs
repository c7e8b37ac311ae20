//! The engine's end of the channel to its Controller.
//!
//! An engine that is led by a Controller keeps all of it in one folder: its key and certificate, its configuration as it came
//! ([`Kept`]), and the document that is made of it and of what the engine says for itself. It starts from that folder, with or
//! without a Controller, and each configuration that comes is loaded as a file is that has changed.

mod answering;
mod beside;
mod completing;
mod document;
mod enroll;
mod folder;
mod holding;
mod link;
mod machine;
mod metering;
mod reporting;
mod routes;
mod stream;
mod tallies;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use forebay_wire::PROTOCOL;

pub use document::Local;
pub use folder::{Folder, InPart, Kept};
pub use metering::Metering;

use super::State;
use super::admin::Hall;
use crate::fault::{Fault, in_words};
use crate::limits::TOLD_LOOK_MS;
use completing::Completing;
use holding::{Holding, TURNS_MAX};
use link::Trouble;
use stream::Again;

/// Wait before the Controller is called again: the first time, and at most. Half of it is random, so that engines that lost it
/// together do not call together.
const REDIAL: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// The most where there are several Controllers: another one leads soon.
const AMONG: Duration = Duration::from_secs(1);
/// The same where the Controller said that it will not have this engine: what is the matter is mended by people.
const REFUSED: Duration = Duration::from_secs(60);
/// A stream that stood for so long was none that failed.
const STOOD: Duration = Duration::from_secs(10);
/// The same trouble is told again after so long.
const TOLD_AGAIN: Duration = Duration::from_secs(300);

/// Where the Controller is, and who this engine is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Host and port of each Controller that was named.
    pub named: Vec<String>,
    /// What the engine keeps.
    pub folder: Folder,
    /// What the engine wants to be called, if it is new.
    pub name: String,
    /// What it says for itself.
    pub local: Local,
    /// The versions of the protocol that it speaks.
    pub protocol: (u32, u32),
    /// Where other engines reach it: where it calls from, unless this is set.
    pub sync_address: Option<IpAddr>,
    /// The port for that, if it is another one than the group's.
    pub sync_port: Option<u16>,
    /// Other engines of this machine listen on the same addresses.
    pub shares_addresses: bool,
    /// How often in a row no Controller was reached, and one was slow.
    slow: Arc<AtomicU32>,
}

impl Settings {
    /// For Controllers and a folder.
    pub fn new(named: Vec<String>, folder: PathBuf, local: Local) -> Self {
        Settings {
            named,
            folder: Folder::new(folder),
            name: String::new(),
            sync_address: local.sync_address(),
            sync_port: local.sync_port(),
            local,
            protocol: PROTOCOL,
            shares_addresses: false,
            slow: Arc::default(),
        }
    }

    /// Where Controllers may be, each once: first the one that was there last, then those that were named, then those of which it
    /// told.
    //= CHAN-SEVERAL-01
    fn controllers(&self) -> Vec<String> {
        let (last, told) = self.folder.controllers();
        let mut all: Vec<String> = Vec::new();
        for at in last.iter().chain(&self.named).chain(&told) {
            if !all.contains(at) {
                all.push(at.clone());
            }
        }
        all
    }

    /// For the log.
    fn called(&self) -> String {
        self.controllers().join(",")
    }
}

/// Becomes a member, if the folder says that the engine is none: for the token in this file.
///
/// # Errors
/// Why it cannot be one, in words: what people have to mend. While the Controller is not there it is waited for.
pub fn join(settings: &Settings, token: Option<&std::path::Path>) -> anyhow::Result<()> {
    if settings.folder.is_member() {
        return Ok(());
    }
    runtime()?.block_on(enroll::join(settings, token))
}

/// Says what is wrong with a document.
pub type Judge<'j> = &'j dyn Fn(&str) -> Vec<Fault>;

/// The configuration that the folder has; the first one is waited for, and so is a better one where nothing can start by the
/// one that is there.
///
/// # Errors
/// The folder cannot be read or written.
//= CHAN-START-01
//= CHAN-START-03
pub fn first(settings: &Settings, judge: Judge<'_>) -> anyhow::Result<Kept> {
    let kept = settings.folder.kept()?;
    let kept = match kept.map(|kept| fitting(kept, settings, judge)) {
        Some(Ok(kept)) => return Ok(kept),
        Some(Err((kept, problems))) => {
            unfit(&problems);
            kept
        }
        None => Kept::default(),
    };
    runtime()?.block_on(async {
        let mut calls = Calling::new(settings);
        loop {
            match stream::first(settings, &kept, judge).await {
                Ok(kept) => return Ok(kept),
                Err(trouble) => calls.wait(&trouble).await,
            }
        }
    })
}

/// A configuration as far as an engine can start by it, or why it cannot.
fn fitting(kept: Kept, settings: &Settings, judge: Judge<'_>) -> Result<Kept, (Kept, Vec<String>)> {
    let problems = |kept: &Kept| match document(kept, settings) {
        Ok(text) => judge(&text),
        Err(problem) => vec![problem.into()],
    };
    let faults = problems(&kept);
    if faults.is_empty() {
        return Ok(kept);
    }
    match without(&kept, &[faults], &problems) {
        Ok(kept) => Ok(kept),
        Err(faults) => Err((kept, in_words(&faults))),
    }
}

/// A configuration without what these faults are in, which were found one after another: first those of what the engine works
/// by, then those of what was left of it.
///
/// # Errors
/// What is wrong, where that leaves nothing by which an engine could start.
//= CHAN-PART-04
fn without(
    kept: &Kept,
    faults: &[Vec<Fault>],
    judge: &dyn Fn(&Kept) -> Vec<Fault>,
) -> Result<Kept, Vec<Fault>> {
    let mut holding = Holding::new(&kept.sections, kept.works_by()).at_start();
    let mut known = faults.iter().cloned();
    let mut found = known.next().unwrap_or_default();
    let mut tried = kept.works_by().clone();
    for _ in 0..TURNS_MAX {
        let is_news = holding.accuse(&found, &tried);
        let next = holding.sections();
        if !is_news && next == tried {
            break;
        }
        tried = next;
        if let Some(more) = known.next() {
            found = more;
            continue;
        }
        let part = InPart { sections: tried.clone(), untaken: holding.untaken() };
        let next = Kept { part: Some(part), ..kept.clone() };
        found = judge(&next);
        if found.is_empty() {
            stream::say_part(next.untaken());
            return Ok(next);
        }
    }
    Err(found)
}

/// What an engine can start by after all, where it could not start for these faults, each time for others.
///
/// # Errors
/// They are in nothing that could be held back.
//= CHAN-PART-04
pub fn held_back(
    settings: &Settings,
    faults: &[Vec<Fault>],
    judge: Judge<'_>,
) -> anyhow::Result<Option<Kept>> {
    if faults.len() >= TURNS_MAX {
        return Ok(None);
    }
    let Some(kept) = settings.folder.kept()? else { return Ok(None) };
    let problems = |kept: &Kept| match document(kept, settings) {
        Ok(text) => judge(&text),
        Err(problem) => vec![problem.into()],
    };
    let Ok(kept) = without(&kept, faults, &problems) else { return Ok(None) };
    settings.folder.keep(&kept)?;
    Ok(Some(kept))
}

fn unfit(problems: &[String]) {
    tracing::error!(
        event = "CONFIG_UNFIT",
        problems = problems.join("; "),
        "nothing can start by what the Controller says: the engine waits until it says something else"
    );
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    use anyhow::Context;
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime cannot be made")
}

/// The document with which an engine starts.
///
/// # Errors
/// A part of it is no TOML.
pub fn document(kept: &Kept, settings: &Settings) -> Result<String, String> {
    document::made(kept.works_by(), &settings.local, None).map(|(document, _)| document.text)
}

/// Hangs on the Controller from now on, until another process serves in this one's place.
pub(super) fn start(
    settings: Option<&Arc<Settings>>,
    metering: &Arc<Metering>,
    state: &Arc<State>,
    hall: impl FnOnce() -> Hall,
) {
    let Some(settings) = settings.cloned() else { return };
    let gathering = Arc::clone(state);
    tokio::spawn(async move {
        tokio::select! {
            () = gather(&gathering) => {}
            _ = gathering.until_given() => {}
        }
    });
    let (state, hall, metering) = (Arc::clone(state), Arc::new(hall()), Arc::clone(metering));
    tokio::spawn(async move {
        tokio::select! {
            () = keep(&settings, &hall, &metering) => {}
            () = metering.run(&state) => {}
            // What it counts from here on while it drains is not told any more.
            () = async { state.until_given().await; farewell(&state, &metering).await } => {}
        }
    });
}

/// Tells the Controller the last of what was counted and recorded, if it is there.
pub(super) async fn farewell(state: &State, metering: &Metering) {
    let records = async {
        if let Some(telling) = &state.telling {
            telling.farewell(&state.tree()).await;
        }
    };
    tokio::join!(metering.farewell(state), records);
}

/// Takes what the workers write for the Controller, whether it is there or not.
async fn gather(state: &State) {
    let Some(telling) = &state.telling else { return };
    let mut looks = tokio::time::interval(Duration::from_millis(TOLD_LOOK_MS));
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        telling.gather(&state.tree(), Instant::now());
    }
}

async fn keep(settings: &Settings, hall: &Arc<Hall>, metering: &Metering) {
    let mut calls = Calling::new(settings);
    let mut completing = Completing::new(&hall.state);
    let mut again = Again::default();
    loop {
        let began = Instant::now();
        let trouble = stream::hang(settings, hall, metering, &mut completing, &mut again).await;
        stream::mend(settings, hall, &mut again).await;
        completing.look(&hall.state);
        if began.elapsed() >= STOOD {
            calls.stood();
        }
        calls.wait(&trouble).await;
    }
}

/// When the Controller is called again, and what is told of it.
struct Calling<'s> {
    settings: &'s Settings,
    wait: Duration,
    told: Option<(String, Instant)>,
}

impl<'s> Calling<'s> {
    fn new(settings: &'s Settings) -> Self {
        Calling { settings, wait: REDIAL.0, told: None }
    }

    fn stood(&mut self) {
        self.wait = REDIAL.0;
        self.told = None;
    }

    //= CHAN-START-02
    async fn wait(&mut self, trouble: &Trouble) {
        let most = match (trouble.is_final(), self.settings.controllers().len()) {
            (true, _) => REFUSED,
            (false, 0 | 1) => REDIAL.1,
            (false, _) => AMONG,
        };
        let text = trouble.to_string();
        let is_new =
            self.told.as_ref().is_none_or(|(told, when)| *told != text || when.elapsed() >= TOLD_AGAIN);
        if is_new {
            if trouble.is_final() {
                tracing::error!(
                    event = "CONTROLLER_REFUSES",
                    controller = self.settings.called(),
                    why = text,
                    "the Controller will not have this engine: it goes on by what it has"
                );
            } else {
                tracing::warn!(
                    event = "CONTROLLER_LOST",
                    controller = self.settings.called(),
                    why = text,
                    "the Controller is not reached: the engine goes on by what it has"
                );
            }
            self.told = Some((text, Instant::now()));
        }
        let half = self.wait / 2;
        tokio::time::sleep(half + half.mul_f64(random())).await;
        self.wait = (self.wait * 2).min(most);
    }
}

/// From 0 to 1, another one each time; nothing depends on who could guess it.
fn random() -> f64 {
    use std::hash::{BuildHasher, Hasher};
    let drawn = std::hash::RandomState::new().build_hasher().finish();
    (drawn >> 11) as f64 / (1_u64 << 53) as f64
}
