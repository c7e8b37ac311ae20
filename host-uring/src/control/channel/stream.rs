//! The stream on which the engine hangs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_wire::limits::PATIENCE;
use forebay_wire::proto::{
    Applied, FromEngine, Hello, Logs, Part, Report, ToEngine, Untaken, Welcome, from_engine, to_engine,
};
use forebay_wire::{Collector, Sections, Whole, change, digest};
use tokio::sync::mpsc;
use tonic::Streaming;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;

use super::completing::Completing;
use super::document::{Own, made, own};
use super::holding::{Accusations, Holding, TURNS_MAX};
use super::link::{Link, Trouble};
use super::metering::Metering;
use super::reporting::Reporting;
use super::{InPart, Kept, Settings, answering, beside, enroll, machine};
use crate::control::admin::Hall;
use crate::fault::{Fault, in_words};
use crate::log::Telling;

/// Messages that wait to be sent.
const WAITING_MAX: usize = 64;
/// Who wants a configuration, for the log.
const CAUSE: &str = "the Controller";
/// After so long what could not be taken is tried again (a clock that is set, a disk with room, an address that comes), at first and at most: each time all of the configuration is looked at.
const AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));
/// Services of which a line of the log tells.
const TOLD_MAX: usize = 10;
/// How often the engine looks whether there is something to report.
const LOOK: Duration = Duration::from_secs(1);

/// A stream that stands.
struct Stream {
    link: Link,
    send: mpsc::Sender<FromEngine>,
    came: Streaming<ToEngine>,
    welcome: Welcome,
}

async fn open(settings: &Settings, kept: &Kept) -> Result<Stream, Trouble> {
    let mut link = Link::call(settings, Some(settings.folder.own())).await?;
    if enroll::renew(settings, &mut link).await? {
        link = Link::call(settings, Some(settings.folder.own())).await?;
    }
    let hello = Hello {
        protocol_min: settings.protocol.0,
        protocol_max: settings.protocol.1,
        features: Vec::new(),
        software: env!("CARGO_PKG_VERSION").to_owned(),
        version: kept.version,
        digest: kept.digest().to_vec(),
        machine: Some(machine::look()),
        sync_address: settings.sync_address.map(machine::bytes).unwrap_or_default(),
        sync_port: settings.sync_port.unwrap_or(0).into(),
        shares_addresses: settings.shares_addresses,
        takes_mirror: true,
        redis_address: settings.local.redis_address().unwrap_or_default(),
    };
    let (send, sent) = mpsc::channel(WAITING_MAX);
    // The queue is new and empty.
    let _ = send.try_send(said(from_engine::Said::Hello(hello)));
    let silent = || Trouble::Lost("the Controller does not answer".to_owned());
    let attached = tokio::time::timeout(PATIENCE, link.client.attach(ReceiverStream::new(sent))).await;
    let mut came = attached.map_err(|_| silent())??.into_inner();
    let first = tokio::time::timeout(PATIENCE, came.message()).await.map_err(|_| silent())??;
    let Some(to_engine::Said::Welcome(welcome)) = first.and_then(|first| first.said) else {
        return Err(Trouble::Lost("the Controller began without a Welcome".to_owned()));
    };
    if let Err(error) = settings.folder.keep_controllers(&link.at, &welcome.controllers) {
        tracing::warn!(event = "CONTROLLERS_NOT_KEPT", %error, "where Controllers are is not kept for the next start");
    }
    Ok(Stream { link, send, came, welcome })
}

fn said(said: from_engine::Said) -> FromEngine {
    FromEngine { said: Some(said) }
}

/// Waits for the first configuration by which the engine can start: one that it cannot is refused as any other is. `unfit`:
/// what it has kept, by which nothing can start.
//= CHAN-START-01
//= CHAN-START-03
pub async fn first(settings: &Settings, unfit: &Kept, judge: super::Judge<'_>) -> Result<Kept, Trouble> {
    let mut stream = open(settings, &Kept::default()).await?;
    let heartbeat = Duration::from_millis(stream.welcome.heartbeat_ms.clamp(100, 60_000).into());
    let mut beats = tokio::time::interval(heartbeat);
    let mut collector = Collector::default();
    let mut told = super::fitting(unfit.clone(), settings, judge)
        .err()
        .map(|(_, problems)| problems)
        .unwrap_or_default();
    loop {
        let message = tokio::select! {
            message = stream.came.message() => message?,
            _ = beats.tick() => {
                tell(&stream.send, from_engine::Said::Report(Report::default())).await?;
                continue;
            }
        };
        let Some(message) = message else { break };
        let Some(to_engine::Said::Part(part)) = message.said else { continue };
        let Some(whole) = taken(&mut collector, part)? else { continue };
        let version = whole.version;
        let kept = fits(&Kept::default(), whole);
        let Ok(kept) = kept else {
            let answer = Applied { version, needs_all: true, ..Applied::default() };
            tell(&stream.send, from_engine::Said::Applied(answer)).await?;
            continue;
        };
        let kept = match super::fitting(kept, settings, judge) {
            Ok(kept) => kept,
            Err((_, problems)) => {
                if problems != told {
                    super::unfit(&problems);
                    told.clone_from(&problems);
                }
                let answer = Applied { version, problems, ..Applied::default() };
                tell(&stream.send, from_engine::Said::Applied(answer)).await?;
                continue;
            }
        };
        settings.folder.keep(&kept).map_err(|error| Trouble::Lost(format!("it cannot be kept: {error}")))?;
        return Ok(kept);
    }
    Err(Trouble::Lost("the Controller has ended the connection".to_owned()))
}

fn taken(collector: &mut Collector, part: Part) -> Result<Option<Whole>, Trouble> {
    collector.take(part).map_err(|misfit| Trouble::Lost(misfit.to_string()))
}

/// What is left when a change does not build on what is there.
struct NeedsAll;

/// The configuration after what came; its sum says whether it is what was meant.
//= CHAN-CONFIG-02
fn fits(kept: &Kept, whole: Whole) -> Result<Kept, NeedsAll> {
    let none = Sections::new();
    let from = match whole.from {
        0 => &none,
        from if from == kept.version => &kept.sections,
        _ => return Err(NeedsAll),
    };
    let sections = change(from, whole.change);
    match digest(&sections)[..] == whole.digest[..] {
        true => Ok(Kept { version: whole.version, sections, part: None }),
        false => Err(NeedsAll),
    }
}

/// When what the engine could not take is tried again without a word of the Controller, and what was found out before.
#[derive(Default)]
pub struct Again {
    at: Option<Instant>,
    pause: Duration,
    /// What was at fault, and the texts for which that is so.
    known: Option<(Accusations, Sections)>,
}

impl Again {
    /// A configuration was taken, of which `untaken` is left, some of it news: what is due stays so, however often others
    /// change something.
    fn taken(&mut self, untaken: &[Untaken], is_news: bool, now: Instant) {
        if untaken.is_empty() {
            (self.at, self.pause) = (None, Duration::ZERO);
        } else if is_news || self.at.is_none() {
            self.pause = AGAIN.0;
            let soon = now + self.pause;
            self.at = Some(self.at.map_or(soon, |at| at.min(soon)));
        }
    }

    /// What was due was tried, and `untaken` is left.
    fn tried(&mut self, untaken: &[Untaken], is_news: bool, now: Instant) {
        let pause = if is_news { AGAIN.0 } else { (self.pause * 2).clamp(AGAIN.0, AGAIN.1) };
        (self.pause, self.at) = (pause, (!untaken.is_empty()).then(|| now + pause));
    }
}

/// Tries again what may have mended itself, if it is time.
//= CHAN-PART-05
pub async fn mend(settings: &Settings, hall: &Arc<Hall>, again: &mut Again) {
    if again.at.is_none_or(|at| Instant::now() < at) {
        return;
    }
    match here(settings, hall) {
        Ok(mut here) => here.try_again(again).await,
        // Told by whoever reads it next.
        Err(_) => again.at = None,
    }
}

/// What is left of a configuration.
struct Held {
    accused: Accusations,
    part: InPart,
    concerned: Sections,
}

fn held(holding: &Holding<'_>) -> Held {
    let part = InPart { sections: holding.sections(), untaken: holding.untaken() };
    Held { accused: holding.accused().clone(), part, concerned: holding.concerned() }
}

/// Looks at a configuration on another thread: of thousands of services that takes a while, and this one has others to serve.
async fn looked<T: Send + 'static>(
    came: &Arc<Sections>,
    had: &Arc<Sections>,
    accused: Accusations,
    look: impl FnOnce(Holding<'_>) -> T + Send + 'static,
) -> Result<T, Vec<Fault>> {
    let (came, had) = (Arc::clone(came), Arc::clone(had));
    let done = tokio::task::spawn_blocking(move || look(Holding::new(&came, &had).with(accused)));
    done.await.map_err(|panic| vec![panic.to_string().into()])
}

/// Tells what the engine does not do as it should.
pub(super) fn say_part(untaken: &[Untaken]) {
    let words = |one: &Untaken| {
        let how = if one.is_left_out { "left out" } else { "not all of it" };
        format!("{} ({how}): {}", one.service, one.why.join("; "))
    };
    let shown: Vec<String> = untaken.iter().take(TOLD_MAX).map(words).collect();
    tracing::warn!(
        event = "CONFIG_TAKEN_IN_PART",
        services = untaken.len(),
        problems = shown.join("\n"),
        "these services are not as they should be, all others are"
    );
}

/// Hangs on the Controller until that ends, and gives why.
pub async fn hang(
    settings: &Settings,
    hall: &Arc<Hall>,
    metering: &Metering,
    completing: &mut Completing,
    again: &mut Again,
) -> Trouble {
    let done = talk(settings, hall, metering, completing, again).await;
    metering.begin();
    if let Some(telling) = &hall.state.telling {
        telling.pause();
    }
    match done {
        Ok(()) => Trouble::Lost("the Controller has ended the connection".to_owned()),
        Err(trouble) => trouble,
    }
}

async fn talk(
    settings: &Settings,
    hall: &Arc<Hall>,
    metering: &Metering,
    completing: &mut Completing,
    again: &mut Again,
) -> Result<(), Trouble> {
    let mut here = here(settings, hall)?;
    again.taken(here.kept.untaken(), false, Instant::now());
    let mut stream = open(settings, &here.kept).await?;
    tracing::info!(
        event = "CONTROLLER_REACHED",
        controller = stream.link.at,
        version = here.kept.version,
        "the engine hangs on its Controller"
    );
    let heartbeat = Duration::from_millis(stream.welcome.heartbeat_ms.clamp(100, 60_000).into());
    let mut reporting = Reporting::new(heartbeat);
    let mut looks = tokio::time::interval(LOOK.min(heartbeat));
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut collector = Collector::default();
    let telling = hall.state.telling.as_deref().filter(|_| stream.welcome.takes_logs);
    if let Some(telling) = telling {
        telling.begin();
    }
    let mut cut = metering.follow();
    // They end with the stream.
    let _link = &stream.link;
    let _ways = beside::open(&stream.link.client, &hall.state);
    loop {
        tokio::select! {
            message = stream.came.message() => match message?.map(|message| message.said) {
                None => return Ok(()),
                Some(Some(to_engine::Said::Part(part))) => {
                    if let Some(whole) = taken(&mut collector, part)? {
                        let applied = here.apply(whole, again).await;
                        completing.look(&hall.state);
                        // What it has now is told before it counts.
                        for report in reporting.due(&hall.state, completing.is_complete(), here.kept.untaken()) {
                            tell(&stream.send, from_engine::Said::Report(report)).await?;
                        }
                        tell(&stream.send, from_engine::Said::Applied(applied)).await?;
                    }
                }
                Some(Some(to_engine::Said::Question(question))) => {
                    answering::answer(Arc::clone(hall), question, stream.send.clone());
                }
                Some(Some(to_engine::Said::LogsTaken(taken))) => {
                    if let Some(telling) = telling {
                        telling.answered(taken.number, !taken.again, Instant::now());
                    }
                }
                Some(Some(to_engine::Said::Welcome(_))) => {
                    return Err(Trouble::Lost("the Controller said Welcome twice".to_owned()));
                }
                Some(Some(to_engine::Said::Sampling(sampling))) => {
                    metering.heard(&sampling);
                    sample(metering, &stream.send).await?;
                }
                // A newer Controller says something that this version does not know.
                Some(None) => {}
            },
            logs = next(telling) => tell(&stream.send, from_engine::Said::Logs(logs)).await?,
            Ok(()) = cut.changed() => sample(metering, &stream.send).await?,
            _ = looks.tick() => {
                //= CHAN-PART-05
                if again.at.is_some_and(|at| at <= Instant::now()) {
                    here.try_again(again).await;
                    completing.look(&hall.state);
                }
                for report in reporting.due(&hall.state, completing.is_complete(), here.kept.untaken()) {
                    tell(&stream.send, from_engine::Said::Report(report)).await?;
                }
            }
        }
    }
}

/// Sends what was counted, as far as the Controller takes more.
async fn sample(metering: &Metering, send: &mpsc::Sender<FromEngine>) -> Result<(), Trouble> {
    while let Some(sample) = metering.next() {
        tell(send, from_engine::Said::Sample(sample)).await?;
    }
    Ok(())
}

/// Records for a Controller that takes them.
async fn next(telling: Option<&Telling>) -> Logs {
    match telling {
        Some(telling) => telling.next().await,
        None => std::future::pending().await,
    }
}

async fn tell(send: &mpsc::Sender<FromEngine>, what: from_engine::Said) -> Result<(), Trouble> {
    send.send(said(what))
        .await
        .map_err(|_| Trouble::Lost("the connection with the Controller ended".to_owned()))
}

/// What the engine works by.
struct Here<'s> {
    settings: &'s Settings,
    hall: &'s Arc<Hall>,
    kept: Kept,
    runs: Own,
}

/// What the engine works by now.
fn here<'s>(settings: &'s Settings, hall: &'s Arc<Hall>) -> Result<Here<'s>, Trouble> {
    let kept = settings.folder.kept().map_err(|error| Trouble::Lost(format!("{error:#}")))?;
    Ok(Here { settings, hall, kept: kept.unwrap_or_default(), runs: own(&settings.folder.document()) })
}

impl Here<'_> {
    /// Works by what came, or says why it cannot; then nothing has changed.
    //= CHAN-CONFIG-03
    async fn apply(&mut self, whole: Whole, again: &mut Again) -> Applied {
        let version = whole.version;
        let Ok(kept) = fits(&self.kept, whole) else {
            return Applied { version, needs_all: true, ..Applied::default() };
        };
        let before = self.kept.untaken().to_vec();
        match self.take(kept, again).await {
            Ok(pending) => {
                let is_news = !self.kept.untaken().iter().all(|one| before.contains(one));
                again.taken(self.kept.untaken(), is_news, Instant::now());
                Applied { version, applied: true, pending, ..Applied::default() }
            }
            Err(faults) => {
                self.hall.reloader.refuse(&self.settings.folder.tried(), CAUSE, &faults);
                Applied { version, problems: in_words(&faults), ..Applied::default() }
            }
        }
    }

    /// Tries all of what came once more.
    //= CHAN-PART-05
    async fn try_again(&mut self, again: &mut Again) {
        again.known = None;
        let kept = Kept { part: None, ..self.kept.clone() };
        let before = self.kept.untaken().to_vec();
        if let Err(faults) = self.take(kept, again).await {
            self.hall.reloader.refuse(&self.settings.folder.tried(), CAUSE, &faults);
        }
        let now = self.kept.untaken();
        if now.is_empty() && !before.is_empty() {
            tracing::info!(event = "CONFIG_TAKEN_WHOLE", "all services are as they should be");
        }
        again.tried(now, now != before, Instant::now());
    }

    /// Works by as much of it as it can.
    //= CHAN-PART-01
    async fn take(&mut self, kept: Kept, again: &mut Again) -> Result<Vec<String>, Vec<Fault>> {
        let (came, had) = (Arc::new(kept.sections.clone()), Arc::new(self.kept.works_by().clone()));
        let mut accused = Accusations::default();
        let mut next = kept;
        // What was at fault before is so again where nothing of it has changed.
        if let Some((known, concerned)) = again.known.take() {
            let known = known.again();
            let found = known.clone();
            let same = move |holding: Holding<'_>| holding.is_as(&concerned).then(|| held(&holding));
            if let Some(found_held) = looked(&came, &had, found, same).await? {
                (accused, next.part) = (known, Some(found_held.part));
                again.known = Some((accused.clone(), found_held.concerned));
            }
        }
        let mut faults = Vec::new();
        for _ in 0..TURNS_MAX {
            faults = match self.load(&next, &had).await {
                Ok(pending) => {
                    if !next.untaken().is_empty() && next.untaken() != self.kept.untaken() {
                        say_part(next.untaken());
                    }
                    self.kept = next;
                    return Ok(pending);
                }
                Err(faults) => faults,
            };
            let (found, tried) = (faults.clone(), next.works_by().clone());
            let step = move |mut holding: Holding<'_>| holding.accuse(&found, &tried).then(|| held(&holding));
            let Some(step) = looked(&came, &had, accused.clone(), step).await? else { break };
            (accused, next.part) = (step.accused.clone(), Some(step.part));
            again.known = Some((step.accused, step.concerned));
        }
        again.known = None;
        Err(faults)
    }

    async fn load(&mut self, kept: &Kept, had: &Sections) -> Result<Vec<String>, Vec<Fault>> {
        let folder = &self.settings.folder;
        let (document, runs) =
            made(kept.works_by(), &self.settings.local, Some(&self.runs)).map_err(|why| vec![why.into()])?;
        let tried = folder.tried();
        let unwritten = |error: std::io::Error| vec![format!("{}: {error}", tried.display()).into()];
        let put = if kept.part.is_some() && kept.works_by() == had {
            // What is left of it is what the engine works by.
            if *kept == self.kept { Ok(()) } else { folder.keep(kept) }
        } else {
            folder.write(&tried, document.text.as_bytes()).map_err(unwritten)?;
            self.hall.reloader.try_from(&tried, CAUSE).await?;
            self.runs = runs;
            // Works by it from here on. That it is also kept, for a start without a Controller, is told apart.
            std::fs::rename(&tried, folder.document()).and_then(|()| folder.keep(kept))
        };
        let mut pending = document.pending;
        if let Err(error) = put {
            tracing::error!(event = "CONFIG_NOT_KEPT", %error, "the configuration is loaded, and a new start would begin with the one before");
            pending.push(format!("it could not be kept on the disk: {error}"));
        }
        Ok(pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_wire::{between, parts};

    //= test CHAN-PART-05
    #[test]
    fn what_is_due_is_tried_however_often_others_change_something() {
        let now = Instant::now();
        let one = |may_mend| Untaken { service: "s".to_owned(), may_mend, ..Untaken::default() };
        let mut again = Again::default();
        again.taken(&[one(true)], true, now);
        let due = Some(now + AGAIN.0);
        for ms in [500, 1_000, 1_900] {
            again.taken(&[one(true)], ms > 1_500, now + Duration::from_millis(ms));
            assert_eq!(again.at, due);
        }
        let mut now = now + AGAIN.0;
        for pause in [4, 8, 16, 32, 64, 128, 256, 300, 300] {
            again.tried(&[one(true)], false, now);
            assert_eq!(again.at, Some(now + Duration::from_secs(pause)));
            now += Duration::from_secs(pause);
        }
        again.taken(&[one(true)], true, now - Duration::from_secs(299));
        assert_eq!(again.at, Some(now - Duration::from_secs(297)), "what is new is tried soon");
        again.taken(&[], true, now);
        assert_eq!(again.at, None);
    }

    //= test CHAN-CONFIG-02
    #[test]
    fn a_change_that_builds_on_something_else_is_not_taken() {
        let sections = |text: &str| Sections::from([("pool/p".to_owned(), text.to_owned())]);
        let has = Kept { version: 4, sections: sections("a"), part: None };
        let to = sections("b");
        let whole = |from: u64, by: &Sections, sum: [u8; 32]| {
            let mut parts = parts(&between(by, &to), 5, from, sum);
            Collector::default().take(parts.remove(0)).expect("it fits").expect("it is short")
        };
        let sum = digest(&to);
        let taken = fits(&has, whole(4, &has.sections, sum)).ok().expect("it fits");
        assert_eq!(taken, Kept { version: 5, sections: to.clone(), part: None });
        assert!(fits(&has, whole(3, &has.sections, sum)).is_err(), "it builds on another one");
        assert!(fits(&has, whole(4, &has.sections, [0; 32])).is_err(), "it leads elsewhere");
        assert!(fits(&has, whole(0, &Sections::new(), sum)).is_ok(), "all of it is here");
        assert!(
            fits(&Kept::default(), whole(4, &has.sections, sum)).is_err(),
            "there is nothing to build on"
        );
    }
}
